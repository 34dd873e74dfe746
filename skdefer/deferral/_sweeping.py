"""Held-out rows of a fitted deferral estimator, handed over in many ways at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_memory

from skdefer.costs import least_cost_answer, resolve_cost
from skdefer.deferral._record import buy_answers, check_spending, read_record
from skdefer.experts._asking import open_store
from skdefer.experts._base import AbsentExpert, Expert
from skdefer.metrics._sweep import BLOCK, Outcomes, count_answers, sweep_thresholds
from skdefer.policies import BasePolicy, CostPolicy, ThresholdPolicy, TopKPolicy
from skdefer.policies._base import Weighed, best_expert
from skdefer.policies._vote import count_votes
from skdefer.utils._rows import check_rows, check_same_order, take_rows
from skdefer.utils._validation import check_answers, encode_answers, is_missing


@dataclass
class HeldOut:
    """Rows that taught the estimator nothing: n of them, J experts, K classes.

    A row that is handed over but has no answer counts with the model's.
    """

    weighed: Weighed
    policy: BasePolicy
    names: list[str]
    own_prices: list[float]
    error_matrix: np.ndarray | None  # (K, K)
    error_unit: float
    truth: np.ndarray  # (n,), positions of labels
    kept: np.ndarray  # (n,), the model's answers
    codes: np.ndarray  # (n, J), the experts', negative where there is none
    weight: np.ndarray  # (n,)
    n_classes: int

    @classmethod
    def of(
        cls,
        estimator: Any,
        X: Any,
        y: np.ndarray,
        answers: np.ndarray | None,
        weight: np.ndarray,
        classes: np.ndarray,
    ) -> HeldOut:
        """Weigh rows X (n, ...) by a fitted estimator, without asking anybody.

        ``answers`` (n, J) None: nobody can be asked, and the expert who is always right stands
        in. ``classes`` (K,) are those of all rows; the estimator may know fewer.
        """
        weighed = estimator._weigh(X)
        truth = encode_answers(y, classes)
        answered = least_cost_answer(weighed.proba, estimator.error_cost_)
        if answers is None:
            codes = truth[:, None]
        else:
            codes = encode_answers(answers, classes)
            known = encode_answers(estimator.classes_, classes)
            codes = np.where(np.isin(codes, known), codes, -1)
        return cls(
            weighed=weighed,
            policy=estimator.policy_,
            names=list(estimator.routes_)[1:],
            own_prices=[expert.cost for expert in estimator.experts_],
            error_matrix=estimator.error_cost_,
            error_unit=estimator._error_unit(),
            truth=truth,
            kept=encode_answers(estimator.classes_[answered], classes),
            codes=codes,
            weight=weight,
            n_classes=len(classes),
        )

    @property
    def top_score(self) -> np.ndarray:
        """Score (m,) of the best expert, of rows that count."""
        return best_expert(self.weighed.score[self.weight > 0])[1]

    def expected_cost(self, outcomes: Outcomes) -> np.ndarray:
        """Mean cost of a row (m,): of answers that are wrong, and of those paid for."""
        return outcomes.error_cost(self.error_matrix, self.error_unit) + outcomes.paid

    def by_threshold(self, thresholds: np.ndarray) -> Iterator[Outcomes]:
        """Take each threshold (m,) off the scores; in blocks, in order."""
        if self._n_best:
            return self._sweep(self.weighed.score, thresholds)
        policies = (ThresholdPolicy(t, policy=self.policy) for t in thresholds)
        return self._one_by_one(
            (policy, self.weighed.score, self.weighed.cost) for policy in policies
        )

    def by_cost(self, costs: np.ndarray | Sequence[Any]) -> Iterator[Outcomes]:
        """Decide as if asking had each of these costs; in blocks, in order.

        An array (m,) of prices of any expert, or a list of costs in any form.
        """
        gain = self.weighed.loss[:, :1] - self.weighed.loss[:, 1:]
        if isinstance(costs, np.ndarray) and self._n_best:
            return self._sweep(gain, costs)
        return self._one_by_one(
            (self.policy, gain - price, np.broadcast_to(price, gain.shape))
            for price in (self._resolve(cost) for cost in costs)
        )

    def _resolve(self, cost: Any) -> np.ndarray:
        return resolve_cost(cost, self.names, self.own_prices, self.weighed.X, len(self.truth))

    @property
    def _n_best(self) -> int:
        """How many experts above the threshold are asked, the best ones; 0: others may be."""
        if type(self.policy) is TopKPolicy and self.policy.max_cost is None:
            return min(self.policy.k, self.codes.shape[1])
        return int(type(self.policy) is CostPolicy)

    def _sweep(self, score: np.ndarray, thresholds: np.ndarray) -> Iterator[Outcomes]:
        """Hand over to the best experts above each threshold: all rows in one look an expert.

        A row's s-th best expert joins the panel at the thresholds below that expert's score.
        """
        rows = np.arange(len(score))
        panel = np.zeros(score.shape, dtype=bool)
        layers, before = [], self.kept
        for expert in np.argsort(-score, axis=1, kind="stable")[:, : self._n_best].T:
            panel[rows, expert] = True
            said, price = self.codes[rows, expert] >= 0, self.weighed.cost[rows, expert]
            after = self._labels(self.policy, panel, score)
            layers.append((score[rows, expert], before, after, price, np.where(said, price, 0.0)))
            before = after
        for few in np.array_split(thresholds, -(-len(thresholds) * self.n_classes**2 // BLOCK)):
            yield self._stack(few, layers)

    def _stack(self, thresholds: np.ndarray, layers: Sequence[tuple[np.ndarray, ...]]) -> Outcomes:
        """Add up what each further expert of a row changes at each threshold (m,)."""
        result = None
        for score, before, after, price, paid in layers:
            swept = sweep_thresholds(
                score,
                thresholds,
                self.truth,
                before,
                after,
                asked=price,
                paid=paid,
                weight=self.weight,
                n_classes=self.n_classes,
            )
            if result is None:
                result = swept
                continue
            start = count_answers(self.truth, before, self.weight, self.n_classes)
            result.counts = np.maximum(result.counts + (swept.counts - start), 0.0)  # rounding
            result.asked = result.asked + swept.asked
            result.paid = result.paid + swept.paid
        assert result is not None  # there is an expert
        return result

    def _labels(self, policy: BasePolicy, panel: np.ndarray, score: np.ndarray) -> np.ndarray:
        """What the panels' answers come to (n,), or else the model's."""
        answered = panel & (self.codes >= 0)
        rows, labels = np.flatnonzero(answered.any(axis=1)), self.kept.copy()
        votes = policy.vote_weights(self.weighed.accuracy[rows], self.n_classes)
        labels[rows] = count_votes(self.codes[rows], answered[rows], votes, score[rows])
        return labels

    def _one_by_one(
        self, cases: Iterable[tuple[BasePolicy, np.ndarray, np.ndarray]]
    ) -> Iterator[Outcomes]:
        """Apply a policy to scores and prices, case after case."""
        total = self.weight.sum()
        for policy, score, cost in cases:
            panel = policy.panel(score, cost=cost, X=self.weighed.X)
            answered, labels = panel & (self.codes >= 0), self._labels(policy, panel, score)
            shares = self.weight / total
            yield Outcomes(
                counts=count_answers(self.truth, labels, self.weight, self.n_classes)[None],
                deferred=np.array([shares @ panel.any(axis=1)]),
                asked=np.array([shares @ np.where(panel, self.weighed.cost, 0.0).sum(axis=1)]),
                paid=np.array([shares @ np.where(answered, self.weighed.cost, 0.0).sum(axis=1)]),
            )


def settle_answers(
    estimator: Any, X: Any, expert_predictions: Any, classes: np.ndarray, *, fitted: bool
) -> tuple[dict[str, Expert], np.ndarray | None]:
    """Get all answers that a pass over the rows needs, each bought once.

    Parameters
    ----------
    estimator : deferral estimator
        Whose experts are asked, as far as there is no record.
    X : the rows
        As the user passed them.
    expert_predictions : array-like of shape (n_rows,) or (n_rows, n_experts), or None
        Answers on record.
    classes : ndarray of shape (n_classes,)
        The classes.
    fitted : bool
        Whether the estimator is fitted, so that its experts are known.

    Returns
    -------
    panel : dict of str to Expert
        The experts by name.
    answers : ndarray of shape (n_rows, n_experts) or None
        None: there is nobody to ask.
    """
    if fitted:
        panel = estimator._panel
        if estimator._rejects_only:
            return panel, None
        if expert_predictions is None:
            check_spending(panel)
            expert_predictions = estimator.ask_experts(X)
        check_same_order(expert_predictions, X)
        return panel, check_answers(expert_predictions, check_rows(X), names=list(panel))[0]
    panel, answers = read_record(estimator.experts, X, expert_predictions, classes)
    if _nobody(panel):
        return panel, None
    answers = buy_answers(
        panel,
        X,
        answers,
        classes,
        np.ones(len(answers), dtype=bool),
        store=open_store(check_memory(estimator.memory)),
        random_state=estimator.random_state,
    )
    return panel, answers


def _nobody(panel: dict[str, Expert]) -> bool:
    return any(isinstance(expert, AbsentExpert) for expert in panel.values())


def mute(experts: Any, panel: dict[str, Expert]) -> Any:
    """Copy the experts so that no fit can ask them: all that they say is known."""
    if _nobody(panel):
        return experts
    muted = {name: copy.copy(expert) for name, expert in panel.items()}
    for expert in muted.values():
        expert.can_answer = False
    return list(muted.items())


def fit_on(estimator: Any, rows: dict[str, Any], train: np.ndarray) -> Any:
    """Fit on the rows ``train`` of ``rows``: X, y, answers, weight and groups, or None."""
    answers = rows["answers"]
    if answers is not None and is_missing(answers).all():
        answers = None  # profiles alone
    params = {
        "expert_predictions": answers,
        "sample_weight": rows["weight"],
        "groups": None if rows["groups"] is None else np.asarray(rows["groups"]),
    }
    given = {name: value[train] for name, value in params.items() if value is not None}
    return estimator.fit(take_rows(rows["X"], train), rows["y"][train], **given)


def fit_fold(
    estimator: Any,
    rows: dict[str, Any],
    classes: np.ndarray,
    train: np.ndarray | None,
    test: np.ndarray,
) -> tuple[Any, HeldOut]:
    """Fit on ``train``, unless that is None, and weigh the rows ``test``."""
    if train is not None:
        estimator = fit_on(estimator, rows, train)
    weight = np.ones(len(test)) if rows["weight"] is None else rows["weight"][test]
    answers = None if rows["answers"] is None else rows["answers"][test]
    X, y = take_rows(rows["X"], test), rows["y"][test]
    return estimator, HeldOut.of(estimator, X, y, answers, weight, classes)
