"""A loopback server that answers like a paid service, and fails on command.

In a test::

    with FaultServer(faults=["429", None, "reset"]) as server:
        post(server.url + "/v1/chat/completions", ...)   # 429, then answered, then reset
        server.n_received, server.n_completed, server.completed

In another process (prints its URL as its first line; ends by itself after ``--seconds``, by
SIGTERM, or with ``--with-parent`` once its standard input is closed)::

    python -m tests.calling.fault_server --rate 0.3 --seed 1 --delay 0.05 --log completed.jsonl

``start_process()`` starts that one and gives its URL; ``GET /stats`` tells its counts.

Routes: ``POST /v1/chat/completions`` (chat), ``POST /v1/systemone`` (typed questions),
``GET /stats``; others get 404.

Which request fails is said by ``faults``: a list (the n-th request, then none), a function
``f(request) -> name or None``, or ``RandomFaults(rate, names, seed)``. A request knows its
``number`` (from 0), ``path``, ``headers``, ``body`` (read JSON), ``row`` (the text of the question)
and ``attempt`` (how often that row was asked before). ``FAULTS`` lists the names; ``TRANSIENT``
those after which asking again helps. A fault may also be bytes: they are
sent as they are and the connection is closed.

What is answered is said by ``answer(request) -> str``; by default one of the options of the
question (of ``response_format``'s enum, or of ``criteria``), always the same for a row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

FAULTS = (
    "429",  # without Retry-After
    "429_retry_after",
    "quota",  # 429, insufficient_quota
    "401",
    "500",
    "503_retry_after",
    "html_200",
    "cut_json",  # Content-Length is longer than the body, then closed
    "cut_chunks",  # chunked, closed before the last chunk
    "invalid_json",  # complete, but not JSON
    "empty",
    "error_200",  # an error object with status 200: rate_limit_exceeded
    "content_filter",  # 400
    "context_length",  # 400
    "null_content",
    "refusal",  # message.refusal, or finish_reason content_filter
    "length",  # finish_reason length, half an answer
    "content_number",
    "content_list",
    "no_choices",
    "no_usage",
    "json_list",  # the whole body is a list
    "slow",  # drips a byte at a time, complete in the end unless the client leaves
    "slow_headers",  # drips header lines and never comes to an end
    "hang",  # never answers
    "reset",  # RST in the middle of the body
    "reset_early",  # RST before a byte is sent
    "redirect",  # 307 to another host
    "huge",  # 12 MB
)
TRANSIENT = ("429", "429_retry_after", "500", "cut_json", "cut_chunks", "error_200", "reset")
REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized"}


@dataclass
class Request:
    """What a client asked."""

    number: int
    method: str
    path: str
    headers: dict
    body: object
    row: str = ""
    attempt: int = 0


@dataclass
class RandomFaults:
    """A share of the requests fails; the same ones, whoever is first."""

    rate: float
    names: tuple = TRANSIENT
    seed: int = 0

    def __call__(self, request):
        rng = random.Random(f"{self.seed}|{request.row}|{request.attempt}")
        return rng.choice(self.names) if rng.random() < self.rate else None


@dataclass
class FaultServer:
    """The server in a thread of this process; see the module's docstring.

    Besides what is described below it has ``url``, ``requests``, ``n_received``,
    ``n_connections`` and ``max_in_flight``.
    """

    faults: object = None
    delay: float = 0.0  # seconds before each reply
    drip: float = 0.02  # seconds between two bytes of a slow reply
    retry_after: str = "0.05"
    answer: object = None
    port: int = 0
    echo: str = ""  # a header whose value is written into every error message
    log: Path | None = None  # a line of JSON for every completed answer
    keep_requests: bool = True
    requests: list = field(default_factory=list, init=False)
    n_received: int = field(default=0, init=False)
    n_connections: int = field(default=0, init=False)
    max_in_flight: int = field(default=0, init=False)

    def __post_init__(self):
        self._asked, self._sent, self._completed = Counter(), Counter(), []
        self._loop = self._thread = None
        self._in_flight = 0
        self._tasks = set()
        self._script = list(self.faults) if isinstance(self.faults, (list, tuple)) else None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def completed(self):
        """The row of every answer that was sent whole, in order."""
        self._settle()
        return self._completed

    @property
    def n_sent(self):
        """Replies sent whole: fault name, None for an answer -> how many."""
        self._settle()
        return self._sent

    @property
    def n_completed(self):
        """How many answers were sent whole."""
        return len(self.completed)

    def _settle(self):
        """Wait until the server has counted what a client may hold already."""
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return
        if threading.current_thread() is not self._thread:
            done = threading.Event()
            self._loop.call_soon_threadsafe(done.set)
            done.wait(30)

    def stats(self):
        """Give the counts, as ``GET /stats`` does."""
        return {
            "received": self.n_received,
            "completed": self.n_completed,
            "sent": {str(name): n for name, n in self.n_sent.items()},
            "rows": dict(Counter(self.completed)),
            "connections": self.n_connections,
            "max_in_flight": self.max_in_flight,
        }

    # ---- life

    def __enter__(self):
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        if not started.wait(30):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(30)
        if self._thread.is_alive():
            raise RuntimeError("the fault server did not stop")

    def _run(self, started):
        asyncio.run(self.serve(started))

    async def serve(self, started=None):
        """Serve until ``_leave`` is set, then drop everything."""
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        log = open(self.log, "a", buffering=1) if self.log else None  # noqa: SIM115
        self._log_file = log
        server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, backlog=1024, limit=1 << 26
        )
        self.port = server.sockets[0].getsockname()[1]
        if started is not None:
            started.set()
        try:
            await self._leave.wait()
        finally:
            server.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()
            if log is not None:
                log.close()

    async def _connected(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.n_connections += 1
        writer.transport.set_write_buffer_limits(high=0)  # drain() waits until all is handed over
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the server stops
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    # ---- one request

    async def _serve_one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        if method == "GET":
            await self._send(writer, 200 if path == "/stats" else 404, self.stats())
            return True
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        request = Request(self.n_received, method, path.partition("?")[0], headers, body)
        request.row = row_of(body)
        request.attempt = self._asked[request.row]
        self._asked[request.row] += 1
        self.n_received += 1
        if self.keep_requests:
            self.requests.append(request)
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            fault = self._fault(request)
            if self.delay:
                await asyncio.sleep(self.delay)
            stays = await self._reply(writer, request, fault)
        finally:
            self._in_flight -= 1
        return stays

    def _fault(self, request):
        if self._script is not None:
            return self._script.pop(0) if self._script else None
        return self.faults(request) if self.faults is not None else None

    def _count(self, request, fault):
        self._sent[fault] += 1
        if fault in (None, "slow", "no_usage"):
            self._completed.append(request.row)
            if self._log_file is not None:
                line = {"row": request.row, "number": request.number, "fault": fault}
                self._log_file.write(json.dumps(line) + "\n")

    async def _reply(self, writer, request, fault):
        """Send a reply, or its failure; True if the connection may go on."""
        if request.path not in ("/v1/chat/completions", "/v1/systemone"):
            await self._send(writer, 404, _error("not_found", "no such route"))
            return True
        echo = f" ({request.headers.get(self.echo, '')})" if self.echo else ""
        content = self._content(request, fault)
        raw = json.dumps(content).encode()
        if isinstance(fault, bytes):
            writer.write(fault)
            await writer.drain()
            return False
        if fault == "hang":
            await asyncio.sleep(3600)
        elif fault in ("reset", "reset_early"):
            if fault == "reset":
                writer.write(_head(200, len(raw)) + raw[: len(raw) // 2])
                await writer.drain()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        elif fault == "cut_json":
            writer.write(_head(200, len(raw)) + raw[: len(raw) // 2])
            await writer.drain()
            return False
        elif fault == "cut_chunks":
            half = raw[: len(raw) // 2]
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%b\r\n" % (len(half), half))
            await writer.drain()
            return False
        elif fault == "slow":
            writer.write(_head(200, len(raw)))
            for i in range(len(raw)):
                writer.write(raw[i : i + 1])
                await writer.drain()
                await asyncio.sleep(self.drip)
        elif fault == "slow_headers":
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for i in range(3600):
                writer.write(b"X-Drip-%d: 1\r\n" % (i % 10))
                await writer.drain()
                await asyncio.sleep(self.drip)
        elif fault == "redirect":
            await self._send(writer, 307, {}, "Location: http://elsewhere.example/v1\r\n")
        elif fault == "html_200":
            await self._send(
                writer, 200, b"<html><body>Please log in.</body></html>", kind="text/html"
            )
        elif fault == "invalid_json":
            await self._send(writer, 200, raw[:-3])
        elif fault == "empty":
            await self._send(writer, 200, b"")
        elif fault == "huge":
            await self._send(writer, 200, b'"' + b"x" * 12_000_000 + b'"')
        elif fault in _ERRORS:
            status, code, message = _ERRORS[fault]
            extra = f"Retry-After: {self.retry_after}\r\n" if "retry_after" in fault else ""
            await self._send(writer, status, _error(code, message + echo), extra)
        else:
            await self._send(writer, 200, content)
        self._count(request, fault)
        return True

    async def _send(self, writer, status, body, extra="", kind="application/json"):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(_head(status, len(raw), extra, kind) + raw)
        await writer.drain()

    # ---- what is answered

    def _content(self, request, fault):
        if fault == "json_list":
            return [1, 2, 3]
        if request.path == "/v1/systemone":
            return self._systemone(request, fault)
        return self._chat(request, fault)

    def _chat(self, request, fault):
        body = request.body if isinstance(request.body, dict) else {}
        options = _chat_options(body)
        label = self.answer(request) if self.answer else pick(request.row, options)
        text = json.dumps({"answer": label}) if body.get("response_format") else str(label)
        message = {"role": "assistant", "content": text}
        finish = "stop"
        if fault == "null_content":
            message["content"] = None
        elif fault == "refusal":
            message.update(content=None, refusal="I can't help with that.")
            finish = "content_filter" if request.number % 2 else "stop"
        elif fault == "length":
            message["content"], finish = text[: len(text) // 2], "length"
        elif fault == "content_number":
            message["content"] = 7
        elif fault == "content_list":
            message["content"] = [text]
        choice = {"index": 0, "message": message, "finish_reason": finish}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [_logprobs(text, options or [text])]}
        reply = {
            "id": f"chatcmpl-{request.number}",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model", "fault"),
            "choices": [choice],
            "usage": _usage(len(request.row) // 4 + 1, len(text) // 4 + 1),
        }
        return _without(reply, fault, "choices")

    def _systemone(self, request, fault):
        body = request.body if isinstance(request.body, dict) else {}
        answers = {}
        for name, question in (body.get("questions") or {}).items():
            options = list(question.get("criteria") or {"true": None, "false": None})
            label = self.answer(request) if self.answer else pick(request.row, options)
            rest = 0.2 / max(len(options) - 1, 1)
            probabilities = {option: 0.8 if option == label else rest for option in options}
            if question.get("type") == "noul":
                answers[name] = {"type": "noul", "noul": probabilities.get("true")}
                continue
            answers[name] = {
                "type": "choice",
                "choice": label,
                "confidence": 0.6,
                "probabilities": probabilities,
            }
            if fault in ("null_content", "content_number", "content_list"):
                wrong = {"null_content": None, "content_number": 7, "content_list": [label]}[fault]
                answers[name].update(choice=wrong, probabilities=wrong)
        usage = {"input_tokens": len(request.row) // 4 + 1, "output_tokens": 0}
        reply = {"model": body.get("model"), "answers": answers, "usage": usage}
        return _without(reply, fault, "answers")


_ERRORS = {
    "429": (429, "rate_limit_exceeded", "Rate limit reached"),
    "429_retry_after": (429, "rate_limit_exceeded", "Rate limit reached"),
    "quota": (429, "insufficient_quota", "You exceeded your current quota, check your billing"),
    "401": (401, "invalid_api_key", "Incorrect API key provided"),
    "500": (500, "server_error", "The server had an error"),
    "503_retry_after": (503, "overloaded", "Overloaded"),
    "error_200": (200, "rate_limit_exceeded", "Rate limit reached"),
    "content_filter": (400, "content_filter", "The prompt was filtered by the content policy"),
    "context_length": (400, "context_length_exceeded", "Maximum context length is 16 tokens"),
}


def row_of(body):
    """Take the text of the question out of a request: what an answer is counted for."""
    if not isinstance(body, dict):
        return ""
    messages = body.get("messages")
    asked = messages[-1].get("content") if isinstance(messages, list) and messages else None
    asked = body.get("state", asked)
    return asked if isinstance(asked, str) else json.dumps(asked, sort_keys=True)


def pick(row, options):
    """Choose an option: the same for a row always, in whatever order they stand."""
    digest = blake2b(row.encode("utf-8", "replace"), digest_size=4).digest()
    return sorted(options)[int.from_bytes(digest, "big") % len(options)] if options else "yes"


def _chat_options(body):
    """Find the enum of ``response_format``, however deep it lies."""
    pending = [body.get("response_format")]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if isinstance(node.get("enum"), list):
                return node["enum"]
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return []


def _logprobs(token, options):
    others = [{"token": str(o), "logprob": -1.6, "bytes": None} for o in options if o != token]
    best = {"token": token, "logprob": -0.22, "bytes": None}
    return {**best, "top_logprobs": [best, *others]}


def _usage(n_input, n_output):
    return {
        "prompt_tokens": n_input,
        "completion_tokens": n_output,
        "total_tokens": n_input + n_output,
    }


def _without(reply, fault, main):
    gone = {"no_choices": main, "no_usage": "usage"}.get(fault)
    return {name: value for name, value in reply.items() if name != gone}


def _error(code, message):
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


def _head(status, length, extra="", kind="application/json"):
    reason = REASONS.get(status, "Status")
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        f"{extra}\r\n"
    ).encode()


@contextmanager
def start_process(*arguments, seconds=300):
    """Run the server in a process of its own; gives its URL, and stops it in the end."""
    command = [sys.executable, "-m", "tests.calling.fault_server", "--with-parent"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [*command, "--seconds", str(seconds), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_stdin(closed):
    while os.read(0, 1024):
        pass
    closed.set()


def main():
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="A server that fails on command.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0, help="share of requests that fail")
    parser.add_argument("--faults", default=",".join(TRANSIENT), help="names, by comma")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--retry-after", default="0.05")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0, help="ends itself after so long")
    parser.add_argument("--with-parent", action="store_true", help="ends when stdin is closed")
    options = parser.parse_args()
    names = tuple(options.faults.split(","))
    if unknown := set(names) - set(FAULTS):
        parser.error(f"no such faults: {sorted(unknown)}; there are {FAULTS}")
    server = FaultServer(
        faults=RandomFaults(options.rate, names, options.seed) if options.rate else None,
        delay=options.delay,
        retry_after=options.retry_after,
        port=options.port,
        log=options.log,
        keep_requests=False,
    )
    closed = threading.Event()
    if options.with_parent:
        threading.Thread(target=_wait_for_stdin, args=(closed,), daemon=True).start()
    with server:
        print(server.url, flush=True)
        closed.wait(options.seconds)


if __name__ == "__main__":
    main()
