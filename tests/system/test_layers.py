"""Unit tests depend on nothing but the code, and what a unit test must not do makes it fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.runs import PROJECT, as_ordinary_user

if TYPE_CHECKING:
    from pathlib import Path


REVERSED = """
import sys


def pytest_collection_modifyitems(items):
    items.reverse()


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"dlt was imported: {'dlt' in sys.modules}")
"""
FORBIDDEN = """
import socket
import subprocess


def test_a_process():
    subprocess.run(["true"])


def test_dlt():
    import dlt


def test_a_connection():
    with socket.socket() as connection:
        connection.connect(("192.0.2.1", 9))


def test_a_lookup():
    socket.getaddrinfo("sip-trunks.invalid", 80)


def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
"""


def run_pytest(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as an ordinary user, with no other variables than these and the path to programs."""
    command = as_ordinary_user([sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *arguments])
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "300", **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8")


def test_unit_tests_pass_in_another_order_time_zone_locale_and_folder_and_import_no_dlt(tmp_path: Path) -> None:
    """Half a minute: only a whole run shows that no unit test needs what another one, or this machine, has left."""
    folder = tmp_path / "für Tests, von niemand sonst"
    folder.mkdir(mode=0o700)
    (folder / "reversed_order.py").write_text(REVERSED, "utf-8")
    done = run_pytest(
        "-q",
        "-p",
        "reversed_order",
        str(PROJECT / "tests" / "unit"),
        cwd=PROJECT,
        PYTHONPATH=str(folder),
        PYTHONHASHSEED="42",
        PYTHONDONTWRITEBYTECODE="1",
        TMPDIR=str(folder),
        HOME=str(folder / "missing"),
        TZ="Asia/Kathmandu",
        LC_ALL="C",
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert "dlt was imported: False" in done.stdout


def test_a_unit_test_that_leaves_its_process_fails_and_says_how(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "tests" / "unit" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    (tmp_path / "test_forbidden.py").write_text(FORBIDDEN, "utf-8")
    done = run_pytest("-rA", str(tmp_path), cwd=tmp_path)
    ended = dict(
        re.findall(r"^(?:PASSED|FAILED) test_forbidden\.py::test_(\w+)(?: - (.*))?$", done.stdout, re.MULTILINE)
    )
    assert ended == {
        "a_process": "AssertionError: a unit test starts a process: subprocess.Popen('true', ['true'])",
        "dlt": "ModuleNotFoundError: import of dlt halted; None in sys.modules",
        "a_connection": "AssertionError: a unit test connects to ('192.0.2.1', 9)",
        "a_lookup": "AssertionError: a unit test looks up 'sip-trunks.invalid'",
        "loopback": "",
    }, done.stdout + done.stderr
