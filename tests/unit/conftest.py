"""What a unit test must not do: import dlt, start a process, or connect to anything but this machine.

A test that does it fails with the name of what it did.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import croniter  # noqa: F401 - which asks another process about this machine when it is imported
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
LOOPBACK = ("127.", "::1", "localhost")
_is_guarding = False


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what Python's audit says that a test is about to do."""
    if not _is_guarding:
        return
    if event in PROCESSES:
        raise AssertionError(f"a unit test starts a process: {event}{arguments[:2]!r}")
    if event == "socket.connect" and not str(arguments[1][0]).startswith(LOOPBACK):
        raise AssertionError(f"a unit test connects to {arguments[1]!r}")
    if event == "socket.getaddrinfo" and not str(arguments[0]).startswith(LOOPBACK):
        raise AssertionError(f"a unit test looks up {arguments[0]!r}")


sys.addaudithook(_forbid)


@pytest.fixture(autouse=True)
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Guard one test. dlt cannot be imported in it, also where other tests of this process have."""
    global _is_guarding  # noqa: PLW0603 - a hook cannot be taken back, only told to let everything pass
    monkeypatch.setitem(sys.modules, "dlt", None)
    _is_guarding = True
    yield
    _is_guarding = False
