"""Prices: every form of them, the cheapest answer by brute force, and what is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skdefer.costs import least_cost_answer, resolve_cost, resolve_error_cost

NAMES = ["nurse", "doctor"]
X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def resolve(cost, names=NAMES, own=(0.5, 0.25), X=X):
    return resolve_cost(cost, names, own, X, len(X))


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (None, [0.5, 0.25]),
        (0.1, [0.1, 0.1]),
        (0, [0.0, 0.0]),
        (np.float32(0.5), [0.5, 0.5]),
        (np.array(0.5), [0.5, 0.5]),
        (True, [1.0, 1.0]),
        ([0.1, 0.2], [0.1, 0.2]),
        ((0, 1), [0.0, 1.0]),
        (np.array([0.1, np.inf]), [0.1, np.inf]),
        (pl.Series([0.1, 0.2]), [0.1, 0.2]),
        ({"doctor": 0.2, "nurse": 0.1}, [0.1, 0.2]),
        (pd.Series([0.2, 0.1], index=["doctor", "nurse"]), [0.1, 0.2]),
    ],
)
def test_one_price_per_expert(cost, expected):
    got = resolve(cost)
    assert got.dtype == float
    assert got.tolist() == pytest.approx(expected)


def test_prices_of_each_row():
    np.testing.assert_array_equal(resolve(lambda X: X[:, 0]), X[:, [0, 0]])
    np.testing.assert_array_equal(resolve(lambda X: X), X)
    np.testing.assert_array_equal(resolve(lambda X: X.tolist()), X)
    frame = pd.DataFrame(X, columns=["a", "b"], index=[7, 8, 9])
    np.testing.assert_array_equal(resolve(lambda X: X["b"], X=frame), X[:, [1, 1]])


def test_a_callable_gets_the_rows_as_they_are():
    rows = sparse.csr_array(X)
    seen = []
    resolve_cost(lambda X: seen.append(X) or [0, 0, 0], NAMES, [0, 0], rows, 3)
    assert seen[0] is rows


def test_one_expert_as_many_rows_as_experts():
    assert resolve(0.3, names=["a"], own=[0]).tolist() == [0.3]
    assert resolve([0.3], names=["a"], own=[0]).tolist() == [0.3]
    square = resolve(lambda X: [1.0, 2.0], X=X[:2])  # one price a row, not one an expert
    assert square.tolist() == [[1.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ([0.1], r"cost has shape \(1,\), but there are 2 experts: \['nurse', 'doctor'\]. Pass"),
        ([0.1, 0.2, 0.3], r"cost has shape \(3,\)"),
        (X, r"cost has shape \(3, 2\).*a callable of X"),
        (-0.1, "cost has negative prices or NaN; expected numbers >= 0"),
        ([0.1, np.nan], "cost has negative prices or NaN"),
        ([0.1, None], "cost has negative prices or NaN"),
        ("cheap", "cost is 'cheap'; expected prices: a number, one per expert"),
        ([[1], [2, 3]], "expected prices"),
        ({"nurse": 0.1}, r"prices for \['nurse'\], but the experts are .*Give a price for each"),
        ({"nurse": 0.1, "doctor": 0.1, "x": 1}, r"prices for \['doctor', 'nurse', 'x'\]"),
        ({"nurse": -1, "doctor": 0.1}, "negative"),
        (pd.Series([0.1, 0.2]), r"prices for \['0', '1'\], but the experts are"),
        (lambda X: [1, 2], r"cost\(X\) returned shape \(2,\) for 3 rows and 2 experts; expected"),
        (lambda X: np.zeros((2, 3)), r"returned shape \(2, 3\).*\(3,\) or \(3, 2\)"),
        (lambda X: 0.5, r"returned shape \(\)"),
        (lambda X: [1, -1, 1], r"cost\(X\) has negative prices"),
        (lambda X: "free", r"cost\(X\) is 'free'"),
    ],
)
def test_bad_costs_are_refused(cost, message):
    with pytest.raises(ValueError, match=message):
        resolve(cost)


# -- what a wrong answer costs ------------------------------------------------------

MATRIX = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0], [5.0, 6.0, 0.5]])
CLASSES = np.array(["cat", "dog", "eel"])


@pytest.mark.parametrize("price", [1, 2.5, 0.0, np.float32(4)])
def test_a_number_is_a_unit(price):
    unit, matrix = resolve_error_cost(price, CLASSES)
    assert unit == price
    assert isinstance(unit, float)
    assert matrix is None


@pytest.mark.parametrize("form", [MATRIX, MATRIX.tolist(), MATRIX.astype(int) * 1.0])
def test_a_matrix_is_in_the_order_of_the_classes(form):
    unit, matrix = resolve_error_cost(form, CLASSES)
    assert unit == 1.0
    np.testing.assert_array_equal(matrix, form)


LABELLINGS = [
    CLASSES,
    CLASSES.astype(object),
    np.array([-1, 0, 7]),
    np.array([0.0, 1.0, 2.0]),
]


@pytest.mark.parametrize("classes", LABELLINGS, ids=lambda c: c.dtype.kind)
@given(rows=st.permutations(range(3)), columns=st.permutations(range(3)))
@settings(deadline=None, max_examples=10)
def test_a_frame_may_come_in_any_order(classes, rows, columns):
    frame = pd.DataFrame(MATRIX, index=classes, columns=classes).iloc[rows, columns]
    unit, matrix = resolve_error_cost(frame, classes)
    assert unit == 1.0
    np.testing.assert_array_equal(matrix, MATRIX)


@pytest.mark.parametrize("order", [[False, True], [True, False]])
def test_labels_that_are_true_and_false_are_no_mask(order):
    frame = pd.DataFrame([[0.0, 1.0], [2.0, 3.0]], index=[False, True], columns=[False, True])
    matrix = resolve_error_cost(frame.reindex(index=order), np.array([False, True]))[1]
    np.testing.assert_array_equal(matrix, [[0.0, 1.0], [2.0, 3.0]])


def frame_of(rows, columns):
    return pd.DataFrame(np.ones((len(rows), len(columns))), index=rows, columns=columns)


@pytest.mark.parametrize(
    ("error_cost", "message"),
    [
        (-1.0, "error_cost has negative prices or NaN"),
        (np.nan, "error_cost has negative prices or NaN"),
        (np.inf, "error_cost has infinity; expected finite"),
        (-MATRIX, "error_cost has negative"),
        (np.full((3, 3), np.inf), "infinity"),
        (MATRIX[:2], r"error_cost has shape \(2, 3\); expected a number or \(3, 3\)"),
        ([1.0, 2.0, 3.0], r"error_cost has shape \(3,\)"),
        ("high", r"error_cost is 'high'; expected prices: a number, or \(3, 3\)"),
        (len, r"error_cost is <.*; expected prices: a number, or \(3, 3\)"),
        ({"cat": 1}, "error_cost is {'cat': 1}; expected"),
        (frame_of(list(CLASSES), ["a", "b", "c"]), r"labelled .* but the classes .*Label both"),
        (frame_of([0, 1, 2], list(CLASSES)), "Label both rows"),
        (frame_of(["cat", "cat", "dog", "eel"], list(CLASSES)), "Label both rows"),
        (frame_of(list(CLASSES), list(CLASSES)) * np.nan, "NaN"),
        (
            pl.DataFrame(MATRIX, schema=list(CLASSES)),
            "polars.*rows have no labels; expected.*Pass a",
        ),
    ],
)
def test_bad_error_costs_are_refused(error_cost, message):
    with pytest.raises(ValueError, match=message):
        resolve_error_cost(error_cost, CLASSES)


# -- the cheapest answer ------------------------------------------------------------


def test_without_a_matrix_it_is_the_likeliest():
    proba = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    assert least_cost_answer(proba, None).tolist() == [1, 0]


@given(
    st.integers(2, 5).flatmap(
        lambda k: st.tuples(
            st.lists(st.lists(st.integers(0, 9), min_size=k, max_size=k), min_size=k, max_size=k),
            st.lists(st.lists(st.integers(1, 9), min_size=k, max_size=k), min_size=1, max_size=5),
        )
    )
)
@settings(deadline=None, max_examples=60)
def test_the_least_cost_by_brute_force(case):
    matrix, proba = (np.array(part, dtype=float) for part in case)
    for p, answer in zip(proba, least_cost_answer(proba, matrix)):
        costs = [sum(p[k] * matrix[k, a] for k in range(len(p))) for a in range(len(p))]
        assert costs[answer] == pytest.approx(min(costs))


def test_a_matrix_of_ones_off_the_diagonal_changes_nothing():
    proba = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    np.testing.assert_array_equal(
        least_cost_answer(proba, 1.0 - np.eye(4)), least_cost_answer(proba, None)
    )
