"""Hand over whatever gains."""

from __future__ import annotations

import numpy as np

from skdefer.policies._base import BasePolicy, best_expert, check_score


class CostPolicy(BasePolicy):
    """Hand a row to the expert of greatest score, wherever that is above 0.

    With scores net of costs this is the rule of least expected cost. It learns nothing,
    so a change of prices needs no refit.

    Examples
    --------
    >>> from skdefer.policies import CostPolicy
    >>> CostPolicy().route([[0.2, 0.3], [-0.1, 0.0]])
    array([2, 0])
    """

    def route(self, score, *, cost=None, X=None):
        """Decide who answers each row; see :meth:`BasePolicy.route`."""
        best, score = best_expert(check_score(score))
        return np.where(score > 0, best + 1, 0)
