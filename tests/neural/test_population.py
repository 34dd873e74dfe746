"""Representations of experts by their past answers, against brute force."""

import numpy as np
import pytest
import torch
from torch import nn

from skdefer.losses import lce_loss, ova_loss
from skdefer.neural import MLP, seeded
from skdefer.neural._population import (
    ContextAttention,
    ContextDrawer,
    ContextMean,
    Contexts,
    PopulationNet,
    population_loss,
)

K, F, SIZE = 3, 5, 8
N_ANSWERS = [4, 0, 2]  # of three experts
ENCODERS = ["mean", "attention"]


def encoder_of(kind):
    with seeded(0):
        if kind == "mean":
            encoder = ContextMean(F, K, SIZE, (6,))
        else:
            encoder = ContextAttention(F, K, SIZE, (6,), n_heads=2)
    return encoder.double()


@pytest.fixture
def context():
    """Features, truth, answers (K: no class) and mask of three experts."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, F, generator=generator, dtype=torch.float64)
    y = torch.randint(K, (3, 4), generator=generator)
    answers = torch.randint(K + 1, (3, 4), generator=generator)
    mask = torch.arange(4) < torch.tensor(N_ANSWERS)[:, None]
    return features, y, answers, mask


@pytest.fixture
def query():
    return torch.randn(7, F, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def embedded(encoder, features, y, answers):
    """One past answer, read by hand."""
    label = encoder.label.weight
    return encoder.mlp(torch.cat([features, label[y], label[answers]]))


def attended(block, query, context):
    """Multi-head attention of one vector to a list of vectors, by hand."""
    size = len(query) // block.n_heads
    seen = []
    for head in range(block.n_heads):
        part = slice(head * size, (head + 1) * size)
        q = block.query(query)[part]
        weight = torch.stack([q @ block.key(c)[part] for c in context]) / size**0.5
        weight = weight.softmax(0)
        seen.append(sum(w * block.value(c)[part] for w, c in zip(weight, context)))
    moved = query + block.out(torch.cat(seen))
    centred = moved - moved.mean()
    normed = centred / (centred.square().mean() + block.norm.eps).sqrt()
    return normed * block.norm.weight + block.norm.bias


def by_hand(kind, encoder, context, query):
    features, y, answers, _ = context
    out = torch.zeros(3, len(query), SIZE, dtype=torch.float64)
    for e, n in enumerate(N_ANSWERS):
        past = [embedded(encoder, features[e, i], y[e, i], answers[e, i]) for i in range(n)]
        if not past:
            continue  # nothing is known: 0
        if kind == "mean":
            out[e] = sum(past) / n
            continue
        past = [attended(encoder.among, p, past) for p in past]
        for i, row in enumerate(query):
            out[e, i] = attended(encoder.across, encoder.query(row), past)
    return out


@pytest.mark.parametrize("kind", ENCODERS)
def test_it_is_the_formula(kind, context, query):
    encoder = encoder_of(kind)
    with torch.no_grad():
        read = encoder.read(query, encoder(*context))
        wanted = by_hand(kind, encoder, context, query)
    assert read.shape == (3, 7, SIZE)
    torch.testing.assert_close(read, wanted)
    assert wanted[[0, 2]].abs().min() > 0


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_empty_context_is_zero_and_passes_no_broken_gradient(kind, context, query):
    encoder = encoder_of(kind)
    read = encoder.read(query, encoder(*context))
    assert (read[1] == 0).all()
    read.square().sum().backward()
    gradients = [w.grad for w in encoder.parameters() if w.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)
    nothing = torch.zeros_like(context[3])
    assert (encoder.read(query, encoder(*context[:3], nothing)) == 0).all()


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_order_of_past_answers_and_the_padding_make_no_difference(kind, context, query):
    encoder = encoder_of(kind)
    with torch.no_grad():
        wanted = encoder.read(query, encoder(*context))
        order = torch.tensor([2, 0, 3, 1])
        turned = [part[:, order] for part in context]
        torch.testing.assert_close(encoder.read(query, encoder(*turned)), wanted)
        features, y, answers, mask = (torch.cat([p, p[:, :2]], 1) for p in context)
        mask[:, 4:] = False
        features[~mask], y[~mask], answers[~mask] = 1e6, K - 1, K
        padded = features, y, answers, mask
        torch.testing.assert_close(encoder.read(query, encoder(*padded)), wanted)


@pytest.mark.parametrize("kind", ENCODERS)
def test_truth_and_answer_are_told_apart(kind, context, query):
    encoder = encoder_of(kind)
    features, y, answers, mask = context
    answers = answers % K
    with torch.no_grad():
        one = encoder.read(query, encoder(features, y, answers, mask))
        other = encoder.read(query, encoder(features, answers, y, mask))
    assert not torch.allclose(one, other)


def test_contexts_can_be_told_apart_before_training():
    """Six layers under torch's own initial weights give all of them the same representation."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(K, (50, 20), generator=generator)
    answers = torch.randint(K, (50, 20), generator=generator)
    with seeded(0), torch.no_grad():
        encoder = ContextMean(F, K, 64, (64,) * 6)
        features = torch.randn(50, 20, F)
        (read,) = encoder(features, y, answers, torch.ones(50, 20, dtype=torch.bool))
        plain = MLP(F + 128, (64,) * 6, 64)
        encoder.mlp = plain
        (flat,) = encoder(features, y, answers, torch.ones(50, 20, dtype=torch.bool))
    differences = [(r.std(0) / r.abs().mean()).mean().item() for r in (read, flat)]
    assert differences[0] > 4 * differences[1]


