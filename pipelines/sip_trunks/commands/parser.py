"""The command line: every command and option, declared; `cli.py` says what each does."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sip_trunks import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CODES = """exit codes:
  0 done   1 a bug   2 usage or settings   3 the API refused us   4 the API stayed unreachable
  5 its answer was unusable or refused   6 another run is active   7 the destination failed
  8 some accounts failed, the others were loaded   10 a check found something: --fail-on, --max-age
"""

REPORT_NAMES = """reports: overview, counts, by_format_and_country, by_country, by_provider, by_authorization,
by_number_kind, growth, changes, freshness, audit"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="sip-trunks",
        description="A memory of a Famulor account's SIP trunks: what exists now, what it was, what changed.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sip-trunks {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="load the trunks as they are now, publish them, write the reports")
    whose = run.add_mutually_exclusive_group()
    whose.add_argument("--demo", action="store_true", help="load the embedded demo account; needs no token")
    whose.add_argument("--account", action="append", default=[], metavar="NAME", help="only this account; repeatable")
    run.add_argument("--accept-shrink", action="store_true", help="accept, once, an answer that lacks many trunks")
    run.add_argument("--no-reports", action="store_true", help="write no reports, and leave none that are out of date")
    run.add_argument("--json", action="store_true", help="print the outcome as one JSON object")
    run.add_argument("--log-format", choices=("text", "json"), help="json: standard error and the log as JSON lines")
    run.add_argument(
        "--notify", metavar="URL", help="a webhook to tell of failures, recovery, findings, drift, changes"
    )

    report = commands.add_parser("report", help="reports from what is stored", epilog=REPORT_NAMES)
    report.add_argument("names", nargs="*", metavar="NAME", help="which reports; the overview without one")
    report.add_argument("--by", nargs="+", metavar="COL", help="counts: the columns to count by")
    report.add_argument("--period", choices=("day", "week", "month"), help="growth: by which (month)")
    report.add_argument("--since", type=_moment, metavar="TIME", help="changes, growth: from this time on")
    _add_delivery(report)

    audit = commands.add_parser("audit", help="what is misconfigured, and how to mend it")
    audit.add_argument("--select", action="append", default=[], metavar="RULES", help="only these rules or families")
    audit.add_argument("--ignore", action="append", default=[], metavar="RULES", help="all but these rules or families")
    audit.add_argument(
        "--fail-on",
        choices=("info", "low", "medium", "high", "critical"),
        help="exit with 10 if there is a finding as severe as this",
    )
    _add_delivery(audit)

    rules = commands.add_parser("rules", help="what the audit looks at, why, and where that is known from")
    rules.add_argument("--format", choices=("table", "csv", "json", "markdown"), default="table")

    drift = commands.add_parser("drift", help="how the answers deviate from what is declared, and since when")
    drift.add_argument("--since", type=_moment, metavar="TIME", help="also what is over, if seen at or after this time")
    _add_format(drift)

    sql = commands.add_parser("sql", help="read-only SQL on what is stored")
    sql.add_argument(
        "query",
        nargs="?",
        metavar="QUERY",
        help='one statement, such as "FROM sip_trunks LIMIT 10", a file that ends in .sql, or - for standard input; '
        "without it, on a terminal, a prompt",
    )
    sql.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="the value of $NAME in the query; repeatable"
    )
    sql.add_argument("--output", metavar="FILE", help="a file to write, in the form that its name says")
    _add_format(sql, ("table", "csv", "json", "markdown", "parquet"), default=None)

    status = commands.add_parser("status", help="when each account was last seen, and how the last run ended")
    status.add_argument("--json", action="store_true", help="print it as one JSON object")
    status.add_argument(
        "--max-age", metavar="AGE", help="exit with 10 if an account was not seen for so long, such as 90min, 2h or 1d"
    )

    accounts = commands.add_parser("accounts", help="which accounts are configured or stored; forget one")
    accounts.add_argument("--json", action="store_true", help="the same as --format json")
    _add_format(accounts)
    actions = accounts.add_subparsers(dest="action", metavar="ACTION")
    forget = actions.add_parser("forget", help="delete everything that is stored of one account, history included")
    forget.add_argument("name", metavar="NAME", help="the account, as `accounts` lists it")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    # What was said before the action stays.
    _add_destination(forget, default=argparse.SUPPRESS)

    prune = commands.add_parser("prune", help="drop what is old and write the rest compactly; shows it first")
    prune.add_argument(
        "--older-than",
        metavar="DURATION",
        help="such as 400d: versions that ended before, looks, drift, full snapshots and findings of before",
    )
    prune.add_argument("--yes", action="store_true", help="do it, without asking")

    check = commands.add_parser("check", help="settings, token, API, data directory: ready to run?")

    install = _add_schedule(commands)

    describe = commands.add_parser("describe", help="the data dictionary")
    describe.add_argument("table", nargs="?", metavar="TABLE", help="only this table")
    describe.add_argument("--format", choices=("table", "json", "markdown"), default="table")

    export = commands.add_parser("export", help="a consistent copy of everything stored, history included")
    export.add_argument("--format", choices=("parquet", "csv", "duckdb"), default="parquet")
    export.add_argument("--output", required=True, metavar="DIR", help="a new folder for it")
    export.add_argument("--as-of", type=_moment, metavar="TIME", help="what was known at this time")

    importing = commands.add_parser("import", help="begin an empty destination with such a copy")
    importing.add_argument("folder", metavar="DIR", help="what `export` has written")

    notebook = commands.add_parser("notebook", help="explore what is stored, in the browser")
    notebook.add_argument("--edit", action="store_true", help="open a copy of it here, explore.py, to change")
    notebook.add_argument("--port", type=_port, default=0, metavar="N", help="the port on this machine (any free one)")
    notebook.add_argument("--no-browser", action="store_true", help="only print the address")

    _add_destination(
        run, report, audit, drift, sql, status, accounts, prune, check, describe, export, importing, notebook, install
    )

    demo = commands.add_parser("demo-api", help="serve the demo account until stopped")
    demo.add_argument("--port", type=_port, default=8765, metavar="N", help="the port on this machine (8765)")
    return parser


