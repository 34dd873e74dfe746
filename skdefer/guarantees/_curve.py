"""Risks against thresholds: what the rows say, and what can be promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from skdefer.guarantees._betting import Bets
from skdefer.guarantees._p_values import binomial_p_value, hoeffding_bentkus_p_value

_MOST_ROWS = 10**9
_HALVINGS = 40
_FEWER_HALVINGS = 20  # where each looks at all rows; to a millionth


@dataclass
class RiskCurve:
    """A risk at each of m thresholds, as :func:`risk_curve` finds it.

    Parameters
    ----------
    risk : ndarray of shape (m,)
        Mean loss over what counts; NaN where nothing does.
    n_counted : ndarray of int of shape (m,)
        Rows that count, or groups with such rows.
    variance : ndarray of shape (m,)
        Of their losses.
    p_value : ndarray of shape (m,)
        Of the hypothesis that the risk is above its target.
    upper : ndarray of shape (m,)
        The least target that each threshold alone would be found to keep.
    target : float
        The risk that is not to be exceeded.

    Examples
    --------
    >>> from skdefer.guarantees import risk_curve
    >>> risk_curve([[False], [True]], target=0.3)
    RiskCurve(risk=array([0.5]), n_counted=array([2]), variance=array([0.25]), p_value=...
    """

    risk: np.ndarray
    n_counted: np.ndarray
    variance: np.ndarray
    p_value: np.ndarray
    upper: np.ndarray
    target: float


def risk_curve(
    loss: ArrayLike,
    *,
    target: float,
    delta: float = 0.1,
    counted: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    bound: float = 1.0,
    binary: bool | None = None,
) -> RiskCurve:
    """Test at each threshold whether a risk is within its target.

    Parameters
    ----------
    loss : array-like of shape (n_rows, m)
        Loss of each row under each of m thresholds that were fixed beforehand, in [0, bound].
    target : float
        The risk that is not to be exceeded, in (0, bound).
    delta : float, default=0.1
        The chance of a false claim, in (0, 1), at which ``upper`` is the bound.
    counted : array-like of bool of shape (n_rows,) or (n_rows, m), default=None
        Rows that count: for the error on kept rows, those kept. None: all.
    groups : array-like of shape (n_rows,), default=None
        Rows of a group depend on each other. Each group then counts once, by the mean loss of
        its rows that count; the risk is that of a random row of a random group.
    bound : float, default=1.0
        The largest loss that is possible.
    binary : bool, default=None
        Whether a loss is 0 or ``bound`` by its definition, whatever the rows say; None: whether
        ``loss`` is of dtype bool. The exact binomial test is taken then, unless ``groups`` holds
        several rows of some group; else :func:`betting_p_value`.

    Returns
    -------
    curve : RiskCurve
        ``risk``, ``n_counted``, ``p_value`` and ``upper``, of shape (m,) each.

    Raises
    ------
    ValueError
        For losses outside [0, bound], unequal lengths, or a target that is none.

    Examples
    --------
    Ten of a hundred rows are wrong if all are kept, two if half of them are:

    >>> import numpy as np
    >>> from skdefer.guarantees import risk_curve
    >>> wrong = np.arange(100) % 10 == 0
    >>> kept = np.column_stack([np.arange(100) >= 80, np.ones(100, dtype=bool)])
    >>> curve = risk_curve(np.column_stack([wrong, wrong]), target=0.2, counted=kept)
    >>> curve.risk, curve.n_counted
    (array([0.1, 0.1]), array([ 20, 100]))
    >>> curve.p_value.round(3), curve.upper.round(3)
    (array([0.206, 0.006]), array([0.245, 0.15 ]))
    """
    loss = np.asarray(loss)
    if loss.ndim != 2 or len(loss) == 0:
        raise ValueError(
            f"loss has shape {loss.shape}; expected (n_rows, n_thresholds), a row at least. Pass "
            "loss[:, None] for a single threshold."
        )
    binary = loss.dtype.kind == "b" if binary is None else binary
    mask = np.ones((len(loss), 1), dtype=bool) if counted is None else np.asarray(counted, bool)
    mask = mask[:, None] if mask.ndim == 1 else mask
    if len(mask) != len(loss) or mask.shape[1] not in (1, loss.shape[1]):
        raise ValueError(
            f"counted has shape {mask.shape}; expected {loss.shape} or ({len(loss)},), as loss."
        )
    _check_losses(loss, mask, bound)
    total, number = np.where(mask, loss, 0), np.broadcast_to(mask, loss.shape)
    if groups is not None:
        total, number, single = _by_group(total, number, groups)
        binary = binary and single
    n_counted = number.sum(axis=0)
    share = total / bound
    with np.errstate(invalid="ignore"):
        risk = share.sum(axis=0) / n_counted
        variance = np.where(number, np.square(share - risk), 0).sum(axis=0) / n_counted
    if binary:
        known = np.nan_to_num(risk)
        p_value = binomial_p_value(known, n_counted, target / bound)
        upper = risk_upper_bound(known, n_counted, delta=delta)
    else:
        bets = Bets(share, number, delta)
        p_value = bets.p_value(target / bound)
        upper = _halve(bets.p_value, np.nan_to_num(risk), delta, _FEWER_HALVINGS)
    return RiskCurve(
        bound * risk, n_counted, bound**2 * variance, p_value, bound * upper, float(target)
    )


def risk_upper_bound(
    risk: ArrayLike, n_rows: ArrayLike, *, delta: float = 0.1, binary: bool = True
) -> np.ndarray:
    """Bound a risk from above: the least target that the test would find kept.

    Parameters
    ----------
    risk : array-like
        Mean loss of the rows, in [0, 1].
    n_rows : array-like of int
        Independent rows.
    delta : float, default=0.1
        The chance that the risk is above the bound.
    binary : bool, default=True
        Whether losses are 0 or 1: the bound of Clopper and Pearson; else that of
        :func:`hoeffding_bentkus_p_value`, by halving.

    Returns
    -------
    upper : ndarray
        1 without rows.

    Examples
    --------
    No error in n rows: about 3 / n with a confidence of 95 %.

    >>> from skdefer.guarantees import risk_upper_bound
    >>> risk_upper_bound(0, [30, 300, 3000], delta=0.05).round(4)
    array([0.095 , 0.0099, 0.001 ])
    >>> risk_upper_bound([0.1], 300, binary=False).round(3)
    array([0.136])
    """
    risk, n_rows = np.broadcast_arrays(np.asarray(risk, float), np.asarray(n_rows))
    if not binary:

        def test(target: np.ndarray) -> np.ndarray:
            return hoeffding_bentkus_p_value(risk, n_rows, target)

        return _halve(test, risk, delta, _HALVINGS)
    errors = np.floor(n_rows * risk + 1e-9)
    inside = np.maximum(n_rows - errors, 1)
    return np.where(errors < n_rows, betaincinv(errors + 1, inside, 1 - delta), 1.0)


def rows_needed(
    risk: float, target: float, *, delta: float = 0.1, variance: float | None = None
) -> float:
    """How many rows would prove that the target is kept, if the risk on them were ``risk``.

    Parameters
    ----------
    risk : float
        Mean loss that is foreseen, in [0, 1].
    target : float
        The risk that is not to be exceeded, in (0, 1).
    delta : float, default=0.1
        The chance of a false claim.
    variance : float, default=None
        Of losses between 0 and 1; then it is about ``2 ln(1 / delta) variance / (target -
        risk)^2``, by the growth of the bets. None: losses are 0 or 1, and the number is exact.

    Returns
    -------
    n_rows : float
        ``inf`` if the risk is not below the target: no number of rows proves what is not so.

    Examples
    --------
    >>> from skdefer.guarantees import rows_needed
    >>> rows_needed(0.0, 0.05), rows_needed(0.03, 0.05), rows_needed(0.06, 0.05)
    (45.0, 282.0, inf)
    >>> rows_needed(0.03, 0.05, variance=0.002)
    147.0
    """
    if risk >= target:
        return np.inf
    if variance is not None:
        log_odds = np.log(1 / delta)
        surest = log_odds / np.log1p(0.75 * (target - risk) / (1 - target))
        return float(np.ceil(max(2 * log_odds * variance / (target - risk) ** 2, surest)))

    def proves(n: int) -> bool:
        return bool(binomial_p_value(np.ceil(n * risk - 1e-9) / n, n, target) <= delta)

    high = 1
    while not proves(high):
        high *= 2
        if high > _MOST_ROWS:
            return np.inf
    low = high // 2  # does not prove, or is 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return float(high)


def _halve(
    p_value: Callable[[np.ndarray], np.ndarray], risk: np.ndarray, delta: float, times: int
) -> np.ndarray:
    """Find the least target above the risk whose p-value is ``delta`` or less."""
    low, high = np.clip(risk, 1e-12, 1 - 1e-12), np.ones_like(risk, dtype=float)
    for _ in range(times):
        middle = np.clip((low + high) / 2, 1e-12, 1 - 1e-12)
        kept = p_value(middle) <= delta
        low, high = np.where(kept, low, middle), np.where(kept, middle, high)
    return high


def _check_losses(loss: np.ndarray, mask: np.ndarray, bound: float) -> None:
    if loss.dtype.kind == "b":
        return
    outside = mask & ~((loss >= 0) & (loss <= bound * (1 + 1e-9)))
    if outside.any():
        at = np.argwhere(outside)[0]
        raise ValueError(
            f"loss is {loss[tuple(at)]!r} in row {at[0]}; expected numbers in [0, {bound:g}]. Pass "
            "bound=, the largest loss that is possible: the promise depends on it."
        )


def _by_group(
    total: np.ndarray, number: np.ndarray, groups: Any
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Mean loss of each group and whether it counts, and whether all groups are of one row."""
    groups = np.asarray(groups)
    if groups.shape != (len(total),):
        raise ValueError(
            f"groups has shape {groups.shape}; expected ({len(total)},), a group per row."
        )
    _, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    rows = np.add.reduceat(number[order].astype(np.int64), start, axis=0)
    sums = np.add.reduceat(total[order].astype(float), start, axis=0)
    return sums / np.maximum(rows, 1), rows > 0, bool((size == 1).all())
