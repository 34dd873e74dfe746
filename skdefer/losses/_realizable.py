"""The chance that whoever answers is right: losses that find a perfect system if there is one."""

from __future__ import annotations

import torch

from skdefer.losses._shapes import check_all_answered, cross_entropy, pick, split_scores

_WHY = "the weight of the classifier depends on who is right, so a masked answer would change it"


def realizable_loss(
    scores: torch.Tensor, y: torch.Tensor, expert_correct: torch.Tensor, *, alpha: float = 1.0
) -> torch.Tensor:
    r"""Cross-entropy of the event that a right answer is given, by whomever.

    With :math:`p` the softmax over classes and experts,

    .. math::

        -\alpha \log \Big( p_y + \sum_j 1[m_j = y] p_{d_j} \Big)
        - (1 - \alpha) \log \frac{p_y}{\sum_k p_k}.

    A row that an expert answers right asks nothing more of the classifier, so a small network
    can spend itself on the others: where some network and its experts make no mistake together,
    the minimiser is such a system. Its scores order rows; they are no probabilities.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of the experts.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong. NaN is refused: masking is not exact here.
    alpha : float, default=1.0
        Weight of the system; the rest is the classifier's own cross-entropy. With 1 a row that any
        expert answers right teaches the classifier nothing, so beside good experts it may end
        as no classifier at all; and with an expert who is random given the row, the minimiser may
        hand the wrong rows over (6 % of random problems). 0.5 is a safer start; published
        grid: 0, .1, .3, .5, .9, 1.

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
    Mozannar, Lang, Wei, Sattigeri, Das & Sontag (2023). Who should predict? Exact algorithms
    for learning to defer to humans. arXiv 2301.06197. Several experts: the sum over those
    who are right, ours; with one it is the published loss.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import realizable_loss
    >>> scores = torch.zeros(2, 4)  # three classes and an expert, all alike
    >>> realizable_loss(scores, torch.tensor([0, 2]), torch.tensor([[1.0], [0.0]]))
    tensor([0.6931, 1.3863])
    """
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    check_all_answered(correct, "realizable", _WHY)
    own = pick(classes, y)
    right = torch.cat([own.unsqueeze(-1), experts.masked_fill(correct == 0, -torch.inf)], -1)
    total = torch.cat([classes, experts], -1).logsumexp(-1)
    loss = total - right.logsumexp(-1)
    if alpha != 1.0:
        loss = alpha * loss + (1.0 - alpha) * cross_entropy(classes, y)
    return loss


def rl2d_loss(
    scores: torch.Tensor,
    y: torch.Tensor,
    expert_correct: torch.Tensor,
    *,
    q: float = 1.0,
    consultation_cost: float | torch.Tensor = 0.0,
) -> torch.Tensor:
    r"""The family of realizable losses of Mao et al., with a price of asking.

    With :math:`p` the softmax over classes and the expert, :math:`\Psi_q(t) = (1 - t^q) / q`
    (:math:`-\log t` for :math:`q = 0`) and :math:`c = \min(1[m \ne y] + \beta, 1)`,

    .. math:: c \Psi_q(p_y) + (1 - c) \Psi_q(p_y + p_d).

    With several experts, :math:`p_d` counts those whose :math:`c_j` is at most :math:`u`,
    averaged over :math:`u` uniform in [0, 1]; with one this is the published loss. ``q=0`` and no
    price is :func:`realizable_loss`; ``q=1`` is the share of wrong answers under random routing,
    bounded, robust and hard to optimise from afar. Its scores order rows.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of the experts.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong. NaN is refused: masking is not exact here.
    q : float, default=1.0
        Shape of the loss, at least 0.
    consultation_cost : float or tensor of shape (n_experts,), default=0.0
        What asking costs, in errors: the :math:`\beta` above. The price is then in the scores.

    Returns
    -------
    loss : tensor of shape (..., n_rows)
        At least 0.

    Raises
    ------
    ValueError
        If the shapes don't fit, an answer is missing, or ``q`` is negative.

    References
    ----------
    Mao, Mohri & Zhong (2024). Realizable H-consistent and Bayes-consistent loss functions for
    learning to defer. arXiv 2407.13732.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import rl2d_loss
    >>> scores = torch.zeros(2, 4)  # three classes and an expert, all alike
    >>> rl2d_loss(scores, torch.tensor([0, 2]), torch.tensor([[1.0], [0.0]]))
    tensor([0.5000, 0.7500])
    """
    if q < 0:
        raise ValueError(f"q={q}; expected 0 (the logarithm) or more, such as 0.7 or 1.")
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    check_all_answered(correct, "rl2d", _WHY)
    beta = torch.as_tensor(consultation_cost, dtype=correct.dtype, device=correct.device)
    cost, order = (1.0 - correct + beta).clamp(0.0, 1.0).sort(dim=-1, stable=True)
    cost = cost.to(scores.dtype)
    # Column i: the log of p_y and of the i cheapest experts together.
    within = torch.cat([pick(classes, y).unsqueeze(-1), experts.gather(-1, order)], -1)
    total = torch.cat([classes, experts], -1).logsumexp(-1, keepdim=True)
    within = within.logcumsumexp(-1) - total
    lost = -within if q == 0 else -torch.expm1(q * within) / q
    ends = torch.zeros_like(cost[..., :1])
    width = torch.cat([ends, cost, ends + 1.0], -1).diff(dim=-1)
    return (width * lost).sum(-1).clamp(min=0.0)
