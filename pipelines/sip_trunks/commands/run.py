"""The command `run`: load the current trunks, publish them and write the reports."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sip_trunks.commands.options import Options, Parser, add_options
from sip_trunks.core.errors import PUBLISHED
from sip_trunks.core.settings import DEMO_ACCOUNT, Account, Settings

if TYPE_CHECKING:
    from sip_trunks.run.result import RunResult


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--demo", action="store_true", help="load the embedded demo account; needs no token")
    add_options(source, "--account")
    parser.add_argument(
        "--accept-shrink", action="store_true", help="accept a response that lost many trunks, this once"
    )
    parser.add_argument(
        "--accept-new-account",
        action="store_true",
        help="accept a new account whose trunks are stored under an account that was removed from the settings",
    )
    parser.add_argument("--no-reports", action="store_true", help="skip the reports, and delete stale ones")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument(
        "--log-format", choices=("text", "json"), help="format of standard error and the log (default: text)"
    )
    parser.add_argument(
        "--notify",
        metavar="URL",
        help="webhook that receives failures, recovery, findings, drift and changes (default: sip_trunks.notify)",
    )
    add_options(parser, "--destination")


def run(settings: Settings, options: Options) -> int:
    """Load the trunks, print the result, and return the exit code."""
    from datetime import UTC, datetime

    from sip_trunks.core.logs import logging_to_file
    from sip_trunks.operations.monitoring.follow_up import follow_up, follow_up_failure
    from sip_trunks.reporting.formats import print_json
    from sip_trunks.run.pending import follow_up_pending
    from sip_trunks.run.result import print_result

    started_at = datetime.now(UTC)
    options.log_format = options.log_format or settings.log_format
    settings = replace(settings, log_format=options.log_format, notify=options.notify or settings.notify)
    with ExitStack() as stack:
        try:
            stack.enter_context(logging_to_file(settings, with_stderr=True))
            interrupted, note = stack.enter_context(follow_up_pending(settings))
            result = _load(settings, options, interrupted=interrupted, note=note)
        except BaseException as error:
            follow_up_failure(settings, error, started_at)
            raise
        # Output that cannot be written, such as after `| head`, changes neither the result nor the follow-up.
        options.exit_code, problem = result.exit_code, None
        try:
            if options.json:
                print_json(result.as_json())
            else:
                print_result(settings, result)
            sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 - it is raised again below
            problem = error
        follow_up(settings, result)
    if settings.log_format == "text":
        # A structured log has these lines already.
        for line in (*result.warnings, *result.failures):
            print(f"sip-trunks: {line}", file=sys.stderr)
    if problem is not None:
        if result.snapshot_at is not None:
            problem.add_note(PUBLISHED)
        raise problem
    return result.exit_code


def _load(settings: Settings, options: Options, **pending: Any) -> "RunResult":
    from sip_trunks.core.accounts import pick_accounts
    from sip_trunks.core.logs import showing_progress
    from sip_trunks.core.process import blocking_imports
    from sip_trunks.run.run import run as load

    with ExitStack() as stack:
        if options.no_reports:
            # Only reports need NumPy and pandas; importing them takes a quarter of a small run.
            stack.enter_context(blocking_imports("numpy", "pandas"))
        if options.demo:
            settings, accounts = stack.enter_context(_serving_demo(settings))
        else:
            accounts = pick_accounts(settings, options.account)
        return load(
            settings,
            accounts,
            accept_shrink=options.accept_shrink,
            accept_new_account=options.accept_new_account,
            with_reports=not options.no_reports,
            announce=stack.enter_context(showing_progress()),
            **pending,
        )


@contextmanager
def _serving_demo(settings: Settings) -> Iterator[tuple[Settings, tuple[Account, ...]]]:
    """Yield the settings and the account of the embedded demo; every run gets the next edition of its data."""
    from sip_trunks.destinations import open_destination
    from sip_trunks.famulor.demo import DEMO_TOKEN, serve
    from sip_trunks.warehouse.state import count_observations
    from trunk_transforms.schema import SIP_TRUNK_SNAPSHOTS

    destination, edition = open_destination(settings), 0
    if destination.exists():
        with destination.reading((SIP_TRUNK_SNAPSHOTS.name,)) as connection:
            edition = count_observations(connection, DEMO_ACCOUNT)
    with serve(edition=edition) as base_url:
        api = replace(settings.api, base_url=base_url, assignments=True)
        yield replace(settings, api=api), (Account(DEMO_ACCOUNT, DEMO_TOKEN),)
