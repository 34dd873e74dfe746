"""ProfileRejector against Bayes' rule by brute force, and its price of caution."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from skdefer import DeferralClassifier
from skdefer.experts import ExpertProfile, PopulationPrior, simulate_expert_predictions
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


# -- what is learned of a population ------------------------------------------------

PRIORS = [None, "empirical_bayes", "mixture", PopulationPrior(3, n_types=1)]


def record(n_rows=60, n_classes=4, n_experts=6, seed=0):
    y = np.arange(n_rows) % n_classes
    answers = simulate_expert_predictions(y, n_experts=n_experts, p_out=0.3, random_state=seed)
    return y, answers.astype(object), np.random.default_rng(seed).dirichlet(np.ones(4), n_rows)


@pytest.mark.parametrize("prior", PRIORS[1:], ids=str)
def test_the_prior_is_that_of_the_experts_of_fit(prior):
    y, answers, proba = record()
    rejector = ProfileRejector(prior=prior).fit(proba, y, answers)
    plain = [ExpertProfile().fit(said, y) for said in answers.T]
    form = {"empirical_bayes": PopulationPrior(1), "mixture": PopulationPrior()}.get(prior, prior)
    learned = clone(form).fit(plain)
    np.testing.assert_array_equal(rejector.prior_.alpha_, learned.alpha_)
    assert ProfileRejector().fit(proba, y, answers).prior_ is None
    stranger = ExpertProfile(classes=range(4)).fit([0, 0, 1], [0, 0, 1])
    served = rejector.with_profiles([stranger])
    for got, alone in zip([*rejector.profiles_, *served.profiles_], [*plain, stranger]):
        np.testing.assert_array_equal(got.mean_, alone.with_prior(learned).mean_)
    assert stranger.prior_ is None, "the user's own is left alone"
    mean = np.column_stack([p.mean_ for p in rejector.profiles_])
    np.testing.assert_allclose(rejector.expected_loss(proba)[:, 1:], 1 - proba @ mean)
    same = rejector.with_profiles(rejector.profiles_)
    np.testing.assert_array_equal(same.expected_loss(proba), rejector.expected_loss(proba))


def test_a_prior_of_another_population():
    y, answers, proba = record()
    others = PopulationPrior(1).fit([ExpertProfile().fit(a, y) for a in record(seed=5)[1].T])
    rejector = clone(ProfileRejector(prior=FrozenEstimator(others))).fit(proba, y, answers)
    wanted = ExpertProfile().fit(answers[:, 0], y).with_prior(others)
    np.testing.assert_array_equal(rejector.profiles_[0].mean_, wanted.mean_)
    copied = pickle.loads(pickle.dumps(rejector))
    np.testing.assert_array_equal(copied.expected_loss(proba), rejector.expected_loss(proba))


@pytest.mark.parametrize("prior", ["empirical_bayes", "mixture"])
def test_nobody_to_learn_from(prior):
    y, _, proba = record()
    nobody = ProfileRejector(prior=prior).fit(proba, y, None)
    np.testing.assert_allclose(nobody.expected_loss(proba)[:, 1], 0.0, atol=1e-12)
    silent = ProfileRejector(prior=prior).fit(proba, y, np.full((60, 2), None))
    assert silent.prior_.is_uniform_
    np.testing.assert_allclose(silent.expected_loss(proba)[:, 1:], 0.5)


@pytest.mark.parametrize("pessimism", [0.0, 1.0])
@pytest.mark.parametrize("prior", PRIORS[:3])
@given(
    classes=st.permutations(range(4)),
    experts=st.permutations(range(3)),
    missing=st.lists(st.booleans(), min_size=72, max_size=72),
    matrix=st.booleans(),
)
@settings(deadline=None, max_examples=8)
def test_renaming_classes_and_experts_leaves_the_scores(
    prior, pessimism, classes, experts, missing, matrix
):
    y, answers, proba = record(24, n_experts=3)
    answers[np.reshape(missing, answers.shape)] = None
    classes, experts = np.array(classes), np.array(experts)  # class k is called classes[k] now
    new = answers[:, experts].copy()
    answered = np.not_equal(new, None)
    new[answered] = classes[new[answered].astype(int)]
    back = np.argsort(classes)
    cost = np.random.default_rng(1).random((4, 4)) if matrix else None

    def rejector():
        return ProfileRejector(prior=prior, pessimism=pessimism)

    one = rejector().fit(proba, y, answers, error_cost=cost)
    other = rejector().fit(
        proba[:, back],
        classes[y],
        new,
        error_cost=None if cost is None else cost[np.ix_(back, back)],
    )
    np.testing.assert_allclose(
        other.expected_loss(proba[:, back]),
        one.expected_loss(proba)[:, np.r_[0, 1 + experts]],
        rtol=1e-9,
    )


def test_few_answers_are_read_better_under_the_prior():
    """Newcomers with three answers per class: routes at threshold 0 that are right more often."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 3)
    proba = rng.dirichlet(np.full(4, 0.5), 3000)
    truth = (rng.random((3000, 1)) > proba.cumsum(axis=1)).sum(axis=1).clip(max=3)
    old = simulate_expert_predictions(np.tile(y, 5), n_experts=10, p_out=0.1, random_state=1)
    new = simulate_expert_predictions(
        np.r_[y, truth], n_experts=20, p_out=0.1, random_state=2, classes=range(4)
    )
    profiles = [ExpertProfile().fit(said, y) for said in new[:12].T]

    def accuracy(prior):
        rejector = ProfileRejector(prior=prior).fit(np.full((60, 4), 0.25), np.tile(y, 5), old)
        loss = rejector.with_profiles(profiles).expected_loss(proba)
        answers = np.where(loss[:, 1:] < loss[:, :1], new[12:], proba.argmax(axis=1)[:, None])
        return (answers == truth[:, None]).mean()

    assert accuracy("mixture") > accuracy(None) + 0.005


