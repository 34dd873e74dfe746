"""The figure of a promise shows what was tested, and gives it back."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

from skdefer import DeferralClassifier, RiskControlledDeferralClassifier
from skdefer.displays import RiskControlDisplay
from skdefer.guarantees import fixed_sequence, risk_curve
from skdefer.rejectors import ProfileRejector
from tests.conftest import make_data

X, Y = make_data(600)
SAID = np.where(np.random.default_rng(0).random(600) < 0.95, Y, "cat")


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def make_fitted(**params):
    inner = DeferralClassifier(LogisticRegression(), rejector=ProfileRejector(), cv=2)
    params = {"target": 0.03, "prefer": "deferral_rate", "validation_fraction": 0.5, **params}
    clf = RiskControlledDeferralClassifier(inner, **params)
    return clf.fit(X, Y, expert_predictions=SAID)


def make_losses():
    rng = np.random.default_rng(0)
    score, wrong = rng.random(200), rng.random(200) < 0.2
    threshold = np.array([-np.inf, 0.1, 0.3, 0.5, 0.9, np.inf])
    return threshold, wrong[:, None] & (score[:, None] <= threshold)


def test_from_estimator_shows_its_table():
    clf = make_fitted()
    display = RiskControlDisplay.from_estimator(clf)
    frame = display.frame()
    table = clf.risk_table_
    for column, name in (("threshold", "threshold"), ("value", "risk"), ("upper", "upper")):
        np.testing.assert_array_equal(frame[name], table[column])
    assert frame.loc[frame["chosen"], "threshold"].tolist() == [clf.threshold_]
    shown = np.isfinite(table["threshold"])
    np.testing.assert_array_equal(display.line_.get_ydata(), table["value"][shown])
    np.testing.assert_array_equal(display.bound_line_.get_ydata(), table["upper"][shown])
    assert set(display.target_line_.get_ydata()) == {0.03}
    assert set(display.chosen_line_.get_xdata()) == {clf.threshold_}
    assert display.ax_.get_ylabel() == "system_error"
    assert display.ax_.yaxis.get_major_formatter()(0.125, None) == "12.5 %"


def test_one_of_several_risks_and_groups():
    clf = make_fitted(
        risk=["system_error", "deferral_rate"],
        target=[0.5, 0.9],
        by=lambda X: np.where(X[:, 0] > 0, "a", "b"),
    )
    display = RiskControlDisplay.from_estimator(clf, risk="deferral_rate", group="b", name="share")
    rows = clf.risk_table_.query("risk == 'deferral_rate' and group == 'b'")
    np.testing.assert_array_equal(display.frame()["risk"], rows["value"])
    assert display.ax_.get_ylabel() == "share"
    assert RiskControlDisplay.from_estimator(clf).name == "system_error, a"
    with pytest.raises(ValueError, match=r"risk is 'cost', but this promise has \['system_error'"):
        RiskControlDisplay.from_estimator(clf, risk="cost")
    with pytest.raises(ValueError, match="group is 'c', but"):
        RiskControlDisplay.from_estimator(clf, group="c")


@pytest.mark.filterwarnings("ignore::skdefer.exceptions.RiskNotControlledWarning")
def test_without_a_promise_nothing_is_marked():
    display = RiskControlDisplay.from_estimator(make_fitted(target=0.001))
    assert display.chosen_line_ is None
    assert not display.frame()["chosen"].any()
    with pytest.raises(TypeError, match="has no risk_table_; expected a calibrated"):
        RiskControlDisplay.from_estimator(DeferralClassifier())


def test_from_predictions_tests_from_the_lowest_threshold_on():
    threshold, loss = make_losses()
    display = RiskControlDisplay.from_predictions(threshold, loss, target=0.1, name="missed")
    curve = risk_curve(loss, target=0.1)
    valid = fixed_sequence(curve.p_value, 0.1)
    assert 0 < valid.sum() < len(valid)
    frame = display.frame()
    np.testing.assert_array_equal(frame["upper"], curve.upper)
    np.testing.assert_array_equal(frame["valid"], valid)
    assert display.chosen == threshold[valid][-1]
    with pytest.raises(ValueError, match="expected rising thresholds"):
        RiskControlDisplay.from_predictions(threshold[::-1], loss, target=0.1)


def test_it_draws_where_it_is_told_to():
    threshold, loss = make_losses()
    figure = Figure(layout="constrained")
    before = plt.get_fignums()
    display = RiskControlDisplay.from_predictions(
        threshold, loss, target=0.1, ax=figure.subplots(), counted=np.arange(200) > 50
    )
    figure.draw_without_rendering()
    assert plt.get_fignums() == before
    assert display.plot() is display
    assert display.figure_ is not figure
