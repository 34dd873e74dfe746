"""The tables of an answer store, and how a file of an earlier version is brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skdefer.exceptions import AnswerStoreError

if TYPE_CHECKING:
    from sqlite3 import Connection

VERSION = 1  # PRAGMA user_version; 0 is a new file, or one from before versions were written

_TABLES = (
    # A reply per question and row. No question is kept: rows may be texts of patients.
    """CREATE TABLE replies (
        expert TEXT NOT NULL,
        version TEXT NOT NULL,
        prompt TEXT NOT NULL,
        row BLOB NOT NULL,
        outcome TEXT NOT NULL,
        answer TEXT NOT NULL,
        probabilities TEXT,
        price REAL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        seconds REAL NOT NULL,
        asked_at REAL NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (expert, version, prompt, row)
    )""",
    # Calls in flight. Few rows, and each lives as long as its call.
    """CREATE TABLE claims (
        expert TEXT NOT NULL,
        version TEXT NOT NULL,
        prompt TEXT NOT NULL,
        row BLOB NOT NULL,
        owner TEXT NOT NULL,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        born TEXT NOT NULL,
        expires REAL NOT NULL,
        reserved REAL NOT NULL,
        PRIMARY KEY (expert, version, prompt, row)
    ) WITHOUT ROWID""",
    # What an expert has cost. Kept apart from the replies: a call may cost and bring none.
    """CREATE TABLE ledger (
        expert TEXT NOT NULL PRIMARY KEY,
        spent REAL NOT NULL,
        n_unpriced INTEGER NOT NULL,
        uncertain REAL NOT NULL
    ) WITHOUT ROWID""",
)

# The first stores held answers of memory= alone, in one table.
_FROM_FIRST = (
    """INSERT INTO replies (expert, version, prompt, row, outcome, answer, seconds, asked_at, text)
       SELECT expert, '', '', row, 'ok', answer, 0.0, 0.0, '' FROM answers""",
    "DROP TABLE answers",
)


def is_current(connection: Connection) -> bool:
    """Tell whether the tables are those of this version, by a look at the file's head."""
    return connection.execute("PRAGMA user_version").fetchone()[0] == VERSION


def bring_up_to_date(connection: Connection, name: str) -> None:
    """Make the tables, or migrate older ones; within a transaction that the caller holds.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a write transaction.
    name : str
        How errors call the file.

    Raises
    ------
    AnswerStoreError
        If the file is of a later version, or something else's.
    """
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == VERSION:
        return
    if found > VERSION:
        raise AnswerStoreError(
            f"The answer store {name} was written by a later skdefer (its version is {found}, "
            f"this one knows {VERSION}). Upgrade skdefer, or use another file."
        )
    tables = {t for (t,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables and "answers" not in tables:
        raise AnswerStoreError(
            f"{name} is an SQLite file of something else: it has {sorted(tables)[:3]} and no "
            "answers. Nothing in it was touched. Use a file of its own for the answers."
        )
    for statement in _TABLES + (_FROM_FIRST if tables else ()):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
