"""The cases that people have to answer: a table in the file of an answer store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from skdefer.calling._store import AnswerStore
from skdefer.experts._paid._prompt import read_states
from skdefer.experts._queue._answers import ImportSummary, Ruling
from skdefer.utils._rows import array_of_rows, row_keys

if TYPE_CHECKING:
    from sqlite3 import Connection

_TABLES = (
    """CREATE TABLE IF NOT EXISTS cases (
        place INTEGER PRIMARY KEY,
        expert TEXT NOT NULL,
        version TEXT NOT NULL,
        "case" TEXT NOT NULL,
        row BLOB NOT NULL,
        state TEXT NOT NULL,
        deferred_at TEXT NOT NULL,
        content TEXT,
        route TEXT,
        reason TEXT,
        model_answer TEXT,
        model_confidence REAL,
        answer TEXT,
        answered_at TEXT,
        answered_by TEXT,
        seconds REAL,
        UNIQUE (expert, version, row),
        UNIQUE (expert, version, "case")
    )""",
    # Which answers there are: whoever imports them need not have fitted anything.
    """CREATE TABLE IF NOT EXISTS case_labels (
        expert TEXT NOT NULL PRIMARY KEY,
        labels TEXT NOT NULL
    ) WITHOUT ROWID""",
)
_MINE = "expert = ? AND version = ?"


class Why(NamedTuple):
    """Why a row was handed over, as ``explain_defer`` tells it."""

    route: str | None = None
    reason: str | None = None
    model_answer: Any = None
    model_confidence: float | None = None


class Case(NamedTuple):
    """A row of the table, as it is exported."""

    case: str
    content: dict[str, Any]
    why: Why


class CaseTable:
    """The cases of one version of one expert.

    Each method is one transaction, so that threads and processes may share the file.

    Parameters
    ----------
    store : AnswerStore
        The file.
    expert, version : str
        Whose cases.
    """

    def __init__(self, store: AnswerStore, expert: str, version: str):
        self.store = store
        self.mine = (expert, version)

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[Connection]:
        if not write and not self._is_there():  # a transaction that reads must not begin to write
            with self._open(write=True):
                pass
        with self.store.transaction(write=write) as connection:
            if write:
                for table in _TABLES:
                    connection.execute(table)
            yield connection

    def _is_there(self) -> bool:
        query = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('cases', 'case_labels')"
        with self.store.transaction(write=False) as connection:
            return connection.execute(query).fetchone()[0] == len(_TABLES)

    def answers(self, rows: Iterable[bytes]) -> dict[bytes, Any]:
        """Look up rows that are on the table: an answer, or None, each."""
        found = {}
        with self._open(write=False) as connection:
            for row in set(rows):
                hit = connection.execute(
                    f"SELECT answer FROM cases WHERE {_MINE} AND row = ?", (*self.mine, row)
                ).fetchone()
                if hit is not None:
                    found[row] = None if hit[0] is None else json.loads(hit[0])
        return found

    def add(
        self,
        rows: Sequence[bytes],
        contents: Sequence[dict[str, Any]],
        whys: Sequence[Why],
        *,
        capacity: int | None,
        labels: Sequence[Any] | None,
    ) -> int:
        """Put rows on the table, the first ones first, as far as there is room.

        Returns
        -------
        n_left : int
            How many rows found no room.
        """
        now, n_left = _now(), 0
        with self._open(write=True) as connection:
            if labels is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO case_labels VALUES (?, ?)",
                    (self.mine[0], json.dumps(list(labels))),
                )
            n_open = connection.execute(
                f"SELECT COUNT(*) FROM cases WHERE {_MINE} AND state = 'open'", self.mine
            ).fetchone()[0]
            for row, content, why in zip(rows, contents, whys, strict=True):
                if capacity is not None and n_open >= capacity:
                    n_left += 1
                    continue
                added = connection.execute(
                    'INSERT OR IGNORE INTO cases (expert, version, "case", row, state,'
                    " deferred_at, content, route, reason, model_answer, model_confidence)"
                    " VALUES (?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?)",
                    (
                        *self.mine,
                        self._name(row),
                        row,
                        now,
                        _as_json(content),
                        why.route,
                        why.reason,
                        None if why.model_answer is None else _as_json(why.model_answer),
                        why.model_confidence,
                    ),
                )
                n_open += added.rowcount  # 0: another process was faster
        return n_left

    def _name(self, row: bytes) -> str:
        """Name a case the same everywhere; the letter keeps spreadsheets from reading a number."""
        content = "|".join(map(repr, (*self.mine, row)))
        return "c" + blake2b(content.encode(), digest_size=8).hexdigest()

    def listed(self, *, only_open: bool) -> list[Case]:
        """List cases with what people have to see, in the order in which they came."""
        states = "state = 'open'" if only_open else "state <> 'withdrawn'"
        with self._open(write=False) as connection:
            found = connection.execute(
                'SELECT "case", content, route, reason, model_answer, model_confidence FROM cases'
                f" WHERE {_MINE} AND {states} ORDER BY place",
                self.mine,
            ).fetchall()
        return [
            Case(case, json.loads(content), Why(route, reason, _read(answer), confidence))
            for case, content, route, reason, answer, confidence in found
        ]

    def history(self) -> list[tuple[Any, ...]]:
        """List what became of each case, without its content."""
        with self._open(write=False) as connection:
            found = connection.execute(
                'SELECT "case", state, deferred_at, answered_at, answer, answered_by, seconds,'
                f" route, reason, model_answer, model_confidence FROM cases WHERE {_MINE}"
                " ORDER BY place",
                self.mine,
            ).fetchall()
        return [(*f[:4], _read(f[4]), *f[5:9], _read(f[9]), f[10]) for f in found]

    def labels(self) -> list[Any] | None:
        """Read the classes of the estimator that handed rows over; None: nobody has yet."""
        with self._open(write=False) as connection:
            found = connection.execute(
                "SELECT labels FROM case_labels WHERE expert = ?", self.mine[:1]
            ).fetchone()
        return None if found is None else json.loads(found[0])

    def record(self, ruling: Ruling, *, replace: bool) -> ImportSummary:
        """Write answers to their cases, all or none.

        Parameters
        ----------
        ruling : Ruling
            What an import comes to.
        replace : bool
            Whether another answer takes the place of the one that a case has.
        """
        n_imported = n_unchanged = 0
        unknown, conflicting = [], dict(ruling.conflicting)
        now = _now()
        with self._open(write=True) as connection:
            known = dict(
                connection.execute(f'SELECT "case", answer FROM cases WHERE {_MINE}', self.mine)
            )
            for case, given in ruling.answers.items():
                before, new = known.get(case), json.dumps(given.answer)
                if case not in known:
                    unknown.append(case)
                elif before == new:
                    n_unchanged += 1
                elif before is not None and not replace:
                    conflicting[case] = [_read(before), given.answer]
                else:
                    connection.execute(
                        "UPDATE cases SET state = 'answered', answer = ?, answered_at = ?,"
                        f' answered_by = ?, seconds = ? WHERE {_MINE} AND "case" = ?',
                        (new, given.at or now, given.by, given.seconds, *self.mine, case),
                    )
                    n_imported += 1
            unknown += [case for case in ruling.unread if case not in known]
        return ImportSummary(
            n_imported,
            n_unchanged,
            n_blank=ruling.n_blank,
            unknown=sorted(set(unknown)),
            out_of_labels={c: a for c, a in ruling.out_of_labels.items() if c in known},
            conflicting={c: a for c, a in conflicting.items() if c in known},
        )

    def withdraw(self, cases: Sequence[str]) -> tuple[int, list[str]]:
        """Take open cases off the list, and their content off the table.

        Returns
        -------
        n_withdrawn : int
        unknown : list of str
            Names that no case has.
        """
        n_withdrawn, unknown = 0, []
        with self._open(write=True) as connection:
            for case in dict.fromkeys(cases):
                where = f'WHERE {_MINE} AND "case" = ?'
                found = connection.execute(
                    f"SELECT state FROM cases {where}", (*self.mine, case)
                ).fetchone()
                if found is None:
                    unknown.append(case)
                elif found[0] == "open":
                    connection.execute(
                        f"UPDATE cases SET state = 'withdrawn', content = NULL {where}",
                        (*self.mine, case),
                    )
                    n_withdrawn += 1
        return n_withdrawn, unknown


def read_rows(X: Any, columns: Sequence[str] | None) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Digest what people see of each row, and lay it out for JSON.

    Parameters
    ----------
    X : the rows
        Frame, array, sparse matrix, or texts in a list, a Series or an array.
    columns : sequence of str or None
        Those that people see; None: all. Columns of an array are called ``x0``, ``x1``, ...,
        that of texts ``text``.

    Returns
    -------
    keys : list of bytes
        Digests of the content.
    contents : list of dict
        Column -> value.

    Raises
    ------
    ValueError
        If X lacks one of the columns.
    """
    frame = X if hasattr(X, "columns") else _as_frame(X)
    if columns is not None:
        lacking = [c for c in columns if c not in list(frame.columns)]
        if lacking:
            raise ValueError(
                f"columns has {lacking}, which X lacks; it has {list(map(str, frame.columns))}. "
                "Name the columns that people are to see; those of an array are x0, x1, ..."
            )
        X = frame = frame[list(columns)]
    return row_keys(X).tolist(), read_states(frame)


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


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _as_json(value: Any) -> str:
    return json.dumps(value, default=str)  # ASCII, which holds any text


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)
