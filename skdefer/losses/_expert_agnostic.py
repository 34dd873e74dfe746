"""The loss of expert-agnostic learning to defer (EA-L2D)."""

from __future__ import annotations

import torch

from skdefer.losses._shapes import common_rows, pick
from skdefer.losses._softmax import softmax_priority


def expert_agnostic_loss(
    scores: torch.Tensor,
    y: torch.Tensor,
    expertise_class: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    r"""Cross-entropy that also rewards deferral on the class that the expert knows best.

    With :math:`p` the softmax over the classes and deferral, and :math:`k^*` the class on
    which the expert is best,

    .. math:: -\log p_y - w_y 1[y = k^*] \log p_d.

    No answer of the expert to the row is needed, only what is known of the expert by class.
    Its minimiser is :math:`p_y = \eta_y / (1 + w \eta_{k^*})` and :math:`p_d = w \eta_{k^*} /
    (1 + w \eta_{k^*})` with :math:`w = w_{k^*}`, so :func:`lce_class_proba` gives the
    class probabilities and :func:`lce_expert_accuracy` gives :math:`w \eta_{k^*}`, which is no
    accuracy: rows of other classes count as if the expert were always wrong there. Hence
    :func:`expert_agnostic_priority` orders rows, and has no natural zero.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + 1)
        Logits of the classes, then of deferral to the expert.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expertise_class : tensor of int64 of shape (..., n_rows)
        The class on which the expert of the row is best.
    weight : tensor of shape (..., n_rows)
        What is known of that expert on the true class: a lower bound of the accuracy there,
        as published, or 1. It is read only where ``y == expertise_class``.

    Returns
    -------
    loss : tensor of shape (..., n_rows)
        At least 0. With a leading axis of experts, ``loss.mean(0)`` is the published average
        over training experts.

    Raises
    ------
    ValueError
        If the shapes don't fit.

    References
    ----------
    Strong, Saha, Ibrahim, Ouyang & Noble (2025). Expert-agnostic learning to defer.
    arXiv 2502.10533.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import expert_agnostic_loss
    >>> scores = torch.zeros(2, 4)  # three classes and deferral, all alike
    >>> y, knows = torch.tensor([0, 2]), torch.tensor([2, 2])
    >>> expert_agnostic_loss(scores, y, knows, torch.tensor([0.9, 0.5]))
    tensor([1.3863, 2.0794])
    """
    if scores.ndim < 2 or scores.shape[-1] < 2:
        raise ValueError(
            f"scores has shape {tuple(scores.shape)}; expected (n_rows, n_classes + 1), deferral "
            "in the last column."
        )
    rows = common_rows(scores.shape[:-1], y.shape, expertise_class.shape, weight.shape)
    scores, y = scores.expand(*rows, -1), y.expand(rows)
    total = scores.logsumexp(-1)
    reward = torch.where(y == expertise_class, weight, 0.0)
    return total - pick(scores[..., :-1], y) + reward * (total - scores[..., -1])


def expert_agnostic_priority(scores: torch.Tensor) -> torch.Tensor:
    """In which order rows are handed over, by scores trained with the loss above.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + 1)
        Logits of the classes, then of deferral to the expert.

    Returns
    -------
    priority : tensor of shape (...)
        Probability of deferral less that of the most probable class, in one softmax. With
        several experts, the row goes to the one of the highest priority.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import expert_agnostic_priority
    >>> expert_agnostic_priority(torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]))
    tensor([ 0.0000, -0.9801])
    """
    return softmax_priority(scores, scores.shape[-1] - 1).squeeze(-1)
