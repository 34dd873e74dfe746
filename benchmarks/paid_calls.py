"""Calls that cost money: is anything lost or paid twice, is a budget held, and how fast is it?

Kills: 2,000 rows are bought over HTTP by four processes at a time, from a server of its own
process at which 30 % of the calls fail. The buyers are killed (SIGKILL) at 25 random moments and
started again. The server counts what it sent whole; the store says what was kept.
Throughput: rows per second against the ideal of calls that take 50 ms, 32 at a time, beside threads
that keep nothing.
Store: microseconds per row, one row and 1,000 rows per transaction, in stores of two sizes.
Budget: what four processes spend in truth of max_cost, where calls cost what was foreseen or less,
where one in ten comes to nothing and is charged all the same, and where they cost up to half more.

    OMP_NUM_THREADS=1 python benchmarks/paid_calls.py
    python benchmarks/paid_calls.py --parts store budget
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from pathlib import Path

import numpy as np
from common import table, write

sys.path.insert(0, str(Path(__file__).parents[1]))

from skdefer.calling._breaker import CircuitBreaker
from skdefer.calling._buying import buy
from skdefer.calling._failures import read_failure
from skdefer.calling._http import post_json
from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore
from skdefer.calling._till import Call
from skdefer.exceptions import BudgetExhaustedError, FailedCallsWarning
from tests.calling.fault_server import pick, start_process

KEY = ("service", "1", "is it so?")
OPTIONS = ["no", "yes"]
PRICE = 0.01
PROCESSES = 4


def row_text(i):
    return f"the case number {i}"


def make_calls(n, price=PRICE):
    return [Call(b"%016d" % i, i, price) for i in range(n)]


def over_http(url):
    """A ``send`` that asks the server about a row and reads one of two options."""
    schema = {"type": "object", "properties": {"answer": {"enum": OPTIONS}}}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    def send(i, deadline):
        messages = [{"role": "user", "content": row_text(i)}]
        body = {"model": "m", "messages": messages, "response_format": form}
        result = post_json(f"{url}/v1/chat/completions", body, key_variable=None, deadline=deadline)
        failure = read_failure(result)
        if failure is not None:
            return failure
        answer = json.loads(result.data["choices"][0]["message"]["content"])["answer"]
        return Reply(Outcome.OK, answer, price=PRICE, seconds=result.seconds)

    return send


def fork(work):
    """Run something in a process of its own, forked so that it starts at once."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BudgetExhaustedError:
            code = 2
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def join(children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


# -- kills ------------------------------------------------------------------------------


def kills(folder, n_rows, n_kills, until, workers=8):
    path, rng = folder / "kills.sqlite", random.Random(0)
    with start_process("--rate", "0.3", "--delay", "0.05", seconds=600) as url:

        def buyer():
            buy(
                make_calls(n_rows),
                over_http(url),
                key=KEY,
                store=AnswerStore(path),
                n_workers=workers,
                max_retries=50,
                breaker=CircuitBreaker(threshold=10**6),
            )

        known, in_flight, lost, n_open = {}, set(), 0, 0
        for moment in range(n_kills + 1):
            children = [fork(buyer) for _ in range(PROCESSES)]
            if moment < n_kills:
                time.sleep(rng.uniform(0.0, until))
                for child in children:
                    os.kill(child, signal.SIGKILL)
            codes = join(children)
            store = AnswerStore(path)
            frame = store.to_frame()
            now = dict(zip(frame["row"], zip(frame["answer"], frame["asked_at"])))
            lost += sum(now.get(row) != reply for row, reply in known.items())
            known = now
            if moment < n_kills:
                n_open += len(known) < n_rows
                with store.transaction(write=False) as connection:
                    in_flight |= set(connection.execute("SELECT owner, row FROM claims"))
            store.close()
        with urllib.request.urlopen(f"{url}/stats") as reply:
            stats = json.load(reply)
    store = AnswerStore(path)
    frame, spent = store.to_frame(), store.spent()
    right = sum(
        answer == pick(row_text(int(row)), OPTIONS)
        for row, answer in zip(frame["row"], frame["answer"])
    )
    store.close()
    completed = stats["completed"]
    return {
        "rows": n_rows,
        "kills": n_kills,
        "kills before the end": n_open,
        "answers in the store": len(frame),
        "of which right": right,
        "rows twice": int(frame["row"].duplicated().sum()),
        "lost": lost,
        "calls received": stats["received"],
        "calls completed": completed,
        "paid again": completed - n_rows,
        "in flight at the kills": len(in_flight),
        "known spend": round(spent.known, 6),
        "uncertain spend": round(spent.uncertain, 6),
        "charged by the server": round(completed * PRICE, 6),
        "last exit codes": codes,
    }


# -- throughput -------------------------------------------------------------------------


def throughput(folder, n_rows, repeats, workers=32, seconds=0.05):
    ideal = n_rows / workers * seconds

    def sleeping(i, deadline):
        time.sleep(seconds)
        return Reply(Outcome.OK, "yes", price=PRICE)

    rows = []
    with start_process("--delay", str(seconds), seconds=600) as url:
        for name, send in (("bare sleep", sleeping), ("over HTTP", over_http(url))):
            bought, bare = [], []
            for i in range(repeats):  # in turn, since other work on the machine comes and goes
                bare.append(seconds_of(lambda send=send: plain_threads(send, n_rows, workers)))
                store = AnswerStore(folder / f"throughput {name} {i}.sqlite")
                options = {"key": KEY, "store": store, "n_workers": workers}
                bought.append(
                    seconds_of(lambda send=send, o=options: buy(make_calls(n_rows), send, **o))
                )
                assert len(store.to_frame()) == n_rows
                store.close()
            shares = [sorted(ideal / wall for wall, _ in times) for times in (bought, bare)]
            rows.append(
                {
                    "send": name,
                    "rows": n_rows,
                    "share of the ideal, best": round(shares[0][-1], 3),
                    "median": round(float(np.median(shares[0])), 3),
                    "plain threads, best": round(shares[1][-1], 3),
                    "plain threads, median": round(float(np.median(shares[1])), 3),
                    "calls per second, best": round(n_rows / min(bought)[0]),
                    "processor ms per call": round(1e3 * min(c for _, c in bought) / n_rows, 2),
                    "repeats": repeats,
                }
            )
    return rows


def plain_threads(send, n_rows, workers):
    """The same calls by threads that keep nothing, count nothing and retry nothing."""

    def work(first):
        for i in range(first, n_rows, workers):
            send(i, 60.0)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def seconds_of(work):
    """Wall clock and processor time."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


# -- store ------------------------------------------------------------------------------


def store_speed(folder, sizes, n_timed=1000):
    reply = Reply(Outcome.OK, "yes", {"yes": 0.8, "no": 0.2}, "yes", 120, 3, PRICE, 0.5)
    rng = np.random.default_rng(0)
    rows = []
    for size in sizes:
        names = np.array([rng.bytes(16).hex() for _ in range(size + 2 * n_timed)], dtype="S32")
        old, single, batch = np.split(names, [size, size + n_timed])
        answers = np.full(n_timed, "yes", dtype=object)
        labels = np.full(size, "yes", dtype=object)
        path = folder / f"store {size}.sqlite"
        store = AnswerStore(path)
        store.keep(KEY, [(row, reply) for row in old.tolist()])
        store.put("desk|1", old, labels)
        asked = rng.choice(old, n_timed, replace=False) if size > n_timed else old[:n_timed]

        def keep(over, store=store):
            store.keep(KEY, [(row, reply) for row in over.tolist()])

        def put(over, store=store, answers=answers):
            store.put("desk|1", over, answers[: len(over)])

        def find(over, store=store):
            assert len(store.replies(KEY, over.tolist())) == len(over)

        def get(over, store=store):
            assert store.get("desk|1", over)[1].all()

        for name, write_rows, read in (("reply", keep, find), ("memory=", put, get)):
            rows.append(
                {
                    "rows in the store": size,
                    "kind": name,
                    "write, one each": per_row(write_rows, single, 1),
                    "write, 1,000 each": per_row(write_rows, batch, n_timed),
                    "read, one each": per_row(read, asked, 1),
                    "read, 1,000 each": per_row(read, asked, n_timed),
                }
            )
        rows[-1]["file, MB"] = rows[-2]["file, MB"] = round(path.stat().st_size / 1e6, 1)
        store.close()
    return rows


def per_row(work, rows, step):
    """Microseconds of wall clock."""
    start = time.perf_counter()
    for i in range(0, len(rows), step):
        work(rows[i : i + step])
    return round(1e6 * (time.perf_counter() - start) / len(rows), 1)


# -- budget -----------------------------------------------------------------------------


def budget(folder, n_rows=3000, max_cost=10.0, workers=4):
    """What is charged in truth, by a log of the service, against max_cost."""
    rows = []
    cases = {
        "as foreseen": (1.0, 1.0, 0.0),
        "less than foreseen": (0.3, 1.0, 0.0),
        "1 in 10 charged without an answer": (1.0, 1.0, 0.1),
        "up to half more than foreseen": (0.8, 1.5, 0.0),
    }
    for name, (low, high, silent) in cases.items():
        path = folder / f"budget {name}.sqlite"
        log = os.open(folder / f"{name}.log", os.O_RDWR | os.O_APPEND | os.O_CREAT)

        def send(i, deadline, low=low, high=high, silent=silent, log=log):
            rng = random.Random(i)
            price = PRICE * rng.uniform(low, high)
            comes_to_nothing = random.random() < silent
            time.sleep(0.005)
            os.write(log, f"{price!r}\n".encode())
            if comes_to_nothing:
                return Reply(Outcome.TIMEOUT)
            return Reply(Outcome.OK, "yes", price=price)

        def buyer(send=send, path=path):
            random.seed(os.getpid())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FailedCallsWarning)
                buy(
                    make_calls(n_rows),
                    send,
                    key=KEY,
                    store=AnswerStore(path),
                    n_workers=workers,
                    max_cost=max_cost,
                    breaker=CircuitBreaker(threshold=10**6),
                )

        codes = join([fork(buyer) for _ in range(PROCESSES)])
        charged = np.array((folder / f"{name}.log").read_text().split(), dtype=float)
        os.close(log)
        with AnswerStore(path).transaction(write=False) as connection:
            left = connection.execute("SELECT count(*) FROM claims").fetchone()[0]
        spent = AnswerStore(path).spent()
        in_flight = PROCESSES * workers
        rows.append(
            {
                "real price": name,
                "max_cost": max_cost,
                "charged in truth": round(float(charged.sum()), 4),
                "beyond max_cost": round(max(float(charged.sum()) - max_cost, 0.0), 4),
                "bound: excess of the calls in flight": round(
                    in_flight * PRICE * max(high - 1.0, 0.0), 4
                ),
                "known": round(spent.known, 4),
                "uncertain": round(spent.uncertain, 4),
                "calls": len(charged),
                "claims left": left,
                "all stopped by the budget": set(codes) == {2},
            }
        )
    return rows


PARTS = ("kills", "throughput", "store", "budget")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--until", type=float, default=0.4, help="longest time between two kills")
    parser.add_argument("--repeats", type=int, default=5, help="of the throughput")
    options = parser.parse_args()
    path = Path(__file__).parent / "results" / "paid_calls.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    found.pop("environment", None)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for part in options.parts:
            if part == "kills":
                rows = [kills(folder, options.rows, options.kills, options.until)]
                lines = [{"": name, "n": value} for name, value in rows[0].items()]
                print(table(lines, ["", "n"]))
            else:
                rows = {
                    "throughput": lambda: throughput(folder, 3200, options.repeats),
                    "store": lambda: store_speed(folder, [1000, 100_000]),
                    "budget": lambda: budget(folder),
                }[part]()
                print(table(rows, list(rows[0])))
            print()
            found[part] = rows
    write("paid_calls", **found)


if __name__ == "__main__":
    main()
