"""Rows of a network's fit: those it learns from, those held out, and what these say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skdefer.base import DeferralMixin
from skdefer.costs import resolve_cost
from skdefer.metrics._ranking import Ranking, area
from skdefer.policies._thresholds import best_threshold
from skdefer.utils._rows import take_rows
from skdefer.utils._validation import MISSING, is_missing


@dataclass
class Rows:
    """Rows of ``fit``: n of them, J experts."""

    X: np.ndarray  # (n, ...)
    y: np.ndarray  # (n,), positions in classes_
    weight: np.ndarray  # (n,)
    answers: np.ndarray | None  # (n, J), labels; None: there is no record
    codes: np.ndarray | None  # (n, J), the answers as positions in classes_, or negative
    seen: Any = None  # the rows of fit as the user passed them, all of them
    place: np.ndarray | None = None  # (n,), which of these the rows are; None: all

    def take(self, rows: np.ndarray) -> Rows:
        """Take some of the rows."""
        return Rows(
            self.X[rows],
            self.y[rows],
            self.weight[rows],
            None if self.answers is None else self.answers[rows],
            None if self.codes is None else self.codes[rows],
            self.seen,
            rows if self.place is None else self.place[rows],
        )

    def raw(self) -> Any:
        """Give the rows as the user passed them, without columns that only experts see."""
        return self.seen if self.place is None else take_rows(self.seen, self.place)


class HeldOutMixin(DeferralMixin):
    """What held-out rows say of a network: when to stop, where to cut, what policies learn.

    The network writes ``_scores(X)``, ``_proba_of(scores)`` and ``_priority(scores, proba)``.
    """

    def _outcomes(self, held: Rows, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wish to hand held-out rows over, and the gain, both of shape (n_rows, n_experts).

        Where there is no answer on record, the gain is expected by the expert's profile.
        """
        proba = self._proba_of(scores)
        kept = (proba.argmax(axis=1) == held.y).astype(float)[:, None]
        if self._rejects_only:
            return 1.0 - proba.max(axis=1, keepdims=True), 1.0 - kept
        right = np.column_stack([profile.mean_[held.y] for profile in self.profiles_])
        if held.codes is not None:
            right = np.where(held.codes != MISSING, held.codes == held.y[:, None], right)
        return self._priority(scores, proba), right - kept

    def _on_offer(self, priority: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Between whom held-out rows choose: the model and one expert at a time, all in turn."""
        return priority, gain

    def _validation_score(self, held: Rows) -> float:
        """Expected AURSAC, averaged over what ``_on_offer`` gives."""
        scores = self._scores(held.X)
        priority, gain = self._on_offer(*self._outcomes(held, scores))
        kept = np.average(self._proba_of(scores).argmax(axis=1) == held.y, weights=held.weight)
        total = held.weight.sum()
        areas = []
        for wish, gained in zip(priority.T, gain.T):
            ranking = Ranking(wish, weight=held.weight)
            areas.append(area(ranking.counts() / total, ranking.sums(gained) / total, 0.0, 1.0))
        return float(kept + np.mean(areas))

    def _tune_threshold(self, held: Rows) -> float:
        """Find where handing over starts to pay."""
        priority, gain = self._on_offer(*self._outcomes(held, self._scores(held.X)))
        weight = np.repeat(held.weight, priority.shape[1])
        return best_threshold(priority.ravel(), gain.ravel(), weight, lowest=-1.0, highest=1.0)

    def _fit_policy(self, policy: Any, held: Rows) -> None:
        proba, loss = self._read_network(held.X)
        loss = loss * self._error_unit()
        own = [expert.cost for expert in self.experts_]
        rows = held.raw()
        cost = resolve_cost(self.cost, self.routes_[1:], own, rows, len(held.y))
        cost = np.broadcast_to(cost, (len(held.y), self.n_experts_))
        policy.fit(
            loss[:, :1] - loss[:, 1:] - cost,
            self.classes_[held.y],
            self.classes_[proba.argmax(axis=1)],
            self._probable_answers(held),
            cost=cost,
            capacity=[expert.capacity for expert in self.experts_],
            X=rows,
            sample_weight=held.weight,
        )

    def _probable_answers(self, held: Rows) -> np.ndarray:
        """Answers on record; missing ones drawn from what the profiles say of their class."""
        answers = held.answers
        if answers is None:
            answers = np.full((len(held.y), self.n_experts_), None, dtype=object)
        answers, missing = answers.astype(object), is_missing(answers)
        luck = check_random_state(0).uniform(size=answers.shape)
        for j, profile in enumerate(self.profiles_):
            rows = np.flatnonzero(missing[:, j])
            chances = profile.confusion_.cumsum(axis=1)[held.y[rows], :-1]
            answers[rows, j] = self.classes_[(luck[rows, j, None] > chances).sum(axis=1)]
        return answers
