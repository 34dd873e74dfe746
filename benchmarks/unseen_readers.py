"""What is knowing a reader worth? Each reader in turn is one whom the system has never met.

The system is fitted on the record of the other readers. It then meets the one held out, of whom
it gets k past answers, on rows that neither taught it nor test it. Five folds, groups kept
together: three to fit, one for the past answers, one to test, in turn, so that each row is
tested once per seed. Differences are paired by row, averaged over readers and seeds, and their
standard errors are clustered by group.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/unseen_readers.py
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fits are small: threads would only wait
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import table, write
from real_data import classifier, load, take
from sklearn.base import clone
from sklearn.model_selection import GroupKFold

from skdefer import DeferralClassifier, ExpertProfile
from skdefer.exceptions import SkdeferWarning
from skdefer.metrics import aursac_score
from skdefer.rejectors import (
    BaseRejector,
    ConfidenceRejector,
    ExpertAgnosticRejector,
    LearnedRejector,
    ProfileRejector,
)


def by_profile(rejector, profile, context):
    return rejector.with_profiles([profile])


def by_rows(rejector, profile, context):
    served = rejector.with_profiles([profile])
    return served.with_contexts([context]) if len(context[1]) else served


def by_rule(rejector, profile, context):
    """The default as it was before: a stranger is weighed by the profile alone."""
    served = rejector.with_profiles([profile])
    served._newcomers = {}
    return served


REJECTORS = {
    "confidence": ConfidenceRejector(),
    "profile": ProfileRejector(),
    "profile, prior": ProfileRejector(prior="mixture"),
    "six numbers": ExpertAgnosticRejector(random_state=0),
    "default": LearnedRejector(),
}
# Which rejector meets the reader, and how.
METHODS = {
    "confidence": ("confidence", by_profile),
    "profile": ("profile", by_profile),
    "profile, prior": ("profile, prior", by_profile),
    "six numbers": ("six numbers", by_profile),
    "rule alone": ("default", by_rule),
    "default": ("default", by_profile),
    "default, rows": ("default", by_rows),
}
SIZES = [0, 10, 50, 200]  # past answers; of small sets at most those of the fold
ALL = slice(None)
SECOND = slice(None, None, 2)  # of the language models: the run would take too long
# (set, options, readers held out: names or a slice, largest number of rows)
CASES = [
    ("sleep_scorers", {"model": "m_tsinalis"}, ALL, 8_000),
    ("sleep_scorers", {"model": "m_simplenet"}, ALL, 8_000),
    (
        "sleep_scorers",
        {"model": "m_tsinalis", "include_networks": True},
        ["scorer1", "scorer2"],
        8_000,
    ),
    ("chexpert_readers", {"model": "jfaboy"}, ALL, None),
    ("chexpert_readers", {"model": "hieupham"}, ALL, None),
    ("ecg_readers", {"model": "dnn", "task": "any"}, ALL, None),
    ("ecg_readers", {"model": "dnn", "task": "single"}, ALL, None),
    ("ecg_readers", {"model": "age_sex", "task": "any"}, ALL, None),
    ("css_llm", {"task": "emotion"}, SECOND, None),
    ("css_llm", {"task": "ibc"}, SECOND, None),
    ("css_llm", {"task": "media_ideology"}, SECOND, None),
    ("css_llm", {"task": "raop"}, SECOND, None),
    ("cifar10h_models", {"model": "vgg_or_other", "n_humans": 3}, ALL, 5_000),
    (
        "cifar10h_models",
        {"model": "vgg_or_other", "include_networks": True},
        ["cleanlab_cv", "densenet190", "preresnet110", "resnet110"],
        5_000,
    ),
]


class HoldingOut(BaseRejector):
    """For each reader held out, all rejectors fitted without it, and the default on it alone."""

    learns = True

    def __init__(self, readers=None):
        self.readers = readers

    def fit(self, proba, y, expert_predictions, *, profiles, **rest):
        self.without_, self.known_ = {}, {}
        for reader in self.readers:
            j = next(i for i, p in enumerate(profiles) if p.name == reader)
            others = [i for i in range(len(profiles)) if i != j]
            self.without_[reader] = {
                m: clone(r).fit(proba, y, expert_predictions[:, others], **rest)
                for m, r in REJECTORS.items()
            }
            self.known_[reader] = LearnedRejector().fit(
                proba, y, expert_predictions[:, [j]], **rest
            )
        self.profiles_ = profiles
        return self


def area_terms(right, rival, score):
    """Per row, what its mean makes the AURSAC, and its influence on it (Hajek projection)."""
    order = np.argsort(-score, kind="stable")
    block = np.cumsum(np.r_[0, np.diff(score[order]) != 0])
    first = np.searchsorted(block, block, side="left")
    after = np.searchsorted(block, block, side="right")
    gain = (rival.astype(float) - right)[order]
    n = len(gain)
    total = np.r_[0.0, np.cumsum(gain)]
    # Share of rows that come before a row; a row of its own block does half.
    before = (first + after) / (2 * n)
    passed = (total[-1] - (total[first] + total[after]) / 2) / n
    terms, influence = np.empty(n), np.empty(n)
    terms[order] = right[order] + gain * (1.0 - before)
    influence[order] = terms[order] - passed
    return terms, influence


def one_fold(name, data, y, answers, groups, rows, seed, held_out):
    """Whether model and reader are right on the test rows, and the scores of each system."""
    fit, pool, test = rows
    clf = DeferralClassifier(classifier(name), rejector=HoldingOut(held_out))
    clf.fit(take(data, fit), y[fit], expert_predictions=answers.iloc[fit], groups=groups[fit])
    proba, proba_pool = (clf.predict_proba(take(data, r)) for r in (test, pool))
    model = clf.classes_[proba.argmax(axis=1)] == y[test]
    for j, reader in enumerate(held_out):
        said = answers[reader].iloc[test]
        right = np.where(said.notna(), said.to_numpy() == y[test], model)
        without = clf.rejector_.without_[reader]
        score = {("known", 0): gain(clf.rejector_.known_[reader], proba)}
        order = np.random.default_rng([seed, j, len(fit)]).permutation(len(pool))
        order = order[answers[reader].notna().to_numpy()[pool[order]]]
        for k in SIZES:
            past = pool[order[:k]]
            context = proba_pool[order[:k]], y[past], answers[reader].iloc[past], None
            profile = ExpertProfile(classes=clf.classes_).fit(context[2], context[1])
            for method, (fitted, serve) in METHODS.items():
                score[method, k] = gain(serve(without[fitted], profile, context), proba)
        yield reader, model, right, score
    if seed == 0 and rows[1][0] == 0:  # once: the system itself says the same of the last one
        system = DeferralClassifier(classifier(name))
        system.fit(
            take(data, fit),
            y[fit],
            expert_predictions=answers.drop(columns=reader).iloc[fit],
            groups=groups[fit],
        )
        context = context[2], context[1], take(data, past)
        system = system.with_experts(ExpertProfile(name="new"), profiles=context)
        score = score["default, rows", SIZES[-1]]
        assert np.allclose(system.deferral_score(take(data, test))[:, 0], score)


def gain(rejector, proba):
    loss = rejector.expected_loss(proba)
    return loss[:, 0] - loss[:, 1]


def study(case, seeds):
    name, options, held_out, n_max = case
    data, y, answers, groups = load(name, options, None, n_max)
    groups = np.unique(groups, return_inverse=True)[1]
    names = list(answers.columns)
    held_out = names[held_out] if isinstance(held_out, slice) else held_out
    n = len(y)
    keys = [(m, 0) for m in ("model", "reader", "known", "oracle")]
    keys += [(m, k) for k in SIZES for m in METHODS]
    accuracy = {key: np.zeros(n) for key in keys}
    areas, influences = ({key: np.zeros(n) for key in keys} for _ in range(2))
    share = 1.0 / (len(seeds) * len(held_out))
    for seed in seeds:
        right = {r: {key: np.zeros(n) for key in [("model", 0), ("reader", 0)]} for r in held_out}
        score = {r: {} for r in held_out}
        splitter = GroupKFold(5, shuffle=True, random_state=seed)
        folds = [test for _, test in splitter.split(y, y, groups)]
        for f in range(5):
            turn = [folds[(f + i) % 5] for i in range(5)]
            rows = np.sort(np.concatenate(turn[2:])), turn[1], turn[0]
            for reader, model, rival, found in one_fold(
                name, data, y, answers, groups, rows, seed, held_out
            ):
                right[reader]["model", 0][rows[2]] = model
                right[reader]["reader", 0][rows[2]] = rival
                for key, s in found.items():
                    score[reader].setdefault(key, np.zeros(n))[rows[2]] = s
        for reader in held_out:
            model, rival = right[reader]["model", 0], right[reader]["reader", 0]
            found = score[reader]
            found["oracle", 0] = rival - model
            found["model", 0], found["reader", 0] = np.full(n, -1.0), np.ones(n)
            for key in keys:
                hit = np.where(found[key] > 0, rival, model)
                terms, influence = area_terms(model, rival, found[key])
                accuracy[key] += share * hit
                areas[key] += share * terms
                influences[key] += share * influence
            if seed == 0:
                answer = np.where(rival == 1, y, "wrong")  # as good as the answer itself here
                guess = np.where(model == 1, y, "also wrong")
                key = ("default", 10)
                area = aursac_score(y.astype(str), guess, answer[:, None], found[key][:, None])
                mine = area_terms(model, rival, found[key])[0].mean()
                assert np.isclose(area, mine), "the terms don't add up to the AURSAC"
    prefix = name if name != "css_llm" else f"{name} {options['task']}"
    return {
        "set": name,
        "options": options,
        "held_out": held_out,
        "n_known": answers.shape[1] - 1,
        "n_rows": n,
        "keys": keys,
        "accuracy": accuracy,
        "areas": areas,
        "influences": influences,
        "groups": [f"{prefix} {g}" for g in groups],
    }


def paired_error(cases, values, one, other):
    """Standard error of the mean difference over cases; groups that cases share are one."""
    pulls = {}
    for case in cases:
        difference = case[values][one] - case[values][other]
        for group, d in zip(case["groups"], difference - difference.mean(), strict=True):
            pulls[group] = pulls.get(group, 0.0) + d / (len(difference) * len(cases))
    G = len(pulls)
    return np.sqrt(G / (G - 1) * sum(p * p for p in pulls.values()))


def rounded(value):
    return round(float(value), 5)


def summary(cases):
    """Accuracy and AURSAC of a set's cases, and the differences that answer the question."""
    result = {"set": cases[0]["set"], "cases": [c["options"] for c in cases]}
    for values in ("accuracy", "areas"):
        means = {
            f"{m} {k}" if m in METHODS else m: rounded(
                np.mean([case[values][m, k].mean() for case in cases])
            )
            for m, k in cases[0]["keys"]
        }
        of = "influences" if values == "areas" else values
        gaps = {}
        for k in SIZES:
            for label, one, other in [
                ("default - rule alone", ("default", k), ("rule alone", k)),
                ("default - profile, prior", ("default", k), ("profile, prior", k)),
                ("default - six numbers", ("default", k), ("six numbers", k)),
                ("rows - default", ("default, rows", k), ("default", k)),
                ("known - default", ("known", 0), ("default", k)),
                ("default - model", ("default", k), ("model", 0)),
            ]:
                gap = np.mean([c[values][one].mean() - c[values][other].mean() for c in cases])
                error = paired_error(cases, of, one, other)
                gaps[f"{label} {k}"] = [rounded(gap), rounded(error)]
        result[values] = {"mean": means, "paired": gaps}
    return result


