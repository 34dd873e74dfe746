"""Buying answers: which call goes out when, and what becomes of what comes back."""

from __future__ import annotations

import math
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skdefer.calling._breaker import CircuitBreaker
from skdefer.calling._outcomes import Reply
from skdefer.calling._progress import SpendProgress
from skdefer.calling._purchase import Purchase
from skdefer.calling._rate import RateLimiter
from skdefer.calling._store import AnswerStore, ReplyKey
from skdefer.calling._till import Call, Till
from skdefer.calling._trial import Trial
from skdefer.calling._workers import Workers
from skdefer.exceptions import FailedCallsWarning

_LEASE_MARGIN = 60.0  # seconds beyond the deadline for which others respect a claim


def buy(
    calls: Sequence[Call],
    send: Callable[[Any, float], Reply],
    *,
    key: Sequence[str],
    store: AnswerStore,
    n_workers: int = 8,
    max_cost: float | None = None,
    rate_limiter: RateLimiter | None = None,
    breaker: CircuitBreaker | None = None,
    max_retries: int = 5,
    deadline: float = 60.0,
    verbose: int = 0,
    n_known: int = 0,
    seed: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] | None = None,
) -> list[Reply]:
    """Get a reply to every call, from the store or by asking, and pay for none twice.

    The thread that calls ``buy`` does all of the work with the store; threads of its own only run
    ``send``. Each reply is committed before it is returned. If the process is killed, what was
    committed is kept, and the calls in flight are all that may be paid for again. Rows that
    another thread or process is buying are waited for, not asked.

    Parameters
    ----------
    calls : sequence of Call
        What is asked; equal ``row`` digests are one call.
    send : callable
        ``send(body, deadline) -> Reply``: makes one call, in a thread, within ``deadline``
        seconds. Failures are replies, too; what it raises is taken for a bug. ``Reply.price`` is
        what the call cost; on a failure 0.0 says that it surely cost nothing.
    key : ReplyKey, or a tuple (expert, version, prompt)
        What is asked besides the row.
    store : AnswerStore
        Where replies are looked up and kept, and money is counted.
    n_workers : int, default=8
        The most calls in flight.
    max_cost : float, default=None
        The most that the expert may ever cost in this store, over all runs and processes. Each
        call then needs a ``reservation``. What calls cost beyond their reservations can't be
        undone: such an excess is at most that of the calls in flight. None: no limit.
    rate_limiter : RateLimiter, default=None
        Asked before each call. None: no limit but what the service asks for (Retry-After).
    breaker : CircuitBreaker, default=None
        Asked before each call. None: one of its own.
    max_retries : int, default=5
        How often a call is made again that failed for a reason that may pass.
    deadline : float, default=60.0
        Seconds that a call may take. One that ``send`` doesn't end in time is given up ten
        seconds later; its thread is left alone, and what it brings before ``buy`` returns is kept.
    verbose : int, default=0
        Above 0 a line on standard error tells how far it is and what it has cost.
    n_known : int, default=0
        Rows of the same batch whose replies the caller has found already; they count in what is
        said.
    seed : int, default=None
        For the jitter of waits between retries.
    clock, sleep : callables
        Where the time comes from, and how it passes; for tests.

    Returns
    -------
    replies : list of Reply
        One per call, in order. A row that could not be asked in the end has the failure of its
        last call.

    Raises
    ------
    ExpertStoppedError
        If every further call would fail (``outcome.stops``, a broken breaker, none of the first
        20 replies is an answer), if the service wants to be left alone for more than 300 seconds,
        if the process that started this one is gone, or if the store can no longer be written
        while calls are in flight. The calls in flight are waited for and kept; ``.partial`` holds
        the labels of all calls, None where there is none.
    BudgetExhaustedError
        If the next call could cost more than is left of ``max_cost``; likewise.
    AnswerStoreError
        If the store can't be used.
    KeyboardInterrupt
        After Ctrl-C: no more calls are made, those in flight have five seconds to end and are
        kept. A second Ctrl-C ends it at once.
    ValueError
        If a parameter makes no sense, or a reservation is missing though there is ``max_cost``.

    Warns
    -----
    FailedCallsWarning
        Once, if some rows have a failure in the end; it counts them by outcome.

    Examples
    --------
    >>> from skdefer.calling._buying import buy
    >>> from skdefer.calling._outcomes import Outcome, Reply
    >>> from skdefer.calling._store import AnswerStore
    >>> from skdefer.calling._till import Call
    >>> def send(text, deadline):
    ...     return Reply(Outcome.OK, "long" if len(text) > 3 else "short", price=0.01)
    >>> store = AnswerStore()
    >>> calls = [Call(text.encode(), text) for text in ["a", "abcd", "a"]]
    >>> [reply.answer for reply in buy(calls, send, key=("gpt", "1", ""), store=store)]
    ['short', 'long', 'short']
    >>> store.spent("gpt").known
    0.02
    """
    for name, value, least in (("n_workers", n_workers, 1), ("max_retries", max_retries, 0)):
        if value < least:
            raise ValueError(f"{name} is {value!r}; expected an integer >= {least}.")
    if not 0 < deadline < math.inf:
        raise ValueError(f"deadline is {deadline!r}; expected seconds, a finite number > 0.")
    calls = list(calls)
    unique: dict[bytes, Call] = {}
    for call in calls:
        unique.setdefault(call.row, call)
    replies = store.replies(key, unique)
    new = [call for row, call in unique.items() if row not in replies]
    n_rows = len(unique) + n_known
    if max_cost is not None and any(call.reservation is None for call in new):
        raise ValueError(
            "max_cost is given, but the price of a call is unknown, so it can't be held. Pass "
            "price=, or max_cost=None."
        )
    if new:
        with Till(store, key, max_cost=max_cost, lease=deadline + _LEASE_MARGIN) as till:
            purchase = Purchase(
                Trial(new, store, till.key),
                replies,
                till,
                Workers(send, deadline),
                n_workers=n_workers,
                rate_limiter=rate_limiter or RateLimiter(clock=clock),
                breaker=breaker or CircuitBreaker(clock=clock),
                max_retries=max_retries,
                deadline=deadline,
                progress=SpendProgress(till.key.expert, n_rows, verbose, n_known),
                jitter=random.Random(seed),
                clock=clock,
                sleep=sleep,
            )
            purchase.run()
        if purchase.stop is not None:
            kind, why, how, cause = purchase.stop
            labels = [replies[c.row].answer if c.row in replies else None for c in calls]
            partial = np.empty(len(calls), dtype=object)
            partial[:] = labels
            n_known += sum(reply.outcome.replied for reply in replies.values())
            where = "in the store" if cause is None else "in .partial, if not in the store"
            raise kind(
                f"{why} {n_known} of {n_rows} rows have a reply; they are {where}. {how}",
                partial=partial,
            ) from cause
    came = [replies[row] for row in unique]
    failed = [reply for reply in came if not reply.outcome.replied]
    if failed:
        counts = Counter(str(reply.outcome) for reply in failed)
        texts = [reply.text for reply in failed if reply.text]
        warnings.warn(
            f"Calls to expert {ReplyKey(*key).expert!r} came to nothing for {len(failed)} of "
            f"{n_rows} rows: {', '.join(f'{n} {o}' for o, n in counts.most_common())}. These "
            f"have no answer, and are asked again next time. {texts[0] if texts else ''}".rstrip(),
            FailedCallsWarning,
            stacklevel=3,
        )
    return [replies[call.row] for call in calls]
