"""What a failed call over HTTP means: statuses, error objects, broken connections -> outcomes."""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

from skdefer.calling._outcomes import Outcome, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skdefer.calling._http import HttpResult

_LONGEST_PAUSE = 86400.0
_LONGEST_TEXT = 300

# What no call can have been charged for, and what one may have been.
_FREE: float = 0.0
_UNCERTAIN = None

# Services agree on statuses more than on words; words decide only where statuses are shared.
_QUOTA_CODE = re.compile(
    r"insufficient[_ ](quota|balance|funds|credits?)|billing|payment[_ ]required"
)
_QUOTA_SAID = re.compile(
    _QUOTA_CODE.pattern + r"|exceeded your current quota|credit balance|out of credits"
)
_COMES_BACK = re.compile(r"per[ _]?(second|minute)|(try again|retry) (in|after) [\d.]+|retrydelay")
# These two are kept as the row's answer, so they must not take in mere mistakes of the request.
_FILTERED = re.compile(
    r"content[_ ](filter|policy|management)|responsible_?ai|requires[_ ]moderation"
    r"|moderation_blocked|\b(was|were|been) flagged|safety system"
)
_TOO_LONG = re.compile(
    r"context[_ ](length|window)|(prompt|input|request|sequence|message)s? (is|are) too long"
    r"|too many input tokens|string_above_max_length|reduce the length of"
)
_BAD_KEY = re.compile(r"(invalid|incorrect|missing)[_ ]api[_ ]?key|api key not valid")

# What is wrong most often where the service says that the request is.
_CHECK = dict.fromkeys((404, 405), "base_url and model")

# Error codes of answers whose status says 200, and the status that would have been right.
_STATUS_OF = (
    (_QUOTA_CODE, 402),
    (re.compile(r"rate_?limit|resource_exhausted|too_many_requests|quota|throttl"), 429),
    (re.compile(r"authenti|unauthorized|api_?key|permission|forbidden"), 401),
    (re.compile(r"time_?d?_?out|deadline"), 408),
    (re.compile(r"invalid|bad_?request|not_?found|unsupported|content|context"), 400),
)


def read_failure(result: HttpResult) -> Reply | None:
    """Tell what went wrong with a call.

    ``Reply.price`` says what it cost: 0.0 where the service refused or was never reached, None
    where it may have worked, and charged, for an answer that did not arrive.

    Parameters
    ----------
    result : HttpResult
        What came of the call, from ``post_json``.

    Returns
    -------
    reply : Reply or None
        The failure; None if an answer in JSON came, ``result.data``, that is no error object.
    """
    if result.status is None:
        timed_out = result.problem in ("timeout", "connect_timeout")
        never_sent = result.problem in ("unreachable", "connect_timeout")
        return _reply(
            result,
            Outcome.TIMEOUT if timed_out else Outcome.SERVER_ERROR,
            result.detail,
            _FREE if never_sent else _UNCERTAIN,
        )
    if not 200 <= result.status < 300:
        return _read_error(result, result.status)
    if result.problem == "timeout":
        return _reply(result, Outcome.TIMEOUT, result.detail, _UNCERTAIN)
    # A page is some proxy's word: it must not stand as the answer to a row.
    if result.problem in ("cut", "page"):
        return _reply(result, Outcome.SERVER_ERROR, result.detail, _UNCERTAIN)
    if result.problem is not None:
        return _reply(result, Outcome.UNPARSABLE, result.detail, _UNCERTAIN)
    if (error := _error_object(result.data)) is not None:
        return _read_error(result, _status_of(error))
    return None


def _read_error(result: HttpResult, status: int) -> Reply:
    """Read an error status, or an error object as if it had come with that status."""
    if 300 <= status < 400:
        target = result.headers.get("location", "nowhere")
        text = f"the server sends us on to {target}; redirects are not followed, correct base_url"
        return _reply(result, Outcome.SERVER_ERROR, f"HTTP {status}: {text}", _FREE)
    error = _error_object(result.data)
    code, message = _say(error) if error is not None else ("", result.text)
    details = str(error.get("details", ""))[:2000] if error is not None else ""
    said = f"{code} {message} {details}".lower()
    outcome = _outcome_of(status, code.lower(), said)
    price: float | None = _FREE
    if status in (504, 524):  # a gateway gave up waiting; who stands behind it may have answered
        outcome, price = Outcome.TIMEOUT, _UNCERTAIN
    where = ""
    if outcome is Outcome.BAD_REQUEST and result.url:
        where = f" from {result.url}, check {_CHECK.get(status, 'model and the parameters')}"
    text = f"HTTP {result.status}{where}: {message or code or 'no reason given'}"
    if code and code not in text:
        text += f" ({code})"
    return _reply(result, outcome, text, price, status)


