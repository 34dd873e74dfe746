"""The contract of every deferral estimator, on each one that the package exports.

A new estimator is found by discovery; it must be able to fit with ``experts=`` alone.
"""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

from skdefer.exceptions import (
    BudgetExhaustedError,
    ExpertAnswerError,
    ExpertPredictionsMissingError,
    ExpertStoppedError,
    ExpertStoppedWarning,
    StaleThresholdWarning,
    UnansweredError,
    UnansweredWarning,
)
from skdefer.experts import CallableExpert, Expert, ExpertProfile
from tests.conftest import CountingExpert, make_data
from tests.discovery import deferral_estimators, is_wrapper, make, serving

pytestmark = [
    pytest.mark.parametrize("cls", deferral_estimators(), ids=lambda c: c.__name__),
    # Networks are trained for a few epochs only; scores that order rows alone warn of prices.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::skdefer.exceptions.UncalibratedScoreWarning"),
    # A threshold that was tuned at other prices says so; test_a_change_of_cost... looks for it.
    pytest.mark.filterwarnings("ignore::skdefer.exceptions.StaleThresholdWarning"),
]

X, Y = make_data(360)
X_FIT, Y_FIT, X_NEW, Y_NEW = X[:240], Y[:240], X[240:], Y[240:]
NEVER_ASKS = [
    "predict_model",
    "predict_proba",
    "deferral_score",
    "predict_route",
    "predict_defer",
    "predict_panel",
    "explain_defer",
]


@pytest.fixture
def experts():
    """One expert who fails on one class, one who is right but dear."""
    return [
        ("nurse", CountingExpert(X, Y, wrong_on=["eel"])),
        ("doctor", CallableExpert(CountingExpert(X, Y), cost=0.15)),
    ]


@pytest.fixture
def fitted(cls, experts):
    return make(cls, experts=experts, random_state=0).fit(X_FIT, Y_FIT)


def counters(experts):
    return [getattr(e, "function", e) for _, e in experts]


def forget(experts):
    for counter in counters(experts):
        counter.batches.clear()


def test_shapes_and_types(fitted):
    n = len(X_NEW)
    assert is_classifier(fitted)
    assert fitted.routes_ == ["model", "nurse", "doctor"]
    assert fitted.n_experts_ == len(fitted.experts_) == len(fitted.profiles_) == 2
    assert all(isinstance(p, ExpertProfile) for p in fitted.profiles_)
    assert list(fitted.classes_) == ["cat", "dog", "eel"]
    assert fitted.predict_model(X_NEW).shape == (n,)
    assert fitted.predict_proba(X_NEW).shape == (n, 3)
    score = fitted.deferral_score(X_NEW)
    assert score.shape == (n, 2)
    assert score.dtype == float
    route = fitted.predict_route(X_NEW)
    assert route.shape == (n,)
    assert route.dtype.kind == "i"
    assert set(route) <= {0, 1, 2}
    assert 0 < (route > 0).mean() < 1, "the data should call for some hand-overs, not all"
    defer = fitted.predict_defer(X_NEW)
    assert defer.dtype == bool
    np.testing.assert_array_equal(defer, route > 0)
    panel = fitted.predict_panel(X_NEW)
    assert panel.shape == (n, 2)
    assert panel.dtype == bool
    np.testing.assert_array_equal(panel.any(axis=1), defer)


@pytest.mark.parametrize("method", NEVER_ASKS)
def test_nobody_is_asked(fitted, experts, method):
    forget(experts)
    getattr(fitted, method)(X_NEW)
    assert all(not counter.batches for counter in counters(experts))


def test_predict_asks_each_expert_once_for_its_rows_alone(fitted, experts):
    route = fitted.predict_route(X_NEW)
    forget(experts)
    fitted.predict(X_NEW)
    for j, counter in enumerate(counters(experts)):
        mine = [tuple(row) for row in X_NEW[route == j + 1]]
        assert counter.batches == ([mine] if mine else [])


