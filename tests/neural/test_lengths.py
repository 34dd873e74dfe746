"""Rows of similar length share a batch, in training and in prediction."""

from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from skdefer.neural import predict_in_batches, seeded, train

FOREVER = float("inf")
LENGTHS = np.random.default_rng(0).lognormal(3, 1, size=1003).astype(int)


class Level(nn.Module):
    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))


def epochs_of(x, *, n=1, batch_size=8, as_dataset=False, seed=0, **options):
    """The rows of each batch of n epochs."""
    batches = []

    def loss(module, x, *rest):
        batches.append(x.tolist())
        return (module.value - x) ** 2

    data = TensorDataset(*x) if as_dataset else x
    train(
        Level(), loss, data, max_iter=n, batch_size=batch_size, n_iter_no_change=FOREVER,
        random_state=seed, **options,
    )  # fmt: skip
    per_epoch = len(batches) // n
    return [batches[i : i + per_epoch] for i in range(0, len(batches), per_epoch)]


def positions():
    return torch.arange(len(LENGTHS), dtype=torch.float32)


def padding(batches):
    """Length of the longest over that of each, averaged over all rows."""
    longest = sum(len(b) * max(LENGTHS[int(i)] for i in b) for b in batches)
    return longest / sum(LENGTHS[int(i)] for b in batches for i in b)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_every_row_once_per_epoch_beside_rows_of_its_length(as_dataset):
    options = {"n": 2, "as_dataset": as_dataset}
    first, second = epochs_of((positions(),), lengths=LENGTHS, **options)
    for batches in (first, second):
        assert sorted(chain.from_iterable(batches)) == positions().tolist()
        assert sorted(map(len, batches)) == [3] + 125 * [8]
        assert padding(batches) < 1.4
    assert padding(epochs_of((positions(),), **options)[0]) > 2
    assert first != second


def test_batches_differ_between_epochs_and_come_in_no_order_of_length():
    first, second = epochs_of((positions(),), lengths=LENGTHS, n=2)
    together = {frozenset(pair) for b in first for pair in pairwise(b)}
    again = {frozenset(pair) for b in second for pair in pairwise(b)}
    assert len(together & again) < 0.1 * len(together)
    sizes = [np.mean(LENGTHS[np.array(b, dtype=int)]) for b in first]
    assert abs(np.corrcoef(sizes, np.arange(len(sizes)))[0, 1]) < 0.3
    assert sizes not in (sorted(sizes), sorted(sizes)[::-1])


def test_the_seed_says_which():
    options = {"lengths": LENGTHS}
    one, same, other = (epochs_of((positions(),), seed=s, **options) for s in (0, 0, 1))
    assert one == same
    assert one != other


def test_without_lengths_the_rows_are_drawn_as_ever():
    with seeded(0):
        expected = [b.tolist() for b in torch.randperm(1003).float().split(8)]
    assert epochs_of((positions(),))[0] == expected


def test_rows_of_weight_0_have_no_length_either():
    weight = np.arange(1003) % 3 > 0
    kept = np.flatnonzero(weight)
    x = positions()
    with_them = epochs_of((x,), lengths=LENGTHS, sample_weight=weight)
    without = epochs_of((x[kept],), lengths=LENGTHS[kept])
    assert with_them == without


def test_weights_stay_with_their_rows():
    x = positions()
    weight = np.random.default_rng(1).uniform(size=1003)
    history = train(
        Level(), lambda module, x: x + 0 * module.value, (x,), sample_weight=weight,
        lengths=LENGTHS, max_iter=1, batch_size=8, n_iter_no_change=FOREVER, random_state=0,
    )  # fmt: skip
    assert history.loss_curve[0] == pytest.approx(np.average(x.numpy(), weights=weight))


def test_predictions_come_back_in_the_order_of_the_rows():
    asked = []

    def function(x, y):
        asked.append(x.tolist())
        return x + y

    x = np.arange(1003.0)
    out = predict_in_batches(function, torch.from_numpy(x), -x[::-1], batch_size=100,
                             lengths=LENGTHS)  # fmt: skip
    np.testing.assert_array_equal(out, x - x[::-1])
    order = [LENGTHS[int(i)] for i in chain.from_iterable(asked)]
    assert order == sorted(LENGTHS, reverse=True)
    assert [len(b) for b in asked] == 10 * [100] + [3]


def test_no_rows_have_no_lengths():
    out = predict_in_batches(lambda x: x, torch.zeros(0, 2), lengths=np.zeros(0, dtype=int))
    assert out.shape == (0, 2)


@pytest.mark.parametrize("lengths", [LENGTHS[:5], LENGTHS[:, None], np.full(1003, "long")])
def test_lengths_that_are_no_number_per_row_are_refused(lengths):
    with pytest.raises(ValueError, match=r"lengths is an array of .*expected .*\(1003,\)"):
        epochs_of((positions(),), lengths=lengths)
    with pytest.raises(ValueError, match=r"lengths is an array of .*expected .*\(1003,\)"):
        predict_in_batches(lambda x: x, positions(), lengths=lengths)
