"""What was decided, why, and by which versions: a line of JSON per decision."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

import skdefer
from skdefer.exceptions import DecisionLogWarning
from skdefer.monitoring._observe import check_estimator
from skdefer.utils._rows import array_of_rows, check_rows, row_keys
from skdefer.utils._validation import is_missing

_CHUNK = 1 << 20  # bytes per write, at least a line


class DecisionLog:
    """Keep a line per decision, if asked: ``log.predict(clf, X)`` instead of ``clf.predict(X)``.

    Lines hold the time, the row's name, the columns of ``explain_defer`` (route, the model's
    answer and confidence, expected losses, costs, scores, the reason), the system's answer, who
    answered, and the versions of what decided. They hold nothing of the row itself, unless asked.

    A log that can't be written stops no decision: there is a ``DecisionLogWarning``, and the labels
    come back. Several processes may append to one file of a local disk: each call writes whole
    lines in one go (``O_APPEND``).

    Parameters
    ----------
    path : str or path-like
        The file, made with the first line. It only ever grows.
    content : bool, str or list of str, default=False
        Whether lines hold the rows: whole, or only this column or these of a DataFrame. Rows
        that lack one are refused before anything is decided.
    version : str, default=None
        What you call the fitted system; part of each line.

    Examples
    --------
    >>> import tempfile, os
    >>> import numpy as np
    >>> from skdefer import DeferralClassifier
    >>> from skdefer.monitoring import DecisionLog
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
    >>> desk = lambda X: (X[:, 0] > 0).astype(int)
    >>> clf = DeferralClassifier(experts=[("desk", desk)], cost=0.1).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = DecisionLog(os.path.join(folder, "decisions.jsonl"), version="2026-07")
    ...     labels = log.predict(clf, X[:3], row_id=["case 1", "case 2", "case 3"])
    ...     log.read()[["row", "route", "answer", "version"]]
          row  route  answer  version
    0  case 1   desk       1  2026-07
    1  case 2  model       1  2026-07
    2  case 3  model       0  2026-07
    """

    def __init__(self, path, *, content=False, version=None):
        self.path = path
        self.content = _check_content(content)
        self.version = version

    def predict(
        self,
        estimator,
        X,
        *,
        expert_predictions=None,
        row_id=None,
        return_route=False,
        return_panel=False,
    ):
        """Decide as ``estimator.predict`` does, and log it.

        Parameters
        ----------
        estimator : object
            A fitted deferral estimator.
        X : the rows
            As ``estimator.predict`` takes them.
        expert_predictions : array-like, default=None
            Answers at hand, as there.
        row_id : array-like of shape (n_rows,), default=None
            Names of the rows. None: the index of a DataFrame if it has one of its own, else the
            digest of the row's content, which names no row but tells equal rows, and can be
            guessed where there are few different ones.
        return_route, return_panel : bool, default=False
            As there.

        Returns
        -------
        result : as ``estimator.predict`` returns it
            Errors of ``predict`` are raised: nothing was decided, and nothing is logged. So are
            those of what came: no deferral estimator, one that is not fitted, or rows without a
            column of ``content``.
        """
        row_id = self._check(estimator, X, row_id)
        labels, route, panel = estimator.predict(
            X, expert_predictions=expert_predictions, return_route=True, return_panel=True
        )
        self._log(estimator, X, row_id, labels, panel)
        result = [labels, *([route] if return_route else []), *([panel] if return_panel else [])]
        return tuple(result) if len(result) > 1 else labels

    def record(self, estimator, X, *, row_id=None):
        """Log who should answer, without asking anybody: the answer stays empty.

        Parameters
        ----------
        estimator : object
            A fitted deferral estimator.
        X : the rows
            As ``estimator.predict_route`` takes them.
        row_id : array-like of shape (n_rows,), default=None
            As in :meth:`predict`.
        """
        self._log(estimator, X, self._check(estimator, X, row_id), None, None)

    def read(self):
        """Read the log; see :func:`read_decisions`."""
        return read_decisions(self.path)

    def _check(self, estimator: Any, X: Any, row_id: Any) -> list | None:
        """Refuse, before anything is decided, what could not be logged."""
        check_estimator(estimator)
        if not isinstance(self.content, bool):
            columns = list(getattr(X, "columns", ()))
            unknown = [name for name in self.content if name not in columns]
            if unknown:
                has = f"the columns {columns[:10]}" if columns else "no columns with names"
                raise ValueError(
                    f"content has {unknown}, but X has {has}; expected columns of X. Make the "
                    "DecisionLog with some of them, or with True for whole rows."
                )
        return _check_ids(row_id, X)

    def _log(self, estimator: Any, X: Any, row_id: Any, labels: Any, panel: Any) -> None:
        try:
            table = estimator.explain_defer(X)
            names = np.asarray(list(estimator.routes_)[1:], dtype=object)
            table.insert(0, "row", _ids(X) if row_id is None else row_id)
            if labels is not None:
                table["answer"] = labels
                table["answered_by"] = [names[who].tolist() or ["model"] for who in panel]
            same = {"time": datetime.now(timezone.utc).isoformat(), **self._versions(estimator)}
            contents = self._contents(X)
            columns, rows = list(table.columns), zip(*(table[c].tolist() for c in table.columns))
            _append(
                self.path,
                (
                    _line({**same, **dict(zip(columns, row)), **content})
                    for row, content in zip(rows, contents)
                ),
            )
        except Exception as error:  # whatever it is, the decision stands
            warnings.warn(
                f"The decisions on {check_rows(X)} rows stand, but could not be logged to "
                f"{os.fspath(self.path)!r}: {type(error).__name__}: {error}. Make the file "
                "writable, and log them with record(estimator, X).",
                DecisionLogWarning,
                stacklevel=3,
            )

    def _versions(self, estimator: Any) -> dict[str, Any]:
        experts = zip(list(estimator.routes_)[1:], estimator.experts_, strict=True)
        return {
            "version": self.version,
            "estimator": type(estimator).__name__,
            "skdefer": skdefer.__version__,
            "scikit-learn": sklearn.__version__,
            **{f"version_{name}": getattr(expert, "version", None) for name, expert in experts},
        }

    def _contents(self, X: Any) -> Iterable[dict[str, Any]]:
        if self.content is False:
            return ({} for _ in range(check_rows(X)))
        if hasattr(X, "columns"):
            names = list(X.columns) if self.content is True else self.content
            return ({"content": dict(zip(names, row))} for row in zip(*(X[c] for c in names)))
        dense = X.toarray() if hasattr(X, "toarray") else X
        return ({"content": row} for row in array_of_rows(dense).tolist())


def read_decisions(path):
    r"""Read a decision log, whatever state a process that died has left it in.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    decisions : DataFrame
        A row per line; a column that some lines lack is missing there. A last line that was cut
        off is left out; other lines that can't be read are, with a warning that counts them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from skdefer.monitoring import read_decisions
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "decisions.jsonl"
    ...     _ = path.write_text('{"row": "a", "route": "model"}\n{"row": "b", "rou')
    ...     read_decisions(path)
      row  route
    0   a  model
    """
    import pandas as pd

    records, broken = [], []
    lines = Path(path).read_bytes().split(b"\n")
    for i, line in enumerate(lines):
        if line:
            try:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError("no decision")
                records.append(record)
            except ValueError:  # half a character, too
                broken.append(i)
    inside = [i + 1 for i in broken if i < len(lines) - 1]
    if inside:
        warnings.warn(
            f"{len(inside)} lines of {os.fspath(path)!r} can't be read and are left out, the "
            f"first is line {inside[0]}: a process may have died while it wrote.",
            DecisionLogWarning,
            stacklevel=2,
        )
    return pd.DataFrame(records)


def _append(path: Any, lines: Iterable[str]) -> None:
    """Append whole lines, after a cut one on a line of their own."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
        waiting = bytearray(b"" if not size or os.read(descriptor, 1) == b"\n" else b"\n")
        for line in lines:
            waiting += line.encode()
            if len(waiting) >= _CHUNK:
                _write(descriptor, waiting)
                waiting = bytearray()
        _write(descriptor, waiting)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytearray) -> None:
    rest = memoryview(bytes(data))
    while rest:  # a full disk or a signal may cut a write short
        rest = rest[os.write(descriptor, rest) :]


