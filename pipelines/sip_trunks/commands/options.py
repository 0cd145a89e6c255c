"""The parser of the command line, options that several commands have, types of values, questions on the terminal."""

import argparse
from argparse import SUPPRESS
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Options = argparse.Namespace


class Parser(argparse.ArgumentParser):
    """A parser whose options are declared when they are needed, because that imports the module of the command.

    The parsers of the program, of its commands and of their actions have the same options for folders and errors.
    Errors show the usage of the command, and suggest a name like the one that was typed.
    """

    declare: Callable[["Parser"], None] | None = None
    _is_complete = False

    def complete(self) -> None:
        """Declare the options, unless that is done: those of `declare`, and those of every command."""
        if self._is_complete:
            return
        self._is_complete = True
        if self.declare is not None:
            self.declare(self)
        add_options(self, "--config", "--data-dir", "--debug")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, but refuse unknown arguments here, where the command is known."""
        self.complete()
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from sip_trunks.core.errors import suggest  # slow to import

            near = suggest(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            from sip_trunks.core.errors import suggest

            error.message += suggest(str(value), map(str, action.choices or ()))
            raise


def add_options(parser: argparse._ActionsContainer, *names: str) -> None:
    """Declare these options, each of which several commands have."""
    for name in names:
        parser.add_argument(name, **_SHARED[name])


def add_format(parser: Parser, *formats: str, by_extension: bool = False) -> None:
    """Declare `--format` and, for commands that write JSON, `--json`.

    The default is the first format or, with `by_extension`, None.
    """
    parser.add_argument(
        "--format",
        choices=formats,
        default=None if by_extension else formats[0],
        help=f"output format (default: {'by the extension of --output, else ' if by_extension else ''}{formats[0]})",
    )
    if "json" in formats:
        parser.add_argument("--json", action="store_const", dest="format", const="json", help="same as --format json")


def add_port(parser: Parser, default: int, meaning: str) -> None:
    """Declare `--port`; `meaning` describes the default."""
    parser.add_argument(
        "--port", type=port, default=default, metavar="N", help=f"port on this machine (default: {meaning})"
    )


def add_report_output(parser: Parser) -> None:
    """Declare the options that `report` and `audit` share: engine, time, masking, format and output."""
    from sip_trunks.reporting.output import FORMATS

    parser.add_argument(
        "--engine",
        choices=("pandas", "dask"),
        default="pandas",
        help="pandas in this process, or dask for a Parquet lake (default: pandas)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="address of a running Dask scheduler (default: start local workers)"
    )
    add_options(parser, "--as-of", "--account")
    parser.add_argument("--mask", action="store_true", help="mask phone numbers and usernames")
    add_format(parser, *FORMATS, by_extension=True)
    parser.add_argument(
        "--output",
        type=path,
        metavar="PATH",
        help="write to this file, such as trunks.xlsx for Excel, or to a folder for csv and png of several reports "
        "(default: standard output)",
    )
    add_options(parser, "--raw")
    parser.add_argument(
        "--inline", action="store_true", help="html: write it for an email, with tables instead of charts"
    )
    add_options(parser, "--destination")


def port(text: str) -> int:
    """Return a port number, for `type=`."""
    if not text.isdecimal() or not int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text!r}")
    return int(text)


def path(text: str) -> Path | None:
    """Return a path, None for an empty text, for `type=`."""
    return Path(text) if text else None


def moment(text: str) -> datetime:
    """Return a time in UTC, for `type=`; a text without a time zone is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"must be a date or time such as 2026-03-31T10:00:00Z, got {text!r}") from None


_ACCOUNT = "only this account; repeatable (default: all)"
_CONFIG = "folder with the settings (default: .dlt, here or above)"
_DATA_DIR = "folder for all stored data (default: sip_trunks.data_dir)"
_DESTINATION = "duckdb (a file), parquet (a lake), or a database such as postgres (default: sip_trunks.destination)"
# A suppressed default does not replace an option before the command or the action; `build_parser` has the default.
_SHARED: dict[str, dict[str, Any]] = {
    "--account": {"action": "append", "default": [], "metavar": "NAME", "help": _ACCOUNT},
    "--as-of": {"type": moment, "metavar": "TIME", "help": "the state at this time (default: now)"},
    "--config": {"default": SUPPRESS, "metavar": "DIR", "help": _CONFIG},
    "--data-dir": {"default": SUPPRESS, "metavar": "DIR", "help": _DATA_DIR},
    "--debug": {"default": SUPPRESS, "action": "store_true", "help": "show the traceback of an error"},
    "--destination": {"default": SUPPRESS, "metavar": "NAME", "help": _DESTINATION},
    "--output": {"type": path, "metavar": "FILE", "help": "write to FILE (default: standard output)"},
    "--raw": {"action": "store_true", "help": "csv: do not guard against spreadsheet formulas"},
    "--yes": {"action": "store_true", "help": "do not ask for confirmation"},
}
"""The options that several commands have."""


def ask(question: str) -> str:
    """Ask on the terminal and return the line that is typed; at the end of input, an empty text."""
    try:
        return input(question).strip()
    except EOFError:
        print()
        return ""


def confirm(question: str) -> bool:
    """Ask on the terminal and return whether the user agrees."""
    return ask(f"{question} [y/N] ").lower() in ("y", "yes")