def test_predict_is_the_whole_system(fitted, experts):
    labels, answered = fitted.predict(X_NEW, return_route=True)
    np.testing.assert_array_equal(answered, fitted.predict_route(X_NEW))
    expected = fitted.predict_model(X_NEW)
    for j, counter in enumerate(counters(experts)):
        rows = answered == j + 1
        if rows.any():
            expected[rows] = counter(X_NEW[rows])
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(fitted.predict(X_NEW), labels)
    assert fitted.score(X_NEW, Y_NEW) == pytest.approx((labels == Y_NEW).mean())
    weight = np.arange(len(Y_NEW), dtype=float)
    assert fitted.score(X_NEW, Y_NEW, sample_weight=weight) == pytest.approx(
        np.average(labels == Y_NEW, weights=weight)
    )


def test_rows_are_decided_one_by_one(fitted):
    order = np.random.default_rng(0).permutation(len(X_NEW))
    np.testing.assert_array_equal(
        fitted.predict_route(X_NEW[order]), fitted.predict_route(X_NEW)[order]
    )
    np.testing.assert_array_equal(fitted.predict_route(X_NEW[:1]), fitted.predict_route(X_NEW)[:1])


def test_score_is_the_gain_net_of_the_price(fitted):
    shown = fitted.explain_defer(X_NEW)
    for j, name in enumerate(fitted.routes_[1:]):
        gain = shown["expected_loss_model"] - shown[f"expected_loss_{name}"]
        np.testing.assert_allclose(shown[f"score_{name}"], gain - shown[f"cost_{name}"], atol=1e-12)
        np.testing.assert_array_equal(shown[f"score_{name}"], fitted.deferral_score(X_NEW)[:, j])
        assert (shown[f"uncertainty_{name}"] >= 0).all()


def test_explanation_is_a_row_per_case(fitted):
    frame = pd.DataFrame(X_NEW).set_index(np.arange(len(X_NEW)) + 1000)
    shown = fitted.explain_defer(frame.to_numpy())
    assert list(shown["route"]) == [fitted.routes_[r] for r in fitted.predict_route(X_NEW)]
    np.testing.assert_array_equal(shown["model_answer"], fitted.predict_model(X_NEW))
    np.testing.assert_allclose(shown["model_confidence"], fitted.predict_proba(X_NEW).max(axis=1))
    for route, reason in zip(shown["route"], shown["reason"], strict=True):
        assert reason.startswith("Kept" if route == "model" else f"Handed to {route}")


def test_a_price_above_everything_keeps_every_row(fitted):
    serving(fitted).set_params(cost=1e6)
    assert not fitted.predict_defer(X_NEW).any()
    np.testing.assert_array_equal(fitted.predict(X_NEW), fitted.predict_model(X_NEW))


def test_a_change_of_cost_needs_no_refit(cls, experts, fitted):
    serving(fitted).set_params(cost=0.3)
    if fitted.policy_.holds_threshold:  # tuned at the prices of fit: no refit, but a warning
        with pytest.warns(StaleThresholdWarning, match="other prices"):
            fitted.predict_route(X_NEW)
        return
    again = make(cls, experts=experts, cost=0.3, random_state=0).fit(X_FIT, Y_FIT)
    np.testing.assert_array_equal(fitted.predict_route(X_NEW), again.predict_route(X_NEW))


def test_ask_experts_is_the_other_paid_door(fitted, experts):
    forget(experts)
    answers = fitted.ask_experts(X_NEW)
    assert answers.shape == (len(X_NEW), 2)
    assert answers.dtype == object
    assert [c.n_rows_asked for c in counters(experts)] == [len(X_NEW)] * 2
    np.testing.assert_array_equal(answers[:, 1], Y_NEW)
    forget(experts)
    where = fitted.predict_panel(X_NEW)
    some = fitted.ask_experts(X_NEW, where=where)
    np.testing.assert_array_equal(some[where], answers[where])
    assert all(answer is None for answer in some[~where])
    assert [c.n_rows_asked for c in counters(experts)] == where.sum(axis=0).tolist()
    by_row = fitted.ask_experts(X_NEW, where=np.arange(len(X_NEW)) < 2)
    assert [a is not None for a in by_row[:3].ravel()] == [True] * 4 + [False] * 2
    with pytest.raises(ValueError, match=r"where has shape \(3,\); expected"):
        fitted.ask_experts(X_NEW, where=[True] * 3)


