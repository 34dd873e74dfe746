"""Who gets which row when experts' hours are limited: the best assignment, and its prices."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from skdefer.policies._base import check_score
from skdefer.policies._flow import Limits
from skdefer.policies._prices import solve


def assign(score, capacity, minimum=None):
    r"""Give rows to experts so that the sum of scores is greatest, within their capacities.

    Which readers get which of today's rows, if each has time for so many? Each row goes to one
    expert or stays with the model. Rows of a score of 0 or less stay, unless a minimum forces them
    over. It is exact at any size, see Notes.

    Parameters
    ----------
    score : array-like of shape (n_rows, n_experts)
        What each expert gains over the model, net of the price; -inf where an expert can't have
        the row.
    capacity : None, int, or sequence of (int or None) of length n_experts
        The most rows of each expert; a number is for each of them, None is no limit.
    minimum : None, int, or sequence of int of length n_experts, default=None
        The least rows of each expert.

    Returns
    -------
    route : ndarray of int of shape (n_rows,)
        0 the model, j in 1..n_experts expert j.

    Raises
    ------
    ValueError
        For limits that are negative, fractional or of a wrong length, and for minima that can't be
        reached: it says which, and by how much.

    See Also
    --------
    assignment_prices : What one row more of an expert's would bring.
    CapacityPolicy : The same inside a deferral estimator, and for streams of rows.

    Notes
    -----
    It maximises :math:`\sum_{ij} a_{ij} s_{ij}` over :math:`a_{ij} \in \{0, 1\}` with
    :math:`\sum_j a_{ij} \le 1` and :math:`l_j \le \sum_i a_{ij} \le u_j`, a transportation
    problem [1]_. Prices per expert that make rows choose within the limits are found on growing
    samples by Newton's method on the dual; the few rows that are nearly indifferent then move along
    shortest augmenting paths [2]_, until no row would rather be elsewhere: that proves the optimum.
    Sums are on a grid of ``2 ** -40`` of the greatest gain. Above 50,000 rows, ties are split at
    random (with a fixed seed), at a loss of at most a billionth of the greatest gain per row.
    Below, which of several equally good assignments comes out is not specified.

    References
    ----------
    .. [1] Hitchcock (1941). The distribution of a product from several sources to numerous
       localities. Journal of Mathematics and Physics 20, 224-230.
    .. [2] Ahuja, Magnanti & Orlin (1993). Network flows. Prentice Hall, chapter 9.

    Examples
    --------
    The first expert gains most on all rows, but has time for one:

    >>> from skdefer.policies import assign
    >>> score = [[0.5, 0.4], [0.6, 0.1], [0.3, -0.2]]
    >>> assign(score, capacity=1)
    array([2, 1, 0])
    >>> assign(score, capacity=[1, None], minimum=[0, 3])
    array([2, 2, 2])
    """
    score = check_score(score)
    return solve(score, check_limits(score.shape[1], capacity, minimum))[0][:, 0] + 1


def assignment_prices(score, capacity, minimum=None):
    """Price the experts' hours: what one row more of each would bring.

    At these prices rows sort themselves: each goes to the expert of greatest score less price, if
    that is above 0, and nobody gets more than he can take, but for rows that are tied. So prices
    found on past rows are a rule for new ones, one by one (see :class:`CapacityPolicy`).

    Parameters
    ----------
    score, capacity, minimum
        As in :func:`assign`.

    Returns
    -------
    price : ndarray of shape (n_experts,)
        In the unit of the score, midway where several are right. 0 for an expert who has time left;
        negative for one whose minimum forces rows over; inf for one without capacity.

    Raises
    ------
    ValueError
        As :func:`assign`.

    Examples
    --------
    >>> from skdefer.policies import assignment_prices
    >>> assignment_prices([[0.5, 0.4], [0.6, 0.1], [0.3, -0.2]], capacity=[1, None]).round(3)
    array([0.4, 0. ])
    """
    score = check_score(score)
    return solve(score, check_limits(score.shape[1], capacity, minimum))[1]


def check_limits(
    n_experts: int, capacity: Any, minimum: Any = None, pool: Any = None, per_row: int = 1
) -> Limits:
    """Bring limits to one per expert, and refuse those that contradict each other.

    Parameters
    ----------
    n_experts : int
        J.
    capacity, minimum : None, int, or sequence of length n_experts
        The most and the least rows of each expert.
    pool : int or None
        The most rows of all together.
    per_row : int
        The most experts per row.

    Returns
    -------
    limits : Limits

    Raises
    ------
    ValueError
        For limits that are no whole numbers >= 0, of a wrong length, or that can't be kept.
    """
    upper = _whole("capacity", capacity, n_experts, np.inf)
    lower = _whole("minimum", minimum, n_experts, 0.0)
    total = _whole("pool", pool, 1, np.inf)[0]
    j = int((lower - upper).argmax())
    if lower[j] > upper[j]:
        raise ValueError(
            f"minimum asks for {lower[j]:.0f} rows of expert {j} (from 0), whose capacity is "
            f"{upper[j]:.0f}: {lower[j] - upper[j]:.0f} too many. Lower the one or raise the other."
        )
    if lower.sum() > total:
        raise ValueError(
            f"minimum asks for {lower.sum():.0f} rows of all experts together, but the pool allows "
            f"{total:.0f}: {lower.sum() - total:.0f} too many. Lower the one or raise the other."
        )
    return Limits(lower, upper, float(total), per_row)


def _whole(what: str, limit: Any, n: int, absent: float) -> np.ndarray:
    """Bring a limit to ``n`` whole numbers; None is ``absent``."""
    forms = "a whole number >= 0, or None" + (f", or {n} of them, one per expert" if n > 1 else "")
    if limit is None or isinstance(limit, numbers.Number):
        limit = [limit] * n
    if isinstance(limit, Mapping) or hasattr(limit, "to_dict"):  # a Series
        raise ValueError(
            f"{what} is {limit!r}, by name; expected {forms}. Names are not known here: pass a "
            "list in the order of the experts (routes_[1:] of an estimator), None for no limit."
        )
    try:
        values = [absent if value is None else float(value) for value in limit]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is {limit!r}; expected {forms}.") from error
    if len(values) != n:
        raise ValueError(
            f"{what} has {len(values)} entries, but there are {n} experts; expected {forms}."
        )
    for value in values:
        whole = value >= 0 and (value == absent or value.is_integer())
        if not whole:
            raise ValueError(
                f"{what} has {value:g}; expected {forms}. Round it down, or leave the limit out."
            )
    return np.array(values)
