"""The report against the metrics it is made of, and its intervals by simulation."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, fbeta_score

from skdefer.metrics import (
    deferral_accuracy_score,
    deferral_curve,
    deferral_rate,
    deferral_report,
    kept_accuracy_score,
    oracle_accuracy_score,
    system_accuracy_score,
    system_cost,
)

from .cases import make_case

NAMES = ("y_true", "y_pred", "expert_predictions", "deferral_score", "route")
seeds = given(st.integers(0, 2**32 - 1))
some = settings(max_examples=30, deadline=None)


def five(case):
    return tuple(case[name] for name in NAMES)


def frame_of(n_rows=120, seed=0, n_experts=2, labels=("no", "yes")):
    """Realistic rows with string labels and named experts."""
    rng = np.random.default_rng(seed)
    labels = np.array(labels)
    truth = rng.integers(0, 2, n_rows)
    model = np.where(rng.random(n_rows) < 0.7, truth, 1 - truth)
    experts = np.where(rng.random((n_rows, n_experts)) < 0.8, truth[:, None], 1 - truth[:, None])
    score = rng.normal(size=(n_rows, n_experts))
    route = np.where(score.max(axis=1) > 0.5, 1 + score.argmax(axis=1), 0)
    answers = pd.DataFrame(labels[experts], columns=["ann", "bob"][:n_experts])
    return labels[truth], labels[model], answers, score, route


@seeds
@some
def test_rows_are_the_metrics_of_their_routes(seed):
    case = make_case(seed, n_experts=2)
    y_true, y_pred, answers, _, route = five(case)
    report = deferral_report(*five(case), cost=[0.1, 0.2], n_bootstrap=0)
    ones = np.ones_like(route)
    routes = {"model alone": 0 * ones, "expert_1 alone": ones, "expert_2 alone": 2 * ones}
    for name, way in (routes | {"system": route}).items():
        row, arrays = report.loc[name], (y_true, y_pred, answers, way)
        assert row["accuracy"] == pytest.approx(system_accuracy_score(*arrays))
        assert row["cost"] == pytest.approx(system_cost(*arrays, cost=[0.1, 0.2]))
        assert row["deferral_rate"] == pytest.approx(deferral_rate(way))
        np.testing.assert_allclose(row["kept_accuracy"], kept_accuracy_score(*arrays))
        np.testing.assert_allclose(row["deferred_accuracy"], deferral_accuracy_score(*arrays))
    oracle = oracle_accuracy_score(y_true, y_pred, answers)
    assert report.loc["oracle", "accuracy"] == pytest.approx(oracle)


@seeds
@some
def test_rates_are_points_of_the_curve(seed):
    case = make_case(seed)
    rates = (0, 0.05, 0.33, 1)
    report = deferral_report(*five(case), rates=rates, n_bootstrap=0)
    rate, system, _ = deferral_curve(*five(case)[:4])
    for wanted in rates:
        row = report.loc[f"system at {100 * wanted:g} %"]
        assert row["deferral_rate"] == pytest.approx(wanted)
        assert row["accuracy"] == pytest.approx(np.interp(wanted, rate, system))


def test_index_and_columns():
    report = deferral_report(*frame_of(), metrics=["f1_macro"], n_bootstrap=3, random_state=0)
    assert list(report.index) == [
        "model alone", "ann alone", "bob alone", "system",
        "system at 5 %", "system at 10 %", "system at 20 %", "system at 50 %", "oracle",
    ]  # fmt: skip
    assert list(report.columns) == [
        "accuracy", "f1_macro", "deferral_rate", "kept_accuracy", "deferred_accuracy", "cost",
        "accuracy_low", "accuracy_high", "f1_macro_low", "f1_macro_high", "cost_low", "cost_high",
    ]  # fmt: skip
    assert set(report.dtypes) == {np.dtype(float)}


def test_names_of_the_experts():
    y_true, y_pred, answers, score, route = frame_of()
    named = partial(deferral_report, n_bootstrap=0)
    by_frame = named(y_true, y_pred, answers, score, route)
    assert "bob alone" in by_frame.index
    by_number = named(y_true, y_pred, answers.to_numpy(), score, route)
    assert "expert_2 alone" in by_number.index
    by_name = named(y_true, y_pred, answers, score, route, expert_names=["x", "y"])
    assert "y alone" in by_name.index
    np.testing.assert_array_equal(by_frame, by_number)
    for bad in (["x"], ["x", "x"], ["model", "x"]):
        with pytest.raises(ValueError, match="names"):
            named(y_true, y_pred, answers, score, route, expert_names=bad)


def test_oracle_takes_the_cheapest_who_is_right():
    y_true, y_pred = np.array([0, 0, 0]), np.array([0, 1, 1])
    answers = np.array([[0, 0], [0, 0], [1, 1]])
    report = deferral_report(y_true, y_pred, answers, answers, [0, 0, 0], cost=[2, 0.5])
    assert report.loc["oracle", "cost"] == pytest.approx((0 + 0.5 + 1) / 3)
    assert report.loc["oracle", "deferral_rate"] == pytest.approx(1 / 3)


# -- metrics of labels ----------------------------------------------------------------


def macro_f1(y_true, y_answered):
    return f1_score(y_true, y_answered, average="macro")


def test_metrics_by_name_function_and_dict():
    case = frame_of()
    report = partial(deferral_report, *case, n_bootstrap=0, rates=[0.25])
    named = report(metrics=["f1_macro", accuracy_score])
    assert list(named.columns[:3]) == ["accuracy", "f1_macro", "accuracy_score"]
    np.testing.assert_allclose(named["accuracy"], named["accuracy_score"])
    made = report(metrics={"yes": partial(fbeta_score, beta=1, pos_label="yes"), "m": macro_f1})
    np.testing.assert_allclose(made["m"], named["f1_macro"])
    assert made.loc["model alone", "yes"] == pytest.approx(
        f1_score(case[0], case[1], pos_label="yes")
    )
    np.testing.assert_array_equal(report(metrics="f1_macro"), report(metrics=["f1_macro"]))


def test_metric_of_a_cut_through_ties_is_that_of_the_expected_rows():
    y_true, y_pred, answers, _, route = frame_of(n_experts=1)
    tied = np.zeros(len(y_true))
    report = deferral_report(
        y_true, y_pred, answers, tied, route, metrics=["f1_macro"], rates=[0.25], n_bootstrap=0
    )
    both = np.concatenate([y_true, y_true]), np.concatenate([y_pred, answers["ann"]])
    weight = np.repeat([0.75, 0.25], len(y_true))
    expected = f1_score(*both, average="macro", sample_weight=weight)
    assert report.loc["system at 25 %", "f1_macro"] == pytest.approx(expected)


@pytest.mark.parametrize(("rate", "expected"), [(0.4, "model alone"), (0.6, "ann alone")])
def test_metric_without_weights_sees_tied_rows_all_or_none(rate, expected):
    y_true, y_pred, answers, _, route = frame_of(n_experts=1)
    report = deferral_report(
        y_true, y_pred, answers, np.zeros(len(y_true)), route,
        metrics={"f": macro_f1}, rates=[rate], n_bootstrap=0,
    )  # fmt: skip
    assert report.loc[f"system at {100 * rate:g} %", "f"] == report.loc[expected, "f"]


def test_metrics_see_missing_answers_filled_by_the_model():
    y_true, y_pred = np.array([0, 1, 1]), np.array([0, 0, 1])
    answers = np.array([None, 1, None], dtype=object)
    case = y_true, y_pred, answers, [1, 2, 3], [0, 0, 0]
    report = deferral_report(*case, metrics="f1_macro", n_bootstrap=0)
    assert report.loc["expert_1 alone", "f1_macro"] == 1


def test_labels_of_nullable_frames_reach_scikit_learn():
    y_true = pd.Series([0, 1, 1], dtype="Int64")
    answers = pd.DataFrame({"ann": pd.Series([0, None, 1], dtype="Int64")})
    case = y_true, y_true, answers, [1, 2, 3], [0, 1, 0]
    report = deferral_report(*case, metrics="f1_macro", n_bootstrap=0)
    assert (report["f1_macro"] == 1).all()


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["roc_auc"], "needs probabilities"),
        (["accuracy"], "has already"),
        ([macro_f1, macro_f1], "has already"),
        ({"x": 3}, "expected the name"),
        (["no_such_metric"], "not a valid scoring"),
    ],
)
def test_metrics_that_are_none_are_refused(metrics, message):
    with pytest.raises(ValueError, match=message):
        deferral_report(*frame_of(), metrics=metrics, n_bootstrap=0)


def test_weights_need_metrics_that_take_them():
    case = frame_of()
    weight = np.arange(1, 121)
    report = deferral_report(*case, metrics=["f1_macro"], sample_weight=weight, n_bootstrap=0)
    expected = f1_score(case[0], case[1], average="macro", sample_weight=weight)
    assert report.loc["model alone", "f1_macro"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="take none"):
        deferral_report(*case, metrics={"f": macro_f1}, sample_weight=weight)


# -- intervals ------------------------------------------------------------------------


def test_intervals_hold_their_value_and_can_be_repeated():
    case = frame_of(n_rows=300)
    make = partial(deferral_report, *case, cost=0.1, metrics=["f1_macro"], n_bootstrap=20)
    report = make(random_state=0)
    for column in ("accuracy", "f1_macro", "cost"):
        assert (report[f"{column}_low"] <= report[column]).all()
        assert (report[column] <= report[f"{column}_high"]).all()
        assert (report[f"{column}_low"] < report[f"{column}_high"]).all()
    pd.testing.assert_frame_equal(report, make(random_state=0))
    pd.testing.assert_frame_equal(
        make(random_state=np.random.RandomState(3)), make(random_state=np.random.RandomState(3))
    )
    assert not report.equals(make(random_state=1))
    narrow = make(random_state=0, confidence_level=0.5)
    assert (narrow["accuracy_low"] >= report["accuracy_low"]).all()


@pytest.mark.parametrize("groups", [None, np.arange(120) // 3])
def test_pairs_loops_and_sums_give_the_same_intervals(groups):
    metrics = {"pairs": accuracy_score, "loop": lambda y, answered: np.mean(y == answered)}
    report = deferral_report(
        *frame_of(), metrics=metrics, n_bootstrap=20, random_state=0, groups=groups
    )
    for end in ("low", "high"):
        for name in metrics:
            np.testing.assert_allclose(report[f"accuracy_{end}"], report[f"{name}_{end}"])


def test_blocks_of_resamples_do_not_change_the_intervals(monkeypatch):
    make = partial(deferral_report, *frame_of(), n_bootstrap=20, random_state=0)
    whole = make()
    monkeypatch.setattr("skdefer.metrics._bootstrap._BLOCK", 500)
    pd.testing.assert_frame_equal(whole, make())


def test_intervals_cover_the_truth_as_often_as_they_say():
    # Each row is right with probability .8; 150 data sets, intervals of 90 %.
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(150):
        right = (rng.random(150) < 0.8).astype(int)
        ones = np.ones(150, dtype=int)
        row = deferral_report(
            ones, right, ones, right, 0 * ones, rates=(), confidence_level=0.9, random_state=seed
        ).loc["model alone"]
        covered.append(row["accuracy_low"] <= 0.8 <= row["accuracy_high"])
    # Within three standard errors; the percentile bootstrap is slightly narrow.
    assert 0.82 <= np.mean(covered) <= 0.975


def test_groups_are_drawn_as_a_whole():
    # All rows of a group are alike, so 40 groups know as little as 40 rows.
    rng = np.random.default_rng(0)
    right = (rng.random(40) < 0.7).astype(int)
    y_pred, groups = np.repeat(right, 10), np.repeat([f"patient {i}" for i in range(40)], 10)
    ones = np.ones(400, dtype=int)
    case = ones, y_pred, ones, y_pred, 0 * ones
    few = deferral_report(*(values[::10] for values in case), random_state=0)
    grouped = deferral_report(*case, groups=groups, random_state=0)
    rows = deferral_report(*case, random_state=0)
    width = {
        name: report["accuracy_high"]["model alone"] - report["accuracy_low"]["model alone"]
        for name, report in {"few": few, "grouped": grouped, "rows": rows}.items()
    }
    assert width["grouped"] == pytest.approx(width["few"], rel=0.35)
    assert width["rows"] < 0.5 * width["grouped"]


def test_bootstrap_warns_of_no_undefined_metric():
    # Resamples without the one positive leave precision undefined; pytest makes that an error.
    y_true = np.array([0] * 9 + [1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deferral_report(
            y_true, y_true, y_true, y_true, 0 * y_true, metrics=["precision"], n_bootstrap=20,
            random_state=0,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": [0.1, 1.2]}, "rates"),
        ({"rates": [0.1, 0.1]}, "rates"),
        ({"rates": "ab"}, "rates"),
        ({"n_bootstrap": -1}, "n_bootstrap"),
        ({"n_bootstrap": 2.5}, "n_bootstrap"),
        ({"confidence_level": 95}, "confidence_level"),
        ({"groups": [0, 1]}, "groups"),
        ({"groups": [None] * 120}, "groups has missing"),
        ({"cost": -1}, "cost"),
        ({"error_cost": np.ones((3, 3))}, "error_cost"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        deferral_report(*frame_of(), **options)


def test_matrix_of_errors():
    case = frame_of()
    matrix = pd.DataFrame([[0, 1], [5, 0]], index=["no", "yes"], columns=["no", "yes"])
    report = deferral_report(*case, error_cost=matrix, cost=[0.1, 0.2], n_bootstrap=0)
    expected = system_cost(*case[:3], case[4], error_cost=matrix, cost=[0.1, 0.2])
    assert report.loc["system", "cost"] == pytest.approx(expected)
    array = deferral_report(
        *case, error_cost=matrix.to_numpy()[::-1, ::-1], labels=["yes", "no"], cost=[0.1, 0.2],
        n_bootstrap=0,
    )  # fmt: skip
    pd.testing.assert_frame_equal(report, array)


def test_infinite_price_of_an_expert_who_is_not_asked():
    y_true, y_pred, answers, score, _ = frame_of()
    score[:, 1] = -np.inf
    route = np.zeros(len(y_true), dtype=int)
    report = deferral_report(
        y_true, y_pred, answers, score, route, cost=[0.1, np.inf], n_bootstrap=5
    )
    assert np.isfinite(
        report.loc[["model alone", "ann alone", "system", "system at 50 %"], "cost"]
    ).all()
    assert report.loc["bob alone", "cost"] == np.inf
