"""A BERT of a few weights, its WordPiece tokenizer, and texts that it can learn."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from skdefer.neural import TransformerBackbone, seeded

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "odd", "film", "book", "the", "##s"]
ADJECTIVES = ("good", "bad", "odd")


def make_tokenizer(special=True, **options):
    """WordPiece on a dozen words; with ``special``, [CLS] before a text and [SEP] after it."""
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special:
        ends = [(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=ends
        )
    options = {"unk_token": "[UNK]", "pad_token": "[PAD]", **options}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def make_model(make=BertModel, config=BertConfig, **options):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    options = {"intermediate_size": 16, "max_position_embeddings": 12, **sizes, **options}
    with seeded(0):
        return make(config(vocab_size=len(WORDS), **options))


def make_backbone(**options):
    return TransformerBackbone(make_model(), make_tokenizer(), **options)


def make_texts(n, seed=0):
    """Texts of 1 to 8 words, whose class is their one adjective."""
    rng = np.random.default_rng(seed)
    y = rng.integers(len(ADJECTIVES), size=n)
    texts = []
    for label in y:
        words = rng.choice(["film", "book", "the"], size=rng.integers(8)).tolist()
        words.insert(rng.integers(len(words) + 1), ADJECTIVES[label])
        texts.append(" ".join(words))
    return texts, y
