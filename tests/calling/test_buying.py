"""Buying: each row once, retries that wait, stops that keep what came, a cap that holds."""

import copy
import io
import pickle
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.calling import _purchase
from skdefer.calling._breaker import CircuitBreaker
from skdefer.calling._buying import buy
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._progress import SpendProgress
from skdefer.calling._rate import RateLimiter
from skdefer.calling._store import AnswerStore
from skdefer.calling._till import Balance, Call, Till
from skdefer.exceptions import (
    AnswerStoreError,
    BudgetExhaustedError,
    ExpertStoppedError,
    FailedCallsWarning,
)

KEY = ("gpt", "1", "prompt")


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Service:
    """Answers with the row in capitals, or as its script says; remembers each call."""

    def __init__(self, script=None, price=1.0, time=None):
        self.script = {row: list(replies) for row, replies in (script or {}).items()}
        self.price = price
        self.time = time or FakeTime()
        self.asked = []
        self.at = []
        self.lock = threading.Lock()

    def __call__(self, body, deadline):
        with self.lock:
            self.asked.append(body)
            self.at.append(self.time.clock())
            reply = self.script[body].pop(0) if self.script.get(body) else None
        if isinstance(reply, BaseException):
            raise reply
        return reply or Reply(Outcome.OK, body.upper(), price=self.price)


def calls(*rows, reservation=1.0):
    return [Call(row.encode(), row, reservation) for row in rows]


def spend(send, rows, store=None, **options):
    """Buy on a fake clock."""
    fake = getattr(send, "time", None) or FakeTime()
    options = {"store": store or AnswerStore(), "clock": fake.clock, "sleep": fake.sleep} | options
    return buy(rows, send, key=KEY, seed=0, **options)


def answers(replies):
    return [reply.answer for reply in replies]


@pytest.fixture
def store():
    return AnswerStore()


# -- once ---------------------------------------------------------------------------------


def test_identical_rows_are_one_call_and_known_rows_none(store):
    service = Service()
    assert answers(spend(service, calls("a", "b", "a"), store)) == ["A", "B", "A"]
    assert sorted(service.asked) == ["a", "b"]
    assert answers(spend(service, calls("b", "c", "a"), store)) == ["B", "C", "A"]
    assert sorted(service.asked) == ["a", "b", "c"]
    assert spend(service, [], store) == []
    assert store.spent("gpt").known == 3.0


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.integers(1, 9))
@settings(deadline=None, max_examples=25)
def test_any_batches_cost_each_row_once(rows, n_workers):
    store, service = AnswerStore(), Service()
    for part in (rows[::2], rows, rows[::-1]):
        got = spend(service, calls(*part), store, n_workers=n_workers)
        assert answers(got) == [row.upper() for row in part]
    assert Counter(service.asked) == Counter(set(rows))
    assert store.spent("gpt").known == len(set(rows))


def test_never_more_calls_in_flight_than_workers():
    flying, most, lock = 0, 0, threading.Lock()

    def send(body, deadline):
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        time.sleep(0.002)
        with lock:
            flying -= 1
        return Reply(Outcome.OK, body)

    buy(calls(*map(str, range(60))), send, key=KEY, store=AnswerStore(), n_workers=4)
    assert 1 < most <= 4


def test_a_reply_is_committed_before_the_next_call_goes_out(tmp_path):
    path = tmp_path / "answers.sqlite"
    other = AnswerStore(path)

    def send(body, deadline):
        known = {int(row) for row in other.replies(KEY, [b"%d" % i for i in range(5)])}
        return Reply(Outcome.OK, sorted(known) == list(range(int(body))))

    got = spend(send, calls(*"01234"), AnswerStore(path), n_workers=1)
    assert answers(got) == [True] * 5


def test_threads_that_buy_the_same_rows_buy_each_once(tmp_path):
    stores = [AnswerStore(tmp_path / "answers.sqlite") for _ in range(2)] * 2
    service, got = Service(time=time_of_the_day()), [None] * 4

    def send(body, deadline):
        time.sleep(0.001)
        return service(body, deadline)

    def work(i):
        got[i] = buy(calls(*map(str, range(40))), send, key=KEY, store=stores[i], n_workers=3)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(service.asked, key=int) == list(map(str, range(40)))
    assert all(answers(replies) == list(map(str, range(40))) for replies in got)


