"""Somebody new comes in on Monday: with_experts, with past answers and their rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skdefer import ColumnExpert, DeferralClassifier, ExpertProfile
from skdefer.datasets import make_deferral_classification
from skdefer.exceptions import StaleThresholdWarning
from skdefer.policies import BudgetPolicy
from skdefer.rejectors import (
    ConfidenceRejector,
    ExpertAgnosticRejector,
    LearnedRejector,
    ProfileRejector,
)
from tests.conftest import CountingExpert, make_data

X, Y = make_data(600)
FIT, PAST, NEW = slice(0, 300), slice(300, 450), slice(450, 600)
KNOWN = np.column_stack([np.where(Y == "eel", "cat", Y), np.where(Y == "cat", "dog", Y)])[FIT]
READER = np.where(Y == "dog", "eel", Y)  # right on cats and eels


@pytest.fixture
def fitted():
    return DeferralClassifier().fit(X[FIT], Y[FIT], expert_predictions=KNOWN)


def test_monday_in_a_hospital():
    made = make_deferral_classification(
        1500, 4, n_experts=3, expert_type="class", mean_accuracy=0.75, random_state=0
    )
    cases, y, said = made.data, made.target, made.expert_predictions
    clf = DeferralClassifier(LogisticRegression(), cost=0.05)
    clf.fit(cases[:800], y[:800], expert_predictions=said[["expert_1", "expert_2"]][:800])
    reader = said["expert_3"].to_numpy()
    past = np.concatenate([np.flatnonzero(y[800:1000] == k)[:12] for k in range(3)]) + 800
    ask = CountingExpert(cases, reader)
    monday = clf.with_experts([("dr. new", ask)], profiles=[(reader[past], y[past], cases[past])])
    assert monday.estimator_ is clf.estimator_, "nothing is fitted again"
    assert monday.routes_ == ["model", "dr. new"]
    today = cases[1000:]
    route = monday.predict_route(today)
    assert 0.1 < (route == 1).mean() < 0.9
    assert not ask.batches, "nobody is asked before it is decided"
    assert monday.score(today, y[1000:]) > (monday.predict_model(today) == y[1000:]).mean() + 0.02
    assert ask.n_rows_asked == (route == 1).sum()

    # Later answers show that the reader is never right on class 0: no more such rows.
    profile = monday.profiles_[0]
    assert profile.n_context_.tolist() == [12, 12, 12]
    profile.partial_fit([1] * 40, [0] * 40)
    tuesday = clf.with_experts([("dr. new", ask)], profiles=[profile])
    later = tuesday.predict_route(today)
    assert (later != route).any()
    likely_0 = clf.predict_proba(today)[:, 0] > 0.5
    assert (route[likely_0] == 1).mean() > 0.05
    assert (later[likely_0] == 1).mean() < (route[likely_0] == 1).mean()
    np.testing.assert_array_equal(monday.predict_route(today), route)
    assert clf.routes_ == ["model", "expert_1", "expert_2"]


CONTEXT = (READER[PAST], Y[PAST], X[PAST])


@pytest.mark.parametrize("profiles", [CONTEXT, [CONTEXT], {"dr. new": CONTEXT}, (CONTEXT,)])
def test_a_context_in_every_form(fitted, profiles):
    served = fitted.with_experts(("dr. new", CountingExpert(X, READER)), profiles=profiles)
    assert served.profiles_[0].n_context_.sum() == 150
    assert served.rejector_.learned_weight_[1] == pytest.approx(150 / 350)
    by_hand = fitted.rejector_.with_profiles([ExpertProfile().fit(READER[PAST], Y[PAST])])
    proba = fitted.predict_proba(X[PAST])
    by_hand = by_hand.with_contexts([(proba, Y[PAST], READER[PAST], X[PAST])])
    loss = by_hand.expected_loss(fitted.predict_proba(X[NEW]))
    np.testing.assert_allclose(served.deferral_score(X[NEW])[:, 0], loss[:, 0] - loss[:, 1])


def test_rows_are_read_where_the_rejector_reads_rows():
    for rejector in (ProfileRejector(), LearnedRejector()):
        clf = DeferralClassifier(rejector=rejector).fit(X[FIT], Y[FIT], expert_predictions=KNOWN)
        scores = [
            clf.with_experts(("new", CountingExpert(X, READER)), profiles=context).deferral_score(X)
            for context in (CONTEXT[:2], CONTEXT)
        ]
        assert np.array_equal(*scores) == (not rejector.reads_contexts)


def test_old_and_new_side_by_side(fitted):
    old = ("old", CountingExpert(X, READER))
    both = fitted.with_experts(
        {"new": CountingExpert(X, READER), "expert_1": lambda rows: ["cat"] * len(rows)},
        profiles={"new": CONTEXT},
    )
    assert both.routes_ == ["model", "new", "expert_1"]
    score = both.deferral_score(X[NEW])
    np.testing.assert_array_equal(score[:, 1], fitted.deferral_score(X[NEW])[:, 0])
    alone = fitted.with_experts(old, profiles=CONTEXT).deferral_score(X[NEW])
    np.testing.assert_array_equal(score[:, 0], alone[:, 0])
    # Somebody who came before keeps what was learned from the rows.
    again = both.with_experts({"new": CountingExpert(X, READER)})
    np.testing.assert_array_equal(again.deferral_score(X[NEW]), alone)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(both.rejector_)).expected_loss(both.predict_proba(X[NEW])),
        both.rejector_.expected_loss(both.predict_proba(X[NEW])),
    )


def test_an_empty_context_is_what_is_known_of_the_others(fitted):
    nobody = ("new", CountingExpert(X, READER))
    empty = fitted.with_experts(nobody, profiles=([], []))
    score = empty.deferral_score(X[NEW])
    with_rows = fitted.with_experts(nobody, profiles=([], [], X[:0]))
    np.testing.assert_array_equal(with_rows.deferral_score(X[NEW]), score)
    loss = fitted.rejector_.expected_loss(fitted.predict_proba(X[NEW]))
    typical = loss[:, 1:].mean()
    assert abs((loss[:, 0] - score[:, 0]).mean() - typical) < 0.1
    assert typical < 0.4, "better than the 0.5 of somebody unknown"


def test_a_class_may_be_absent_from_a_context(fitted):
    cats = np.flatnonzero(Y[PAST] == "cat")
    context = READER[PAST][cats], Y[PAST][cats], X[PAST][cats]
    served = fitted.with_experts(("new", CountingExpert(X, READER)), profiles=context)
    assert np.isfinite(served.deferral_score(X[NEW])).all()


def test_columns_of_experts_stay_hidden_in_contexts():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(old=np.where(Y == "eel", "cat", Y))
    frame["new"] = READER
    experts = [ColumnExpert("old"), ColumnExpert("new")]
    clf = DeferralClassifier(LogisticRegression(), experts).fit(frame[FIT], Y[FIT])
    context = frame["new"][PAST], Y[PAST], frame[PAST]
    served = clf.with_experts(ColumnExpert("new", name="again"), profiles=context)
    bare = context[0], context[1], frame[list("abcd")][PAST]
    again = clf.with_experts(ColumnExpert("new", name="again"), profiles=bare)
    np.testing.assert_array_equal(
        served.deferral_score(frame[NEW]), again.deferral_score(frame[NEW])
    )


def test_texts_frozen_models_and_missing_values():
    texts = [" ".join(f"w{int(v)}" for v in row) for row in X * 2]
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts[:150], Y[:150])
    clf = DeferralClassifier(FrozenEstimator(model))
    clf.fit(texts[150:300], Y[150:300], expert_predictions=KNOWN[150:300])
    served = clf.with_experts(("new", len), profiles=(READER[PAST], Y[PAST], texts[PAST]))
    assert np.isfinite(served.deferral_score(texts[NEW])).all()

    holes = X.copy()
    holes[::7, 1] = np.nan
    clf = DeferralClassifier(make_pipeline(SimpleImputer(), LogisticRegression()))
    clf.fit(holes[FIT], Y[FIT], expert_predictions=KNOWN)
    served = clf.with_experts(("new", len), profiles=(READER[PAST], Y[PAST], holes[PAST]))
    assert np.isfinite(served.deferral_score(holes[NEW])).all()
    plain = DeferralClassifier().fit(X[FIT], Y[FIT], expert_predictions=KNOWN)
    with pytest.raises(ValueError, match="NaN"):  # the estimator's own word
        plain.with_experts(("new", len), profiles=(READER[PAST], Y[PAST], holes[PAST]))


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ((READER[PAST], Y[PAST], X), "X has 600 rows, but y has 150 labels"),
        ((READER[PAST], Y[NEW][:9], X[PAST]), "X has 150 rows, but y has 9 labels"),
        ((READER[:3], Y[:2]), "expert_predictions has 3 answers, but y has 2 labels"),
        ((["cat"], ["owl"]), r"y has the labels \['owl'\], but the model knows \['cat', 'dog'"),
    ],
)
def test_contexts_that_do_not_fit_are_refused(fitted, context, message):
    with pytest.raises(ValueError, match=f"The context of expert 'dr. new': {message}"):
        fitted.with_experts(("dr. new", len), profiles=context)


def test_a_threshold_of_other_experts_is_warned_of():
    clf = DeferralClassifier(policy=BudgetPolicy(0.2))
    clf.fit(X[FIT], Y[FIT], expert_predictions=KNOWN)
    served = clf.with_experts(("new", CountingExpert(X, READER)), profiles=CONTEXT)
    with pytest.warns(StaleThresholdWarning):
        served.predict_defer(X[NEW])


def wrong(y):
    """Labels that are never right."""
    return np.roll(np.unique(y), 1)[np.searchsorted(np.unique(y), y)]


@pytest.mark.parametrize(
    "rejector",
    [None, ProfileRejector(), ExpertAgnosticRejector(random_state=0), ConfidenceRejector()],
    ids=lambda r: type(r).__name__,
)
def test_profiles_grow_alone_and_count_when_served_again(rejector):
    X, y = make_data(500)
    record = np.column_stack([y, np.where(y == "eel", "cat", y)])[:300]
    clf = DeferralClassifier(rejector=rejector).fit(X[:300], y[:300], expert_predictions=record)
    context = (y[300:340], y[300:340])
    served = clf.with_experts({"expert_1": len, "new": len}, profiles={"new": context})
    before, mine = clf.deferral_score(X[340:]), served.deferral_score(X[340:])
    for profile in served.profiles_:
        profile.partial_fit(wrong(y[:300]), y[:300])
    np.testing.assert_array_equal(clf.deferral_score(X[340:]), before, "the original has moved")
    np.testing.assert_array_equal(served.deferral_score(X[340:]), mine, "not served again yet")
    again = served.with_experts(
        {"expert_1": len, "new": len}, profiles=dict(zip(("expert_1", "new"), served.profiles_))
    )
    fallen = (mine - again.deferral_score(X[340:])).mean(axis=0)
    assert (fallen > 0.1).all(), fallen
    elsewhere = served.with_experts({"renamed": len}, profiles={"renamed": served.profiles_[1]})
    np.testing.assert_allclose(
        elsewhere.deferral_score(X[340:])[:, 0], again.deferral_score(X[340:])[:, 1]
    )


def test_an_expert_who_brought_a_prior_keeps_the_record_of_fit():
    X, y = make_data(300)
    experts = [("a", ExpertProfile(prior_accuracy=0.9)), ("b", ExpertProfile(prior_accuracy=0.2))]
    clf = DeferralClassifier(experts=experts).fit(
        X, y, expert_predictions=np.column_stack([y, wrong(y)])
    )
    same = clf.with_experts(experts)
    np.testing.assert_array_equal(same.deferral_score(X), clf.deferral_score(X))
    beside = clf.with_experts([*experts, ("new", len)], profiles={"new": ([], [])})
    np.testing.assert_array_equal(beside.deferral_score(X)[:, :2], clf.deferral_score(X))


def score_of(clf, name):
    return clf.deferral_score(X[NEW])[:, clf.routes_.index(name) - 1]


@pytest.mark.parametrize(
    "rejector",
    [
        LearnedRejector(),
        LearnedRejector(LogisticRegression()),
        ProfileRejector(prior="mixture"),
        ExpertAgnosticRejector(random_state=0),
    ],
    ids=repr,
)
def test_serving_again_from_the_copy_is_serving_from_the_original(rejector):
    clf = DeferralClassifier(rejector=rejector).fit(X[FIT], Y[FIT], expert_predictions=KNOWN)
    monday = clf.with_experts(("new", len), profiles=CONTEXT[:2])
    profile = monday.profiles_[0].partial_fit(wrong(Y[FIT]), Y[FIT])
    wanted = score_of(clf.with_experts(("new", len), profiles=[profile]), "new")
    assert wanted.mean() < score_of(monday, "new").mean() - 0.1
    for given in ([profile], pickle.loads(pickle.dumps(profile)), None):
        tuesday = monday.with_experts(("new", len), profiles=given)
        np.testing.assert_allclose(score_of(tuesday, "new"), wanted)
        assert tuesday.profiles_[0] is not profile
    renamed = monday.with_experts(("new2", len), profiles=[profile])
    np.testing.assert_allclose(score_of(renamed, "new2"), wanted)


def test_a_known_expert_keeps_its_correction_when_more_is_known(fitted):
    before = fitted.deferral_score(X[NEW])
    experts = {"expert_1": len, "expert_2": len}
    same = fitted.with_experts(experts, profiles=list(fitted.profiles_))
    np.testing.assert_array_equal(same.deferral_score(X[NEW]), before)
    profile = fitted.profiles_[0].partial_fit(wrong(Y[FIT]), Y[FIT])
    for given in ({"expert_1": profile}, {"expert_1": pickle.loads(pickle.dumps(profile))}, None):
        served = fitted.with_experts(experts, profiles=given)
        assert served.rejector_.learned_[1] is fitted.rejector_.learned_[1]
        assert served.rejector_.learned_weight_[1] == fitted.rejector_.learned_weight_[1]
        score = served.deferral_score(X[NEW])
        assert score[:, 0].mean() < before[:, 0].mean() - 0.1
        np.testing.assert_array_equal(score[:, 1], before[:, 1])
    stranger = fitted.with_experts(("x", len), profiles=ExpertProfile().fit(Y[PAST], Y[PAST]))
    assert stranger.rejector_.learned_[1] is None


def test_a_newcomer_keeps_what_the_rows_have_shown(fitted):
    monday = fitted.with_experts(("new", len), profiles=CONTEXT)
    profile = monday.profiles_[0].partial_fit(wrong(Y[FIT]), Y[FIT])
    tuesday = monday.with_experts(("new", len), profiles=[profile])
    assert tuesday.rejector_.learned_weight_[1] == pytest.approx(150 / 350)
    assert score_of(tuesday, "new").mean() < score_of(monday, "new").mean() - 0.1
    rowless = fitted.with_experts(("new", len), profiles=[profile])
    assert np.abs(score_of(tuesday, "new") - score_of(rowless, "new")).max() > 0.01
    afresh = monday.with_experts(("new", len), profiles=CONTEXT[:2])
    wanted = fitted.with_experts(("new", len), profiles=CONTEXT[:2])
    np.testing.assert_array_equal(score_of(afresh, "new"), score_of(wanted, "new"))


def test_the_prior_of_strangers_does_not_depend_on_when_the_first_comes():
    scores = []
    for early in (True, False):
        clf = DeferralClassifier().fit(X[FIT], Y[FIT], expert_predictions=KNOWN)
        if early:
            clf.with_experts(("new", len), profiles=([], []))
        for profile in [*clf.profiles_, *clf.rejector_.profiles_]:
            profile.partial_fit(wrong(Y[FIT]), Y[FIT])
        scores.append(score_of(clf.with_experts(("new", len), profiles=([], [])), "new"))
    np.testing.assert_array_equal(*scores)


def test_a_fitted_profile_that_fit_has_read_adds_nothing():
    expert = ExpertProfile(name="b").fit(["cat", "cat", "eel"], ["cat", "dog", "eel"])
    clf = DeferralClassifier(experts=expert).fit(X[FIT], Y[FIT], expert_predictions=KNOWN[:, 0])
    for served in (clf.with_experts(expert), clf.with_experts(pickle.loads(pickle.dumps(expert)))):
        assert served.profiles_[0].n_context_.sum() == 303
        np.testing.assert_array_equal(served.deferral_score(X[NEW]), clf.deferral_score(X[NEW]))


def test_an_expert_whose_own_profile_has_learned_since_is_served_by_it(fitted):
    reader = ExpertProfile(name="dr. new").fit(*CONTEXT[:2])
    monday = fitted.with_experts(reader)
    reader.partial_fit(wrong(Y[FIT]), Y[FIT])
    wanted = fitted.with_experts(reader).deferral_score(X[NEW])
    assert wanted.mean() < monday.deferral_score(X[NEW]).mean() - 0.1
    np.testing.assert_array_equal(monday.with_experts(reader).deferral_score(X[NEW]), wanted)


def test_a_prior_will_do_for_a_newcomer_but_not_as_a_profile(fitted):
    claims = ExpertProfile(name="new", prior_accuracy=0.95, prior_strength=200)
    assert (fitted.with_experts(claims).profiles_[0].mean_ > 0.9).all()
    assert not hasattr(claims, "mean_")
    with pytest.raises(ValueError, match="The profile of expert 'new' is not fitted. Fit it with"):
        fitted.with_experts(("new", len), profiles=[claims])
