"""Rows of any container: how many, which content, some of them, without some columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
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


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Take rows by position or mask; the container stays what it was."""
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

    Numbers count by value, not by dtype. In a frame the names and the order of the
    columns belong to the content, the index does not.

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
        X = sparse.csr_array(X, copy=True)
        X.sum_duplicates()
        X.eliminate_zeros()
        values = X.data.astype(np.float64)
        return (
            X.indices[start:stop].astype(np.int64).tobytes() + values[start:stop].tobytes()
            for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True)
        )
    if hasattr(X, "columns"):
        return _frame_bytes(X)
    array = X.to_numpy() if hasattr(X, "to_numpy") else X
    if not isinstance(array, np.ndarray):
        array = _array_of_rows(array)
    numbers = _as_numbers(array.reshape(len(array), -1))
    if numbers is not None:
        return (row.tobytes() for row in numbers)
    return (_text(row.tolist()).encode() for row in array.reshape(len(array), -1))


def _array_of_rows(rows: Any) -> np.ndarray:
    """Keep a list of texts a column of objects, whatever their lengths."""
    if len(rows) and isinstance(rows[0], (list, tuple, np.ndarray)):
        return np.asarray(rows)
    array = np.empty(len(rows), dtype=object)
    array[:] = list(rows)
    return array


def _as_numbers(array: np.ndarray) -> np.ndarray | None:
    """Bring numbers to one dtype, so that 1 and 1.0 are one content; None for the rest."""
    if array.dtype.kind not in "biuf":
        return None
    if array.dtype.kind in "iu" and array.size and np.abs(array).max() >= _EXACT_IN_FLOAT64:
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(array, dtype=np.float64) + 0.0  # -0.0 becomes 0.0


def _frame_bytes(X: Any) -> Iterable[bytes]:
    names = "\x1f".join(str(c) for c in X.columns)
    numeric, other = [], []
    for name in X.columns:
        column = X[name].to_numpy()
        numbers = _as_numbers(column) if column.dtype.kind in "biuf" else None
        if numbers is not None:
            numeric.append(numbers)
        else:
            other.append(np.where(is_missing(column), None, column.astype(object)))
    head = names.encode()
    blocks = (
        [row.tobytes() for row in np.column_stack(numeric)] if numeric else [b""] * count_rows(X)
    )
    if not other:
        return (head + block for block in blocks)
    texts = (_text(list(row)).encode() for row in zip(*other, strict=True))
    return (head + block + text for block, text in zip(blocks, texts, strict=True))


def _text(values: list[Any]) -> str:
    # The type stands before the value: "1" and 1 are different contents.
    return "\x1f".join(f"{type(v).__name__}:{v}" for v in values)
