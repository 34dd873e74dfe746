"""Waits before a call is made again: spread out, bounded, never shorter than asked for."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdefer.calling._retry import backoff


@given(
    attempt=st.integers(0, 10_000),
    retry_after=st.one_of(st.none(), st.floats(0, 3600)),
    base=st.floats(0.001, 10),
    longest=st.floats(0.001, 100),
    seed=st.integers(0, 1000),
)
def test_bounds(attempt, retry_after, base, longest, seed):
    wait = backoff(attempt, retry_after, random.Random(seed), base=base, longest=longest)
    least = retry_after or 0.0
    assert least <= wait <= least + min(longest, base * 2.0 ** min(attempt, 60)) + 1e-9


def test_jitter_fills_a_range_that_doubles_up_to_the_longest():
    rng = random.Random(0)
    for attempt, widest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30]):
        waits = [backoff(attempt, None, rng) for _ in range(2000)]
        assert min(waits) < 0.05 * widest
        assert 0.95 * widest < max(waits) <= widest
        assert np.mean(waits) == pytest.approx(widest / 2, rel=0.1)


def test_calls_that_were_told_the_same_time_do_not_come_back_together():
    rng = random.Random(0)
    waits = {backoff(2, 10.0, rng) for _ in range(100)}
    assert len(waits) == 100
    assert min(waits) >= 10.0


@pytest.mark.parametrize("rng", [np.random.default_rng(0), np.random.RandomState(0), random])
def test_any_source_of_random_numbers(rng):
    wait = backoff(1, 0.0, rng)
    assert type(wait) is float
    assert 0 <= wait <= 1
