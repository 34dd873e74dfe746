"""The wire: every fault of a server has its outcome, and the key never shows."""

import gzip
import json
import logging
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.calling import _http
from skdefer.calling._endpoint import (
    check_key,
    check_url,
    check_variable,
    proxy_for,
    scrub,
    split_url,
)
from skdefer.calling._failures import read_failure
from skdefer.calling._http import close_connections, post_json
from skdefer.calling._outcomes import Outcome
from tests.calling.fault_server import FAULTS, TRANSIENT, FaultServer, RandomFaults, start_process

KEY = "sk-test-J9/x+Qz8=7Yw"
CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "row 1"}]}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    yield
    close_connections()


def post(server, body=BODY, *, deadline=20.0, path=CHAT, **more):
    url = server if isinstance(server, str) else server.url
    return post_json(url + path, body, key_variable="TEST_API_KEY", deadline=deadline, **more)


def ask(server, **more):
    """One call: what was read, the failure, or None."""
    result = post(server, **more)
    return result, read_failure(result)


def answer_with(raw):
    """A server that sends these bytes to whoever asks first, and closes."""
    return FaultServer(faults=[raw])


def reply_of(body, *headers, status="200 OK"):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


# ---- outcomes


def test_an_answer_arrives():
    with FaultServer() as server:
        result, failure = ask(server)
        assert failure is None
        assert result.data["choices"][0]["message"]["content"] == "yes"
        assert server.completed == ["row 1"]
        sent = server.requests[0]
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert sent.headers["user-agent"].startswith("skdefer/")
        assert sent.body == BODY


OUTCOMES = {
    "429": "rate_limited",
    "429_retry_after": "rate_limited",
    "quota": "quota",
    "401": "auth",
    "500": "server_error",
    "503_retry_after": "server_error",
    "html_200": "server_error",
    "cut_json": "server_error",
    "cut_chunks": "server_error",
    "invalid_json": "unparsable",
    "empty": "server_error",
    "error_200": "rate_limited",
    "content_filter": "refused",
    "context_length": "truncated",
    "slow": "timeout",
    "slow_headers": "timeout",
    "hang": "timeout",
    "reset": "server_error",
    "reset_early": "server_error",
    "redirect": "server_error",
    "huge": "unparsable",
}
#: A whole JSON body arrives; what it is worth, the expert decides.
READABLE = {
    *("null_content", "refusal", "length", "content_number", "content_list"),
    *("no_choices", "no_usage", "json_list"),
}


def test_every_fault_has_its_outcome():
    assert set(OUTCOMES) | READABLE == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault):
    hangs = OUTCOMES.get(fault) == "timeout"
    with FaultServer(faults=[fault]) as server:
        result, failure = ask(server, deadline=0.15 if hangs else 20.0)
        assert server.n_received == 1  # nothing is sent twice
        if fault in READABLE:
            assert failure is None
            assert result.data is not None
            return
        assert str(failure.outcome) == OUTCOMES[fault]
        waits = 0.05 if "retry_after" in fault else None
        assert failure.retry_after == waits
        assert failure.text
        uncertain = failure.outcome is Outcome.UNPARSABLE or fault in (
            *("cut_json", "cut_chunks", "slow", "slow_headers", "hang", "reset", "reset_early"),
            *("html_200", "empty"),
        )
        assert failure.price == (None if uncertain else 0.0)
        # The next call finds a clean connection.
        assert read_failure(post(server)) is None


