"""A service without a usable answer, one that says wait, a parent that died: buying ends early."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from skdefer.calling import _processes, _purchase
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._rate import RateLimiter
from skdefer.calling._store import AnswerStore
from skdefer.calling._trial import count_outcomes
from skdefer.exceptions import BudgetExhaustedError, ExpertStoppedError
from tests.calling.test_buying import KEY, FakeTime, Service, answers, calls, spend

ROWS = [str(i) for i in range(60)]


def useless(outcome, n=60, **more):
    """A service that never gives an answer."""
    return Service({row: [Reply(outcome, price=1.0, **more)] * n for row in ROWS})


REMEDIES = {
    Outcome.TRUNCATED: "larger max_tokens",
    Outcome.UNPARSABLE: "prompt that asks for one of the options",
    Outcome.OUT_OF_LABELS: "classes=",
    Outcome.REFUSED: "another prompt or another model",
}


@pytest.mark.parametrize("outcome", REMEDIES)
@pytest.mark.parametrize("n_workers", [1, 8, 50])
def test_a_service_without_one_answer_is_paid_for_20(outcome, n_workers):
    store, service = AnswerStore(), useless(outcome, text="it wrote\nthis")
    with pytest.raises(ExpertStoppedError) as error:
        spend(service, calls(*ROWS), store, n_workers=n_workers)
    assert sorted(service.asked, key=int) == ROWS[:20]
    assert store.spent("gpt").known == 20.0
    said = str(error.value)
    assert f"none of its first 20 replies is an answer: 20 {outcome} (such as 'it wrote" in said
    assert REMEDIES[outcome] in said
    assert f"expert.store.forget('gpt', ['{outcome}'])" in said
    assert "20 of 60 rows have a reply" in said
    assert error.value.partial.tolist() == [None] * 60
    # Once more it is tried with others.
    with pytest.raises(ExpertStoppedError):
        spend(service, calls(*ROWS), store)
    assert sorted(service.asked, key=int) == ROWS[:40]
    assert store.forget("gpt", str(outcome)) == 40


def test_one_answer_among_the_first_lets_all_go():
    service = useless(Outcome.REFUSED)
    del service.script["19"]
    got = spend(service, calls(*ROWS), n_workers=3)
    assert Counter(reply.outcome for reply in got) == {"refused": 59, "ok": 1}


def test_nothing_is_held_back_where_an_answer_is_known_or_rows_are_few():
    for known in (True, False):
        store, service = AnswerStore(), useless(Outcome.REFUSED)
        if known:
            store.keep(KEY, [(b"other", Reply(Outcome.OK, "A"))])
        rows = ROWS if known else ROWS[:20]
        assert len(spend(service, calls(*rows), store)) == len(rows)
        assert len(service.asked) == len(rows)
    # An answer to another question tells nothing of this one.
    store.keep((*KEY[:2], "another"), [(b"other", Reply(Outcome.OK, "A"))])
    with pytest.raises(ExpertStoppedError):
        spend(useless(Outcome.REFUSED), calls(*ROWS), store)


def test_no_worker_waits_for_the_others_once_there_is_an_answer():
    """Row 1 ends only when more than 20 rows were asked."""
    many = threading.Event()
    asked = []

    def send(body, deadline):
        asked.append(body)
        if len(asked) > 25:
            many.set()
        if body == "1":
            assert many.wait(30)
        return Reply(Outcome.OK, body)

    assert answers(spend(send, calls(*ROWS), n_workers=2)) == ROWS


def test_failures_of_the_first_rows_are_told_too():
    script = {row: [Reply(Outcome.RATE_LIMITED, text="HTTP 429: no.")] for row in ROWS}
    with pytest.raises(ExpertStoppedError, match=r"20 rate_limited \(such as 'HTTP 429: no") as e:
        spend(Service(script), calls(*ROWS), max_retries=0)
    assert "forget" not in str(e.value)


def test_outcomes_are_counted():
    store = AnswerStore()
    replies = [Reply(Outcome.REFUSED), Reply(Outcome.TRUNCATED), Reply(Outcome.REFUSED)]
    store.keep(KEY, [(b"%d" % i, reply) for i, reply in enumerate(replies)])
    assert count_outcomes(store, "gpt", "1") == {"refused": 2, "truncated": 1}
    assert count_outcomes(store, "gpt", "2") == {}


# -- what a stop says -------------------------------------------------------------------------


def test_a_budget_that_ends_says_how_much_of_what():
    store = AnswerStore()
    store.charge("gpt", uncertain=0.5)
    with pytest.raises(BudgetExhaustedError) as error:
        spend(
            Service(price=1.0), calls("a", "b", "c"), store, max_cost=3.0, n_workers=1, n_known=21
        )
    said = str(error.value)
    assert "2 and perhaps 0.5 more is spent, 0.5 is left, and the next call may cost 1 at" in said
    assert "23 of 24 rows have a reply" in said
    assert said.endswith("Raise max_cost to go on from there.")


def test_no_two_full_stops():
    service = Service({"a": [Reply(Outcome.AUTH, text="HTTP 401: Incorrect key.")]})
    with pytest.raises(ExpertStoppedError) as error:
        spend(service, calls("a"))
    assert "Incorrect key. Check the key" in str(error.value)


def test_a_service_that_wants_an_hour_is_not_waited_for():
    store, fake = AnswerStore(), FakeTime()
    limiter = RateLimiter(clock=fake.clock)
    slow = Reply(Outcome.RATE_LIMITED, text="HTTP 429: later", retry_after=3600.0)
    service = Service({"b": [slow]}, time=fake)
    with pytest.raises(ExpertStoppedError) as error:
        spend(service, calls("a", "b", "c"), store, n_workers=1, rate_limiter=limiter)
    assert "HTTP 429: later. The service asks to wait 3600 s." in str(error.value)
    assert str(error.value).endswith("Run it again then to go on from there.")
    assert fake.slept == []
    assert error.value.partial.tolist() == ["A", None, None]
    assert answers(spend(service, calls("a", "b", "c"), store, rate_limiter=limiter)) == [*"ABC"]


def test_a_long_wait_is_told_with_its_reason(capsys):
    wait = Reply(Outcome.RATE_LIMITED, text="HTTP 429: slow down", retry_after=60.0)
    spend(Service({"a": [wait], "b": [wait]}), calls("a", "b", "c"), n_workers=2, verbose=1)
    said = capsys.readouterr().err
    assert "waits 60 s (rate_limited: HTTP 429: slow down)" in said
    assert said.count("waits") == 1
    brief = Reply(Outcome.RATE_LIMITED, retry_after=5.0)
    spend(Service({"a": [brief]}), calls("a", "b"), n_workers=2, verbose=1)
    assert "waits" not in capsys.readouterr().err


# -- the process that started it is gone ----------------------------------------------------------


def test_a_main_process_is_no_orphan(monkeypatch):
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert not _processes.is_orphan()


@pytest.mark.parametrize("parent_is", ["here", "behind a fork server", "gone", "gone, with init"])
def test_whether_a_worker_is_an_orphan(parent_is, monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    pid = gone.pid if parent_is.startswith("gone") else os.getpid()
    above = {"here": pid, "gone, with init": 1}.get(parent_is, os.getppid())
    monkeypatch.setattr(_processes, "parent_process", lambda: SimpleNamespace(pid=pid))
    monkeypatch.setattr(os, "getppid", lambda: above)
    assert _processes.is_orphan() == parent_is.startswith("gone")


def test_an_orphan_asks_nothing(monkeypatch):
    service = Service()
    monkeypatch.setattr(_purchase, "is_orphan", lambda: True)
    with pytest.raises(ExpertStoppedError, match="process that started it is gone"):
        spend(service, calls("a"))
    assert service.asked == []


WORKERS = """
import os, sys, time
from skdefer.calling._buying import buy
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore
from skdefer.calling._till import Call

