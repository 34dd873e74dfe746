"""What is watched: streams of values, drawn from the rows of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdefer.exceptions import UncheckedRowsWarning
from skdefer.guarantees import confidence_sequence
from skdefer.utils._validation import OUT_OF_LABELS, check_answers, encode_answers, is_missing

#: Shares of the reference's rows at or below which the watched scores lie.
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
#: Chance, over all updates of a monitor, that flags drawn as they should be are refused.
_CHANCE_OF_REFUSAL = 1e-6


@dataclass(frozen=True)
class Stream:
    """Values of one quantity: n of them."""

    values: np.ndarray  # (n,)
    rows: np.ndarray  # (n,), positions in the batch
    upper: float = 1.0  # the greatest value there can be


@dataclass(frozen=True)
class Batch:
    """Rows decided, and what became of them; n rows, J experts."""

    score: np.ndarray | None  # (n,), of each row's best expert; None: counted before
    panel: np.ndarray  # (n, J)
    answered: np.ndarray | None  # (n, J); None: no answers came
    right: np.ndarray | None  # (n, J), of experts who answered
    wrong: np.ndarray | None  # (n,), of the system; None: no truth came
    due: np.ndarray  # (n,), rows whose truth was to come
    known: np.ndarray  # (n,), those of which it did
    n_kept: int = 0  # rows among which an audit was drawn
    n_audited: int = 0  # those that it drew


def check_batch(
    score: Any,
    panel: Any,
    y_pred: Any,
    y: Any,
    expert_predictions: Any,
    audited: Any,
    *,
    names: Sequence[str],
    classes: Any,
    everything: bool,
) -> Batch:
    """Bring the arguments of a monitor to a batch; ``everything``: all rows are audited."""
    panel, J = np.asarray(panel), len(names)
    if panel.ndim == 1 and panel.dtype.kind in "iu":
        panel = panel[:, None] == np.arange(1, J + 1)
    if panel.ndim != 2 or panel.shape[1] != J or panel.dtype != bool:
        raise ValueError(
            f"panel has shape {panel.shape} and dtype {panel.dtype}; expected routes (n_rows,) of "
            f"integers, or flags (n_rows, {J}) of the experts {list(names)}. Pass "
            "predict_panel(X) or predict_route(X)."
        )
    n_rows, best = len(panel), None
    if score is not None:
        score = np.asarray(score, dtype=float)
        if score.shape != panel.shape or np.isnan(score).any():
            raise ValueError(
                f"score has shape {score.shape} or NaN; expected numbers of shape {panel.shape}. "
                "Pass deferral_score(X)."
            )
        best = score.max(axis=1)
    answers = answered = right = wrong = None
    if expert_predictions is not None:
        answers = check_answers(expert_predictions, n_rows, names=names)[0].astype(object)
        answered = ~is_missing(answers)
    handed = panel.any(axis=1)
    due, known = np.zeros(n_rows, dtype=bool), np.zeros(n_rows, dtype=bool)
    n_kept = n_audited = 0
    if y is not None:
        y, y_pred = _labels(y, "y", n_rows), _labels(y_pred, "y_pred", n_rows)
        due = np.ones(n_rows, dtype=bool)
        if not everything:
            due = handed | _flags(audited, n_rows)
            n_kept, n_audited = int((~handed).sum()), int((due & ~handed).sum())
        known = due & ~is_missing(y)
        _check_truth(y[known], classes)
        if is_missing(y_pred[known]).any():
            raise ValueError(
                "y_pred is missing on rows whose truth is known; expected the system's label on "
                "each. Pass the labels of predict(X)."
            )
        wrong = y_pred != y
        right = None if answers is None else (answers == y[:, None]) & answered
    elif y_pred is None and score is None:
        raise ValueError("Neither score nor y came; expected one of them. Pass observe(...).")
    return Batch(best, panel, answered, right, wrong, due, known, n_kept, n_audited)


def check_audit(n_audited: int, n_kept: int, audit_rate: float) -> None:
    """Refuse flags that can't be draws at ``audit_rate``, given all there were so far."""
    # Bounds that hold at all times: how often and in which portions rows come makes no difference.
    lower, upper = confidence_sequence(n_audited, n_kept, _CHANCE_OF_REFUSAL)
    if not lower <= audit_rate <= upper:
        raise ValueError(
            f"audited flags {n_audited} of the {n_kept} kept rows so far, which can't be draws at "
            f"audit_rate={audit_rate:g}; the weights of the error would be wrong. Pass the flags "
            "of audit(X, panel) unchanged, with all kept rows. Where rows repeat, give audit a "
            "row_id; if the truth of every row comes to light, set audit_rate=1.0."
        )


