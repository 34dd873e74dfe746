"""TopKPolicy: the best experts of a row within its limits; and how their votes are counted."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.policies import CostPolicy, TopKPolicy
from skdefer.policies._vote import count_votes, first_choice, log_odds

gains = st.sampled_from([-np.inf, -1.0, 0.0, 1e-300, 0.25, 0.5, 0.5, 1.0, np.inf])
prices = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.0, np.inf])
limits = st.sampled_from([None, 0.0, 0.1, 0.3, 0.6, 1.0])


@st.composite
def cases(draw):
    n_rows, J = draw(st.integers(1, 6)), draw(st.integers(1, 4))

    def table(values):
        row = st.lists(values, min_size=J, max_size=J)
        return np.array(draw(st.lists(row, min_size=n_rows, max_size=n_rows)))

    return table(gains), table(prices)


def panel_by_brute_force(score, price, k, max_cost):
    """One row: experts who gain, the best first, as long as there is room and money."""
    asked, spent = [], 0.0
    for j in sorted(range(len(score)), key=lambda j: (-score[j], j)):
        fits = max_cost is None or spent + price[j] <= max_cost + 1e-9
        if score[j] > 0 and fits and (k is None or len(asked) < k):
            asked.append(j)
            spent += price[j]
    return [j in asked for j in range(len(score))]


@given(cases(), st.sampled_from([None, 1, 2, 3, 9]), limits)
@settings(deadline=None, max_examples=150)
def test_the_panel_by_brute_force(case, k, max_cost):
    if k is None and max_cost is None:
        return
    score, price = case
    policy = TopKPolicy(k, max_cost=max_cost)
    panel = policy.panel(score, cost=price)
    wanted = [panel_by_brute_force(s, p, k, max_cost) for s, p in zip(score, price)]
    assert panel.tolist() == wanted
    np.testing.assert_array_equal(policy.route(score, cost=price), first_choice(panel, score))


@given(cases())
@settings(deadline=None, max_examples=60)
def test_one_expert_is_the_cost_policy(case):
    score, price = case
    one, plain = TopKPolicy(1), CostPolicy()
    np.testing.assert_array_equal(one.route(score, cost=price), plain.route(score, cost=price))
    np.testing.assert_array_equal(one.panel(score, cost=price), plain.panel(score, cost=price))


def test_a_dear_best_expert_is_passed_over():
    policy = TopKPolicy(k=1, max_cost=0.3)
    assert policy.route([[0.5, 0.2]], cost=[0.4, 0.3]).tolist() == [2]
    assert policy.route([[0.5, -0.2]], cost=[0.4, 0.3]).tolist() == [0]


def test_prices_may_differ_by_row_and_rounding_is_no_price():
    policy = TopKPolicy(k=None, max_cost=0.3)
    panel = policy.panel([[0.2, 0.1]] * 2, cost=[[0.1, 0.2], [0.2, 0.2]])  # 0.1 + 0.2 > 0.3
    assert panel.tolist() == [[True, True], [True, False]]


def test_some_limit_is_needed_and_prices_for_one_of_money():
    unlimited = TopKPolicy(k=None)
    for call in (lambda: unlimited.fit([[0.1]], [0], [0], [0]), lambda: unlimited.panel([[0.1]])):
        with pytest.raises(ValueError, match=r"k is None and max_cost is None.*Pass k"):
            call()
    with pytest.raises(ValueError, match=r"max_cost is 0.5, but no prices came.*Pass it"):
        TopKPolicy(max_cost=0.5).route([[0.1]])
    for bad in ({"k": 0}, {"k": 1.5}, {"vote": "loudest"}, {"max_cost": -1}):
        with pytest.raises(ValueError, match=f"The '{next(iter(bad))}' parameter of TopKPolicy"):
            TopKPolicy(**bad).panel([[0.1]], cost=[0.1])


def test_it_needs_no_fit_and_learns_nothing():
    policy = TopKPolicy()
    before = vars(policy).copy()
    assert vars(policy.fit([[0.1], [0.2]], [0, 1], [0, 0], [1, 1])) == before


# -- votes ------------------------------------------------------------------------------


def vote_by_brute_force(codes, panel, weight, score):
    """One row: the answer of most weight; of tied ones, that of the better-scored expert."""
    support = defaultdict(float)
    members = [j for j in range(len(codes)) if panel[j]]
    for j in members:
        support[codes[j]] += weight[j]
    most = max(support.values())
    tied = [j for j in members if support[codes[j]] > most - 1e-9]
    return codes[min(tied, key=lambda j: (-score[j], j))]


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=100)
def test_votes_by_brute_force(seed, weighted):
    rng = np.random.default_rng(seed)
    n, J = 20, int(rng.integers(1, 6))
    codes = rng.integers(-1, 3, size=(n, J))
    panel = rng.random((n, J)) < 0.6
    panel[np.arange(n), rng.integers(J, size=n)] = True
    score = rng.integers(0, 3, size=(n, J)).astype(float)
    score[rng.random((n, J)) < 0.1] = -np.inf
    weight = rng.integers(-1, 3, size=(n, J)) / 10 if weighted else np.ones((n, J))
    got = count_votes(codes, panel, weight if weighted else None, score)
    wanted = [vote_by_brute_force(*row) for row in zip(codes, panel, weight, score)]
    assert got.tolist() == wanted


def test_the_input_of_a_vote_is_left_alone():
    codes, panel, score = np.array([[0, 1]]), np.array([[True, True]]), np.array([[1.0, 2.0]])
    weight = np.array([[3.0, 1.0]])
    assert count_votes(codes, panel, weight, score).tolist() == [0]
    assert (codes.tolist(), panel.tolist(), weight.tolist()) == ([[0, 1]], [[True] * 2], [[3, 1]])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_weighted_votes_find_the_likeliest_class(n_classes):
    """Independent experts, wrong evenly, every class as likely: Bayes' rule by enumeration."""
    rng = np.random.default_rng(0)
    n, J = 300, 3
    accuracy = rng.uniform(0.05, 0.95, size=(n, J))
    codes = rng.integers(n_classes, size=(n, J))
    everybody = np.ones((n, J), dtype=bool)
    got = count_votes(codes, everybody, log_odds(accuracy, n_classes), np.zeros((n, J)))
    wrong = (1 - accuracy) / (n_classes - 1)
    likelihood = np.column_stack(
        [np.where(codes == k, accuracy, wrong).prod(axis=1) for k in range(n_classes)]
    )
    given_by_somebody = (codes[:, :, None] == np.arange(n_classes)).any(axis=1)
    best = np.where(given_by_somebody, likelihood, -1).argmax(axis=1)
    np.testing.assert_array_equal(got, best)


def test_a_guess_has_no_weight_and_certainty_a_finite_one():
    np.testing.assert_allclose(log_odds(np.array([[1 / 5, 1 / 2]]), 5), [[0, np.log(4)]], atol=1e-9)
    assert np.isfinite(log_odds(np.array([[0.0, 1.0, -3.0, 7.0]]), 3)).all()


def test_the_policy_weighs_votes_or_does_not():
    accuracy = np.array([[0.9, 0.6]])
    assert TopKPolicy().vote_weights(accuracy, 2) is None
    np.testing.assert_allclose(
        TopKPolicy(vote="weighted").vote_weights(accuracy, 2), np.log([[9, 1.5]])
    )
