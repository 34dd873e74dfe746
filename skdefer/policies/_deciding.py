"""How an estimator applies its policy: whom to ask, and what their answers come to."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdefer.costs import least_cost_answer
from skdefer.policies._base import BasePolicy, Weighed, warn_if_stale
from skdefer.policies._vote import count_votes
from skdefer.utils._rows import check_rows, take_rows
from skdefer.utils._validation import encode_answers

_BLOCK = 1 << 20  # scores held at once where rows are decided one by one


class DecidingMixin:
    """Decides rows by ``policy_``, for an estimator that weighs them in ``_weigh``."""

    policy_: BasePolicy
    classes_: np.ndarray
    error_cost_: np.ndarray | None
    n_experts_: int
    experts_: list
    cost: Any
    error_cost: Any

    def _weigh(self, X: Any) -> Weighed:
        raise NotImplementedError

    def _set_policy(self, policy: BasePolicy) -> None:
        self.policy_ = policy
        self._learned_at: tuple[Any, ...] = self._prices()

    def _prices(self) -> tuple[Any, ...]:
        own = [expert.cost for expert in self.experts_] if self.cost is None else None
        kept = (p if callable(p) else copy.deepcopy(p) for p in (self.cost, self.error_cost))
        return (*kept, own)

    def _decide(self, X: Any, rule: str) -> np.ndarray:
        """Apply the policy's ``"route"`` or ``"panel"``, in blocks of rows where it may."""
        check_is_fitted(self)
        n_rows, size = check_rows(X), max(1, _BLOCK // self.n_experts_)
        if n_rows <= size or self.policy_.batch_dependent:
            return self._apply(rule, self._weigh(X))
        blocks = (take_rows(X, np.arange(n_rows)[i : i + size]) for i in range(0, n_rows, size))
        return np.concatenate([self._apply(rule, self._weigh(block)) for block in blocks])

    def _apply(self, rule: str, weighed: Weighed) -> np.ndarray:
        warn_if_stale(self.policy_, self._learned_at, self._prices())
        return getattr(self.policy_, rule)(weighed.score, cost=weighed.cost, X=weighed.X)

    def _vote(self, weighed: Weighed, codes: np.ndarray, panel: np.ndarray) -> np.ndarray:
        """Labels of the system: what each panel's answers come to, or else the model's.

        ``codes`` are answers as positions in ``classes_``, and ``panel`` says which of them count.
        """
        labels = least_cost_answer(weighed.proba, self.error_cost_)
        rows = np.flatnonzero(panel.any(axis=1))
        weight = self.policy_.vote_weights(weighed.accuracy[rows], len(self.classes_))
        labels[rows] = count_votes(codes[rows], panel[rows], weight, weighed.score[rows])
        return self.classes_[labels]

    def _vote_of(self, X: Any, answers: np.ndarray, panel: np.ndarray) -> np.ndarray:
        """Labels of the system, given the answers (n_rows, n_experts) of its panels."""
        codes = encode_answers(answers, self.classes_)
        return self._vote(self._weigh(X), codes, panel & (codes >= 0))
