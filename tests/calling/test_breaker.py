"""A service that is down is left alone, probed by single calls, and given up in the end."""

import math
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdefer.calling._breaker import CircuitBreaker


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def fail(breaker, times):
    for _ in range(times):
        breaker.record(False)


def test_a_success_in_between_starts_the_count_again(clock):
    breaker = CircuitBreaker(threshold=3, clock=clock)
    for _ in range(10):
        fail(breaker, 2)
        breaker.record(True)
    assert breaker.wait_time() == 0.0
    fail(breaker, 3)
    assert breaker.wait_time() == 1.0


def test_one_probe_at_a_time_and_its_success_closes(clock):
    breaker = CircuitBreaker(threshold=2, cooldown=4.0, clock=clock)
    fail(breaker, 2)
    clock.now += 3.0
    assert breaker.wait_time() == 1.0
    clock.now += 1.0
    assert breaker.wait_time() == 0.0  # the probe
    assert breaker.wait_time() > 0
    clock.now += 100.0
    assert breaker.wait_time() > 0  # still under way
    breaker.record(True)
    assert [breaker.wait_time() for _ in range(5)] == [0.0] * 5
    fail(breaker, 1)
    assert breaker.wait_time() == 0.0


def test_failed_probes_double_the_pause_and_break_it_for_good(clock):
    breaker = CircuitBreaker(threshold=1, cooldown=1.0, max_probes=3, clock=clock)
    breaker.record(False)
    for pause in (1.0, 2.0, 4.0):
        assert not breaker.broken
        assert breaker.wait_time() == pause
        clock.now += pause
        assert breaker.wait_time() == 0.0
        breaker.record(False)
    assert breaker.broken
    assert breaker.wait_time() == math.inf
    breaker.record(True)  # a call that was still under way
    assert breaker.broken
    breaker.reset()
    assert not breaker.broken
    assert breaker.wait_time() == 0.0


def test_a_recovered_service_starts_with_a_short_pause_again(clock):
    breaker = CircuitBreaker(threshold=1, cooldown=1.0, max_probes=3, clock=clock)
    for _ in range(5):
        breaker.record(False)
        assert breaker.wait_time() == 1.0
        clock.now += 1.0
        assert breaker.wait_time() == 0.0
        breaker.record(False)
        clock.now += 2.0
        assert breaker.wait_time() == 0.0
        breaker.record(True)
    assert not breaker.broken


def test_calls_under_way_when_it_opens_count_for_nothing(clock):
    breaker = CircuitBreaker(threshold=10, clock=clock)
    fail(breaker, 10 + 22)  # 32 workers, all of them fail
    assert breaker.wait_time() == 1.0
    assert not breaker.broken


def test_a_late_success_closes(clock):
    breaker = CircuitBreaker(threshold=2, clock=clock)
    fail(breaker, 2)
    breaker.record(True)
    assert breaker.wait_time() == 0.0


@given(
    st.lists(st.sampled_from(["ok", "fail", "ask", "second"]), max_size=200),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_it_breaks_exactly_after_so_many_probes(steps, threshold, max_probes):
    clock = Clock()
    breaker = CircuitBreaker(threshold=threshold, max_probes=max_probes, clock=clock)
    in_a_row, failed_probes, is_open, probing = 0, 0, False, False
    for step in steps:
        if breaker.broken:
            break
        if step == "second":
            clock.now += 1.0
        elif step == "ask":
            went = breaker.wait_time() == 0.0
            assert went or is_open
            if went and is_open:
                assert not probing
                probing = True
        elif step == "ok":
            breaker.record(True)
            in_a_row, failed_probes, is_open, probing = 0, 0, False, False
        else:
            breaker.record(False)
            in_a_row += not is_open
            if probing:
                failed_probes += 1
                probing = False
            is_open = is_open or in_a_row >= threshold
        assert breaker.broken == (failed_probes >= max_probes)


def test_threads_get_one_probe_between_them(clock):
    breaker = CircuitBreaker(threshold=1, clock=clock)
    breaker.record(False)
    clock.now += 1.0
    went = []
    threads = [
        threading.Thread(target=lambda: went.append(breaker.wait_time() == 0.0)) for _ in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(went) == 1


def test_a_copy_starts_closed():
    breaker = CircuitBreaker(threshold=1, cooldown=5.0, max_probes=1)
    breaker.record(False)
    assert repr(breaker) == "CircuitBreaker(open)"
    other = pickle.loads(pickle.dumps(breaker))
    assert repr(other) == "CircuitBreaker(closed)"
    assert (other.threshold, other.cooldown, other.max_probes) == (1, 5.0, 1)
    other.record(False)
    assert other.wait_time() > 4


@pytest.mark.parametrize(
    "bad", [{"threshold": 0}, {"max_probes": 0}, {"cooldown": 0.0}, {"cooldown": math.nan}]
)
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CircuitBreaker(**bad)
