"""Keyword-only arguments that say so in the three parts of our errors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def keywords_only(method: Method) -> Method:
    """Tell a caller who passes a keyword-only argument by position what to write instead."""
    parameters = inspect.signature(method).parameters.values()
    allowed = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]

    @functools.wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if len(args) > len(allowed):
            raise TypeError(
                f"{method.__name__} got {len(args) - 1} arguments by position; expected "
                f"{len(allowed) - 1}: {', '.join(allowed[1:])}. Pass the others by name: "
                f"{', '.join(f'{k}=' for k in keywords)}."
            )
        return method(*args, **kwargs)

    return checked  # type: ignore[return-value]
