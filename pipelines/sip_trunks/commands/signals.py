"""What SIGINT and SIGTERM do to a command that is a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_SECONDS = 3.0
_stopped_by: KeyboardInterrupt | None = None


@contextmanager
def handling_signals() -> Iterator[None]:
    """Stop in good order at SIGINT or SIGTERM; after that, the handlers are those of before."""
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped_by() -> KeyboardInterrupt | None:
    """Return the signal that has stopped the command, if one has."""
    return _stopped_by


def _stop(number: int, _frame: object) -> NoReturn:
    """End the command in good order, or else by force: a database statement cannot be interrupted from here."""
    from sip_trunks.core.errors import Terminated

    last_resort = Timer(_PATIENCE_SECONDS, _end_by_force, [128 + number])
    last_resort.daemon = True
    last_resort.start()
    global _stopped_by  # noqa: PLW0603 - a signal handler has nowhere else to leave it
    _stopped_by = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
    raise _stopped_by


def _end_by_force(code: int) -> None:
    from sip_trunks.core.errors import describe_error

    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    os.write(2, f"{show_cursor}sip-trunks: {describe_error(KeyboardInterrupt())}\n".encode())
    os._exit(code)
