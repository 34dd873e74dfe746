"""Is deferral worth it on real data with real experts, and is the default rejector any good?

Every rejector stands on the same classifier and the same folds. Each row of a set is tested
once per seed, in grouped five-fold cross-validation; differences are paired by row, averaged
over the seeds, and their standard errors are clustered by group.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/real_data.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fits are small: threads would only wait
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import clustered_error, table, write
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdefer import DeferralClassifier
from skdefer.datasets import load_dataset
from skdefer.exceptions import SkdeferWarning
from skdefer.metrics import aursac_score
from skdefer.rejectors import ConfidenceRejector, LearnedRejector, ProfileRejector

REJECTORS = {
    "confidence": ConfidenceRejector(),
    "profile": ProfileRejector(),
    "default": LearnedRejector(),
}
# (set, options, experts; None: all of the loader's, largest number of rows)
CASES = [
    ("chexpert_readers", {"model": "jfaboy"}, ["radiologist_bc4"], None),
    ("chexpert_readers", {"model": "jfaboy"}, ["radiologist_bc6"], None),
    ("chexpert_readers", {"model": "jfaboy"}, ["radiologist_bc8"], None),
    ("chexpert_readers", {"model": "jfaboy"}, None, None),
    ("chexpert_readers", {"model": "hieupham"}, None, None),
    ("sleep_scorers", {"model": "m_tsinalis"}, ["scorer1"], 12_000),
    ("sleep_scorers", {"model": "m_tsinalis"}, ["scorer2"], 12_000),
    ("sleep_scorers", {"model": "m_tsinalis"}, None, 12_000),
    ("sleep_scorers", {"model": "m_simplenet"}, None, 12_000),
    ("cifar10h_models", {"model": "vgg_or_other"}, None, None),
    ("cifar10h_models", {"model": "resnet110"}, None, None),
    ("cifar10h_models", {"model": "densenet190"}, None, None),
    ("ecg_readers", {"model": "dnn", "task": "any"}, None, None),
    ("ecg_readers", {"model": "dnn", "task": "single"}, None, None),
    ("ecg_readers", {"model": "age_sex", "task": "any"}, None, None),
    ("css_llm", {"task": "emotion"}, None, None),
    ("css_llm", {"task": "ibc"}, None, None),
    ("css_llm", {"task": "media_ideology"}, None, None),
    ("css_llm", {"task": "raop"}, None, None),
    ("frugalml", {"task": "FERPLUS"}, None, None),
    ("frugalml", {"task": "RAFDB"}, None, 12_000),
    ("frugalml", {"task": "YELP"}, None, 12_000),
]
N_BOOTSTRAP = 200


def load(name, options, experts, n_max):
    bunch = load_dataset(name, **options)
    answers = bunch.expert_predictions[experts] if experts else bunch.expert_predictions
    answers = answers.loc[:, answers.notna().any()]
    n = len(bunch.target)
    rows = np.arange(n) if not n_max or n <= n_max else np.arange(0, n, -(-n // n_max))
    data = bunch.data
    data = data.iloc[rows] if hasattr(data, "iloc") else [data[i] for i in rows]
    groups = np.arange(n) if bunch.groups is None else np.asarray(bunch.groups)
    return data, np.asarray(bunch.target)[rows], answers.iloc[rows], groups[rows]


def classifier(name):
    first = TfidfVectorizer(max_features=5000) if name == "css_llm" else StandardScaler()
    return make_pipeline(first, LogisticRegression(max_iter=2000))


def take(data, rows):
    return data.iloc[rows] if hasattr(data, "iloc") else [data[i] for i in rows]


def one_seed(name, data, y, answers, groups, seed, memory):
    """Out-of-fold labels of the model, and route and scores of each rejector."""
    model = np.empty(len(y), dtype=y.dtype)
    route = {m: np.zeros(len(y), dtype=int) for m in REJECTORS}
    score = {m: np.zeros(answers.shape) for m in REJECTORS}
    best = np.zeros(len(y), dtype=int)  # the best single expert, chosen on the training rows
    folds = GroupKFold(5, shuffle=True, random_state=seed)
    for train, test in folds.split(data, y, groups):
        right = answers.iloc[train].eq(y[train], axis=0).where(answers.iloc[train].notna())
        best[test] = int(right.mean().to_numpy().argmax())
        for method, rejector in REJECTORS.items():
            clf = DeferralClassifier(
                classifier(name), rejector=rejector, cv=5, memory=memory, random_state=seed
            ).fit(
                take(data, train),
                y[train],
                expert_predictions=answers.iloc[train],
                groups=groups[train],
            )
            route[method][test] = clf.predict_route(take(data, test))
            score[method][test] = clf.deferral_score(take(data, test))
        model[test] = clf.predict_model(take(data, test))
    return model, best, route, score


def answered(model, answers, route):
    """Right or wrong of the system; a missing answer falls back to the model."""
    said = model.astype(object).copy()
    for j in range(answers.shape[1]):
        rows = (route == j + 1) & answers.iloc[:, j].notna().to_numpy()
        said[rows] = answers.iloc[:, j].to_numpy()[rows]
    return said


def bootstrap_error(differences_of_sample, groups, rng):
    """Standard error of a paired statistic by resampling groups."""
    unique, code = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    draws = []
    for _ in range(N_BOOTSTRAP):
        rows = np.concatenate([members[g] for g in rng.integers(len(unique), size=len(unique))])
        draws.append(differences_of_sample(rows))
    return float(np.std(draws, ddof=1))


def study(case, seeds):
    name, options, experts, n_max = case
    data, y, answers, groups = load(name, options, experts, n_max)
    per_row = {m: [] for m in ["model", "best expert", *REJECTORS]}
    areas = {m: [] for m in [*REJECTORS, "oracle"]}
    rates = {m: [] for m in REJECTORS}
    runs = []
    with tempfile.TemporaryDirectory() as memory:
        for seed in seeds:
            model, best, route, score = one_seed(name, data, y, answers, groups, seed, memory)
            per_row["model"].append(model == y)
            per_row["best expert"].append(answered(model, answers, best + 1) == y)
            table_of_answers = answers.to_numpy(dtype=object)
            for m in REJECTORS:
                per_row[m].append(answered(model, answers, route[m]) == y)
                areas[m].append(aursac_score(y, model, table_of_answers, score[m]))
                rates[m].append((route[m] > 0).mean())
            alone = [
                answered(model, answers, np.full(len(y), j + 1)) == y
                for j in range(answers.shape[1])
            ]
            gain = np.column_stack(alone).astype(float) - (model == y)[:, None]
            areas["oracle"].append(aursac_score(y, model, table_of_answers, gain))
            runs.append((model, score))
    mean = {m: np.mean(v, axis=0) for m, v in per_row.items()}
    rival = max("model", "best expert", key=lambda m: mean[m].mean())
    rng = np.random.default_rng(0)

    def area_gap(rows):
        model, score = runs[0]
        areas = [
            aursac_score(y[rows], model[rows], table_of_answers[rows], score[m][rows])
            for m in ("default", "confidence")
        ]
        return areas[0] - areas[1]

    result = {
        "set": name,
        "options": options,
        "experts": list(answers.columns),
        "n_rows": len(y),
        "accuracy": {m: float(v.mean()) for m, v in mean.items()},
        "spread_over_seeds": {
            m: float(np.std(np.mean(v, axis=1), ddof=1)) for m, v in per_row.items()
        },
        "deferral_rate": {m: float(np.mean(v)) for m, v in rates.items()},
        "rival": rival,
        "gain_over_rival": float((mean["default"] - mean[rival]).mean()),
        "gain_error": clustered_error(mean["default"] - mean[rival], groups),
        "aursac": {m: float(np.mean(v)) for m, v in areas.items()},
        "aursac_spread": {m: float(np.std(v, ddof=1)) for m, v in areas.items()},
        "aursac_gain_error": bootstrap_error(area_gap, groups, rng),
    }
    return result


def row(r):
    options = ", ".join(str(v) for v in r["options"].values())
    experts = r["experts"][0] if len(r["experts"]) == 1 else f"{len(r['experts'])} experts"
    a, s = r["accuracy"], r["aursac"]
    gap = s["default"] - s["confidence"]
    return {
        "set": f"{r['set']} ({options}; {experts})",
        "model": f"{a['model']:.3f}",
        "best expert": f"{a['best expert']:.3f}",
        "confidence": f"{a['confidence']:.3f}",
        "profile": f"{a['profile']:.3f}",
        "default": f"{a['default']:.3f}",
        "handed over": f"{r['deferral_rate']['default']:.0%}",
        "default - better of model and best expert": f"{r['gain_over_rival']:+.4f} ± "
        f"{r['gain_error']:.4f}",
        "AURSAC confidence": f"{s['confidence']:.4f}",
        "profile ": f"{s['profile']:.4f}",
        "default ": f"{s['default']:.4f}",
        "oracle": f"{s['oracle']:.4f}",
        "default - confidence": f"{gap:+.4f} ± {r['aursac_gain_error']:.4f}",
        "holds": ("yes" if r["gain_over_rival"] >= -r["gain_error"] else "NO")
        + " / "
        + ("yes" if gap >= -r["aursac_gain_error"] else "NO"),
    }


def by_set(results):
    """Means over the cases of each set, which share rows: errors are taken as fully correlated
    for the upper figure and as independent for the lower."""
    rows = []
    for name in dict.fromkeys(r["set"] for r in results):
        cases = [r for r in results if r["set"] == name]
        gain = np.mean([r["gain_over_rival"] for r in cases])
        errors = np.array([r["gain_error"] for r in cases])
        area = np.mean([r["aursac"]["default"] - r["aursac"]["confidence"] for r in cases])
        area_errors = np.array([r["aursac_gain_error"] for r in cases])
        independent = [np.sqrt(np.square(e).sum()) / len(e) for e in (errors, area_errors)]
        rows.append(
            {
                "set": f"{name}, {len(cases)} cases",
                "default - better of model and best expert": f"{gain:+.4f}",
                "s.e.": f"{independent[0]:.4f} to {errors.mean():.4f}",
                "AURSAC, default - confidence": f"{area:+.4f}",
                "s.e. ": f"{independent[1]:.4f} to {area_errors.mean():.4f}",
                "holds": ("yes" if gain >= -independent[0] else "NO")
                + " / "
                + ("yes" if area >= -independent[1] else "NO"),
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="sets whose name holds this")
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    results = []
    for case in CASES:
        if arguments.only in case[0]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SkdeferWarning)
                warnings.filterwarnings("ignore", "The least populated class")
                results.append(study(case, range(arguments.seeds)))
            print(" | ".join(row(results[-1]).values()), flush=True)
    rows = [row(r) for r in results]
    print(table(rows, list(rows[0])))
    rows = by_set(results)
    print(table(rows, list(rows[0])))
    if not arguments.dry:
        write("real_data", results=results)


if __name__ == "__main__":
    main()
