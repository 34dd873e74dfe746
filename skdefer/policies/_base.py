"""The contract of a policy: which rows are handed over, given what it would gain."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skdefer.costs import same_prices
from skdefer.exceptions import CapacityWarning, StaleThresholdWarning
from skdefer.utils._validation import check_weights, is_missing


@dataclass
class Weighed:
    """What is known of a batch before anybody is asked; n rows, K classes, J experts."""

    X: Any  # without the columns of column experts
    proba: np.ndarray  # (n, K)
    loss: np.ndarray  # (n, 1 + J), in units of the cost
    cost: np.ndarray  # (n, J), of asking
    score: np.ndarray  # (n, J)
    worst: float  # the greatest price of a wrong answer, in the same unit

    @property
    def accuracy(self) -> np.ndarray:
        """Expected accuracy (n, J) of each expert; with a matrix, share of ``worst`` saved."""
        return 1.0 - self.loss[:, 1:] / max(self.worst, np.finfo(float).tiny)


class BasePolicy(BaseEstimator):
    """Base of all policies.

    A policy sees scores of shape (n_rows, n_experts): the expected gain of asking each
    expert instead of the model, net of the price. A subclass writes ``route``, ``panel`` too where
    several experts may be asked about a row, and ``_fit`` where it learns.
    """

    _parameter_constraints: dict = {}

    #: Whether ``fit`` learns from scores; the estimator then cross-fits them.
    learns: bool = False
    #: Whether it learned something about each expert, so that it can't serve others.
    holds_expert_state: bool = False
    #: Whether it holds the experts' capacities.
    holds_capacity: bool = False

    @property
    def batch_dependent(self) -> bool:
        """Whether the route of a row depends on the other rows of the batch."""
        return False

    @property
    def holds_threshold(self) -> bool:
        """Whether it learned a threshold, which other prices or experts make stale."""
        return False

    def fit(
        self,
        score,
        y,
        y_pred,
        expert_predictions,
        *,
        cost=None,
        capacity=None,
        X=None,
        sample_weight=None,
    ):
        """Learn when to hand over, from scores of rows that taught nothing to their makers.

        Parameters
        ----------
        score : array-like of shape (n_rows, n_experts)
            Expected gain of each expert over the model, net of the price, cross-fitted.
        y : array-like of shape (n_rows,)
            The truth.
        y_pred : array-like of shape (n_rows,)
            The model's answers, cross-fitted.
        expert_predictions : array-like of shape (n_rows, n_experts)
            The experts' answers, missing where there is none.
        cost : array-like of shape (n_experts,) or (n_rows, n_experts), default=None
            Prices that are already taken off ``score``.
        capacity : sequence of int or None, default=None
            The most rows per expert and batch.
        X : the rows, default=None
            For policies that read them.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted policy.
        """
        self._validate_params()
        self._fit(
            check_score(score), y, y_pred, expert_predictions, cost, capacity, X, sample_weight
        )
        return self

    def _fit(
        self,
        score: np.ndarray,
        y: Any,
        y_pred: Any,
        expert_predictions: Any,
        cost: Any,
        capacity: Any,
        X: Any,
        sample_weight: Any,
    ) -> None:
        """Learn; nothing by default."""

    def route(self, score, *, cost=None, X=None):
        """Decide who answers each row.

        Parameters
        ----------
        score : array-like of shape (n_rows, n_experts)
            Expected gain of each expert over the model, net of the price.
        cost : array-like, default=None
            Prices that are already taken off ``score``.
        X : the rows, default=None
            For policies that read them.

        Returns
        -------
        route : ndarray of int of shape (n_rows,)
            0 the model, j in 1..n_experts expert j. Ties go to the model, then to the
            first expert.
        """
        raise NotImplementedError

    def panel(self, score, *, cost=None, X=None):
        """Decide whom to ask on each row: the expert of ``route`` alone, unless overridden.

        Parameters
        ----------
        score, cost, X
            As in :meth:`route`.

        Returns
        -------
        panel : ndarray of bool of shape (n_rows, n_experts)
            Nobody on a row that the model keeps. The route of a row is its best-scored expert.
        """
        score = check_score(score)
        return self.route(score, cost=cost, X=X)[:, None] == np.arange(1, score.shape[1] + 1)

    def vote_weights(self, accuracy, n_classes):
        """Weigh the votes of experts who are asked about one row together.

        Parameters
        ----------
        accuracy : ndarray of shape (n_rows, n_experts)
            Expected accuracy of each expert on each row; with a cost matrix the share of the
            greatest price that its answer saves.
        n_classes : int
            The number of classes.

        Returns
        -------
        weight : ndarray of shape (n_rows, n_experts) or None
            None: every vote counts the same. Ties go to the better-scored expert's answer.
        """
        return None


def check_score(score: Any) -> np.ndarray:
    """Bring scores to a float array of shape (n_rows, n_experts); NaN is refused."""
    score = np.asarray(score, dtype=float)
    if score.ndim != 2 or score.shape[1] == 0:
        raise ValueError(
            f"score has shape {score.shape}; expected (n_rows, n_experts), the gain of each "
            "expert over the model."
        )
    if is_missing(score).any():
        raise ValueError("score has NaN; expected numbers. Use -inf for an expert that is away.")
    return score


def counted_weights(sample_weight: Any, n_rows: int) -> np.ndarray:
    """Check the weights of rows that a policy learns from; one at least must count."""
    weight = check_weights(sample_weight, n_rows)
    if not weight.any():
        raise ValueError(
            f"No row counts: there are {n_rows}, of weight 0; expected one at least of weight > 0. "
            "Pass the scores of rows with an answer on record."
        )
    return weight


def best_expert(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the best expert of each row (from 0) and the score there."""
    if score.shape[1] == 1:
        return np.zeros(len(score), dtype=np.intp), score[:, 0]
    best = score.argmax(axis=1)
    return best, np.take_along_axis(score, best[:, None], axis=1)[:, 0]


def warn_if_stale(policy: BasePolicy, learned_at: Any, now: Any) -> None:
    """Warn if a threshold was learned at other prices, or with other experts."""
    if policy.holds_threshold and not same_prices(learned_at, now):
        warnings.warn(
            f"{type(policy).__name__} learned its threshold at other prices or experts; its limit "
            "may not hold. Call fit again.",
            StaleThresholdWarning,
            stacklevel=4,
        )


def warn_of_capacities(policy: BasePolicy, panel: Mapping[str, Any]) -> None:
    """Warn if experts declare a capacity that the policy does not hold."""
    limited = [
        name
        for name, expert in panel.items()
        if expert.capacity is not None and not expert.holds_capacity
    ]
    if limited and not policy.holds_capacity:
        warnings.warn(
            f"The experts {limited} declare a capacity, which {type(policy).__name__} does "
            "not hold; it only limits on_missing='next'.",
            CapacityWarning,
            stacklevel=4,
        )
