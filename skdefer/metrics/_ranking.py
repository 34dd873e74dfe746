"""Rows in the order of a score, with tied ones as one block."""

from __future__ import annotations

import numpy as np


class Ranking:
    """The order in which rows are taken, and sums over the rows taken so far.

    Tied rows are taken in random order, and every sum is its expectation, which is
    straight inside the block. So the order of the input never matters, and a sum is known
    by its values at the knots, the borders of the blocks.

    Parameters
    ----------
    score : ndarray of shape (n,)
        What ranks the rows, without NaN.
    weight : ndarray of shape (n,), optional
        How much each row counts.
    kind : ndarray of uint8, of shape (n,), optional
        Rows of one kind count the same in every sum, which makes ranking faster. Not with
        weights.
    descending : bool, default=True
        Whether the highest score comes first.
    """

    def __init__(
        self,
        score: np.ndarray,
        *,
        weight: np.ndarray | None = None,
        kind: np.ndarray | None = None,
        descending: bool = True,
    ):
        self.n_rows = len(score)
        if kind is None:
            self.entry = np.argsort(score)
            ranked = score[self.entry]
        else:
            self.entry, ranked = _merge_kinds(score, kind)
        new = ranked[1:] != ranked[:-1]
        if descending:
            self.entry, new = self.entry[::-1], new[::-1]
        self.weight = None if weight is None else weight[self.entry]
        # The number of rows taken at each knot; None if no rows are tied: 0..n.
        self.knots = None
        if not new.all():
            self.knots = np.concatenate([[0], np.flatnonzero(new) + 1, [self.n_rows]])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Weighted sum, up to each knot, of values per row, or per kind if kinds were given."""
        ranked = values[self.entry]
        if self.weight is not None:
            ranked = ranked * self.weight
        sums = np.zeros(self.n_rows + 1)
        np.cumsum(ranked, out=sums[1:])
        return sums if self.knots is None else sums[self.knots]

    def counts(self) -> np.ndarray:
        """Weight of the rows up to each knot."""
        if self.weight is not None:
            return self.sums(np.ones(self.n_rows))
        knots = np.arange(self.n_rows + 1) if self.knots is None else self.knots
        return knots.astype(np.float64)

    def spread(self, sums: np.ndarray) -> np.ndarray:
        """From the knots to all n + 1 points, that is after 0, 1, ... n rows."""
        if self.knots is None:
            return sums
        return np.interp(np.arange(self.n_rows + 1), self.knots, sums)


def _merge_kinds(score: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank by rising score; give the kind and the score at each rank.

    Sorting is more than twice as fast as argsort, and merging sorted runs is nearly free.
    So each kind is sorted by itself, without keeping track of its rows.
    """
    present = np.flatnonzero(np.bincount(kind)).astype(np.uint8)
    runs = [np.sort(score[kind == k]) for k in present]
    kinds = np.repeat(present, [len(run) for run in runs])
    ranked = np.concatenate(runs)
    order = np.argsort(ranked, kind="stable")  # sees the runs, and only merges them
    return kinds[order], ranked[order]


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


def best_experts(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the best score of each row and the experts who have it.

    Parameters
    ----------
    score : ndarray of shape (n, J)
        The wish to defer to each expert.

    Returns
    -------
    best : ndarray of shape (n,)
        The largest value of each row.
    tied : ndarray of bool, of shape (n, J)
        Whose score is the largest; several where they are tied.
    """
    best = score[:, 0]
    for j in range(1, score.shape[1]):  # faster than max(axis=1) for few experts
        best = np.maximum(best, score[:, j])
    return best, score == best[:, np.newaxis]
