"""Rows are held out at random, but never all of a class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.neural._held_out import hold_out


def hold(y, groups=None, fraction=0.2, seed=0):
    y = np.asarray(y)
    rows = np.arange(len(y))
    return hold_out(y, groups, rows, fraction, np.random.RandomState(seed))


@settings(max_examples=200, deadline=None)
@given(
    y=st.lists(st.integers(0, 4), min_size=2, max_size=20),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_every_class_is_taught_or_it_is_refused(y, fraction, seed):
    size = max(round(fraction * len(y)), 1)
    if size > len(y) - len(set(y)):
        with pytest.raises(ValueError, match="too few.* to hold .*early_stopping=False"):
            hold(y, fraction=fraction, seed=seed)
        return
    taught, held_out = hold(y, fraction=fraction, seed=seed)
    assert sorted([*taught, *held_out]) == list(range(len(y)))
    assert len(held_out) == size
    assert {y[i] for i in taught} == set(y)


def test_who_is_held_out_is_drawn():
    y = [0, 0, 0, 0, 1]
    drawn = {int(hold(y, seed=seed)[1][0]) for seed in range(50)}
    assert drawn == {0, 1, 2, 3}


def test_whole_groups_are_held_out_that_leave_every_class():
    y = np.repeat([0, 1, 0, 1, 2], 4)
    groups = np.repeat([0, 1, 2, 3, 4], 4)  # class 2 is in the last alone
    for seed in range(30):
        taught, held_out = hold(y, groups, seed=seed)
        assert set(y[taught]) == {0, 1, 2}
        assert not set(groups[taught]) & set(groups[held_out])
    with pytest.raises(ValueError, match="too few groups to hold any out.*early_stopping=False"):
        hold([0, 0, 1, 1], [0, 0, 1, 1])