def test_heads_share_the_size_evenly():
    with pytest.raises(ValueError, match="embedding_size=10 is not a multiple of n_heads=4"):
        ContextAttention(F, K, 10, (6,), n_heads=4)


# -- the network ----------------------------------------------------------------------


def net_of(kind, backbone=None):
    encoder = None if kind == "none" else encoder_of(kind).float()
    with seeded(0):
        return PopulationNet(backbone or nn.Linear(4, F), F, K, (6,), encoder)


def contexts(mask=None):
    with seeded(0):
        X = torch.randn(6, 4)
    rows = torch.tensor([[0, 1, 2], [3, 4, 5]])
    mask = torch.tensor([[True, True, False], [True, False, False]]) if mask is None else mask
    return Contexts(X, rows, rows % K, (rows + 1) % (K + 1), mask)


@pytest.mark.parametrize("kind", [*ENCODERS, "none"])
def test_scores_are_read_from_features_and_representation(kind):
    net, past = net_of(kind), contexts()
    X = torch.ones(2, 4)
    with torch.no_grad():
        scores, defer = net(X, net.encode(past))
        features = net.backbone(X)
        torch.testing.assert_close(scores, net.class_scores(X))
        if kind == "none":
            torch.testing.assert_close(defer, net.rejector(features).T)
            return
        assert defer.shape == (2, 2)
        seen = net.backbone(past.X)[past.rows]
        psi = net.encoder.read(features, net.encoder(seen, *past[2:]))
        wanted = [net.rejector(torch.cat([features, p], -1))[:, 0] for p in psi]
    torch.testing.assert_close(defer, torch.stack(wanted))


@pytest.mark.parametrize("kind", ENCODERS)
def test_nobody_known_needs_no_row(kind):
    net = net_of(kind)
    nobody = contexts(torch.zeros(2, 3, dtype=torch.bool))
    with torch.no_grad():
        wanted = net(torch.ones(2, 4), net.encode(nobody))[1]
        empty = nobody._replace(X=nobody.X[:0], rows=torch.zeros_like(nobody.rows))
        torch.testing.assert_close(net(torch.ones(2, 4), net.encode(empty))[1], wanted)
        features = net.backbone(torch.ones(2, 4))
        alone = net.rejector(torch.cat([features, torch.zeros(2, SIZE)], -1))[:, 0]
    torch.testing.assert_close(wanted[0], alone)
    torch.testing.assert_close(wanted[1], alone)


