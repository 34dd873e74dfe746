"""Hand over what gains more than a threshold that is known."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval

from skdefer.policies._base import BasePolicy, check_score
from skdefer.policies._cost import CostPolicy


class ThresholdPolicy(BasePolicy):
    """Take a threshold off every score, then decide by another policy.

    With :class:`CostPolicy` inside, a row goes to its best expert wherever that scores above
    ``threshold``. A threshold below 0 hands over rows that are expected to lose by it. This is
    how a threshold that was chosen elsewhere is served; :class:`BudgetPolicy` and
    :class:`ScoringPolicy` choose one themselves.

    Parameters
    ----------
    threshold : float, default=0.0
        Finite, or infinity, which keeps every row.
    policy : policy, default=None
        Decides on what is left of the scores, one that learns nothing; :class:`CostPolicy` if
        None.

    Examples
    --------
    >>> from skdefer.policies import ThresholdPolicy
    >>> ThresholdPolicy(0.1).route([[0.2, 0.3], [0.1, 0.0]])
    array([2, 0])
    """

    _parameter_constraints: dict = {
        "threshold": [Interval(numbers.Real, None, np.inf, closed="right")],
        "policy": [HasMethods(["fit", "route"]), None],
    }

    def __init__(self, threshold=0.0, *, policy=None):
        self.threshold = threshold
        self.policy = policy

    def _inside(self):
        return CostPolicy() if self.policy is None else self.policy

    def _validate_params(self):
        super()._validate_params()
        if self._inside().learns:
            raise ValueError(
                f"policy is {type(self.policy).__name__}, which learns where to cut; expected one "
                "that learns nothing, such as CostPolicy or TopKPolicy. Use it alone."
            )

    @property
    def holds_threshold(self):
        """Whether it holds a threshold, which other prices or experts make stale."""
        return True

    @property
    def batch_dependent(self):
        """Whether the route of a row depends on the other rows: as the policy inside."""
        return self._inside().batch_dependent

    @property
    def holds_expert_state(self):  # type: ignore[override]
        """Whether it learned something about each expert: as the policy inside."""
        return self._inside().holds_expert_state

    @property
    def holds_capacity(self):  # type: ignore[override]
        """Whether it holds the experts' capacities: as the policy inside."""
        return self._inside().holds_capacity

    def route(self, score, *, cost=None, X=None):
        """Decide who answers each row; see :meth:`BasePolicy.route`."""
        return self._inside().route(self._left(score), cost=cost, X=X)

    def panel(self, score, *, cost=None, X=None):
        """Decide whom to ask on each row; see :meth:`BasePolicy.panel`."""
        return self._inside().panel(self._left(score), cost=cost, X=X)

    def vote_weights(self, accuracy, n_classes):
        """Weigh the votes; see :meth:`BasePolicy.vote_weights`."""
        return self._inside().vote_weights(accuracy, n_classes)

    def _left(self, score):
        score = check_score(score)
        # Infinity less infinity: an expert who is away stays away.
        return np.subtract(
            score, self.threshold, where=score != self.threshold, out=np.zeros_like(score)
        )
