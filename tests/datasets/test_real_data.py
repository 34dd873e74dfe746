"""What the loaders say of the real files, against the facts known of them."""

import doctest
import inspect
import re

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from threadpoolctl import threadpool_limits

import skdefer.datasets
from skdefer.datasets import list_datasets, load_dataset
from tests.datasets.models import plain_model

LLMS = ("gpt35_cot", "gpt4_cot", "gpt35_rag", "gpt4_rag")

# name, options: rows, share of each label, accuracy of some experts
FACTS = [
    ("ade_corpus", {"include_references": True}, 20896, [0.796, 0.204],
     {"tfidf_lr": 0.865, "minilm_lr": 0.860, "keyword_rule": 0.741}),
    ("chexpert_readers", {}, 2500, [0.794, 0.206],
     {"radiologist_bc4": 0.854, "radiologist_bc6": 0.821, "radiologist_bc8": 0.854}),
    ("chexpert_readers", {"finding": "Consolidation"}, 500, [0.942, 0.058], {}),
    ("sleep_scorers", {"include_networks": True, "model": "m_chambon"}, 73792,
     [0.176, 0.057, 0.497, 0.102, 0.168],
     {"scorer1": 0.812, "scorer2": 0.820, "m_tsinalis": 0.745, "m_simplenet": 0.865}),
    ("cifar10h_models", {"include_networks": True, "model": "cleanlab_cv"}, 10000, [0.1] * 10,
     {"human_draw": 0.953, "vgg_or_other": 0.889, "resnet110": 0.939, "densenet190": 0.967}),
    ("ecg_readers", {}, 827, [0.823, 0.177],
     {"cardiology_residents": 0.967, "emergency_residents": 0.955, "medical_students": 0.963}),
    ("ecg_readers", {"task": "single"}, 827, None,
     {"cardiology_residents": 0.959, "emergency_residents": 0.949, "medical_students": 0.941}),
    ("css_llm", {"task": "conv_go_awry"}, 500, [0.5, 0.5], {"chatgpt": 0.530}),
    ("css_llm", {"task": "discourse"}, 497, None, {"chatgpt": 0.445, "flan_t5_xxl": 0.525}),
    ("css_llm", {"task": "emotion"}, 498, None, {"chatgpt": 0.462, "flan_t5_xxl": 0.667}),
    ("css_llm", {"task": "ibc"}, 498, None, {"chatgpt": 0.548, "flan_t5_xxl": 0.544}),
    ("css_llm", {"task": "media_ideology"}, 498, None, {"chatgpt": 0.588}),
    ("css_llm", {"task": "persuasion"}, 434, [0.5, 0.5], {"chatgpt": 0.530}),
    ("css_llm", {"task": "raop"}, 399, None, {"chatgpt": 0.408, "flan_t5_xxl": 0.516}),
    ("frugalml", {"task": "YELP"}, 20000, [0.5, 0.5], {"google": 0.957}),
    ("frugalml", {"task": "IMDB"}, 25000, [0.5, 0.5], {"google": 0.864}),
    ("frugalml", {"task": "SHOP"}, 62774, [0.505, 0.495], {"baidu": 0.922}),
    ("frugalml", {"task": "WAIMAI"}, 11987, [0.334, 0.666], {"baidu": 0.889}),
    ("frugalml", {"task": "FERPLUS"}, 6358, None, {"microsoft": 0.814}),
    ("frugalml", {"task": "RAFDB"}, 15339, None, {"microsoft": 0.717}),
    ("frugalml", {"task": "EXPW"}, 31510, None, {"microsoft": 0.728}),
    ("ham10000_8x8", {}, 10015, [0.033, 0.051, 0.110, 0.011, 0.669, 0.014, 0.111], {}),
    ("medqa_llm", {"task": "bioasq"}, 618, [0.361, 0.639],
     dict(zip(LLMS, (0.739, 0.838, 0.903, 0.926)))),
    ("medqa_llm", {"task": "pubmedqa"}, 500, None, dict(zip(LLMS, (0.360, 0.396, 0.674, 0.704)))),
    ("medqa_llm", {"task": "medmcqa"}, 4183, None, dict(zip(LLMS, (0.536, 0.684, 0.535, 0.623)))),
    ("medqa_llm", {"task": "medqa"}, 1273, None, dict(zip(LLMS, (0.646, 0.830, 0.656, 0.819)))),
    ("medqa_llm", {"task": "mmlu"}, 1089, None, dict(zip(LLMS, (0.720, 0.892, 0.747, 0.871)))),
    ("openl2d_adult", {}, 45222, [0.752, 0.248],
     {"standard_0": 0.877, "biased_vs_females_0": 0.851, "sparse_dependency_4": 0.873}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "n", "shares", "accuracy"), FACTS, ids=str)
