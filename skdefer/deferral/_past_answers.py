"""Past answers with their rows: what is kept of them, and contexts drawn from them afresh."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdefer.utils._validation import MISSING, check_answers, encode_answers

_REFILL = 64  # draws after which other rows are looked among
_POOL = 16  # times the context size: rows per expert among which contexts are looked for


@dataclass
class Record:
    """What one expert said of c rows; the rows themselves may be shared with other experts."""

    X: np.ndarray  # (n_rows, ...)
    rows: np.ndarray  # (c,), positions in X
    y: np.ndarray  # (c,), positions in classes_
    codes: np.ndarray  # (c,), positions in classes_, or OUT_OF_LABELS


def first_rows(free: np.ndarray, sizes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Take the first rows that are free to each expert.

    Parameters
    ----------
    free : ndarray of bool of shape (n_rows, n_experts)
        Which rows each may take.
    sizes : int or ndarray of int of shape (n_experts,)
        The most rows that each takes.

    Returns
    -------
    rows : ndarray of int of shape (n_experts, n_most)
        Positions, padded by 0 to the largest number taken, and to one at least.
    mask : ndarray of bool of shape (n_experts, n_most)
        False where padded.
    """
    rank = free.cumsum(axis=0)
    at, expert = np.nonzero(free & (rank <= sizes))
    place = rank[at, expert] - 1
    shape = free.shape[1], place.max(initial=0) + 1
    rows, mask = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=bool)
    rows[expert, place], mask[expert, place] = at, True
    return rows, mask