class Normed(nn.Module):
    """Has dropout and moments; counts the rows that it reads."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.drop = nn.Linear(4, F), nn.BatchNorm1d(F), nn.Dropout(0.5)
        self.seen = []

    def forward(self, X):
        self.seen.append((len(X), self.training))
        return self.drop(self.norm(self.layer(X)))


@pytest.mark.parametrize("kind", ENCODERS)
def test_context_features_pass_no_gradient_and_change_no_moments(kind):
    backbone = Normed()
    net = net_of(kind, backbone).train()
    before = backbone.norm.running_mean.clone()
    encoded = net.encode(contexts())
    assert torch.equal(backbone.norm.running_mean, before)
    assert backbone.seen == [(6, False)]
    assert all(part.training for part in net.modules())
    sum(part.sum() for part in encoded if part.is_floating_point()).backward()
    assert backbone.layer.weight.grad is None
    assert net.encoder.label.weight.grad.abs().sum() > 0
    net(torch.randn(3, 4), net.encode(contexts()))[1].sum().backward()
    assert backbone.layer.weight.grad.abs().sum() > 0, "queries do train the backbone"


def test_large_contexts_go_through_the_backbone_in_blocks(monkeypatch):
    monkeypatch.setattr("skdefer.neural._population._BLOCK", 4)
    backbone = Normed()
    net = net_of("mean", backbone)
    blocks = net.encode(contexts())
    assert [n for n, _ in backbone.seen] == [4, 2]
    monkeypatch.undo()
    torch.testing.assert_close(net.encode(contexts()), blocks)


# -- training -------------------------------------------------------------------------


def test_a_batch_gets_the_rows_that_were_drawn():
    X, y = torch.arange(10.0)[:, None], torch.arange(10) % K
    codes = torch.tensor([[0, -1], [1, 2], [-2, 0], [2, 2]] + [[0, 0]] * 6)
    asked = []

    def draw_rows(query):
        asked.append(query)
        return np.array([[2, 3, 0], [1, 0, 0]]), np.array(
            [[True, True, True], [True, False, False]]
        )

    past = ContextDrawer(X, y, codes, K, draw_rows)(torch.tensor([4, 5]))
    np.testing.assert_array_equal(asked, [[4, 5]])
    assert past.X.ravel().tolist() == [0, 1, 2, 3], "rows that nobody needs are not read"
    assert past.X[past.rows][past.mask].ravel().tolist() == [2, 3, 0, 1]
    assert past.y[past.mask].tolist() == [2, 0, 0, 1]
    assert past.answers[past.mask].tolist() == [K, 2, 0, 2], (
        "an answer that is no class is one more"
    )


@pytest.mark.parametrize("surrogate", [lce_loss, ova_loss])
def test_the_loss_is_averaged_over_those_who_answered(surrogate):
    with seeded(0):
        scores, defer = torch.randn(4, K), torch.randn(2, 4)
    y = torch.tensor([0, 1, 2, 0])
    codes = torch.tensor([[0, 1], [1, -1], [-2, 2], [-1, -1]])
    got = population_loss(surrogate, scores, defer, y, codes, codes == -1)

    def one(i, j, right):
        row = torch.cat([scores[i], defer[j, i : i + 1]])[None]
        return surrogate(row, y[i : i + 1], torch.tensor([[right]]))[0]

    wanted = [
        (one(0, 0, 1.0) + one(0, 1, 0.0)) / 2,
        one(1, 0, 1.0),
        (one(2, 0, 0.0) + one(2, 1, 1.0)) / 2,
        one(3, 0, torch.nan),  # nobody answered: the class alone
    ]
    torch.testing.assert_close(got, torch.stack(wanted))
    shared = population_loss(surrogate, scores, defer[:1], y, codes, codes == -1)
    same = population_loss(surrogate, scores, defer[:1].expand(2, -1), y, codes, codes == -1)
    torch.testing.assert_close(shared, same)
