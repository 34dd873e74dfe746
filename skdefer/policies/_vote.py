"""One answer out of several: votes of the experts who were asked about a row."""

from __future__ import annotations

import numpy as np

_CLIP = 1e-4  # an expert is never taken for surer than this
_SAME = 1e-9  # support that differs by rounding alone is tied


def log_odds(accuracy: np.ndarray, n_classes: int) -> np.ndarray:
    """Weigh votes by how much likelier an answer is right than any one other class.

    With independent experts, whose wrong answers are spread evenly over the other classes, the
    class of the greatest sum is the likeliest one. An expert who guesses has no weight, a worse
    one speaks against its answer.

    Parameters
    ----------
    accuracy : ndarray of shape (n_rows, n_experts)
        Expected accuracy of each expert on each row.
    n_classes : int
        The number of classes.

    Returns
    -------
    weight : ndarray of shape (n_rows, n_experts)
        Natural logarithms.
    """
    p = np.clip(accuracy, _CLIP, 1.0 - _CLIP)
    return np.log(p * max(n_classes - 1, 1) / (1.0 - p))


def count_votes(
    codes: np.ndarray, panel: np.ndarray, weight: np.ndarray | None, score: np.ndarray
) -> np.ndarray:
    """Find the answer of each panel: that of most weight, of tied ones the better-scored expert's.

    Parameters
    ----------
    codes : ndarray of int of shape (n_rows, n_experts)
        The experts' answers.
    panel : ndarray of bool of shape (n_rows, n_experts)
        Whose answers count; one per row at least. Only answers given can win.
    weight : ndarray of shape (n_rows, n_experts) or None
        Of each vote; None: 1 each.
    score : ndarray of shape (n_rows, n_experts)
        Breaks ties; among equal scores the first expert goes first.

    Returns
    -------
    codes : ndarray of int of shape (n_rows,)
        The answers.
    """
    winner = best_of(panel, score)
    several = np.flatnonzero(panel.sum(axis=1) > 1)
    if len(several):
        codes_, panel_ = codes[several], panel[several]
        votes = panel_.astype(float) if weight is None else np.where(panel_, weight[several], 0.0)
        support = np.empty_like(votes)
        for j, answer in enumerate(codes_.T):
            support[:, j] = (votes * (codes_ == answer[:, None])).sum(axis=1)
        support[~panel_] = -np.inf
        leading = support >= support.max(axis=1, keepdims=True) - _SAME
        winner[several] = best_of(leading, score[several])
    return np.take_along_axis(codes, winner[:, None], axis=1)[:, 0]


def first_choice(panel: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Route of each row, shape (n_rows,): its best-scored expert asked, 0 where nobody is."""
    return np.where(panel.any(axis=1), 1 + best_of(panel, score), 0)


def best_of(panel: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Position of the best-scored expert of each panel, from 0; of equals the first."""
    # Two steps: the score of a member may be -inf, too.
    best = np.where(panel, score, -np.inf).max(axis=1, keepdims=True)
    return (panel & (score >= best)).argmax(axis=1)
