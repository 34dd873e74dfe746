"""A durable store of answers, so that nobody is asked twice for a row."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sqlite3 import Connection

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    expert TEXT NOT NULL,
    row BLOB NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (expert, row)
) WITHOUT ROWID
"""


class AnswerStore:
    """Answers by expert and row content, in one SQLite file.

    Safe for several processes at once: each call opens the file, writes whole
    transactions and waits for its turn.

    Parameters
    ----------
    path : str or Path
        The file; made with its folder if it is not there.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_SCHEMA)

    def _connect(self) -> Connection:
        import sqlite3  # only where answers are kept

        return sqlite3.connect(self.path, timeout=60.0)

    def get(self, expert: str, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look answers up.

        Parameters
        ----------
        expert : str
            Name and version of the expert.
        keys : ndarray of shape (n_rows,), dtype 'S32'
            Content of the rows, from ``row_keys``.

        Returns
        -------
        answers : ndarray of shape (n_rows,), dtype object
            None where the expert abstained, or was not asked.
        known : ndarray of bool of shape (n_rows,)
            Whether the expert was asked.
        """
        answers = np.full(len(keys), None, dtype=object)
        known = np.zeros(len(keys), dtype=bool)
        with closing(self._connect()) as connection:
            # A row of a prepared statement costs microseconds, however large the store.
            for i, key in enumerate(keys.tolist()):
                found = connection.execute(
                    "SELECT answer FROM answers WHERE expert = ? AND row = ?", (expert, key)
                ).fetchone()
                if found is not None:
                    answers[i], known[i] = json.loads(found[0]), True
        return answers, known

    def put(self, expert: str, keys: np.ndarray, answers: np.ndarray) -> None:
        """Keep answers, abstentions too: they were paid for. What JSON can't hold is left out.

        Parameters
        ----------
        expert : str
            Name and version of the expert.
        keys : ndarray of shape (n_rows,), dtype 'S32'
            Content of the rows, from ``row_keys``.
        answers : ndarray of shape (n_rows,), dtype object
            Labels, None for an abstention.
        """
        texts = map(_as_json, answers)
        rows = [(expert, key, text) for key, text in zip(keys.tolist(), texts, strict=True) if text]
        with closing(self._connect()) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)


def _as_json(label: Any) -> str | None:
    """Write a label, or an abstention; None where it would come back as another."""
    label = label.item() if isinstance(label, np.generic) else label
    keeps = label is None or isinstance(label, (str, bool, int, float))
    return json.dumps(label) if keeps else None
