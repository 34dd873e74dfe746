"""A user's table: read, and checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skdefer.cli._features import Features, choose_features, prepared
from skdefer.cli._labels import harmonised
from skdefer.cli._options import UsageError
from skdefer.utils._optional import import_optional
from skdefer.utils._validation import encode_answers

if TYPE_CHECKING:
    import pandas

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")


@dataclass
class Table:
    """n rows of a table, by role."""

    X: pandas.DataFrame
    y: np.ndarray
    answers: pandas.DataFrame
    groups: np.ndarray | None
    features: Features
    remarks: list[str]


def load_table(
    path: Path,
    *,
    target: str,
    experts: Sequence[str],
    text: Sequence[str],
    group: str | None,
    drop: Sequence[str],
) -> Table:
    """Read a table and give each column its role.

    Parameters
    ----------
    path : Path
        A CSV, TSV or Parquet file.
    target : str
        The column of the truth.
    experts : sequence of str
        Columns of answers.
    text : sequence of str
        Columns of text for the model.
    group : str or None
        The column of what rows belong to.
    drop : sequence of str
        Columns that the model may not see.

    Returns
    -------
    table : Table
        The rows that have a target.

    Raises
    ------
    UsageError
        For a file that can't be read, a column that is not there or has two roles, a
        target or an expert that makes no sense, or no column for the model.
    """
    frame = read_frame(path)
    roles = {"--target": [target], "--expert": experts, "--text": text, "--drop": drop}
    roles["--group"] = [] if group is None else [group]
    _check_roles(frame, roles)
    remarks = []
    known = frame[target].notna()
    if not known.all():
        remarks.append(f"{int((~known).sum())} rows without a {target!r} are left out.")
        frame = frame[known].reset_index(drop=True)
    if frame.empty:
        raise UsageError(f"{path} has no row with a {target!r}.")
    y, answers = harmonised(frame[target], frame[list(experts)])
    _check_target(y, target)
    remarks += check_experts(y, answers)
    # The model has a route of its own, called so.
    answers = answers.rename(columns={"model": "model (expert)"})
    groups = None if group is None else _groups(frame[group])
    taken = {target, group, *experts, *drop}
    features = choose_features(frame[[c for c in frame if c not in taken]], y, answers, text)
    if not features.columns:
        raise UsageError(
            "No column is left for the model to read. " + " ".join(remarks + features.remarks)
        )
    X = prepared(frame, features)
    return Table(X, y, answers, groups, features, remarks + features.remarks)


def read_frame(path: Path) -> pandas.DataFrame:
    """Read a file by its extension.

    Parameters
    ----------
    path : Path
        A CSV, TSV or Parquet file.

    Returns
    -------
    frame : DataFrame
        Rows numbered from 0, columns named by strings.

    Raises
    ------
    UsageError
        If it is not there or can't be read.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in (*_SEPARATORS, *_PARQUET):
        raise UsageError(
            f"{path} has the extension {path.suffix!r}; expected one of "
            f"{', '.join((*_SEPARATORS, *_PARQUET))}."
        )
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        if suffix in _PARQUET:
            import_optional("pyarrow", needed_for=f"Reading {path.name}")
            frame = pd.read_parquet(path, engine="pyarrow")
        else:
            frame = pd.read_csv(path, sep=_SEPARATORS[suffix], low_memory=False)
            if frame.shape[1] == 1 and ";" in frame.columns[0]:  # as written where 1.5 is 1,5
                frame = pd.read_csv(path, sep=";", decimal=",", low_memory=False)
    except ImportError as error:
        raise UsageError(str(error)) from error
    except (ValueError, OSError) as error:  # the parsers' own errors are ValueErrors
        raise UsageError(f"{path} can't be read as {suffix[1:]}: {error}") from error
    frame.columns = [str(name) for name in frame.columns]
    return frame.reset_index(drop=True)


def _check_roles(frame: pandas.DataFrame, roles: dict[str, Sequence[str]]) -> None:
    role_of: dict[str, str] = {}
    for role, names in roles.items():
        for name in names:
            if name not in frame:
                raise UsageError(
                    f"{role} {name}: there is no such column. The columns are {list(frame)}."
                )
            if name in role_of:
                raise UsageError(
                    f"The column {name!r} is both {role_of[name]} and {role}; give it one role."
                )
            role_of[name] = role


def _check_target(y: np.ndarray, target: str) -> None:
    classes = np.unique(y)
    if len(classes) < 2:
        raise UsageError(
            f"--target {target} has one class only, {classes.tolist()}; expected two or more."
        )
    if y.dtype.kind == "f":
        raise UsageError(
            f"--target {target} holds numbers such as {classes[:3].tolist()}; expected classes. "
            "Cut it into a few classes first."
        )


def check_experts(y: np.ndarray, answers: pandas.DataFrame) -> list[str]:
    """Refuse experts who never name a class; count answers that are none.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        The truth.
    answers : DataFrame of shape (n_rows, n_experts)
        The experts' answers.

    Returns
    -------
    remarks : list of str
        One per expert with answers that are no class.

    Raises
    ------
    UsageError
        If no answer of an expert is a class.
    """
    remarks = []
    classes = np.unique(y)
    for name in answers:
        codes = encode_answers(answers[name].to_numpy(), classes)
        given = answers[name].notna().to_numpy()
        if not (codes >= 0).any():
            found = sorted({str(a) for a in answers[name][given]})[:5]
            what = f"holds {found}, for instance" if found else "is empty"
            raise UsageError(
                f"The expert {name!r} never gives a label of the target: it {what}, but the "
                f"classes are {classes.tolist()[:20]}. Answers must be labels, written like the "
                "target's."
            )
        n_outside = int((given & (codes < 0)).sum())
        if n_outside:
            remarks.append(
                f"{n_outside} of {int(given.sum())} answers of {name!r} are no label of the "
                "target, and count as wrong."
            )
    return remarks


def _groups(column: pandas.Series) -> np.ndarray:
    n_missing = int(column.isna().sum())
    if n_missing:
        raise UsageError(
            f"--group {column.name} is missing on {n_missing} rows. Fill it in: a value of its "
            "own for a row that belongs to nothing."
        )
    codes: Any = column.astype("category").cat.codes
    return codes.to_numpy()
