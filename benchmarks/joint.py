"""Which loss should a network learn the classes and the hand-over with, and does it pay at all?

Three questions, each with its table:

- ``realizable``: a linear classifier and a linear rejector make no mistake together with the
  expert. Which losses find them? (published: the realizable ones do, LCE does not)
- ``real``: on real sets with real experts, the same linear model for every method (one penalty,
  the same folds): all joint losses, the two-stage reduction, the default of DeferralClassifier,
  the confidence rule, and the trivial routes. Each row is tested once per seed; differences are
  paired by row and their standard errors clustered by group.
- ``speed``: an epoch against a bare torch loop with cross-entropy alone; L-BFGS against Adam.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/joint.py [realizable] [real] [speed]
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fits are small: threads would only wait
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from common import clustered_error, table, write
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from torch import nn

from skdefer import DeferralClassifier, JointDeferralClassifier
from skdefer.datasets import load_dataset
from skdefer.losses import rl2d_loss, surrogate_names
from skdefer.metrics import aursac_score
from skdefer.neural import MLP
from skdefer.rejectors import ConfidenceRejector, LearnedRejector, TwoStageRejector

SEEDS = range(5)
LOSSES = {
    **{name: {"loss": name} for name in surrogate_names()},
    "realizable, alpha .5": {"loss": "realizable", "alpha": 0.5},
    "rl2d, q .7": {"loss": partial(rl2d_loss, q=0.7)},
}

# -- a world in which a perfect linear system exists --------------------------------------------


def realizable_world(n_rows, seed, part, n_features=10):
    """Half of the space is the expert's, who guesses in the other half, where y is linear."""
    directions = np.random.default_rng(seed).normal(size=(2, n_features))
    rng = np.random.default_rng([seed, part])
    X = rng.normal(size=(n_rows, n_features))
    hard = X @ directions[0] > 0
    y = np.where(hard, rng.integers(2, size=n_rows), X @ directions[1] > 0).astype(int)
    said = np.where(hard | (rng.random(n_rows) < 0.5), y, 1 - y)
    return X, y, said


def study_realizable():
    found = {name: {"own rule": [], "tuned": []} for name in LOSSES}
    posthoc = {"default": LearnedRejector(), "default + X": LearnedRejector(features="passthrough")}
    alone = {name: [] for name in posthoc}
    seconds = {name: [] for name in LOSSES}
    for seed in SEEDS:
        X, y, said = realizable_world(3000, seed, 0)
        X_new, y_new, said_new = realizable_world(20_000, seed, 1)
        for name, params in LOSSES.items():
            for rule, threshold in (("own rule", 0.0), ("tuned", "tuned")):
                clf = JointDeferralClassifier(
                    **params, solver="lbfgs", tol=1e-6, max_iter=100, threshold=threshold,
                    validation_fraction=0.2, device="cpu", random_state=seed,
                )  # fmt: skip
                start = time.perf_counter()
                clf.fit(X, y, expert_predictions=said)
                seconds[name].append(time.perf_counter() - start)
                found[name][rule].append(clf.score(X_new, y_new, expert_predictions=said_new))
        for name, rejector in posthoc.items():
            clf = DeferralClassifier(LogisticRegression(), rejector=rejector)
            clf.fit(X, y, expert_predictions=said)
            alone[name].append(clf.score(X_new, y_new, expert_predictions=said_new))
    rows = [
        {
            "loss": name,
            "own rule": f"{np.mean(by['own rule']):.3f} ± {np.std(by['own rule'], ddof=1):.3f}",
            "tuned threshold": f"{np.mean(by['tuned']):.3f} ± {np.std(by['tuned'], ddof=1):.3f}",
            "fit, s": f"{np.median(seconds[name]):.2f}",
        }
        for name, by in found.items()
    ]
    rows += [
        {
            "loss": f"post hoc: {name}",
            "own rule": f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}",
            "tuned threshold": "",
            "fit, s": "",
        }
        for name, found in alone.items()
    ]
    print(table(rows, list(rows[0])))
    write("joint_realizable", rows=rows, accuracy=found, post_hoc=alone)


# -- real sets -----------------------------------------------------------------------------------

# (set, options, experts; None: all of the loader's, largest number of rows)
CASES = [
    ("chexpert_readers", {"model": "jfaboy"}, None, None),
    ("chexpert_readers", {"model": "jfaboy"}, ["radiologist_bc6"], None),
    ("sleep_scorers", {"model": "m_tsinalis"}, None, 5_000),
    ("sleep_scorers", {"model": "m_simplenet"}, None, 5_000),
    ("cifar10h_models", {"model": "vgg_or_other"}, None, 5_000),
    ("cifar10h_models", {"model": "resnet110"}, None, 5_000),
    ("ecg_readers", {"model": "dnn", "task": "any"}, None, None),
    ("ecg_readers", {"model": "age_sex", "task": "any"}, None, None),
    ("frugalml", {"task": "FERPLUS"}, None, 5_000),
    ("frugalml", {"task": "YELP"}, None, 5_000),
]
FOLDS = 3


