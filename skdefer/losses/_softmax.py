"""One softmax over classes and experts (LCE)."""

from __future__ import annotations

import torch

from skdefer.losses._shapes import pick, split_scores


def lce_loss(
    scores: torch.Tensor, y: torch.Tensor, expert_correct: torch.Tensor, *, alpha: float = 1.0
) -> torch.Tensor:
    r"""Cross-entropy that also rewards each expert who is right.

    With :math:`p` the softmax over classes and experts,

    .. math:: -a \log p_y - \sum_j 1[m_j = y] \log p_{d_j},

    where :math:`a` is ``alpha`` on rows where some expert is right, and 1 elsewhere. With
    ``alpha=1`` its minimiser is :math:`p_y = \eta_y / (1 + \sum_j Acc_j)` and
    :math:`p_{d_j} = Acc_j / (1 + \sum_j Acc_j)`, which :func:`lce_class_proba` and
    :func:`lce_expert_accuracy` undo. Good experts take the weight of the classes: the
    classifier learns slowly beside them.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of the experts.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong, NaN without an answer: on that row the
        softmax is taken without that expert. The minimiser stays the same as long as who
        answers does not depend on who would be right.
    alpha : float, default=1.0
        Weight of the classifier on rows where an expert is right; 1 is the consistent choice.

    Returns
    -------
    loss : tensor of shape (..., n_rows)
        At least 0.

    Raises
    ------
    ValueError
        If the shapes don't fit.

    References
    ----------
    Mozannar & Sontag (2020). Consistent estimators for learning to defer to an expert.
    arXiv 2006.01862. Several experts: Verma, Barrejon & Nalisnick (2023). arXiv 2210.16955.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import lce_loss
    >>> scores = torch.zeros(2, 4)  # three classes and an expert, all alike
    >>> lce_loss(scores, torch.tensor([0, 2]), torch.tensor([[1.0], [0.0]]))
    tensor([2.7726, 1.3863])
    """
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    missing = correct.isnan()
    every = torch.cat([classes, experts.masked_fill(missing, -torch.inf)], -1).log_softmax(-1)
    of_classes, of_experts = every.split([classes.shape[-1], experts.shape[-1]], -1)
    own = -pick(of_classes, y)
    if alpha != 1.0:
        own = own * torch.where((correct > 0).any(-1), alpha, 1.0)
    return own - (correct.nan_to_num(0.0) * of_experts.masked_fill(missing, 0.0)).sum(-1)


def lce_class_proba(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Class probabilities that scores trained by :func:`lce_loss` imply.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of the experts.
    n_classes : int
        The number of classes.

    Returns
    -------
    proba : tensor of shape (..., n_classes)
        Softmax over the classes alone.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import lce_class_proba
    >>> lce_class_proba(torch.tensor([[0.0, 0.0, 3.0]]), 2)
    tensor([[0.5000, 0.5000]])
    """
    return scores[..., :n_classes].softmax(-1)


def lce_expert_accuracy(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """How often scores trained by :func:`lce_loss` expect each expert to be right.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of the experts.
    n_classes : int
        The number of classes.

    Returns
    -------
    accuracy : tensor of shape (..., n_experts)
        The probability of the expert over that of all classes together, at most 1: away from
        the minimiser the ratio has no bound, and it is cut off here.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import lce_expert_accuracy
    >>> lce_expert_accuracy(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 9.0]]), 2)
    tensor([[0.5000],
            [1.0000]])
    """
    classes = scores[..., :n_classes].logsumexp(-1, keepdim=True)
    return (scores[..., n_classes:] - classes).clamp(max=0.0).exp()


def softmax_priority(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """In which order rows are handed over, by the scores of one softmax over all.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of the experts.
    n_classes : int
        The number of classes.

    Returns
    -------
    priority : tensor of shape (..., n_experts)
        Probability of the expert less that of the most probable class, in [-1, 1]: above 0 the
        expert has the greatest score but for other experts.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import softmax_priority
    >>> softmax_priority(torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]), 2)
    tensor([[ 0.0000],
            [-0.9801]])
    """
    proba = scores.softmax(-1)
    return proba[..., n_classes:] - proba[..., :n_classes].amax(-1, keepdim=True)
