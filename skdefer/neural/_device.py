"""Where networks are trained, and with which random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state


def resolve_device(device: Any) -> torch.device:
    """Find the device that a name means, or say which there are.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:0", ..., "mps"} or torch.device
        ``"auto"``: CUDA where there is one, else MPS, else the CPU.

    Returns
    -------
    device : torch.device
        A device of this machine.

    Raises
    ------
    ValueError
        If it is no device, or this machine hasn't got it.

    Examples
    --------
    >>> from skdefer.neural import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = [f"cuda:{i}" for i in range(n_cuda)]
    present += ["mps"] if torch.backends.mps.is_available() else []
    present += ["cpu"]
    if isinstance(device, str) and device == "auto":
        return torch.device(present[0].removesuffix(":0"))
    if isinstance(device, (str, torch.device)):
        try:
            found = torch.device(device)
        except RuntimeError:
            found = None
        if found is not None and any(
            found.type == name.partition(":")[0]
            and (found.index is None or ":" not in name or found == torch.device(name))
            for name in present
        ):
            return found
    raise ValueError(
        f"device={device!r} is not there; expected 'auto' or one of {present}. Pass 'auto' to "
        "take the best of them."
    )


@contextmanager
def seeded(random_state: Any) -> Iterator[None]:
    """Draw torch's random numbers from a scikit-learn ``random_state``, for a while.

    Inside, initial weights, dropout and shuffling come from torch's global generators (those
    of CUDA devices too, where CUDA is in use), seeded by one integer drawn from
    ``random_state``. Afterwards the generators go on as if nothing had happened.

    Parameters
    ----------
    random_state : int, RandomState or None
        As everywhere in scikit-learn. A RandomState moves on by one draw, so two uses of the
        same one differ.

    Yields
    ------
    None
        For a ``with`` statement.

    Examples
    --------
    >>> import torch
    >>> from skdefer.neural import seeded
    >>> with seeded(0):
    ...     first = torch.rand(3)
    >>> with seeded(0):
    ...     second = torch.rand(3)
    >>> torch.equal(first, second)
    True
    """
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    # CUDA is not started for the sake of its generators: that takes memory and breaks forks.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    mps_state = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    with torch.random.fork_rng(devices=list(devices)):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        if mps_state is not None:
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if mps_state is not None:
                torch.mps.set_rng_state(mps_state)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Take the tiniest floats for 0, for a while.

    Where a gate has closed, gradients and their moments fade below what floats can hold with
    full precision, and a CPU takes up to a hundred times as long for each of those.
    """
    tiny = torch.tensor([torch.finfo(torch.float64).tiny], dtype=torch.float64)
    was_on = bool((tiny / 2 == 0).all())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_on)
