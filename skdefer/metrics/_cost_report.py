"""What each route takes: money, seconds and minutes apart, and how long an answer takes to come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skdefer.costs import RESOURCES, CostModel
from skdefer.metrics._inputs import (
    check_expert_predictions,
    check_route,
    check_weight,
    mean,
    numbered,
)
from skdefer.metrics._resources import measure_taken, model_amount, read_amounts

if TYPE_CHECKING:
    import pandas as pd


def cost_report(
    route: ArrayLike,
    cost: CostModel,
    *,
    expert_predictions: Any = None,
    X: Any = None,
    expert_names: Sequence[str] | None = None,
    sample_weight: ArrayLike | None = None,
) -> pd.DataFrame:
    """What asking takes on each route, in money, seconds, minutes and together.

    No truth is needed, and no answer: it says before anybody is asked what the routes of
    ``predict_route`` will take. For what they gain, see :func:`deferral_report`.

    Parameters
    ----------
    route : array-like of int of shape (n_rows,), or of bool of shape (n_rows, n_experts)
        Who is to answer: 0 the model, j in 1..n_experts expert j; or a panel of several, True for
        each of them.
    cost : CostModel
        What an answer takes.
    expert_predictions : array-like or DataFrame, (n_rows,) or (n_rows, n_experts), default=None
        The experts' answers; where one is missing nothing is taken. None: all will answer.
    X : the rows, default=None
        For a CostModel that reads them.
    expert_names : sequence of str, default=None
        The experts, in order: ``routes_[1:]`` of an estimator. The columns of a DataFrame of
        answers, or ``expert_1``..., if None; without answers as many as the routes name.
    sample_weight : array-like of shape (n_rows,), default=None
        How much each row counts.

    Returns
    -------
    report : DataFrame
        A row for ``model``, for each expert, and for ``system``, all rows together. Columns:
        ``share`` of the rows that the route gets; per row that it gets ``money``, ``seconds`` and
        ``minutes``, and ``cost``, what those of asking come to in one unit; ``seconds_p50`` and
        ``seconds_p95``, the median and the 95th percentile, the least value that so many rows do
        not exceed. What the model takes is in every row where it is known, and not in ``cost``; how
        long it takes alone is NaN unless the CostModel says so. NaN where something is unknown, or
        a route gets no row.

    Raises
    ------
    TypeError
        If ``cost`` is no CostModel.
    ValueError
        For a route that is none, and for wrong lengths or names.

    Examples
    --------
    >>> from skdefer import CostModel
    >>> from skdefer.metrics import cost_report
    >>> cost = CostModel(minutes=[3.0, 5.0], seconds={"nurse": 60, "doctor": 600, "model": 1},
    ...                  minute_rate=2.0, second_rate=0.0)
    >>> cost_report([0, 0, 1, 2], cost, expert_names=["nurse", "doctor"])
            share  money  seconds  minutes  cost  seconds_p50  seconds_p95
    model    0.50    NaN      1.0      0.0   0.0          1.0          1.0
    nurse    0.25    NaN     61.0      3.0   6.0         61.0         61.0
    doctor   0.25    NaN    601.0      5.0  10.0        601.0        601.0
    system   1.00    NaN    166.0      2.0   4.0          1.0        601.0
    """
    import pandas as pd

    if not isinstance(cost, CostModel):
        raise TypeError(
            f"cost is {type(cost).__name__}; expected a CostModel. For plain prices use "
            "deferral_report, or pass CostModel(money=...)."
        )
    panel, names = _read_panel(route, expert_predictions, expert_names)
    if expert_names is None:
        _check_named(cost, names)
    n, J = panel.shape
    weight = check_weight(sample_weight, n)
    weight = np.ones(n) if weight is None else weight
    amounts = read_amounts(cost, names, X, n)
    assert amounts is not None  # of a CostModel
    kept = np.logical_not(panel.any(axis=1))
    model = {resource: model_amount(amounts, resource) for resource in amounts.parts}

    def taken(resource: str, who: np.ndarray) -> np.ndarray:
        """What each row takes if these are asked, (n,); of several the sum."""
        asked = amounts.parts[resource]
        if np.isnan(asked).all():
            return np.full(n, np.nan)
        total = np.where(who, asked, 0.0).sum(axis=1)
        return total + np.where(who.any(axis=1), np.nan_to_num(model[resource]), model[resource])

    def line(rows: np.ndarray, who: np.ndarray) -> dict[str, float]:
        measured = measure_taken({r: taken(r, who)[rows] for r in amounts.parts}, weight[rows])
        price = np.where(who, amounts.total, 0.0).sum(axis=1)
        return {"share": mean(rows, weight), "cost": mean(price, weight, rows)} | measured

    alone = {name: panel & (np.arange(J) == j) for j, name in enumerate(names)}
    lines = {"model": line(kept, np.zeros_like(panel))}
    lines |= {name: line(panel[:, j], alone[name]) for j, name in enumerate(names)}
    lines["system"] = line(np.ones(n, dtype=bool), panel)
    columns = ["share", "money", "seconds", "minutes", "cost", "seconds_p50", "seconds_p95"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=None)[columns]


def _check_named(cost: CostModel, names: list[str]) -> None:
    """Refuse amounts by name for experts whose names did not come."""
    for resource in RESOURCES:
        given = getattr(cost, resource)
        known = {name for name in getattr(given, "keys", tuple)() if name != "model"}
        if known and known != set(names):
            raise ValueError(
                f"cost has {resource} for {sorted(map(str, known))}, but the experts are {names}, "
                "as no expert_names came. Pass expert_names=, in the order of the routes: "
                "routes_[1:] of an estimator."
            )


def _read_panel(
    route: Any, expert_predictions: Any, expert_names: Sequence[str] | None
) -> tuple[np.ndarray, list[str]]:
    """Who answers each row, flags (n, J), and the experts' names."""
    n_experts = None if expert_names is None else len(expert_names)
    n_rows = len(route)
    answered: Any = np.True_
    columns = None
    if expert_predictions is not None:
        _, answered, columns = check_expert_predictions(expert_predictions, n_rows)
        n_experts = answered.shape[1]
    if np.ndim(route) == 2:
        panel = np.asarray(route).astype(bool)
    else:
        route = check_route(route, None, n_experts)
        n_experts = n_experts or max(int(route.max()), 1)
        panel = route[:, np.newaxis] == np.arange(1, n_experts + 1)
    names = expert_names or columns or numbered(panel.shape[1])
    if len(names) != panel.shape[1] or (answered.ndim and answered.shape != panel.shape):
        raise ValueError(
            f"route is about {panel.shape[1]} experts, but {len(names)} are named: {list(names)}. "
            "Pass expert_names, and expert_predictions if any, of the same experts."
        )
    return panel & answered, [str(name) for name in names]
