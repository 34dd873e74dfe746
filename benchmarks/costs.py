"""What a sweep of 1,000 costs adds to one, and what a grid search takes for the same.

"One" is a whole fit of TunedDeferralClassifierCV with a single candidate: the out-of-fold pass (a
fit of the deferral estimator per fold) and the fit on all rows. "Sweep" is the same with 1,000.
Both, and the grid search, have the same folds, and are timed in turn, in one run: processor time
of one thread, the least of several repeats, since other work on the machine only ever adds to it.

    OMP_NUM_THREADS=1 python benchmarks/costs.py
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np
import pandas as pd
from common import table, write
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skdefer import DeferralClassifier, TunedDeferralClassifierCV
from skdefer.datasets import make_deferral_classification
from skdefer.experts import IndexExpert
from skdefer.metrics import system_cost_scorer
from skdefer.policies import TopKPolicy
from skdefer.rejectors import ProfileRejector

CV = 5


def seconds(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def case(n_rows, n_classes, n_experts):
    """Made rows with a frame index, and experts who look their answers up."""
    made = make_deferral_classification(
        n_rows,
        n_classes=n_classes,
        n_experts=n_experts,
        mean_accuracy=0.85,
        random_state=0,
    )
    X = pd.DataFrame(made.data).add_prefix("x")
    experts = [
        (name, IndexExpert(made.expert_predictions[name], cost=0.02))
        for name in made.expert_predictions
    ]
    return X, made.target, experts


def compare(n_rows, n_classes, n_experts, *, rejector, policy, objective, grid, searched, repeats):
    X, y, experts = case(n_rows, n_classes, n_experts)
    folds = StratifiedKFold(CV, shuffle=True, random_state=0)
    system = DeferralClassifier(
        LogisticRegression(max_iter=200),
        experts,
        rejector=rejector,
        policy=policy,
        cv=CV,
        random_state=0,
    )
    costs = np.linspace(0.0, 0.5, grid).tolist()

    def tuned(costs):
        return TunedDeferralClassifierCV(
            system, tune="cost", grid=costs, objective=objective, cv=folds
        ).fit(X, y)

    tuned(costs[:1])  # warm
    pairs, found = [], None
    for _ in range(repeats):
        one = seconds(lambda: tuned(costs[:1]))[0]
        sweep, found = seconds(lambda: tuned(costs))
        pairs.append((one, sweep))
    pairs = np.array(pairs)
    result = {
        "rows": n_rows,
        "classes": n_classes,
        "experts": n_experts,
        "rejector": "default" if rejector is None else type(rejector).__name__,
        "policy": "CostPolicy" if policy is None else type(policy).__name__,
        "objective": objective,
        "costs": grid,
        "one_seconds": float(pairs[:, 0].min()),
        "sweep_seconds": float(pairs[:, 1].min()),
        "ratio": float(pairs[:, 1].min() / pairs[:, 0].min()),
        "ratio_range": [float(v) for v in np.sort(pairs[:, 1] / pairs[:, 0])[[0, -1]]],
    }
    if searched:
        few = np.linspace(0.0, 0.5, searched).tolist()
        scoring = system_cost_scorer if objective == "cost" else objective
        for key, memory in (("search", None), ("search_with_memory", tempfile.mkdtemp())):
            search = GridSearchCV(
                system.set_params(memory=memory), {"cost": few}, scoring=scoring, cv=folds
            )
            result[f"{key}_seconds"], fitted = seconds(lambda s=search: s.fit(X, y))
        system.set_params(memory=None)
        again = tuned(few)
        result["searched_costs"] = searched
        result["same_optimum"] = bool(again.best_value_ == fitted.best_params_["cost"])
        result["largest_difference"] = float(
            np.abs(
                again.cv_results_["mean_test_score"] - fitted.cv_results_["mean_test_score"]
            ).max()
        )
    result["best_cost"] = float(found.best_value_)
    result["best_cost_by_fold"] = [float(cost) for cost in found.split_best_]
    print(result, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--costs", type=int, default=1000)
    parser.add_argument("--searched", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    plain = {"rejector": ProfileRejector(), "policy": None, "objective": "cost"}
    cases = [
        (1_000, 3, 3, plain, True),
        (1_000, 3, 3, plain | {"rejector": None}, False),
        (10_000, 3, 3, plain, True),
        (10_000, 3, 3, plain | {"objective": "f1_macro"}, True),
        (10_000, 10, 3, plain, False),
        (100_000, 3, 3, plain, False),
        (10_000, 3, 3, plain | {"policy": TopKPolicy(2)}, False),
    ]
    results = [
        compare(
            *size,
            **options,
            grid=arguments.costs,
            searched=arguments.searched if search else 0,
            repeats=arguments.repeats,
        )
        for *size, options, search in cases
    ]
    shown = [
        {
            "rows": f"{r['rows']:,}",
            "classes": r["classes"],
            "rejector, policy": f"{r['rejector']}, {r['policy']}",
            "objective": r["objective"],
            "one, s": f"{r['one_seconds']:.2f}",
            "1,000, s": f"{r['sweep_seconds']:.2f}",
            "ratio (of pairs)": "{:.3f} ({:.3f} to {:.3f})".format(r["ratio"], *r["ratio_range"]),
            "search over 20, s": f"{r['search_seconds']:.1f}" if "search_seconds" in r else "",
            "with memory, s": f"{r['search_with_memory_seconds']:.1f}"
            if "search_seconds" in r
            else "",
            "same optimum": {True: "yes", False: "no"}.get(r.get("same_optimum"), ""),
        }
        for r in results
    ]
    print(table(shown, list(shown[0])))
    write("costs", repeats=arguments.repeats, results=results)


if __name__ == "__main__":
    main()