def time_of_the_day():
    fake = FakeTime()
    fake.clock = time.monotonic
    return fake


def test_a_row_that_somebody_else_buys_is_waited_for(store):
    class Passing(FakeTime):
        def sleep(self, seconds):
            super().sleep(seconds)
            if len(self.slept) == 3:
                theirs.trade([(Call(b"a"), Reply(Outcome.OK, "theirs"))])

    service = Service(time=Passing())
    with Till(store, KEY) as theirs:
        theirs.trade([], calls("a"))
        assert answers(spend(service, calls("a", "b"), store)) == ["theirs", "B"]
    assert service.asked == ["b"]


def test_a_row_is_taken_over_from_whoever_died(store):
    class Passing(FakeTime):
        def sleep(self, seconds):
            super().sleep(seconds)
            if len(self.slept) == 3:
                theirs.close()

    service = Service(time=Passing())
    theirs = Till(store, KEY)
    theirs.trade([], calls("a"))
    assert answers(spend(service, calls("a"), store)) == ["A"]
    assert store.spent("gpt") == (1.0, 0, 1.0)  # what was in flight may have been paid


# -- failures -------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.worth_retrying])
def test_what_may_pass_is_tried_again(outcome):
    service = Service({"a": [Reply(outcome)] * 3})
    assert answers(spend(service, calls("a", "b"), max_retries=3)) == ["A", "B"]
    assert Counter(service.asked) == {"a": 4, "b": 1}
    assert len(service.time.slept) == 3


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.replied])
def test_any_reply_is_kept_and_not_asked_again(outcome, store):
    answer = "A" if outcome is Outcome.OK else None
    service = Service({"a": [Reply(outcome, answer, text="what it wrote", price=0.5)]})
    for _ in range(2):
        assert [(r.outcome, r.answer) for r in spend(service, calls("a"), store)] == [
            (outcome, answer)
        ]
    assert service.asked == ["a"]
    assert store.spent("gpt").known == 0.5


def test_retries_end_and_the_row_is_asked_again_next_time(store):
    failures = [Reply(Outcome.SERVER_ERROR, text="HTTP 500: broken", price=0.0)] * 3
    service = Service({"a": failures, "b": [Reply(Outcome.BAD_REQUEST, text="HTTP 400: what?")]})
    with pytest.warns(FailedCallsWarning) as caught:
        got = spend(service, calls("a", "b", "c"), store, max_retries=2)
    assert [reply.outcome for reply in got] == ["server_error", "bad_request", "ok"]
    assert Counter(service.asked) == {"a": 3, "b": 1, "c": 1}
    (warning,) = caught
    assert "'gpt' came to nothing for 2 of 3 rows" in str(warning.message)
    assert "1 server_error, 1 bad_request" in str(warning.message)
    assert answers(spend(service, calls("a", "b", "c"), store)) == ["A", "B", "C"]


def test_retry_after_is_waited_out_by_all_calls():
    fake = FakeTime()
    service = Service({"a": [Reply(Outcome.RATE_LIMITED, retry_after=30.0)]}, time=fake)
    got = spend(service, calls("a", "b", "c"), n_workers=1)
    assert answers(got) == ["A", "B", "C"]
    assert service.asked[0] == "a"
    assert service.at[0] == 100.0
    assert min(service.at[1:]) >= 130.0
    assert max(service.at[1:]) <= 131.0


def test_a_shared_limiter_is_held(store):
    fake = FakeTime()
    limiter = RateLimiter(requests_per_minute=2, clock=fake.clock)
    service = Service(time=fake)
    spend(service, calls(*"abc"), store, rate_limiter=limiter)
    spend(service, calls(*"def"), store, rate_limiter=limiter)
    assert [at - 100.0 for at in service.at] == [0.0, 0.0, 60.0, 60.0, 120.0, 120.0]


def test_tokens_count_against_the_limit():
    fake = FakeTime()
    limiter = RateLimiter(tokens_per_minute=100, clock=fake.clock)
    service = Service(time=fake)
    rows = [Call(row.encode(), row, tokens=60) for row in "abc"]
    spend(service, rows, rate_limiter=limiter)
    assert [at - 100.0 for at in service.at] == [0.0, 60.0, 120.0]


