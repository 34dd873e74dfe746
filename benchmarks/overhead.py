"""What deferral adds to a classifier: time of fit and predict, curves at 10^7 rows, import.

Everything is measured side by side, in turn, in one run, and reported as a ratio of medians.

    python benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import tracemalloc

import numpy as np
from common import table, write
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from skdefer import DeferralClassifier
from skdefer.metrics import aursac_score, deferral_curve

CV = 5


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def side_by_side(one, other, repeats):
    """Medians of both, and the median of their ratios pair by pair."""
    pairs = np.array([(seconds(one), seconds(other)) for _ in range(repeats)])
    return {
        "seconds": float(np.median(pairs[:, 0])),
        "reference_seconds": float(np.median(pairs[:, 1])),
        "ratio": float(np.median(pairs[:, 0] / pairs[:, 1])),
        "ratio_range": [float(v) for v in np.percentile(pairs[:, 0] / pairs[:, 1], [0, 100])],
    }


def estimators(n_rows, n_features, repeats):
    X, y = make_classification(
        n_rows, n_features, n_informative=n_features // 2, flip_y=0.1, random_state=0
    )
    rng = np.random.default_rng(0)
    answers = np.where(rng.random(n_rows) < 0.85, y, 1 - y)
    folds = [np.flatnonzero(np.arange(n_rows) % CV != f) for f in range(CV)]
    for name, estimator in [
        ("gradient boosting", HistGradientBoostingClassifier(random_state=0)),
        ("logistic regression", LogisticRegression(max_iter=200)),
    ]:

        def fit(estimator=estimator):
            return DeferralClassifier(estimator, cv=CV).fit(X, y, expert_predictions=answers)

        def bare_fits(estimator=estimator):
            for rows in folds:
                clone(estimator).fit(X[rows], y[rows])
            clone(estimator).fit(X, y)

        fitted, bare = fit(), clone(estimator).fit(X, y)
        for task, one, other in [
            (f"fit, against {CV + 1} bare fits", fit, bare_fits),
            (
                "predict_defer, against bare predict_proba",
                lambda fitted=fitted: fitted.predict_defer(X),
                lambda bare=bare: bare.predict_proba(X),
            ),
        ]:
            result = side_by_side(one, other, repeats if "fit" in task else 5 * repeats)
            added = (result["seconds"] - result["reference_seconds"]) / n_rows * 1e6
            yield {"estimator": name, "task": task, **result, "added_us_per_row": added}


def fallback(n_rows, n_features, repeats):
    """The nearest job of scikit-fallback: reject by confidence at a threshold."""
    try:
        from skfb.estimators import RateFallbackClassifierCV
    except ImportError:
        print("scikit-fallback is not installed (pip install scikit-fallback==0.2.*): left out")
        return
    X, y = make_classification(n_rows, n_features, n_informative=n_features // 2, random_state=0)
    estimator = LogisticRegression(max_iter=200)

    def theirs():
        return RateFallbackClassifierCV(estimator, cv=CV, fallback_rate=0.1).fit(X, y)

    def ours():
        from skdefer.policies import BudgetPolicy

        return DeferralClassifier(estimator, policy=BudgetPolicy(0.1), cv=CV).fit(X, y)

    a, b = ours(), theirs()
    yield {
        "estimator": "logistic regression",
        "task": "fit, reject 10 %, against scikit-fallback",
        **side_by_side(ours, theirs, repeats),
        "added_us_per_row": float("nan"),
    }
    yield {
        "estimator": "logistic regression",
        "task": "predict, against scikit-fallback",
        **side_by_side(lambda: a.predict_defer(X), lambda: b.predict(X), 5 * repeats),
        "added_us_per_row": float("nan"),
    }


def curves(n_rows, repeats):
    rng = np.random.default_rng(0)
    score = rng.normal(size=n_rows)
    y = rng.integers(2, size=n_rows, dtype=np.int8)
    model = np.where(rng.random(n_rows) < 0.8, y, 1 - y).astype(np.int8)
    expert = np.where(rng.random(n_rows) < 0.9, y, 1 - y).astype(np.int8)
    for name, function in [("deferral_curve", deferral_curve), ("aursac_score", aursac_score)]:
        result = side_by_side(
            lambda function=function: function(y, model, expert, score),
            lambda: np.argsort(score),
            repeats,
        )
        tracemalloc.start()
        function(y, model, expert, score)
        peak = tracemalloc.get_traced_memory()[1]
        np.argsort(score)
        tracemalloc.stop()
        yield {
            "function": name,
            **result,
            "peak_megabytes": peak / 2**20,
            "input_megabytes": (score.nbytes + 3 * y.nbytes) / 2**20,
        }


def imports(repeats):
    """Fresh processes; scikit-learn as a user of classifiers imports it."""
    theirs = (
        "import sklearn.linear_model, sklearn.model_selection, sklearn.pipeline, sklearn.metrics, "
        "sklearn.frozen"
    )

    def run(code):
        subprocess.run([sys.executable, "-c", code], check=True)

    run("import skdefer")
    return side_by_side(lambda: run("import skdefer"), lambda: run(theirs), repeats)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--curve-rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    size = (arguments.rows, arguments.features, arguments.repeats)
    timed = []
    for result in [*estimators(*size), *fallback(*size)]:
        timed.append(result)
        print(result, flush=True)
    drawn = list(curves(arguments.curve_rows, arguments.repeats))
    imported = imports(5)
    shown = [
        {
            "estimator": r["estimator"],
            "task": r["task"],
            "seconds": f"{r['seconds']:.3f}",
            "reference": f"{r['reference_seconds']:.3f}",
            "ratio": f"{r['ratio']:.2f}",
            "added, us per row": f"{r['added_us_per_row']:.2f}",
        }
        for r in timed
    ]
    print(table(shown, list(shown[0])))
    shown = [
        {
            "function": r["function"],
            "seconds": f"{r['seconds']:.2f}",
            "numpy.argsort": f"{r['reference_seconds']:.2f}",
            "ratio": f"{r['ratio']:.2f}",
            "peak MB": f"{r['peak_megabytes']:.0f}",
            "input MB": f"{r['input_megabytes']:.0f}",
        }
        for r in drawn
    ]
    print(table(shown, list(shown[0])))
    print(f"import skdefer: {imported}")
    write("overhead", estimators=timed, curves=drawn, imports=imported)


if __name__ == "__main__":
    main()