def test_a_redirect_names_its_target_and_is_not_followed():
    with FaultServer() as other:
        place = f"Location: {other.url}{CHAT}"
        with answer_with(reply_of(b"", place, status="307 Temporary Redirect")) as server:
            _, failure = ask(server)
        assert other.url in failure.text
        assert other.n_connections == 0


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: refused
        _, failure = ask(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert failure.outcome is Outcome.SERVER_ERROR
    assert failure.price == 0.0
    assert "can't reach the server" in failure.text


def test_a_drip_within_the_deadline_is_an_answer():
    with FaultServer(faults=["slow"], drip=0.0) as server:
        result, failure = ask(server)
        assert failure is None
        assert result.data["object"] == "chat.completion"


def test_a_reply_without_a_length():
    head = b"HTTP/1.0 200 OK\r\n\r\n"
    with FaultServer(faults=[head + b'{"a": 1}', head + b'{"a": ']) as server:
        assert post(server).data == {"a": 1}
        _, failure = ask(server)
        assert failure.outcome is Outcome.SERVER_ERROR  # whether it was cut, nobody can tell


@pytest.mark.parametrize(
    ("body", "headers", "data"),
    [
        (gzip.compress(b'{"a": 1}'), ["Content-Encoding: gzip"], {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', [], {"a": 1}),
        (b'{"a": "\xff"}', [], {"a": "\ufffd"}),
        (rb'{"a": "\ud83d\ude00 \ud800"}', [], {"a": "😀 ?"}),
        (b"null", [], None),
    ],
)
def test_bodies_that_can_be_read(body, headers, data):
    with answer_with(reply_of(body, *headers)) as server:
        result, failure = ask(server)
    assert failure is None
    assert result.data == data
    json.dumps(result.data, ensure_ascii=False).encode()  # any file can hold it


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"not gzip at all", ["Content-Encoding: gzip"]),
        (gzip.compress(b" " * 50_000_000), ["Content-Encoding: gzip"]),
        (b"[" * 100_000, []),
        (b'{"a": ' + b"9" * 10_000 + b"}", []),
    ],
)
def test_bodies_that_come_whole_and_can_not(body, headers):
    with answer_with(reply_of(body, *headers)) as server:
        _, failure = ask(server)
    assert failure.outcome is Outcome.UNPARSABLE


@pytest.fixture(scope="module")
def raw_server():
    """One server for all examples; it sends what its ``raw`` holds."""
    with FaultServer(faults=lambda request: server.raw, keep_requests=False) as server:
        yield server


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_body_is_one_outcome(raw_server, data):
    body = data.draw(st.one_of(st.binary(max_size=300), st.text(max_size=80).map(str.encode)))
    status = data.draw(st.sampled_from([200, 200, 200, 201, 204, 400, 403, 429, 500, 599]))
    check_raw_reply(raw_server, reply_of(body, status=f"{status} X"))


@settings(max_examples=60, deadline=None)
@given(
    raw=st.lists(
        st.sampled_from(
            [
                *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"200", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n"),
                *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"{}", b"-5\r\n"),
                *(b"Content-Length: x\r\n", b"Content-Encoding: gzip\r\n", b"Retry-After: 1\r\n"),
                *(b": no name\r\n", b" folded\r\n", b"5\r\nhello\r\n", b"\xff\x00", b"HTTP/9.9 "),
            ]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_any_bytes_at_all_are_one_outcome(raw_server, raw):
    check_raw_reply(raw_server, raw)


def check_raw_reply(server, raw):
    server.raw = raw
    result, failure = ask(server)
    if failure is None:
        assert result.status in range(200, 300)
        assert result.problem is None
        return
    assert isinstance(failure.outcome, Outcome)
    assert failure.outcome is not Outcome.OK
    assert failure.text


def test_a_long_question_gets_there_whole():
    text = "😀 \ud800 x" * 500_000
    with FaultServer() as server:
        assert ask(server, body={"messages": [{"role": "user", "content": text}]})[1] is None
        assert server.requests[0].row == text.replace("\ud800", "?")


# ---- connections


def test_connections_are_used_again():
    with FaultServer() as server:
        for _ in range(20):
            assert ask(server)[1] is None
        assert server.n_connections == 1
        close_connections()
        assert ask(server)[1] is None
        assert server.n_connections == 2


def test_many_workers_and_no_full_pool(caplog):
    caplog.set_level(logging.WARNING)
    gate = threading.Barrier(80)
    failures = []

    def work(server):
        gate.wait(60)
        failures.extend(ask(server)[1] for _ in range(3))

    with FaultServer(delay=0.05) as server:
        threads = [threading.Thread(target=work, args=(server,)) for _ in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert failures == [None] * 240
        assert server.n_connections <= 80
    assert [r for r in caplog.records if r.name.startswith("urllib3")] == []


def test_a_fork_opens_its_own_connections():
    script = """
        import os, sys
        from skdefer.calling._http import post_json

        def ask():
            content = f"{os.getpid()} {n}"
            body = {"messages": [{"role": "user", "content": content}]}
            result = post_json(
                sys.argv[1] + "/v1/chat/completions", body, key_variable=None, deadline=20
            )
            return result.data["usage"]["prompt_tokens"] == len(content) // 4 + 1

        n = 0
        assert ask()
        child = os.fork()
        for n in range(20):
            assert ask()
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """
    with start_process() as url:
        subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script), url],
            check=True,
            timeout=120,
        )
        from urllib.request import urlopen

        with urlopen(url + "/stats", timeout=20) as reply:
            stats = json.load(reply)
    assert stats["completed"] == 41
    assert stats["connections"] == 3  # parent, child, and this question


