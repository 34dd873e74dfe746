"""Texts to features: what an encoder is told of them, and what is made of what it says."""

import copy
import io
import pickle
import shutil
import warnings
from itertools import chain
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from skdefer.exceptions import TruncatedTextWarning
from skdefer.neural import TransformerBackbone, predict_in_batches
from tests.neural.tiny_text import WORDS, make_backbone, make_model, make_texts, make_tokenizer

TEXTS = ["good film", "", "the bad books", "odd"]
#            [CLS] good film [SEP]
TOKENS = [
    [2, 4, 7, 3],
    [2, 3],
    [2, 9, 5, 8, 10, 3],
    [2, 6, 3],
]


def features_of(backbone, texts):
    return predict_in_batches(backbone, backbone.encode(texts))


@pytest.fixture
def backbone():
    return make_backbone().eval()


# -- tokens ---------------------------------------------------------------------------


def test_texts_become_tokens_padded_by_minus_one(backbone):
    tokens = backbone.encode(TEXTS)
    assert tokens.dtype == np.int32
    assert tokens.shape == (4, 12), "as wide as the model can take"
    for row, expected in zip(tokens, TOKENS, strict=True):
        assert row.tolist() == expected + [-1] * (12 - len(expected))
    assert backbone.row_lengths(tokens).tolist() == [4, 2, 6, 3]


@pytest.mark.parametrize(
    "container",
    [
        tuple,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        lambda texts: np.array(texts, dtype=object)[:, None],
        lambda texts: [[text] for text in texts],
        lambda texts: [np.str_(text) for text in texts],
        pd.Series,
        lambda texts: pd.Series(texts, dtype="category"),
        lambda texts: pd.DataFrame({"text": texts}),
    ],
)
def test_any_column_of_texts_will_do(backbone, container):
    assert np.array_equal(backbone.encode(container(TEXTS)), backbone.encode(TEXTS))


def test_polars_too(backbone):
    polars = pytest.importorskip("polars")
    assert np.array_equal(backbone.encode(polars.Series(TEXTS)), backbone.encode(TEXTS))


def test_polars_that_is_not_computed(backbone):
    polars = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"X is a LazyFrame.*\.collect\(\)"):
        backbone.encode(polars.LazyFrame({"text": TEXTS}))


def test_no_texts(backbone):
    assert backbone.encode([]).shape == (0, 12)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("good film", "single str.*list of texts"),
        (b"good film", "single bytes"),
        (["good", None, np.nan], "2 of 3 texts are missing.*row 1.*Put ''"),
        (pd.Series(["good", pd.NA]), "1 of 2 texts are missing.*row 1"),
        (["good", 3, 2.5], "2 of 3 rows are of type int, float.*astype"),
        ([b"good"], r"type bytes.*\[text.decode\(\) for text in X\]"),
        ([b"good", 3], "type bytes, int.*astype"),
        (None, "X is None; expected a list of texts"),
        (3, "X is int; expected a list of texts"),
        ({"text": TEXTS}, "X is a dict.*one of its values"),
        ({"good", "bad"}, "X is a set, which has no order"),
        (frozenset(["good"]), "X is a frozenset, which has no order"),
        (np.zeros(3), "3 of 3 rows are of type float"),
        (np.zeros((3, 2)), r"shape \(3, 2\).*the column"),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), r"shape \(4, 2\)"),
    ],
)
def test_anything_else_is_refused(backbone, X, message):
    with pytest.raises(ValueError, match=message):
        backbone.encode(X)


def test_long_texts_are_cut_off_and_counted_once():
    backbone = make_backbone(max_length=5)
    texts = ["good film", "the the the good film", "good " * 40]
    counts = r"2 of 3 texts.*max_length=5.*up to 42"
    with pytest.warns(TruncatedTextWarning, match=counts) as caught:
        tokens = backbone.encode(texts)
    assert [w.filename for w in caught] == [__file__]
    backbone.encode(["bad " * 40])  # said once is enough
    with pytest.warns(TruncatedTextWarning, match="1 of 1"):
        copy.deepcopy(backbone).encode(["bad " * 40])
    assert tokens.tolist() == [[2, 4, 7, 3, -1], [2, 9, 9, 9, 3], [2, 4, 4, 4, 3]]


