"""Why a row is kept or handed over, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def explain_routes(
    route: np.ndarray,
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
    route : ndarray of int of shape (n_rows,)
        Who should answer: 0 the model, j expert j.
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
    columns["reason"] = [say(names, *case) for case in zip(route, loss, cost, score, strict=True)]
    return pd.DataFrame(columns, index=index)


def _reason(
    names: Sequence[str], route: int, loss: np.ndarray, cost: np.ndarray, score: np.ndarray
) -> str:
    j = route - 1 if route else int(score.argmax())
    price = f" plus its cost {cost[j]:.3g}" if cost[j] else ""
    expert = f"{names[j]}'s expected loss {loss[1 + j]:.3g}{price}"
    model = f"the model's expected loss {loss[0]:.3g}"
    if route:
        return f"Handed to {names[j]}: {expert} is below {model}."
    if score[j] > 0:
        return f"Kept: {expert} is below {model}, but the gain is below the policy's limit."
    return f"Kept: {model} is not above {expert}."


def _reason_by_score(
    names: Sequence[str], route: int, loss: np.ndarray, cost: np.ndarray, score: np.ndarray
) -> str:
    j = route - 1 if route else int(score.argmax())
    if route:
        return f"Handed to {names[j]}, whose score is {score[j]:.3g}."
    if score[j] > 0:
        return f"Kept: {names[j]}'s score {score[j]:.3g}, the best, is below the policy's limit."
    return f"Kept: {names[j]}'s score {score[j]:.3g}, the best, is not above 0."
