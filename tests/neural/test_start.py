"""The scores that a last layer starts from: those of classes and experts in general."""

import numpy as np
import pytest
import torch

from skdefer.losses import get_surrogate, surrogate_names
from skdefer.neural._start import best_constants

rng = np.random.default_rng(0)
Y = torch.from_numpy(rng.choice(3, p=[0.5, 0.3, 0.2], size=2000))
RIGHT = torch.from_numpy((rng.random((2000, 2)) < [0.8, 0.4]).astype(float))
WEIGHT = torch.from_numpy(rng.uniform(size=2000))


def start(loss, y=Y, right=RIGHT, weight=WEIGHT):
    return best_constants(get_surrogate(loss).loss, 3 + right.shape[1], weight, y, right)


@pytest.mark.parametrize("loss", ["asymmetric_softmax", "ova"])
def test_they_say_how_frequent_classes_are_and_how_often_experts_are_right(loss):
    surrogate, scores = get_surrogate(loss), start(loss)[None]
    shares = [np.average(Y.numpy() == k, weights=WEIGHT) for k in range(3)]
    np.testing.assert_allclose(surrogate.class_proba(scores, 3)[0], shares, atol=0.02)
    accuracy = np.average(RIGHT.numpy(), axis=0, weights=WEIGHT)
    np.testing.assert_allclose(surrogate.expert_accuracy(scores, 3)[0], accuracy, atol=0.02)


@pytest.mark.parametrize("loss", surrogate_names())
def test_no_other_constants_nearby_are_better(loss):
    function, found = get_surrogate(loss).loss, start(loss)

    def mean(scores):
        losses = function(scores.expand(len(Y), -1), Y, RIGHT)
        return float((losses * WEIGHT).sum() / WEIGHT.sum())

    assert mean(found) <= mean(torch.zeros(5, dtype=torch.float64))
    nudges = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 5)))
    assert mean(found) <= min(mean(found + 0.3 * nudge) for nudge in nudges) + 1e-3


def test_missing_answers_do_not_count():
    hidden = RIGHT.clone()
    hidden[::2, 0] = torch.nan
    accuracy = get_surrogate("ova").expert_accuracy(start("ova", right=hidden)[None], 3)[0, 0]
    seen = np.average(RIGHT[1::2, 0], weights=WEIGHT[1::2])
    assert float(accuracy) == pytest.approx(seen, abs=0.02)


def test_an_expert_who_is_always_right_has_a_finite_score():
    scores = start("asymmetric_softmax", right=torch.ones_like(RIGHT))
    assert scores.isfinite().all()
    assert scores.abs().max() < 30


def test_a_loss_without_a_finite_value_leaves_the_scores_at_zero():
    scores = best_constants(lambda s, y: s.sum(1) * torch.nan, 4, WEIGHT, Y)
    assert scores.tolist() == [0.0] * 4