def test_what_fits_exactly_is_not_cut_off(backbone):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokens = backbone.encode(["good " * 10])
    assert (tokens >= 0).all()


@pytest.mark.parametrize(
    ("of_tokenizer", "positions", "expected"), [({}, 12, 12), ({"model_max_length": 7}, 12, 7)]
)
def test_the_limit_is_that_of_model_and_tokenizer(of_tokenizer, positions, expected):
    model = make_model(max_position_embeddings=positions)
    assert TransformerBackbone(model, make_tokenizer(**of_tokenizer)).max_length == expected


def test_positions_of_the_roberta_kind_start_behind_padding():
    model = make_model(transformers.RobertaModel, transformers.RobertaConfig, pad_token_id=0).eval()
    backbone = TransformerBackbone(model, make_tokenizer())
    assert backbone.max_length == 11
    whole = ["good " * 9, "bad"]
    assert np.isfinite(features_of(backbone, whole)).all()
    np.testing.assert_allclose(
        features_of(backbone, whole)[1], features_of(backbone, ["bad"])[0], atol=1e-5
    )


def test_halves_of_characters_are_no_error(backbone):
    assert backbone.encode(["good \ud800", "bad"])[1, :4].tolist() == [2, 5, 3, -1]


def test_models_are_loaded_without_a_bar(folder, capfd):
    TransformerBackbone(folder)
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled(), "as it was"


def test_half_precision_is_pooled_in_full():
    exact = features_of(make_backbone().eval(), TEXTS)
    half = features_of(make_backbone().to(torch.bfloat16).eval(), TEXTS)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, atol=0.1)


def test_without_special_tokens_an_empty_text_still_has_features():
    backbone = TransformerBackbone(make_model(), make_tokenizer(special=False)).eval()
    assert backbone.encode(["", "good"])[:, :2].tolist() == [[0, -1], [4, -1]]
    assert np.isfinite(features_of(backbone, ["", "good"])).all()


# -- features -------------------------------------------------------------------------


def by_hand(backbone, row, pooling):
    """Features of one text, without padding or mask."""
    with torch.no_grad():
        hidden = backbone.model(input_ids=torch.tensor([row])).last_hidden_state[0]
    return {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.amax(0)}[pooling].numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_pooling_reads_the_tokens_of_the_text_alone(pooling):
    backbone = make_backbone(pooling=pooling).eval()
    assert backbone.n_outputs == 16
    features = features_of(backbone, TEXTS)
    expected = [by_hand(backbone, row, pooling) for row in TOKENS]
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_what_else_is_in_the_batch_makes_no_difference(pooling):
    backbone = make_backbone(pooling=pooling).eval()
    texts, _ = make_texts(40)
    together = features_of(backbone, texts)
    alone = np.concatenate([features_of(backbone, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_columns_that_are_padding_for_all_are_not_computed(backbone):
    widths = []
    backbone.model.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    tokens = backbone.encode(TEXTS)
    lengths = backbone.row_lengths(tokens)
    out = predict_in_batches(backbone, tokens, batch_size=2, lengths=lengths)
    assert widths == [6, 3]
    np.testing.assert_allclose(out, predict_in_batches(backbone, tokens), atol=1e-5)


def test_gradients_reach_the_encoder():
    backbone = make_backbone()
    backbone(torch.from_numpy(backbone.encode(TEXTS))).square().sum().backward()
    embeddings = backbone.model.embeddings.word_embeddings.weight.grad
    moved = embeddings.abs().sum(1).nonzero().ravel().tolist()
    assert set(moved) == set(chain.from_iterable(TOKENS))


def by_joblib(thing):
    file = io.BytesIO()
    joblib.dump(thing, file)
    return joblib.load(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing)), by_joblib]
)
def test_copies_are_equal(backbone, copied):
    other = copied(backbone)
    np.testing.assert_array_equal(features_of(other, TEXTS), features_of(backbone, TEXTS))
    assert other.model is not backbone.model


# -- models ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    make_model().half().save_pretrained(path)
    make_tokenizer(model_max_length=9).save_pretrained(path)
    return path


