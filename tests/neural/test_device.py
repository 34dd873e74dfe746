"""Devices by name, and random numbers that are nobody else's."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from skdefer.neural import resolve_device, seeded


@pytest.fixture
def machine(monkeypatch):
    """Make torch believe in devices; nothing is computed there."""

    def pretend(*, n_cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("there", "asked", "expected"),
    [
        ({}, "auto", "cpu"),
        ({"mps": True}, "auto", "mps"),
        ({"n_cuda": 1, "mps": True}, "auto", "cuda"),
        ({"n_cuda": 2}, "cuda:1", "cuda:1"),
        ({"n_cuda": 2}, "cuda", "cuda"),
        ({"n_cuda": 2}, torch.device("cuda", 1), "cuda:1"),
        ({"n_cuda": 2}, "cpu", "cpu"),
        ({"mps": True}, "mps", "mps"),
    ],
)
def test_devices_are_found(machine, there, asked, expected):
    machine(**there)
    assert resolve_device(asked) == torch.device(expected)


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ({}, "cuda"),
        ({}, "mps"),
        ({"n_cuda": 1}, "cuda:1"),
        ({"n_cuda": 1}, torch.device("cuda", 3)),
        ({}, "meta"),
        ({}, "abacus"),
        ({}, ""),
        ({}, None),
        ({}, 0),
    ],
)
def test_a_device_that_is_not_there_is_refused(machine, there, asked):
    machine(**there)
    present = ["cuda:0", "cpu"] if there else ["cpu"]
    with pytest.raises(ValueError, match=r"'auto' or one of") as error:
        resolve_device(asked)
    assert f"device={asked!r} is not there" in str(error.value)
    assert str(present) in str(error.value)


def test_the_same_seed_draws_the_same():
    drawn = []
    for seed in (0, 0, 1):
        with seeded(seed):
            drawn.append(torch.rand(5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_outside_nothing_happened():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = torch.rand(2)
    with seeded(0):
        torch.rand(7)
    assert torch.equal(torch.cat([first, torch.rand(2)]), expected)


def test_outside_nothing_happened_even_after_an_error():
    def fail():
        torch.rand(7)
        raise KeyError

    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(0):
        fail()
    assert torch.equal(before, torch.get_rng_state())


def test_a_generator_moves_on_and_none_is_numpys_own():
    rng = np.random.RandomState(0)
    drawn = []
    for _ in range(2):
        with seeded(rng):
            drawn.append(torch.rand(5))
    assert not torch.equal(*drawn)
    state = np.random.get_state()  # noqa: NPY002
    try:
        for _ in range(2):
            np.random.seed(7)  # noqa: NPY002
            with seeded(None):
                drawn.append(torch.rand(5))
    finally:
        np.random.set_state(state)  # noqa: NPY002
    assert torch.equal(drawn[2], drawn[3])


@pytest.mark.parametrize("package", ["neural", "losses"])
def test_torch_is_loaded_when_a_name_is_used(package):
    code = (
        f"import sys, skdefer.{package} as package; print('torch' in sys.modules); "
        "listed = set(package.__all__) <= set(dir(package)); "
        "[getattr(package, name) for name in package.__all__]; "
        "print(listed, 'torch' in sys.modules, hasattr(package, 'absent'))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True", "True", "False"]
