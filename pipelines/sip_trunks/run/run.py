"""One run: lock → discard old work → extract → load → reports → publish → result.

All of it happens under the lock of the data directory.

  start from a private copy of the published data   the work of an interrupted run is discarded
  extract the snapshots of all accounts             in parallel; a failing account does not stop the others
  load them with dlt, in batches if there are many; record unchanged responses without a load
  write views, comments and reports; publish        everything becomes visible at once, or nothing does
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import defaultdict
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.accounts import find_shared_tokens, with_pseudonym_key
from sip_trunks.core.errors import (
    PUBLISHED,
    SOME_ACCOUNTS_FAILED,
    describe_error,
    describe_failure,
    exit_code_of,
    name_some,
)
from sip_trunks.core.files import delete_drafts, write_whole
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.logs import logger
from sip_trunks.core.process import changed_environment
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.dlt_pipeline import discard_dlt_folder
from sip_trunks.run.extract import RunContext, extract_snapshots, pseudonym_marks
from sip_trunks.run.pending import delete_unnamed_page, is_page_pending, mark_page, unmark_page
from sip_trunks.run.result import AccountResult, RuleFindings, RunResult, format_moment, without_name
from sip_trunks.run.run_log import note_death, store_runs, summarize
from sip_trunks.run.size_log import note_size
from sip_trunks.warehouse import findings, report_tables, state
from trunk_transforms.audit.suppressions import parse_suppressions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.destinations.base import WritableDestination
    from sip_trunks.warehouse.state import SeenDrift, StoredAccount
    from trunk_transforms.reports.inputs import ReportInputs


@dataclass
class _Progress:
    """The results of a run so far, and the error of the reports, if there is one.

    `before` has the last observation of each account before the run.
    """

    accounts: Sequence[AccountResult]
    snapshot_at: datetime | None = None
    report_failure: Exception | None = None
    findings: tuple[RuleFindings, ...] | None = None
    before: dict[str, StoredAccount] = field(default_factory=dict)
    publish_warning: str | None = None


def run(
    settings: Settings,
    accounts: Sequence[Account],
    *,
    accept_shrink: bool = False,
    with_reports: bool = True,
    announce: Callable[[str], None] = lambda _: None,
    interrupted: Sequence[RunResult] = (),
    note: Callable[[RunResult | None], None] = lambda _: None,
    accept_new_account: bool = False,
) -> RunResult:
    """Load the current trunks of the accounts, publish them, and return the result.

    A failing account keeps its stored data and does not stop the others; the result has its error. `note` gets the
    result before it is published, and None if it is not. Of the noted results in `interrupted`, the result has those
    that were published.

    Raises RunActiveError if another run is active, DestinationError or OSError if nothing could be written, UsageError
    if the key for pseudonyms is missing.
    """
    settings = with_pseudonym_key(settings)
    destination = open_destination(settings)
    options = (accept_shrink, with_reports, announce, interrupted, note, accept_new_account)
    context = RunContext(settings, destination, accounts, *options)
    with changed_environment(_arrow_environment()), holding_lock(settings):
        note_death(settings)
        # This remains if the process is killed.
        begun = {"started_at": format_moment(context.started_at), "destination": context.destination.name}
        _write_last_run(settings, begun | {"error": "did not end", "exit_code": None})
        try:
            with clean_work(settings, context.destination):
                result = _result(context, _load_and_publish(context))
        except BaseException as error:
            if PUBLISHED not in getattr(error, "__notes__", ()):
                note(None)
            logger.error("%s (exit code %s)", describe_error(error), exit_code_of(error))
            _write_last_run(settings, begun | describe_failure(error))
            raise
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


def _result(context: RunContext, done: _Progress) -> RunResult:
    failure, published = done.report_failure, {last.snapshot_at for last in done.before.values()}
    return RunResult(
        accounts=tuple(done.accounts),
        destination=context.destination.name,
        warehouse=context.destination.location,
        snapshot_at=done.snapshot_at,
        started_at=context.started_at,
        duration_seconds=context.duration_seconds,
        report_error=describe_error(failure) if failure else None,
        exit_code=_exit_code(done.accounts) or (exit_code_of(failure) if failure else 0),
        warnings=tuple(_warnings(context, done)),
        findings=done.findings,
        stored=done.before,
        interrupted=tuple(earlier for earlier in context.interrupted if earlier.snapshot_at in published),
    )


@contextmanager
def clean_work(settings: Settings, destination: WritableDestination) -> Iterator[None]:
    """Delete the working files of an interrupted run at the start, and those of this one at the end."""

    def clean() -> None:
        destination.discard_work()
        discard_dlt_folder(settings)
        for folder in (settings.state_dir, settings.data_dir):
            delete_drafts(folder)

    clean()
    try:
        yield
    finally:
        with suppress(OSError):
            clean()


def _warnings(context: RunContext, done: _Progress) -> Iterator[str]:
    if done.publish_warning:
        yield done.publish_warning
    for names in find_shared_tokens(context.accounts):
        yield f"{name_some(names)} have the same token, so the same trunks: give each its own, or remove one"
    yield from _describe_missing_assignments(done)
    marks = pseudonym_marks(context.settings.loader_version)
    loaded = [entry.account for entry in done.accounts if entry.status == "loaded" and entry.account in done.before]
    others = [name for name in loaded if pseudonym_marks(done.before[name].loader_version) != marks]
    if marks and others:
        # New pseudonyms do not replace values that were stored before.
        history = f"the history of {name_some(others)} keeps the values that were stored before"
        yield f"sip_trunks.pseudonymize has changed: {history} (docs/privacy.md, Another key)"


def _describe_missing_assignments(done: _Progress) -> Iterator[str]:
    """Yield one line for each reason that assignments were not stored, with the age of the stored ones."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for entry in done.accounts:
        if entry.assignments_error:
            reasons[without_name(entry.assignments_error, entry.account)].append(entry.account)
    for reason, names in reasons.items():
        stored = [done.before[name].assignments_at for name in names if name in done.before]
        moments = [moment for moment in stored if moment is not None]
        kept = f"the stored ones are from {min(moments):%Y-%m-%d %H:%M} UTC" if moments else "none are stored"
        yield f"{name_some(names)}: no new assignments, {kept}: {reason}"