@pytest.mark.parametrize("as_name", [str, lambda path: path])
def test_a_folder_brings_model_and_tokenizer(folder, as_name):
    backbone = TransformerBackbone(as_name(folder)).eval()
    assert backbone.max_length == 9
    assert next(backbone.parameters()).dtype == torch.float32, "to be trained"
    np.testing.assert_allclose(
        features_of(backbone, TEXTS), features_of(make_backbone().eval(), TEXTS), atol=1e-2
    )


def test_a_tokenizer_can_come_from_a_folder(folder):
    assert TransformerBackbone(make_model(), folder).encode(["good"]).shape == (1, 9)


def test_a_model_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(OSError, match="could not be loaded.*save_pretrained"):
        TransformerBackbone(tmp_path / "nowhere")


def test_offline_a_name_is_not_downloaded(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = "there is no folder 'skdefer/no-such-model'.*HF_HUB_OFFLINE is set, so nothing was"
    with pytest.raises(OSError, match=message):
        TransformerBackbone("skdefer/no-such-model")


@pytest.mark.parametrize(
    "name", ["./nowhere", "../nowhere", "/nowhere", "~/nowhere", "a/b/c", Path("nowhere")]
)
def test_a_path_is_never_looked_up(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", None)  # would be a TypeError
    with pytest.raises(FileNotFoundError, match="there is no folder.*current folder is") as caught:
        TransformerBackbone(name)
    assert str(tmp_path) in str(caught.value)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.bin").write_text("weights")
    with pytest.raises(FileNotFoundError, match="model.bin' is a file, no folder"):
        TransformerBackbone(tmp_path / "model.bin")


def test_the_home_folder_may_be_written_short(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert TransformerBackbone(f"~/{folder.name}").max_length == 9


@pytest.mark.parametrize(
    ("content", "expected"),
    [('{"max_seq_length": 5}', 5), ('{"max_seq_length": null}', 9), ("[]", 9), ("{", 9)],
)
def test_the_length_that_a_model_of_sentences_was_made_for(content, expected, folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / "model")
    (place / "sentence_bert_config.json").write_text(content)
    assert TransformerBackbone(place).max_length == expected
    assert TransformerBackbone(place, max_length=8).max_length == 8


T5 = transformers.T5Config(vocab_size=len(WORDS), d_model=8, d_kv=4, d_ff=8, num_layers=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransformerBackbone(make_model()), "no tokenizer. Pass tokenizer="),
        (lambda: TransformerBackbone(3), "model is a int; expected a folder"),
        (lambda: TransformerBackbone(make_model(), 3), "tokenizer is a int"),
        (lambda: make_backbone(pooling="sum"), "pooling='sum'.*mean"),
        (lambda: make_backbone(max_length=13), "max_length=13.*above 2.*at most 12"),
        (lambda: make_backbone(max_length=2), "max_length=2.*above 2"),
        (lambda: make_backbone(max_length=4.0), "max_length=4.0; expected an integer"),
        (
            lambda: TransformerBackbone(torch.nn.Linear(3, 2), make_tokenizer()),
            "model is a Linear; expected an encoder",
        ),
        (
            lambda: TransformerBackbone(transformers.T5Model(T5), make_tokenizer()),
            r"T5Model.*get_encoder\(\)",
        ),
        (
            lambda: TransformerBackbone(transformers.T5EncoderModel(T5), make_tokenizer()),
            "how long a text may be. Pass max_length=",
        ),
    ],
)
def test_what_is_no_encoder_of_texts_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_encoder_without_a_limit_takes_the_one_that_is_passed():
    backbone = TransformerBackbone(transformers.T5EncoderModel(T5), make_tokenizer(), max_length=20)
    assert features_of(backbone, TEXTS).shape == (4, 8)


def test_a_model_with_a_head_is_refused_when_it_is_used():
    model = make_model(transformers.BertForMaskedLM)
    backbone = TransformerBackbone(model, make_tokenizer())
    with pytest.raises(ValueError, match="BertForMaskedLM, gives no last_hidden_state"):
        features_of(backbone, TEXTS)
