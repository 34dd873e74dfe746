"""Risks of a deferral system: what each row loses under each threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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

    def largest_cost(self) -> float:
        """Bound what a row can cost: the worst answer, and whoever may be asked about it."""
        w = self.weighed
        panel = self.policy.panel(np.ones_like(w.cost), cost=w.cost, X=w.X)
        several = panel.sum(axis=1).max() > 1
        paid = w.cost.sum(axis=1) if several else w.cost.max(axis=1)
        return float(w.worst + paid.max())


@dataclass(frozen=True)
class Risk:
    """A risk and its limit."""

    name: str
    target: float
    bound: float  # the largest loss that is possible
    binary: bool
    loss: Callable[[Served], np.ndarray]  # (n,), NaN where a row does not count
    pos_label: Any = None  # whose rows count, where those of one class do

    def __str__(self) -> str:
        return self.name if self.pos_label is None else f"{self.name} of {self.pos_label!r}"

    def losses(self, served: list[Served]) -> tuple[np.ndarray, np.ndarray]:
        """Losses (n, m) of the rows under m thresholds, and which of them count."""
        loss = np.column_stack([self.loss(s) for s in served])
        counted = ~np.isnan(loss)
        return np.where(counted, loss, 0.0), counted


def check_limits(names: Any, targets: Any, *, method: str) -> list[tuple[Any, Any]]:
    """Read which risks are limited, before anything is fitted.

    Parameters
    ----------
    names : str, callable, or sequence of them
        Of ``RISKS``, or a function ``(y, labels, asked)`` that gives losses (n_rows,).
    targets : float or sequence of float
        One for each.
    method : {"ltt", "crc"}
        How they are proven.

    Returns
    -------
    limits : list of (name, target)
    """
    listed = [names] if isinstance(names, str) or callable(names) else list(names)
    limits = [targets] if np.ndim(targets) == 0 else list(targets)
    if not listed or len(listed) != len(limits):
        raise ValueError(
            f"risk has {len(listed)} entries and target {len(limits)}; expected a target for each "
            "risk, one risk at least. Pass risk=['system_error', 'deferral_rate'], target=[.05, "
            ".2], say."
        )
    for name in listed:
        if not callable(name) and name not in RISKS:
            raise ValueError(
                f"risk is {name!r}; expected one of {RISKS}, or a function (y, labels, asked) that "
                "gives a loss per row."
            )
        if method == "crc" and (callable(name) or name == "kept_error"):
            raise ValueError(
                f"risk is {name!r} with method='crc', which needs the same rows to count at every "
                "threshold; expected another risk. Pass method='ltt'."
            )
    titles = [_title(name) for name in listed]
    if len(set(titles)) < len(titles):
        raise ValueError(f"risk names {titles}; expected each once. Keep the smaller target.")
    for title, target in zip(titles, limits, strict=True):
        check_target(title, target, np.inf if title not in RISKS or title == "expected_cost" else 1)
    return list(zip(listed, limits, strict=True))


def check_target(title: str, target: Any, bound: float) -> None:
    """Refuse a limit that can't be proven, or can't be broken."""
    number = isinstance(target, (int, float, np.number)) and not isinstance(target, bool)
    if not number or not 0 < target < bound:
        raise ValueError(
            f"target of {title} is {target!r}; expected a number above 0 and below {bound:g}, the "
            "largest loss. No number of rows proves a risk of 0, and the largest loss is never "
            "exceeded."
        )


def make_risk(
    name: Any, target: float, rows: CalibrationRows, *, loss_bound: float, pos_label: Any
) -> Risk:
    """Define a risk on the rows that are served.

    Parameters
    ----------
    name, target
        From :func:`check_limits`.
    rows : CalibrationRows
    loss_bound : float
        The largest loss of functions.
    pos_label : label or None
        Whose false negatives count.

    Returns
    -------
    risk : Risk
    """
    title, bound, binary, positive = _title(name), 1.0, True, None
    loss: Callable[[Served], np.ndarray]
    if callable(name):
        bound, binary = loss_bound, False
        loss = partial(_own_loss, name, rows.y, loss_bound)
    elif name == "expected_cost":
        bound, binary, loss = rows.largest_cost(), False, _cost
    elif name == "false_negative_rate":
        code = _positive(pos_label, rows.classes)
        positive = rows.classes.tolist()[code]
        loss = partial(_wrong_where, rows.truth == code)
    else:
        loss = {"system_error": _wrong, "kept_error": _wrong_if_kept, "deferral_rate": _asked}[name]
    check_target(title, target, bound)
    return Risk(title, float(target), bound, binary, loss, positive)


def _title(name: Any) -> str:
    return name if isinstance(name, str) else getattr(name, "__name__", type(name).__name__)


def _cost(served: Served) -> np.ndarray:
    return served.cost


def _wrong(served: Served) -> np.ndarray:
    return served.wrong.astype(float)


def _wrong_if_kept(served: Served) -> np.ndarray:
    return np.where(served.kept, served.wrong, np.nan)


def _wrong_where(rows: np.ndarray, served: Served) -> np.ndarray:
    return np.where(rows, served.wrong, np.nan)


def _asked(served: Served) -> np.ndarray:
    return served.asked.astype(float)


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


def _own_loss(function: Any, y: np.ndarray, bound: float, served: Served) -> np.ndarray:
    loss = np.asarray(function(y, served.labels, served.asked), dtype=float)
    if loss.shape != y.shape or not (np.isnan(loss) | ((loss >= 0) & (loss <= bound))).all():
        raise ValueError(
            f"{_title(function)} gave losses of shape {loss.shape} in "
            f"[{np.nanmin(loss, initial=np.inf):g}, {np.nanmax(loss, initial=-np.inf):g}]; "
            f"expected {y.shape} in [0, {bound:g}], NaN where a row does not count. Pass "
            "loss_bound=, the largest loss that is possible."
        )
    return loss


def at_threshold(threshold: float, policy: BasePolicy, worst: float) -> ThresholdPolicy:
    """Take the threshold off the scores; -inf hands over whatever the policy lets through."""
    return ThresholdPolicy(max(float(threshold), -_FAR * max(1.0, worst)), policy=policy)


def safest_threshold(risks: Any) -> float:
    """Let the model answer nothing; or nobody be asked, where only asking is limited."""
    return np.inf if set(risks) <= _OF_ASKING else -np.inf
