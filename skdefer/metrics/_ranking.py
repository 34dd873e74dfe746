"""Rows in the order of a score, with tied ones as one block."""

from __future__ import annotations

import numpy as np


class Ranking:
    """The order in which rows are taken, and sums over the rows taken so far.

    Tied rows are taken in random order, and every sum is its expectation, which is
    straight inside the block of tied rows. So the order of the input never matters.

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
        # The points inside blocks of tied rows; most often there are few, or none.
        self.inside = np.flatnonzero(~new) + 1
        first = np.flatnonzero(np.diff(self.inside, prepend=-1) > 1)
        self.block_start = self.inside[first] - 1
        self.n_inside = np.diff(first, append=len(self.inside))  # of each block

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Weighted sum over the first i rows, i = 0..n.

        Parameters
        ----------
        values : ndarray of shape (n,), or (n_kinds,) if kinds were given
            What each row, or each row of a kind, counts.

        Returns
        -------
        sums : ndarray of float64, of shape (n + 1,)
        """
        ranked = values[self.entry]
        if self.weight is not None:
            ranked = ranked * self.weight
        sums = np.zeros(self.n_rows + 1)
        np.cumsum(ranked, out=sums[1:])
        if len(self.inside):
            low = sums[self.block_start]
            step = (sums[self.block_start + self.n_inside + 1] - low) / (self.n_inside + 1)
            low, step, start = (np.repeat(v, self.n_inside) for v in (low, step, self.block_start))
            sums[self.inside] = low + step * (self.inside - start)
        return sums

    def counts(self) -> np.ndarray:
        """Weight of the first i rows, i = 0..n."""
        if self.weight is None:
            return np.arange(self.n_rows + 1, dtype=np.float64)
        return self.sums(np.ones(self.n_rows))


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
