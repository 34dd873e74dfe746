"""Realizable losses: values by hand, each other's limits, and perfect systems."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skdefer.losses import realizable_loss, rl2d_loss, softmax_priority
from tests.losses.tables import minimise

# p = (1, 2, 4, 1, 2) / 10: three classes, two experts
SCORES = torch.tensor([[1.0, 2, 4, 1, 2]], dtype=torch.float64).log()


def value(loss, correct, label=1, scores=SCORES, **options):
    correct = torch.tensor([correct], dtype=torch.float64)
    return loss(scores, torch.tensor([label]), correct, **options).item()


@pytest.mark.parametrize(
    ("correct", "right"), [([0, 0], 0.2), ([1, 0], 0.3), ([0, 1], 0.4), ([1, 1], 0.5)]
)
def test_by_hand(correct, right):
    assert value(realizable_loss, correct) == pytest.approx(-math.log(right))
    own = -math.log(2 / 7)
    expected = -0.3 * math.log(right) + 0.7 * own
    assert value(realizable_loss, correct, alpha=0.3) == pytest.approx(expected)
    assert value(realizable_loss, correct, alpha=0.0) == pytest.approx(own)
    assert value(rl2d_loss, correct) == pytest.approx(1 - right)
    assert value(rl2d_loss, correct, q=0.5) == pytest.approx((1 - right**0.5) / 0.5)


@given(
    st.lists(st.floats(-8, 8), min_size=5, max_size=5),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2),
)
def test_q_towards_0_is_the_logarithm(scores, correct):
    scores = torch.tensor([scores], dtype=torch.float64)
    wanted = value(realizable_loss, correct, scores=scores)
    assert value(rl2d_loss, correct, scores=scores, q=0) == pytest.approx(wanted, abs=1e-9)
    assert value(rl2d_loss, correct, scores=scores, q=1e-7) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("q", "beta"), list(itertools.product([0, 0.5, 1, 2], [0.0, 0.25, 1.0, 3.0]))
)
@pytest.mark.parametrize("right", [0, 1])
def test_one_expert_is_the_published_family(q, beta, right):
    def psi(t):
        return -math.log(t) if q == 0 else (1 - t**q) / q

    p = SCORES[:, :4].softmax(-1)[0].tolist()
    c = min(1 - right + beta, 1)
    expected = c * psi(p[1]) + (1 - c) * psi(p[1] + p[3])
    found = value(rl2d_loss, [right], scores=SCORES[:, :4], q=q, consultation_cost=beta)
    assert found == pytest.approx(expected)


def test_several_experts_are_averaged_over_the_level_of_their_cost():
    """Against the definition: a uniform level, and all experts whose cost is within it."""
    price = torch.tensor([0.6, 0.1], dtype=torch.float64)
    p = SCORES.exp()[0] / 10
    for correct in itertools.product([0.0, 1.0], repeat=2):
        levels = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
        cost = (1 - torch.tensor(correct) + price).clamp(0, 1)
        within = p[1] + (p[3:] * (cost <= levels[:, None])).sum(1)
        expected = (1 - within).mean().item()
        found = value(rl2d_loss, list(correct), consultation_cost=price)
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "loss",
    [realizable_loss, lambda *a: realizable_loss(*a, alpha=0.5), lambda *a: rl2d_loss(*a, q=0.7)],
)
def test_a_perfect_system_is_found_where_there_is_one(loss):
    """Rows without a feature that tells the classes apart, but an expert who can."""
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    x = torch.tensor([0, 1, 2, 3, 3, 3])  # the last three look alike
    correct = torch.tensor([[0.0, 1], [1, 0], [0, 0], [1, 0], [1, 0], [1, 1]], dtype=torch.float64)
    scores = minimise(lambda s: loss(s[x], y, correct).mean(), 5)
    route = softmax_priority(scores, 3)
    handed = route.amax(1) > 0
    assert handed[3]
    assert route[3].argmax() == 0
    kept = ~handed[x]
    assert torch.equal(scores[:, :3].argmax(1)[x][kept], y[kept])


def test_a_negative_q_is_refused():
    with pytest.raises(ValueError, match=r"q=-1; expected 0 \(the logarithm\) or more"):
        value(rl2d_loss, [1, 1], q=-1)
