"""Experts who come later: they start from what the known ones have in common."""

import pickle

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler

from skdefer.experts import ExpertProfile, PopulationPrior
from skdefer.rejectors import LearnedRejector, ProfileRejector
from skdefer.rejectors._population import _OWN, _SHARED, _fit_power, _share

K = 3


def rows(n=3000, seed=0, sharper=1.0):
    """Calibrated probabilities (to the power ``sharper``) and the truth."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(K), size=n)
    y = (rng.random((n, 1)) > proba.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    proba = proba**sharper
    return proba / proba.sum(axis=1, keepdims=True), y


def with_the_model(proba):
    """P(right) of an expert who fails where the model does."""
    return 0.3 + 0.7 * proba.max(axis=1)


def against_the_model(proba):
    """P(right) of an expert who fails where the model is sure."""
    return 1.0 - 0.7 * proba.max(axis=1)


def answers_of(right, proba, y, seed):
    """What an expert says who is right with the given probabilities."""
    rng = np.random.default_rng([seed, 77])
    return np.where(rng.random(len(y)) < right(proba), y, (y + rng.integers(1, K, len(y))) % K)


def fitted(kinds, n=3000, **parameters):
    proba, y = rows(n)
    record = np.column_stack([answers_of(kind, proba, y, j) for j, kind in enumerate(kinds)])
    return LearnedRejector(**parameters).fit(proba, y, record)


def newcomer(right, n, seed=500):
    """Profile and context of an expert with n past answers."""
    proba, y = rows(max(n, 1), seed=seed)
    proba, y = proba[:n], y[:n]
    said = answers_of(right, proba, y, seed)
    return ExpertProfile(classes=range(K)).fit(said, y), (proba, y, said, None)


def serve(rejector, right, n, *, with_rows=False, seed=500):
    profile, context = newcomer(right, n, seed)
    served = rejector.with_profiles([profile])
    return served.with_contexts([context]) if with_rows else served


NEW, _ = rows(2000, seed=9)


def error(rejector, right):
    """Mean distance of an expert's expected loss from the true one."""
    return np.abs(rejector.expected_loss(NEW)[:, 1] - (1.0 - right(NEW))).mean()


# -- what carries over --------------------------------------------------------------


@pytest.mark.parametrize("n_answers", [0, 12, 60])
def test_many_alike_say_much_of_the_next(n_answers):
    alike = serve(fitted([with_the_model] * 8), with_the_model, n_answers)
    rule = ProfileRejector().fit(*rows(10), np.full(10, None)).with_profiles(alike.profiles_)
    assert error(alike, with_the_model) < 0.04
    assert error(rule, with_the_model) > 0.11


def slope(rejector):
    """How much the expected loss of a newcomer without an answer falls with confidence."""
    loss = serve(rejector, with_the_model, 0).expected_loss(NEW)[:, 1]
    return -np.polyfit(NEW.max(axis=1), loss, 1)[0]


def test_trust_grows_with_the_number_and_the_likeness_of_the_known():
    one, eight = (fitted([with_the_model] * n, n=1000) for n in (1, 8))
    unlike = fitted([with_the_model, against_the_model] * 4, n=1000)
    assert 0.05 < slope(one) < 0.7 * slope(eight)
    assert slope(eight) == pytest.approx(0.7, abs=0.15)  # the truth
    assert abs(slope(unlike)) < 0.3 * slope(eight)
    assert unlike._population.own_ > 5 * eight._population.own_


def test_nobody_known_leaves_the_profile():
    proba, y = rows()
    nobody = LearnedRejector().fit(proba, y, None)
    profile, _ = newcomer(with_the_model, 40)
    loss = nobody.with_profiles([profile]).expected_loss(NEW)[:, 1]
    calibrated = nobody._population.calibrate(NEW)
    np.testing.assert_allclose(loss, 1 - calibrated @ profile.mean_, atol=1e-12)
    assert nobody._population.power_ == pytest.approx(1.0, abs=0.1)


def test_probabilities_are_brought_to_the_truth():
    proba, y = rows(5000, sharper=0.4)
    assert _fit_power(proba, y, np.ones(5000)) == pytest.approx(2.5, rel=0.1)
    assert _fit_power(proba, y, np.zeros(5000)) == pytest.approx(1.0, abs=1e-3)
    assert np.isfinite(_fit_power(np.eye(K)[y], (y + 1) % K, np.ones(5000))), "always wrong"
    knows_one = np.where(y == 0, y, 1)  # so the rule is a probability of the model
    rejector = LearnedRejector().fit(proba, y, answers_of(with_the_model, proba, y, 0))
    profile = ExpertProfile(classes=range(K)).fit(knows_one, y)
    served = rejector.with_profiles([profile]).expected_loss(proba)[:, 1]
    wrong = knows_one != y
    at_its_word = 1.0 - proba @ profile.mean_
    sure = at_its_word < 0.25
    assert at_its_word[sure].mean() > wrong[sure].mean() + 0.05, "the model knows more"
    assert served[sure].mean() < at_its_word[sure].mean() - 0.03
    assert np.square(served - wrong).mean() < np.square(at_its_word - wrong).mean() - 0.01