def rows_of(result, values):
    mean, gaps = result[values]["mean"], result[values]["paired"]
    alone = ("model", "reader") if values == "accuracy" else ()  # they rank nothing

    def gap(label):
        return "{:+.4f} ± {:.4f}".format(*gaps[label])

    for k in SIZES:
        yield {
            "set": result["set"],
            "k": k,
            **{m: f"{mean[m]:.4f}" for m in alone},
            **{m: f"{mean[f'{m} {k}']:.4f}" for m in METHODS},
            **{m: f"{mean[m]:.4f}" for m in ("known", "oracle")},
            "default - rule alone": gap(f"default - rule alone {k}"),
            "rows - default": gap(f"rows - default {k}"),
            "known - default": gap(f"known - default {k}"),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="sets whose name holds this")
    parser.add_argument("--dry", action="store_true", help="write no results")
    arguments = parser.parse_args()
    studies = []
    for case in CASES:
        if arguments.only in case[0]:
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SkdeferWarning)
                warnings.filterwarnings("ignore", "The least populated class")
                studies.append(study(case, range(arguments.seeds)))
            seconds = time.perf_counter() - start
            print(case[0], case[1], f"{seconds:.0f} s", flush=True)
    results = [
        summary([s for s in studies if s["set"] == name])
        for name in dict.fromkeys(s["set"] for s in studies)
    ]
    single = [summary([s]) for s in studies]
    for values in ("accuracy", "areas"):
        print(f"\n{values}, by set")
        rows = [row for r in results for row in rows_of(r, values)]
        print(table(rows, list(rows[0])))
    for r in single:
        print("\n", r["set"], r["cases"][0])
        for values in ("accuracy", "areas"):
            rows = list(rows_of(r, values))
            print(table(rows, list(rows[0])))
    if not arguments.dry:
        by_case = [
            {**r, **{values: r[values]["mean"] for values in ("accuracy", "areas")}} for r in single
        ]
        write("unseen_readers", sizes=SIZES, by_set=results, by_case=by_case)


if __name__ == "__main__":
    main()
