"""A line that says how far a long run is; nothing for a short one."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TextIO


class Progress:
    """Counts the parts of a run on standard error, from two seconds on.

    On a terminal one line is written over and over, and cleared at the end; elsewhere a
    line is written per part.

    Parameters
    ----------
    what : str
        What is going on, such as ``"fold"``.
    total : int
        The number of parts.
    stream : text stream, default=None
        Standard error if None.
    delay : float, default=2.0
        Seconds of silence at the beginning.
    """

    def __init__(self, what: str, total: int, *, stream: TextIO | None = None, delay: float = 2.0):
        self.what = what
        self.total = total
        self.stream = stream or sys.stderr
        self.delay = delay
        self._done = 0
        self._lock = threading.Lock()
        self._shown = self._closed = False

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        # A timer, so that a first part that lasts long is seen too.
        self._timer = threading.Timer(self.delay, self._show)
        self._timer.daemon = True
        self._timer.start()
        return self

    def step(self) -> None:
        """Count a part as done."""
        with self._lock:
            self._done += 1
            if self._shown and self._done < self.total:
                self._write()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._closed = True
            if self._shown and self.stream.isatty():
                self.stream.write("\r\033[K")
                self.stream.flush()

    def _show(self) -> None:
        with self._lock:
            if not self._closed:
                self._shown = True
                self._write()

    def _write(self) -> None:
        seconds = time.monotonic() - self._start
        line = f"{self.what} {min(self._done + 1, self.total)} of {self.total} ({seconds:.0f} s)"
        self.stream.write(f"\r\033[K{line}" if self.stream.isatty() else f"{line}\n")
        self.stream.flush()
