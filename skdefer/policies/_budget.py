"""Hand over a share of the rows at the most: those that gain most."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skdefer.metrics import system_accuracy_score
from skdefer.policies._base import BasePolicy, best_expert, check_score, counted_weights
from skdefer.policies._thresholds import budget_threshold


class BudgetPolicy(BasePolicy):
    """Hand over at most a share ``budget`` of the rows, those of greatest score.

    Rows of a score of 0 or less are never handed over, so less than the budget may be used.

    Parameters
    ----------
    budget : float, default=0.1
        The share of rows, in [0, 1].
    scope : {"stream", "batch"}, default="stream"
        "stream": a threshold, learned in ``fit``, decides each row alone, so the share
        holds on average over rows like those of ``fit``. "batch": exactly the top share of
        each batch, rounded down; the route of a row then depends on the others
        (``batch_dependent``), and among equal scores earlier rows go first.

    Attributes
    ----------
    threshold_ : float
        Rows above it are handed over (scope "stream"). It lies midway between
        neighbouring observed scores; a block of equal scores that would exceed the budget
        stays with the model.
    deferral_rate_ : float
        Share handed over on the cross-fitted scores of ``fit``: the promise.
    system_accuracy_ : float
        Accuracy of the whole system there.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.policies import BudgetPolicy
    >>> score = np.array([[0.4], [0.3], [0.1], [-0.2]])
    >>> policy = BudgetPolicy(budget=0.5).fit(score, [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0])
    >>> round(policy.threshold_, 3), policy.deferral_rate_, policy.system_accuracy_
    (0.2, 0.5, 1.0)
    >>> policy.route([[0.25], [0.15]])
    array([1, 0])
    """

    _parameter_constraints: dict = {
        "budget": [Interval(numbers.Real, 0, 1, closed="both")],
        "scope": [StrOptions({"stream", "batch"})],
    }
    learns = True

    def __init__(self, budget=0.1, *, scope="stream"):
        self.budget = budget
        self.scope = scope

    @property
    def holds_threshold(self):
        """Whether it learned a threshold, which other prices or experts make stale."""
        return self.scope == "stream"

    @property
    def batch_dependent(self):
        """Whether the route of a row depends on the other rows of the batch."""
        return self.scope == "batch"

    def _fit(self, score, y, y_pred, expert_predictions, cost, capacity, X, sample_weight):
        best = best_expert(score)[1]
        weight = counted_weights(sample_weight, len(score))
        self.threshold_ = budget_threshold(best, weight, self.budget)
        route = self.route(score)
        self.deferral_rate_ = float(np.average(route > 0, weights=weight))
        self.system_accuracy_ = system_accuracy_score(
            y, y_pred, expert_predictions, route, sample_weight=weight
        )

    def route(self, score, *, cost=None, X=None):
        """Decide who answers each row; see :meth:`BasePolicy.route`."""
        check_is_fitted(self)
        best, score = best_expert(check_score(score))
        if self.scope == "stream":
            return np.where(score > self.threshold_, best + 1, 0)
        route = np.zeros(len(score), dtype=np.intp)
        top = np.argsort(-score, kind="stable")[: _floor_share(self.budget, len(score))]
        top = top[score[top] > 0]
        route[top] = best[top] + 1
        return route


def _floor_share(share: float, n: float) -> int:
    # 0.29 * 100 is 28.999999999999996 in floating point.
    return int(np.floor(share * n * (1 + 1e-12)))
