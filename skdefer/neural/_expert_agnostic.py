"""EA-L2D's network: a classifier, and a rejector that sees six numbers of every expert."""

from __future__ import annotations

import torch
from torch import nn


class ExpertAgnosticNet(nn.Module):
    """A classifier, and one rejector for whatever expert, seen or not.

    Parameters
    ----------
    backbone : Module
        Turns rows into features of shape (n_rows, n_features).
    n_features : int
        The number of those features.
    n_classes : int
        The number of classes.
    rejector : Module
        Turns the six numbers of a row and an expert into the score of handing over.
    """

    def __init__(self, backbone: nn.Module, n_features: int, n_classes: int, rejector: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(n_features, n_classes)
        self.rejector = rejector

    def class_scores(self, X: torch.Tensor) -> torch.Tensor:
        """Logits of the classes, shape (n_rows, n_classes)."""
        return self.classifier(self.backbone(X))

    def forward(
        self, X: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, tied: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score classes and hand-overs.

        Parameters
        ----------
        X : Tensor of shape (n_rows, ...)
            The rows.
        mean, variance : Tensor of shape (n_experts, n_classes)
            Posterior moments of each expert's accuracy.
        tied : bool Tensor of shape (n_experts, n_classes)
            Where the mean is greatest.

        Returns
        -------
        scores : Tensor of shape (n_rows, n_classes)
            Logits of the classes.
        defer : Tensor of shape (n_experts, n_rows)
            Logits of handing over.
        expertise : int Tensor of shape (n_experts, n_rows)
            The class that each expert knows best; of tied ones the likeliest on the row.
        """
        scores = self.class_scores(X)
        proba = scores.softmax(-1)
        expertise = proba.expand(len(mean), -1, -1).masked_fill(~tied[:, None], -1.0).argmax(-1)
        numbers = six_numbers(proba, mean, variance, expertise)
        return scores, self.rejector(numbers).squeeze(-1), expertise


def six_numbers(
    proba: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, expertise: torch.Tensor
) -> torch.Tensor:
    """Read a row for each expert; :func:`skdefer.experts._six_numbers.six_numbers` in torch.

    Parameters
    ----------
    proba : Tensor of shape (n_rows, n_classes)
        Class probabilities.
    mean, variance : Tensor of shape (n_experts, n_classes)
        Posterior moments of each expert's accuracy.
    expertise : int Tensor of shape (n_experts, n_rows)
        The class that each expert knows best.

    Returns
    -------
    numbers : Tensor of shape (n_experts, n_rows, 6)
        Differentiable in ``proba``.
    """
    confidence, predicted = proba.max(-1)
    likely = proba.expand(len(mean), -1, -1).gather(-1, expertise[..., None])[..., 0]
    return torch.stack(
        [
            confidence.expand_as(likely),
            mean[:, predicted],
            variance[:, predicted],
            mean.gather(1, expertise),
            variance.gather(1, expertise),
            likely,
        ],
        dim=-1,
    )
