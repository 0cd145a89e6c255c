"""The commands. Each imports what it needs when it runs, so that the others start at once."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

from pipelines import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.settings import Account, Settings

EXIT_CODES = """exit codes:
  0 done   1 a bug   2 usage or settings   3 the API refused us   4 the API stayed unreachable
  5 its answer was unusable or refused   6 another run is active   7 the destination failed
  8 some accounts failed, the others were loaded   10 `audit --fail-on` found something
"""

REPORT_NAMES = """reports: overview, counts, by_format_and_country, by_country, by_provider, by_authorization,
by_number_kind, growth, changes, freshness, audit"""


_PATIENCE_SECONDS = 3.0
_stopped_by: KeyboardInterrupt | None = None


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

    check = commands.add_parser("check", help="settings, token, API, data directory: ready to run?")

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

    _add_destination(run, report, audit, drift, sql, status, check, describe, export, importing, notebook)

    demo = commands.add_parser("demo-api", help="serve the demo account until stopped")
    demo.add_argument("--port", type=_port, default=8765, metavar="N", help="the port on this machine (8765)")
    return parser


def _add_destination(*parsers: argparse.ArgumentParser) -> None:
    for parser in parsers:
        parser.add_argument(
            "--destination",
            metavar="NAME",
            help="where the trunks are kept: duckdb (a file), parquet (a lake), or dlt's name of a database",
        )


def _add_delivery(parser: argparse.ArgumentParser) -> None:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one line on standard error."""
    _make_streams_safe()
    # dlt makes a million objects and next to no garbage: looking for it less often is a tenth of a run's CPU.
    gc.set_threshold(50_000, 20, 20)
    options = build_parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        return _COMMANDS[options.command](options)
    except BrokenPipeError:
        # The reader has what it wanted (`| head`); Python would complain once more while it shuts down.
        sys.stderr.close()
        return 0
    except (Exception, KeyboardInterrupt) as caught:  # noqa: BLE001 - the last stop: one line and a code for each
        from pipelines.errors import Failure, describe_error, exit_code_of

        # DuckDB makes an error of its own of the interruption of a query.
        error = _stopped_by or caught

        if options.debug:
            import traceback

            traceback.print_exc()
        code = exit_code_of(error)
        if isinstance(error, KeyboardInterrupt):
            _fail(options, describe_error(error), code)
            # Nothing that a statement still running in a thread could finish would be published.
            sys.stdout.flush()
            os._exit(code)
        bug = "" if code != 1 or isinstance(error, Failure) else f"a bug ({type(error).__name__}): "
        hint = "" if options.debug or not bug else "; with --debug it shows where"
        return _fail(options, f"{bug}{describe_error(error)}{hint}", code)


