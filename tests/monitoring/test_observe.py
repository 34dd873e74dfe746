"""observe: what a monitor reads of rows, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from skdefer import DeferralClassifier
from skdefer.experts import CallableExpert, ColumnExpert
from skdefer.monitoring import DeferralMonitor, observe
from tests.conftest import make_data
from tests.monitoring.rows import state_of


def test_observe_asks_nobody():
    X, y = make_data(200)

    def refuse(rows):
        raise AssertionError("was asked")

    clf = DeferralClassifier().fit(X, y, expert_predictions=y)
    clf = clf.with_experts([("expert", CallableExpert(refuse))], profiles=clf.profiles_)
    batch = observe(clf, X, y, expert_predictions=pd.Series(y))
    assert batch["names"] == ["expert"]
    assert "y_pred" not in observe(clf, X, y)
    np.testing.assert_array_equal(observe(clf, X, y, y_pred=y)["y_pred"], y)


def test_observe_needs_a_fitted_deferral_estimator():
    X, _ = make_data(20)
    with pytest.raises(TypeError, match="LogisticRegression; expected a deferral estimator of"):
        observe(LogisticRegression(), X)
    with pytest.raises(NotFittedError):
        observe(DeferralClassifier(), X)


def test_rows_with_truth_need_the_answers_of_experts_who_read_a_column():
    X, y = make_data(200)
    frame = pd.DataFrame(X).rename(columns=str).assign(doctor=y)
    clf = DeferralClassifier(experts=[ColumnExpert("doctor")]).fit(frame[:100], y[:100])
    rows, truth = frame[100:], y[100:]
    with pytest.raises(ValueError, match=r"clf.ask_experts\(X, where=clf.predict_panel\(X\)\)"):
        DeferralMonitor().fit(**observe(clf, rows, truth))
    answers = clf.ask_experts(rows, where=clf.predict_panel(rows))
    monitor = DeferralMonitor().fit(**observe(clf, rows, truth, expert_predictions=answers))
    assert monitor.reference_["accuracy_doctor"][0] == 1


def test_truth_that_nobody_knows_is_refused():
    X, y = make_data(200)
    clf = DeferralClassifier().fit(X[:100], y[:100], expert_predictions=y[:100])
    batch = observe(clf, X[100:], expert_predictions=y[100:])
    told = DeferralMonitor(random_state=0).fit(**batch, y=y[100:])
    untold = DeferralMonitor(reference={"system_error": 0.1}).fit(names=batch["names"])
    for truth, shown in (([0, 1] * 50, "0, 1"), (["foo"] * 100, "'foo'")):
        message = rf"does not know, {shown}, on 100 rows; expected some of \['cat', "
        for monitor in (told, untold):
            before = state_of(monitor)
            with pytest.raises(ValueError, match=message):
                monitor.update(**batch, y=truth)
            assert state_of(monitor) == before
        with pytest.raises(ValueError, match=message):
            DeferralMonitor().fit(**batch, y=truth)
    told.update(**batch, y=y[100:])
    assert told.n_checked_ == 100
