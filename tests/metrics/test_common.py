"""What holds for every metric of the package, found by discovery.

A metric is called with those arguments of a made case that it has a parameter for, so a new
one is tested as soon as it is exported.
"""

import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skdefer.metrics
from skdefer import CostModel

from .cases import make_case

METRICS = {
    name: getattr(skdefer.metrics, name)
    for name in skdefer.metrics.__all__
    if not name.startswith("make_") and not name.endswith("_scorer") and name != "estimator_report"
}
PARAMETERS = {name: set(inspect.signature(metric).parameters) for name, metric in METRICS.items()}
RANKING = [name for name in METRICS if "deferral_score" in PARAMETERS[name]]
# What every case is called with, where it is not the same for all.
SETTINGS = {
    "deferral_report": {"n_bootstrap": 0, "cost": 0.1, "rates": (0.1, 0.3)},
    "system_cost": {"cost": 0.1},
    "cost_curve": {"cost": 0.1},
    "cost_report": {"cost": CostModel(money=0.1, seconds=60.0, second_rate=0.01)},
}
# Weights and repeated rows give the same, but for these; each must really differ.
NOT_AS_REPEATED = {
    "cost_curve": "it has a point per row",
    "deferral_curve": "it has a point per row",
    "risk_coverage_curve": "it has a point per row",
    "aurdac_score": "a trapezoid over points of a line that bends between them",
    "aurc_loss": "a trapezoid over points of a line that bends between them",
}
seeds = given(st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)
every_metric = pytest.mark.parametrize("name", METRICS)


def call(name, case, **more):
    """All numbers that the metric gives, in one array."""
    known = {key: value for key, value in case.items() if key in PARAMETERS[name]}
    return METRICS[name](**(known | SETTINGS.get(name, {}) | more))


def flat(result):
    if isinstance(result, pd.DataFrame):
        result = result.to_numpy()
    return np.concatenate([np.ravel(part) for part in np.atleast_1d(result)])


def check_same(name, case, other, **more):
    np.testing.assert_allclose(
        flat(call(name, case)), flat(call(name, other, **more)), rtol=0, atol=1e-9
    )


def rows_of(case, rows):
    return {key: value[rows] for key, value in case.items()}


def test_every_kind_of_metric_is_found():
    assert len(METRICS) >= 14
    assert {"aursac_score", "deferral_report", "coverage_score"} <= set(METRICS)
    for table in (SETTINGS, NOT_AS_REPEATED):
        assert set(table) <= set(METRICS)


@every_metric
@seeds
@some
def test_order_of_the_rows_does_not_matter(name, seed):
    case = make_case(seed)
    order = np.random.default_rng(seed).permutation(len(case["y_true"]))
    check_same(name, case, rows_of(case, order))


@every_metric
@seeds
@some
def test_names_of_the_labels_do_not_matter(name, seed):
    case = make_case(seed)
    words = np.array(["zebra", "ant", "mole", "", "", "", "", "", "", "nobody"], dtype=object)
    named = dict(case)
    for key in ("y_true", "y_pred"):
        named[key] = words[case[key]].astype(str)
    named["expert_predictions"] = np.array(
        [[None if a is None else words[a] for a in row] for row in case["expert_predictions"]],
        dtype=object,
    )
    check_same(name, case, named)


@every_metric
@seeds
@some
def test_names_and_order_of_the_experts_do_not_matter(name, seed):
    case = make_case(seed, n_experts=3)
    order = np.random.default_rng(seed).permutation(3)
    other = dict(case)
    for key in ("expert_predictions", "deferral_score", "expected_accuracy"):
        other[key] = case[key][:, order]
    other["route"] = np.concatenate([[0], 1 + np.argsort(order)])[case["route"]]
    if name in ("deferral_report", "cost_report"):
        n_more = 4 if name == "deferral_report" else 1
        strategies = [*range(1), *(1 + np.argsort(order)), *range(4, 4 + n_more)]
        first, second = call(name, case), call(name, other)
        np.testing.assert_allclose(first.to_numpy(), second.to_numpy()[strategies], atol=1e-9)
    else:
        check_same(name, case, other)


