"""The cost of the system against a loop over rows, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.metrics import system_accuracy_score, system_cost

from .cases import make_case
from .test_scores import answers_of, four

seeds = given(st.integers(0, 2**32 - 1))
some = settings(max_examples=40, deadline=None)


@seeds
@some
def test_without_prices_it_is_the_error(seed):
    case = make_case(seed)
    assert system_cost(*four(case)) == pytest.approx(1 - system_accuracy_score(*four(case)))


@seeds
@some
def test_cost_row_by_row(seed):
    case = make_case(seed, n_experts=2)
    rng = np.random.default_rng(seed)
    n, K = len(case["y_true"]), 3
    price, matrix = rng.random((n, 2)), rng.random((K, K))
    total = 0
    for i, (route, asked, _) in enumerate(answers_of(case)):
        answer = case["y_pred"][i] if asked is None else asked
        losses = matrix[case["y_true"][i]]
        total += losses[answer] if answer < K else losses.max()
        total += price[i, route - 1] if asked is not None else 0
    found = system_cost(*four(case), cost=price, error_cost=matrix, labels=[0, 1, 2])
    assert found == pytest.approx(total / n)


CASE = ["b", "a", "c"], ["b", "b", "c"], ["a", "a", None], [1, 1, 1]
MATRIX = np.array([[0, 1, 2], [3, 0, 4], [5, 6, 0]])


def test_nothing_is_paid_for_a_missing_answer():
    assert system_cost(*CASE, cost=0.3, error_cost=0) == pytest.approx(0.2)


def test_prices_per_expert_and_per_row():
    y, answers = [0, 1, 0], np.array([[0, 1], [1, 0], [1, 0]])
    route = [1, 2, 2]
    assert system_cost(y, y, answers, route, cost=[1, 10]) == pytest.approx((1 + 11 + 10) / 3)
    per_row = [[1, 2], [3, 4], [5, 6]]
    assert system_cost(y, y, answers, route, cost=per_row) == pytest.approx((1 + 5 + 6) / 3)


def test_matrix_is_in_the_order_of_the_sorted_labels():
    # The only error: a b answered "a".
    assert system_cost(*CASE, error_cost=MATRIX) == pytest.approx(3 / 3)


def test_order_of_the_matrix_can_be_given():
    order = ["c", "a", "b"]
    shuffled = MATRIX[np.ix_([2, 0, 1], [2, 0, 1])]
    assert system_cost(*CASE, error_cost=shuffled, labels=order) == pytest.approx(1)


def test_frame_is_read_by_its_labels():
    frame = pd.DataFrame(MATRIX, index=list("abc"), columns=list("abc"))
    shuffled = frame.loc[list("cab"), list("bca")]
    assert system_cost(*CASE, error_cost=shuffled) == pytest.approx(1)


def test_labels_may_have_classes_that_do_not_occur():
    matrix = np.ones((4, 4)) - np.eye(4)
    found = system_cost(*CASE, error_cost=matrix, labels=["a", "b", "c", "d"])
    assert found == pytest.approx(1 / 3)


def test_answer_that_is_no_class_costs_as_much_as_the_worst():
    case = ["b"], ["b"], ["nonsense"], [1]
    assert system_cost(*case, error_cost=MATRIX, labels=list("abc")) == 4
    assert system_cost(*case, error_cost=7) == 7


def test_infinite_price_matters_only_where_it_is_paid():
    assert system_cost([0, 1], [0, 0], [0, 1], [0, 0], cost=np.inf) == 0.5
    assert system_cost([0, 1], [0, 0], [0, 1], [0, 1], cost=np.inf) == np.inf


@pytest.mark.parametrize("price", [-0.1, np.nan, [0.1, 0.2], [[0.1]], "cheap", {"a": 1}])
def test_price_that_is_none_is_refused(price):
    with pytest.raises(ValueError, match="cost"):
        system_cost(*CASE, cost=price)


@pytest.mark.parametrize(
    "error_cost",
    [
        -1,
        np.nan,
        [1, 2, 3],
        np.ones((2, 2)),
        np.ones((3, 2)),
        -MATRIX,
        np.where(MATRIX, MATRIX, np.nan),
    ],
)
def test_error_cost_that_fits_nothing_is_refused(error_cost):
    with pytest.raises(ValueError, match="error_cost"):
        system_cost(*CASE, error_cost=error_cost)


def test_labels_must_name_every_class_once():
    with pytest.raises(ValueError, match="repeats"):
        system_cost(*CASE, error_cost=MATRIX, labels=["a", "b", "b"])
    with pytest.raises(ValueError, match="y_true holds"):
        system_cost(*CASE, error_cost=MATRIX, labels=["a", "b", "d"])
    with pytest.raises(ValueError, match="y_pred holds"):
        system_cost(["a"], ["c"], ["a"], [0], error_cost=MATRIX[:2, :2], labels=["a", "b"])


def test_frame_must_be_labelled_alike_on_both_sides():
    frame = pd.DataFrame(MATRIX, index=list("abc"), columns=list("abd"))
    with pytest.raises(ValueError, match="by the same classes"):
        system_cost(*CASE, error_cost=frame)
    frame = pd.DataFrame(MATRIX, index=list("abb"), columns=list("abc"))
    with pytest.raises(ValueError, match="repeats"):
        system_cost(*CASE, error_cost=frame)
