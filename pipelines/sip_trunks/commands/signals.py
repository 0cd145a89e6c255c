"""Signal handlers of a command that runs in its own process."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Timer
from typing import Any, NoReturn

_PATIENCE_SECONDS = 3.0
_stopped_by: KeyboardInterrupt | None = None


@contextmanager
def changed_handlers(handlers: Mapping[signal.Signals, Callable[[int, Any], Any]]) -> Iterator[None]:
    """Handle these signals with these functions as long as the context lasts."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def handling_signals() -> AbstractContextManager[None]:
    """Return a context in which SIGINT and SIGTERM end the command cleanly."""
    return changed_handlers({signal.SIGINT: _stop, signal.SIGTERM: _stop})


def stopped_by() -> KeyboardInterrupt | None:
    """Return the exception for the signal that stopped the command; None if there was no signal."""
    return _stopped_by


def _stop(number: int, _frame: object) -> NoReturn:
    """End the command cleanly; by force if a database statement still runs after `_PATIENCE_SECONDS`."""
    from sip_trunks.core.errors import Terminated

    last_resort = Timer(_PATIENCE_SECONDS, _end_by_force, [128 + number])
    last_resort.daemon = True
    last_resort.start()
    global _stopped_by  # noqa: PLW0603 - a signal handler cannot return a value
    _stopped_by = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
    raise _stopped_by


def _end_by_force(code: int) -> None:
    from sip_trunks.core.errors import describe_error

    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    with suppress(OSError):
        os.write(2, f"{show_cursor}sip-trunks: {describe_error(KeyboardInterrupt())}\n".encode())
    os._exit(code)
