"""Promises about risks: how often they can be made, what they cost, and how near to the target.

Rows are drawn from a population whose true risk at every threshold is known. Beside it MAPIE's
nearest controller, BinaryClassificationController, on the same rows and thresholds, and the power
of the tests for losses between 0 and 1.

    pip install mapie && python benchmarks/guarantees.py
"""

from __future__ import annotations

import argparse
import time
import warnings
from types import SimpleNamespace

import numpy as np
from common import table, write

from skdefer.deferral._controlling import Control, find_threshold
from skdefer.deferral._risks import Risk, Served
from skdefer.guarantees import betting_p_value, hoeffding_bentkus_p_value

DELTA = 0.1
PILOT = 0.2
RISKS = {"system_error": 0.1, "kept_error": 0.08}


class Rows:
    """Rows with a score, and who is wrong."""

    def __init__(self, score, model_wrong, expert_wrong):
        self.score, self.model_wrong, self.expert_wrong = score, model_wrong, expert_wrong
        self.weighed = SimpleNamespace(score=score[:, None])

    @classmethod
    def make(cls, n, rng, noise=0.15, expert_error=0.04):
        hard = rng.beta(0.6, 2.2, n) * 0.6
        return cls(
            hard * (1 + noise * rng.normal(size=n)) - expert_error,
            rng.random(n) < hard,
            rng.random(n) < expert_error + 0.1 * hard,
        )

    def take(self, rows):
        return Rows(self.score[rows], self.model_wrong[rows], self.expert_wrong[rows])

    def at(self, threshold):
        asked = self.score > threshold
        wrong = np.where(asked, self.expert_wrong, self.model_wrong)
        return Served(wrong=wrong, labels=None, kept=~asked, asked=asked, cost=wrong)


def loss_of(name):
    if name == "kept_error":
        return lambda s: np.where(s.kept, s.wrong, np.nan)
    return lambda s: s.wrong.astype(float)


def ours(rows, name, target, grid, correction="fixed_sequence"):
    control = Control(
        [Risk(name, target, 1.0, True, loss_of(name))], DELTA, "ltt", correction, "deferral_rate"
    )
    pilot = np.arange(len(rows.score)) < PILOT * len(rows.score)
    return find_threshold(
        rows, control, pilot=pilot, thresholds=grid, clusters=None, strata=None
    ).threshold


