"""Stop calling a service that answers nobody."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

_SHORTEST_WAIT = 0.001  # so that a clock moves between two questions, however coarse


class CircuitBreaker:
    """Pause after failures in a row, let single probes through, and give up in the end.

    After ``threshold`` failures in a row no call goes out for ``cooldown`` seconds; then one
    does, the probe. If it succeeds all is well again; each one that fails doubles the pause, and
    after ``max_probes`` of them the breaker is ``broken`` until ``reset``.

    Parameters
    ----------
    threshold : int, default=10
        Failures in a row that open it.
    cooldown : float, default=1.0
        Seconds of the first pause.
    max_probes : int, default=3
        Failed probes after which it is broken for good.
    clock : callable, default=time.monotonic
        Where the time comes from, in seconds.

    Notes
    -----
    Safe for threads. Each go-ahead of ``wait_time`` is followed by a call and its ``record``: ask
    the breaker last. A pickled copy starts closed.

    Examples
    --------
    >>> from skdefer.calling._breaker import CircuitBreaker
    >>> breaker = CircuitBreaker(threshold=2, clock=lambda: 100.0)
    >>> breaker.record(False), breaker.wait_time()
    (None, 0.0)
    >>> breaker.record(False), breaker.wait_time()
    (None, 1.0)
    """

    def __init__(
        self,
        threshold: int = 10,
        cooldown: float = 1.0,
        max_probes: int = 3,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        if threshold < 1 or max_probes < 1:
            raise ValueError(
                f"threshold is {threshold!r} and max_probes {max_probes!r}; expected integers >= 1."
            )
        if not 0 < cooldown < math.inf:
            raise ValueError(f"cooldown is {cooldown!r}; expected seconds, a finite number > 0.")
        self.threshold = threshold
        self.cooldown = cooldown
        self.max_probes = max_probes
        self._clock = clock
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all failures."""
        with self._lock:
            self._close()
            self._broken = False

    def _close(self) -> None:
        """Let calls through; the lock is held."""
        self._failures = 0
        self._failed_probes = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def broken(self) -> bool:
        """Whether it has given up."""
        return self._broken

    def wait_time(self) -> float:
        """Ask whether a call may go out now.

        Returns
        -------
        seconds : float
            0.0: go ahead. Else it is worth asking again after so many seconds; inf once broken.
        """
        with self._lock:
            if self._broken:
                return math.inf
            if self._open_until is None:
                return 0.0
            if self._probing:  # its record ends this at once; the wait only paces the question
                return self.cooldown
            wait = self._open_until - self._clock()
            if wait > 0:
                return max(wait, _SHORTEST_WAIT)
            self._probing = True
            return 0.0

    def record(self, ok: bool) -> None:
        """Tell how a call ended.

        Parameters
        ----------
        ok : bool
            Whether the service answered, whatever it said. A success closes the breaker.
        """
        with self._lock:
            if self._broken:
                return
            if ok:
                self._close()
            elif self._open_until is None:
                self._failures += 1
                if self._failures >= self.threshold:
                    self._pause()
            elif self._probing:
                self._probing = False
                self._failed_probes += 1
                self._broken = self._failed_probes >= self.max_probes
                self._pause()
            # Else a call that was under way when the pause began: it says nothing new.

    def _pause(self) -> None:
        """Let no call through for a while; the lock is held."""
        self._open_until = self._clock() + self.cooldown * 2.0**self._failed_probes

    def __getstate__(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "cooldown": self.cooldown,
            "max_probes": self.max_probes,
            "_clock": self._clock,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self.reset()

    def __repr__(self) -> str:
        state = "broken" if self._broken else "closed" if self._open_until is None else "open"
        return f"{type(self).__name__}({state})"
