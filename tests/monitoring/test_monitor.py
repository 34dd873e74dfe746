"""DeferralMonitor: false alarms, what moved, since when; rows that nobody checked."""

import pickle

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdefer.exceptions import UncheckedRowsWarning
from skdefer.monitoring import Alarm, DeferralMonitor, observe
from tests.conftest import make_data
from tests.discovery import deferral_estimators, make
from tests.monitoring.rows import NAMES, make_rows, rows_of, started, state_of


def test_reference_is_what_was_measured():
    rows = make_rows(2000, np.random.default_rng(0))
    monitor = started()
    rate, low, high = monitor.reference_["deferral_rate"]
    assert rate == pytest.approx((rows["panel"] > 0).mean())
    assert low < rate < high
    nurse = rows_of(rows, rows["panel"] == 1)
    said = nurse["expert_predictions"][:, 0]
    known = np.array([a is not None for a in said])
    assert monitor.reference_["accuracy_nurse"][0] == pytest.approx(
        (said[known] == nurse["y"][known]).mean()
    )
    kept = rows["panel"] == 0
    assert monitor.reference_["kept_error"][0] == pytest.approx(
        (rows["y_pred"] != rows["y"])[kept].mean()
    )
    assert monitor.reference_["score_q50"][0] == pytest.approx(0.5, abs=0.001)
    assert len(monitor.reference_) == 4 + 2 + 5


def test_no_drift_no_alarm():
    rng, monitor = np.random.default_rng(1), started()
    for _ in range(20):
        assert monitor.update(**make_rows(200, rng)) == []
    report = monitor.report()
    assert (report["alarm"] == "").all()
    assert report.loc["system_error", "n"] == 4000
    inside = (report["lower"] <= report["reference"]) & (report["reference"] <= report["upper"])
    assert inside.all()


@pytest.mark.parametrize(
    ("drift", "moved", "direction"),
    [
        ({"kept_error": 0.3}, "kept_error", "rose"),
        ({"nurse": 0.4}, "accuracy_nurse", "fell"),
        ({"handed": 0.6}, "deferral_rate", "rose"),
        ({"shift": 1.5}, "score_q50", "fell"),
        ({"silent": 0.4}, "unanswered_rate", "rose"),
    ],
)
def test_an_alarm_says_what_moved_since_when_and_by_how_much(drift, moved, direction):
    rng, monitor = np.random.default_rng(1), started()
    monitor.update(**make_rows(1000, rng))
    assert monitor.alarms_ == []
    monitor.update(**make_rows(3000, rng, **drift))
    alarm = next(a for a in monitor.alarms_ if a.quantity == moved)
    assert alarm.direction == direction
    assert 900 <= alarm.since <= 1250
    assert alarm.since < alarm.row < 4000
    expected = {
        "kept_error": 0.3,
        "accuracy_nurse": 0.4,
        "deferral_rate": 0.6,
        "unanswered_rate": 0.4,
    }
    report = monitor.report()
    if moved in expected:
        assert alarm.estimate == pytest.approx(expected[moved], abs=0.25)
        assert report.loc[moved, "now"] == pytest.approx(expected[moved], abs=0.05)
    assert 900 <= report.loc[moved, "since"] <= 1100
    assert report["since"].isna().sum() == len(report) - len({a.quantity for a in monitor.alarms_})
    assert str(alarm) in report.loc[moved, "alarm"]
    consequences = {"kept_error": {"system_error"}, "accuracy_nurse": {"system_error"}}
    related = {moved} | consequences.get(moved, set())
    if moved == "score_q50":
        related = {f"score_q{q}" for q in (10, 25, 50, 75, 90)}
    if moved == "unanswered_rate":
        related |= {"system_error"}
    assert {a.quantity for a in monitor.alarms_} <= related


def test_only_the_first_alarm_of_a_kind_is_kept():
    rng, monitor = np.random.default_rng(1), started()
    for _ in range(10):
        monitor.update(**make_rows(500, rng, handed=0.6))
    assert [a.quantity for a in monitor.alarms_] == ["deferral_rate"]


@pytest.mark.parametrize("sizes", [[1] * 40 + [560], [250, 0, 350], [600]])
def test_portions_make_no_difference(sizes):
    rows = make_rows(600, np.random.default_rng(1), handed=0.6)
    monitor, whole = started(audit_rate=0.3), started(audit_rate=0.3)
    audited = whole.audit(np.arange(600)[:, None], rows["panel"])
    whole.update(**rows, audited=audited)
    for i, j in zip(np.cumsum([0, *sizes]), np.cumsum(sizes)):
        monitor.update(**rows_of(rows, slice(i, j)), audited=audited[i:j])
    assert state_of(monitor) == state_of(whole)
    assert whole.alarms_


