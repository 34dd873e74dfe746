"""Prices: of asking an expert, and of a wrong answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def resolve_cost(
    cost: Any, names: Sequence[str], own: Sequence[float], X: Any, n_rows: int
) -> np.ndarray:
    """Bring the price of asking to one number per expert, or per row and expert.

    Parameters
    ----------
    cost : None, float, sequence, mapping or callable
        None: each expert's own price. A number: of every expert. A sequence: one per
        expert. A mapping or a pandas Series: by name, every expert. A callable of X:
        shape ``(n_rows,)`` or ``(n_rows, n_experts)``.
    names : sequence of str
        The experts.
    own : sequence of float
        The experts' own prices.
    X : the rows, without the columns of column experts
        Passed to a callable.
    n_rows : int
        The number of rows.

    Returns
    -------
    cost : ndarray of shape (n_experts,) or (n_rows, n_experts)
        In the unit of ``error_cost``.

    Raises
    ------
    ValueError
        For a wrong length, unknown names, negative prices or NaN.
    """
    J = len(names)
    if cost is None:
        return np.asarray(own, dtype=float)
    if callable(cost):
        prices = as_prices(cost(X), "cost(X)")
        if prices.shape == (n_rows,):
            prices = np.repeat(prices[:, None], J, axis=1)
        if prices.shape != (n_rows, J):
            raise ValueError(
                f"cost(X) returned shape {prices.shape} for {n_rows} rows and {J} experts; "
                f"expected ({n_rows},) or ({n_rows}, {J})."
            )
        return prices
    if hasattr(cost, "to_dict"):  # a Series: its index says whose prices they are
        cost = cost.to_dict()
    if isinstance(cost, Mapping):
        if set(cost) != set(names):
            raise ValueError(
                f"cost has prices for {sorted(map(str, cost))}, but the experts are "
                f"{list(names)}. Give a price for each of them."
            )
        cost = [cost[name] for name in names]
    prices = as_prices(cost, "cost")
    if prices.ndim == 0:
        return np.full(J, float(prices))
    if prices.shape != (J,):
        raise ValueError(
            f"cost has shape {prices.shape}, but there are {J} experts: {list(names)}. Pass "
            f"{_COSTS}."
        )
    return prices


_COSTS = "a number, one per expert, a mapping by name, or a callable of X"


def as_prices(values: Any, what: str, forms: str = _COSTS) -> np.ndarray:
    """Bring prices to a float array, none negative or NaN; ``forms`` says what was expected."""
    try:
        prices = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is {values!r}; expected prices: {forms}.") from error
    if np.isnan(prices).any() or (prices < 0).any():
        raise ValueError(
            f"{what} has negative prices or NaN; expected numbers >= 0 in the unit of error_cost."
        )
    return prices


def resolve_error_cost(error_cost: Any, classes: np.ndarray) -> tuple[float, np.ndarray | None]:
    """Bring the price of a wrong answer to a number and, where it has one, a matrix.

    Parameters
    ----------
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame
        A number, or the price of each (true, answered) pair: an array in the order of
        ``classes``, or a DataFrame labelled by class.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    unit : float
        What an error costs; 1 with a matrix, whose entries are prices already.
    matrix : ndarray of shape (n_classes, n_classes) or None
        Rows are the truth, columns the answer.

    Raises
    ------
    ValueError
        For a wrong shape, unknown labels, negative prices, NaN or infinity.
    """
    if error_cost is None:
        return 1.0, None
    K = len(classes)
    forms = f"a number, or ({K}, {K}) of them by [true, answered]"
    if hasattr(error_cost, "columns"):
        labels = classes.tolist()
        if not hasattr(error_cost, "reindex"):
            raise ValueError(
                f"error_cost is a {type(error_cost).__module__} DataFrame, whose rows have no "
                f"labels; expected the classes {labels} by rows too. Pass a pandas DataFrame with "
                "an index, or an array in the order of the classes."
            )
        rows, columns = list(error_cost.index), list(error_cost.columns)
        if not len(rows) == len(columns) == K or not set(rows) == set(columns) == set(labels):
            raise ValueError(
                f"error_cost is labelled {rows} by {columns}, but the classes are {labels}. "
                "Label both rows (truth) and columns (answer) by class."
            )
        # Not .loc, to which labels that are True and False are a mask.
        error_cost = error_cost.reindex(index=labels, columns=labels).to_numpy()
    values = as_prices(error_cost, "error_cost", forms)
    if not np.isfinite(values).all():
        raise ValueError("error_cost has infinity; expected finite prices.")
    if values.ndim == 0:
        return float(values), None
    if values.shape != (K, K):
        raise ValueError(
            f"error_cost has shape {values.shape}; expected a number or ({K}, {K}), the price of "
            f"each [true, answered] pair of the classes {classes.tolist()}."
        )
    return 1.0, values


def least_cost_answer(proba: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Pick the class of least expected cost on each row.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
        Class probabilities.
    matrix : ndarray of shape (n_classes, n_classes) or None
        Price of each (true, answered) pair; None: the most probable class.

    Returns
    -------
    answer : ndarray of int of shape (n_rows,)
        Positions of classes.
    """
    if matrix is None:
        return proba.argmax(axis=1)
    return (proba @ matrix).argmin(axis=1)


def error_unit(error_cost: Any, fitted: np.ndarray | None, classes: np.ndarray) -> float:
    """Say what an error costs now; a matrix can't change after ``fit``.

    Parameters
    ----------
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame
        The parameter as it is.
    fitted : ndarray of shape (n_classes, n_classes) or None
        The matrix that the rejector was fitted to; None: plain errors.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    unit : float
        What losses are multiplied by.

    Raises
    ------
    ValueError
        If the rejector was fitted to another matrix, or to none.
    """
    unit, matrix = resolve_error_cost(error_cost, classes)
    if matrix is None and fitted is None:
        return unit
    if matrix is None or fitted is None or not np.array_equal(matrix, fitted):
        was = "plain errors" if fitted is None else "another matrix"
        raise ValueError(
            f"error_cost was changed after fit, but the rejector was fitted to {was}. Call fit "
            "again; with memory= the estimator is not fitted again."
        )
    return 1.0


def same_prices(one: Any, other: Any) -> bool:
    """Compare prices of any kind; what can't be compared is the same only if it is itself."""
    if one is other:
        return True
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same_prices, one, other))
    try:
        return bool(np.all(np.asarray(one == other)))
    except Exception:  # frames with other labels, arrays of other shapes
        return False