class RecordSampler:
    """Draws contexts afresh from what each expert of ``fit`` has answered.

    One order of the rows is drawn for all experts, and each takes the first of those that it
    has answered: a random subset of its record, of random size from 0 to ``context_size``.
    So contexts of experts who answered the same rows overlap, and the backbone sees few rows.

    Parameters
    ----------
    codes : ndarray of int of shape (n_rows, n_experts)
        The answers; ``MISSING`` where there is none.
    context_size : int
        The most answers of a context.
    seed : int
        Of the draws.
    """

    def __init__(self, codes: np.ndarray, context_size: int, seed: int):
        self.answered = codes != MISSING
        self.context_size = context_size
        self._rng = np.random.default_rng(seed)
        self._n_drawn = 0

    def draw(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw one context per expert.

        Parameters
        ----------
        query : ndarray of int of shape (n_queries,)
            Rows that no context may have.

        Returns
        -------
        rows : ndarray of int of shape (n_experts, n_most)
            Positions of rows, padded to the largest context, and to one at least.
        mask : ndarray of bool of shape (n_experts, n_most)
            False where padded.
        """
        if self._n_drawn % _REFILL == 0:
            self._pool = self._refill()
        self._n_drawn += 1
        order = self._rng.permutation(self._pool)
        asked = np.zeros(len(self.answered), dtype=bool)
        asked[query] = True
        free = self.answered[order] & ~asked[order, None]
        most = np.minimum(free.sum(axis=0), self.context_size)
        rows, mask = first_rows(free, self._rng.integers(most, endpoint=True))
        return (order[rows] if len(order) else rows), mask

    def _refill(self) -> np.ndarray:
        """Choose the rows to look among: on large data all of them would take too long."""
        order = self._rng.permutation(len(self.answered))
        answered = self.answered[order]
        early = answered.cumsum(axis=0) <= _POOL * self.context_size
        return order[(answered & early).any(axis=1)]


def by_content(codes: np.ndarray) -> np.ndarray:
    """Order experts by what they said, so that sums over them don't depend on their order."""
    columns = np.ascontiguousarray(codes.T, dtype=np.int64)
    return np.argsort([zlib.crc32(column.tobytes()) for column in columns], kind="stable")


def most_frequent(codes: np.ndarray, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Find the most frequent answer to each row, ties at random.

    Parameters
    ----------
    codes : ndarray of int of shape (n_rows, n_experts)
        Positions in the classes, or negative.
    n_classes : int
        The number of classes.
    rng : Generator
        Breaks the ties; one draw per row and class, so that the order of the experts makes no
        difference.

    Returns
    -------
    codes : ndarray of int of shape (n_rows,)
        A negative code only where no answer is a class.
    """
    votes = np.zeros((len(codes), n_classes))
    for column in codes.T:
        voted = np.flatnonzero(column >= 0)
        votes[voted, column[voted]] += 1.0
    winner = (votes + 0.5 * rng.random(votes.shape)).argmax(axis=1)
    return np.where(votes.any(axis=1), winner, codes.min(axis=1))


def keep_records(
    X: np.ndarray,
    y: np.ndarray,
    codes: np.ndarray,
    context_size: int,
    rng: np.random.Generator,
) -> list[Record]:
    """Keep a random part of what each expert answered: at most ``context_size`` rows.

    Parameters
    ----------
    X : ndarray of shape (n_rows, ...)
        The rows.
    y : ndarray of int of shape (n_rows,)
        The truth.
    codes : ndarray of int of shape (n_rows, n_experts)
        The answers.
    context_size : int
        The most rows of one expert.
    rng : Generator
        Draws one order of the rows, from which every expert takes the first of its own.

    Returns
    -------
    records : list of Record
        One per expert; they share one array of rows.
    """
    order = rng.permutation(len(y))
    first, mask = first_rows(codes[order] != MISSING, context_size)
    first = order[first]
    shared = np.unique(first[mask])
    pool = X[shared]
    records = []
    for j, rows in enumerate(row[there] for row, there in zip(first, mask)):
        records.append(Record(pool, np.searchsorted(shared, rows), y[rows], codes[rows, j]))
    return records


def read_record(
    expert_predictions: Any,
    y: Any,
    X: np.ndarray,
    classes: np.ndarray,
    row_shape: tuple[int, ...],
) -> Record:
    """Read a context whose answers and labels have been checked; rows without answer go.

    Parameters
    ----------
    expert_predictions, y : array-like of shape (n_rows,)
        The answers and the truth.
    X : ndarray of shape (n_rows, ...)
        The rows.
    classes : ndarray of shape (n_classes,)
        The classes.
    row_shape : tuple of int
        Shape of the rows of ``fit``.

    Returns
    -------
    record : Record
        With rows of its own.
    """
    if X.shape[1:] != row_shape:
        raise ValueError(
            f"X has rows of shape {X.shape[1:]}; expected {row_shape}, the shape of those in fit."
        )
    codes = encode_answers(check_answers(expert_predictions, len(X))[0][:, 0], classes)
    there = np.flatnonzero(codes != MISSING)
    truth = encode_answers(np.asarray(y), classes)
    return Record(X[there], np.arange(len(there)), truth[there], codes[there])


def nothing_known() -> Record:
    """Make the record of an expert who has answered nothing."""
    return Record(np.zeros(0), *np.zeros((3, 0), dtype=np.intp))


def pad_records(
    records: Sequence[Record], n_classes: int, row_shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """Bring records of several experts to arrays of equal length.

    Parameters
    ----------
    records : sequence of Record
        One per expert.
    n_classes : int
        The number of classes, and the code of an answer that is none of them.
    row_shape : tuple of int
        Shape of a row of X.

    Returns
    -------
    X : ndarray of shape (n_rows, ...)
        All rows, those that experts share once.
    rows, y, answers : ndarrays of int of shape (n_experts, n_most)
        Positions in X, truth and answers, padded by 0 to the longest record.
    mask : ndarray of bool of shape (n_experts, n_most)
        False where padded.
    """
    shape = len(records), max(1, *(len(record.rows) for record in records))
    rows, y, answers = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    mask = np.zeros(shape, dtype=bool)
    pools = {id(record.X): record.X for record in records if len(record.rows)}
    ends = np.cumsum([0, *map(len, pools.values())]).tolist()
    starts = dict(zip(pools, ends))
    for j, record in enumerate(records):
        if len(record.rows):
            filled = slice(len(record.rows))
            rows[j, filled] = starts[id(record.X)] + record.rows
            y[j, filled] = record.y
            answers[j, filled] = np.where(record.codes < 0, n_classes, record.codes)
            mask[j, filled] = True
    X = np.concatenate(list(pools.values())) if pools else np.zeros((0, *row_shape))
    return X, rows, y, answers, mask
