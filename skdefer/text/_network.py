"""An encoder with a linear layer on top of it, before it is fine-tuned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from skdefer.neural import TransformerBackbone
from skdefer.neural._joint import JointNet

_LEAST_FREQUENCY = 1e-6  # of a class that no row has: its logit is finite


def new_network(
    model: Any,
    tokenizer: Any,
    *,
    pooling: str,
    max_length: int | None,
    freeze: Iterable[str],
    mass: np.ndarray,
) -> JointNet:
    """Load the encoder, and put a last layer on it.

    Parameters
    ----------
    model, tokenizer, pooling, max_length
        As in :class:`~skdefer.neural.TransformerBackbone`; a Module is copied.
    freeze : iterable of str
        Beginnings of the names of weights that are not trained.
    mass : ndarray of shape (n_classes,)
        Weight of each class in the rows to learn from.

    Returns
    -------
    module : JointNet

    Raises
    ------
    ValueError
        If no weight has a name that begins as one of ``freeze``.
    """
    if isinstance(model, nn.Module):
        model = copy.deepcopy(model).float()  # Adam's steps get lost in half precision
    backbone = TransformerBackbone(model, tokenizer, pooling=pooling, max_length=max_length)
    for start in freeze:
        found = [p for name, p in backbone.model.named_parameters() if name.startswith(start)]
        if not found:
            names = [name for name, _ in backbone.model.named_parameters()]
            raise ValueError(
                f"freeze has {start!r}, but no weight of the model has a name that begins so; "
                f"expected the beginnings of names such as {names[0]!r} and {names[-1]!r}."
            )
        for parameter in found:
            parameter.requires_grad_(False)
    module = JointNet(backbone, backbone.n_outputs, len(mass), 0)
    # How frequent the classes are is known before anything is seen of a row, and takes as long
    # to learn as the rest with the steps that suit an encoder.
    frequency = torch.tensor(mass / mass.sum()).clamp_min(_LEAST_FREQUENCY)
    module.head.bias.data = frequency.log().float()
    return module


def objective(
    tokens: np.ndarray, wanted: np.ndarray, per_class: np.ndarray, device: Any
) -> tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Give the loss of each row, and the rows: tokens, and classes or probabilities of these."""
    weight = torch.tensor(per_class, dtype=torch.float32, device=device)
    target = torch.from_numpy(wanted)

    def loss(module: nn.Module, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(module(X), y, weight=weight, reduction="none")

    rows = torch.from_numpy(tokens)
    return loss, (rows, target.float() if target.is_floating_point() else target)
