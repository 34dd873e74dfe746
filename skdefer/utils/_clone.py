"""Clones that share a parameter with their original."""

from __future__ import annotations

import copy
from typing import Any

from sklearn.base import clone


def clone_sharing(estimator: Any, shared: str) -> Any:
    """Clone an estimator as scikit-learn would, but pass one parameter by reference.

    Parameters
    ----------
    estimator : estimator
        What is cloned.
    shared : str
        Name of the parameter that both have.

    Returns
    -------
    clone : estimator
        Not fitted; metadata requests are kept.
    """
    parameters = {
        name: value if name == shared else clone(value, safe=False)
        for name, value in estimator.get_params(deep=False).items()
    }
    new = type(estimator)(**parameters)
    if hasattr(estimator, "_metadata_request"):
        new._metadata_request = copy.deepcopy(estimator._metadata_request)
    return new
