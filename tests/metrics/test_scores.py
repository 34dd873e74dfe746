"""Accuracies, shares and calibration against loops over rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.metrics import (
    coverage_score,
    deferral_accuracy_score,
    deferral_rate,
    expert_calibration_loss,
    kept_accuracy_score,
    oracle_accuracy_score,
    system_accuracy_score,
)

from .cases import make_case

seeds = given(st.integers(0, 2**32 - 1))
some = settings(max_examples=40, deadline=None)


def answers_of(case):
    """Who answers, what, and whether that is right, row by row."""
    for i, route in enumerate(case["route"]):
        asked = case["expert_predictions"][i, route - 1] if route else None
        answer = case["y_pred"][i] if asked is None else asked
        yield route, asked, answer == case["y_true"][i]


def four(case):
    return case["y_true"], case["y_pred"], case["expert_predictions"], case["route"]


def mean_or_nan(values):
    return np.mean(values) if values else np.nan


@seeds
@some
def test_accuracies_row_by_row(seed):
    case = make_case(seed)
    rows = list(answers_of(case))
    assert system_accuracy_score(*four(case)) == pytest.approx(np.mean([r for _, _, r in rows]))
    np.testing.assert_allclose(
        deferral_accuracy_score(*four(case)),
        mean_or_nan([right for _, asked, right in rows if asked is not None]),
    )
    np.testing.assert_allclose(
        kept_accuracy_score(*four(case)), mean_or_nan([r for route, _, r in rows if route == 0])
    )


@seeds
@some
def test_system_is_made_of_its_parts(seed):
    case = make_case(seed, missing=False)
    route = case["route"]
    rate = deferral_rate(route)
    assert coverage_score(route) == pytest.approx(1 - rate)
    kept, deferred = kept_accuracy_score(*four(case)), deferral_accuracy_score(*four(case))
    together = (0 if rate == 1 else (1 - rate) * kept) + (0 if rate == 0 else rate * deferred)
    assert system_accuracy_score(*four(case)) == pytest.approx(together)


@seeds
@some
def test_no_route_beats_the_oracle(seed):
    case = make_case(seed)
    y_true, y_pred, answers, _ = four(case)
    oracle = oracle_accuracy_score(y_true, y_pred, answers)
    assert system_accuracy_score(*four(case)) <= oracle + 1e-12
    right = np.column_stack([y_pred == y_true, answers == y_true[:, None]])
    best = right.argmax(axis=1)
    assert system_accuracy_score(y_true, y_pred, answers, best) == pytest.approx(oracle)


def test_none_deferred_and_all_deferred():
    case = [0, 1], [0, 0], [1, 1]
    assert kept_accuracy_score(*case, [0, 0]) == 0.5
    assert np.isnan(deferral_accuracy_score(*case, [0, 0]))
    assert np.isnan(kept_accuracy_score(*case, [1, 1]))
    assert deferral_accuracy_score(*case, [1, 1]) == 0.5


def test_weights_of_nothing_but_kept_rows_leave_no_deferred_one():
    assert np.isnan(deferral_accuracy_score([0, 1], [0, 0], [0, 0], [0, 1], sample_weight=[1, 0]))


def test_flags_are_a_route_to_the_one_expert():
    flags = np.array([True, False, True])
    assert system_accuracy_score([0, 1, 2], [0, 1, 1], [0, 0, 2], flags) == 1
    assert deferral_rate(flags) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="flags"):
        system_accuracy_score([0, 1, 2], [0, 1, 1], np.zeros((3, 2)), flags)


def test_whole_floats_are_a_route():
    assert deferral_rate([0.0, 2.0]) == 0.5
    assert deferral_rate(np.array([0, 1], dtype=object)) == 0.5


def test_labels_of_any_kind():
    days = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]")
    assert oracle_accuracy_score(days, days[::-1], days) == 1
    assert oracle_accuracy_score([True, False], [False, False], [None, None]) == 0.5
    assert oracle_accuracy_score(["a", "b"], ["b", "b"], [["a"], [None]]) == 1
    assert oracle_accuracy_score([1, 2], [2, 2], [1.0, np.nan]) == 1  # whole floats are labels


def test_answer_of_another_kind_is_wrong():
    assert oracle_accuracy_score([1, 2], [2, 1], ["1", "2"]) == 0
    assert oracle_accuracy_score(["1", "2"], ["2", "1"], [1, 2]) == 0


def test_labels_that_can_never_match_are_refused():
    with pytest.raises(ValueError, match="no label can match"):
        oracle_accuracy_score([1, 2], ["1", "2"], [1, 2])
    with pytest.raises(ValueError, match="no label can match"):
        oracle_accuracy_score(["1", "2"], [1, 2], [1, 2])


@pytest.mark.parametrize(
    ("argument", "values", "message"),
    [
        ("y_true", [[0, 1], [1, 0]], r"y_true has shape \(2, 2\)"),
        ("y_pred", [0, 1, 1], "y_pred has 3 rows, but y_true has 2"),
        ("expert_predictions", [[0, 1, 1], [1, 0, 0]][0], "has 3 rows, but y_true has 2"),
        ("route", [0], "route has 1 rows, but y_true has 2"),
        ("route", [0, 2], "from 0 .the model. to 1"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(argument, values, message):
    case = {"y_true": [0, 1], "y_pred": [0, 1], "expert_predictions": [0, 1], "route": [0, 1]}
    with pytest.raises(ValueError, match=message):
        system_accuracy_score(**(case | {argument: values}))


def test_transposed_answers_are_recognised():
    with pytest.raises(ValueError, match="transpose"):
        oracle_accuracy_score([0, 1, 1], [0, 1, 1], [[0, 1, 1], [1, 0, 1]])
    with pytest.raises(ValueError, match="transpose"):
        oracle_accuracy_score(
            [0, 1, 1], [0, 1, 1], pd.DataFrame([[0, 1, 1]] * 2, columns=list("abc"))
        )


# -- calibration ----------------------------------------------------------------------


def test_promises_that_hold_cost_nothing():
    y_true, answers = np.zeros(10, dtype=int), np.array([0] * 5 + [0, 0, 0, 0, 1])
    promise = [1.0] * 5 + [0.8] * 5
    assert expert_calibration_loss(y_true, answers, promise, n_bins=2) == pytest.approx(0)


def test_loss_is_the_gap_averaged_over_bins():
    y_true, answers = np.zeros(4, dtype=int), np.array([0, 1, 0, 0])
    promise = [0.2, 0.4, 0.6, 0.8]
    one = expert_calibration_loss(y_true, answers, promise, n_bins=1)
    assert one == pytest.approx(abs(0.5 - 0.75))
    two = expert_calibration_loss(y_true, answers, promise, n_bins=2)
    assert two == pytest.approx((abs(0.3 - 0.5) + abs(0.7 - 1)) / 2)
    many = expert_calibration_loss(y_true, answers, promise, n_bins=100)
    assert many == pytest.approx((0.8 + 0.4 + 0.4 + 0.2) / 4)


def test_experts_are_looked_at_one_by_one():
    # Pooled, one expert's excess would hide the other's lack.
    y_true, answers = np.zeros((4,), dtype=int), np.array([[0, 1]] * 4)
    assert expert_calibration_loss(y_true, answers, np.full((4, 2), 0.5)) == pytest.approx(0.5)


def test_missing_answers_are_left_out():
    case = [0, 0, 0, 1], [0, None, 1, None], [0.9, 0.1, 0.3, 0.2]
    left = [0, 0], [0, 1], [0.9, 0.3]
    assert expert_calibration_loss(*case) == pytest.approx(expert_calibration_loss(*left))
    assert np.isnan(expert_calibration_loss([0, 1], [None, None], [0.5, 0.5]))


def test_calibrated_promises_cost_little_and_shifted_ones_the_shift():
    rng = np.random.default_rng(0)
    promise = rng.uniform(0.3, 0.7, 20_000)
    answers = (rng.random(20_000) > promise).astype(int)  # right with that probability
    y_true = np.zeros(20_000, dtype=int)
    assert expert_calibration_loss(y_true, answers, promise) < 0.02
    shifted = expert_calibration_loss(y_true, answers, promise + 0.2)
    assert shifted == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("promise", [[0.5, 1.5], [-0.1, 0.5], [np.nan, 0.5]])
def test_promise_that_is_no_probability_is_refused(promise):
    with pytest.raises(ValueError, match="expected_accuracy"):
        expert_calibration_loss([0, 1], [0, 1], promise)


@pytest.mark.parametrize("n_bins", [0, -1, 2.5, None])
def test_number_of_bins_is_checked(n_bins):
    with pytest.raises(ValueError, match="n_bins"):
        expert_calibration_loss([0, 1], [0, 1], [0.5, 0.5], n_bins=n_bins)
