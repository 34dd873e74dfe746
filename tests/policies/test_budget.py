"""BudgetPolicy: never more than the share allowed, and the rows that gain most of all."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdefer.metrics import system_accuracy_score
from skdefer.policies import BudgetPolicy
from skdefer.policies._thresholds import midpoint


def fit(policy, score, weight=None):
    """Fit on scores alone; whose answers are right does not matter."""
    score = np.asarray(score, dtype=float)
    score = score if score.ndim == 2 else score[:, None]
    zeros = np.zeros(len(score), dtype=int)
    return policy.fit(score, zeros, zeros, np.zeros(score.shape), sample_weight=weight)


def column(score):
    return np.asarray(score, dtype=float)[:, None]


gains = st.one_of(
    st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 0.5, 0.5, 1.0, np.inf]),
    st.floats(-2, 2, allow_subnormal=True),
)
budgets = st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda k: k / 20))
cases = st.lists(st.tuples(gains, st.integers(0, 3)), min_size=1, max_size=25).filter(
    lambda rows: any(weight for _, weight in rows)
)


def handed_by_brute_force(score, weight, budget):
    """The highest blocks of equal, positive scores that fit into the budget."""
    handed = np.zeros(len(score), dtype=bool)
    for value in sorted(set(score[score > 0]), reverse=True):
        more = handed | (score == value)
        if weight[more].sum() > budget * weight.sum() + 1e-9:
            break
        handed = more
    return handed


# -- a stream -----------------------------------------------------------------------


@given(cases, budgets)
@settings(deadline=None, max_examples=150)
def test_a_stream_hands_over_what_fits_and_no_more(rows, budget):
    score, weight = (np.array(part, dtype=float) for part in zip(*rows))
    policy = fit(BudgetPolicy(budget), score, weight)
    handed = policy.route(column(score)) == 1
    assert weight[handed].sum() <= budget * weight.sum() + 1e-9
    counted = weight > 0  # rows that count for nothing are handed over as their scores say
    wanted = handed_by_brute_force(score[counted], weight[counted], budget)
    assert handed[counted].tolist() == wanted.tolist()
    assert policy.threshold_ >= 0
    assert policy.deferral_rate_ == pytest.approx(weight[handed].sum() / weight.sum())


@given(cases, budgets, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_order_and_repetition_of_rows_do_not_matter(rows, budget, random):
    score, weight = (np.array(part) for part in zip(*rows))
    weighted = fit(BudgetPolicy(budget), score, weight)
    repeated = fit(BudgetPolicy(budget), np.repeat(score, weight))
    order = random.sample(range(len(score)), len(score))
    shuffled = fit(BudgetPolicy(budget), score[order], weight[order])
    assert shuffled.threshold_ == weighted.threshold_
    assert repeated.deferral_rate_ == pytest.approx(weighted.deferral_rate_)
    counted = column(score[weight > 0])
    np.testing.assert_array_equal(repeated.route(counted), weighted.route(counted))


@pytest.mark.parametrize(
    ("score", "budget", "threshold"),
    [
        ([0.4, 0.3, 0.1, -0.2], 0.5, 0.2),
        ([0.4, 0.3, 0.1, -0.2], 0.25, 0.35),
        ([0.4, 0.3, 0.1, -0.2], 0.74, 0.2),
        ([0.4, 0.3, 0.1, -0.2], 0.75, 0.0),
        ([0.4, 0.3, 0.1, -0.2], 1.0, 0.0),
        ([0.4, 0.3, 0.1, -0.2], 0.24, 0.4),
        ([0.4, 0.4, 0.1, -0.2], 0.25, 0.4),
        ([0.4, 0.4, 0.1, -0.2], 0.5, 0.25),
        ([0.4, 0.0, 0.0, 0.0], 0.25, 0.0),
        ([-0.1, -0.2], 0.5, 0.0),
        ([np.inf, 0.5, 0.1, -np.inf], 0.25, 0.5),
        ([np.inf, np.inf, 0.1, -np.inf], 0.25, np.inf),
        ([0.3, -np.inf], 0.5, 0.0),
    ],
)
def test_thresholds_lie_midway_and_never_below_zero(score, budget, threshold):
    policy = fit(BudgetPolicy(budget), score)
    assert policy.threshold_ == pytest.approx(threshold)
    assert fit(BudgetPolicy(budget), score[::-1]).threshold_ == policy.threshold_


def test_a_threshold_is_never_rounded():
    score = [0.1 + 3e-17, 0.1, np.nextafter(0.1, 0), np.nextafter(np.nextafter(0.1, 0), 0)]
    for k in range(5):
        handed = fit(BudgetPolicy(k / 4), score).route(column(score)) == 1
        assert handed.sum() <= k
        assert handed.tolist() == sorted(handed, reverse=True)


@pytest.mark.parametrize("n_rows", [3, 7, 10, 100, 1000])
@pytest.mark.parametrize("scope", ["stream", "batch"])
def test_shares_that_floating_point_can_not_hold(n_rows, scope):
    score = np.random.default_rng(0).permutation(np.linspace(0.1, 1, n_rows))
    for k in range(0, n_rows + 1, max(1, n_rows // 100)):  # 0.29 * 100 is 28.999999999999996
        policy = fit(BudgetPolicy(k / n_rows, scope=scope), score)
        assert (policy.route(column(score)) > 0).sum() == k


@pytest.mark.parametrize("unit", [0.1, 1 / 3, 0.7, 1e-9])
def test_shares_of_equal_weights_are_those_of_the_rows(unit):
    score = np.arange(10.0, 0, -1)
    for k in range(11):  # three times 0.1 is 0.30000000000000004
        policy = fit(BudgetPolicy(k / 10), score, weight=np.full(10, unit))
        assert policy.route(column(score)).sum() == k


@pytest.mark.parametrize("scope", ["stream", "batch"])
@pytest.mark.parametrize("taught", [[0.5, 0.2], [-0.5, -0.2], [np.inf, 0.0], [0.0, 0.0]])
def test_no_budget_hands_nothing_over(taught, scope):
    policy = fit(BudgetPolicy(0.0, scope=scope), taught, weight=[0, 1])
    assert not policy.route(column([np.inf, 9.0, 0.5, -1.0])).any()


@pytest.mark.parametrize("scope", ["stream", "batch"])
def test_the_whole_budget_hands_over_whatever_gains(scope):
    policy = fit(BudgetPolicy(1.0, scope=scope), [0.5, 0.2, -0.1])
    assert policy.route(column([1e-9, 0.0, -1.0, 5.0])).tolist() == [1, 0, 0, 1]


def test_a_stream_holds_its_share_on_average():
    rng = np.random.default_rng(0)
    policy = fit(BudgetPolicy(0.2), rng.normal(size=2000))
    assert (policy.route(rng.normal(size=(20_000, 1))) > 0).mean() == pytest.approx(0.2, abs=0.03)


# -- a batch ------------------------------------------------------------------------


@given(st.lists(gains, min_size=1, max_size=30), budgets)
@settings(deadline=None, max_examples=100)
def test_a_batch_is_filled_to_the_row(score, budget):
    policy = fit(BudgetPolicy(budget, scope="batch"), [0.0, 1.0])
    handed = policy.route(column(score)) == 1
    allowed = math.floor(budget * len(score) + 1e-9)
    assert handed.sum() == min(allowed, sum(s > 0 for s in score))
    kept_gains = [s for s, h in zip(score, handed) if not h and s > 0]
    if kept_gains and handed.any():
        assert min(np.array(score)[handed]) >= max(kept_gains)


def test_among_equal_scores_earlier_rows_go_first():
    policy = fit(BudgetPolicy(0.5, scope="batch"), [0.0, 1.0])
    assert policy.route(column([0.3, 0.3, 0.3, 0.3])).tolist() == [1, 1, 0, 0]


def test_a_batch_depends_on_its_rows_and_says_so():
    policy = fit(BudgetPolicy(0.5, scope="batch"), [0.0, 1.0])
    assert policy.batch_dependent
    assert not BudgetPolicy(0.5).batch_dependent
    assert policy.route(column([0.3])).tolist() == [0]
    assert policy.route(column([0.3, 0.1])).tolist() == [1, 0]
    assert policy.route(np.empty((0, 1))).tolist() == []


# -- several experts, and the promise -----------------------------------------------


@pytest.mark.parametrize("scope", ["stream", "batch"])
def test_the_budget_is_of_all_experts_together(scope):
    rng = np.random.default_rng(0)
    score = rng.normal(size=(200, 3))
    score[:, 1] = -np.inf
    policy = fit(BudgetPolicy(0.3, scope=scope), score)
    route = policy.route(score)
    assert (route > 0).sum() == 60
    best = score.max(axis=1)
    assert set(np.flatnonzero(route)) == set(np.argsort(-best)[:60])
    np.testing.assert_array_equal(route[route > 0], score[route > 0].argmax(axis=1) + 1)
    assert 2 not in route


@pytest.mark.parametrize("scope", ["stream", "batch"])
def test_the_promise_is_what_the_fit_saw(scope):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=100)
    y_pred = np.where(rng.random(100) < 0.6, y, (y + 1) % 3)
    answers = np.where(rng.random((100, 2)) < 0.9, y[:, None], (y[:, None] + 1) % 3).astype(object)
    answers[rng.random((100, 2)) < 0.2] = None
    score, weight = rng.normal(size=(100, 2)), rng.random(100)
    policy = BudgetPolicy(0.4, scope=scope)
    policy.fit(score, y, y_pred, answers, sample_weight=weight)
    route = policy.route(score)
    system = [
        y_pred[i] if r == 0 or answers[i, r - 1] is None else answers[i, r - 1]
        for i, r in enumerate(route)
    ]
    right = np.array([s == truth for s, truth in zip(system, y)])
    assert policy.deferral_rate_ == pytest.approx(np.average(route > 0, weights=weight))
    assert policy.system_accuracy_ == pytest.approx(np.average(right, weights=weight))
    assert policy.system_accuracy_ == pytest.approx(
        system_accuracy_score(y, y_pred, answers, route, sample_weight=weight)
    )


# -- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters", [{"budget": -0.1}, {"budget": 1.1}, {"budget": "all"}, {"scope": "day"}]
)
def test_bad_parameters_are_refused_in_fit(parameters):
    policy = BudgetPolicy(**parameters)
    with pytest.raises(
        ValueError, match=f"The '{next(iter(parameters))}' parameter of BudgetPolicy"
    ):
        fit(policy, [0.1, 0.2])


@pytest.mark.parametrize(
    ("score", "weight", "message"),
    [
        ([[np.nan]], None, "score has NaN; expected numbers"),
        (np.empty((0, 1)), None, "No row counts: there are 0.*expected one at least.*Pass"),
        ([[1.0], [2.0]], [0, 0], "No row counts: there are 2"),
        ([[1.0], [2.0]], [1, -1], "sample_weight has negative"),
        ([[1.0], [2.0]], [1], "sample_weight has shape"),
    ],
)
def test_bad_scores_are_refused(score, weight, message):
    with pytest.raises(ValueError, match=message):
        fit(BudgetPolicy(), score, weight)


@pytest.mark.parametrize("scope", ["stream", "batch"])
def test_a_route_needs_a_fit(scope):
    policy = BudgetPolicy(scope=scope)
    with pytest.raises(NotFittedError):
        policy.route([[0.1]])
    with pytest.raises(NotFittedError):
        clone(fit(policy, [0.1])).route([[0.1]])


def test_half_way_between_extremes():
    assert midpoint(0.1, 0.3) == pytest.approx(0.2)
    assert midpoint(0.1, np.inf) == 0.1
    assert midpoint(-np.inf, 0.3) == -np.inf
    assert midpoint(1e308, 1.7e308) < np.inf
