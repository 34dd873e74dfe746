"""Rows that taught an estimator nothing: held out by content, and told from those that did."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state, indexable

from skdefer.utils._rows import array_of_rows, row_keys

_LARGEST = 1e300  # integers may be larger than any float


def salt_of(random_state: Any) -> str:
    """Make a seed of row digests; None is a seed like any other, so that fits repeat."""
    if random_state is None or isinstance(random_state, (int, np.integer)):
        return str(random_state or 0)
    return str(check_random_state(random_state).randint(2**31))


def row_digests(X: Any, salt: str = "") -> np.ndarray:
    """Digest the content of every row, whatever container or names it comes with.

    Parameters
    ----------
    X : the rows
    salt : str, default=""
        Changes every digest.

    Returns
    -------
    digests : ndarray of shape (n_rows,), dtype 'S32'
    """
    (X,) = indexable(X)  # array-likes become arrays
    return row_keys(X.to_numpy() if hasattr(X, "columns") else X, salt=salt)


def copies_are_common(digests: np.ndarray) -> bool:
    """Whether equal rows are a matter of few values, not of rows that came twice.

    They are where there are in effect fewer contents (by Kish's number, the squared sum of the
    copies over the sum of their squares) than a quarter of the rows.
    """
    copies = np.unique(digests, return_counts=True)[1]
    return len(digests) / np.square(copies).sum() * len(digests) < len(digests) / 4


def draw_rows(X: Any, groups: Any, fraction: float, salt: str) -> np.ndarray:
    """Choose a share of the rows by a digest of their content.

    Parameters
    ----------
    X : the rows
    groups : array-like of shape (n_rows,) or None
        Whole groups are chosen then.
    fraction : float
        Share of the rows, or of the groups; one at least.
    salt : str
        Another one chooses others.

    Returns
    -------
    chosen : ndarray of bool of shape (n_rows,)
        The same ones in any order of the rows. Copies of a row go together, unless they are
        common: few contents would then stand for all.
    """
    digests = row_digests(X if groups is None else np.asarray(groups).reshape(-1, 1), salt)
    if groups is None and copies_are_common(digests):
        unit = np.empty(len(digests), dtype=np.intp)
        shuffled = np.random.default_rng(list(salt.encode())).permutation(len(digests))
        unit[np.argsort(digests, kind="stable")] = shuffled
    else:
        unit = np.unique(digests, return_inverse=True)[1]
    return unit < max(1, round(fraction * (unit.max() + 1)))


def leave_each_class(chosen: np.ndarray, y: np.ndarray, groups: Any = None) -> np.ndarray:
    """Give a row, or its whole group, back of each class all of whose rows were chosen."""
    chosen = chosen.copy()
    codes = np.unique(y, return_inverse=True)[1]
    lost = np.setdiff1d(codes, codes[~chosen])
    back = np.unique(codes, return_index=True)[1][lost]
    if groups is not None:
        groups = np.asarray(groups)
        back = np.isin(groups, groups[back])
    chosen[back] = False
    return chosen


class TaughtRows:
    """Remembers rows by digests, to tell them from rows that are new.

    Parameters
    ----------
    X : the rows that taught
    index : index or None
        Their labels, if these say which row is which.
    groups : array-like of shape (n_rows,), default=None
        Rows of these groups are known, too.
    without : collection of str, default=()
        Columns that are no content, such as those of answers.
    """

    def __init__(self, X: Any, index: Any, *, groups: Any = None, without: Collection[Any] = ()):
        names = list(getattr(X, "columns", ()))
        self._n_columns = len(names)
        self._columns = [(at, name) for at, name in enumerate(names) if name not in without]
        self._digests, copies = np.unique(self._digest(X), return_counts=True)
        self._share_of_copies = float(copies[copies > 1].sum() / copies.sum())
        self._index = index
        self._groups = None if groups is None else set(np.asarray(groups).tolist())

    @property
    def grouped(self) -> bool:
        """Whether the rows that taught came in groups."""
        return self._groups is not None

    def find_groups(self, groups: Any) -> list[Any]:
        """List the groups that taught, in order of their first rows."""
        return [g for g in dict.fromkeys(np.asarray(groups).tolist()) if g in (self._groups or ())]

    def _digest(self, X: Any) -> np.ndarray:
        """Digest the columns that taught, in their order, numbers in single precision."""
        if sparse.issparse(X):
            rows = sparse.csr_array(X)
            rows.data = _in_single_precision(rows.data)
            return row_digests(rows)
        names = list(getattr(X, "columns", ()))
        if self._columns and all(name in names for _, name in self._columns):
            cells = [X[name].to_numpy() for _, name in self._columns]
        else:
            array = array_of_rows(X)
            alike = array.ndim == 2 and array.shape[1] == self._n_columns and self._columns
            cells = [array[:, at] for at, _ in self._columns] if alike else [array]
        if len(cells) > 1 or np.size(cells[0]) > len(cells[0]):  # one number alone is too coarse
            cells = [_in_single_precision(column) for column in cells]
        if any(column.dtype.kind == "O" for column in cells):
            cells = [column.astype(object) for column in cells]
        return row_digests(np.column_stack(cells) if len(cells) > 1 else cells[0])

    def find(self, X: Any) -> tuple[np.ndarray, str]:
        """Find rows that taught, and say how they are known.

        Parameters
        ----------
        X : rows that should be new

        Returns
        -------
        rows : ndarray of int
            Positions in ``X``, empty if all may be new. Where rows with equal content are
            common, as many of them are expected among new rows, too.
        how : str
            ``"the index"`` or ``"the content"`` of these rows.
        """
        index = index_of(X)
        if index is not None and self._index is not None:
            rows = np.flatnonzero(index.isin(self._index))
            if len(rows):
                return rows, "the index"
        digests = self._digest(X)
        rows = np.flatnonzero(np.isin(digests, self._digests))
        expected = self._share_of_copies * len(digests)
        if len(rows) > expected + 3 * np.sqrt(expected):
            return rows, "the content"
        return rows[:0], "the content"


def _in_single_precision(cells: np.ndarray) -> np.ndarray:
    """Round numbers, in cells of any kind, so that a narrower dtype changes nothing."""
    with np.errstate(over="ignore"):
        if cells.dtype.kind in "biuf":
            return cells.astype(np.float32)
        rounded = cells.astype(object)
        if cells.dtype.kind in "mM":  # times, as whole numbers
            return rounded
        flat = rounded.ravel().tolist()
        number = np.reshape([_is_number(cell) for cell in flat], rounded.shape).astype(bool)
        rounded[number] = rounded[number].astype(np.float32)
    return rounded


def _is_number(cell: Any) -> bool:
    kinds = (int, float, np.integer, np.floating)
    return isinstance(cell, kinds) and bool(abs(cell) < _LARGEST)


def index_of(X: Any) -> Any:
    """Take the index of a pandas container; None where it only counts the rows."""
    index = getattr(X, "index", None) if hasattr(X, "iloc") else None
    return None if type(index).__name__ == "RangeIndex" else index
