"""Networks that read texts: every one of them, from the raw rows to the answers."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags
from torch import nn

from skdefer import PopulationDeferralClassifier
from skdefer.deferral._neural import NeuralDeferralMixin
from skdefer.exceptions import TruncatedTextWarning
from skdefer.experts import ColumnExpert
from tests.discovery import deferral_estimators, make
from tests.neural.tiny_text import ADJECTIVES, make_backbone, make_texts

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NETWORKS = [cls for cls in deferral_estimators() if issubclass(cls, NeuralDeferralMixin)]
TEXTS, Y = make_texts(240)
NEW, Y_NEW = make_texts(100, seed=1)


def knows_good(X):
    """Right on one class; an expert reads the texts themselves."""
    return np.array([0 if "good" in text else 1 for text in X])


def new(cls, **params):
    options = {"backbone": make_backbone(), "batch_size": 32, "random_state": 0, **params}
    return make(cls, **options)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda cls: cls.__name__)
def fitted(request):
    return new(request.param, experts=knows_good, max_iter=15).fit(TEXTS, Y)


def test_texts_are_learned_from_end_to_end(fitted):
    assert accuracy_score(Y_NEW, fitted.predict_model(NEW)) > 0.9
    assert fitted.predict_proba(NEW).shape == (100, len(ADJECTIVES))
    assert fitted.deferral_score(NEW).shape == (100, 1)
    assert not hasattr(fitted, "n_features_in_")
    embeddings = "model.embeddings.word_embeddings.weight"
    before = make_backbone().state_dict()[embeddings]
    assert not torch.equal(before, fitted.module_.backbone.state_dict()[embeddings])
    assert torch.equal(before, fitted.backbone.state_dict()[embeddings]), "a copy is trained"


@pytest.mark.parametrize("container", [tuple, np.array, pd.Series])
def test_texts_may_stand_in_any_container(fitted, container):
    expected = fitted.deferral_score(NEW)
    np.testing.assert_allclose(fitted.deferral_score(container(NEW)), expected, atol=1e-5)


def test_a_row_alone_is_scored_as_among_others(fitted):
    scores = fitted.deferral_score(NEW)
    alone = np.concatenate([fitted.deferral_score([text]) for text in NEW[:10]])
    np.testing.assert_allclose(alone, scores[:10], atol=1e-5)
    order = np.random.default_rng(0).permutation(len(NEW))
    mixed = fitted.deferral_score([NEW[i] for i in order])
    np.testing.assert_allclose(mixed, scores[order], atol=1e-5)


def test_experts_read_the_texts(fitted):
    assert fitted.ask_experts(NEW)[:, 0].tolist() == knows_good(NEW).tolist()


def test_pickles_serve(fitted):
    other = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(other.deferral_score(NEW), fitted.deferral_score(NEW))


def test_missing_texts_are_refused_when_they_are_scored(fitted):
    with pytest.raises(ValueError, match="1 of 2 texts are missing"):
        fitted.deferral_score(["good", None])


@pytest.mark.parametrize("cls", NETWORKS, ids=lambda cls: cls.__name__)
def test_tags_say_what_is_read(cls):
    tags = get_tags(new(cls)).input_tags
    assert (tags.string, tags.two_d_array, tags.three_d_array) == (True, False, False)
    tags = get_tags(new(cls, backbone=nn.Flatten())).input_tags
    assert (tags.string, tags.two_d_array, tags.three_d_array) == (False, True, True)


@pytest.mark.parametrize("cls", NETWORKS, ids=lambda cls: cls.__name__)
def test_same_seed_same_network(cls):
    clfs = [new(cls, experts=knows_good, max_iter=2).fit(TEXTS, Y) for _ in range(2)]
    np.testing.assert_array_equal(*(clf.deferral_score(NEW) for clf in clfs))


def typical(**params):
    return new(PopulationDeferralClassifier, representation="none", experts=knows_good, **params)


def test_long_texts_are_counted_once_per_call():
    clf = typical(max_iter=1, backbone=make_backbone(max_length=6))
    n_long = sum(len(text.split()) > 4 for text in TEXTS)
    with pytest.warns(TruncatedTextWarning, match=f"{n_long} of 240 texts") as caught:
        clf.fit(TEXTS, Y)
    assert [w.category for w in caught].count(TruncatedTextWarning) == 1
    with pytest.warns(TruncatedTextWarning, match="1 of 1 texts") as caught:
        clf.predict(["good " * 9])
    assert len(caught) == 1


def test_searches_clone_the_encoder():
    grid = {"learning_rate_init": [1e-6, 0.02]}
    search = GridSearchCV(typical(max_iter=8), grid, cv=2).fit(TEXTS, Y)
    assert search.best_params_ == {"learning_rate_init": 0.02}
    assert search.score(NEW, Y_NEW) > 0.9
    copied = clone(search.best_estimator_)
    assert not hasattr(copied, "module_")
    assert copied.backbone is not search.best_estimator_.backbone


def test_early_stopping_and_weights():
    weight = np.arange(len(Y)) % 3
    clf = typical(max_iter=8, early_stopping=True).fit(TEXTS, Y, sample_weight=weight)
    assert accuracy_score(Y_NEW, clf.predict_model(NEW)) > 0.8
    assert len(clf.validation_scores_) == clf.n_iter_


def test_warm_starts_go_on():
    clf = typical(max_iter=3, warm_start=True).fit(TEXTS[:200], Y[:200])
    first = clf.loss_curve_[0]
    assert clf.fit(TEXTS, Y).loss_curve_[0] < first


def test_what_is_frozen_stays():
    backbone = make_backbone()
    backbone.model.embeddings.requires_grad_(False)
    clf = typical(max_iter=2, backbone=backbone).fit(TEXTS, Y)
    before, after = backbone.state_dict(), clf.module_.backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("embeddings" in name for name in moved)


def test_a_column_that_only_an_expert_sees():
    X = pd.DataFrame({"text": TEXTS, "reader": knows_good(TEXTS)})
    clf = typical(max_iter=3).set_params(experts=ColumnExpert("reader")).fit(X, Y)
    assert clf.predict_proba(pd.DataFrame({"text": NEW})).shape == (100, 3)


@pytest.mark.parametrize("representation", ["mean", "attention"])
def test_past_answers_are_read_with_their_texts(representation):
    clf = new(
        PopulationDeferralClassifier, representation=representation, experts=knows_good,
        max_iter=2, n_heads=2,
    ).fit(TEXTS, Y)  # fmt: skip
    rows = [*NEW[:20], "bad" + 9 * " film"]  # the last is longer than any text of fit
    truth = [*Y_NEW[:20], 1]
    expert = {"new": lambda X: [1] * len(X)}
    known = clf.with_experts(expert, profiles=[(truth, truth, rows)]).deferral_score(NEW)
    unknown = clf.with_experts(expert, profiles=[([], [])]).deferral_score(NEW)
    assert known.shape == (100, 1)
    assert np.isfinite(known).all()
    assert not np.allclose(known, unknown)


class Letters(nn.Module):
    """A backbone of another kind that reads rows as they are: counts of letters, no tokens."""

    def encode(self, X):
        return np.array([[text.count(letter) for letter in "gbo"] for text in X])

    def forward(self, counts):
        return counts.float()


class TooFew(Letters):
    def encode(self, X):
        return super().encode(X)[1:]


@pytest.mark.parametrize("cls", NETWORKS, ids=lambda cls: cls.__name__)
def test_any_backbone_that_encodes_reads_raw_rows(cls):
    clf = new(cls, experts=knows_good, max_iter=30, backbone=Letters()).fit(TEXTS, Y)
    assert clf.predict_proba(NEW).shape == (100, 3)
    with pytest.raises(ValueError, match=r"encode of backbone, a TooFew.*\(239, 3\), of 240 rows"):
        new(cls, experts=knows_good, backbone=TooFew()).fit(TEXTS, Y)
