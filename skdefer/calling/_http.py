"""One POST of JSON to a service that is paid: deadline, size limit, and a key that never shows."""

from __future__ import annotations

import functools
import io
import json
import math
import os
import re
import time
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any
from urllib.parse import unquote, urlsplit

from skdefer.calling._endpoint import check_url, proxy_for, read_key, scrub, scrub_parts, split_url
from skdefer.utils._optional import import_optional

_LARGEST_BODY = 10_000_000
_LONGEST_CONNECT = 10.0
_MAX_CONNECTIONS = 256
_KEPT_HEADERS = ("date", "location", "retry-after", "retry-after-ms")

# (process, proxy) -> pool. A fork makes its own; its parent's sockets are never touched.
_pools: dict[tuple[int, str | None], Any] = {}


@dataclass(frozen=True)
class HttpResult:
    """What came of one POST.

    Parameters
    ----------
    status : int or None
        The HTTP status; None if none arrived.
    data : object, default=None
        The JSON body, read.
    text : str, default=""
        The body as text, empty if it did not arrive whole.
    problem : str, default=None
        None if a whole JSON body came. Else 'unreachable' or 'connect_timeout' (nothing was
        sent), 'timeout', 'cut' (the connection broke before the end), 'too_long', 'page' (HTML,
        or nothing), 'not_json'.
    detail : str, default=""
        The problem in words.
    headers : dict of str to str, default={}
        Those that are read later, names in lower case.
    seconds : float, default=0.0
        How long it took.
    url : str, default=""
        Who was asked, without what stands after "?".
    """

    status: int | None
    data: Any = None
    text: str = ""
    problem: str | None = None
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    url: str = ""


def post_json(
    url: str,
    body: Any,
    *,
    key_variable: str | None,
    deadline: float,
    extra_headers: dict[str, str] | None = None,
    allow_plain_http: bool = False,
) -> HttpResult:
    """Send a body and wait for the reply; redirects are not followed, nothing is sent twice.

    Proxies are taken from the environment (``HTTPS_PROXY``, ``NO_PROXY``), except for addresses
    of this machine. Connections are kept open, for each process its own.

    Parameters
    ----------
    url : str
        The whole address.
    body : object
        What JSON can hold.
    key_variable : str or None
        Name of the environment variable whose value is sent as a bearer token. It is read now
        and kept nowhere; where the service repeats it, ``***`` stands in its place.
    deadline : float
        Seconds until it must all have arrived, however slowly it drips in. Looking up the name of
        the host is not counted.
    extra_headers : dict of str to str, default=None
        More headers; not the key, which would be shown.
    allow_plain_http : bool, default=False
        As in :func:`check_url`.

    Returns
    -------
    result : HttpResult
        What came of it. Whatever the server or the network does, nothing is raised.

    Raises
    ------
    ImportError
        If urllib3 is not installed.
    TypeError, ValueError
        If the key, the address, the body, the headers or the deadline can't be used.
    """
    if not 0 < deadline < math.inf:
        raise ValueError(f"deadline is {deadline!r}; expected seconds, a finite number > 0.")
    check_url(url, has_key=key_variable is not None, allow_plain_http=allow_plain_http)
    key = read_key(key_variable)
    # A lone surrogate is no text, and UTF-8 can't hold it.
    raw = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    headers = _headers(key, extra_headers)
    start = time.monotonic()
    result = _exchange(_pool_for(url), url, raw, headers, deadline, key)
    asked = scrub(url.partition("?")[0], key)
    return replace(result, seconds=time.monotonic() - start, url=asked)


def close_connections() -> None:
    """Close the connections that this process keeps open; later calls open new ones."""
    for process, proxy in list(_pools):
        if process == os.getpid() and (pool := _pools.pop((process, proxy), None)) is not None:
            pool.clear()


def _exchange(
    pool: Any, url: str, raw: bytes, headers: dict[str, str], deadline: float, key: str | None
) -> HttpResult:
    """Send and receive. Exceptions stay in here: they could carry the key out."""
    urllib3 = import_optional("urllib3", needed_for="Calling a service over HTTP")
    errors = urllib3.exceptions
    limits = urllib3.Timeout(connect=min(deadline, _LONGEST_CONNECT), total=deadline)
    never_sent = (errors.NewConnectionError, errors.ProxyError, errors.SSLError)
    try:
        response = pool.urlopen(
            "POST",
            url,
            body=raw,
            headers=headers,
            retries=False,
            redirect=False,
            preload_content=False,
            timeout=limits,
        )
    except never_sent as error:
        return _broken("unreachable", f"can't reach the server: {error}", key)
    except errors.ConnectTimeoutError:
        return _broken("connect_timeout", f"no connection within {limits.connect_timeout:g} s", key)
    except errors.TimeoutError:
        return _broken("timeout", f"no reply within {deadline:g} s", key)
    except Exception as error:  # a server can break a client in ways that nobody lists
        return _broken("cut", f"the connection broke before a reply came: {error}", key)

    kept = {name: response.headers.get(name) for name in _KEPT_HEADERS}
    kept = {name: scrub(value, key) for name, value in kept.items() if value is not None}
    problem, detail, data, text = None, "", None, ""
    framed = "content-length" in response.headers or response.chunked
    try:
        received = bytearray()
        for part in response.stream(1 << 16):
            received += part
            if len(received) > _LARGEST_BODY:
                problem = "too_long"
                detail = f"the reply is longer than {_LARGEST_BODY / 1e6:g} MB"
                break
        else:
            text = scrub(received.decode("utf-8-sig", "replace"), key)
            if response.status >= 400:  # what stands in an error is no answer that it could hurt
                text = scrub_parts(text, key)
            data, text = _read_json(text, key)
    except errors.TimeoutError:
        problem, detail = "timeout", f"the reply was not complete after {deadline:g} s"
    except errors.DecodeError:
        problem, detail = "not_json", "the reply can't be decompressed"
    except (ValueError, RecursionError):  # json's, of what came whole
        # Without a length nobody can tell a cut body from a whole one.
        whole = "page" if _is_page(text, kept) else "not_json"
        problem = whole if framed else "cut"
        detail = f"the reply is not JSON: {text[:200]!r}"
    except Exception as error:  # as above
        problem, detail = "cut", scrub(f"the connection broke in the middle: {error}", key)
    if problem is not None:
        response.close()  # what is left of it must not be taken for the next reply
    response.release_conn()
    return HttpResult(response.status, data, text, problem, detail, kept)