def test_rows_balance_and_experts(name, options, n, shares, accuracy, data_home):
    bunch = load_dataset(name, data_home=data_home, **options)
    assert len(bunch.target) == n
    if shares is not None:
        _, counts = np.unique(bunch.target, return_counts=True)
        # The README's shares of sleep are of all epochs, those without a majority too.
        np.testing.assert_allclose(counts / n, shares, atol=0.0015 if n != 73792 else 0.012)
    for expert, expected in accuracy.items():
        answers = bunch.expert_predictions[expert]
        right = (answers == bunch.target)[answers.notna()].mean()
        assert right == pytest.approx(expected, abs=0.0011), expert


@pytest.mark.parametrize(
    ("name", "n_groups"),
    [
        ("ade_corpus", 2972),
        ("chexpert_readers", 500),
        ("sleep_scorers", 77),
        ("ham10000_8x8", 7470),
    ],
)
def test_groups(name, n_groups, data_home):
    assert len(set(load_dataset(name, data_home=data_home).groups)) == n_groups


@pytest.mark.parametrize(
    ("task", "accuracy"),
    [("YELP", 0.745), ("WAIMAI", 0.643), ("FERPLUS", 0.651), ("RAFDB", 0.600)],
)
def test_free_model(task, accuracy, data_home):
    bunch = load_dataset("frugalml", data_home=data_home, task=task)
    assert (bunch.free_label == bunch.target).mean() == pytest.approx(accuracy, abs=0.001)


@pytest.mark.parametrize(
    ("name", "options", "expected", "tolerance"),
    [
        ("chexpert_readers", {"model": "jfaboy"}, 0.891, 0.01),
        ("chexpert_readers", {"model": "hieupham"}, 0.894, 0.01),
        # Samples of epochs differ by .01.
        ("sleep_scorers", {"model": "m_tsinalis"}, 0.771, 0.02),
        ("ecg_readers", {"task": "single"}, 0.948, 0.01),
        ("ecg_readers", {"model": "age_sex"}, 0.821, 0.01),
        ("ham10000_8x8", {}, 0.718, 0.01),
        ("ham10000_8x8", {"features": "frame"}, 0.718, 0.01),
        ("openl2d_adult", {}, 0.848, 0.003),
    ],
    ids=str,
)
def test_a_logistic_regression_is_as_good_as_the_readme_says(
    name, options, expected, tolerance, data_home
):
    bunch = load_dataset(name, data_home=data_home, **options)
    n = 8000 if name == "sleep_scorers" else len(bunch.target)  # nights: too many for a test
    rows = np.random.default_rng(0).permutation(len(bunch.target))[:n]
    groups = None if bunch.groups is None else bunch.groups[rows]
    cv = (KFold if groups is None else GroupKFold)(5, shuffle=True, random_state=0)
    X, y = bunch.data.iloc[rows], bunch.target[rows]
    # These two need a converged fit (sums of money: .839 early); the others are as good early.
    converged = name in ("chexpert_readers", "openl2d_adult")
    model = plain_model(X, max_iter=5000, tol=1e-4 if converged else 1e-2)
    with threadpool_limits(1):
        scores = cross_val_score(model, X, y, cv=cv, groups=groups)
    assert scores.mean() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("n_columns", "expected"), [(64, 0.19), (84, 0.29)])
def test_lesions_are_hard_when_every_class_counts(n_columns, expected, data_home):
    bunch = load_dataset("ham10000_8x8", data_home=data_home)
    model = plain_model(bunch.data, max_iter=5000, tol=1e-3)
    X, cv = bunch.data.iloc[:, :n_columns], GroupKFold(5, shuffle=True, random_state=0)
    with threadpool_limits(1):
        scores = cross_val_score(
            model, X, bunch.target, cv=cv, groups=bunch.groups, scoring="balanced_accuracy"
        )
    assert scores.mean() == pytest.approx(expected, abs=0.01)


