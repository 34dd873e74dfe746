"""What does it cost that women and men are handed over, or answered wrongly, equally often?

People of the Adult census set, a logistic regression, and experts some of whom are biased against
women (SIMULATED). Each seed draws 8,000 people to fit on and 12,000 to test on; every policy stands
on the same model and the same rejector. Gaps are between women and men on the test rows.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/fairness.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import table, write
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skdefer import DeferralClassifier
from skdefer.datasets import load_openl2d_adult
from skdefer.exceptions import FairnessWarning
from skdefer.policies import BudgetPolicy, CostPolicy, FairPolicy

CASES = {
    "one biased expert": ["biased_vs_females_0"],
    "a biased and a standard one": ["biased_vs_females_0", "standard_0"],
}
COST = 0.03
TOLERANCE = 0.01
N_FIT, N_TEST = 8_000, 12_000


def classifier():
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
        (StandardScaler(), make_column_selector(dtype_include="number")),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500))


def policies():
    fair = {"tolerance": TOLERANCE, "groups": "sex"}
    return {
        "cost alone": CostPolicy(),
        "equal deferral rate": FairPolicy("deferral_rate", **fair),
        "equal system error": FairPolicy("system_error", **fair),
    }


def measure(y, answer, route, women):
    wrong, handed = answer != y, route > 0
    return {
        "accuracy": 1 - wrong.mean(),
        "cost": wrong.mean() + COST * handed.mean(),
        "handed over": handed.mean(),
        "women handed over": handed[women].mean(),
        "men handed over": handed[~women].mean(),
        "error of women": wrong[women].mean(),
        "error of men": wrong[~women].mean(),
    }


def one_seed(people, experts, seed, memory):
    order = np.random.default_rng(seed).permutation(len(people.target))
    fit, test = order[:N_FIT], order[N_FIT : N_FIT + N_TEST]
    X, y, record = people.data, people.target, people.expert_predictions[experts]
    women = (X["sex"] == "Female").to_numpy()[test]
    said = record.to_numpy()[test]
    found, promised = {}, {}

    def add(name, policy):
        clf = DeferralClassifier(
            classifier(), policy=policy, cost=COST, cv=5, memory=memory, random_state=seed
        ).fit(X.iloc[fit], y[fit], expert_predictions=record.iloc[fit])
        route = clf.predict_route(X.iloc[test])
        answers = np.column_stack([clf.predict_model(X.iloc[test]), said])
        answer = answers[np.arange(len(test)), route]
        found[name] = measure(y[test], answer, route, women)
        if isinstance(policy, FairPolicy):
            p = clf.policy_
            promised[name] = {
                "gap": p.gap_,
                "gap before": p.gap_before_,
                "price": p.accuracy_price_,
            }
        return clf

    for name, policy in policies().items():
        clf = add(name, policy)
    for name in ("equal deferral rate", "equal system error"):
        budget = min(found[name]["handed over"], 1.0)
        add(f"budget of {name}", BudgetPolicy(budget))
    nobody = np.zeros(len(test), dtype=int)
    found["model alone"] = measure(y[test], clf.predict_model(X.iloc[test]), nobody, women)
    for j, name in enumerate(experts):
        found[f"{name} alone"] = measure(y[test], said[:, j], nobody + 1, women)
    return found, promised


def summary(runs):
    rows = []
    for name in runs[0][0]:
        values = {k: np.array([found[name][k] for found, _ in runs]) for k in runs[0][0][name]}
        plain = np.array([found["cost alone"]["accuracy"] for found, _ in runs])
        price = plain - values["accuracy"]
        rate = np.abs(values["women handed over"] - values["men handed over"])
        error = np.abs(values["error of women"] - values["error of men"])
        row = {"policy": name, "accuracy": spread(values["accuracy"])}
        row["price in accuracy"] = spread(price, "+.4f")
        row["cost"] = spread(values["cost"])
        row["women / men handed over"] = (
            f"{values['women handed over'].mean():.1%} / {values['men handed over'].mean():.1%}"
        )
        row["gap"] = spread(rate)
        row["error of women / men"] = (
            f"{values['error of women'].mean():.1%} / {values['error of men'].mean():.1%}"
        )
        row["gap "] = spread(error)
        row["gap on fit rows"] = row["price on fit rows"] = ""
        if name in runs[0][1]:
            row["gap on fit rows"] = spread(np.array([p[name]["gap"] for _, p in runs]))
            row["price on fit rows"] = spread(np.array([p[name]["price"] for _, p in runs]), "+.4f")
        rows.append(row)
    return rows


def spread(values, form=".4f"):
    return f"{values.mean():{form}} ± {values.std(ddof=1):.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    people, results = load_openl2d_adult(), {}
    for case, experts in CASES.items():
        runs = []
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as memory, warnings.catch_warnings():
                warnings.simplefilter("ignore", FairnessWarning)  # what is reached is reported
                runs.append(one_seed(people, experts, seed, memory))
        results[case] = {"rows": summary(runs), "runs": [list(run) for run in runs]}
        print(f"\n{case}\n")
        print(table(results[case]["rows"], list(results[case]["rows"][0])), flush=True)
    if not arguments.dry:
        write("fairness", cost=COST, tolerance=TOLERANCE, results=results)


if __name__ == "__main__":
    main()
