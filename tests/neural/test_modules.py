"""The MLP: widths, what comes out, and rows that it refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from skdefer.neural import MLP, seeded


def linear_layers(module):
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(
    ("hidden", "n_outputs", "widths"),
    [
        ((8, 5), 3, [(4, 8), (8, 5), (5, 3)]),
        ((8, 5), None, [(4, 8), (8, 5)]),
        (8, 3, [(4, 8), (8, 3)]),
        (np.array([8]), np.int64(3), [(4, 8), (8, 3)]),
        ((), 3, [(4, 3)]),
        ((), None, []),
    ],
)
def test_widths(hidden, n_outputs, widths):
    net = MLP(4, hidden, n_outputs)
    assert [(m.in_features, m.out_features) for m in linear_layers(net)] == widths
    assert net.n_outputs == (widths[-1][1] if widths else 4)
    assert net(torch.zeros(6, 4)).shape == (6, net.n_outputs)
    assert net(torch.zeros(2, 6, 4)).shape == (2, 6, net.n_outputs)


def test_it_is_relu_between_linear_maps():
    with seeded(0):
        net = MLP(4, (8, 5), 3)
        X = torch.randn(6, 4)
    first, second, last = linear_layers(net)
    expected = last(second(first(X).clamp(min=0)).clamp(min=0))
    torch.testing.assert_close(net(X), expected)


def test_features_come_after_the_last_relu():
    with seeded(0):
        features = MLP(4, (50,))(torch.randn(20, 4))
    assert (features >= 0).all()
    assert (features == 0).any()


def test_without_layers_rows_pass_as_they_are():
    X = torch.randn(6, 4)
    assert torch.equal(MLP(4, ())(X), X)


def test_dropout_is_for_training_only():
    with seeded(0):
        net = MLP(4, (100,), dropout=0.5)
        X = torch.randn(1, 4)
        assert not torch.equal(net(X), net(X))
        net.eval()
        assert torch.equal(net(X), net(X))


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 28, 28), (6,)])
def test_rows_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expects rows of 4 numbers"):
        MLP(4, (8,), 3)(torch.zeros(shape))


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (8,), 3),
        (4, (8, 0), 3),
        (4, (8.5,), 3),
        (4, (8,), 0),
        (4, -1, 3),
    ],
)
def test_widths_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="positive integers"):
        MLP(*arguments)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_share(dropout):
    with pytest.raises(ValueError, match="dropout"):
        MLP(4, (8,), 3, dropout=dropout)
