"""What the system costs, errors and asking apart, as more is handed over or asking gets dearer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.costs import as_prices
from skdefer.metrics._costs import check_cost, error_costs
from skdefer.metrics._inputs import check_rows, check_score, check_weight
from skdefer.metrics._ranking import Ranking, best_experts


def cost_curve(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    deferral_score: ArrayLike,
    *,
    costs: ArrayLike | None = None,
    cost: Any = 0.0,
    error_cost: Any = 1.0,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a row costs on average, wrong answers and asking apart.

    By default at each share of rows deferred, those of the highest score first, each to its best
    expert. With ``costs`` at each price of asking instead: a row is deferred where its score, the
    gain before any price, is above the price. That says how far a decision depends on a price that
    is known only roughly.

    Rows of equal score, and tied experts, are averaged over as in :func:`deferral_curve`; where an
    expert has no answer the model answers and nothing is paid.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,)
        The labels, and the model's.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer each row to each expert; with ``costs`` its gain, in their unit.
    costs : array-like of shape (m,), optional
        Prices of asking any expert.
    cost : float, array-like of shape (n_experts,) or (n_rows, n_experts), or CostModel, default=0.0
        The price of asking; not read with ``costs``.
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame, default=1.0
        The price of a wrong answer, as in :func:`system_cost`.
    labels : array-like of shape (n_classes,), optional
        The order of an ``error_cost`` matrix.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts; rows of weight 0 are left out.

    Returns
    -------
    deferral_rate : ndarray of shape (N + 1,) or (m,)
        The share of rows deferred: from 0 to 1, or at each of ``costs``.
    errors, asking : ndarray of the same shape
        Mean price of the answers, and of asking; their sum is what a row costs.

    Raises
    ------
    ValueError
        As :func:`deferral_curve` and :func:`system_cost`.

    Examples
    --------
    >>> from skdefer.metrics import cost_curve
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> score = [0.1, 0.9, 0.2, 0.8]
    >>> rate, errors, asking = cost_curve(y_true, y_pred, expert, score, cost=0.2)
    >>> (errors + asking).round(2)
    array([0.5, 0.3, 0.1, 0.4, 0.7])
    >>> rate, errors, asking = cost_curve(y_true, y_pred, expert, score, costs=[0.1, 0.5, 1.0])
    >>> rate, (errors + asking).round(3)
    (array([0.75, 0.5 , 0.  ]), array([0.325, 0.25 , 0.5  ]))
    """
    rows = check_rows(y_true, y_pred, expert_predictions)
    score = check_score(deferral_score, rows.n_rows, rows.n_experts)
    price = check_cost(0.0 if costs is not None else cost, rows.n_rows, rows.n_experts, rows.names)
    weight = check_weight(sample_weight, rows.n_rows)
    weight = np.ones(rows.n_rows) if weight is None else weight
    wrong = error_costs(rows, error_cost, labels)
    counted = weight > 0
    score, price, wrong, weight = (a[counted] for a in (score, price, wrong, weight))
    answered = rows.answered[counted]

    best, tied = best_experts(score)
    share = tied / tied.sum(axis=1, keepdims=True)
    saved = wrong[:, 0] - (share * wrong[:, 1:]).sum(axis=1)
    paid = (share * np.where(answered & tied, price, 0.0)).sum(axis=1)
    heard = (share * answered).sum(axis=1)
    total = weight.sum()
    of_model = float(wrong[:, 0] @ weight) / total
    if costs is None:
        ranking = Ranking(best, weight=weight)
        rate, saved, paid = (ranking.sums(v) / total for v in (np.ones_like(best), saved, paid))
        return rate, of_model - saved, paid
    prices = as_prices(costs, "costs", "prices of asking, one per point").ravel()
    order = np.argsort(prices, kind="stable")
    n_below = np.searchsorted(prices[order], best, side="left")  # of so many prices it is worth it

    def above(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(n_below, values * weight, minlength=len(prices) + 1)
        result = np.empty(len(prices))
        result[order] = np.cumsum(sums[::-1])[::-1][1:] / total
        return result

    return above(np.ones_like(best)), of_model - above(saved), prices * above(heard)