class Certain(ClassifierMixin, BaseEstimator):
    """Its probabilities are the rows."""

    def fit(self, X, y):
        self.classes_ = np.arange(X.shape[1])
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


@pytest.mark.parametrize("prior", PRIORS[:3])
def test_twelve_answers_of_a_new_reader_move_the_routes(prior):
    y, answers, proba = record(200)
    clf = DeferralClassifier(
        FrozenEstimator(Certain().fit(proba, y)), rejector=ProfileRejector(prior=prior)
    )
    clf = clf.fit(proba, y, expert_predictions=answers)
    reader = ExpertProfile(name="dr. new", classes=range(4)).fit([], [])
    monday = clf.with_experts(reader)
    assert monday.estimator_ is clf.estimator_
    truth = np.repeat(np.arange(4), 12)
    reader.partial_fit(np.where(truth < 2, truth, (truth + 1) % 4), truth)  # knows 0 and 1
    friday = clf.with_experts(reader)
    assert friday.estimator_ is clf.estimator_
    rows = np.array([[0.55, 0.45, 0.0, 0.0], [0.0, 0.0, 0.55, 0.45]])
    assert friday.predict_route(rows).tolist() == [1, 0]
    assert (monday.predict_route(proba) != friday.predict_route(proba)).any()
    assert friday.deferral_score(rows)[0, 0] > monday.deferral_score(rows)[0, 0] + 0.1


def test_memory_is_that_of_the_result():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(K), size=60_000)
    rejector = teach(ProfileRejector(pessimism=1.0), random_rows(rng, (60, K, K)), strength=20)
    rejector.expected_loss(proba[:10])
    tracemalloc.start()
    loss = rejector.expected_loss(proba)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loss.nbytes > 25e6
    assert peak < loss.nbytes + 20e6  # it was several times the result


@pytest.mark.parametrize("prior", ["uniform", 2, ExpertProfile()])
def test_an_odd_prior_is_refused(prior):
    with pytest.raises(ValueError, match="prior"):
        teach(ProfileRejector(prior=prior), world(0)[1])


def test_negative_caution_is_refused():
    with pytest.raises(ValueError, match="pessimism"):
        teach(ProfileRejector(pessimism=-1.0), world(0)[1])


def test_losses_need_a_fit():
    with pytest.raises(NotFittedError):
        ProfileRejector().expected_loss(np.eye(K))
