"""Whether what is expected of an expert comes true."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.metrics._inputs import (
    check_expert_predictions,
    check_labels,
    check_score,
    check_weight,
    equal,
)


def expert_calibration_loss(
    y_true: ArrayLike,
    expert_predictions: Any,
    expected_accuracy: ArrayLike,
    *,
    n_bins: int = 10,
    sample_weight: ArrayLike | None = None,
) -> float:
    """How far the accuracy promised of an expert is from what the expert achieves.

    The expected calibration error of "the expert will be right": each expert's answered
    rows are cut into ``n_bins`` bins of equal weight by the promise, and the distance
    between the mean promise and the share of right answers is averaged over bins, then
    over experts by what each answered. Equal promises share a bin.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers. A missing one is left out.
    expected_accuracy : array-like of shape (n_rows,) or (n_rows, n_experts)
        The promised probability, in [0, 1], that the expert is right.
    n_bins : int, default=10
        The number of bins.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    loss : float
        In [0, 1], lower is better, 0 for promises that hold; NaN if nobody answered.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, a promise outside [0, 1], or
        ``n_bins`` below 1.

    References
    ----------
    .. [1] Nixon et al., "Measuring calibration in deep learning", CVPR Workshops 2019
       (bins of equal mass).

    Examples
    --------
    >>> from skdefer.metrics import expert_calibration_loss
    >>> promise = [0.9, 0.9, 0.5, 0.5]
    >>> round(expert_calibration_loss([0, 0, 1, 1], [0, 0, 1, 0], promise, n_bins=2), 3)
    0.05
    """
    y_true = check_labels(y_true, "y_true")
    answers, answered, _ = check_expert_predictions(expert_predictions, len(y_true))
    promise = check_score(
        expected_accuracy, len(answers), answers.shape[1], name="expected_accuracy"
    )
    weight = check_weight(sample_weight, len(y_true))
    if promise.min() < 0 or promise.max() > 1:
        raise ValueError(
            f"expected_accuracy ranges from {promise.min()} to {promise.max()}; expected "
            "probabilities in [0, 1]. Pass P(the expert is right)."
        )
    if not (isinstance(n_bins, (int, np.integer)) and n_bins >= 1):
        raise ValueError(f"n_bins is {n_bins!r}; expected an integer of 1 or more. Pass 10, say.")
    weight = np.ones(len(y_true)) if weight is None else weight
    gap = total = 0.0
    for j in range(answers.shape[1]):
        given = answered[:, j]
        right = equal(answers[given, j], y_true[given])
        gap += _calibration_gap(promise[given, j], right, weight[given], n_bins)
        total += weight[given].sum()
    return float(gap / total) if total else float("nan")


def _calibration_gap(
    promise: np.ndarray, right: np.ndarray, weight: np.ndarray, n_bins: int
) -> float:
    """Sum over bins of equal weight of |what was promised - what came|."""
    if not weight.any():
        return 0.0
    _, value = np.unique(promise, return_inverse=True)
    mass = np.bincount(value, weights=weight)
    # Equal promises stand together where the middle of them falls, in whatever order.
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    bins = np.minimum((middle * n_bins).astype(int), n_bins - 1)[value]
    return float(np.abs(np.bincount(bins, weights=weight * (promise - right))).sum())
