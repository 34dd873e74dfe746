"""Optional dependencies: a missing one names the extra that brings it."""

from __future__ import annotations

import importlib
from types import ModuleType

# module -> the extra of pyproject.toml that installs it
_EXTRA_OF = {
    "matplotlib": "plot",
    "pyarrow": "parquet",
    "torch": "torch",
    "transformers": "text",
    "urllib3": "http",
}


def import_optional(module: str, *, needed_for: str) -> ModuleType:
    """Import ``module``, or say which extra of skdefer brings it.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"matplotlib.pyplot"``.
    needed_for : str
        What the user wanted to do; it opens the error message.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    ImportError
        If the top-level package of ``module`` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        extra = _EXTRA_OF[package]
        raise ImportError(
            f"{needed_for} needs {package}, which is not installed. "
            f'Install it with: pip install "skdefer[{extra}]" or, in a clone, '
            f'pip install ".[{extra}]".'
        ) from error