def _is_page(text: str, headers: dict[str, str]) -> bool:
    start = text.lstrip()[:1]
    return start in ("", "<") or "html" in headers.get("content-type", "")


def _broken(problem: str, detail: str, key: str | None) -> HttpResult:
    return HttpResult(None, problem=problem, detail=scrub(detail, key))


def _read_json(text: str, key: str | None) -> tuple[Any, str]:
    """Read JSON, and write it again where escapes may hide the key or half a character.

    Half characters (lone surrogates), which no file can hold, become "?".
    """
    data = json.loads(text)
    if "\\u" in text:
        plain = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace").decode()
        text = scrub(plain, key)
        data = json.loads(text)
    return data, text


def _headers(key: str | None, extra: dict[str, str] | None) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": _user_agent(),
    }
    for name, value in (extra or {}).items():
        if name.lower() in ("authorization", "host", "content-length", "transfer-encoding"):
            raise ValueError(
                f"extra_headers holds {name!r}, which is not for it; name the key's environment "
                "variable by key_variable."
            )
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(
            r"[ -~\t]*", value
        ):
            raise ValueError(f"extra_headers: the name or value of {name!r} can't stand in HTTP.")
        headers[name] = value
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return headers


@functools.cache
def _user_agent() -> str:
    try:
        return f"skdefer/{metadata.version('skdefer')}"
    except metadata.PackageNotFoundError:
        return "skdefer"


def _pool_for(url: str) -> Any:
    proxy = proxy_for(split_url(url))
    name = (os.getpid(), proxy)
    pool = _pools.get(name)
    return pool if pool is not None else _pools.setdefault(name, _make_pool(proxy))


def _make_pool(proxy: str | None) -> Any:
    urllib3 = import_optional("urllib3", needed_for="Calling a service over HTTP")
    import ssl

    context = ssl.create_default_context()  # once: reading all certificates takes long
    options = {"maxsize": _MAX_CONNECTIONS, "ssl_context": context}
    if proxy is None:
        pool = urllib3.PoolManager(**options)
    else:
        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"The proxy that the environment names is of kind {parts.scheme!r}; only http and "
                "https ones can be used. Change HTTPS_PROXY, or add the host to NO_PROXY."
            )
        login = None
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        pool = urllib3.ProxyManager(
            parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
            proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None,
            proxy_ssl_context=context,
            **options,
        )
    pool.pool_classes_by_scheme = _pool_classes()
    return pool


@functools.cache
def _pool_classes() -> dict[str, Any]:
    """Derive connections whose deadline is one for the whole reply.

    A socket's own timeout begins anew with every byte, in the headers too.
    """
    from http.client import HTTPResponse

    from urllib3 import connection, connectionpool

    class TimedResponse(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **kwargs: Any):
            super().__init__(sock, *args, **kwargs)
            self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock))

        def begin(self) -> None:
            super().begin()
            # urllib3 would log what it can't parse of the headers, which may repeat the key.
            self.msg.defects.clear()
            self.msg.set_payload("")

    def derive(pool_class: Any, connection_class: Any) -> Any:
        timed = type("TimedConnection", (connection_class,), {"response_class": TimedResponse})
        return type("TimedPool", (pool_class,), {"ConnectionCls": timed})

    return {
        "http": derive(connectionpool.HTTPConnectionPool, connection.HTTPConnection),
        "https": derive(connectionpool.HTTPSConnectionPool, connection.HTTPSConnection),
    }


class _TimedReader(io.RawIOBase):
    """Reads from a socket until the time is over that the socket has when this is made."""

    def __init__(self, raw: Any, sock: Any):
        self._raw, self._sock = raw, sock
        timeout = sock.gettimeout()
        self._ends = math.inf if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends < math.inf:
            left = self._ends - time.monotonic()
            if left <= 0:
                raise TimeoutError("the time for the reply is over")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
