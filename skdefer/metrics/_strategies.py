"""Strategies, that is mixes of routes, and what comes of each on every row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from skdefer.metrics._inputs import Rows, mean
from skdefer.metrics._label_metrics import LabelMetric
from skdefer.metrics._ranking import best_experts


@dataclass(frozen=True)
class Case:
    """What happens on each of n rows under each route; a strategy is a mix of routes.

    A mix is an array (n, 1 + J): each row's shares of the routes, which sum to 1.

    Attributes
    ----------
    rows : Rows
        Labels and answers of n rows, J experts.
    spent : ndarray of shape (n, 1 + J)
        The cost of each route: of its answer, and of asking.
    weight : ndarray of shape (n,)
        How much each row counts.
    """

    rows: Rows
    spent: np.ndarray
    weight: np.ndarray

    @cached_property
    def labels(self) -> np.ndarray:
        """All labels (K,) that occur, sorted, in a dtype that metrics know."""
        return self._coded[0]

    @cached_property
    def truth(self) -> np.ndarray:
        """Positions (n,) of the true labels in ``labels``."""
        return self._coded[1][:, 0]

    @cached_property
    def answers(self) -> np.ndarray:
        """Positions (n, 1 + J) in ``labels`` of what each route answers."""
        return self._coded[1][:, 1:]

    @cached_property
    def _coded(self) -> tuple[np.ndarray, np.ndarray]:
        rows = self.rows
        filled = rows.answers
        if not rows.answered.all():
            filled = np.where(rows.answered, filled.astype(object), rows.y_pred[:, np.newaxis])
        parts = [rows.y_true[:, np.newaxis], rows.y_pred[:, np.newaxis], filled]
        if len({part.dtype for part in parts}) > 1:
            parts = [part.astype(object) for part in parts]
        table = np.hstack(parts)
        if table.dtype == object:
            table = np.asarray(table.tolist())
        labels, codes = np.unique(table, return_inverse=True)
        return labels, codes.reshape(table.shape)

    def per_row(self, mix: np.ndarray) -> np.ndarray:
        """Accuracy and cost of each row, (n, 2)."""
        spent = np.where(mix > 0, self.spent, 0.0)  # a price may be infinite
        return np.column_stack([(mix * self.rows.right).sum(axis=1), (mix * spent).sum(axis=1)])

    def measure(self, mix: np.ndarray, metrics: list[LabelMetric]) -> dict[str, float]:
        """Every column of the report, intervals apart."""
        kept, asked = mix[:, 0], mix[:, 1:]
        kept_right = kept * self.rows.right[:, 0]
        answered = (asked * self.rows.answered).sum(axis=1)
        right = (asked * self.rows.expert_right).sum(axis=1)
        accuracy, spent = self.per_row(mix).T
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: there is no such row
            columns = {
                "accuracy": mean(accuracy, self.weight),
                "deferral_rate": mean(1 - kept, self.weight),
                "kept_accuracy": kept_right @ self.weight / (kept @ self.weight),
                "deferred_accuracy": right @ self.weight / (answered @ self.weight),
                "cost": mean(spent, self.weight),
            }
        return columns | {m.name: self.apply(m, mix) for m in metrics}

    def apply(
        self, metric: LabelMetric, mix: np.ndarray, counts: np.ndarray | None = None
    ) -> float:
        """A metric of the labels answered; ``counts`` (n,) says how often each row stands."""
        if metric.takes_weight and counts is None:
            row, route = np.nonzero(mix)
            weight = mix[row, route] * self.weight[row]
            weights = {} if np.all(weight == 1) else {"sample_weight": weight}
            answered = self.labels[self.answers[row, route]]
            return metric.function(self.labels[self.truth[row]], answered, **weights)
        row = np.arange(len(mix))
        route = np.where(mix[:, 0] > 0.5, 0, 1 + mix[:, 1:].argmax(axis=1))
        answered = self.answers[row, route]
        if counts is not None:
            row = np.repeat(row, counts)
        return metric.function(self.labels[self.truth[row]], self.labels[answered[row]])

    def pairs(self, mix: np.ndarray) -> tuple[np.ndarray, np.ndarray, sparse.csr_matrix]:
        """Pairs of labels that occur, true (P,) and answered (P,), and their weights (n, P).

        A metric that takes weights needs to see each pair only once.
        """
        row, route = np.nonzero(mix)
        K = len(self.labels)
        codes, pair = np.unique(self.truth[row] * K + self.answers[row, route], return_inverse=True)
        weight = mix[row, route] * self.weight[row]
        weights = sparse.csr_matrix((weight, (row, pair)), shape=(len(mix), len(codes)))
        return self.labels[codes // K], self.labels[codes % K], weights


def make_mixes(
    case: Case, names: list[str], score: np.ndarray, route: np.ndarray, rates: list[float]
) -> dict[str, np.ndarray]:
    """The shares of the routes under each strategy of a report.

    Routes beyond the J experts of ``score`` are panels, which only ``route`` may take.
    """
    n, J = score.shape
    every = np.eye(case.spent.shape[1])
    mixes = {f"{name} alone": np.tile(every[j], (n, 1)) for j, name in enumerate(["model", *names])}
    mixes["system"] = every[route]
    best, tied = best_experts(score)
    tied = tied / tied.sum(axis=1, keepdims=True)
    for rate in rates:
        share = _top_share(best, case.weight, rate)[:, np.newaxis]
        mixes[f"system at {100 * rate:g} %"] = np.hstack([1 - share, share * tied]) @ every[: 1 + J]
    # Whoever is right, the model first.
    right = case.rows.right[:, : 1 + J]
    spent = case.spent[:, : 1 + J]
    price = np.where(right & ~np.isnan(spent), spent, np.inf)  # NaN: nobody knows what it costs
    cheapest = 1 + price[:, 1:].argmin(axis=1)
    helps = ~right[:, 0] & right.any(axis=1)
    mixes["oracle"] = every[np.where(helps, cheapest, 0)]
    return mixes


def _top_share(best: np.ndarray, weight: np.ndarray, rate: float) -> np.ndarray:
    """How much of each row is deferred so that the highest scores make up ``rate``."""
    _, block = np.unique(best, return_inverse=True)
    mass = np.bincount(block, weights=weight)
    above = mass.sum() - np.cumsum(mass)
    share = np.clip((rate * mass.sum() - above) / mass, 0, 1)
    # A share that rounding alone keeps from 0 or 1 would stand for a row that is not there.
    share[share < 1e-12] = 0
    share[share > 1 - 1e-12] = 1
    return share[block]
