"""A real API on loopback, and a place of its own for every test."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.postgres_server import postgres_server, postgres_url  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Begin = Callable[..., None]

gc.set_threshold(50_000, 20, 20)  # as the command does
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
TOKEN = "t0p-s3cret-token-value"


@dataclass(frozen=True)
class Answer:
    """What the server sends for one request."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Api:
    """A server that answers what the test says: `answer` always, `queue` first and once each.

    `by_token` has what it answers to single tokens, `pause_seconds` how long it thinks, and `busy_with` notes the
    tokens that it was busy with, at each request.
    """

    def __init__(self) -> None:
        self.standing = Answer(b'{"data": []}')
        self.queued: list[Answer] = []
        self.by_token: dict[str, Answer] = {}
        self.queued_to: dict[str, list[Answer]] = {}
        self.pause_seconds = 0.0
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
                queued = api.queued_to.get(token) or api.queued
                answer = queued.pop(0) if queued else api.by_token.get(token, api.standing)
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


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.close()


@pytest.fixture
def place(tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory whose settings point at `api`; the data goes to `data/` in it."""
    for name in ("FAMULOR_API_KEY", "SOURCES__FAMULOR__API_TOKEN", "DLT_PROJECT_DIR", "DLT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", api.base_url)
    monkeypatch.setenv("SOURCES__FAMULOR__BACKOFF_SECONDS", "0.01")
    # What is queued is for one account after the other.
    monkeypatch.setenv("SOURCES__FAMULOR__CONCURRENCY", "1")
    monkeypatch.setenv("FAMULOR_API_KEY", TOKEN)
    return tmp_path


@pytest.fixture(scope="session")
def beginnings() -> dict[str, Path]:
    """The data directories that first runs have left, by what was asked and answered."""
    return {}


@pytest.fixture
def begin(place: Path, api: Api, beginnings: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Begin:
    """Leave what a first run that is answered these trunks leaves, reports aside; what one has left is copied."""

    def begin(*trunks: dict[str, Any]) -> None:
        api.answer(list(trunks))
        settings = read_settings()
        accounts = pick_accounts(settings, [])
        name = repr((settings.destination, [account.name for account in accounts], trunks))
        if name in beginnings:
            shutil.copytree(beginnings[name], settings.data_dir, symlinks=True)
            return
        assert run(settings, accounts, with_reports=False).exit_code == 0
        beginnings[name] = tmp_path_factory.mktemp("begun") / "data"
        shutil.copytree(settings.data_dir, beginnings[name], symlinks=True)

    return begin
