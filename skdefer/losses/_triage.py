"""Learn from the rows that will not be handed over alone (differentiable triage)."""

from __future__ import annotations

import torch

from skdefer.losses._shapes import (
    check_all_answered,
    common_rows,
    cross_entropy,
    right_or_wrong,
    split_scores,
)


def triage_filter(
    model_loss: torch.Tensor, expert_loss: torch.Tensor, budget: float
) -> torch.Tensor:
    """Which rows of a batch to hand over, so that model and expert together lose least.

    Parameters
    ----------
    model_loss : tensor of shape (..., n_rows)
        What the model loses on each row.
    expert_loss : tensor of shape (..., n_rows)
        What the expert loses, in the same unit.
    budget : float
        The largest share of the rows, in [0, 1].

    Returns
    -------
    handed : tensor of bool of shape (..., n_rows)
        True on the ``floor(budget * n_rows)`` rows of the greatest positive difference; fewer
        where fewer are positive. Equal differences: earlier rows first.

    Raises
    ------
    ValueError
        For a budget outside [0, 1] or shapes that don't fit.

    References
    ----------
    Okati, De & Gomez-Rodriguez (2021). Differentiable learning under triage. arXiv 2103.08902.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import triage_filter
    >>> triage_filter(torch.tensor([0.1, 2.0, 0.9, 0.4]), torch.tensor([1.0, 0.0, 0.0, 0.0]), 0.5)
    tensor([False,  True,  True, False])
    """
    if not 0 <= budget <= 1:
        raise ValueError(f"budget={budget}; expected a share of the rows in [0, 1], such as 0.2.")
    rows = common_rows(model_loss.shape, expert_loss.shape)
    gain = (model_loss - expert_loss).expand(rows)
    n_handed = int(budget * rows[-1] * (1 + 1e-12))  # 0.29 * 100 is 28.999999999999996
    top = gain.sort(dim=-1, descending=True, stable=True).indices[..., :n_handed]
    handed = torch.zeros_like(gain, dtype=torch.bool).scatter(-1, top, True)
    return handed & (gain > 0)


def differentiable_triage_loss(
    scores: torch.Tensor, y: torch.Tensor, expert_correct: torch.Tensor, *, budget: float = 0.2
) -> torch.Tensor:
    r"""Cross-entropy of the rows that are kept; experts learn which ones are not.

    :func:`triage_filter` drops the rows of the batch on which the classifier's cross-entropy
    exceeds the expert's error most. The classifier learns from the others; the expert's score
    learns, by a logistic loss, which rows were dropped. Unlike other losses, a row's depends on
    the other rows of the batch. Its scores order rows: hand over the top ``budget`` of them.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of being handed to each expert.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong. NaN is refused: masking is not exact here.
    budget : float, default=0.2
        The largest share of a batch that is dropped, in [0, 1].

    Returns
    -------
    loss : tensor of shape (..., n_rows)
        At least 0.

    Raises
    ------
    ValueError
        If the shapes don't fit, an answer is missing, or the budget is no share.

    Notes
    -----
    Published for one expert, and in two steps that alternate: the classifier on the filtered
    rows, then a network of its own for the hand-over on the labels. Here both are learned at once
    on shared features, and with several experts a dropped row is a label for all who lose least.

    References
    ----------
    Okati, De & Gomez-Rodriguez (2021). Differentiable learning under triage. arXiv 2103.08902.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import differentiable_triage_loss
    >>> scores = torch.zeros(2, 4)  # three classes and an expert, all alike
    >>> right = torch.tensor([[1.0], [0.0]])
    >>> differentiable_triage_loss(scores, torch.tensor([0, 2]), right, budget=0.5)
    tensor([0.6931, 1.7918])
    """
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    check_all_answered(correct, "differentiable_triage", "the filter compares all answers")
    own = cross_entropy(classes, y)
    best = correct.amax(-1, keepdim=True)
    handed = triage_filter(own.detach(), 1.0 - best.squeeze(-1), budget)
    target = handed.unsqueeze(-1) & (correct == best)
    return own.masked_fill(handed, 0.0) + right_or_wrong(experts, target)


def differentiable_triage_priority(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """In which order rows are handed over, by scores trained with the loss above.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of being handed to each expert.
    n_classes : int
        The number of classes.

    Returns
    -------
    priority : tensor of shape (..., n_experts)
        Probability of being among the rows handed over, from [0, 1] to [-1, 1].

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import differentiable_triage_priority
    >>> differentiable_triage_priority(torch.tensor([[3.0, 1.0, 0.0]]), 2)
    tensor([[0.]])
    """
    return 2.0 * scores[..., n_classes:].sigmoid() - 1.0
