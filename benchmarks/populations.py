"""Experts never seen before: which method serves them, and at what price?

The protocol: an expert's answer to a row is drawn once, never again; experts of training and of
test are disjoint pools; rows of training, of contexts and of test are disjoint (whole lesions);
nothing is chosen on test experts. Post-hoc rules stand on the classifier of EA-L2D itself, with
its temperature found on the rows of the contexts; L2D-Pop, Pop-Avg and the single rejector
train classifiers of their own, by the same loop with the same layers.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/populations.py
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks are small: threads would only wait
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from common import table, write
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GroupShuffleSplit
from sklearn.preprocessing import StandardScaler

from skdefer import (
    DeferralClassifier,
    ExpertAgnosticDeferralClassifier,
    ExpertProfile,
    PopulationDeferralClassifier,
)
from skdefer.datasets import load_cifar10h_models, load_ham10000_8x8
from skdefer.experts import simulate_expert_predictions
from skdefer.metrics import aurdac_score, aursac_score
from skdefer.rejectors import (
    ConfidenceRejector,
    ExpertAgnosticRejector,
    LearnedRejector,
    ProfileRejector,
)

SETS = ("digits", "ham10000_8x8", "cifar10h_models")
OVERLAPS = (0.2, 0.5, 0.8)
CONTEXTS = (3, 15, 50)  # rows a class
N_TRAIN, N_POOL, N_TEST = 1000, 1000, 1500
KNOWN = 0.3  # share of the classes that a specialist knows
NOISE = 0.35  # on the pixels of digits, in units of their range; else the model needs no expert

NETWORK = {
    "hidden_layer_sizes": (64,),
    "rejector_hidden_layer_sizes": (64, 64),
    "early_stopping": True,
    "validation_fraction": 0.2,
    "n_iter_no_change": 15,
    "max_iter": 60,
    "batch_size": 128,
    "learning_rate_init": 1e-3,
    "threshold": "tuned",
    "device": "cpu",
}
CONTEXT_NETWORK = {
    **NETWORK,
    "embedding_size": 32,
    "context_hidden_layer_sizes": (64, 64),
    "on_missing": "model",
}
NEURAL = {
    "EA-L2D": None,
    "L2D-Pop, attention": {"representation": "attention"},
    "L2D-Pop, mean": {"representation": "mean"},
    "Pop-Avg": {"representation": "mode"},
    "single rejector": {"representation": "none"},
}
POST_HOC = {
    "confidence": ConfidenceRejector(),
    "six-number rejector": ExpertAgnosticRejector(random_state=0),
    "closed form": ProfileRejector(),
    "closed form, empirical Bayes": ProfileRejector(prior="empirical_bayes"),
    "closed form, mixture": ProfileRejector(prior="mixture"),
    "corrected closed form (default)": LearnedRejector(),
}
# The better of 0 and .005 by AURSAC on the validation rows of training experts (`--choose`: another
# seed, p = .2, digits and ham10000_8x8).
WEIGHT_DECAY = {"EA-L2D": 0.005, "Pop-Avg": 0.005, "single rejector": 0.005}
METHODS = [*NEURAL, *POST_HOC, "oracle"]


def load(name, seed):
    """X, y and groups."""
    rng = np.random.default_rng(1000 + seed)
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X = X / 16 + NOISE * rng.normal(size=X.shape)
        return X, y, np.arange(len(y))
    if name == "ham10000_8x8":
        bunch = load_ham10000_8x8()
    else:
        bunch = load_cifar10h_models(model="vgg_or_other")
    X = StandardScaler().fit_transform(np.asarray(bunch.data, dtype=float))
    groups = np.arange(len(X)) if bunch.groups is None else np.asarray(bunch.groups)
    return X, np.unique(np.asarray(bunch.target), return_inverse=True)[1], groups


def split(y, groups, seed):
    """Rows of training, of contexts and of test: .45, .25, .3, at most the sizes above."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(y))
    train, rest = next(
        GroupShuffleSplit(1, train_size=0.45, random_state=seed).split(rows, y, groups)
    )
    inner = GroupShuffleSplit(1, train_size=5 / 11, random_state=seed)
    pool, test = (rest[part] for part in next(inner.split(rest, y[rest], groups[rest])))
    sizes = (N_TRAIN, N_POOL, N_TEST)
    return [np.sort(rng.permutation(part)[:n]) for part, n in zip((train, pool, test), sizes)]