def _exit_code(done: Sequence[AccountResult]) -> int:
    failed = [entry.exit_code for entry in done if entry.status == "failed"]
    if not failed:
        return 0
    return failed[0] if len(failed) == len(done) else SOME_ACCOUNTS_FAILED


def _write_last_run(settings: Settings, values: dict[str, Any]) -> None:
    # A full disk must not hide the error of the run; the exit code and the log have it as well.
    with suppress(OSError):
        write_whole(settings.last_run_path, json.dumps(values, indent=1).encode())


def _load_and_publish(context: RunContext) -> _Progress:
    """Load the changes, write the reports, publish everything, then write the report page."""
    destination = context.destination
    with destination.working() as connection:
        before = state.read_stored_accounts(connection)
        extracted = extract_snapshots(context, connection, before)
        has_loaded = False
        with closing(extracted.batches()) as batches:
            for batch in batches:
                has_loaded = True
                mark_page(context.settings)
                if not destination.is_atomic:  # a load is visible at once
                    context.note(_result(context, _Progress(extracted.accounts, extracted.snapshot_at, before=before)))
                context.announce(f"loading {batch.row_count} trunks")
                destination.load(connection, batch)
                del batch  # the next snapshots need its memory
        if not has_loaded and not extracted.unchanged:
            return _Progress(extracted.accounts, before=before)
        snapshot_at = extracted.snapshot_at
        if extracted.unchanged:
            destination.write_observations(connection, extracted.observe_unchanged())
        drift: dict[str, list[SeenDrift]] = defaultdict(list)
        for seen in state.read_drift(connection):
            drift[seen.account].append(seen)
        accounts = [
            entry if entry.status == "failed" else replace(entry, drift=tuple(drift[entry.account]))
            for entry in extracted.accounts
        ]
        done = _Progress(accounts, snapshot_at, before=before)
        inputs = _write_reports(context, connection, done, snapshot_at, has_loaded=has_loaded)
    context.note(_result(context, done))
    context.announce("publishing")
    done.publish_warning = destination.publish(snapshot_at)
    try:
        _finish(context, done, inputs, snapshot_at, is_new=has_loaded or is_page_pending(context.settings))
    except BaseException as error:
        error.add_note(PUBLISHED)
        raise
    return done


