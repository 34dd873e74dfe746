"""A loopback server that answers as a test says: ``answer(path, body, headers)``."""

from __future__ import annotations

import json
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # else many workers at once are turned away

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.bodies, self.headers = answer, [], []
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
        status, content = self.server.answer(self.path, body, self.headers)
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        pass


@contextmanager
def serve(answer):
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def chat(content, *, shares=None, finish="stop", model="m"):
    """A reply of a chat endpoint, with the probabilities of first tokens if ``shares``."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": finish}
    if shares is not None:
        top = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return 200, {"model": model, "choices": [choice], "usage": usage}


def by_length(path, body, headers):
    """Answer "yes" for rows of more than three characters; both routes."""
    if path.endswith("/systemone"):
        (question,) = body["questions"].values()
        yes = 0.9 if len(row_of(body)) > 3 else 0.2
        shares = dict(zip(sorted(question["criteria"]), (1 - yes, yes)))
        answer = {"type": "choice", "probabilities": shares}
        return 200, {"answers": {"answer": answer}, "usage": {"input_tokens": 50}}
    said = "yes" if len(row_of(body)) > 3 else "no"
    if body.get("logprobs"):
        yes = 0.9 if said == "yes" else 0.2
        lines = body["messages"][-1]["content"].splitlines()
        options = [line[3:].split(":")[0] for line in lines if line[1:3] == ". "]
        letters = dict(zip(options, "AB"))
        return chat(letters[said], shares={letters["yes"]: yes, letters["no"]: 1 - yes})
    return chat(json.dumps({"answer": said}))


def row_of(body):
    """The row in a question whose prompt is "Long? {text}", or in a state."""
    asked = body["state"] if "state" in body else body["messages"][-1]["content"]
    return asked.split("\n\n")[0].removeprefix("Long? ") if isinstance(asked, str) else asked
