"""What outlives a fit: other experts, other prices, refits, searches over parts."""

import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, ShuffleSplit

from skdefer import ColumnExpert, DeferralClassifier, ExpertProfile
from skdefer.deferral._out_of_fold import make_splits
from skdefer.exceptions import (
    ExpertAnswerError,
    OutOfLabelsWarning,
    SilentExpertWarning,
    StaleThresholdWarning,
)
from skdefer.experts import CallableExpert, Expert
from skdefer.metrics import estimator_report
from skdefer.policies import BudgetPolicy
from skdefer.rejectors import LearnedRejector, ProfileRejector
from tests.conftest import CountingExpert, make_data

X, Y = make_data(300)
RECORD = np.where(Y == "eel", "cat", Y)


class LockedExpert(Expert):
    """Answers under a lock, which can't be copied."""

    def __init__(self):
        super().__init__(name="locked")
        self.lock, self.n_asked = threading.Lock(), 0

    def answers(self, X, explanation=None):
        with self.lock:
            self.n_asked += len(X)
            return ["cat"] * len(X)


def test_a_stranger_does_not_inherit_the_profile_of_a_made_up_name():
    clf = DeferralClassifier(experts=CountingExpert(X, Y)).fit(X, Y)
    with pytest.raises(ValueError, match="Nothing is known of the expert 'expert_1'"):
        clf.with_experts(lambda rows: ["cat"] * len(rows))
    rejects = DeferralClassifier(cost=0.1).fit(X, Y)
    with pytest.raises(ValueError, match="Nothing is known of the expert 'expert'"):
        rejects.with_experts([("expert", CountingExpert(X, Y))])


def test_a_search_over_experts_asks_the_experts_themselves():
    expert = LockedExpert()
    search = GridSearchCV(DeferralClassifier(cv=2), {"experts": [[expert]]}, cv=2).fit(X, Y)
    assert search.best_estimator_.experts_[0] is expert
    assert expert.n_asked > 0
    assert clone(expert) is expert


def test_a_profile_of_the_user_may_go_on_learning():
    profile = ExpertProfile(name="a").fit(Y, Y)
    clf = DeferralClassifier(experts=profile, rejector=ProfileRejector(), on_missing="model")
    score = clf.fit(X, Y).deferral_score(X)
    profile.partial_fit(np.roll(Y, 1), Y)
    np.testing.assert_array_equal(clf.deferral_score(X), score)


def test_a_record_adds_to_a_fitted_profile():
    profile = ExpertProfile(name="a").fit(np.tile(Y, 5), np.tile(Y, 5))
    one = np.where(np.arange(300) == 0, Y, None)
    clf = DeferralClassifier(experts=profile, rejector=ProfileRejector())
    means = clf.fit(X, Y, expert_predictions=one).profiles_[0].mean_
    assert (means > 0.98).all()


@pytest.mark.parametrize("change", ["own", "in place"])
def test_every_change_of_prices_makes_a_threshold_stale(change):
    expert = CallableExpert(CountingExpert(X, Y), name="desk")
    cost = None if change == "own" else [0.1]
    clf = DeferralClassifier(experts=expert, policy=BudgetPolicy(0.2), cost=cost).fit(X, Y)
    clf.predict_defer(X)
    if change == "own":
        clf = clf.with_experts(CallableExpert(expert.function, name="desk", cost=0.3))
    else:
        clf.cost[0] = 0.3
    with pytest.warns(StaleThresholdWarning):
        clf.predict_defer(X)


def test_folds_that_nobody_reads_are_not_made():
    few = ShuffleSplit(1, test_size=4, random_state=0)
    DeferralClassifier(cv=few).fit(X, Y, expert_predictions=RECORD)
    with pytest.raises(ValueError, match="too few to learn the policy"):
        DeferralClassifier(cv=few, policy=BudgetPolicy()).fit(X, Y, expert_predictions=RECORD)
    model = LogisticRegression().fit(X[:200], Y[:200])
    rows = [np.flatnonzero(label == Y)[:2] for label in ("cat", "dog", "eel")]
    rows = np.concatenate(rows)
    DeferralClassifier(FrozenEstimator(model)).fit(X[rows], Y[rows], expert_predictions=Y[rows])