def _outcome_of(status: int, code: str, said: str) -> Outcome:
    """Find the outcome of an error; words decide between those that share a status."""
    if status == 402 or _QUOTA_CODE.search(code):
        return Outcome.QUOTA
    if status == 429:
        # Some services say "quota" of a limit per minute, too.
        used_up = _QUOTA_SAID.search(said) and not _COMES_BACK.search(said)
        return Outcome.QUOTA if used_up else Outcome.RATE_LIMITED
    if status == 408:
        return Outcome.TIMEOUT
    if status >= 500:
        return Outcome.SERVER_ERROR
    if status in (400, 403, 422) and _QUOTA_SAID.search(said):
        return Outcome.QUOTA
    if status == 401 or (status == 400 and _BAD_KEY.search(said)):
        return Outcome.AUTH
    if status in (400, 403, 422, 451) and _FILTERED.search(said):
        return Outcome.REFUSED
    if status == 403:
        return Outcome.AUTH
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(said)):
        return Outcome.TRUNCATED
    return Outcome.BAD_REQUEST if status >= 400 else Outcome.SERVER_ERROR


def _error_object(data: Any) -> Any:
    """Take the error out of a reply, None if it holds none."""
    if isinstance(data, list) and len(data) == 1:  # some wrap the object in a list
        data = data[0]
    if not isinstance(data, dict):
        return None
    if data.get("error"):
        error = data["error"]
        return {**data, **error} if isinstance(error, dict) else {**data, "message": error}
    if data.get("object") == "error" or ("detail" in data and len(data) == 1):
        return {"message": data.get("detail"), **data}
    return None


def _say(error: dict[str, Any]) -> tuple[str, str]:
    """Give the code and the message of an error object, "" where there is none."""
    names = [error.get(name) for name in ("code", "type", "status")]
    code = " ".join(dict.fromkeys(name for name in names if isinstance(name, str)))
    message = error.get("message")
    return code, message if isinstance(message, str) else repr(message) if message else ""


def _status_of(error: dict[str, Any]) -> int:
    """Find the status that should have come with an error object; 500 if nothing tells."""
    for name in ("code", "status"):
        value = error.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    code, message = _say(error)
    for pattern, status in _STATUS_OF:
        if pattern.search(code.lower()):
            return status
    said = message.lower()
    asks_too_much = _FILTERED.search(said) or _TOO_LONG.search(said) or _QUOTA_SAID.search(said)
    return 400 if asks_too_much else 500


def _reply(
    result: HttpResult, outcome: Outcome, text: str, price: float | None, status: int | None = None
) -> Reply:
    text = " ".join(text.split())
    if len(text) > _LONGEST_TEXT:
        text = text[: _LONGEST_TEXT - 3] + "..."
    waits = outcome in (Outcome.RATE_LIMITED, Outcome.SERVER_ERROR)
    return Reply(
        outcome,
        text=text,
        price=price,
        seconds=result.seconds,
        retry_after=read_retry_after(result.headers) if waits else None,
        status=status,
    )


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long the service wants not to be asked.

    Parameters
    ----------
    headers : mapping of str to str
        Headers of the reply, names in lower case. ``retry-after-ms`` comes first, then
        ``retry-after`` in seconds or as a date, counted from the server's own ``date``.

    Returns
    -------
    seconds : float or None
        From 0 (what lies in the past) to 86400 (what is longer); None if nothing can be read.
    """
    seconds = _as_number(headers.get("retry-after-ms"), 1e-3)
    if seconds is None:
        seconds = _as_number(headers.get("retry-after"))
    if seconds is None and (then := _as_date(headers.get("retry-after"))) is not None:
        now = _as_date(headers.get("date"))
        seconds = then - (time() if now is None else now)
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_PAUSE)


def _as_number(value: str | None, unit: float = 1.0) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number * unit


def _as_date(value: str | None) -> float | None:
    try:
        return parsedate_to_datetime(value or "").timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None
