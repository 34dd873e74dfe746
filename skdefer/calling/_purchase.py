"""One run of buying: the thread that decides which call goes out when."""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from skdefer.calling._breaker import CircuitBreaker
from skdefer.calling._interrupt import CtrlC
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._processes import is_orphan
from skdefer.calling._progress import SpendProgress
from skdefer.calling._rate import RateLimiter
from skdefer.calling._retry import backoff
from skdefer.calling._till import Call, Till
from skdefer.calling._trial import Trial
from skdefer.calling._workers import Ticket, Workers
from skdefer.exceptions import AnswerStoreError, BudgetExhaustedError, ExpertStoppedError

_POLL = 0.25  # seconds between two looks at a row that somebody else is buying
_LONGEST_WAIT = 1.0  # where Ctrl-C does not end a wait
_GRACE = 10.0  # seconds past its deadline after which a call is given up for hanging
_FAREWELL = 5.0  # seconds for the calls in flight after Ctrl-C
_LONGEST_PAUSE = 300.0  # seconds that a service may ask to be waited for
_TOLD_PAUSE = 10.0  # seconds from which on a wait is told

# The service is in trouble, or every call is wrong; what else it says shows that it works.
_TROUBLE = (Outcome.TIMEOUT, Outcome.SERVER_ERROR, Outcome.BAD_REQUEST)
_HINTS = {
    Outcome.AUTH: "Check the key, in the environment variable that key_variable names.",
    Outcome.QUOTA: "The account is used up: top it up, or wait until it is renewed.",
}


class Stop(NamedTuple):
    """Why no more calls are made, and how to go on."""

    kind: type[ExpertStoppedError]
    why: str
    how: str
    cause: Exception | None


