"""Is a tuned threshold worth it on real data, beside the threshold 0 of calibrated scores?

The same classifier and folds for all: five seeds of grouped five-fold cross-validation. Thresholds
are tuned for accuracy by TunedDeferralClassifierCV, in folds of the training rows alone.
Differences from the same rejector at 0 are paired by row, averaged over the seeds; standard errors
are clustered by group.

    SKDEFER_DATA=<folder of the data sets> OMP_NUM_THREADS=1 python benchmarks/tuning.py
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from common import clustered_error, table, write
from real_data import answered, classifier, load, take
from sklearn.model_selection import GroupKFold

from skdefer import DeferralClassifier, TunedDeferralClassifierCV
from skdefer.exceptions import SkdeferWarning
from skdefer.rejectors import ConfidenceRejector, LearnedRejector, ProfileRejector

REJECTORS = {
    "confidence": ConfidenceRejector(),
    "profile": ProfileRejector(),
    "default": LearnedRejector(),
}
CASES = [
    ("chexpert_readers", {"model": "jfaboy"}, ["radiologist_bc4"], None),
    ("chexpert_readers", {"model": "jfaboy"}, ["radiologist_bc6"], None),
    ("chexpert_readers", {"model": "jfaboy"}, None, None),
]


def one_seed(name, data, y, answers, groups, seed):
    """Right or wrong of each system on every row, and who was handed over."""
    right, deferred = {}, {}
    for train, test in GroupKFold(5, shuffle=True, random_state=seed).split(data, y, groups):
        rows, said = take(data, test), answers.iloc[test]
        given = {"expert_predictions": answers.iloc[train], "groups": groups[train]}
        for method, rejector in REJECTORS.items():
            plain = DeferralClassifier(classifier(name), rejector=rejector, random_state=seed)
            tuned = TunedDeferralClassifierCV(plain, objective="accuracy", cv=5)
            for key, system in ((method, plain), (f"{method}, tuned", tuned)):
                system.fit(take(data, train), y[train], **given)
                model, route = system.predict_model(rows), system.predict_route(rows)
                for where, values in (
                    (right, answered(model, said, route) == y[test]),
                    (deferred, route > 0),
                ):
                    where.setdefault(key, np.zeros(len(y)))[test] = values
        right.setdefault("model", np.zeros(len(y)))[test] = model == y[test]
        share = answers.iloc[train].eq(y[train], axis=0).where(answers.iloc[train].notna()).mean()
        best = np.full(len(test), 1 + int(share.to_numpy().argmax()))
        alone = answered(model, said, best) == y[test]
        right.setdefault("best expert", np.zeros(len(y)))[test] = alone
    return right, deferred


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", SkdeferWarning)
    results = []
    for case in CASES:
        name, options, experts, _ = case
        data, y, answers, groups = load(*case)
        seeds = [one_seed(name, data, y, answers, groups, s) for s in range(arguments.seeds)]
        right = {k: np.mean([r[k] for r, _ in seeds], axis=0) for k in seeds[0][0]}
        which = f"{name} ({options['model']}; {experts[0] if experts else 'all readers'})"
        for method in REJECTORS:
            gain = right[f"{method}, tuned"] - right[method]
            results.append(
                {
                    "case": which,
                    "rejector": method,
                    "model": float(right["model"].mean()),
                    "best_expert": float(right["best expert"].mean()),
                    "at_0": float(right[method].mean()),
                    "tuned": float(right[f"{method}, tuned"].mean()),
                    "difference": float(gain.mean()),
                    "standard_error": clustered_error(gain, groups),
                    "by_seed": [
                        float((r[f"{method}, tuned"] - r[method]).mean()) for r, _ in seeds
                    ],
                    "handed_at_0": float(np.mean([d[method].mean() for _, d in seeds])),
                    "handed_tuned": float(
                        np.mean([d[f"{method}, tuned"].mean() for _, d in seeds])
                    ),
                }
            )
            print(results[-1], flush=True)
    shown = [
        {
            "set": r["case"],
            "rejector": r["rejector"],
            "model": f"{r['model']:.3f}",
            "best expert": f"{r['best_expert']:.3f}",
            "at 0": f"{r['at_0']:.3f}",
            "tuned": f"{r['tuned']:.3f}",
            "tuned - at 0": f"{r['difference']:+.4f} ± {r['standard_error']:.4f}",
            "seeds": f"{min(r['by_seed']):+.4f} to {max(r['by_seed']):+.4f}",
            "handed over": f"{r['handed_at_0']:.0%} -> {r['handed_tuned']:.0%}",
        }
        for r in results
    ]
    print(table(shown, list(shown[0])))
    write("tuning", seeds=arguments.seeds, results=results)


if __name__ == "__main__":
    main()