def test_the_prior_is_that_of_the_known_experts_profiles():
    rejector = fitted([with_the_model] * 3)
    profile, _ = newcomer(with_the_model, 5)
    prior = PopulationPrior().fit(rejector.profiles_)
    informed = rejector._population.inform(profile)
    np.testing.assert_allclose(informed.mean_, profile.with_prior(prior).mean_)
    assert rejector.with_profiles([profile]).profiles_[0] is profile
    own = profile.with_prior(PopulationPrior(1).fit([profile]))
    assert rejector._population.inform(own) is own, "a prior of its own stands"
    sure = ExpertProfile(prior_accuracy=0.99, prior_strength=500, classes=range(K)).fit([], [])
    assert (rejector._population.inform(sure).mean_ > 0.98).all(), "a belief of its own stands"


# -- the arithmetic -----------------------------------------------------------------


def brute_force(informations, directions, variance):
    """The same posterior in one dimension, by sums over b and each d_j."""
    grid = np.linspace(-3, 3, 601)
    prior = {s: np.exp(-0.5 * grid**2 / (s * variance)) / np.sqrt(s) for s in (*_SHARED, *_OWN)}
    total, first, logs = 0.0, 0.0, 0.0
    for own in _OWN:
        belief = np.exp(-0.5 * (np.log(own / 0.5) / 1.5) ** 2)
        of_b = np.ones(len(grid))
        for H, h in zip(informations, directions):
            c = grid[:, None] + np.sqrt(own) * grid  # d_j, on a grid of its own width
            likelihood = np.exp(h * c - 0.5 * H * c**2)
            of_b *= likelihood @ np.exp(-0.5 * grid**2 / variance)
        for shared in _SHARED:
            weight = of_b * prior[shared] * belief * np.exp(-0.5 * np.log(shared / 0.5) ** 2)
            total += weight.sum()
            first += weight @ grid
            logs += weight.sum() * np.log(own)
    return first / total, np.exp(logs / total)


@pytest.mark.parametrize(
    ("informations", "directions"),
    [([20.0], [9.0]), ([20.0, 5.0, 60.0], [9.0, -1.0, 40.0]), ([90.0] * 4, [40, -40, 30, -30])],
)
def test_sharing_by_brute_force(informations, directions):
    b, own = _share(
        np.array(informations)[:, None, None], np.array(directions)[:, None], np.array([0.05])
    )
    wanted_b, wanted_own = brute_force(informations, np.array(directions, dtype=float), 0.05)
    assert b[0] == pytest.approx(wanted_b, abs=1e-3)
    assert own == pytest.approx(wanted_own, rel=1e-2)


def dense(informations, directions, variance):
    """The same posterior in any dimension, from the joint Gaussian of b and all d_j."""
    J, d = directions.shape
    total, mean, logs = 0.0, 0.0, 0.0
    for own in _OWN:
        for shared in _SHARED:
            prior = np.concatenate([shared * variance, *[own * variance] * J])
            precision, pull = np.diag(1 / prior), np.zeros(len(prior))
            for j, (H, h) in enumerate(zip(informations, directions)):
                A = np.zeros((d, len(prior)))  # picks b + d_j
                A[:, :d] = A[:, (j + 1) * d : (j + 2) * d] = np.eye(d)
                precision += A.T @ H @ A
                pull += A.T @ h
            found = np.linalg.solve(precision, pull)
            log = 0.5 * pull @ found - 0.5 * np.linalg.slogdet(precision)[1]
            log -= 0.5 * np.log(prior).sum() + 0.5 * np.log(shared / 0.5) ** 2
            weight = np.exp(log - 0.5 * (np.log(own / 0.5) / 1.5) ** 2)
            total, mean = total + weight, mean + weight * found[:d]
            logs += weight * np.log(own)
    return mean / total, np.exp(logs / total)


def test_sharing_in_several_dimensions():
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(4, 3, 8)) * 2
    informations = roots @ roots.transpose(0, 2, 1)
    directions = np.einsum("jab,jb->ja", informations, rng.normal(0.3, 0.2, size=(4, 3)))
    variance = np.array([0.3, 0.03, 0.03])
    b, own = _share(informations, directions, variance)
    wanted_b, wanted_own = dense(informations, directions, variance)
    np.testing.assert_allclose(b, wanted_b, rtol=1e-9)
    assert own == pytest.approx(wanted_own)


