"""One call to a service over HTTP, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from skdefer.calling._failures import read_failure
from skdefer.calling._http import post_json
from skdefer.calling._outcomes import Reply
from skdefer.experts._paid._terms import Terms


def call_service(
    terms: Terms, path: str, body: dict[str, Any], read: Callable[[Any], Reply], deadline: float
) -> Reply:
    """Send a body and read the reply.

    Parameters
    ----------
    terms : Terms
        Whose service, key and price.
    path : str
        What is added to ``base_url``, and to ``/v1`` if that has no path.
    body : dict
        What is sent.
    read : callable
        Makes a Reply of the JSON of an answer.
    deadline : float
        Seconds.

    Returns
    -------
    reply : Reply
        With its price, None where that is unknown.
    """
    base = str(terms.base_url).rstrip("/")
    base += "" if "/" in base.partition("://")[2] else "/v1"
    result = post_json(
        f"{base}/{path}",
        body,
        key_variable=terms.key_variable,
        deadline=deadline,
        extra_headers=terms.extra_headers,
        allow_plain_http=terms.allow_plain_http,
    )
    reply = replace(read_failure(result) or read(result.data), seconds=result.seconds)
    if reply.outcome.replied and reply.price is None:
        reply = replace(reply, price=terms._price().of(reply))
    return reply
