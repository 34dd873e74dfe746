"""The till: a row is bought by one at a time, and max_cost holds whoever buys."""

import math
import os
import signal
import threading
import time
import warnings
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.calling import _till
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore
from skdefer.calling._till import Call, Till, may_have_cost

KEY = ("gpt", "1", "prompt")
A, B, C = (Call(row, reservation=1.0) for row in (b"a", b"b", b"c"))


def yes(price=1.0):
    return Reply(Outcome.OK, "yes", price=price)


@pytest.fixture
def store(tmp_path):
    return AnswerStore(tmp_path / "answers.sqlite")


def rows(calls):
    return [call.row for call in calls]


def test_a_row_is_bought_by_one_at_a_time(store):
    with Till(store, KEY) as mine, Till(AnswerStore(store.path), KEY) as theirs:
        assert rows(mine.trade([], [A, B]).granted) == [b"a", b"b"]
        claims = theirs.trade([], [A, C])
        assert (rows(claims.elsewhere), rows(claims.granted)) == ([b"a"], [b"c"])
        mine.trade([(A, yes()), (B, None)])  # b was never sent
        claims = theirs.trade([], [A, B])
        assert [(call.row, reply.answer) for call, reply in claims.answered] == [(b"a", "yes")]
        assert rows(claims.granted) == [b"b"]


def test_another_question_about_the_row_is_another_claim(store):
    with Till(store, KEY) as mine, Till(store, ("gpt", "1", "other")) as theirs:
        mine.trade([], [A])
        assert rows(theirs.trade([], [A]).granted) == [b"a"]


@pytest.mark.parametrize(
    ("reply", "known", "n_unpriced", "uncertain"),
    [
        (yes(0.25), 0.25, 0, 0.0),
        (yes(None), 0.0, 1, 1.0),
        (Reply(Outcome.REFUSED, price=0.0), 0.0, 0, 0.0),
        (Reply(Outcome.UNPARSABLE), 0.0, 1, 1.0),
        (Reply(Outcome.TIMEOUT), 0.0, 0, 1.0),
        (Reply(Outcome.TIMEOUT, price=0.0), 0.0, 0, 0.0),
        (Reply(Outcome.SERVER_ERROR), 0.0, 0, 1.0),
        (Reply(Outcome.SERVER_ERROR, price=0.0), 0.0, 0, 0.0),
        (Reply(Outcome.SERVER_ERROR, price=0.5), 0.5, 0, 0.0),
        (Reply(Outcome.RATE_LIMITED), 0.0, 0, 0.0),
        (Reply(Outcome.AUTH), 0.0, 0, 0.0),
        (Reply(Outcome.BAD_REQUEST), 0.0, 0, 0.0),
        (None, 0.0, 0, 0.0),
    ],
)
def test_what_a_call_is_charged(store, reply, known, n_unpriced, uncertain):
    with Till(store, KEY, max_cost=2.0) as till:
        till.trade([], [A])
        assert till.balance() == (0.0, 0, 0.0, 1.0, 1.0)
        till.trade([(A, reply)])
        left = 2.0 - known - uncertain
        assert till.balance() == (known, n_unpriced, uncertain, 0.0, left)
    if reply is not None:
        assert may_have_cost(reply) == bool(uncertain)


def test_without_a_price_nothing_is_reserved(store):
    with Till(store, KEY) as till:
        till.trade([], [Call(b"a")])
        till.trade([(Call(b"a"), Reply(Outcome.OK, "yes"))])
        assert till.balance() == (0.0, 1, 0.0, 0.0, None)


def test_a_hundred_cents_are_one(store):
    with Till(store, KEY, max_cost=1.0) as till:
        for i in range(100):
            call = Call(b"%d" % i, reservation=0.01)
            assert till.trade([], [call]).granted == [call]
            till.trade([(call, yes(0.01))])
        assert till.trade([], [Call(b"x", reservation=0.01)]).unaffordable


def test_what_may_still_come_free_is_waited_for(store):
    with Till(store, KEY, max_cost=2.0) as till:
        claims = till.trade([], [A, B, C])
        assert (rows(claims.granted), rows(claims.waiting)) == ([b"a", b"b"], [b"c"])
        claims = till.trade([(A, yes(0.5))], [C])  # 0.5 is spent, 1 reserved
        assert rows(claims.waiting) == [b"c"]
        assert rows(till.trade([(B, yes(0.5))], [C]).granted) == [b"c"]
        claims = till.trade([(C, yes(1.0))], [Call(b"d", reservation=0.5), A])
        assert rows(claims.unaffordable) == [b"d"]
        assert rows([call for call, _ in claims.answered]) == [b"a"]  # costs nothing


def test_max_cost_counts_all_versions_and_earlier_runs(store):
    with Till(store, ("gpt", "0", "other"), max_cost=2.0) as till:
        till.trade([], [A])
        till.trade([(A, yes(1.5))])
    with Till(store, KEY, max_cost=2.0) as till:
        assert rows(till.trade([], [A]).unaffordable) == [b"a"]
    with Till(store, ("desk", "1", ""), max_cost=2.0) as till:
        assert rows(till.trade([], [A]).granted) == [b"a"]


def test_what_a_closed_till_left_may_have_cost(store):
    with Till(store, KEY) as till:
        till.trade([], [A])
    with Till(store, KEY, max_cost=2.0) as till:
        assert till.balance() == (0.0, 0, 1.0, 0.0, 1.0)
        assert rows(till.trade([], [A]).granted) == [b"a"]


