"""Hand over no more rows than each expert has time for."""

from __future__ import annotations

import numbers
import warnings

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skdefer.exceptions import CapacityWarning
from skdefer.metrics import system_accuracy_score
from skdefer.policies._assign import check_limits
from skdefer.policies._base import BasePolicy, check_score, counted_weights
from skdefer.policies._flow import Limits, best_of_rows
from skdefer.policies._prices import solve
from skdefer.policies._vote import first_choice, log_odds

_MOST = 8  # repetitions of a row, on average, where weights are no whole numbers


class CapacityPolicy(BasePolicy):
    """Hand over the rows that gain most in sum, within the hours that each expert has.

    Parameters
    ----------
    capacity : None, int, or sequence of (int or None), default=None
        The most rows of each expert, in their order; a number is for each of them. None: the
        ``capacity`` that the experts declare, no limit where they declare none. What is given here
        holds instead of that, with a :class:`~skdefer.exceptions.CapacityWarning` where it is more.
    minimum : None, int, or sequence of int, default=None
        The least rows of each expert. Only it can force rows over that gain nothing. In a batch
        every call needs rows enough for it.
    scope : {"batch", "stream"}, default="batch"
        "batch": limits hold in each call of ``route``, exactly, by the best assignment
        (:func:`assign`); the route of a row then depends on the others (``batch_dependent``).
        "stream": prices, learned in ``fit``, decide each row alone: it goes to the expert of
        greatest score less price, if that is above 0, so loads keep to the limits on average over
        rows like those of ``fit``. :meth:`take` holds them row by row.
    batch_size : int or None, default=None
        How many rows a limit is for, in a stream: with 500 rows a day and 40 readings a day,
        ``capacity=40, batch_size=500``. None: as many as the rows that it learns from, which are
        those of ``fit``, or the held-out ones of a network. In a batch it decides nothing: see
        Notes.
    max_per_row : int, default=1
        The most experts per row. A row goes to its best ones, within their hours, if each of them
        gains alone; they vote.
    pool : int or None, default=None
        The most answers of all experts together.
    vote : {"majority", "weighted"}, default="majority"
        How several answers become one; see :class:`TopKPolicy`.

    Attributes
    ----------
    limits_ : Limits
        ``lower`` and ``upper`` of shape (n_experts,), ``pool`` and ``per_row``.
    prices_ : ndarray of shape (n_experts,)
        What one row more of each expert's would bring, on the cross-fitted scores of ``fit``, in
        the unit of the score. 0: the expert has time left.
    batch_size_ : float
        How many rows the limits are for, in a stream.
    loads_ : ndarray of shape (n_experts,)
        Share of the rows of ``fit`` that each expert gets: the promise.
    system_accuracy_ : float
        Accuracy of the whole system there, by the first choice of each row.

    See Also
    --------
    assign : The assignment alone.
    BudgetPolicy : A share of the rows for all experts together.

    Notes
    -----
    In a batch the prices of ``fit`` are for information: they are those of a batch as large as
    ``batch_size``, and each call finds its own. In a stream a block of tied rows that does not fit
    stays with the model. ``on_missing="next"`` keeps to the capacities that the experts declare
    themselves, not to those given here.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.policies import CapacityPolicy
    >>> score = np.array([[0.5, 0.4], [0.6, 0.1], [0.3, -0.2], [-0.1, -0.1]])
    >>> y = [1, 1, 0, 0]
    >>> policy = CapacityPolicy(capacity=1).fit(score, y, [0, 0, 0, 0], score > 0.2)
    >>> policy.route(score)
    array([2, 1, 0, 0])

    As a rule for rows that come one by one:

    >>> stream = CapacityPolicy(capacity=1, scope="stream").fit(score, y, [0] * 4, score > 0.2)
    >>> stream.prices_.round(2), stream.loads_
    (array([0.45, 0.2 ]), array([0.25, 0.25]))
    >>> stream.route([[0.5, 0.1]])
    array([1])
    >>> panel, used = stream.take([[0.5, 0.1], [0.6, 0.4]])  # the first has no time after one row
    >>> panel
    array([[ True, False],
           [False,  True]])
    >>> used
    array([1, 1])
    """

    _parameter_constraints: dict = {
        "capacity": "no_validation",
        "minimum": "no_validation",
        "scope": [StrOptions({"batch", "stream"})],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "max_per_row": [Interval(numbers.Integral, 1, None, closed="left")],
        "pool": "no_validation",
        "vote": [StrOptions({"majority", "weighted"})],
    }
    learns = True
    holds_capacity = True

    def __init__(
        self,
        capacity=None,
        *,
        minimum=None,
        scope="batch",
        batch_size=None,
        max_per_row=1,
        pool=None,
        vote="majority",
    ):
        self.capacity = capacity
        self.minimum = minimum
        self.scope = scope
        self.batch_size = batch_size
        self.max_per_row = max_per_row
        self.pool = pool
        self.vote = vote

    @property
    def batch_dependent(self):
        """Whether the route of a row depends on the other rows of the batch."""
        return self.scope == "batch"

    @property
    def holds_threshold(self):
        """Whether it learned a threshold, which other prices or experts make stale."""
        return self.scope == "stream"

    @property
    def holds_expert_state(self):  # type: ignore[override]
        """Whether it knows something of each expert: prices, or limits of its own."""
        each = (self.capacity, self.minimum)
        return (
            self.scope == "stream"
            or self.capacity is None
            or not all(limit is None or isinstance(limit, numbers.Number) for limit in each)
        )

    def _fit(self, score, y, y_pred, expert_predictions, cost, capacity, X, sample_weight):
        weight = counted_weights(sample_weight, len(score))
        self.limits_ = self._limits(
            score.shape[1], capacity if self.capacity is None else self.capacity
        )
        _warn_if_more(self.limits_.upper, capacity)
        rows = np.repeat(np.arange(len(score)), _times(weight))
        score = score[rows]
        self.batch_size_ = float(self.batch_size or weight.sum())
        chosen, self.prices_ = solve(score, self.limits_.scaled(len(rows) / self.batch_size_))
        panel = self._by_price(score) if self.scope == "stream" else _marked(chosen, score.shape)
        self.loads_ = panel.mean(axis=0)
        self.system_accuracy_ = system_accuracy_score(
            np.asarray(y)[rows],
            np.asarray(y_pred)[rows],
            np.asarray(expert_predictions, dtype=object)[rows],
            first_choice(panel, score),
        )

    def _limits(self, n_experts: int, capacity) -> Limits:
        return check_limits(n_experts, capacity, self.minimum, self.pool, int(self.max_per_row))

    def route(self, score, *, cost=None, X=None):
        """Name the first choice of each row; see :meth:`BasePolicy.route`."""
        return first_choice(self.panel(score), check_score(score))

    def panel(self, score, *, cost=None, X=None):
        """Decide whom to ask on each row; see :meth:`BasePolicy.panel`."""
        score, limits = self._checked(score)
        if self.scope == "stream":
            return self._by_price(score)
        return _marked(_solve_call(score, limits)[0], score.shape)

    def prices(self, score):
        """Price the experts' hours for some rows: what one row more of each would bring.

        Parameters
        ----------
        score : array-like of shape (n_rows, n_experts)
            As in :meth:`route`.

        Returns
        -------
        price : ndarray of shape (n_experts,)
            In a stream ``prices_``, in a batch those of its own; see :func:`assignment_prices`.
        """
        score, limits = self._checked(score)
        return self.prices_.copy() if self.scope == "stream" else _solve_call(score, limits)[1]

    def take(self, score, used=None):
        """Hand over the next rows of a day, given what each expert has had; nothing is kept.

        Limits are those of the day as a whole. In a stream rows come in order, and an expert whose
        hours are spent is passed over; cutting the day into calls in another way changes nothing.
        In a batch each call has the best assignment within what is left.

        Parameters
        ----------
        score : array-like of shape (n_rows, n_experts)
            As in :meth:`route`.
        used : array-like of int of shape (n_experts,), default=None
            Rows that each expert has had since the day began; None: none yet.

        Returns
        -------
        panel : ndarray of bool of shape (n_rows, n_experts)
            Whom to ask on each row.
        used : ndarray of int of shape (n_experts,)
            To be passed to the next call.

        Raises
        ------
        ValueError
            For a wrong ``used``, and in a batch where what is left of a minimum can't be reached.
        """
        score, limits = self._checked(score)
        used = _check_used(used, score.shape[1])
        left = limits.less(used)
        if self.scope == "stream":
            panel = self._as_they_come(score, left)
        else:
            panel = _marked(_solve_call(score, left)[0], score.shape)
        return panel, used + panel.sum(axis=0)

    def vote_weights(self, accuracy, n_classes):
        """Weigh the votes; see :meth:`BasePolicy.vote_weights`."""
        return log_odds(accuracy, n_classes) if self.vote == "weighted" else None

    def _checked(self, score):
        check_is_fitted(self)
        score = check_score(score)
        if not self.holds_expert_state:  # one limit for each of whoever there is
            return score, self._limits(score.shape[1], self.capacity)
        if score.shape[1] != len(self.prices_):
            raise ValueError(
                f"score has {score.shape[1]} experts, but the limits are of {len(self.prices_)}; "
                "expected as many as in fit. Fit again."
            )
        return score, self.limits_

    def _net(self, score):
        """Scores less prices; -inf where there is no capacity."""
        free = np.isfinite(self.prices_)
        return np.where(free, score, -np.inf) - np.where(free, self.prices_, 0.0)

    def _by_price(self, score):
        return best_of_rows(self._net(score), int(self.max_per_row))

    def _as_they_come(self, score, left: Limits):
        """Rows in order, until somebody's hours are spent; then the others, and so on."""
        net, panel, start = self._net(score), np.zeros(score.shape, dtype=bool), 0
        upper, pool = left.upper, left.pool
        while start < len(score) and pool > 0:
            net[start:, upper <= 0] = -np.inf
            part = best_of_rows(net[start:], left.per_row)
            loads = part.cumsum(axis=0)
            spent = (loads >= upper).any(axis=1, where=upper > 0) | (loads.sum(axis=1) >= pool)
            n = int(spent.argmax()) + 1 if spent.any() else len(part)
            part = part[:n]
            over = int(max(part.sum() - pool, 0))  # a row may ask several, and few be left
            if over:
                worst = np.argsort(np.where(part[-1], net[start + n - 1], np.inf))[:over]
                part[-1, worst] = False
            panel[start : start + n] = part
            upper, pool = upper - part.sum(axis=0), pool - part.sum()
            start += n
        return panel


