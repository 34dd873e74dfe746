"""The risk-coverage curve against enumeration, and its link to the deferral curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.metrics import aurc_loss, deferral_curve, risk_coverage_curve

from .cases import make_case, orders_of


@pytest.mark.parametrize("seed", range(10))
def test_curve_is_the_mean_over_all_orders(seed):
    case = make_case(seed, n_rows=5, n_experts=1)
    wrong = case["y_pred"] != case["y_true"]
    score = case["deferral_score"][:, 0]
    risks = [np.cumsum(wrong[order]) / np.arange(1, 6) for order in orders_of(-score)]
    coverage, risk = risk_coverage_curve(case["y_true"], case["y_pred"], score)
    np.testing.assert_allclose(coverage, np.arange(6) / 5)
    np.testing.assert_allclose(risk, [np.nan, *np.mean(risks, axis=0)], atol=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_perfect_expert_makes_it_the_deferral_curve(seed):
    # With an expert who is always right, the system errs on kept rows only.
    case = make_case(seed)
    y_true, y_pred, score = case["y_true"], case["y_pred"], case["deferral_score"].max(axis=1)
    rate, system, _ = deferral_curve(y_true, y_pred, y_true, score)
    coverage, risk = risk_coverage_curve(y_true, y_pred, score)
    np.testing.assert_allclose(coverage, (1 - rate)[::-1], atol=1e-12)
    np.testing.assert_allclose((coverage * risk)[1:], (1 - system)[::-1][1:], atol=1e-12)


def test_area_by_hand():
    # Kept one by one: right, right, wrong, wrong.
    risks = [0, 0, 1 / 3, 1 / 2]
    expected = (risks[0] / 2 + risks[1] + risks[2] + risks[3] / 2) / 3
    loss = aurc_loss([0, 0, 1, 1], [0, 1, 1, 0], [0.1, 0.9, 0.2, 0.3])
    assert loss == pytest.approx(expected)


def test_area_is_near_the_sum_of_the_paper():
    rng = np.random.default_rng(0)
    y_true, score = np.zeros(500, dtype=int), rng.random(500)
    y_pred = (rng.random(500) < score).astype(int)
    mean_risk = np.mean(risk_coverage_curve(y_true, y_pred, score)[1][1:])
    assert aurc_loss(y_true, y_pred, score) == pytest.approx(mean_risk, abs=1 / 500)


def test_better_doubt_costs_less():
    y_true, y_pred = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
    knows = aurc_loss(y_true, y_pred, y_true != y_pred)
    nothing = aurc_loss(y_true, y_pred, np.zeros(4))
    reverse = aurc_loss(y_true, y_pred, y_true == y_pred)
    assert knows < nothing < reverse
    assert nothing == pytest.approx(0.5)
