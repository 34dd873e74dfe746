"""Cases as a table in a CSV file, which people fill in with a spreadsheet program."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skdefer.experts._queue._answers import Given
from skdefer.experts._queue._cases import Case

_FACTS = ("case", "route", "reason", "model_answer", "model_confidence", "answer")
# A cell that begins with one of these may be run as a formula by whoever opens the file; the
# apostrophe is among them so that what was put before a cell can be taken away again.
_UNSAFE = tuple("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")  # the last four are full-width
_ZIP = b"PK\x03\x04"  # an .xlsx or .ods file begins like this


def protect(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet program might run."""
    return f"'{text}" if text.startswith(_UNSAFE) else text


def write_sheet(cases: Sequence[Case], path: Path, *, show_model_answer: bool) -> None:
    """Write cases to a CSV file, one a line, with an empty column ``answer``.

    Parameters
    ----------
    cases : sequence of Case
        What is shown.
    path : Path
        A new file. UTF-8 with the mark by which spreadsheet programs know it.
    show_model_answer : bool
        Whether to show what the model would answer.
    """
    columns = list(dict.fromkeys(name for case in cases for name in case.content))
    shown = ["model_answer", "model_confidence"] if show_model_answer else []
    head = [*_name_columns(columns), "route", "reason", *shown, "answer"]
    lines = [["case", *map(protect, head)]]
    for case, content, why in cases:
        facts = [why.route, why.reason, *(getattr(why, name) for name in shown), None]
        lines.append([case, *map(_cell, [*map(content.get, columns), *facts])])
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(lines)
    # No spreadsheet, nor CSV reader, takes a NUL or half of a surrogate pair.
    text = buffer.getvalue().replace("\0", "\ufffd")
    with open(path, "xb") as file:
        file.write(text.encode("utf-8-sig", errors="replace"))


def _name_columns(columns: Sequence[str]) -> list[str]:
    """Name the columns of the rows, those that facts are called by another way."""
    return [f"X.{name}" if name.strip().casefold() in _FACTS else name for name in columns]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return protect(value) if isinstance(value, str) else value


def read_sheet(path: Path) -> list[Given]:
    """Read answers back, however a spreadsheet program has saved the file.

    Parameters
    ----------
    path : Path
        With the columns ``case`` and ``answer``, in whatever case; commas, semicolons or tabs
        between.

    Returns
    -------
    given : list of Given

    Raises
    ------
    ValueError
        If it is no text in UTF-8 (or UTF-16, with its mark), or lacks a column.
    """
    import pandas as pd

    content = path.read_bytes()
    if content.startswith(_ZIP):
        raise ValueError(
            f"{path.name} is a workbook (a zip archive), not CSV; save it as CSV: in the "
            "spreadsheet program 'Save as', 'CSV UTF-8'."
        )
    try:
        coding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = content.decode(coding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is not in UTF-8 ({error}). Save it as 'CSV UTF-8'; if it is a workbook, "
            "save it as CSV first."
        ) from error
    text = text.lstrip("\ufeff\r\n")  # a file with a mark may have been given a second one
    heads = {separator: _head(text, separator) for separator in ",;\t"}
    separator = next((s for s in heads if _find_columns(heads[s])), None)
    if separator is None:
        found = heads[","][:10]
        raise ValueError(
            f"{path.name} has the columns {found}; expected 'case' and 'answer', as in the file "
            "that export_csv wrote."
        )
    columns = _find_columns(heads[separator])
    try:
        # Without types: 007 stays 007, and a class may be called "None".
        table = pd.read_csv(
            io.StringIO(text, newline=""),
            sep=separator,
            dtype=object,
            keep_default_na=False,
            index_col=False,
            header=0,
            names=range(len(heads[separator])),
            usecols=columns,
        )
    except ValueError as error:
        raise ValueError(
            f"{path.name} can't be read as a table ({error}). Save it as 'CSV UTF-8' again."
        ) from error
    rows = zip(*(table[position] for position in columns), strict=True)
    return [Given(case.strip(), answer) for case, answer in rows if case.strip()]


def _find_columns(head: list[str]) -> list[int]:
    """Find case and answer, written like that or else with capitals; empty without both."""
    folded = [name.casefold() for name in head]
    if not {"case", "answer"} <= {*folded}:
        return []
    return [(head if c in head else folded).index(c) for c in ("case", "answer")]


def _head(text: str, separator: str) -> list[str]:
    """Read the names of the columns."""
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        return [name.strip("\ufeff \t\r\n") for name in next(lines, [])]
    except csv.Error:
        return []
