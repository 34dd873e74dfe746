"""Where a call goes, and the key it carries: addresses, proxies, and a key that never shows."""

from __future__ import annotations

import json
import os
import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

# Shorter ones are placeholders ("EMPTY"), and would be found in answers.
_SHORTEST_SECRET = 8
# Words of names are short, or have no digits; keys are long, mixed, and rarely have underscores.
_LIKE_A_KEY = re.compile(
    r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,}"
    r"|(?=[a-z]*[A-Z])(?=[A-Z]*[a-z])[A-Za-z]{24,}"
    r"|\A(?:sk|hf|gsk|xai|r8)_(?=.*[0-9])(?=.*[A-Z])"
)


def check_key(key_variable: str | None) -> None:
    """Check that the environment holds a key that can be sent.

    Parameters
    ----------
    key_variable : str or None
        Name of the environment variable; None: no key is sent.

    Raises
    ------
    TypeError
        If it is neither a string nor None.
    ValueError
        If it is no name, or the variable is not set, empty, or holds what no header can.
    """
    read_key(key_variable)


def check_variable(key_variable: Any) -> None:
    """Check that this is the name of a variable, and not the key itself, which is shown nowhere.

    Raises
    ------
    TypeError
        If it is neither a string nor None.
    ValueError
        If no such variable is set and it can be no name, or looks like a key.
    """
    if key_variable is None:
        return
    if not isinstance(key_variable, str):
        raise TypeError(
            f"key_variable is a {type(key_variable).__name__}; expected the name of an environment "
            "variable, or None to send no key."
        )
    is_name = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_variable) is not None
    if key_variable not in os.environ and (not is_name or _LIKE_A_KEY.search(key_variable)):
        raise ValueError(
            "key_variable is no name of an environment variable, but could be the key itself (so "
            "it is not shown). Put the key into an environment variable and pass the variable's "
            "name, such as 'OPENAI_API_KEY'."
        )


def check_url(url: str, *, has_key: bool, allow_plain_http: bool = False) -> None:
    """Check that a key may be sent to an address.

    Parameters
    ----------
    url : str
        The address of the service.
    has_key : bool
        Whether a key is sent there.
    allow_plain_http : bool, default=False
        Whether a key may go over http, where everyone on the way can read it, to another
        machine.

    Raises
    ------
    ValueError
        If it is no http(s) address, holds a user name or password, or would show the key.
    """
    parts = split_url(url)
    if has_key and parts.scheme == "http" and not (allow_plain_http or _is_loopback(parts)):
        raise ValueError(
            f"A key would go to {parts.hostname} over http, where everyone on the way can read it. "
            "Use https, or pass allow_plain_http=True if the network is yours."
        )


def read_key(key_variable: str | None) -> str | None:
    """Read the key, now; see :func:`check_key`."""
    if key_variable is None:
        return None
    if not isinstance(key_variable, str):
        check_variable(key_variable)
    # What is no usual name may be the key itself, passed by mistake: it is not shown.
    usual = re.fullmatch(r"[A-Z_][A-Z0-9_]*", key_variable) is not None
    name = f"{key_variable!r}" if usual else "the name passed (not shown: it could be a key)"
    key = os.environ.get(key_variable, "").strip()
    if not key:
        raise ValueError(
            f"key_variable: the environment variable {name} is not set, or empty. Put the key into "
            "an environment variable and pass the variable's name, such as 'OPENAI_API_KEY'; pass "
            "None if the service needs no key."
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError(
            f"key_variable: the value of the environment variable {name} holds spaces, line breaks "
            "or characters beyond ASCII, and can't be a key. Set it again."
        )
    return key


def scrub(text: str, key: str | None) -> str:
    """Take the key out of a text, as it is or as JSON and addresses write it."""
    if key is None or len(key) < _SHORTEST_SECRET:
        return text
    as_json = json.dumps(key)[1:-1]
    for form in {key, as_json, as_json.replace("/", "\\/"), quote(key), quote(key, safe="")}:
        text = text.replace(form, "***")
    return text


def scrub_parts(text: str, key: str | None) -> str:
    """Take beginnings of the key out of a text, as long as they tell something."""
    if key is None or len(key) < 2 * _SHORTEST_SECRET or key[:_SHORTEST_SECRET] not in text:
        return text
    for length in range(len(key) - 1, _SHORTEST_SECRET - 1, -1):
        text = text.replace(key[:length], "***")
    return text


def split_url(url: str) -> SplitResult:
    """Take an address apart; see :func:`check_url`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and re.search(r"[\x00-\x20\x7f\\]", url) is None
        _ = parts.port  # checks it
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        raise ValueError(
            "The address of the service is not one: expected a string such as "
            "'https://host.example/v1'."
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"The address of {parts.hostname} holds a user name or password, which would be shown. "
            "Put the key into an environment variable and name it by key_variable."
        )
    return parts


def _is_loopback(parts: SplitResult) -> bool:
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(parts: SplitResult) -> str | None:
    """Find the proxy that the environment names for an address."""
    from urllib.request import getproxies, proxy_bypass

    if _is_loopback(parts):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
