"""ScoringPolicy: the threshold of the best metric, by brute force over all of them."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, fbeta_score, make_scorer

from skdefer import DeferralClassifier
from skdefer.policies import ScoringPolicy
from tests.conftest import CountingExpert, make_data
from tests.policies.test_common import make_case


def answers_at(case, threshold):
    """Labels of the system if all rows above the threshold go to their best expert."""
    best = case["score"].argmax(axis=1)
    said = case["expert_predictions"][np.arange(len(best)), best]
    handed = case["score"].max(axis=1) > threshold
    return np.array(
        [m if s is None or not h else s for m, s, h in zip(case["y_pred"], said, handed)]
    ).astype(int), handed.mean()


def best_by_brute_force(case, metric, budget=1.0, lowest=0.0):
    top = np.unique(case["score"].max(axis=1))
    every = [np.inf, *((top[1:] + top[:-1]) / 2)[::-1], top.min() - 1, lowest]
    tried = [answers_at(case, t) for t in every if t >= lowest]
    return max(metric(case["y"], labels) for labels, share in tried if share <= budget)


def macro(y, labels):
    return f1_score(y, labels, average="macro")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("f1_macro", macro),
        (macro, macro),
        (make_scorer(fbeta_score, beta=0.5, average="macro"), None),
        ("accuracy", accuracy_score),
    ],
    ids=["closed", "called", "scorer", "accuracy"],
)
@pytest.mark.parametrize("budget", [None, 0.25])
@pytest.mark.parametrize("gains_only", [True, False])
def test_best_threshold(seed, name, function, budget, gains_only):
    case = make_case(seed=seed) | {"sample_weight": None}
    if function is None:
        function = lambda y, labels: fbeta_score(y, labels, beta=0.5, average="macro")  # noqa: E731
    policy = ScoringPolicy(name, budget=budget, gains_only=gains_only).fit(**case)
    lowest = 0.0 if gains_only else -np.inf
    expected = best_by_brute_force(case, function, 1.0 if budget is None else budget, lowest)
    assert policy.metric_value_ == pytest.approx(expected)
    labels, share = answers_at(case, policy.threshold_)
    assert function(case["y"], labels) == pytest.approx(expected)
    assert policy.deferral_rate_ == pytest.approx(share)
    assert (policy.route(case["score"]) > 0).mean() == pytest.approx(share)


def test_of_equals_the_one_that_hands_over_least():
    score = np.array([[0.5], [0.4], [0.3]])
    policy = ScoringPolicy().fit(score, [0, 0, 1], [0, 0, 1], [0, 0, 1])
    assert policy.threshold_ == np.inf
    assert not policy.route(score + 10).any()


def test_an_undefined_metric_is_never_best():
    def precision_of_kept(y_true, y_answered):
        said = y_answered == 1
        return (y_true[said] == 1).mean() if said.any() else np.nan

    score = np.array([[0.5], [0.4], [0.3], [0.2]])
    case = ([1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1])  # nothing positive is kept in between
    policy = ScoringPolicy(precision_of_kept).fit(score, *case)
    assert policy.metric_value_ == 1.0
    with pytest.raises(ValueError, match="is NaN at every threshold"):
        ScoringPolicy(lambda y, a: np.nan).fit(score, *case)


def test_f1_without_positives_is_0_and_silent():
    score = np.array([[0.5], [0.4]])
    policy = ScoringPolicy("f1").fit(score, [0, 1], [0, 0], [0, 0])
    assert policy.metric_value_ == 0.0


def test_metrics_that_do_not_fit_are_refused():
    case = make_case()
    with pytest.raises(ValueError, match="average"):
        ScoringPolicy("f1").fit(**case)  # three classes
    with pytest.raises(ValueError, match="takes none"):
        ScoringPolicy(lambda y, a: 0.0).fit(**case)
    with pytest.raises(ValueError, match="metric has 'roc_auc', which needs probabilities"):
        ScoringPolicy("roc_auc").fit(**case)
    with pytest.raises(ValueError, match="of weight 0"):
        ScoringPolicy().fit(**(case | {"sample_weight": np.zeros(60)}))


@pytest.mark.parametrize("metric", ["f1", f1_score, make_scorer(f1_score)])
def test_a_metric_of_one_class_asks_which(metric):
    score, named = np.array([[0.5], [0.4], [0.3]]), ["no", "yes", "no"]
    with pytest.raises(ValueError, match=r"metric has .*f1.*\['no', 'yes'\]. Pass make_scorer\("):
        ScoringPolicy(metric).fit(score, named, ["no"] * 3, named)
    policy = ScoringPolicy(make_scorer(f1_score, pos_label="yes"))
    assert policy.fit(score, named, ["no"] * 3, named).metric_value_ == 1


def test_inside_an_estimator():
    X, y = make_data(300)
    expert = CountingExpert(X, y)
    clf = DeferralClassifier(
        experts=expert, cost=0.3, policy=ScoringPolicy("balanced_accuracy", budget=0.1)
    ).fit(X[:200], y[:200])
    assert 0 < clf.policy_.deferral_rate_ <= 0.1
    assert clf.score(X[200:], y[200:]) > (clf.predict_model(X[200:]) == y[200:]).mean()
