"""Fitted networks in pickles: on the CPU, wherever they were trained."""

from __future__ import annotations

import copy
import sys
from typing import Any


def portable_state(state: Any) -> Any:
    """Replace every network in the state of an estimator by its copy on the CPU.

    Called by ``__getstate__``, so that a fitted estimator pickles, joblib-dumps and
    deep-copies, and comes back equal on a machine without the device it was trained on. The
    estimator itself stays as it is, its networks on their device.

    Parameters
    ----------
    state : dict, list or tuple
        What ``__getstate__`` is about to return. Networks are looked for in dicts, lists and
        tuples within it; other objects are left to their own ``__getstate__``.

    Returns
    -------
    state : the same type
        A copy, whose networks (and tensors) that were elsewhere are on the CPU. What is on
        the CPU already, and everything else, is shared with ``state``.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from skdefer.neural import MLP, portable_state
    >>> class Estimator(BaseEstimator):
    ...     def __getstate__(self):
    ...         return portable_state(super().__getstate__())
    >>> estimator = Estimator()
    >>> estimator.network_ = MLP(4, (8,), 3)
    >>> estimator.__getstate__()["network_"] is estimator.network_  # it is on the CPU
    True
    """
    torch = sys.modules.get("torch")
    if torch is None:  # then there can be no network
        return state
    return _to_cpu(state, torch, {})


def _to_cpu(thing: Any, torch: Any, made: dict[int, Any]) -> Any:
    """Copy what is elsewhere; ``made`` is the memory of ``copy.deepcopy``, for all copies."""
    if isinstance(thing, torch.nn.Module):
        away = [t for t in (*thing.parameters(), *thing.buffers()) if t.device.type != "cpu"]
        # The copy finds its tensors already made, so the device never holds them twice.
        for tensor in away:
            _tensor_to_cpu(tensor, torch, made)
        return copy.deepcopy(thing, made) if away else thing
    if isinstance(thing, torch.Tensor):
        return _tensor_to_cpu(thing, torch, made) if thing.device.type != "cpu" else thing
    if type(thing) is dict:
        return {key: _to_cpu(value, torch, made) for key, value in thing.items()}
    if type(thing) in (list, tuple):
        return type(thing)(_to_cpu(value, torch, made) for value in thing)
    return thing


def _tensor_to_cpu(tensor: Any, torch: Any, made: dict[int, Any]) -> Any:
    if id(tensor) not in made:
        there = tensor.detach().cpu()
        if isinstance(tensor, torch.nn.Parameter):
            there = torch.nn.Parameter(there, requires_grad=tensor.requires_grad)
        made[id(tensor)] = there
    return made[id(tensor)]
