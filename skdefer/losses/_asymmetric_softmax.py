"""A softmax over the classes, and one for each expert that leaves out the likeliest class."""

from __future__ import annotations

import torch

from skdefer.losses._shapes import cross_entropy, right_or_wrong, split_scores


def asymmetric_softmax_loss(
    scores: torch.Tensor, y: torch.Tensor, expert_correct: torch.Tensor
) -> torch.Tensor:
    r"""Cross-entropy of the classes, and of each expert against all but the likeliest class.

    With :math:`\psi_y` the softmax over the classes alone, :math:`R` the sum of
    :math:`e^{g_k}` over all classes but the one of the greatest score, and
    :math:`\psi_{d_j} = e^{g_{d_j}} / (e^{g_{d_j}} + R)`,

    .. math::

        -\log \psi_y - \sum_j \left( 1[m_j = y] \log \psi_{d_j}
        + 1[m_j \ne y] \log (1 - \psi_{d_j}) \right).

    Its minimiser is :math:`\psi_y = \eta_y` and :math:`\psi_{d_j} = Acc_j`, read by
    :func:`lce_class_proba` and :func:`asymmetric_softmax_expert_accuracy`. Both
    are probabilities everywhere, not at the minimiser alone, and whoever is most probable in
    the one is where the scores are greatest.

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
        If the shapes don't fit, or there is a single class.

    References
    ----------
    Cao, Mozannar, Feng, Wei & An (2023). In defense of softmax parametrization for calibrated
    and consistent learning to defer. arXiv 2311.01106. Several experts: each has a sigmoid of its
    own, as here, which keeps the minimiser.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import asymmetric_softmax_loss
    >>> scores = torch.zeros(2, 4)  # three classes and an expert, all alike
    >>> asymmetric_softmax_loss(scores, torch.tensor([0, 2]), torch.tensor([[1.0], [torch.nan]]))
    tensor([2.1972, 1.0986])
    """
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    odds = experts - _all_but_the_likeliest(classes)
    return cross_entropy(classes, y) + right_or_wrong(odds, correct)


def asymmetric_softmax_expert_accuracy(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """How often scores trained by :func:`asymmetric_softmax_loss` expect experts to be right.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of the experts.
    n_classes : int
        The number of classes.

    Returns
    -------
    accuracy : tensor of shape (..., n_experts)
        The score of the expert against all classes but the likeliest.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import asymmetric_softmax_expert_accuracy
    >>> asymmetric_softmax_expert_accuracy(torch.tensor([[9.0, 0.0, 0.0]]), 2)
    tensor([[0.5000]])
    """
    classes, experts = scores[..., :n_classes], scores[..., n_classes:]
    return (experts - _all_but_the_likeliest(classes)).sigmoid()


def _all_but_the_likeliest(classes: torch.Tensor) -> torch.Tensor:
    """Log of the sum of all exponentials but the greatest, with a last axis of length 1."""
    n_classes = classes.shape[-1]
    if n_classes < 2:
        raise ValueError(
            f"scores has {n_classes} column for the classes; the asymmetric softmax compares an "
            "expert with all classes but the likeliest and expects two at least."
        )
    likeliest = classes.detach().argmax(-1, keepdim=True)
    return classes.scatter(-1, likeliest, -torch.inf).logsumexp(-1, keepdim=True)
