"""Fitted networks survive pickles, joblib files and copies."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from torch import nn

from skdefer.neural import MLP, portable_state, predict_in_batches, seeded


class Estimator(BaseEstimator):
    """Holds networks in the places where estimators do."""

    def fit(self):
        with seeded(0):
            self.network_ = nn.Sequential(MLP(3, (8,), 4), nn.BatchNorm1d(4))
            self.members_ = [MLP(3, (), 2), MLP(3, (), 2)]
        self.parts_ = {"heads": (MLP(3, (), 2),), "center": torch.ones(3)}
        self.network_.eval()
        return self

    def __getstate__(self):
        return portable_state(super().__getstate__())

    def outputs(self, X):
        nets = [self.network_, *self.members_, *self.parts_["heads"]]
        return np.hstack([predict_in_batches(net, X + self.parts_["center"]) for net in nets])


def through_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def through_joblib(thing):
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


COPIES = [through_pickle, through_joblib, copy.deepcopy]


@pytest.mark.parametrize("copied", COPIES)
def test_it_comes_back_equal(copied):
    X = torch.randn(5, 3)
    one = Estimator().fit()
    other = copied(one)
    assert np.array_equal(one.outputs(X), other.outputs(X))
    assert not other.network_.training
    with torch.no_grad():
        other.network_[0].layers[0].weight.zero_()
    assert not np.array_equal(one.outputs(X), other.outputs(X))  # no memory is shared


def test_what_is_on_the_cpu_is_not_copied():
    one = Estimator().fit()
    state = one.__getstate__()
    assert state["network_"] is one.network_
    assert state["members_"] == one.members_
    assert state["parts_"] == one.parts_


class Away(torch.Tensor):
    """A tensor that says it lives on a device, until it is moved."""

    @property
    def device(self):
        return torch.device("cuda", 0)

    def detach(self):
        return self

    def cpu(self):
        return self.as_subclass(torch.Tensor).clone()


def send_away(module):
    """Replace weights and buffers by tensors that say they are elsewhere."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            away = parameter.detach().clone().as_subclass(Away)
            part._parameters[name] = nn.Parameter(away, requires_grad=parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer.clone().as_subclass(Away)
    return module


def test_what_is_elsewhere_is_copied_to_the_cpu_and_stays_there():
    one = Estimator().fit()
    one.members_[1].layers = one.members_[0].layers  # weights that are shared
    one.network_[0].layers[0].weight.requires_grad_(False)
    expected = one.outputs(torch.ones(5, 3))
    for net in (one.network_, one.members_[0], one.parts_["heads"][0]):
        send_away(net)
    one.parts_["center"] = one.parts_["center"].as_subclass(Away)
    other = through_pickle(one)
    assert np.array_equal(other.outputs(torch.ones(5, 3)), expected)
    network = other.network_
    assert {t.device.type for t in (*network.parameters(), *network.buffers())} == {"cpu"}
    assert not network[0].layers[0].weight.requires_grad
    assert network[0].layers[0].bias.requires_grad
    assert other.members_[0].layers[0].weight is other.members_[1].layers[0].weight
    assert {t.device.type for t in one.network_.parameters()} == {"cuda"}
