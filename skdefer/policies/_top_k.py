"""Ask the best experts of a row together, and let them vote."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skdefer.policies._base import BasePolicy, check_score
from skdefer.policies._vote import first_choice, log_odds


class TopKPolicy(BasePolicy):
    """Hand a row to its ``k`` best experts, wherever that gains, and let them vote.

    Experts whose score is above 0 are asked, in order of score, ``k`` of them at most. With
    ``k=1`` it is :class:`CostPolicy`. It learns nothing, so a change of prices needs no refit.

    A score says what an expert gains alone. What a second opinion adds is not estimated, and a
    row costs the prices of all who are asked: whether it pays is to be measured, with
    ``system_cost_scorer`` or :func:`~skdefer.metrics.estimator_report`.

    Parameters
    ----------
    k : int or None, default=2
        The most experts per row; None: as many as ``max_cost`` allows.
    vote : {"majority", "weighted"}, default="majority"
        How their answers become one. "majority": the most frequent answer. "weighted": votes
        count the log odds of the expert's expected accuracy ``a`` on the row,
        ``log(a / (1 - a)) + log(n_classes - 1)``: of independent experts, whose wrong answers
        are spread evenly, the likeliest class. ``a`` is 1 less the expected loss that the rejector
        gives; with a cost matrix, less its share of the greatest price. Ties go to the answer of
        the better-scored expert. An answer that is missing has no vote.
    max_cost : float or None, default=None
        The most that the experts of a row may cost together, in the unit of ``cost``. An expert
        who would exceed it is passed over, the best one too, and the next one is tried.
        ``on_missing="next"`` asks on without regard to it.

    References
    ----------
    Montreuil, Carlier, Ng & Ooi (2025). Why ask one when you can ask k? Learning-to-defer to
    the top-k experts. arXiv 2504.12988.

    Examples
    --------
    >>> from skdefer.policies import TopKPolicy
    >>> score = [[0.2, 0.3, 0.1], [-0.1, 0.0, 0.1], [-0.1, 0.0, -0.3]]
    >>> TopKPolicy(k=2).panel(score)
    array([[ True,  True, False],
           [False, False,  True],
           [False, False, False]])
    >>> TopKPolicy(k=None, max_cost=0.5).panel(score, cost=[0.1, 0.6, 0.4])
    array([[ True, False,  True],
           [False, False,  True],
           [False, False, False]])
    """

    _parameter_constraints: dict = {
        "k": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "vote": [StrOptions({"majority", "weighted"})],
        "max_cost": [Interval(numbers.Real, 0, None, closed="left"), None],
    }

    def __init__(self, k=2, *, vote="majority", max_cost=None):
        self.k = k
        self.vote = vote
        self.max_cost = max_cost

    def _validate_params(self):
        super()._validate_params()
        if self.k is None and self.max_cost is None:
            raise ValueError(
                "k is None and max_cost is None, so that nothing limits whom to ask; expected one "
                "of them. Pass k, the most experts per row, or max_cost, the most a row may cost."
            )

    def route(self, score, *, cost=None, X=None):
        """Name the first choice of each row; see :meth:`BasePolicy.route`."""
        score = check_score(score)
        panel = self.panel(score, cost=cost, X=X)
        return first_choice(panel, score)

    def panel(self, score, *, cost=None, X=None):
        """Decide whom to ask on each row; see :meth:`BasePolicy.panel`."""
        self._validate_params()
        score = check_score(score)
        price, limit = self._prices(cost, score.shape)
        panel = np.zeros(score.shape, dtype=bool)
        rows = np.arange(len(score))
        spent, room = np.zeros(len(score)), np.full(len(score), self.k or score.shape[1])
        for expert in np.argsort(-score, axis=1, kind="stable").T:  # the best of each row first
            gains = (score[rows, expert] > 0) & (room > 0)
            if not gains.any():
                break
            total = spent + price[rows, expert]
            taken = gains & (total <= limit)
            panel[rows, expert] = taken
            spent[taken] = total[taken]
            room -= taken
        return panel

    def _prices(self, cost, shape):
        """Prices by row and expert, and the limit of their sum."""
        if self.max_cost is None:
            return np.zeros(shape), np.inf
        if cost is None:
            raise ValueError(
                f"max_cost is {self.max_cost!r}, but no prices came; expected cost=, one per "
                "expert or per row and expert. Pass it, or max_cost=None."
            )
        # 0.1 + 0.2 is 0.30000000000000004 in floating point.
        return np.broadcast_to(np.asarray(cost, dtype=float), shape), self.max_cost * (1 + 1e-9)

    def vote_weights(self, accuracy, n_classes):
        """Weigh the votes; see :meth:`BasePolicy.vote_weights`."""
        return log_odds(accuracy, n_classes) if self.vote == "weighted" else None
