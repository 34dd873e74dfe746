"""One-vs-all: values by hand, and the scores at which it is least."""

import math

import pytest
import torch

from skdefer.losses import ova_class_proba, ova_expert_accuracy, ova_loss
from tests.losses.tables import ACCURACY, ALWAYS, ANSWERED, ETA, minimise, outcomes

# Sigmoids 1/3, 2/3, 4/5 for three classes, 1/2 and 2/3 for two experts.
SCORES = torch.tensor([[0.5, 2, 4, 1, 2]], dtype=torch.float64).log()
CLASSES = -math.log(2 / 3) - math.log(2 / 3) - math.log(1 / 5)  # where the second is true


@pytest.mark.parametrize(
    ("correct", "expected"),
    [
        ([0, 0], -math.log(1 / 2) - math.log(1 / 3)),
        ([1, 0], -math.log(1 / 2) - math.log(1 / 3)),
        ([1, 1], -math.log(1 / 2) - math.log(2 / 3)),
        ([1, math.nan], -math.log(1 / 2)),
        ([math.nan, 1], -math.log(2 / 3)),
        ([math.nan, math.nan], 0),
    ],
)
def test_by_hand(correct, expected):
    correct = torch.tensor([correct], dtype=torch.float64)
    value = ova_loss(SCORES, torch.tensor([1]), correct).item()
    assert value == pytest.approx(CLASSES + expected)


@pytest.mark.parametrize("answered", [ALWAYS, ANSWERED], ids=["always", "at random"])
def test_the_minimiser(answered):
    x, y, correct, probability = outcomes(answered)
    scores = minimise(lambda s: (probability * ova_loss(s[x], y, correct)).sum(), 5)
    torch.testing.assert_close(scores[:, :3].sigmoid(), ETA, rtol=0, atol=1e-3)
    torch.testing.assert_close(ova_class_proba(scores, 3), ETA, rtol=0, atol=1e-3)
    torch.testing.assert_close(ova_expert_accuracy(scores, 3), ACCURACY, rtol=0, atol=1e-3)


def test_an_extreme_score_costs_its_size_and_no_less():
    # The tail of the logistic loss: exp(-100) where right, 100 where wrong.
    scores = torch.tensor([[100.0, -100.0, 100.0]], dtype=torch.float64)
    right = ova_loss(scores, torch.tensor([0]), torch.ones(1, 1, dtype=torch.float64))
    wrong = ova_loss(scores, torch.tensor([0]), torch.zeros(1, 1, dtype=torch.float64))
    assert 0 <= right.item() < 1e-40
    assert wrong.item() == pytest.approx(100)


def test_class_probabilities_of_extreme_scores_sum_to_1():
    for scores in ([-100.0, -101.0], [100.0, 100.0], [-100.0, 100.0]):
        proba = ova_class_proba(torch.tensor([[*scores, 0.0]]), 2)
        assert proba.sum().item() == pytest.approx(1)
    low = ova_class_proba(torch.tensor([[-100.0, -101.0, 0.0]]), 2)
    assert (low[0, 0] / low[0, 1]).item() == pytest.approx(math.e, rel=1e-4)
