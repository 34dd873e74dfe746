"""Where to cut a score: candidates, and the threshold above which handing over has paid most."""

from __future__ import annotations

import numpy as np


def midpoint(low: float, high: float) -> float:
    """Halve the way between two scores, safe where one is infinite."""
    if np.isinf(low) or np.isinf(high):
        return low
    return low + (high - low) / 2


def candidate_thresholds(
    score: np.ndarray, *, most: int | None = None, lowest: float | None = None
) -> np.ndarray:
    """List the thresholds worth comparing: midway between neighbouring scores.

    Parameters
    ----------
    score : ndarray of shape (n,)
        Finite ones, or -inf; equal scores go together.
    most : int, default=None
        The most candidates, taken evenly from all of them with both ends; None: no limit.
    lowest : float, default=None
        No candidate is below it, and it is one itself; None: one is below all scores.

    Returns
    -------
    thresholds : ndarray of shape (n_thresholds,)
        Falling, so that fewer rows are handed over by those that come first; the first is
        infinity, which keeps every row.
    """
    values = np.unique(score[score > -np.inf])[::-1]
    inner = values[1:] + (values[:-1] - values[1:]) / 2
    if lowest is None and len(values):
        lowest = values[-1] - ((values[0] - values[-1]) or 1.0)  # as far below as they are apart
    ends = [] if lowest is None else [lowest]
    inner = inner if lowest is None else inner[inner > lowest]
    found = np.concatenate([[np.inf], inner, ends])
    if most is None or len(found) <= most:
        return found
    return found[np.unique(np.linspace(0, len(found) - 1, most).round().astype(int))]


def budget_threshold(score: np.ndarray, weight: np.ndarray, budget: float) -> float:
    """Find the least threshold >= 0 above which lies at most the share ``budget``.

    Parameters
    ----------
    score, weight : ndarray of shape (n,)
        Of each row; some weight is above 0.
    budget : float
        The share of weight, in [0, 1].

    Returns
    -------
    threshold : float
        Midway between neighbouring scores. A block of equal scores that would exceed the budget
        stays below; infinity for a budget of 0.
    """
    if budget == 0:
        return float("inf")
    values, block = np.unique(-score, return_inverse=True)  # blocks of equal scores, best first
    values = -values
    handed = np.cumsum(np.bincount(block, weight)) / weight.sum()
    n_blocks = int(np.searchsorted(handed, budget * (1 + 1e-12), side="right"))
    if n_blocks == len(values) or values[n_blocks] <= 0:
        return 0.0
    if n_blocks == 0:
        return float(values[0])  # nothing fits: above every score seen
    return max(0.0, float(midpoint(values[n_blocks], values[n_blocks - 1])))


def best_threshold(
    score: np.ndarray,
    gain: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    lowest: float,
    highest: float,
) -> float:
    """Find the threshold that gains most when all scores above it are handed over.

    Parameters
    ----------
    score : ndarray of shape (n,)
        Equal scores go together.
    gain : ndarray of shape (n,)
        What handing over gained, or is expected to gain.
    weight : ndarray of shape (n,), default=None
        Weights; None: 1 each.
    lowest, highest : float
        The threshold if handing over everything, or nothing, is best; no score lies beyond.

    Returns
    -------
    threshold : float
        Midway between neighbouring scores; of several equally good ones the highest, so that
        fewest are handed over.
    """
    weight = np.ones(len(score)) if weight is None else weight
    values, block = np.unique(-score, return_inverse=True)  # blocks of equal scores, best first
    values = -values
    total = np.concatenate([[0.0], np.cumsum(np.bincount(block, weight * gain))])
    # Rounding must not make a later cut look better than an equal one before it.
    n_blocks = int(np.argmax(total >= total.max() - 1e-9 * max(1.0, np.abs(total).max())))
    if n_blocks == 0:
        return float(highest)
    if n_blocks == len(values):
        return float(lowest)
    return float(midpoint(values[n_blocks], values[n_blocks - 1]))
