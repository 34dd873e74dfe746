"""DecisionLog: what a line holds, several writers, cut lines, logs that can't be written."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from skdefer import DeferralClassifier
from skdefer.exceptions import DecisionLogWarning, UnansweredError
from skdefer.experts import CallableExpert
from skdefer.monitoring import DecisionLog, read_decisions
from skdefer.policies import TopKPolicy
from tests.conftest import CountingExpert, make_data
from tests.discovery import deferral_estimators, make

X, Y = make_data(300)
X_NEW = X[200:]


def make_clf(**params):
    experts = [
        CallableExpert(CountingExpert(X, Y, wrong_on=["eel"]), name="nurse", version="7"),
        CallableExpert(CountingExpert(X, Y), name="doctor", cost=0.1),
    ]
    return DeferralClassifier(experts=experts, **params).fit(X[:200], Y[:200])


@pytest.fixture(scope="module")
def clf():
    return make_clf()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "decisions.jsonl"


def test_a_line_per_decision(clf, path):
    log = DecisionLog(path, version="spring")
    assert not path.exists()
    labels = log.predict(clf, X_NEW, row_id=[f"case {i}" for i in range(100)])
    expected, route, panel = clf.predict(X_NEW, return_route=True, return_panel=True)
    np.testing.assert_array_equal(labels, expected)
    shown, table = clf.explain_defer(X_NEW), log.read()
    assert table["row"].tolist() == [f"case {i}" for i in range(100)]
    assert table["answer"].tolist() == expected.tolist()
    assert table["answered_by"].tolist() == [[clf.routes_[r]] for r in route]
    for column in shown.columns:
        assert table[column].tolist() == shown[column].tolist(), column
    assert set(table["version"]) == {"spring"}
    assert set(table["estimator"]) == {"DeferralClassifier"}
    assert set(table["version_nurse"]) == {"7"}
    assert table["version_doctor"].isna().all()
    assert pd.to_datetime(table["time"]).dt.tz is not None
    again = log.predict(clf, X_NEW, return_route=True, return_panel=True)
    for one, other in zip(again, (expected, route, panel), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(log.read()) == 200


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skdefer.exceptions.UncalibratedScoreWarning")
@pytest.mark.parametrize("cls", deferral_estimators(), ids=lambda c: c.__name__)
def test_it_serves_every_estimator(cls, path):
    clf = make(cls, random_state=0).fit(X[:200], Y[:200], expert_predictions=Y[:200])
    log = DecisionLog(path)
    labels, route = log.predict(clf, X_NEW, expert_predictions=Y[200:], return_route=True)
    np.testing.assert_array_equal(labels, clf.predict(X_NEW, expert_predictions=Y[200:]))
    table = log.read()
    assert table["answered_by"].tolist() == [[clf.routes_[r]] for r in route]


def test_recording_asks_nobody(clf, path):
    counters = [expert.function for expert in clf.experts_]
    for counter in counters:
        counter.batches.clear()
    DecisionLog(path).record(clf, X_NEW)
    assert not any(counter.batches for counter in counters)
    table = read_decisions(path)
    assert len(table) == 100
    assert "answer" not in table


def test_everybody_on_a_panel_is_named(path):
    clf = make_clf(policy=TopKPolicy(k=2))
    _, panel = DecisionLog(path).predict(clf, X_NEW, return_panel=True)
    assert (panel.sum(axis=1) == 2).any()
    said = read_decisions(path)["answered_by"]
    assert [len(who) if who != ["model"] else 0 for who in said] == panel.sum(axis=1).tolist()


def test_rows_are_named_by_index_or_content(clf, path):
    log = DecisionLog(path)
    log.record(clf, X_NEW[:2])
    log.record(clf, X_NEW[1::-1])
    rows = log.read()["row"].tolist()
    assert rows[:2] == rows[:1:-1]
    assert rows[0] != rows[1]
    frame = pd.DataFrame(X, columns=list("abcd"), index=[f"id{i}" for i in range(300)])
    clf = DeferralClassifier(cost=0.1).fit(frame[:200], Y[:200])
    log.record(clf, frame[200:202])
    assert log.read()["row"].tolist()[-2:] == ["id200", "id201"]
    log.record(clf, frame[200:202].reset_index(drop=True))
    assert len(log.read()["row"].tolist()[-1]) == 32


def test_no_content_unless_asked(clf, path):
    frame = pd.DataFrame(X, columns=["age", "name", "c", "d"])
    clf = DeferralClassifier(cost=0.1).fit(frame[:200], Y[:200])
    DecisionLog(path).record(clf, frame[200:203])
    text = path.read_text()
    assert "content" not in read_decisions(path)
    for value in frame[200:203].to_numpy().ravel():
        assert repr(float(value)) not in text
    DecisionLog(path, content=["age"]).record(clf, frame[200:203])
    DecisionLog(path, content=True).record(clf, frame[200:203])
    content = read_decisions(path)["content"]
    assert content[:3].isna().all()
    assert content[3] == {"age": frame["age"][200]}
    assert content[6] == frame.iloc[200].to_dict()
    clf = DeferralClassifier(cost=0.1).fit(X[:200], Y[:200])
    DecisionLog(path, content=True).record(clf, X_NEW[:1])
    assert read_decisions(path)["content"][9] == X_NEW[0].tolist()


def test_content_that_rows_lack_is_an_error_before_the_decision(path):
    frame = pd.DataFrame(X, columns=["age", "name", "c", "d"])
    counter = CountingExpert(X, Y)
    expert = CallableExpert(lambda rows: counter(rows.to_numpy()), name="nurse")
    clf = DeferralClassifier(experts=[expert]).fit(frame[:200], Y[:200])
    DecisionLog(path, content="age").record(clf, frame[200:202])
    assert read_decisions(path)["content"].tolist() == [{"age": v} for v in frame["age"][200:202]]
    DecisionLog(path, content=[]).record(clf, frame[200:202])
    assert len(read_decisions(path)) == 4
    counter.batches.clear()
    log = DecisionLog(path, content=["age", "agee"])
    for call in (log.predict, log.record):
        with pytest.raises(ValueError, match=r"content has \['agee'\], but X has the columns"):
            call(clf, frame[200:])
    assert not counter.batches
    assert len(read_decisions(path)) == 4
    with pytest.raises(ValueError, match="content is 3; expected True, False, or names"):
        DecisionLog(path, content=3)


def test_columns_of_an_array_can_t_be_named(clf, path):
    with pytest.raises(ValueError, match=r"content has \['age'\], but X has no columns"):
        DecisionLog(path, content=["age"]).record(clf, X_NEW)


def test_what_can_t_decide_is_refused(path):
    log, unfitted = DecisionLog(path), DeferralClassifier()
    for call in (log.predict, log.record):
        with pytest.raises(TypeError, match="LogisticRegression; expected a deferral estimator"):
            call(LogisticRegression(), X_NEW)
        with pytest.raises(NotFittedError):
            call(unfitted, X_NEW)


def test_lines_are_strict_json(path):
    clf = make_clf(cost=[0.1, np.inf])  # the doctor is away
    DecisionLog(path).record(clf, X_NEW[:5], row_id=[1, 2.5, np.float32(3), np.str_("é\n"), None])
    lines = path.read_text(encoding="utf-8").splitlines()

    def refuse(constant):
        raise AssertionError(constant)

    records = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [record["row"] for record in records] == [1, 2.5, 3.0, "é\n", None]
    assert all(record["score_doctor"] is None for record in records)


@pytest.mark.parametrize("where", ["a folder", "no folder", "read-only"])
def test_a_log_that_can_t_be_written_stops_no_decision(clf, tmp_path, where):
    path = {"a folder": tmp_path, "no folder": tmp_path / "a" / "b"}.get(where, tmp_path / "log")
    if where == "read-only":
        if os.geteuid() == 0:
            pytest.skip("nothing is read-only to this user")
        path.touch(mode=0o400)
    with pytest.warns(DecisionLogWarning, match="100 rows stand, but could not be logged to"):
        labels = DecisionLog(path).predict(clf, X_NEW)
    np.testing.assert_array_equal(labels, clf.predict(X_NEW))


def test_a_full_disk_stops_no_decision(clf, path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skdefer.monitoring._log.os.write", full)
    with pytest.warns(DecisionLogWarning, match="OSError: .*No space left on device"):
        labels = DecisionLog(path).predict(clf, X_NEW)
    assert len(labels) == 100


def test_writes_cut_short_go_on(clf, path, monkeypatch):
    write = os.write
    monkeypatch.setattr("skdefer.monitoring._log.os.write", lambda fd, data: write(fd, data[:100]))
    DecisionLog(path).record(clf, X_NEW)
    assert len(read_decisions(path)) == 100


def test_a_cut_last_line_is_left_out_and_the_next_is_whole(clf, path):
    log = DecisionLog(path)
    log.record(clf, X_NEW[:3])
    path.write_bytes(path.read_bytes()[:-20])  # the process died while it wrote
    assert len(log.read()) == 2
    log.record(clf, X_NEW[3:5])
    with pytest.warns(DecisionLogWarning, match=r"1 lines of .* the first is line 3"):
        table = log.read()
    assert len(table) == 4
    path.write_bytes(b'{"row": "caf\xc3')  # half a character
    assert len(log.read()) == 0


def test_errors_of_predict_are_raised_and_nothing_is_logged(clf, path):
    silent = clf.with_experts([("nurse", lambda X: [None] * len(X))], profiles=clf.profiles_[:1])
    with pytest.raises(UnansweredError):
        DecisionLog(path).predict(silent, X_NEW)
    assert not path.exists()
    with pytest.raises(ValueError, match="row_id has 2 names, but X has 100 rows"):
        DecisionLog(path).predict(clf, X_NEW, row_id=["a", "b"])
    with pytest.raises(FileNotFoundError):
        read_decisions(path)


def test_several_processes_append_whole_lines(path):
    code = """
import sys
from skdefer.monitoring._log import _append, _line

for i in range(200):
    _append(sys.argv[1], [_line({"row": f"{sys.argv[2]}-{i}-{k}"}) for k in range(50)])
"""
    run = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in "ab"]
    assert [process.wait() for process in run] == [0, 0]
    rows = read_decisions(path)["row"]
    assert sorted(rows) == sorted(
        f"{w}-{i}-{k}" for w in "ab" for i in range(200) for k in range(50)
    )


def test_pickles(path):
    log = pickle.loads(pickle.dumps(DecisionLog(path, version="1")))
    assert (log.path, log.version, log.content) == (path, "1", False)
