"""What the system costs: answers that are wrong, and experts that are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.costs import as_prices
from skdefer.metrics._inputs import Rows, check_rows, check_weight, mean, numbered
from skdefer.metrics._panels import with_panels
from skdefer.metrics._resources import read_amounts
from skdefer.utils._validation import encode_answers


def system_cost(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    route: ArrayLike,
    *,
    cost: Any = 0.0,
    error_cost: Any = 1.0,
    labels: ArrayLike | None = None,
    y_system: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """What a row costs on average, wrong answers and experts' fees together.

    The mean of ``error_cost[true, answered]`` plus the price of the expert asked, or of all of
    several. Where an expert has no answer the model answers, and nothing is paid.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none.
    route : array-like of int of shape (n_rows,), or of bool of shape (n_rows, n_experts)
        Who is to answer: 0 the model, j in 1..n_experts expert j. Where several are asked about
        a row, a panel: True for each of them.
    cost : float, array-like of shape (n_experts,) or (n_rows, n_experts), or CostModel, default=0.0
        The price of asking; a CostModel by name reads the columns of a DataFrame of answers.
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame, default=1.0
        The price of any wrong answer or, as a matrix, of each answer:
        ``[true, answered]``, in the order of ``labels``; a DataFrame is labelled by class.
        An answer that is no class costs as much as the worst one.
    labels : array-like of shape (n_classes,), optional
        The order of an ``error_cost`` matrix. By default the sorted labels of ``y_true``
        and ``y_pred``.
    y_system : array-like of shape (n_rows,), optional
        The labels of the system; with a panel of several experts, whose vote they are, only.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    cost : float
        In the unit of ``cost`` and ``error_cost``; lower is better.

    Raises
    ------
    ValueError
        For no row, unequal lengths, a missing label, a route to nobody, a price that is
        negative or NaN, or a matrix that does not fit the classes.

    Examples
    --------
    One error and two questions at .1, over four rows:

    >>> from skdefer.metrics import system_cost
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0]
    >>> round(system_cost(y_true, y_pred, expert, [0, 1, 0, 1], cost=0.1), 3)
    0.3

    Missing a 1 costs 5, a false alarm 1:

    >>> system_cost(y_true, y_pred, expert, [0, 0, 0, 0], error_cost=[[0, 1], [5, 0]])
    1.5
    """
    rows = check_rows(y_true, y_pred, expert_predictions)
    weight = check_weight(sample_weight, rows.n_rows)
    price = check_cost(cost, rows.n_rows, rows.n_experts, rows.names)
    rows, route, price = with_panels(rows, route, price, y_system)
    n = np.arange(rows.n_rows)
    expert = np.maximum(route, 1) - 1
    paid = np.where((route > 0) & rows.answered[n, expert], price[n, expert], 0.0)
    return mean(error_costs(rows, error_cost, labels)[n, route] + paid, weight)


def check_cost(
    cost: Any, n_rows: int, n_experts: int, names: Sequence[str] | None = None
) -> np.ndarray:
    """Bring the price of each expert on each row into shape (n, J).

    Parameters
    ----------
    cost : number, array-like of shape (J,) or (n, J), or CostModel
        Not negative; one number for all, one per expert, or one per row and expert. NaN, that is
        unknown, in a CostModel alone.
    n_rows, n_experts : int
        n and J.
    names : sequence of str, optional
        The experts, for a CostModel that names them.

    Returns
    -------
    cost : ndarray of shape (n, J), read-only
    """
    amounts = read_amounts(cost, names or numbered(n_experts), None, n_rows)
    if amounts is not None:
        return amounts.total
    price = as_prices(cost, "cost", "a number, one per expert, or one per row and expert")
    if price.shape not in ((), (n_experts,), (n_rows, n_experts)):
        raise ValueError(
            f"cost has shape {price.shape}, but there are {n_rows} rows and {n_experts} experts. "
            f"Pass a number, an array of shape ({n_experts},), or one of shape "
            f"({n_rows}, {n_experts})."
        )
    return np.broadcast_to(price, (n_rows, n_experts))


def error_costs(rows: Rows, error_cost: Any, labels: Any = None) -> np.ndarray:
    """What the answer of each route costs by being what it is.

    Parameters
    ----------
    rows : Rows
        Labels and answers of n rows, J experts.
    error_cost : number, array-like of shape (K, K) or DataFrame
        The price of any wrong answer, or of each answer, ``[true, answered]``.
    labels : array-like of shape (K,), optional
        The order of the matrix; the sorted labels by default.

    Returns
    -------
    costs : ndarray of shape (n, 1 + J)
        Column 0 the model's answer, column j expert j's, or the model's where that is missing.
    """
    if hasattr(error_cost, "columns"):
        error_cost, labels = _from_frame(error_cost)
    matrix = as_prices(error_cost, "error_cost", "a number, or one for each [true, answered]")
    if matrix.ndim == 0:
        return np.where(rows.right, 0.0, matrix)
    classes, order = _classes(rows, labels, matrix.shape)
    matrix = matrix[np.ix_(order, order)]
    truth = encode_answers(rows.y_true, classes)
    model = encode_answers(rows.y_pred, classes)
    _refuse_unknown(rows.y_true, truth, "y_true", classes)
    _refuse_unknown(rows.y_pred, model, "y_pred", classes)
    # An answer that is no label at all costs as much as the worst one.
    matrix = np.column_stack([matrix, matrix.max(axis=1)])
    costs = np.empty((rows.n_rows, 1 + rows.n_experts))
    costs[:, 0] = matrix[truth, model]
    answers = encode_answers(rows.answers, classes)
    answers[answers < 0] = len(classes)
    costs[:, 1:] = np.where(rows.answered, matrix[truth[:, np.newaxis], answers], costs[:, :1])
    return costs


def _from_frame(frame: Any) -> tuple[np.ndarray, np.ndarray]:
    """Split a labelled matrix into its numbers and the order of its classes."""
    if not frame.index.is_unique or not frame.columns.is_unique:
        raise ValueError("error_cost repeats a label. Give each class one row and one column.")
    if set(frame.index) != set(frame.columns):
        raise ValueError(
            f"error_cost has rows for {list(frame.index)} (true) and columns for "
            f"{list(frame.columns)} (answered). Label both by the same classes."
        )
    # reindex: with .loc, labels True and False would be a mask.
    return frame.reindex(columns=frame.index).to_numpy(), np.asarray(frame.index)


def _classes(rows: Rows, labels: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Give the sorted classes, and where each stands in the matrix."""
    given = labels is not None
    if not given:
        labels = np.concatenate([rows.y_true, rows.y_pred])
    labels = np.asarray(labels)
    classes, order = np.unique(labels, return_index=True)
    if not given:
        order = np.arange(len(classes))
    if given and len(classes) != len(labels):
        raise ValueError(f"labels repeats a class: {labels.tolist()}. Name each one once.")
    if shape != (len(classes), len(classes)):
        where = "labels" if given else "y_true and y_pred"
        raise ValueError(
            f"error_cost has shape {shape}, but {where} holds {len(classes)} classes. Pass a "
            "matrix [true, answered] with a row and a column per class, and labels= in its order."
        )
    return classes, order


def _refuse_unknown(values: np.ndarray, codes: np.ndarray, name: str, classes: np.ndarray) -> None:
    if codes.min() < 0:
        unknown = sorted({str(label) for label in values[codes < 0].tolist()})
        raise ValueError(
            f"{name} holds {unknown[:5]}, for which error_cost has no row: it knows "
            f"{classes.tolist()[:20]}. Add these classes to error_cost and labels."
        )