def test_a_number_of_folds_of_any_type_keeps_groups_together():
    groups = np.arange(300) // 3
    for train, test in make_splits(np.int64(5), X, Y, groups):
        assert not set(groups[train]) & set(groups[test])


def test_odd_answers_that_were_bought_are_not_lost():
    unsure = CallableExpert(lambda rows: ["unsure"] * len(rows), name="a", max_queries=3)
    with pytest.raises(ExpertAnswerError, match="No answer of expert 'a'") as caught:
        DeferralClassifier(experts=unsure).fit(X, Y)
    assert (caught.value.answers == "unsure").sum() == 3


def test_one_odd_answer_at_hand_does_not_depend_on_its_batch():
    clf = DeferralClassifier(on_missing="model").fit(X, Y, expert_predictions=RECORD)
    with pytest.warns(OutOfLabelsWarning, match="'unsure'"):
        clf.predict(X[:1], expert_predictions=["unsure"])


def test_the_seed_reaches_the_parts_of_the_rejector():
    rejector = LearnedRejector(RandomForestClassifier(5))
    scores = [
        DeferralClassifier(rejector=rejector, random_state=0)
        .fit(X, Y, expert_predictions=RECORD)
        .deferral_score(X)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*scores)


def test_a_refit_on_arrays_forgets_the_names_of_columns():
    clf = DeferralClassifier(cost=0.1).fit(pd.DataFrame(X, columns=list("abcd")), Y)
    assert list(clf.feature_names_in_) == list("abcd")
    assert not hasattr(clf.fit(X, Y), "feature_names_in_")


def test_a_copy_with_other_experts_has_its_own_parts():
    clf = DeferralClassifier(policy=BudgetPolicy(0.1)).fit(X, Y, expert_predictions=RECORD)
    other = clf.with_experts(("desk", CountingExpert(X, Y)), profiles=(Y, Y))
    other.set_params(policy__budget=0.5)
    assert clf.policy.budget == 0.1


def test_a_record_on_rows_that_teach_nothing_is_warned_of():
    split = PredefinedSplit(np.where(np.arange(300) < 100, 0, -1))
    outside = np.where(np.arange(300) < 100, None, RECORD)
    answers = np.column_stack([outside, RECORD])
    with pytest.warns(SilentExpertWarning, match="expert_1"):
        DeferralClassifier(cv=split).fit(X, Y, expert_predictions=answers)


def test_features_with_holes_are_refused_in_fit():
    holes = np.where(np.arange(1200).reshape(300, 4) == 5, np.nan, X)
    clf = DeferralClassifier(
        RandomForestClassifier(5, random_state=0), rejector=LearnedRejector(features="passthrough")
    )
    with pytest.raises(ValueError, match="features of the rejector have NaN"):
        clf.fit(holes, Y, expert_predictions=RECORD)


def test_no_error_cost_is_one():
    with_none = DeferralClassifier(error_cost=None).fit(X, Y, expert_predictions=RECORD)
    plain = DeferralClassifier().fit(X, Y, expert_predictions=RECORD)
    np.testing.assert_array_equal(with_none.deferral_score(X), plain.deferral_score(X))


def test_prices_are_read_alike_everywhere():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(p=RECORD, q=Y)
    clf = DeferralClassifier(experts=[ColumnExpert("p"), ColumnExpert("q")]).fit(frame, Y)
    prices = {"q": 0.4, "p": 0.1}
    seen = []

    def by_row(rows):
        seen.append(list(rows.columns))
        return np.tile([0.1, 0.4], (len(rows), 1))

    costs = [
        estimator_report(clf, frame, Y, cost=cost, n_bootstrap=0).loc["system", "cost"]
        for cost in (prices, pd.Series(prices), [0.1, 0.4], by_row)
    ]
    np.testing.assert_allclose(costs, costs[0])
    assert seen == [list("abcd")]
