"""Progress and logs: one live line on a terminal, log lines in a pipe, everything in the log file.

With `sip_trunks.log_format = "json"` each line on standard error and in the file is a JSON object with `at` (UTC),
`level`, `event` and `message`. The summary that ends a run also has the columns of `runs`.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sip_trunks.core.settings import prepare_state_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sip_trunks.core.settings import Settings

_LOG_BYTES = 2**20
_LOG_FILES = 3
logger = logging.getLogger("sip_trunks")


@contextmanager
def showing_progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows on standard error what is being done now."""
    if _is_structured():
        yield logger.info
        return
    if not sys.stderr.isatty():
        yield partial(say, logging.INFO)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("starting") as status:

        def announce(text: str) -> None:
            logger.info(text)
            status.update(escape(text))

        yield announce


@contextmanager
def adopting_dlt_log() -> Iterator[None]:
    """Send what dlt logs to the product's log; dlt itself writes to standard error."""
    dlt_logger = logging.getLogger("dlt")
    before = dlt_logger.handlers, dlt_logger.filters, dlt_logger.propagate
    # Not our own handlers: dlt sets the format of the first handler of its logger.
    dlt_logger.handlers, dlt_logger.filters, dlt_logger.propagate = [_Forwarder()], [_keep_first_words], False
    try:
        yield
    finally:
        dlt_logger.handlers, dlt_logger.filters, dlt_logger.propagate = before


class _Forwarder(logging.Handler):
    """Passes the records of another logger to the product's log."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.handle(record)


def _keep_first_words(record: logging.LogRecord) -> bool:
    """Cut off the message of a failed job: databases quote the statement and the values that they refuse."""
    record.msg = record.getMessage().partition(" with message ")[0].partition("\n")[0]
    record.args = record.exc_info = record.exc_text = None
    return True


def log(level: int, text: str, **extra: Any) -> None:
    """Log a line."""
    logger.log(level, text, extra=extra)


def say(level: int, text: str, **extra: Any) -> None:
    """Log a line and print it on standard error, unless the log goes there anyway."""
    log(level, text, **extra)
    if not _is_structured():
        print(f"sip-trunks: {text}", file=sys.stderr, flush=True)


def format_event(level: str, event: str, message: str, at: datetime | None = None, **fields: Any) -> str:
    """Return one line of a structured log."""
    moment = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"at": moment, "level": level, "event": event, "message": message} | fields, default=_as_text)


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class _JsonFormatter(logging.Formatter):
    """Formats log records as lines of a structured log; `event` and `fields` may be given in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {}) | ({} if record.name == logger.name else {"logger": record.name})
        if record.exc_info:
            fields |= {"traceback": self.formatException(record.exc_info)}
        event = getattr(record, "event", "problem" if record.levelno >= logging.WARNING else "progress")
        at = datetime.fromtimestamp(record.created, UTC)
        return format_event(record.levelname.lower(), event, record.getMessage(), at, **fields)


def _is_structured() -> bool:
    return any(type(handler) is logging.StreamHandler for handler in logger.handlers)


@contextmanager
def logging_to_file(settings: Settings, *, with_stderr: bool = False) -> Iterator[None]:
    """Send the product's log and dlt's to `state/sip-trunks.log`, which is bounded, instead of standard error.

    `with_stderr` sends a structured log to standard error as well.
    """
    from logging.handlers import RotatingFileHandler

    prepare_state_dir(settings)
    formatter = (
        _JsonFormatter()
        if settings.log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    handlers: list[logging.Handler] = [
        RotatingFileHandler(
            settings.state_dir / "sip-trunks.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
        )
    ]
    if with_stderr and settings.log_format == "json":
        handlers.append(logging.StreamHandler(sys.stderr))
    before = logging.raiseExceptions, logger.level, logger.propagate
    logging.raiseExceptions = False  # a full disk must not print a traceback from the log itself
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        with suppress(OSError):  # a log that cannot be flushed changes nothing that was done
            handlers[0].close()
        logging.raiseExceptions, logger.level, logger.propagate = before