def test_answers_at_hand_are_not_bought(fitted, experts):
    answers = fitted.ask_experts(X_NEW)
    forget(experts)
    labels = fitted.predict(X_NEW, expert_predictions=answers)
    assert all(not c.batches for c in counters(experts))
    np.testing.assert_array_equal(labels, fitted.predict(X_NEW))
    named = pd.DataFrame(answers, columns=["nurse", "doctor"])[["doctor", "nurse"]]
    np.testing.assert_array_equal(fitted.predict(X_NEW, expert_predictions=named), labels)


def test_a_missing_answer_at_hand_is_asked_for(fitted, experts):
    answers = fitted.ask_experts(X_NEW)
    row = np.flatnonzero(fitted.predict_defer(X_NEW))[0]
    answers[row] = None
    forget(experts)
    fitted.predict(X_NEW, expert_predictions=answers)
    assert sum(c.n_rows_asked for c in counters(experts)) == 1


@pytest.mark.parametrize("on_missing", ["raise", "model", "next"])
def test_on_missing(fitted, on_missing):
    serving(fitted).set_params(on_missing=on_missing, cost={"nurse": 0.0, "doctor": 0.12})
    silent = [("nurse", lambda X: [None] * len(X)), ("doctor", lambda X: ["cat"] * len(X))]
    other = fitted.with_experts(silent)
    route = other.predict_route(X_NEW)
    nurse = route == 1
    assert nurse.any()
    if on_missing == "raise":
        with pytest.raises(UnansweredError, match=r"'nurse': \d+") as caught:
            other.predict(X_NEW)
        bought = caught.value.answers
        assert bought.shape == (len(X_NEW), 2)
        assert (bought[route == 2, 1] == "cat").all(), "what was bought must not be lost"
        return
    labels, answered = other.predict(X_NEW, return_route=True)
    assert not (answered == 1).any()
    np.testing.assert_array_equal(answered[~nurse], route[~nurse])
    gains = other.deferral_score(X_NEW)[:, 1] > 0
    expected = np.where(nurse & gains & (on_missing == "next"), 2, 0)
    np.testing.assert_array_equal(answered[nurse], expected[nurse])
    np.testing.assert_array_equal(labels[answered == 0], other.predict_model(X_NEW)[answered == 0])


def test_an_expert_that_fails_is_named_and_nothing_is_lost(fitted):
    def broken(X):
        raise ConnectionError("line is down")

    other = fitted.with_experts([("nurse", lambda X: ["cat"] * len(X)), ("doctor", broken)])
    serving(other).set_params(cost=[0.3, 0.0])
    with pytest.raises(ExpertAnswerError, match="'doctor' failed .* line is down") as caught:
        other.predict(X_NEW)
    bought = caught.value.answers
    asked = other.predict_route(X_NEW) == 1
    assert (bought[asked, 0] == "cat").all()


class PaidExpert(Expert):
    """Knows the truth of some rows, until its money is spent."""

    paid = True
    keeps_answers = True
    reads_explanation = True

    stop = ExpertStoppedError

    def __init__(self, money=10**6, classes=None, **kwargs):
        super().__init__(**kwargs)
        self.knows = CountingExpert(X, Y)
        self.money, self.classes, self.told = money, classes, []

    def for_classes(self, classes):
        bound = copy.copy(self)
        bound.classes = list(classes)
        return bound

    def answers(self, X, explanation=None):
        assert self.classes == ["cat", "dog", "eel"], "who is asked knows the classes"
        self.told.append(explanation)
        bought = np.full(len(X), None, dtype=object)
        bought[: self.money] = self.knows(X[: self.money])
        if len(X) > self.money:
            raise self.stop("the quota is used up", partial=bought)
        return bought


def test_fit_asks_nobody_for_money_without_a_limit(cls):
    paid = PaidExpert(name="service")
    with pytest.raises(ValueError, match="'service' costs money.*Set max_queries.*or max_cost"):
        make(cls, experts=paid, random_state=0).fit(X_FIT, Y_FIT)
    assert not paid.knows.batches
    recorded = make(cls, experts=paid, random_state=0)
    recorded.fit(X_FIT, Y_FIT, expert_predictions=Y_FIT)  # nothing is to be bought
    assert not paid.knows.batches


