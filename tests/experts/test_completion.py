"""Completed answers: what is on record stays, the rest is drawn as predicted."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from skdefer.exceptions import OutOfLabelsWarning
from skdefer.experts import AnswerCompletion

LABELS = np.array(["cat", "dog", "eel"])


def made(n_rows=600, kept=0.5, seed=0):
    """Experts who are right where x is large, by steps; half of their answers are missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    truth = rng.integers(3, size=n_rows)
    right = rng.uniform(size=(n_rows, 2)) < np.where(X[:, [0, 1]] > 0, 0.95, 0.4)
    said = np.where(right, truth[:, None], (truth[:, None] + rng.integers(1, 3, (n_rows, 2))) % 3)
    full = LABELS[said].astype(object)
    left = full.copy()
    left[rng.uniform(size=full.shape) > kept] = None
    return X, LABELS[truth], left, right


@pytest.fixture(params=["model", "em"])
def completion(request):
    return AnswerCompletion(request.param, random_state=0)


def is_none(answers):
    return np.equal(answers, None)


def test_what_is_on_record_stays_and_nothing_else_is_missing(completion):
    X, y, left, _ = made()
    before = left.copy()
    answers = completion.complete(left, y, X=X)
    gaps = is_none(left)
    assert answers.shape == left.shape
    assert answers.dtype == object
    np.testing.assert_array_equal(left, before)
    np.testing.assert_array_equal(answers[~gaps], left[~gaps])
    assert set(answers[gaps]) == set(LABELS)
    np.testing.assert_array_equal(completion.n_completed_, gaps.sum(axis=0))
    np.testing.assert_array_equal(np.isnan(completion.expert_accuracy_), ~gaps)


def test_the_seed_decides(completion):
    X, y, left, _ = made()
    first = completion.complete(left, y, X=X)
    np.testing.assert_array_equal(clone(completion).complete(left, y, X=X), first)
    other = clone(completion).set_params(random_state=1).complete(left, y, X=X)
    assert (other != first)[is_none(left)].mean() > 0.1


def test_nothing_missing_is_given_back():
    full = np.array([["cat", "dog"], ["dog", "dog"]])
    completion = AnswerCompletion()  # needs no X where nothing is completed
    answers = completion.complete(full, ["cat", "dog"])
    assert answers.tolist() == full.tolist()
    assert completion.n_completed_.tolist() == [0, 0]


def test_an_expert_without_an_answer_stays_silent(completion):
    X, y, left, _ = made()
    silent = np.full((len(y), 1), None)
    answers = completion.complete(np.hstack([left, silent]), y, X=X)
    assert is_none(answers[:, 2]).all()
    assert not is_none(answers[:, :2]).any()
    assert np.isnan(completion.expert_accuracy_[:, 2]).all()


def test_nobody_said_anything(completion):
    with pytest.raises(ValueError, match="None of the 2 experts .* has an answer on record"):
        completion.complete(np.full((4, 2), None), list("aabb"), X=np.eye(4))
    left = [["a", None], [None, None], [None, None], [None, None]]
    with pytest.raises(ValueError, match="on a row of positive weight"):
        completion.complete(left, list("aabb"), X=np.eye(4), sample_weight=[0, 1, 1, 1])


def test_draws_are_as_likely_as_predicted(completion):
    X, y, left, _ = made(n_rows=8000)
    drawn = completion.complete(left, y, X=X) == y[:, None]
    predicted = completion.expert_accuracy_
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, 1.0)):
        cells = (predicted >= low) & (predicted < high)
        if cells.sum() > 500:
            error = np.sqrt(0.25 / cells.sum())
            assert abs(drawn[cells].mean() - predicted[cells].mean()) < 4 * error
    # The accuracy of experts is about what it was: the likeliest label would be too good.
    gaps, on_record = is_none(left), (left == y[:, None])[~is_none(left)]
    assert abs(drawn[gaps].mean() - on_record.mean()) < 0.03
    assert (predicted[gaps] >= 0.5).mean() > on_record.mean() + 0.03


def test_a_model_reads_the_rows():
    X, y, left, _ = made(n_rows=2000)
    completion = AnswerCompletion(random_state=0)
    completion.complete(left, y, X=X)
    for j in (0, 1):
        predicted, gap = completion.expert_accuracy_[:, j], is_none(left[:, j])
        assert predicted[gap & (X[:, j] > 1)].mean() > 0.85
        assert predicted[gap & (X[:, j] < -1)].mean() < 0.55


def test_wrong_answers_are_wrong_as_they_were(completion):
    rng = np.random.default_rng(0)
    y = LABELS[rng.integers(3, size=900)]
    said = np.where(rng.uniform(size=900) < 0.5, y, np.where(y == "cat", "dog", "cat"))
    said = np.where(np.arange(900) < 450, said, None)
    X = rng.normal(size=(900, 2))
    drawn = completion.complete(said, y, X=X)[450:, 0]
    wrong = drawn != y[450:]
    assert (drawn[wrong] == np.where(y[450:] == "cat", "dog", "cat")[wrong]).mean() > 0.95


