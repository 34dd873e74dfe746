"""Curves and areas against enumeration of all orders, and against closed forms."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.metrics import (
    aurdac_score,
    aursac_score,
    deferral_curve,
    normalized_aursac_score,
    oracle_accuracy_score,
)

from .cases import curve_by_enumeration, make_case

SEEDS = st.integers(0, 2**32 - 1)
ARRAYS = ("y_true", "y_pred", "expert_predictions", "deferral_score")


def arrays(case):
    return tuple(case[name] for name in ARRAYS)


def trapezoid(y, x):
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())


@pytest.mark.parametrize("n_experts", [1, 2])
@pytest.mark.parametrize("missing", [False, True])
def test_curve_is_the_mean_over_all_orders(n_experts, missing):
    for seed in range(15):
        case = make_case(seed, n_rows=2 + seed % 4, n_experts=n_experts, missing=missing)
        expected = curve_by_enumeration(*arrays(case))
        for found, wanted in zip(deferral_curve(*arrays(case)), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_curve_without_ties_by_hand():
    rate, system, experts = deferral_curve([0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 4, 2, 3])
    assert rate.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert system.tolist() == [0.5, 0.75, 1, 0.75, 0.5]
    np.testing.assert_allclose(experts, [np.nan, 1, 1, 2 / 3, 1 / 2])


def test_missing_answers_are_the_models_and_left_out_of_the_experts():
    _, system, experts = deferral_curve([1, 1, 1], [1, 1, 0], [None, 0, None], [3, 2, 1])
    np.testing.assert_allclose(system, [2 / 3, 2 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(experts, [np.nan, np.nan, 0, 0])


def test_infinite_scores_come_first_and_last():
    case = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    finite = deferral_curve(*case, [1, 4, 2, 3])
    infinite = deferral_curve(*case, [-np.inf, np.inf, 2, 3])
    np.testing.assert_array_equal(finite, infinite)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_both_ways_of_ranking_agree(seed):
    # Weights of one leave the fast way, by kinds of rows, for the general one.
    case = make_case(seed)
    n = len(case["y_true"])
    for fast, general in zip(
        deferral_curve(*arrays(case)), deferral_curve(*arrays(case), sample_weight=np.ones(n))
    ):
        np.testing.assert_allclose(fast, general, atol=1e-12)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_areas_are_trapezoids_over_the_points(seed):
    case = make_case(seed, missing=False)
    rate, system, experts = deferral_curve(*arrays(case))
    assert aursac_score(*arrays(case)) == pytest.approx(trapezoid(system, rate))
    expected = trapezoid(experts[1:], rate[1:]) / (1 - rate[1])
    assert aurdac_score(*arrays(case)) == pytest.approx(expected)


@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_areas_over_ranges_add_up(seed, low, middle):
    low, middle = sorted((low, middle))
    if not low < middle < 1:
        return
    case = make_case(seed)
    whole = aursac_score(*arrays(case), deferral_range=(low, 1)) * (1 - low)
    first = aursac_score(*arrays(case), deferral_range=(low, middle)) * (middle - low)
    second = aursac_score(*arrays(case), deferral_range=(middle, 1)) * (1 - middle)
    assert whole == pytest.approx(first + second, abs=1e-9)


def test_range_between_two_points_is_interpolated():
    case = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 4, 2, 3]
    # The system rises from .5 at 0 to .75 at 1/4.
    assert aursac_score(*case, deferral_range=(0.05, 0.1)) == pytest.approx(0.575)
    # The experts are at 1 at 1/2 and at 2/3 at 3/4.
    assert aurdac_score(*case, deferral_range=(0.5, 0.75)) == pytest.approx(5 / 6)
    assert aurdac_score(*case, deferral_range=(0, 0.5)) == pytest.approx(1)
    assert np.isnan(aurdac_score(*case, deferral_range=(0, 0.2)))


def test_area_of_experts_who_never_answer_is_nan():
    assert np.isnan(aurdac_score([0, 1], [0, 1], [None, None], [1, 0]))
    assert aursac_score([0, 1], [0, 0], [None, None], [1, 0]) == 0.5


def test_perfect_expert_has_an_area_of_one():
    assert aurdac_score([0, 1, 1], [0, 0, 0], [0, 1, 1], [3, 1, 2]) == pytest.approx(1)


def test_constant_score_is_halfway_between_model_and_expert():
    case = make_case(5, n_rows=40, n_experts=1, missing=False)
    y_true, y_pred, answers, _ = arrays(case)
    model, expert = np.mean(y_pred == y_true), np.mean(answers[:, 0] == y_true)
    area = aursac_score(y_true, y_pred, answers, np.zeros(40))
    assert area == pytest.approx((model + expert) / 2)


@pytest.mark.parametrize("seed", range(6))
def test_normalized_area_is_0_on_average_and_at_most_1(seed):
    y_true, y_pred, answers, _ = arrays(make_case(seed, n_rows=6, n_experts=1))
    found = [normalized_aursac_score(y_true, y_pred, answers, s) for s in permutations(range(6))]
    if not np.isnan(found).any():
        assert max(found) == pytest.approx(1)
        assert np.mean(found) == pytest.approx(0, abs=1e-12)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_score_that_knows_who_is_right_has_a_normalized_area_of_1(seed):
    y_true, y_pred, answers, _ = arrays(make_case(seed))
    model = (y_pred == y_true)[:, None]
    given_ = np.not_equal(answers, None)
    right = np.where(given_, answers == y_true[:, None], model)
    found = normalized_aursac_score(y_true, y_pred, answers, right.astype(int) - model)
    assert np.isnan(found) or found == pytest.approx(1)
    _, system, _ = deferral_curve(y_true, y_pred, answers, right.astype(int) - model)
    assert system.max() == pytest.approx(oracle_accuracy_score(y_true, y_pred, answers))


def test_normalized_area_of_experts_at_random_is_0():
    case = make_case(1, n_rows=8, n_experts=3)
    y_true, y_pred, answers, _ = arrays(case)
    nothing = normalized_aursac_score(y_true, y_pred, answers, np.zeros((8, 3)))
    assert nothing == pytest.approx(0, abs=1e-12)


def test_normalized_area_is_nan_where_every_row_gains_alike():
    assert np.isnan(normalized_aursac_score([0, 1], [0, 0], [0, 0], [1, 2]))
    assert np.isnan(normalized_aursac_score([0, 1], [1, 0], [0, 1], [1, 2]))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8"])
def test_score_may_have_any_dtype_of_numbers(dtype):
    case = [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]
    found = deferral_curve(*case, np.array([1, 4, 2, 3], dtype=dtype))
    np.testing.assert_array_equal(found, deferral_curve(*case, [1, 4, 2, 3]))


def test_inputs_are_left_as_they_are():
    case = make_case(3, n_experts=2)
    before = {name: value.copy() for name, value in case.items()}
    deferral_curve(*arrays(case))
    normalized_aursac_score(*arrays(case))
    for name, value in before.items():
        np.testing.assert_array_equal(value, case[name])


@pytest.mark.parametrize("deferral_range", [(0.5, 0.5), (1, 0), (-0.1, 1), (0, 1.1), 1, "ab", (0,)])
@pytest.mark.parametrize("metric", [aursac_score, aurdac_score, normalized_aursac_score])
def test_a_range_that_is_none_is_refused(metric, deferral_range):
    with pytest.raises(ValueError, match="deferral_range"):
        metric([0, 1], [0, 1], [0, 1], [0, 1], deferral_range=deferral_range)


def test_weighted_area_of_experts_is_near_that_of_repeated_rows():
    # A trapezoid of a line that bends: the two differ by the points in between only.
    rng = np.random.default_rng(0)
    n = 400
    y, answers, score = rng.integers(0, 2, n), rng.integers(0, 2, n), rng.random(n)
    weight = rng.integers(1, 4, n)
    repeated = [np.repeat(values, weight) for values in (y, y, answers, score)]
    weighted = aurdac_score(y, y, answers, score, sample_weight=weight)
    assert weighted == pytest.approx(aurdac_score(*repeated), abs=2 / n)
