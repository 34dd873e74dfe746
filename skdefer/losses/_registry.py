"""Losses by name: what to train with, and how to read the scores afterwards."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import skdefer.losses
from skdefer.losses._softmax import lce_class_proba, softmax_priority

_FIRST = ["scores", "y", "expert_correct"]


@dataclass(frozen=True)
class Surrogate:
    """A loss, with what its scores say of the classes and of the experts.

    Parameters
    ----------
    loss : callable ``loss(scores, y, expert_correct) -> tensor of shape (n_rows,)``
        As the functions of this package: K + J logits, the true class, and 1, 0 or NaN for
        each expert.
    class_proba : callable ``(scores, n_classes) -> tensor of shape (n_rows, n_classes)``
        Class probabilities; softmax over the classes alone by default.
    expert_accuracy : callable ``(scores, n_classes) -> tensor of shape (n_rows, n_experts)``
        Probability that each expert is right, where the loss gives one; None: it doesn't.
    priority : callable ``(scores, n_classes) -> tensor of shape (n_rows, n_experts)``
        Read without ``expert_accuracy``: orders rows, in [-1, 1], above 0 where the loss's own
        rule hands over. By default that of one softmax, :func:`softmax_priority`.

    Examples
    --------
    >>> from skdefer.losses import Surrogate, ova_loss
    >>> Surrogate(ova_loss).is_calibrated
    False
    """

    loss: Callable[..., torch.Tensor]
    class_proba: Callable[..., torch.Tensor] = lce_class_proba
    expert_accuracy: Callable[..., torch.Tensor] | None = None
    priority: Callable[..., torch.Tensor] = softmax_priority

    @property
    def is_calibrated(self) -> bool:
        """Whether its scores say how often experts are right, so that costs can be subtracted."""
        return self.expert_accuracy is not None


def surrogate_names() -> list[str]:
    """Names of all losses that learn from experts' answers.

    Returns
    -------
    names : list of str
        Sorted; ``NAME_loss`` is the function.

    Examples
    --------
    >>> from skdefer.losses import surrogate_names
    >>> surrogate_names()  # doctest: +NORMALIZE_WHITESPACE
    ['asymmetric_softmax', 'differentiable_triage', 'lce', 'mixture_of_experts', 'ova', 'picce',
     'realizable', 'rl2d']
    """
    found = [name for name in skdefer.losses.__all__ if name.endswith("_loss")]
    return sorted(name.removesuffix("_loss") for name in found if _takes_answers(_function(name)))


def get_surrogate(loss: Any, **options: Any) -> Surrogate:
    """Find a loss by its name, or take the user's.

    Parameters
    ----------
    loss : str, callable or Surrogate
        A name of :func:`surrogate_names`, a function ``(scores, y, expert_correct)``, or both
        with its readings.
    **options : dict
        Keywords of the loss, such as ``alpha``; those that are None keep its default.

    Returns
    -------
    surrogate : Surrogate
        A function of this package (or a ``functools.partial`` of one) has its own readings, which
        say how often experts are right as long as no option differs from its default. Any
        other function orders rows.

    Raises
    ------
    ValueError
        For an unknown name, or an option that the loss doesn't take.

    Examples
    --------
    >>> from skdefer.losses import get_surrogate
    >>> get_surrogate("lce").is_calibrated, get_surrogate("lce", alpha=0.5).is_calibrated
    (True, False)
    """
    known = surrogate_names()
    if isinstance(loss, str):
        if loss not in known:
            raise ValueError(
                f"loss={loss!r} is no loss; expected one of {known}, or a function (scores, y, "
                "expert_correct) that gives a number per row."
            )
        loss = _function(f"{loss}_loss")
    if not callable(loss) and not isinstance(loss, Surrogate):
        raise ValueError(
            f"loss is {loss!r}; expected one of {known}, a function (scores, y, expert_correct) "
            "that gives a number per row, or a Surrogate."
        )
    surrogate = loss if isinstance(loss, Surrogate) else _with_readings(loss, known)
    options = {name: value for name, value in options.items() if value is not None}
    taken = inspect.signature(surrogate.loss).parameters if options else {}
    for name, value in options.items():
        if name not in taken:
            able = [
                n for n in known if name in inspect.signature(_function(f"{n}_loss")).parameters
            ]
            raise ValueError(
                f"{name}={value!r}, but the loss takes no {name}; of ours {able} do. Leave it at "
                "None for other losses; in a grid over both pass a list of dicts."
            )
        if isinstance(surrogate.loss, functools.partial) and name in surrogate.loss.keywords:
            raise ValueError(
                f"{name}={value!r}, but the loss is a partial with {name}="
                f"{surrogate.loss.keywords[name]!r}. Pass one of them."
            )
    bound = functools.partial(surrogate.loss, **options) if options else surrogate.loss
    differs = any(value != taken[name].default for name, value in options.items())
    return Surrogate(
        bound,
        surrogate.class_proba,
        None if differs else surrogate.expert_accuracy,
        surrogate.priority,
    )


def _function(name: str) -> Any:
    return getattr(skdefer.losses, name)


def _parameters(name: str) -> Any:
    return inspect.signature(_function(f"{name}_loss")).parameters


def _takes_answers(function: Any) -> bool:
    return list(inspect.signature(function).parameters)[: len(_FIRST)] == _FIRST


def _with_readings(loss: Callable[..., torch.Tensor], known: list[str]) -> Surrogate:
    """Find what stands beside a loss of ours: its readings, by name."""
    function, options = loss, {}
    if isinstance(loss, functools.partial):
        function, options = loss.func, loss.keywords
    name = next((n for n in known if _function(f"{n}_loss") is function), None)
    readings = {}
    for reading in ("class_proba", "expert_accuracy", "priority"):
        if name is not None and f"{name}_{reading}" in skdefer.losses.__all__:
            readings[reading] = _function(f"{name}_{reading}")
    default = inspect.signature(function).parameters if options else {}
    if unknown := [option for option in options if option not in default]:
        raise ValueError(
            f"The loss is a partial with {unknown[0]}=, which {function.__name__} does not take; "
            f"it takes {[n for n in default if n not in _FIRST]}."
        )
    if any(value != default[option].default for option, value in options.items()):
        readings.pop("expert_accuracy", None)
    return Surrogate(loss, **readings)
