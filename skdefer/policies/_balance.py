"""Operating points of several groups that lie close together and gain most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ROUNDING = 1e-9


def balance(
    levels: Sequence[np.ndarray], gains: Sequence[np.ndarray], tolerance: float
) -> tuple[np.ndarray, float]:
    """Choose one operating point per group: the greatest gain whose levels differ little.

    The solution is exact. The lowest level of the best choice is the level of some point, so each
    of those is tried, and every group takes its best point of the window that begins there.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n_points,)
        What must be about equal, at each point of each group.
    gains : sequence of ndarray of shape (n_points,)
        What the point is worth.
    tolerance : float
        The greatest difference allowed between the levels of two groups. Where no choice is that
        close, the closest there is.

    Returns
    -------
    chosen : ndarray of int of shape (n_groups,)
        A point of each group.
    reachable : float
        The least greatest difference there is.
    """
    order = [np.lexsort((gain, level)) for level, gain in zip(levels, gains)]
    sorted_levels = [level[o] for level, o in zip(levels, order)]
    starts = np.unique(np.concatenate(sorted_levels))
    reach = np.zeros(len(starts))
    for level in sorted_levels:
        first = np.searchsorted(level, starts)
        found = np.append(level, np.inf)[first]
        reach = np.maximum(reach, found - starts)
    reachable = float(reach.min())
    ends = starts + max(tolerance, reachable) + _ROUNDING
    total = np.zeros(len(starts))
    choices = []
    for level, gain, o in zip(sorted_levels, gains, order):
        left, right = np.searchsorted(level, starts), np.searchsorted(level, ends, side="right")
        best = range_argmax(gain[o], left, right)
        total += np.where(best >= 0, gain[o][best], -np.inf)
        choices.append(o[best])
    window = int(total.argmax())
    return np.array([choice[window] for choice in choices]), reachable


def range_argmax(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Find the position of the greatest of ``values[left:right]`` for each pair; -1 if empty."""
    size = right - left
    best = np.full(len(left), -1)
    table, width = np.arange(len(values)), 1  # the best of each run of so many
    while True:
        asked = np.flatnonzero((size >= width) & (size < 2 * width))
        if len(asked):
            one, other = table[left[asked]], table[right[asked] - width]
            best[asked] = np.where(values[other] > values[one], other, one)
        if 2 * width > len(values):
            return best
        one, other = table[:-width], table[width:]
        table, width = np.where(values[other] > values[one], other, one), 2 * width
