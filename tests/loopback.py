"""A service on this machine that speaks Gemini's REST protocol, and misbehaves where it is told."""

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from remem.services import client, gemini


class Handler(BaseHTTPRequestHandler):
    """Answers a request by its server's `reply`, and keeps count."""

    protocol_version = "HTTP/1.1"  # as the service does it: connections are used again

    def do_GET(self):
        """What the service says of a model, which is free."""
        code, content = self.server.model(self.path.rpartition("/")[2])
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        """Answer one request."""
        server = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = server.subject(request)
        with server.lock:
            server.requests.append({"path": self.path, "headers": dict(self.headers), **request})
            server.times[subject] += 1
            server.now += 1
            server.most = max(server.most, server.now)
            times = server.times[subject]
        code, content = server.reply(subject, times)
        with server.lock:
            server.now -= 1
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.cut(subject, times)])
            self.close_connection = server.cut(subject, times) is not None
        except OSError:
            pass  # it waited no longer

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def serving(
    monkeypatch, key: str | None, subject: Callable[[dict], Any]
) -> Iterator[ThreadingHTTPServer]:
    """A server to which the SDK's requests go, with `key` in the environment.

    `server.reply(subject, how often it was asked for)` gives status and content; `requests` are
    what came, `times` counts them by subject (what `subject` makes of a request's JSON), `most` is
    how many were under way at once; `cut(subject, times)` is where an answer is cut off.
    `server.model(name)` is what is said of a model.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.lock, server.subject = True, threading.Lock(), subject
    server.requests, server.times, server.now, server.most = [], Counter(), 0, 0
    server.cut = lambda subject, times: None
    server.model = lambda name: (200, {"name": f"models/{name}"})
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in [*client.KEYS, "GOOGLE_GENAI_API_VERSION", "GOOGLE_GENAI_USE_VERTEXAI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    if key:
        monkeypatch.setenv("GEMINI_API_KEY", key)
    monkeypatch.setattr(gemini, "BACK_OFF", 0.005)
    # plain HTTP needs no authorities, which each client would read anew
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)
    yield server
    server.shutdown()
    server.server_close()


def answered(*parts: dict, finish: str = "STOP", **more) -> tuple[int, dict]:
    """Status and content of an answer with these parts."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish}
    return 200, {"candidates": [candidate], "modelVersion": "v-007", **more}


def error(code: int, status: str, message: str = "", details: tuple = ()) -> tuple[int, dict]:
    """Status and content of an error."""
    return code, {"error": {"code": code, "status": status, "message": message, "details": details}}