def test_it_pickles_in_the_middle():
    rows = make_rows(800, np.random.default_rng(1), handed=0.5)
    monitor = started()
    monitor.update(**rows_of(rows, slice(400)))
    again = pickle.loads(pickle.dumps(monitor))
    assert state_of(again) == state_of(monitor)
    for m in (again, monitor):
        m.update(**rows_of(rows, slice(400, None)))
    assert state_of(again) == state_of(monitor)


def test_memory_is_constant():
    rng, monitor = np.random.default_rng(1), started()
    monitor.update(**make_rows(10, rng))
    before = len(pickle.dumps(monitor))
    monitor.update(**make_rows(30_000, rng))
    assert len(pickle.dumps(monitor)) < before + 2000  # an alarm or two, longer integers


def test_truth_may_come_later():
    rows = make_rows(500, np.random.default_rng(1))
    at_once, later = started(), started()
    at_once.update(**rows)
    later.update(**{k: rows[k] for k in ("score", "panel", "expert_predictions")})
    later.update(**{k: v for k, v in rows.items() if k != "score"})
    assert state_of(later) == state_of(at_once)


def test_audit_draws_kept_rows_by_content():
    X = np.random.default_rng(0).normal(size=(20_000, 2))
    route = np.arange(20_000) % 2
    monitor = started(audit_rate=0.1)
    audited = monitor.audit(X, route)
    assert audited.dtype == bool
    assert not audited[route == 1].any()
    assert audited[route == 0].mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 10_000))
    order = np.random.default_rng(1).permutation(20_000)[:500]
    np.testing.assert_array_equal(
        started(audit_rate=0.1).audit(X[order], route[order]), audited[order]
    )
    panel = np.column_stack([route == 1, np.zeros(20_000, dtype=bool)])
    np.testing.assert_array_equal(monitor.audit(X, panel), audited)
    assert (started(audit_rate=0.1, random_state=1).audit(X, route) != audited).any()
    by_name = monitor.audit(np.zeros((20_000, 1)), route, row_id=np.arange(20_000))
    assert 0 < by_name.sum() < 10_000
    assert monitor.audit(np.zeros((50, 1)), np.zeros(50, dtype=int)).sum() in (0, 50)


def test_a_share_of_checked_rows_gives_the_same_error_on_average():
    rng = np.random.default_rng(3)
    errors = []
    for seed in range(30):
        monitor = started(audit_rate=0.2, random_state=seed)
        rows = make_rows(600, rng)
        audited = monitor.audit(rng.normal(size=(600, 2)), rows["panel"])
        truth = (rows["y_pred"] != rows["y"]).mean()
        due = audited | (rows["panel"] > 0)
        rows["y"] = np.where(due, rows["y"].astype(object), None)
        monitor.update(**rows, audited=audited)
        errors.append(monitor.report().loc["system_error", "estimate"] - truth)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(30)
    assert np.std(errors) > 0


def test_truth_that_was_not_drawn_is_not_read():
    rows = make_rows(1000, np.random.default_rng(1))
    one, other = started(audit_rate=0.2), started(audit_rate=0.2)
    audited = one.audit(np.arange(1000)[:, None], rows["panel"])
    one.update(**rows, audited=audited)
    kept = (rows["panel"] == 0) & ~audited
    rows["y"] = np.where(kept, 1 - rows["y"], rows["y"])
    other.update(**rows, audited=audited)
    assert state_of(one) == state_of(other)


def test_missing_truth_is_left_out_and_said():
    rows = make_rows(100, np.random.default_rng(1))
    handed = np.flatnonzero(rows["panel"])
    rows["y"] = rows["y"].astype(object)
    rows["y"][handed[:4]] = None
    monitor = started()
    with pytest.warns(UncheckedRowsWarning, match="4 of 100 rows whose truth was due"):
        monitor.update(**rows)
    assert monitor.n_unchecked_ == 4
    assert monitor.report().loc["system_error", "n"] == 96
    with pytest.warns(UncheckedRowsWarning, match="4 of 100 rows"):
        monitor.fit(**rows, names=NAMES)


