"""Is a prior learned from other experts worth it, when a newcomer has few answers?

The closed form (ProfileRejector) weighs newcomers by their contexts alone, under each prior; the
population is that of other experts. Cost 0, pessimism 0, one newcomer at a time. Simulated:
calibrated probabilities, experts who are specialists, generalists or both. Real: every expert
of a set is held out in turn, the others are known by their records on half of the rows, the
newcomer by k answers there, and the other half is the test.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/priors.py
"""

from __future__ import annotations

import argparse
import itertools
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from common import table, write
from real_data import classifier, load, take
from sklearn.model_selection import GroupKFold

from skdefer.experts import ExpertProfile, PopulationPrior
from skdefer.metrics import aursac_score
from skdefer.rejectors import ProfileRejector
from skdefer.utils._validation import encode_answers

PRIORS = {
    "none": None,
    "empirical_bayes": "empirical_bayes",
    "mixture, one type": PopulationPrior(2, n_types=1),
    "mixture": "mixture",
}
TRUTH = "true accuracies"
N_EXPERTS, N_ROWS = 10, 3000  # old ones, and as many newcomers
CSS_TASKS = ["conv_go_awry", "discourse", "emotion", "ibc", "media_ideology", "persuasion", "raop"]
REAL = [
    ("sleep_scorers", {"model": "m_tsinalis"}, None, 6000),
    ("sleep_scorers", {"model": "m_simplenet"}, None, 6000),
    ("chexpert_readers", {"model": "jfaboy"}, None, None),
    ("ecg_readers", {"model": "dnn", "task": "any"}, None, None),
    ("frugalml", {"task": "FERPLUS"}, None, 4000),
    *(("css_llm", {"task": task}, None, None) for task in CSS_TASKS),
]


def accuracies(rng, kind, overlap, n_classes):
    """Of each expert on each class; specialists know one class or two, and overlap elsewhere."""
    accuracy = np.full((N_EXPERTS, n_classes), overlap + (1 - overlap) / n_classes)
    for j, row in enumerate(accuracy):
        if kind == "specialists" or (kind == "both" and j % 2):
            row[rng.choice(n_classes, size=rng.integers(1, 3), replace=False)] = 1.0
        else:
            row[:] = rng.beta(22.5, 7.5, size=n_classes)
    return accuracy


def draw(rng, accuracy, y):
    right = rng.random((len(y), len(accuracy))) < accuracy[:, y].T
    slip = rng.integers(1, accuracy.shape[1], size=right.shape)
    return np.where(right, y[:, None], (y[:, None] + slip) % accuracy.shape[1])


def measures(proba, y, said, score):
    """AURSAC and accuracy at threshold 0, means over newcomers (columns)."""
    model = proba.argmax(axis=1)
    area = [aursac_score(y, model, a, s) for a, s in zip(said.T, score.T)]
    system = np.where(score > 0, said, model[:, None]) == y[:, None]
    return float(np.mean(area)), float(system.mean())


def simulated(seeds):
    overlaps = {"specialists": (0.2, 0.5, 0.8), "both": (0.2, 0.5, 0.8), "generalists": (0.2,)}
    for kind, n_classes, n, seed in itertools.product(overlaps, (7, 10), (3, 15, 50), seeds):
        for overlap in overlaps[kind]:
            rng = np.random.default_rng([seed, n_classes, round(10 * overlap), n, len(kind)])
            proba = rng.dirichlet(np.full(n_classes, 0.35), size=N_ROWS)
            y = (rng.random((N_ROWS, 1)) > proba.cumsum(axis=1)).sum(axis=1)
            y = y.clip(max=n_classes - 1)
            old, new = (accuracies(rng, kind, overlap, n_classes) for _ in range(2))
            context = np.repeat(np.arange(n_classes), n)
            record, past, said = (
                draw(rng, *case) for case in ((old, context), (new, context), (new, y))
            )
            newcomers = [ExpertProfile().fit(a, context) for a in past.T]
            flat = np.full((len(context), n_classes), 1 / n_classes)  # not read
            cell = {"kind": kind, "K": n_classes, "overlap": overlap, "n": n, "seed": seed}
            for name, prior in PRIORS.items():
                rejector = ProfileRejector(prior=prior).fit(flat, context, record)
                loss = rejector.with_profiles(newcomers).expected_loss(proba)
                area, accuracy = measures(proba, y, said, loss[:, :1] - loss[:, 1:])
                yield {**cell, "prior": name, "aursac": area, "accuracy": accuracy}
            gain = proba @ new.T - proba.max(axis=1, keepdims=True)
            area, accuracy = measures(proba, y, said, gain)
            yield {**cell, "prior": TRUTH, "aursac": area, "accuracy": accuracy}


