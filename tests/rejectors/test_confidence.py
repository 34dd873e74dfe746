"""ConfidenceRejector: Chow's rule, and one number per expert."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.experts import ExpertProfile
from skdefer.policies import CostPolicy
from skdefer.rejectors import ConfidenceRejector

RNG = np.random.default_rng(0)
PROBA = RNG.dirichlet(np.ones(3), size=60)
Y = RNG.integers(3, size=60)
ANSWERS = np.where(RNG.random((60, 2)) < [0.9, 0.5], Y[:, None], (Y[:, None] + 1) % 3)
MATRIX = np.array([[0.0, 1.0, 4.0], [2.0, 0.5, 1.0], [7.0, 3.0, 0.0]])


@given(st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_without_experts_it_is_chows_rule(cost):
    loss = ConfidenceRejector().fit(PROBA, Y, None).expected_loss(PROBA)
    assert loss.shape == (60, 2)
    np.testing.assert_array_equal(loss[:, 1], 0.0)
    rejected = CostPolicy().route(loss[:, :1] - loss[:, 1:] - cost) > 0
    np.testing.assert_array_equal(rejected, 1 - PROBA.max(axis=1) > cost)


def test_chows_rule_is_best_for_its_price():
    """Over all sets of points to reject, none has a smaller expected cost."""
    eta = PROBA[:8]
    loss = ConfidenceRejector().fit(eta, Y[:8], None, classes=[0, 1, 2]).expected_loss(eta)
    for cost in (0.1, 0.3, 0.5):
        rejected = loss[:, 0] - loss[:, 1] - cost > 0
        sets = (np.arange(2**8)[:, None] >> np.arange(8)) & 1
        costs = np.where(sets, cost, 1 - eta.max(axis=1)).sum(axis=1)
        assert np.where(rejected, cost, 1 - eta.max(axis=1)).sum() == pytest.approx(costs.min())


def test_without_experts_a_matrix_prices_the_model():
    loss = ConfidenceRejector().fit(PROBA, Y, None, error_cost=MATRIX).expected_loss(PROBA)
    wanted = [min(p @ MATRIX[:, a] for a in range(3)) for p in PROBA]
    np.testing.assert_allclose(loss[:, 0], wanted)
    # Who is never wrong still pays what a right answer costs on a class.
    shares = np.bincount(Y) / 60
    np.testing.assert_allclose(loss[:, 1], shares @ MATRIX.diagonal())


@pytest.mark.parametrize("matrix", [None, MATRIX])
@pytest.mark.parametrize("weight", [None, RNG.random(60)])
def test_an_expert_has_one_number(matrix, weight):
    rejector = ConfidenceRejector().fit(PROBA, Y, ANSWERS, error_cost=matrix, sample_weight=weight)
    loss = rejector.expected_loss(PROBA)
    w = np.ones(60) if weight is None else weight
    cost = 1.0 - np.eye(3) if matrix is None else matrix
    for j in range(2):
        expected = 0.0
        for k in range(3):
            # Posterior mean of P(answer | class): a uniform prior of the accuracy, what is left
            # shared by the other classes.
            rows = np.flatnonzero(np.equal(Y, k))
            said = np.bincount(ANSWERS[rows, j], w[rows], minlength=3)
            row = said + np.where(np.arange(3) == k, 1.0, 0.5)
            expected += w[rows].sum() / w.sum() * (row / row.sum()) @ cost[k]
        np.testing.assert_allclose(loss[:, 1 + j], expected)
    if matrix is None:
        np.testing.assert_allclose(loss[:, 0], 1 - PROBA.max(axis=1))


def test_rows_are_ordered_by_the_models_confidence_alone():
    loss = ConfidenceRejector().fit(PROBA, Y, ANSWERS).expected_loss(PROBA)
    for j in (1, 2):
        gain = loss[:, 0] - loss[:, j]
        np.testing.assert_array_equal(np.argsort(gain), np.argsort(-PROBA.max(axis=1)))


def test_overall_accuracy_comes_near_the_share_of_right_answers():
    y = np.repeat([0, 1], [9000, 1000])
    answers = np.where(np.arange(10_000) % 10 < 8, y, 1 - y)
    loss = ConfidenceRejector().fit(np.eye(2)[y], y, answers).expected_loss(np.eye(2))
    assert loss[0, 1] == pytest.approx(0.2, abs=1e-3)


def test_other_experts_are_weighed_by_the_shares_of_fit():
    rejector = ConfidenceRejector().fit(PROBA, Y, ANSWERS)
    sure = ExpertProfile(prior_accuracy=[1.0, 0.0, 0.5], classes=[0, 1, 2]).fit([], [])
    other = rejector.with_profiles([sure])
    shares = np.bincount(Y) / 60
    np.testing.assert_allclose(other.expected_loss(PROBA)[:, 1], 1 - shares @ sure.mean_)
    assert rejector.expected_loss(PROBA).shape == (60, 3), "the old one is left alone"