def send(body, deadline):
    with open(sys.argv[2], "a") as log:
        log.write(f"{body}\\n")
    time.sleep(0.02)
    return Reply(Outcome.OK, f"answer {body}", price=1.0)

def work(i, path, log):
    sys.argv = ["", path, log]
    calls = [Call(b"%d" % j, j, 1.0) for j in range(3000 * i, 3000 * (i + 1))]
    buy(calls, send, key=("gpt", "1", ""), store=AnswerStore(path), n_workers=2)

if __name__ == "__main__":
    if sys.argv[3] == "loky":
        from joblib import Parallel, delayed
        Parallel(n_jobs=2)(delayed(work)(i, *sys.argv[1:3]) for i in range(2))
    else:
        import multiprocessing
        fork = multiprocessing.get_context("fork")
        for i in range(2):
            fork.Process(target=work, args=(i, *sys.argv[1:3])).start()
        time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
@pytest.mark.parametrize("how", ["fork", pytest.param("loky", marks=pytest.mark.slow)])
def test_workers_whose_parent_was_killed_end(how, tmp_path):
    path, log, script = tmp_path / "a.sqlite", tmp_path / "log", tmp_path / "script.py"
    log.touch()
    script.write_text(WORKERS)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(path), str(log), how], stderr=subprocess.DEVNULL
    )

    def n_asked():
        return len(log.read_text().split())

    until = time.monotonic() + 60
    while n_asked() < 20 and time.monotonic() < until:
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait(60)
    before = -1
    while n_asked() != before and time.monotonic() < until:  # until nothing more is asked
        before = n_asked()
        time.sleep(0.6)
    assert 20 <= before < 3000
    assert n_asked() == before
    kept = AnswerStore(path).to_frame()["row"].tolist()
    assert sorted(map(int, kept)) == sorted(map(int, log.read_text().split()))  # drained and kept
