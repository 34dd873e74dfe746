"""What the loaders say of the real files, against the facts known of them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from threadpoolctl import threadpool_limits

from skdefer.datasets import load_dataset

# name, options: rows, share of each label, accuracy of some experts
FACTS = [
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


@pytest.mark.parametrize(("name", "n_groups"), [("chexpert_readers", 500), ("sleep_scorers", 77)])
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
    ],
    ids=str,
)
def test_a_logistic_regression_is_as_good_as_the_readme_says(
    name, options, expected, tolerance, data_home
):
    bunch = load_dataset(name, data_home=data_home, **options)
    rows = np.random.default_rng(0).permutation(len(bunch.target))[:8000]
    groups = None if bunch.groups is None else bunch.groups[rows]
    cv = (KFold if groups is None else GroupKFold)(5, shuffle=True, random_state=0)
    # The scores of chest X-rays need a converged fit; the others are as good early.
    model = LogisticRegression(max_iter=5000, tol=1e-4 if name == "chexpert_readers" else 1e-2)
    X, y = bunch.data.iloc[rows].astype(float), bunch.target[rows]
    with threadpool_limits(1):
        scores = cross_val_score(model, X, y, cv=cv, groups=groups)
    assert scores.mean() == pytest.approx(expected, abs=tolerance)
