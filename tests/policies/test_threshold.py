"""ThresholdPolicy: a threshold that is known, taken off before another policy decides."""

import numpy as np
import pytest

from skdefer.policies import BudgetPolicy, ThresholdPolicy, TopKPolicy
from skdefer.policies._thresholds import candidate_thresholds

SCORE = np.array([[0.2, 0.3], [-0.1, -0.2], [0.1, 0.1]])


def test_above_and_below_0():
    np.testing.assert_array_equal(ThresholdPolicy(0.1).route(SCORE), [2, 0, 0])
    np.testing.assert_array_equal(ThresholdPolicy(-0.15).route(SCORE), [2, 1, 1])
    assert not ThresholdPolicy(np.inf).route(SCORE + np.inf).any()


def test_with_several_experts_per_row():
    policy = ThresholdPolicy(0.15, policy=TopKPolicy(2, vote="weighted"))
    np.testing.assert_array_equal(policy.panel(SCORE), [[1, 1], [0, 0], [0, 0]])
    assert policy.vote_weights(np.full((1, 2), 0.9), 2) is not None


def test_an_expert_who_is_away_stays_away():
    away = np.array([[-np.inf, 0.0], [-np.inf, -np.inf]])
    np.testing.assert_array_equal(ThresholdPolicy(-1.0).route(away), [2, 0])


def test_policies_that_learn_are_refused():
    with pytest.raises(ValueError, match="BudgetPolicy, which learns where to cut"):
        ThresholdPolicy(policy=BudgetPolicy()).fit(SCORE, [0] * 3, [0] * 3, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="threshold"):
        ThresholdPolicy(-np.inf).fit(SCORE, [0] * 3, [0] * 3, np.zeros((3, 2)))


def test_candidates():
    score = np.array([0.4, 0.1, 0.1, -0.2, -np.inf])
    np.testing.assert_allclose(candidate_thresholds(score), [np.inf, 0.25, -0.05, -0.8])
    np.testing.assert_allclose(candidate_thresholds(score, lowest=0.0), [np.inf, 0.25, 0.0])
    np.testing.assert_allclose(candidate_thresholds(score, most=2), [np.inf, -0.8])
    np.testing.assert_allclose(candidate_thresholds(np.array([0.5, 0.5])), [np.inf, -0.5])
    np.testing.assert_allclose(candidate_thresholds(np.array([-np.inf])), [np.inf])
