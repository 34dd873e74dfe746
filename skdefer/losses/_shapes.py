"""What all losses do first: tell the columns apart and bring shapes together."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def split_scores(
    scores: torch.Tensor, y: torch.Tensor, expert_correct: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Broadcast rows against each other, and cut the scores into classes and experts.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of the experts.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong, NaN without an answer.

    Returns
    -------
    class_scores, expert_scores, y, expert_correct : tensors
        All with the same leading axes.

    Raises
    ------
    ValueError
        If the shapes don't fit.
    """
    n_experts = expert_correct.shape[-1] if expert_correct.ndim else 0
    if expert_correct.ndim < 2 or not 0 < n_experts < scores.shape[-1]:
        raise ValueError(
            f"expert_correct has shape {tuple(expert_correct.shape)} and scores "
            f"{tuple(scores.shape)}; expected (n_rows, n_experts) and (n_rows, n_classes + "
            "n_experts). One expert is a column: expert_correct[:, None]."
        )
    rows = common_rows(scores.shape[:-1], y.shape, expert_correct.shape[:-1])
    scores = scores.expand(*rows, -1)
    classes, experts = scores.split([scores.shape[-1] - n_experts, n_experts], -1)
    return classes, experts, y.expand(rows), expert_correct.expand(*rows, -1)


def common_rows(*shapes: torch.Size) -> torch.Size:
    """Broadcast the leading axes of the inputs; the number of rows must be the same in all.

    Parameters
    ----------
    *shapes : torch.Size
        Shapes whose last axis are the rows.

    Returns
    -------
    shape : torch.Size
        The common shape, whose last axis are the rows.

    Raises
    ------
    ValueError
        If the number of rows differs, or leading axes don't broadcast.
    """
    if shapes[0] and all(shape == shapes[0] for shape in shapes):
        return shapes[0]  # nothing to broadcast, which takes longer than some losses
    message = (
        f"The inputs have rows of shape {[tuple(s) for s in shapes]}; expected (n_rows,) in all, "
        "perhaps after leading axes that broadcast, such as (n_experts, n_rows)."
    )
    if len({s[-1:] for s in shapes}) != 1 or not shapes[0]:
        raise ValueError(message)
    try:
        return torch.broadcast_shapes(*shapes)
    except RuntimeError as error:
        raise ValueError(message) from error


def check_all_answered(expert_correct: torch.Tensor, name: str, why: str) -> None:
    """Refuse missing answers where leaving them out would change what is minimised.

    Parameters
    ----------
    expert_correct : tensor of shape (..., n_rows, n_experts)
        NaN where an answer is missing.
    name : str
        Of the loss.
    why : str
        The reason.

    Raises
    ------
    ValueError
        If an answer is missing.
    """
    if expert_correct.isnan().any():
        raise ValueError(
            f"Some answers of the experts are missing, and the loss {name!r} can't leave them out: "
            f"{why}. Take 'asymmetric_softmax', 'ova' or 'lce', drop these rows, or complete the "
            "answers with skdefer.experts.AnswerCompletion."
        )


def pick(scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Take the score of the true class of each row.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes)
        Scores of the classes.
    y : tensor of int64 of shape (..., n_rows)
        The true class.

    Returns
    -------
    score : tensor of shape (..., n_rows)
        That of the true class.
    """
    return scores.gather(-1, y.unsqueeze(-1)).squeeze(-1)


def cross_entropy(classes: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Give the negative log-probability of the true class in a softmax over the classes.

    Parameters
    ----------
    classes : tensor of shape (..., n_rows, n_classes)
        Logits of the classes.
    y : tensor of int64 of shape (..., n_rows)
        The true class.

    Returns
    -------
    loss : tensor of shape (..., n_rows)
        At least 0.
    """
    flat = F.cross_entropy(classes.reshape(-1, classes.shape[-1]), y.flatten(), reduction="none")
    return flat.view(y.shape)


def right_or_wrong(experts: torch.Tensor, expert_correct: torch.Tensor) -> torch.Tensor:
    """Give the logistic loss of each expert's score, summed over the experts who answered.

    Parameters
    ----------
    experts : tensor of shape (..., n_rows, n_experts)
        Logits of being right.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong, NaN without an answer.

    Returns
    -------
    loss : tensor of shape (..., n_rows)
        At least 0.
    """
    correct = expert_correct.to(experts.dtype)
    answered = (correct == correct).to(experts.dtype)  # NaN is unlike itself
    return F.binary_cross_entropy_with_logits(
        experts, correct.nan_to_num(0.0), weight=answered, reduction="none"
    ).sum(-1)
