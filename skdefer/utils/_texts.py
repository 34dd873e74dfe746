"""Texts of any container, for all that reads text and needs no torch for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from skdefer.utils._rows import array_of_rows
from skdefer.utils._validation import is_missing


def as_texts(X: Any) -> list[str]:
    """Bring a column of texts to a list."""
    if isinstance(X, (str, bytes)):
        raise ValueError(f"X is a single {type(X).__name__}; expected a list of texts, as [text].")
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
    wrong = {kind.__name__: n for kind, n in kinds.items() if not issubclass(kind, str)}
    if wrong:
        raise ValueError(
            f"{sum(wrong.values())} of {len(texts)} rows are of type {', '.join(wrong)}; expected "
            "a str in each. If they are texts, convert them, with .astype(str) say."
        )
    return texts
