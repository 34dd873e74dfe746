"""One softmax over classes and experts, in which one right expert is enough (PiCCE)."""

from __future__ import annotations

import torch

from skdefer.losses._shapes import check_all_answered, pick, split_scores


def picce_loss(scores: torch.Tensor, y: torch.Tensor, expert_correct: torch.Tensor) -> torch.Tensor:
    r"""Cross-entropy that rewards the most confident of the experts who are right.

    With :math:`p` the softmax over classes and experts, and :math:`j^*` the expert of the
    greatest score among those who are right,

    .. math:: -\log p_y - 1[\text{some } m_j = y] \log p_{d_{j^*}}.

    With many good experts :func:`skdefer.losses.lce_loss` has as many terms for the experts as one
    for the classes, which then learn little; here there is one at most. With one expert both are
    the same. Its scores order rows.

    Parameters
    ----------
    scores : tensor of shape (..., n_rows, n_classes + n_experts)
        Logits of the classes, then of the experts.
    y : tensor of int64 of shape (..., n_rows)
        The true class.
    expert_correct : tensor of shape (..., n_rows, n_experts)
        1 where the expert is right, 0 where wrong. NaN is refused: masking is not exact here.

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
    Liu, Cao, Feng, An & Ong (2026). When more experts hurt: underfitting in multi-expert
    learning to defer. arXiv 2602.17144.

    Examples
    --------
    >>> import torch
    >>> from skdefer.losses import picce_loss
    >>> scores = torch.zeros(2, 5)  # three classes and two experts, all alike
    >>> picce_loss(scores, torch.tensor([0, 2]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    tensor([3.2189, 1.6094])
    """
    classes, experts, y, correct = split_scores(scores, y, expert_correct)
    check_all_answered(
        correct, "picce", "who is picked depends on all answers, so masking would change the pick"
    )
    total = torch.cat([classes, experts], -1).logsumexp(-1)
    picked = experts.masked_fill(correct == 0, -torch.inf).amax(-1)
    rewarded = (correct != 0).any(-1)
    reward = total - torch.where(rewarded, picked, total)
    return total - pick(classes, y) + reward