@contextmanager
def another_process(store):
    """A process that has claimed a and b, and stays until it is killed."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
        child = os.fork()
    if child == 0:
        try:
            till = Till(AnswerStore(store.path), KEY, max_cost=3.0)
            till.trade([], [A, B])
            os.write(theirs, b"claimed")
            time.sleep(60)
        finally:
            os._exit(1)
    try:
        assert os.read(ours, 7) == b"claimed"
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ours)
        os.close(theirs)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
def test_claims_of_a_dead_process_are_void_and_uncertain(store):
    with another_process(store), Till(store, KEY) as till:
        assert rows(till.trade([], [A]).elsewhere) == [b"a"]
    with Till(store, KEY, max_cost=3.0) as till:
        assert till.balance().reserved == 2.0
        claims = till.trade([], [A, B])  # 2 may be spent; there is room for one
        assert (rows(claims.granted), rows(claims.waiting)) == ([b"a"], [b"b"])
        assert till.balance() == (0.0, 0, 2.0, 1.0, 0.0)
        till.trade([(A, yes(1.0))])
        assert rows(till.trade([], [B]).unaffordable) == [b"b"]


@needs_fork
def test_a_process_that_was_killed_and_not_yet_waited_for_is_dead(store):
    with another_process(store) as child, Till(store, KEY) as till:
        assert rows(till.trade([], [A]).elsewhere) == [b"a"]
        os.kill(child, signal.SIGKILL)
        until = time.monotonic() + 30
        while not (claims := till.trade([], [A])).granted and time.monotonic() < until:
            time.sleep(0.01)
        assert rows(claims.granted) == [b"a"]


@needs_fork
def test_another_process_of_the_same_number_is_not_the_owner(store, monkeypatch):
    with another_process(store), Till(store, KEY) as till:
        assert rows(till.trade([], [A]).elsewhere) == [b"a"]
        monkeypatch.setattr(_till, "birth_of", lambda pid: "long after")
        assert rows(till.trade([], [A]).granted) == [b"a"]


@needs_fork
def test_a_forked_process_is_not_its_parent(store):
    with Till(store, KEY) as till, another_process(store):
        assert rows(till.trade([], [A, B, C]).granted) == [b"c"]
    with Till(store, KEY) as till:
        till.trade([], [C])
        with another_process(store), Till(store, KEY) as other:
            assert rows(other.trade([], [C]).elsewhere) == [b"c"]


def test_a_lease_runs_out_unless_renewed(store, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(_till.time, "time", lambda: now[0])
    monkeypatch.setattr(_till, "_host", lambda: "here")
    with Till(store, KEY, lease=10.0) as mine:
        mine.trade([], [A])
        # Of another machine only the lease is known.
        monkeypatch.setattr(_till, "_host", lambda: "elsewhere")
        with Till(store, KEY, lease=10.0) as theirs:
            now[0] += 9.0
            mine.renew()
            now[0] += 9.0
            assert rows(theirs.trade([], [A]).elsewhere) == [b"a"]
            now[0] += 2.0
            assert rows(theirs.trade([], [A]).granted) == [b"a"]
            # Whoever was late is heard all the same, and charged.
            mine.trade([(A, yes(0.25))])
            assert theirs.balance() == (0.25, 0, 1.0, 1.0, None)
            theirs.trade([(A, Reply(Outcome.OK, "no", price=0.25))])
    assert store.replies(KEY, [b"a"])[b"a"].answer == "yes"
    assert store.spent("gpt") == (0.5, 0, 1.0)


def test_a_failed_trade_settles_and_claims_nothing(store):
    with Till(store, KEY) as till:
        till.trade([], [A])
        with pytest.raises(TypeError):
            till.trade([(A, Reply(Outcome.OK, object()))], [B])
        assert store.replies(KEY, [b"a"]) == {}
        assert till.balance().reserved == 1.0


CENTS = st.integers(0, 300).map(lambda cents: cents / 100)


@given(
    st.lists(st.tuples(st.sampled_from("sf-"), st.integers(0, 7), CENTS, CENTS), max_size=40),
    CENTS,
)
@settings(deadline=None, max_examples=60)
def test_max_cost_holds_whatever_happens(events, max_cost):
    """Real costs up to the reservations, failures of unknown cost, two tills, in any order."""
    store = AnswerStore()
    with Till(store, KEY, max_cost=max_cost) as one, Till(store, KEY, max_cost=max_cost) as two:
        held, paid = {}, 0.0  # what the world charged in truth
        for i, (what, row, reservation, cost) in enumerate(events):
            till = (one, two)[i % 2]
            call = Call(b"%d" % row, reservation=reservation)
            if row in held:
                holder, call = held.pop(row)
                cost = min(cost, call.reservation)
                if what == "s":
                    paid += cost
                    holder.trade([(call, yes(cost))])
                elif what == "f":
                    paid += cost
                    holder.trade([(call, Reply(Outcome.TIMEOUT))])
                else:
                    holder.trade([(call, None)])
            elif till.trade([], [call]).granted:
                held[row] = till, call
            flying = math.fsum(call.reservation for _, call in held.values())
            balance = one.balance()
            assert math.isclose(balance.reserved, flying, abs_tol=1e-9)
            assert paid + flying <= max_cost + 1e-6
            assert balance.left == two.balance().left


def test_threads_share_one_budget(store):
    granted = []

    def work(i):
        with Till(store, KEY, max_cost=10.0) as till:
            for j in range(10):
                call = Call(b"%d-%d" % (i, j), reservation=1.0)
                if till.trade([], [call]).granted:
                    till.trade([(call, yes(1.0))])
                    granted.append(call)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 10
    assert store.spent("gpt").known == 10.0