def test_proxies_come_from_the_environment(monkeypatch):
    with FaultServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:pass%21@"))
        post("http://service.example", allow_plain_http=True)
        assert proxy.requests[0].path == "http://service.example" + CHAT
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNzIQ=="
        with FaultServer() as local:
            assert ask(local)[1] is None  # this machine needs no proxy
        assert proxy.n_received == 1


def test_which_proxy(monkeypatch):
    def proxy(url):
        return proxy_for(split_url(url))

    assert proxy("https://a.example/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert proxy("https://a.example/v1") == "http://proxy.example:3128"
    assert proxy("https://b.inside.example/v1") is None
    for local in ("127.0.0.1:80", "localhost", "[::1]:8000", "127.1.2.3", "a.localhost"):
        assert proxy(f"https://{local}/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@proxy.example")
    with pytest.raises(ValueError, match="of kind 'socks5'; only http and https") as caught:
        _http._pool_for("https://a.example/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_that_nobody_signed_is_refused(tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
        + ["-keyout", "key.pem", "-out", "cert.pem", "-days", "1"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    received = []

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    received.append(secured.recv(100))
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        _, failure = ask(f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(30)
    assert failure.outcome is Outcome.SERVER_ERROR
    assert failure.price == 0.0
    assert "CERTIFICATE_VERIFY_FAILED" in failure.text
    assert received in ([], [b""])


# ---- the key


def forms(key):
    return [key, key.replace("/", "\\/"), json.dumps(key)[1:-1], repr(key)[1:-1]]


ECHOES = [
    reply_of(json.dumps({"a": f"your key {KEY}", KEY: [KEY]}).encode()),
    reply_of(json.dumps({"a": KEY}).replace("/", "\\/").encode()),
    reply_of(json.dumps({"a": KEY}).replace("+", "\\u002B").replace("=", "\\u003d").encode()),
    reply_of(json.dumps({"error": {"message": KEY, "code": KEY}}).encode()),
    reply_of(json.dumps({"error": {"message": KEY}}).encode(), status="401 Unauthorized"),
    reply_of(("x" * 280 + KEY).encode(), status="500 Oh"),
    reply_of(f"<html>{KEY}</html>".encode()),
    reply_of(b"{}", f"Location: https://other.example/?key={KEY}", status="302 Found"),
    reply_of(b"{}", f"Retry-After: {KEY}", f"Content-Type: {KEY}", status="429 Slow"),
    reply_of(b"{}", f"broken header {KEY}", "A: 1"),
    f"HTTP/1.1 {KEY} OK\r\n\r\n".encode(),
    f"{KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{KEY}".encode(),
    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n{{}}".encode(),
    f"HTTP/1.1 200 OK\r\nContent-Encoding: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}".encode(),
]


@pytest.mark.parametrize("raw", ECHOES, ids=range(len(ECHOES)))
def test_a_key_that_the_server_repeats_is_taken_out(raw, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with answer_with(raw) as server:
        result, failure = ask(server)
        assert KEY in server.requests[0].headers["authorization"]
    printed = capfd.readouterr()
    seen = [repr(result), str(result.data), result.text, result.detail, str(result.headers)]
    seen += [repr(failure), caplog.text, printed.out, printed.err]
    seen += [repr(record.__dict__) for record in caplog.records]
    seen += [pickle.dumps((result, failure)).decode("latin-1")]
    for where in seen:
        for form in forms(KEY):
            assert form not in where


@pytest.mark.parametrize("fault", [f for f in FAULTS if OUTCOMES.get(f) != "timeout"])
def test_faults_show_no_key(fault, caplog):
    caplog.set_level(logging.DEBUG)
    with FaultServer(faults=[fault], echo="authorization") as server:
        result, failure = ask(server)
    assert KEY not in repr(result) + repr(failure) + caplog.text


def test_short_keys_are_placeholders_and_stay(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", "EMPTY")
    with answer_with(reply_of(b'{"answer": "EMPTY"}')) as server:
        assert post(server).data == {"answer": "EMPTY"}


@given(st.text(alphabet=[chr(c) for c in range(33, 127)], min_size=8, max_size=40))
def test_any_key_is_found(key):
    for text in (f"a {key} b", json.dumps({"k": key}), json.dumps([key]).replace("/", "\\/")):
        cleaned = scrub(text, key)
        assert key not in cleaned or set(key) == {"*"}
        assert "***" in cleaned


def test_no_key_no_header():
    with FaultServer() as server:
        post_json(server.url + CHAT, BODY, key_variable=None, deadline=20)
        assert "authorization" not in server.requests[0].headers


def test_whitespace_around_a_key_is_no_part_of_it(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", f" {KEY}\r\n")
    with FaultServer() as server:
        assert ask(server)[1] is None
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", [None, "", "  \n", "two words", "line\nbreak-key", "schlüssel"])
def test_keys_that_can_not_be_sent(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("TEST_API_KEY")
    else:
        monkeypatch.setenv("TEST_API_KEY", value)
    with FaultServer() as server:
        for call in (lambda: check_key("TEST_API_KEY"), lambda: ask(server)):
            with pytest.raises(ValueError, match="environment variable 'TEST_API_KEY'") as caught:
                call()
            if value is not None and value.strip():
                assert value.strip() not in str(caught.value)
        assert server.n_connections == 0


@pytest.mark.parametrize("passed", [KEY, "hf_aB3dE5gH7jK9", "0123456789abcdef0123456789abcdef"])
def test_a_key_passed_in_place_of_its_name_is_not_shown(passed):
    with pytest.raises(ValueError, match="not shown") as caught:
        check_key(passed)
    assert passed not in str(caught.value)


def test_a_key_variable_of_another_type():
    with pytest.raises(TypeError, match="key_variable is a bytes; expected the name"):
        check_key(b"KEY")
    check_key(None)


# ---- addresses, headers, parameters


def test_no_key_over_plain_http_to_another_machine():
    with pytest.raises(ValueError, match="A key would go to api.example over http.*Use https"):
        check_url("http://api.example/v1", has_key=True)
    check_url("http://api.example/v1", has_key=False)
    check_url("http://api.example/v1", has_key=True, allow_plain_http=True)
    check_url("https://api.example/v1", has_key=True)
    for local in ("localhost", "127.0.0.1:8000", "[::1]"):
        check_url(f"http://{local}/v1", has_key=True)
    for near in ("localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"):
        with pytest.raises(ValueError, match="A key would go"):
            check_url(f"http://{near}/v1", has_key=True)


@pytest.mark.parametrize(
    "url",
    [
        *("", "api.example/v1", "ftp://api.example", "file:///etc", "http://", "https://:80/"),
        *("http://a:99999/", "http://[::1", "https://a .example", "https://a\n.example", None, 7),
        *(b"http://a", "http://localhost\\@api.example"),
    ],
)
def test_what_is_no_address(url):
    with pytest.raises(ValueError, match="is not one: expected a string such as"):
        check_url(url, has_key=False)


def test_no_passwords_in_addresses():
    with pytest.raises(ValueError, match="holds a user name or password") as caught:
        check_url("https://user:hunter22@api.example/", has_key=False)
    assert "hunter22" not in str(caught.value)


def test_extra_headers():
    with FaultServer() as server:
        assert ask(server, extra_headers={"X-Title": "trial"})[1] is None
        assert server.requests[0].headers["x-title"] == "trial"
        for bad in ({"Authorization": "x"}, {"a\nb": "x"}, {"A": "x\r\nB: y"}, {"Host": "x"}):
            with pytest.raises(ValueError, match="extra_headers"):
                ask(server, extra_headers=bad)
        assert server.n_received == 1


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf")])
def test_bad_deadlines(deadline):
    with pytest.raises(ValueError, match="deadline is"):
        post("http://127.0.0.1:9", deadline=deadline)


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": {1, 2}}, {"a": b"x"}])
def test_what_json_can_not_hold_is_not_sent(body):
    with FaultServer() as server:
        with pytest.raises((ValueError, TypeError)):
            post(server, body)
        assert server.n_connections == 0


def test_the_extra_is_named_where_urllib3_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(ImportError, match=r'pip install "skdefer\[http\]"'):
        post("http://127.0.0.1:9")


# ---- the server of these tests itself


def test_random_faults_are_the_same_whoever_asks_first():
    faults = RandomFaults(0.5, seed=3)
    rows = [f"row {i}" for i in range(40)]
    seen = []
    for order in (rows, rows[::-1]):
        with FaultServer(faults=faults) as server:
            for row in order:
                ask(server, body={"messages": [{"role": "user", "content": row}]})
            seen.append((sorted(server.completed), dict(server.n_sent)))
    assert seen[0] == seen[1]
    assert 5 < len(seen[0][0]) < 35
    assert set(seen[0][1]) <= {None, *TRANSIENT}


def test_the_server_in_another_process(tmp_path):
    log = tmp_path / "completed.jsonl"
    with start_process("--rate", 1, "--faults", "500", "--log", log) as url:
        assert str(ask(url)[1].outcome) == "server_error"
    with start_process("--log", log) as url:
        assert ask(url)[1] is None
        body = {"questions": {"q": {"type": "choice", "criteria": {"a": None, "b": None}}}}
        result, failure = ask(url, body=body | {"state": "s"}, path="/v1/systemone")
        assert failure is None
        answer = result.data["answers"]["q"]
        assert answer["type"] == "choice"
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert [json.loads(line)["row"] for line in log.read_text().splitlines()] == ["row 1", "s"]


# ---- what a user got wrong


def test_a_wrong_address_is_named_without_its_query():
    with FaultServer() as server:
        result, failure = ask(server, path="/nowhere?token=1")
        assert result.status == 404
        assert failure.text.startswith(
            f"HTTP 404 from {server.url}/nowhere, check base_url and model: "
        )
        assert (failure.outcome, failure.status) == ("bad_request", 404)


NAMES = [None, "OPENAI_API_KEY", "my_openai_key_2", "MyServiceKey", "KEY_OF_TEAM_7"]
KEYS = [
    *(KEY, "sk-x", "hf_aB3dE5gH7jK9", "hf_" + "aBcDeFgHiJkLmNoP" * 2, "AKIAIOSFODNN7EXAMPLE"),
    *("0123456789abcdef0123456789abcdef", "AIzaSyA1234567890abcdefghijk", "two words"),
]


@pytest.mark.parametrize("passed", NAMES)
def test_a_name_may_name_the_key(passed):
    check_variable(passed)


@pytest.mark.parametrize("passed", KEYS)
def test_a_key_instead_of_its_name_is_not_shown(passed, monkeypatch):
    with pytest.raises(ValueError, match="no name of an environment variable") as caught:
        check_variable(passed)
    assert passed not in str(caught.value)
    if "=" not in passed:
        monkeypatch.setenv(passed, "x")
        check_variable(passed)  # whoever has such a variable may name it


@pytest.mark.parametrize("n", [8, 12, len(KEY) - 1])
def test_the_beginning_of_a_key_is_not_shown_either(n):
    body = json.dumps({"error": {"message": f"Incorrect key: {KEY[:n]}, try again"}}).encode()
    with answer_with(reply_of(body, status="401 Unauthorized")) as server:
        result, failure = ask(server)
    assert failure.text == "HTTP 401: Incorrect key: ***, try again"
    assert KEY[:8] not in repr(result)
