"""Rows in batches: tensors in memory, or a dataset that is read as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from skdefer.utils._validation import check_weights

# Batches that are drawn at random before their rows are sorted by length. On the texts of css_llm,
# 32 a batch, 16 leave 7 % of padding, 50 leave 3 %, none 107 %; more would mix the rows less.
_SORTED_TOGETHER = 16


class RowBatches:
    """The rows of positive weight, once per epoch, in batches on the device.

    Parameters
    ----------
    data : tuple of tensors of equal length, or map-style Dataset of tuples
        The rows; tensors are moved to the device once, whole.
    sample_weight : array-like of shape (n_rows,) or None
        Weights of the rows.
    batch_size : int
        Rows per batch. One batch of all rows is not shuffled, and a last batch of one row
        joins the one before, since BatchNorm can't do with one.
    device : torch.device
        Where the batches go.
    dtype : torch.dtype
        Of the weights of the batches.
    lengths : array-like of shape (n_rows,), default=None
        Sizes of the rows, in tokens say: those of a batch are then of similar size. None: they
        are all equal.
    """

    def __init__(
        self,
        data: Any,
        sample_weight: Any,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype,
        lengths: Any = None,
    ):
        n_rows = _count_rows(data)
        weight = check_weights(sample_weight, n_rows)
        kept = torch.from_numpy(np.flatnonzero(weight))
        if not len(kept):
            raise ValueError(
                f"None of the {n_rows} rows has a weight above 0; expected at least one row to "
                "train on. Look at sample_weight."
            )
        weight = weight[weight > 0]
        self.n_rows = len(kept)
        self.device = device
        self.weight = None
        if not (weight == weight[0]).all():
            # Of mean 1 over all rows, not over a batch: a batch of heavy rows counts for more.
            scaled = torch.from_numpy(weight / weight.mean())
            self.weight = scaled.to(device=device, dtype=dtype)
        self.lengths = None if lengths is None else check_lengths(lengths, n_rows)[kept.numpy()]
        self.rows: torch.Tensor | None = None  # positions in the dataset
        if isinstance(data, tuple):
            if self.n_rows < n_rows:
                data = tuple(t.index_select(0, kept.to(t.device)) for t in data)
            data = tuple(t.to(device) for t in data)
        else:
            self.rows = kept
        self.data = data
        n_full, rest = divmod(self.n_rows, batch_size)
        self.sizes = [batch_size] * n_full + [rest] * (rest > 0)
        if rest == 1 and n_full:
            self.sizes[-2:] = [batch_size + 1]

    def epoch(self) -> Iterator[tuple[tuple[Any, ...], torch.Tensor | None]]:
        """Give (batch, weights of its rows or None) for all rows, in a new order."""
        batches = self._draw() if len(self.sizes) > 1 else None
        if self.rows is None:
            return self._from_memory(batches)
        return self._from_dataset(self.rows, batches or [torch.arange(self.n_rows)])

    def _draw(self) -> list[torch.Tensor]:
        """Draw which rows make each batch."""
        order = torch.randperm(self.n_rows)
        if self.lengths is None:
            return list(order.split(self.sizes))
        # Only neighbours in the random order are sorted, so that batches differ between epochs.
        # Then the batches come in random order: long rows would have the last say otherwise.
        block = np.arange(self.n_rows) // (_SORTED_TOGETHER * self.sizes[0])
        in_block = np.lexsort((self.lengths[order.numpy()], block))
        batches = order[torch.from_numpy(in_block)].split(self.sizes)
        return [batches[i] for i in torch.randperm(len(batches)).tolist()]

    def _from_memory(self, batches):
        if batches is None:
            yield self.data, self.weight
            return
        for rows in (b.to(self.device) for b in batches):
            batch = tuple(t.index_select(0, rows) for t in self.data)
            yield batch, None if self.weight is None else self.weight.index_select(0, rows)

    def _from_dataset(self, places, batches):
        loader = DataLoader(
            self.data,
            batch_sampler=[places[rows].tolist() for rows in batches],
            generator=torch.Generator(),  # its own: the loader would take from the seeded one
            pin_memory=self.device.type == "cuda",
        )
        for rows, batch in zip(batches, loader, strict=True):
            if not isinstance(batch, (list, tuple)):
                raise ValueError(
                    f"The items of the dataset give batches of type {type(batch).__name__}; "
                    "expected tuples of tensors or numbers. Return (x,) for a single one."
                )
            moved = tuple(t.to(self.device, non_blocking=True) for t in batch)
            weight = self.weight
            yield moved, None if weight is None else weight.index_select(0, rows.to(self.device))


def check_lengths(lengths: Any, n_rows: int) -> np.ndarray:
    """Bring sizes of rows to an array of shape (n_rows,); an error for another shape."""
    lengths = np.asarray(lengths)
    if lengths.shape != (n_rows,) or lengths.dtype.kind not in "iuf":
        raise ValueError(
            f"lengths is an array of {lengths.dtype}, shape {lengths.shape}; expected numbers of "
            f"shape ({n_rows},), the size of each row. Leave it out where all have one size."
        )
    return lengths


def _count_rows(data: Any) -> int:
    if isinstance(data, tuple):
        if not data or not all(isinstance(t, torch.Tensor) and t.ndim for t in data):
            kinds = [type(t).__name__ for t in data]
            raise ValueError(
                f"data is a tuple of {kinds}; expected tensors with an entry per row. Convert "
                "them with torch.as_tensor."
            )
        lengths = [len(t) for t in data]
        if len(set(lengths)) != 1:
            raise ValueError(
                f"The tensors of data have the lengths {lengths}; expected equal ones, an entry "
                "per row."
            )
        n_rows = lengths[0]
    elif not isinstance(data, Dataset) or not hasattr(data, "__len__"):
        raise ValueError(
            f"data is a {type(data).__name__}; expected a tuple of tensors, such as (X, y), or a "
            "torch.utils.data.Dataset with __getitem__ and __len__."
        )
    else:
        n_rows = len(data)
    if not n_rows:
        raise ValueError("data has no rows; expected at least one to train on.")
    return n_rows
