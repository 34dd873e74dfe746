"""What is asked about a row: a template whose placeholders are checked before anything is paid."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from skdefer.utils._rows import array_of_rows
from skdefer.utils._validation import is_missing

#: The placeholder of a row that is one text, and that of the list of options.
TEXT, OPTIONS = "text", "options"


class Prompt:
    """A template such as ``"Is this spam? {text}"``.

    Parameters
    ----------
    template : str
        Text with placeholders: ``{text}`` for rows that are one text, names of columns for
        frames, ``{options}`` at most once for the list of options. ``{{`` and ``}}`` are braces.

    Attributes
    ----------
    fields : list of str
        What is read of each row, each once, in the order of the template.
    shows_options : bool
        Whether ``{options}`` has a place.

    Raises
    ------
    TypeError, ValueError
        If the template is no text, reads nothing of a row, or is not written as above.
    """

    def __init__(self, template: str):
        if not isinstance(template, str):
            raise TypeError(
                f"prompt is a {type(template).__name__}; expected a text with placeholders, such "
                "as 'Is this spam? {text}'."
            )
        self.parts = _parse(template)
        names = [name for _, name in self.parts if name is not None]
        self.fields = list(dict.fromkeys(name for name in names if name != OPTIONS))
        self.shows_options = OPTIONS in names
        if names.count(OPTIONS) > 1:
            raise ValueError(
                f"prompt has {{{OPTIONS}}} {names.count(OPTIONS)} times; expected it at most once."
            )
        if not self.fields:
            raise ValueError(
                f"prompt {shorten(template)!r} has no placeholder of a row, so every row would be "
                "asked the same. Write {text} where the text of a row belongs, or {age} for a "
                "column called age."
            )

    def render(self, cells: Sequence[str], options: str = "") -> str:
        """Put what was read of a row in its places; braces in it mean nothing."""
        values = {**dict(zip(self.fields, cells, strict=True)), OPTIONS: options}
        return "".join(text + ("" if name is None else values[name]) for text, name in self.parts)

    def read(self, X: Any) -> list[tuple[str, ...]]:
        """Read what the template shows of each row.

        Raises
        ------
        ValueError
            If a placeholder is no column of X, or a cell is missing.
        """
        if not hasattr(X, "columns"):
            self._check_names([])
            return [(text,) for text in read_texts(X)]
        names = [str(name) for name in X.columns]
        # The only column of a frame is its text, whatever its name.
        if len(names) == 1 and self.fields == [TEXT]:
            return list(zip(_read_column(X, 0, names[0])))
        self._check_names(names)
        columns = [_read_column(X, names.index(name), name) for name in self.fields]
        return list(zip(*columns, strict=True))

    def _check_names(self, names: list[str]) -> None:
        """Refuse a placeholder that is no column; without any column only the text is there."""
        twice = [name for name in self.fields if names.count(name) > 1]
        if twice:
            raise ValueError(f"prompt reads {twice[0]!r}, and X has two columns of that name.")
        unknown = [name for name in self.fields if name not in (names or [TEXT])]
        if not unknown:
            return
        placeholders = ", ".join(f"{{{name}}}" for name in unknown)
        if not names:
            raise ValueError(
                f"prompt reads {placeholders}, but X has no columns with names. Pass a DataFrame "
                f"with those columns, or write {{{TEXT}}} for rows that are one text each."
            )
        raise ValueError(
            f"prompt reads {placeholders}, which X lacks; its columns are {names}. Name those to "
            f"be read{'' if len(names) > 1 else f', or write {{{TEXT}}} for the only one'}; "
            "literal braces are written {{ and }}."
        )


def _parse(template: str) -> list[tuple[str, str | None]]:
    """Split a template into literal texts, each with the placeholder that follows it."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"prompt {shorten(template)!r} can't be read: {error}. Literal braces are written {{{{ "
            'and }}, as in {{"answer": 1}}; a placeholder is a name in single braces, as {text}.'
        ) from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
        if spec or conversion or any(mark in name for mark in ".[]"):
            raise ValueError(
                f"prompt has {{{written}}}; expected a plain name in braces, without conversion, "
                "format, attribute or index. Prepare the value in a column of its own, and write "
                "literal braces as {{ and }}."
            )
        if not name.strip() or name.isdigit():
            raise ValueError(
                f"prompt has {{{written}}}, but rows are read by name, not by position; expected "
                f"{{{TEXT}}} or the name of a column. For an array, pass a DataFrame with names: "
                "pd.DataFrame(X, columns=[...])."
            )
    return [(text, name) for text, name, _, _ in parts]


