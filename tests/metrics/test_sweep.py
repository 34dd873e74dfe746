"""Many thresholds in one look, and metrics of many confusion matrices, as one by one."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import get_scorer

from skdefer.metrics._confusion import _FORMS, is_closed, values_of
from skdefer.metrics._label_metrics import _Echo, label_metric
from skdefer.metrics._sweep import count_answers, first_best, sweep_thresholds

seeds = given(st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)


def make_rows(seed, n_classes):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    labels = rng.integers(0, n_classes, (3, n))
    return rng, labels, rng.integers(-2, 3, n).astype(float), rng.integers(0, 3, n) + 0.5


@pytest.mark.parametrize("n_classes", [2, 4])
@seeds
@some
def test_sweep_as_one_by_one(n_classes, seed):
    rng, (truth, kept, handed), score, weight = make_rows(seed, n_classes)
    asked, paid = rng.random((2, len(score)))
    thresholds = rng.permutation([-np.inf, -1.0, -1.0, 0.0, 0.5, np.inf])
    swept = sweep_thresholds(
        score, thresholds, truth, kept, handed, asked=asked, paid=paid, weight=weight,
        n_classes=n_classes,
    )  # fmt: skip
    for i, threshold in enumerate(thresholds):
        above = score > threshold
        expected = count_answers(truth, np.where(above, handed, kept), weight, n_classes)
        np.testing.assert_allclose(swept.counts[i], expected, atol=1e-9)
        assert swept.deferred[i] == pytest.approx(np.average(above, weights=weight))
        assert swept.asked[i] == pytest.approx(np.average(above * asked, weights=weight))
        assert swept.paid[i] == pytest.approx(np.average(above * paid, weights=weight))
        wrong = np.where(above, handed, kept) != truth
        assert swept.error_cost(None, 2.0)[i] == pytest.approx(
            2 * np.average(wrong, weights=weight)
        )


@pytest.mark.parametrize("name", sorted(_FORMS))
@seeds
@some
@pytest.mark.filterwarnings("ignore")
def test_closed_forms_as_scikit_learn(name, seed):
    n_classes = 2 if name in ("f1", "precision", "recall", "jaccard") else 3
    _, (truth, answered, _), _, weight = make_rows(seed, n_classes)
    classes = np.arange(n_classes)
    metric = label_metric(name, classes, weighted=True)
    assert is_closed(metric, classes)
    counts = count_answers(truth, answered, weight, n_classes)[None]
    expected = get_scorer(name)(_Echo(classes), answered, truth, sample_weight=weight)
    assert values_of(metric, counts, classes)[0] == pytest.approx(expected, abs=1e-9)


def test_a_positive_class_that_is_not_1_is_scikit_learns_business():
    classes = np.array(["no", "yes"])
    metric = label_metric("f1", classes, weighted=False)
    assert not is_closed(metric, classes)
    with pytest.raises(ValueError, match="pos_label"):
        values_of(metric, np.ones((1, 2, 2)), classes)


def test_metrics_are_called_once_per_matrix_that_differs():
    calls = []

    def accuracy(y_true, y_answered):
        calls.append(len(y_true))
        return (y_true == y_answered).mean()

    classes = np.array(["a", "b"])
    counts = np.array([[[2, 1], [0, 1]], [[1, 2], [0, 1]], [[2, 1], [0, 1]]], dtype=float)
    metric = label_metric(accuracy, classes, weighted=False)
    np.testing.assert_allclose(values_of(metric, counts, classes), [0.75, 0.5, 0.75])
    assert calls == [4, 4]


def test_undefined_metrics_do_not_warn():
    classes = np.array(["a", "b"])
    metric = label_metric("f1_macro", classes, weighted=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values_of(metric, np.array([[[3.0, 0.0], [1.0, 0.0]]]), classes)


def test_first_best():
    yes = np.ones(4, dtype=bool)
    assert first_best(np.array([0.1, 0.3, 0.3 + 1e-15, 0.2]), yes) == 1
    assert first_best(np.array([np.nan, 0.3, 0.4, 0.2]), np.array([1, 1, 0, 1], dtype=bool)) == 1
    assert first_best(np.full(4, np.nan), yes) == -1
    assert first_best(np.ones(4), ~yes) == -1
