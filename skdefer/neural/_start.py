"""Where the last layer starts: at the scores that are best before anything is seen of a row."""

from __future__ import annotations

from collections.abc import Callable

import torch

_ITERATIONS = 30
_FLAT = 1e-3  # of the gradient: an expert who is always right has no best score


def best_constants(
    loss: Callable[..., torch.Tensor], n_scores: int, weight: torch.Tensor, *data: torch.Tensor
) -> torch.Tensor:
    """Find the scores of least mean loss, were they the same for all rows.

    They say how frequent the classes are and how often each expert is right. A network that starts
    from other scores spends its first steps on moving all rows in one direction, which with the
    step sizes of a deep encoder takes longer than the fine-tuning, or ruins it.

    Parameters
    ----------
    loss : callable ``loss(scores, *data) -> tensor of shape (n_rows,)``
        The loss of each row.
    n_scores : int
        Scores of a row.
    weight : Tensor of shape (n_rows,)
        Weights of the rows.
    *data : Tensors of shape (n_rows, ...)
        What else the loss reads.

    Returns
    -------
    scores : Tensor of shape (n_scores,)
        Zeros where the loss has no finite minimum on the way there.
    """
    scores = weight.new_zeros(n_scores, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [scores], max_iter=_ITERATIONS, tolerance_grad=_FLAT, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = loss(scores.expand(len(weight), -1), *data)
        mean = (losses * weight).sum() / weight.sum()
        mean.backward()
        return mean

    with torch.enable_grad():
        optimizer.step(closure)
    found = scores.detach()
    return found if bool(found.isfinite().all()) else torch.zeros_like(found)
