"""One SQLite file shared by threads and processes: opening, turns, and what can go wrong."""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from skdefer.calling._schema import bring_up_to_date, is_current
from skdefer.exceptions import AnswerStoreError, AnswerStoreWarning

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")
_HEADER = b"SQLite format 3\0"
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # what no text has, in any alphabet
_PATIENCE = 0.5  # seconds that SQLite waits by itself; Python looks for Ctrl-C in between
_files: weakref.WeakSet[StoreFile] = weakref.WeakSet()
_left_behind: list[Any] = []  # connections of a parent process: never to be used, nor closed


class _DamagedError(AnswerStoreError):
    """The file was damaged; it has been moved aside, and the transaction can be run again."""


class StoreFile:
    """The connection of this process to a file, for one thread at a time.

    Parameters
    ----------
    path : Path, default=None
        The file; None: in memory.
    durable : bool
        Whether a transaction waits for the disk.
    timeout : float
        Seconds to wait for a lock.
    """

    def __init__(self, path: Path | None, *, durable: bool, timeout: float):
        self.path = path
        self.name = "in memory" if path is None else str(path)
        self.durable = durable
        self.timeout = timeout
        self._forget()
        _files.add(self)

    def _forget(self) -> None:
        """Begin without a connection and with a free lock, as after a fork."""
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._depth = 0
        self._writes = False

    def run(self, work: Callable[[Connection], T], *, write: bool = False) -> T:
        """Do some work in a transaction; once more if the file proves damaged."""
        try:
            with self.transaction(write=write) as connection:
                return work(connection)
        except _DamagedError:
            pass
        with self.transaction(write=write) as connection:
            return work(connection)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """See :meth:`AnswerStore.transaction`."""
        import sqlite3  # only where answers are kept

        with self._lock:
            if self._depth and self._connection is not None:
                if write and not self._writes:
                    raise AnswerStoreError("A transaction that only reads can't hold a write.")
                yield self._connection
                return
            if not write and self._connection is None and not self._is_there():
                with self._nothing() as connection:
                    yield connection
                return
            try:
                connection = self._connection or self._open()
                self._begin(connection, write)
                self._depth, self._writes = 1, write
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
                finally:
                    self._depth = 0
            except sqlite3.DatabaseError as error:
                if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
                    raise  # of the statements, not of the file
                self.close()
                if not _is_damage(error):
                    raise self._explain(error) from error
                self._move_aside(error)
                raise _DamagedError(
                    f"The answer store {self.name} was damaged and has been moved aside. Run it "
                    "again."
                ) from error

    @contextmanager
    def _nothing(self) -> Iterator[Connection]:
        """Give an empty store in memory: to look for what was kept makes no file."""
        import sqlite3

        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            bring_up_to_date(connection, self.name)
            self._connection, self._depth, self._writes = connection, 1, False
            try:
                yield connection
            finally:
                self._connection, self._depth = None, 0

    def _is_there(self) -> bool:
        """Whether there is anything to read; what can't be looked at is for SQLite to say."""
        return self.path is None or os.path.lexists(self.path)

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __del__(self) -> None:
        # A connection that is collected unclosed is a ResourceWarning from Python 3.13 on.
        with suppress(Exception):
            self.close()

    # -- opening ------------------------------------------------------------------------

    def _begin(self, connection: Connection, write: bool) -> None:
        """Begin, and take the lock now: a transaction that started never waits again."""

        def begin() -> None:
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            if not write:
                try:
                    connection.execute("SELECT 1 FROM sqlite_master").fetchone()
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise

        self._insist(begin, time.monotonic() + self.timeout)

    def _insist(self, work: Callable[[], Any], until: float) -> None:
        """Try again while another process has the file, up to a point of time."""
        import sqlite3

        while True:
            try:
                work()
                return
            except sqlite3.OperationalError as error:
                if not _means(error, "locked", "busy") or time.monotonic() >= until:
                    raise
            time.sleep(0.001)

    def _open(self) -> Connection:
        import sqlite3

        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise AnswerStoreError(
                    f"The folder of the answer store {self.name} can't be made: {error}. Pass a "
                    "path in a folder that can be written."
                ) from error
            if _is_text(self.path):
                raise AnswerStoreError(
                    f"{self.name} is no store of answers, but a text; nothing in it was touched. "
                    "Name another file."
                )
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._move_aside(error)
        return self._connect()

    def _connect(self) -> Connection:
        import sqlite3

        until = time.monotonic() + self.timeout
        with _alone_in(self.path, until):
            connection = sqlite3.connect(
                ":memory:" if self.path is None else self.path,
                timeout=min(_PATIENCE, self.timeout),
                isolation_level=None,
                check_same_thread=False,  # the lock sees to it
            )
            try:
                # Whoever moves a damaged file aside must know which one it was.
                self._identity = _identity(self.path)
                self._insist(lambda: self._prepare(connection), until)
                self._identity = _identity(self.path)  # a new file is there only now
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return connection

    def _prepare(self, connection: Connection) -> None:
        connection.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'NORMAL'}")
        if not is_current(connection):
            connection.execute("BEGIN IMMEDIATE")
            try:
                bring_up_to_date(connection, self.name)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        connection.execute("PRAGMA journal_mode = WAL")

    # -- what can go wrong --------------------------------------------------------------

    def _move_aside(self, error: Exception) -> None:
        """Move a damaged file out of the way, unless another process has done so."""
        if self.path is None:
            raise self._explain(error) from error
        with _alone_in(self.path, time.monotonic() + self.timeout):
            if _identity(self.path) == self._identity:
                stamp = datetime.now().strftime("%Y%m%dT%H%M%S.%f")
                aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
                for suffix in ("-wal", "-shm", ""):
                    with suppress(FileNotFoundError):
                        os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
                warnings.warn(
                    f"The answer store {self.name} is damaged, or no SQLite file ({error}). It was "
                    f"moved to {aside}, and a new one is begun: what the old one held is asked, "
                    "and paid for, again, and max_cost counts from 0.",
                    AnswerStoreWarning,
                    stacklevel=2,
                )

    def _explain(self, error: Exception) -> AnswerStoreError:
        if _means(error, "locked", "busy"):
            why = (
                f"is locked by another process for more than {self.timeout:g} s. End it, or raise "
                "the timeout of AnswerStore."
            )
        elif _means(error, "readonly"):
            why = f"is read-only ({error}). Allow writing to the file and its folder, or copy it."
        elif _means(error, "unable to open"):
            why = f"can't be opened ({error}). It is a folder, or may not be read: pass a file."
        else:
            why = f"can't be used: {error}."
        return AnswerStoreError(f"The answer store {self.name} {why}")


def _means(error: Exception, *words: str) -> bool:
    """Tell what SQLite reports, which has no codes before Python 3.11."""
    return any(word in str(error) for word in words)


def _is_damage(error: Exception) -> bool:
    return _means(error, "malformed", "not a database")


def _is_text(path: Path) -> bool:
    """Tell whether a file is a text by its beginning, so that it was never a store."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return bool(head) and not head.startswith(_HEADER) and not _CONTROL.search(head)


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Tell a file from another of the same name."""
    if path is None:
        return None
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


@contextmanager
def _alone_in(path: Path | None, until: float) -> Iterator[None]:
    """Open, migrate or move a file while no other process does, up to a point of time."""
    try:
        import fcntl
    except ImportError:  # where an open file can't be moved anyway
        fcntl = None  # type: ignore[assignment]
    if path is None or fcntl is None:
        yield
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Whoever holds it is waiting for the file itself; that error says more.
                if time.monotonic() >= until:
                    break
                time.sleep(0.005)
            except OSError:  # a file system without such locks
                break
        yield
    finally:
        os.close(folder)


def _after_fork() -> None:
    """Leave the parent's connections to the parent: SQLite's are not for two processes."""
    for file in _files:
        _left_behind.append(file._connection)
        file._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
