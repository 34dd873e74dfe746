"""The limit is held in every window, by however many threads, and nothing waits for ever."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skdefer.calling._rate import RateLimiter


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def worst_window(calls, *, weigh):
    """The most that lies in any 60 seconds, by looking at the window from each call on."""
    windows = ([c for c in calls if start <= c[0] < start + 60.0] for start, _ in calls)
    return max((sum(map(weigh, window)) for window in windows), default=0)


# Times that floats hold exactly, so that the brute force has no rounding of its own.
moments = st.integers(0, 40 * 64).map(lambda n: n / 64)


@settings(max_examples=200)
@given(
    schedule=st.lists(st.tuples(moments, st.integers(0, 12)), max_size=60),
    requests=st.one_of(st.none(), st.integers(1, 6)),
    tokens=st.one_of(st.none(), st.integers(12, 30)),
)
def test_no_window_holds_more_than_the_limit(schedule, requests, tokens):
    clock = Clock()
    limiter = RateLimiter(requests, tokens, clock=clock)
    calls = []
    for gap, n_tokens in schedule:
        clock.now += gap / 4
        wait = limiter.wait_time(n_tokens)
        if wait:
            # Asking again after the wait is enough, and a moment earlier is not.
            asked = clock.now
            clock.now = asked + wait - 1 / 1024
            if wait > 1 / 512:
                assert limiter.wait_time(n_tokens) > 0
            clock.now = asked + wait
            assert limiter.wait_time(n_tokens) == 0.0
        calls.append((clock.now, n_tokens))
    if requests is not None:
        assert worst_window(calls, weigh=lambda call: 1) <= requests
    if tokens is not None:
        assert worst_window(calls, weigh=lambda call: call[1]) <= tokens


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.integers(1, 5))
def test_whoever_waits_as_told_gets_through(gaps, limit):
    clock = Clock(1e9 / 3)
    limiter = RateLimiter(limit, clock=clock)
    for gap in gaps:
        clock.now += gap
        for _ in range(3):  # once, and again where rounding left a trifle
            wait = limiter.wait_time()
            if wait == 0.0:
                break
            clock.now += wait
        else:
            pytest.fail("still waiting")


def test_a_question_that_must_wait_takes_nothing():
    clock = Clock()
    limiter = RateLimiter(2, clock=clock)
    assert [limiter.wait_time() for _ in range(5)] == [0.0, 0.0, 60.0, 60.0, 60.0]
    clock.now += 59.0
    assert limiter.wait_time() == 1.0
    clock.now += 1.0
    assert [limiter.wait_time() for _ in range(3)] == [0.0, 0.0, 60.0]


def test_both_limits_hold_at_once():
    clock = Clock()
    limiter = RateLimiter(3, 100, clock=clock)
    assert limiter.wait_time(90) == 0.0
    clock.now += 10
    assert limiter.wait_time(20) == 50.0
    assert limiter.wait_time(10) == 0.0
    assert limiter.wait_time(0) == 0.0
    assert limiter.wait_time(0) == 50.0  # the third call of the minute
    clock.now += 50
    assert limiter.wait_time(95) == 10.0  # 10 tokens are still counted
    assert limiter.wait_time(90) == 0.0


def test_a_call_larger_than_the_limit_goes_alone():
    clock = Clock()
    limiter = RateLimiter(tokens_per_minute=100, clock=clock)
    assert limiter.wait_time(1) == 0.0
    assert limiter.wait_time(500) == 60.0
    clock.now += 60
    assert limiter.wait_time(500) == 0.0
    assert limiter.wait_time(1) == 60.0


def test_no_limit_and_pauses():
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    assert all(limiter.wait_time(10**9) == 0.0 for _ in range(1000))
    limiter.pause(5.0)
    limiter.pause(2.0)  # the longer one stays
    assert limiter.wait_time() == 5.0
    clock.now += 5.0
    assert limiter.wait_time() == 0.0


def test_a_pause_and_a_full_window_do_not_add_up():
    clock = Clock()
    limiter = RateLimiter(1, clock=clock)
    assert limiter.wait_time() == 0.0
    limiter.pause(10.0)
    assert limiter.wait_time() == 60.0
    limiter.pause(90.0)
    assert limiter.wait_time() == 90.0


def test_threads_share_the_limit():
    limiter = RateLimiter(1000, 5000, clock=Clock())
    passed = []

    def work():
        passed.extend(1 for _ in range(500) if limiter.wait_time(3) == 0.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(passed) == 1000


def test_long_runs_pile_up_no_rounding_errors_and_no_calls():
    clock = Clock()
    limiter = RateLimiter(10**6, 1, clock=clock)
    for _ in range(20_000):
        assert limiter.wait_time(0.1) == 0.0
        clock.now += 7.0
    assert len(limiter._calls) < 10


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_the_limits_and_count_anew(duplicate):
    limiter = RateLimiter(1, 100)
    assert limiter.wait_time(100) == 0.0
    limiter.pause(1000.0)
    other = duplicate(limiter)
    assert repr(other) == repr(limiter)
    assert other.wait_time(100) == 0.0
    assert other.wait_time(100) > 0
    assert limiter.wait_time() > 900


def test_a_clone_of_an_expert_shares_it():
    limiter = RateLimiter(60)
    assert clone(limiter) is limiter


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
@pytest.mark.parametrize("value", [0, -1, 1.5, 60.0, "60", True, math.inf, math.nan])
def test_bad_limits(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*; expected an integer >= 1, or None"):
        RateLimiter(**{name: value})


def test_integers_of_numpy_are_integers():
    assert repr(RateLimiter(np.int64(5), np.int32(7))) == (
        "RateLimiter(requests_per_minute=5, tokens_per_minute=7)"
    )


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_bad_tokens_and_pauses(value):
    with pytest.raises(ValueError, match="tokens is"):
        RateLimiter(1).wait_time(value)
    with pytest.raises(ValueError, match="seconds is"):
        RateLimiter(1).pause(value)
