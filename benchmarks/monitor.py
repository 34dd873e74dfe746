"""Does a monitor that looks after every row keep its promise, and how fast does it see a change?

False alarms: streams of 10,000 rows without a change, judged after every row, against a reference
that was measured on 2,000 held-out rows. Delays: the error on kept rows leaves .10 for .15, .20
or .30 after 2,000 rows; rows until the alarm on that quantity, among all those that are watched.
Beside it, on one stream with a given reference: a confidence sequence from the first row, and
what people do without, a binomial test of all rows so far, once a day (100 rows). Delays there
are of the runs without an alarm before the change.

    python benchmarks/monitor.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import table, write
from scipy.stats import binomtest

from skdefer.guarantees import change_e_process, confidence_sequence
from skdefer.monitoring import DeferralMonitor

NAMES = ["nurse", "doctor"]
BEFORE = 2_000
DAY = 100
SIZES = (0.15, 0.20, 0.30)


def make_rows(n, rng, kept_error=0.1):
    """Rows of a system of two experts; .3 are handed over, .02 of those stay unanswered."""
    route = np.where(rng.random(n) < 0.3, rng.integers(1, 3, size=n), 0)
    y = rng.integers(2, size=n)
    answers = np.where(rng.random((n, 2)) < [0.8, 0.95], y[:, None], 1 - y[:, None]).astype(float)
    answers[rng.random(n) < 0.02] = np.nan
    y_pred = np.where(rng.random(n) < 1 - kept_error, y, 1 - y)
    said = answers[np.arange(n), np.maximum(route - 1, 0)]
    y_pred = np.where((route > 0) & ~np.isnan(said), said, y_pred).astype(int)
    score = rng.normal(size=(n, 2))
    return {
        "score": score,
        "panel": route,
        "y_pred": y_pred,
        "y": y,
        "expert_predictions": answers,
    }


def watch(rng, n, audit_rate, delta, kept_error=None):
    """Alarms of one run; with ``kept_error`` the change comes after ``BEFORE`` rows."""
    monitor = DeferralMonitor(delta=delta, audit_rate=audit_rate, random_state=0)
    monitor.fit(**make_rows(2_000, rng), names=NAMES)
    parts = [make_rows(BEFORE if kept_error else n, rng)]
    if kept_error:
        parts.append(make_rows(n - BEFORE, rng, kept_error))
    for rows in parts:
        audited = (rng.random(len(rows["y"])) < audit_rate) & (rows["panel"] == 0)
        monitor.update(**rows, audited=audited)
    return monitor.alarms_


def false_alarms(n_runs, delta):
    rows = []
    for audit_rate in (1.0, 0.1):
        rng = np.random.default_rng(0)
        runs = [watch(rng, 10_000, audit_rate, delta) for _ in range(n_runs)]
        n_alarms = sum(bool(alarms) for alarms in runs)
        interval = binomtest(n_alarms, n_runs).proportion_ci(0.95)
        rows.append(
            {
                "watched": "monitor, 11 quantities",
                "audit rate": audit_rate,
                "runs": n_runs,
                "delta": delta,
                "runs with a false alarm": f"{n_alarms / n_runs:.3f}",
                "95 % interval": f"{interval.low:.3f} to {interval.high:.3f}",
            }
        )
    return rows


def naive(values, rate):
    """Row of the first daily test of all rows so far with p < .05; -1: none."""
    days = np.arange(DAY, len(values) + 1, DAY)
    totals = np.cumsum(values)[days - 1]
    for day, total in zip(days, totals):
        if binomtest(int(total), int(day), rate).pvalue < 0.05:
            return int(day) - 1
    return -1


def first(flags):
    return int(np.argmax(flags)) if flags.any() else -1


def one_stream(n_runs, delta):
    """The parts on one stream of errors with the reference .1, on equal terms."""
    n = np.arange(1, 10_001)
    methods = {
        "bets that may begin at any row": lambda v: first(
            np.maximum(change_e_process(v, 0.1)[0], change_e_process(v, 0.1, greater=False)[0])
            >= np.log(2 / delta)
        ),
        "confidence sequence from the first row": lambda v: first(
            np.logical_or(*outside(confidence_sequence(np.cumsum(v), n, delta)))
        ),
        "binomial test once a day": lambda v: naive(v, 0.1),
    }
    rows = []
    for name, method in methods.items():
        rng = np.random.default_rng(1)
        false = [method(rng.random(10_000) < 0.1) >= 0 for _ in range(n_runs)]
        row = {"one stream": name, "runs with a false alarm": f"{np.mean(false):.2f}"}
        for size in SIZES:
            delays = []
            for _ in range(n_runs):
                values = np.r_[rng.random(BEFORE) < 0.1, rng.random(10_000 - BEFORE) < size]
                at = method(values.astype(float))
                if at < 0 or at >= BEFORE:
                    delays.append(at - BEFORE if at >= 0 else np.inf)
            row[f"median delay, .10 to {size:.2f}"] = f"{np.median(delays):.0f}"
        rows.append(row)
    return rows


def outside(bounds):
    lower, upper = bounds
    return lower > 0.1, upper < 0.1


def delays(n_runs, delta):
    rows = []
    for audit_rate in (1.0, 0.1):
        for size in SIZES:
            rng = np.random.default_rng(2)
            found, since, n = [], [], 12_000 if audit_rate == 1.0 else 30_000
            for _ in range(n_runs):
                alarms = watch(rng, n, audit_rate, delta, size)
                mine = [a for a in alarms if a.quantity == "kept_error" and a.row >= BEFORE]
                found.append(mine[0].row - BEFORE if mine else np.inf)
                since += [a.since - BEFORE for a in mine[:1]]
            low, middle, high = np.quantile(found, [0.1, 0.5, 0.9], method="nearest")
            rows.append(
                {
                    "error on kept rows": f".10 to {size:.2f}",
                    "audit rate": audit_rate,
                    "found": f"{np.isfinite(found).mean():.0%}",
                    "median delay, rows": f"{middle:.0f}",
                    "10 % to 90 %": f"{low:.0f} to {high:.0f}",
                    "rows checked till then": f"{middle * (0.3 + 0.7 * audit_rate):.0f}",
                    "onset, median error in rows": f"{np.median(since):+.0f}" if since else "",
                }
            )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    results = {
        "false_alarms": false_alarms(arguments.runs, arguments.delta),
        "one_stream": one_stream(max(arguments.runs // 2, 1), arguments.delta),
        "delays": delays(max(arguments.runs // 5, 1), arguments.delta),
    }
    for rows in results.values():
        print(table(rows, list(rows[0])), end="\n\n")
    rng = np.random.default_rng(0)
    monitor = DeferralMonitor().fit(**make_rows(2_000, rng), names=NAMES)
    rows = make_rows(100_000, rng)
    start = time.perf_counter()
    monitor.update(**rows)
    results["microseconds_per_row"] = 10 * (time.perf_counter() - start)
    print(f"{results['microseconds_per_row']:.0f} microseconds a row, 11 quantities")
    if not arguments.dry:
        write("monitor", **results)


if __name__ == "__main__":
    main()