def test_em_completes_from_what_others_said():
    rng = np.random.default_rng(0)
    y = LABELS[rng.integers(3, size=1500)]
    hard = rng.uniform(size=1500) < 0.5
    right = rng.uniform(size=(1500, 4)) < np.where(hard, 0.1, 0.95)[:, None]
    full = np.where(right, y[:, None], np.roll(LABELS, 1)[np.searchsorted(LABELS, y)][:, None])
    left = np.where(rng.uniform(size=full.shape) < 0.5, full, None)
    completion = AnswerCompletion("em", random_state=0)
    drawn = completion.complete(left, y) == y[:, None]
    gaps = is_none(left)
    several = (~gaps).sum(axis=1) >= 2
    predicted = np.where(gaps, completion.expert_accuracy_, np.nan)
    assert np.nanmean(predicted[hard & several]) < 0.3
    assert np.nanmean(predicted[~hard & several]) > 0.8
    # Answers drawn to one row hang together, where none is on record at all, too.
    unseen = gaps.all(axis=1)
    assert unseen.sum() > 50
    assert np.corrcoef(drawn[unseen].T)[np.triu_indices(4, 1)].mean() > 0.4
    assert np.isfinite(completion.objective_).all()
    np.testing.assert_allclose(completion.type_shares_.sum(axis=1), 1.0)


def test_orders_are_nothing_to_it(completion):
    X, y, left, _ = made(n_rows=200)
    completion.complete(left, y, X=X)
    expected = completion.expert_accuracy_
    rows = np.random.default_rng(0).permutation(200)
    completion.complete(left[rows], y[rows], X=X[rows])
    np.testing.assert_allclose(completion.expert_accuracy_, expected[rows], atol=1e-4)
    completion.complete(left[:, ::-1], y, X=X)
    np.testing.assert_allclose(completion.expert_accuracy_, expected[:, ::-1], atol=1e-4)


def test_names_of_classes_are_nothing_to_it(completion):
    X, y, left, _ = made(n_rows=200)
    drawn = completion.complete(left, y, X=X)
    other = {"cat": "yak", "dog": "bee", "eel": "cow", None: None}
    renamed = np.array([[other[a] for a in row] for row in left], dtype=object)
    y_renamed = np.array([other[label] for label in y])
    drawn_renamed = completion.complete(renamed, y_renamed, X=X)
    np.testing.assert_array_equal(drawn_renamed == y_renamed[:, None], drawn == y[:, None])


@pytest.mark.parametrize(
    "container",
    [
        lambda left: left.tolist(),
        lambda left: pd.DataFrame(left, columns=["ann", "bob"]),
        lambda left: np.ma.array(np.where(is_none(left), "cat", left), mask=is_none(left)),
        lambda left: np.where(is_none(left), np.nan, left),
    ],
    ids=["list", "frame", "masked", "nan"],
)
def test_records_of_any_kind(completion, container):
    X, y, left, _ = made(n_rows=100)
    expected = completion.complete(left, y, X=X)
    np.testing.assert_array_equal(completion.complete(container(left), y, X=X), expected)


def test_numbers_stay_numbers(completion):
    said = np.array([[1.0, np.nan], [np.nan, 2.0], [2.0, 1.0], [np.nan, 1.0]])
    answers = completion.complete(said, [1, 2, 2, 1], X=np.eye(4))
    assert answers.dtype == object
    assert set(answers.ravel()) <= {1, 2}


def test_one_expert_may_come_as_a_column(completion):
    X, y, left, _ = made(n_rows=60)
    answers = completion.complete(left[:, 0], y, X=X)
    assert answers.shape == (60, 1)


def test_weights_count_as_copies(completion):
    X, y, left, _ = made(n_rows=150)
    weight = np.random.default_rng(0).integers(3, size=150)
    again = np.repeat(np.arange(150), weight)
    # The default scales by all rows; what weights do is seen where nothing is scaled.
    completion.set_params(estimator=LogisticRegression(tol=1e-8))
    completion.complete(left, y, X=X, sample_weight=weight)
    weighted = completion.expert_accuracy_[again]
    completion.complete(left[again], y[again], X=X[again])
    np.testing.assert_allclose(weighted, completion.expert_accuracy_, atol=1e-4)


@pytest.mark.parametrize("right", [True, False])
def test_always_right_is_not_taken_at_its_word(completion, right):
    y = np.repeat(["cat", "dog"], 40)
    said = np.where(np.arange(80) % 4 == 0, y if right else y[::-1], None)
    X = np.random.default_rng(0).normal(size=(80, 2))
    completion.complete(said, y, X=X)
    predicted = completion.expert_accuracy_[is_none(said), 0]
    assert (predicted > 0.8).all() if right else (predicted < 0.2).all()
    assert ((predicted > 0) & (predicted < 1)).all()
    if completion.method == "model":
        assert completion.estimators_ == [None]


def test_one_answer_is_enough(completion):
    X, y, left, _ = made(n_rows=60)
    left[1:, 1] = None
    left[0, 1] = y[0]
    answers = completion.complete(left, y, X=X)
    assert not is_none(answers).any()
    assert (answers[:, 1] != y).any()