# -- stops ----------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.stops])
def test_a_stop_keeps_what_is_in_flight_and_asks_no_more(outcome, store):
    stopped = threading.Event()

    def send(body, deadline):
        if body == "a":
            return Reply(outcome, text="HTTP 401: no")
        assert stopped.wait(30)  # still in flight when the stop is known
        return Reply(Outcome.OK, body.upper())

    class Watched(CircuitBreaker):
        def record(self, ok):
            super().record(ok)
            stopped.set()

    with pytest.raises(ExpertStoppedError, match=rf"'gpt' was stopped: {outcome}: HTTP 401") as e:
        spend(send, calls(*"abcdefg"), store, n_workers=3, breaker=Watched())
    assert e.value.partial.tolist() == [None, "B", "C", None, None, None, None]
    assert set(store.replies(KEY, [b"a", b"b", b"c", b"d"])) == {b"b", b"c"}
    assert "2 of 7 rows have a reply; they are in the store" in str(e.value)
    assert Till(store, KEY).balance().reserved == 0.0


def test_partial_has_an_answer_for_each_copy_of_a_row(store):
    service = Service({"c": [Reply(Outcome.AUTH)]})
    with pytest.raises(ExpertStoppedError) as stop:
        spend(service, calls(*"abacb"), store, n_workers=1)
    assert stop.value.partial.tolist() == ["A", "B", "A", None, "B"]
    assert answers(spend(service, calls(*"abacb"), store)) == [*"ABACB"]
    assert Counter(service.asked) == {"a": 1, "b": 1, "c": 2}


def test_a_service_that_fails_call_after_call_is_left_alone(store):
    fake = FakeTime()
    failures = [Reply(Outcome.SERVER_ERROR, text="HTTP 503", price=0.0)] * 99
    service = Service({str(i): failures for i in range(50)}, time=fake)
    breaker = CircuitBreaker(threshold=5, cooldown=10.0, max_probes=2, clock=fake.clock)
    with pytest.raises(ExpertStoppedError, match="fails call after call .*HTTP 503"):
        spend(service, calls(*map(str, range(50))), store, breaker=breaker, n_workers=1)
    assert len(service.asked) == 5 + 2
    with pytest.raises(ExpertStoppedError, match="in an earlier run"):
        spend(service, calls("x"), store, breaker=breaker)
    assert len(service.asked) == 5 + 2
    breaker.reset()
    assert answers(spend(service, calls("x"), store, breaker=breaker)) == ["X"]


def test_a_service_that_comes_back_is_asked_on():
    fake = FakeTime()
    service = Service({"0": [Reply(Outcome.SERVER_ERROR, price=0.0)] * 6}, time=fake)
    breaker = CircuitBreaker(threshold=5, cooldown=10.0, clock=fake.clock)
    rows = [str(i) for i in range(20)]
    got = spend(service, calls("0"), breaker=breaker, max_retries=10)
    got += spend(service, calls(*rows[1:]), breaker=breaker)
    assert answers(got) == rows
    assert not breaker.broken


def test_rate_limits_do_not_break_the_breaker():
    limited = [Reply(Outcome.RATE_LIMITED, retry_after=1.0)] * 3
    service = Service({str(i): limited for i in range(20)})
    breaker = CircuitBreaker(threshold=2, clock=service.time.clock)
    got = spend(service, calls(*map(str, range(20))), breaker=breaker)
    assert answers(got) == [str(i) for i in range(20)]


def test_what_send_raises_is_raised_once_the_others_are_kept(store):
    failed = threading.Event()

    def send(body, deadline):
        if body == "a":
            raise ZeroDivisionError("a bug")
        assert failed.wait(30)
        return Reply(Outcome.OK, body.upper(), price=1.0)

    class Watched(CircuitBreaker):
        def record(self, ok):
            super().record(ok)
            failed.set()

    with pytest.raises(ZeroDivisionError, match="a bug"):
        spend(send, calls(*"abcdef"), store, n_workers=3, breaker=Watched())
    assert set(store.replies(KEY, [b"a", b"b", b"c", b"d"])) == {b"b", b"c"}
    assert store.spent("gpt") == (2.0, 0, 1.0)  # a may have been paid for


@pytest.mark.parametrize("wrong", ["yes", None, Reply(Outcome.OK, object())])
def test_what_is_no_reply_is_a_bug_of_send(wrong, store):
    script = {"b": wrong}
    with pytest.raises(TypeError, match="expected a"):
        spend(
            lambda body, deadline: script.get(body, Reply(Outcome.OK, "A")),
            calls("a", "b"),
            store,
            n_workers=1,
        )
    assert set(store.replies(KEY, [b"a", b"b"])) == {b"a"}


