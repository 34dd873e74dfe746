"""Buyers that are interrupted or killed: what was committed stays, and nobody pays it twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from skdefer.calling import _purchase
from skdefer.calling._buying import buy
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore
from skdefer.calling._till import Call, Till

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals and fork")

KEY = ("gpt", "1", "prompt")
PARENT = r"""
import json, os, random, signal, sys, time

from skdefer.calling._breaker import CircuitBreaker
from skdefer.calling._buying import buy
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore
from skdefer.calling._till import Call
from skdefer.exceptions import BudgetExhaustedError

KEY = ("gpt", "1", "prompt")

def send(body, deadline):
    if random.random() < plan["faults"]:
        return Reply(random.choice([Outcome.SERVER_ERROR, Outcome.RATE_LIMITED]), price=0.0)
    time.sleep(plan["seconds"])
    os.write(log, b"%d\n" % body)
    return Reply(Outcome.OK, f"answer {body}", price=1.0)


def buyer(seed):
    random.seed(seed)
    breaker = CircuitBreaker(threshold=10**6)
    calls = [Call(b"%d" % i, i, 1.0) for i in range(plan["rows"])]
    try:
        buy(calls, send, key=KEY, store=AnswerStore(plan["path"]), n_workers=plan["workers"],
            max_retries=50, breaker=breaker, max_cost=plan.get("max_cost"), seed=seed)
    except BudgetExhaustedError:
        os._exit(7)
    except BaseException:
        os._exit(1)
    os._exit(0)


def start(seed):
    child = os.fork()
    if child == 0:
        buyer(seed)
    return child


