"""The command `accounts`: list configured and stored accounts, rename one, forget one."""

import sys
from functools import partial
from typing import Any

from sip_trunks.commands.options import Options, Parser, add_format, add_options, ask
from sip_trunks.core.accounts import find_shared_tokens
from sip_trunks.core.errors import UsageError, suggest
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import Settings, is_plain_name
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.base import Destination
from sip_trunks.operations.unfinished import noting_unfinished, read_unfinished
from sip_trunks.reporting.formats import print_table, write_rows
from sip_trunks.reporting.output import write_text
from sip_trunks.run.result import format_moment
from sip_trunks.warehouse import state
from trunk_transforms import schema
from trunk_transforms.text import count_of

COLUMNS = ("account", "is_configured", "is_stored", "first_seen_at", "last_seen_at", "trunk_count", "same_token_as")


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    add_format(parser, "table", "csv", "json")
    add_options(parser, "--raw", "--output", "--destination")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    forget = actions.add_parser("forget", help="delete all stored data of one account, including its history")
    forget.add_argument("name", metavar="NAME", help="account, as listed by `accounts`")
    add_options(forget, "--yes", "--destination")
    rename = actions.add_parser("rename", help="rename a stored account and keep its history")
    rename.add_argument("name", metavar="OLD", help="stored account, as listed by `accounts`")
    rename.add_argument("new_name", metavar="NEW", help="new name, as in the settings")
    add_options(rename, "--destination")


def run(settings: Settings, options: Options) -> int:
    """List the accounts, rename one, or forget one."""
    if options.action:
        from sip_trunks.core.logs import logging_to_file

        with logging_to_file(settings):
            if options.action == "rename":
                return _rename_account(settings, options.name, options.new_name)
            return _forget_account(settings, options.name, is_agreed=options.yes)
    write_text(options.output, partial(_list_accounts, settings, options))
    return 0


def _list_accounts(settings: Settings, options: Options) -> None:
    """Print one row per configured or stored account, sorted by name. Tokens are compared, never printed."""
    stored = _read_spans(open_destination(settings))
    configured = {account.name for account in settings.accounts}
    twins = {name: names for names in find_shared_tokens(settings.accounts) for name in names}
    rows: list[list[Any]] = []
    for name in sorted(configured | stored.keys()):
        first_at, last_at, count = stored.get(name, (None, None, None))
        moments = [format_moment(moment) if moment else None for moment in (first_at, last_at)]
        same = ", ".join(other for other in twins.get(name, ()) if other != name) or None
        rows.append([name, name in configured, name in stored, *moments, count, same])
    if not rows and options.format == "table":
        print("no accounts yet: sip-trunks run, or sip-trunks run --demo")
        return
    write_rows(COLUMNS, rows, format_name=options.format, raw=options.raw)


def _forget_account(settings: Settings, name: str, *, is_agreed: bool) -> int:
    """Delete all stored data of an account after confirmation; print the deleted rows and the data out of reach.

    It also finishes what a killed command has begun, which is confirmed already.

    Raises UsageError if nothing is stored of it or the user does not confirm, RunActiveError, DestinationError.
    """
    from sip_trunks.operations.renaming import rename_in_files
    from sip_trunks.operations.retention import compact
    from sip_trunks.run.run import clean_work
    from sip_trunks.warehouse.rewriting import Deletion, rows_of

    destination = open_destination(settings)
    if not is_agreed and (name,) not in read_unfinished(settings, destination):
        _ask_for_name(destination, name)
    with holding_lock(settings):
        destination = open_destination(settings)
        with clean_work(settings, destination):
            if (name,) not in read_unfinished(settings, destination):
                _read_spans(destination, name)
        with noting_unfinished(settings, destination, name):
            counts = compact(settings, destination, Deletion(rows_of(name)))
            destination.expire_old_versions()
            rename_in_files(settings, name, None)
    print_table(["table", "rows"], list(counts.items()))
    print(f"forgotten  {name}, in {destination.location}")
    print("kept       the logs, which can contain names of accounts but no trunks")
    _print_unreached(destination, destination.residual_data)
    if any(account.name == name for account in settings.accounts):
        print(f"sip-trunks: {name} is still configured; the next run loads it again", file=sys.stderr)
    return 0


def _print_unreached(destination: Destination, *others: str | None) -> None:
    unreached = ["existing backups and exports", f"destinations other than {destination.name}"]
    print("unreached  " + "; ".join([*unreached, *filter(None, others)]))


def _rename_account(settings: Settings, old: str, new: str) -> int:
    """Give a stored account another name; print the renamed rows and the data out of reach.

    It also finishes what a killed command has begun.

    Raises UsageError for names that cannot be used, RunActiveError, DestinationError.
    """
    from sip_trunks.operations.renaming import rename_account
    from sip_trunks.run.run import clean_work
    from sip_trunks.warehouse.rewriting import Renaming

    if not is_plain_name(new):
        raise UsageError(f"{new!r} is not a valid account name; use letters, digits, '.', '-' and '_'")
    with holding_lock(settings):
        destination = open_destination(settings)
        is_begun = (old, new) in read_unfinished(settings, destination)
        with clean_work(settings, destination):
            stored = _read_spans(destination, None if is_begun else old)
        if new in stored and (old in stored or not is_begun):
            raise UsageError(
                f"{destination.location} already has an account named {new!r}; two histories cannot be merged: choose "
                f"another name, or delete that account first: sip-trunks accounts forget {new}"
            )
        with noting_unfinished(settings, destination, old, new):
            counts = rename_account(settings, destination, Renaming(old, new))
    print_table(["table", "rows"], list(counts.items()))
    print(f"renamed    {old} to {new}, in {destination.location}")
    print("kept       the logs, which have the old name")
    _print_unreached(destination)
    configured = {account.name for account in settings.accounts}
    if old in configured or (configured and new not in configured):
        problem = f"{old} is still configured" if old in configured else f"{new} is not configured"
        advice = f"before the next run, name it {new} under [sources.famulor.accounts]"
        print(f"sip-trunks: {problem}; {advice}", file=sys.stderr)
    if any(entry.get("account") == old for entry in settings.suppressions):
        print(f"sip-trunks: [[sip_trunks.suppressions]] has the account {old}: change it to {new}", file=sys.stderr)
    return 0


def _read_spans(destination: Destination, wanted: str | None = None) -> dict[str, Any]:
    """Return the first and last time of each account and its number of trunks.

    Raises UsageError if the `wanted` account is not stored.
    """
    stored: dict[str, Any] = {}
    if destination.exists():
        with destination.reading((schema.SIP_TRUNK_SNAPSHOTS.name,)) as connection:
            stored = state.read_spans(connection)
    if wanted is not None and wanted not in stored:
        names, near = ", ".join(stored) or "no account", suggest(wanted, stored)
        raise UsageError(f"{destination.location} has no account named {wanted!r}; stored: {names}{near}")
    return stored


def _ask_for_name(destination: Destination, name: str) -> None:
    """Ask the user to type the name of the account. Raises UsageError without a terminal, or for another name."""
    first_at, last_at, count = _read_spans(destination, name)[name]
    if not sys.stdin.isatty():
        raise UsageError("confirmation needs a terminal, or --yes; nothing was deleted")
    seen = f"seen from {format_moment(first_at)} to {format_moment(last_at)}"
    print(f"account    {name}: {count_of(count, 'trunk')}, {seen}")
    print(f"location   {destination.location}")
    print("This deletes all of its data, including the history, and cannot be undone.")
    if ask("type the name to delete it: ") != name:
        raise UsageError("the name does not match; nothing was deleted")