def test_given_rates_go_before_measured_ones():
    monitor = started(reference={"deferral_rate": 0.5})
    assert monitor.reference_["deferral_rate"] == (0.5, 0.5, 0.5)
    raised = monitor.update(**make_rows(1000, np.random.default_rng(1)))
    assert [(a.quantity, a.direction) for a in raised] == [("deferral_rate", "fell")]


def test_tolerance_widens_what_counts_as_unmoved():
    narrow, wide = (started(tolerance=t).reference_ for t in (0.0, 0.03))
    for name, (_, low, high) in narrow.items():
        assert wide[name][1] == pytest.approx(max(low - 0.03, 0))
        assert wide[name][2] == pytest.approx(min(high + 0.03, 1))


def test_fit_starts_afresh():
    monitor = started()
    monitor.update(**make_rows(2000, np.random.default_rng(1), handed=0.6))
    assert monitor.alarms_
    monitor.fit(**make_rows(2000, np.random.default_rng(0)), names=NAMES)
    assert state_of(monitor) == state_of(started())
    assert clone(monitor).get_params() == monitor.get_params()


def count_runs_with_alarm(n_runs, n_looks, delta, n_held_out):
    rng, n_alarms = np.random.default_rng(5), 0
    for _ in range(n_runs):
        monitor = DeferralMonitor(delta=delta, audit_rate=0.2, random_state=0)
        monitor.fit(**make_rows(n_held_out, rng), names=NAMES)
        rows = make_rows(n_looks, rng)
        # Alarms are judged after every row, whatever the portion.
        monitor.update(**rows, audited=(rng.random(n_looks) < 0.2) & (rows["panel"] == 0))
        n_alarms += bool(monitor.alarms_)
    return n_alarms


def test_false_alarms_are_rare():
    assert count_runs_with_alarm(30, 1000, 0.1, 300) <= binom.ppf(0.99, 30, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("n_held_out", [100, 2000])
def test_false_alarms_over_ten_thousand_looks(n_held_out):
    assert count_runs_with_alarm(200, 10_000, 0.1, n_held_out) <= binom.ppf(0.99, 200, 0.1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skdefer.exceptions.UncalibratedScoreWarning")
@pytest.mark.parametrize("cls", deferral_estimators(), ids=lambda c: c.__name__)
def test_it_watches_every_estimator(cls):
    X, y = make_data(360)
    record = np.column_stack([np.where(y == "eel", "cat", y), y])
    clf = make(cls, random_state=0).fit(X[:200], y[:200], expert_predictions=record[:200])
    held = observe(clf, X[200:300], y[200:300], expert_predictions=record[200:300])
    labels = clf.predict(X[200:300], expert_predictions=record[200:300])
    np.testing.assert_array_equal(held["y_pred"], labels)
    monitor = DeferralMonitor(random_state=0).fit(**held)
    assert monitor.names_ == clf.routes_[1:]
    new = observe(clf, X[300:], y[300:], expert_predictions=record[300:])
    monitor.update(**new)
    assert monitor.n_decided_ == monitor.n_checked_ == 60
    report = monitor.report()
    assert report.loc["deferral_rate", "estimate"] == pytest.approx(
        clf.predict_defer(X[300:]).mean()
    )
    assert report.loc["system_error", "estimate"] == pytest.approx(
        1 - clf.score(X[300:], y[300:], expert_predictions=record[300:])
    )


def test_experts_of_given_rates_are_named():
    reference = {"accuracy_doctor": 0.95}
    with pytest.raises(ValueError, match=r"experts are named there, fit\(names=\[...\]\)"):
        DeferralMonitor(reference=reference).fit()
    unnamed = DeferralMonitor(reference={"system_error": 0.1}).fit()
    with pytest.raises(ValueError, match=r"name its experts: fit\(names=\[...\]\)"):
        unnamed.update(**make_rows(10, np.random.default_rng(0)), names=NAMES)
    monitor = DeferralMonitor(reference=reference).fit(names=NAMES)
    monitor.update(**make_rows(1000, np.random.default_rng(0)), names=NAMES)
    assert monitor.report().loc["accuracy_doctor", "estimate"] == pytest.approx(0.95, abs=0.05)


def test_other_experts_are_not_mixed_in():
    monitor = started()
    with pytest.raises(ValueError, match=r"The experts are \['doctor', 'nurse'\], but this"):
        monitor.update(**make_rows(10, np.random.default_rng(0)), names=NAMES[::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"panel": np.zeros((10, 3), dtype=bool)}, r"panel has shape \(10, 3\)"),
        ({"panel": np.zeros(10)}, "panel has shape .* float64; expected routes"),
        ({"score": np.zeros((9, 2))}, r"score has shape \(9, 2\) or NaN"),
        ({"score": np.full((10, 2), np.nan)}, "or NaN; expected numbers"),
        ({"y": [0] * 9}, r"y is of shape \(9,\); expected \(10,\)"),
        ({"y_pred": None}, "y_pred is None; expected"),
        ({"y_pred": [None] * 10}, "y_pred is missing on rows whose truth is known"),
        ({"score": None, "y": None, "y_pred": None}, "Neither score nor y came"),
    ],
)
def test_bad_batches_are_refused_and_change_nothing(change, message):
    monitor = started()
    before = state_of(monitor)
    with pytest.raises(ValueError, match=message):
        monitor.update(**{**make_rows(10, np.random.default_rng(0)), **change})
    assert state_of(monitor) == before


