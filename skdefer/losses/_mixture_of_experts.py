"""A gate that spreads each row over the classifier and the experts (Madras et al.)."""

from __future__ import annotations

import torch

from skdefer.losses._shapes import check_all_answered, cross_entropy, split_scores


def mixture_of_experts_loss(
    scores: torch.Tensor,
    y: torch.Tensor,
    expert_correct: torch.Tensor,
    *,
    consultation_cost: float | torch.Tensor = 0.0,
) -> torch.Tensor:
    r"""Expected loss when a gate chooses at random between the classifier and the experts.

    With :math:`(s_0, s_1, \dots)` the softmax of :math:`(0, g_{d_1}, \dots)` (for one expert
    :math:`s_1 = \sigma(g_d)`), :math:`p` the softmax over the classes alone and :math:`\gamma_j`
    the price of asking,

    .. math:: -s_0 \log p_y + \sum_j s_j \left( 1[m_j \ne y] + \gamma_j \right).

    The classifier's term is a logarithm and the experts' are errors, so the gate hands over more
    than pays, and rows it hands over teach the classifier little. Its scores order rows.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of the gate.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong. NaN is refused: masking is not exact here.
    consultation_cost : float or tensor of shape (n_experts,), default=0.0
        What asking costs, in errors: the :math:`\gamma` above. The price is then in the scores.

    Returns
    -------
    loss : tensor of shape (..., n_rows)
        At least 0.

    Raises
    ------
    ValueError
        If the shapes don't fit, or an answer is missing.

    References
    ----------
    Madras, Pitassi & Zemel (2018). Predict responsibly: improving fairness and accuracy by
    learning to defer. arXiv 1711.06664. Several experts: a softmax in place of the sigmoid, ours.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import mixture_of_experts_loss
    >>> scores = torch.zeros(2, 4)  # three classes and an expert, all alike
    >>> mixture_of_experts_loss(scores, torch.tensor([0, 2]), torch.tensor([[1.0], [0.0]]))
    tensor([0.5493, 1.0493])
    """
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    check_all_answered(
        correct, "mixture_of_experts", "the gate spreads a row over all experts, answered or not"
    )
    price = torch.as_tensor(consultation_cost, dtype=experts.dtype, device=experts.device)
    own = cross_entropy(classes, y)
    lost = torch.cat([own.unsqueeze(-1), 1.0 - correct.to(experts.dtype) + price], -1)
    return (_gate(experts) * lost).sum(-1)


def mixture_of_experts_priority(scores: torch.Tensor, n_classes: int) -> torch.Tensor:
    """In which order rows are handed over, by scores trained with the loss above.

    Parameters
    ----------
    scores : tensor of shape (..., n_classes + n_experts)
        Logits of the classes, then of the gate.
    n_classes : int
        The number of classes.

    Returns
    -------
    priority : tensor of shape (..., n_experts)
        Share of the gate for the expert less that for the classifier, in [-1, 1]: above 0 the
        row goes to the expert of the greatest.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import mixture_of_experts_priority
    >>> mixture_of_experts_priority(torch.tensor([[3.0, 1.0, 0.0], [3.0, 1.0, 5.0]]), 2)
    tensor([[0.0000],
            [0.9866]])
    """
    shares = _gate(scores[..., n_classes:])
    return shares[..., 1:] - shares[..., :1]


def _gate(experts: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(experts[..., :1]), experts], -1).softmax(-1)
