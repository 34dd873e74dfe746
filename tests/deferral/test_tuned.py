"""TunedDeferralClassifierCV: the optimum of a grid search, constraints, and nobody asked twice."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, make_scorer, recall_score
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit, StratifiedKFold

from skdefer import ColumnExpert, CostModel, DeferralClassifier, TunedDeferralClassifierCV
from skdefer.exceptions import SilentExpertWarning, StaleThresholdWarning
from skdefer.experts import CallableExpert
from skdefer.metrics import make_deferral_scorer, system_cost, system_cost_scorer
from skdefer.policies import BudgetPolicy, CapacityPolicy, ThresholdPolicy, TopKPolicy
from skdefer.rejectors import ProfileRejector
from tests.conftest import CountingExpert, make_data
from tests.discovery import deferral_estimators, is_wrapper, make

X, Y = make_data(240)
PLAIN = [0.5, 0.3, 0.1, 0.05, 0.0]
MIXED = [0.3, 0.05, [0.1, 0.3], {"nurse": 0.4, "doctor": 0.01}]
FOLDS = StratifiedKFold(4, shuffle=True, random_state=0)


@pytest.fixture
def experts():
    return [
        ("nurse", CountingExpert(X, Y, wrong_on=["eel"])),
        ("doctor", CallableExpert(CountingExpert(X, Y), cost=0.15)),
    ]


def system(experts=None, **params):
    return DeferralClassifier(
        LogisticRegression(), experts, rejector=ProfileRejector(), cv=3, random_state=0, **params
    )


def tuned(experts=None, params=None, **options):
    options = {"cv": FOLDS, **options}
    return TunedDeferralClassifierCV(system(experts, **(params or {})), **options)


# -- the same as a search that fits for every candidate ------------------------------------


@pytest.mark.parametrize("objective", ["accuracy", "f1_macro", "balanced_accuracy"])
@pytest.mark.parametrize("policy", [None, TopKPolicy(2)], ids=["cost", "top_k"])
@pytest.mark.parametrize("costs", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_same_optimum_as_grid_search(experts, objective, policy, costs):
    one = tuned(experts, {"policy": policy}, tune="cost", grid=costs, objective=objective)
    one.fit(X, Y)
    search = GridSearchCV(
        system(experts, policy=policy), {"cost": costs}, scoring=objective, cv=FOLDS
    ).fit(X, Y)
    for column in ("mean_test_score", "std_test_score", "split2_test_score"):
        np.testing.assert_allclose(
            one.cv_results_[column], search.cv_results_[column], rtol=0, atol=1e-12
        )
    assert one.best_index_ == search.best_index_
    assert one.best_value_ == search.best_params_["cost"]
    np.testing.assert_array_equal(one.predict(X), search.predict(X))


def test_same_optimum_by_cost(experts):
    costs = [0.0, 0.05, 0.1, 0.2, lambda X: np.abs(X[:, 0]) / 10]
    one = tuned(experts, {"cost": 0.07, "error_cost": 2.0}, tune="cost", grid=costs).fit(X, Y)
    paid = make_deferral_scorer(
        system_cost, response="route", greater_is_better=False, cost=0.07, error_cost=2.0
    )
    search = GridSearchCV(system(experts, error_cost=2.0), {"cost": costs}, scoring=paid, cv=FOLDS)
    search.fit(X, Y)
    np.testing.assert_allclose(
        one.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], atol=1e-12
    )
    assert one.best_index_ == search.best_index_
    assert one.estimator_.cost is one.best_value_


@pytest.mark.parametrize(
    "policy",
    [None, TopKPolicy(3), TopKPolicy(2, vote="weighted"), TopKPolicy(None, max_cost=0.1)],
    ids=["cost", "top_k", "weighted", "max_cost"],
)
def test_thresholds_as_one_by_one(experts, policy):
    experts = [*experts, ("clerk", CountingExpert(X, Y, wrong_on=["cat", "dog"]))]
    record = system(experts).fit(X, Y).ask_experts(X)
    one = tuned(experts, {"policy": policy}, grid=[0.3, 0.0, -0.2, np.inf]).fit(X, Y)
    for k, (train, test) in enumerate(FOLDS.split(X, Y)):
        fold = system(experts, policy=policy)
        fold.fit(X[train], Y[train], expert_predictions=record[train])
        inside = fold.policy_
        for i, threshold in enumerate(one.cv_results_["param_threshold"]):
            fold._set_policy(ThresholdPolicy(threshold, policy=inside))
            score = system_cost_scorer(fold, X[test], Y[test])
            assert one.cv_results_[f"split{k}_test_score"][i] == pytest.approx(score, abs=1e-12)


def test_candidates_lie_midway_and_the_choice_is_served(experts):
    one = tuned(experts, grid=10_000).fit(X, Y)
    candidates = one.cv_results_["param_threshold"]
    assert candidates[0] == np.inf
    assert (np.diff(candidates[1:]) < 0).all()
    assert len(candidates) > 200  # one between any two of 240 scores
    few = tuned(experts, grid=20).fit(X, Y).cv_results_["param_threshold"]
    assert len(few) == 20
    assert np.isin(few, candidates).all()
    route = one.predict_route(X)
    top = one.deferral_score(X).max(axis=1)
    np.testing.assert_array_equal(route > 0, top > one.best_threshold_)
    assert one.best_threshold_ == one.policy_.threshold


def test_budgets_hold_on_the_held_out_rows(experts):
    one = tuned(experts, tune="budget", grid=[0.0, 0.1, 0.25], objective="accuracy").fit(X, Y)
    table = pd.DataFrame(one.cv_results_)
    assert (table["mean_deferral_rate"] <= table["param_budget"] + 1e-12).all()
    assert table["mean_deferral_rate"].iloc[2] > 0.2
    assert one.best_value_ == 0.25
    assert one.best_threshold_ == table["threshold"].iloc[2]
    assert len(tuned(experts, tune="budget").fit(X, Y).cv_results_["param_budget"]) == 101


def test_results_are_whole(experts):
    one = tuned(experts, min_metric={"recall_macro": 0.1}).fit(X, Y)
    table = pd.DataFrame(one.cv_results_)
    assert table["rank_test_score"].iloc[one.best_index_] == 1
    assert table["n_splits_best"].sum() == 4
    assert len(one.split_best_) == 4
    assert one.best_score_ == table["mean_test_score"].max()
    np.testing.assert_allclose(table["mean_cost"], -table["mean_test_score"])
    assert table["mean_recall_macro"].between(0, 1).all()
    # The lower the threshold, the more is handed over and asked.
    assert (np.diff(table["mean_deferral_rate"]) >= 0).all()
    assert (np.diff(table["mean_asking_cost"]) >= -1e-12).all()


# -- constraints ----------------------------------------------------------------------------


def test_constraints_are_met(experts):
    free = tuned(experts, objective="accuracy").fit(X, Y)
    limits = {"max_deferral_rate": 0.2, "max_cost": 0.02, "min_metric": {"recall_macro": 0.5}}
    one = tuned(experts, objective="accuracy", **limits).fit(X, Y)
    at = {name: values[one.best_index_] for name, values in one.cv_results_.items()}
    assert at["mean_deferral_rate"] <= 0.2
    assert at["mean_asking_cost"] <= 0.02
    assert at["mean_recall_macro"] >= 0.5
    assert at["feasible"]
    assert one.best_score_ < free.best_score_
    allowed = one.cv_results_["feasible"]
    assert one.best_score_ == one.cv_results_["mean_test_score"][allowed].max()
    assert not one.cv_results_["rank_test_score"][~allowed].min() <= allowed.sum() - 1


def test_what_cannot_be_met_says_what_can(experts):
    one = tuned(experts, max_deferral_rate=0.1, min_metric={"accuracy": 0.99})
    with pytest.raises(ValueError, match=r"No candidate meets .*accuracy of at least 0.99 .alone"):
        one.fit(X, Y)


def test_a_constraint_without_meaning(experts):
    def never(y_true, y_pred):
        return np.nan

    with pytest.raises(ValueError, match=r"never of at least 0.5 \(NaN\)"):
        tuned(experts, min_metric={never: 0.5}, grid=5).fit(X, Y)


def test_an_objective_without_meaning(experts):
    def never(y_true, y_pred):
        return np.nan

    def sometimes(y_true, y_pred):  # undefined where few answers are right
        right = (y_true == y_pred).mean()
        return right if right > 0.93 else np.nan

    with pytest.raises(ValueError, match="is NaN at every candidate"):
        tuned(experts, objective=never, grid=5).fit(X, Y)
    one = tuned(experts, {"cost": 0.0}, objective=sometimes, grid=50).fit(X, Y)
    assert np.isfinite(one.best_score_)
    assert np.isnan(one.cv_results_["mean_test_score"]).any()
    assert one.best_score_ == np.nanmax(one.cv_results_["mean_test_score"])


def test_scorers_of_every_kind_agree(experts):
    def f2(y_true, y_pred, sample_weight=None):
        return fbeta_score(y_true, y_pred, beta=2, average="macro", sample_weight=sample_weight)

    scorer = make_scorer(fbeta_score, beta=2, average="macro")
    values = [
        tuned(experts, objective=objective, grid=12).fit(X, Y).cv_results_["mean_test_score"]
        for objective in (f2, scorer, lambda y, p: fbeta_score(y, p, beta=2, average="macro"))
    ]
    np.testing.assert_allclose(values[0], values[1])
    np.testing.assert_allclose(values[0], values[2])


# -- who is asked ---------------------------------------------------------------------------


def test_each_row_is_asked_about_once(experts):
    counters = [experts[0][1], experts[1][1].function]
    tuned(experts).fit(X, Y)
    assert [len(counter.batches) for counter in counters] == [1, 1]
    assert [counter.n_rows_asked for counter in counters] == [240, 240]


def test_nobody_is_asked_with_a_record(experts):
    record = np.where(Y == "eel", "cat", Y)
    answers = np.column_stack([record, Y]).astype(object)
    answers[::3] = None
    tuned(experts).fit(X, Y, expert_predictions=answers)
    assert not experts[0][1].batches


def test_max_queries_and_silence_hold_over_all_folds():
    few = CountingExpert(X, Y)
    silent = []
    experts = [
        ("few", CallableExpert(few, max_queries=40)),
        ("silent", lambda rows: silent.append(len(rows)) or [None] * len(rows)),
    ]
    with pytest.warns(SilentExpertWarning):
        one = tuned(experts).fit(X, Y)
    assert few.n_rows_asked == 40
    assert silent == [240]
    assert one.experts_[0].can_answer  # the real one serves
    assert one.estimator_.experts is experts


def test_columns_travel_with_the_rows():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(reader=Y)
    one = tuned(ColumnExpert("reader"), {"cost": 0.05}, max_deferral_rate=0.5).fit(frame, Y)
    assert one.score(frame, Y) > (one.predict_model(frame) == Y).mean()


# -- other ways to use it -------------------------------------------------------------------


def test_nobody_to_ask():
    one = tuned(params={"cost": 0.25}).fit(X, Y)
    assert one.routes_ == ["model", "expert"]
    # Chow's threshold is 0; the tuned one gives the held-out rows a lower cost, or the same.
    plain = tuned(params={"cost": 0.25}, grid=[0.0]).fit(X, Y)
    assert one.best_score_ >= plain.best_score_


def test_frozen_estimators_are_not_fitted_again(experts):
    fitted = system(experts).fit(X[:120], Y[:120])
    one = TunedDeferralClassifierCV(FrozenEstimator(fitted), max_deferral_rate=0.1)
    one.fit(X[120:], Y[120:])
    assert one.estimator_ is not fitted
    assert one.estimator_.estimator_ is fitted.estimator_
    assert one.predict_defer(X[120:]).mean() <= 0.1
    assert type(fitted.policy_).__name__ == "CostPolicy"  # the original is as it was
    assert list(one.cv_results_)[2] == "split0_test_score"
    record = one.ask_experts(X[120:])
    again = clone(one).fit(X[120:], Y[120:], expert_predictions=record)
    assert again.best_threshold_ == one.best_threshold_


def test_without_a_refit_the_split_serves(experts):
    split = ShuffleSplit(1, test_size=0.3, random_state=0)
    one = tuned(experts, cv=split, refit=False).fit(X, Y)
    train = next(split.split(X))[0]
    expected = system(experts).fit(X[train], Y[train])
    np.testing.assert_array_equal(one.deferral_score(X), expected.deferral_score(X))
    with pytest.raises(ValueError, match="refit is False, but cv makes 4 splits"):
        tuned(experts, refit=False).fit(X, Y)


def test_groups_and_weights(experts):
    groups = np.arange(240) // 6
    one = tuned(experts, cv=GroupKFold(4), objective="accuracy", grid=[0.0])
    one.fit(X, Y, groups=groups, sample_weight=np.ones(240))
    plain = tuned(experts, cv=list(GroupKFold(4).split(X, Y, groups)), objective="accuracy")
    plain.set_params(grid=[0.0]).fit(X, Y, groups=groups)
    assert one.best_score_ == pytest.approx(plain.best_score_)


@pytest.mark.slow
def test_folds_at_once(experts):
    one, two = (tuned(experts, grid=30, n_jobs=n_jobs).fit(X, Y) for n_jobs in (None, 2))
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


def test_a_search_around_it(experts):
    search = GridSearchCV(tuned(experts, grid=50), {"estimator__cost": [0.05, 0.4]}, cv=2)
    search.fit(X, Y)
    assert search.best_params_ == {"estimator__cost": 0.05}


def test_a_new_price_makes_the_threshold_stale(experts):
    one = tuned(experts, grid=50).fit(X, Y)
    one.predict(X)
    one.estimator_.set_params(cost=CostModel(money=0.3))
    with pytest.warns(StaleThresholdWarning, match="ThresholdPolicy learned"):
        one.predict(X)


@pytest.mark.parametrize(
    "cls", [c for c in deferral_estimators() if not is_wrapper(c)], ids=lambda c: c.__name__
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skdefer.exceptions.UncalibratedScoreWarning")
def test_every_deferral_estimator_can_be_tuned(experts, cls):
    few = {"max_iter": 10} if "max_iter" in cls().get_params() else {}
    inside = make(cls, experts=experts, random_state=0, **few)
    one = TunedDeferralClassifierCV(inside, cv=2, max_deferral_rate=0.3, grid=40).fit(X, Y)
    assert one.cv_results_["mean_deferral_rate"][one.best_index_] <= 0.3
    assert [expert.n_rows_asked for expert in (experts[0][1], experts[1][1].function)] == [240] * 2
    top = one.deferral_score(X).max(axis=1)
    np.testing.assert_array_equal(one.predict_defer(X), top > one.best_threshold_)


# -- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tune": "cost"}, "grid is None with tune='cost'; expected the costs"),
        ({"tune": "cost", "grid": {"nurse": 1}}, "expected the costs to be tried, a list"),
        ({"tune": "cost", "grid": []}, "grid is empty"),
        ({"tune": "cost", "grid": [-1, 0.0, 0.1]}, "grid has negative prices or NaN; expected"),
        ({"tune": "cost", "grid": [0.1, np.nan]}, "grid has negative prices or NaN; expected"),
        ({"tune": "cost", "grid": [{"nurse": -1, "doctor": 0}]}, "cost has negative prices"),
        ({"tune": "budget", "grid": [0.1, 1.2]}, r"expected shares in \[0, 1\]"),
        ({"grid": "many"}, "expected numbers, or an integer > 1"),
        ({"grid": [0.1, np.nan]}, "expected numbers, or an integer > 1"),
        ({"grid": 1}, "expected numbers, or an integer > 1"),
        ({"objective": system_cost_scorer}, "which asks an estimator; expected 'cost'"),
        ({"objective": "roc_auc"}, "objective has 'roc_auc', which needs probabilities"),
        ({"min_metric": {"roc_auc": 0.9}}, "min_metric has 'roc_auc', which needs probabilities"),
        ({"objective": "no_such"}, "no_such"),
        ({"max_cost": -1}, "max_cost"),
    ],
)
def test_bad_options(experts, options, message):
    with pytest.raises(ValueError, match=message):
        tuned(experts, **options).fit(X, Y)


def test_a_metric_of_one_class_asks_which(experts):
    Z = np.where(Y == "eel", "eel", "other")
    record = np.column_stack([Z, Z])
    for options in ({"objective": "recall"}, {"min_metric": {"recall": 0.5}}):
        (what,) = options
        hint = rf"{what} has 'recall', .* \['eel', 'other'\]. Pass make_scorer\(recall_score, pos_"
        with pytest.raises(ValueError, match=hint):
            tuned(experts, **options).fit(X, Z, expert_predictions=record)
    recall = make_scorer(recall_score, pos_label="eel")
    one = tuned(experts, objective=recall, min_metric={recall: 0.5}, grid=9)
    assert one.fit(X, Z, expert_predictions=record).best_score_ == 1


def test_policies_that_learn_and_models_alone_are_refused(experts):
    with pytest.raises(ValueError, match="BudgetPolicy, which learns where to cut"):
        tuned(experts, {"policy": BudgetPolicy()}).fit(X, Y)
    for tune in ("threshold", "budget"):
        with pytest.raises(
            ValueError, match="CapacityPolicy, which learns .*without Tuned"
        ) as told:
            tuned(experts, {"policy": CapacityPolicy(9)}, tune=tune).fit(X, Y)
        assert "tune=" not in str(told.value)
    with pytest.raises(TypeError, match="estimator is LogisticRegression; expected a deferral"):
        TunedDeferralClassifierCV(LogisticRegression()).fit(X, Y)
    with pytest.raises(TypeError, match="which chooses a threshold itself; expected"):
        TunedDeferralClassifierCV(tuned(experts)).fit(X, Y)


def test_a_reason_below_0_speaks_of_scores(experts):
    one = tuned(experts, {"cost": 0.3}, grid=[-0.3]).fit(X, Y)
    shown = one.explain_defer(X)
    deferred = one.predict_defer(X) & (one.deferral_score(X).max(axis=1) < 0)
    assert deferred.any()
    assert shown["reason"][deferred].str.match(r"Handed to \w+, whose score is -0").all()
