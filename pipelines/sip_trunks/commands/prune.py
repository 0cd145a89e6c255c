"""The command `prune`: delete old data and compact the rest, after showing the effect and asking."""

import sys
from datetime import UTC, datetime, timedelta

from sip_trunks.commands.options import Options, Parser, add_options, confirm
from sip_trunks.core.errors import UsageError, nothing_stored
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import Settings, parse_duration
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.base import Destination
from sip_trunks.operations.retention import compact, count_rows, deletion_before
from sip_trunks.reporting.formats import as_size, print_table
from sip_trunks.run.result import format_moment
from sip_trunks.run.run_log import forget_runs
from sip_trunks.warehouse.rewriting import Deletion


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--older-than",
        metavar="DURATION",
        help="delete data older than this, such as 400d: closed versions, observations, drift, snapshots, resolved "
        "findings (default: delete nothing, only compact)",
    )
    add_options(parser, "--yes", "--destination")


def run(settings: Settings, options: Options) -> int:
    """Show what would be deleted and, after confirmation, delete it and compact the rest.

    Raises UsageError, RunActiveError, DestinationError.
    """
    from sip_trunks.core.logs import logging_to_file

    with logging_to_file(settings):
        return _prune(settings, _cutoff(options.older_than), is_agreed=options.yes)


def _prune(settings: Settings, cutoff: datetime | None, *, is_agreed: bool) -> int:
    destination = open_destination(settings)
    if not destination.exists():
        raise nothing_stored(destination.location)
    if not is_agreed:
        _show(destination, cutoff)
        if not (sys.stdin.isatty() and confirm("do it?")):
            print("nothing was changed; --yes does it")
            return 0
    with holding_lock(settings):
        destination = open_destination(settings)
        size, deletion = destination.size_bytes(), Deletion({})
        if cutoff is not None:
            with destination.reading(("sip_trunk_snapshots",)) as connection:
                deletion = deletion_before(connection, cutoff)
        counts = compact(settings, destination, deletion)
        if cutoff is not None:
            forget_runs(settings, cutoff)
    print_table(["table", "dropped_rows"], list(counts.items()))
    after = open_destination(settings).size_bytes()
    if size is not None and after is not None:
        print(f"size       {as_size(after)}, before {as_size(size)}")
    return 0


def _cutoff(older_than: str | None) -> datetime | None:
    if older_than is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration("--older-than", older_than))
    except OverflowError:
        raise UsageError(f"--older-than {older_than} is too long; use a shorter duration, such as 400d") from None


def _show(destination: Destination, cutoff: datetime | None) -> None:
    size, reclaimable = destination.size_bytes(), destination.reclaimable_space()
    print(f"location   {destination.location}")
    if cutoff is not None:
        with destination.reading() as connection:
            counts = count_rows(connection, deletion_before(connection, cutoff))
        print(f"older than {format_moment(cutoff)}")
        print_table(["table", "rows_to_drop"], list(counts.items()))
    if size is not None:
        free = f", of which {as_size(reclaimable.bytes)} are free" if reclaimable.bytes else ""
        print(f"size       {as_size(size)}{free}")
    if reclaimable.files:
        print(f"files      {reclaimable.files} fewer after compaction")
