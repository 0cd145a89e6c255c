"""One run: lock → clean start → fetch → guard → load → reports → publish → outcome.

with the lock of the data directory
  start from a private copy of the published file        whatever a dead run left is thrown away
  fetch and judge every account                          nothing is written yet
  hand the good ones to dlt in one load                  or only note that we looked, if nothing changed
  views, comments, reports; then publish                 one rename: all of it or nothing
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from pipelines import __version__, catalog, report_tables
from pipelines.destination import Load, open_destination
from pipelines.dlt_load import discard_dlt_folder
from pipelines.errors import (
    SOME_ACCOUNTS_FAILED,
    DestinationFailed,
    Failure,
    RefusedSnapshot,
    describe_error,
    exit_code_of,
)
from pipelines.famulor.client import fetch_snapshot
from pipelines.files import write_whole
from pipelines.lock import holding_lock
from pipelines.outcome import AccountOutcome, Outcome, format_moment
from pipelines.progress import logger
from transforms.answer import UnusableAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.catalog import SeenDrift, StoredAccount
    from pipelines.destination import Destination
    from pipelines.famulor.client import Snapshot
    from pipelines.settings import Account, Settings
    from transforms.guard import Difference
    from transforms.reports import Basis
    from transforms.schema import ColumnType
    from transforms.snapshot import SnapshotTables

    Announce = Callable[[str], None]

T = TypeVar("T")


@dataclass(frozen=True)
class _Taken:
    """What was taken from the API: the outcome of each account, what may be loaded, and what is as it was."""

    done: list[AccountOutcome]
    judged: list[_Judged]
    unchanged: list[Snapshot]


@dataclass(frozen=True)
class _Done:
    """What a run did for each account, when, and why there are no reports, if so."""

    accounts: list[AccountOutcome]
    snapshot_at: datetime | None = None
    report_failure: Exception | None = None


@dataclass(frozen=True)
class _Judged:
    """A snapshot that may be loaded, and what it changes."""

    snapshot: Snapshot
    tables: SnapshotTables
    difference: Difference


def run(
    settings: Settings,
    accounts: Sequence[Account],
    *,
    accept_shrink: bool = False,
    with_reports: bool = True,
    announce: Announce = lambda _: None,
) -> Outcome:
    """Load the accounts' trunks as they are now, publish them, and return what was done.

    An account that fails keeps what is stored of it, the others are loaded; the outcome says which and why.
    Raises RunActive if another run is going on, DestinationFailed or OSError if nothing could be written.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    destination = open_destination(settings)
    # Batches of columns are read one by one; a pool of threads would only wait for work.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.platform == "linux":
        # Of Arrow's allocators, the one that gives back what reading a snapshot took before the load needs it.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

    def outcome(done: _Done) -> Outcome:
        failure = done.report_failure
        return Outcome(
            accounts=tuple(done.accounts),
            destination=destination.name,
            warehouse=destination.place,
            snapshot_at=done.snapshot_at,
            started_at=started_at,
            duration_seconds=round(time.monotonic() - clock, 3),
            report_error=describe_error(failure) if failure else None,
            exit_code=_exit_code(done.accounts) or (exit_code_of(failure) if failure else 0),
        )

    with holding_lock(settings):
        # What stands here if the process is killed.
        begun = {"started_at": format_moment(started_at), "destination": destination.name}
        _note_last_run(settings, begun | {"error": "did not end", "exit_code": None})
        try:
            result = outcome(_run(settings, destination, accounts, accept_shrink, with_reports, announce))
        except BaseException as error:
            logger.error("%s (exit code %s)", describe_error(error), exit_code_of(error))
            _note_last_run(settings, begun | describe_failure(error))
            raise
        finally:
            with suppress(OSError):
                _tidy(settings, destination)
        for entry in result.accounts:
            logger.info("%s: %s", entry.account, entry.error or entry.status)
        logger.info("ended with exit code %s", result.exit_code)
        _note_last_run(settings, result.as_json())
        return result