def test_classes_that_nobody_has_met(completion):
    X, y, left, _ = made(n_rows=60)
    answers = completion.complete(left, y, X=X, classes=["owl", *LABELS])
    assert completion.classes_.tolist() == ["cat", "dog", "eel", "owl"]
    assert not is_none(answers).any()
    with pytest.raises(ValueError, match=r"y has the labels \['eel'\].*Pass classes="):
        completion.complete(left, y, X=X, classes=["cat", "dog"])


def test_answers_outside_the_classes_are_kept_and_never_drawn(completion):
    X, y, left, _ = made(n_rows=300)
    unsure = np.arange(300) % 3 == 0
    left[unsure, 0] = "unsure"
    with pytest.warns(OutOfLabelsWarning, match="count as wrong"):
        answers = completion.complete(left, y, X=X)
    assert (answers[unsure, 0] == "unsure").all()
    assert set(answers[~unsure, 0]) == set(LABELS)
    with pytest.raises(ValueError, match="No answer of expert 'expert_1' is one of the classes"):
        completion.complete(np.where(is_none(left), None, "who knows"), y, X=X)


class Embedding(TransformerMixin, BaseEstimator):
    """Remembers what it was fitted on."""

    fits = []

    def fit(self, X, y):
        self.fits.append((len(X), sorted(set(y))))
        return self

    def transform(self, X):
        return np.array([[len(text)] for text in X], dtype=float)


def test_a_pipeline_reads_any_rows_and_learns_its_numbers_once():
    _, y, left, _ = made(n_rows=80)
    texts = ["long and windy" if i % 2 else "short" for i in range(80)]
    Embedding.fits.clear()
    pipeline = make_pipeline(Embedding(), LogisticRegression())
    completion = AnswerCompletion(estimator=pipeline, random_state=0)
    assert not is_none(completion.complete(left, y, X=texts)).any()
    assert Embedding.fits == [(80, ["cat", "dog", "eel"])]
    assert [m.n_features_in_ for m in completion.estimators_] == [2, 2]
    assert not hasattr(pipeline[-1], "coef_")


@pytest.mark.parametrize(
    "estimator",
    [
        None,
        KNeighborsClassifier(),
        make_pipeline(LogisticRegression()),
        RandomForestClassifier(5, random_state=0),
    ],
    ids=["default", "neighbours", "pipeline of one", "forest"],
)
@pytest.mark.parametrize("to", [sparse.csr_array, sparse.coo_array, pd.DataFrame])
def test_any_classifier_and_table_of_numbers(estimator, to):
    X, y, left, _ = made(n_rows=80)
    completion = AnswerCompletion(estimator=estimator, random_state=0)
    assert not is_none(completion.complete(left, y, X=to(X))).any()


def test_words_of_texts():
    _, y, left, right = made(n_rows=400)
    texts = ["plain" if r else "odd" for r in right[:, 0]]
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression())
    completion = AnswerCompletion(estimator=pipeline, random_state=0)
    completion.complete(left[:, 0], y, X=texts)
    gap = is_none(left[:, 0])
    predicted = completion.expert_accuracy_[:, 0]
    assert predicted[gap & right[:, 0]].min() > 0.8
    assert predicted[gap & ~right[:, 0]].max() < 0.3


def test_rows_that_it_cannot_read():
    X, y, left, _ = made(n_rows=60)
    completion = AnswerCompletion()
    with pytest.raises(ValueError, match="X was not passed. Pass X=, or use method"):
        completion.complete(left, y)
    with pytest.raises(ValueError, match=r"The rows \(list\) are not numeric. Pass estimator="):
        completion.complete(left, y, X=["some text"] * 60)
    X[3, 0] = np.nan
    for rows in (X, sparse.csr_array(X)):
        with pytest.raises(ValueError, match="X has NaN or infinity. Pass estimator="):
            completion.complete(left, y, X=rows)
    with pytest.raises(ValueError, match="X has 59 rows, but y has 60 labels"):
        completion.complete(left, y, X=X[:59])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "mode"}, "method"),
        ({"n_types": 0}, "n_types"),
        ({"max_iter": 0}, "max_iter"),
        ({"estimator": LinearSVC()}, "estimator"),
    ],
)
def test_parameters_are_checked(change, match):
    X, y, left, _ = made(n_rows=20)
    with pytest.raises(ValueError, match=match):
        AnswerCompletion().set_params(**change).complete(left, y, X=X)


def test_shapes_are_checked(completion):
    X, y, left, _ = made(n_rows=20)
    with pytest.raises(ValueError, match="19 rows"):
        completion.complete(left[:19], y, X=X)
    with pytest.raises(ValueError, match="sample_weight has shape"):
        completion.complete(left, y, X=X, sample_weight=[1.0])
    frame = pd.DataFrame(X)
    with pytest.raises(ValueError, match="another order"):
        completion.complete(pd.DataFrame(left[::-1], index=frame.index[::-1]), y, X=frame)


def test_no_warning_of_its_own(completion):
    X, y, left, _ = made(n_rows=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        completion.complete(left, y, X=X)
