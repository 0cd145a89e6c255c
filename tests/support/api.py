"""A real API on loopback that answers what a test says."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Answer:
    """What the server sends for one request."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Api:
    """A server that answers what the test says: `answer` always, `queue` first and once each.

    `by_token` and `by_path` have what it answers to single tokens and at single paths, `pause_seconds` how long it
    thinks, and `busy_with` notes the tokens that it was busy with, at each request. `hold` is called with the token
    before a request is answered.
    """

    def __init__(self) -> None:
        self.standing = Answer(b'{"data": []}')
        self.queued: list[Answer] = []
        self.by_token: dict[str, Answer] = {}
        self.by_path: dict[str, Answer] = {}
        self.queued_to: dict[str, list[Answer]] = {}
        self.pause_seconds = 0.0
        self.hold: Callable[[str], object] = lambda _: None
        self.connection_count = 0
        self.busy_with: list[list[str]] = []
        self._busy: list[str] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                api.requests.append((self.path, dict(self.headers)))
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                api._busy.append(token)
                api.busy_with.append(list(api._busy))
                time.sleep(api.pause_seconds)
                api.hold(token)
                queued = api.queued_to.get(token) or api.queued
                standing = api.by_path.get(self.path, api.standing)
                answer = queued.pop(0) if queued else api.by_token.get(token, standing)
                api._busy.remove(token)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def get_request(self) -> Any:
                api.connection_count += 1
                return super().get_request()

            def handle_error(self, *_: Any) -> None:
                """A client that is killed, or has had enough, is nothing to report."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.002})
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/api"

    def answer(self, content: bytes | list[dict[str, Any]], status: int = 200, **headers: str) -> None:
        """Send this from now on: bytes as they are, trunks in an envelope."""
        self.standing = _answer(content, status, headers)

    def answer_at(self, path: str, content: bytes | list[dict[str, Any]], status: int = 200, **headers: str) -> None:
        """Send this from now on to requests for the path."""
        self.by_path[path] = _answer(content, status, headers)

    def answer_to(self, token: str, content: bytes | list[dict[str, Any]], status: int = 200, **headers: str) -> None:
        """Send this to whoever has the token."""
        self.by_token[token] = _answer(content, status, headers)

    def queue_to(self, token: str, content: bytes, status: int = 200, **headers: str) -> None:
        """Send this once to whoever has the token."""
        self.queued_to.setdefault(token, []).append(_answer(content, status, headers))

    def queue(self, content: bytes | list[dict[str, Any]], status: int = 200, **headers: str) -> None:
        """Send this once, after what is queued already; header names have _ for -."""
        self.queued.append(_answer(content, status, headers))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _answer(content: bytes | list[dict[str, Any]], status: int, headers: dict[str, str]) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps({"data": content}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body, status, {"Content-Type": "application/json"} | named)
