"""Asymmetric softmax: values by hand, the minimiser, and readings that are probabilities."""

import math

import pytest
import torch

from skdefer.losses import (
    asymmetric_softmax_expert_accuracy,
    asymmetric_softmax_loss,
    lce_class_proba,
    ova_loss,
)
from tests.losses.tables import ACCURACY, ALWAYS, ANSWERED, ETA, minimise, outcomes

# exp of the scores: three classes and two experts; all classes but the likeliest: 3
SCORES = torch.tensor([[1.0, 2, 4, 1, 6]], dtype=torch.float64).log()


def value(correct, label=1):
    return asymmetric_softmax_loss(
        SCORES, torch.tensor([label]), torch.tensor([correct], dtype=torch.float64)
    ).item()


@pytest.mark.parametrize(
    ("correct", "expected"),
    [
        ([0, 0], -math.log(2 / 7) - math.log(3 / 4) - math.log(3 / 9)),
        ([1, 0], -math.log(2 / 7) - math.log(1 / 4) - math.log(3 / 9)),
        ([1, 1], -math.log(2 / 7) - math.log(1 / 4) - math.log(6 / 9)),
        ([math.nan, 1], -math.log(2 / 7) - math.log(6 / 9)),
        ([math.nan, math.nan], -math.log(2 / 7)),
    ],
)
def test_by_hand(correct, expected):
    assert value(correct) == pytest.approx(expected)


@pytest.mark.parametrize("answered", [ALWAYS, ANSWERED], ids=["always", "at random"])
def test_the_minimiser(answered):
    x, y, correct, probability = outcomes(answered)
    scores = minimise(lambda s: (probability * asymmetric_softmax_loss(s[x], y, correct)).sum(), 5)
    proba = lce_class_proba(scores, 3)
    torch.testing.assert_close(proba, ETA, rtol=0, atol=1e-3)
    accuracy = asymmetric_softmax_expert_accuracy(scores, 3)
    torch.testing.assert_close(accuracy, ACCURACY, rtol=0, atol=1e-3)
    # The greatest score is that of whoever is right most often: the published property.
    best = torch.cat([ETA, ACCURACY], 1).argmax(1)
    assert torch.equal(scores.argmax(1), best)


def test_the_gradient_at_equal_classes_is_finite():
    scores = torch.zeros(2, 4, requires_grad=True)
    asymmetric_softmax_loss(scores, torch.tensor([0, 1]), torch.ones(2, 1)).sum().backward()
    assert scores.grad.isfinite().all()


def test_an_expert_is_likelier_than_the_best_class_where_the_score_is_greater():
    scores = torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = asymmetric_softmax_expert_accuracy(scores, 3)
    gain = gain - lce_class_proba(scores, 3).amax(-1, keepdim=True)
    assert torch.equal(gain > 0, scores[:, 3:] > scores[:, :3].amax(-1, keepdim=True))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="expects two at least"):
        asymmetric_softmax_loss(torch.zeros(2, 2), torch.zeros(2, dtype=int), torch.ones(2, 1))
    assert ova_loss(torch.zeros(2, 2), torch.zeros(2, dtype=int), torch.ones(2, 1)).shape == (2,)
