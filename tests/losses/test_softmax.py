"""LCE: values by hand, and the scores at which it is least."""

import math

import pytest
import torch

from skdefer.losses import lce_class_proba, lce_expert_accuracy, lce_loss
from tests.losses.tables import ACCURACY, ALWAYS, ANSWERED, ETA, minimise, outcomes

# p = (1, 2, 4, 1, 2) / 10: three classes, two experts
SCORES = torch.tensor([[1.0, 2, 4, 1, 2]], dtype=torch.float64).log()


def value(correct, label=1, **options):
    correct = torch.tensor([correct], dtype=torch.float64)
    return lce_loss(SCORES, torch.tensor([label]), correct, **options).item()


@pytest.mark.parametrize(
    ("correct", "expected"),
    [
        ([0, 0], -math.log(0.2)),
        ([1, 0], -math.log(0.2) - math.log(0.1)),
        ([1, 1], -math.log(0.2) - math.log(0.1) - math.log(0.2)),
        # Without the second expert, p = (1, 2, 4, 1) / 8.
        ([1, math.nan], -math.log(2 / 8) - math.log(1 / 8)),
        ([math.nan, math.nan], -math.log(2 / 7)),
    ],
)
def test_by_hand(correct, expected):
    assert value(correct) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("correct", "weight"), [([0, 0], 1), ([1, 0], 0.5), ([1, 1], 0.5), ([0, math.nan], 1)]
)
def test_alpha_weighs_the_classifier_where_an_expert_is_right(correct, weight):
    of_experts = value(correct) - value(correct, alpha=0.5)
    total = 10 if correct[1] == correct[1] else 8
    assert of_experts == pytest.approx(-(1 - weight) * math.log(2 / total))


def test_one_expert_is_the_published_loss():
    p = SCORES[:, :4].softmax(-1)[0]
    y = torch.tensor([2])
    right = lce_loss(SCORES[:, :4], y, torch.ones(1, 1, dtype=torch.float64))
    wrong = lce_loss(SCORES[:, :4], y, torch.zeros(1, 1, dtype=torch.float64))
    assert right.item() == pytest.approx(-(p[2].log() + p[3].log()).item())
    assert wrong.item() == pytest.approx(-p[2].log().item())


@pytest.mark.parametrize("answered", [ALWAYS, ANSWERED], ids=["always", "at random"])
def test_the_minimiser(answered):
    x, y, correct, probability = outcomes(answered)
    scores = minimise(lambda s: (probability * lce_loss(s[x], y, correct)).sum(), 5)
    total = 1 + ACCURACY.sum(1, keepdim=True)
    p = scores.softmax(-1)
    torch.testing.assert_close(p[:, :3], ETA / total, rtol=0, atol=1e-3)
    torch.testing.assert_close(p[:, 3:], ACCURACY / total, rtol=0, atol=1e-3)
    torch.testing.assert_close(lce_class_proba(scores, 3), ETA, rtol=0, atol=1e-3)
    torch.testing.assert_close(lce_expert_accuracy(scores, 3), ACCURACY, rtol=0, atol=1e-3)


def test_what_extreme_scores_imply_is_a_probability():
    for sign in (-1.0, 1.0):
        scores = torch.tensor([[-100.0, -100.0, 100.0], [100.0, 100.0, -100.0]]) * sign
        accuracy = lce_expert_accuracy(scores, 2)
        assert accuracy.isfinite().all()
        assert ((accuracy >= 0) & (accuracy <= 1)).all()
        assert torch.equal(lce_class_proba(scores, 2), torch.full((2, 2), 0.5))