def _add_schedule(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Declare `schedule` and what it does; return `schedule install`."""
    schedule = commands.add_parser("schedule", help="let cron or systemd call `run`: install, show, remove")
    actions = schedule.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="show what is put where, ask, and put it there")
    install.add_argument("--every", metavar="TIME", help="how often: 15min, 1h, 6h, 1d")
    install.add_argument(
        "--cron",
        nargs="?",
        const="",
        metavar="EXPRESSION",
        help='call it by cron; with an expression such as "7 * * * *", then, instead of --every',
    )
    install.add_argument("--systemd", action="store_true", help="call it by a timer of systemd, by either of them")
    install.add_argument("--account", action="append", default=[], metavar="NAME", help="only this account; repeatable")
    install.add_argument("--dry-run", action="store_true", help="only show it")
    actions.add_parser("show", help="the schedules that are installed, and when they come next")
    remove = actions.add_parser("remove", help="show the schedule, ask, and take it out")
    for parser in (install, remove):
        parser.add_argument("--name", default="sip-trunks", help="of one of several schedules (sip-trunks)")
        parser.add_argument("--yes", action="store_true", help="do not ask")
    return install


def _add_destination(*parsers: argparse.ArgumentParser, default: str | None = None) -> None:
    for parser in parsers:
        parser.add_argument(
            "--destination",
            metavar="NAME",
            default=default,
            help="where the trunks are kept: duckdb (a file), parquet (a lake), or dlt's name of a database",
        )


def _add_delivery(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=("pandas", "dask"), default="pandas", help="dask: in parts, of a lake")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, instead of processes started here")
    parser.add_argument("--as-of", type=_moment, metavar="TIME", help="what was known at this time")
    parser.add_argument("--mask", action="store_true", help="make phone numbers and usernames unreadable")
    parser.add_argument(
        "--format",
        choices=("table", "csv", "json", "markdown", "html", "xlsx", "png"),
        help="without it, what the name of --output says, or a table",
    )
    parser.add_argument(
        "--output", metavar="PATH", help="a file to write; for csv and png of several reports, a folder"
    )
    _add_raw(parser)


def _add_format(
    parser: argparse.ArgumentParser,
    forms: Sequence[str] = ("table", "csv", "json"),
    default: str | None = "table",
) -> None:
    parser.add_argument(
        "--format",
        choices=forms,
        default=default,
        help="csv is made safe for spreadsheets: text such as +e164 gets an apostrophe; see --raw",
    )
    _add_raw(parser)


def _add_raw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--raw", action="store_true", help="csv with the values as they are, for other programs")


def _port(text: str) -> int:
    if not text.isdecimal() or not int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"needs a port from 0 to 65535, got {text!r}")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"needs a date or time such as 2026-03-31T10:00:00Z, got {text!r}") from None
