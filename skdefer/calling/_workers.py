"""Threads that make calls and do nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from skdefer.calling._outcomes import Reply
from skdefer.calling._records import write_reply
from skdefer.calling._till import Call


class Ticket:
    """One call on its way: who makes it, since when, and what came of it.

    Parameters
    ----------
    call : Call
        What is asked.
    started : float
        When it was handed to a worker.
    """

    __slots__ = ("call", "error", "finished", "reply", "started", "thread")

    def __init__(self, call: Call, started: float):
        self.call = call
        self.started = started
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self.finished = False
        self.thread: threading.Thread | None = None


class Workers:
    """Daemon threads, made as they are needed, that run ``send`` and put down what comes.

    They touch no store and decide nothing. Each ends with ``close``, or, if its call hangs, with
    that call.

    Parameters
    ----------
    send : callable
        ``send(body, deadline) -> Reply``.
    deadline : float
        Seconds that a call may take.
    """

    def __init__(self, send: Callable[[Any, float], Reply], deadline: float):
        self._send = send
        self._deadline = deadline
        self._jobs: SimpleQueue[Ticket | None] = SimpleQueue()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, ticket: Ticket, n_busy: int) -> None:
        """Make a call; ``n_busy`` threads have one already, or hang."""
        if n_busy >= len(self._threads):
            thread = threading.Thread(target=self._work, name="skdefer-call", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._jobs.put(ticket)

    def wait(self, seconds: float) -> None:
        """Wait until some call ends, ``wake`` is called, or time is up."""
        try:
            self._bell.get(timeout=max(seconds, 0.0))
            while True:  # what came of the calls stands in the tickets
                self._bell.get_nowait()
        except Empty:
            pass

    def wake(self) -> None:
        """End a wait; may be called in a signal handler."""
        self._bell.put(None)

    def close(self, unfinished: Sequence[Ticket] = ()) -> None:
        """End the threads; those with unfinished calls are left to end with them."""
        for _ in self._threads:
            self._jobs.put(None)
        busy = {ticket.thread for ticket in unfinished}
        for thread in self._threads:
            if thread not in busy:
                thread.join()

    def _work(self) -> None:
        while (ticket := self._jobs.get()) is not None:
            ticket.thread = threading.current_thread()
            try:
                ticket.reply = self._send(ticket.call.body, self._deadline)
                if not isinstance(ticket.reply, Reply):
                    raise TypeError(f"send returned {ticket.reply!r}; expected a Reply.")
                write_reply(ticket.reply)  # what no store can hold is a bug, too
            except BaseException as error:  # a bug in send; it is raised where people look
                ticket.reply, ticket.error = None, error
            ticket.finished = True
            self._bell.put(None)
