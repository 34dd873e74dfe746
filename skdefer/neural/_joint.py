"""The network of joint training: one linear layer of K + J scores over shared features."""

from __future__ import annotations

import torch
from torch import nn


class JointNet(nn.Module):
    """Scores of the classes and of the experts, from one last layer.

    The last layer starts at 0, so that the order of classes and of experts makes no
    difference, and a linear network is the same whatever the seed.

    Parameters
    ----------
    backbone : Module
        Turns rows into features.
    n_features : int
        How many.
    n_classes, n_experts : int
        Columns of the scores.
    """

    def __init__(self, backbone: nn.Module, n_features: int, n_classes: int, n_experts: int):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(n_features, n_classes + n_experts)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Give the scores of rows, shape (n_rows, n_classes + n_experts)."""
        return self.head(self.backbone(X))
