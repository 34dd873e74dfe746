"""The expert-agnostic loss: values by hand, and the scores at which it is least."""

import math

import pytest
import torch

from skdefer.losses import (
    expert_agnostic_loss,
    expert_agnostic_priority,
    lce_class_proba,
    lce_expert_accuracy,
    lce_loss,
)
from tests.losses.tables import ETA, minimise

# p = (1, 2, 4, 3) / 10: three classes and deferral
SCORES = torch.tensor([[1.0, 2, 4, 3]], dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("label", "knows", "weight", "expected"),
    [
        (1, 1, 0.8, -math.log(0.2) - 0.8 * math.log(0.3)),
        (1, 1, 1.0, -math.log(0.2) - math.log(0.3)),
        (1, 1, 0.0, -math.log(0.2)),
        (1, 2, 0.8, -math.log(0.2)),
    ],
)
def test_by_hand(label, knows, weight, expected):
    value = expert_agnostic_loss(
        SCORES, torch.tensor([label]), torch.tensor([knows]), torch.tensor([weight])
    )
    assert value.item() == pytest.approx(expected)


def test_it_is_lce_of_an_expert_right_on_one_class_alone():
    y, knows = torch.tensor([0, 1, 2]), torch.tensor([1, 1, 1])
    scores = SCORES.expand(3, -1)
    agnostic = expert_agnostic_loss(scores, y, knows, torch.ones(3))
    torch.testing.assert_close(agnostic, lce_loss(scores, y, (y == knows)[:, None].double()))


def test_the_minimiser():
    # An expert for each x, best on one class, and known there by a weight; weights of other
    # classes must not be read.
    knows = torch.tensor([0, 2, 1, 1])
    weights = torch.tensor(
        [[0.9, 0.1, 0.2], [0.3, 0.3, 0.6], [0.1, 0.5, 0.4], [0.2, 1.0, 0.9]], dtype=torch.float64
    )
    x, y = (
        grid.ravel() for grid in torch.meshgrid(torch.arange(4), torch.arange(3), indexing="ij")
    )

    def expected_loss(scores):
        return (ETA[x, y] * expert_agnostic_loss(scores[x], y, knows[x], weights[x, y])).sum()

    scores = minimise(expected_loss, 4)
    each = torch.arange(4)
    gain = ETA[each, knows] * weights[each, knows]  # eta_k* w_k*
    p = scores.softmax(-1)
    torch.testing.assert_close(p[:, :3], ETA / (1 + gain)[:, None], rtol=0, atol=1e-3)
    torch.testing.assert_close(p[:, 3], gain / (1 + gain), rtol=0, atol=1e-3)
    torch.testing.assert_close(lce_class_proba(scores, 3), ETA, rtol=0, atol=1e-3)
    torch.testing.assert_close(lce_expert_accuracy(scores, 3)[:, 0], gain, rtol=0, atol=1e-3)
    expected = (gain - ETA.amax(1)) / (1 + gain)
    torch.testing.assert_close(expert_agnostic_priority(scores), expected, rtol=0, atol=1e-3)


def test_priority_by_hand():
    assert expert_agnostic_priority(SCORES).item() == pytest.approx(0.3 - 0.4)
    assert expert_agnostic_priority(SCORES.expand(2, 5, 4)).shape == (2, 5)
