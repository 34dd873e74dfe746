"""Why a row is kept or handed over, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skdefer.policies._vote import first_choice

if TYPE_CHECKING:
    import pandas as pd


def explain_routes(
    panel: np.ndarray,
    proba: np.ndarray,
    loss: np.ndarray,
    uncertainty: np.ndarray,
    cost: np.ndarray,
    score: np.ndarray,
    *,
    answers: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
    index: Any = None,
    calibrated: bool = True,
) -> pd.DataFrame:
    """Lay out the numbers that decided each row, and say in a sentence what they mean.

    Parameters
    ----------
    panel : ndarray of bool of shape (n_rows, n_experts)
        Who should be asked; nobody: the model answers.
    proba : ndarray of shape (n_rows, n_classes)
        The model's class probabilities.
    loss : ndarray of shape (n_rows, 1 + n_experts)
        Expected loss of the model's answer, then of each expert's.
    uncertainty, cost, score : ndarray of shape (n_rows, n_experts)
        Of each expert.
    answers : ndarray of int of shape (n_rows,)
        The model's answers, as positions in ``classes``.
    classes : ndarray of shape (n_classes,)
        The classes.
    names : sequence of str
        The experts.
    index : index, default=None
        Of the table.
    calibrated : bool, default=True
        Whether losses are in units of the cost; else reasons speak of scores.

    Returns
    -------
    table : DataFrame of length n_rows
        See ``DeferralMixin.explain_defer``.
    """
    import pandas as pd

    route = first_choice(panel, score)
    columns: dict[str, Any] = {
        "route": np.asarray(["model", *names], dtype=object)[route],
        "model_answer": classes[answers],
        "model_confidence": proba[np.arange(len(proba)), answers],
        "expected_loss_model": loss[:, 0],
    }
    for j, name in enumerate(names):
        columns[f"expected_loss_{name}"] = loss[:, 1 + j]
        columns[f"uncertainty_{name}"] = uncertainty[:, j]
        columns[f"cost_{name}"] = cost[:, j]
        columns[f"score_{name}"] = score[:, j]
    say = _reason if calibrated else _reason_by_score
    # Who is asked, the best first, or else who would be.
    ranked = np.argsort(np.where(panel, -score, np.inf), axis=1, kind="stable")
    asked = [order[:n] for order, n in zip(ranked, panel.sum(axis=1), strict=True)]
    columns["reason"] = [say(names, *case) for case in zip(asked, loss, cost, score, strict=True)]
    return pd.DataFrame(columns, index=index)


def _reason(
    names: Sequence[str], asked: np.ndarray, loss: np.ndarray, cost: np.ndarray, score: np.ndarray
) -> str:
    model = f"the model's expected loss {loss[0]:.3g}"

    def expert(j: int) -> str:
        price = f" plus its cost {cost[j]:.3g}" if cost[j] else ""
        return f"{names[j]}'s expected loss {loss[1 + j]:.3g}{price}"

    if len(asked) and (score[asked] <= 0).any():  # a threshold below 0
        return _reason_by_score(names, asked, loss, cost, score)
    if len(asked):
        who, losses = _and([names[j] for j in asked]), _and([expert(j) for j in asked])
        verb = "is" if len(asked) == 1 else "are each"
        return f"Handed to {who}: {losses} {verb} below {model}."
    best = int(score.argmax())
    if score[best] > 0:
        return f"Kept: {expert(best)} is below {model}, but outside the policy's limit."
    return f"Kept: {model} is not above {expert(best)}."


def _reason_by_score(
    names: Sequence[str], asked: np.ndarray, loss: np.ndarray, cost: np.ndarray, score: np.ndarray
) -> str:
    if len(asked) == 1:
        return f"Handed to {names[asked[0]]}, whose score is {score[asked[0]]:.3g}."
    if len(asked):
        scores = _and([f"{s:.3g}" for s in score[asked]])
        return f"Handed to {_and([names[j] for j in asked])}, whose scores are {scores}."
    best = int(score.argmax())
    limit = "is outside the policy's limit" if score[best] > 0 else "is not above 0"
    return f"Kept: {names[best]}'s score {score[best]:.3g}, the best, {limit}."


def _and(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
