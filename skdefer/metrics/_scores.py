"""How good the system is at the routes it takes: accuracies and shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.metrics._inputs import check_route, check_rows, check_weight, mean


def system_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    route: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """How often the whole system is right, model and experts together.

    A row counts as right if the one it is routed to is right. Where that expert has no
    answer, the model answers.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The labels that the model alone would give.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none. An answer that
        is no known label is simply wrong.
    route : array-like of int of shape (n_rows,)
        Who is to answer: 0 the model, j in 1..n_experts expert j.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        In [0, 1], higher is better.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, or a route to nobody.

    See Also
    --------
    deferral_accuracy_score : The experts' accuracy on the rows they got.
    kept_accuracy_score : The model's accuracy on the rows it kept.
    system_cost : The same question, with prices.

    Examples
    --------
    >>> from skdefer.metrics import system_accuracy_score
    >>> y_true = ["cat", "cat", "dog", "dog"]
    >>> y_pred = ["cat", "dog", "dog", "cat"]
    >>> expert = ["dog", "cat", None, None]
    >>> system_accuracy_score(y_true, y_pred, expert, [0, 1, 0, 1])
    0.75
    """
    rows = check_rows(y_true, y_pred, expert_predictions)
    route = check_route(route, rows.n_rows, rows.n_experts)
    weight = check_weight(sample_weight, rows.n_rows)
    return mean(rows.right[np.arange(rows.n_rows), route], weight)


def deferral_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    route: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """How often the experts are right on the rows they got.

    Deferred rows without an answer are left out. High values are no aim in themselves:
    handing over easy rows raises them and helps nobody.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels. Checked, but not used: the metrics of a route take the same
        four arrays.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none.
    route : array-like of int of shape (n_rows,)
        Who is to answer: 0 the model, j in 1..n_experts expert j.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        In [0, 1], higher is better; NaN if no deferred row has an answer.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, or a route to nobody.

    Examples
    --------
    >>> from skdefer.metrics import deferral_accuracy_score
    >>> deferral_accuracy_score([0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, None], [0, 1, 1, 1])
    0.5
    """
    rows = check_rows(y_true, y_pred, expert_predictions)
    route = check_route(route, rows.n_rows, rows.n_experts)
    weight = check_weight(sample_weight, rows.n_rows)
    at = np.arange(rows.n_rows), np.maximum(route, 1) - 1
    return mean(rows.expert_right[at], weight, where=(route > 0) & rows.answered[at])


def kept_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    route: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """How often the model is right on the rows it kept.

    Also called selective accuracy.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers. Checked, but not used: the metrics of a route take the same
        four arrays.
    route : array-like of int of shape (n_rows,)
        Who is to answer: 0 the model, j in 1..n_experts expert j.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        In [0, 1], higher is better; NaN if every row is deferred.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, or a route to nobody.

    Examples
    --------
    >>> from skdefer.metrics import kept_accuracy_score
    >>> kept_accuracy_score([0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0])
    0.6666666666666666
    """
    rows = check_rows(y_true, y_pred, expert_predictions)
    route = check_route(route, rows.n_rows, rows.n_experts)
    weight = check_weight(sample_weight, rows.n_rows)
    return mean(rows.right[:, 0], weight, where=route == 0)


def oracle_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """On what share of the rows somebody is right, the model or an expert.

    No route over the same answers does better: it is the ceiling of
    :func:`system_accuracy_score`.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        In [0, 1], higher is better.

    Raises
    ------
    ValueError
        For no row, unequal lengths, or a missing label.

    Examples
    --------
    >>> from skdefer.metrics import oracle_accuracy_score
    >>> oracle_accuracy_score([0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0])
    0.75
    """
    rows = check_rows(y_true, y_pred, expert_predictions)
    return mean(rows.right.any(axis=1), check_weight(sample_weight, rows.n_rows))


def deferral_rate(route: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """What share of the rows is handed to an expert.

    A rate is neither good nor bad, so its name has no ``_score``.

    Parameters
    ----------
    route : array-like of int or bool of shape (n_rows,)
        Who is to answer: 0 the model, above 0 an expert.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    rate : float
        In [0, 1].

    Raises
    ------
    ValueError
        For no row or something that is no route.

    Examples
    --------
    >>> from skdefer.metrics import deferral_rate
    >>> deferral_rate([0, 2, 0, 1])
    0.5
    """
    route = check_route(route)
    return mean(route > 0, check_weight(sample_weight, len(route)))


def coverage_score(route: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """What share of the rows the model keeps.

    Parameters
    ----------
    route : array-like of int or bool of shape (n_rows,)
        Who is to answer: 0 the model, above 0 an expert.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    score : float
        In [0, 1], 1 less :func:`deferral_rate`; higher means fewer rows for the experts.

    Raises
    ------
    ValueError
        For no row or something that is no route.

    Examples
    --------
    >>> from skdefer.metrics import coverage_score
    >>> coverage_score([0, 2, 0, 0])
    0.75
    """
    route = check_route(route)
    return mean(route == 0, check_weight(sample_weight, len(route)))