def test_fit_asks_paid_experts_within_a_limit(cls):
    paid = PaidExpert(name="service")
    paid.max_cost = 5.0
    fitted = make(cls, experts=paid, random_state=0).fit(X_FIT, Y_FIT)
    assert fitted.experts_[0].classes == ["cat", "dog", "eel"]
    assert fitted.experts_[0].knows is paid.knows
    assert paid.classes is None, "the user's own is left alone"
    assert set(paid.told) == {None}
    few = PaidExpert(name="service", max_queries=20)
    make(cls, experts=few, random_state=0).fit(X_FIT, Y_FIT)
    assert few.knows.n_rows_asked >= 20


def test_what_fit_bought_before_a_stop_is_in_the_error(cls):
    paid = PaidExpert(money=7, name="service")
    paid.max_cost = 5.0
    experts = [("nurse", CountingExpert(X, Y)), paid]
    with pytest.raises(ExpertStoppedError, match="the quota is used up") as caught:
        make(cls, experts=experts, random_state=0).fit(X_FIT, Y_FIT)
    bought = caught.value.answers
    assert bought.shape == (len(X_FIT), 2)
    rows = np.flatnonzero(bought[:, 1] != None)  # noqa: E711
    assert len(rows) == 7
    np.testing.assert_array_equal(bought[rows, 1], Y_FIT[rows])
    assert (bought[:, 0] != None).sum() == experts[0][1].n_rows_asked  # noqa: E711


def budget(money):
    """An expert whose budget, not its quota, is used up."""
    paid = PaidExpert(money=money, name="service")
    paid.max_cost, paid.stop = 5.0, BudgetExhaustedError
    return paid


def test_fit_learns_from_what_a_budget_bought(cls):
    paid, order = budget(60), np.argsort(Y_FIT, kind="stable")  # the first rows are of one class
    estimator = make(cls, experts=[("nurse", CountingExpert(X, Y)), paid], random_state=0)
    with pytest.warns(ExpertStoppedWarning, match="up 60 of [0-9]+ rows were bought") as caught:
        estimator.fit(X_FIT[order], Y_FIT[order])
    assert sum(w.category is ExpertStoppedWarning for w in caught) == 1
    bought = [paid.knows.truth[row] for row in paid.knows.batches[0]]
    assert len(bought) == 60
    assert min(bought.count(label) for label in ("cat", "dog", "eel")) > 8, "a fair sample"
    if not is_wrapper(cls):
        assert estimator.profiles_[1].n_context_.sum() == 60


def test_fit_raises_where_a_budget_bought_nothing(cls):
    with pytest.raises(BudgetExhaustedError, match="used up") as caught:
        make(cls, experts=budget(0), random_state=0).fit(X_FIT, Y_FIT)
    assert caught.value.answers.shape == (len(X_FIT), 1)


def test_experts_are_shown_a_row_before_anything_is_fitted(cls):
    class Choosy(PaidExpert):
        def check_rows(self, X):
            assert len(X) == 1
            raise ValueError("no column 'note'")

    paid = Choosy(name="service", max_queries=5)
    for record in (None, Y_FIT):
        with pytest.raises(ValueError, match="^no column 'note'$"):
            make(cls, experts=paid).fit(X_FIT, Y_FIT, expert_predictions=record)
    assert not paid.knows.batches


def test_a_frame_names_those_who_have_a_record(cls):
    paid = PaidExpert(name="service", max_queries=40)
    nurse = CountingExpert(X, Y)
    record = pd.DataFrame({"nurse": np.where(Y == "eel", "cat", Y)})
    fitted = make(cls, experts=[paid, ("nurse", nurse)], random_state=0)
    fitted.fit(X_FIT, Y_FIT, expert_predictions=record[:240])
    assert nurse.batches == []
    assert paid.knows.n_rows_asked == 40
    route = fitted.predict_route(X_NEW)
    fitted.predict(X_NEW, expert_predictions=record[240:])
    assert (nurse.batches, paid.knows.n_rows_asked) == ([], 40 + (route == 1).sum())


