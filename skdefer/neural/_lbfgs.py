"""L-BFGS, as the training loop wants it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

_ROUND = 20  # iterations between two looks at the loss


class LBFGS(torch.optim.LBFGS):
    """L-BFGS in rounds, with a penalty, that knows whether it has arrived.

    Parameters
    ----------
    weights : list of Parameter
        What is trained.
    tolerance_grad : float
        It has arrived where no entry of the gradient is greater.
    weight_decay : float
        Weight of the squared norm of all weights, halved, that is added to the loss.
    """

    def __init__(self, weights: list[nn.Parameter], *, tolerance_grad: float, weight_decay: float):
        super().__init__(
            weights,
            max_iter=_ROUND,
            max_eval=25 * _ROUND,
            tolerance_grad=tolerance_grad,
            line_search_fn="strong_wolfe",
        )
        self.weights, self.weight_decay = weights, weight_decay
        self.arrived = False

    def step(self, closure: Callable[[], torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        """Go on for a round; returns the mean loss of the rows where it ends."""

        def penalised() -> torch.Tensor:
            value = closure()
            if self.weight_decay:
                with torch.no_grad():
                    for weight in self.weights:
                        value = value + 0.5 * self.weight_decay * weight.square().sum()
                        if weight.grad is not None:
                            weight.grad.add_(weight, alpha=self.weight_decay)
            return value

        before = self._n_done()
        super().step(penalised)
        self.arrived = self._n_done() - before < _ROUND
        return closure()

    def _n_done(self) -> int:
        return self.state[self.weights[0]].get("n_iter", 0)