def test_no_threads_are_left(store):
    before = set(threading.enumerate())
    service = Service({"3": [Reply(Outcome.AUTH)], "9": [ZeroDivisionError()]})
    for rows, error in (("012", None), ("345", ExpertStoppedError), ("89", ZeroDivisionError)):
        if error is None:
            spend(service, calls(*rows), store)
        else:
            with pytest.raises(error):
                spend(service, calls(*rows), store)
        assert set(threading.enumerate()) == before


def hanging(monkeypatch, ends_when_given_up):
    """A service whose call about "a" hangs, at most until it is given up."""
    monkeypatch.setattr(_purchase, "_GRACE", 0.3)
    end, ended = threading.Event(), threading.Event()

    def send(body, deadline):
        if body == "a":
            assert end.wait(30)
            ended.set()
        elif ends_when_given_up:
            assert ended.wait(30)
            time.sleep(0.05)  # so that the late reply has come
        return Reply(Outcome.OK, body.upper(), price=1.0)

    class Watched(CircuitBreaker):
        def record(self, ok):
            super().record(ok)
            if not ok and ends_when_given_up:
                end.set()

    options = {"n_workers": 1, "deadline": 0.05, "max_retries": 0, "breaker": Watched()}
    return send, options, end


def test_a_call_that_hangs_is_given_up(store, monkeypatch):
    send, options, end = hanging(monkeypatch, ends_when_given_up=False)
    with pytest.warns(FailedCallsWarning, match="1 timeout"):
        got = buy(calls("a", "b"), send, key=KEY, store=store, **options)
    assert [(r.outcome, r.answer) for r in got] == [("timeout", None), ("ok", "B")]
    assert store.spent("gpt") == (1.0, 0, 1.0)
    threads = [t for t in threading.enumerate() if t.name == "skdefer-call"]
    assert len(threads) == 1
    assert threads[0].daemon
    end.set()
    threads[0].join(30)
    assert not threads[0].is_alive()


def test_a_call_that_ends_late_is_heard_all_the_same(store, monkeypatch):
    send, options, _ = hanging(monkeypatch, ends_when_given_up=True)
    got = buy(calls("a", "b"), send, key=KEY, store=store, **options)
    assert answers(got) == ["A", "B"]
    assert store.spent("gpt") == (2.0, 0, 1.0)


# -- money ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 4])
def test_max_cost_is_exact_where_prices_are_known(n_workers, store):
    service = Service(price=0.01)
    rows = calls(*map(str, range(30)), reservation=0.01)
    with pytest.raises(BudgetExhaustedError, match=r"max_cost=0.1 could be exceeded") as error:
        spend(service, rows, store, max_cost=0.1, n_workers=n_workers)
    assert len(service.asked) == 10
    assert sum(answer is not None for answer in error.value.partial) == 10
    assert answers(spend(service, rows, store, max_cost=0.3)) == [str(i) for i in range(30)]
    assert len(service.asked) == 30
    # What is known costs nothing, whatever is left.
    assert answers(spend(service, rows, store, max_cost=0.0)) == [str(i) for i in range(30)]


@given(
    st.lists(
        st.tuples(
            st.floats(0.001, 1.0),  # the reservation
            st.floats(0.0, 1.5),  # the real price, as a share of it
            st.sampled_from(["ok", "ok", "unpriced", "timeout", "free"]),
        ),
        min_size=1,
        max_size=25,
    ),
    st.floats(0.0, 5.0),
    st.integers(1, 6),
)
@settings(deadline=None, max_examples=40)
def test_max_cost_is_exceeded_by_no_more_than_the_calls_in_flight(rows, max_cost, n_workers):
    paid, excess, lock = [], [], threading.Lock()

    def send(body, deadline):
        reservation, share, what = body
        with lock:
            if what == "free":
                return Reply(Outcome.SERVER_ERROR, price=0.0)
            share = share if what == "ok" else min(share, 1.0)
            paid.append(reservation * share)
            excess.append(max(reservation * (share - 1.0), 0.0))
        if what == "timeout":
            return Reply(Outcome.TIMEOUT)
        return Reply(Outcome.OK, "a", price=reservation * share if what == "ok" else None)

    store = AnswerStore()
    batch = [Call(b"%d" % i, row, row[0]) for i, row in enumerate(rows)]
    breaker = CircuitBreaker(threshold=10**6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FailedCallsWarning)
        options = {"n_workers": n_workers, "max_retries": 1, "breaker": breaker}
        with suppress(BudgetExhaustedError):
            spend(send, batch, store, max_cost=max_cost, **options)
    # Only the last calls to be admitted can carry it beyond, each by its own excess.
    assert sum(paid) <= max_cost * (1 + 1e-9) + sum(sorted(excess)[-n_workers:]) + 1e-9
    assert store.spent("gpt").known + store.spent("gpt").uncertain >= sum(paid) - 1e-9