def test_several_dimensions_are_as_one_each_where_nothing_ties_them():
    H = np.array([[20.0, 5.0, 60.0], [30.0, 8.0, 2.0]])  # two dimensions, three experts
    h = np.array([[9.0, -1.0, 40.0], [3.0, 1.0, -1.0]])
    informations = np.array([np.diag(pair) for pair in H.T])
    order = np.array([2, 0, 1])
    both, own = _share(informations, h.T, np.array([0.05, 0.05]))
    again, own_again = _share(informations[order], h.T[order], np.array([0.05, 0.05]))
    np.testing.assert_allclose(again, both)
    assert own_again == pytest.approx(own)
    turned, _ = _share(informations[:, ::-1, ::-1], h.T[:, ::-1], np.array([0.05, 0.05]))
    np.testing.assert_allclose(turned[::-1], both)
    nothing, _ = _share(0 * informations, 0 * h.T, np.array([0.05, 0.05]))
    np.testing.assert_array_equal(nothing, 0.0)


# -- contexts with their rows -------------------------------------------------------


def test_rows_show_an_expert_unlike_the_others():
    rejector = fitted([with_the_model] * 2)
    errors = [
        error(serve(rejector, against_the_model, n, with_rows=n > 0), against_the_model)
        for n in (0, 100, 3000)
    ]
    without = error(serve(rejector, against_the_model, 3000), against_the_model)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.04 < 0.1 < without


def test_a_small_context_moves_little_and_none_moves_nothing():
    rejector = fitted([with_the_model] * 4)
    typical = serve(rejector, against_the_model, 3).expected_loss(NEW)
    few = serve(rejector, against_the_model, 3, with_rows=True)
    np.testing.assert_allclose(few.expected_loss(NEW), typical, atol=0.01)
    assert few.learned_weight_[1] == pytest.approx(3 / 203)
    served = serve(rejector, against_the_model, 3)
    np.testing.assert_array_equal(served.with_contexts([None]).expected_loss(NEW), typical)
    proba, y, _, X = newcomer(against_the_model, 3)[1]
    silent = served.with_contexts([(proba, y, np.full(3, None), X)])
    np.testing.assert_array_equal(silent.expected_loss(NEW), typical)


def test_missing_answers_of_a_context_teach_nothing():
    rejector = fitted([with_the_model] * 2)
    profile, (proba, y, said, X) = newcomer(with_the_model, 200)
    some = np.arange(200) % 2 == 0
    holes = np.where(some, said.astype(object), None)
    served = rejector.with_profiles([profile])
    one = served.with_contexts([(proba, y, holes, X)])
    two = served.with_contexts([(proba[some], y[some], said[some], X)])
    np.testing.assert_allclose(one.expected_loss(NEW), two.expected_loss(NEW))
    assert one.learned_weight_[1] == pytest.approx(100 / 300)


def test_known_experts_stay_as_they_are():
    rejector = fitted([with_the_model, against_the_model])
    before = rejector.expected_loss(NEW)
    profile, context = newcomer(with_the_model, 50)
    served = rejector.with_profiles([profile, rejector.profiles_[1]])
    learned = served.with_contexts([context, context])
    for other in (served, learned):
        np.testing.assert_array_equal(other.expected_loss(NEW)[:, [0, 2]], before[:, [0, 2]])
    np.testing.assert_array_equal(rejector.expected_loss(NEW), before)
    both = learned.with_profiles([rejector.profiles_[1], learned.profiles_[0]])
    np.testing.assert_array_equal(
        both.expected_loss(NEW)[:, [0, 2, 1]], learned.expected_loss(NEW), "served once more"
    )


def test_features_of_the_rows_of_a_context():
    proba, y = rows(2000)
    X = np.random.default_rng(3).normal(5.0, 2.0, size=(2000, 2))
    record = answers_of(with_the_model, proba, y, 0)
    knows_a_region = np.where(X[:, 0] > 5, y, (y + 1) % K)
    profile = ExpertProfile(classes=range(K)).fit(knows_a_region, y)
    for features in ("passthrough", StandardScaler()):
        rejector = LearnedRejector(features=features).fit(proba, y, record, X=X)
        served = rejector.with_profiles([profile])
        blind = served.expected_loss(proba, X=X)[:, 1]
        seeing = served.with_contexts([(proba, y, knows_a_region, X)]).expected_loss(proba, X=X)
        assert blind[X[:, 0] > 7].mean() > 0.3
        assert seeing[X[:, 0] > 7, 1].mean() < 0.1
        assert seeing[X[:, 0] < 3, 1].mean() > 0.85
    with pytest.raises(ValueError, match="X was not passed"):
        served.with_contexts([(proba, y, knows_a_region, None)])


