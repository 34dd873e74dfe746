"""A line that says how far buying is, and what it has cost."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from skdefer.calling._till import Balance

_EVERY = {True: 0.2, False: 10.0}  # seconds between two lines: on a terminal, elsewhere


class SpendProgress:
    """Says on standard error how many rows have an answer and what the expert has cost.

    On a terminal one line is written over and over; elsewhere there is a line now and then, and
    one at the end.

    Parameters
    ----------
    expert : str
        Its name.
    total : int
        Rows that are asked about, identical ones once.
    verbose : int
        0: nothing is written.
    n_known : int, default=0
        Rows whose replies were known before.
    stream : text stream, default=None
        Standard error if None.
    """

    def __init__(
        self,
        expert: str,
        total: int,
        verbose: int,
        n_known: int = 0,
        *,
        stream: TextIO | None = None,
    ):
        self._expert = expert
        self._total = total
        self._n_known = n_known
        self._stream = stream or sys.stderr
        self.on = bool(verbose)
        self._terminal = self.on and self._stream.isatty()
        self._start = self._last = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether it is time for a line."""
        return self.on and time.monotonic() - self._last >= _EVERY[self._terminal]

    def show(
        self,
        n_known: int,
        n_failed: int,
        balance: Balance,
        waits: str = "",
        *,
        last: bool = False,
    ) -> None:
        """Write a line; on a terminal over the one before."""
        self._last = time.monotonic()
        parts = [f"{self._n_known + n_known} of {self._total} rows"]
        parts += [f"{n_failed} failed"] if n_failed else []
        parts += [f"spent {balance.known:.6g}"]
        parts += [f"{balance.n_unpriced} replies of unknown price"] if balance.n_unpriced else []
        parts += [f"uncertain {balance.uncertain:.6g}"] if balance.uncertain else []
        parts += [f"left {balance.left:.6g}"] if balance.left is not None else []
        parts += [waits] if waits else []
        line = f"{self._expert}: {', '.join(parts)} ({self._last - self._start:.0f} s)"
        line = f"\r\033[K{line}" if self._terminal else line
        self._stream.write(f"{line}\n" if last or not self._terminal else line)
        self._stream.flush()
