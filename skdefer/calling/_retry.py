"""How long to wait before a failed call is made again."""

from __future__ import annotations

from typing import Any


def backoff(
    attempt: int,
    retry_after: float | None,
    random: Any,
    *,
    base: float = 0.5,
    longest: float = 30.0,
) -> float:
    """Draw the seconds to wait before a call is made again.

    "Full jitter": anything from 0 to ``base * 2**attempt``, so that calls that failed together
    don't come back together. What the service asks for is waited out first, jitter on top.

    Parameters
    ----------
    attempt : int
        How often the call failed before; 0 after its first failure.
    retry_after : float or None
        Seconds that the service asks to wait.
    random : random.Random, numpy RandomState or Generator
        Where the jitter comes from; its ``uniform`` is used.
    base : float, default=0.5
        Longest jitter after the first failure, in seconds. It doubles with each one.
    longest : float, default=30.0
        Longest jitter ever.

    Returns
    -------
    seconds : float
        At least ``retry_after``, at most ``longest`` more.

    References
    ----------
    M. Brooker. Exponential Backoff And Jitter. AWS Architecture Blog, 2015.

    Examples
    --------
    >>> import random
    >>> 4.0 <= backoff(0, 4.0, random.Random(0)) <= 4.5
    True
    """
    widest = min(longest, base * 2.0 ** min(attempt, 60))
    return (retry_after or 0.0) + float(random.uniform(0.0, widest))