def draw_experts(y, overlap, seed):
    """Answers of the experts of training and of each pool of test experts, drawn once."""
    K = int(y.max()) + 1
    n_known = round(KNOWN * K)
    order = np.random.default_rng(seed).permutation(K)
    common, other = order[: -(-K * 3 // 5)], order[-(-K * 3 // 5) :]

    def specialists(classes, n, key):
        known = [[classes[(i + d) % len(classes)] for d in range(n_known)] for i in range(n)]
        return simulate_expert_predictions(
            y, oracle_classes=known, n_experts=n, p_out=overlap, classes=range(K), random_state=key
        )

    def generalists(n, key):
        # As often right as a specialist on classes in equal shares, but on every class alike.
        outside = overlap + (1 - overlap) / K
        right = (n_known + (K - n_known) * outside) / K
        confusion = np.full((K, K), (1 - right) / (K - 1))
        np.fill_diagonal(confusion, right)
        return simulate_expert_predictions(
            y, kind="confusion", confusion=confusion, n_experts=n, random_state=key
        )

    train = np.hstack([specialists(common, 10, 10 * seed), generalists(2, 10 * seed + 1)])
    return {
        "seen": train,
        "unseen": specialists(common, 6, 10 * seed + 2),
        "other classes": specialists(other, 6, 10 * seed + 3),
        "generalists": generalists(4, 10 * seed + 4),
    }


class Given(ClassifierMixin, BaseEstimator):
    """The classifier of a fitted network, as a fitted scikit-learn classifier."""

    def __init__(self, network):
        self.network = network
        self.classes_ = network.classes_

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return self.network.predict_proba(X)

    def decision_function(self, X):
        scores = np.log(np.maximum(self.predict_proba(X), 1e-12))
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def fit_network(name, X, y, train, pool, answers, seed, weight_decay):
    """One of the networks: EA-L2D sees answers on other rows, the others on the rows they learn."""
    if name == "EA-L2D":
        clf = ExpertAgnosticDeferralClassifier(**NETWORK)
        given = {"contexts": [(a[pool], y[pool]) for a in answers.T]}
    else:
        clf = PopulationDeferralClassifier(**CONTEXT_NETWORK, **NEURAL[name])
        given = {"expert_predictions": answers[train]}
    clf.set_params(weight_decay=weight_decay, random_state=seed)
    return clf.fit(X[train], y[train], **given)


def choose_weight_decay(sets, seeds=(100,)):
    """Validation AURSAC of each network with and without weight decay; no test expert is seen."""
    warnings.simplefilter("ignore")
    rows = []
    for name in NEURAL:
        row = {"method": name}
        for decay in (0.0, 0.005):
            best = []
            for data in sets:
                for seed in seeds:
                    X, y, groups = load(data, seed)
                    train, pool, _ = split(y, groups, seed)
                    seen = draw_experts(y, OVERLAPS[0], seed)["seen"]
                    X = X.astype(np.float32)
                    clf = fit_network(name, X, y, train, pool, seen, seed, decay)
                    best.append(max(clf.validation_scores_))
            row[f"weight decay {decay}"] = f"{np.mean(best):.4f}"
        rows.append(row)
    return table(rows, list(rows[0]))


def fit_methods(X, y, train, pool, answers, seed):
    """Every method fitted, and the seconds it took beyond what it stands on."""
    fitted, seconds = {}, {}
    warnings.simplefilter("ignore")
    for name in NEURAL:
        start = time.perf_counter()
        decay = WEIGHT_DECAY.get(name, 0.0)
        fitted[name] = fit_network(name, X, y, train, pool, answers, seed, decay)
        seconds[name] = time.perf_counter() - start
    model = CalibratedClassifierCV(FrozenEstimator(Given(fitted["EA-L2D"])), method="temperature")
    model.fit(X[pool], y[pool])
    for name, rejector in POST_HOC.items():
        start = time.perf_counter()
        clf = DeferralClassifier(FrozenEstimator(model), rejector=rejector, on_missing="model")
        clf.fit(X[pool], y[pool], expert_predictions=answers[pool])
        fitted[name], seconds[name] = clf, time.perf_counter() - start
    return fitted, seconds


def contexts_of(X, y, pool, answers, size, seed):
    """At most ``size`` rows a class of the pool, the same rows for all experts."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(pool[y[pool] == k])[:size] for k in np.unique(y)])
    return [(a[rows], y[rows], X[rows]) for a in answers.T]


def evaluate(clf, name, X, y, test, answers, contexts):
    """Mean over experts of the areas and of the accuracy, and microseconds a row and expert."""
    said = answers[test]
    J = said.shape[1]
    panel = [(f"new_{j}", ExpertProfile(name=f"new_{j}")) for j in range(J)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        served = clf.with_experts(panel, profiles=contexts)
        model = served.predict_model(X[test])
        start = time.perf_counter()
        score = served.deferral_score(X[test])
        seconds = time.perf_counter() - start
    return *measure(y[test], model, said, score), 1e6 * seconds / score.size


def measure(y, model, said, score):
    right, kept = said == y[:, None], model == y
    areas, accuracies, deferred = [], [], []
    for j in range(said.shape[1]):
        areas.append([f(y, model, said[:, j], score[:, j]) for f in (aursac_score, aurdac_score)])
        handed = score[:, j] > 0
        accuracies.append(np.where(handed, right[:, j], kept).mean())
        deferred.append(handed.mean())
    sac, dac = np.mean(areas, axis=0)
    return sac, dac, float(np.mean(accuracies)), float(np.mean(deferred))


def one_cell(name, overlap, seed):
    X, y, groups = load(name, seed)
    train, pool, test = split(y, groups, seed)
    X = X.astype(np.float32)
    populations = draw_experts(y, overlap, seed)
    fitted, seconds = fit_methods(X, y, train, pool, populations["seen"], seed)
    results = []
    for population, answers in populations.items():
        for size in CONTEXTS:
            contexts = contexts_of(X, y, pool, answers, size, seed)
            cell = {"set": name, "overlap": overlap, "seed": seed, "population": population}
            cell["context"] = size
            for method, clf in fitted.items():
                sac, dac, accuracy, deferred, micro = evaluate(
                    clf, method, X, y, test, answers, contexts
                )
                results.append(
                    {**cell, "method": method, "aursac": sac, "aurdac": dac, "accuracy": accuracy,
                     "deferred": deferred, "fit_s": seconds[method], "us_per_row": micro}
                )  # fmt: skip
            model = fitted["EA-L2D"].predict_model(X[test])
            gain = (answers[test] == y[test, None]) - (model == y[test])[:, None].astype(float)
            sac, dac, accuracy, deferred = measure(y[test], model, answers[test], gain)
            results.append(
                {**cell, "method": "oracle", "aursac": sac, "aurdac": dac, "accuracy": accuracy,
                 "deferred": deferred, "fit_s": 0.0, "us_per_row": 0.0}
            )  # fmt: skip
            alone = float((model == y[test]).mean())
            experts = float((answers[test] == y[test, None]).mean())
            results.append({**cell, "method": "model alone", "accuracy": alone})
            results.append({**cell, "method": "expert alone", "accuracy": experts})
    return results


# -- tables -----------------------------------------------------------------------------

CELL = ["set", "overlap", "population", "context"]


def spread(values):
    """Mean and standard error over the seeds."""
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan


def by_seed(frame, method, value="aursac"):
    """Mean of a value over the cells, a number per seed."""
    return frame[frame["method"] == method].groupby("seed")[value].mean()


def show(values, digits=4):
    mean, error = spread(values)
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def areas_table(frame):
    rows = []
    for method in METHODS:
        row = {"method": method}
        for population in frame["population"].unique():
            row[population] = show(by_seed(frame[frame["population"] == population], method))
        rows.append(row)
    return table(rows, list(rows[0]))


def against_table(frame):
    """Each method less EA-L2D, paired by seed, cell by cell."""
    wide = frame.pivot_table(index=[*CELL, "seed"], columns="method", values="aursac")
    rows = []
    for method in METHODS:
        if method in ("EA-L2D", "oracle"):
            continue
        gain = wide[method] - wide["EA-L2D"]
        cells = gain.groupby(CELL).agg(["mean", "sem"])
        rows.append(
            {
                "method": method,
                "AURSAC less EA-L2D's": show(gain.groupby("seed").mean()),
                "cells": len(cells),
                "below by more than 1 s.e.": int((cells["mean"] < -cells["sem"]).sum()),
                "above by more than 1 s.e.": int((cells["mean"] > cells["sem"]).sum()),
                "worst cell": f"{cells['mean'].min():.4f}",
            }
        )
    return table(rows, list(rows[0]))


def drop_table(frame):
    """What is lost from seen experts to experts of other classes, by overlap."""
    rows = []
    for method in METHODS[:-1]:
        row = {"method": method}
        for overlap in OVERLAPS:
            part = frame[frame["overlap"] == overlap]
            seen, other = (
                by_seed(part[part["population"] == p], method) for p in ("seen", "other classes")
            )
            row[f"p = {overlap}"] = show(seen - other)
        rows.append(row)
    return table(rows, list(rows[0]))


def price_table(frame):
    rows = []
    for method in METHODS[:-1]:
        part = frame[frame["method"] == method]
        row = {"method": method, "AURDAC": show(by_seed(frame, method, "aurdac"))}
        for name in SETS:
            some = frame[frame["set"] == name]
            row[f"accuracy, {name}"] = show(by_seed(some, method, "accuracy"))
        row["handed over"] = f"{part['deferred'].mean():.0%}"
        row["fit, s"] = f"{part['fit_s'].median():.2f}"
        row["us per row and expert"] = f"{part['us_per_row'].median():.2f}"
        rows.append(row)
    for method in ("model alone", "expert alone"):
        row = dict.fromkeys(rows[0], "")
        row["method"] = method
        for name in SETS:
            some = frame[frame["set"] == name]
            row[f"accuracy, {name}"] = show(by_seed(some, method, "accuracy"))
        rows.append(row)
    return table(rows, list(rows[0]))


def context_table(frame):
    rows = []
    for method in METHODS:
        row = {"method": method}
        for population in ("unseen", "generalists"):
            for size in CONTEXTS:
                part = frame[(frame["population"] == population) & (frame["context"] == size)]
                row[f"{population}, {size} a class"] = show(by_seed(part, method))
        rows.append(row)
    return table(rows, list(rows[0]))


def summarise(rows):
    frame = pd.DataFrame(rows)
    return {
        "AURSAC by kind of expert": areas_table(frame),
        "AURSAC by size of the context": context_table(frame),
        "Against EA-L2D, cell by cell": against_table(frame),
        "AURSAC lost from seen experts to experts of other classes": drop_table(frame),
        "AURDAC, accuracy at the method's own threshold, and the price": price_table(frame),
    }


def thin(rows):
    """A row per cell and method: means over the seeds, and the areas of each."""
    frame = pd.DataFrame(rows).round(5)
    cells = []
    for key, part in frame.groupby([*CELL, "method"], sort=False):
        values = part[["aurdac", "accuracy", "deferred", "fit_s", "us_per_row"]].mean().round(4)
        values = {name: v for name, v in values.items() if not np.isnan(v)}
        areas = part["aursac"].dropna().tolist()
        cells.append({**dict(zip([*CELL, "method"], key)), "aursac": areas, **values})
    return cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--choose", action="store_true", help="only choose the weight decay")
    options = parser.parse_args()
    if options.choose:
        print(choose_weight_decay(options.sets))
        return
    cells = [(s, p, seed) for s in options.sets for p in OVERLAPS for seed in range(options.seeds)]
    start = time.perf_counter()
    results = Parallel(options.n_jobs, verbose=5)(delayed(one_cell)(*cell) for cell in cells)
    rows = [row for cell in results for row in cell]
    report = summarise(rows)
    for title, lines in report.items():
        print(f"\n{title}\n\n{lines}")
    write("populations", seconds=round(time.perf_counter() - start), rows=thin(rows))


if __name__ == "__main__":
    main()
