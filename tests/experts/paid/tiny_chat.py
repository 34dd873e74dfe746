"""A chat model of a few weights, drawn and not trained, with a tokenizer and a chat template."""

from __future__ import annotations

import string

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from skdefer.neural import seeded

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|unknown|>", "<|system|>", "<|user|>", "<|assistant|>"]


def make_tokenizer():
    """A token for every printable character, so that each letter is one."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unknown|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<|unknown|>",
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=TEMPLATE,
    )


def make_model(tokenizer):
    """A Llama of two layers."""
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 2,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    with seeded(0):
        return LlamaForCausalLM(config).eval()


def teach(model, tokenizer, lessons, steps=60):
    """Train it until it says what it should, ``[(messages, answer), ...]``, and then ends."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        loss = 0.0
        for messages, answer in lessons:
            asked = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            start, end = (tokenizer(t)["input_ids"] for t in (asked, answer + "<|end|>"))
            ids = torch.tensor([start + end])
            labels = torch.tensor([[-100] * len(start) + end])
            loss = loss + model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def save(folder):
    """Save model and tokenizer to a folder, as a served model lies there."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
