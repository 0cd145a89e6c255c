"""Options that several commands have, types of option values, and questions on the terminal."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

Options = argparse.Namespace
Parser = argparse.ArgumentParser


def add_destination(parser: Parser, default: str | None = None) -> None:
    """Declare `--destination`."""
    parser.add_argument(
        "--destination",
        metavar="NAME",
        default=default,
        help="duckdb (a file), parquet (a lake), or dlt's name of a database (default: sip_trunks.destination)",
    )


def add_accounts(parser: Parser | argparse._ArgumentGroup) -> None:
    """Declare `--account`, which can be repeated."""
    parser.add_argument(
        "--account", action="append", default=[], metavar="NAME", help="only this account; repeatable (default: all)"
    )


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


def add_raw(parser: Parser) -> None:
    """Declare `--raw`."""
    parser.add_argument("--raw", action="store_true", help="csv: do not guard against spreadsheet formulas")


def add_output(parser: Parser) -> None:
    """Declare `--output`, for a command that writes one file."""
    parser.add_argument("--output", type=path, metavar="FILE", help="write to FILE (default: standard output)")


def add_yes(parser: Parser) -> None:
    """Declare `--yes`."""
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


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
    parser.add_argument("--as-of", type=moment, metavar="TIME", help="the state at this time (default: now)")
    add_accounts(parser)
    parser.add_argument("--mask", action="store_true", help="mask phone numbers and usernames")
    add_format(parser, *FORMATS, by_extension=True)
    parser.add_argument(
        "--output",
        type=path,
        metavar="PATH",
        help="write to this file, such as trunks.xlsx for Excel, or to a folder for csv and png of several reports "
        "(default: standard output)",
    )
    add_raw(parser)
    add_destination(parser)


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