def _tidy(settings: Settings, destination: Destination) -> None:
    """Throw away what a run works on: nothing in it counts before it starts or once it has ended."""
    destination.discard_work()
    discard_dlt_folder(settings)


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return an error as plain values: its line and its exit code."""
    return {"error": describe_error(error), "exit_code": exit_code_of(error)}


def _exit_code(done: Sequence[AccountOutcome]) -> int:
    failed = [entry.exit_code for entry in done if entry.status == "failed"]
    if not failed:
        return 0
    return failed[0] if len(failed) == len(done) else SOME_ACCOUNTS_FAILED


def _note_last_run(settings: Settings, values: dict[str, Any]) -> None:
    # A full disk must not hide why the run failed; the exit code and the log have it.
    with suppress(OSError):
        write_whole(settings.last_run_path, json.dumps(values, indent=1).encode())


def _run(
    settings: Settings,
    destination: Destination,
    accounts: Sequence[Account],
    accept_shrink: bool,
    with_reports: bool,
    announce: Announce,
) -> _Done:
    _tidy(settings, destination)
    with destination.working() as connection:
        stored = catalog.read_stored_accounts(connection)
        taken = _take_all(settings, connection, accounts, stored, accept_shrink, announce)
        if not taken.judged and not taken.unchanged:
            return _Done(taken.done)
        snapshot_at = _moment_after(stored)
        is_new = bool(taken.judged)
        if is_new:
            load = _load_of(taken.judged, snapshot_at)
            taken.judged.clear()
            announce(f"loading {load.row_count} trunks")
            destination.load(connection, load)
            # The reports can use the room that the snapshots take.
            del load
        if taken.unchanged:
            looks = [_look(snapshot, snapshot_at, stored[snapshot.account]) for snapshot in taken.unchanged]
            destination.write_looks(connection, looks)
        basis, failure = None, None
        if destination.publishes_reports and with_reports and (is_new or not report_tables.has_reports(connection)):
            announce("writing reports")
            basis, failure = _attempt(lambda: _publish_tables(settings, connection, snapshot_at))
        if destination.publishes_reports and is_new and basis is None:
            # Better none than those of an older snapshot.
            report_tables.drop_reports(connection)
        drift = catalog.read_drift(connection)
    announce("publishing")
    destination.publish(snapshot_at)
    if with_reports and failure is None and (is_new or basis is not None or not settings.page_path.exists()):
        announce("writing the report page")
        _, failure = _attempt(lambda: _publish_page(settings, destination, snapshot_at, basis), is_published=True)
    if failure is not None or (is_new and not with_reports):
        # What keeps a page from being written may keep the old one from being removed.
        with suppress(OSError):
            settings.page_path.unlink()
    return _Done([_with_drift(entry, drift) for entry in taken.done], snapshot_at, failure)


def _take_all(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    accounts: Sequence[Account],
    stored: Mapping[str, StoredAccount],
    accept_shrink: bool,
    announce: Announce,
) -> _Taken:
    """Fetch and judge every account; one that fails is noted and holds up no other."""
    known = catalog.read_known_types(connection)
    taken = _Taken([], [], [])
    for account in accounts:
        try:
            match _take(settings, connection, account, stored.get(account.name), known, accept_shrink, announce):
                case _Judged() as judged:
                    taken.judged.append(judged)
                    # What one account taught the next has to know: all go into the same columns.
                    known |= judged.tables.types
                    taken.done.append(_loaded_outcome(judged))
                case same:
                    taken.unchanged.append(same)
                    taken.done.append(_unchanged_outcome(same, stored[account.name]))
        except (Failure, UnusableAnswer) as error:
            if isinstance(error, DestinationFailed):
                raise
            taken.done.append(AccountOutcome(account.name, "failed", **describe_failure(error)))
    return taken


def _with_drift(entry: AccountOutcome, drift: Sequence[SeenDrift]) -> AccountOutcome:
    if entry.status == "failed":
        return entry
    return replace(entry, drift=tuple(seen for seen in drift if seen.account == entry.account))


def _take(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    account: Account,
    stored: StoredAccount | None,
    known: Mapping[str, ColumnType],
    accept_shrink: bool,
    announce: Announce,
) -> _Judged | Snapshot:
    """Fetch the account and judge what came; the snapshot as it is if the answer is, to the byte, the last one."""
    # Another release may read the same answer differently.
    is_known = stored is not None and stored.loader_version == __version__
    announce(f"{account.name}: asking the API")
    snapshot = fetch_snapshot(
        account,
        settings.api,
        known_sha256=stored.body_sha256 if stored is not None and is_known else None,
        spool_dir=settings.state_dir,
        announce=lambda text: announce(f"{account.name}: {text}"),
    )
    if snapshot.records is None:
        if stored is not None and stored.drift_count and settings.drift == "strict":
            raise _refused_for_drift(
                f"still in {stored.drift_count} ways (sip-trunks drift{settings.destination_option})"
            )
        return snapshot
    return _judge(settings, connection, snapshot, known, accept_shrink, announce)


def _judge(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    known: Mapping[str, ColumnType],
    accept_shrink: bool,
    announce: Announce,
) -> _Judged:
    """Type the snapshot and compare it with what is stored. Raises UnusableAnswer or RefusedSnapshot."""
    from transforms.guard import compare_versions
    from transforms.snapshot import read_snapshot

    records = snapshot.records or ()
    announce(f"{snapshot.account}: reading {len(records)} trunks ({snapshot.body_bytes / 1e3:.0f} kB)")
    tables = read_snapshot(records, account=snapshot.account, known=known)
    difference = compare_versions(catalog.read_stored_versions(connection, snapshot.account), tables.trunks)
    changes = difference.changes
    if changes.is_suspicious and not accept_shrink:
        raise RefusedSnapshot(
            f"the answer has {len(tables.trunks)} trunks and lacks {changes.removed_count} of the "
            f"{changes.stored_count} stored; nothing was changed. If they are really gone: "
            f"sip-trunks run --account {snapshot.account} --accept-shrink{settings.destination_option}"
        )
    if tables.drift and settings.drift == "strict":
        first = tables.drift[0]
        seen = f"first {first.column_name}: {first.detail} ({first.kind})"
        raise _refused_for_drift(f"in {len(tables.drift)} ways, {seen}")
    # The raw records are done with; the load needs the memory.
    return _Judged(replace(snapshot, records=None), tables, difference)


def _refused_for_drift(how: str) -> RefusedSnapshot:
    return RefusedSnapshot(
        f"the answer deviates from the declaration {how}; nothing was changed, since sip_trunks.drift is strict"
    )


def _unchanged_outcome(snapshot: Snapshot, stored: StoredAccount) -> AccountOutcome:
    return AccountOutcome(
        snapshot.account,
        "unchanged",
        trunk_count=stored.trunk_count,
        new_count=0,
        changed_count=0,
        removed_count=0,
        drift_count=stored.drift_count,
    )


def _loaded_outcome(judged: _Judged) -> AccountOutcome:
    changes = judged.difference.changes
    return AccountOutcome(
        judged.snapshot.account,
        "loaded",
        trunk_count=len(judged.tables.trunks),
        new_count=changes.new_count,
        changed_count=changes.changed_count,
        removed_count=changes.removed_count,
        drift_count=len(judged.tables.drift),
    )


def _moment_after(stored: dict[str, StoredAccount]) -> datetime:
    """Return now, or just after the last snapshot if the clock has gone back: no version ends before it began."""
    latest = max((account.snapshot_at for account in stored.values()), default=datetime.min.replace(tzinfo=UTC))
    return max(datetime.now(UTC), latest + timedelta(microseconds=1))


def _look(snapshot: Snapshot, snapshot_at: datetime, stored: StoredAccount) -> dict[str, Any]:
    """Return the row of `sip_trunk_snapshots` for an answer that was, to the byte, the last one."""
    row = snapshot.look(snapshot_at, trunk_count=stored.trunk_count, drift_count=stored.drift_count, is_unchanged=True)
    return row | {"_dlt_load_id": stored.load_id}


def _load_of(judged: Sequence[_Judged], snapshot_at: datetime) -> Load:
    looks = [
        entry.snapshot.look(
            snapshot_at,
            trunk_count=len(entry.tables.trunks),
            drift_count=len(entry.tables.drift),
            is_unchanged=entry.difference.changes.is_none,
        )
        for entry in judged
    ]
    return Load(
        accounts=[entry.snapshot.account for entry in judged],
        snapshots=[entry.tables for entry in judged],
        differences=[entry.difference for entry in judged],
        looks=looks,
        snapshot_at=snapshot_at,
    )


def _publish_tables(settings: Settings, connection: duckdb.DuckDBPyConnection, snapshot_at: datetime) -> Basis:
    from pipelines.publish import publish_tables

    return publish_tables(connection, settings, snapshot_at)


def _publish_page(settings: Settings, destination: Destination, snapshot_at: datetime, basis: Basis | None) -> None:
    from pipelines.publish import publish_page

    publish_page(settings, destination, snapshot_at, basis)


_FATAL = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException)
"""What is no report's fault: with it, nothing can be published."""


def _attempt(make: Callable[[], T], *, is_published: bool = False) -> tuple[T | None, Exception | None]:
    """Return what was made, or why not: what is wrong with a report must not keep a snapshot from being stored."""
    try:
        return make(), None
    except Exception as error:  # the outcome tells it, and the exit code
        if isinstance(error, _FATAL) and not is_published:
            raise
        logger.exception("the reports could not be written")
        return None, error