@pytest.mark.parametrize("name", RANKING)
@seeds
@some
def test_only_the_order_of_the_score_matters(name, seed):
    case = make_case(seed)
    ranks = np.unique(case["deferral_score"], return_inverse=True)[1]
    ranks = ranks.reshape(case["deferral_score"].shape)
    check_same(name, case, case | {"deferral_score": 7 * ranks - 3})


@pytest.mark.parametrize("name", RANKING)
@seeds
@some
def test_tied_rows_may_stand_in_any_order(name, seed):
    case = make_case(seed)
    case["deferral_score"] = np.zeros_like(case["deferral_score"])
    check_same(name, case, rows_of(case, np.arange(len(case["y_true"]))[::-1]))


def weighted_pair(seed):
    """A case with whole weights, and the same with repeated rows instead."""
    case = make_case(seed)
    weight = np.random.default_rng(seed).integers(0, 4, len(case["y_true"]))
    weight[0] = 2
    return case | {"sample_weight": weight}, rows_of(
        case, np.repeat(np.arange(len(weight)), weight)
    )


@pytest.mark.parametrize("name", sorted(set(METRICS) - set(NOT_AS_REPEATED)))
@seeds
@some
def test_whole_weights_are_repeated_rows(name, seed):
    weighted, repeated = weighted_pair(seed)
    check_same(name, weighted, repeated)


@pytest.mark.parametrize("name", NOT_AS_REPEATED)
@pytest.mark.xfail(reason="see NOT_AS_REPEATED", raises=(AssertionError, ValueError), strict=True)
def test_known_exceptions_from_repeated_rows(name):
    for seed in range(5):
        check_same(name, *weighted_pair(seed))


@every_metric
@seeds
@some
def test_rows_of_weight_0_are_left_out(name, seed):
    case = make_case(seed)
    weight = np.random.default_rng(seed).integers(0, 2, len(case["y_true"])).astype(float)
    weight[0] = 1
    kept = rows_of(case, weight > 0)
    check_same(name, case | {"sample_weight": weight}, kept | {"sample_weight": weight[weight > 0]})
    check_same(name, case | {"sample_weight": weight}, kept)


@every_metric
@seeds
@some
def test_unit_of_the_weights_does_not_matter(name, seed):
    case = make_case(seed)
    weight = np.random.default_rng(seed).random(len(case["y_true"])) + 0.1
    check_same(name, case | {"sample_weight": weight}, case | {"sample_weight": 17 * weight})


@every_metric
def test_one_row(name):
    for seed in range(10):
        case = make_case(seed, n_rows=1)
        found = flat(call(name, case))
        doubled = flat(call(name, rows_of(case, [0, 0])))
        if name in ("cost_curve", "deferral_curve", "risk_coverage_curve"):  # a point per row
            found, doubled = found[[0, -1]], doubled[[0, -1]]
        np.testing.assert_allclose(found, doubled)


@every_metric
def test_no_row_is_refused(name):
    case = rows_of(make_case(0, n_experts=2), slice(0, 0))
    with pytest.raises(ValueError, match="has no row"):
        call(name, case)


def as_frame(values):
    if values.ndim == 1:
        return pd.Series(values, index=np.arange(len(values)) + 100)
    return pd.DataFrame(values, columns=list("abc")[: values.shape[1]])


def as_masked(values):
    if values.dtype != object:
        return values
    missing = np.equal(values, None)
    return np.ma.masked_array(np.where(missing, 0, values).astype(int), mask=missing)


def as_floats(values):
    return values.astype(float) if values.dtype == object else values  # None becomes NaN


def as_nullable(values):
    return as_frame(values).convert_dtypes() if values.dtype == object else as_frame(values)


def as_polars(values):
    return pl.DataFrame(values.tolist(), orient="row", strict=False) if values.ndim == 2 else values


