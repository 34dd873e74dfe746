"""The threshold that pays most, against trying every cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.policies._thresholds import best_threshold

grid = st.integers(-4, 4).map(lambda i: i / 4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(grid, grid, st.integers(0, 3)), min_size=1, max_size=8))
def test_no_cut_gains_more(rows):
    score, gain, weight = np.array(rows, dtype=float).T
    threshold = best_threshold(score, gain, weight, lowest=-2.0, highest=2.0)
    total = lambda t: float((weight * gain)[score > t].sum())  # noqa: E731
    cuts = [-2.0, *np.unique(score), 2.0]
    best = max(total(t) for t in cuts)
    assert total(threshold) == pytest.approx(best)
    # Of equally good cuts the one that hands fewest over.
    n_handed = min((score > t).sum() for t in cuts if total(t) >= best - 1e-9)
    assert (score > threshold).sum() == n_handed


def test_it_lies_midway_between_neighbours():
    score, gain = np.array([0.8, 0.4, 0.1]), np.array([1.0, 1.0, -1.0])
    ends = {"lowest": -1.0, "highest": 1.0}
    assert best_threshold(score, gain, **ends) == pytest.approx(0.25)
    assert best_threshold(score, np.ones(3), **ends) == -1.0
    assert best_threshold(score, -np.ones(3), **ends) == 1.0
