"""Ctrl-C that waits for what is paid for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any


class CtrlC:
    """Take note of the first Ctrl-C instead of raising it; the second one is raised.

    Only in the main thread, and only where Python's own handler is in place; a handler of the
    user's stays.

    Parameters
    ----------
    wake : callable
        Is called at the first Ctrl-C, to end a wait.
    """

    def __init__(self, wake: Callable[[], None]):
        self.came = False
        self.came_twice = False
        self._wake = wake
        self._installed = False

    def __enter__(self) -> CtrlC:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *error: Any) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.came:
            self.came_twice = True
            raise KeyboardInterrupt
        self.came = True
        self._wake()
