"""Where to cut a score: the threshold above which handing over has paid most."""

from __future__ import annotations

import numpy as np


def midpoint(low: float, high: float) -> float:
    """Halve the way between two scores, safe where one is infinite."""
    if np.isinf(low) or np.isinf(high):
        return low
    return low + (high - low) / 2


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
