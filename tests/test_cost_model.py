"""CostModel: three resources, one price, and unknown is not 0."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from skdefer import CostModel, DeferralClassifier
from skdefer.costs import reads_rows, resolve_cost, same_prices
from skdefer.metrics import (
    cost_report,
    deferral_report,
    estimator_report,
    make_deferral_scorer,
    system_cost,
    system_cost_scorer,
)
from skdefer.policies import BudgetPolicy, TopKPolicy
from skdefer.rejectors import ProfileRejector
from tests.conftest import make_data

NAMES = ["nurse", "doctor"]
X, Y = make_data(240)
RECORD = pd.DataFrame({"nurse": np.where(Y == "eel", "cat", Y), "doctor": Y})
MODEL = CostModel(
    money={"nurse": 0.01, "doctor": 0.02},
    seconds={"nurse": 60.0, "doctor": 600.0, "model": 1.0},
    minutes=[1.0, 5.0],
    money_rate=2.0,
    second_rate=0.0001,
    minute_rate=0.01,
)
TOTAL = [0.02 + 0.006 + 0.01, 0.04 + 0.06 + 0.05]


def test_the_sum_decides():
    np.testing.assert_allclose(MODEL.total(NAMES), TOTAL)
    np.testing.assert_allclose(resolve_cost(MODEL, NAMES, (9, 9), X, 240), TOTAL)
    assert CostModel(money=0.3).total(NAMES).tolist() == [0.3, 0.3]


def test_rows_and_experts_together():
    model = CostModel(money=[0.1, 0.2], minutes=lambda rows: rows[:, 0], minute_rate=2.0)
    rows = np.array([[1.0], [2.0], [3.0]])
    expected = np.array([0.1, 0.2]) + 2 * rows
    np.testing.assert_allclose(model.total(NAMES, rows, 3), expected)
    assert reads_rows(model)
    assert not reads_rows(MODEL)


def test_unknown_is_not_0():
    model = CostModel(money={"nurse": None, "doctor": 0.1}, minutes=1.0, minute_rate=0.1)
    with pytest.raises(ValueError, match=r"The cost of asking \['nurse'\] is unknown"):
        model.total(NAMES)
    amounts = model.amounts(NAMES)
    np.testing.assert_array_equal(amounts["money"], [np.nan, 0.1])
    assert amounts["seconds"] is None
    assert np.isnan(model.of_model()["seconds"])
    # What counts for nothing may be unknown.
    free = CostModel(money=0.1, seconds={"nurse": None, "doctor": 2.0}, second_rate=0.0)
    assert free.total(NAMES).tolist() == [0.1, 0.1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "knows no price"),
        ({"seconds": 3}, "seconds came with second_rate=None; expected a finite number"),
        ({"minutes": 3, "minute_rate": -1}, "minutes came with minute_rate=-1"),
        ({"money": 3, "money_rate": np.inf}, "money came with money_rate=inf"),
    ],
)
def test_bad_models(given, message):
    with pytest.raises(ValueError, match=message):
        CostModel(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"money": -1}, "money has negative prices"),
        ({"money": [1, 2, 3]}, r"money has shape \(3,\), but there are 2 experts"),
        ({"money": {"nurse": 1}}, r"money has prices for \['nurse'\], but the experts are"),
        ({"money": {"nurse": np.nan, "doctor": 1}}, r"NaN for \['nurse'\]; .* or None for what is"),
        ({"money": lambda rows: [1]}, r"money\(X\) returned shape"),
    ],
)
def test_bad_amounts(given, message):
    with pytest.raises(ValueError, match=message):
        CostModel(**given).total(NAMES, X, 240)


def test_equal_if_it_says_the_same():
    assert copy.deepcopy(MODEL) == MODEL == pickle.loads(pickle.dumps(MODEL))
    assert same_prices(MODEL, copy.deepcopy(MODEL))
    assert CostModel(money=1) != CostModel(money=2)
    assert CostModel(money=1) != 1
    assert CostModel(money=np.array([1, 2])) == CostModel(money=np.array([1, 2]))
    assert repr(CostModel(money=1, minutes=2, minute_rate=3)) == (
        "CostModel(money=1, minutes=2, minute_rate=3)"
    )


# -- wherever a cost goes -------------------------------------------------------------------


@pytest.fixture(scope="module")
def clf():
    clf = DeferralClassifier(rejector=ProfileRejector(), cost=MODEL)
    return clf.fit(X[:160], Y[:160], expert_predictions=RECORD[:160])


def test_an_estimator_decides_by_it(clf):
    plain = copy.copy(clf).set_params(cost=TOTAL)
    np.testing.assert_allclose(plain.deferral_score(X[160:]), clf.deferral_score(X[160:]))
    shown = clf.explain_defer(X[160:])
    np.testing.assert_allclose(shown["cost_doctor"], TOTAL[1])
    by_row = CostModel(minutes=lambda rows: np.abs(rows[:, 0]), minute_rate=0.1)
    moved = copy.copy(clf).set_params(cost=by_row)
    assert moved.with_experts(clf.experts_, profiles=clf.profiles_).predict_route(X[:5]).any()


def test_a_threshold_learned_by_it_is_not_stale():
    policy = BudgetPolicy(0.2)
    clf = DeferralClassifier(rejector=ProfileRejector(), policy=policy, cost=MODEL)
    clf.fit(X, Y, expert_predictions=RECORD).predict_route(X)  # warnings are errors


def test_scorers_and_metrics(clf):
    route = clf.predict_route(X[160:])
    case = (Y[160:], clf.predict_model(X[160:]), RECORD[160:], route)
    expected = system_cost(*case, cost=TOTAL)
    assert system_cost(*case, cost=MODEL) == pytest.approx(expected)
    scorer = make_deferral_scorer(
        system_cost, response="route", greater_is_better=False, cost=MODEL
    )
    got = scorer(clf, X[160:], Y[160:], expert_predictions=RECORD[160:])
    assert got == pytest.approx(-expected)
    assert system_cost_scorer(clf, X[160:], Y[160:], expert_predictions=RECORD[160:]) > got


def test_reports_keep_the_parts_apart(clf):
    given = {"expert_predictions": RECORD[160:], "n_bootstrap": 0, "rates": (0.1,)}
    report = estimator_report(clf, X[160:], Y[160:], cost=MODEL, **given)
    plain = estimator_report(clf, X[160:], Y[160:], cost=TOTAL, **given)
    np.testing.assert_allclose(report[plain.columns], plain)
    share = np.bincount(clf.predict_route(X[160:]), minlength=3) / 80
    system = report.loc["system"]
    assert system["money"] == pytest.approx(share @ [0, 0.01, 0.02])
    assert system["seconds"] == pytest.approx(share @ [1, 61, 601])
    assert system["minutes"] == pytest.approx(share @ [0, 1, 5])
    assert report.loc["doctor alone", ["seconds_p50", "seconds_p95"]].tolist() == [601, 601]
    assert report.loc["model alone", ["money", "seconds", "minutes"]].tolist() == [0, 1, 0]
    errors = (clf.predict(X[160:], expert_predictions=RECORD[160:]) != Y[160:]).mean()
    worth = 2 * system["money"] + 0.0001 * (system["seconds"] - 1) + 0.01 * system["minutes"]
    assert system["cost"] == pytest.approx(errors + worth)


def test_reports_on_what_is_unknown(clf):
    model = CostModel(money={"nurse": 0.1, "doctor": None})
    report = deferral_report(
        Y[160:],
        clf.predict_model(X[160:]),
        RECORD[160:],
        clf.deferral_score(X[160:]),
        np.ones(80, dtype=int),
        cost=model,
        n_bootstrap=5,
        rates=(),
    )
    assert np.isnan(report.loc["doctor alone", "cost"])
    assert report.loc["nurse alone", "money"] == pytest.approx(0.1)
    assert report.loc["system", "cost"] == report.loc["nurse alone", "cost"]
    assert report["minutes"].isna().all()
    assert np.isfinite(report.loc["oracle", "accuracy"])
    with pytest.raises(ValueError, match="reads the rows, but no rows came"):
        system_cost(Y, Y, RECORD, np.ones(240, dtype=int), cost=CostModel(money=lambda X: X[:, 0]))


def test_panels_cost_their_sum(clf):
    several = DeferralClassifier(rejector=ProfileRejector(), cost=MODEL, policy=TopKPolicy(2))
    several.fit(X[:160], Y[:160], expert_predictions=RECORD[:160])
    panel = several.predict_panel(X[160:])
    assert panel.all(axis=1).any()
    report = estimator_report(
        several, X[160:], Y[160:], expert_predictions=RECORD[160:], cost=MODEL, n_bootstrap=0
    )
    minutes = (panel @ [1, 5]).mean()
    assert report.loc["system", "minutes"] == pytest.approx(minutes)
    routes = cost_report(panel, MODEL, expert_names=NAMES)
    assert routes.loc["system", "minutes"] == pytest.approx(minutes)
    assert routes.loc["system", "money"] == pytest.approx((panel @ [0.01, 0.02]).mean())


# -- by route -------------------------------------------------------------------------------


def test_latency_by_route():
    seconds = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    cost = CostModel(seconds=lambda rows: rows[:, 0], second_rate=0.1)
    report = cost_report([1, 1, 1, 1, 0], cost, X=seconds[:, None])
    assert report.loc["expert_1", ["seconds", "seconds_p50", "seconds_p95"]].tolist() == [
        25,
        20,
        40,
    ]
    assert report.loc["expert_1", "cost"] == pytest.approx(2.5)
    assert np.isnan(report.loc["model", "seconds_p50"])  # nobody said how long the model takes
    assert np.isnan(report.loc["system", "seconds_p50"])
    weighted = cost_report([1, 1, 1, 1], cost, X=seconds[:4, None], sample_weight=[1, 1, 1, 9])
    assert weighted.loc["expert_1", "seconds_p50"] == 40
    assert weighted["money"].isna().all()


def test_nothing_is_taken_where_nobody_answers():
    answers = pd.DataFrame({"nurse": ["a", None], "doctor": [None, "b"]})
    report = cost_report([1, 1], MODEL, expert_predictions=answers)
    assert report["share"].tolist() == [0.5, 0.5, 0.0, 1.0]
    assert report.loc["system", "minutes"] == 0.5
    assert np.isnan(report.loc["doctor", "cost"])


def test_what_cost_report_refuses():
    with pytest.raises(TypeError, match="cost is float; expected a CostModel"):
        cost_report([0, 1], 0.1)
    for cost in (MODEL, CostModel(minutes=pd.Series({"nurse": 1, "doctor": 2}), minute_rate=0)):
        with pytest.raises(ValueError, match=r"\['doctor', 'nurse'\], .* Pass expert_names="):
            cost_report([0, 1, 2], cost)
    with pytest.raises(ValueError, match="route is about 1 experts, but 2 are named"):
        cost_report(np.ones((3, 1), dtype=bool), MODEL, expert_names=NAMES)
