"""The training loop: what it minimises, which rows it sees, and with which weights it ends."""

from itertools import chain

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import IterableDataset, TensorDataset

from skdefer.exceptions import TrainingDivergedWarning
from skdefer.neural import MLP, predict_in_batches, seeded, train

FOREVER = float("inf")


def loss(module, X, y):
    return cross_entropy(module(X), y, reduction="none")


def make_rows(n_rows=100, dtype=torch.float32):
    with seeded(0):
        X = torch.randn(n_rows, 3, dtype=dtype)
    return X, (X[:, 0] + X[:, 1] > 0).long()


def make_net(dtype=torch.float32, dropout=0.0):
    with seeded(1):
        return MLP(3, (8,), 2, dropout=dropout).to(dtype)


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def run(net, data=None, *, max_iter=3, **options):
    """A fixed number of epochs."""
    data = make_rows() if data is None else data
    options = {"random_state": 0, "n_iter_no_change": FOREVER, **options}
    return train(net, options.pop("loss", loss), data, max_iter=max_iter, **options)


class Level(nn.Module):
    """One number, to be compared with numbers."""

    def __init__(self, start=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([float(start)], dtype=torch.float64))


def distance(module, x):
    return (module.value - x) ** 2


# -- what is minimised ----------------------------------------------------------------


def test_a_network_learns():
    X, y = make_rows(400)
    net = make_net()
    history = run(net, (X, y), max_iter=60, learning_rate_init=0.01)
    assert history.loss_curve[-1] < 0.2 < history.loss_curve[0]
    assert (predict_in_batches(net, X).argmax(axis=1) == y.numpy()).mean() > 0.95


def test_the_minimiser_is_that_of_the_weighted_mean():
    x, weight = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64), [1.0, 2.0, 5.0]
    net = Level()
    run(net, (x,), loss=distance, sample_weight=weight, max_iter=1500, learning_rate_init=0.05)
    assert net.value.item() == pytest.approx(27 / 8, abs=1e-6)


@pytest.mark.parametrize("batch_size", [100, 7])
def test_the_loss_curve_is_the_weighted_mean_over_all_rows(batch_size):
    x = torch.linspace(-1, 2, 40, dtype=torch.float64)
    weight = np.random.default_rng(0).uniform(0.1, 9, size=40)
    history = run(
        Level(), (x,), loss=distance, sample_weight=weight, batch_size=batch_size,
        max_iter=1, learning_rate_init=1e-12,
    )  # fmt: skip
    assert history.loss_curve[0] == pytest.approx(np.average(x.numpy() ** 2, weights=weight))


def test_a_batch_of_heavy_rows_counts_for_more():
    # Two batches, of weights 9 and 1: were each divided by its own weight, the second step
    # would undo the first.
    x = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    gradients = []
    net = Level()
    net.value.register_hook(lambda g: gradients.append(g.item()))
    run(net, (x,), loss=distance, sample_weight=[9, 9, 1, 1], batch_size=2, max_iter=200,
        learning_rate_init=1e-9)  # fmt: skip
    assert np.mean(gradients) == pytest.approx(-2 * 0.8, abs=1e-4)


def test_weight_decay_shrinks_the_weights():
    free, held = make_net(), make_net()
    run(free, max_iter=50, learning_rate_init=0.01)
    run(held, max_iter=50, learning_rate_init=0.01, weight_decay=1.0)
    norms = [sum(p.square().sum().item() for p in net.parameters()) for net in (free, held)]
    assert norms[1] < 0.5 * norms[0]