def read_texts(X: Any) -> list[str]:
    """Read a column of texts from a list, a Series or an array.

    Raises
    ------
    ValueError
        For anything but a text in each row.
    """
    if isinstance(X, (str, bytes)):
        raise ValueError(f"X is a single {type(X).__name__}; expected a list of texts, as [text].")
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if not isinstance(X, np.ndarray) and not hasattr(X, "shape"):
        X = _objects(X)
    column = array_of_rows(X)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1:
        raise ValueError(
            f"X has shape {column.shape} and no names of columns; expected one text per row, or a "
            "frame. Pass pd.DataFrame(X, columns=[...]), so that the prompt can name its columns."
        )
    _check_present(column, "texts")
    texts = column.tolist()
    wrong = Counter(type(text).__name__ for text in texts if not isinstance(text, str))
    if wrong:
        raise ValueError(
            f"{sum(wrong.values())} of {len(texts)} rows are of type {', '.join(wrong)}; expected "
            "a text in each. Convert them with str, or pass a DataFrame and name its columns in "
            "the prompt."
        )
    return texts


def read_states(X: Any) -> list[Any]:
    """Read whole rows: texts as they are, rows of a frame as column -> value, for JSON."""
    if not hasattr(X, "columns"):
        return list(read_texts(X))
    names = [str(name) for name in X.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"X has two columns of one name among {names}; rename them.")
    columns = [[_as_value(cell) for cell in _cells(X, i)] for i in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def is_blank(content: Any) -> bool:
    """Whether nothing of a row is there to be asked about."""
    cells = content.values() if isinstance(content, dict) else content
    cells = [cells] if isinstance(cells, str) else cells
    return all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells)


def shorten(text: str, length: int = 60) -> str:
    """Cut a text for a message."""
    return text if len(text) <= length else text[: length - 3] + "..."


def _read_column(X: Any, position: int, name: str) -> list[str]:
    cells = _cells(X, position)
    _check_present(cells, f"cells of the column {name!r}")
    return [cell if isinstance(cell, str) else str(cell) for cell in cells]


def _cells(X: Any, position: int) -> np.ndarray:
    """Take a column of a frame, each cell as the frame would show it."""
    column = X.iloc[:, position] if hasattr(X, "iloc") else X.to_series(position)
    values = column.to_numpy()
    # Dates become numbers in an array, and floats of 32 bits grow digits in a list.
    return _objects(values if values.dtype.kind in "biuf" else column.to_list())


def _objects(values: Any) -> np.ndarray:
    return np.fromiter(values, dtype=object, count=len(values))


def _as_value(cell: Any) -> Any:
    """Bring a cell to what JSON holds; a missing one is null."""
    if is_missing(_objects([cell]))[0]:
        return None
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(cell, float) and not math.isfinite(cell):
        return str(cell)
    return cell if isinstance(cell, (str, bool, int, float)) else str(cell)


def _check_present(cells: np.ndarray, what: str) -> None:
    missing = np.flatnonzero(is_missing(cells))
    if len(missing):
        rows = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{len(missing)} of {len(cells)} {what} are missing (None or NaN), in rows {rows}, so "
            "there is nothing to ask about. Leave those rows out, or fill them: '' (not asked, no "
            "answer) or a word such as 'unknown' (asked)."
        )
