"""A yes-or-no question for each class and each expert (OvA)."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid, one_hot

from skdefer.losses._shapes import right_or_wrong, split_scores


def ova_loss(scores: torch.Tensor, y: torch.Tensor, expert_correct: torch.Tensor) -> torch.Tensor:
    r"""One logistic loss for each class, and one for each expert.

    With :math:`\phi(z) = \log(1 + e^{-z})`,

    .. math::

        \phi(g_y) + \sum_{k \ne y} \phi(-g_k)
        + \sum_j \left( 1[m_j = y] \phi(g_{d_j}) + 1[m_j \ne y] \phi(-g_{d_j}) \right).

    Its minimiser is :math:`\sigma(g_y) = \eta_y` and :math:`\sigma(g_{d_j}) = Acc_j`, which
    :func:`ova_class_proba` and :func:`ova_expert_accuracy` read.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of the experts.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong, NaN without an answer: that term is left
        out, and no other changes.

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
    Verma & Nalisnick (2022). Calibrated learning to defer with one-vs-all classifiers.
    arXiv 2202.03673. Several experts: Verma, Barrejon & Nalisnick (2023). arXiv 2210.16955.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import ova_loss
    >>> scores = torch.zeros(2, 4)  # three classes and an expert, all undecided
    >>> ova_loss(scores, torch.tensor([0, 2]), torch.tensor([[1.0], [torch.nan]]))
    tensor([2.7726, 2.0794])
    """
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    truth = one_hot(y, classes.shape[-1])
    return right_or_wrong(classes, truth) + right_or_wrong(experts, correct)


def ova_class_proba(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Class probabilities that scores trained by :func:`ova_loss` imply.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of the experts.
    n_classes : int
        The number of classes.

    Returns
    -------
    proba : tensor of shape (..., n_classes)
        The sigmoids, divided by their sum (which is 1 at the minimiser).

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import ova_class_proba
    >>> ova_class_proba(torch.tensor([[0.0, 0.0, 3.0]]), 2)
    tensor([[0.5000, 0.5000]])
    """
    # In logarithms: sigmoids of very negative scores are 0, and their sum too.
    return logsigmoid(scores[..., :n_classes]).softmax(-1)


def ova_expert_accuracy(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """How often scores trained by :func:`ova_loss` expect each expert to be right.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of the experts.
    n_classes : int
        The number of classes.

    Returns
    -------
    accuracy : tensor of shape (..., n_experts)
        The sigmoids of the experts' scores.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import ova_expert_accuracy
    >>> ova_expert_accuracy(torch.tensor([[1.0, 2.0, 0.0]]), 2)
    tensor([[0.5000]])
    """
    return scores[..., n_classes:].sigmoid()
