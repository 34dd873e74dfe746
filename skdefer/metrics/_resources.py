"""Money, seconds and minutes of a CostModel, kept apart in reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdefer.costs import RESOURCES, CostModel, reads_rows
from skdefer.metrics._inputs import mean

#: Columns of a report on what a CostModel counts.
COLUMNS = (*RESOURCES, "seconds_p50", "seconds_p95")


@dataclass
class Amounts:
    """What asking takes on n rows of J experts; NaN where it is unknown.

    Attributes
    ----------
    parts : dict of str to ndarray of shape (n, J)
        By resource.
    total : ndarray of shape (n, J)
        In one unit.
    of_model : dict of str to float
        What the model takes on every row, NaN where it is unknown.
    """

    parts: dict[str, np.ndarray]
    total: np.ndarray
    of_model: dict[str, float]


def read_amounts(cost: Any, names: Sequence[str], X: Any, n_rows: int) -> Amounts | None:
    """Work out a CostModel on rows; None for any other cost."""
    if isinstance(cost, Amounts):
        return cost
    if not isinstance(cost, CostModel):
        return None
    if X is None and reads_rows(cost):
        raise ValueError(
            "cost is a CostModel that reads the rows, but no rows came. Use estimator_report or "
            "cost_report(..., X=X), or give it numbers."
        )
    shape = (n_rows, len(names))
    amounts = cost.amounts(names, X, n_rows)
    return Amounts(
        parts={
            resource: np.full(shape, np.nan) if amount is None else np.broadcast_to(amount, shape)
            for resource, amount in amounts.items()
        },
        total=np.broadcast_to(cost.weigh(amounts), shape),
        of_model=cost.of_model(),
    )


def model_amount(amounts: Amounts, resource: str) -> float:
    """What the model takes on a row that nobody is asked about.

    No fee and no work of a person where nothing is said, but an unknown time.
    """
    of_model = amounts.of_model[resource]
    return of_model if resource == "seconds" else float(np.nan_to_num(of_model))


def by_route(amounts: Amounts, answered: np.ndarray) -> dict[str, np.ndarray]:
    """What a row takes by resource and route, (n, 1 + J).

    Column 0 is the model's. An expert's comes on top of what is known of that, where there is an
    answer, ``answered`` (n, J). All is NaN of a resource that is not known of anybody.
    """
    tables = {}
    for resource, asked in amounts.parts.items():
        model = np.full(len(asked), model_amount(amounts, resource))
        if np.isnan(asked).all():
            model[:] = np.nan
        tables[resource] = np.column_stack(
            [model, np.where(answered, np.nan_to_num(model)[:, None] + asked, model[:, None])]
        )
    return tables


def measure_mix(
    tables: dict[str, np.ndarray], mix: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
    """Columns of a report on a strategy, by the names of ``COLUMNS``.

    Parameters
    ----------
    tables : dict of str to ndarray of shape (n, 1 + J)
        From :func:`by_route`.
    mix : ndarray of shape (n, 1 + J)
        Each row's shares of the routes.
    weight : ndarray of shape (n,)
        How much each row counts.

    Returns
    -------
    columns : dict of str to float
        NaN where what is used is unknown.
    """
    used = mix > 0
    taken = {resource: table[used] for resource, table in tables.items()}
    return measure_taken(taken, (mix * weight[:, np.newaxis])[used])


def measure_taken(taken: dict[str, np.ndarray], share: np.ndarray) -> dict[str, float]:
    """Mean of each resource, (m,) a row, and median and 95th percentile of the seconds."""
    counted = share > 0  # weight 0 does not make an unknown amount known
    taken = {resource: values[counted] for resource, values in taken.items()}
    share = share[counted]
    columns = {resource: mean(values, share) for resource, values in taken.items()}
    for level in (50, 95):
        columns[f"seconds_p{level}"] = weighted_quantile(taken["seconds"], share, level / 100)
    return columns


def weighted_quantile(values: np.ndarray, weight: np.ndarray, level: float) -> float:
    """Least value at or below which lies at least the share ``level`` of the weight.

    NaN if there is none, or one of them is unknown.
    """
    if not len(values) or np.isnan(values).any():
        return float("nan")
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(reached, level * reached[-1] * (1 - 1e-12))])
