"""One run: lock → discard old work → extract → load → reports → publish → result.

with the lock of the data directory
  start from a private copy of what is published   the work of an interrupted run is discarded
  extract the snapshots of all accounts            side by side; a failing account does not stop the others
  load them with dlt, in batches if there are many; record unchanged responses without a load
  write views, comments and reports; publish       all of it becomes visible at once, or nothing
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from sip_trunks.core.accounts import find_shared_tokens, with_pseudonym_key
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
from sip_trunks.core.process import changed_environment
from sip_trunks.core.settings import PSEUDONYM_MARK
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.dlt_pipeline import discard_dlt_folder
from sip_trunks.run.context import RunContext
from sip_trunks.run.extract import extract_snapshots, next_moment, observe_unchanged
from sip_trunks.run.result import AccountResult, RuleFindings, RunResult, format_moment
from sip_trunks.run.run_log import note_death, store_runs, summarize
from sip_trunks.run.size_log import note_size
from sip_trunks.warehouse import report_tables, state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.destinations.base import WritableDestination
    from sip_trunks.warehouse.state import SeenDrift, StoredAccount
    from trunk_transforms.reports.inputs import ReportInputs

    Announce = Callable[[str], None]

T = TypeVar("T")


@dataclass(frozen=True)
class _Stored:
    """What a run has stored for each account and when, and why the reports failed, if they did.

    `before` has what was stored of each account when the run began.
    """

    accounts: Sequence[AccountResult]
    snapshot_at: datetime | None = None
    report_failure: Exception | None = None
    findings: tuple[RuleFindings, ...] | None = None
    before: dict[str, StoredAccount] = field(default_factory=dict)


def run(
    settings: Settings,
    accounts: Sequence[Account],
    *,
    accept_shrink: bool = False,
    with_reports: bool = True,
    announce: Announce = lambda _: None,
) -> RunResult:
    """Load the current trunks of the accounts, publish them, and return what was done.

    A failing account keeps its stored data and does not stop the others; the result has its error. Raises RunActiveError
    if another run is active, DestinationError or OSError if nothing could be written, UsageError if the key for
    pseudonyms is missing.
    """
    settings = with_pseudonym_key(settings)
    context = RunContext(settings, open_destination(settings), accounts, accept_shrink, with_reports, announce)
    with changed_environment(_arrow_environment()), holding_lock(settings):
        note_death(settings)
        # This stays if the process is killed.
        begun = {"started_at": format_moment(context.started_at), "destination": context.destination.name}
        _write_last_run(settings, begun | {"error": "did not end", "exit_code": None})
        try:
            result = _result(context, _load_and_publish(context))
        except BaseException as error:
            logger.error("%s (exit code %s)", describe_error(error), exit_code_of(error))
            _write_last_run(settings, begun | describe_failure(error))
            raise
        finally:
            with suppress(OSError):
                _discard_work(settings, context.destination)
        for entry in result.accounts:
            level = logging.ERROR if entry.error else logging.INFO
            logger.log(level, "%s: %s", entry.account, entry.error or entry.status)
        for warning in result.warnings:
            logger.warning(warning)
        _write_last_run(settings, result.as_json())
        return result


def _arrow_environment() -> dict[str, str]:
    """Return the environment variables that Arrow reads when it is first used, unless the user has set them."""
    # Batches of columns are read one by one; a pool of threads would only wait for work.
    wanted = {"OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        # Of Arrow's allocators, this one gives back the memory of a parsed snapshot before the load needs it.
        wanted["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"
    return {name: value for name, value in wanted.items() if name not in os.environ}


def _result(context: RunContext, done: _Stored) -> RunResult:
    failure, settings = done.report_failure, context.settings
    return RunResult(
        accounts=tuple(done.accounts),
        destination=context.destination.name,
        warehouse=context.destination.location,
        snapshot_at=done.snapshot_at,
        started_at=context.started_at,
        duration_seconds=context.duration_seconds,
        report_error=describe_error(failure) if failure else None,
        exit_code=_exit_code(done.accounts) or (exit_code_of(failure) if failure else 0),
        warnings=(*map(_warn_of_shared, find_shared_tokens(context.accounts)), *_warn_of_plain(settings, done)),
        findings=done.findings,
        stored=done.before,
    )


def _discard_work(settings: Settings, destination: WritableDestination) -> None:
    """Delete everything that a run works on: it counts neither before a run begins nor after it has ended."""
    destination.discard_work()
    discard_dlt_folder(settings)
    for draft in settings.state_dir.glob(".*.draft"):
        draft.unlink(missing_ok=True)


def _warn_of_shared(names: Sequence[str]) -> str:
    return f"{name_some(names)} have the same token, so the same trunks: give each its own, or remove one"


def _warn_of_plain(settings: Settings, done: _Stored) -> list[str]:
    """Return at most one warning: new pseudonyms do not replace values that were stored before."""
    loaded = [entry.account for entry in done.accounts if entry.status == "loaded" and entry.account in done.before]
    fields = _marks(settings.loader_version)
    others = [name for name in loaded if _marks(done.before[name].loader_version) != fields]
    if not fields or not others:
        return []
    what = f"the history of {name_some(others)} keeps the values that were stored before"
    return [f"sip_trunks.pseudonymize has changed: {what} (docs/privacy.md, Another key)"]


def _marks(loader_version: str) -> str:
    return loader_version.partition(PSEUDONYM_MARK)[2]


def _exit_code(done: Sequence[AccountResult]) -> int:
    failed = [entry.exit_code for entry in done if entry.status == "failed"]
    if not failed:
        return 0
    return failed[0] if len(failed) == len(done) else SOME_ACCOUNTS_FAILED


def _write_last_run(settings: Settings, values: dict[str, Any]) -> None:
    # A full disk must not hide why the run failed; the exit code and the log say so as well.
    with suppress(OSError):
        write_whole(settings.last_run_path, json.dumps(values, indent=1).encode())


def _load_and_publish(context: RunContext) -> _Stored:
    """Load what has changed, write the reports, publish everything; then write the report page."""
    settings, destination = context.settings, context.destination
    _discard_work(settings, destination)
    with destination.working() as connection:
        before = state.read_stored_accounts(connection)
        extracted = extract_snapshots(context, connection, before)
        snapshot_at = None
        with closing(extracted.batches) as batches:
            for batch in batches:
                snapshot_at = batch.snapshot_at
                context.announce(f"loading {batch.row_count} trunks")
                destination.load(connection, batch)
                del batch  # the next snapshots need its memory
        has_loaded = snapshot_at is not None
        if not has_loaded and not extracted.unchanged:
            return _Stored(extracted.accounts, before=before)
        snapshot_at = snapshot_at or next_moment(before)
        if extracted.unchanged:
            rows = observe_unchanged(settings, extracted, before, snapshot_at)
            destination.write_observations(connection, rows)
        done = _Stored(_with_drift(extracted.accounts, state.read_drift(connection)), snapshot_at, before=before)
        inputs = None
        if destination.publishes_reports:
            inputs, done = _write_reports(context, connection, done, snapshot_at, has_loaded=has_loaded)
    context.announce("publishing")
    destination.publish(snapshot_at)
    note_size(settings)
    failure = done.report_failure
    if (
        context.with_reports
        and failure is None
        and (has_loaded or inputs is not None or not settings.page_path.exists())
    ):
        context.announce("writing the report page")
        _, failure = _attempt(lambda: _publish_page(context, snapshot_at, inputs), is_published=True)
    if failure is not None or (has_loaded and not context.with_reports):
        # If the page cannot be written, perhaps the old one cannot be deleted either.
        with suppress(OSError):
            settings.page_path.unlink()
    return replace(done, report_failure=failure)


def _write_reports(
    context: RunContext,
    connection: duckdb.DuckDBPyConnection,
    done: _Stored,
    snapshot_at: datetime,
    *,
    has_loaded: bool,
) -> tuple[ReportInputs | None, _Stored]:
    """Write the report tables and the table of the runs; return the reports' inputs and what was done."""
    inputs = None
    if context.with_reports and (has_loaded or not report_tables.has_reports(connection)):
        context.announce("writing reports")
        inputs, failure = _attempt(lambda: _publish_tables(context, connection, snapshot_at))
        done = replace(done, report_failure=failure)
    if has_loaded and inputs is None:
        # No reports are better than those of an earlier snapshot.
        report_tables.drop_reports(connection)
    done = replace(done, findings=_count_findings(connection, snapshot_at))
    summary = summarize(_result(context, done))
    _attempt(lambda: store_runs(context.settings, connection, summary), what="the table of the runs")
    return inputs, done