def test_an_estimator_of_the_user_learns_the_known_experts_alone():
    proba, y = rows(500)
    X = np.full((500, 2), np.nan)  # forests take it
    forest = RandomForestClassifier(10, min_samples_leaf=50, random_state=0)
    record = answers_of(with_the_model, proba, y, 0)
    rejector = LearnedRejector(forest, features="passthrough").fit(proba, y, record, X=X)
    profile, (proba, y, said, _) = newcomer(with_the_model, 400)
    served = rejector.with_profiles([profile]).with_contexts([(proba, y, said, X[:400])])
    assert np.isfinite(served.expected_loss(proba, X=X[:400])).all()


# -- what must not matter -----------------------------------------------------------


def test_names_of_classes_do_not_matter():
    proba, y = rows(600)
    record = np.column_stack([answers_of(with_the_model, proba, y, j) for j in range(3)])
    turn = np.array([2, 0, 1])  # class k is called turn[k]

    def scores(turn):
        profile, (past, truth, said, _) = newcomer(with_the_model, 60)
        profile = ExpertProfile(classes=range(K)).fit(turn[said], turn[truth])
        back = np.argsort(turn)
        rejector = LearnedRejector().fit(proba[:, back], turn[y], turn[record])
        served = rejector.with_profiles([profile])
        served = served.with_contexts([(past[:, back], turn[truth], turn[said], None)])
        return served.expected_loss(NEW[:, back])

    np.testing.assert_allclose(scores(turn), scores(np.arange(K)), atol=1e-6)


def test_the_order_of_the_known_experts_does_not_matter():
    kinds = [with_the_model, against_the_model, with_the_model]
    proba, y = rows(600)
    record = np.column_stack([answers_of(kind, proba, y, j) for j, kind in enumerate(kinds)])
    one, two = (LearnedRejector().fit(proba, y, record[:, o]) for o in ([0, 1, 2], [2, 0, 1]))
    losses = [serve(r, with_the_model, 30, with_rows=True).expected_loss(NEW) for r in (one, two)]
    np.testing.assert_allclose(losses[0][:, 1], losses[1][:, 1], atol=1e-7)


def test_a_matrix_of_equal_prices_is_plain_errors():
    proba, y = rows(600)
    record = np.column_stack([answers_of(with_the_model, proba, y, j) for j in range(2)])
    plain = LearnedRejector().fit(proba, y, record)
    priced = LearnedRejector().fit(proba, y, record, error_cost=3.0 * (1 - np.eye(K)))
    losses = [
        serve(r, with_the_model, 30, with_rows=True).expected_loss(NEW) for r in (plain, priced)
    ]
    np.testing.assert_allclose(losses[1], 3.0 * losses[0], rtol=1e-6)


def test_a_matrix_is_weighed_as_money():
    matrix = np.array([[0.0, 1.0, 2.0], [4.0, 0.0, 1.0], [9.0, 3.0, 0.0]])
    proba, y = rows(3000)
    record = np.column_stack([answers_of(with_the_model, proba, y, j) for j in range(4)])
    rejector = LearnedRejector().fit(proba, y, record, error_cost=matrix)
    new, truth = rows(5000, seed=4)
    said = answers_of(with_the_model, new, truth, 44)
    loss = serve(rejector, with_the_model, 300, with_rows=True).expected_loss(new)[:, 1]
    assert loss.mean() == pytest.approx(matrix[truth, said].mean(), rel=0.1)


def test_rows_are_weighed_alone_and_copies_are_equal():
    served = serve(fitted([with_the_model] * 2, n=300), with_the_model, 30, with_rows=True)
    whole = served.expected_loss(NEW)
    np.testing.assert_allclose(served.expected_loss(NEW[:1]), whole[:1])
    again = pickle.loads(pickle.dumps(served))
    np.testing.assert_array_equal(again.expected_loss(NEW), whole)


# -- what is refused ----------------------------------------------------------------


def test_contexts_that_do_not_fit_are_refused():
    rejector = fitted([with_the_model], n=100)
    profile, (proba, y, said, X) = newcomer(with_the_model, 10)
    served = rejector.with_profiles([profile])
    for contexts, message in [
        ([], "0 contexts for 1 experts; pass one each"),
        ([(proba[:, :2], y, said, X)], r"proba has shape \(10, 2\); expected \(n_rows, 3\)"),
        ([(proba, y[:4], said, X)], r"y of a context has shape \(4,\) and proba \(10, 3\)"),
        ([(proba, y + 1, said, X)], r"one label for each row of proba, among the classes \[0, 1"),
        ([(proba, y, said[:4], X)], "has 4 rows, but X has 10"),
    ]:
        with pytest.raises(ValueError, match=message):
            served.with_contexts(contexts)


def test_other_rejectors_read_profiles_alone():
    proba, y = rows(50)
    rejector = ProfileRejector().fit(proba, y, y)
    assert not rejector.reads_contexts
    assert rejector.with_contexts([(proba, y, y, None)]) is rejector
