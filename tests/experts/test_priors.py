"""Priors of populations against numerical integration, known populations, and bad luck."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from skdefer.experts import ExpertProfile, PopulationPrior
from skdefer.experts._priors import _objective, _unpack


def profile_of(right, total, **parameters):
    """Profile with these counts; weights make fractions of answers."""
    right, total = np.asarray(right, dtype=float), np.asarray(total, dtype=float)
    y = np.tile(np.arange(len(right)), 2)
    answers = np.r_[np.arange(len(right)), (np.arange(len(right)) + 1) % len(right)]
    profile = ExpertProfile(classes=range(len(right)), **parameters)
    return profile.fit(answers, y, sample_weight=np.r_[right, total - right])


def population(accuracy, n_answers, seed=0):
    """Profiles of experts of these accuracies, shape (n_experts, n_classes)."""
    right = np.random.default_rng(seed).binomial(n_answers, accuracy)
    total = np.broadcast_to(n_answers, right.shape)
    return [profile_of(r, n) for r, n in zip(right, total)]


def specialists(n_experts, n_classes, *, elsewhere=0.35, seed=0):
    """Each knows two classes for sure."""
    rng = np.random.default_rng(seed)
    accuracy = np.full((n_experts, n_classes), elsewhere)
    for row in accuracy:
        row[rng.choice(n_classes, 2, replace=False)] = 0.99
    return accuracy


def made(alpha, beta, type_shares, component_shares):
    """Fitted prior of given parameters."""
    prior = PopulationPrior(len(alpha), n_types=len(type_shares))
    prior.alpha_, prior.beta_ = np.array(alpha, dtype=float), np.array(beta, dtype=float)
    prior.type_shares_ = np.array(type_shares)
    prior.component_shares_ = np.array(component_shares)
    return prior


# -- the posterior, by numerical integration ----------------------------------------

PRIORS = {
    "single": made([4.0], [2.5], [1.0], [[1.0]]),
    "mixture": made([3.0, 12.0], [6.0, 1.5], [1.0], [[0.7, 0.3]]),
    "three": made([2.0, 5.0, 30.0], [9.0, 5.0, 2.0], [1.0], [[0.5, 0.2, 0.3]]),
    "types": made([3.0, 12.0], [6.0, 1.5], [0.4, 0.6], [[0.9, 0.1], [0.15, 0.85]]),
}
RECORDS = [
    ([0.0, 3.0, 2.0], [0.0, 3.0, 9.0]),
    ([1.0, 0.0, 0.0], [1.0, 1.0, 0.0]),
    ([4.25, 0.6, 7.9], [5.5, 3.1, 7.9]),  # decayed or weighted
]


def moments_by_integration(prior, right, total):
    """E[accuracy] and Var[accuracy] of each class, from the densities alone."""

    def integral(type_, k, power):
        density = [
            lambda t, c=c: stats.beta.pdf(t, prior.alpha_[c], prior.beta_[c])
            for c in range(len(prior.alpha_))
        ]

        def integrand(t):
            prior_density = sum(
                share * f(t) for share, f in zip(prior.component_shares_[type_], density)
            )
            return t**power * t ** right[k] * (1 - t) ** (total[k] - right[k]) * prior_density

        return integrate.quad(integrand, 0, 1, limit=200)[0]

    moments = np.zeros((3, len(right)))
    for type_, share in enumerate(prior.type_shares_):
        evidence = [integral(type_, k, 0) for k in range(len(right))]
        for k in range(len(right)):
            others = np.prod(evidence[:k] + evidence[k + 1 :])
            for power in range(3):
                moments[power, k] += share * others * integral(type_, k, power)
    mean = moments[1] / moments[0]
    return mean, moments[2] / moments[0] - mean**2


@pytest.mark.parametrize("record", RECORDS, ids=["some", "one", "fractions"])
@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_posterior_by_numerical_integration(prior, record):
    right, total = map(np.array, record)
    wanted = moments_by_integration(prior, right, total)
    np.testing.assert_allclose(prior.posterior(right, total), wanted, rtol=1e-6)
    alpha, beta = prior.posterior_beta(right, total)
    np.testing.assert_allclose(stats.beta.stats(alpha, beta), wanted, rtol=1e-6)
    profile = profile_of(right, total).with_prior(prior)
    np.testing.assert_allclose((profile.mean_, profile.variance_), wanted, rtol=1e-6)
    np.testing.assert_allclose((profile.alpha_, profile.beta_), (alpha, beta))
    bound = np.maximum(0, wanted[0] - 1.5 * np.sqrt(wanted[1]))
    np.testing.assert_allclose(profile.lower_bound(1.5), bound, rtol=1e-6)
    np.testing.assert_allclose(
        profile.interval(0.9), stats.beta.ppf([0.05, 0.95], alpha[:, None], beta[:, None])
    )


def test_one_component_is_the_beta_posterior_itself():
    right, total = np.array([3.0, 0.0]), np.array([4.0, 7.5])
    alpha, beta = PRIORS["single"].posterior_beta(right, total)
    np.testing.assert_allclose(alpha, 4.0 + right)
    np.testing.assert_allclose(beta, 2.5 + total - right)


def test_many_experts_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    total = rng.integers(0, 20, size=(4, 5, 3)).astype(float)
    right = np.floor(total * rng.random(total.shape))
    mean, variance = PRIORS["types"].posterior(right, total)
    assert mean.shape == variance.shape == (4, 5, 3)
    for i in np.ndindex(4, 5):
        one = PRIORS["types"].posterior(right[i], total[i])
        np.testing.assert_allclose(one, (mean[i], variance[i]))
    assert PRIORS["mixture"].posterior(2, 3)[0].shape == ()


def test_another_class_tells_of_the_type_of_the_expert():
    def first(prior, on_second):
        return prior.posterior([0.0, on_second], [0.0, 20.0])[0][0]

    assert first(PRIORS["types"], 20.0) > first(PRIORS["types"], 5.0) + 0.2
    assert first(PRIORS["mixture"], 20.0) == pytest.approx(first(PRIORS["mixture"], 5.0))


def test_no_precision_is_lost_with_many_answers():
    right, total = np.array([6e8, 1e9]), np.array([1e9, 1e9])
    mean, variance = PRIORS["mixture"].posterior(right, total)
    assert mean[0] == pytest.approx(0.6, abs=1e-7)
    assert variance[0] == pytest.approx(0.24 / 1e9, rel=1e-6)
    assert (variance > 0).all()


# -- the fit ------------------------------------------------------------------------


def test_empirical_bayes_is_the_maximum_of_the_beta_binomial():
    rng = np.random.default_rng(0)
    total = rng.integers(1, 30, size=(300, 4))
    right = rng.binomial(total, rng.beta(6.0, 2.0, size=total.shape))
    prior = PopulationPrior(1).fit([profile_of(r, n) for r, n in zip(right, total)])

    def minus_log_likelihood(log_parameters):
        return -stats.betabinom.logpmf(right, total, *np.exp(log_parameters)).sum()

    best = optimize.minimize(minus_log_likelihood, [0.0, 0.0], method="Nelder-Mead")
    # 1,200 records outweigh the penalty, which is worth about one.
    np.testing.assert_allclose(prior.alpha_, np.exp(best.x[0]), rtol=0.02)
    np.testing.assert_allclose(prior.beta_, np.exp(best.x[1]), rtol=0.02)
    assert prior.alpha_ == pytest.approx([6.0], rel=0.2)
    assert prior.n_experts_ == 300
    assert not prior.is_uniform_


def test_specialists_are_found():
    prior = PopulationPrior(n_types=1).fit(population(specialists(30, 7), 25))
    means = prior.alpha_ / (prior.alpha_ + prior.beta_)
    np.testing.assert_allclose(means, [0.35, 0.99], atol=0.03)
    np.testing.assert_allclose(prior.component_shares_, [[5 / 7, 2 / 7]], atol=0.03)


def test_generalists_are_told_from_specialists():
    accuracy = specialists(40, 7)
    accuracy[::2] = 0.97  # on every class
    prior = PopulationPrior().fit(population(accuracy, 15))
    np.testing.assert_allclose(prior.type_shares_, [0.5, 0.5], atol=0.1)
    np.testing.assert_allclose(np.sort(prior.component_shares_[:, 1]), [2 / 7, 1.0], atol=0.07)
    good_so_far = prior.posterior([8.0, 8.0, 8.0, 0.0], [8.0, 8.0, 8.0, 0.0])[0][3]
    uneven = prior.posterior([8.0, 3.0, 2.0, 0.0], [8.0, 8.0, 8.0, 0.0])[0][3]
    assert good_so_far > 0.9
    assert uneven < 0.6


def test_a_right_prior_is_nearer_to_the_truth():
    """Posterior means of newcomers, under each prior: fewest squared errors for the right one."""
    old, new = specialists(12, 7), specialists(60, 7, seed=1)
    right = np.random.default_rng(2).binomial(5, new)
    total = np.full(right.shape, 5)

    def error(prior):
        mean = (1 + right) / 7 if prior is None else prior.posterior(right, total)[0]
        return np.square(mean - new).mean()

    record = population(old, 10)
    uniform = error(None)
    single = error(PopulationPrior(1).fit(record))
    mixture = error(PopulationPrior(2).fit(record))
    assert mixture < 0.7 * single
    assert single < uniform


@pytest.mark.parametrize(("n_components", "n_types"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_the_gradient_of_the_likelihood(n_components, n_types):
    rng = np.random.default_rng(n_components)
    total = rng.integers(0, 9, size=(6, 4)) * 1.5
    right = total * rng.random(total.shape)
    x = rng.normal(size=(n_types + 2) * n_components - 1)
    arguments = (right, total, n_components, n_types)
    wanted = optimize.approx_fprime(x, lambda x: _objective(x, *arguments)[0], 1e-6)
    np.testing.assert_allclose(_objective(x, *arguments)[1], wanted, rtol=1e-3, atol=1e-3)


def test_the_likelihood_by_hand():
    """Beliefs about parameters aside, it is the log of what integration gives."""
    x = np.array([-0.5, 0.8, 1.5, 2.5, 0.4, 1.2, -0.7])
    log_types, log_components, alpha, beta = _unpack(x, 2, 2)
    right, total = np.array([[2.0, 0.0, 3.0], [1.0, 5.0, 0.0]]), np.array([[4.0, 1, 3], [1, 6, 0]])
    empty = np.zeros_like(right)
    # Without answers the likelihood is 1, so that only the beliefs are left.
    got = _objective(x, empty, empty, 2, 2)[0] - _objective(x, right, total, 2, 2)[0]

    def density(accuracy, r, n, shares):
        prior = (shares * stats.beta.pdf(accuracy, alpha, beta)).sum()
        return accuracy**r * (1 - accuracy) ** (n - r) * prior

    wanted = 0.0
    for r, n in zip(right, total):
        by_type = np.exp(log_types)
        for t, k in np.ndindex(2, 3):
            shares = np.exp(log_components[t])
            by_type[t] *= integrate.quad(density, 0, 1, args=(r[k], n[k], shares))[0]
        wanted += np.log(by_type.sum())
    assert got == pytest.approx(wanted, rel=1e-5)


def test_the_fit_is_a_maximum():
    record = population(specialists(10, 5), 6)
    right = np.array([p.counts_.diagonal() for p in record])
    total = np.full(right.shape, 6.0)
    prior = PopulationPrior().fit(record)
    strength = prior.alpha_ + prior.beta_
    shares = prior.component_shares_
    x = np.r_[
        np.log(prior.alpha_ / prior.beta_),
        np.log(strength),
        np.log(prior.type_shares_[1] / prior.type_shares_[0]),
        np.log(shares[:, 1] / shares[:, 0]),
    ]
    best = _objective(x, right, total, 2, 2)[0]
    rng = np.random.default_rng(0)
    for size in (0.01, 0.1, 0.5, 2.0):
        for _ in range(20):
            moved = x + size * rng.normal(size=len(x))
            assert _objective(moved, right, total, 2, 2)[0] > best - 1e-4


# -- bad luck -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "profiles",
    [[], [ExpertProfile(classes=range(3)).fit([], [])], [profile_of([0, 0], [0, 0])] * 3],
    ids=["nobody", "no answers", "three without"],
)
@pytest.mark.parametrize("n_components", [1, 2])
def test_nothing_to_learn_from_is_the_uniform_prior(profiles, n_components):
    prior = PopulationPrior(n_components).fit(profiles)
    assert prior.is_uniform_
    assert prior.n_experts_ == 0
    np.testing.assert_allclose((prior.alpha_, prior.beta_), 1.0)
    plain = profile_of([3, 0, 1], [4, 2, 1])
    same = plain.with_prior(prior)
    for name in ("alpha_", "beta_", "mean_", "variance_", "confusion_"):
        np.testing.assert_allclose(getattr(same, name), getattr(plain, name))


@pytest.mark.parametrize("n_components", [1, 2, 4])
@pytest.mark.parametrize(
    "record",
    [
        [([1], [1])],
        [([1, 0], [1, 0])],
        [([9, 9, 9], [9, 9, 9])] * 5,
        [([0, 0, 0], [9, 9, 9])] * 5,
        [([1000] * 4, [1000] * 4)] * 50,
        [([500] * 4, [1000] * 4)] * 50,
        [([0.5, 2.25], [0.75, 3.5])],
        [([3], [4]), ([1, 2, 3], [2, 2, 9]), ([0, 0], [0, 0])],
        [([1e7, 1], [2e7, 1])],
    ],
    ids=[
        "one answer", "one class", "all right", "all wrong", "many right", "all alike",
        "fractions", "different classes", "many and few",
    ],
)  # fmt: skip
def test_no_component_is_degenerate(record, n_components):
    prior = PopulationPrior(n_components).fit([profile_of(*counts) for counts in record])
    strength = prior.alpha_ + prior.beta_
    assert np.isfinite(strength).all()
    assert strength.max() <= 1000 * (1 + 1e-9)
    assert (prior.alpha_ > 0).all()
    assert (prior.beta_ > 0).all()
    assert (np.diff(prior.alpha_ / strength) >= 0).all()
    assert prior.type_shares_.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(prior.component_shares_.sum(axis=1), 1.0)
    mean, variance = prior.posterior([0.0, 5.0, 0.0], [0.0, 5.0, 5.0])
    assert ((mean > 0) & (mean < 1)).all()
    assert (variance > 0).all()
    assert mean[1] >= mean[0] >= mean[2]


def test_few_records_move_the_uniform_prior_a_little():
    mean, _ = PopulationPrior().fit([profile_of([1], [1])]).posterior([0.0], [0.0])
    assert 0.5 < mean[0] < 0.76
    sure, _ = PopulationPrior().fit([profile_of([20] * 5, [20] * 5)] * 9).posterior([0.0], [0.0])
    assert sure[0] > 0.97


def test_no_more_components_than_records_and_types_than_experts():
    prior = PopulationPrior(3, n_types=4).fit([profile_of([1, 0], [2, 0]), profile_of([1], [3])])
    assert prior.alpha_.shape == (2,)
    assert prior.component_shares_.shape == (2, 2)
    assert PopulationPrior(1, n_types=3).fit([profile_of([1], [3])] * 5).type_shares_ == [1.0]


# -- what must not matter -----------------------------------------------------------

counts = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=3),
    min_size=1,
    max_size=5,
)


@given(counts, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_names_of_classes_and_order_of_experts_do_not_matter(pairs, random):
    right = np.array([[r for r, _ in row] for row in pairs], dtype=float)
    total = right + np.array([[w for _, w in row] for row in pairs])
    experts = random.sample(range(len(right)), len(right))
    classes = random.sample(range(3), 3)
    one = PopulationPrior().fit([profile_of(r, n) for r, n in zip(right, total)])
    moved = np.ix_(experts, classes)
    other = PopulationPrior().fit([profile_of(r, n) for r, n in zip(right[moved], total[moved])])
    for name in ("alpha_", "beta_", "type_shares_", "component_shares_"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
    mean, variance = one.posterior(right, total)
    turned = one.posterior(right[moved], total[moved])
    np.testing.assert_allclose(turned, (mean[moved], variance[moved]))


def test_the_priors_of_the_profiles_do_not_matter():
    told = [profile_of([3, 1], [4, 4], prior_accuracy=0.9), profile_of([2, 2], [2, 3])]
    plain = [profile_of([3, 1], [4, 4]), profile_of([2, 2], [2, 3])]
    prior = PopulationPrior().fit(plain)
    np.testing.assert_array_equal(PopulationPrior().fit(told).alpha_, prior.alpha_)
    again = PopulationPrior().fit([p.with_prior(prior) for p in plain])
    np.testing.assert_array_equal(again.alpha_, prior.alpha_)


def test_classes_that_the_population_never_saw():
    prior = PopulationPrior().fit(population(specialists(10, 4), 9))
    stranger = ExpertProfile(classes=["x", "y"]).fit(["x"] * 5, ["x"] * 5).with_prior(prior)
    assert stranger.mean_[0] > 0.9
    assert stranger.mean_[1] < 0.8


# -- scikit-learn's manners ---------------------------------------------------------


def test_clone_pickle_and_refit():
    record = population(specialists(6, 4), 8)
    prior = PopulationPrior(2, n_types=1).fit(record)
    assert prior.fit(record) is prior
    fresh = clone(prior)
    assert fresh.get_params() == {"n_components": 2, "n_types": 1}
    assert not hasattr(fresh, "alpha_")
    for same in (pickle.loads(pickle.dumps(prior)), copy.deepcopy(prior), fresh.fit(record)):
        np.testing.assert_array_equal(same.alpha_, prior.alpha_)
    assert clone(FrozenEstimator(prior)).fit([], None).alpha_ is prior.alpha_


@pytest.mark.parametrize("parameter", ["n_components", "n_types"])
@pytest.mark.parametrize("value", [0, 1.5, None])
def test_bad_parameters_are_refused_in_fit(parameter, value):
    prior = PopulationPrior(**{parameter: value})
    with pytest.raises(ValueError, match=parameter):
        prior.fit([])


def test_bad_profiles_are_refused():
    for odd in (ExpertProfile(), "dr. b", (["a"], ["a"])):
        with pytest.raises(ValueError, match="expected fitted ExpertProfiles. Call fit"):
            PopulationPrior().fit([odd])


@pytest.mark.parametrize(
    ("right", "total"), [([2.0], [1.0]), ([-1.0], [1.0]), ([np.nan], [1.0]), ([1.0], [np.inf])]
)
def test_what_is_no_count_is_refused(right, total):
    with pytest.raises(ValueError, match="expected 0 <= right <= total"):
        PRIORS["mixture"].posterior(right, total)


def test_reading_needs_a_fit():
    with pytest.raises(NotFittedError):
        PopulationPrior().posterior([1.0], [1.0])
    with pytest.raises(NotFittedError):
        profile_of([1], [1]).with_prior(PopulationPrior())
