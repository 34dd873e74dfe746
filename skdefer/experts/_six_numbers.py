"""Six numbers of a row and an expert that name neither class nor expert."""

from __future__ import annotations

from typing import Any

import numpy as np

#: What the six numbers are, in their order.
SIX_NUMBERS = (
    "largest probability",
    "mean accuracy at the predicted class",
    "its variance",
    "mean accuracy at the expertise class",
    "its variance",
    "probability of the expertise class",
)

# Means nearer than this are tied: weights and decay leave rounding errors in counts.
_TIED = 1e-12


def expertise_class(mean: Any, proba: Any, variance: Any = None) -> np.ndarray:
    """Which class an expert knows best, row by row.

    It is the class of greatest mean accuracy. Small contexts tie often: then it is the tied
    class that the model finds most probable on the row, and of several equally probable ones
    the one of least variance, so that renaming the classes renames the result.

    Parameters
    ----------
    mean : array-like of shape (n_classes,) or (n_experts, n_classes)
        Posterior mean accuracy of the expert, or of each expert, on each class.
    proba : array-like of shape (n_rows, n_classes)
        The model's class probabilities.
    variance : array-like of the shape of ``mean``, default=None
        Posterior variances; None: of classes equally probable the first one.

    Returns
    -------
    position : ndarray of int of shape (n_rows,) or (n_experts, n_rows)
        Positions of classes.

    Examples
    --------
    >>> from skdefer.experts._six_numbers import expertise_class
    >>> expertise_class([0.5, 0.9, 0.9], [[0.8, 0.1, 0.1], [0.3, 0.3, 0.4]])
    array([1, 2])
    """
    mean = np.asarray(mean, dtype=float)
    proba = np.asarray(proba)
    variance = np.zeros_like(mean) if variance is None else np.asarray(variance, dtype=float)
    _check_shapes(proba, mean, variance)
    if mean.ndim == 2:
        pairs = [expertise_class(m, proba, v) for m, v in zip(mean, variance)]
        return np.array(pairs, dtype=np.intp).reshape(len(mean), len(proba))
    tied = np.flatnonzero(mean >= mean.max() - _TIED)
    if len(tied) == 1:
        return np.full(len(proba), tied[0])
    tied = tied[np.argsort(variance[tied], kind="stable")]  # argmax takes the first of equals
    return tied[proba[:, tied].argmax(axis=1)]


def six_numbers(proba: Any, mean: Any, variance: Any) -> np.ndarray:
    """What an expert-agnostic rejector reads of a row: six numbers for each expert.

    The model's largest class probability; mean and variance of the expert's accuracy at the
    class that the model predicts; mean and variance at the expert's expertise class; the
    model's probability of that class. No number says which class or which expert it was, so
    that what is learned from some experts serves others.

    Parameters
    ----------
    proba : array-like of shape (n_rows, n_classes)
        The model's class probabilities. The predicted class is the most probable one, the
        first of several as in the model's own answer.
    mean, variance : array-like of shape (n_classes,) or (n_experts, n_classes)
        Posterior mean and variance of the accuracy of the expert, or of each expert, on each
        class: ``mean_`` and ``variance_`` of :class:`skdefer.experts.ExpertProfile`.

    Returns
    -------
    numbers : ndarray of shape (n_rows, 6) or (n_experts, n_rows, 6)
        In the order of ``SIX_NUMBERS``.

    Raises
    ------
    ValueError
        For shapes that don't match.

    References
    ----------
    Strong et al. (2025). Expert-Agnostic Learning to Defer. arXiv 2502.10533.

    Examples
    --------
    >>> from skdefer.experts._six_numbers import six_numbers
    >>> six_numbers([[0.7, 0.3]], mean=[0.5, 0.9], variance=[0.08, 0.01])
    array([[0.7 , 0.5 , 0.08, 0.9 , 0.01, 0.3 ]])
    """
    proba = np.asarray(proba)
    mean = np.asarray(mean, dtype=float)
    variance = np.asarray(variance, dtype=float)
    expertise = expertise_class(mean, proba, variance)
    rows = np.arange(len(proba))
    predicted = proba.argmax(axis=1)
    numbers = np.empty((*expertise.shape, 6))
    numbers[..., 0] = proba[rows, predicted]
    for column, moments in ((1, mean), (2, variance)):
        numbers[..., column] = moments[..., predicted]
        numbers[..., column + 2] = np.take_along_axis(moments, expertise, axis=-1)
    numbers[..., 5] = proba[rows, expertise]
    return numbers


def _check_shapes(proba: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    n_classes = proba.shape[-1] if proba.ndim == 2 else 0
    if not n_classes or mean.ndim not in (1, 2) or mean.shape[-1] != n_classes:
        raise ValueError(
            f"mean has shape {mean.shape} and proba {proba.shape}; expected (n_classes,) or "
            "(n_experts, n_classes), and (n_rows, n_classes). Align the profiles with the "
            "model's classes first."
        )
    if variance.shape != mean.shape:
        raise ValueError(
            f"variance has shape {variance.shape} and mean {mean.shape}; expected the same shape, "
            "a variance for each mean."
        )