def warn_of_unchecked(batch: Batch) -> int:
    """Count the rows whose truth was due and is missing, and warn if there are any."""
    n_unchecked = int((batch.due & ~batch.known).sum())
    if n_unchecked:
        warnings.warn(
            f"{n_unchecked} of {int(batch.due.sum())} rows whose truth was due, handed over or "
            "audited, have none and are left out; if those are the hard ones, the error looks "
            "smaller than it is. Where an expert's answer is the truth, pass it as y.",
            UncheckedRowsWarning,
            stacklevel=3,
        )
    return n_unchecked


def draw(
    batch: Batch, names: Sequence[str], edges: np.ndarray, audit_rate: float
) -> dict[str, Stream]:
    """Draw the values of every quantity that the batch says something of."""
    handed, everywhere = batch.panel.any(axis=1), np.arange(len(batch.panel))
    streams: dict[str, Stream] = {}
    if batch.score is not None:
        streams["deferral_rate"] = Stream(handed.astype(float), everywhere)
        for share, edge in zip(QUANTILES, edges):
            streams[f"score_q{share * 100:.0f}"] = Stream(
                (batch.score <= edge).astype(float), everywhere
            )
        if batch.answered is not None:
            rows = np.flatnonzero(handed)
            silent = ~(batch.panel & batch.answered)[rows].any(axis=1)
            streams["unanswered_rate"] = Stream(silent.astype(float), rows)
    if batch.wrong is not None:
        # A kept row stands for all those that were not drawn; one not drawn says nothing.
        weight = np.where(handed, 1.0, 1.0 / audit_rate)
        rows = np.flatnonzero(batch.known | ~batch.due)
        error = np.where(batch.known, weight * batch.wrong, 0.0)
        streams["system_error"] = Stream(error[rows], rows, upper=1.0 / audit_rate)
        rows = np.flatnonzero(batch.known & ~handed)
        streams["kept_error"] = Stream(batch.wrong[rows].astype(float), rows)
        if batch.right is not None and batch.answered is not None:
            for j, name in enumerate(names):
                rows = np.flatnonzero(batch.known & batch.panel[:, j] & batch.answered[:, j])
                values = batch.right[rows, j].astype(float)
                streams[f"accuracy_{name}"] = Stream(values, rows)
    return streams


def quantities(names: Sequence[str]) -> list[str]:
    """Names of all that can be watched."""
    scores = [f"score_q{share * 100:.0f}" for share in QUANTILES]
    accuracies = [f"accuracy_{name}" for name in names]
    return [
        "system_error",
        "kept_error",
        "deferral_rate",
        "unanswered_rate",
        *accuracies,
        *scores,
    ]


def _check_truth(y: np.ndarray, classes: Any) -> None:
    if classes is None:
        return
    unknown = y[encode_answers(y, np.asarray(classes)) == OUT_OF_LABELS]
    if len(unknown):
        some = list(dict.fromkeys(map(repr, unknown.tolist())))
        raise ValueError(
            f"y has labels that the system does not know, {', '.join(some[:5])}, on "
            f"{len(unknown)} rows; expected some of {np.asarray(classes).tolist()}, or None where "
            "nobody has checked. Pass labels as they were in the fit of the system."
        )


def _labels(values: Any, name: str, n_rows: int) -> np.ndarray:
    labels = np.full(n_rows, None, dtype=object)
    if values is None and name == "y_pred":
        raise ValueError(
            f"y_pred is None; expected ({n_rows},), the system's label of each row. Pass "
            "observe(clf, X, y, expert_predictions=clf.ask_experts(X, "
            "where=clf.predict_panel(X))): experts who read a column are asked for it, too."
        )
    if values is None or np.shape(values) != (n_rows,):
        got = "None" if values is None else f"of shape {np.shape(values)}"
        raise ValueError(
            f"{name} is {got}; expected ({n_rows},), a label per row. Pass y, None where nobody "
            "has checked, together with y_pred, the system's labels."
        )
    missing = is_missing(values)
    labels[~missing] = np.ma.getdata(np.asarray(values, dtype=object))[~missing]
    return labels


def _flags(audited: Any, n_rows: int) -> np.ndarray:
    if audited is None:
        raise ValueError(
            "y came without audited, so it can't be known which kept rows were drawn at random. "
            "Pass audited, the flags that audit(X, panel) gave; or audit_rate=1.0 if the truth of "
            "every row comes to light."
        )
    audited = np.asarray(audited)
    if audited.shape != (n_rows,) or audited.dtype != bool:
        raise ValueError(
            f"audited has shape {audited.shape} and dtype {audited.dtype}; expected flags of shape "
            f"({n_rows},). Pass what audit(X, panel) gave."
        )
    return audited
