"""Outputs for many rows, a block at a time."""

import numpy as np
import pytest
import torch
from torch import nn

from skdefer.neural import MLP, predict_in_batches, seeded


@pytest.fixture
def net():
    with seeded(0):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), MLP(4, (8,), 2, dropout=0.5))


@pytest.fixture
def rows():
    with seeded(1):
        return torch.randn(23, 3)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_the_batch_size_does_not_matter(net, rows, batch_size):
    out = predict_in_batches(net, rows, batch_size=batch_size)
    with torch.no_grad():
        expected = net.eval()(rows).numpy()
    assert isinstance(out, np.ndarray)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-7)


def test_no_more_rows_at_a_time_than_asked(rows):
    sizes = []

    def function(x):
        sizes.append(len(x))
        assert not torch.is_grad_enabled()
        return x[:, 0]

    out = predict_in_batches(function, rows, batch_size=10)
    assert sizes == [10, 10, 3]
    assert np.array_equal(out, rows[:, 0].numpy())


def test_the_modes_of_all_parts_come_back(net, rows):
    net.train()
    net[1].eval()  # as when a part is frozen
    predict_in_batches(net, rows)
    assert [part.training for part in net] == [True, False, True]
    with pytest.raises(ValueError, match="3 numbers|must match|shapes"), torch.no_grad():
        predict_in_batches(MLP(3, ()), rows[:, :2])


def test_modes_come_back_after_an_error(rows):
    net = MLP(5, (8,), 2)
    with pytest.raises(ValueError, match="expects rows of 5"):
        predict_in_batches(net, rows)
    assert net.training


def test_arrays_will_do_whatever_their_memory_looks_like(rows):
    array = rows.numpy().copy()
    array.setflags(write=False)
    for X in (array, array[::-1], np.asfortranarray(array)):
        out = predict_in_batches(lambda x: x * 2, X, batch_size=7)
        assert np.array_equal(out, X * 2)


def test_several_inputs(rows):
    out = predict_in_batches(lambda a, b: a[:, 0] + b, rows, np.arange(23.0), batch_size=4)
    np.testing.assert_allclose(out, rows[:, 0].double().numpy() + np.arange(23))


def test_no_rows_give_no_outputs(net):
    assert predict_in_batches(net, torch.zeros(0, 3)).shape == (0, 2)


def test_dtypes_stay(rows):
    assert predict_in_batches(MLP(3, (), 2).double(), rows.double()).dtype == np.float64
    assert predict_in_batches(lambda x: x.argmax(-1), rows).dtype == np.int64


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ((torch.zeros(3), torch.zeros(4)), {}, r"lengths \[3, 4\]"),
        ((), {}, r"lengths \[\]"),
        ((torch.zeros(3),), {"batch_size": 0}, "batch_size=0"),
        ((torch.zeros(3),), {"device": "abacus"}, "abacus"),
    ],
)
def test_bad_inputs_are_refused(inputs, options, message):
    with pytest.raises(ValueError, match=message):
        predict_in_batches(lambda *x: x[0], *inputs, **options)


@pytest.mark.parametrize("function", [torch.sum, lambda x: x[:2]])
def test_outputs_that_are_not_one_per_row_are_refused(function, rows):
    with pytest.raises(ValueError, match="expected one entry per row"):
        predict_in_batches(function, rows)
