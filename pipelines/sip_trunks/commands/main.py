"""The commands. Each imports what it needs when it runs, so that the others start at once."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

from sip_trunks.commands.parser import build_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.run.result import Outcome

_PATIENCE_SECONDS = 3.0
_stopped_by: KeyboardInterrupt | None = None


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
        from sip_trunks.core.errors import Failure, describe_error, exit_code_of

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


def _fail(options: argparse.Namespace, message: str, code: int) -> int:
    if options.command == "run" and options.json:
        from sip_trunks.reporting.formats import print_json

        print_json({"error": message, "exit_code": code})
    if options.command == "run" and options.log_format == "json":
        from sip_trunks.core.logs import format_event

        print(format_event("error", "error", message, exit_code=code), file=sys.stderr)
    else:
        print(f"sip-trunks: {message}", file=sys.stderr)
    return code


def _settings(options: argparse.Namespace) -> Settings:
    from sip_trunks.core.settings import read_settings

    return read_settings(options.destination)


def _run(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from sip_trunks.core.logs import logging_to_file
    from sip_trunks.operations.monitoring.follow_up import follow_up, follow_up_failure
    from sip_trunks.run.result import print_outcome

    started_at = datetime.now(UTC)
    settings = _settings_of_run(options)
    with ExitStack() as logging:
        try:
            logging.enter_context(logging_to_file(settings, with_stderr=True))
            outcome = _load(settings, options)
        except BaseException as error:
            follow_up_failure(settings, error, started_at)
            raise
        is_read = True
        try:
            if options.json:
                from sip_trunks.reporting.formats import print_json

                print_json(outcome.as_json())
            else:
                print_outcome(settings, outcome)
            sys.stdout.flush()
        except BrokenPipeError:
            # A reader that has what it wanted (`| head`) must not turn a failure into a success.
            is_read = False
        follow_up(settings, outcome)
    if settings.log_format == "text":
        # A structured log has them already.
        for line in (*outcome.warnings, *outcome.failures):
            print(f"sip-trunks: {line}", file=sys.stderr)
    if not is_read:
        # Python would complain once more while it shuts down.
        sys.stderr.close()
    return outcome.exit_code


def _settings_of_run(options: argparse.Namespace) -> Settings:
    """Return the settings with what the command line says instead of them."""
    from dataclasses import replace

    settings = _settings(options)
    options.log_format = options.log_format or settings.log_format
    return replace(settings, log_format=options.log_format, notify=options.notify or settings.notify)


def _load(settings: Settings, options: argparse.Namespace) -> Outcome:
    from sip_trunks.core.import_block import withholding
    from sip_trunks.core.logs import showing_progress
    from sip_trunks.core.settings import pick_accounts
    from sip_trunks.run.run import run

    with ExitStack() as stack:
        if options.no_reports:
            # A fifth of a small run: reports are all that pandas is needed for.
            stack.enter_context(withholding("pandas"))
        if options.demo:
            settings, accounts = stack.enter_context(_serving_demo(settings))
        else:
            accounts = pick_accounts(settings, options.account)
        return run(
            settings,
            accounts,
            accept_shrink=options.accept_shrink,
            with_reports=not options.no_reports,
            announce=stack.enter_context(showing_progress()),
        )


@contextmanager
def _serving_demo(settings: Settings) -> Iterator[tuple[Settings, tuple[Account, ...]]]:
    """Yield the settings and the account of the embedded demo, one edition further with every run."""
    from dataclasses import replace

    from sip_trunks.core.settings import DEMO_ACCOUNT, Account
    from sip_trunks.destinations import open_destination
    from sip_trunks.famulor.demo import DEMO_TOKEN, serve
    from sip_trunks.warehouse.state import count_looks
    from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS

    destination, edition = open_destination(settings), 0
    if destination.exists():
        with destination.reading((SIP_TRUNK_SNAPSHOTS.name,)) as connection:
            edition = count_looks(connection, DEMO_ACCOUNT)
    with serve(edition=edition) as base_url:
        yield replace(settings, api=replace(settings.api, base_url=base_url)), (Account(DEMO_ACCOUNT, DEMO_TOKEN),)


def _report(options: argparse.Namespace) -> int:
    from sip_trunks.commands.report import report

    return report(_settings(options), options)


def _audit(options: argparse.Namespace) -> int:
    from sip_trunks.commands.report import audit

    return audit(_settings(options), options)


def _rules(options: argparse.Namespace) -> int:
    from sip_trunks.commands.report import rules

    return rules(options)


def _sql(options: argparse.Namespace) -> int:
    from sip_trunks.commands.sql import sql

    return sql(_settings(options), options)


def _drift(options: argparse.Namespace) -> int:
    from sip_trunks.destinations import open_destination
    from sip_trunks.reporting.formats import write_rows
    from sip_trunks.warehouse.state import read_drift
    from trunk_transforms.schema.tables import DRIFT, SCHEMA_DRIFT, SIP_TRUNK_SNAPSHOTS

    with open_destination(_settings(options)).reading((SIP_TRUNK_SNAPSHOTS.name, SCHEMA_DRIFT.name)) as connection:
        rows = [list(vars(seen).values()) for seen in read_drift(connection, options.since)]
    if not rows and options.format == "table":
        print("no drift: the answers are as declared")
        return 0
    write_rows([column.name for column in DRIFT.columns], rows, form=options.format, raw=options.raw)
    return 0


def _status(options: argparse.Namespace) -> int:
    from sip_trunks.core.errors import CHECK_FAILED
    from sip_trunks.core.settings import parse_duration
    from sip_trunks.operations.status import describe_stale, find_stale, print_status, read_status
    from sip_trunks.reporting.formats import print_json

    max_age = None if options.max_age is None else parse_duration("--max-age", options.max_age)
    settings = _settings(options)
    status = read_status(settings)
    stale = [] if max_age is None else find_stale(settings, status["accounts"], max_age)
    is_sound = max_age is None or (bool(status["accounts"]) and not stale)
    try:
        if options.json:
            print_json(status | ({} if max_age is None else {"stale_accounts": [entry["account"] for entry in stale]}))
        else:
            print_status(status)
        sys.stdout.flush()
    except BrokenPipeError:
        # A reader that has what it wanted (`| head`) must not turn a failure into a success.
        if is_sound:
            raise
    return 0 if is_sound else _fail(options, describe_stale(stale, options.max_age), CHECK_FAILED)


def _accounts(options: argparse.Namespace) -> int:
    from sip_trunks.commands.accounts import forget_account, list_accounts

    settings = _settings(options)
    if options.action == "forget":
        from sip_trunks.core.logs import logging_to_file

        with logging_to_file(settings):
            return forget_account(settings, options.name, is_agreed=options.yes)
    list_accounts(settings, form="json" if options.json else options.format, raw=options.raw)
    return 0


def _prune(options: argparse.Namespace) -> int:
    from sip_trunks.commands.prune import prune
    from sip_trunks.core.logs import logging_to_file

    settings = _settings(options)
    with logging_to_file(settings):
        return prune(settings, options.older_than, is_agreed=options.yes)


def _check(options: argparse.Namespace) -> int:
    from sip_trunks.operations.preflight import check

    return check(_settings(options))


def _schedule(options: argparse.Namespace) -> int:
    from sip_trunks.commands import schedule as command
    from sip_trunks.core.settings import read_settings

    if options.action == "install":
        return command.install(_settings(options), options)
    return command.show(read_settings()) if options.action == "show" else command.remove(read_settings(), options)


def _describe(options: argparse.Namespace) -> int:
    from sip_trunks.commands.describe import describe

    describe(_settings(options), options.table, form=options.format)
    return 0


def _export(options: argparse.Namespace) -> int:
    from pathlib import Path

    from sip_trunks.operations.transfer import export_tables
    from sip_trunks.reporting.formats import print_table

    counts = export_tables(_settings(options), Path(options.output).absolute(), options.format, options.as_of)
    print_table(["table", "rows"], list(counts.items()))
    print(f"written to {options.output}; to begin another destination with it: sip-trunks import {options.output}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from pathlib import Path

    from sip_trunks.core.logs import logging_to_file
    from sip_trunks.destinations import open_destination
    from sip_trunks.operations.transfer import import_tables
    from sip_trunks.reporting.formats import print_table

    settings = _settings(options)
    with logging_to_file(settings):
        counts = import_tables(settings, Path(options.folder).absolute())
    print_table(["table", "rows"], list(counts.items()))
    print(f"stored in {open_destination(settings).place}")
    return 0


def _notebook(options: argparse.Namespace) -> int:
    from sip_trunks.commands.notebook import open_notebook

    return open_notebook(_settings(options), options)


def _demo_api(options: argparse.Namespace) -> int:
    from threading import Event

    from sip_trunks.core.errors import SettingsError
    from sip_trunks.famulor.demo import DEMO_TOKEN, serve

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
    "accounts": _accounts,
    "prune": _prune,
    "check": _check,
    "schedule": _schedule,
    "describe": _describe,
    "export": _export,
    "import": _import,
    "notebook": _notebook,
    "demo-api": _demo_api,
}
