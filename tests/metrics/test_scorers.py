"""Scorers in scikit-learn's own loops, with metadata routing off and on."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate

from skdefer.exceptions import ExpertPredictionsMissingError
from skdefer.metrics import (
    aurc_loss,
    aurdac_score,
    aurdac_scorer,
    aursac_score,
    aursac_scorer,
    deferral_rate,
    deferral_rate_scorer,
    kept_accuracy_score,
    make_deferral_scorer,
    system_accuracy_score,
    system_cost,
    system_cost_scorer,
)

from .fake import FakeDeferral, FakeExpert, make_rows

ASKABLE = (FakeExpert(cost=0.1, column=3), FakeExpert(cost=0.2, column=4))
RECORDED = (FakeExpert(cost=0.1), FakeExpert(cost=0.2))
SCORERS = {
    "aursac": aursac_scorer,
    "aurdac": aurdac_scorer,
    "cost": system_cost_scorer,
    "rate": deferral_rate_scorer,
}


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(params=[False, True], ids=["routing off", "routing on"])
def either_routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


def fitted(experts=ASKABLE, **parameters):
    X, y, answers = make_rows()
    return FakeDeferral(experts, **parameters).fit(X, y), X, y, answers


# -- what they compute ----------------------------------------------------------------


def test_scores_are_those_of_the_metrics():
    model, X, y, answers = fitted()
    y_pred, score, route = model.predict_model(X), model.deferral_score(X), model.predict_route(X)
    assert aursac_scorer(model, X, y) == aursac_score(y, y_pred, answers, score)
    assert aurdac_scorer(model, X, y) == aurdac_score(y, y_pred, answers, score)
    assert deferral_rate_scorer(model, X, y) == deferral_rate(route)
    cost = system_cost(y, y_pred, answers, route, cost=[0.1, 0.2])
    assert system_cost_scorer(model, X, y) == pytest.approx(-cost)


@pytest.mark.parametrize("name", SCORERS)
def test_passed_answers_are_used_and_nobody_is_asked(name):
    asked, X, y, answers = fitted()
    recorded, *_ = fitted(RECORDED)
    scorer = SCORERS[name]
    passed = scorer(recorded, X, y, expert_predictions=answers)
    assert passed == pytest.approx(scorer(asked, X, y))
    assert "ask_experts" not in recorded.calls_


def test_route_is_one_call_of_predict():
    model, X, y, _ = fitted()
    system_cost_scorer(model, X, y)
    assert model.calls_.count("predict") == 1
    assert "ask_experts" not in model.calls_


def test_metrics_without_answers_ask_nobody():
    model, X, y, _ = fitted(RECORDED)
    deferral_rate_scorer(model, X, y)
    assert model.calls_ == ["predict_route"]
    doubt = make_deferral_scorer(aurc_loss, greater_is_better=False)
    expected = aurc_loss(y, model.predict_model(X), model.deferral_score(X))
    assert doubt(model, X, y) == pytest.approx(-expected)
    assert not {"predict", "ask_experts"} & set(model.calls_)


def test_columns_of_a_frame_are_matched_by_name():
    model, X, y, answers = fitted()
    frame = pd.DataFrame(answers, columns=["expert_1", "expert_2"])[["expert_2", "expert_1"]]
    for scorer in SCORERS.values():
        expected = scorer(model, X, y)
        assert scorer(model, X, y, expert_predictions=frame) == pytest.approx(expected)


def test_who_actually_answered_counts():
    model, X, y, answers = fitted()
    some = answers.astype(object)
    some[::2] = None  # the fake estimator gives these rows back to the model
    route = np.where(np.arange(len(y)) % 2, model.predict_route(X), 0)
    kept = make_deferral_scorer(kept_accuracy_score, response="route")
    expected = kept_accuracy_score(y, model.predict_model(X), some, route)
    assert kept(model, X, y, expert_predictions=some) == pytest.approx(expected)


def test_weights_are_passed_on():
    model, X, y, answers = fitted()
    weight = np.arange(len(y))
    y_pred, score = model.predict_model(X), model.deferral_score(X)
    expected = aursac_score(y, y_pred, answers, score, sample_weight=weight)
    assert aursac_scorer(model, X, y, sample_weight=weight) == expected
    rigid = make_deferral_scorer(lambda y_true, route: 1.0, response="route")
    with pytest.raises(ValueError, match="sample_weight"):
        rigid(model, X, y, sample_weight=weight)


@pytest.mark.parametrize("experts", [RECORDED, (FakeExpert(),)])
def test_no_answer_at_all_is_an_error_that_helps(experts):
    model, X, y, _ = fitted(experts)
    with pytest.raises(ExpertPredictionsMissingError, match="ColumnExpert, IndexExpert"):
        aursac_scorer(model, X, y)
    with pytest.raises(ExpertPredictionsMissingError):
        system_cost_scorer(model, X, y)


# -- prices ---------------------------------------------------------------------------


def test_cost_of_the_estimator_is_never_read():
    cheap, X, y, _ = fitted(cost=0.0)
    dear, *_ = fitted(cost=100.0)
    assert system_cost_scorer(cheap, X, y) == system_cost_scorer(dear, X, y)


def price_of_rows(X):
    return X[:, 1] ** 2


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (0.5, 0.5),
        ([1, 2], [1, 2]),
        ({"expert_2": 2, "expert_1": 1}, [1, 2]),
        (price_of_rows, lambda X: np.column_stack([X[:, 1] ** 2] * 2)),
        (lambda X: X[:, 1:3] ** 2, lambda X: X[:, 1:3] ** 2),
    ],
)
def test_prices_of_a_scorer(given, meant):
    model, X, y, answers = fitted()
    scorer = make_deferral_scorer(
        system_cost, response="route", greater_is_better=False, cost=given
    )
    price = meant(X) if callable(meant) else meant
    route = model.predict_route(X)
    expected = system_cost(y, model.predict_model(X), answers, route, cost=price)
    assert scorer(model, X, y) == pytest.approx(-expected)


def test_prices_by_name_must_name_every_expert():
    model, X, y, _ = fitted()
    scorer = make_deferral_scorer(system_cost, response="route", cost={"expert_1": 1})
    with pytest.raises(ValueError, match="price for each"):
        scorer(model, X, y)


def test_matrix_of_errors_is_in_the_order_of_the_classes():
    model, X, y, answers = fitted()
    matrix = [[0, 1], [5, 0]]
    scorer = make_deferral_scorer(system_cost, response="route", cost=0, error_cost=matrix)
    route = model.predict_route(X)
    # One class alone in the test rows: the matrix still has its two.
    for rows in (slice(None), y == "yes"):
        expected = system_cost(
            y[rows], model.predict_model(X)[rows], answers[rows], route[rows],
            error_cost=matrix, labels=["no", "yes"],
        )  # fmt: skip
        assert scorer(model, X[rows], y[rows]) == pytest.approx(expected)


# -- how they are made ----------------------------------------------------------------


def test_repr_is_the_call_that_makes_it():
    assert repr(aursac_scorer) == "make_deferral_scorer(aursac_score, response='deferral_score')"
    made = make_deferral_scorer(
        system_cost, response="route", greater_is_better=False, cost=0.1, error_cost=2.0
    )
    assert repr(made) == (
        "make_deferral_scorer(system_cost, response='route', greater_is_better=False, "
        "cost=0.1, error_cost=2.0)"
    )
    assert "error_cost=array" in repr(
        make_deferral_scorer(system_cost, response="route", error_cost=np.eye(2))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"response": "predict"}, "response"),
        ({"response": "route"}, "no parameter 'route'"),
        ({"cost": 0.1}, "no parameter"),
        ({"error_cost": 2.0}, "no parameter"),
        ({"deferral_rang": (0, 1)}, "no parameter"),
    ],
)
def test_arguments_that_the_metric_can_not_take_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_deferral_scorer(aursac_score, **arguments)


def test_metric_of_labels_is_sent_to_scikit_learn():
    with pytest.raises(ValueError, match=r"sklearn\.metrics\.make_scorer"):
        make_deferral_scorer(accuracy_score, response="route")


@pytest.mark.parametrize("name", SCORERS)
def test_copies_score_the_same(name):
    model, X, y, _ = fitted()
    scorer = SCORERS[name]
    copies = copy.deepcopy(scorer), pickle.loads(pickle.dumps(scorer)), clone(scorer, safe=False)
    for other in copies:
        assert repr(other) == repr(scorer)
        assert other(model, X, y) == scorer(model, X, y)


# -- metadata -------------------------------------------------------------------------


def test_requests():
    request = aursac_scorer.get_metadata_routing()
    assert request.score.requests == {"expert_predictions": True, "sample_weight": None}


@pytest.mark.usefixtures("routing")
def test_set_score_request_changes_what_is_named():
    scorer = make_deferral_scorer(aursac_score)
    assert scorer.set_score_request(sample_weight="my_weight") is scorer
    requests = {"expert_predictions": True, "sample_weight": "my_weight"}
    assert scorer.get_metadata_routing().score.requests == requests
    for other in (copy.deepcopy(scorer), pickle.loads(pickle.dumps(scorer))):
        assert other.get_metadata_routing().score.requests == requests
    with pytest.raises(ValueError, match="alias"):
        scorer.set_score_request(expert_predictions="not a name")
    assert scorer.get_metadata_routing().score.requests == requests
    assert aursac_scorer.get_metadata_routing().score.requests["sample_weight"] is None


def test_set_score_request_needs_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        make_deferral_scorer(aursac_score).set_score_request(sample_weight=True)


# -- in scikit-learn's loops ----------------------------------------------------------


@pytest.mark.usefixtures("either_routing")
@pytest.mark.parametrize("scoring", [aursac_scorer, SCORERS], ids=["one", "several"])
def test_cross_validate_asks_the_experts(scoring):
    X, y, _ = make_rows()
    found = cross_validate(
        FakeDeferral(ASKABLE), X, y, scoring=scoring, cv=3, return_estimator=True,
        return_indices=True, error_score="raise",
    )  # fmt: skip
    for key, scorer in (scoring if isinstance(scoring, dict) else {"score": scoring}).items():
        expected = [
            scorer(model, X[rows], y[rows])
            for model, rows in zip(found["estimator"], found["indices"]["test"])
        ]
        np.testing.assert_allclose(found[f"test_{key}"], expected)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("scoring", [aursac_scorer, SCORERS], ids=["one", "several"])
@pytest.mark.parametrize("frame", [False, True])
def test_answers_are_routed_and_cut_by_fold(scoring, frame):
    X, y, answers = make_rows()
    passed = pd.DataFrame(answers, columns=["expert_1", "expert_2"]) if frame else answers
    options = {"scoring": scoring, "cv": 3, "error_score": "raise"}
    asked = cross_validate(FakeDeferral(ASKABLE), X, y, **options)
    routed = cross_validate(
        FakeDeferral(RECORDED), X, y, params={"expert_predictions": passed}, **options
    )
    for key in asked.keys() - {"fit_time", "score_time"}:
        np.testing.assert_allclose(asked[key], routed[key])


@pytest.mark.usefixtures("routing")
def test_weights_are_routed_on_request():
    X, y, _ = make_rows()
    weight = np.random.default_rng(0).random(len(y))
    model = FakeDeferral(ASKABLE).set_fit_request(sample_weight=False)
    options = {"cv": 3, "params": {"sample_weight": weight}, "error_score": "raise"}
    with pytest.raises(UnsetMetadataPassedError):
        cross_val_score(model, X, y, scoring=make_deferral_scorer(aursac_score), **options)
    scorer = make_deferral_scorer(aursac_score).set_score_request(sample_weight=True)
    weighted = cross_val_score(model, X, y, scoring=scorer, **options)
    assert not np.allclose(weighted, cross_val_score(model, X, y, scoring=scorer, cv=3))


def best_cost(threshold):
    """Cost at a threshold, with each expert's own price."""
    model, X, y, _ = fitted(threshold=threshold)
    return -system_cost_scorer(model, X, y)


