"""Rows as people see them: the content of a case, what tells it from others, and its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skdefer.experts._paid._prompt import read_states, read_texts
from skdefer.experts._queue._cases import Why
from skdefer.utils._rows import array_of_rows, row_keys


class Rows(NamedTuple):
    """Rows as they go on the list.

    Parameters
    ----------
    keys : list of bytes
        Digests of the content.
    contents : list of dict
        Column -> value, for JSON.
    layout : tuple of str or None
        The columns in the order in which they were digested; None where they have no names.
    note : str
        What people should know about other columns than those of the cases so far; often empty.
    """

    keys: list[bytes]
    contents: list[dict[str, Any]]
    layout: tuple[str, ...] | None
    note: str


def read_rows(
    X: Any, columns: Sequence[str] | None, layouts: Sequence[tuple[str, ...]] = ()
) -> Rows:
    """Digest what people see of each row, and lay it out for JSON.

    Parameters
    ----------
    X : the rows
        Frame, array, sparse matrix, or texts in a list, a Series or an array.
    columns : sequence of str or None
        Those that people see; None: all, or those of the cases so far if X has them and others.
        Columns of an array are called ``x0``, ``x1``, ..., that of texts ``text``.
    layouts : sequence of tuple of str, default=()
        The columns of the cases so far.

    Returns
    -------
    rows : Rows
        Columns in another order are the same content.

    Raises
    ------
    ValueError
        If X lacks one of the columns, or a text is missing (None, NaN).
    """
    frame = take_columns(X, columns)
    if columns is None and not hasattr(X, "columns"):
        array = array_of_rows(X) if not sparse.issparse(X) else None
        if array is not None and array.ndim == 1 and array.dtype.kind not in "biuf":
            read_texts(array)  # refuses missing ones, as where a model is asked
        return Rows(row_keys(X).tolist(), read_states(frame), None, "")
    labels = {str(label): label for label in frame.columns}
    layout, note = _find_layout(tuple(labels), layouts, chosen=columns is not None)
    shown = frame[[labels[name] for name in labels if name in layout]]
    in_order = frame[[labels[name] for name in layout]]
    return Rows(row_keys(in_order).tolist(), read_states(shown), layout, note)


def take_columns(X: Any, columns: Sequence[str] | None) -> Any:
    """Make a frame of the columns that people see; a ``ValueError`` if X lacks one."""
    frame = X if hasattr(X, "columns") else _as_frame(X)
    if columns is None:
        return frame
    lacking = [c for c in columns if c not in list(frame.columns)]
    if lacking:
        raise ValueError(
            f"columns has {lacking}, which X lacks; it has {list(map(str, frame.columns))}. "
            "Name the columns that people are to see; those of an array are x0, x1, ..."
        )
    return frame[list(columns)]


def _find_layout(
    names: tuple[str, ...], layouts: Sequence[tuple[str, ...]], *, chosen: bool
) -> tuple[tuple[str, ...], str]:
    """Find the order in which columns are digested, and what to say if they are others."""
    if names in layouts:
        return names, ""
    mine, known = set(names), [layout for layout in layouts if set(layout) == set(names)]
    if known or chosen or not layouts:
        return known[0] if known else tuple(sorted(names)), ""
    within = [layout for layout in layouts if mine > set(layout)]
    near = max(within or layouts, key=lambda layout: len(mine & set(layout)))
    extra = [name for name in names if name not in near]
    if within:
        return near, (
            f"X has the columns {extra}, which the cases so far have not. People don't see them, "
            "and rows keep their cases. To show them, name all columns in columns=; every row is a "
            "new case then."
        )
    others = f" and has {extra} besides" if extra else ""
    return tuple(sorted(names)), (
        f"X lacks the columns {[name for name in near if name not in mine]} of the cases so far"
        f"{others}, so every row is a new case. To avoid that, pass rows with all of these "
        f"columns, {list(near)}."
    )


def _as_frame(X: Any) -> Any:
    import pandas as pd

    array = X.toarray() if sparse.issparse(X) else array_of_rows(X)
    names = ["text"]
    if array.ndim > 1:
        array = array.reshape(len(array), -1)
        names = [f"x{i}" for i in range(array.shape[1])]
    # Texts stay objects: a column of strings refuses some of them.
    dtype = None if array.dtype.kind in "biuf" else object
    return pd.DataFrame(array, columns=names, dtype=dtype)


def read_whys(explanation: Any, n_rows: int, name: str) -> tuple[list[Why], np.ndarray]:
    """Read a frame of ``explain_defer``: what is shown of it, and the gain of asking.

    Parameters
    ----------
    explanation : DataFrame of length n_rows, or None
        Why rows were handed over.
    n_rows : int
        How many rows were.
    name : str
        Of the expert; by another name in the frame, the gain is that of the route.

    Returns
    -------
    whys : list of Why
    gain : ndarray of shape (n_rows,)
        Zeros where nothing is known.
    """
    if explanation is None:
        return [Why()] * n_rows, np.zeros(n_rows)
    nothing = [None] * n_rows
    shown = [
        explanation[field].tolist() if field in explanation else nothing for field in Why._fields
    ]
    own = f"score_{name}"
    if own in explanation.columns:
        gain = explanation[own].to_numpy(dtype=float)
    else:
        columns = [f"score_{route}" for route in shown[0]]
        gain = np.array(
            [explanation[c].iloc[i] if c in explanation else 0.0 for i, c in enumerate(columns)]
        )
    return [Why(*facts) for facts in zip(*shown, strict=True)], gain
