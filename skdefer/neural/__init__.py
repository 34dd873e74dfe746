"""Networks and the one loop that trains them; torch is loaded when a name is first used."""

import importlib

from skdefer.neural._pickling import portable_state
from skdefer.utils._optional import import_optional

__all__ = [
    "MLP",
    "TrainingHistory",
    "TransformerBackbone",
    "portable_state",
    "predict_in_batches",
    "resolve_device",
    "seeded",
    "train",
]

_HOME_OF = {
    "MLP": "_modules",
    "TrainingHistory": "_training",
    "TransformerBackbone": "_transformer",
    "predict_in_batches": "_prediction",
    "resolve_device": "_device",
    "seeded": "_device",
    "train": "_training",
}


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_optional("torch", needed_for=f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
