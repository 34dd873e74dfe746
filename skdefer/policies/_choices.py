"""What rows choose at given prices, and how far each is from choosing otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK = 1 << 14  # rows looked at together, to stay in the cache


@dataclass
class Choices:
    """The choices of rows at some prices; n rows, J experts."""

    chosen: np.ndarray  # (n, per_row), experts in rising order, -1 for none comes first
    first: np.ndarray  # (n,), the choice that is given up most easily; J is the model
    second: np.ndarray  # (n,), and for what
    margin: np.ndarray  # (n,), how much would be lost by that
    gain: float  # sum of the scores net of prices

    def load(self, n_experts: int, rows=slice(None)) -> np.ndarray:
        """Rows of each expert, shape (n_experts,)."""
        return np.bincount(self.chosen[rows].ravel() + 1, minlength=n_experts + 1)[1:].astype(float)


def blocks(n_rows: int) -> Iterator[slice]:
    """Slices of rows that are looked at together."""
    return (slice(i, i + _BLOCK) for i in range(0, n_rows, _BLOCK))


def choose(score: np.ndarray, price: np.ndarray, per_row: int) -> Choices:
    """Let each row choose its experts of greatest score less price, above 0.

    Parameters
    ----------
    score : ndarray of shape (n_rows, n_experts)
        -inf where an expert can't have the row.
    price : ndarray of shape (n_experts,)
        Finite.
    per_row : int
        The most experts per row.

    Returns
    -------
    choices : Choices
    """
    n_rows = len(score)
    found = Choices(
        np.empty((n_rows, per_row), dtype=np.intp),
        np.empty(n_rows, dtype=np.int32),
        np.empty(n_rows, dtype=np.int32),
        np.empty(n_rows),
        0.0,
    )
    choose_in_block = _choose_one if per_row == 1 else _choose_some
    for block in blocks(n_rows):
        part = choose_in_block(score[block] - price, per_row)
        for name in ("chosen", "first", "second", "margin"):
            getattr(found, name)[block] = getattr(part, name)
        found.gain += part.gain
    return found


def _choose_one(net: np.ndarray, per_row: int) -> Choices:
    """One expert per row at the most: by far the most frequent, and quicker than a sort."""
    J, rows = net.shape[1], np.arange(len(net))
    best = net.argmax(axis=1)
    value = net[rows, best]
    net[rows, best] = -np.inf  # it is ours
    second = net.argmax(axis=1)
    other = np.maximum(net[rows, second], 0)
    taken = value > 0
    chosen = np.where(taken, best, -1)[:, None]
    second = np.where(taken & (other > 0), second, J)
    margin = np.where(taken, value - np.where(taken, other, 0), -value)
    return Choices(chosen, best, second, margin, float(value[taken].sum()))


def _choose_some(net: np.ndarray, per_row: int) -> Choices:
    (n_rows, J), m = net.shape, min(per_row, net.shape[1])
    padded = np.column_stack([net, np.full(n_rows, -np.inf)])  # there may be no other expert
    top = np.argpartition(padded, J - m, axis=1)[:, J - m :]
    value = np.take_along_axis(padded, top, axis=1)
    order = np.argsort(-value, axis=1, kind="stable")
    top, value = np.take_along_axis(top, order, axis=1), np.take_along_axis(value, order, axis=1)
    chosen = np.full((n_rows, per_row), -1)
    chosen[:, :m] = np.where(value[:, :m] > 0, top[:, :m], -1)
    full, other = value[:, m - 1] > 0, np.maximum(value[:, m], 0)
    nearest = np.abs(net).argmin(axis=1)  # to the model's 0
    first = np.where(full, top[:, m - 1], nearest)
    second = np.where(full & (other > 0), top[:, m], J)
    lost = np.where(full, value[:, m - 1] - np.where(full, other, 0), 0)
    margin = np.where(full, lost, np.abs(net[np.arange(n_rows), nearest]))
    gain = float(np.maximum(value[:, :m], 0).sum())
    return Choices(np.sort(chosen, axis=1), first, second, margin, gain)


def near_rows(choices: Choices, n_nodes: int, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows that are nearest to another choice, some from and to each node.

    Scores of experts may differ widely in scale, and so do the margins that matter.

    Parameters
    ----------
    choices : Choices
        Of all rows.
    n_nodes : int
        Experts, and the model last.
    wanted : ndarray of shape (n_nodes,)
        How many rows from and to each node, as far as there are.

    Returns
    -------
    rows : ndarray of int
        In rising order.
    width : ndarray of shape (n_nodes,)
        The greatest margin among the rows found for each node.
    """
    margin, width = choices.margin, np.full(n_nodes, np.nan)
    for node in range(n_nodes):
        near = margin[(choices.first == node) | (choices.second == node)]
        near = near[np.isfinite(near)]
        k = min(int(wanted[node]), len(near))
        if k:
            width[node] = np.partition(near, k - 1)[k - 1]
    known = width[width > 0]
    width[~(width > 0)] = known.min() if len(known) else 0.0
    rows = margin <= np.maximum(width[choices.first], width[choices.second])
    return np.flatnonzero(rows), width


def slope(choices: Choices, rows: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Estimate how loads answer to prices, from the rows near to another choice.

    Returns
    -------
    slope : ndarray of shape (n_experts, n_experts)
        How much each expert's load falls with each price: the Laplacian of a graph, whose
        edges count rows between two nodes, per unit of price.
    """
    n = len(width)
    first, second = choices.first[rows], choices.second[rows]
    weight = 0.5 / np.maximum(np.maximum(width[first], width[second]), np.finfo(float).tiny)
    pairs = np.bincount(first * n + second, weight, minlength=n * n).reshape(n, n)
    pairs += pairs.T
    pairs[np.diag_indices(n)] = 0
    laplacian = np.diag(pairs.sum(axis=1)) - pairs
    # Nobody's load is taken to be fixed.
    laplacian[np.diag_indices(n)] += 0.25 / np.maximum(width, np.finfo(float).tiny)
    return laplacian[:-1, :-1]
