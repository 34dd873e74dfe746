"""TwoStageRejector: its minimiser is the route of least expected cost, its gains are money."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skdefer import DeferralClassifier
from skdefer.datasets import make_deferral_classification
from skdefer.metrics import system_cost_scorer
from skdefer.policies import BudgetPolicy, TopKPolicy
from skdefer.rejectors import LearnedRejector, ProfileRejector, TwoStageRejector

MATRIX = np.array([[0.0, 1.0, 4.0], [2.0, 0.0, 1.0], [7.0, 3.0, 0.0]])
K, J, CELLS = 3, 3, 6


class Table(ClassifierMixin, BaseEstimator):
    """The minimiser of a weighted log loss over a few values of x: weighted shares by value."""

    def fit(self, features, y, sample_weight):
        self.classes_ = np.unique(y)
        self.rows_, cell = np.unique(features.round(6), axis=0, return_inverse=True)
        counts = np.zeros((len(self.rows_), len(self.classes_)))
        np.add.at(counts, (cell.ravel(), np.searchsorted(self.classes_, y)), sample_weight)
        self.shares_ = counts / counts.sum(axis=1, keepdims=True)
        return self

    def predict_proba(self, features):
        distance = np.abs(features[:, None] - self.rows_).sum(axis=2)
        return self.shares_[distance.argmin(axis=1)]


def make_cells(seed, n=600, missing=0.0):
    """Rows of six kinds; by kind, the model's probabilities and how good each expert is."""
    rng = np.random.default_rng(seed)
    cell = np.repeat(np.arange(CELLS), n // CELLS)
    proba = rng.dirichlet(np.ones(K), size=CELLS)[cell]
    y = rng.integers(K, size=len(cell))
    good = rng.uniform(size=(CELLS, K, J))[cell, y]
    right = rng.random((len(cell), J)) < good
    answers = np.where(right, y[:, None], (y[:, None] + rng.integers(1, K, (len(cell), J))) % K)
    answers = answers.astype(object)
    answers[rng.random(answers.shape) < missing] = None
    return cell, proba, y, answers


def costs_of(proba, y, answers, matrix, profiles):
    """What each route cost on each row; a missing answer what the profile expects of its class."""
    prices = 1 - np.eye(K) if matrix is None else matrix
    cost = np.zeros((len(y), 1 + J))
    for i, truth in enumerate(y):
        cost[i, 0] = prices[truth, (proba[i] @ prices).argmin()]
        for j in range(J):
            said = answers[i, j]
            expected = profiles[j].confusion_[truth] @ prices[truth]
            if matrix is None:
                expected = 1 - profiles[j].mean_[truth]
            cost[i, 1 + j] = expected if said is None else prices[truth, said]
    return cost


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("matrix", [None, MATRIX], ids=["errors", "matrix"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_minimiser_takes_the_cheapest_route_and_gains_are_costs(seed, matrix, missing):
    cell, proba, y, answers = make_cells(seed, missing=missing)
    rejector = TwoStageRejector(Table(), shrinkage=0.0)
    loss = rejector.fit(proba, y, answers, error_cost=matrix).expected_loss(proba)
    cost = costs_of(proba, y, answers, matrix, rejector.profiles_)
    mean = np.array([cost[cell == c].mean(axis=0) for c in range(CELLS)])[cell]
    regret = mean[np.arange(len(y)), loss.argmin(axis=1)] - mean.min(axis=1)
    np.testing.assert_allclose(regret, 0.0, atol=1e-9)
    np.testing.assert_allclose(loss[:, :1] - loss[:, 1:], mean[:, :1] - mean[:, 1:], atol=1e-9)


def test_weights_of_rows_are_repeated_rows():
    _, proba, y, answers = make_cells(0, missing=0.2)
    weight = np.random.default_rng(1).integers(0, 3, size=len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    for estimator in (None, Table()):
        weighted = TwoStageRejector(estimator).fit(proba, y, answers, sample_weight=weight)
        repeated = TwoStageRejector(estimator).fit(proba[rows], y[rows], answers[rows])
        np.testing.assert_allclose(
            weighted.expected_loss(proba), repeated.expected_loss(proba), rtol=1e-5
        )


def made(n=6000, seed=0):
    """Calibrated probabilities, one expert who fails with the model and one who knows a region."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(K), size=n)
    y = (rng.random((n, 1)) > proba.cumsum(axis=1)).sum(axis=1)
    X = rng.normal(size=(n, 2))
    accuracy = np.column_stack([0.4 + 0.6 * proba.max(axis=1), 0.4 + 0.5 * expit(3 * X[:, 0])])
    right = rng.random((n, 2)) < accuracy
    answers = np.where(right, y[:, None], (y[:, None] + 1) % K)
    return proba, y, answers, X, accuracy


@pytest.mark.parametrize(
    "estimator",
    [None, RandomForestClassifier(60, min_samples_leaf=60, random_state=0)],
    ids=["default", "forest"],
)
def test_gains_are_in_units_of_the_cost(estimator):
    proba, y, answers, X, _ = made()
    rejector = TwoStageRejector(estimator, features="passthrough").fit(proba, y, answers, X=X)
    proba, _, _, X, accuracy = made(4000, seed=1)
    loss = rejector.expected_loss(proba, X=X)
    gain, truth = loss[:, :1] - loss[:, 1:], accuracy - proba.max(axis=1, keepdims=True)
    assert np.abs(gain.mean(axis=0) - truth.mean(axis=0)).max() < 0.02
    for j in range(2):  # calibrated in bins of equal size
        bins = np.array_split(np.argsort(gain[:, j]), 8)
        error = [abs(gain[b, j].mean() - truth[b, j].mean()) for b in bins]
        assert max(error) < 0.08
    assert np.corrcoef(gain[:, 1], truth[:, 1])[0, 1] > 0.85


def test_features_show_a_region_that_probabilities_do_not():
    proba, y, answers, X, _ = made()
    blind = TwoStageRejector().fit(proba, y, answers).expected_loss(proba)
    seeing = TwoStageRejector(features="passthrough").fit(proba, y, answers, X=X)
    loss = seeing.expected_loss(proba, X=X)
    assert loss[X[:, 0] < -1, 2].mean() - loss[X[:, 0] > 1, 2].mean() > 0.3
    assert abs(blind[X[:, 0] < -1, 2].mean() - blind[X[:, 0] > 1, 2].mean()) < 0.05
    with pytest.raises(ValueError, match="X was not passed"):
        seeing.expected_loss(proba)


def test_few_answers_are_the_rule_of_the_profile():
    proba, y, answers, _, _ = made(500)
    few = answers.astype(object)
    few[3:] = None
    rejector = TwoStageRejector().fit(proba, y, few)
    np.testing.assert_allclose(rejector.learned_weight_, 3 / 203)
    rule = ProfileRejector().fit(proba, y, few).expected_loss(proba)
    np.testing.assert_allclose(rejector.expected_loss(proba)[:, 1:], rule[:, 1:], atol=0.01)
    few[:] = None
    nothing = TwoStageRejector().fit(proba, y, few)
    assert nothing.learned_weight_.tolist() == [0, 0]
    plain = LearnedRejector().fit(proba, y, few).expected_loss(proba)
    np.testing.assert_allclose(nothing.expected_loss(proba), plain)


def test_an_expert_without_answers_changes_nothing_for_the_others():
    proba, y, answers, _, _ = made(500)
    one = TwoStageRejector().fit(proba, y, answers).expected_loss(proba)
    silent = np.column_stack([answers.astype(object), np.full(500, None)])
    two = TwoStageRejector().fit(proba, y, silent).expected_loss(proba)
    np.testing.assert_allclose(two[:, :3], one)


def test_one_route_that_is_always_best():
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=300)
    sure = np.where(np.eye(K)[y] > 0, 0.98, 0.01)
    wrong = np.column_stack([(y + 1) % K, (y + 2) % K])
    loss = TwoStageRejector(shrinkage=0.0).fit(sure, y, wrong).expected_loss(sure)
    assert (loss[:, 1:] - loss[:, :1] > 0.9).all()
    loss = TwoStageRejector(shrinkage=0.0).fit(sure[:, [1, 2, 0]], y, y).expected_loss(sure)
    assert (loss[:, 0] - loss[:, 1] > 0.9).all()


def test_routes_that_always_cost_the_same():
    y = np.arange(60) % K
    sure = np.where(np.eye(K)[y] > 0, 0.98, 0.01)
    rejector = TwoStageRejector(shrinkage=0.0).fit(sure, y, np.column_stack([y, y]))
    loss = rejector.expected_loss(sure)
    np.testing.assert_allclose(loss - loss[:, :1], 0.0, atol=1e-12)


def test_a_matrix_of_equal_prices_is_plain_errors():
    proba, y, answers, _, _ = made(500)
    plain = TwoStageRejector().fit(proba, y, answers).expected_loss(proba)
    priced = TwoStageRejector().fit(proba, y, answers, error_cost=3.0 * (1 - np.eye(K)))
    np.testing.assert_allclose(priced.expected_loss(proba), 3.0 * plain, rtol=1e-6, atol=1e-9)


# -- in a system ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    made = make_deferral_classification(
        1200,
        4,
        n_experts=3,
        expert_type="difficulty",
        complementarity=-4,
        mean_accuracy=[0.7, 0.8, 0.75],
        random_state=0,
    )
    return made.data, made.target, made.expert_predictions


@pytest.mark.parametrize(
    "policy", [None, BudgetPolicy(0.2), TopKPolicy(2)], ids=lambda p: type(p).__name__
)
def test_it_works_inside_a_system(rows, policy):
    X, y, said = rows
    clf = DeferralClassifier(LogisticRegression(), rejector=TwoStageRejector(), policy=policy)
    clf.fit(X[:800], y[:800], expert_predictions=said[:800])
    score = clf.score(X[800:], y[800:], expert_predictions=said[800:])
    assert score > (clf.predict_model(X[800:]) == y[800:]).mean()
    share = clf.predict_defer(X[800:]).mean()
    assert 0 < share < (0.3 if isinstance(policy, BudgetPolicy) else 1)


def test_another_price_needs_no_refit(rows):
    X, y, said = rows
    clf = DeferralClassifier(LogisticRegression(), rejector=TwoStageRejector())
    clf.fit(X[:800], y[:800], expert_predictions=said[:800])
    free = clf.deferral_score(X[800:])
    clf.set_params(cost=[0.1, 0.2, 0.0])
    np.testing.assert_allclose(clf.deferral_score(X[800:]), free - [0.1, 0.2, 0.0])


def test_it_can_be_searched(rows):
    X, y, said = rows
    experts = [(name, lambda X: [None] * len(X)) for name in said]
    clf = DeferralClassifier(
        LogisticRegression(), experts, rejector=TwoStageRejector(), on_missing="model"
    )
    grid = {"rejector__shrinkage": [0.0, 1e6], "rejector__features": [None, "passthrough"]}
    search = GridSearchCV(clf, grid, scoring=system_cost_scorer, cv=2, error_score="raise")
    search.fit(X[:300], y[:300], expert_predictions=said[:300])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_other_experts_are_refused(rows):
    X, y, said = rows
    clf = DeferralClassifier(LogisticRegression(), rejector=TwoStageRejector())
    clf.fit(X[:300], y[:300], expert_predictions=said[:300])
    with pytest.raises(ValueError, match="has learned the experts of fit"):
        clf.with_experts([("new", lambda X: X)], profiles=[clf.profiles_[0]])
