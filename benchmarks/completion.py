"""Few answers of experts: is it better to complete the missing ones than to leave them out?

Answers of the training rows are hidden at random, or all but one expert's on each row. Then every
learner is fitted on what is left (missing answers left out), on answers completed by the true
class alone (the control), from a model of each expert, or by EM, and on all answers, the ceiling.
Test rows have all their answers. Grouped two-fold cross-validation, so that each row is tested
once per seed; differences are paired by row and averaged over the seeds. Their standard errors
are clustered by group, or over seeds, whichever is larger.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/completion.py
    SKDEFER_DATA=<folder of the data sets> python benchmarks/completion.py --penalty 0.1 --seeds 3
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fits are small: threads would only wait
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import clustered_error, table, write
from real_data import answered, load, take
from scipy.stats import norm, rankdata
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdefer import DeferralClassifier
from skdefer.datasets import make_deferral_classification
from skdefer.deferral import JointDeferralClassifier
from skdefer.exceptions import SkdeferWarning
from skdefer.experts import AnswerCompletion
from skdefer.metrics import aursac_score
from skdefer.rejectors import LearnedRejector, TwoStageRejector

LANGUAGE_MODELS = ["chatgpt", "flan_t5_large", "flan_ul2", "text_davinci_002"]
# (set, options, experts; None: all of the loader's, largest number of rows)
CASES = [
    ("chexpert_readers", {"model": "jfaboy"}, None, 1500),
    ("cifar10h_models", {"model": "resnet110"}, None, 1500),
    ("css_llm", {"task": "emotion"}, LANGUAGE_MODELS, None),
    ("css_llm", {"task": "media_ideology"}, LANGUAGE_MODELS, None),
    ("sleep_scorers", {"model": "m_tsinalis"}, None, 1500),
    ("frugalml", {"task": "RAFDB"}, None, 1500),
    ("made", {}, None, 1500),
]
KEPT = {"10 %": 0.1, "30 %": 0.3, "one expert a row": None}
PENALTY = 0.01
METHODS = ["left out", "class alone", "model", "em", "all answers"]
COMPLETIONS = {
    "class alone": AnswerCompletion("em", n_types=1),  # what completion does without a row's news
    "model": AnswerCompletion("model"),
    "em": AnswerCompletion("em"),
}


def joint(loss):
    return JointDeferralClassifier(loss=loss, solver="lbfgs", tol=1e-3)


def post_hoc(rejector):
    return DeferralClassifier(LogisticRegression(max_iter=2000), rejector=rejector, cv=3)


LEARNERS = {
    "default": post_hoc(LearnedRejector()),
    "two-stage": post_hoc(TwoStageRejector()),
    "ova": joint("ova"),
    "asymmetric_softmax": joint("asymmetric_softmax"),
    "realizable": joint("realizable"),
}
JOINT = ["ova", "asymmetric_softmax"]
#: What stands in for a learner that can't leave answers out.
INSTEAD = {"realizable": "asymmetric_softmax"}


def load_case(name, options, experts, n_max):
    if name == "made":
        made = make_deferral_classification(
            n_max,
            6,
            n_classes=4,
            n_experts=4,
            mean_accuracy=0.7,
            complementarity=-4.0,
            shared=0.7,
            random_state=0,
        )
        return made.data, made.target, made.expert_predictions, np.arange(n_max)
    return load(name, options, experts, n_max)


def encode(name, data, train, test):
    """Numbers of the rows, made as the training rows say."""
    encoder = StandardScaler()
    if name == "css_llm":
        encoder = make_pipeline(TfidfVectorizer(), TruncatedSVD(30, random_state=0), encoder)
    return encoder.fit_transform(take(data, train)), encoder.transform(take(data, test))


def hide(answers, kept, rng):
    """The answers that are left."""
    n, n_experts = answers.shape
    if kept is None:
        left = np.arange(n_experts) == rng.integers(n_experts, size=(n, 1))
    else:
        left = rng.uniform(size=(n, n_experts)) < kept
    return answers.where(left)


def complete(method, left, X, y, seed):
    if method not in COMPLETIONS:
        return left
    return clone(COMPLETIONS[method]).set_params(random_state=seed).complete(left, y, X=X)


def area_by_row(right, model_right, score):
    """Each row's part of the AURSAC: right at the rates at which its expert, or the model, answers.

    The row that is handed over i-th of n is answered by its expert at deferral rates above
    (i - 1/2) / n; rows of equal score take turns.
    """
    best = score.argmax(axis=1)
    handed_from = (rankdata(-score.max(axis=1)) - 0.5) / len(score)
    expert_right = right[np.arange(len(best)), best]
    return (1.0 - handed_from) * expert_right + handed_from * model_right


def one_seed(case, data, y, answers, groups, kept, seed, learners):
    """Accuracy and area by row, and seconds, of each learner and method."""
    shape = (len(learners), len(METHODS), len(y))
    system, area, seconds = np.zeros(shape), np.zeros(shape), np.zeros((*shape[:2], 2))
    model, score, route = {}, {}, {}
    folds = GroupKFold(2, shuffle=True, random_state=seed)
    rng = np.random.default_rng(seed)
    for train, test in folds.split(data, y, groups):
        X, X_test = encode(case[0], data, train, test)
        left = hide(answers.iloc[train], kept, rng)
        for m, method in enumerate(METHODS):
            started = time.perf_counter()
            given = complete(method, left, X, y[train], seed)
            completing = time.perf_counter() - started
            if method == "all answers":
                given = answers.iloc[train]
            for k, learner in enumerate(learners):
                key = learner, method
                if method == "left out" and learner in INSTEAD:
                    continue
                started = time.perf_counter()
                clf = clone(learners[learner]).set_params(random_state=seed)
                clf.fit(X, y[train], expert_predictions=np.asarray(given), groups=groups[train])
                seconds[k, m] += completing, time.perf_counter() - started
                if key not in model:
                    model[key] = np.empty_like(y)
                    score[key] = np.zeros(answers.shape)
                    route[key] = np.zeros(len(y), dtype=int)
                model[key][test] = clf.predict_model(X_test)
                score[key][test] = clf.deferral_score(X_test)
                route[key][test] = clf.predict_route(X_test)
    said = answers.to_numpy(dtype=object)
    right = said == y[:, None]
    for k, learner in enumerate(learners):
        for m, method in enumerate(METHODS):
            key = INSTEAD.get(learner, learner) if method == "left out" else learner, method
            system[k, m] = answered(model[key], answers, route[key]) == y
            area[k, m] = area_by_row(right, model[key] == y, score[key])
            whole = aursac_score(y, model[key], said, score[key])
            assert np.isclose(area[k, m].mean(), whole), (area[k, m].mean(), whole)
    return system, area, seconds


def study(case, seeds, learners):
    """A dict for each way of hiding, learner, method and score."""
    data, y, answers, groups = load_case(*case)
    y = np.asarray(y)
    results = []
    for hidden, kept in KEPT.items():
        if kept is None and answers.shape[1] == 1:
            continue  # that would be all answers
        runs = [one_seed(case, data, y, answers, groups, kept, s, learners) for s in seeds]
        system, area, seconds = (np.array(part) for part in zip(*runs))
        for k, learner in enumerate(learners):
            for m, method in enumerate(METHODS):
                for name, value in (("accuracy", system[:, k]), ("aursac", area[:, k])):
                    gap = value[:, m] - value[:, 0]
                    results.append(
                        {
                            "set": case[0],
                            **case[1],
                            "n_rows": len(y),
                            "n_experts": answers.shape[1],
                            "kept": hidden,
                            "learner": learner,
                            "method": method,
                            "score": name,
                            "value": float(value[:, m].mean()),
                            "gain": float(gap.mean()),
                            "clustered_error": clustered_error(gap.mean(axis=0), groups),
                            "seed_error": standard_error(gap.mean(axis=1)),
                            "seconds": dict(zip(("complete", "fit"), seconds[:, k, m].mean(0) / 2)),
                        }
                    )
    return results


def standard_error(values):
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def error(cell):
    """The larger one: of the rows that were tested, or of folds, hidden answers and draws."""
    return max(cell["clustered_error"], cell["seed_error"])


def mark_differences(results, level=0.05):
    """Say of each completion whether its gain differs from 0, over all cells of a score (Holm)."""
    for score in ("accuracy", "aursac"):
        cells = [r for r in results if r["score"] == score and r["method"] in COMPLETIONS]
        p = [2 * norm.sf(abs(c["gain"]) / error(c)) if error(c) else 1.0 for c in cells]
        differs = True
        for rank, i in enumerate(np.argsort(p)):
            differs = differs and p[i] * (len(p) - rank) <= level
            cells[i]["differs"] = bool(differs)


def summary(results):
    """Means over the sets; in brackets the sets on which a completion is better, and worse."""
    rows = {}
    for r in results:
        key = r["score"], r["learner"], r["kept"]
        rows.setdefault(key, {}).setdefault(r["method"], []).append(r)
    lines = []
    for key, methods in rows.items():
        line = dict(zip(("score", "learner", "kept"), key))
        for method, cells in methods.items():
            gain = np.array([c["gain"] for c in cells])
            if method == "left out":
                line[method] = f"{np.mean([c['value'] for c in cells]):.4f}"
                continue
            spread = np.sqrt(np.square([error(c) for c in cells]).sum()) / len(cells)
            line[method] = f"{gain.mean():+.4f} ± {spread:.4f}"
            if method in COMPLETIONS:
                differs = np.array([c["differs"] for c in cells])
                better, worse = (differs & (gain > 0)).sum(), (differs & (gain < 0)).sum()
                line[method] += f" ({better}, {worse} of {len(cells)})"
        lines.append(line)
    return sorted(lines, key=lambda line: line["score"])


def by_set(results):
    """A row for each set, way of hiding and learner."""
    rows = {}
    for r in results:
        options = [str(r[o]) for o in ("model", "task") if o in r]
        name = f"{r['set']} ({', '.join([*options, str(r['n_experts'])])})"
        key = r["score"], name, r["kept"], r["learner"]
        row = rows.setdefault(key, dict(zip(("score", "set", "kept", "learner"), key)))
        gain = f"{r['gain']:+.4f} ± {error(r):.4f}"
        row[r["method"]] = f"{r['value']:.4f}" if r["method"] == "left out" else gain
    return sorted(rows.values(), key=lambda row: row["score"])


def seconds_by_method(results):
    """Mean seconds of completing and of fitting, by learner and method."""
    found = {}
    for r in results:
        found.setdefault(r["learner"], {}).setdefault(r["method"], []).append(r["seconds"])
    return {
        learner: {
            method: {part: float(np.mean([s[part] for s in all_of])) for part in all_of[0]}
            for method, all_of in methods.items()
        }
        for learner, methods in found.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="sets whose name holds this")
    parser.add_argument("--penalty", type=float, default=PENALTY, help="of the joint losses alone")
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    learners = LEARNERS
    name = "completion"
    if arguments.penalty != PENALTY:
        learners = {k: v for k, v in LEARNERS.items() if k in JOINT}
        name += f"_penalty_{arguments.penalty:g}"
    for learner in learners.values():
        if "weight_decay" in learner.get_params():
            learner.set_params(weight_decay=arguments.penalty)
    started = time.perf_counter()
    results = []
    for case in CASES:
        if arguments.only in case[0]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SkdeferWarning)
                warnings.filterwarnings("ignore", "The least populated class")
                results += study(case, range(arguments.seeds), learners)
            print(case[0], f"{time.perf_counter() - started:.0f} s", flush=True)
    mark_differences(results)
    for rows in (by_set(results), summary(results)):
        print(table(rows, list(rows[0])))
    seconds = seconds_by_method(results)
    for learner, of_method in seconds.items():
        print(learner, {m: {k: round(v, 4) for k, v in s.items()} for m, s in of_method.items()})
    if not arguments.dry:
        for r in results:
            del r["seconds"]
        write(name, weight_decay=arguments.penalty, seconds=seconds, results=results)


if __name__ == "__main__":
    main()