def test_a_paid_expert_that_is_stopped_leaves_the_rest_to_the_model(fitted, experts):
    paid = PaidExpert(money=3)
    other = fitted.with_experts([("nurse", CountingExpert(X, Y)), ("doctor", paid)])
    serving(other).set_params(cost={"nurse": 0.3, "doctor": 0.0}, on_missing="model")
    route = other.predict_route(X_NEW)
    asked = np.flatnonzero(route == 2)
    assert len(asked) > 3
    with pytest.warns(ExpertStoppedWarning, match="quota is used up 3 of") as caught:
        labels, answered = other.predict(X_NEW, return_route=True)
    assert sum(w.category is ExpertStoppedWarning for w in caught) == 1
    assert answered[asked].tolist() == [2] * 3 + [0] * (len(asked) - 3)
    np.testing.assert_array_equal(labels[asked[:3]], Y_NEW[asked[:3]])
    np.testing.assert_array_equal(labels[asked[3:]], other.predict_model(X_NEW[asked[3:]]))
    told = other.experts_[1].told[0]
    why = serving(other).explain_defer(X_NEW)
    pd.testing.assert_frame_equal(told, why.iloc[asked])


def test_a_paid_expert_that_is_stopped_raises_with_its_answers(fitted):
    other = fitted.with_experts([("nurse", CountingExpert(X, Y)), ("doctor", PaidExpert(money=3))])
    serving(other).set_params(cost={"nurse": 0.3, "doctor": 0.0})
    asked = np.flatnonzero(other.predict_route(X_NEW) == 2)
    for call in (other.predict, other.ask_experts):
        with pytest.raises(ExpertStoppedError) as caught:
            call(X_NEW)
        bought = caught.value.answers
        first = asked if call == other.predict else np.arange(len(X_NEW))
        np.testing.assert_array_equal(bought[first[:3], 1], Y_NEW[first[:3]])
        assert all(answer is None for answer in bought[first[3:], 1])


def test_recorded_experts_need_their_answers(cls):
    record = pd.DataFrame({"nurse": np.where(Y == "eel", "cat", Y), "doctor": Y})
    fitted = make(cls, random_state=0).fit(X_FIT, Y_FIT, expert_predictions=record[:240])
    assert fitted.routes_ == ["model", "nurse", "doctor"]
    serving(fitted).set_params(cost=1e6)  # even where no row is deferred
    for call in (fitted.predict, lambda X: fitted.score(X, Y_NEW)):
        with pytest.raises(ExpertPredictionsMissingError, match="ColumnExpert"):
            call(X_NEW)
    serving(fitted).set_params(cost=None)
    labels, route = fitted.predict(X_NEW, expert_predictions=record[240:], return_route=True)
    assert (route > 0).any()
    answers = record[240:].to_numpy()
    for j in (1, 2):
        np.testing.assert_array_equal(labels[route == j], answers[route == j, j - 1])
    serving(fitted).set_params(on_missing="model")
    with pytest.warns(UnansweredWarning, match="nurse.*answer for them"):
        labels = fitted.predict(X_NEW)
    np.testing.assert_array_equal(labels, fitted.predict_model(X_NEW))
    assert all(a is None for a in fitted.ask_experts(X_NEW).ravel())


def test_nobody_to_ask_is_rejection_at_a_price(cls):
    fitted = make(cls, cost=0.2).fit(X_FIT, Y_FIT)
    assert fitted.routes_ == ["model", "expert"]
    assert fitted.n_experts_ == 1
    rejected = fitted.predict_defer(X_NEW)
    if fitted.policy_.holds_threshold:  # tuned, not Chow's
        confidence = fitted.predict_proba(X_NEW).max(axis=1)
        assert confidence[rejected].max() < confidence[~rejected].min()
    else:
        np.testing.assert_array_equal(rejected, fitted.predict_proba(X_NEW).max(axis=1) < 0.8)
    labels, route = fitted.predict(X_NEW, return_route=True)
    np.testing.assert_array_equal(labels, fitted.predict_model(X_NEW))
    assert not route.any()


def test_clone_keeps_the_experts_themselves(fitted, experts):
    copy = clone(fitted)
    one, other = (e.estimator if is_wrapper(type(e)) else e for e in (copy, fitted))
    assert one.experts is other.experts
    assert not hasattr(copy, "classes_")
    assert copy.get_params(deep=False).keys() == fitted.get_params(deep=False).keys()


def test_same_seed_same_result(cls, experts, fitted):
    again = make(cls, experts=experts, random_state=0).fit(X_FIT, Y_FIT)
    np.testing.assert_array_equal(again.deferral_score(X_NEW), fitted.deferral_score(X_NEW))


