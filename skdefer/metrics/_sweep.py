"""Many ways to hand over the same rows, all at once: one threshold after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Counts of (true, answered) that are held at once.
BLOCK = 1 << 21


@dataclass
class Outcomes:
    """What m ways to hand over the same rows come to; K classes.

    Attributes
    ----------
    counts : ndarray of shape (m, K, K)
        Weight of the rows by [true, answered].
    deferred : ndarray of shape (m,)
        Share of the rows handed over.
    asked, paid : ndarray of shape (m,)
        Mean price of a row: of whoever is asked, and of whoever has an answer.
    """

    counts: np.ndarray
    deferred: np.ndarray
    asked: np.ndarray
    paid: np.ndarray

    def error_cost(self, matrix: np.ndarray | None, unit: float = 1.0) -> np.ndarray:
        """Mean price (m,) of the answers, by a matrix (K, K) or a price of every error."""
        counts = self.counts
        if matrix is None:
            matrix = unit * (1.0 - np.eye(counts.shape[1]))
        return (counts * matrix).sum(axis=(1, 2)) / counts.sum(axis=(1, 2))


def sweep_thresholds(
    score: np.ndarray,
    thresholds: np.ndarray,
    truth: np.ndarray,
    kept: np.ndarray,
    handed: np.ndarray,
    *,
    asked: np.ndarray | float = 0.0,
    paid: np.ndarray | float = 0.0,
    weight: np.ndarray,
    n_classes: int,
) -> Outcomes:
    """Hand over all rows above each threshold; every row is looked at once.

    Parameters
    ----------
    score : ndarray of shape (n,)
        Of the expert that a row goes to.
    thresholds : ndarray of shape (m,)
        In any order; a row is handed over if its score is above.
    truth, kept, handed : ndarray of int of shape (n,)
        Positions of the true label, and of what is answered if a row is kept or handed over.
    asked, paid : float or ndarray of shape (n,), default=0.0
        Price of a row that is handed over: of asking, and of an answer.
    weight : ndarray of shape (n,)
        How much each row counts; some above 0.
    n_classes : int
        K.

    Returns
    -------
    outcomes : Outcomes
        In the order of ``thresholds``.
    """
    m, cells = len(thresholds), n_classes**2
    order = np.argsort(thresholds, kind="stable")
    # The row is handed over at this many of the thresholds, the lowest ones.
    n_below = np.searchsorted(thresholds[order], score, side="left")

    def gained(values: np.ndarray) -> np.ndarray:
        """Sum over the rows handed over at each threshold, in the order they came."""
        sums = np.bincount(n_below, values, minlength=m + 1)
        return _back(np.cumsum(sums[::-1])[::-1][1:], order)

    start = np.bincount(truth * n_classes + kept, weight, minlength=cells)
    moved = np.bincount(
        n_below * cells + truth * n_classes + handed, weight, minlength=(m + 1) * cells
    )
    moved -= np.bincount(
        n_below * cells + truth * n_classes + kept, weight, minlength=(m + 1) * cells
    )
    change = np.cumsum(moved.reshape(m + 1, cells)[::-1], axis=0)[::-1][1:]
    counts = np.maximum(start + _back(change, order), 0.0)  # rounding
    total = weight.sum()
    return Outcomes(
        counts=counts.reshape(m, n_classes, n_classes),
        deferred=gained(weight) / total,
        asked=gained(weight * asked) / total,
        paid=gained(weight * paid) / total,
    )


def _back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    result[order] = values
    return result


def count_answers(
    truth: np.ndarray, answered: np.ndarray, weight: np.ndarray, n_classes: int
) -> np.ndarray:
    """Weight (K, K) of the rows by [true, answered], positions of the labels (n,)."""
    flat = np.bincount(truth * n_classes + answered, weight, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def first_best(values: np.ndarray, allowed: np.ndarray) -> int:
    """Position of the highest value allowed; of equals, rounding aside, the first.

    NaN, a metric without meaning there, is never the best.
    """
    values = np.where(allowed & ~np.isnan(values), values, -np.inf)
    best = values.max()
    if best == -np.inf:
        return -1
    return int(np.argmax(values >= best - 1e-12 * max(1.0, abs(best))))
