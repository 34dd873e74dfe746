"""Rows in the order of a score, with tied ones as one block."""

from __future__ import annotations

import numpy as np


class Ranking:
    """The order in which rows are taken, and sums over the rows taken so far.

    Tied rows are taken in random order, and every sum is its expectation: linear inside
    the block. So the order of the input never matters.

    Parameters
    ----------
    score : ndarray of shape (n,)
        What ranks the rows, without NaN.
    weight : ndarray of shape (n,) or None
        How much each row counts.
    descending : bool
        Whether the highest score comes first.
    """

    def __init__(self, score: np.ndarray, weight: np.ndarray | None, *, descending: bool = True):
        self.order = np.argsort(score)
        if descending:
            self.order = self.order[::-1]
        self.weight = weight
        ranked = score[self.order]
        # Where a new score begins; None if each row is a block of its own.
        self.starts = None
        new = ranked[1:] != ranked[:-1]
        if not new.all():
            self.starts = np.concatenate([[0], np.flatnonzero(new) + 1, [len(score)]])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Weighted sum of ``values`` over the first i rows, i = 0..n.

        Parameters
        ----------
        values : ndarray of shape (n,)
            One per row, in the order of the input.

        Returns
        -------
        sums : ndarray of float64, of shape (n + 1,)
        """
        ranked = values[self.order]
        if self.weight is not None:
            ranked = ranked * self.weight[self.order]
        sums = np.zeros(len(values) + 1)
        np.cumsum(ranked, out=sums[1:])
        return self._spread(sums)

    def counts(self) -> np.ndarray:
        """Weight of the first i rows, i = 0..n."""
        n = len(self.order)
        if self.weight is None:
            return np.arange(n + 1, dtype=np.float64)
        return self.sums(np.ones(n, dtype=np.int8))

    def _spread(self, sums: np.ndarray) -> np.ndarray:
        if self.starts is None:
            return sums
        return np.interp(np.arange(len(sums)), self.starts, sums[self.starts])


def area(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """Mean height between ``low`` and ``high`` of the line through the points.

    Parameters
    ----------
    x : ndarray of shape (m,), rising
        Where the points stand.
    y : ndarray of shape (m,)
        Their heights; NaN at the beginning means that the line starts later.
    low, high : float
        The range; it begins where the line does if ``low`` is before.

    Returns
    -------
    area : float
        The exact integral over the range divided by its length; the height of a range of
        one point; NaN if the line starts after ``high``.
    """
    if np.isnan(y[0]):
        first = int(np.argmin(np.isnan(y)))
        x, y = x[first:], y[first:]
    low = max(low, float(x[0]))
    if np.isnan(y[0]) or low > high:
        return float("nan")
    ends = np.interp([low, high], x, y)
    if low == high:
        return float(ends[0])
    # The two ends are added apart, so that long arrays are not copied.
    first = int(np.searchsorted(x, low, side="right"))
    last = int(np.searchsorted(x, high, side="left"))
    if first == last:
        return float(ends.mean())
    x, y = x[first:last], y[first:last]
    doubled = np.dot(np.diff(x), y[1:] + y[:-1])
    doubled += (x[0] - low) * (ends[0] + y[0]) + (high - x[-1]) * (y[-1] + ends[1])
    return float(doubled / (2 * (high - low)))


def best_score(score: np.ndarray) -> np.ndarray:
    """Largest score (n,) of each row of (n, J); by column, which is fast for few experts."""
    best = score[:, 0]
    for j in range(1, score.shape[1]):
        best = np.maximum(best, score[:, j])
    return best


def best_shares(score: np.ndarray, best: np.ndarray | None = None) -> np.ndarray | None:
    """Share of the row that each expert gets: equal among those of the best score.

    Parameters
    ----------
    score : ndarray of shape (n, J)
        The wish to defer to each expert.
    best : ndarray of shape (n,), optional
        Its largest value on each row.

    Returns
    -------
    share : ndarray of shape (n, J) or None
        Rows sum to 1; None if there is one expert, who gets all.
    """
    if score.shape[1] == 1:
        return None
    best = best_score(score) if best is None else best
    tied = score == best[:, np.newaxis]
    return tied / np.count_nonzero(tied, axis=1)[:, np.newaxis]
