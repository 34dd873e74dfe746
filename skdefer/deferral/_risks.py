"""Risks of a deferral system: what each row loses under each threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from skdefer.metrics._reading import read_panel
from skdefer.policies import ThresholdPolicy
from skdefer.policies._base import BasePolicy, Weighed
from skdefer.utils._validation import MISSING, encode_answers

#: Of handing over; the others are of answers that are wrong.
_OF_ASKING = {"deferral_rate", "expected_cost"}
RISKS = ["system_error", "kept_error", "false_negative_rate", *sorted(_OF_ASKING)]
# Far below any score, yet finite: so the order of the experts stays as it is.
_FAR = 1e6


@dataclass
class Served:
    """What becomes of n rows under one threshold."""

    wrong: np.ndarray  # bool (n,), the system's answer, or there is none
    labels: np.ndarray  # (n,), the system's answers
    kept: np.ndarray  # bool (n,), the model answers
    asked: np.ndarray  # bool (n,), somebody is asked
    cost: np.ndarray  # (n,), of the answer and of asking


class CalibrationRows:
    """Rows with their truth and all answers, handed over above one threshold after another.

    Parameters
    ----------
    estimator : fitted deferral estimator
    policy : BasePolicy
        Decides what a threshold leaves of the scores.
    X : the rows
    y : ndarray of shape (n_rows,)
        The truth.
    answers : ndarray of shape (n_rows, n_experts) or None
        Missing where there is none; None: an expert who is always right stands in.
    """

    def __init__(self, estimator: Any, policy: BasePolicy, X: Any, y: np.ndarray, answers: Any):
        self.estimator, self.policy, self.y = estimator, policy, y
        self.weighed: Weighed = estimator._weigh(X)
        self.classes = estimator.classes_
        self.truth = encode_answers(y, self.classes)
        codes = self.truth[:, None] if answers is None else encode_answers(answers, self.classes)
        self.codes = np.where(codes >= 0, codes, MISSING)
        # As numbers, so that missing answers are found fast.
        self._answers = np.where(codes >= 0, codes, np.nan)
        self._absent = answers is None

    def at(self, threshold: float) -> Served:
        """Serve all rows as ``predict`` would with this threshold.

        A row that is handed over and not answered counts as wrong, unless the estimator's
        ``on_missing`` says who answers it then.
        """
        w = self.weighed
        policy = at_threshold(threshold, self.policy, w.worst)
        wanted = policy.panel(w.score, cost=w.cost, X=w.X)
        panel = wanted
        if not self._absent:
            system = SimpleNamespace(
                predict_panel=lambda _: wanted,
                deferral_score=lambda _: w.score,
                on_missing=self.estimator.on_missing,
            )
            panel = read_panel(system, None, self._answers)
        answered = panel & (self.codes >= 0)
        labels = self.estimator._vote(w, self.codes, answered)
        lost = panel.any(axis=1) & ~answered.any(axis=1)
        codes = encode_answers(labels, self.classes)
        wrong = (codes != self.truth) | lost
        asked = wanted | panel
        matrix = self.estimator.error_cost_
        if matrix is None:
            price = np.where(wrong, w.worst, 0.0)
        else:
            price = np.where(lost | (self.truth < 0), w.worst, matrix[self.truth, codes])
        return Served(
            wrong=wrong,
            labels=labels,
            kept=~panel.any(axis=1),
            asked=asked.any(axis=1),
            cost=price + np.where(asked, w.cost, 0.0).sum(axis=1),
        )

    def largest_cost(self, served: Served) -> float:
        """Bound the cost of a row, given what becomes of the rows if most are handed over."""
        cost = self.weighed.cost
        several = np.any(served.asked) and self.policy.panel(
            np.ones_like(cost), cost=cost, X=self.weighed.X
        ).sum(axis=1).max() > 1
        paid = cost.sum(axis=1) if several else cost.max(axis=1)
        return float(self.weighed.worst + paid.max())


@dataclass(frozen=True)
class Risk:
    """A risk and its limit."""

    name: str
    target: float
    bound: float  # the largest loss that is possible
    binary: bool
    loss: Callable[[Served], np.ndarray]  # (n,), NaN where a row does not count
    fixed: bool = True  # the same rows count at every threshold

    def losses(self, served: list[Served]) -> tuple[np.ndarray, np.ndarray]:
        """Losses (n, m) of the rows under m thresholds, and which of them count."""
        loss = np.column_stack([self.loss(s) for s in served])
        counted = ~np.isnan(loss)
        return np.where(counted, loss, 0.0), counted


def make_risks(
    names: Any, targets: Any, rows: CalibrationRows, *, loss_bound: float, pos_label: Any
) -> list[Risk]:
    """Read which risks are limited, and check the limits.

    Parameters
    ----------
    names : str, callable, or sequence of them
        Of ``RISKS``, or a function ``(y, labels, asked)`` that gives losses (n_rows,).
    targets : float or sequence of float
        One for each.
    rows : CalibrationRows
        The rows that will be served.
    loss_bound : float
        The largest loss of functions.
    pos_label : label or None
        Whose false negatives count.

    Returns
    -------
    risks : list of Risk
    """
    listed = [names] if isinstance(names, str) or callable(names) else list(names)
    limits = [targets] if np.ndim(targets) == 0 else list(targets)
    if not listed or len(listed) != len(limits):
        raise ValueError(
            f"risk has {len(listed)} entries and target {len(limits)}; expected a target for each "
            "risk, one risk at least. Pass risk=['system_error', 'deferral_rate'], target=[.05, "
            ".2], say."
        )
    risks = [_make(n, t, rows, loss_bound, pos_label) for n, t in zip(listed, limits, strict=True)]
    called = [risk.name for risk in risks]
    if len(set(called)) < len(called):
        raise ValueError(f"risk names {called}; expected each once. Keep the smaller target.")
    return risks


def _make(name: Any, target: Any, rows: CalibrationRows, loss_bound: float, pos_label: Any) -> Risk:
    y = rows.y
    if callable(name):
        title = getattr(name, "__name__", "loss")

        def own(s: Served) -> np.ndarray:
            return _checked_losses(name(y, s.labels, s.asked), len(y), loss_bound, title)

        return _limited(Risk(title, target, loss_bound, False, own, fixed=False))
    if name == "system_error":
        return _limited(Risk(name, target, 1.0, True, lambda s: s.wrong.astype(float)))
    if name == "deferral_rate":
        return _limited(Risk(name, target, 1.0, True, lambda s: s.asked.astype(float)))
    if name == "kept_error":
        kept = lambda s: np.where(s.kept, s.wrong, np.nan)  # noqa: E731
        return _limited(Risk(name, target, 1.0, True, kept, fixed=False))
    if name == "false_negative_rate":
        positive = rows.truth == _positive(pos_label, rows.classes)
        return _limited(
            Risk(name, target, 1.0, True, lambda s: np.where(positive, s.wrong, np.nan))
        )
    if name == "expected_cost":
        bound = rows.largest_cost(rows.at(-np.inf))
        return _limited(Risk(name, target, bound, False, lambda s: s.cost))
    raise ValueError(
        f"risk is {name!r}; expected one of {RISKS}, or a function (y, labels, asked) that gives "
        "a loss per row."
    )


def _limited(risk: Risk) -> Risk:
    target = risk.target
    number = isinstance(target, (int, float, np.number)) and not isinstance(target, bool)
    if not number or not 0 < target < risk.bound:
        raise ValueError(
            f"target of {risk.name} is {target!r}; expected a number above 0 and below "
            f"{risk.bound:g}, the largest loss. No number of rows proves a risk of 0, and the "
            "largest loss is never exceeded."
        )
    return risk


def _positive(pos_label: Any, classes: np.ndarray) -> int:
    if pos_label is None and len(classes) == 2:
        return 1
    code = -1 if pos_label is None else int(encode_answers(np.array([pos_label]), classes)[0])
    if code < 0:
        raise ValueError(
            f"pos_label is {pos_label!r} with the classes {classes.tolist()}; expected one of "
            "them, whose false negatives are to be few. Pass pos_label=."
        )
    return code


def _checked_losses(loss: Any, n_rows: int, bound: float, title: str) -> np.ndarray:
    loss = np.asarray(loss, dtype=float)
    if loss.shape != (n_rows,) or not (np.isnan(loss) | ((loss >= 0) & (loss <= bound))).all():
        raise ValueError(
            f"{title} gave losses of shape {loss.shape} in [{np.nanmin(loss, initial=np.inf):g}, "
            f"{np.nanmax(loss, initial=-np.inf):g}]; expected ({n_rows},) in [0, {bound:g}], NaN "
            "where a row does not count. Pass loss_bound=, the largest loss that is possible."
        )
    return loss


def at_threshold(threshold: float, policy: BasePolicy, worst: float) -> ThresholdPolicy:
    """Take the threshold off the scores; -inf hands over whatever the policy lets through."""
    return ThresholdPolicy(max(float(threshold), -_FAR * max(1.0, worst)), policy=policy)


def safest_threshold(risks: list[Risk]) -> float:
    """Let the model answer nothing; or nobody be asked, where only asking is limited."""
    return np.inf if {risk.name for risk in risks} <= _OF_ASKING else -np.inf
