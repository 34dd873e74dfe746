"""assign: the best assignment within the limits, always; and prices that prove it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.policies import CostPolicy, _prices, assign, assignment_prices
from skdefer.policies._assign import check_limits
from skdefer.policies._prices import solve
from tests.policies.linear_program import greatest_sum

gains = st.sampled_from([-np.inf, -1.0, -0.25, 0.0, 1e-300, 0.1, 0.25, 0.5, 0.5, 1.0])
limits = st.sampled_from([None, 0, 1, 1, 2, 3, 7])


@st.composite
def cases(draw, values=gains, most_rows=5):
    n, J = draw(st.integers(1, most_rows)), draw(st.integers(1, 3))
    row = st.lists(values, min_size=J, max_size=J)
    score = np.array(draw(st.lists(row, min_size=n, max_size=n)))
    capacity = draw(st.lists(limits, min_size=J, max_size=J))
    minimum = draw(st.lists(st.integers(0, 2), min_size=J, max_size=J))
    return score, capacity, minimum


def gained(score, route):
    """Sum of scores of the routes taken."""
    rows = np.flatnonzero(route)
    return score[rows, route[rows] - 1].sum()


def loads(route, J):
    return np.bincount(route, minlength=J + 1)[1:]


def best_by_brute_force(score, capacity, minimum):
    """The greatest sum over all ways to route the rows; None if no way is allowed."""
    n, J = score.shape
    upper = [np.inf if c is None else c for c in capacity]
    best = None
    for route in map(np.array, itertools.product(range(J + 1), repeat=n)):
        load = loads(route, J)
        if (load <= upper).all() and (load >= minimum).all():
            total = gained(score, route)
            if total > -np.inf and (best is None or total > best):
                best = total
    return best


@given(cases())
@settings(deadline=None, max_examples=200)
def test_the_optimum_by_brute_force(case):
    score, capacity, minimum = case
    wanted = best_by_brute_force(score, capacity, minimum)
    if wanted is None:
        with pytest.raises(ValueError, match=r"minimum asks for .* too (few|many)\."):
            assign(score, capacity, minimum)
        return
    route = assign(score, capacity, minimum)
    load = loads(route, score.shape[1])
    assert (load <= [np.inf if c is None else c for c in capacity]).all()
    assert (load >= minimum).all()
    assert gained(score, route) == pytest.approx(wanted, abs=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_samples_lead_to_the_optimum_too(seed):
    """Rows are looked at in samples here, as otherwise only large batches are."""
    rng = np.random.default_rng(seed)
    n, J = int(rng.integers(20, 120)), int(rng.integers(1, 6))
    score = rng.normal(-0.2, 0.5, (n, J))
    if rng.random() < 0.5:
        score = score.round(1)  # many ties
    score[rng.random((n, J)) < 0.1] = -np.inf
    upper = [int(v) if rng.random() < 0.8 else None for v in rng.integers(0, n // 2, J)]
    lower = np.where(rng.random(J) < 0.3, 2, 0)
    lower = [min(a, 2 if b is None else b) for a, b in zip(lower.tolist(), upper)]
    pool = int(rng.integers(n // 2, 2 * n)) if rng.random() < 0.5 else None
    limits = check_limits(
        J, upper, lower, max(pool, sum(lower)) if pool else None, rng.integers(1, 4)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_prices, "_SMALL", 8)
        chosen = solve(score, limits)[0]
    panel = (chosen[:, :, None] == np.arange(J)).any(axis=1)
    assert (panel.sum(axis=1) == (chosen >= 0).sum(axis=1)).all(), "nobody twice"
    load = panel.sum(axis=0)
    assert (load <= limits.upper).all()
    assert (load >= limits.lower).all()
    assert load.sum() <= limits.pool
    assert score[panel].sum() == pytest.approx(greatest_sum(score, limits), abs=1e-6)


@pytest.mark.parametrize(("n", "J"), [(1500, 6), (10_000, 20)])
@pytest.mark.parametrize("minimum", [None, 20])
def test_the_optimum_of_a_linear_program(n, J, minimum):
    rng = np.random.default_rng(0)
    score = rng.normal(rng.normal(-0.2, 0.2, J), 0.3, (n, J))
    capacity = np.floor(n / 2 * rng.dirichlet(np.ones(J))).astype(int) + 20
    route = assign(score, capacity, minimum)
    wanted = greatest_sum(score, check_limits(J, capacity, minimum))
    assert gained(score, route) == pytest.approx(wanted, rel=1e-9)


def make_batch(kind, n=60_000, J=10):
    rng = np.random.default_rng(0)
    share = np.full(J, 1 / J)
    if kind == "alike":
        score = rng.normal(-0.2, 0.3, (n, J))
    elif kind == "unlike":
        score = rng.normal(size=(n, 1)) * 0.2 + rng.normal(0, 0.3, J)
        score = score + rng.normal(size=(n, J)) * rng.uniform(0.02, 0.4, J)
        share = rng.dirichlet(np.full(J, 0.3))
    elif kind == "tied":
        score = rng.integers(-3, 8, (n, J)) / 10
    elif kind == "nearly tied":
        score = 0.5 + 1e-5 * rng.normal(size=(n, J))
    else:
        score = np.full((n, J), 0.5)
    return score, np.floor(share * n / 2).astype(int)


@pytest.mark.parametrize("kind", ["alike", "unlike", "tied", "nearly tied", "all the same"])
def test_prices_prove_the_optimum_of_a_large_batch(kind):
    score, capacity = make_batch(kind)
    chosen, price = solve(score, check_limits(10, capacity))
    route = chosen[:, 0] + 1
    assert (loads(route, 10) <= capacity).all()
    assert (np.isinf(price) == (capacity == 0)).all()
    some = capacity > 0
    bound = np.maximum(score[:, some] - price[some], 0).max(axis=1).sum()
    bound += price[some] @ capacity[some]  # no assignment gains more, whatever the prices >= 0
    assert (price >= 0).all()
    assert gained(score, route) <= bound * (1 + 1e-9)
    assert gained(score, route) >= bound * (1 - 1e-6)
    np.testing.assert_array_equal(route, assign(score, capacity))  # seeded


@given(cases(st.floats(-1, 1)), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_order_unit_and_names_do_not_matter(case, random):
    score, capacity, _ = case
    n, J = score.shape
    value = gained(score, assign(score, capacity))
    rows, experts = random.sample(range(n), n), random.sample(range(J), J)
    turned = score[rows][:, experts]
    route = assign(turned, [capacity[j] for j in experts])
    assert gained(turned, route) == pytest.approx(value, abs=1e-9)
    assert gained(score, assign(8 * score, capacity)) == pytest.approx(value, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2))
@settings(deadline=None, max_examples=40)
def test_a_price_that_is_paid_in_any_case_changes_nothing(seed, cost):
    """An expert who must have three rows and can have no more: a constant cost is sunk."""
    score = np.random.default_rng(seed).normal(size=(12, 3))
    dearer = score - [cost, 0, 0]
    arguments = {"capacity": [3, 4, None], "minimum": [3, 0, 1]}
    np.testing.assert_array_equal(assign(score, **arguments), assign(dearer, **arguments))
    change = assignment_prices(score, **arguments) - assignment_prices(dearer, **arguments)
    np.testing.assert_allclose(change, [cost, 0, 0], atol=1e-9)


def test_without_limits_it_is_the_cost_policy():
    score = np.random.default_rng(0).normal(size=(200, 4)).round(1)
    np.testing.assert_array_equal(assign(score, None), CostPolicy().route(score))
    assert assignment_prices(score, None).tolist() == [0, 0, 0, 0]


def test_one_expert_gets_the_best_rows_and_a_price_midway():
    score = np.array([[0.4], [0.1], [0.3], [-0.2]])
    assert assign(score, 2).tolist() == [1, 0, 1, 0]
    assert assignment_prices(score, 2) == pytest.approx([0.2])
    assert assignment_prices(score, 3) == pytest.approx([0.05])
    assert assignment_prices(score, 4).tolist() == [0]
    assert assignment_prices(score, 0).tolist() == [np.inf]
    assert assignment_prices(score, None, minimum=4) == pytest.approx([-0.2])


def test_who_has_time_left_has_no_price():
    score = np.column_stack([np.random.default_rng(0).normal(size=(50, 2)), np.full(50, -1.0)])
    price = assignment_prices(score, [5, 60, 3])
    assert price[0] > 0
    assert price[1:].tolist() == [0, 0]


def test_a_price_is_what_one_row_more_would_bring():
    score, J = np.random.default_rng(0).normal(size=(60, 3)), 3
    price = assignment_prices(score, 9)
    value = gained(score, assign(score, 9))
    for j in range(J):
        more, less = ([9 + step * (k == j) for k in range(J)] for step in (1, -1))
        assert gained(score, assign(score, more)) - value <= price[j] + 1e-9
        assert value - gained(score, assign(score, less)) >= price[j] - 1e-9


def test_a_gain_without_end_comes_first():
    score = [[np.inf, 0.9], [0.8, 0.9], [0.7, np.inf]]
    assert assign(score, 1).tolist() == [1, 0, 2]
    assert assign([[np.inf], [np.inf], [1.0]], 2).tolist() == [1, 1, 0]


def test_no_rows():
    assert assign(np.empty((0, 2)), 3).tolist() == []
    with pytest.raises(ValueError, match=r"minimum asks for 1 rows .* at most 0 .* 1 too few"):
        assign(np.empty((0, 2)), 3, minimum=[1, 0])


def test_whole_numbers_may_come_in_any_form():
    score = [[0.5, 0.4], [0.6, 0.1]]
    for capacity in (1, 1.0, [1, 1], np.array([1, 1]), (1, 1.0), np.int64(1)):
        assert assign(score, capacity).tolist() == [2, 1]
    assert assign(score, np.inf).tolist() == assign(score, [None, np.inf]).tolist() == [1, 1]


SCORE = np.array([[0.5, -np.inf, 0.4], [0.6, 0.1, 0.1], [0.3, -np.inf, -0.2]])


@pytest.mark.parametrize(
    ("capacity", "minimum", "message"),
    [
        (-1, None, r"capacity has -1; expected a whole number >= 0, or None, or 3 of them"),
        ([1, 2.5, 1], None, r"capacity has 2\.5; expected .* Round it down"),
        ([1, np.nan, 1], None, "capacity has nan"),
        (1, [0, -1, 0], "minimum has -1"),
        (1, np.inf, "minimum has inf"),
        ([1, 2], None, "capacity has 2 entries, but there are 3 experts; expected"),
        ("many", None, "capacity is 'many'; expected"),
        ({"a": 1}, None, r"capacity is {'a': 1}, by name; expected .* in the order of the experts"),
        (pd.Series({"a": 1, "b": 2, "c": 3}), None, "by name; expected .* in the order of the exp"),
        (None, {"a": 1}, "minimum is {'a': 1}, by name; expected"),
        ([1, 2, 3], [0, 4, 0], r"4 rows of expert 1 \(from 0\), whose capacity is 2: 2 too many"),
        (None, 2, r"minimum asks for 6 rows of the experts \[0, 1, 2\].*at most 3 .* 3 too few"),
        (None, [0, 2, 0], r"2 rows of the experts \[1\].*at most 1 rows can be theirs: 1 too few"),
        (None, [1, 1, 2], r"minimum asks for 4 rows of the experts \[0, 1, 2\].*: 1 too few"),
    ],
)
def test_limits_that_can_not_be_kept_say_by_how_much(capacity, minimum, message):
    with pytest.raises(ValueError, match=message):
        assign(SCORE, capacity, minimum)


@pytest.mark.parametrize("score", [[[np.nan]], [0.1], np.zeros((3, 0))])
def test_bad_scores_are_refused(score):
    for function in (assign, assignment_prices):
        with pytest.raises(ValueError, match=r"score has .*; expected"):
            function(score, 1)
