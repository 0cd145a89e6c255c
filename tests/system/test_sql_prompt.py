"""The prompt of `sql`, on a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import termios
import time
from codecs import getincrementaldecoder
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.processes import wait_until, wait_until_it_computes
from tests.support.runs import COMMAND, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fixtures import Begin

TRUNKS = [TRUNK, IP_TRUNK, trunk(id=44, country_code="DE", **{"zz\x1b[31mb": 1})]
READY = "«ready»"


@pytest.fixture
def stored(begin: Begin, place: Path) -> Path:
    """The data directory, with a few trunks stored."""
    begin(*TRUNKS)
    return place / "data"


class Terminal:
    """The command on a terminal of its own: what is typed, and what is to be read on it."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._descriptor = descriptor
        self._decode = getincrementaldecoder("utf-8")(errors="replace").decode
        self._begun = ""
        self._shown = ""

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def type_at_the_prompt(self, text: str) -> str:
        """Type once there is a prompt; return what was shown before it."""
        before = self.read_until(READY)
        self.type(text)
        return before

    def wait_until_a_query_runs(self) -> None:
        """Wait until the line that was typed is being executed: nothing is shown while a query runs."""
        # The prompt itself echoes nothing; it draws what is typed.
        wait_until(lambda: self.echoes, "the prompt has accepted the line")
        wait_until_it_computes(self.process.pid)

    def read_until(self, pattern: str) -> str:
        """Return what is shown up to and with a text that matches, and forget it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(pattern, self._shown, flags=re.DOTALL)):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self._shown!r}"
            if select.select([self._descriptor], [], [], 0.2)[0]:
                self._receive(os.read(self._descriptor, 65536))
        shown, self._shown = self._shown[: found.end()], self._shown[found.end() :]
        return shown

    def _receive(self, received: bytes) -> None:
        data = self._begun + self._decode(received)
        # A sequence of which only the beginning has come waits for its end.
        whole = re.sub(r"\x1b(\[[0-9;?]*)?\Z", "", data)
        self._begun = data[len(whole) :]
        if "\x1b[6n" in whole:  # where is the cursor?
            os.write(self._descriptor, b"\x1b[1;1R")
        whole = whole.replace("\x1b[?2004h", READY)  # from now on what is pasted is marked, if anything is
        self._shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", whole)


@contextmanager
def on_a_terminal(*arguments: str, code: int = 0) -> Iterator[Terminal]:
    """Run the command on a terminal and see that it ends well."""
    ours, theirs = pty.openpty()
    env: dict[str, Any] = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [COMMAND, "sql", *arguments],
        env=env,
        preexec_fn=lambda: os.login_tty(theirs),  # noqa: PLW1509 - no thread runs; else Ctrl-C would be a mere letter
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
        assert process.wait(PATIENCE_SECONDS) == code
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_the_prompt_runs_completes_and_recalls_queries_and_survives_an_error(stored: Path) -> None:
    with on_a_terminal() as terminal:
        assert "last seen 20" in terminal.type_at_the_prompt("SELECT count(*) AS found\r")
        terminal.read_until(r"\.\.\.>")
        terminal.type("FROM sip_trunks;\r")
        assert re.search(r"found.*3\s", terminal.type_at_the_prompt("SELEC 1;\r"), flags=re.DOTALL)
        failed = terminal.type_at_the_prompt("SELECT min(country_co\t")
        assert "SQL: Parser Error: syntax error at or near" in failed
        terminal.read_until("country_co.*de")
        terminal.type(") AS first FROM sip_trunks;\r")
        assert re.search(r"first.*DE", terminal.type_at_the_prompt("SELECT 'never ended\x03"), flags=re.DOTALL)
        terminal.type_at_the_prompt(".tables\r")
        assert "trunk_counts" in terminal.type_at_the_prompt("SELECT 1; SELECT 2;\r")
        assert "expected one statement" in terminal.type_at_the_prompt(".quit\r")
    history = stored / "state" / "sql_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "SELECT count(*) AS found" in history.read_text("utf-8")


def test_ctrl_c_stops_the_query_and_ctrl_d_the_prompt(stored: Path) -> None:
    with on_a_terminal("--format", "csv") as terminal:
        terminal.type_at_the_prompt("SELECT count(*) FROM range(10000000000) AS a, range(1000000000) AS b;\r")
        terminal.wait_until_a_query_runs()
        terminal.type("\x03")
        assert "stopped" in terminal.type_at_the_prompt("SELECT 6 * 7 AS answer;\r")
        assert "answer\n42\n" in terminal.type_at_the_prompt("SELECT * FROM range(1001);\r")
        assert "the first 1,000 of 1,001 rows" in terminal.type_at_the_prompt("\x04")


def test_sigterm_ends_the_prompt_and_leaves_the_terminal_as_it_was(stored: Path) -> None:
    with on_a_terminal(code=143) as terminal:
        terminal.read_until(READY)
        terminal.process.send_signal(signal.SIGTERM)
        terminal.read_until("stopped")
        terminal.process.wait(PATIENCE_SECONDS)
        assert terminal.echoes  # as it would not if the prompt had been ended by force


def test_ctrl_c_stops_the_output_without_a_history_file_too(stored: Path) -> None:
    shutil.rmtree(stored / "state")
    (stored / "state").write_text("no folder")
    with on_a_terminal("--format", "csv") as terminal:
        terminal.type_at_the_prompt("SELECT repeat('x', 20000) FROM range(1000);\r")
        terminal.read_until("x{1000}")
        terminal.type("\x03")
        terminal.read_until("stopped")
        terminal.type_at_the_prompt("SELECT t.country_co\t")
        terminal.read_until("t.country_co.*de")
        terminal.type(" FROM sip_trunks AS t ORDER BY ALL LIMIT 1;\r")
        assert re.search(r"country_code\s+DE", terminal.type_at_the_prompt("\x04"))


@pytest.mark.usefixtures("place")
def test_without_anything_stored_there_is_no_prompt() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [COMMAND, "sql"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS
    )
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nothing is stored yet" in done.stderr
