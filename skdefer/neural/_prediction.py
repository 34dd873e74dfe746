"""What a trained network says, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from skdefer.neural._batches import check_lengths
from skdefer.neural._device import resolve_device


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode without gradients, then back as each part was."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


def predict_in_batches(
    module: Callable[..., torch.Tensor],
    *tensors: Any,
    batch_size: int = 4096,
    device: Any = None,
    lengths: Any = None,
) -> np.ndarray:
    """Apply a network to many rows, a block at a time.

    Parameters
    ----------
    module : nn.Module, or function of tensors
        Gives a tensor with one entry per row. A network is used in evaluation mode and then
        put back in the mode it was in; a function sees to the modes of what it calls.
    *tensors : tensors or arrays of equal length
        What ``module`` is called with; at least one.
    batch_size : int, default=4096
        Rows at a time; the memory needed, besides the result, grows with it alone.
    device : as in :func:`resolve_device`, default=None
        Where to compute; a network elsewhere is moved there. None: where the network is (a
        function computes where the tensors are).
    lengths : array-like of shape (n_rows,), default=None
        Sizes of the rows, in tokens say: rows of similar size are then computed together, the
        longest first, so that memory that does not suffice is found out at once.

    Returns
    -------
    outputs : ndarray of shape (n_rows, ...)
        In the dtype of the outputs.

    Raises
    ------
    ValueError
        If the tensors differ in length, there is none, or the outputs are not one per row.

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.neural import MLP, predict_in_batches
    >>> network = MLP(4, (8,), 3)
    >>> predict_in_batches(network, np.zeros((10, 4), dtype=np.float32), batch_size=3).shape
    (10, 3)
    """
    n_rows = [len(tensor) for tensor in tensors]
    if len(set(n_rows)) != 1:
        raise ValueError(
            f"The inputs have the lengths {n_rows}; expected one or more inputs of equal length, "
            "an entry per row."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; expected a positive number of rows.")
    if device is not None:
        device = resolve_device(device)
    blocks = _blocks(n_rows[0], batch_size, lengths)
    if not isinstance(module, nn.Module):
        with torch.no_grad():
            return _predict(module, tensors, blocks, device)
    if device is not None:
        module.to(device)
    else:
        weights = next((t for t in (*module.parameters(), *module.buffers())), None)
        device = None if weights is None else weights.device
    with evaluating(module):
        return _predict(module, tensors, blocks, device)


def _blocks(n_rows: int, batch_size: int, lengths: Any) -> list[Any]:
    """Say which rows to compute together."""
    starts = range(0, max(n_rows, 1), batch_size)  # no rows: one empty block
    if lengths is None:
        return [slice(start, start + batch_size) for start in starts]
    longest_first = np.argsort(check_lengths(lengths, n_rows), kind="stable")[::-1].copy()
    return [longest_first[start : start + batch_size] for start in starts]


def _predict(
    function: Callable[..., torch.Tensor],
    tensors: tuple[Any, ...],
    blocks: list[Any],
    device: torch.device | None,
) -> np.ndarray:
    outputs: np.ndarray | None = None
    for rows in blocks:
        batch = [_as_tensor(t[rows], device) for t in tensors]
        block = function(*batch).detach().cpu().numpy()
        if block.shape[:1] != (len(batch[0]),):
            raise ValueError(
                f"{len(batch[0])} rows gave outputs of shape {block.shape}; expected one entry "
                "per row. Look at the network's last layer."
            )
        if outputs is None:
            outputs = np.empty((len(tensors[0]), *block.shape[1:]), dtype=block.dtype)
        outputs[rows] = block
    assert outputs is not None
    return outputs


def _as_tensor(block: Any, device: torch.device | None) -> torch.Tensor:
    # torch takes no array with negative strides, and warns of one that can't be written to.
    if isinstance(block, np.ndarray) and not (block.flags.writeable and block.flags.c_contiguous):
        block = block.copy()
    return torch.as_tensor(block, device=device)
