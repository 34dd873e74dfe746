"""RiskControlledDeferralClassifier: what it promises, what it refuses, and what it leaves alone."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skdefer import (
    ColumnExpert,
    DeferralClassifier,
    RiskControlledDeferralClassifier,
    TunedDeferralClassifierCV,
)
from skdefer.deferral._risks import CalibrationRows
from skdefer.deferral._unseen_rows import TaughtRows, draw_rows, leave_each_class
from skdefer.exceptions import (
    RiskNotControlledError,
    RiskNotControlledWarning,
    StaleThresholdWarning,
)
from skdefer.experts import ExpertProfile
from skdefer.policies import BudgetPolicy, TopKPolicy
from skdefer.rejectors import ConfidenceRejector, ProfileRejector
from tests.conftest import CountingExpert, make_data

X, Y = make_data(1500)
X_FIT, Y_FIT, X_CAL, Y_CAL, X_NEW, Y_NEW = (
    X[:500],
    Y[:500],
    X[500:1000],
    Y[500:1000],
    X[1000:],
    Y[1000:],
)


def say(seed=0, accuracy=0.95):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(Y)) < accuracy, Y, rng.choice(np.unique(Y), len(Y)))


SAID = say()


def inner(**params):
    return DeferralClassifier(LogisticRegression(), rejector=ProfileRejector(), cv=3, **params)


def of_columns(experts=None):
    """Of the columns that are numbers."""
    numbers = ColumnTransformer([("x", "passthrough", list("abcd"))])
    model = make_pipeline(numbers, LogisticRegression())
    return DeferralClassifier(model, experts, rejector=ProfileRejector(), cv=3)


def controlled(estimator=None, **params):
    params = {"target": 0.15, "on_failure": "raise", **params}
    return RiskControlledDeferralClassifier(estimator or inner(), **params)


def calibrated(estimator=None, said=SAID, **params):
    clf = controlled(estimator, validation_fraction=None, **params)
    clf.fit(X_FIT, Y_FIT, expert_predictions=said[:500])
    return clf.calibrate(X_CAL, Y_CAL, expert_predictions=said[500:1000])


def at_its_threshold(clf):
    return clf.risk_table_[clf.risk_table_["chosen"]]


# -- what is promised ------------------------------------------------------------------------


def test_the_threshold_is_served_by_every_method():
    clf = calibrated(prefer="deferral_rate")
    assert clf.certified_
    score = clf.deferral_score(X_NEW)[:, 0]
    np.testing.assert_array_equal(clf.predict_defer(X_NEW), score > clf.threshold_)
    labels, route = clf.predict(X_NEW, expert_predictions=SAID[1000:], return_route=True)
    np.testing.assert_array_equal(route > 0, score > clf.threshold_)
    assert 0 < (route > 0).mean() < 1
    assert clf.score(X_NEW, Y_NEW, expert_predictions=SAID[1000:]) == (labels == Y_NEW).mean()


def test_the_table_says_what_predict_does():
    """Risks on the rows that tested are those of the system with that threshold."""
    names = ["system_error", "kept_error", "deferral_rate", "expected_cost"]
    clf = calibrated(inner(cost=0.1), risk=names, target=[0.3, 0.4, 0.9, 0.4], random_state=3)
    table = at_its_threshold(clf).set_index("risk")
    tests = ~draw_rows(X_CAL, None, 0.2, "3|pilot")
    labels, route = clf.predict(X_CAL, expert_predictions=SAID[500:1000], return_route=True)
    wrong, asked = (labels != Y_CAL)[tests], (route > 0)[tests]
    assert table.loc["system_error", "value"] == pytest.approx(wrong.mean())
    assert table.loc["kept_error", "value"] == pytest.approx(wrong[~asked].mean())
    assert table.loc["kept_error", "n_counted"] == (~asked).sum()
    assert table.loc["deferral_rate", "value"] == pytest.approx(asked.mean())
    assert table.loc["expected_cost", "value"] == pytest.approx((wrong + 0.1 * asked).mean())
    assert clf.n_calibration_ == tests.sum()
    assert (table["upper"] <= table["target"]).all()


def test_a_target_that_the_rule_keeps_anyway_changes_nothing():
    clf = calibrated(inner(cost=0.1), target=0.5)
    assert clf.threshold_ == 0
    plain = inner(cost=0.1).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    np.testing.assert_array_equal(clf.predict_route(X_NEW), plain.predict_route(X_NEW))


def test_a_lower_target_hands_over_more():
    shares = [
        calibrated(target=t, prefer="deferral_rate").predict_defer(X_NEW).mean()
        for t in (0.12, 0.18, 0.3)
    ]
    assert shares[0] > shares[1] > shares[2]


def test_a_deferral_rate_is_used_up_to_what_pays():
    clf = calibrated(risk="deferral_rate", target=0.2)
    share = clf.predict_defer(X_NEW).mean()
    assert 0.05 < share <= 0.2
    assert clf.threshold_ > 0  # the free expert would get more


def test_false_negatives_of_one_class():
    clf = calibrated(risk="false_negative_rate", pos_label="eel", target=0.2)
    row = at_its_threshold(clf).iloc[0]
    assert row["n_counted"] < clf.n_calibration_ / 2
    labels = clf.predict(X_NEW, expert_predictions=SAID[1000:])
    assert (labels != Y_NEW)[Y_NEW == "eel"].mean() < 0.2
    assert "false_negative_rate of 'eel' <= 0.2" in clf.promise_
    assert set(clf.risk_table_["pos_label"]) == {"eel"}
    with pytest.raises(ValueError, match="pos_label is None with the classes"):
        calibrated(risk="false_negative_rate")
    with pytest.raises(ValueError, match="pos_label is 'cow'"):
        calibrated(risk="false_negative_rate", pos_label="cow")


def test_of_two_classes_the_promise_says_whose_false_negatives_are_few():
    ill = np.where(Y == "eel", "ill", "well")
    clf = controlled(risk=["false_negative_rate", "deferral_rate"], target=[0.3, 1 - 1e-9])
    clf.set_params(validation_fraction=0.5, on_failure="warn")
    clf.fit(X[:1000], ill[:1000], expert_predictions=ill[:1000])
    assert "false_negative_rate of 'well' <= 0.3 and deferral_rate <= 1" in clf.promise_
    of_well = clf.risk_table_["pos_label"] == "well"
    assert ((clf.risk_table_["risk"] == "false_negative_rate") == of_well).all()
    assert clf.risk_table_.loc[~of_well, "pos_label"].isna().all()
    clf.set_params(pos_label="ill", target=[0.001, 0.5])
    with pytest.warns(RiskNotControlledWarning, match="false_negative_rate of 'ill' is"):
        clf.fit(X[:1000], ill[:1000], expert_predictions=ill[:1000])


def test_a_risk_of_ones_own():
    def harm(y, labels, asked):
        return np.where(y == "eel", 5.0 * (labels != y), np.nan)

    clf = calibrated(risk=harm, target=1.0, loss_bound=5.0, prefer="deferral_rate")
    assert at_its_threshold(clf)["risk"].tolist() == ["harm"]
    with pytest.raises(
        ValueError, match=r"harm gave losses .* in \[0, 5\]; expected .*loss_bound="
    ):
        calibrated(risk=harm, target=0.5)
    with pytest.raises(ValueError, match=r"<lambda> gave losses of shape \(3,\)"):
        calibrated(risk=lambda y, labels, asked: np.zeros(3))


@pytest.mark.parametrize("prefer", ["cost", "deferral_rate"])
def test_a_matrix_of_error_costs(prefer):
    matrix = np.array([[0, 1, 1], [1, 0, 1], [4, 4, 0.0]])
    clf = calibrated(
        inner(error_cost=matrix, cost=0.1), risk="expected_cost", target=0.7, prefer=prefer
    )
    labels, route = clf.predict(X_NEW, expert_predictions=SAID[1000:], return_route=True)
    codes = [np.searchsorted(clf.classes_, v) for v in (Y_NEW, labels)]
    assert (matrix[codes[0], codes[1]] + 0.1 * (route > 0)).mean() < 0.7


def test_conformal_risk_control():
    clf = calibrated(method="crc", prefer="deferral_rate")
    assert clf.promise_.startswith("On average over calibrations, system_error <= 0.15")
    assert clf.risk_table_["p_value"].isna().all()
    tested = calibrated(prefer="deferral_rate")
    assert clf.threshold_ >= tested.threshold_  # the weaker promise costs less


def test_several_experts_and_panels():
    said = np.column_stack([say(1, 0.8), say(2, 0.9), say(3, 0.85)])
    one = calibrated(inner(cost=0.05), said=said, prefer="deferral_rate")
    assert one.predict_panel(X_NEW).sum(axis=1).max() == 1
    panels = calibrated(inner(cost=0.05, policy=TopKPolicy(k=3)), said=said, prefer="deferral_rate")
    assert panels.predict_panel(X_NEW).sum(axis=1).max() > 1
    labels = panels.predict(X_NEW, expert_predictions=said[1000:])
    assert (labels != Y_NEW).mean() < 0.15


def test_nobody_to_ask():
    clf = controlled(
        inner(cost=0.2),
        risk="kept_error",
        target=0.15,
        prefer="deferral_rate",
        validation_fraction=0.4,
    )
    clf.fit(X[:1000], Y[:1000])
    kept = ~clf.predict_defer(X_NEW)
    assert 0 < kept.mean() < 1
    assert (clf.predict_model(X_NEW) != Y_NEW)[kept].mean() < 0.15
    np.testing.assert_array_equal(clf.predict(X_NEW), clf.predict_model(X_NEW))


@pytest.mark.parametrize("correction", ["fixed_sequence", "holm"])
def test_thresholds_of_ones_own(correction):
    clf = calibrated(thresholds=[-0.1, 0.2], correction=correction, prefer="deferral_rate")
    assert set(clf.risk_table_["threshold"]) == {-np.inf, -0.1, 0.0, 0.2, np.inf}
    assert clf.n_calibration_ == (500 if correction == "holm" else 400)
    with pytest.raises(ValueError, match="thresholds are"):
        calibrated(thresholds=[[0.1]])


# -- groups ----------------------------------------------------------------------------------


def test_every_group_is_kept_within_the_target():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(site=np.arange(1500) % 3)
    clf = controlled(by="site", target=0.25, validation_fraction=0.5, prefer="deferral_rate")
    clf.fit(frame[:1000], Y[:1000], expert_predictions=SAID[:1000])
    assert "in each of 3 groups" in clf.promise_
    table = at_its_threshold(clf)
    assert sorted(table["group"]) == [0, 1, 2]
    assert (table["p_value"] <= 0.1).all()
    same = clone(clf).set_params(by=lambda X: X["site"].to_numpy())
    same.fit(frame[:1000], Y[:1000], expert_predictions=SAID[:1000])
    assert same.threshold_ == clf.threshold_


def test_a_group_of_one_row_is_named():
    clf = controlled(
        by=lambda X: np.where(X[:, 0] == X_CAL[7, 0], "rare", "common"),
        on_failure="warn",
        validation_fraction=None,
    ).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    with pytest.warns(RiskNotControlledWarning, match="on 1 that count of group 'rare'"):
        clf.calibrate(X_CAL, Y_CAL, expert_predictions=SAID[500:1000])
    with pytest.raises(ValueError, match="by is 'site', but X is ndarray"):
        calibrated(by="site")
    with pytest.raises(ValueError, match=r"by gives labels of shape \(2,\)"):
        calibrated(by=lambda X: np.zeros(2))


def test_rows_without_a_label_are_a_group():
    site = np.arange(1500) % 3
    frame = pd.DataFrame(X, columns=list("abcd"))
    for labels, names in [
        (np.where(site == 2, None, np.array(["n", "s", ""], dtype=object)[site]), ["n", "s"]),
        (np.where(site == 2, np.nan, site), [0.0, 1.0]),
    ]:
        clf = controlled(of_columns(), by="site", target=0.25, validation_fraction=0.5)
        clf.fit(frame[:1000].assign(site=labels[:1000]), Y[:1000], expert_predictions=SAID[:1000])
        assert set(clf.risk_table_["group"]) == {"(missing)", *names}
        assert "in each of 3 groups" in clf.promise_
        counted = at_its_threshold(clf).set_index("group")["n_counted"]
        assert counted.sum() == clf.n_calibration_
        assert counted["(missing)"] > 100


def test_a_number_is_no_group():
    frame = pd.DataFrame(X, columns=list("abcd"))
    expert = CountingExpert(X, Y)
    clf = controlled(inner(experts=[("nurse", expert)]), by="a")
    with pytest.raises(ValueError, match="by is 'a', which has 500 values on 500 rows"):
        clf.fit(frame[:500], Y_FIT)
    assert not expert.batches, "refused before anybody is asked"


def test_groups_stay_on_one_side_and_count_once():
    groups = np.arange(1000) // 5
    clf = controlled(target=0.3, validation_fraction=0.4, random_state=1)
    clf.fit(X[:1000], Y[:1000], expert_predictions=SAID[:1000], groups=groups)
    assert clf.n_calibration_ == 64  # of 80 held out, 16 are the pilot
    assert "64 groups" in clf.promise_
    with pytest.raises(ValueError, match="groups"):
        clf.calibrate(X_CAL, Y_CAL, expert_predictions=SAID[500:1000], groups=groups)


def test_groups_that_taught_are_refused():
    cal = (X_CAL, Y_CAL)
    said = {"expert_predictions": SAID[500:1000]}
    clf = controlled(target=0.3, validation_fraction=None)
    clf.fit(X_FIT, Y_FIT, expert_predictions=SAID[:500], groups=np.arange(500) // 5)
    with pytest.raises(ValueError, match=r"groups has 10 groups .* such as \[90, 91, 92, 93, 94\]"):
        clf.calibrate(*cal, **said, groups=90 + np.arange(500) // 5)
    with pytest.raises(ValueError, match="fit had groups=, but calibrate has none"):
        clf.calibrate(*cal, **said)
    missing = np.where(np.arange(500) == 7, np.nan, 100 + np.arange(500) // 5)
    with pytest.raises(ValueError, match=r"groups is missing in 1 of 500 rows, such as rows \[7\]"):
        clf.calibrate(*cal, **said, groups=missing)
    with pytest.raises(ValueError, match="groups is missing in 1 of 500 rows"):
        clone(clf).fit(X_FIT, Y_FIT, groups=missing)
    assert clf.calibrate(*cal, **said, groups=100 + np.arange(500) // 5).certified_


def test_one_group_tests_nothing():
    clf = calibrated(target=0.3).set_params(on_failure="warn")
    with pytest.warns(RiskNotControlledWarning, match="500 calibration rows in 1 group leave none"):
        clf.calibrate(X_CAL, Y_CAL, expert_predictions=SAID[500:1000], groups=np.ones(500))
    with pytest.raises(ValueError, match="1 groups with weight are too few to hold one out"):
        controlled().fit(X_FIT, Y_FIT, groups=np.ones(500))


def test_a_class_is_left_by_whole_groups():
    groups = np.arange(12) // 3
    y = np.repeat(["a", "b"], 6)
    held = leave_each_class(groups >= 2, y, groups)
    np.testing.assert_array_equal(held, groups == 3)
    assert leave_each_class(groups >= 2, y).sum() == 5, "without groups a row is enough"


# -- where nothing is proven -----------------------------------------------------------------


def test_failure_warns_says_what_is_reachable_and_takes_the_safest_route():
    clf = controlled(target=0.001, on_failure="warn")
    with pytest.warns(
        RiskNotControlledWarning,
        match="Nothing is promised: on .* system_error is .* could be promised; ",
    ):
        clf.fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    assert not clf.certified_
    assert clf.promise_.startswith("Nothing is promised")
    assert clf.predict_defer(X_NEW).all()
    assert not clf.risk_table_["chosen"].any()


def test_failure_may_raise_and_more_rows_may_mend_it():
    few = controlled(target=0.1, prefer="deferral_rate", validation_fraction=0.03)
    with pytest.raises(RiskNotControlledError, match="about .* would do|no number of them"):
        few.fit(X_FIT, Y_FIT, expert_predictions=say(1, 1.0)[:500])
    few.calibrate(X_CAL, Y_CAL, expert_predictions=say(1, 1.0)[500:1000])
    assert few.certified_


def test_where_only_asking_is_limited_the_safest_route_asks_nobody():
    with pytest.warns(RiskNotControlledWarning):
        clf = controlled(
            risk="expected_cost", target=0.001, on_failure="warn", validation_fraction=0.5
        ).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    assert not clf.predict_defer(X_NEW).any()


def test_no_calibration_rows_no_promise():
    clf = controlled(validation_fraction=None)
    clf.fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    assert not clf.certified_
    assert "call calibrate" in clf.promise_
    assert clf.predict_defer(X_NEW).all()
    tiny = controlled(on_failure="warn")
    with pytest.warns(RiskNotControlledWarning, match="leave none to test"):
        tiny.set_params(estimator=DeferralClassifier(cv=2)).fit(X[:6], Y[:6])
    with pytest.raises(ValueError, match="too few to hold one out"):
        controlled(DeferralClassifier(cv=2)).fit(X[:3], ["a", "b", "c"])


# -- rows that were trained on ---------------------------------------------------------------


def test_rows_that_taught_are_refused():
    clf = calibrated()
    with pytest.raises(ValueError, match="3 of 503 calibration rows are known by the content"):
        clf.calibrate(
            np.vstack([X_CAL, X_FIT[:3]]),
            np.append(Y_CAL, Y_FIT[:3]),
            expert_predictions=np.append(SAID[500:1000], SAID[:3]),
        )
    frame = pd.DataFrame(X, index=[f"p{i}" for i in range(1500)])
    clf = controlled(validation_fraction=None)
    clf.fit(frame[:500], Y_FIT, expert_predictions=SAID[:500])
    changed = frame[400:900] + 1.0  # other content, the same patients
    with pytest.raises(ValueError, match="100 of 500 calibration rows are known by the index"):
        clf.calibrate(changed, Y[400:900], expert_predictions=SAID[400:900])
    clf.calibrate(changed.reset_index(drop=True), Y[400:900], expert_predictions=SAID[400:900])


FRAME = pd.DataFrame(X, columns=list("abcd")).assign(
    site=np.where(np.arange(1500) % 2, "n", "s"), reader=SAID
)


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X.assign(note=1),
        lambda X: X.astype({"a": "float32", "c": "float32"}),
        lambda X: X[X.columns[::-1]].sample(frac=1, random_state=0).reset_index(drop=True),
        lambda X: X.assign(reader=Y[:500][::-1]),
        lambda X: X.drop(columns="reader"),
        lambda X: X.to_numpy(),
        lambda X: X.convert_dtypes(),
    ],
)
def test_rows_that_taught_are_known_after_trivial_changes(change):
    model = make_pipeline(
        ColumnTransformer([("x", "passthrough", list("abcd"))]), LogisticRegression()
    )
    clf = controlled(
        DeferralClassifier(model, [ColumnExpert("reader")], cv=2), validation_fraction=None
    )
    clf.fit(FRAME[:500], Y_FIT)
    with pytest.raises(ValueError, match="500 of 500 calibration rows are known by the content"):
        clf.calibrate(change(FRAME[:500]), Y_FIT)
    assert clf.calibrate(FRAME[500:1000].assign(note=1), Y_CAL).certified_


@pytest.mark.parametrize("wrap", [sparse.csr_array, np.asarray, pd.DataFrame])
def test_numbers_are_compared_in_single_precision(wrap):
    known = TaughtRows(wrap(X_FIT), None)
    assert len(known.find(wrap(X_FIT.astype(np.float32)))[0]) == 500
    assert len(known.find(wrap(np.vstack([X_CAL, X_FIT[:1]])))[0]) == 1
    assert len(known.find(wrap(X_CAL))[0]) == 0


def test_a_column_alone_is_compared_as_it_is():
    """Of one number, single precision would make equals of rows that are not."""
    ids = np.arange(2**25, 2**25 + 400.0)[:, None]
    assert len(TaughtRows(ids[::2], None).find(ids[1::2])[0]) == 0
    assert len(TaughtRows(ids[::2], None).find(ids[:10])[0]) == 5


def test_rows_with_few_values_are_equal_by_chance():
    coarse = (X > 0).astype(float)
    clf = controlled(validation_fraction=None, target=0.4)
    clf.fit(coarse[:500], Y_FIT, expert_predictions=SAID[:500])
    clf.calibrate(coarse[500:1000], Y_CAL, expert_predictions=SAID[500:1000])
    assert clf.certified_


def test_a_row_that_came_twice_is_one():
    twice, y = np.vstack([X_FIT, X_FIT]), np.append(Y_FIT, Y_FIT)
    said = np.append(SAID[:500], SAID[:500])
    clf = controlled(target=0.3).fit(twice, y, expert_predictions=said)
    once = controlled(target=0.3).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    assert clf.n_calibration_ == once.n_calibration_
    assert clf.threshold_ == pytest.approx(once.threshold_, abs=0.05)
    with pytest.raises(ValueError, match="known by the content"):
        once.calibrate(twice, y, expert_predictions=said)


def test_few_contents_do_not_stand_for_all():
    coarse = (X[:1000, :3] > 0).astype(float)  # eight contents
    drawn = draw_rows(coarse, None, 0.2, "0")
    assert drawn.sum() == 200
    shares = [(coarse[rows].mean(axis=0)).round(2) for rows in (drawn, ~drawn)]
    np.testing.assert_allclose(*shares, atol=0.12)
    order = np.random.default_rng(0).permutation(1000)
    again = draw_rows(coarse[order], None, 0.2, "0")
    kinds = [np.sort(coarse[rows] @ [1, 2, 4]) for rows in (drawn, order[again])]
    np.testing.assert_array_equal(*kinds)
    assert (draw_rows(coarse, None, 0.2, "1") != drawn).any()


def test_the_order_of_rows_does_not_matter():
    order = np.random.default_rng(0).permutation(500)
    for risk, target in (("system_error", 0.3), ("expected_cost", 0.4)):
        one = controlled(risk=risk, target=target).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
        one.calibrate(X_CAL, Y_CAL, expert_predictions=SAID[500:1000])
        table = one.risk_table_
        one.calibrate(X_CAL[order], Y_CAL[order], expert_predictions=SAID[500:1000][order])
        pd.testing.assert_frame_equal(one.risk_table_, table)


# -- the estimator inside --------------------------------------------------------------------


def test_a_frozen_estimator_is_left_alone():
    fitted = inner().fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    before = fitted.predict_route(X_NEW)
    clf = controlled(FrozenEstimator(fitted), prefer="deferral_rate")
    clf.fit(X_CAL, Y_CAL, expert_predictions=SAID[500:1000])
    assert clf.estimator_.estimator_ is fitted.estimator_
    assert (clf.predict_route(X_NEW) != before).any()
    np.testing.assert_array_equal(fitted.predict_route(X_NEW), before)


def test_a_tuned_estimator_can_be_controlled():
    tuned = TunedDeferralClassifierCV(inner(cost=0.1), max_deferral_rate=0.5, cv=3)
    clf = controlled(tuned, target=0.3).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    assert clf.certified_
    assert clf.predict(X_NEW, expert_predictions=SAID[1000:]).shape == (500,)
    tuned.fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])
    before = tuned.predict_route(X_NEW)
    again = controlled(FrozenEstimator(tuned), prefer="deferral_rate")
    again.fit(X_CAL, Y_CAL, expert_predictions=SAID[500:1000])
    assert (again.predict_route(X_NEW) != before).any()
    np.testing.assert_array_equal(tuned.predict_route(X_NEW), before)


def test_policies():
    clf = calibrated(inner(policy=BudgetPolicy(0.3)), target=0.4)
    assert clf.predict_defer(X_NEW).mean() < 0.4
    with pytest.raises(ValueError, match="BudgetPolicy decides by the other rows of a batch"):
        calibrated(inner(policy=BudgetPolicy(0.3, scope="batch")))


def test_experts_are_asked_about_the_calibration_rows_once():
    expert = CountingExpert(X, Y)
    clf = controlled(inner(experts=[("nurse", expert)]), validation_fraction=None)
    clf.fit(X_FIT, Y_FIT)
    expert.batches.clear()
    clf.calibrate(X_CAL, Y_CAL)
    assert [len(batch) for batch in expert.batches] == [500]
    expert.batches.clear()
    clf.explain_defer(X_NEW)
    assert not expert.batches


@pytest.mark.parametrize("on_missing", ["raise", "model", "next"])
def test_missing_answers_count_as_predict_would_have_it(on_missing):
    said = np.column_stack([SAID, say(1)]).astype(object)
    said[np.random.default_rng(0).random(said.shape) < 0.2] = None
    clf = calibrated(inner(on_missing=on_missing), said=said, target=0.4)
    row = clf.risk_table_[clf.risk_table_["threshold"] == 0].iloc[0]
    served = CalibrationRows(clf.estimator_, clf._policy, X_CAL, Y_CAL, said[500:1000]).at(0.0)
    if on_missing != "raise":
        clf.estimator_._set_policy(clf._policy)
        labels = clf.predict(X_CAL, expert_predictions=said[500:1000])
        np.testing.assert_array_equal(served.wrong, labels != Y_CAL)
    else:
        best = clf.deferral_score(X_CAL).argmax(axis=1)
        lost = served.asked & (said[500:1000][np.arange(500), best] == None)  # noqa: E711
        assert lost.any()
        assert served.wrong[lost].all()
    assert 0 < row["value"] < 0.4


def test_other_prices_make_the_threshold_stale():
    clf = calibrated()
    clf.estimator_.set_params(cost=0.2)
    assert not clf.certified_
    with pytest.warns(StaleThresholdWarning, match="other prices"):
        clf.predict_route(X_NEW)
    clf.calibrate(X_CAL, Y_CAL, expert_predictions=SAID[500:1000])
    assert clf.certified_


def test_strangers_get_no_promise_until_they_are_calibrated():
    clf = calibrated(prefer="deferral_rate")
    profile = ExpertProfile(classes=clf.classes_).fit(say(5)[:200], Y[:200])
    with pytest.warns(RiskNotControlledWarning, match=r"Nothing is promised of \['dr. new'\]"):
        other = clf.with_experts([("dr. new", lambda X: ["cat"] * len(X))], profiles=[profile])
    assert (other.certified_, clf.certified_) == (False, True)
    assert other.predict_defer(X_NEW).all()
    other.calibrate(X_CAL, Y_CAL, expert_predictions=say(5)[500:1000])
    assert other.certified_
    assert not other.predict_defer(X_NEW).all()
    assert not clf.predict_defer(X_NEW).all(), "the original is as it was"


def test_the_same_experts_keep_the_promise():
    clf = calibrated()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = clf.with_experts([("expert_1", lambda X: ["cat"] * len(X))])
    assert other.certified_
    assert other.threshold_ == clf.threshold_


def test_explanations_are_true_below_zero():
    clf = calibrated(inner(cost=0.6), target=0.12)
    assert clf.threshold_ < 0
    shown = clf.explain_defer(X_NEW)
    handed = shown["route"] != "model"
    forced = handed & (shown["score_expert_1"] <= 0)
    assert forced.any()
    assert not shown.loc[forced, "reason"].str.contains("is below").any()
    assert shown.loc[forced, "reason"].str.startswith("Handed to expert_1").all()
    assert shown.loc[handed & ~forced, "reason"].str.contains("is below").all()


def test_search_pickle_and_clone():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(reader=SAID)
    clf = controlled(
        DeferralClassifier(
            LogisticRegression(), [ColumnExpert("reader")], rejector=ConfidenceRejector(), cv=2
        ),
        on_failure="warn",
    )
    search = GridSearchCV(clf, {"target": [0.25, 0.35], "estimator__cost": [0.0, 0.1]}, cv=2)
    search.fit(frame[:900], Y[:900])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.predict(frame[1000:]), best.predict(frame[1000:]))
    assert clone(best).get_params()["target"] == best.target


# -- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"target": 0}, "target of system_error is 0; expected"),
        ({"target": 1}, "target of system_error is 1; expected"),
        ({"target": np.nan}, "target of system_error is nan; expected"),
        ({"target": "low"}, "target of system_error is 'low'; expected"),
        ({"risk": "error"}, "risk is 'error'; expected one of"),
        ({"risk": []}, "risk has 0 entries"),
        ({"risk": ["kept_error", "system_error"]}, "risk has 2 entries and target 1"),
        ({"risk": ["kept_error"] * 2, "target": [0.1, 0.2]}, "expected each once"),
        ({"risk": "kept_error", "method": "crc"}, "Pass method='ltt'"),
        ({"risk": "expected_cost", "target": 1.5}, "target of expected_cost is 1.5"),
        ({"delta": 0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        controlled(**params).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])


def test_labels_that_nobody_knows():
    expert = CountingExpert(X, Y)
    clf = controlled(inner(experts=[("nurse", expert)]), validation_fraction=None)
    clf.fit(X_FIT, Y_FIT)
    expert.batches.clear()
    with pytest.raises(ValueError, match=r"y has the labels \['e'\] on .* of 500 .*'eel'"):
        clf.calibrate(X_CAL, np.where(Y_CAL == "eel", "e", Y_CAL))
    assert not expert.batches
    frozen = FrozenEstimator(inner().fit(X_FIT, Y_FIT, expert_predictions=SAID[:500]))
    with pytest.raises(ValueError, match=r"y has the labels \[0\] on 500 of 500"):
        controlled(frozen).fit(X_CAL, np.zeros(500, int), expert_predictions=SAID[500:1000])


def test_a_promise_is_not_made_twice():
    fitted = calibrated()
    for estimator in (
        controlled(),
        FrozenEstimator(fitted),
        TunedDeferralClassifierCV(controlled(), cv=2),
    ):
        with pytest.raises(TypeError, match="RiskControlled.*, which chooses a threshold itself"):
            controlled(estimator).fit(X_FIT, Y_FIT, expert_predictions=SAID[:500])


def test_bad_input():
    with pytest.raises(TypeError, match="expected a deferral estimator"):
        controlled(LogisticRegression()).fit(X_FIT, Y_FIT)
    with pytest.raises(ValueError, match="Every sample_weight is zero"):
        controlled().fit(X_FIT, Y_FIT, sample_weight=np.zeros(500))
    with pytest.raises(ValueError, match="with nobody to ask"):
        controlled(target=0.5, validation_fraction=None).fit(X_FIT, Y_FIT).calibrate(
            X_CAL, Y_CAL, expert_predictions=SAID[500:1000]
        )
