"""LearnedRejector: it starts from the profile rule and leaves it only where data force it."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit
from sklearn.preprocessing import PolynomialFeatures

from skdefer import DeferralClassifier
from skdefer.experts import ExpertProfile
from skdefer.rejectors import LearnedRejector, ProfileRejector
from skdefer.rejectors._correction import Correction, safe_logit, uncertainty_signals


def made(n=2000, seed=0, n_classes=3):
    """Calibrated probabilities, and an expert who is good where the model is sure."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(n_classes), size=n)
    y = (rng.random((n, 1)) > proba.cumsum(axis=1)).sum(axis=1)
    right = rng.random(n) < 0.4 + 0.6 * proba.max(axis=1)
    answers = np.where(right, y, (y + 1) % n_classes)
    return proba, y, answers


def test_without_answers_it_is_the_profile_rule():
    proba, y, answers = made(300)
    few = np.where(np.arange(300) < 3, answers.astype(object), None)
    rule = ProfileRejector().fit(proba, y, few).expected_loss(proba)
    learned = LearnedRejector().fit(proba, y, few)
    np.testing.assert_allclose(learned.expected_loss(proba)[:, 1], rule[:, 1], atol=0.01)
    assert learned.learned_weight_[1] == pytest.approx(3 / 203)
    nothing = np.full(300, None)
    profile = [ExpertProfile(name="a", prior_accuracy=0.8, classes=[0, 1, 2]).fit([], [])]
    known = LearnedRejector().fit(proba, y, nothing, profiles=profile)
    expected = 1 - proba @ profile[0].mean_
    np.testing.assert_allclose(known.expected_loss(proba)[:, 1], expected)


def test_with_many_answers_it_finds_what_the_profile_cannot_see():
    proba, y, answers = made(20_000)
    new, _, _ = made(2000, seed=1)
    truth = 1 - (0.4 + 0.6 * new.max(axis=1))
    learned = LearnedRejector().fit(proba, y, answers).expected_loss(new)[:, 1]
    rule = ProfileRejector().fit(proba, y, answers).expected_loss(new)[:, 1]
    assert np.abs(learned - truth).mean() < 0.02
    assert np.abs(rule - truth).mean() > 0.06


def test_it_calibrates_an_overconfident_model():
    proba, y, answers = made(20_000)
    sharp = proba**3 / (proba**3).sum(axis=1, keepdims=True)
    loss = LearnedRejector().fit(sharp, y, answers).expected_loss(sharp)[:, 0]
    wrong = sharp.argmax(axis=1) != y
    assert abs(loss.mean() - wrong.mean()) < 0.01
    sure = sharp.max(axis=1) > 0.95
    assert abs(loss[sure].mean() - wrong[sure].mean()) < 0.02


def test_newton_finds_the_minimum():
    rng = np.random.default_rng(0)
    features, prior, good = rng.normal(size=(50, 3)), rng.random(50), rng.random(50)
    weight = rng.random(50) * 3
    model = Correction(ridge=2.0).fit(features, prior, good, weight)
    z = (features - np.average(features, axis=0, weights=weight)) / model.scale_
    design = np.column_stack([np.ones(50), z])

    def objective(b):
        p = expit(safe_logit(prior) + design @ b)
        log_loss = -(good * np.log(p) + (1 - good) * np.log1p(-p))
        return weight @ log_loss + 0.1 * b[0] ** 2 + b[1:] @ b[1:]

    best = minimize(objective, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(model.coef_, best.x, atol=1e-5)


def test_signals_do_not_depend_on_the_names_of_classes():
    proba, _, _ = made(100, n_classes=6)
    np.testing.assert_allclose(
        uncertainty_signals(proba), uncertainty_signals(proba[:, [3, 1, 5, 0, 2, 4]])
    )
    two = uncertainty_signals(np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert np.isfinite(two).all()
    np.testing.assert_allclose(two[:, 1:], [[1, 0], [0, 1]])


def test_renaming_classes_changes_nothing():
    proba, y, answers = made(500)
    order = np.array([2, 0, 1])  # class k is called order[k]
    turned = np.empty_like(proba)
    turned[:, order] = proba
    one = LearnedRejector().fit(proba, y, answers).expected_loss(proba)
    two = LearnedRejector().fit(turned, order[y], order[answers]).expected_loss(turned)
    np.testing.assert_allclose(one, two, atol=1e-8)


def test_integer_weights_are_repeated_rows():
    proba, y, answers = made(200)
    weight = np.arange(200) % 3
    rows = np.repeat(np.arange(200), weight)
    weighted = LearnedRejector().fit(proba, y, answers, sample_weight=weight)
    repeated = LearnedRejector().fit(proba[rows], y[rows], answers[rows])
    np.testing.assert_allclose(weighted.expected_loss(proba), repeated.expected_loss(proba))


def test_features_of_the_rows():
    proba, y, _ = made(3000)
    X = np.random.default_rng(3).normal(size=(3000, 2))
    answers = np.where(X[:, 0] > 0, y, (y + 1) % 3)  # competence that only X shows
    blind = LearnedRejector().fit(proba, y, answers).expected_loss(proba)[:, 1]
    for features in ("passthrough", PolynomialFeatures(1, include_bias=False)):
        seeing = LearnedRejector(features=features).fit(proba, y, answers, X=X)
        loss = seeing.expected_loss(proba, X=X)[:, 1]
        assert (loss[X[:, 0] > 1] < 0.1).all()
        assert (loss[X[:, 0] < -1] > 0.9).all()
    assert blind.std() < 0.1
    with pytest.raises(ValueError, match="X was not passed"):
        LearnedRejector(features="passthrough").fit(proba, y, answers)
    with pytest.raises(ValueError, match="not numeric.*features="):
        LearnedRejector(features="passthrough").fit(proba, y, answers, X=["text"] * 3000)


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), RandomForestClassifier(20, min_samples_leaf=50, random_state=0)],
    ids=lambda e: type(e).__name__,
)
def test_any_probabilistic_classifier(estimator):
    proba, y, answers = made(2000)
    rejector = LearnedRejector(estimator, shrinkage=0.0).fit(proba, y, answers)
    loss = rejector.expected_loss(proba)
    assert ((loss >= 0) & (loss <= 1)).all()
    assert np.corrcoef(loss[:, 1], proba.max(axis=1))[0, 1] < -0.5
    always = LearnedRejector(estimator, shrinkage=0.0).fit(proba, y, y).expected_loss(proba)
    np.testing.assert_allclose(always[:, 1], 0.0)


