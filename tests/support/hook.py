"""A webhook on loopback, and outcomes of runs to send to it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from sip_trunks.run.result import AccountResult, RunResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip_trunks.run.result import RuleFindings

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
SECRET = "s3cret-part-of-the-address"
QUIET = AccountResult("acme", "unchanged", trunk_count=3)
REFUSED = AccountResult("acme", "failed", error="the token of account 'acme' was refused (401)", exit_code=3)


def outcome_of(*accounts: AccountResult, exit_code: int = 0, findings: Sequence[RuleFindings] | None = ()) -> RunResult:
    """Return what a run did for these accounts."""
    known = None if findings is None else tuple(findings)
    return RunResult(accounts, "duckdb", "place", NOON, NOON, 1.5, None, exit_code, findings=known)


class Hook:
    """A webhook that responds with `statuses`, then with 200, and keeps the texts that it accepted.

    While `is_open` is not set it accepts connections and does not respond.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.request_count = 0
        self.statuses: list[int] = []
        self.is_asked, self.is_open = threading.Event(), threading.Event()
        self.is_open.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.request_count += 1
                hook.is_asked.set()
                hook.is_open.wait()
                status = hook.statuses.pop(0) if hook.statuses else 200
                if status == 200:
                    assert list(body) == ["text"]
                    hook.texts.append(body["text"])
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{hook.address}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that did not wait for the response is nothing to report."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/{SECRET}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.002}, daemon=True).start()

    def close(self) -> None:
        self.is_open.set()
        self._server.shutdown()
        self._server.server_close()

    def take_texts(self) -> str:
        """Return what was accepted since the last call."""
        texts, self.texts[:] = "\n".join(self.texts), []
        return texts
