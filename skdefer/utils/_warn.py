"""Warnings that name the line of the user, however many libraries lie between."""

from __future__ import annotations

import sys
import warnings

_LIBRARIES = {"joblib", "skdefer", "sklearn"}


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the nearest line that is not of this library or of those that call it.

    Parameters
    ----------
    message : str
        What to say.
    category : type of Warning
        By which it can be silenced.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
