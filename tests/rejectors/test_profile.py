"""ProfileRejector against Bayes' rule by brute force, and its price of caution."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skdefer.experts import ExpertProfile
from skdefer.policies import CostPolicy
from skdefer.rejectors import ProfileRejector

K = 3
MATRIX = np.array([[0.0, 1.0, 4.0], [2.0, 0.5, 1.0], [7.0, 3.0, 0.0]])


def random_rows(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def world(seed, n_points=40, n_experts=2):
    """P(y | x) at a few points x, and P(answer | y) of each expert, whatever the x."""
    rng = np.random.default_rng(seed)
    return random_rows(rng, (n_points, K)), random_rows(rng, (n_experts, K, K))


def teach(rejector, confusion, *, error_cost=None, strength=1e9, labels=(0, 1, 2)):
    """Fit on a record in which answers have exactly the frequencies of the world."""
    n_experts, labels = len(confusion), np.asarray(labels)
    truth, said = np.divmod(np.arange(K * K), K)
    rows = np.tile(truth, n_experts)
    answers = np.full((len(rows), n_experts), None, dtype=object)
    weight = []
    for j, theta in enumerate(confusion):
        answers[j * K * K : (j + 1) * K * K, j] = labels[said]
        weight.append(strength * theta[truth, said])
    proba = np.full((len(rows), K), 1 / K)
    return rejector.fit(
        proba, labels[rows], answers, error_cost=error_cost, sample_weight=np.concatenate(weight)
    )


def bayes_loss(p, confusion, cost):
    """Expected cost of the best label, and of each expert, by going through every outcome."""
    of_label = [sum(p[k] * cost[k, a] for k in range(K)) for a in range(K)]
    of_expert = [
        sum(p[k] * theta[k, a] * cost[k, a] for k in range(K) for a in range(K))
        for theta in confusion
    ]
    return [min(of_label), *of_expert]


@pytest.mark.parametrize("matrix", [None, MATRIX])
@pytest.mark.parametrize("seed", range(3))
def test_bayes_rule_where_answers_depend_on_the_class_alone(seed, matrix):
    eta, confusion = world(seed)
    cost = 1.0 - np.eye(K) if matrix is None else matrix
    rejector = teach(ProfileRejector(), confusion, error_cost=matrix)
    wanted = np.array([bayes_loss(p, confusion, cost) for p in eta])
    loss = rejector.expected_loss(eta)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6, atol=1e-7)
    route = CostPolicy().route(loss[:, :1] - loss[:, 1:])
    np.testing.assert_array_equal(route, wanted.argmin(axis=1))


def test_the_rule_is_best_when_it_is_played():
    """Answers drawn from the world: no other way of handing over errs less."""
    rng = np.random.default_rng(0)
    eta, confusion = world(5, n_points=6)
    point = rng.integers(6, size=60_000)
    y = (rng.random((60_000, 1)) > eta[point].cumsum(axis=1)).sum(axis=1)
    steps = confusion[:, y].cumsum(axis=2)
    answers = (rng.random((2, 60_000, 1)) > steps).sum(axis=2).T
    routes = np.column_stack([eta[point].argmax(axis=1), answers])
    wrong = routes != y[:, None]
    loss = teach(ProfileRejector(), confusion).expected_loss(eta)
    chosen = wrong[np.arange(60_000), loss.argmin(axis=1)[point]].mean()
    best = sum(wrong[point == x].mean(axis=0).min() * (point == x).mean() for x in range(6))
    assert chosen == pytest.approx(best, abs=0.004)


@pytest.mark.parametrize("pessimism", [0.0, 0.5, 2.0])
def test_caution_is_the_bound_of_the_sum(pessimism):
    eta, confusion = world(1)
    rejector = teach(ProfileRejector(pessimism=pessimism), confusion, strength=8)
    loss = rejector.expected_loss(eta)
    for p, row in zip(eta, loss):
        assert row[0] == pytest.approx(1 - max(p))
        for j, profile in enumerate(rejector.profiles_):
            mean = sum(p[k] * profile.mean_[k] for k in range(K))
            spread = np.sqrt(sum(p[k] ** 2 * profile.variance_[k] for k in range(K)))
            assert row[1 + j] == pytest.approx(1 - (mean - pessimism * spread))
    deviation = rejector.uncertainty(eta)
    assert deviation.shape == (40, 2)
    calm = teach(ProfileRejector(), confusion, strength=8).expected_loss(eta)
    np.testing.assert_allclose(loss[:, 1:] - calm[:, 1:], pessimism * deviation, atol=1e-12)


def test_caution_with_a_cost_matrix_is_the_spread_of_the_price():
    """Accuracies drawn from the posterior, wrong answers as they are wrong on average."""
    eta, confusion = world(2, n_points=8)
    plain = teach(ProfileRejector(), confusion, error_cost=MATRIX, strength=30)
    wary = teach(ProfileRejector(pessimism=1.5), confusion, error_cost=MATRIX, strength=30)
    extra = (wary.expected_loss(eta) - plain.expected_loss(eta))[:, 1:]
    rng = np.random.default_rng(0)
    for j, profile in enumerate(plain.profiles_):
        theta = rng.beta(profile.alpha_, profile.beta_, size=(40_000, K))
        wrong = profile.confusion_ * (1 - np.eye(K))
        price = (wrong * MATRIX).sum(axis=1) / wrong.sum(axis=1)
        by_class = theta * MATRIX.diagonal() + (1 - theta) * price
        np.testing.assert_allclose(extra[:, j], 1.5 * (by_class @ eta.T).std(axis=0), rtol=0.03)


def test_caution_wears_off_with_answers():
    eta, confusion = world(3)
    few = teach(ProfileRejector(pessimism=1.0), confusion, strength=3).expected_loss(eta)
    many = teach(ProfileRejector(pessimism=1.0), confusion, strength=300).expected_loss(eta)
    none = teach(ProfileRejector(), confusion, strength=300).expected_loss(eta)
    assert (np.abs(many - none)[:, 1:] < 0.06).all()
    assert (
        few[:, 1:] > teach(ProfileRejector(), confusion, strength=3).expected_loss(eta)[:, 1:]
    ).all()


@pytest.mark.parametrize("matrix", [None, MATRIX])
def test_names_of_classes_do_not_matter(matrix):
    eta, confusion = world(4)
    order = np.array([2, 0, 1])  # the new position of each class
    back = np.argsort(order)
    turned = None if matrix is None else matrix[np.ix_(back, back)]
    one = teach(ProfileRejector(pessimism=1.0), confusion, error_cost=matrix, strength=9)
    other = teach(
        ProfileRejector(pessimism=1.0),
        confusion,
        error_cost=turned,
        strength=9,
        labels=np.array(["c", "a", "b"]),
    )
    np.testing.assert_allclose(other.expected_loss(eta[:, back]), one.expected_loss(eta))


def test_an_expert_known_by_a_profile_alone():
    eta, confusion = world(5)
    taught = teach(ProfileRejector(), confusion, strength=20)
    silent = np.full((K, 2), None, dtype=object)
    same = ProfileRejector().fit(np.eye(K), np.arange(K), silent, profiles=taught.profiles_)
    np.testing.assert_array_equal(same.expected_loss(eta), taught.expected_loss(eta))
    served = ProfileRejector().fit(np.eye(K), np.arange(K), silent).with_profiles(taught.profiles_)
    np.testing.assert_array_equal(served.expected_loss(eta), taught.expected_loss(eta))


def test_a_profile_of_more_classes_is_brought_to_these():
    wide = ExpertProfile(prior_accuracy=0.9).fit([0, 1, 2, 3], [0, 1, 2, 3])
    rejector = ProfileRejector().fit(
        np.eye(K), np.arange(K), np.full((K, 1), None), profiles=[wide]
    )
    assert rejector.profiles_[0].classes_.tolist() == [0, 1, 2]
    np.testing.assert_allclose(rejector.expected_loss(np.eye(K))[:, 1], 1 - wide.mean_[:3])


def test_a_prior_is_read_with_the_record():
    template = ExpertProfile(name="dr. b", prior_accuracy=1.0, prior_strength=96)
    y, answers = np.arange(K), np.array([1, 2, 0])
    rejector = ProfileRejector().fit(np.eye(K), y, answers, profiles=[template])
    np.testing.assert_allclose(rejector.profiles_[0].mean_, 97 / 99)
    assert rejector.profiles_[0].name == "dr. b"
    assert not hasattr(template, "mean_"), "the template is left alone"


def test_negative_caution_is_refused():
    with pytest.raises(ValueError, match="pessimism"):
        teach(ProfileRejector(pessimism=-1.0), world(0)[1])


def test_losses_need_a_fit():
    with pytest.raises(NotFittedError):
        ProfileRejector().expected_loss(np.eye(K))
