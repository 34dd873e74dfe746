"""CostPolicy: whatever gains, to whom it gains most."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.policies import CostPolicy

scores = st.integers(1, 4).flatmap(
    lambda n_experts: st.lists(
        st.lists(
            st.sampled_from([-np.inf, -1.0, -1e-300, 0.0, 1e-300, 0.5, 1.0, np.inf]),
            min_size=n_experts,
            max_size=n_experts,
        ),
        min_size=1,
        max_size=8,
    )
)


@given(scores)
@settings(deadline=None, max_examples=80)
def test_the_route_by_brute_force(score):
    route = CostPolicy().route(score)
    for row, got in zip(score, route):
        gains = [0.0, *row]  # the model first: ties are its own, then the first expert's
        assert got == gains.index(max(gains))


def test_it_needs_no_fit_and_learns_nothing():
    fitted = CostPolicy().fit([[0.1], [0.2]], [0, 1], [0, 0], [1, 1])
    assert not vars(fitted)
    np.testing.assert_array_equal(
        fitted.route([[0.1], [-0.1]]), CostPolicy().route([[0.1], [-0.1]])
    )


@pytest.mark.parametrize("score", [[0.1, 0.2], 0.1, np.zeros((2, 0)), np.zeros((2, 1, 1))])
def test_scores_are_by_row_and_expert(score):
    with pytest.raises(ValueError, match=r"score has shape .*; expected \(n_rows, n_experts\)"):
        CostPolicy().route(score)


def test_scores_are_numbers():
    with pytest.raises(ValueError, match="score has NaN; expected numbers. Use -inf"):
        CostPolicy().route([[np.nan, 0.1]])