def load(name, options, experts, n_max):
    bunch = load_dataset(name, **options)
    answers = bunch.expert_predictions[experts] if experts else bunch.expert_predictions
    answers = answers.loc[:, answers.notna().any()]
    n = len(bunch.target)
    rows = np.arange(n) if not n_max or n <= n_max else np.arange(0, n, -(-n // n_max))
    groups = np.arange(n) if bunch.groups is None else np.asarray(bunch.groups)
    answers = answers.iloc[rows].to_numpy(dtype=object)
    data = np.asarray(bunch.data, dtype=float)[rows]
    return data, np.asarray(bunch.target)[rows], answers, groups[rows]


def methods(n_rows, seed):
    """All on one linear model: scikit-learn's C=1 is a penalty of 1/n on the mean loss."""
    common = {
        "solver": "lbfgs", "weight_decay": 1.0 / n_rows, "tol": 1e-5, "max_iter": 50,
        "device": "cpu", "random_state": seed,
    }  # fmt: skip
    made = {f"joint: {n}": JointDeferralClassifier(**p, **common) for n, p in LOSSES.items()}
    tuned = {"threshold": "tuned", "validation_fraction": 0.2}
    for name in ("asymmetric_softmax", "realizable", "differentiable_triage"):
        made[f"joint: {name}, tuned"] = JointDeferralClassifier(loss=name, **common, **tuned)
    rejectors = {
        "post hoc: confidence": ConfidenceRejector(),
        "post hoc: two-stage": TwoStageRejector(),
        "post hoc: two-stage, published": TwoStageRejector(shrinkage=0.0),
        "post hoc: default": LearnedRejector(),
        "post hoc: default + X": LearnedRejector(features="passthrough"),
    }
    for name, rejector in rejectors.items():
        made[name] = DeferralClassifier(
            LogisticRegression(max_iter=2000), rejector=rejector, random_state=seed
        )
    return made


def answered(model, answers, route):
    """Right labels of the system; a missing answer falls back to the model."""
    said = model.astype(object).copy()
    missing = np.array([[a is None or a != a for a in row] for row in answers])
    for j in range(answers.shape[1]):
        rows = (route == j + 1) & ~missing[:, j]
        said[rows] = answers[rows, j]
    return said


def calibration_error(clf, rows, answers, y):
    """Mean absolute gap of P(expert right), in ten bins of equal size; None where there is none."""
    if isinstance(clf, JointDeferralClassifier) and not clf.score_is_calibrated:
        return None
    loss = clf._proba_and_losses(rows)[1]  # an expected loss is 1 - P(right)
    gaps = []
    for j in range(answers.shape[1]):
        given = np.array([a is not None and a == a for a in answers[:, j]])
        if given.sum() < 20:
            continue
        chance = 1.0 - loss[given, j + 1]
        right = (answers[given, j] == y[given]).astype(float)
        bins = np.array_split(np.argsort(chance, kind="stable"), 10)
        gaps.append(
            sum(abs(chance[b].mean() - right[b].mean()) * len(b) for b in bins) / len(chance)
        )
    return float(np.mean(gaps))


def one_seed(data, y, answers, groups, seed):
    names = list(methods(len(y), seed))
    model = {m: np.empty(len(y), dtype=y.dtype) for m in names}
    route = {m: np.zeros(len(y), dtype=int) for m in names}
    score = {m: np.zeros(answers.shape) for m in names}
    gaps, seconds, refused = ({m: [] for m in names} for _ in range(3))
    best = np.zeros(len(y), dtype=int)
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=seed).split(data, y, groups):
        scaler = StandardScaler().fit(data[train])
        rows, new = scaler.transform(data[train]), scaler.transform(data[test])
        right = [
            np.mean([a == t for a, t in zip(column, y[train]) if a is not None and a == a])
            for column in answers[train].T
        ]
        best[test] = int(np.argmax(right))
        for name, clf in methods(len(train), seed).items():
            start = time.perf_counter()
            try:
                clf.fit(rows, y[train], expert_predictions=answers[train], groups=groups[train])
            except ValueError as error:
                if "can't leave them out" not in str(error):
                    raise
                refused[name].append(str(error))
                continue
            seconds[name].append(time.perf_counter() - start)
            model[name][test] = clf.predict_model(new)
            route[name][test] = clf.predict_route(new)
            score[name][test] = clf.deferral_score(new)
            gaps[name].append(calibration_error(clf, new, answers[test], y[test]))
    return [m for m in names if not refused[m]], model, best, route, score, gaps, seconds


def study_real_case(case):
    name, options, experts, n_max = case
    data, y, answers, groups = load(name, options, experts, n_max)
    per_row, areas, rates, gaps, seconds = {}, {}, {}, {}, {}
    for seed in SEEDS:
        kept, model, best, route, score, gap, taken = one_seed(data, y, answers, groups, seed)
        plain = model["post hoc: default"]
        right = {"model alone": plain == y, "best expert": answered(plain, answers, best + 1) == y}
        for m in kept:
            right[m] = answered(model[m], answers, route[m]) == y
            areas.setdefault(m, []).append(aursac_score(y, model[m], answers, score[m]))
            rates.setdefault(m, []).append(float((route[m] > 0).mean()))
            gaps.setdefault(m, []).extend(g for g in gap[m] if g is not None)
            seconds.setdefault(m, []).extend(taken[m])
        for m, values in right.items():
            per_row.setdefault(m, []).append(values)
    mean = {m: np.mean(v, axis=0) for m, v in per_row.items()}
    reference = mean["post hoc: default"]
    return {
        "set": name,
        "options": options,
        "n_rows": len(y),
        "n_experts": answers.shape[1],
        "methods": {
            m: {
                "accuracy": float(v.mean()),
                "spread": float(np.std(np.mean(per_row[m], axis=1), ddof=1)),
                "over_default": float((v - reference).mean()),
                "error": clustered_error(v - reference, groups),
                "aursac": float(np.mean(areas[m])) if m in areas else None,
                "aursac_spread": float(np.std(areas[m], ddof=1)) if m in areas else None,
                "deferral_rate": float(np.mean(rates[m])) if m in rates else None,
                "calibration_error": float(np.mean(gaps[m])) if gaps.get(m) else None,
                "fit_seconds": float(np.median(seconds[m])) if m in seconds else None,
            }
            for m, v in mean.items()
        },
    }


def study_real():
    results = []
    for case in CASES:
        start = time.perf_counter()
        results.append(study_real_case(case))
        print(case[0], case[1], f"{time.perf_counter() - start:.0f} s", flush=True)
    names = list(results[0]["methods"])
    names += [m for r in results for m in r["methods"] if m not in names]
    rows = []
    for m in dict.fromkeys(names):
        cells = [r["methods"].get(m) for r in results]
        row = {"method": m}
        for r, cell in zip(results, cells):
            title = f"{r['set']} ({', '.join(map(str, r['options'].values()))}; {r['n_experts']})"
            row[title] = "" if cell is None else f"{cell['accuracy']:.3f}"
        there = [(c, r["methods"]["post hoc: default"]) for c, r in zip(cells, results) if c]
        gains = np.array([c["over_default"] for c, _ in there])
        row["± over seeds"] = f"{np.mean([c['spread'] for c, _ in there]):.4f}"
        row["mean over default"] = f"{gains.mean():+.4f}"
        row["below / above by 2 s.e."] = (
            f"{sum(c['over_default'] < -2 * c['error'] for c, _ in there if c['error'])} / "
            f"{sum(c['over_default'] > 2 * c['error'] for c, _ in there if c['error'])}"
        )
        area = [c["aursac"] - d["aursac"] for c, d in there if c["aursac"] is not None]
        row["AURSAC over default"] = f"{np.mean(area):+.4f}" if area else ""
        gap = [c["calibration_error"] for c, _ in there if c["calibration_error"] is not None]
        row["calibration error"] = f"{np.mean(gap):.3f}" if gap else ""
        taken = [c["fit_seconds"] for c, _ in there if c["fit_seconds"] is not None]
        row["fit, s"] = f"{np.median(taken):.2f}" if taken else ""
        rows.append(row)
    print(table(rows, list(rows[0])))
    write("joint_real", rows=rows, results=results)


# -- speed ---------------------------------------------------------------------------------------


class Eye(nn.Module):
    """A small convolutional network for images of 3 x 32 x 32."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip

    def forward(self, images):
        return self.layers(images)


SHAPES = {
    "images 3 x 32 x 32, convolutions": ((384, 3, 32, 32), Eye, 128),
    "200 columns, layers 1024, 1024": ((3_072, 200), lambda: MLP(200, (1024, 1024)), 128),
    "100 columns, layers 256, 256": ((8_192, 100), lambda: MLP(100, (256, 256)), 128),
    "50 columns, linear, batches of 128": ((30_000, 50), lambda: MLP(50, ()), 128),
    "50 columns, linear, batches of 2048": ((60_000, 50), lambda: MLP(50, ()), 2048),
}
K, J, EPOCHS, TURNS = 10, 3, 3, 3


def made_rows(shape):
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=shape[0])
    X = rng.normal(size=shape) + y.reshape(-1, *[1] * (len(shape) - 1)) / K
    return X.astype(np.float32), y, made_answers(y, rng)


def made_answers(y, rng):
    guesses = rng.integers(K, size=(len(y), J))
    return np.where(rng.random((len(y), J)) < 0.7, y[:, None], guesses)


def bare_loop(X, y, backbone, batch_size):
    torch.manual_seed(0)
    backbone = backbone()
    n_features = backbone(torch.from_numpy(X[:2])).shape[1]
    module = nn.Sequential(backbone, nn.Linear(n_features, K))
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(rows)).split(batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(rows[batch]), labels[batch]).backward()
            optimizer.step()
    return (time.perf_counter() - start) / EPOCHS


def timed_fit(X, y, said, n_epochs, **params):
    clf = JointDeferralClassifier(device="cpu", random_state=0, **params)
    start = time.perf_counter()
    clf.fit(X, y, expert_predictions=said)
    return (time.perf_counter() - start) / n_epochs, clf


def epoch_seconds(X, y, said, loss, backbone, batch_size):
    """Of an epoch, without what a fit does once: the slope between 1 and 1 + EPOCHS epochs."""
    taken = []
    for n in (1, 1 + EPOCHS):
        params = {"max_iter": n, "n_iter_no_change": n + 1, "batch_size": batch_size}
        taken.append(timed_fit(X, y, said, 1, loss=loss, backbone=backbone(), **params)[0])
    return (taken[1] - taken[0]) / EPOCHS


def study_speed():
    rows = []
    for name, (shape, backbone, batch_size) in SHAPES.items():
        X, y, said = made_rows(shape)
        bare_loop(X, y, backbone, batch_size)
        ratios = {loss: [] for loss in surrogate_names()}
        bare = []
        for _ in range(TURNS):
            for loss, found in ratios.items():
                before = bare_loop(X, y, backbone, batch_size)
                ours = epoch_seconds(X, y, said, loss, backbone, batch_size)
                after = bare_loop(X, y, backbone, batch_size)
                bare.append((before + after) / 2)
                found.append(ours / bare[-1])
        row = {"network": name, "bare loop, s per epoch": f"{np.median(bare):.3f}"}
        row.update({loss: f"{np.median(found):.2f}" for loss, found in ratios.items()})
        print(row, flush=True)
        rows.append(row)
    print(table(rows, list(rows[0])))

    solvers = []
    for n_rows, n_columns, layers in [(5_000, 50, ()), (20_000, 50, ()), (5_000, 50, (32,))]:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
        y = (X @ rng.normal(size=(n_columns, K)) + rng.gumbel(size=(n_rows, K))).argmax(1)
        said = made_answers(y, rng)
        for loss in ("asymmetric_softmax", "lce", "ova", "realizable"):
            params = {"loss": loss, "hidden_layer_sizes": layers}
            ratios = []
            for _ in range(3):
                adam, slow = timed_fit(
                    X, y, said, 1, **params, max_iter=50, n_iter_no_change=51, tol=0.0
                )
                lbfgs, quick = timed_fit(X, y, said, 1, **params, solver="lbfgs", tol=1e-3)
                ratios.append(adam / lbfgs)
            solvers.append(
                {
                    "rows x columns, layers": f"{n_rows} x {n_columns}, {layers or 'linear'}",
                    "loss": loss,
                    "Adam, 50 epochs, s": f"{adam:.2f}",
                    "L-BFGS, s": f"{lbfgs:.3f}",
                    "times faster": f"{np.median(ratios):.0f}",
                    "loss, Adam": f"{final_loss(slow, X, y, said):.4f}",
                    "loss, L-BFGS": f"{final_loss(quick, X, y, said):.4f}",
                }
            )
            print(solvers[-1], flush=True)
    print(table(solvers, list(solvers[0])))
    write("joint_speed", epochs=rows, solvers=solvers)


def final_loss(clf, X, y, said):
    with torch.no_grad():
        scores = clf.module_(torch.from_numpy(X))
        right = torch.from_numpy((said == y[:, None]).astype(np.float32))
        return clf.surrogate_.loss(scores, torch.from_numpy(y), right).mean().item()


STUDIES = {"realizable": study_realizable, "real": study_real, "speed": study_speed}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", default=list(STUDIES), choices=[*STUDIES, []])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in parser.parse_args().studies:
            STUDIES[name]()


if __name__ == "__main__":
    main()
