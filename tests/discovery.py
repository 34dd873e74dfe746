"""Find what the package offers, so that a new file is tested as soon as it is there."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import skdefer
from skdefer import DeferralClassifier
from skdefer.base import DeferralMixin
from skdefer.deferral._delegating import DelegatingMixin
from skdefer.rejectors import ProfileRejector

ROOT = Path(skdefer.__file__).parent


def modules():
    """Names of all modules of the package, private ones too."""
    found = pkgutil.walk_packages([str(ROOT)], prefix="skdefer.")
    return ["skdefer", *(m.name for m in found if not m.name.endswith("__main__"))]


def public_names():
    """(module, name) of all that the packages' __init__s export."""
    pairs = []
    for name in modules():
        if any(part.startswith("_") for part in name.split(".")):
            continue
        module = importlib.import_module(name)
        pairs += [(module, attribute) for attribute in getattr(module, "__all__", ())]
    return pairs


def public_objects():
    """Public classes and functions, once each."""
    found = {id(getattr(m, n)): getattr(m, n) for m, n in public_names()}
    return [o for o in found.values() if inspect.isclass(o) or inspect.isfunction(o)]


def deferral_estimators():
    """Public estimators with the deferral contract."""
    return [
        o
        for o in public_objects()
        if inspect.isclass(o) and issubclass(o, DeferralMixin) and o is not DeferralMixin
    ]


#: Parameters under which networks are small and quick; the same ones mean the same everywhere.
QUICK = {
    "hidden_layer_sizes": (16,),
    "rejector_hidden_layer_sizes": (16,),
    "context_hidden_layer_sizes": (16,),
    "embedding_size": 16,
    "learning_rate_init": 0.02,
    "max_iter": 60,
    "device": "cpu",
}


def is_wrapper(cls):
    """Whether an estimator decides by another one inside, whose parameters are not its own."""
    return issubclass(cls, DelegatingMixin)


def serving(fitted):
    """The fitted estimator whose parameters decide: the one inside, if there is one."""
    return fitted.estimator_ if is_wrapper(type(fitted)) else fitted


def make(cls, **params):
    """Make an estimator that is quick to fit."""
    if is_wrapper(cls):
        return cls(DeferralClassifier(rejector=ProfileRejector(), **params) if params else None)
    quick = {name: value for name, value in QUICK.items() if name in cls().get_params()}
    return cls(**{**quick, **params})
