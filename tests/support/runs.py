"""Runs and commands in this process, what they left behind, and commands as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sip_trunks.commands import main
from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.run.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip_trunks.core.settings import Settings
    from sip_trunks.run.result import AccountResult, RunResult

    Rows = list[tuple[Any, ...]]

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
TOKEN = "t0p-s3cret-token-value"
PATIENCE_SECONDS = 600
"""How long a test waits for what is certain to come. It only ends tests that hang: no result depends on it."""


def load(destination: str | None = None, *, with_reports: bool = False, **options: Any) -> RunResult:
    """Run with the settings in force. Reports take their time, so only a test about them has them written."""
    settings = read_settings(destination)
    return run(settings, pick_accounts(settings, []), with_reports=with_reports, **options)


def only(outcome: RunResult) -> AccountResult:
    """Return what a run did for the only account that it had."""
    (account,) = outcome.accounts
    return account


def query(sql: str, destination: str | None = None, settings: Settings | None = None) -> Rows:
    """Return the rows of a query as readers of the product get them, wherever the settings in force store."""
    with open_destination(settings or read_settings(destination)).reading() as connection:
        return connection.execute(sql).fetchall()


@dataclass(frozen=True)
class Printed:
    """What a command that was called in this process returned and printed."""

    code: int
    out: bytes
    errors: str


def capture(*arguments: str, code: int | tuple[int, ...] = 0) -> Printed:
    """Call the command in this process and return all that it printed.

    A process of its own is for what only a process can show: signals, pipes, imports, another user.
    """
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        returned = main(arguments)
    printed = Printed(returned, out.buffer.getvalue(), err.buffer.getvalue().decode())
    assert returned in (code if isinstance(code, tuple) else (code,)), printed.errors
    assert "Traceback" not in printed.errors
    for stream in (printed.out, printed.errors.encode()):
        assert TOKEN.encode() not in stream
    return printed


def call(*arguments: str, code: int | tuple[int, ...] = 0) -> str:
    """Call the command in this process and return what it printed or, if it failed, its last line on standard error."""
    printed = capture(*arguments, code=code)
    if printed.code:
        line = printed.errors.splitlines()[-1]
        assert line.startswith("sip-trunks: ")
        return line
    text = printed.out.decode()
    assert "Traceback" not in text
    return text


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process."""
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def as_ordinary_user(command: Sequence[str]) -> list[str]:
    """Return the command for a process that permissions bind, which they do not where the tests run as root.

    The process stays the same user, only without root's privileges: it can still enter the folders that root owns.
    """
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command] if os.geteuid() == 0 else list(command)


def as_another_user(command: Sequence[str]) -> list[str]:
    """Return the command for a process that another user than root started, where the tests run as root.

    It may go wherever root may, so that it does not matter whose folders the tests lie in: the opposite of the above.
    """
    setpriv = ["setpriv", "--reuid=nobody", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*setpriv, *command] if os.geteuid() == 0 else list(command)
