"""Rows of any container: how many, which content, some of them, without some columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from skdefer.utils._validation import is_missing

_EXACT_IN_FLOAT64 = 2**53


def count_rows(X: Any) -> int:
    """Count the rows of an array, a frame, a sparse matrix or a list."""
    return int(_num_samples(X))


def check_rows(X: Any) -> int:
    """Count the rows; an error if there is none."""
    n_rows = count_rows(X)
    if n_rows == 0:
        raise ValueError("X has 0 rows; expected at least one. Look for a filter that leaves none.")
    return n_rows


def check_same_order(answers: Any, X: Any, name: str = "X") -> None:
    """Refuse a pandas table of answers that has the index of ``X`` in another order.

    Answers are matched by position, as everywhere in scikit-learn; such an index says that
    they were meant by name.
    """
    if not (hasattr(answers, "iloc") and hasattr(X, "iloc")) or len(answers) != len(X):
        return
    if answers.index.equals(X.index) or not (answers.index.is_unique and X.index.is_unique):
        return
    if answers.index.difference(X.index).empty:
        raise ValueError(
            f"The index of expert_predictions is that of {name} in another order, but answers are "
            f"matched by position. Pass expert_predictions.loc[{name}.index], or an array if "
            "positions are meant."
        )


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Take rows by position or mask; the container stays what it was, if sparse then CSR."""
    if X is None:
        return None
    rows = np.asarray(rows)
    (X,) = indexable(X)  # some containers can't be sliced as they are: COO, array-likes
    return _safe_indexing(X, np.flatnonzero(rows) if rows.dtype == bool else rows)


def drop_columns(X: Any, columns: Sequence[str]) -> Any:
    """Take ``X`` without those of ``columns`` that it has; ``X`` itself if it has none."""
    present = [c for c in columns if c in getattr(X, "columns", ())]
    if not present:
        return X
    return X.drop(columns=present) if hasattr(X, "iloc") else X.drop(present)


def row_keys(X: Any, *, salt: str = "") -> np.ndarray:
    """Digest the content of every row, the same in every batch and every process.

    Numbers count by value, not by dtype, and all missing values are one. In a frame the names
    and the order of the columns belong to the content, the index does not.

    Parameters
    ----------
    X : array-like, sparse matrix, DataFrame, Series or list of length n_rows
        Rows of numbers, text or both.
    salt : str, default=""
        Changes every digest: a seed.

    Returns
    -------
    keys : ndarray of shape (n_rows,), dtype 'S32'
        128-bit digests as hexadecimal characters.
    """
    digests = (
        blake2b(row, digest_size=16, salt=salt.encode()[:16]).hexdigest() for row in _row_bytes(X)
    )
    return np.fromiter(digests, dtype="S32", count=count_rows(X))


def _row_bytes(X: Any) -> Iterable[bytes]:
    if sparse.issparse(X):
        return _sparse_bytes(sparse.csr_array(X, copy=True))
    head = b""
    if hasattr(X, "columns"):
        head = repr([str(name) for name in X.columns]).encode()
        columns = X.items() if hasattr(X, "iloc") else ((c, X[c]) for c in X.columns)
        blocks = [column.to_numpy()[:, None] for _, column in columns]
        blocks = blocks or [np.empty((count_rows(X), 0))]
    else:
        array = array_of_rows(X)
        blocks = [array.reshape(len(array), math.prod(array.shape[1:]))]
    numbers, texts = zip(*map(_encode, blocks), strict=True)
    rows = np.ascontiguousarray(np.column_stack(numbers))
    if all(t is None for t in texts):
        return (head + row.tobytes() for row in rows)
    # Which cells are text stands in the list, so "1" and 1 are different contents.
    filled = [np.full(n.shape, None) if t is None else t for n, t in zip(numbers, texts)]
    notes = [row.tolist() for row in np.column_stack(filled)]
    return (
        head + row.tobytes() + (repr(note).encode() if any(note) else b"")
        for row, note in zip(rows, notes, strict=True)
    )


def _sparse_bytes(X: Any) -> Iterable[bytes]:
    X.sum_duplicates()
    X.eliminate_zeros()
    values = _encode(X.data)[0]
    return (
        X.indices[start:stop].astype(np.int64).tobytes() + values[start:stop].tobytes()
        for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True)
    )


def array_of_rows(rows: Any) -> np.ndarray:
    """Make an array of any container; a list of texts is a column of objects, however long."""
    if hasattr(rows, "to_numpy"):
        return rows.to_numpy()
    if isinstance(rows, np.ndarray):
        return rows
    rows = list(rows)
    if rows and isinstance(rows[0], (list, tuple, np.ndarray)):
        with suppress(ValueError):  # rows of different lengths
            array = np.asarray(rows)
            return np.asarray(rows, dtype=object) if array.dtype.kind in "US" else array
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def _encode(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Split cells into numbers, NaN where missing, and texts, None where a number says it all."""
    if cells.dtype.kind in "biuf":
        numbers = cells.astype(np.float64) + 0.0  # -0.0 becomes 0.0
        numbers[np.isnan(numbers)] = np.nan  # a NaN has a sign, too
        if cells.dtype.kind not in "iu" or (np.abs(numbers) < _EXACT_IN_FLOAT64).all():
            return numbers, None
    missing = is_missing(cells)
    cells = cells.astype(object)
    numbers = np.where(missing, np.nan, 0.0)
    texts = np.full(cells.shape, None)
    for at in zip(*np.nonzero(~missing), strict=True):
        value = cells[at].tolist() if hasattr(cells[at], "tolist") else cells[at]
        if _is_float(value):
            numbers[at] = float(value) + 0.0
        else:
            texts[at] = f"{type(value).__name__}:{value}"
    return numbers, texts


def _is_float(value: Any) -> bool:
    """Whether a number is exactly a float; integers beyond 2**53 often are not."""
    try:
        return isinstance(value, Real) and float(value) == value
    except OverflowError:
        return False
