"""The figure of hours shows loads, limits and prices, and gives them back."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from skdefer import DeferralClassifier
from skdefer.displays import CapacityDisplay
from skdefer.policies import CapacityPolicy, CostPolicy, assign, assignment_prices
from tests.conftest import make_data


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


SCORE = np.random.default_rng(0).normal(size=(60, 4))
CAPACITY, MINIMUM = [5, None, 0, 30], [0, 20, 0, 0]


def test_frame_is_the_assignment():
    frame = CapacityDisplay.from_predictions(SCORE, CAPACITY, MINIMUM).frame()
    assert list(frame.columns) == ["expert", "load", "capacity", "minimum", "price"]
    assert frame["expert"].tolist() == [f"expert_{j}" for j in (1, 2, 3, 4)]
    route = assign(SCORE, CAPACITY, MINIMUM)
    assert frame["load"].tolist() == np.bincount(route, minlength=5)[1:].tolist()
    assert frame["capacity"].tolist() == [5, np.inf, 0, 30]
    assert frame["minimum"].tolist() == [0, 20, 0, 0]
    np.testing.assert_array_equal(frame["price"], assignment_prices(SCORE, CAPACITY, MINIMUM))


def test_what_is_drawn_is_the_data():
    display = CapacityDisplay.from_predictions(SCORE, CAPACITY, MINIMUM)
    frame = display.frame()
    assert [bar.get_width() for bar in display.bars_] == frame["load"].tolist()
    assert display.capacity_marks_.get_xdata().tolist() == [5, 0, 30]
    assert display.minimum_marks_.get_xdata().tolist() == [20]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert sorted(legend) == ["capacity", "minimum", "price (upper axis)", "rows"]
    assert display.price_marks_.get_xdata().tolist() == frame["price"][[0, 1, 3]].tolist()
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == frame["expert"].tolist()
    display.figure_.canvas.draw()


@pytest.mark.parametrize("scope", ["batch", "stream"])
def test_of_an_estimator(scope):
    X, y = make_data(200)
    answers = np.column_stack([np.where(y == "eel", "cat", y), np.where(y == "cat", "dog", y)])
    policy = CapacityPolicy([10, 15], scope=scope, batch_size=100)
    clf = DeferralClassifier(policy=policy).fit(X, y, expert_predictions=answers)
    display = CapacityDisplay.from_estimator(clf, X[:50], ax=Figure().subplots())
    frame = display.frame()
    assert frame["expert"].tolist() == clf.routes_[1:]
    assert frame["load"].tolist() == clf.predict_panel(X[:50]).sum(axis=0).tolist()
    if scope == "stream":
        assert frame["capacity"].tolist() == [5, 7.5]
        assert frame["price"].tolist() == clf.policy_.prices_.tolist()
    else:
        assert frame["capacity"].tolist() == [10, 15]
        wanted = assignment_prices(clf.deferral_score(X[:50]), [10, 15])
        np.testing.assert_array_equal(frame["price"], wanted)


def test_axes_and_arguments_are_taken():
    ax = Figure().subplots()
    display = CapacityDisplay.from_predictions(SCORE, 9, ax=ax, bar_kwargs={"color": "k"})
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.bars_[0].get_facecolor()[:3] == (0, 0, 0)
    assert display.plot() is display
    assert display.ax_ is not ax


def test_refusals():
    with pytest.raises(ValueError, match="but there are 4 experts. Pass a name"):
        CapacityDisplay.from_predictions(SCORE, 9, expert_names=["dr. b"])
    with pytest.raises(ValueError, match="capacity has -1"):
        CapacityDisplay.from_predictions(SCORE, -1)
    X, y = make_data(60)
    other = DeferralClassifier(policy=CostPolicy()).fit(X, y)
    for estimator in (other, DeferralClassifier(policy=CapacityPolicy())):
        with pytest.raises(TypeError, match="has no fitted CapacityPolicy; expected"):
            CapacityDisplay.from_estimator(estimator, X)


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"CapacityDisplay needs .*skdefer\[plot\]"):
        CapacityDisplay.from_predictions([[0.1]], 1)
