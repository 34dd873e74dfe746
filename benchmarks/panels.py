"""Does it pay to ask several experts about a row, on real data with real experts?

The default rejector on the sets and classifiers of ``real_data.py`` that have several experts,
grouped five-fold cross-validation, two seeds; sets of more than 5,000 rows are thinned. Asking
costs nothing, so panels are as large as they get. Then accuracy, and how many experts a row asks on
average, by ``k`` and vote.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/panels.py
"""

from __future__ import annotations

import argparse
import tempfile
import warnings

import numpy as np
from common import clustered_error, table, write
from real_data import CASES, classifier, load, take
from sklearn.model_selection import GroupKFold

from skdefer import DeferralClassifier
from skdefer.exceptions import SkdeferWarning
from skdefer.policies import TopKPolicy

MOST_ROWS = 5_000
POLICIES = {
    "1": TopKPolicy(1),
    "3, majority": TopKPolicy(3),
    "3, weighted": TopKPolicy(3, vote="weighted"),
    "all, majority": TopKPolicy(99),
    "all, weighted": TopKPolicy(99, vote="weighted"),
}


def study(case, seeds):
    """Accuracy and experts asked of each policy, and paired differences to one expert a row."""
    name, options, experts, n_max = case
    data, y, answers, groups = load(name, options, experts, min(n_max or MOST_ROWS, MOST_ROWS))
    right = {p: np.zeros(len(y)) for p in ["model", *POLICIES]}
    asked = {p: np.zeros(len(y)) for p in POLICIES}
    for seed in seeds:
        folds = GroupKFold(5, shuffle=True, random_state=seed).split(data, y, groups)
        for train, test in folds:
            clf = DeferralClassifier(classifier(name), random_state=seed, on_missing="model")
            with tempfile.TemporaryDirectory() as memory:
                for p, policy in POLICIES.items():
                    clf.set_params(policy=policy, memory=memory).fit(
                        take(data, train),
                        y[train],
                        expert_predictions=answers.iloc[train],
                        groups=groups[train],
                    )
                    labels, panel = clf.predict(
                        take(data, test), expert_predictions=answers.iloc[test], return_panel=True
                    )
                    right[p][test] += (labels == y[test]) / len(seeds)
                    asked[p][test] += panel.sum(axis=1) / len(seeds)
            right["model"][test] += (clf.predict_model(take(data, test)) == y[test]) / len(seeds)
    return {
        "set": name,
        "options": options,
        "n_experts": answers.shape[1],
        "n_rows": len(y),
        "accuracy": {p: float(v.mean()) for p, v in right.items()},
        "asked": {p: float(v.mean()) for p, v in asked.items()},
        "error_of_difference": {
            p: clustered_error(right[p] - right["1"], groups) for p in POLICIES if p != "1"
        },
    }


def row(r):
    options = ", ".join(str(v) for v in r["options"].values())
    shown = {"set": f"{r['set']} ({options}; {r['n_experts']} experts)"}
    shown["model"] = f"{r['accuracy']['model']:.3f}"
    for p in POLICIES:
        error = r["error_of_difference"].get(p)
        difference = "" if error is None else f" ± {error:.3f}"
        shown[f"k = {p}"] = f"{r['accuracy'][p]:.3f}{difference} ({r['asked'][p]:.2f})"
    return shown


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    results = []
    for case in CASES:
        name, _, experts, _ = case
        if experts is None and name != "cifar10h_models":  # which has one expert
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SkdeferWarning)
                warnings.filterwarnings("ignore", "The least populated class")
                results.append(study(case, range(arguments.seeds)))
            print(" | ".join(row(results[-1]).values()), flush=True)
    rows = [row(r) for r in results]
    print(table(rows, list(rows[0])))
    if not arguments.dry:
        write("panels", results=results)


if __name__ == "__main__":
    main()
