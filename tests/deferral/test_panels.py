"""Several experts per row: who is asked, what their vote is, and that reports say what happened."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

import skdefer.policies
from skdefer import DeferralClassifier
from skdefer.exceptions import ExpertAnswerError, UnansweredError
from skdefer.experts import CallableExpert
from skdefer.metrics import (
    estimator_report,
    kept_accuracy_score,
    make_deferral_scorer,
    system_accuracy_score,
    system_cost,
    system_cost_scorer,
)
from skdefer.policies import BasePolicy, CostPolicy, TopKPolicy
from skdefer.rejectors import ProfileRejector
from tests.conftest import CountingExpert, make_data
from tests.discovery import deferral_estimators, is_wrapper, make

X, Y = make_data(440)
X = X + np.random.default_rng(5).normal(scale=1.5, size=X.shape)  # so that the model needs help
FIT, NEW = slice(0, 240), slice(240, None)
X_NEW, Y_NEW = X[NEW], Y[NEW]
CLASSES = np.array(["cat", "dog", "eel"])
PRICES = {"nurse": 0.02, "doctor": 0.05, "desk": 0.03}


def make_experts():
    """Three experts at their prices, each bad at a class of its own, who err on their own rows."""
    rng = np.random.default_rng(7)
    experts = []
    for weak, (name, price) in zip(CLASSES, PRICES.items()):
        right = rng.random(len(Y)) < np.where(weak == Y, 0.55, 0.85)
        said = np.where(right, Y, CLASSES[rng.integers(3, size=len(Y))])
        experts.append((name, CallableExpert(CountingExpert(X, said), cost=price)))
    return experts


def system(policy, **options):
    clf = DeferralClassifier(
        LogisticRegression(), make_experts(), rejector=ProfileRejector(), policy=policy, **options
    )
    return clf.fit(X[FIT], Y[FIT])


@pytest.fixture(params=["majority", "weighted"])
def fitted(request):
    return system(TopKPolicy(3, vote=request.param))


def counters(clf):
    return [expert.function for expert in clf.experts_]


def forget(clf):
    for counter in counters(clf):
        counter.batches.clear()


def log_odds_of(clf, rows):
    """What a vote weighs: from the losses that are shown."""
    shown = clf.explain_defer(rows)
    loss = np.column_stack([shown[f"expected_loss_{name}"] for name in clf.routes_[1:]])
    return np.log((1 - loss) * 2 / loss)


def predict_by_brute_force(clf, rows, answers):
    panel, score = clf.predict_panel(rows), clf.deferral_score(rows)
    labels = clf.predict_model(rows).astype(object)
    weight = log_odds_of(clf, rows) if clf.policy_.vote == "weighted" else np.ones(panel.shape)
    for i in np.flatnonzero(panel.any(axis=1)):
        members = [j for j in np.flatnonzero(panel[i]) if answers[i, j] is not None]
        support = {
            a: sum(weight[i, j] for j in members if answers[i, j] == a) for a in answers[i, members]
        }
        tied = [j for j in members if support[answers[i, j]] >= max(support.values()) - 1e-9]
        labels[i] = answers[i, max(tied, key=lambda j: (score[i, j], -j))]
    return labels


def test_predict_is_the_vote_of_the_panel(fitted):
    panel = fitted.predict_panel(X_NEW)
    assert set(panel.sum(axis=1)) == {0, 1, 2, 3}, "the data should call for panels of all sizes"
    answers = fitted.ask_experts(X_NEW)
    labels, route, answered = fitted.predict(X_NEW, return_route=True, return_panel=True)
    np.testing.assert_array_equal(labels, predict_by_brute_force(fitted, X_NEW, answers))
    np.testing.assert_array_equal(answered, panel)
    np.testing.assert_array_equal(route, fitted.predict_route(X_NEW))
    np.testing.assert_array_equal(fitted.predict(X_NEW), labels)
    np.testing.assert_array_equal(fitted.predict(X_NEW, return_panel=True)[1], panel)
    first = answers[np.arange(len(route)), route - 1]
    assert (labels != first)[route > 0].any(), "the vote should differ from the first choice's word"
    assert fitted.score(X_NEW, Y_NEW) == pytest.approx((labels == Y_NEW).mean())


def test_each_is_asked_once_and_what_is_bought_is_the_panel(fitted):
    panel = fitted.predict_panel(X_NEW)
    forget(fitted)
    fitted.predict(X_NEW)
    bought = [counter.batches[:] for counter in counters(fitted)]
    for j, batches in enumerate(bought):
        assert batches == [[tuple(row) for row in X_NEW[panel[:, j]]]]
    forget(fitted)
    answers = fitted.ask_experts(X_NEW, where=panel)
    assert [counter.batches for counter in counters(fitted)] == bought
    forget(fitted)
    labels = fitted.predict(X_NEW, expert_predictions=answers)
    assert all(not counter.batches for counter in counters(fitted))
    np.testing.assert_array_equal(labels, fitted.predict(X_NEW))


def test_one_expert_per_row_is_the_cost_policy():
    one, plain = system(TopKPolicy(1)), system(CostPolicy())
    for got, wanted in zip(
        one.predict(X_NEW, return_route=True, return_panel=True),
        plain.predict(X_NEW, return_route=True, return_panel=True),
    ):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(one.predict_panel(X_NEW), plain.predict_panel(X_NEW))
    assert one.explain_defer(X_NEW).equals(plain.explain_defer(X_NEW))


def test_weights_of_votes_do_not_depend_on_the_unit_of_errors():
    """Nor does a matrix of equal prices differ from plain errors."""
    policy = TopKPolicy(3, vote="weighted")
    plain = system(policy, cost=0.0).predict(X_NEW, return_panel=True)
    for error_cost in (40.0, 7.0 * (1 - np.eye(3))):
        other = system(policy, cost=0.0, error_cost=error_cost)
        for got, wanted in zip(other.predict(X_NEW, return_panel=True), plain):
            np.testing.assert_array_equal(got, wanted)
    free = system(policy, cost=0.0, error_cost=0.0)  # nothing gains
    np.testing.assert_array_equal(free.predict(X_NEW), free.predict_model(X_NEW))


def test_max_cost_is_in_the_unit_of_the_cost():
    clf = system(TopKPolicy(k=None, max_cost=3.0), error_cost=60.0, cost=[1.2, 3.0, 1.8])
    panel = clf.predict_panel(X_NEW)
    spent = (panel * [1.2, 3.0, 1.8]).sum(axis=1)
    assert spent.max() == pytest.approx(3.0)
    assert {1, 2} <= set(panel.sum(axis=1))
    clf.set_params(cost=[4.0, 5.0, 6.0])  # no refit
    assert not clf.predict_defer(X_NEW).any()


# -- answers that do not come -----------------------------------------------------------


def silent_on(clf, name, rows=slice(None)):
    """The same experts by their record, one of them silent on some rows."""
    answers = clf.ask_experts(X_NEW)
    answers[rows, clf.routes_.index(name) - 1] = None
    experts = [(n, lambda X: [None] * len(X)) for n in PRICES]
    return clf.with_experts(experts, cost=PRICES), answers


def test_a_missing_vote_is_left_out(fitted):
    clf, answers = silent_on(fitted, "nurse")
    panel = clf.predict_panel(X_NEW)
    alone = (panel == [True, False, False]).all(axis=1)
    answers[alone, 0] = "cat"  # or nobody would answer
    labels, route, answered = clf.predict(
        X_NEW, expert_predictions=answers, return_route=True, return_panel=True
    )
    said = np.not_equal(answers, None)
    np.testing.assert_array_equal(answered, panel & said)
    np.testing.assert_array_equal(labels, predict_by_brute_force(clf, X_NEW, answers))
    best = np.where(answered, clf.deferral_score(X_NEW), -np.inf).argmax(axis=1) + 1
    np.testing.assert_array_equal(route, np.where(answered.any(axis=1), best, 0))
    assert (route != clf.predict_route(X_NEW)).any()


@pytest.mark.parametrize("on_missing", ["raise", "model", "next"])
def test_a_panel_without_any_answer(fitted, on_missing):
    # Two of three on each row, so that there is somebody next in line.
    clf = fitted.set_params(policy=TopKPolicy(2, vote=fitted.policy.vote)).fit(X[FIT], Y[FIT])
    clf, answers = silent_on(clf, "nurse")
    panel, score = clf.predict_panel(X_NEW), clf.deferral_score(X_NEW)
    lost = np.flatnonzero(panel.sum(axis=1) == 2)[:20]
    assert len(lost) == 20
    answers[lost] = np.where(panel[lost], None, answers[lost])
    rest = panel.any(axis=1) & ~np.isin(np.arange(len(panel)), lost)
    answers[rest, :] = "dog"
    clf.set_params(on_missing=on_missing)
    if on_missing == "raise":
        with pytest.raises(UnansweredError, match="20 deferred rows have no answer"):
            clf.predict(X_NEW, expert_predictions=answers)
        return
    labels, answered = clf.predict(X_NEW, expert_predictions=answers, return_panel=True)
    np.testing.assert_array_equal(answered[rest], panel[rest])
    third = ~panel[lost] & (score[lost] > 0) & np.not_equal(answers[lost], None)
    np.testing.assert_array_equal(answered[lost], third & (on_missing == "next"))
    if on_missing == "next":
        assert third.any()
    kept = ~answered.any(axis=1)
    np.testing.assert_array_equal(labels[kept], clf.predict_model(X_NEW)[kept])


def test_an_expert_that_fails_loses_no_answer_of_the_others(fitted):
    def broken(X):
        raise ConnectionError("line is down")

    clf = fitted.with_experts(
        [("nurse", lambda X: ["cat"] * len(X)), ("doctor", broken), ("desk", lambda X: X)],
        cost=PRICES,
    )
    with pytest.raises(ExpertAnswerError, match="'doctor' failed") as caught:
        clf.predict(X_NEW)
    bought = caught.value.answers
    asked = clf.predict_panel(X_NEW)[:, 0]
    assert (bought[asked, 0] == "cat").all()
    assert all(a is None for a in bought[~asked].ravel())


# -- what is reported -------------------------------------------------------------------


def cost_by_hand(clf, labels, panel):
    spent = (panel * [expert.cost for expert in clf.experts_]).sum(axis=1)
    return (labels != Y_NEW) + spent


def test_scorers_charge_for_the_whole_panel(fitted):
    labels, route, panel = fitted.predict(X_NEW, return_route=True, return_panel=True)
    wanted = cost_by_hand(fitted, labels, panel).mean()
    forget(fitted)
    assert system_cost_scorer(fitted, X_NEW, Y_NEW) == pytest.approx(-wanted)
    assert all(len(counter.batches) == 1 for counter in counters(fitted))
    given = make_deferral_scorer(system_cost, response="route", cost=[0.1, 0.2, 0.4])
    spent = (panel * [0.1, 0.2, 0.4]).sum(axis=1)
    assert given(fitted, X_NEW, Y_NEW) == pytest.approx(((labels != Y_NEW) + spent).mean())
    accuracy = make_deferral_scorer(system_accuracy_score, response="route")
    assert accuracy(fitted, X_NEW, Y_NEW) == pytest.approx((labels == Y_NEW).mean())
    kept = make_deferral_scorer(kept_accuracy_score, response="route")
    assert kept(fitted, X_NEW, Y_NEW) == pytest.approx((labels == Y_NEW)[route == 0].mean())


def test_a_metric_that_asks_nobody_is_told_the_price_of_the_panel(fitted):
    def fees(y_true, route, cost):
        cost = np.broadcast_to(cost, (len(route), 3))
        return cost[np.arange(len(route)), route - 1][route > 0].sum()

    forget(fitted)
    spent = make_deferral_scorer(fees, response="route")(fitted, X_NEW, Y_NEW)
    assert all(not counter.batches for counter in counters(fitted))
    panel = fitted.predict_panel(X_NEW)
    assert spent == pytest.approx((panel * list(PRICES.values())).sum())


@pytest.mark.parametrize("on_missing", ["model", "next"])
def test_the_report_says_what_predict_does(fitted, on_missing):
    clf, answers = silent_on(fitted, "nurse", rows=slice(0, 90))
    answers[30:60, 1] = None
    clf.set_params(on_missing=on_missing)
    report = estimator_report(clf, X_NEW, Y_NEW, expert_predictions=answers, cost=PRICES)
    labels, panel = clf.predict(X_NEW, expert_predictions=answers, return_panel=True)
    shown = report.loc["system"]
    spent = (panel * list(PRICES.values())).sum(axis=1)
    assert shown["accuracy"] == pytest.approx((labels == Y_NEW).mean())
    assert shown["deferral_rate"] == pytest.approx(panel.any(axis=1).mean())
    assert shown["cost"] == pytest.approx(((labels != Y_NEW) + spent).mean())
    deferred = panel.any(axis=1)
    assert shown["deferred_accuracy"] == pytest.approx((labels == Y_NEW)[deferred].mean())
    assert shown["cost_low"] < shown["cost"] < shown["cost_high"]
    # The other strategies are those of one expert per row.
    single = clf.set_params(policy=CostPolicy())
    single.policy_ = CostPolicy()
    plain = estimator_report(single, X_NEW, Y_NEW, expert_predictions=answers, cost=PRICES)
    others = [name for name in report.index if name != "system"]
    assert len(others) == len(report) - 1
    np.testing.assert_allclose(
        report.loc[others, ["accuracy", "deferral_rate", "cost"]],
        plain.loc[others, ["accuracy", "deferral_rate", "cost"]],
    )


def test_a_report_where_predict_would_stop(fitted):
    clf, answers = silent_on(fitted, "nurse")
    answers[:] = None
    answers[0] = "cat"
    report = estimator_report(clf, X_NEW, Y_NEW, expert_predictions=answers, n_bootstrap=0)
    panel = clf.predict_panel(X_NEW)
    assert report.loc["system", "deferral_rate"] == pytest.approx(panel.any(axis=1).mean())
    right = clf.predict_model(X_NEW) == Y_NEW
    right[0] = (Y_NEW[0] == "cat") if panel[0].any() else right[0]
    assert report.loc["system", "accuracy"] == pytest.approx(right.mean())


def test_the_explanation_names_everybody(fitted):
    shown, panel = fitted.explain_defer(X_NEW), fitted.predict_panel(X_NEW)
    names = np.array(fitted.routes_[1:])
    assert list(shown["route"]) == [fitted.routes_[r] for r in fitted.predict_route(X_NEW)]
    for reason, asked in zip(shown["reason"], panel):
        who = reason.split(":")[0]
        assert who.startswith("Handed to") == asked.any()
        for name in names:
            assert (name in who) == (asked.any() and name in names[asked])


# -- searches, and every policy through every estimator -----------------------------------


def test_a_search_over_panels_by_what_they_cost():
    clf = DeferralClassifier(
        LogisticRegression(), make_experts(), rejector=ProfileRejector(), policy=TopKPolicy()
    )
    grid = {"policy__k": [1, 3], "policy__vote": ["majority", "weighted"]}
    search = GridSearchCV(clf, grid, scoring=system_cost_scorer, cv=3, error_score="raise")
    search.fit(X, Y)
    assert np.ptp(search.cv_results_["mean_test_score"]) > 0
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        alone = clone(clf).set_params(**params)
        again = cross_val_score(alone, X, Y, scoring=system_cost_scorer, cv=3)
        assert score == pytest.approx(again.mean())


def policies():
    for name in skdefer.policies.__all__:
        cls = getattr(skdefer.policies, name)
        if inspect.isclass(cls) and issubclass(cls, BasePolicy) and cls is not BasePolicy:
            yield pytest.param(cls(), id=name)
    yield pytest.param(TopKPolicy(None, vote="weighted", max_cost=0.07), id="TopKPolicy-max_cost")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skdefer.exceptions.UncalibratedScoreWarning")
@pytest.mark.filterwarnings("ignore::skdefer.exceptions.RiskNotControlledWarning")  # of few rows
@pytest.mark.filterwarnings("ignore:groups is None, so nothing is constrained")
@pytest.mark.parametrize("cls", deferral_estimators(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("policy", list(policies()))
def test_every_policy_through_every_estimator(cls, policy):
    if is_wrapper(cls) and policy.learns:
        pytest.skip("it learns where to cut itself, and refuses a policy that does")
    clf = make(cls, experts=make_experts(), policy=policy, random_state=0).fit(X[FIT], Y[FIT])
    panel, route = clf.predict_panel(X_NEW), clf.predict_route(X_NEW)
    np.testing.assert_array_equal(panel.any(axis=1), route > 0)
    np.testing.assert_array_equal(clf.predict_defer(X_NEW), route > 0)
    forget(clf)
    labels, answered_by, answered = clf.predict(X_NEW, return_route=True, return_panel=True)
    np.testing.assert_array_equal(answered, panel)
    np.testing.assert_array_equal(answered_by, route)
    assert [c.n_rows_asked for c in counters(clf)] == panel.sum(axis=0).tolist()
    answers = clf.ask_experts(X_NEW)
    alone = panel.sum(axis=1) == 1
    np.testing.assert_array_equal(labels[alone], answers[alone, route[alone] - 1])
    np.testing.assert_array_equal(labels[route == 0], clf.predict_model(X_NEW)[route == 0])
    agree = panel.any(axis=1) & [len(set(a[p])) == 1 for a, p in zip(answers, panel)]
    np.testing.assert_array_equal(labels[agree], answers[agree, route[agree] - 1])
    shown = clf.explain_defer(X_NEW)
    assert list(shown["route"]) == [clf.routes_[r] for r in route]
    wanted = cost_by_hand(clf, labels, panel).mean()
    assert system_cost_scorer(clf, X_NEW, Y_NEW) == pytest.approx(-wanted)
