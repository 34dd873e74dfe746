"""scikit-learn's own tools around DeferralClassifier: validation, searches, Pipelines, memory."""

import warnings
from collections import Counter

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.stats import uniform
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skdefer import ColumnExpert, DeferralClassifier, IndexExpert
from skdefer.exceptions import (
    ExpertPredictionsMissingError,
    UnansweredWarning,
    UncachedWarning,
)
from skdefer.experts import CallableExpert
from skdefer.metrics import aursac_score, make_deferral_scorer, system_cost_scorer
from tests.conftest import CountingExpert, make_data

X, Y = make_data(240)
RECORD = np.where(Y == "eel", "cat", Y)
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(reader=RECORD)
SCORERS = ["accuracy", "f1_macro", "balanced_accuracy", "neg_log_loss", "roc_auc_ovr", None]
COSTS = {"cost": [0.0, 0.05, 1e6]}


def first_reader(rows):
    """A module-level expert: can be pickled and kept."""
    return np.where(np.asarray(rows)[:, 0] > 0, "cat", "dog")


class Counted(ClassifierMixin, BaseEstimator):
    """A classifier that counts its fits, on the class: clones and copies share it."""

    n_fits = 0

    def fit(self, X, y):
        type(self).n_fits += 1
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    def predict(self, X):
        return self.inner_.predict(X)


def systems():
    """(estimator, X): experts that carry their answers, in every way."""
    inside = make_pipeline(StandardScaler(), LogisticRegression())
    index = IndexExpert(pd.Series(RECORD, index=FRAME.index, name="reader"))
    plain = FRAME.drop(columns="reader")
    return {
        "column": (DeferralClassifier(inside, ColumnExpert("reader"), cv=3), FRAME),
        "callable": (DeferralClassifier(inside, first_reader, cv=3), X),
        "index": (DeferralClassifier(inside, index, cv=3), plain),
        "classifier": (DeferralClassifier(inside, LogisticRegression().fit(X, Y), cv=3), X),
        "outer_pipeline": (
            make_pipeline(StandardScaler(), DeferralClassifier(experts=first_reader, cv=3)),
            X,
        ),
    }


@pytest.mark.parametrize("routing", [False, True], ids=["routing_off", "routing_on"])
@pytest.mark.parametrize("name", list(systems()))
@pytest.mark.parametrize("scoring", SCORERS)
def test_cross_validate(name, scoring, routing):
    estimator, rows = systems()[name]
    with sklearn.config_context(enable_metadata_routing=routing):
        result = cross_validate(estimator, rows, Y, scoring=scoring, cv=3, error_score="raise")
    assert np.isfinite(result["test_score"]).all()