def test_integer_weights_are_repeated_rows():
    X, y = make_rows(40, torch.float64)
    repeats = torch.arange(40) % 4
    weighted, repeated = make_net(torch.float64), make_net(torch.float64)
    run(weighted, (X, y), sample_weight=repeats.numpy(), max_iter=100)
    data = (X.repeat_interleave(repeats, 0), y.repeat_interleave(repeats))
    run(repeated, data, max_iter=100)
    for one, other in zip(weighted.parameters(), repeated.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("batch_size", [200, 16])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_rows_of_weight_0_are_as_if_they_were_not_there(batch_size, as_dataset):
    X, y = make_rows()
    weight = (torch.arange(100) % 3 > 0).numpy().astype(float)
    X[weight == 0] = torch.nan  # not even read
    kept = torch.from_numpy(np.flatnonzero(weight))
    with_them, without = make_net(dropout=0.5), make_net(dropout=0.5)
    data = TensorDataset(X, y) if as_dataset else (X, y)
    run(with_them, data, sample_weight=weight, batch_size=batch_size)
    run(without, (X[kept], y[kept]), batch_size=batch_size)
    assert same(state_of(with_them), state_of(without))


def test_equal_weights_are_no_weights():
    plain, weighted = make_net(), make_net()
    run(plain, batch_size=16)
    run(weighted, batch_size=16, sample_weight=np.full(100, 3.0))
    assert same(state_of(plain), state_of(weighted))


def test_one_epoch_is_training():
    net = make_net()
    before = state_of(net)
    history = run(net, max_iter=1)
    assert history.n_iter == history.best_iter == len(history.loss_curve) == 1
    assert not any(torch.equal(before[name], after) for name, after in net.state_dict().items())


def test_a_second_call_goes_on_from_the_first():
    net = make_net()
    first = run(net, max_iter=20, learning_rate_init=0.01)
    second = run(net, max_iter=20, learning_rate_init=0.01)
    assert second.loss_curve[0] < first.loss_curve[-1]


# -- seeds ----------------------------------------------------------------------------


@pytest.mark.parametrize("as_dataset", [False, True])
def test_same_seed_same_result(as_dataset):
    data = TensorDataset(*make_rows()) if as_dataset else make_rows()
    nets = [make_net(dropout=0.3) for _ in range(3)]
    for net, seed in zip(nets, [0, 0, 1], strict=True):
        run(net, data, batch_size=16, random_state=seed)
    assert same(state_of(nets[0]), state_of(nets[1]))
    assert not same(state_of(nets[0]), state_of(nets[2]))


def test_the_users_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    run(make_net(dropout=0.3), batch_size=16)
    assert torch.equal(before, torch.get_rng_state())


# -- batches --------------------------------------------------------------------------


class Recorder:
    """A loss that remembers the rows of each batch."""

    def __init__(self):
        self.batches = []

    def __call__(self, module, x):
        self.batches.append(x.tolist())
        return distance(module, x)


@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize(
    ("n_rows", "batch_size", "sizes"),
    [(3, 4, [3]), (4, 4, [4]), (5, 4, [5]), (8, 4, [4, 4]), (9, 4, [4, 5]), (10, 4, [4, 4, 2]),
     (3, 1, [1, 1, 1]), (1, 4, [1])],
)  # fmt: skip
def test_every_row_once_and_no_last_batch_of_one(n_rows, batch_size, sizes, as_dataset):
    x = torch.arange(n_rows, dtype=torch.float64)
    record = Recorder()
    data = TensorDataset(x) if as_dataset else (x,)
    run(Level(), data, loss=record, batch_size=batch_size, max_iter=2)
    if batch_size > 1:
        assert [len(b) for b in record.batches] == 2 * sizes
    half = len(record.batches) // 2
    for epoch in (record.batches[:half], record.batches[half:]):
        assert sorted(chain.from_iterable(epoch)) == x.tolist()


def test_rows_are_shuffled_anew_in_each_epoch_unless_they_make_one_batch():
    x = torch.arange(50, dtype=torch.float64)
    record = Recorder()
    run(Level(), (x,), loss=record, batch_size=25, max_iter=2)
    first, second = (list(chain(*pair)) for pair in (record.batches[:2], record.batches[2:]))
    assert first != second
    assert x.tolist() not in (first, second)
    record = Recorder()
    run(Level(), (x,), loss=record, batch_size=50, max_iter=2)
    assert record.batches == 2 * [x.tolist()]


def test_batch_norm_takes_a_row_more_than_a_batch():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    run(net, make_rows(17), batch_size=8)
    assert np.isfinite(predict_in_batches(net, make_rows(17)[0])).all()


@pytest.mark.parametrize("batch_size", [16, 200])
def test_a_dataset_trains_as_its_tensors_do(batch_size):
    X, y = make_rows()
    weight = np.arange(100) % 5
    in_memory, read = make_net(), make_net()
    run(in_memory, (X, y), sample_weight=weight, batch_size=batch_size)
    run(read, TensorDataset(X, y), sample_weight=weight, batch_size=batch_size)
    for one, other in zip(in_memory.parameters(), read.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_dataset_is_read_a_batch_at_a_time():
    x = torch.arange(30, dtype=torch.float64)

    class Blocks(TensorDataset):
        asked = []

        def __getitems__(self, places):
            self.asked.append(len(places))
            return [(x[i],) for i in places]

    run(Level(), Blocks(x), loss=distance, batch_size=10, max_iter=2)
    assert Blocks.asked == 6 * [10]


# -- the end --------------------------------------------------------------------------


def test_the_best_epoch_is_restored_and_patience_ends_training():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    scores, seen = iter([0.1, 0.5, 0.4, 0.50001, 0.3, 0.2, 0.9]), []

    def validate():
        assert not net.training
        assert not torch.is_grad_enabled()
        seen.append(state_of(net))
        return next(scores)

    def in_training(module, X, y):
        assert all(part.training for part in module.modules())
        return loss(module, X, y)

    history = run(net, loss=in_training, max_iter=50, n_iter_no_change=3, validate=validate)
    # Epoch 4 is the best, but no improvement worth waiting for: 3, 4 and 5 end it.
    assert (history.n_iter, history.best_iter) == (5, 4)
    assert history.best_validation_score == 0.50001
    assert history.validation_scores == [0.1, 0.5, 0.4, 0.50001, 0.3]
    assert history.converged
    assert same(seen[3], state_of(net))
    assert not same(seen[4], state_of(net))
    assert not net.training


def test_training_ends_when_the_loss_no_longer_falls():
    history = run(
        Level(), (torch.ones(4, dtype=torch.float64),), loss=distance, max_iter=5000, tol=1e-4,
        learning_rate_init=0.05, n_iter_no_change=10,
    )  # fmt: skip
    assert history.converged
    best = np.minimum.accumulate(history.loss_curve)
    assert history.n_iter < 5000
    assert (history.loss_curve[-10:] >= best[-11] - 1e-4).all()
    assert history.loss_curve[-11] < best[-12] - 1e-4
    assert history.validation_scores is history.best_validation_score is None


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_step_sizes_rise_and_fall_along_lines(warmup):
    places = []

    def slope(module, x):  # on which each step of Adam is as long as its step size
        places.append(module.value.item())
        return module.value * x

    net, rows = Level(), (torch.ones(10, dtype=torch.float64),)
    history = run(
        net, rows, loss=slope, batch_size=2, max_iter=4, n_iter_no_change=9,
        learning_rate_init=0.1, warmup=warmup,
    )  # fmt: skip
    steps = -np.diff([*places, net.value.item()])
    n_rising = round(warmup * 20)
    rise = np.linspace(0, 0.1, n_rising + 1, endpoint=False)[1:]
    fall = np.linspace(0.1, 0, 20 - n_rising, endpoint=False)
    np.testing.assert_allclose(steps, np.concatenate([rise, fall]), rtol=1e-5)
    assert history.n_iter == 4, "which was the plan: no warning"


@pytest.mark.parametrize("validate", [None, iter(range(9)).__next__])
def test_max_iter_warns_that_there_was_more_to_learn(validate):
    with pytest.warns(ConvergenceWarning, match="max_iter=3 epochs") as caught:
        history = run(make_net(), max_iter=3, n_iter_no_change=10, validate=validate)
    assert not history.converged
    assert caught[0].filename == __file__


def fails_from(epoch, how):
    """A loss that is not finite from an epoch on; a batch is an epoch."""
    calls = []

    def failing(module, X, y):
        calls.append(0)
        losses = loss(module, X, y)
        return losses if len(calls) < epoch else how(losses, module)

    return failing


def zero_by_root(losses, module):
    # Worth 0, so the loss stays finite, with a gradient that is not.
    return losses + (0 * losses).sqrt()


NOT_FINITE = {
    "nan": (lambda losses, module: losses * torch.nan, "loss"),
    "inf": (lambda losses, module: losses + torch.inf, "loss"),
    "gradient": (zero_by_root, "gradient"),
    "gradient too large to square": (lambda losses, module: losses * 1e30, "gradient"),
}


@pytest.mark.parametrize(("how", "what"), NOT_FINITE.values(), ids=NOT_FINITE)
def test_divergence_goes_back_to_the_last_good_epoch(how, what):
    net, good = make_net(), make_net()
    with pytest.warns(TrainingDivergedWarning, match=f"{what}.*epoch 4.*learning_rate_init"):
        history = run(net, loss=fails_from(4, how), max_iter=9)
    run(good, max_iter=3)
    assert (history.n_iter, history.best_iter, history.converged) == (3, 3, False)
    assert same(state_of(net), state_of(good))
    assert not net.training


def test_a_failure_in_the_very_last_step_is_seen_too():
    with pytest.warns(TrainingDivergedWarning, match="epoch 2"):
        run(make_net(), loss=fails_from(2, zero_by_root), max_iter=2)


@pytest.mark.parametrize(("how", "what"), NOT_FINITE.values(), ids=NOT_FINITE)
def test_divergence_in_the_first_epoch_is_an_error(how, what):
    with pytest.raises(ValueError, match=rf"{what}.*epoch 1\..*scale X"):
        run(make_net(), loss=fails_from(1, how))


def test_nan_in_the_rows_is_an_error():
    X, y = make_rows()
    X[3, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        run(make_net(), (X, y), batch_size=16)


def test_divergence_goes_back_to_the_best_validated_epoch():
    net, good = make_net(), make_net()
    with pytest.warns(TrainingDivergedWarning, match="weights of epoch 1"):
        history = run(
            net, loss=fails_from(4, NOT_FINITE["nan"][0]), max_iter=9,
            validate=iter([3.0, 2.0, 1.0]).__next__,
        )  # fmt: skip
    run(good, max_iter=1)
    assert (history.n_iter, history.best_iter, history.best_validation_score) == (3, 1, 3.0)
    assert same(state_of(net), state_of(good))


def test_a_validation_score_that_is_no_number_ends_training():
    with pytest.warns(TrainingDivergedWarning, match="validation score"):
        history = run(make_net(), max_iter=9, validate=iter([3.0, float("nan")]).__next__)
    assert history.validation_scores == [3.0]
    assert history.n_iter == 1


def interrupted_in(epoch):
    calls = []

    def interrupting(module, X, y):
        calls.append(0)
        if len(calls) == 2 * epoch:  # the second of two batches
            raise KeyboardInterrupt
        return loss(module, X, y)

    return interrupting


def test_an_interrupt_keeps_the_weights_so_far():
    net, after_two = make_net(), make_net()
    with pytest.warns(ConvergenceWarning, match=r"interrupted in epoch 3.*so far"):
        history = run(net, loss=interrupted_in(3), batch_size=50, max_iter=9)
    run(after_two, batch_size=50, max_iter=2)
    assert history.n_iter == 2
    assert not same(state_of(net), state_of(after_two))  # a batch further
    assert not net.training


def test_an_interrupt_keeps_the_best_validated_weights():
    net, best = make_net(), make_net()
    with pytest.warns(ConvergenceWarning, match=r"interrupted in epoch 3.*of epoch 1"):
        run(net, loss=interrupted_in(3), batch_size=50, validate=iter([2.0, 1.0]).__next__)
    run(best, batch_size=50, max_iter=1)
    assert same(state_of(net), state_of(best))


def test_an_error_in_the_loss_is_the_callers_and_leaves_evaluation_mode():
    net = make_net()

    def broken(module, X, y):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(net, loss=broken)
    assert not net.training


def test_gradients_are_given_back():
    net = make_net()
    run(net)
    assert all(p.grad is None for p in net.parameters())


def test_training_works_where_the_caller_takes_no_gradients():
    net = make_net()
    before = state_of(net)
    with torch.no_grad():
        run(net)
        assert not torch.is_grad_enabled()
    assert not same(before, state_of(net))


def test_frozen_weights_stay():
    net = make_net()
    frozen = net.layers[0].weight.requires_grad_(False)
    before = frozen.clone()
    run(net)
    assert torch.equal(before, frozen)


def test_verbose_prints_a_line_per_epoch(capsys):
    run(make_net(), max_iter=2, verbose=1, validate=iter([0.25, 0.5]).__next__)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Epoch 2, loss = ")
    assert lines[1].endswith("validation score = 0.500000")
    run(make_net())
    assert capsys.readouterr().out == ""


# -- bad input ------------------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


class Bare(TensorDataset):
    def __getitem__(self, place):
        return self.tensors[0][place]


X, Y = make_rows()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, Y[:50]), r"lengths \[100, 50\]"),
        ((X[:0], Y[:0]), "no rows"),
        ((), "expected tensors"),
        ((X.numpy(), Y), "torch.as_tensor"),
        ((X, torch.tensor(1)), "expected tensors"),
        (X, "expected a tuple of tensors"),
        ([X, Y], "expected a tuple of tensors"),
        (Stream(), "expected a tuple of tensors"),
        (Bare(X), r"Return \(x,\)"),
    ],
    ids=lambda p: None if isinstance(p, str) else type(p).__name__,
)
def test_data_that_are_no_rows_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        run(make_net(), data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_weight": np.ones(5)}, r"sample_weight has shape \(5,\)"),
        ({"sample_weight": -np.ones(100)}, "negative"),
        ({"sample_weight": np.zeros(100)}, "None of the 100 rows"),
        ({"max_iter": 0}, "max_iter"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate_init": 0.0}, "learning_rate_init"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"tol": -1.0}, "tol"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"validate": 3}, "validate"),
        ({"device": "abacus"}, "abacus"),
        ({"loss": lambda m, X, y: loss(m, X, y).mean()}, r"shape \(\).*reduction='none'"),
        ({"loss": lambda m, X, y: m(X)}, r"shape \(100, 2\)"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(make_net(), **options)


def test_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match="something to train"):
        run(make_net().requires_grad_(False))


@pytest.mark.parametrize("before", [False, True])
def test_the_tiniest_floats_are_taken_for_0_while_training_alone(before):
    tiny = torch.tensor([torch.finfo(torch.float64).tiny], dtype=torch.float64)
    seen = []

    def looking(module, X, y):
        seen.append((tiny / 2).item())
        return loss(module, X, y)

    torch.set_flush_denormal(before)
    try:
        run(make_net(), loss=looking, max_iter=1)
        assert ((tiny / 2).item() == 0) == before
    finally:
        torch.set_flush_denormal(False)
    assert set(seen) == {0.0}


# -- L-BFGS ---------------------------------------------------------------------------


def test_lbfgs_finds_the_minimum_of_a_quadratic_in_one_round():
    x = torch.arange(10, dtype=torch.float64)
    level = Level()
    history = train(level, distance, (x,), solver="lbfgs", tol=1e-9)
    assert level.value.item() == pytest.approx(4.5, abs=1e-6)
    assert history.converged
    assert history.n_iter == 1
    assert history.loss_curve[-1] == pytest.approx(float(x.var(correction=0)))


def test_lbfgs_weighs_rows_and_penalises():
    x = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    weight = np.array([1.0, 3.0, 0.0])
    level = Level()
    train(level, distance, (x,), solver="lbfgs", sample_weight=weight, tol=1e-9)
    assert level.value.item() == pytest.approx(0.75, abs=1e-6)
    # The mean of (v - 1)^2 plus v^2 / 2 * decay is least where 2 (v - 1) + decay v = 0.
    level = Level(3.0)
    history = train(level, distance, (x[1:2],), solver="lbfgs", weight_decay=2.0, tol=1e-9)
    assert level.value.item() == pytest.approx(0.5, abs=1e-6)
    assert history.loss_curve[-1] == pytest.approx(0.25, abs=1e-6), "of the rows alone"


def test_lbfgs_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    X, y = make_rows(200, torch.float64)
    y = torch.where(torch.arange(200) % 7 == 0, 1 - y, y)
    with seeded(0):
        net = MLP(3, (), 2).double()
    train(net, loss, (X, y), solver="lbfgs", weight_decay=0.01, tol=1e-8)
    theirs = LogisticRegression(C=1 / (0.01 * 200 / 2), tol=1e-10, max_iter=1000).fit(X, y)
    ours = predict_in_batches(net, X)
    # Two columns share the norm of one: half of the penalty. The bias of theirs is free.
    assert np.corrcoef(ours[:, 1] - ours[:, 0], theirs.decision_function(X))[0, 1] > 0.999


def test_lbfgs_takes_all_rows_at_once_and_stops_by_itself():
    sizes = []

    def counting(module, X, y):
        sizes.append(len(X))
        return loss(module, X, y)

    net = make_net(torch.float64)
    data = make_rows(300, torch.float64)
    history = train(net, counting, data, solver="lbfgs", batch_size=10, tol=1e-3, max_iter=100)
    assert set(sizes) == {300}
    assert history.converged
    assert history.n_iter < 100
    assert all(b <= a + 1e-12 for a, b in zip(history.loss_curve, history.loss_curve[1:]))


def test_lbfgs_watches_held_out_rows_and_keeps_the_best_round():
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.1])
    seen = []

    def validate():
        seen.append(state_of(net))
        return next(scores)

    net = make_net(torch.float64)
    y = torch.arange(100) % 2  # hard enough for several rounds
    data = (make_rows(100, torch.float64)[0], y)
    history = train(
        net, loss, data, solver="lbfgs", validate=validate, n_iter_no_change=2, tol=1e-12
    )
    assert history.best_iter == 2
    assert same(state_of(net), seen[1])


def test_an_interrupt_does_not_leave_weights_that_lbfgs_was_trying():
    calls = []

    def interrupted(module, X, y):
        calls.append(1)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return loss(module, X, y)

    net = make_net(torch.float64)
    y = torch.arange(100) % 2
    with pytest.warns(ConvergenceWarning, match="interrupted in epoch"):
        history = train(
            net, interrupted, (make_rows(100, torch.float64)[0], y), solver="lbfgs", tol=0.0
        )
    assert history.n_iter >= 1
    with torch.no_grad():
        now = loss(net, make_rows(100, torch.float64)[0], y).mean().item()
    assert now == pytest.approx(history.loss_curve[-1])


def test_lbfgs_that_diverges_says_so():
    def breaks(module, x):
        return distance(module, x) * torch.nan

    with pytest.raises(ValueError, match="no longer finite in epoch 1.* no epoch to go back to"):
        train(Level(), breaks, (torch.ones(4, dtype=torch.float64),), solver="lbfgs")