def test_survives_pickling(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.deferral_score(X_NEW), fitted.deferral_score(X_NEW))
    np.testing.assert_array_equal(again.predict(X_NEW), fitted.predict(X_NEW))


def test_inputs_are_left_alone(cls, experts):
    x, y = X_FIT.copy(), Y_FIT.copy()
    make(cls, experts=experts).fit(x, y).predict(x)
    np.testing.assert_array_equal(x, X_FIT)
    np.testing.assert_array_equal(y, Y_FIT)


def test_integer_and_string_labels_agree(cls):
    codes = np.searchsorted(["cat", "dog", "eel"], Y)
    record = np.where(Y == "eel", "cat", Y)
    coded = np.searchsorted(["cat", "dog", "eel"], record)
    text = make(cls, random_state=0).fit(X_FIT, Y_FIT, expert_predictions=record[:240])
    number = make(cls, random_state=0).fit(X_FIT, codes[:240], expert_predictions=coded[:240])
    floats = make(cls, random_state=0).fit(
        X_FIT, codes[:240], expert_predictions=coded[:240].astype(float)
    )
    for other in (number, floats):
        np.testing.assert_allclose(text.deferral_score(X_NEW), other.deferral_score(X_NEW))


def test_renaming_experts_permutes_them(cls):
    record = np.column_stack([np.where(Y == "eel", "cat", Y), np.where(Y == "cat", "dog", Y)])[:240]
    score = (
        make(cls, random_state=0).fit(X_FIT, Y_FIT, expert_predictions=record).deferral_score(X_NEW)
    )
    turned = make(cls, random_state=0).fit(X_FIT, Y_FIT, expert_predictions=record[:, ::-1])
    np.testing.assert_allclose(turned.deferral_score(X_NEW)[:, ::-1], score, atol=1e-6)


def test_with_experts_serves_the_same_experts_through_other_doors(cls, experts, fitted):
    record = fitted.ask_experts(X_FIT)
    recorded = make(cls, random_state=0).fit(
        X_FIT, Y_FIT, expert_predictions=pd.DataFrame(record, columns=["nurse", "doctor"])
    )
    asked = recorded.with_experts(experts)
    for part in ("estimator_", "module_"):  # nothing is fitted again
        assert getattr(serving(asked), part, None) is getattr(serving(recorded), part, None)
    assert (asked.predict(X_NEW) != asked.predict_model(X_NEW)).any()
    with pytest.raises(ExpertPredictionsMissingError):
        recorded.predict(X_NEW)  # the original is as it was


def test_with_experts_checks_the_cost_and_the_profiles(fitted):
    serving(fitted).set_params(cost=[0.1, 0.2])
    profile = ExpertProfile(classes=fitted.classes_).fit(Y_FIT, Y_FIT)
    with pytest.raises(ValueError, match=r"cost has shape \(2,\), but there are 1 experts"):
        fitted.with_experts([("nurse", lambda X: ["cat"] * len(X))])
    with pytest.raises(ValueError, match="Nothing is known of the expert 'stranger'"):
        fitted.with_experts([("stranger", lambda X: ["cat"] * len(X))], cost=0.1)
    with pytest.raises(ValueError, match="2 profiles for 1 experts"):
        fitted.with_experts([("stranger", len)], profiles=[profile] * 2, cost=0.1)


def test_before_fit(cls):
    for method in [*NEVER_ASKS, "predict", "ask_experts"]:
        with pytest.raises(NotFittedError):
            getattr(make(cls), method)(X_NEW)


def test_zero_rows(cls, fitted):
    with pytest.raises(ValueError, match="X has 0 rows; expected at least one"):
        make(cls).fit(X[:0], Y[:0])
    for method in [*NEVER_ASKS, "predict", "ask_experts"]:
        with pytest.raises(ValueError, match="X has 0 rows"):
            getattr(fitted, method)(X[:0])


def test_arguments_by_position_are_refused(cls, fitted):
    with pytest.raises(TypeError, match="fit got 3 arguments by position; expected 2: X, y"):
        make(cls).fit(X_FIT, Y_FIT, np.ones(240))
    with pytest.raises(TypeError, match="predict got 2 arguments by position"):
        fitted.predict(X_NEW, Y_NEW)
