"""The loaders by name, found by discovery: adding a file with a ``load_*`` is enough."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch

_PREFIX = "load_"


def _loaders() -> dict[str, Callable[..., Bunch]]:
    """Map the name of each data set to the function that reads it."""
    package = __name__.rpartition(".")[0]
    found: dict[str, Callable[..., Bunch]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], package + "."):
        for name, member in vars(importlib.import_module(module.name)).items():
            if name.startswith(_PREFIX) and getattr(member, "__module__", None) == module.name:
                found[name.removeprefix(_PREFIX)] = member
    del found["dataset"]  # load_dataset itself
    return found


def list_datasets() -> list[str]:
    """List the data sets that :func:`load_dataset` can read.

    Returns
    -------
    names : list of str, sorted
        Each is the name of its loader without ``load_``. Their files may be absent.

    Examples
    --------
    >>> from skdefer.datasets import list_datasets
    >>> list_datasets()  # doctest: +NORMALIZE_WHITESPACE
    ['ade_corpus', 'chexpert_readers', 'cifar10h_models', 'css_llm', 'ecg_readers', 'frugalml',
     'ham10000_8x8', 'medqa_llm', 'openl2d_adult', 'sleep_scorers']
    """
    return sorted(_loaders())


def load_dataset(name: str, **options: Any) -> Bunch:
    """Read a data set by name, as ``load_<name>(**options)`` would.

    Parameters
    ----------
    name : str
        One of :func:`list_datasets`.
    **options
        The loader's own parameters, ``data_home`` among them.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        What the loader returns.

    Raises
    ------
    ValueError
        If no loader has this name.
    TypeError
        If the loader has no such option.
    DatasetNotFoundError
        If the file of the data set is not where it was looked for.

    Examples
    --------
    >>> from skdefer.datasets import load_dataset
    >>> frugal = load_dataset("frugalml", task="YELP")  # doctest: +SKIP
    """
    loaders = _loaders()
    if name not in loaders:
        raise ValueError(f"There is no data set {name!r}; expected one of {sorted(loaders)}.")
    known = list(inspect.signature(loaders[name]).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"load_{name} has no option {unknown}; expected some of {known}.")
    return loaders[name](**options)
