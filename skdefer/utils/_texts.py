"""Texts of any container, for all that reads text and needs no torch for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import Any

from skdefer.utils._rows import array_of_rows
from skdefer.utils._validation import is_missing


def as_texts(X: Any) -> list[str]:
    """Bring a column of texts to a list."""
    _refuse_what_is_no_column(X)
    column = array_of_rows(X)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1:
        raise ValueError(
            f"X has shape {column.shape}; expected texts, of shape (n_rows,) or (n_rows, 1). Pass "
            "the column that holds them, or join the columns to one text."
        )
    missing = is_missing(column)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} of {len(column)} texts are missing (None or NaN), the first in "
            f"row {int(missing.argmax())}; expected a str in each row. Put '' where there is none."
        )
    texts = column.tolist()
    kinds = Counter(map(type, texts))
    wrong = {kind: n for kind, n in kinds.items() if not issubclass(kind, str)}
    if wrong:
        raw = all(issubclass(kind, (bytes, bytearray)) for kind in wrong)
        remedy = "[text.decode() for text in X]" if raw else ".astype(str) say"
        names = ", ".join(kind.__name__ for kind in wrong)
        raise ValueError(
            f"{sum(wrong.values())} of {len(texts)} rows are of type {names}; expected a str in "
            f"each. If they are texts, convert them, with {remedy}."
        )
    return texts


def _refuse_what_is_no_column(X: Any) -> None:
    kind = type(X).__name__
    if isinstance(X, (str, bytes)):
        raise ValueError(f"X is a single {kind}; expected a list of texts, as [text].")
    if isinstance(X, Mapping):
        raise ValueError(f"X is a {kind}; expected a list of texts. Pass one of its values.")
    if isinstance(X, Set):
        raise ValueError(f"X is a {kind}, which has no order; expected a list of texts.")
    if hasattr(X, "collect") and not hasattr(X, "to_numpy"):
        raise ValueError(f"X is a {kind}, not computed yet; expected texts. Call .collect().")
    if not (hasattr(X, "to_numpy") or isinstance(X, Iterable)):
        raise ValueError(f"X is {kind if X is not None else None}; expected a list of texts.")
