"""The network for numeric rows; any other torch module can stand in its place."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class MLP(nn.Module):
    """A stack of linear layers with ReLU after each hidden one.

    Parameters
    ----------
    n_inputs : int
        Width of the rows.
    hidden_layer_sizes : int or sequence of int
        Widths of the hidden layers. Empty: a linear map, or the rows as they are without
        ``n_outputs``.
    n_outputs : int, default=None
        Width of a last linear layer. None: the last hidden layer is the output, features
        for other modules to read.
    dropout : float, default=0.0
        Share of the hidden units set to 0 in training, in [0, 1).

    Attributes
    ----------
    n_inputs : int
        Width of the rows.
    n_outputs : int
        Width of what comes out.

    Raises
    ------
    ValueError
        For a width that is not a positive integer, a dropout outside [0, 1), or, when
        called, rows of another width.

    Examples
    --------
    >>> import torch
    >>> from skdefer.neural import MLP
    >>> MLP(4, (16, 8), 3)(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    >>> MLP(4, (16, 8)).n_outputs
    8
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_layer_sizes: int | Sequence[int],
        n_outputs: int | None = None,
        *,
        dropout: float = 0.0,
    ):
        super().__init__()
        if isinstance(hidden_layer_sizes, int):
            hidden_layer_sizes = (hidden_layer_sizes,)
        widths: list[Any] = [n_inputs, *hidden_layer_sizes]
        last: list[Any] = [] if n_outputs is None else [n_outputs]
        if not all(isinstance(w, numbers.Integral) and int(w) > 0 for w in widths + last):
            raise ValueError(
                f"The layers have the widths {widths + last}; expected positive integers. Look at "
                "hidden_layer_sizes."
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout!r}; expected a share in [0, 1), such as 0.1.")
        widths = [int(w) for w in widths]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers += [nn.Linear(widths[-1], int(w)) for w in last]
        self.layers = nn.Sequential(*layers)
        self.n_inputs = widths[0]
        self.n_outputs = int([*widths, *last][-1])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Map rows of shape (..., n_inputs) to (..., n_outputs).

        Parameters
        ----------
        X : tensor of shape (..., n_inputs)
            The rows.

        Returns
        -------
        outputs : tensor of shape (..., n_outputs)
            Unbounded (logits) with ``n_outputs``, else features.
        """
        if X.shape[-1:] != (self.n_inputs,):
            raise ValueError(
                f"The rows have the shape {tuple(X.shape)}; this MLP expects rows of "
                f"{self.n_inputs} numbers. Flatten them, or use a network made for such rows."
            )
        return self.layers(X)
