"""A durable store of answers, so that nobody is asked, or paid, twice for a row."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from skdefer.calling._file import StoreFile
from skdefer.calling._outcomes import Reply, no_answers
from skdefer.calling._records import (
    as_json,
    read_probabilities,
    read_reply,
    row_text,
    write_reply,
)

if TYPE_CHECKING:
    from sqlite3 import Connection

    from pandas import DataFrame

T = TypeVar("T")

_GET = "SELECT answer FROM replies WHERE expert = ? AND version = '' AND prompt = '' AND row = ?"
_PUT = """INSERT OR REPLACE INTO replies
    (expert, version, prompt, row, outcome, answer, seconds, asked_at, text)
    VALUES (?, '', '', ?, 'ok', ?, 0.0, ?, '')"""

_COLUMNS = "outcome, answer, probabilities, price, input_tokens, output_tokens, seconds, text"
_FIND = f"""SELECT {_COLUMNS} FROM replies
    WHERE expert = ? AND version = ? AND prompt = ? AND row = ?"""
# What was bought first stays, unless it was no answer and now there is one.
_KEEP = f"""INSERT INTO replies (expert, version, prompt, row, {_COLUMNS}, asked_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (expert, version, prompt, row) DO UPDATE SET ({_COLUMNS}, asked_at) = (
        excluded.outcome, excluded.answer, excluded.probabilities, excluded.price,
        excluded.input_tokens, excluded.output_tokens, excluded.seconds, excluded.text,
        excluded.asked_at)
    WHERE outcome <> 'ok' AND excluded.outcome = 'ok'"""
_CHARGE = """INSERT INTO ledger VALUES (?, ?, ?, ?) ON CONFLICT (expert) DO UPDATE SET
    spent = spent + excluded.spent, n_unpriced = n_unpriced + excluded.n_unpriced,
    uncertain = uncertain + excluded.uncertain"""


class ReplyKey(NamedTuple):
    """What was asked: which expert, in which version, with which prompt.

    Parameters
    ----------
    expert : str
        The name, by which money is counted.
    version : str
        Of the model behind it; another one is asked anew.
    prompt : str
        Digest of everything that is asked besides the row.
    """

    expert: str
    version: str
    prompt: str


class Spent(NamedTuple):
    """What calls have cost, in the unit of the expert's ``price``.

    Parameters
    ----------
    known : float
        The sum of the prices of replies.
    n_unpriced : int
        Replies whose price is not known; they are not in the sum.
    uncertain : float
        The most that calls may have cost of which no price came: those that ended without an
        answer (too late, cut off, killed), and replies without one.
    """

    known: float
    n_unpriced: int
    uncertain: float


class AnswerStore:
    """Answers and replies of experts by content of the row, in one SQLite file.

    What is kept is committed before the method returns, so it outlives the process, however that
    ends. Threads share a store; processes open the same path, and each waits for its turn. A store
    pickles by its path; one in memory comes back empty, also in a forked process.

    The question is never kept, only a digest of it: rows may be texts of patients. What the
    service wrote is.

    Parameters
    ----------
    path : str or path-like, default=None
        The file, made with its folder when something is first kept; ``~`` is the home folder, and
        a relative path is meant from the folder of now. None: in memory, for the life of the
        object.
    durable : bool, default=False
        Whether what is kept outlives a power failure, too: each transaction then waits for the
        disk. Without, a power failure may cost the last moments; the end of a process never does.
    timeout : float, default=60.0
        Seconds to wait for a file that another process has locked.

    Raises
    ------
    AnswerStoreError
        From any method if the file can't be used: locked for longer than ``timeout``, read-only,
        in a folder that can't be made, on a full disk, written by a later version, or something
        else's: a text, or another SQLite file.

    Warns
    -----
    AnswerStoreWarning
        If the file is damaged: it is moved aside, never deleted, and a new one begun. The warning
        names it.

    Examples
    --------
    >>> from skdefer.calling import AnswerStore
    >>> from skdefer.calling._outcomes import Outcome, Reply
    >>> store = AnswerStore()
    >>> key = ("gpt", "2026-07", "prompt digest")
    >>> store.keep(key, [(b"row 1", Reply(Outcome.OK, "yes", price=0.02))])
    >>> store.replies(key, [b"row 1", b"row 2"])[b"row 1"].answer
    'yes'
    >>> store.spent("gpt").known
    0.02
    """

    def __init__(
        self, path: str | Path | None = None, *, durable: bool = False, timeout: float = 60.0
    ):
        self.path = None if path is None else Path(path).expanduser().absolute()
        self.durable = durable
        self.timeout = timeout
        self._file = StoreFile(self.path, durable=durable, timeout=timeout)

    # -- paid replies -------------------------------------------------------------------

    def replies(self, key: Sequence[str], rows: Iterable[bytes]) -> dict[bytes, Reply]:
        """Look replies up.

        Parameters
        ----------
        key : ReplyKey, or a tuple (expert, version, prompt)
            What was asked.
        rows : iterable of bytes
            Digests of the rows.

        Returns
        -------
        replies : dict of bytes to Reply
            Of the rows that a reply is kept of.
        """

        def find(connection: Connection) -> dict[bytes, Reply]:
            # A row of a prepared statement costs microseconds, however large the store.
            found = ((row, connection.execute(_FIND, (*key, row)).fetchone()) for row in rows)
            return {row: read_reply(record) for row, record in found if record is not None}

        rows = list(rows)
        return self.run(find)

    def keep(self, key: Sequence[str], replies: Iterable[tuple[bytes, Reply]]) -> None:
        """Keep replies and charge what they cost, in one transaction.

        A row that has an answer keeps its first one; what the second cost is charged all the
        same. A reply that is no answer makes room for one that is.

        Parameters
        ----------
        key : ReplyKey, or a tuple (expert, version, prompt)
            What was asked.
        replies : iterable of (bytes, Reply)
            The digest of a row, and what came. Failures (``not outcome.replied``) are left out.

        Raises
        ------
        TypeError
            If an answer is not a string, bool, int or float: it would come back as another.
        """
        came = [(row, reply) for row, reply in replies if reply.outcome.replied]
        if not came:
            return
        now = time.time()
        records = [(*key, row, *write_reply(reply), now) for row, reply in came]
        prices = [reply.price for _, reply in came]
        spent = math.fsum(price for price in prices if price is not None)

        def write(connection: Connection) -> None:
            connection.executemany(_KEEP, records)
            self.charge(key[0], spent=spent, n_unpriced=prices.count(None))

        self.run(write, write=True)

    def charge(
        self, expert: str, *, spent: float = 0.0, n_unpriced: int = 0, uncertain: float = 0.0
    ) -> None:
        """Add to what an expert has cost.

        Parameters
        ----------
        expert : str
            The name.
        spent : float, default=0.0
            Known money.
        n_unpriced : int, default=0
            Replies whose price is not known.
        uncertain : float, default=0.0
            Money that may have been spent.
        """
        if spent or n_unpriced or uncertain:
            charge = (expert, spent, n_unpriced, uncertain)
            self.run(lambda connection: connection.execute(_CHARGE, charge), write=True)

    def spent(self, expert: str | None = None) -> Spent:
        """Tell what calls have cost so far, over all processes and versions.

        Parameters
        ----------
        expert : str, default=None
            Its name; None: all experts together.

        Returns
        -------
        spent : Spent
            ``known`` (money), ``n_unpriced`` (replies of unknown price) and ``uncertain``.
        """
        sums = "SELECT TOTAL(spent), TOTAL(n_unpriced), TOTAL(uncertain) FROM ledger"
        where, given = ("", ()) if expert is None else (" WHERE expert = ?", (expert,))
        known, unpriced, uncertain = self.run(
            lambda connection: connection.execute(sums + where, given).fetchone()
        )
        return Spent(known, int(unpriced), uncertain)

    def to_frame(self, expert: str | None = None) -> DataFrame:
        """Export what was bought.

        Parameters
        ----------
        expert : str, default=None
            Its name; None: all experts.

        Returns
        -------
        replies : DataFrame
            A row per reply, in the order they came: ``expert``, ``version``, ``prompt``, ``row``
            (digests), ``outcome``, ``answer``, ``probabilities`` (a dict, or None), ``price`` (NaN:
            unknown), ``input_tokens``, ``output_tokens``, ``seconds``, ``asked_at`` (UTC) and
            ``text``.
        """
        import pandas as pd

        head = "expert, version, prompt, row"
        names = ["outcome", "answer", "probabilities", "price", "input_tokens", "output_tokens"]
        names = [*head.split(", "), *names, "seconds", "asked_at", "text"]
        where, given = ("", ()) if expert is None else (" WHERE expert = ?", (expert,))
        query = f"SELECT {', '.join(names)} FROM replies{where} ORDER BY rowid"
        records = self.run(lambda connection: connection.execute(query, given).fetchall())
        cells = dict(zip(names, zip(*records, strict=True) if records else [()] * len(names)))
        frame = pd.DataFrame({name: pd.Series(cells[name], dtype=object) for name in names})
        for column, read in (
            ("row", row_text),
            ("answer", json.loads),
            ("probabilities", read_probabilities),
        ):
            frame[column] = pd.Series([read(cell) for cell in cells[column]], dtype=object)
        for column in ("price", "seconds"):
            frame[column] = frame[column].astype(float)
        for column in ("input_tokens", "output_tokens"):
            frame[column] = frame[column].astype("Int64")
        asked = frame["asked_at"].astype(float).where(lambda seconds: seconds > 0)
        frame["asked_at"] = pd.to_datetime(asked, unit="s", utc=True)
        return frame

    def forget(self, expert: str, outcomes: str | Iterable[str] = ()) -> int:
        """Forget replies that are no answers, so that their rows are asked, and paid, again.

        Parameters
        ----------
        expert : str
            Its name.
        outcomes : str or iterable of str, default=()
            Which ones, such as ``"truncated"``; none: all but "ok", which are never forgotten.

        Returns
        -------
        n_forgotten : int
            What they cost stays spent.
        """
        drop = [(expert, str(outcome)) for outcome in no_answers(outcomes)]
        query = "DELETE FROM replies WHERE expert = ? AND outcome = ?"
        return self.run(lambda c: c.executemany(query, drop).rowcount, write=True)

    # -- answers of memory= -------------------------------------------------------------

    def get(self, expert: str, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look answers up that ``put`` kept.

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

        def find(connection: Connection) -> None:
            for i, key in enumerate(keys.tolist()):
                found = connection.execute(_GET, (expert, key)).fetchone()
                if found is not None:
                    answers[i], known[i] = json.loads(found[0]), True

        self.run(find)
        return answers, known

    def put(self, expert: str, keys: np.ndarray, answers: np.ndarray) -> None:
        """Keep answers without a price, abstentions too. What JSON can't hold is left out.

        Parameters
        ----------
        expert : str
            Name and version of the expert.
        keys : ndarray of shape (n_rows,), dtype 'S32'
            Content of the rows, from ``row_keys``.
        answers : ndarray of shape (n_rows,), dtype object
            Labels, None for an abstention.
        """
        now = time.time()
        texts = map(as_json, answers)
        rows = [(expert, k, t, now) for k, t in zip(keys.tolist(), texts, strict=True) if t]
        if rows:
            self.run(lambda connection: connection.executemany(_PUT, rows), write=True)

    # -- the file -----------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Connection]:
        """Read or write tables of one's own in the same file, all or nothing.

        An error in the block takes everything back. A transaction within another of the same
        thread is part of it. The other methods may be called within.

        Parameters
        ----------
        write : bool, default=True
            Whether to write; then no other process writes meanwhile (``BEGIN IMMEDIATE``).

        Yields
        ------
        connection : sqlite3.Connection
            For the length of the block, in autocommit mode: neither begin nor commit.

        Raises
        ------
        AnswerStoreError
            If the file can't be used. If it is found damaged it is moved aside, with a warning,
            and the block can be run again.
        """
        with self._file.transaction(write=write) as connection:
            yield connection

    def run(self, work: Callable[[Connection], T], *, write: bool = False) -> T:
        """Do some work in a transaction; once more, in a new file, if this one proves damaged.

        Parameters
        ----------
        work : callable
            Is given the connection. It may run twice.
        write : bool, default=False
            As in :meth:`transaction`.

        Returns
        -------
        result : object
            What ``work`` returned.

        Raises
        ------
        AnswerStoreError
            As in :meth:`transaction`.
        """
        return self._file.run(work, write=write)

    def close(self) -> None:
        """Close the file; it is opened again when needed. A store in memory forgets everything."""
        self._file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "durable": self.durable, "timeout": self.timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"AnswerStore({'' if self.path is None else repr(str(self.path))})"
