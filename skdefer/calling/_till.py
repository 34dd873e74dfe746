"""Who buys which row right now, and what an expert may still cost."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._processes import birth_of
from skdefer.calling._store import AnswerStore, ReplyKey
from skdefer.exceptions import AnswerStoreError

if TYPE_CHECKING:
    from sqlite3 import Connection

_ROUNDING = 1e-9  # of max_cost: a hundred calls at .01 are 1, whatever floats say
_open_tills: set[str] = set()  # owners of this process, to tell theirs from a dead namesake's

_OURS = "expert = ? AND version = ? AND prompt = ? AND row = ?"
_DROP = f"DELETE FROM claims WHERE {_OURS} AND owner = ?"
_HOLDER = f"SELECT owner, host, pid, born, expires, reserved FROM claims WHERE {_OURS}"
_CLAIM = "INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Call:
    """One question about one row.

    Parameters
    ----------
    row : bytes
        Digest of what is asked about the row; equal digests are one question.
    body : object
        What ``send`` is given; skdefer.calling never looks inside.
    reservation : float, default=None
        The most that the call may cost, in the unit of ``max_cost``; None: unknown.
    tokens : int, default=0
        What the call is expected to take of a limit of tokens per minute.
    """

    row: bytes
    body: Any = None
    reservation: float | None = None
    tokens: int = 0


class Balance(NamedTuple):
    """What an expert has cost, and what is left of ``max_cost``.

    Parameters
    ----------
    known : float
        Prices of replies.
    n_unpriced : int
        Replies whose price is not known.
    uncertain : float
        The most that calls may have cost of which no price came.
    reserved : float
        The most that calls in flight may cost, of all processes.
    left : float or None
        What is left of ``max_cost``; None: there is none.
    """

    known: float
    n_unpriced: int
    uncertain: float
    reserved: float
    left: float | None


@dataclass
class Claims:
    """What became of the rows that were to be claimed; each call is in one of the lists.

    Parameters
    ----------
    granted : list of Call
        Ours to buy; each must be settled.
    answered : list of (Call, Reply)
        Bought by somebody else meanwhile.
    elsewhere : list of Call
        Being bought by somebody else.
    waiting : list of Call
        They fit into ``max_cost`` only if calls in flight turn out cheaper than they may be.
    unaffordable : list of Call
        They don't fit, whatever becomes of the calls in flight; and the calls after them.
    """

    granted: list[Call] = field(default_factory=list)
    answered: list[tuple[Call, Reply]] = field(default_factory=list)
    elsewhere: list[Call] = field(default_factory=list)
    waiting: list[Call] = field(default_factory=list)
    unaffordable: list[Call] = field(default_factory=list)


class Till:
    """Claims on rows and the ledger of one expert, exact across threads and processes.

    A claim says that somebody is buying a row, and reserves what it may cost. It ends when the
    call is settled. The claim of a dead process (same host) or past its lease is void: its
    reservation becomes uncertain spend, since the call may have been paid for.

    Parameters
    ----------
    store : AnswerStore
        Where replies, claims and the ledger are.
    key : ReplyKey, or a tuple (expert, version, prompt)
        What is asked. Money is counted by ``expert`` alone.
    max_cost : float, default=None
        The most that the expert may ever cost in this store. A call is admitted only if what is
        spent, uncertain and reserved leaves room for its reservation. None: no limit.
    lease : float, default=120.0
        Seconds after which a claim is void unless renewed.

    Examples
    --------
    >>> from skdefer.calling._outcomes import Outcome, Reply
    >>> from skdefer.calling._store import AnswerStore
    >>> from skdefer.calling._till import Call, Till
    >>> till = Till(AnswerStore(), ("gpt", "1", ""), max_cost=0.05)
    >>> claims = till.trade([], [Call(b"a", reservation=0.03), Call(b"b", reservation=0.03)])
    >>> len(claims.granted), len(claims.waiting)
    (1, 1)
    >>> paid = (claims.granted[0], Reply(Outcome.OK, "yes", price=0.01))
    >>> len(till.trade([paid], claims.waiting).granted)
    1
    >>> till.balance().known
    0.01
    >>> till.close()
    """

    def __init__(
        self,
        store: AnswerStore,
        key: Sequence[str],
        *,
        max_cost: float | None = None,
        lease: float = 120.0,
    ):
        self.store = store
        self.key = ReplyKey(*key)
        self.max_cost = max_cost
        self.lease = lease
        self._owner = uuid4().hex
        self._who = (self._owner, _host(), os.getpid(), birth_of(os.getpid()) or "")
        self._has_claims = False
        _open_tills.add(self._owner)

    def trade(
        self, settled: Iterable[tuple[Call, Reply | None]], wanted: Sequence[Call] = ()
    ) -> Claims:
        """Settle calls and claim others, in one transaction.

        Parameters
        ----------
        settled : iterable of (Call, Reply or None)
            What came of calls. A reply is kept and charged; of a failure, its reservation is
            uncertain spend if it may have been paid for (:func:`may_have_cost`). None: the call
            was never sent. In every case the claim ends.
        wanted : sequence of Call
            Calls to claim, in order of preference.

        Returns
        -------
        claims : Claims
            What became of ``wanted``.

        Raises
        ------
        AnswerStoreError
            If the store can't be used. Then nothing is settled or claimed.
        """
        settled = list(settled)
        with_reply = [(call, reply) for call, reply in settled if reply is not None]

        def work(connection: Connection) -> Claims:
            self.store.keep(self.key, [(call.row, reply) for call, reply in with_reply])
            self._charge_failures(with_reply)
            connection.executemany(
                _DROP, [(*self.key, call.row, self._owner) for call, _ in settled]
            )
            return self._claim(connection, wanted)

        return self.store.run(work, write=True)

    def balance(self) -> Balance:
        """Tell what the expert has cost, and what is left.

        Returns
        -------
        balance : Balance
            Over all versions, prompts and processes.
        """
        with self.store.transaction(write=False) as connection:
            spent = self.store.spent(self.key.expert)
            reserved = _reserved(connection, self.key.expert)
        left = None
        if self.max_cost is not None:
            left = max(self.max_cost - math.fsum((spent.known, spent.uncertain, reserved)), 0.0)
        return Balance(*spent, reserved, left)

    def renew(self) -> None:
        """Let the leases of all claims begin anew."""
        renewed = (time.time() + self.lease, self._owner)
        self.store.run(
            lambda c: c.execute("UPDATE claims SET expires = ? WHERE owner = ?", renewed),
            write=True,
        )

    def close(self) -> None:
        """End what claims are left; their calls may have been paid for."""
        _open_tills.discard(self._owner)
        if self._has_claims:  # a till that was only read writes nothing
            self.store.run(self._sweep, write=True)
            self._has_claims = False

    def __enter__(self) -> Till:
        return self

    def __exit__(self, *error: Any) -> None:
        with suppress(AnswerStoreError):  # then the lease ends the claims
            self.close()

    # -- within a transaction -----------------------------------------------------------

    def _charge_failures(self, settled: list[tuple[Call, Reply]]) -> None:
        """Charge what replies did not say they cost, and calls that brought none."""
        failed = [reply.price or 0.0 for _, reply in settled if not reply.outcome.replied]
        unsaid = [call.reservation or 0.0 for call, reply in settled if may_have_cost(reply)]
        self.store.charge(self.key.expert, spent=math.fsum(failed), uncertain=math.fsum(unsaid))

    def _claim(self, connection: Connection, wanted: Sequence[Call]) -> Claims:
        claims = Claims()
        if not wanted:
            return claims
        expires = time.time() + self.lease
        found = self.store.replies(self.key, [call.row for call in wanted])
        spent = self.store.spent(self.key.expert)
        certain = math.fsum((spent.known, spent.uncertain))
        reserved = _reserved(connection, self.key.expert)
        room = math.inf if self.max_cost is None else self.max_cost * (1 + _ROUNDING)
        for call in wanted:
            if call.row in found:
                claims.answered.append((call, found[call.row]))
                continue
            holder = connection.execute(_HOLDER, (*self.key, call.row)).fetchone()
            if holder is not None and _is_live(*holder[:5]):
                claims.elsewhere.append(call)
                continue
            if holder is not None:
                self._void(connection, call.row, holder)
                certain, reserved = certain + holder[5], reserved - holder[5]
            price = call.reservation or 0.0
            if certain + reserved + price > room:
                # Reservations of the dead would never come free.
                self._sweep(connection)
                certain = math.fsum(self.store.spent(self.key.expert)[::2])
                reserved = _reserved(connection, self.key.expert)
            if claims.unaffordable or certain + price > room:
                claims.unaffordable.append(call)
            elif certain + reserved + price > room:
                claims.waiting.append(call)
            else:
                connection.execute(_CLAIM, (*self.key, call.row, *self._who, expires, price))
                reserved += price
                claims.granted.append(call)
                self._has_claims = True
        return claims

    def _void(self, connection: Connection, row: bytes, holder: tuple[Any, ...]) -> None:
        connection.execute(_DROP, (*self.key, row, holder[0]))
        self.store.charge(self.key.expert, uncertain=holder[5])

    def _sweep(self, connection: Connection) -> None:
        """Void the claims on this expert that nobody holds any more."""
        claims = connection.execute(
            "SELECT owner, host, pid, born, expires, reserved, version, prompt, row FROM claims "
            "WHERE expert = ?",
            (self.key.expert,),
        ).fetchall()
        for owner, host, pid, born, expires, reserved, version, prompt, row in claims:
            if not _is_live(owner, host, pid, born, expires):
                connection.execute(_DROP, (self.key.expert, version, prompt, row, owner))
                self.store.charge(self.key.expert, uncertain=reserved)


def may_have_cost(reply: Reply) -> bool:
    """Tell whether a call may have cost what nobody said.

    Parameters
    ----------
    reply : Reply
        What came of the call.

    Returns
    -------
    may : bool
        True without a price, if a reply came, or if none came although the service may have
        worked on it (too late, broken on the way). ``price=0.0`` on a failure says that it
        cost nothing: the connection was refused, or the service reported an error.
    """
    outcome = reply.outcome
    late = outcome in (Outcome.TIMEOUT, Outcome.SERVER_ERROR)
    return reply.price is None and (outcome.replied or late)


def _reserved(connection: Connection, expert: str) -> float:
    """Sum what calls in flight may cost, those of dead processes too."""
    claims = connection.execute("SELECT reserved FROM claims WHERE expert = ?", (expert,))
    return math.fsum(price for (price,) in claims)


def _is_live(owner: str, host: str, pid: int, born: str, expires: float) -> bool:
    """Tell whether somebody still holds a claim."""
    if expires < time.time():
        return False
    if host != _host():  # of another machine only the lease is known
        return True
    if pid == os.getpid():
        return owner in _open_tills
    found = birth_of(pid)
    return found is not None and found == born


def _host() -> str:
    """Name the machine, and on Linux the space in which process ids count."""
    try:
        return f"{platform.node()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()
