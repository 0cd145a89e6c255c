"""The command `accounts`: which accounts there are, configured and stored, and `accounts forget`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from sip_trunks.commands.options import add_destination, add_format
from sip_trunks.core.accounts import find_shared_tokens
from sip_trunks.core.errors import UsageError
from sip_trunks.core.files import write_whole
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.operations.monitoring.prometheus import forget_metrics
from sip_trunks.reporting.formats import print_table, write_rows
from sip_trunks.run.result import format_moment
from sip_trunks.warehouse import state
from trunk_transforms import schema

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination

COLUMNS = (
    "account",
    "is_configured",
    "is_stored",
    "first_seen_at",
    "last_seen_at",
    "trunk_count",
    "same_token_as",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="same as --format json")
    add_format(parser)
    add_destination(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    forget = actions.add_parser("forget", help="delete everything stored of one account, history included")
    forget.add_argument("name", metavar="NAME", help="the account, as `accounts` lists it")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    # What was said before the action stays.
    add_destination(forget, default=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """List the accounts, or forget one."""
    settings = read_settings(options.destination)
    if options.action == "forget":
        from sip_trunks.core.logs import logging_to_file

        with logging_to_file(settings):
            return forget_account(settings, options.name, is_agreed=options.yes)
    list_accounts(settings, form="json" if options.json else options.format, raw=options.raw)
    return 0


def list_accounts(settings: Settings, *, form: str, raw: bool) -> None:
    """Print a row per account that is configured or stored, by name; of tokens, only which are the same."""
    stored = _read_spans(open_destination(settings))
    twins = {name: names for names in find_shared_tokens(settings.accounts) for name in names}
    rows: list[list[Any]] = []
    for name in sorted({account.name for account in settings.accounts} | stored.keys()):
        first_at, last_at, count = stored.get(name, (None, None, None))
        moments = [format_moment(moment) if moment else None for moment in (first_at, last_at)]
        is_configured = any(account.name == name for account in settings.accounts)
        same = ", ".join(other for other in twins.get(name, ()) if other != name) or None
        rows.append([name, is_configured, name in stored, *moments, count, same])
    if not rows and form == "table":
        print("no accounts yet: sip-trunks run, or sip-trunks run --demo")
        return
    write_rows(COLUMNS, rows, form=form, raw=raw)


def forget_account(settings: Settings, name: str, *, is_agreed: bool) -> int:
    """Delete everything that is stored of an account, after asking, and say what went and what is out of reach.

    Raises UsageError if nothing is stored of it or nobody agrees, RunActiveError, DestinationError.
    """
    destination = open_destination(settings)
    if not is_agreed:
        _refuse_unknown(destination, name)
        _ask(destination, name)
    with holding_lock(settings):
        _refuse_unknown(destination := open_destination(settings), name)
        counts = _forget(settings, destination, name)
    print_table(["table", "rows"], list(counts.items()))
    print(f"forgotten  {name}, in {destination.location}")
    print("kept       the logs, which may name accounts, but no trunk")
    unreached = ["backups and exports that were made", f"other destinations (this was {destination.name})"]
    print("unreached  " + "; ".join([*unreached, *filter(None, [destination.residual_data])]))
    if any(account.name == name for account in settings.accounts):
        print(f"sip-trunks: {name} is still configured: the next run loads it anew", file=sys.stderr)
    return 0


def _forget(settings: Settings, destination: Destination, name: str) -> dict[str, int]:
    """Delete the account's rows in every table and every version of it, and its part of what the last run noted."""
    from sip_trunks.operations.monitoring.webhook import forget_news
    from sip_trunks.operations.retention import compact, deletions_of

    counts = compact(settings, destination, deletions_of(name))
    destination.expire_old_versions()
    _forget_last_run(settings, name)
    forget_metrics(settings, name)
    forget_news(settings, name)
    return counts


def _forget_last_run(settings: Settings, name: str) -> None:
    """Take the account out of what the last run noted: the details of drift quote what the API sent."""
    try:
        noted = json.loads(settings.last_run_path.read_text("utf-8"))
        entries = [entry for entry in noted["accounts"] if entry["account"] != name]
    except (OSError, ValueError, LookupError, TypeError):
        return
    write_whole(settings.last_run_path, json.dumps(noted | {"accounts": entries}, indent=1).encode())


def _read_spans(destination: Destination) -> dict[str, Any]:
    if not destination.exists():
        return {}
    with destination.reading((schema.SIP_TRUNK_SNAPSHOTS.name,)) as connection:
        return state.read_spans(connection)


def _refuse_unknown(destination: Destination, name: str) -> None:
    stored = _read_spans(destination)
    if name not in stored:
        names = ", ".join(stored) or "no account"
        raise UsageError(f"{destination.location} has no account named {name!r}; stored: {names}")


def _ask(destination: Destination, name: str) -> None:
    """Have the name typed once more. Raises UsageError if there is nobody to ask, or the answer is another."""
    if not sys.stdin.isatty():
        raise UsageError("deleting needs an answer on a terminal, or --yes; nothing was deleted")
    first_at, last_at, count = _read_spans(destination)[name]
    print(f"account    {name}: {count} trunks, seen from {format_moment(first_at)} to {format_moment(last_at)}")
    print(f"place      {destination.location}")
    print("All of it goes, history included, and cannot be brought back.")
    try:
        answer = input("type the name to delete it: ")
    except EOFError:
        answer = ""
    if answer.strip() != name:
        raise UsageError("that is not the name; nothing was deleted")
