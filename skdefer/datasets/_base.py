"""Where data sets are found, how they are read, and what every loader returns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import Bunch

from skdefer.exceptions import DatasetNotFoundError
from skdefer.utils._optional import import_optional

if TYPE_CHECKING:
    import pandas

_ENVIRONMENT_VARIABLE = "SKDEFER_DATA"


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is read.

    Parameters
    ----------
    name : str
        The folder below ``data_home``; the loader is ``load_<name>``.
    title : str
        One line: what a row is, and who the experts are.
    files : mapping of str to str
        File name -> sha256 of its content, as hexadecimal digits.
    source : str
        Where the data come from.
    licence : str
        What the source says on copying; "not stated" where it says nothing.
    citation : str
        What to cite.
    notes : str
        Columns, caveats, and what the set is good for.
    """

    name: str
    title: str
    files: Mapping[str, str]
    source: str
    licence: str
    citation: str
    notes: str

    @property
    def description(self) -> str:
        """The DESCR of the Bunch."""
        return (
            f"{self.name}: {self.title}\n\n{self.notes.strip()}\n\n"
            f"Source: {self.source}\nLicence: {self.licence}\nCite: {self.citation}\n"
        )


def get_data_home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Say in which folder data sets are looked for.

    skdefer ships no data and downloads none: the loaders read what already lies in this
    folder, each set in a folder of its own name.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder. If None, the environment variable ``SKDEFER_DATA``; if that is not
        set either, ``~/skdefer_data``.

    Returns
    -------
    data_home : pathlib.Path
        The folder, ``~`` expanded. It need not exist, and is not created.

    Raises
    ------
    TypeError
        If ``data_home`` is neither None nor a path.

    Examples
    --------
    >>> from skdefer.datasets import get_data_home
    >>> get_data_home("/data/deferral").as_posix()
    '/data/deferral'
    """
    if data_home is None:
        data_home = os.environ.get(_ENVIRONMENT_VARIABLE) or "~/skdefer_data"
    if not isinstance(data_home, (str, os.PathLike)):
        raise TypeError(
            f"data_home is {data_home!r}; expected the path of a folder, or None for the "
            f"environment variable {_ENVIRONMENT_VARIABLE}."
        )
    return Path(data_home).expanduser()


def read_table(
    facts: DatasetFacts,
    file: str = "data.parquet",
    *,
    data_home: str | os.PathLike[str] | None = None,
    verify: bool = True,
    columns: Collection[str] = (),
) -> pandas.DataFrame:
    """Read one parquet file of a data set.

    Parameters
    ----------
    facts : DatasetFacts
        Whose file it is.
    file : str, default="data.parquet"
        A key of ``facts.files``.
    data_home : str or path-like, default=None
        See :func:`get_data_home`.
    verify : bool, default=True
        Compare the sha256 of the file with ``facts.files[file]``.
    columns : collection of str, default=()
        Columns that the loader can't do without.

    Returns
    -------
    table : DataFrame
        All rows and columns of the file, rows numbered from 0.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ImportError
        If pyarrow is not installed.
    ValueError
        If the file is not the one that ``facts`` describe, or lacks some of ``columns``.
    """
    home = get_data_home(data_home)
    path = home / facts.name / file
    if not path.is_file():
        raise DatasetNotFoundError(
            f"The data set {facts.name!r} was looked for at {path}, and there is no such file. "
            f"skdefer ships no data; these come from {facts.source}. If you have "
            f"{facts.name}/{file}, say in which folder: pass data_home=, or set the environment "
            f"variable {_ENVIRONMENT_VARIABLE}."
        )
    import_optional("pyarrow", needed_for=f"Reading the data set {facts.name!r}")
    if verify:
        _check_digest(path, facts.files[file])
    import pandas

    table = pandas.read_parquet(path, engine="pyarrow").reset_index(drop=True)
    absent = sorted(set(columns) - set(table.columns))
    if absent:
        raise ValueError(
            f"{path} lacks the columns {absent}; it is not the file that load_{facts.name} was "
            "written for. Get the right file, or check data_home."
        )
    return table


def _check_digest(path: Path, expected: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} has sha256 {found}, expected {expected}: it is damaged, or another version "
            "than the one whose facts are documented. Get the right file, or pass verify=False "
            "to read this one all the same."
        )


def check_option(name: str, value: Any, options: Collection[Any]) -> None:
    """Refuse an option that a loader doesn't know.

    Parameters
    ----------
    name : str
        Name of the parameter.
    value : object
        What came.
    options : collection
        What is known.

    Raises
    ------
    ValueError
        If ``value`` is not among ``options``.
    """
    if value not in options:
        raise ValueError(f"{name} is {value!r}; expected one of {list(options)}.")


def one_hot(codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Turn codes into indicator columns; a negative code gives a row of zeros.

    Parameters
    ----------
    codes : ndarray of int, any shape
        Positions in 0..n_classes - 1, or negative.
    n_classes : int
        The number of columns.

    Returns
    -------
    indicators : ndarray of int8, shape of ``codes`` + (n_classes,)
        1 at the code's position.
    """
    return (np.asarray(codes)[..., None] == np.arange(n_classes)).astype(np.int8)


def make_bunch(
    facts: DatasetFacts,
    *,
    data: Any,
    target: np.ndarray,
    expert_predictions: pandas.DataFrame,
    groups: np.ndarray | None = None,
    target_names: list[str] | None = None,
    costs: dict[str, float] | None = None,
    cost_unit: str | None = None,
    model_name: str | None = None,
    **extra: Any,
) -> Bunch:
    """Put what a loader read into the Bunch that all loaders return.

    Parameters
    ----------
    facts : DatasetFacts
        For ``DESCR`` and ``name``.
    data : DataFrame or list of str
        What the model sees.
    target : ndarray of shape (n_rows,)
        Gold labels.
    expert_predictions : DataFrame of shape (n_rows, n_experts)
        A column per expert; none at all where nobody's answers are stored.
    groups : ndarray of shape (n_rows,), default=None
        Rows of one group belong on one side of a split.
    target_names : list of str, default=None
        Meaning of the sorted labels.
    costs : dict, default=None
        Price of one answer, by expert.
    cost_unit : str, default=None
        Unit of ``costs``.
    model_name : str, default=None
        Whose output ``data`` is.
    **extra
        More fields of the Bunch.

    Returns
    -------
    bunch : Bunch
        With all of these as fields, and ``feature_names``, ``name`` and ``DESCR``.
    """
    return Bunch(
        name=facts.name,
        data=data,
        target=target,
        expert_predictions=expert_predictions.reset_index(drop=True),
        groups=groups,
        feature_names=list(data.columns) if hasattr(data, "columns") else None,
        target_names=target_names,
        costs=costs,
        cost_unit=cost_unit,
        model_name=model_name,
        DESCR=facts.description,
        **extra,
    )
