"""Metrics of labels, of many confusion matrices at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from skdefer.metrics._label_metrics import LabelMetric


def values_of(metric: LabelMetric, counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Measure each of many ways to answer the same rows.

    Scikit-learn's accuracy, balanced accuracy, F1, precision, recall and Jaccard scores, with
    every average, and Matthews' coefficient are computed for all matrices together. Any other
    metric is called once per matrix that differs: with each pair of labels and its weight, or,
    if it takes no weights, with every row.

    Parameters
    ----------
    metric : LabelMetric
        The metric.
    counts : ndarray of shape (m, K, K)
        Weight of the rows by [true, answered].
    classes : ndarray of shape (K,)
        The labels, sorted.

    Returns
    -------
    values : ndarray of shape (m,)
        NaN where the metric says so; 0 where scikit-learn takes an undefined one for 0.
    """
    if is_closed(metric, classes):
        return _closed_form(str(metric.scorer), classes)(counts)
    flat = np.round(counts, 9).reshape(len(counts), -1)  # sums in another order are the same
    distinct, which = np.unique(flat, axis=0, return_inverse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # not once per matrix
        values = [_called(metric, case, classes) for case in distinct]
    return np.array(values, dtype=float)[which.ravel()]


def is_closed(metric: LabelMetric, classes: np.ndarray) -> bool:
    """Tell whether the metric is computed for all matrices together."""
    if metric.scorer in _BINARY:  # of the class 1; scikit-learn knows what else to say
        return len(classes) == 2 and bool((classes == 1).any())
    return metric.scorer in _FORMS


def _called(metric: LabelMetric, flat: np.ndarray, classes: np.ndarray) -> float:
    pairs = np.flatnonzero(flat > 0)
    truth, answered = classes[pairs // len(classes)], classes[pairs % len(classes)]
    if metric.takes_weight:
        return metric.function(truth, answered, sample_weight=flat[pairs])
    times = flat[pairs].round().astype(int)
    return metric.function(np.repeat(truth, times), np.repeat(answered, times))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, 0 where there is nothing to divide by, as scikit-learn does."""
    return np.divide(part, whole, out=np.zeros_like(part, dtype=float), where=whole > 0)


class _Counts:
    """What of each class is true, answered and right; arrays (m, K)."""

    def __init__(self, counts: np.ndarray):
        self.right = np.diagonal(counts, axis1=1, axis2=2)
        self.true, self.said = counts.sum(axis=2), counts.sum(axis=1)

    def precision(self, by: Callable) -> np.ndarray:
        return _share(by(self.right), by(self.said))

    def recall(self, by: Callable) -> np.ndarray:
        return _share(by(self.right), by(self.true))

    def f1(self, by: Callable) -> np.ndarray:
        return _share(2 * by(self.right), by(self.true) + by(self.said))

    def jaccard(self, by: Callable) -> np.ndarray:
        return _share(by(self.right), by(self.true) + by(self.said) - by(self.right))

    def accuracy(self) -> np.ndarray:
        return _share(self.right.sum(axis=1), self.true.sum(axis=1))

    def balanced_accuracy(self) -> np.ndarray:
        return _share(self.recall(_each).sum(axis=1), (self.true > 0).sum(axis=1))

    def matthews_corrcoef(self) -> np.ndarray:
        total = self.true.sum(axis=1)
        together = (self.said * self.true).sum(axis=1)
        spread = [total**2 - (part**2).sum(axis=1) for part in (self.said, self.true)]
        covariance = self.right.sum(axis=1) * total - together
        return _share(covariance, np.sqrt(np.maximum(spread[0], 0) * np.maximum(spread[1], 0)))


def _each(values: np.ndarray) -> np.ndarray:
    return values


def _together(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=1)


_AVERAGED = ("precision", "recall", "f1", "jaccard")
_BINARY = frozenset(_AVERAGED)
_WHOLE = ("accuracy", "balanced_accuracy", "matthews_corrcoef")
_FORMS = {*_WHOLE, *(f"{a}{s}" for a in _AVERAGED for s in ("", "_macro", "_micro", "_weighted"))}


def _closed_form(name: str, classes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    stem, _, average = name.rpartition("_")

    def measure(counts: np.ndarray) -> np.ndarray:
        of = _Counts(counts)
        if name in _WHOLE:
            return getattr(of, name)()
        if name in _BINARY:
            return getattr(of, name)(_each)[:, int(np.flatnonzero(classes == 1)[0])]
        if average == "micro":
            return getattr(of, stem)(_together)
        by_class = getattr(of, stem)(_each)
        share = of.true if average == "weighted" else (of.true + of.said > 0).astype(float)
        return _share((by_class * share).sum(axis=1), share.sum(axis=1))

    return measure