def _line(record: dict[str, Any]) -> str:
    return json.dumps(_plain(record), ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Bring a value to what JSON has; what has no number, NaN and infinity, is null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy's
        return _plain(value.tolist())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if bool(np.all(is_missing(np.array([value], dtype=object)))) else str(value)


def _check_content(content: Any) -> bool | list:
    if isinstance(content, (bool, np.bool_)):
        return bool(content)
    if isinstance(content, str):
        return [content]
    if isinstance(content, Iterable):
        return list(content) or False
    raise ValueError(
        f"content is {content!r}; expected True, False, or names of columns. Pass "
        'content=["age"], say.'
    )


def _check_ids(row_id: Any, X: Any) -> list | None:
    n_rows = check_rows(X)
    if row_id is None:
        return None
    row_id = np.asarray(row_id, dtype=object).tolist()
    if len(row_id) != n_rows:
        raise ValueError(
            f"row_id has {len(row_id)} names, but X has {n_rows} rows; expected one per row. Pass "
            "None to name rows by their index or content."
        )
    return row_id


def _ids(X: Any) -> list:
    if hasattr(X, "iloc"):
        import pandas as pd

        if not isinstance(X.index, pd.RangeIndex):
            return list(X.index)
    return row_keys(X).astype(str).tolist()
