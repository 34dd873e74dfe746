"""Limited hours: is the assignment exact, how long does it take, and what is it worth?

First, made batches: time, memory (of a process of its own, its scores included) and the gap to the
bound by the dual prices, beside HiGHS and OR-tools where they finish. Then the real sets with
several readers: system accuracy against the hours of each, by the capacity policy (the best
assignment of a batch; prices as a rule for a stream), by greed (rows in order of their best score,
each to its best expert who has time) and first come, first served.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/assignment.py

OR-tools is compared if it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import table, write
from real_data import classifier, load, take
from scipy import sparse
from scipy.optimize import linprog
from sklearn.model_selection import GroupShuffleSplit

from skdefer import DeferralClassifier
from skdefer.exceptions import SkdeferWarning
from skdefer.policies import BasePolicy, CapacityPolicy, CostPolicy, assign, assignment_prices
from skdefer.rejectors import ConfidenceRejector

SIZES = [(1000, 10), (10_000, 20), (100_000, 50), (1_000_000, 50)]
KINDS = ["alike", "unlike", "heavy-tailed", "tied"]
LARGEST = {"highs": 200_000, "ortools flow": 200_000, "ortools matching": 10_000}  # scores
LIMIT_SECONDS = 120
CASES = [
    ("chexpert_readers", {"model": "jfaboy"}, None, None),
    ("sleep_scorers", {"model": "m_tsinalis"}, None, 6000),
    ("frugalml", {"task": "FERPLUS"}, None, 6000),
]
HOURS = [0.02, 0.05, 0.1, 0.2]  # rows per reader, of all rows


# -- made batches -----------------------------------------------------------------------


def make(n, J, kind):
    """Scores and capacities: half of the rows may be handed over."""
    rng = np.random.default_rng(0)
    if kind == "alike":
        return rng.normal(-0.2, 0.3, (n, J)), np.full(J, n // (2 * J))
    if kind == "tied":
        return rng.integers(-3, 8, (n, J)) / 10, np.full(J, n // (2 * J))
    score = rng.normal(size=(n, 1)) * 0.2 + rng.normal(0, 0.3, J)
    score = score + rng.normal(size=(n, J)) * rng.uniform(0.02, 0.4, J)
    if kind == "heavy-tailed":
        score = np.exp(4 * score) - 1
    share = rng.lognormal(0, 1.5, J)
    return score, np.floor(n / 2 * share / share.sum()).astype(int)


def by_highs(score, capacity):
    n, J = score.shape
    rows = sparse.kron(sparse.eye(n), np.ones((1, J)))
    columns = sparse.kron(np.ones((1, n)), sparse.eye(J))
    bound = np.concatenate([np.ones(n), capacity])
    return -linprog(-score.ravel(), sparse.vstack([rows, columns]), bound, method="highs").fun


SCALE = 1e9  # OR-tools takes whole numbers


def by_flow(score, capacity):
    from ortools.graph.python import min_cost_flow

    n, J = score.shape
    flow = min_cost_flow.SimpleMinCostFlow()
    row, expert = (index.ravel() for index in np.indices((n, J)))
    cost = -np.round(score * SCALE).astype(np.int64).ravel()
    model = np.zeros(n, dtype=np.int64)
    everyone = np.arange(n)
    flow.add_arcs_with_capacity_and_unit_cost(
        np.concatenate([row, everyone, n + np.arange(J)]),
        np.concatenate([n + expert, model + n + J, np.full(J, n + J)]),
        np.concatenate([np.ones(n * J + n, dtype=int), capacity]),
        np.concatenate([cost, model, np.zeros(J, dtype=int)]),
    )
    flow.set_nodes_supplies(np.arange(n + J + 1), np.r_[np.ones(n, int), np.zeros(J, int), -n])
    assert flow.solve() == flow.OPTIMAL
    return -flow.optimal_cost() / SCALE


def by_matching(score, capacity):
    """Linear assignment: an expert is as many columns as rows, the model one for each row."""
    from ortools.graph.python import linear_sum_assignment

    n = len(score)
    slots = np.repeat(np.arange(len(capacity)), capacity)
    cost = -np.round(score[:, slots] * SCALE).astype(np.int64)
    cost = np.hstack([cost, np.zeros((n, n), dtype=np.int64)])
    size = cost.shape[1]
    cost = np.vstack([cost, np.zeros((size - n, size), dtype=np.int64)])
    solver = linear_sum_assignment.SimpleLinearSumAssignment()
    left, right = (index.ravel() for index in np.indices((size, size)))
    solver.add_arcs_with_cost(left, right, cost.ravel())
    assert solver.solve() == solver.OPTIMAL
    return -solver.optimal_cost() / SCALE


def gained(score, route):
    rows = np.flatnonzero(route)
    return float(score[rows, route[rows] - 1].sum())


def bound(score, capacity):
    """No assignment gains more, whatever the prices."""
    price = assignment_prices(score, capacity)
    some = capacity > 0
    blocks = range(0, len(score), 1 << 14)
    free = sum(
        np.maximum(score[i : i + (1 << 14), some] - price[some], 0).max(axis=1).sum()
        for i in blocks
    )
    return float(free + price[some] @ capacity[some])


def one(method, n, J, kind):
    """Run one method in this process, and print what it took."""
    score, capacity = make(n, J, kind)
    result = {}
    start, cpu = time.perf_counter(), time.process_time()
    if method == "assign":
        route = assign(score, capacity)
    else:
        solvers = {"highs": by_highs, "ortools flow": by_flow, "ortools matching": by_matching}
        result["sum"] = solvers[method](score, capacity)
    result["seconds"] = time.perf_counter() - start
    result["cpu_seconds"] = time.process_time() - cpu
    result["gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if method == "assign":
        assert (np.bincount(route, minlength=J + 1)[1:] <= capacity).all()
        result["sum"] = gained(score, route)
        result["gap"] = 1 - result["sum"] / bound(score, capacity)
        assert result["gap"] > -1e-9
    print(json.dumps(result))


def measure(sizes):
    results = []
    for n, J in sizes:
        for kind in KINDS:
            for method in ["assign", *LARGEST]:
                if n * J > LARGEST.get(method, np.inf):
                    continue
                row = {"rows": n, "experts": J, "kind": kind, "method": method}
                command = [sys.executable, __file__, "--one", method, str(n), str(J), kind]
                try:
                    done = subprocess.run(
                        command, capture_output=True, text=True, timeout=LIMIT_SECONDS
                    )
                    if "ModuleNotFoundError" in done.stderr:
                        continue  # OR-tools is not installed
                    results.append({**row, **json.loads(done.stdout)})
                except subprocess.TimeoutExpired:
                    results.append({**row, "seconds": None})
                print(results[-1], flush=True)
    return results


def batch_rows(results):
    best = {
        (r["rows"], r["experts"], r["kind"]): r["sum"] for r in results if r["method"] == "assign"
    }
    rows = []
    for r in results:
        known = r["seconds"] is not None
        total = best[r["rows"], r["experts"], r["kind"]]
        rows.append(
            {
                "batch": f"{r['rows']:,} x {r['experts']}, {r['kind']}",
                "method": r["method"],
                "seconds": f"{r['seconds']:.2f}" if known else f"> {LIMIT_SECONDS}",
                "of them computing": f"{r['cpu_seconds']:.2f}" if known else "",
                "GB": f"{r['gb']:.2f}" if known else "",
                "gap to the dual bound": f"{r['gap']:.0e}" if "gap" in r else "",
                "sum, less that of assign": f"{r['sum'] - total:+.1e}" if known else "",
            }
        )
    return rows


# -- real sets --------------------------------------------------------------------------


class Recorder(BasePolicy):
    """Hands over nothing, and keeps the cross-fitted scores that policies learn from."""

    learns = True
    holds_capacity = True

    def _fit(self, *arguments):
        self.lesson_ = arguments

    def route(self, score, *, cost=None, X=None):
        return CostPolicy().route(score)


def one_by_one(score, capacity, order):
    """Rows in an order, each to its best expert who has time and gains."""
    route, left = np.zeros(len(score), dtype=int), np.full(score.shape[1], capacity)
    for i in order:
        net = np.where(left > 0, score[i], -np.inf)
        j = int(net.argmax())
        if net[j] > 0:
            route[i], left[j] = j + 1, left[j] - 1
    return route


def fitted(name, rejector, data, y, answers, groups, seed):
    clf = DeferralClassifier(
        classifier(name), rejector=rejector, policy=Recorder(), random_state=seed
    )
    return clf.fit(data, y, expert_predictions=answers, groups=groups)


def right(model, answers, route, y):
    said = model.astype(object)
    rows = np.flatnonzero(route)
    given = answers[rows, route[rows] - 1]
    there = np.array([a is not None and a == a for a in given], dtype=bool)
    said[rows[there]] = given[there]
    return float((said == y).mean())


def one_seed(case, seed):
    name, options, experts, n_max = case
    data, y, answers, groups = load(name, options, experts, n_max)
    split = GroupShuffleSplit(1, test_size=0.3, random_state=seed)
    train, test = next(split.split(data, y, groups))
    y_test, said = y[test], answers.iloc[test].to_numpy(dtype=object)
    clf, plain = (
        fitted(name, r, take(data, train), y[train], answers.iloc[train], groups[train], seed)
        for r in (None, ConfidenceRejector())
    )
    rows = take(data, test)
    model, score, simple = (
        clf.predict_model(rows),
        clf.deferral_score(rows),
        plain.deferral_score(rows),
    )
    n = len(score)
    result = {"model": right(model, said, np.zeros(n, int), y_test)}
    for j, reader in enumerate(answers.columns):
        result[f"{reader} on all rows"] = right(model, said, np.full(n, j + 1), y_test)
    result["default, no limit"] = right(model, said, CostPolicy().route(score), y_test)
    arrival = np.random.default_rng(seed).permutation(n)
    lesson = clf.policy_.lesson_[:4]  # scores, truth, the model's answers, the experts'
    for hours in HOURS:
        capacity = max(1, int(hours * n))
        stream = CapacityPolicy(capacity, scope="stream", batch_size=n).fit(*lesson)
        panel, _ = stream.take(score[arrival])
        by_price = np.zeros(n, dtype=int)
        by_price[arrival] = np.where(panel.any(axis=1), panel.argmax(axis=1) + 1, 0)
        routes = {
            "batch": assign(score, capacity),
            "stream": by_price,
            "greedy": one_by_one(score, capacity, np.argsort(-score.max(axis=1), kind="stable")),
            "first come": one_by_one(score, capacity, arrival),
            "confidence": assign(simple, capacity),
        }
        for method, route in routes.items():
            result[f"{method} {hours:g}"] = right(model, said, route, y_test)
            result[f"{method} {hours:g} handed"] = float((route > 0).mean())
            result[f"{method} {hours:g} sum"] = gained(score, route)
    return result


def study(case, seeds):
    runs = [one_seed(case, seed) for seed in seeds]
    values = {key: [run[key] for run in runs] for key in runs[0]}
    return {
        "set": case[0],
        "options": case[1],
        "mean": {key: float(np.mean(v)) for key, v in values.items()},
        "spread_over_seeds": {key: float(np.std(v, ddof=1)) for key, v in values.items()},
        "runs": runs,
    }


def study_rows(result):
    mean, spread = result["mean"], result["spread_over_seeds"]
    rows = []
    for hours in HOURS:
        row = {"set": result["set"], "rows per reader": f"{hours:.0%}"}
        for method in ("batch", "stream", "greedy", "first come", "confidence"):
            key = f"{method} {hours:g}"
            row[method] = f"{mean[key]:.4f} ± {spread[key]:.4f}"
        for rival in ("greedy", "first come", "confidence"):
            gaps = [run[f"batch {hours:g}"] - run[f"{rival} {hours:g}"] for run in result["runs"]]
            error = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
            row[f"batch - {rival}"] = f"{np.mean(gaps):+.4f} ± {error:.4f}"
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--largest", type=float, default=np.inf, help="rows of made batches")
    parser.add_argument("--part", choices=["batches", "readers"], help="one part alone, no results")
    parser.add_argument("--dry", action="store_true", help="write no results")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        method, n, J, kind = arguments.one
        one(method, int(n), int(J), kind)
        return
    batches, readers = [], []
    if arguments.part != "readers":
        batches = measure([size for size in SIZES if size[0] <= arguments.largest])
        rows = batch_rows(batches)
        print(table(rows, list(rows[0])))
    if arguments.part != "batches":
        for case in CASES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SkdeferWarning)
                warnings.filterwarnings("ignore", "The least populated class")
                readers.append(study(case, range(arguments.seeds)))
            rows = study_rows(readers[-1])
            print(table(rows, list(rows[0])), flush=True)
            alone = [k for k in readers[-1]["mean"] if "rows" in k or "limit" in k or k == "model"]
            print({key: round(readers[-1]["mean"][key], 4) for key in alone}, flush=True)
    if not arguments.dry and arguments.part is None:
        write("assignment", batches=batches, readers=readers)


if __name__ == "__main__":
    main()
