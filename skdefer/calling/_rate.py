"""A limit on calls and tokens per minute, shared by all who call the same service."""

from __future__ import annotations

import math
import numbers
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

_WINDOW = 60.0
_SHORTEST_WAIT = 0.001  # so that a clock moves between two questions, however coarse


class RateLimiter:
    """Hold a service's limits: never more calls, or tokens, in any 60 seconds.

    Pass the same object to every expert behind one account, and they share its limits. Calls
    go out as soon as the window has room: the first ones at once, without pacing.

    Parameters
    ----------
    requests_per_minute : int, default=None
        The most calls in any 60 seconds. None: no limit.
    tokens_per_minute : int, default=None
        The most tokens in any 60 seconds, as estimated before each call. A call that is larger
        than the limit by itself goes alone, when the window is empty. None: no limit.
    clock : callable, default=time.monotonic
        Where the time comes from, in seconds.

    Notes
    -----
    Safe for threads. A pickled copy has the same limits, but counts for itself from then on:
    for four processes (``n_jobs=4``), give each a quarter of the account's limit. ``clone``
    keeps the object itself.

    Examples
    --------
    >>> from skdefer.calling._rate import RateLimiter
    >>> limiter = RateLimiter(requests_per_minute=2, clock=lambda: 100.0)
    >>> limiter.wait_time(), limiter.wait_time(), limiter.wait_time()
    (0.0, 0.0, 60.0)
    >>> limiter
    RateLimiter(requests_per_minute=2)
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.requests_per_minute = _check_limit("requests_per_minute", requests_per_minute)
        self.tokens_per_minute = _check_limit("tokens_per_minute", tokens_per_minute)
        self._clock = clock
        self._start()

    def _start(self) -> None:
        """Begin with an empty window."""
        self._lock = threading.Lock()
        self._calls: deque[tuple[float, float]] = deque()  # (time, tokens), oldest first
        self._tokens = 0.0
        self._paused_until = -math.inf

    def wait_time(self, tokens: float = 0) -> float:
        """Ask whether a call may go out now; if so it is counted.

        Parameters
        ----------
        tokens : float, default=0
            What the call will use, question and reply.

        Returns
        -------
        seconds : float
            0.0: go ahead, the call is counted. Else nothing was counted, and it is worth asking
            again after so many seconds.

        Raises
        ------
        ValueError
            If ``tokens`` is not a finite number >= 0.
        """
        if not 0 <= tokens < math.inf:
            raise ValueError(f"tokens is {tokens!r}; expected a finite number >= 0.")
        with self._lock:
            now = self._clock()
            while self._calls and now - self._calls[0][0] >= _WINDOW:
                self._tokens -= self._calls.popleft()[1]
            free = max(self._paused_until, self._free_at(tokens))
            if free > now:
                return max(free - now, _SHORTEST_WAIT)
            if self.requests_per_minute is not None or self.tokens_per_minute is not None:
                self._calls.append((now, tokens))
                # No rounding errors pile up over millions of calls.
                self._tokens = self._tokens + tokens if len(self._calls) > 1 else tokens
            return 0.0

    def _free_at(self, tokens: float) -> float:
        """Find when enough of the counted calls are a minute old."""
        free = -math.inf
        if self.requests_per_minute is not None:
            too_many = len(self._calls) + 1 - self.requests_per_minute
            if too_many > 0:
                free = self._calls[too_many - 1][0] + _WINDOW
        if self.tokens_per_minute is not None:
            left = self._tokens
            for called, used in self._calls:
                if left <= 0 or left + tokens <= self.tokens_per_minute:
                    break
                left -= used
                free = max(free, called + _WINDOW)
        return free

    def pause(self, seconds: float) -> None:
        """Let no call out for a while, as the service asked; a longer pause stays.

        Parameters
        ----------
        seconds : float
            How long, from now.

        Raises
        ------
        ValueError
            If it is not a finite number >= 0.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds is {seconds!r}; expected a finite number >= 0.")
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def __getstate__(self) -> dict[str, Any]:
        # What was counted means nothing to another process, whose clock is another.
        return {
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
            "_clock": self._clock,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __sklearn_clone__(self) -> RateLimiter:
        # One account, one limit: copies would each let the whole of it through.
        return self

    def __repr__(self) -> str:
        limits = ("requests_per_minute", "tokens_per_minute")
        given = [f"{name}={getattr(self, name)}" for name in limits if getattr(self, name)]
        return f"{type(self).__name__}({', '.join(given)})"


def _check_limit(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1:
        return int(value)
    raise ValueError(f"{name} is {value!r}; expected an integer >= 1, or None for no limit.")
