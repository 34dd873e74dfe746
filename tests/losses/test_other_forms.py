"""PiCCE, the mixture of experts and differentiable triage: values by hand, brute force."""

import itertools
import math

import pytest
import torch

from skdefer.losses import (
    differentiable_triage_loss,
    differentiable_triage_priority,
    lce_loss,
    mixture_of_experts_loss,
    mixture_of_experts_priority,
    picce_loss,
    triage_filter,
)
from skdefer.neural import seeded

# p = (1, 2, 4, 1, 2) / 10: three classes, two experts
SCORES = torch.tensor([[1.0, 2, 4, 1, 2]], dtype=torch.float64).log()


def value(loss, correct, label=1, **options):
    correct = torch.tensor([correct], dtype=torch.float64)
    return loss(SCORES, torch.tensor([label]), correct, **options).item()


@pytest.mark.parametrize(
    ("correct", "picked"), [([0, 0], 1.0), ([1, 0], 0.1), ([0, 1], 0.2), ([1, 1], 0.2)]
)
def test_picce_by_hand(correct, picked):
    assert value(picce_loss, correct) == pytest.approx(-math.log(0.2) - math.log(picked))


def test_picce_of_one_expert_is_lce():
    with seeded(0):
        scores, y = torch.randn(50, 5), torch.randint(4, (50,))
        correct = torch.randint(2, (50, 1)).float()
    torch.testing.assert_close(picce_loss(scores, y, correct), lce_loss(scores, y, correct))


@pytest.mark.parametrize("correct", list(itertools.product([0.0, 1.0], repeat=2)))
def test_mixture_of_experts_by_hand(correct):
    own = -math.log(2 / 7)
    gate = [1 / 4, 1 / 4, 2 / 4]  # exp of (0, log 1, log 2)
    price = [0.5, 0.1]
    expected = gate[0] * own + sum(
        g * (1 - c + b) for g, c, b in zip(gate[1:], correct, price, strict=True)
    )
    price = torch.tensor(price, dtype=torch.float64)
    found = value(mixture_of_experts_loss, list(correct), consultation_cost=price)
    assert found == pytest.approx(expected)


def test_the_gate_of_one_expert_is_a_sigmoid():
    s = SCORES[:, 3].sigmoid().item()
    correct = torch.zeros(1, 1, dtype=torch.float64)
    found = mixture_of_experts_loss(SCORES[:, :4], torch.tensor([2]), correct).item()
    assert found == pytest.approx(-(1 - s) * math.log(4 / 7) + s)
    priority = mixture_of_experts_priority(SCORES[:, :4], 3).item()
    assert priority == pytest.approx(s - (1 - s))


@pytest.mark.parametrize("budget", [0.0, 0.2, 0.29, 0.5, 1.0])
def test_the_filter_hands_over_what_gains_most(budget):
    """Against every set of rows of the allowed size."""
    with seeded(int(100 * budget)):
        model, expert = torch.rand(7), torch.rand(7).round()
    handed = triage_filter(model, expert, budget)
    best = min(
        sum(float(expert[i] if i in chosen else model[i]) for i in range(7))
        for size in range(int(budget * 7 + 1e-9) + 1)
        for chosen in itertools.combinations(range(7), size)
    )
    assert torch.where(handed, expert, model).sum().item() == pytest.approx(best, abs=1e-6)
    assert handed.sum() <= budget * 7 + 1e-9


def test_the_filter_keeps_rows_that_gain_nothing_and_takes_earlier_ones_first():
    ones = torch.ones(4)
    assert not triage_filter(ones, ones, 1.0).any()
    assert triage_filter(ones, torch.zeros(4), 0.5).tolist() == [True, True, False, False]
    assert triage_filter(torch.ones(100), torch.zeros(100), 0.29).sum() == 29


@pytest.mark.parametrize("budget", [-0.1, 1.1])
def test_a_budget_that_is_no_share_is_refused(budget):
    with pytest.raises(ValueError, match="expected a share of the rows"):
        triage_filter(torch.ones(2), torch.zeros(2), budget)


def test_triage_by_hand():
    """Four rows alike but for the label: the classifier loses log(7/1), log(7/2), log(7/4)."""
    scores = SCORES.expand(4, -1)
    y = torch.tensor([0, 0, 1, 2])
    correct = torch.tensor([[0, 1], [0, 0], [1, 0], [0, 1]], dtype=torch.float64)
    found = differentiable_triage_loss(scores, y, correct, budget=0.5)
    # Gains: log 7 - 0, log 7 - 1, log 3.5 - 0, log 1.75 - 0; the first and the third are greatest.
    sure = SCORES[0, 3:].sigmoid()
    yes, no = -sure.log(), -(1 - sure).log()
    expected = [
        no[0] + yes[1],
        math.log(7) + no[0] + no[1],
        yes[0] + no[1],
        math.log(7 / 4) + no[0] + no[1],
    ]
    torch.testing.assert_close(found, torch.stack([torch.as_tensor(e) for e in expected]))
    priority = differentiable_triage_priority(SCORES, 3)
    torch.testing.assert_close(priority, (2 * sure - 1).unsqueeze(0))


def test_triage_does_not_know_the_order_of_the_rows():
    with seeded(0):
        scores, y = torch.randn(40, 6), torch.randint(4, (40,))
        correct = torch.randint(2, (40, 2)).float()
        order = torch.randperm(40)
    values = differentiable_triage_loss(scores, y, correct)
    moved = differentiable_triage_loss(scores[order], y[order], correct[order])
    torch.testing.assert_close(moved, values[order])
