"""The curve's figure shows what the metrics compute, and gives it back."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

from skdefer import ColumnExpert, DeferralClassifier
from skdefer.displays import DeferralCurveDisplay
from skdefer.exceptions import ExpertPredictionsMissingError
from skdefer.metrics import deferral_curve, oracle_accuracy_score, system_accuracy_score
from skdefer.rejectors import ProfileRejector
from tests.conftest import make_data


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def make_case(n_rows=300, n_experts=2, seed=0):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(3, size=n_rows)
    y_pred = np.where(rng.random(n_rows) < 0.7, y_true, rng.integers(3, size=n_rows))
    answers = np.where(
        rng.random((n_rows, n_experts)) < 0.8, y_true[:, None], rng.integers(3, size=(n_rows, 1))
    ).astype(object)
    answers[rng.random(answers.shape) < 0.1] = None
    score = rng.normal(size=(n_rows, n_experts)) + (y_pred != y_true)[:, None]
    return y_true, y_pred, answers, score


def make_fitted(n_experts=2):
    X, y = make_data(n_rows=160)
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(X, columns=list("abcd"))
    for j in range(n_experts):
        wrong = rng.choice(np.unique(y), len(y))
        frame[f"dr {j}"] = np.where(rng.random(len(y)) < 0.85, y, wrong).astype(object)
    experts = [ColumnExpert(f"dr {j}") for j in range(n_experts)]
    model = DeferralClassifier(
        LogisticRegression(), experts, rejector=ProfileRejector(), cost=0.05, cv=2
    )
    return model.fit(frame[:100], y[:100]), frame[100:], y[100:]


def test_frame_is_what_the_metrics_compute():
    y_true, y_pred, answers, score = case = make_case()
    frame = DeferralCurveDisplay.from_predictions(*case, expert_names=["ann", "bob"]).frame()
    rate, system, experts = deferral_curve(*case)
    np.testing.assert_array_equal(frame["deferral_rate"], rate)
    np.testing.assert_array_equal(frame["system_accuracy"], system)
    np.testing.assert_array_equal(frame["expert_accuracy"], experts)
    assert (frame["accuracy_model"] == np.mean(y_true == y_pred)).all()
    for j, name in enumerate(["ann", "bob"]):
        alone = system_accuracy_score(y_true, y_pred, answers, np.full(len(score), j + 1))
        assert (frame[f"accuracy_{name}"] == alone).all()


def test_reference_lines_are_bounds_that_meet_the_curve_at_its_ends():
    y_true, y_pred, answers, score = make_case(n_experts=1)
    frame = DeferralCurveDisplay.from_predictions(y_true, y_pred, answers, score).frame()
    random, oracle = frame["random_accuracy"], frame["oracle_accuracy"]
    assert (oracle >= frame["system_accuracy"] - 1e-12).all()
    assert oracle.max() == pytest.approx(oracle_accuracy_score(y_true, y_pred, answers))
    np.testing.assert_allclose(random, np.linspace(random.iloc[0], random.iloc[-1], len(random)))
    for line in (random, oracle):
        assert line.iloc[0] == frame["system_accuracy"].iloc[0] == frame["accuracy_model"].iloc[0]
        assert line.iloc[-1] == pytest.approx(frame["accuracy_expert_1"].iloc[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_row_order_and_weights(weighted):
    y_true, y_pred, answers, score = make_case()
    weight = np.random.default_rng(3).integers(1, 4, len(y_true)) if weighted else None
    order = np.random.default_rng(4).permutation(len(y_true))
    one = DeferralCurveDisplay.from_predictions(
        y_true, y_pred, answers, score, sample_weight=weight
    ).frame()
    other = DeferralCurveDisplay.from_predictions(
        y_true[order],
        y_pred[order],
        answers[order],
        score[order],
        sample_weight=None if weight is None else weight[order],
    ).frame()
    pd.testing.assert_frame_equal(one, other)
    assert (one["oracle_accuracy"] >= one["system_accuracy"] - 1e-12).all()


def test_from_estimator_is_from_predictions():
    model, X, y = make_fitted()
    display = DeferralCurveDisplay.from_estimator(model, X, y)
    route = model.predict_route(X)
    same = DeferralCurveDisplay.from_predictions(
        y,
        model.predict_model(X),
        X[["dr 0", "dr 1"]],
        model.deferral_score(X),
        route=route,
    )
    pd.testing.assert_frame_equal(display.frame(), same.frame())
    assert list(display.expert_names) == ["dr 0", "dr 1"]
    share, accuracy = display.operating_point
    assert share == np.mean(route > 0)
    assert accuracy == pytest.approx(model.score(X, y))
    assert same.operating_point == display.operating_point


def test_given_answers_are_taken_by_name_and_nobody_is_asked():
    model, X, y = make_fitted()
    asked = DeferralCurveDisplay.from_estimator(model, X, y)
    for expert in model.experts_:
        expert.answers = lambda X: pytest.fail("an expert was asked")
    given = X[["dr 1", "dr 0"]]  # in another order
    display = DeferralCurveDisplay.from_estimator(model, X, y, expert_predictions=given)
    pd.testing.assert_frame_equal(display.frame(), asked.frame())


def test_experts_known_by_their_record_alone_need_answers():
    X, y = make_data(n_rows=60)
    model = DeferralClassifier(rejector=ProfileRejector(), cv=2)
    model.fit(X, y, expert_predictions=y)
    with pytest.raises(ExpertPredictionsMissingError, match="expert_predictions="):
        DeferralCurveDisplay.from_estimator(model, X, y)
    with pytest.raises(ExpertPredictionsMissingError, match="ColumnExpert"):
        DeferralCurveDisplay.from_estimator(model, X, y, expert_predictions=[None] * len(y))
    DeferralCurveDisplay.from_estimator(model, X, y, expert_predictions=y)


def test_without_any_expert_the_other_curve_is_named():
    X, y = make_data(n_rows=60)
    model = DeferralClassifier(cost=0.2).fit(X, y)
    with pytest.raises(ExpertPredictionsMissingError, match="risk_coverage_curve"):
        DeferralCurveDisplay.from_estimator(model, X, y)


def test_an_ordinary_classifier_is_refused():
    X, y = make_data(n_rows=60)
    with pytest.raises(TypeError, match="no deferral_score"):
        DeferralCurveDisplay.from_estimator(LogisticRegression().fit(X, y), X, y)


def test_wrong_number_of_names():
    with pytest.raises(ValueError, match="2 experts"):
        DeferralCurveDisplay.from_predictions(*make_case(), expert_names=["ann"])


def test_plot_returns_itself_and_draws_on_the_axes_given():
    display = DeferralCurveDisplay.from_predictions(*make_case(), route=np.zeros(300, dtype=int))
    figure, ax = plt.subplots()
    n_figures = len(plt.get_fignums())
    assert display.plot(ax=ax) is display
    assert (display.ax_, display.figure_) == (ax, figure)
    assert len(plt.get_fignums()) == n_figures
    np.testing.assert_array_equal(display.line_.get_xdata(), display.deferral_rate)
    np.testing.assert_array_equal(display.line_.get_ydata(), display.system_accuracy)
    np.testing.assert_array_equal(display.oracle_line_.get_ydata(), display.oracle_accuracy)
    np.testing.assert_array_equal(display.random_line_.get_ydata(), display.random_accuracy)
    assert [line.get_ydata()[0] for line in display.expert_alone_lines_] == list(
        display.expert_alone_accuracy
    )
    assert display.point_.get_xdata()[0] == 0
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.xaxis.get_major_formatter()(0.125, None) == "12.5 %"


def test_draws_without_pyplot():
    figure = Figure(layout="constrained")
    before = plt.get_fignums()
    DeferralCurveDisplay.from_predictions(*make_case(), ax=figure.subplots())
    figure.draw_without_rendering()
    assert plt.get_fignums() == before


def test_the_legend_lies_beside_the_axes():
    display = DeferralCurveDisplay.from_predictions(*make_case())
    display.figure_.draw_without_rendering()
    axes = display.ax_.get_window_extent()
    legend = display.ax_.get_legend().get_window_extent()
    assert legend.x0 >= axes.x1
    assert legend.x1 <= display.figure_.bbox.x1


def test_two_systems_on_one_figure():
    case = make_case()
    first = DeferralCurveDisplay.from_predictions(*case, name="first")
    n_lines = len(first.ax_.lines)
    second = DeferralCurveDisplay.from_predictions(
        *case, name="second", ax=first.ax_, reference=False, curve_kwargs={"color": "red"}
    )
    assert len(first.ax_.lines) == n_lines + 2
    assert second.model_line_ is second.oracle_line_ is None
    assert second.expert_alone_lines_ == []
    assert second.line_.get_color() == second.expert_line_.get_color() == "red"
    labels = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert {"first", "second"} <= set(labels)


def test_long_lines_are_thinned_but_their_data_are_not():
    display = DeferralCurveDisplay.from_predictions(*make_case(n_rows=5000))
    drawn = display.line_.get_xdata()
    assert len(drawn) <= 2000
    assert (drawn[0], drawn[-1]) == (0, 1)
    assert len(display.frame()) == 5001


def test_of_many_experts_the_best_is_drawn():
    display = DeferralCurveDisplay.from_predictions(*make_case(n_experts=9))
    (line,) = display.expert_alone_lines_
    assert line.get_ydata()[0] == display.expert_alone_accuracy.max()
    assert line.get_label().startswith("best expert: expert_")
    assert sum(c.startswith("accuracy_expert") for c in display.frame()) == 9


@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_few_rows(n_rows):
    display = DeferralCurveDisplay.from_predictions(*make_case(n_rows=n_rows))
    display.figure_.draw_without_rendering()
    assert len(display.frame()) == n_rows + 1


def test_no_answer_at_all_is_drawn_as_the_model():
    display = DeferralCurveDisplay.from_predictions([0, 1, 1], [0, 1, 0], [None] * 3, [3, 2, 1])
    display.figure_.draw_without_rendering()
    assert display.frame()["expert_accuracy"].isna().all()
    assert (display.frame()["system_accuracy"] == 2 / 3).all()


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"skdefer\[plot\]"):
        DeferralCurveDisplay.from_predictions(*make_case())
    asked = []
    X, y = make_data(n_rows=40)
    model = DeferralClassifier(LogisticRegression(), lambda X: asked.append(len(X)) or y[: len(X)])
    with pytest.raises(ImportError, match="DeferralCurveDisplay needs matplotlib"):
        DeferralCurveDisplay.from_estimator(model, X, y)
    assert asked == []
