"""What metrics need of a fitted deferral estimator: answers and prices."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdefer.costs import resolve_cost
from skdefer.exceptions import ExpertPredictionsMissingError
from skdefer.metrics._panels import sum_of_prices
from skdefer.metrics._resources import read_amounts
from skdefer.utils._rows import count_rows, drop_columns
from skdefer.utils._validation import check_answers, is_missing


def read_answers(estimator: Any, X: Any, expert_predictions: Any, *, what: str) -> np.ndarray:
    """Get the answers of all experts on all rows, asking if they did not come.

    Parameters
    ----------
    estimator : object
        A fitted deferral estimator.
    X : the rows
        As ``estimator.predict`` takes them.
    expert_predictions : array-like or DataFrame, (n_rows,) or (n_rows, n_experts), or None
        Answers at hand.
    what : str
        Who needs them; it opens the error.

    Returns
    -------
    answers : ndarray of shape (n_rows, n_experts)
        Missing where there is none.

    Raises
    ------
    ExpertPredictionsMissingError
        If there is no answer at all.
    """
    names = list(estimator.routes_)[1:]
    if expert_predictions is None:
        expert_predictions = estimator.ask_experts(X)
    answers = check_answers(expert_predictions, count_rows(X), names=names)[0]
    if is_missing(answers).all():
        raise ExpertPredictionsMissingError(
            f"{what} needs the answers of {names} on the rows that are scored, but there is "
            "none: none was passed, or all are missing, and experts known by their record "
            "alone can't be asked. Pass expert_predictions=; or use experts that carry their "
            "answers (ColumnExpert, IndexExpert) or a callable; or enable metadata routing and "
            "pass expert_predictions to the search or the cross-validation. Where there is no "
            "expert at all, use skdefer.metrics.risk_coverage_curve."
        )
    return answers


def read_panel(estimator: Any, X: Any, answers: np.ndarray) -> np.ndarray:
    """Find who really answers each row, given all answers; nobody is asked.

    Parameters
    ----------
    estimator : object
        A fitted deferral estimator.
    X : the rows
        As ``estimator.predict`` takes them.
    answers : ndarray of shape (n_rows, n_experts)
        From :func:`read_answers`.

    Returns
    -------
    panel : ndarray of bool of shape (n_rows, n_experts)
        Whom the system asks. A handed-over row without any answer goes on as the estimator's
        ``on_missing`` says, capacities aside; with "raise", where ``predict`` would stop, it
        stays handed over.
    """
    panel, missing = estimator.predict_panel(X), is_missing(answers)
    lost = panel.any(axis=1) & ~(panel & ~missing).any(axis=1)
    on_missing = getattr(estimator, "on_missing", "raise")
    if on_missing == "raise" or not lost.any():
        return panel
    panel = panel & ~lost[:, np.newaxis]
    if on_missing == "next":
        score = estimator.deferral_score(X)
        left = np.where(missing | (score <= 0), -np.inf, score)
        found = lost & (left.max(axis=1) > -np.inf)
        panel[found, left[found].argmax(axis=1)] = True
    return panel


def read_system(
    estimator: Any, X: Any, answers: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Find who really answers, and what several come to together; nobody is asked.

    Parameters
    ----------
    estimator, X, answers
        As in :func:`read_panel`.

    Returns
    -------
    route : ndarray of int of shape (n_rows,), or of bool of shape (n_rows, n_experts)
        As :func:`skdefer.metrics.deferral_report` takes it: a panel only where several are asked
        about some row.
    y_system : ndarray of shape (n_rows,) or None
        The labels of the system; None with a route.
    """
    panel = read_panel(estimator, X, answers)
    if panel.sum(axis=1).max() > 1:
        return panel, estimator._vote_of(X, answers, panel)
    return np.where(panel.any(axis=1), 1 + panel.argmax(axis=1), 0), None


def bill(price: np.ndarray, panel: np.ndarray, route: np.ndarray) -> np.ndarray:
    """Charge what each row's panel costs to the one expert that the row is routed to.

    Parameters
    ----------
    price : ndarray of shape (n_experts,) or (n_rows, n_experts)
        Of asking each expert.
    panel : ndarray of bool of shape (n_rows, n_experts)
        Who is asked.
    route : ndarray of int of shape (n_rows,)
        0 the model, j expert j.

    Returns
    -------
    price : ndarray of shape (n_experts,) or (n_rows, n_experts)
        As it came where no row has several experts.
    """
    if panel.sum(axis=1).max() <= 1:
        return price
    price = np.broadcast_to(price, panel.shape).copy()
    rows = np.flatnonzero(route)
    price[rows, route[rows] - 1] = sum_of_prices(price, panel)[rows]
    return price


def read_prices(estimator: Any, X: Any, cost: Any) -> np.ndarray:
    """Bring prices to the order of the experts.

    Parameters
    ----------
    estimator : object
        A fitted deferral estimator. Its parameter ``cost`` is never read: a search over it
        would compare candidates by different prices.
    X : the rows
        Passed to a callable.
    cost : None, float, array-like, mapping, callable or CostModel
        None: each expert's own price.

    Returns
    -------
    cost : ndarray of shape (n_experts,) or (n_rows, n_experts)
        As :func:`skdefer.metrics.system_cost` takes it.
    """
    X = without_columns(estimator, X)
    own = [float(expert.cost) for expert in estimator.experts_]
    return resolve_cost(cost, list(estimator.routes_)[1:], own, X, count_rows(X))


def read_report_cost(estimator: Any, X: Any, cost: Any) -> Any:
    """Bring prices to what a report takes; a CostModel keeps its parts apart."""
    names = list(estimator.routes_)[1:]
    amounts = read_amounts(cost, names, without_columns(estimator, X), count_rows(X))
    return read_prices(estimator, X, cost) if amounts is None else amounts


def without_columns(estimator: Any, X: Any) -> Any:
    """Take ``X`` without the columns that only experts may see."""
    hidden = [e.column for e in estimator.experts_ if getattr(e, "column", None) is not None]
    return drop_columns(X, [*hidden, *getattr(estimator, "_former_columns", ())])
