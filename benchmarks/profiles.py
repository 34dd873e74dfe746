"""What profiles cost: adding an expert, and routing a million rows among fifty of them.

Time is the median of the repeats. Peak memory is what was allocated beyond the input while
the call ran, the result included.

    python benchmarks/profiles.py
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import table, write
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator

from skdefer import DeferralClassifier, ExpertProfile
from skdefer.policies import CostPolicy
from skdefer.rejectors import ProfileRejector

N_CLASSES = 10


class RowsAreProbabilities(ClassifierMixin, BaseEstimator):
    """The cheapest estimator there is: its probabilities are the rows."""

    def fit(self, X, y=None):
        self.classes_ = np.arange(X.shape[1])
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


def seconds(function, repeats):
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


def peak_megabytes(function):
    tracemalloc.start()
    result = function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del result
    return peak / 2**20


def context(n_rows, seed=0, labels=None):
    """Past answers of an expert who is right on eight rows of ten, with the truth."""
    rng = np.random.default_rng(seed)
    y = rng.integers(N_CLASSES, size=n_rows)
    said = np.where(rng.random(n_rows) < 0.8, y, rng.integers(N_CLASSES, size=n_rows))
    return (said, y) if labels is None else (labels[said], labels[y])


def system(n_experts, n_rows=2000, **parameters):
    """Fitted on the record of experts who differ by class."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.full(N_CLASSES, 0.35), size=n_rows)
    y = (rng.random((n_rows, 1)) > proba.cumsum(axis=1)).sum(axis=1).clip(max=N_CLASSES - 1)
    skill = rng.beta(4.0, 2.0, size=(n_experts, N_CLASSES))
    right = rng.random((n_rows, n_experts)) < skill[:, y].T
    answers = np.where(right, y[:, None], (y[:, None] + 1) % N_CLASSES)
    estimator = FrozenEstimator(RowsAreProbabilities().fit(proba))
    clf = DeferralClassifier(estimator, rejector=ProfileRejector(**parameters))
    return clf.fit(proba, y, expert_predictions=answers)


def adding(sizes, repeats):
    """An expert more: the profile alone, and served by a fitted system."""
    names = np.array([f"class {k}" for k in range(N_CLASSES)])
    plain, learned = system(10), system(10, prior="mixture")
    for n_rows in sizes:
        said, y = context(n_rows)
        named = context(n_rows, labels=names)
        tasks = {
            "ExpertProfile.fit, whole numbers": lambda said=said, y=y: ExpertProfile().fit(said, y),
            "ExpertProfile.fit, texts": lambda named=named: ExpertProfile().fit(*named),
            "ExpertProfile(decay=0.99).fit": lambda said=said, y=y: ExpertProfile(decay=0.99).fit(
                said, y
            ),
            "with_experts": lambda said=said, y=y: plain.with_experts(
                [("new", len)], profiles=[(said, y)]
            ),
            "with_experts, prior='mixture'": lambda said=said, y=y: learned.with_experts(
                [("new", len)], profiles=[(said, y)]
            ),
        }
        for task, function in tasks.items():
            spent = seconds(function, repeats)
            yield {
                "task": task,
                "context_rows": n_rows,
                "seconds": spent,
                "us_per_row": spent / n_rows * 1e6,
            }


def routing(n_rows, n_experts, repeats):
    """Losses and routes of many rows among many experts."""
    clf = system(n_experts)
    wary = system(n_experts, pessimism=1.0)
    rng = np.random.default_rng(1)
    proba = rng.gamma(0.35, size=(n_rows, N_CLASSES)) + 1e-12
    proba /= proba.sum(axis=1, keepdims=True)
    policy = CostPolicy()

    def losses_and_route():
        loss = clf.rejector_.expected_loss(proba)
        return policy.route(loss[:, :1] - loss[:, 1:])

    result = 8 * n_rows * (1 + n_experts) / 2**20
    tasks = {
        "expected_loss": (lambda: clf.rejector_.expected_loss(proba), result),
        "expected_loss, pessimism=1": (lambda: wary.rejector_.expected_loss(proba), result),
        "expected_loss and CostPolicy.route": (losses_and_route, 8 * n_rows / 2**20),
        "predict_route": (lambda: clf.predict_route(proba), 8 * n_rows / 2**20),
        "deferral_score": (lambda: clf.deferral_score(proba), 8 * n_rows * n_experts / 2**20),
    }
    for task, (function, result_megabytes) in tasks.items():
        spent = seconds(function, repeats)
        yield {
            "task": task,
            "rows": n_rows,
            "experts": n_experts,
            "classes": N_CLASSES,
            "seconds": spent,
            "us_per_row": spent / n_rows * 1e6,
            "peak_megabytes": peak_megabytes(function),
            "result_megabytes": result_megabytes,
            "input_megabytes": proba.nbytes / 2**20,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--experts", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    added = list(adding([120, 10_000], 4 * arguments.repeats))
    shown = [
        {
            "task": r["task"],
            "context rows": f"{r['context_rows']:,}",
            "milliseconds": f"{1e3 * r['seconds']:.2f}",
            "us per context row": f"{r['us_per_row']:.2f}",
        }
        for r in added
    ]
    print(table(shown, list(shown[0])))
    routed = []
    for result in routing(arguments.rows, arguments.experts, arguments.repeats):
        routed.append(result)
    shown = [
        {
            "task": r["task"],
            "seconds": f"{r['seconds']:.2f}",
            "us per row": f"{r['us_per_row']:.2f}",
            "peak MB": f"{r['peak_megabytes']:.0f}",
            "of it the result": f"{r['result_megabytes']:.0f}",
        }
        for r in routed
    ]
    print(table(shown, list(shown[0])))
    if not arguments.dry:
        write("profiles", adding=added, routing=routed)


if __name__ == "__main__":
    main()