def real(case, seeds):
    X, y, answers, groups = load(*case)
    classes = np.unique(y)
    truth, codes = np.searchsorted(classes, y), encode_answers(answers.to_numpy(object), classes)
    said = np.where(codes == -1, None, codes.astype(object))
    name = f"{case[0]} ({', '.join(case[1].values())})"
    for seed in seeds:
        proba = np.zeros((len(y), len(classes)))
        for train, test in GroupKFold(5, shuffle=True, random_state=seed).split(X, y, groups):
            fitted = classifier(case[0]).fit(take(X, train), y[train])
            proba[test] = fitted.predict_proba(take(X, test))
        rng = np.random.default_rng(seed)
        half = rng.permutation(np.unique(groups))
        in_test = np.isin(groups, half[: len(half) // 2])
        known, test = np.flatnonzero(~in_test), np.flatnonzero(in_test)
        shuffled = rng.permutation(known)
        for j, expert in enumerate(answers.columns):
            others = [i for i in range(said.shape[1]) if i != j]
            answered = shuffled[codes[shuffled, j] != -1]
            model = proba[test].argmax(axis=1)
            at_test = np.where(codes[test, j] == -1, model, codes[test, j])[:, None]
            for prior_name, prior in PRIORS.items():
                rejector = ProfileRejector(prior=prior).fit(
                    proba[known],
                    truth[known],
                    said[np.ix_(known, others)],
                    classes=np.arange(len(classes)),
                )
                for k in (0, 10, 50):
                    rows = answered[:k]
                    newcomer = ExpertProfile(classes=range(len(classes)))
                    newcomer.fit(said[rows, j], truth[rows])
                    loss = rejector.with_profiles([newcomer]).expected_loss(proba[test])
                    area, accuracy = measures(
                        proba[test], truth[test], at_test, loss[:, :1] - loss[:, 1:]
                    )
                    yield {
                        "set": name,
                        "expert": expert,
                        "k": k,
                        "seed": seed,
                        "prior": prior_name,
                        "aursac": area,
                        "accuracy": accuracy,
                    }


def summary(rows, cell, by, unit):
    """Differences to no prior, paired by ``cell``: mean and standard error over ``unit``."""
    frame = pd.DataFrame(rows)
    none = frame[frame["prior"] == "none"].drop(columns="prior")
    paired = frame[frame["prior"] != "none"].merge(none, on=cell, suffixes=("", "_none"))
    result = []
    for keys, part in paired.groupby(by, sort=False):
        line = dict(zip(by, keys))
        for measure in ("aursac", "accuracy"):
            line[measure] = float(part.drop_duplicates(cell)[f"{measure}_none"].mean())
            for prior, chosen in part.groupby("prior", sort=False):
                units = (chosen[measure] - chosen[f"{measure}_none"]).groupby(chosen[unit]).mean()
                line[f"{measure}, {prior}"] = (float(units.mean()), float(units.sem()))
        result.append(line)
    return result


def show(lines, by, priors):
    rows = []
    for line in lines:
        row = {name: line[name] for name in by}
        for measure, title in (("aursac", "AURSAC"), ("accuracy", "accuracy")):
            row[f"{title}, no prior"] = f"{line[measure]:.4f}"
            for prior in priors:
                mean, error = line[f"{measure}, {prior}"]
                row[f"{title}: {prior}"] = f"{1e4 * mean:+.0f} ± {1e4 * error:.0f}"
        rows.append(row)
    print(table(rows, list(rows[0])), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="of the simulation")
    parser.add_argument("--real-seeds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    learned = [name for name in PRIORS if name != "none"]

    cell = ["kind", "K", "overlap", "n", "seed"]
    rows = list(simulated(range(arguments.seeds)))
    made = summary(rows, cell, ["kind", "n"], "seed")
    show(made, ["kind", "n"], [*learned, TRUTH])
    for row in rows:
        row["all"] = "all"
    every = summary(rows, [*cell, "all"], ["all"], "seed")
    show(every, ["all"], [*learned, TRUTH])

    cell = ["set", "expert", "k", "seed"]
    rows = [row for case in REAL for row in real(case, range(arguments.real_seeds))]
    found = summary(rows, cell, ["set", "k"], "expert")
    show(found, ["set", "k"], learned)
    over_sets = summary(
        pd.DataFrame(rows).groupby(["set", "k", "prior"], sort=False).mean(numeric_only=True)
        .drop(columns="seed").reset_index().to_dict("records"),
        ["set", "k"],
        ["k"],
        "set",
    )  # fmt: skip
    show(over_sets, ["k"], learned)
    if not arguments.dry:
        write("priors", simulated=made, simulated_all=every, real=found, real_all=over_sets)


if __name__ == "__main__":
    main()
