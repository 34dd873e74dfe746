"""L2D-Pop's network: a classifier, and a rejector that reads past answers of an expert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from skdefer.neural._modules import MLP
from skdefer.neural._prediction import evaluating

_BLOCK = 1024  # rows of contexts that go through the backbone at once


class Contexts(NamedTuple):
    """Past answers of E experts, padded to C each."""

    X: torch.Tensor  # (n_rows, ...), rows answered by any of them
    rows: torch.Tensor  # int (E, C), positions in X
    y: torch.Tensor  # int (E, C), the truth
    answers: torch.Tensor  # int (E, C), n_classes for an answer that is no class
    mask: torch.Tensor  # bool (E, C), False where there is nothing


class ContextMean(nn.Module):
    """Neural process: an expert is the mean of what an MLP makes of each past answer.

    Parameters
    ----------
    n_features : int
        Width of the features of a row.
    n_classes : int
        The number of classes.
    size : int
        Width of the embeddings of labels, and of the representation.
    hidden_layer_sizes : sequence of int
        Of the MLP that reads a past answer.
    """

    def __init__(self, n_features: int, n_classes: int, size: int, hidden_layer_sizes: Any):
        super().__init__()
        self.label = nn.Embedding(n_classes + 1, size)  # of the truth, and of answers
        self.mlp = MLP(n_features + 2 * size, hidden_layer_sizes, size)
        # torch's own initial weights shrink the signal at every layer: after six of them all
        # contexts look alike, and training starts by ignoring them.
        for layer in self.mlp.layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def embed(
        self,
        features: torch.Tensor,
        y: torch.Tensor,
        answers: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Turn past answers, shape (E, C, n_features) and (E, C), to (E, C, size); 0 if masked."""
        # Padding is left out before the MLP, which is most of the work.
        read = [features[mask], self.label(y[mask]), self.label(answers[mask])]
        embedded = self.mlp(torch.cat(read, -1))
        return embedded.new_zeros((*mask.shape, embedded.shape[-1])).masked_scatter(
            mask[..., None], embedded
        )

    def forward(
        self,
        features: torch.Tensor,
        y: torch.Tensor,
        answers: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Encode contexts once, for any number of queries; see :meth:`read`."""
        total = self.embed(features, y, answers, mask).sum(1)
        return (total / mask.sum(1, keepdim=True).clamp(min=1),)

    def read(self, query: torch.Tensor, encoded: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Represent each expert for each row: (E, n_rows, size), 0 for an empty context.

        Parameters
        ----------
        query : Tensor of shape (n_rows, n_features)
            Features of the rows.
        encoded : tuple
            What ``forward`` gave.
        """
        return encoded[0][:, None].expand(-1, len(query), -1)


class ContextAttention(ContextMean):
    """Attention: each row looks among the past answers for those that matter to it.

    Past answers look at each other first (self-attention), then the row's features look at
    them (cross-attention). Both with several heads, a residual and LayerNorm.

    Parameters
    ----------
    n_features, n_classes, size, hidden_layer_sizes
        As in :class:`ContextMean`.
    n_heads : int
        Number of heads; it divides ``size``.
    """

    def __init__(
        self, n_features: int, n_classes: int, size: int, hidden_layer_sizes: Any, n_heads: int
    ):
        super().__init__(n_features, n_classes, size, hidden_layer_sizes)
        self.among = _Attention(size, n_heads)
        self.query = nn.Linear(n_features, size)
        self.across = _Attention(size, n_heads)

    def forward(
        self,
        features: torch.Tensor,
        y: torch.Tensor,
        answers: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Encode contexts once, for any number of queries; see :meth:`read`."""
        embedded = self.embed(features, y, answers, mask)
        return self.among(embedded, embedded, mask), mask

    def read(self, query: torch.Tensor, encoded: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Represent each expert for each row; as in :class:`ContextMean`."""
        context, mask = encoded
        seen = self.across(self.query(query), context, mask)
        return seen * mask.any(1)[:, None, None]


class _Attention(nn.Module):
    """Multi-head attention of queries to contexts, with residual and LayerNorm."""

    def __init__(self, size: int, n_heads: int):
        super().__init__()
        if size % n_heads:
            raise ValueError(
                f"embedding_size={size} is not a multiple of n_heads={n_heads}; expected a size "
                "that the heads share evenly, such as 128 with 8 heads."
            )
        self.n_heads = n_heads
        self.query, self.key, self.value, self.out = (nn.Linear(size, size) for _ in range(4))
        self.norm = nn.LayerNorm(size)

    def forward(
        self, query: torch.Tensor, context: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Attend from (E, Q, size), or (Q, size) for all E, to (E, C, size) where the mask is."""
        n_experts = len(context)
        heads = self._heads(self.query(query))
        heads = heads.expand(n_experts, *heads.shape[-3:])
        # Attention to nothing is not defined; the caller sets it to 0 where it matters.
        mask = mask | ~mask.any(1, keepdim=True)
        seen = F.scaled_dot_product_attention(
            heads,
            self._heads(self.key(context)),
            self._heads(self.value(context)),
            attn_mask=mask[:, None, None],
        )
        return self.norm(query + self.out(seen.transpose(-3, -2).flatten(-2)))

    def _heads(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)


class ContextDrawer:
    """Gives the contexts of a training batch.

    Parameters
    ----------
    X, y, codes : Tensors of shape (n_rows, ...), (n_rows,) and (n_rows, n_experts)
        All training rows, their classes and the answers, negative where they are no class.
    n_classes : int
        The number of classes.
    draw_rows : callable
        Gives positions of rows and a mask, both (n_experts, n_most), for an array of rows that
        must not be among them.
    """

    def __init__(
        self,
        X: torch.Tensor,
        y: torch.Tensor,
        codes: torch.Tensor,
        n_classes: int,
        draw_rows: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    ):
        self.X, self.y, self.draw_rows = X, y, draw_rows
        self.answers = torch.where(codes < 0, n_classes, codes)

    def __call__(self, query: torch.Tensor) -> Contexts:
        """Draw for a batch, given the positions of its rows."""
        drawn = self.draw_rows(query.cpu().numpy())
        rows, mask = (torch.from_numpy(a).to(query.device) for a in drawn)
        shared, places = rows[mask].unique(return_inverse=True)
        answers = self.answers[rows, torch.arange(len(rows), device=rows.device)[:, None]]
        places = torch.zeros_like(rows).masked_scatter(mask, places)
        return Contexts(self.X[shared], places, self.y[rows], answers, mask)


def population_loss(
    surrogate: Callable[..., torch.Tensor],
    scores: torch.Tensor,
    defer: torch.Tensor,
    y: torch.Tensor,
    codes: torch.Tensor,
    missing: torch.Tensor,
) -> torch.Tensor:
    """Average the loss of one expert over those who answered the row.

    Parameters
    ----------
    surrogate : callable
        ``lce_loss``, say.
    scores : Tensor of shape (n_rows, n_classes)
        Logits of the classes.
    defer : Tensor of shape (n_experts, n_rows) or (1, n_rows)
        Logits of handing over.
    y : int Tensor of shape (n_rows,)
        The true class.
    codes : int Tensor of shape (n_rows, n_experts)
        The answers.
    missing : bool Tensor of shape (n_rows, n_experts)
        Where there is none. A row that nobody answered still has a class to learn.

    Returns
    -------
    loss : Tensor of shape (n_rows,)
    """
    codes, missing = codes.T, missing.T
    right = (codes == y).to(scores.dtype).masked_fill(missing, torch.nan)
    scores = scores.expand(len(codes), -1, -1)
    scores = torch.cat([scores, defer.expand_as(right)[..., None]], -1)
    losses = surrogate(scores, y, right[..., None])
    counted = (~missing | missing.all(0)).to(scores.dtype)
    return (losses * counted).sum(0) / counted.sum(0)


class PopulationNet(nn.Module):
    """A classifier, and one rejector for whatever expert, seen or not.

    Parameters
    ----------
    backbone : Module
        Turns rows into features of shape (n_rows, n_features).
    n_features : int
        The number of those features.
    n_classes : int
        The number of classes.
    rejector_hidden_layer_sizes : sequence of int
        Of the MLP that scores a hand-over from the features and the expert's representation.
    encoder : ContextMean, ContextAttention or None, default=None
        Makes the representation. None: the rejector reads the features alone, and is the same
        for all experts.
    """

    def __init__(
        self,
        backbone: nn.Module,
        n_features: int,
        n_classes: int,
        rejector_hidden_layer_sizes: Any,
        encoder: ContextMean | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(n_features, n_classes)
        self.encoder = encoder
        size = 0 if encoder is None else encoder.mlp.n_outputs
        self.rejector = MLP(n_features + size, rejector_hidden_layer_sizes, 1)

    def class_scores(self, X: torch.Tensor) -> torch.Tensor:
        """Logits of the classes, shape (n_rows, n_classes)."""
        return self.classifier(self.backbone(X))

    def encode(self, contexts: Contexts | None) -> Any:
        """Read past answers, for :meth:`forward`; their features pass no gradient back."""
        if self.encoder is None or contexts is None:
            return None
        features = self._past_features(contexts.X)[contexts.rows]
        return self.encoder(features, contexts.y, contexts.answers, contexts.mask)

    def _past_features(self, X: torch.Tensor) -> torch.Tensor:
        if not len(X):  # nobody knows anything: padding points at a row all the same
            return self.classifier.weight.new_zeros((1, self.classifier.in_features))
        # As they will be when the network serves: no dropout, BatchNorm's running moments,
        # which stay what the queries made them.
        with evaluating(self.backbone):
            return torch.cat([self.backbone(block) for block in X.split(_BLOCK)])

    def forward(self, X: torch.Tensor, encoded: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Score classes and hand-overs.

        Parameters
        ----------
        X : Tensor of shape (n_rows, ...)
            The rows.
        encoded : what ``encode`` gave, default=None
            The experts; not read without an encoder.

        Returns
        -------
        scores : Tensor of shape (n_rows, n_classes)
            Logits of the classes.
        defer : Tensor of shape (n_experts, n_rows), or (1, n_rows) without an encoder
            Logits of handing over.
        """
        features = self.backbone(X)
        read = features[None]
        if self.encoder is not None:
            expert = self.encoder.read(features, encoded)
            read = torch.cat([read.expand(len(expert), -1, -1), expert], -1)
        return self.classifier(features), self.rejector(read).squeeze(-1)