FORMS = [np.ndarray.tolist, as_frame, as_masked, as_floats, as_nullable, as_polars]


@every_metric
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_all_kinds_of_arrays_mean_the_same(name, form):
    for seed in range(4):
        case = make_case(seed, n_experts=2)
        check_same(name, case, {key: form(value) for key, value in case.items()})


@every_metric
def test_one_expert_needs_no_second_dimension(name):
    case = make_case(2, n_experts=1)
    one = {key: value[:, 0] if value.ndim == 2 else value for key, value in case.items()}
    check_same(name, case, one)
    check_same(name, case, {key: as_frame(value) for key, value in one.items()})


@pytest.mark.parametrize("name", sorted(set(RANKING) - {"risk_coverage_curve", "aurc_loss"}))
def test_one_score_for_several_experts_is_refused(name):
    case = make_case(0, n_experts=2)
    case["deferral_score"] = case["deferral_score"][:, 0]
    with pytest.raises(ValueError, match="2 experts"):
        call(name, case)


@pytest.mark.parametrize("name", RANKING)
def test_score_without_a_rank_is_refused(name):
    case = make_case(0, n_experts=2)
    for bad in (np.nan, None, "high"):
        score = case["deferral_score"].astype(object)
        score[1, 1] = bad
        with pytest.raises(ValueError, match="deferral_score"):
            call(name, case | {"deferral_score": score})


ROWS = {"y_true", "y_pred", "expert_predictions", "deferral_score", "route", "expected_accuracy"}


@every_metric
@pytest.mark.parametrize("argument", sorted(ROWS | {"sample_weight"}))
def test_wrong_length_is_refused(name, argument):
    alone = PARAMETERS[name] & ROWS == {argument}  # nothing else has a length
    if argument not in PARAMETERS[name] or alone:
        return
    case = make_case(0, n_rows=6, n_experts=2) | {"sample_weight": np.ones(6)}
    with pytest.raises(ValueError, match="rows|shape"):
        call(name, case | {argument: case[argument][:-1]})


@every_metric
@pytest.mark.parametrize("argument", ["y_true", "y_pred"])
@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA])
def test_missing_label_is_refused(name, argument, nothing):
    if argument not in PARAMETERS[name]:
        return
    case = make_case(0, n_rows=4)
    labels = case[argument].astype(object)
    labels[2] = nothing
    with pytest.raises(ValueError, match=f"{argument} has 1 missing"):
        call(name, case | {argument: labels})


@every_metric
@pytest.mark.parametrize("weight", [[1, -1], [1, np.nan], [0, 0], [np.inf, 1]])
def test_weight_that_is_none_is_refused(name, weight):
    with pytest.raises(ValueError, match="sample_weight"):
        call(name, make_case(0, n_rows=2) | {"sample_weight": weight})


@pytest.mark.parametrize("name", [n for n in METRICS if "route" in PARAMETERS[n]])
@pytest.mark.parametrize(
    "route", [[0, 3], [-1, 0], [0.5, 1], ["model", "b"], [None, 1], [[0], [0, 1]]]
)
def test_route_to_nobody_is_refused(name, route):
    if route == [0, 3] and "expert_predictions" not in PARAMETERS[name]:
        return  # nobody says how many experts there are
    with pytest.raises(ValueError, match=r"route|inhomogeneous"):
        call(name, make_case(0, n_rows=2, n_experts=2) | {"route": route})


@pytest.mark.parametrize("name", [n for n in METRICS if "expert_predictions" in PARAMETERS[n]])
def test_answers_of_a_wrong_shape_are_refused(name):
    case = make_case(0, n_rows=5, n_experts=2)
    for bad in (
        case["expert_predictions"].T,
        {"a": [1] * 5},
        np.zeros((5, 0)),
        np.zeros((5, 2, 1)),
    ):
        with pytest.raises(ValueError, match="expert_predictions"):
            call(name, case | {"expert_predictions": bad})