@pytest.mark.parametrize("name", list(systems()))
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search_over_costs(name, n_jobs):
    estimator, rows = systems()[name]
    grid = COSTS
    if name == "outer_pipeline":
        grid = {"deferralclassifier__cost": COSTS["cost"]}
    search = GridSearchCV(estimator, grid, scoring="accuracy", cv=3, n_jobs=n_jobs).fit(rows, Y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    # At a price above everything the system is the model alone.
    alone = LogisticRegression() if name != "outer_pipeline" else DeferralClassifier(cost=1e6)
    model = make_pipeline(StandardScaler(), alone)
    assert scores[-1] == pytest.approx(cross_val_score(model, X, Y, cv=3).mean())
    assert search.predict(rows).shape == (240,)


def test_randomized_and_nested_search():
    estimator, rows = systems()["column"]
    search = RandomizedSearchCV(
        estimator,
        {"cost": uniform(0, 0.3), "estimator__logisticregression__C": [0.1, 1.0]},
        n_iter=3,
        cv=2,
        scoring="f1_macro",
        random_state=0,
    )
    assert np.isfinite(cross_val_score(search, rows, Y, cv=2)).all()


def test_multimetric_search_with_our_scorers():
    estimator, rows = systems()["column"]
    scoring = {
        "accuracy": "accuracy",
        "cost": system_cost_scorer,
        "aursac": make_deferral_scorer(aursac_score),
    }
    search = GridSearchCV(estimator, COSTS, scoring=scoring, refit="cost", cv=3).fit(rows, Y)
    for name in scoring:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()


def test_scorers_do_not_read_the_candidates_own_cost():
    # A candidate that calls experts cheap must not look cheap.
    expert = CallableExpert(first_reader, cost=0.5)
    search = GridSearchCV(
        DeferralClassifier(experts=expert, cv=3), {"cost": [0.0, 0.5]}, scoring=system_cost_scorer
    ).fit(X, Y)
    honest = search.cv_results_["mean_test_score"]
    assert honest[1] >= honest[0]


def test_cross_val_predict_gives_the_systems_answers():
    estimator, rows = systems()["column"]
    labels = cross_val_predict(estimator, rows, Y, cv=3)
    assert (labels == Y).mean() > 0.5


# -- recorded answers that never reach predict --------------------------------------


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro", None])
def test_recorded_answers_give_nan_for_every_candidate(scoring):
    search = GridSearchCV(DeferralClassifier(cv=3), COSTS, scoring=scoring, cv=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X, Y, expert_predictions=RECORD)
    assert np.isnan(search.cv_results_["mean_test_score"]).all()
    assert any("ColumnExpert" in str(w.message) for w in caught)
    search.set_params(error_score="raise")
    with pytest.raises(ExpertPredictionsMissingError, match="ColumnExpert, IndexExpert"):
        search.fit(X, Y, expert_predictions=RECORD)


def test_recorded_answers_reach_our_score_by_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(DeferralClassifier(cv=3), COSTS, cv=3)
        search.fit(X, Y, expert_predictions=RECORD)
        own = search.cv_results_["mean_test_score"]
        by_scorer = GridSearchCV(
            DeferralClassifier(cv=3), COSTS, cv=3, scoring=make_deferral_scorer(aursac_score)
        ).fit(X, Y, expert_predictions=RECORD)
    estimator = DeferralClassifier(experts=ColumnExpert("reader"), cv=3)
    column = GridSearchCV(estimator, COSTS, cv=3).fit(FRAME, Y)
    np.testing.assert_allclose(own, column.cv_results_["mean_test_score"])
    assert np.isfinite(by_scorer.cv_results_["mean_test_score"]).all()


def test_groups_and_answers_travel_together_by_routing():
    groups = np.arange(240) // 2
    with sklearn.config_context(enable_metadata_routing=True):
        result = cross_validate(
            DeferralClassifier(cv=3),
            X,
            Y,
            cv=3,
            params={"expert_predictions": RECORD, "groups": groups},
            error_score="raise",
        )
    assert np.isfinite(result["test_score"]).all()


def test_answers_for_an_outer_pipeline():
    pipe = make_pipeline(StandardScaler(), DeferralClassifier(on_missing="model"))
    pipe.fit(X, Y, deferralclassifier__expert_predictions=RECORD)
    with pytest.warns(UnansweredWarning):
        assert pipe.predict(X).shape == (240,)


# -- memory -------------------------------------------------------------------------


def test_a_grid_over_costs_fits_no_more_than_one_candidate(tmp_path):
    Counted.n_fits = 0
    folds = 4
    asked = CountingExpert(X, Y)
    estimator = DeferralClassifier(
        Counted(),
        CallableExpert(asked, name="desk", version="1"),
        cv=StratifiedKFold(5),
        memory=joblib.Memory(tmp_path, verbose=0),
    )
    search = GridSearchCV(estimator, {"cost": np.linspace(0, 0.5, 20)}, cv=StratifiedKFold(folds))
    search.fit(X, Y)
    assert Counted.n_fits == (folds + 1) * (5 + 1)
    rows = Counter(row for batch in asked.batches for row in batch)
    assert max(rows.values()) == 1, "nobody is asked twice for a row"


def test_memory_changes_no_result(tmp_path):
    plain = DeferralClassifier(experts=first_reader, random_state=0).fit(X, Y)
    for _ in range(2):
        kept = DeferralClassifier(experts=first_reader, memory=str(tmp_path), random_state=0)
        kept.fit(X, Y)
        np.testing.assert_array_equal(kept.deferral_score(X), plain.deferral_score(X))
        np.testing.assert_array_equal(kept.predict(X), plain.predict(X))


def test_memory_tells_other_data_apart(tmp_path):
    Counted.n_fits = 0
    for data in (X, X + 1e-9, X):
        DeferralClassifier(Counted(), first_reader, memory=str(tmp_path)).fit(data, Y)
    assert Counted.n_fits == 12


def test_another_version_is_asked_again(tmp_path):
    asked = CountingExpert(X, Y)
    for version in ("1", "1", "2"):
        expert = CallableExpert(asked, name="desk", version=version)
        DeferralClassifier(experts=expert, memory=str(tmp_path)).fit(X, Y)
    assert [len(batch) for batch in asked.batches] == [240, 240]


@pytest.mark.parametrize("labels", ["text", "number"])
def test_kept_answers_keep_their_type(tmp_path, labels):
    y = Y if labels == "text" else np.searchsorted(["cat", "dog", "eel"], Y)
    expert = CallableExpert(CountingExpert(X, y), name="desk", version="1")
    for _ in range(2):
        clf = DeferralClassifier(experts=expert, memory=str(tmp_path)).fit(X, y)
        assert clf.ask_experts(X).tolist() == [[label] for label in y.tolist()]


def test_what_cannot_be_kept_is_said_once_without_data(tmp_path):
    lambdas = make_pipeline(FunctionTransformer(lambda rows: rows), LogisticRegression())
    with pytest.warns(UncachedWarning) as caught:
        DeferralClassifier(lambdas, first_reader, memory=str(tmp_path)).fit(X, Y)
    assert len(caught) == 1
    assert "Pipeline" in str(caught[0].message)
    assert str(X[0, 0])[:6] not in str(caught[0].message)
    with pytest.warns(UncachedWarning, match="'desk' are not kept.*version=") as caught:
        DeferralClassifier(
            experts=[("desk", lambda rows: ["cat"] * len(rows))], memory=str(tmp_path)
        ).fit(X, Y)
    assert len(caught) == 1


def test_a_memory_without_a_place_keeps_nothing():
    Counted.n_fits = 0
    for _ in range(2):
        DeferralClassifier(Counted(), first_reader, memory=joblib.Memory(None)).fit(X, Y)
    assert Counted.n_fits == 12


def test_a_failing_candidate_is_reported_by_the_search():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        with pytest.raises(ValueError, match="All the 9 fits failed"):
            GridSearchCV(DeferralClassifier(experts=lambda rows: None, cv=3), COSTS, cv=3).fit(X, Y)