@pytest.mark.usefixtures("either_routing")
@pytest.mark.parametrize("several", [False, True])
def test_grid_search_finds_the_cheapest(several):
    X, y, _ = make_rows()
    grid = {"threshold": [-5.0, 0.0, 5.0], "cost": [None, 100.0]}
    search = GridSearchCV(
        FakeDeferral(ASKABLE), grid, cv=3, error_score="raise",
        scoring=SCORERS if several else system_cost_scorer,
        refit="cost" if several else True,
    ).fit(X, y)  # fmt: skip
    score = search.cv_results_["mean_test_cost" if several else "mean_test_score"]
    by_threshold = dict(zip(search.cv_results_["param_threshold"], score))
    cheapest = min(grid["threshold"], key=best_cost)
    assert search.best_params_["threshold"] == max(by_threshold, key=by_threshold.get) == cheapest
    # The candidates' own cost changes no score.
    np.testing.assert_allclose(score[:3], score[3:])
    assert search.score(X, y) == pytest.approx(-best_cost(cheapest))


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("scoring", [system_cost_scorer, SCORERS], ids=["one", "several"])
def test_grid_search_routes_answers(scoring):
    X, y, answers = make_rows()
    search = GridSearchCV(
        FakeDeferral(RECORDED), {"threshold": [-5.0, 5.0]}, cv=3, error_score="raise",
        scoring=scoring, refit="cost" if isinstance(scoring, dict) else True,
    )  # fmt: skip
    search.fit(X, y, expert_predictions=answers)
    assert np.isfinite(search.best_score_)
    expected = system_cost_scorer(search.best_estimator_, X, y, expert_predictions=answers)
    assert search.score(X, y, expert_predictions=answers) == pytest.approx(expected)


