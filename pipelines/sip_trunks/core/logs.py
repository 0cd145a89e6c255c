"""Progress and logs: one live line on a terminal, log lines in a pipe, and every message in the log file.

With `sip_trunks.log_format = "json"`, each line on standard error and in the file is a JSON object with `at` (UTC),
`level`, `event` and `message`. The last line of a run also has the columns of `runs`.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sip_trunks.core.settings import Settings, prepare_state_dir

logger = logging.getLogger("sip_trunks")
logger.addHandler(logging.NullHandler())  # without a log file, Python would print what is logged


@contextmanager
def showing_progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the current step on standard error."""
    if _is_structured() or not sys.stderr.isatty():
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
    """Send dlt's log messages to this program's log instead of standard error."""
    dlt_logger = logging.getLogger("dlt")
    before = dlt_logger.handlers, dlt_logger.filters, dlt_logger.propagate
    # A handler of its own, because dlt changes the format of its logger's first handler.
    dlt_logger.handlers, dlt_logger.filters, dlt_logger.propagate = [_Forwarder()], [_keep_first_words], False
    try:
        yield
    finally:
        dlt_logger.handlers, dlt_logger.filters, dlt_logger.propagate = before


class _Forwarder(logging.Handler):
    """Passes the records of another logger to this program's log."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.handle(record)


def _keep_first_words(record: logging.LogRecord) -> bool:
    """Shorten the message of a failed job, because databases quote the statement and its values in their errors."""
    record.msg = record.getMessage().partition(" with message ")[0].partition("\n")[0]
    record.args = record.exc_info = record.exc_text = None
    return True


def log(level: int, text: str, **extra: Any) -> None:
    """Log a line."""
    logger.log(level, text, extra=extra)


def say(level: int, text: str, **extra: Any) -> None:
    """Log a line, and print it on standard error unless the log already goes there."""
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
    """Formats log records as JSON lines. `extra` may have `event` and `fields`."""

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
    """Send the log of this program and of dlt to `state/sip-trunks.log`, which is rotated, instead of standard error.

    With `with_stderr`, a JSON log goes to standard error as well.
    """
    from logging.handlers import RotatingFileHandler

    prepare_state_dir(settings)
    file = settings.state_dir / "sip-trunks.log"
    handlers: list[logging.Handler] = [
        RotatingFileHandler(file, maxBytes=2**20, backupCount=3, encoding="utf-8", delay=True)
    ]
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    if settings.log_format == "json":
        formatter = _JsonFormatter()
        if with_stderr:
            handlers.append(logging.StreamHandler(sys.stderr))
    before = logging.raiseExceptions, logger.level, logger.propagate
    logging.raiseExceptions = False  # a full disk must not make the log print a traceback
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
        with suppress(OSError):  # the run succeeded even if the log cannot be flushed
            handlers[0].close()
        logging.raiseExceptions, logger.level, logger.propagate = before