def mapie_controllers():
    """MAPIE's controller by way of testing; None where it is not installed."""
    try:
        from mapie.risk_control import BinaryClassificationController, BinaryRisk
    except ImportError:
        print("MAPIE is not installed (pip install mapie): left out")
        return {}

    def risk_of(name):
        # Rows are (score, model wrong, expert wrong); what is predicted is whether a row is kept.
        def wrong(y, kept):
            return np.where(kept == 1, y[:, 0], y[:, 1]).astype(float)

        def counts(y, kept):
            return kept == 1 if name == "kept_error" else np.ones(len(kept), dtype=bool)

        return BinaryRisk(wrong, counts, higher_is_better=False)

    def decode(y):
        return np.column_stack([y // 2, y % 2])

    def run(rows, name, target, grid, fwer):
        inner = risk_of(name)
        # MAPIE takes a single column of y: both outcomes in one number.
        risk = BinaryRisk(
            lambda y, kept: inner._risk_occurrence(decode(y), kept),
            lambda y, kept: inner._risk_condition(decode(y), kept),
            higher_is_better=False,
        )
        controller = BinaryClassificationController(
            predict_function=lambda X, t: (X[:, 0] <= t).astype(int),
            risk=risk,
            target_level=target,
            confidence_level=1 - DELTA,
            list_predict_params=grid[:, None],
            fwer_method=fwer,
            best_predict_param_choice=risk,
        )
        X = rows.score[:, None]
        y = 2 * rows.model_wrong + rows.expert_wrong
        first = 0
        if fwer == "split_fixed_sequence":
            first = int(PILOT * len(y))
            controller.learn_fixed_sequence_order(X[:first], y[:first], binary=True)
        controller.calibrate(X[first:], y[first:])
        valid = controller.valid_predict_params
        return float(np.max(np.asarray(valid, dtype=float))) if len(valid) else None

    return {
        "MAPIE, Bonferroni-Holm (its default)": lambda *a: run(*a, "bonferroni_holm"),
        "MAPIE, split fixed sequence": lambda *a: run(*a, "split_fixed_sequence"),
    }


def power(repeats, mapie_repeats, sizes):
    rng = np.random.default_rng(0)
    population = Rows.make(400_000, rng)
    grid = np.quantile(population.score, np.linspace(0.01, 0.99, 99))
    methods = {
        "skdefer, fixed sequence": (ours, repeats),
        "skdefer, Holm": (lambda *a: ours(*a, correction="holm"), repeats),
        # Learning an order takes MAPIE a hundred times as long as the test itself.
        **{
            name: (run, mapie_repeats if "split" in name else repeats)
            for name, run in mapie_controllers().items()
        },
    }
    for risk, target in RISKS.items():
        true = {}

        def at(threshold, risk=risk, true=true):
            if threshold not in true:
                served = population.at(threshold)
                true[threshold] = np.nanmean(loss_of(risk)(served)), served.asked.mean()
            return true[threshold]

        keeps = [at(t) for t in grid if at(t)[0] <= target]
        best = min(share for _, share in keeps)
        for n in sizes:
            for name, (run, times) in methods.items():
                draws = np.random.default_rng(n)
                found, start = [], time.perf_counter()
                for _ in range(times):
                    rows = population.take(draws.integers(len(population.score), size=n))
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        found.append(run(rows, risk, target, grid))
                seconds = (time.perf_counter() - start) / times
                reached = np.array([at(t) for t in found if t is not None]).reshape(-1, 2)
                yield {
                    "risk": risk,
                    "target": target,
                    "rows": n,
                    "method": name,
                    "repeats": times,
                    "proven": len(reached) / times,
                    "exceeded": float((reached[:, 0] > target).sum() / times),
                    "true_risk": float(reached[:, 0].mean()) if len(reached) else None,
                    "deferral_rate": float(reached[:, 1].mean()) if len(reached) else None,
                    "least_deferral_rate": float(best),
                    "milliseconds": 1e3 * seconds,
                }


def tests(repeats):
    """Power of the tests for losses between 0 and 1, at a risk below its target."""
    rng = np.random.default_rng(0)

    def cost(shape):
        return ((rng.random(shape) < 0.09) + 0.2 * (rng.random(shape) < 0.15)) / 1.2

    def cluster(shape):
        return rng.binomial(8, rng.beta(0.6, 8, size=shape)) / 8

    def edge(shape):
        return (rng.random(shape) < 0.1).astype(float)

    for what, draw, target in [
        ("cost of a row, bound 1.2, risk .12, target .14", cost, 0.14 / 1.2),
        ("mean of 8 rows of a cluster, risk .07, target .11", cluster, 0.11),
        ("false claims: errors, risk = target = .1", edge, 0.1),
    ]:
        for n in (60, 160, 320, 1000):
            loss = draw((n, repeats))
            hoeffding = hoeffding_bentkus_p_value(loss.mean(axis=0), n, target) <= DELTA
            bets = betting_p_value(loss, target) <= DELTA
            yield {
                "losses": what,
                "rows": n,
                "hoeffding_bentkus": float(hoeffding.mean()),
                "betting": float(bets.mean()),
            }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--mapie-repeats", type=int, default=100)
    parser.add_argument("--rows", type=int, nargs="*", default=[100, 300, 1000])
    arguments = parser.parse_args()
    found = []
    for row in power(arguments.repeats, arguments.mapie_repeats, arguments.rows):
        found.append(row)
        print(row, flush=True)

    def show(value, digits=3):
        return "" if value is None else f"{value:.{digits}f}"

    shown = [
        {
            "risk, target": f"{r['risk']}, {r['target']}",
            "rows": r["rows"],
            "method": r["method"],
            "proven": show(r["proven"], 2),
            "above the target": show(r["exceeded"]),
            "true risk": show(r["true_risk"]),
            "handed over": show(r["deferral_rate"]),
            "least": show(r["least_deferral_rate"]),
            "ms": show(r["milliseconds"], 0),
        }
        for r in found
    ]
    print(table(shown, list(shown[0])))
    compared = list(tests(5 * arguments.repeats))
    shown = [
        {
            **row,
            "hoeffding_bentkus": show(row["hoeffding_bentkus"]),
            "betting": show(row["betting"]),
        }
        for row in compared
    ]
    print(table(shown, list(shown[0])))
    write("guarantees", power=found, tests=compared)


if __name__ == "__main__":
    main()