def _make_streams_safe() -> None:
    """See to it that printing never fails for a letter that the terminal has not, or for a stream that is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - open until the process ends
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _stop(number: int, _frame: object) -> NoReturn:
    """End the command in good order, or else by force: a database statement cannot be interrupted from here."""
    from threading import Timer

    from pipelines.errors import Terminated

    last_resort = Timer(_PATIENCE_SECONDS, _end_by_force, [128 + number])
    last_resort.daemon = True
    last_resort.start()
    global _stopped_by  # noqa: PLW0603 - a signal handler has nowhere else to leave it
    _stopped_by = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
    raise _stopped_by


def _end_by_force(code: int) -> None:
    from pipelines.errors import describe_error

    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    os.write(2, f"{show_cursor}sip-trunks: {describe_error(KeyboardInterrupt())}\n".encode())
    os._exit(code)


def _fail(options: argparse.Namespace, message: str, code: int) -> int:
    if options.command == "run" and options.json:
        from pipelines.show import print_json

        print_json({"error": message, "exit_code": code})
    print(f"sip-trunks: {message}", file=sys.stderr)
    return code


def _settings(options: argparse.Namespace) -> Settings:
    from pipelines.settings import read_settings

    return read_settings(options.destination)


def _run(options: argparse.Namespace) -> int:
    from pipelines.load import run
    from pipelines.outcome import print_outcome
    from pipelines.progress import logging_to_file, showing_progress
    from pipelines.settings import pick_accounts
    from pipelines.withheld import withholding

    settings = _settings(options)
    with ExitStack() as stack:
        if options.no_reports:
            # A fifth of a small run: reports are all that pandas is needed for.
            stack.enter_context(withholding("pandas"))
        if options.demo:
            settings, accounts = stack.enter_context(_serving_demo(settings))
        else:
            accounts = pick_accounts(settings, options.account)
        stack.enter_context(logging_to_file(settings))
        outcome = run(
            settings,
            accounts,
            accept_shrink=options.accept_shrink,
            with_reports=not options.no_reports,
            announce=stack.enter_context(showing_progress()),
        )
    if options.json:
        from pipelines.show import print_json

        print_json(outcome.as_json())
    else:
        print_outcome(settings, outcome)
    sys.stdout.flush()
    for account in outcome.accounts:
        if account.error:
            print(f"sip-trunks: {account.account}: {account.error}", file=sys.stderr)
    if outcome.report_error:
        print(f"sip-trunks: the trunks are stored, but not the reports: {outcome.report_error}", file=sys.stderr)
    return outcome.exit_code


@contextmanager
def _serving_demo(settings: Settings) -> Iterator[tuple[Settings, tuple[Account, ...]]]:
    """Yield the settings and the account of the embedded demo, one edition further with every run."""
    from dataclasses import replace

    from pipelines.catalog import count_looks
    from pipelines.destination import open_destination
    from pipelines.famulor.demo import DEMO_TOKEN, serve
    from pipelines.settings import DEMO_ACCOUNT, Account
    from transforms.schema import SIP_TRUNK_SNAPSHOTS

    destination, edition = open_destination(settings), 0
    if destination.exists():
        with destination.reading((SIP_TRUNK_SNAPSHOTS.name,)) as connection:
            edition = count_looks(connection, DEMO_ACCOUNT)
    with serve(edition=edition) as base_url:
        yield replace(settings, api=replace(settings.api, base_url=base_url)), (Account(DEMO_ACCOUNT, DEMO_TOKEN),)


def _report(options: argparse.Namespace) -> int:
    from pipelines.report_command import report

    return report(_settings(options), options)


def _audit(options: argparse.Namespace) -> int:
    from pipelines.report_command import audit

    return audit(_settings(options), options)


def _rules(options: argparse.Namespace) -> int:
    from pipelines.report_command import rules

    return rules(options)


def _sql(options: argparse.Namespace) -> int:
    from pipelines.sql_command import sql

    return sql(_settings(options), options)


def _drift(options: argparse.Namespace) -> int:
    from pipelines.catalog import read_drift
    from pipelines.destination import open_destination
    from pipelines.show import write_rows
    from transforms.schema import DRIFT, SCHEMA_DRIFT, SIP_TRUNK_SNAPSHOTS

    with open_destination(_settings(options)).reading((SIP_TRUNK_SNAPSHOTS.name, SCHEMA_DRIFT.name)) as connection:
        rows = [list(vars(seen).values()) for seen in read_drift(connection, options.since)]
    if not rows and options.format == "table":
        print("no drift: the answers are as declared")
        return 0
    write_rows([column.name for column in DRIFT.columns], rows, form=options.format, raw=options.raw)
    return 0


def _status(options: argparse.Namespace) -> int:
    from pipelines.show import print_json
    from pipelines.status import print_status, read_status

    status = read_status(_settings(options))
    if options.json:
        print_json(status)
    else:
        print_status(status)
    return 0


def _check(options: argparse.Namespace) -> int:
    from pipelines.check import check

    return check(_settings(options))


def _describe(options: argparse.Namespace) -> int:
    from pipelines.describe import describe

    describe(_settings(options), options.table, form=options.format)
    return 0


def _export(options: argparse.Namespace) -> int:
    from pathlib import Path

    from pipelines.moving import export_tables
    from pipelines.show import print_table

    counts = export_tables(_settings(options), Path(options.output).absolute(), options.format, options.as_of)
    print_table(["table", "rows"], list(counts.items()))
    print(f"written to {options.output}; to begin another destination with it: sip-trunks import {options.output}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from pathlib import Path

    from pipelines.destination import open_destination
    from pipelines.moving import import_tables
    from pipelines.progress import logging_to_file
    from pipelines.show import print_table

    settings = _settings(options)
    with logging_to_file(settings):
        counts = import_tables(settings, Path(options.folder).absolute())
    print_table(["table", "rows"], list(counts.items()))
    print(f"stored in {open_destination(settings).place}")
    return 0


def _notebook(options: argparse.Namespace) -> int:
    from pipelines.notebook import open_notebook

    return open_notebook(_settings(options), options)


def _demo_api(options: argparse.Namespace) -> int:
    from threading import Event

    from pipelines.errors import SettingsError
    from pipelines.famulor.demo import DEMO_TOKEN, serve

    with ExitStack() as stack:
        try:
            base_url = stack.enter_context(serve(options.port, advances=True))
        except OSError as error:
            raise SettingsError(f"port {options.port} cannot be used ({error.strerror}); try another: --port") from None
        print(f"the demo API answers at {base_url} until stopped (Ctrl-C); every answer is the next edition. Use it:")
        print(f"  SOURCES__FAMULOR__BASE_URL={base_url} FAMULOR_API_KEY={DEMO_TOKEN} sip-trunks run", flush=True)
        try:
            Event().wait()
        except KeyboardInterrupt:
            print()
    return 0


_COMMANDS = {
    "run": _run,
    "report": _report,
    "audit": _audit,
    "rules": _rules,
    "drift": _drift,
    "sql": _sql,
    "status": _status,
    "check": _check,
    "describe": _describe,
    "export": _export,
    "import": _import,
    "notebook": _notebook,
    "demo-api": _demo_api,
}
