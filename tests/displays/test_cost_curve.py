"""CostCurveDisplay: its data are those of cost_curve, its point is where the system stands."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from skdefer import CostModel, DeferralClassifier
from skdefer.displays import CostCurveDisplay
from skdefer.metrics import cost_curve, system_cost
from skdefer.policies import TopKPolicy
from skdefer.rejectors import ProfileRejector
from tests.conftest import make_data

X, Y = make_data(300)
RECORD = np.column_stack([np.where(Y == "eel", "cat", Y), np.where(Y == "cat", "dog", Y)])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def fitted(**params):
    clf = DeferralClassifier(rejector=ProfileRejector(), **params)
    return clf.fit(X[:200], Y[:200], expert_predictions=RECORD[:200])


def draw(clf, **options):
    return CostCurveDisplay.from_estimator(
        clf, X[200:], Y[200:], expert_predictions=RECORD[200:], **options
    )


def test_against_the_share():
    clf = fitted(cost=[0.1, 0.2], error_cost=2.0)
    display = draw(clf)
    frame = display.frame()
    expected = cost_curve(
        Y[200:],
        clf.predict_model(X[200:]),
        RECORD[200:],
        clf.deferral_score(X[200:]),
        cost=[0.1, 0.2],
        error_cost=2.0,
    )
    np.testing.assert_allclose(frame[["deferral_rate", "errors", "asking"]].T, expected)
    np.testing.assert_allclose(frame["cost"], frame["errors"] + frame["asking"])
    assert frame["cost_model"].iloc[0] == pytest.approx(frame["cost"].iloc[0])
    alone = 2 * (RECORD[200:, 1] != Y[200:]).mean() + 0.2
    assert frame["cost_expert_2"].iloc[7] == pytest.approx(alone)
    share, paid = display.operating_point
    assert share == pytest.approx(clf.predict_defer(X[200:]).mean())
    assert paid == pytest.approx(
        np.interp(share, frame["deferral_rate"], frame["cost"])
    )  # CostPolicy stands on its own curve
    assert display.ax_.get_xlabel().startswith("Share")
    assert len(display.ax_.lines) == 7
    assert display.line_.get_xydata()[-1, 1] == pytest.approx(frame["cost"].iloc[-1])


def test_against_the_price():
    clf = fitted(cost=0.15)
    display = draw(clf, against="cost", costs=[0.0, 0.15, 0.3])
    frame = display.frame()
    assert display.operating_point[0] == pytest.approx(0.15)
    assert display.operating_point[1] == pytest.approx(frame["cost"].iloc[1])
    np.testing.assert_allclose(np.diff(frame["cost_expert_1"]), 0.15)
    for price, cost in zip(frame["price"], frame["cost"]):
        clf.set_params(cost=price)
        route = clf.predict_route(X[200:])
        paid = system_cost(Y[200:], clf.predict_model(X[200:]), RECORD[200:], route, cost=price)
        assert cost == pytest.approx(paid)
    wide = draw(clf, against="cost")
    assert len(wide.x) == 201
    assert wide.deferral_rate[-1] == 0
    assert wide.ax_.get_xlabel() == "Price of asking"


def test_panels_and_cost_models_have_their_point():
    clf = fitted(cost=CostModel(minutes=[1.0, 2.0], minute_rate=0.05), policy=TopKPolicy(2))
    display = draw(clf)
    panel = clf.predict_panel(X[200:])
    asked = (panel * [0.05, 0.1]).sum(axis=1).mean()
    wrong = (clf.predict(X[200:], expert_predictions=RECORD[200:]) != Y[200:]).mean()
    assert display.operating_point[1] == pytest.approx(asked + wrong)
    other = draw(clf, against="cost", name="ours", ax=display.ax_)
    assert other.operating_point is None  # two prices, so there is no one place
    assert other.ax_ is display.ax_


def test_bad_input():
    with pytest.raises(ValueError, match="against is 'rate'; expected one of"):
        draw(fitted(), against="rate")
