"""What a run is doing: one live line on a terminal, log lines when piped, everything in the log file."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipelines.settings import prepare_state_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.settings import Settings

_LOG_BYTES = 2**20
_LOG_FILES = 3
logger = logging.getLogger("sip_trunks")


@contextmanager
def showing_progress() -> Iterator[Callable[[str], None]]:
    """Yield the function that announces what is being done now, on standard error."""
    if not sys.stderr.isatty():
        yield _log_line
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("starting") as status:

        def announce(text: str) -> None:
            logger.info(text)
            status.update(escape(text))

        yield announce


def adopt_dlt_log() -> None:
    """Send what dlt logs to where the product's log goes; dlt itself writes to standard error."""
    dlt_logger = logging.getLogger("dlt")
    dlt_logger.handlers = list(logger.handlers)
    dlt_logger.propagate = False
    dlt_logger.addFilter(_keep_first_words)


def _keep_first_words(record: logging.LogRecord) -> bool:
    """Cut off what a failed job says: databases quote the values that they refuse, and the statement."""
    record.msg = record.getMessage().partition(" with message ")[0].partition("\n")[0]
    record.args = record.exc_info = record.exc_text = None
    return True


def _log_line(text: str) -> None:
    logger.info(text)
    print(f"sip-trunks: {text}", file=sys.stderr, flush=True)


@contextmanager
def logging_to_file(settings: Settings) -> Iterator[None]:
    """Send the product's log and dlt's to `state/sip-trunks.log`, which is bounded, instead of standard error."""
    from logging.handlers import RotatingFileHandler

    prepare_state_dir(settings)
    handler = RotatingFileHandler(
        settings.state_dir / "sip-trunks.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.raiseExceptions = False  # a full disk must not print a traceback of the log's own
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):  # a log that cannot be flushed changes nothing of what was done
            handler.close()
