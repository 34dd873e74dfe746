"""What turns rows into features: an MLP, or a network of the user's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from skdefer.neural._modules import MLP
from skdefer.utils._rows import count_rows


def prepare_backbone(
    backbone: nn.Module | None,
    hidden_layer_sizes: Sequence[int],
    rows: np.ndarray,
    dtype: torch.dtype,
) -> tuple[nn.Module, int, torch.dtype]:
    """Make an MLP, or copy the user's network, and find out what it gives.

    Parameters
    ----------
    backbone : Module or None
        The user's network, which stays as it is; None: an MLP.
    hidden_layer_sizes : sequence of int
        Layers of the MLP.
    rows : ndarray of shape (n_rows, ...)
        A few rows to try it on; integers, such as tokens, stay integers.
    dtype : torch.dtype
        Precision of an MLP, and of a network without parameters.

    Returns
    -------
    backbone : Module
        On the CPU.
    n_features : int
        Numbers that it gives of a row.
    dtype : torch.dtype
        The precision of its features.

    Raises
    ------
    ValueError
        If it can't read the rows, or gives no row of numbers for each.
    """
    if backbone is None:
        made = MLP(rows.shape[1], hidden_layer_sizes)
        return made, made.n_outputs, dtype
    if not isinstance(backbone, nn.Module):
        raise ValueError(
            f"backbone is {backbone!r}; expected a torch Module. Make one: backbone=MyNetwork()."
        )
    backbone = copy.deepcopy(backbone).cpu()
    dtype = next((p.dtype for p in backbone.parameters()), dtype)
    tried = torch.from_numpy(rows)
    with torch.no_grad():
        try:
            features = backbone.eval()(tried.to(dtype) if tried.is_floating_point() else tried)
        except Exception as error:
            raise ValueError(
                f"backbone, a {type(backbone).__name__}, fails on rows of shape "
                f"{rows.shape[1:]}: {error}. Pass X in the shape that it reads."
            ) from error
    if features.ndim != 2:
        raise ValueError(
            f"backbone gives features of shape {tuple(features.shape)} for {len(rows)} rows; "
            f"expected ({len(rows)}, n_features). Flatten or pool them in the module."
        )
    if not features.is_floating_point():
        raise ValueError(
            f"backbone gives features of {features.dtype}; expected floats. Call .float() on them."
        )
    return backbone, features.shape[1], features.dtype


def encode_rows(backbone: Any, X: Any) -> np.ndarray:
    """Let a backbone that reads raw rows, such as texts, bring them to an array.

    Parameters
    ----------
    backbone : Module with a method ``encode``
        It gives an array of shape (n_rows, ...), of floats or of integers (tokens).
    X : the rows
        Whatever it reads.

    Returns
    -------
    rows : ndarray of shape (n_rows, ...)

    Raises
    ------
    ValueError
        If the array has not one entry per row.
    """
    rows = np.asarray(backbone.encode(X))
    if rows.shape[:1] != (count_rows(X),) or rows.dtype.kind not in "iuf":
        raise ValueError(
            f"The encode of backbone, a {type(backbone).__name__}, made an array of {rows.dtype}, "
            f"shape {rows.shape}, of {count_rows(X)} rows; expected numbers, an entry per row."
        )
    return rows