def test_bad_audits_are_refused():
    monitor, rows = started(audit_rate=0.5), make_rows(10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="y came without audited"):
        monitor.update(**rows)
    with pytest.raises(ValueError, match=r"audited has shape \(10,\) and dtype int64"):
        monitor.update(**rows, audited=np.zeros(10, dtype=int))
    with pytest.raises(ValueError, match="X has 10 rows, panel 3; expected as many"):
        monitor.audit(np.zeros((10, 1)), [0, 1, 0])


@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize("size", [1, 200])
def test_flags_that_were_not_drawn_are_refused(flagged, size):
    monitor, rows = started(audit_rate=0.2), make_rows(200, np.random.default_rng(1))
    states = [state_of(monitor)]

    def feed():
        for i in range(0, 200, size):
            monitor.update(**rows_of(rows, slice(i, i + size)), audited=np.full(size, flagged))
            states.append(state_of(monitor))

    with pytest.raises(ValueError, match=r"kept rows so far, which can't be draws at audit_rate"):
        feed()
    assert state_of(monitor) == states[-1]
    audited = monitor.audit(np.arange(200)[:, None], rows["panel"])
    started(audit_rate=0.2).update(**rows, audited=audited | (rows["panel"] > 0))


def test_rates_in_reports_are_at_most_1():
    rows = make_rows(40, np.random.default_rng(1), handed=0.0, kept_error=1.0)
    monitor = started(audit_rate=0.1)
    audited = np.arange(40) % 10 == 0
    order = np.argsort(~audited, kind="stable")  # the four of them come first
    monitor.update(**rows_of(rows, order), audited=audited[order])
    one = started(audit_rate=0.1)
    raised = one.update(**rows_of(rows, order[:4]), audited=np.ones(4, dtype=bool))
    raised += one.update(**rows_of(rows, order[4:8]), audited=np.zeros(4, dtype=bool))
    for seen in (monitor, one):
        alarm = next(a for a in seen.alarms_ if a.quantity == "system_error")
        assert alarm.estimate == 1
        report = seen.report()
        assert report[["estimate", "now"]].max().max() <= 1
    assert one._watches["system_error"].total / one._watches["system_error"].n > 1


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"deferal_rate": 0.1}, "reference has 'deferal_rate': 0.1; expected rates"),
        ({"deferral_rate": 20}, r"'deferral_rate': 20; expected rates in \[0, 1\]"),
        ({"score_q50": 0.5}, "Scores are measured in fit"),
        ({}, "There is no reference"),
        (None, "There is no reference"),
    ],
)
def test_bad_references_are_refused(reference, message):
    with pytest.raises(ValueError, match=message):
        DeferralMonitor(reference=reference).fit(names=NAMES)


@pytest.mark.parametrize("params", [{"delta": 0}, {"delta": 1}, {"audit_rate": 0}])
def test_bad_parameters_are_refused(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        started(**params)


def test_before_fit():
    for call in (
        lambda m: m.update(panel=[0]),
        lambda m: m.audit([[0]], [0]),
        lambda m: m.report(),
    ):
        with pytest.raises(NotFittedError):
            call(DeferralMonitor())


def test_alarms_compare_and_read_well():
    alarm = Alarm("kept_error", "rose", 40, 20, 0.1, 0.3, "checked")
    assert alarm == Alarm("kept_error", "rose", 40, 20, 0.1, 0.3, "checked")
    assert "since row 20" in str(alarm)