random.seed(0)
for plan in json.loads(sys.argv[1]):
    log, looks = os.open(plan["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT), []
    for moment in range(plan["kills"] + 1):
        children = [start(100 * moment + i) for i in range(plan["processes"])]
        if moment < plan["kills"]:
            time.sleep(random.uniform(0.0, plan["until"]))
            for child in children:
                os.kill(child, signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        with open(plan["log"]) as file:
            done = file.read().split()
        frame = AnswerStore(plan["path"]).to_frame("gpt")
        looks.append({
            "codes": codes,
            "done": len(done),
            "kept": dict(zip(frame["row"], frame["answer"])),
            "at": dict(zip(frame["row"], frame["asked_at"].astype("int64").tolist())),
        })
    print(json.dumps(looks))
"""


def run(plans):
    """Run buyers in processes; a look at the store after each kill, and in the end."""
    out = subprocess.run(
        [sys.executable, "-c", PARENT, json.dumps(plans)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert out.stderr == ""
    return [json.loads(line) for line in out.stdout.splitlines()]


PLANS = {
    "shared": {"rows": 150, "processes": 4, "seconds": 0.004, "faults": 0.3, "kills": 0},
    "budget": {"rows": 90, "processes": 4, "seconds": 0.004, "kills": 0, "max_cost": 60.0},
    "killed": {"rows": 120, "seconds": 0.01, "faults": 0.3, "kills": 6, "until": 0.25},
}


def plan_in(folder, **plan):
    plan = {"processes": 2, "workers": 4, "faults": 0.0} | plan
    return plan | {"log": str(folder / "log"), "path": str(folder / "answers.sqlite")}


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """All plans in one process, since starting one takes longer than they do."""
    plans = [plan_in(tmp_path_factory.mktemp(name), **plan) for name, plan in PLANS.items()]
    return dict(zip(PLANS, zip(plans, run(plans), strict=True), strict=True))


def count_done(plan):
    """How often the service answered each row."""
    return Counter(Path(plan["log"]).read_text().split())


def check_kills(plan, looks):
    """Nothing committed is lost or paid again; what was paid again was in flight at a kill."""
    lost = 0
    for before, after in pairwise(looks):
        assert before["kept"].items() <= after["kept"].items()
        assert before["at"].items() <= after["at"].items()  # the very same reply
        now_lost = before["done"] - lost - len(before["kept"])
        assert 0 <= now_lost <= plan["processes"] * plan["workers"]
        lost += now_lost
    last = looks[-1]
    assert last["kept"] == {str(i): f"answer {i}" for i in range(plan["rows"])}
    assert set(last["codes"]) == {0}
    assert last["done"] - plan["rows"] == lost
    assert set(count_done(plan)) == set(last["kept"])
    spent = AnswerStore(plan["path"]).spent("gpt")
    assert spent.known == plan["rows"]
    assert spent.known + spent.uncertain >= last["done"]  # what a kill hid is not forgotten


def test_processes_buy_each_row_once(looks):
    plan, (look,) = looks["shared"]
    assert look["codes"] == [0] * 4
    assert count_done(plan) == {str(i): 1 for i in range(150)}
    assert AnswerStore(plan["path"]).spent("gpt") == (150.0, 0, 0.0)


def test_processes_share_one_budget(looks):
    _, (look,) = looks["budget"]
    assert look["codes"] == [7] * 4
    assert look["done"] == len(look["kept"]) == 60


def test_killed_buyers_lose_nothing(looks):
    check_kills(*looks["killed"])


@pytest.mark.slow
def test_killed_buyers_lose_nothing_in_the_long_run(tmp_path):
    plan = {"rows": 1500, "processes": 4, "workers": 8, "seconds": 0.02, "faults": 0.3}
    plan = plan_in(tmp_path, **plan, kills=25, until=0.4)
    check_kills(plan, *run([plan]))


# -- Ctrl-C ---------------------------------------------------------------------------------


def calls(n):
    return [Call(b"%d" % i, i, 1.0) for i in range(n)]


class Interrupting:
    """Sends Ctrl-C in the call about row 2, while that about row 1 is in flight as well."""

    def __init__(self, times=1, hangs=False):
        self.asked = []
        self.times = times
        self.hangs = hangs
        self.sent = threading.Event()
        self.end = threading.Event()

    def __call__(self, body, deadline):
        self.asked.append(body)
        if body == 1:
            assert self.sent.wait(30)
            if self.hangs:
                self.end.wait(30)
        if body == 2:
            for _ in range(self.times):
                time.sleep(0.05)  # until buy waits; a signal just before goes unseen for a second
                # To the thread that the terminal's would reach first.
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            self.sent.set()
        return Reply(Outcome.OK, f"answer {body}", price=1.0)


def test_ctrl_c_keeps_what_is_in_flight_and_asks_no_more():
    store, send = AnswerStore(), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        buy(calls(50), send, key=KEY, store=store, n_workers=2)
    assert sorted(send.asked) == [0, 1, 2]
    assert set(store.replies(KEY, [b"0", b"1", b"2", b"3"])) == {b"0", b"1", b"2"}
    assert store.spent("gpt") == (3.0, 0, 0.0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    send.times = 0
    got = buy(calls(50), send, key=KEY, store=store, n_workers=2)
    assert [reply.answer for reply in got] == [f"answer {i}" for i in range(50)]
    assert sorted(send.asked) == list(range(50))


def test_ctrl_c_waits_a_few_seconds_and_no_longer(monkeypatch):
    monkeypatch.setattr(_purchase, "_FAREWELL", 0.2)
    store, send = AnswerStore(), Interrupting(hangs=True)
    with pytest.raises(KeyboardInterrupt):
        buy(calls(50), send, key=KEY, store=store, n_workers=2)
    assert set(store.replies(KEY, [b"0", b"1", b"2"])) == {b"0", b"2"}
    assert store.spent("gpt") == (2.0, 0, 1.0)  # the call that hangs may cost
    send.end.set()


def test_a_second_ctrl_c_leaves_at_once():
    store, send = AnswerStore(), Interrupting(times=2, hangs=True)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        buy(calls(50), send, key=KEY, store=store, n_workers=2)
    assert time.monotonic() - start < _purchase._FAREWELL
    assert b"0" in store.replies(KEY, [b"0"])
    assert Till(store, KEY).balance().reserved == 0.0
    send.end.set()


def test_a_handler_of_the_users_own_stays():
    def handle(number, frame):
        raise KeyboardInterrupt("mine")

    store, send = AnswerStore(), Interrupting()
    signal.signal(signal.SIGINT, handle)
    try:
        with pytest.raises(KeyboardInterrupt, match="mine"):
            buy(calls(50), send, key=KEY, store=store, n_workers=2)
        assert signal.getsignal(signal.SIGINT) is handle
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert set(store.replies(KEY, [b"0", b"1", b"2", b"3"])) == {b"0", b"1", b"2"}


INTERRUPTED = """
import os, sys, time
from skdefer.calling._buying import buy
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore
from skdefer.calling._till import Call

def send(body, deadline):
    os.write(log, b"%d\\n" % body)  # whole lines, whichever thread writes
    time.sleep(0.05)
    return Reply(Outcome.OK, f"answer {body}", price=1.0)

log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
calls = [Call(b"%d" % i, i, 1.0) for i in range(2000)]
buy(calls, send, key=("gpt", "1", "prompt"), store=AnswerStore(sys.argv[1]), n_workers=4)
"""


def test_a_process_that_gets_ctrl_c_keeps_all_that_it_asked(tmp_path):
    path = tmp_path / "answers.sqlite"
    log = tmp_path / "log"
    log.touch()
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(path), str(log)], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while len(log.read_text().split()) < 10 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    asked = log.read_text().split()
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT
    assert len(asked) == len(set(asked)) < 2000
    frame = AnswerStore(path).to_frame()
    assert dict(zip(frame["row"], frame["answer"])) == {row: f"answer {row}" for row in asked}
    assert AnswerStore(path).spent("gpt") == (len(asked), 0, 0.0)