def _warn_if_more(upper, declared):
    """Warn where the limits are above the capacities that the experts declare."""
    if declared is None:
        return
    declared = np.array([np.inf if c is None else c for c in declared], dtype=float)
    more = np.flatnonzero(upper > declared)
    if len(more):
        warnings.warn(
            f"The experts {more.tolist()} (from 0) declare capacities of "
            f"{declared[more].astype(int).tolist()}, but CapacityPolicy gives them up to "
            f"{[int(u) if u < np.inf else None for u in upper[more]]} (None: no limit), "
            "which holds. Pass capacity=None for what the experts declare, or lower limits.",
            CapacityWarning,
            stacklevel=5,
        )


def _solve_call(score, limits):
    """Assign the rows of one call; if they are too few for a minimum, say what else there is."""
    try:
        return solve(score, limits)
    except ValueError as error:
        raise ValueError(
            f"{error} With scope='batch' a minimum is for each call: pass the rows that share the "
            "hours in one call, or use scope='stream', where it holds on average."
        ) from None


def _marked(chosen, shape):
    """Mark the chosen experts of each row; -1 is nobody."""
    panel = np.zeros(shape, dtype=bool)
    rows, place = np.nonzero(chosen >= 0)
    panel[rows, chosen[rows, place]] = True
    return panel


def _times(weight):
    """How often to repeat each row: as often as it counts, or nearly in proportion."""
    if (weight == np.floor(weight)).all() and weight.sum() <= _MOST * len(weight):
        return weight.astype(int)
    unit = weight[weight > 0].min()
    if (weight == unit).all():
        return np.ones(len(weight), dtype=int)
    steps = np.cumsum(weight) / weight.sum() * _MOST * len(weight)
    return np.diff(np.floor(steps + 0.5), prepend=0).astype(int)


def _check_used(used, n_experts):
    if used is None:
        return np.zeros(n_experts, dtype=int)
    given = np.asarray(used)
    if given.shape != (n_experts,) or given.dtype.kind not in "iu" or (given < 0).any():
        raise ValueError(
            f"used is {used!r}; expected {n_experts} whole numbers >= 0, the rows that each expert "
            "has had. Pass what the last call of take returned, or None."
        )
    return given
