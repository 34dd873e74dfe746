"""The cases that people have to answer: a table in the file of an answer store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from skdefer.calling._store import AnswerStore
from skdefer.experts._queue._answers import ImportSummary, Ruling

if TYPE_CHECKING:
    from sqlite3 import Connection

    from pandas import DataFrame

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
    # Columns of frames in the order in which rows were digested, so that they are found again.
    """CREATE TABLE IF NOT EXISTS case_columns (
        place INTEGER PRIMARY KEY,
        expert TEXT NOT NULL,
        version TEXT NOT NULL,
        names TEXT NOT NULL,
        UNIQUE (expert, version, names)
    )""",
)
_KEEP_COLUMNS = "INSERT OR IGNORE INTO case_columns (expert, version, names) VALUES (?, ?, ?)"
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
            if write and not _all_there(connection):
                for table in _TABLES:
                    connection.execute(table)
                _read_columns(connection)
            yield connection

    def _is_there(self) -> bool:
        with self.store.transaction(write=False) as connection:
            return _all_there(connection)

    def layouts(self) -> list[tuple[str, ...]]:
        """List the columns of the cases so far, in the order in which they were digested."""
        with self._open(write=False) as connection:
            found = connection.execute(
                f"SELECT names FROM case_columns WHERE {_MINE} ORDER BY place", self.mine
            ).fetchall()
        return [tuple(json.loads(names)) for (names,) in found]

    def count(self) -> dict[str, int]:
        """Count the cases by state."""
        with self._open(write=False) as connection:
            return dict(
                connection.execute(
                    f"SELECT state, COUNT(*) FROM cases WHERE {_MINE} GROUP BY state", self.mine
                )
            )

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
        layout: Sequence[str] | None = None,
    ) -> int:
        """Put rows on the table, the first ones first, as far as there is room.

        Returns
        -------
        n_left : int
            How many rows found no room.
        """
        now, n_left = _now(), 0
        n_added = 0
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
                n_added += added.rowcount
            if layout is not None and n_added:
                connection.execute(_KEEP_COLUMNS, (*self.mine, _as_json(layout)))
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

    def history(self) -> DataFrame:
        """Tell what became of each case, without its content: see ``QueueExpert.cases``."""
        import pandas as pd

        with self._open(write=False) as connection:
            found = connection.execute(
                'SELECT "case", state, deferred_at, answered_at, answer, answered_by, seconds,'
                f" route, reason, model_answer, model_confidence FROM cases WHERE {_MINE}"
                " ORDER BY place",
                self.mine,
            ).fetchall()
        columns = [
            *("case", "state", "deferred", "answered", "answer", "answered_by", "seconds"),
            *("route", "reason", "model_answer", "model_confidence"),
        ]
        read = [(*f[:4], _read(f[4]), *f[5:9], _read(f[9]), f[10]) for f in found]
        table = pd.DataFrame(read, columns=columns, dtype=object).set_index("case")
        for time in ("deferred", "answered"):
            table[time] = pd.to_datetime(table[time], utc=True, format="ISO8601")
        for number in ("seconds", "model_confidence"):
            table[number] = table[number].astype(float)
        table.insert(3, "waited", table["answered"] - table["deferred"])
        return table

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
        unknown, kept, conflicting = [], [], dict(ruling.conflicting)
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
                    kept.append(case)
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
            not_replaced=kept,
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


def _all_there(connection: Connection) -> bool:
    query = "SELECT COUNT(*) FROM sqlite_master WHERE name IN "
    names = "('cases', 'case_labels', 'case_columns')"
    return connection.execute(query + names).fetchone()[0] == len(_TABLES)


def _read_columns(connection: Connection) -> None:
    """Take the columns of cases that were put on a list before the order was of no account."""
    found = connection.execute(
        "SELECT expert, version, content FROM cases WHERE content IS NOT NULL ORDER BY place"
    )
    layouts = {(expert, version, tuple(json.loads(content))) for expert, version, content in found}
    for expert, version, names in layouts:
        if names != ("text",):  # of a list, most likely; alone it has no order
            connection.execute(_KEEP_COLUMNS, (expert, version, _as_json(names)))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _as_json(value: Any) -> str:
    return json.dumps(value, default=str)  # ASCII, which holds any text


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)