def test_cheaper_calls_than_foreseen_make_room():
    service = Service(price=0.1)
    got = spend(service, calls(*"abcdefghij"), max_cost=1.95, n_workers=4)
    assert answers(got) == [*"ABCDEFGHIJ"]


def test_max_cost_with_an_unknown_price_is_refused():
    service = Service()
    with pytest.raises(ValueError, match="price of a call is unknown"):
        spend(service, calls("a", reservation=None), max_cost=1.0)
    assert service.asked == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_workers": 0}, "n_workers is 0"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"deadline": 0.0}, "deadline is 0.0"),
        ({"deadline": float("inf")}, "deadline is inf"),
    ],
)
def test_parameters_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        spend(Service(), calls("a"), **options)


# -- a store that fails -----------------------------------------------------------------------


class Failing(AnswerStore):
    """A store that can't be written from the second batch on."""

    n_writes = 0

    def run(self, work, *, write=False):
        if write:
            self.n_writes += 1
            if self.n_writes in self.fails_at:
                raise AnswerStoreError("The disk is full.")
        return super().run(work, write=write)


def failing(fails_at):
    store = Failing()
    store.fails_at = fails_at
    return store


def test_answers_that_can_not_be_kept_come_with_the_error():
    store = failing(range(2, 99))
    with pytest.raises(ExpertStoppedError, match="can't be kept. The disk is full") as error:
        spend(Service(), calls(*"abcd"), store, n_workers=2)
    assert isinstance(error.value.__cause__, AnswerStoreError)
    partial = error.value.partial.tolist()
    assert partial in (["A", "B", None, None], ["A", None, None, None], [None, "B", None, None])
    assert ".partial" in str(error.value)


def test_a_store_that_fails_for_a_moment_is_tried_once_more():
    store = failing([3])  # within the transaction that settles a
    with pytest.raises(ExpertStoppedError) as error:
        spend(Service(), calls(*"abcd"), store, n_workers=1)
    known = [answer for answer in error.value.partial if answer is not None]
    assert len(known) == len(store.to_frame()) >= 1
    store.fails_at = []
    assert answers(spend(Service(), calls(*"abcd"), store)) == [*"ABCD"]


def test_a_store_that_fails_before_anything_is_asked():
    service = Service()
    with pytest.raises(AnswerStoreError, match="disk is full"):
        spend(service, calls("a"), failing(range(99)))
    assert service.asked == []


# -- what is said -------------------------------------------------------------------------------


def test_progress_with_spend(capsys):
    spend(Service(price=0.25), calls(*"abcd"), max_cost=4.0, verbose=1)
    assert "gpt: 4 of 4 rows, spent 1, left 3 (" in capsys.readouterr().err
    spend(Service(), calls(*"abcd"), verbose=0)
    assert capsys.readouterr().err == ""


def test_a_progress_line_tells_all_that_is_known():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, before in ((io.StringIO(), ""), (Terminal(), "\r\x1b[K")):
        progress = SpendProgress("gpt", 10, 1, stream=stream)
        assert not progress.is_due()
        progress.show(3, 2, Balance(0.5, 1, 0.25, 0.125, None), last=True)
        line = "gpt: 3 of 10 rows, 2 failed, spent 0.5, 1 replies of unknown price, uncertain 0.25"
        assert stream.getvalue() == f"{before}{line} (0 s)\n"


@pytest.mark.parametrize("kind", [ExpertStoppedError, BudgetExhaustedError])
def test_a_stop_pickles_with_its_answers(kind):
    partial = np.array(["a", None], dtype=object)
    error = kind("why", np.array([["a"]], dtype=object), partial)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == "why"
        assert twin.partial.tolist() == ["a", None]
        assert twin.answers.tolist() == [["a"]]
