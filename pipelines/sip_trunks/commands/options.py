"""Options that several commands have, and what their values may be."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def add_destination(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Declare `--destination`."""
    parser.add_argument(
        "--destination",
        metavar="NAME",
        default=default,
        help="duckdb (a file), parquet (a lake), or dlt's name of a database (default: sip_trunks.destination)",
    )


def add_accounts(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare `--account`, which may be given several times."""
    parser.add_argument(
        "--account", action="append", default=[], metavar="NAME", help="only this account; repeatable (default: all)"
    )


def add_format(
    parser: argparse.ArgumentParser,
    formats: Sequence[str] = ("table", "csv", "json"),
    default: str | None = "table",
) -> None:
    """Declare `--format` and `--raw` of a command that prints rows."""
    parser.add_argument(
        "--format",
        choices=formats,
        default=default,
        help="output format (default: table); csv guards against spreadsheet formulas, see --raw",
    )
    add_raw(parser)


def add_raw(parser: argparse.ArgumentParser) -> None:
    """Declare `--raw`."""
    parser.add_argument("--raw", action="store_true", help="csv: do not guard against spreadsheet formulas")


def add_report_output(parser: argparse.ArgumentParser) -> None:
    """Declare what `report` and `audit` have in common: as of when, by which engine, in which format, to where."""
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
    parser.add_argument("--mask", action="store_true", help="mask phone numbers and usernames")
    parser.add_argument(
        "--format",
        choices=("table", "csv", "json", "markdown", "html", "xlsx", "png"),
        help="output format (default: by the extension of --output, else table)",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="write to this file, or to a folder for csv and png of several reports (default: standard output)",
    )
    add_raw(parser)


def port(text: str) -> int:
    """Return a port number, for `type=`."""
    if not text.isdecimal() or not int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text!r}")
    return int(text)


def moment(text: str) -> datetime:
    """Return a moment in UTC, for `type=`; without a time zone, it is UTC already."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"must be a date or time such as 2026-03-31T10:00:00Z, got {text!r}") from None
