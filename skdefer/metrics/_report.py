"""Every way of answering side by side: the model, each expert, the system, the oracle."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_random_state

from skdefer.metrics._bootstrap import Bootstrap
from skdefer.metrics._costs import check_cost, error_costs
from skdefer.metrics._inputs import (
    Rows,
    check_column,
    check_rows,
    check_score,
    check_weight,
)
from skdefer.metrics._label_metrics import LabelMetric, check_metrics
from skdefer.metrics._panels import with_panels
from skdefer.metrics._resources import COLUMNS, by_route, measure_mix, read_amounts
from skdefer.metrics._strategies import Case, make_mixes
from skdefer.utils._validation import is_missing

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ["accuracy", "deferral_rate", "kept_accuracy", "deferred_accuracy", "cost"]


def deferral_report(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    expert_predictions: Any,
    deferral_score: ArrayLike,
    route: ArrayLike,
    *,
    cost: Any = 0.0,
    error_cost: Any = 1.0,
    labels: ArrayLike | None = None,
    y_system: ArrayLike | None = None,
    expert_names: Sequence[str] | None = None,
    metrics: Any = None,
    rates: Sequence[float] = (0.05, 0.10, 0.20, 0.50),
    n_bootstrap: int = 200,
    confidence_level: float = 0.95,
    groups: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    sample_weight: ArrayLike | None = None,
) -> pd.DataFrame:
    """How the system compares with the model, with each expert and with the best possible.

    The strategies, one per row of the frame:

    - ``model alone``: the model answers every row;
    - ``NAME alone``, for each expert: the expert answers every row, and the model those
      without an answer of the expert;
    - ``system``: by ``route``;
    - ``system at 5 %`` and so on, for each rate: the rows of the highest score go to their
      best expert, whatever the sign of the score. Of rows tied at the cut, and of experts
      tied for a row, each gets its share, as in :func:`deferral_curve`;
    - ``oracle``: the model where it is right, else the cheapest expert who is, else the
      model.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        The labels.
    y_pred : array-like of shape (n_rows,)
        The model's labels.
    expert_predictions : array-like or DataFrame of shape (n_rows,) or (n_rows, n_experts)
        The experts' answers; None, NaN, NA or masked where there is none, and then the
        model answers and nothing is paid.
    deferral_score : array-like of shape (n_rows,) or (n_rows, n_experts)
        The wish to defer each row to each expert.
    route : array-like of int of shape (n_rows,), or of bool of shape (n_rows, n_experts)
        Who is to answer: 0 the model, j in 1..n_experts expert j. Where several are asked about
        a row, a panel: True for each of them.
    cost : float, array-like of shape (n_experts,) or (n_rows, n_experts), or CostModel, default=0.0
        The price of asking. A :class:`~skdefer.CostModel` adds its columns to the report.
    error_cost : float, array-like of shape (n_classes, n_classes) or DataFrame, default=1.0
        The price of a wrong answer, as in :func:`system_cost`.
    labels : array-like of shape (n_classes,), optional
        The order of an ``error_cost`` matrix.
    y_system : array-like of shape (n_rows,), optional
        The labels of the system; with a panel of several experts, whose vote they are, only.
    expert_names : sequence of str, optional
        The experts' names. By default the columns of a DataFrame, or ``expert_1``...
    metrics : str, callable, list of these, or dict, optional
        More columns: names of scikit-learn scorers of labels (``"f1_macro"``), or functions
        ``f(y_true, y_answered)``. A function that takes ``sample_weight`` gets the shares of
        tied rows as weights; any other sees all rows tied at the cut deferred, or none,
        whichever is nearer, and only the first of tied experts. For the intervals, the former
        is called with each pair of labels once, weighted by how often it occurs, the latter
        with every row: that is once per metric, strategy and resample, some milliseconds each.
    rates : sequence of float, default=(0.05, 0.10, 0.20, 0.50)
        Shares of rows to defer.
    n_bootstrap : int, default=200
        The number of resamples for the intervals; 0 for none.
    confidence_level : float, default=0.95
        The share of resamples inside an interval.
    groups : array-like of shape (n_rows,), optional
        Rows that belong together, such as those of a patient: whole groups are resampled,
        without which intervals are too narrow.
    random_state : int, RandomState or None, optional
        Draws the resamples.
    sample_weight : array-like of shape (n_rows,), optional
        How much each row counts.

    Returns
    -------
    report : DataFrame
        A row per strategy. Columns: ``accuracy``; the metrics asked for; ``deferral_rate``;
        ``kept_accuracy``, the model's on the rows kept; ``deferred_accuracy``, the experts'
        on the rows deferred that have an answer; ``cost`` per row. With a CostModel also
        ``money``, ``seconds`` and ``minutes`` per row, of the experts who answer and of the model
        where it says so, and ``seconds_p50`` and ``seconds_p95``, the median and the 95th
        percentile over the rows; of several experts on a row the sum. How long the model takes
        alone is NaN unless said. Then ``X_low`` and
        ``X_high``, the ends of a percentile bootstrap interval, for the accuracy, each
        metric and the cost. Resampling keeps every row's strategy, so the intervals are
        about the rules as they are, cuts included. NaN where a column has no meaning.

    Raises
    ------
    ValueError
        For anything that :func:`deferral_curve` or :func:`system_cost` refuses, names that
        clash, rates outside [0, 1], or a metric that can't be weighted with
        ``sample_weight``.

    References
    ----------
    .. [1] Efron & Tibshirani, "An introduction to the bootstrap", 1993.

    Examples
    --------
    >>> from skdefer.metrics import deferral_report
    >>> y_true, y_pred, expert = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    >>> score, route = [-0.5, 0.4, -0.1, 0.2], [0, 1, 0, 1]
    >>> report = deferral_report(y_true, y_pred, expert, score, route, cost=0.1,
    ...                          rates=[0.25], n_bootstrap=0)
    >>> report[["accuracy", "deferral_rate", "kept_accuracy", "cost"]].round(2)
                    accuracy  deferral_rate  kept_accuracy  cost
    model alone         0.50           0.00           0.50  0.50
    expert_1 alone      0.50           1.00            NaN  0.60
    system              1.00           0.50           1.00  0.05
    system at 25 %      0.75           0.25           0.67  0.28
    oracle              1.00           0.50           1.00  0.05
    """
    import pandas as pd

    rows = check_rows(y_true, y_pred, expert_predictions)
    score = check_score(deferral_score, rows.n_rows, rows.n_experts)
    names = _names(rows, expert_names)
    amounts = read_amounts(cost, names, None, rows.n_rows)
    price = check_cost(cost if amounts is None else amounts, rows.n_rows, rows.n_experts)
    alone, said = rows, route
    rows, route, price = with_panels(rows, route, price, y_system)
    tables = {}
    if amounts is not None:
        parts = {
            resource: with_panels(alone, said, asked, y_system)[2]
            for resource, asked in amounts.parts.items()
        }
        tables = by_route(replace(amounts, parts=parts), rows.answered)
    weight = check_weight(sample_weight, rows.n_rows)
    weight = np.ones(rows.n_rows) if weight is None else weight
    units = None if groups is None else _check_groups(groups, rows.n_rows)
    _check_bootstrap(n_bootstrap, confidence_level)

    wrong = error_costs(rows, error_cost, labels)
    spent = wrong + np.column_stack([np.zeros(rows.n_rows), np.where(rows.answered, price, 0.0)])
    counted = weight > 0
    rows, spent, score, route = rows.keep(counted), spent[counted], score[counted], route[counted]
    weight, units = weight[counted], None if units is None else units[counted]
    tables = {resource: table[counted] for resource, table in tables.items()}

    case = Case(rows, spent, weight)
    reserved = [*_COLUMNS, *COLUMNS]
    extra = [] if metrics is None else check_metrics(metrics, case.labels, reserved=reserved)
    _refuse_unweighted(extra, sample_weight)
    mixes = make_mixes(case, names, score, route, _check_rates(rates))

    measured = [case.measure(mix, extra) for mix in mixes.values()]
    index = pd.Index(list(mixes))
    columns = ["accuracy", *(metric.name for metric in extra), *_COLUMNS[1:]]
    if tables:
        columns += COLUMNS
        for found, mix in zip(measured, mixes.values(), strict=True):
            found |= measure_mix(tables, mix, weight)
    report = pd.DataFrame(measured, index=index, columns=columns)
    if n_bootstrap:
        seed = check_random_state(random_state)
        bootstrap = Bootstrap(rows.n_rows, units, n_bootstrap, confidence_level, seed)
        for name, (low, high) in _intervals(case, list(mixes.values()), extra, bootstrap).items():
            report[f"{name}_low"], report[f"{name}_high"] = low, high
    return report


def _intervals(
    case: Case, mixes: list[np.ndarray], metrics: list[LabelMetric], bootstrap: Bootstrap
) -> dict[str, np.ndarray]:
    """Low and high ends (2, strategies) of each column that has an interval."""
    values = np.column_stack([case.per_row(mix) for mix in mixes] + [np.ones(len(case.weight))])
    with np.errstate(invalid="ignore"):  # weights may all be 0, prices infinite: NaN, left out
        sums = bootstrap.sums(values * case.weight[:, np.newaxis])
        ends = bootstrap.ends(sums[:, :-1] / sums[:, -1:])
    intervals = {"accuracy": ends[:, ::2]}
    with warnings.catch_warnings():
        # Said once for all rows, if at all; not again for each resample.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        weighted = [m for m in metrics if m.takes_weight]
        found = _resample_pairs(weighted, case, mixes, bootstrap) if weighted else {}
        for metric in metrics:
            if not metric.takes_weight:
                found[metric.name] = [
                    [case.apply(metric, mix, counts) for mix in mixes]
                    for counts in bootstrap.counts()
                ]
    intervals |= {name: bootstrap.ends(np.array(v, dtype=float)) for name, v in found.items()}
    order = ["accuracy", *(metric.name for metric in metrics)]
    return {name: intervals[name] for name in order} | {"cost": ends[:, 1::2]}


def _resample_pairs(
    metrics: list[LabelMetric], case: Case, mixes: list[np.ndarray], bootstrap: Bootstrap
) -> dict[str, list]:
    """Metrics that take weights, of every resample and mix: each pair of labels stands once."""
    pairs = [case.pairs(mix) for mix in mixes]
    sums = bootstrap.sums(sparse.hstack([weights for _, _, weights in pairs], format="csr"))
    ends = np.cumsum([weights.shape[1] for _, _, weights in pairs])[:-1]
    resamples = [np.split(row, ends) for row in sums]

    def value(metric: LabelMetric, j: int, weight: np.ndarray) -> float:
        truth, answered, _ = pairs[j]
        drawn = weight > 0
        return metric.function(truth[drawn], answered[drawn], sample_weight=weight[drawn])

    return {
        metric.name: [[value(metric, j, w) for j, w in enumerate(parts)] for parts in resamples]
        for metric in metrics
    }


def _names(rows: Rows, expert_names: Sequence[str] | None) -> list[str]:
    names = rows.names or [f"expert_{j}" for j in range(1, rows.n_experts + 1)]
    if expert_names is not None:
        names = [str(name) for name in expert_names]
    if len(names) != rows.n_experts or len(set(names)) != len(names) or "model" in names:
        raise ValueError(
            f"The experts' names are {names}; expected {rows.n_experts} different ones, none of "
            "them 'model'. Pass expert_names, one per column of expert_predictions."
        )
    return names


def _check_rates(rates: Sequence[float]) -> list[float]:
    try:
        checked = [float(rate) for rate in rates]
    except (TypeError, ValueError):
        checked = [float("nan")]
    names = {f"{100 * rate:g}" for rate in checked}
    if not all(0 <= rate <= 1 for rate in checked) or len(names) != len(checked):
        raise ValueError(
            f"rates is {rates!r}; expected different shares of rows, each in [0, 1]. Pass "
            "(0.05, 0.1), say."
        )
    return checked


def _check_groups(groups: ArrayLike, n_rows: int) -> np.ndarray:
    units = check_column(groups, "groups", n_rows)
    if is_missing(units).any():
        raise ValueError(
            "groups has missing values, so that it can't be known which rows belong together. "
            "Give each such row a group of its own."
        )
    return units


def _check_bootstrap(n_bootstrap: int, confidence_level: float) -> None:
    if not (isinstance(n_bootstrap, (int, np.integer)) and n_bootstrap >= 0):
        raise ValueError(
            f"n_bootstrap is {n_bootstrap!r}; expected an integer of 0 or more. Pass 0 for no "
            "intervals."
        )
    if not 0 < confidence_level < 1:
        raise ValueError(
            f"confidence_level is {confidence_level!r}; expected a share between 0 and 1. Pass "
            "0.95, say."
        )


def _refuse_unweighted(metrics: list[LabelMetric], sample_weight: Any) -> None:
    rigid = [metric.name for metric in metrics if not metric.takes_weight]
    if rigid and sample_weight is not None:
        raise ValueError(
            f"sample_weight came, but the metrics {rigid} take none. Give the functions a "
            "parameter sample_weight, or leave them out."
        )
