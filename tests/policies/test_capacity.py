"""CapacityPolicy: nobody gets more rows than hours, in a batch exactly, in a stream on average."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdefer import DeferralClassifier
from skdefer.exceptions import CapacityWarning, StaleThresholdWarning
from skdefer.experts import CallableExpert
from skdefer.metrics import system_accuracy_score
from skdefer.policies import (
    BudgetPolicy,
    CapacityPolicy,
    CostPolicy,
    TopKPolicy,
    assign,
    assignment_prices,
)
from skdefer.policies._vote import first_choice
from tests.conftest import make_data
from tests.policies.linear_program import greatest_sum


def fit(policy, score, weight=None, capacity=None):
    """Fit on scores alone; whose answers are right does not matter."""
    score = np.asarray(score, dtype=float)
    zeros = np.zeros(len(score), dtype=int)
    return policy.fit(
        score, zeros, zeros, np.zeros(score.shape), sample_weight=weight, capacity=capacity
    )


def make_score(n_rows=400, n_experts=3, seed=0):
    return np.random.default_rng(seed).normal(-0.2, 0.5, (n_rows, n_experts))


# -- a batch ----------------------------------------------------------------------------


def test_a_batch_is_assigned_as_well_as_can_be():
    score = make_score()
    policy = fit(CapacityPolicy([30, 60, None], minimum=[0, 60, 0]), score)
    assert policy.batch_dependent
    for rows in (slice(None), slice(0, 70)):
        wanted = assign(score[rows], [30, 60, None], [0, 60, 0])
        np.testing.assert_array_equal(policy.route(score[rows]), wanted)
    panel = policy.panel(score)
    np.testing.assert_array_equal(first_choice(panel, score), policy.route(score))
    assert panel.sum(axis=0)[:2].tolist() == [30, 60]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_several_experts_per_row_and_a_pool_by_linear_program(seed):
    rng = np.random.default_rng(seed)
    n, J = int(rng.integers(1, 15)), int(rng.integers(1, 5))
    score = rng.normal(0.1, 0.5, (n, J)).round(rng.integers(1, 4))
    score[rng.random((n, J)) < 0.1] = -np.inf
    policy = CapacityPolicy(
        [int(c) if rng.random() < 0.7 else None for c in rng.integers(0, 8, J)],
        max_per_row=int(rng.integers(1, 4)),
        pool=int(rng.integers(0, 20)) if rng.random() < 0.7 else None,
    )
    policy = fit(policy, score)
    panel, limits = policy.panel(score), policy.limits_
    assert (panel.sum(axis=0) <= limits.upper).all()
    assert panel.sum() <= limits.pool
    assert panel.sum(axis=1).max() <= policy.max_per_row
    assert (score[panel] > 0).all(), "nobody is asked for nothing"
    assert score[panel].sum() == pytest.approx(greatest_sum(score, limits), abs=1e-8)
    np.testing.assert_array_equal(policy.route(score), first_choice(panel, score))


def test_several_per_row_without_limits_are_the_best_of_all():
    score = make_score()
    for m in (1, 2, 3, 5):
        policy = fit(CapacityPolicy(max_per_row=m), score)
        np.testing.assert_array_equal(policy.panel(score), TopKPolicy(m).panel(score))


def test_votes_count_as_asked():
    accuracy = np.array([[0.9, 0.6]])
    assert CapacityPolicy().vote_weights(accuracy, 2) is None
    weight = CapacityPolicy(vote="weighted").vote_weights(accuracy, 2)
    np.testing.assert_allclose(weight, np.log([[9, 1.5]]))


@pytest.mark.parametrize("scope", ["batch", "stream"])
def test_the_experts_own_capacities_are_the_default(scope):
    score = make_score()
    policy = fit(CapacityPolicy(scope=scope), score, capacity=[10, None, 20])
    load = policy.panel(score).sum(axis=0)
    assert load[[0, 2]].tolist() == [10, 20]
    other = fit(CapacityPolicy(5, scope=scope), score, capacity=[10, None, 20])
    assert other.panel(score).sum(axis=0).tolist() == [5, 5, 5]


# -- a stream ---------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("pool", [None, 60])
def test_prices_keep_to_the_limits_on_the_rows_of_fit(m, pool):
    score = make_score()
    policy = fit(CapacityPolicy([20, 50, None], scope="stream", max_per_row=m, pool=pool), score)
    batch = fit(CapacityPolicy([20, 50, None], max_per_row=m, pool=pool), score)
    assert not policy.batch_dependent
    np.testing.assert_array_equal(policy.panel(score), batch.panel(score))
    alone = [policy.panel(row[None])[0] for row in score]
    np.testing.assert_array_equal(policy.panel(score), alone)
    np.testing.assert_allclose(policy.loads_, policy.panel(score).mean(axis=0))
    if pool is None:
        assert (policy.prices_ > 0).tolist() == [True, True, False]


def test_prices_hold_on_average_on_other_rows():
    capacity = np.array([100, 400, 10_000])
    policy = fit(CapacityPolicy(capacity, scope="stream"), make_score(4000))
    load = policy.panel(make_score(40_000, seed=1)).sum(axis=0) / 10
    np.testing.assert_allclose(load[:2], capacity[:2], rtol=0.2)
    assert policy.prices_[2] == 0


def test_one_expert_is_a_budget():
    score = make_score(n_experts=1)
    policy = fit(CapacityPolicy(40, scope="stream"), score)
    budget = fit(BudgetPolicy(0.1), score)
    np.testing.assert_allclose(policy.prices_, budget.threshold_)


def test_limits_are_for_as_many_rows_as_it_says():
    score = make_score(1000)
    day = fit(CapacityPolicy([5, 10, None], scope="stream", batch_size=100), score)
    all_rows = fit(CapacityPolicy([50, 100, None], scope="stream"), score)
    np.testing.assert_array_equal(day.prices_, all_rows.prices_)
    # Rows that count a tenth each: all of them together are 100 rows.
    weighted = fit(CapacityPolicy([5, 10, None], scope="stream"), score, np.full(1000, 0.1))
    np.testing.assert_array_equal(weighted.prices_, all_rows.prices_)
    assert (day.batch_size_, all_rows.batch_size_) == (100, 1000)
    assert weighted.batch_size_ == pytest.approx(100)


@pytest.mark.parametrize("scope", ["batch", "stream"])
def test_prices_of_other_rows(scope):
    score, other = make_score(), make_score(200, seed=1)
    policy = fit(CapacityPolicy([20, 50, None], scope=scope), score)
    wanted = policy.prices_ if scope == "stream" else assignment_prices(other, [20, 50, None])
    np.testing.assert_array_equal(policy.prices(other), wanted)


def test_weights_that_are_no_whole_numbers():
    score, weight = make_score(2000), np.random.default_rng(1).random(2000)
    policy = fit(CapacityPolicy(int(weight.sum() / 10), scope="stream"), score, weight)
    load = np.average(policy.panel(score), axis=0, weights=weight)
    np.testing.assert_allclose(load, 0.1, rtol=0.01)
    np.testing.assert_allclose(policy.loads_, load, rtol=0.02)


def test_a_block_of_ties_that_does_not_fit_stays_with_the_model():
    score = np.repeat([[0.5], [0.3], [0.1]], 10, axis=0)
    for capacity, handed in ((5, 0), (10, 10), (15, 10), (20, 20), (30, 30), (31, 30)):
        policy = fit(CapacityPolicy(capacity, scope="stream"), score)
        assert policy.panel(score).sum() == handed
        assert fit(CapacityPolicy(capacity), score).panel(score).sum() == min(capacity, 30)


def test_a_minimum_makes_rows_cheaper():
    score = make_score() - 1
    policy = fit(CapacityPolicy(minimum=[40, 0, 0], scope="stream"), score)
    assert policy.prices_[0] < 0
    assert policy.panel(score).sum(axis=0)[0] == 40


def test_nobody_without_capacity_gets_a_row():
    policy = fit(CapacityPolicy([0, 50, None], scope="stream"), make_score())
    assert policy.route([[np.inf, 0.0, 0.0], [9.0, -np.inf, 0.5]]).tolist() == [0, 3]


# -- state goes in and comes out --------------------------------------------------------


def by_hand(policy, score, used):
    """One row after the other: its best experts who have time, in order of net score."""
    limits, used, panel = policy.limits_, used.copy(), np.zeros(score.shape, dtype=bool)
    for i, row in enumerate(score):
        net = np.where(np.isinf(policy.prices_), -np.inf, row - policy.prices_)
        for j in np.argsort(-net, kind="stable"):
            room = used[j] < limits.upper[j] and used.sum() < limits.pool
            if net[j] > 0 and room and panel[i].sum() < policy.max_per_row:
                panel[i, j] = True
                used[j] += 1
    return panel, used


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_a_day_of_rows_as_they_come(seed):
    rng = np.random.default_rng(seed)
    J = int(rng.integers(1, 5))
    policy = CapacityPolicy(
        [int(c) if rng.random() < 0.8 else None for c in rng.integers(0, 12, J)],
        scope="stream",
        batch_size=60,
        max_per_row=int(rng.integers(1, 4)),
        pool=int(rng.integers(0, 30)) if rng.random() < 0.5 else None,
    )
    policy = fit(policy, rng.normal(size=(100, J)))
    state = {name: np.copy(value) for name, value in vars(policy).items() if name != "limits_"}
    score, used = rng.normal(0.3, 1, (60, J)), rng.integers(0, 3, J)
    panel, after = policy.take(score, used)
    wanted, used_by_hand = by_hand(policy, score, used)
    np.testing.assert_array_equal(panel, wanted)
    assert after.tolist() == used_by_hand.tolist()
    cut, parts = int(rng.integers(0, 61)), []
    for part in (score[:cut], score[cut:]):
        taken, used = policy.take(part, used)
        parts.append(taken)
    np.testing.assert_array_equal(np.concatenate(parts), panel)
    np.testing.assert_array_equal(policy.take(score)[0], policy.take(score)[0])
    for name, value in state.items():
        np.testing.assert_array_equal(getattr(policy, name), value, err_msg=name)


def test_a_batch_gets_what_is_left_of_the_day():
    score = make_score()
    policy = fit(CapacityPolicy([20, 30, None], minimum=[0, 25, 0]), score)
    morning, used = policy.take(score[:50], [5, 0, 0])
    np.testing.assert_array_equal(
        first_choice(morning, score[:50]), assign(score[:50], [15, 30, None], [0, 25, 0])
    )
    rest, total = policy.take(score[50:], used)
    assert total.tolist() == (used + rest.sum(axis=0)).tolist()
    assert total[:2].tolist() == [20, 30]
    assert policy.take(score, total)[0][:, :2].sum() == 0


@pytest.mark.parametrize("used", [[1], [1, 2], [-1, 0, 0], [0.5, 0, 0], "all", [[0, 0, 0]]])
def test_odd_states_are_refused(used):
    policy = fit(CapacityPolicy(5), make_score())
    with pytest.raises(ValueError, match=r"used is .*; expected 3 whole numbers >= 0"):
        policy.take(make_score(), used)


# -- promises, experts, refusals --------------------------------------------------------


@pytest.mark.parametrize("scope", ["batch", "stream"])
def test_the_promise_is_what_the_fit_saw(scope):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=200)
    y_pred = np.where(rng.random(200) < 0.6, y, (y + 1) % 3)
    answers = np.where(rng.random((200, 2)) < 0.9, y[:, None], (y[:, None] + 1) % 3).astype(object)
    answers[rng.random((200, 2)) < 0.2] = None
    score, weight = rng.normal(size=(200, 2)), rng.integers(0, 3, 200)
    policy = CapacityPolicy([10, 30], scope=scope)
    policy.fit(score, y, y_pred, answers, sample_weight=weight)
    rows = np.repeat(np.arange(200), weight)
    route = policy.route(score[rows])
    assert policy.system_accuracy_ == pytest.approx(
        system_accuracy_score(y[rows], y_pred[rows], answers[rows], route)
    )
    np.testing.assert_allclose(policy.loads_, policy.panel(score[rows]).mean(axis=0))


def test_it_says_whether_it_can_serve_other_experts():
    assert not CapacityPolicy(5).holds_expert_state
    assert not CapacityPolicy(5, minimum=1, pool=8).holds_expert_state
    for policy in (CapacityPolicy(), CapacityPolicy([5]), CapacityPolicy(5, minimum=[1])):
        assert policy.holds_expert_state
    assert CapacityPolicy(5, scope="stream").holds_expert_state
    other = make_score(n_experts=2)
    np.testing.assert_array_equal(
        fit(CapacityPolicy(5), make_score()).route(other), assign(other, 5)
    )
    with pytest.raises(ValueError, match="score has 2 experts, but the limits are of 3"):
        fit(CapacityPolicy([5, 6, 7]), make_score()).route(other)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scope": "day"}, "The 'scope' parameter of CapacityPolicy"),
        ({"batch_size": 0}, "The 'batch_size' parameter"),
        ({"max_per_row": 0}, "The 'max_per_row' parameter"),
        ({"vote": "loudest"}, "The 'vote' parameter"),
        ({"capacity": -1}, "capacity has -1; expected"),
        ({"capacity": [1, 2]}, "capacity has 2 entries, but there are 3 experts"),
        ({"minimum": 0.5}, "minimum has 0.5; expected"),
        ({"pool": 1.5}, "pool has 1.5; expected a whole number >= 0, or None. "),
        ({"minimum": 5, "pool": 14}, "15 rows of all experts .* pool allows 14: 1 too many"),
        ({"minimum": 401}, "minimum asks for 1203 rows .* at most 400 .* 803 too few"),
    ],
)
@pytest.mark.parametrize("scope", ["batch", "stream"])
def test_bad_limits_are_refused_in_fit(parameters, message, scope):
    with pytest.raises(ValueError, match=message):
        fit(CapacityPolicy(**{"scope": scope, **parameters}), make_score())


def test_a_minimum_needs_rows_enough_in_each_call():
    score = make_score()
    policy = fit(CapacityPolicy(minimum=[20, 0, 0]), score)
    for method in (policy.route, policy.panel, policy.prices, policy.take):
        with pytest.raises(ValueError, match=r"at most 5 rows .* 15 too few.*use scope='stream'"):
            method(score[:5])
    stream = fit(CapacityPolicy(minimum=[20, 0, 0], scope="stream"), score)
    assert stream.route(score[:5]).shape == (5,)


@pytest.mark.parametrize("scope", ["batch", "stream"])
def test_more_than_experts_declare_holds_with_a_warning(scope):
    score, declared = make_score(), [5, None, 30]
    for capacity in (20, [20, 9, 30], [None, 9, 9]):
        policy = CapacityPolicy(capacity, scope=scope)
        with pytest.warns(CapacityWarning, match=r"The experts \[0\] .* capacities of \[5\]"):
            fit(policy, score, capacity=declared)
        assert policy.limits_.upper[0] > 5
    for capacity in (None, 5, [5, 40, 30]):  # warnings are errors
        fit(CapacityPolicy(capacity, scope=scope), score, capacity=declared)


def test_in_a_batch_the_batch_size_decides_nothing():
    score = make_score()
    one, two = (fit(CapacityPolicy(20, batch_size=n), score) for n in (None, 50))
    np.testing.assert_array_equal(one.panel(score), two.panel(score))
    np.testing.assert_array_equal(one.prices(score), two.prices(score))


@pytest.mark.parametrize("scope", ["batch", "stream"])
def test_a_route_needs_a_fit(scope):
    policy = CapacityPolicy(5, scope=scope)
    for method in (policy.route, policy.panel, policy.take, clone(policy).route):
        with pytest.raises(NotFittedError):
            method([[0.1]])
    with pytest.raises(ValueError, match="No row counts: there are 2, of weight 0"):
        fit(policy, [[0.1], [0.2]], [0, 0])


# -- inside an estimator ----------------------------------------------------------------


def make_system(policy, capacity=7):
    X, y = make_data(300)
    truth = {tuple(row): label for row, label in zip(X, y)}

    def reader(wrong_on):
        return lambda X: ["cat" if truth[tuple(r)] == wrong_on else truth[tuple(r)] for r in X]

    experts = [
        ("nurse", CallableExpert(reader("eel"), capacity=capacity)),
        ("doctor", CallableExpert(reader("dog"), capacity=capacity + 5)),
    ]
    return (
        DeferralClassifier(experts=experts, policy=policy).fit(X[:200], y[:200]),
        X[200:],
        y[200:],
    )


def test_readers_get_no_more_than_their_hours(recwarn):
    clf, X, y = make_system(CapacityPolicy())
    assert not [w for w in recwarn if issubclass(w.category, CapacityWarning)]
    route = clf.predict_route(X)
    assert np.bincount(route, minlength=3)[1:].tolist() == [7, 12]
    labels, answered = clf.predict(X, return_route=True)
    np.testing.assert_array_equal(answered, route)
    assert (labels == y).mean() > (clf.predict_model(X) == y).mean()
    reasons = clf.explain_defer(X)["reason"]
    assert reasons.str.contains("outside the policy's limit").any()
    free = clf.set_params(policy=CostPolicy())  # without a new fit nothing changes
    np.testing.assert_array_equal(free.predict_route(X), route)


def test_more_hours_than_a_reader_has_are_noticed():
    with pytest.warns(CapacityWarning, match=r"experts \[0\] .* of \[7\], .* up to \[9\] "):
        clf, X, _ = make_system(CapacityPolicy(9))
    assert clf.predict_panel(X).sum(axis=0).tolist() == [9, 9]


def test_prices_of_money_that_change_are_noticed():
    clf, X, _ = make_system(CapacityPolicy(scope="stream", batch_size=100))
    route = clf.predict_route(X)
    assert 0 < (route > 0).sum() < 40
    with pytest.warns(StaleThresholdWarning, match="CapacityPolicy learned its threshold"):
        clf.set_params(cost=0.1).predict_route(X)
    clf, X, _ = make_system(CapacityPolicy())
    clf.set_params(cost=0.1).predict_route(X)


def test_other_readers_need_a_fit_where_limits_are_theirs():
    clf, X, y = make_system(CapacityPolicy())
    stranger = [("stranger", lambda X: ["cat"] * len(X))]
    context = [(["cat"] * 9, ["cat", "dog", "eel"] * 3)]
    with pytest.raises(ValueError, match="CapacityPolicy holds state per expert"):
        clf.with_experts(stranger, profiles=context)
    clf, X, y = make_system(CapacityPolicy(4))
    other = clf.with_experts(stranger, profiles=[(y, y)])
    assert other.predict_defer(X).sum() == 4
