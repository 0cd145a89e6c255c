"""The command `prune`: what would go, then, if somebody agrees, without it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_destination
from sip_trunks.core.errors import UsageError, nothing_stored
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import parse_duration, read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.operations.retention import Deletions, compact, count_rows, deletions_before
from sip_trunks.reporting.formats import as_size, print_table
from sip_trunks.run.result import format_moment
from sip_trunks.run.run_log import forget_runs

if TYPE_CHECKING:
    import argparse

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--older-than",
        metavar="DURATION",
        help="delete data older than this, such as 400d: closed versions, observations, drift, snapshots, resolved "
        "findings (default: delete nothing, only compact)",
    )
    parser.add_argument("--yes", action="store_true", help="do it, without asking")
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Show what would be deleted and, if agreed, do it."""
    from sip_trunks.core.logs import logging_to_file

    settings = read_settings(options.destination)
    with logging_to_file(settings):
        return prune(settings, options.older_than, is_agreed=options.yes)


def prune(settings: Settings, older_than: str | None, *, is_agreed: bool) -> int:
    """Show what would go and, if somebody agrees, publish what is stored without it, as compact as it can be.

    Raises UsageError, RunActiveError, DestinationError.
    """
    limit = _limit(older_than)
    destination = open_destination(settings)
    if not destination.exists():
        raise nothing_stored(destination.location)
    if not is_agreed:
        _show(destination, limit)
        if not _is_agreed():
            print("nothing was changed; --yes does it")
            return 0
    with holding_lock(settings):
        destination = open_destination(settings)
        size = destination.size_bytes()
        counts = compact(settings, destination, _deletions(destination, limit))
        if limit is not None:
            forget_runs(settings, limit)
    print_table(["table", "dropped_rows"], list(counts.items()))
    after = open_destination(settings).size_bytes()
    if size is not None and after is not None:
        print(f"size       {as_size(after)}, before {as_size(size)}")
    return 0


def _limit(older_than: str | None) -> datetime | None:
    if older_than is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration("--older-than", older_than))
    except OverflowError:
        raise UsageError(f"--older-than {older_than} is before any date; nothing is so old") from None


def _deletions(destination: Destination, limit: datetime | None) -> Deletions:
    """Return the deletion of everything older than the limit; without one, of nothing."""
    if limit is None:
        return Deletions({}, {})
    with destination.reading(("sip_trunk_snapshots",)) as connection:
        return deletions_before(connection, limit)


def _show(destination: Destination, limit: datetime | None) -> None:
    size, reclaimable = destination.size_bytes(), destination.reclaimable_space()
    print(f"place      {destination.location}")
    if limit is not None:
        with destination.reading() as connection:
            counts = count_rows(connection, deletions_before(connection, limit))
        print(f"older than {format_moment(limit)}")
        print_table(["table", "rows_to_drop"], list(counts.items()))
    if size is not None:
        free = f", of which {as_size(reclaimable.bytes)} are free" if reclaimable.bytes else ""
        print(f"size       {as_size(size)}{free}")
    if reclaimable.files:
        print(f"files      {reclaimable.files} fewer would do")


def _is_agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("do it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