def _finish(
    context: RunContext, done: _Progress, inputs: ReportInputs | None, snapshot_at: datetime, *, is_new: bool
) -> None:
    """Record the size of what is published and write the report page, or delete a page that is not current.

    `is_new` says that an existing page is older than what is published.
    """
    settings, destination = context.settings, context.destination
    note_size(settings)
    with suppress(OSError):
        delete_unnamed_page(settings)
    is_page_stale = is_new or inputs is not None or not settings.page_path.exists()
    if context.with_reports and done.report_failure is None and is_page_stale:
        context.announce("writing the report page")
        with _attempting(done, is_published=True):
            from sip_trunks.reporting.publish import publish_page

            publish_page(settings, destination, snapshot_at, inputs)
    # If the page cannot be written, perhaps the old one cannot be deleted either.
    with suppress(OSError):
        if done.report_failure is not None or (is_new and not context.with_reports):
            settings.page_path.unlink(missing_ok=True)
        unmark_page(settings)


def _write_reports(
    context: RunContext,
    connection: duckdb.DuckDBPyConnection,
    done: _Progress,
    snapshot_at: datetime,
    *,
    has_loaded: bool,
) -> ReportInputs | None:
    """Write the findings, the report tables and the table of the runs; return the inputs of the reports."""
    inputs, settings, destination = None, context.settings, context.destination
    has_reports = not destination.publishes_reports or findings.has_reports(connection)
    is_due = has_loaded or not has_reports or not findings.is_audited(connection)
    if context.with_reports and (is_due or _has_other_suppressions(settings, connection, snapshot_at)):
        context.announce("writing reports")
        with _attempting(done):
            from sip_trunks.reporting.publish import publish_reports

            inputs = publish_reports(connection, settings, snapshot_at, open_destination(settings))
    if has_loaded and inputs is None:
        # Reports of an earlier snapshot would be misleading.
        report_tables.drop_reports(connection)
    counts = findings.count_open_findings(connection, snapshot_at, context.watched)
    done.findings = None if counts is None else tuple(RuleFindings(*found) for found in counts)
    if destination.publishes_reports:
        summary = summarize(_result(context, done))
        with _attempting(subject="the table of the runs"):
            store_runs(settings, connection, summary)
    return inputs


def _has_other_suppressions(settings: Settings, connection: duckdb.DuckDBPyConnection, now: datetime) -> bool:
    """Whether the last day of a suppression has passed since the last audit, or one covers an open finding."""
    audited_at = findings.read_audited_at(connection)
    if audited_at is None:
        return False
    for entry in settings.suppressions:
        with suppress(ValueError):
            (suppression,) = parse_suppressions([entry])
            if audited_at.astimezone(UTC).date() <= suppression.until < now.date():
                return True
            if suppression.is_valid(now) and findings.has_open(connection, suppression):
                return True
    return False


_FATAL = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException)
"""Errors that a report does not cause: after them, nothing can be published."""


@contextmanager
def _attempting(
    done: _Progress | None = None, *, subject: str = "the reports", is_published: bool = False
) -> Iterator[None]:
    """Log an error and note it in `done`: a failing report must not keep a snapshot from being stored."""
    try:
        yield
    except Exception as error:  # the result and the exit code report it
        if isinstance(error, _FATAL) and not is_published:
            raise
        logger.exception("%s could not be written", subject)
        if done:
            done.report_failure = error
