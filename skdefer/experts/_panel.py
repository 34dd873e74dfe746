"""The experts of one estimator: their names, what each may see, and what they said."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from skdefer.exceptions import OutOfLabelsWarning
from skdefer.experts._base import AbsentExpert, Expert, RecordedExpert, as_expert
from skdefer.utils._rows import drop_columns
from skdefer.utils._validation import OUT_OF_LABELS, encode_answers

MODEL = "model"
#: What becomes of an answer outside the classes in ``predict``.
MISSING_FATE = "count as missing answers"


def make_panel(experts: Any, columns: Sequence[str] | None, n_columns: int) -> dict[str, Expert]:
    """Name the experts, in order.

    Parameters
    ----------
    experts : None, one expert, a sequence of experts or of pairs (name, expert)
        As the user gave them.
    columns : sequence of str or None
        Names of the columns of ``expert_predictions``, if it has names.
    n_columns : int
        The number of those columns; 0 without ``expert_predictions``.

    Returns
    -------
    panel : dict of str to Expert
        One at least: an expert who is always right and never there stands in if nobody
        was given.

    Raises
    ------
    ValueError
        For a name twice, the name ``"model"``, or no expert in a sequence.
    """
    if experts is None:
        if n_columns == 0:
            return {"expert": AbsentExpert(name="expert")}
        members: list[tuple[str | None, Any]] = [
            (columns[j] if columns else None, RecordedExpert()) for j in range(n_columns)
        ]
    elif isinstance(experts, dict):
        members = list(experts.items())
    elif isinstance(experts, (list, tuple)):
        members = [_split_pair(e) for e in experts]
        if not members:
            raise ValueError(
                "experts is empty. Pass at least one expert, or None to reject without one."
            )
    else:
        members = [(None, experts)]
    panel: dict[str, Expert] = {}
    for j, (name, member) in enumerate(members):
        expert = as_expert(member)
        name = name or expert.name or f"expert_{j + 1}"
        if name == MODEL:
            raise ValueError("An expert is named 'model', which names the model's own route.")
        if name in panel:
            raise ValueError(
                f"Two experts are named {name!r}. Give each a name of its own: "
                "experts=[(name, expert), ...]."
            )
        panel[name] = expert
    return panel


def _split_pair(member: Any) -> tuple[str | None, Any]:
    if isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str):
        return member
    return None, member


def visible(X: Any, panel: dict[str, Expert]) -> Any:
    """Take ``X`` without the columns that only their experts may see."""
    return drop_columns(X, [e.column for e in panel.values() if e.column is not None])


def can_be_asked(panel: dict[str, Expert]) -> np.ndarray:
    """Mark the experts that answer when they are asked.

    Returns
    -------
    askable : ndarray of shape (n_experts,), dtype bool
        False for those known by a record or a profile alone.
    """
    return np.array([expert.can_answer for expert in panel.values()])


def encode_checked(
    answers: np.ndarray, classes: np.ndarray, names: Sequence[str], *, fate: str
) -> np.ndarray:
    """Turn answers into positions in ``classes``, with one warning for those outside.

    Parameters
    ----------
    answers : ndarray of shape (n_rows, n_experts)
        Labels, None or NaN where there is none.
    classes : ndarray of shape (n_classes,)
        The labels known.
    names : sequence of str
        Names of the experts, one a column.
    fate : str
        What becomes of answers outside ``classes``; it ends the warning.

    Returns
    -------
    codes : ndarray of int of shape (n_rows, n_experts)
        As ``encode_answers``.

    Raises
    ------
    ValueError
        If no answer of an expert is a class, though it answers.
    """
    codes = encode_answers(answers, classes)
    outside = codes == OUT_OF_LABELS
    if not outside.any():
        return codes
    for j, name in enumerate(names):
        if outside[:, j].any() and not (codes[:, j] >= 0).any():
            examples = sorted({str(a) for a in answers[outside[:, j], j][:50]})[:3]
            raise ValueError(
                f"No answer of expert {name!r} is one of the classes {classes.tolist()}; "
                f"it says {examples}, for instance. Answers must be labels of y: look for a "
                "scaler or an encoder that has touched them, or for another column."
            )
    counts = {name: int(outside[:, j].sum()) for j, name in enumerate(names) if outside[:, j].any()}
    warnings.warn(
        f"Answers outside the classes {classes.tolist()}: {counts}. They {fate}.",
        OutOfLabelsWarning,
        stacklevel=3,
    )
    return codes
