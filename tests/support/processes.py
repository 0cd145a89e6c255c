"""What another process does, as far as it can be seen from outside: for tests that wait until it is at work."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.runs import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

PROC = Path("/proc")
AT_WORK_SECONDS = 0.5
"""CPU time after which a process is taken to be computing: far more than drawing a line of a prompt takes."""


def wait_until(happens: Callable[[], bool], what: str) -> None:
    """Wait until something can be seen that is certain to come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)


def wait_until_it_computes(pid: int) -> None:
    """Wait until a process has used CPU time from now on, which shows that a query runs that prints nothing."""
    begun_at = cpu_seconds(pid)
    wait_until(lambda: cpu_seconds(pid) > begun_at + AT_WORK_SECONDS, "the process is at work")


def wait_until_it_has_open(pid: int, path: Path) -> None:
    """Wait until a process has opened a file."""
    wait_until(lambda: _has_open(pid, path), f"the process has {path.name} open")


def cpu_seconds(pid: int) -> float:
    """Return how much CPU time a process has used, all its threads together."""
    _need_proc()
    # The name, in parentheses, may have blanks in it.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _has_open(pid: int, path: Path) -> bool:
    _need_proc()
    for descriptor in (PROC / str(pid) / "fd").iterdir():
        with suppress(OSError):  # it was closed in between
            if descriptor.samefile(path):
                return True
    return False


def _need_proc() -> None:
    if not (PROC / "self" / "stat").exists():
        pytest.skip("NOT TESTED: interruptions of a query, which can be seen running only where there is a /proc")
