"""The report of a fitted estimator is that of its arrays."""

import numpy as np
import pandas as pd
import pytest

from skdefer import DeferralClassifier
from skdefer.exceptions import ExpertPredictionsMissingError
from skdefer.experts import CallableExpert
from skdefer.metrics import deferral_report, estimator_report
from tests.conftest import CountingExpert, make_data

X, Y = make_data(240)
FIT, NEW = slice(0, 160), slice(160, None)
RECORD = np.where(Y == "eel", "cat", Y)


def test_it_is_the_report_of_the_arrays():
    clf = DeferralClassifier().fit(X[FIT], Y[FIT], expert_predictions=RECORD[FIT])
    report = estimator_report(
        clf, X[NEW], Y[NEW], expert_predictions=RECORD[NEW], cost=0.1, random_state=0
    )
    arrays = deferral_report(
        Y[NEW],
        clf.predict_model(X[NEW]),
        RECORD[NEW],
        clf.deferral_score(X[NEW]),
        clf.predict_route(X[NEW]),
        cost=0.1,
        random_state=0,
    )
    pd.testing.assert_frame_equal(report, arrays)


def test_the_system_is_what_predict_does():
    holes = RECORD.astype(object)
    holes[::4] = None
    answers = np.column_stack([holes, np.where(Y == "cat", "dog", Y)])
    clf = DeferralClassifier(on_missing="next").fit(X[FIT], Y[FIT], expert_predictions=answers[FIT])
    report = estimator_report(clf, X[NEW], Y[NEW], expert_predictions=answers[NEW], n_bootstrap=0)
    labels, route = clf.predict(X[NEW], expert_predictions=answers[NEW], return_route=True)
    assert report.loc["system", "accuracy"] == pytest.approx((labels == Y[NEW]).mean())
    assert report.loc["system", "deferral_rate"] == pytest.approx((route > 0).mean())


@pytest.mark.parametrize("on_missing", ["raise", "model", "next"])
def test_nobody_is_asked_when_answers_came(on_missing):
    asked = CountingExpert(X, Y)
    clf = DeferralClassifier(experts=asked, on_missing=on_missing).fit(X[FIT], Y[FIT])
    asked.batches.clear()
    holes = Y[NEW].astype(object)
    holes[::2] = None
    estimator_report(clf, X[NEW], Y[NEW], expert_predictions=holes, n_bootstrap=0)
    assert not asked.batches
    estimator_report(clf, X[NEW], Y[NEW], n_bootstrap=0)
    assert len(asked.batches) == 1


def test_prices_are_the_experts_own_or_given():
    expert = CallableExpert(CountingExpert(X, Y), name="desk", cost=0.25)
    clf = DeferralClassifier(experts=expert, cost=0.0).fit(X[FIT], Y[FIT])
    own = estimator_report(clf, X[NEW], Y[NEW], n_bootstrap=0)
    assert own.loc["desk alone", "cost"] == pytest.approx(0.25)
    given = estimator_report(clf, X[NEW], Y[NEW], cost={"desk": 0.5}, n_bootstrap=0)
    assert given.loc["desk alone", "cost"] == pytest.approx(0.5)


def test_no_answer_at_all():
    clf = DeferralClassifier().fit(X[FIT], Y[FIT], expert_predictions=RECORD[FIT])
    with pytest.raises(ExpertPredictionsMissingError, match="ColumnExpert"):
        estimator_report(clf, X[NEW], Y[NEW])


def test_answers_in_other_labels_are_refused():
    upper = np.char.upper(RECORD)
    with pytest.raises(ValueError, match="no label of y_true or y_pred: it says 'CAT'"):
        deferral_report(Y, RECORD, upper, np.zeros(240), np.ones(240, dtype=int))