def _count_findings(connection: duckdb.DuckDBPyConnection, snapshot_at: datetime) -> tuple[RuleFindings, ...] | None:
    counts = report_tables.count_current_findings(connection, snapshot_at)
    return None if counts is None else tuple(RuleFindings(*found) for found in counts)


def _with_drift(entries: Sequence[AccountResult], drift: Sequence[SeenDrift]) -> list[AccountResult]:
    seen: dict[str, list[SeenDrift]] = defaultdict(list)
    for one in drift:
        seen[one.account].append(one)
    return [
        entry if entry.status == "failed" else replace(entry, drift=tuple(seen[entry.account])) for entry in entries
    ]


def _publish_tables(context: RunContext, connection: duckdb.DuckDBPyConnection, snapshot_at: datetime) -> ReportInputs:
    from sip_trunks.reporting.publish import publish_tables

    return publish_tables(connection, context.settings, snapshot_at)


def _publish_page(context: RunContext, snapshot_at: datetime, inputs: ReportInputs | None) -> None:
    from sip_trunks.reporting.publish import publish_page

    publish_page(context.settings, context.destination, snapshot_at, inputs)


_FATAL = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException)
"""Errors that are not the fault of a report: after them, nothing can be published."""


def _attempt(
    make: Callable[[], T], *, what: str = "the reports", is_published: bool = False
) -> tuple[T | None, Exception | None]:
    """Return what was made, or the error: a report that fails must not keep a snapshot from being stored."""
    try:
        return make(), None
    except Exception as error:  # the result has it, and so has the exit code
        if isinstance(error, _FATAL) and not is_published:
            raise
        logger.exception("%s could not be written", what)
        return None, error
