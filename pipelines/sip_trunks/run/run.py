"""One run: lock → clean start → fetch → guard → load → reports → publish → outcome.

with the lock of the data directory
  start from a private copy of the published file        whatever a dead run left is thrown away
  fetch and judge every account                          side by side; one that fails holds up no other
  hand the good ones to dlt, in parts if they are many   or only note that we looked, if nothing changed
  views, comments, reports; then publish                 one rename: all of it or nothing
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from sip_trunks.core.errors import (
    SOME_ACCOUNTS_FAILED,
    describe_error,
    describe_failure,
    exit_code_of,
    name_some,
)
from sip_trunks.core.files import write_whole
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.logs import logger
from sip_trunks.core.settings import PSEUDONYM_MARK, find_shared_tokens, with_pseudonym_key
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.dlt_pipeline import discard_dlt_folder
from sip_trunks.run.extract import Taken, load_of, take
from sip_trunks.run.result import AccountOutcome, Outcome, RuleFindings, format_moment
from sip_trunks.run.run_log import note_death, store_runs, summarize
from sip_trunks.run.size_log import note_size
from sip_trunks.warehouse import report_tables, state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.destinations.base import Destination
    from sip_trunks.famulor.client import Snapshot
    from sip_trunks.warehouse.state import SeenDrift, StoredAccount
    from trunk_transforms.reports.inputs import Basis

    Announce = Callable[[str], None]

T = TypeVar("T")


@dataclass(frozen=True)
class _Done:
    """What a run did for each account, when, and why there are no reports, if so."""

    accounts: list[AccountOutcome]
    snapshot_at: datetime | None = None
    report_failure: Exception | None = None
    findings: tuple[RuleFindings, ...] | None = None
    stored: dict[str, StoredAccount] = field(default_factory=dict)


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
    Raises RunActive if another run is going on, DestinationFailed or OSError if nothing could be written, SettingsError
    if there is no key for pseudonyms.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    settings = with_pseudonym_key(settings)
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
            warnings=(*map(_warn_of_shared, find_shared_tokens(accounts)), *_warn_of_plain(settings, done)),
            findings=done.findings,
            stored=done.stored,
        )

    with holding_lock(settings):
        note_death(settings)
        # What stands here if the process is killed.
        begun = {"started_at": format_moment(started_at), "destination": destination.name}
        _note_last_run(settings, begun | {"error": "did not end", "exit_code": None})
        try:
            result = outcome(_run(settings, destination, accounts, accept_shrink, with_reports, announce, outcome))
        except BaseException as error:
            logger.error("%s (exit code %s)", describe_error(error), exit_code_of(error))
            _note_last_run(settings, begun | describe_failure(error))
            raise
        finally:
            with suppress(OSError):
                _tidy(settings, destination)
        for entry in result.accounts:
            level = logging.ERROR if entry.error else logging.INFO
            logger.log(level, "%s: %s", entry.account, entry.error or entry.status)
        for warning in result.warnings:
            logger.warning(warning)
        _note_last_run(settings, result.as_json())
        return result


def _tidy(settings: Settings, destination: Destination) -> None:
    """Throw away what a run works on: nothing in it counts before it starts or once it has ended."""
    destination.discard_work()
    discard_dlt_folder(settings)
    for draft in settings.state_dir.glob(".*.draft"):
        draft.unlink(missing_ok=True)


def _warn_of_shared(names: Sequence[str]) -> str:
    return f"{name_some(names)} have the same token, so the same trunks: give each its own, or remove one"


def _warn_of_plain(settings: Settings, done: _Done) -> list[str]:
    """Return at most one warning: pseudonyms do not reach what was stored before them."""
    loaded = [entry.account for entry in done.accounts if entry.status == "loaded" and entry.account in done.stored]
    fields = _marks(settings.loader_version)
    others = [name for name in loaded if _marks(done.stored[name].loader_version) != fields]
    if not fields or not others:
        return []
    what = f"the history of {name_some(others)} keeps the values that were stored before"
    return [f"sip_trunks.pseudonymize has changed: {what} (docs/privacy.md, Another key)"]


def _marks(loader_version: str) -> str:
    return loader_version.partition(PSEUDONYM_MARK)[2]


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
    outcome: Callable[[_Done], Outcome],
) -> _Done:
    _tidy(settings, destination)
    with destination.working() as connection:
        stored = state.read_stored_accounts(connection)
        taken, snapshot_at, is_new = Taken(), None, False
        coming = take(
            settings,
            connection,
            accounts,
            stored,
            taken,
            accept_shrink=accept_shrink,
            trunks_at_once=destination.trunks_at_once,
            announce=announce,
        )
        with closing(coming):
            for judged in coming:
                snapshot_at, is_new = snapshot_at or _moment_after(stored), True
                load = load_of(judged, snapshot_at, settings.loader_version)
                # What follows can use the room that the snapshots take.
                judged.clear()
                announce(f"loading {load.row_count} trunks")
                destination.load(connection, load)
                del load
        if not is_new and not taken.unchanged:
            return _Done(taken.done, stored=stored)
        snapshot_at = snapshot_at or _moment_after(stored)
        if taken.unchanged:
            looks = [_look(settings, snapshot, snapshot_at, stored[snapshot.account]) for snapshot in taken.unchanged]
            destination.write_looks(connection, looks)
        basis, failure = None, None
        if destination.publishes_reports and with_reports and (is_new or not report_tables.has_reports(connection)):
            announce("writing reports")
            basis, failure = _attempt(lambda: _publish_tables(settings, connection, snapshot_at))
        if destination.publishes_reports and is_new and basis is None:
            # Better none than those of an older snapshot.
            report_tables.drop_reports(connection)
        done = _Done(
            _with_drift(taken.done, state.read_drift(connection)),
            snapshot_at,
            failure,
            _count_findings(connection, snapshot_at) if destination.publishes_reports else None,
            stored,
        )
        if destination.publishes_reports:
            _attempt(lambda: store_runs(settings, connection, summarize(outcome(done))), what="the table of the runs")
    announce("publishing")
    destination.publish(snapshot_at)
    note_size(settings)
    if with_reports and failure is None and (is_new or basis is not None or not settings.page_path.exists()):
        announce("writing the report page")
        _, failure = _attempt(lambda: _publish_page(settings, destination, snapshot_at, basis), is_published=True)
    if failure is not None or (is_new and not with_reports):
        # What keeps a page from being written may keep the old one from being removed.
        with suppress(OSError):
            settings.page_path.unlink()
    return replace(done, report_failure=failure)


def _count_findings(connection: duckdb.DuckDBPyConnection, snapshot_at: datetime) -> tuple[RuleFindings, ...] | None:
    counts = report_tables.count_current_findings(connection, snapshot_at)
    return None if counts is None else tuple(RuleFindings(*found) for found in counts)


def _with_drift(entries: Sequence[AccountOutcome], drift: Sequence[SeenDrift]) -> list[AccountOutcome]:
    seen: dict[str, list[SeenDrift]] = defaultdict(list)
    for one in drift:
        seen[one.account].append(one)
    return [
        entry if entry.status == "failed" else replace(entry, drift=tuple(seen[entry.account])) for entry in entries
    ]


def _moment_after(stored: dict[str, StoredAccount]) -> datetime:
    """Return now, or just after the last snapshot if the clock has gone back: no version ends before it began."""
    latest = max((account.snapshot_at for account in stored.values()), default=datetime.min.replace(tzinfo=UTC))
    return max(datetime.now(UTC), latest + timedelta(microseconds=1))


def _look(settings: Settings, snapshot: Snapshot, snapshot_at: datetime, stored: StoredAccount) -> dict[str, Any]:
    """Return the row of `sip_trunk_snapshots` for an answer that was, to the byte, the last one."""
    row = snapshot.look(
        snapshot_at,
        trunk_count=stored.trunk_count,
        drift_count=stored.drift_count,
        is_unchanged=True,
        loader_version=settings.loader_version,
    )
    return row | {"_dlt_load_id": stored.load_id}


def _publish_tables(settings: Settings, connection: duckdb.DuckDBPyConnection, snapshot_at: datetime) -> Basis:
    from sip_trunks.reporting.publish import publish_tables

    return publish_tables(connection, settings, snapshot_at)


def _publish_page(settings: Settings, destination: Destination, snapshot_at: datetime, basis: Basis | None) -> None:
    from sip_trunks.reporting.publish import publish_page

    publish_page(settings, destination, snapshot_at, basis)


_FATAL = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException)
"""What is no report's fault: with it, nothing can be published."""


def _attempt(
    make: Callable[[], T], *, what: str = "the reports", is_published: bool = False
) -> tuple[T | None, Exception | None]:
    """Return what was made, or why not: what is wrong with a report must not keep a snapshot from being stored."""
    try:
        return make(), None
    except Exception as error:  # the outcome tells it, and the exit code
        if isinstance(error, _FATAL) and not is_published:
            raise
        logger.exception("%s could not be written", what)
        return None, error