def test_lesions_gaps_and_gold(data_home):
    bunch = load_dataset("ham10000_8x8", data_home=data_home)
    unknown = bunch.data[["age missing", "sex unknown", "localization unknown"]]
    assert unknown.sum().tolist() == [57, 57, 234]
    assert not bunch.data.isna().any(axis=None)
    counts = dict(zip(*np.unique(bunch.dx_type, return_counts=True), strict=True))
    assert counts == {"histo": 5340, "follow_up": 3704, "consensus": 902, "confocal": 69}
    labels = np.array(bunch.target_names)[bunch.target]
    assert set(labels[bunch.dx_type == "follow_up"]) == {"nv"}
    assert set(bunch.dx_type[np.isin(labels, ["akiec", "bcc", "mel"])]) == {"histo"}


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("standard", 0.853, 0.883),
        ("biased_vs_females", 0.829, 0.882),
        ("biased_vs_non_white", 0.817, 0.884),
        ("biased_vs_older", 0.803, 0.890),
        ("sparse_dependency", 0.839, 0.882),
    ],
)
def test_simulated_experts_are_as_good_as_described(kind, least, most, data_home):
    bunch = load_dataset("openl2d_adult", data_home=data_home)
    answers = bunch.expert_predictions.filter(regex=rf"^{kind}_\d$")
    accuracy = answers.eq(bunch.target, axis=0).mean()
    assert len(accuracy) == 5
    assert accuracy.min() == pytest.approx(least, abs=0.0006)
    assert accuracy.max() == pytest.approx(most, abs=0.0006)
    assert f"{least:.3f}"[1:] in bunch.DESCR
    assert f"{most:.3f}"[1:] in bunch.DESCR


def test_biased_simulated_experts_miss_the_high_incomes_of_those_they_are_biased_against(data_home):
    bunch = load_dataset("openl2d_adult", data_home=data_home)
    people = bunch.data
    right = bunch.expert_predictions.eq(bunch.target, axis=0)
    assert right.any(axis=1).all()
    assert right.all(axis=1).mean() == pytest.approx(0.054, abs=0.0006)
    against = {
        "biased_vs_females": (people["sex"] == "Female", 0.77, 0.04),
        "biased_vs_non_white": (people["binarized_race"] == "Non-White", 0.78, 0.09),
        "biased_vs_older": (people["age"] >= 50, 0.30, 0.09),
    }

    def missed(kind, rows, label=1):
        """Share of the people of one label whom the five put on the other side, on average."""
        team = bunch.expert_predictions.filter(like=f"{kind}_")[rows]
        truth = bunch.target[rows]
        return 1 - np.mean([recall_score(truth, team[e], pos_label=label) for e in team])

    for kind, (group, inside, outside) in against.items():
        assert missed(kind, group) == pytest.approx(inside, abs=0.006)
        assert missed(kind, ~group) == pytest.approx(outside, abs=0.006)
        for fair in ("standard", "sparse_dependency"):  # nothing of that size
            assert abs(missed(fair, group) - missed(fair, ~group)) < 0.1
    women = people["sex"] == "Female"
    assert missed("biased_vs_females", women, label=0) == pytest.approx(0.0, abs=0.006)
    assert missed("biased_vs_females", ~women, label=0) == pytest.approx(0.22, abs=0.006)


def test_figures_in_the_notes_on_adverse_effects(data_home):
    bunch = load_dataset("ade_corpus", data_home=data_home, include_references=True)
    for name, expected in {"tfidf_lr": 0.590, "minilm_lr": 0.624}.items():
        assert f1_score(bunch.target, bunch.expert_predictions[name]) == pytest.approx(
            expected, abs=0.0006
        )
        assert f"{expected:.3f}"[1:] in bunch.DESCR


def test_every_abstention_is_kept(data_home):
    said = [
        load_dataset("medqa_llm", data_home=data_home, task=task).expert_predictions
        for task in ("bioasq", "pubmedqa", "medmcqa", "medqa", "mmlu")
    ]
    assert sum(int((answers == "abstain").to_numpy().sum()) for answers in said) == 1685


@pytest.mark.parametrize("name", list_datasets())
def test_examples_of_the_loaders_hold_on_the_real_files(name, data_home, monkeypatch):
    monkeypatch.setenv("SKDEFER_DATA", str(data_home))
    text = inspect.getdoc(getattr(skdefer.datasets, f"load_{name}"))
    text, n_skipped = re.subn(r"\s*# doctest: \+SKIP", "", text)
    assert n_skipped > 0
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    said = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.failed == 0, "".join(said)