class Purchase:
    """What is to be asked, is in flight, and has come.

    A call is first claimed, then it waits for limiter and breaker, then it flies, then it is
    settled; one that failed comes back to be claimed after a while. So claims are the calls in
    flight (or about to be), and all that a killed process leaves behind.

    Parameters
    ----------
    trial : Trial
        The calls, one per row, and which of them go first.
    replies : dict of bytes to Reply
        Filled in place; what is in it is committed.
    till, workers, rate_limiter, breaker, progress
        The parts that are put to use.
    n_workers, max_retries, deadline, clock, sleep
        As in :func:`buy`.
    jitter : random.Random
        For waits.
    """

    def __init__(
        self,
        trial: Trial,
        replies: dict[bytes, Reply],
        till: Till,
        workers: Workers,
        *,
        n_workers: int,
        rate_limiter: RateLimiter,
        breaker: CircuitBreaker,
        max_retries: int,
        deadline: float,
        progress: SpendProgress,
        jitter: Random,
        clock: Callable[[], float],
        sleep: Callable[[float], None] | None,
    ):
        self.replies = replies
        self.till = till
        self.workers = workers
        self.n_workers = n_workers
        self.rate_limiter = rate_limiter
        self.breaker = breaker
        self.max_retries = max_retries
        self.deadline = deadline
        self.progress = progress
        self.jitter = jitter
        self.clock = clock
        self.sleep = sleep
        self.trial = trial
        self.fresh = deque(trial.first)  # not looked at so far
        self.later: list[tuple[float, int, Call]] = []  # a heap: not before then
        self.ready: deque[Call] = deque()  # claimed; they go out as limiter and breaker allow
        self.counted: Call | None = None  # the first of them, once the limiter has counted it
        self.flying: list[Ticket] = []
        self.hanging: list[Ticket] = []  # given up, but what they bring is kept all the same
        self.unsettled: list[tuple[Call, Reply | None]] = []
        self.n_failures: Counter[bytes] = Counter()
        self.n_pushed = 0
        self.last_failure = ""
        self.next_event = math.inf
        self.renew_at = clock() + till.lease / 3
        self.told_until = -math.inf  # a wait up to then has been told
        self.stop: Stop | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Buy until there is a reply to every call, or a reason to stop (``stop``)."""
        with CtrlC(self.workers.wake) as interrupt:
            try:
                while not interrupt.came and self.turn():
                    self.wait()
            except AnswerStoreError as error:
                self.give_up_store(error)
            except BaseException as error:  # Ctrl-C by a handler of the user's, or a bug
                self.error = error
            try:
                self.drain(interrupt)
            finally:
                self.workers.close(self.flying + self.hanging)
        if interrupt.came:
            raise KeyboardInterrupt
        if self.error is not None:
            raise self.error
        if self.progress.on:
            self.progress.show(*self.counts(), self.till.balance(), last=True)

    # -- one turn -----------------------------------------------------------------------

    def turn(self) -> bool:
        """Take in what has come and send out what may go; False once it is time to stop."""
        now = self.clock()
        self.next_event = math.inf
        self.collect(now)
        if self.breaker.broken:
            self.halt(
                f"the service fails call after call ({self.last_failure or 'in an earlier run'})."
            )
        if is_orphan():
            self.halt("it was asked in a worker process, and the process that started it is gone.")
        while self.go_on():
            wanted = self.next_calls(now)
            if not (wanted or self.unsettled):
                break
            more = self.trade(wanted, now)
            if not self.release() and not (more and wanted):
                break
        if self.go_on():
            self.send_out(now)
        if now >= self.renew_at:
            self.till.renew()
            self.renew_at = now + self.till.lease / 3
        self.tell(now)
        left = self.flying or self.ready or self.later or self.fresh
        return self.go_on() and bool(left)

    def go_on(self) -> bool:
        """Whether calls may still be made."""
        return self.stop is None and self.error is None

    def collect(self, now: float) -> None:
        """Take in the calls that have ended, or hang."""
        flying, self.flying = self.flying, []
        for ticket in flying:
            if ticket.finished:
                self.take(ticket, now)
            elif now > ticket.started + self.deadline + _GRACE:
                self.hanging.append(ticket)
                text = f"no end {_GRACE:g} s after its deadline of {self.deadline:g} s"
                self.take_failure(ticket.call, Reply(Outcome.TIMEOUT, text=text), now)
            else:
                self.flying.append(ticket)
        for ticket in [t for t in self.hanging if t.finished]:
            self.hanging.remove(ticket)
            if ticket.reply is not None and ticket.reply.outcome.replied:
                self.unsettled.append((ticket.call, ticket.reply))

    def take(self, ticket: Ticket, now: float) -> None:
        """Take in a call that has ended."""
        if ticket.error is not None:  # nobody knows what it cost
            self.error = self.error or ticket.error
            self.breaker.record(False)
            self.unsettled.append((ticket.call, Reply(Outcome.SERVER_ERROR)))
        elif ticket.reply is not None and ticket.reply.outcome.replied:
            self.breaker.record(True)
            self.unsettled.append((ticket.call, ticket.reply))
        elif ticket.reply is not None:
            self.take_failure(ticket.call, ticket.reply, now)

    def take_failure(self, call: Call, reply: Reply, now: float) -> None:
        """Decide whether a call that failed is made again."""
        outcome = reply.outcome
        self.unsettled.append((call, reply))
        self.last_failure = f"{outcome}: {reply.text}".rstrip(" .:")
        self.breaker.record(outcome not in _TROUBLE)
        pause = reply.retry_after or 0.0
        if pause > _LONGEST_PAUSE:
            self.halt(
                f"{self.last_failure}. The service asks to wait {pause:.0f} s.",
                "Run it again then to go on from there.",
            )
        elif pause:
            self.rate_limiter.pause(pause)
        if outcome.stops:
            self.halt(f"{self.last_failure}. {_HINTS[outcome]}")
        elif outcome.worth_retrying and self.n_failures[call.row] < self.max_retries:
            wait = backoff(self.n_failures[call.row], reply.retry_after, self.jitter)
            self.put_off(call, now + wait)
        else:
            self.replies[call.row] = reply
        self.n_failures[call.row] += 1

    def next_calls(self, now: float) -> list[Call]:
        """Choose calls for the free workers: those that waited, then new ones."""
        free = self.n_workers - len(self.flying) - len(self.ready)
        chosen: list[Call] = []
        while len(chosen) < free:
            if self.later and self.later[0][0] <= now:
                call = heapq.heappop(self.later)[2]
            elif self.fresh:
                call = self.fresh.popleft()
            else:
                break
            if call.row not in self.replies:  # a call that hung may have brought it
                chosen.append(call)
        return chosen

    def trade(self, wanted: Sequence[Call], now: float) -> bool:
        """Settle and claim; True if more could be claimed."""
        try:
            claims = self.till.trade(self.unsettled, wanted)
        except BaseException:
            self.fresh.extendleft(reversed(wanted))
            raise
        for call, reply in self.unsettled:
            if reply is not None and reply.outcome.replied:
                self.replies[call.row] = reply
        self.unsettled = []
        self.replies.update((call.row, reply) for call, reply in claims.answered)
        self.ready.extend(claims.granted)
        for call in claims.elsewhere + claims.waiting:
            self.put_off(call, now + _POLL)
        if claims.unaffordable:
            self.say_unaffordable(claims.unaffordable[0])
        return not claims.waiting and len(claims.granted) < len(wanted)

    def release(self) -> bool:
        """Let the calls go that were held back, once one is answered; stop if none is."""
        judged = self.trial.judge(self.replies) if self.trial.held else None
        if judged:
            self.fresh.extend(self.trial.release())
        elif judged is False:
            self.halt(*self.trial.explain(self.replies))
        return bool(judged)

    def send_out(self, now: float) -> None:
        """Let calls go that are claimed, as far as limiter and breaker allow."""
        while self.ready:
            call = self.ready[0]
            # The breaker is asked last: what it lets through must fly.
            wait = 0.0 if call is self.counted else self.rate_limiter.wait_time(call.tokens)
            if not wait:
                self.counted = call
                wait = self.breaker.wait_time()
            if wait:
                self.next_event = min(self.next_event, now + wait)
                return
            ticket = Ticket(self.ready.popleft(), now)
            self.workers.submit(ticket, len(self.flying) + len(self.hanging))
            self.flying.append(ticket)

    def put_off(self, call: Call, until: float) -> None:
        """Come back to a call later."""
        self.n_pushed += 1  # calls themselves have no order
        heapq.heappush(self.later, (until, self.n_pushed, call))

    def tell(self, now: float) -> None:
        """Show how far it is; at once where a long wait begins, with the reason."""
        if not self.progress.on:
            return
        ends = min(self.next_event, self.later[0][0] if self.later else math.inf)
        idle = not self.flying and self.go_on() and _TOLD_PAUSE < ends - now < math.inf
        why = f"waits {ends - now:.0f} s ({self.last_failure or 'rate_limiter'})" if idle else ""
        if self.progress.is_due() or (idle and ends > self.told_until + 1.0):
            self.progress.show(*self.counts(), self.till.balance(), why)
            self.told_until = ends if idle else self.told_until

    def wait(self) -> None:
        """Wait for the next thing that can happen."""
        events = [self.next_event, self.renew_at]
        events += [t.started + self.deadline + _GRACE for t in self.flying]
        if self.later and len(self.flying) + len(self.ready) < self.n_workers:
            events.append(self.later[0][0])
        seconds = min(events) - self.clock()
        if self.sleep is None or self.flying:
            self.workers.wait(min(seconds, _LONGEST_WAIT))
        elif seconds > 0:
            self.sleep(seconds)

    # -- the end ------------------------------------------------------------------------

    def halt(
        self,
        why: str,
        how: str = "Run it again to go on from there.",
        kind: type[ExpertStoppedError] = ExpertStoppedError,
        cause: Exception | None = None,
    ) -> None:
        """Make no more calls; the first reason counts."""
        if self.stop is None:
            why = f"Expert {self.till.key.expert!r} was stopped: {why}"
            self.stop = Stop(kind, why, how, cause)

    def say_unaffordable(self, call: Call) -> None:
        """Stop since the next call doesn't fit into ``max_cost``."""
        balance = self.till.balance()
        uncertain = f" and perhaps {balance.uncertain:g} more" if balance.uncertain else ""
        self.halt(
            f"max_cost={self.till.max_cost:g} could be exceeded: {balance.known:g}{uncertain} is "
            f"spent, {balance.left:.4g} is left, and the next call may cost {call.reservation:.4g} "
            "at its dearest.",
            "Raise max_cost to go on from there.",
            BudgetExhaustedError,
        )

    def give_up_store(self, error: AnswerStoreError) -> None:
        """Stop since nothing can be kept; what was bought goes along with the error."""
        if self.unsettled or self.flying:
            self.halt(f"its answers can't be kept. {error}", cause=error)
        else:
            self.error = error

    def drain(self, interrupt: CtrlC) -> None:
        """Wait for the calls in flight, keep what they bring, and release the others."""
        self.unsettled += [(call, None) for call in self.ready]
        self.ready.clear()
        until = math.inf
        while True:
            now = time.monotonic()
            if interrupt.came or isinstance(self.error, KeyboardInterrupt):
                until = min(until, now + (0.0 if interrupt.came_twice else _FAREWELL))
            self.collect(self.clock())
            over = not self.flying or now >= until
            # A store that fails is tried once more, in the end.
            if over or (self.unsettled and not self.store_failed()):
                self.settle_last()
            if over:
                return
            self.workers.wait(min(until - now, _LONGEST_WAIT))

    def store_failed(self) -> bool:
        """Whether the store has failed before."""
        return self.stop is not None and isinstance(self.stop.cause, AnswerStoreError)

    def settle_last(self) -> None:
        """Settle without claiming more; what can't be kept is returned at least."""
        if not self.unsettled:
            return
        try:
            self.trade([], 0.0)
        except AnswerStoreError as error:
            self.give_up_store(error)
            for call, reply in self.unsettled:
                if reply is not None and reply.outcome.replied:
                    self.replies[call.row] = reply

    def counts(self) -> tuple[int, int]:
        """Rows with a reply, and rows that failed for good."""
        n_failed = sum(1 for row in self.n_failures if self.is_final_failure(row))
        return len(self.replies) - n_failed, n_failed

    def is_final_failure(self, row: bytes) -> bool:
        """Whether a row has a failure for a reply."""
        return row in self.replies and not self.replies[row].outcome.replied