def test_grid_search_passes_weights_without_routing():
    X, y, _ = make_rows()
    weight = np.random.default_rng(0).random(len(y))
    grid = {"threshold": [0.0]}
    for scoring in (aursac_scorer, {"a": aursac_scorer, "c": system_cost_scorer}):
        options = {"scoring": scoring, "cv": 3, "refit": False, "error_score": "raise"}
        key = "mean_test_a" if isinstance(scoring, dict) else "mean_test_score"
        plain = GridSearchCV(FakeDeferral(ASKABLE), grid, **options).fit(X, y)
        weighted = GridSearchCV(FakeDeferral(ASKABLE), grid, **options)
        weighted.fit(X, y, sample_weight=weight)
        assert plain.cv_results_[key] != pytest.approx(weighted.cv_results_[key])


def test_search_over_experts_that_can_not_be_asked_scores_nan():
    X, y, _ = make_rows()
    with pytest.warns(UserWarning, match="Scoring failed"):
        found = cross_val_score(FakeDeferral(RECORDED), X, y, cv=2, scoring=aursac_scorer)
    assert np.isnan(found).all()


def test_scorers_and_clones_cross_processes():
    X, y, _ = make_rows()
    options = {"scoring": SCORERS, "cv": 2, "error_score": "raise"}
    here = cross_validate(FakeDeferral(ASKABLE), X, y, **options)
    there = cross_validate(FakeDeferral(ASKABLE), X, y, n_jobs=2, **options)
    for name in SCORERS:
        np.testing.assert_allclose(here[f"test_{name}"], there[f"test_{name}"])
    search = GridSearchCV(FakeDeferral(ASKABLE), {"threshold": [0.0]}, scoring=SCORERS, refit=False)
    assert repr(clone(search).scoring) == repr(SCORERS)


def test_system_accuracy_by_route_is_the_accuracy_of_predict():
    model, X, y, _ = fitted()
    scorer = make_deferral_scorer(system_accuracy_score, response="route")
    assert scorer(model, X, y) == pytest.approx(accuracy_score(y, model.predict(X)))