def test_a_matrix_of_equal_prices_is_plain_errors():
    proba, y, answers = made(500)
    plain = LearnedRejector().fit(proba, y, answers).expected_loss(proba)
    matrix = 3.0 * (1 - np.eye(3))
    priced = LearnedRejector().fit(proba, y, answers, error_cost=matrix).expected_loss(proba)
    np.testing.assert_allclose(priced, 3.0 * plain)


def test_a_matrix_is_learned_as_money():
    proba, y, answers = made(20_000)
    matrix = np.array([[0.0, 1.0, 2.0], [4.0, 0.0, 1.0], [9.0, 3.0, 0.0]])
    rejector = LearnedRejector().fit(proba, y, answers, error_cost=matrix)
    new, truth, said = made(20_000, seed=5)
    loss = rejector.expected_loss(new)
    kept = (new @ matrix).argmin(axis=1)
    assert loss[:, 0].mean() == pytest.approx(matrix[truth, kept].mean(), rel=0.05)
    assert loss[:, 1].mean() == pytest.approx(matrix[truth, said].mean(), rel=0.05)


def test_missing_answers_teach_nothing_of_their_expert():
    proba, y, answers = made(600)
    some = answers.astype(object)
    some[::2] = None
    rows = np.arange(1, 600, 2)
    with_holes = LearnedRejector().fit(proba, y, some)
    without = LearnedRejector().fit(proba[rows], y[rows], answers[rows])
    np.testing.assert_allclose(
        with_holes.expected_loss(proba)[:, 1], without.expected_loss(proba)[:, 1]
    )


def test_other_experts_leave_the_known_ones_alone():
    proba, y, answers = made(2000)
    rejector = LearnedRejector().fit(proba, y, np.column_stack([answers, y]))
    stranger = ExpertProfile(name="new", classes=[0, 1, 2]).fit(y[:30], y[:30])
    served = rejector.with_profiles([rejector.profiles_[1], stranger, rejector.profiles_[0]])
    loss, before = served.expected_loss(proba), rejector.expected_loss(proba)
    np.testing.assert_array_equal(loss[:, [0, 3, 1]], before)
    assert served.learned_weight_.tolist() == [1.0, 2000 / 2200, 0.0, 2000 / 2200]
    np.testing.assert_array_equal(rejector.expected_loss(proba), before)


@pytest.mark.parametrize("cv", [2, 5, ShuffleSplit(1, test_size=0.4, random_state=0)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_model_that_knows_nothing_but_the_frequencies_is_taken_for_that(cv, n_classes):
    rng = np.random.default_rng(0)
    y = rng.choice(n_classes, 1500, p=[0.8, 0.2] if n_classes == 2 else [0.8, 0.15, 0.05])
    X = rng.normal(size=(1500, 5)) + 0.5 * y[:, None]
    answers = np.where(rng.random(1500) < 0.9, y, (y + 1) % n_classes)
    model = LogisticRegression(C=1e-6)  # its probabilities differ by 1e-5, by folds above all
    clf = DeferralClassifier(model, cv=cv, random_state=0)
    clf.fit(X[:1000], y[:1000], expert_predictions=answers[:1000])
    explained = clf.explain_defer(X[1000:])
    error = (y[1000:] != 0).mean()
    assert explained["expected_loss_model"].between(error - 0.08, error + 0.08).all()
    assert explained["expected_loss_expert_1"].between(0.05, 0.15).all()
    assert clf.predict_defer(X[1000:]).all()
