"""Extract: fetch, parse and validate the snapshots of all accounts, and hand them on in batches to load.

A failing account is recorded and does not stop the others; nothing of it is handed on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import RefusedSnapshotError, SipTrunksError, UsageError, describe_failure
from sip_trunks.core.settings import PSEUDONYM_MARK
from sip_trunks.famulor.client import RawSnapshot
from sip_trunks.famulor.fetch_many import fetching
from sip_trunks.run.result import AccountResult
from sip_trunks.warehouse import sql, state
from trunk_transforms import schema
from trunk_transforms.parse.batch import SnapshotBatch
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    import duckdb
    import pyarrow as pa

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.famulor.fetch_many import Result
    from sip_trunks.run.context import RunContext
    from sip_trunks.warehouse.state import StoredAccount
    from trunk_transforms.parse.records import Columns
    from trunk_transforms.parse.shrink_guard import Difference
    from trunk_transforms.parse.snapshot import ParsedSnapshot
    from trunk_transforms.schema.tables import ColumnType

_FEW_ACCOUNTS = 10
_PROGRESS_ACCOUNTS = 100


@dataclass(frozen=True)
class ValidatedSnapshot:
    """A snapshot that may be loaded, and what it changes."""

    snapshot: RawSnapshot
    tables: ParsedSnapshot
    difference: Difference


@dataclass(frozen=True)
class ExtractResult:
    """The batches to load, one `AccountResult` per account, and the unchanged responses.

    Iterating over `batches` does the work: `accounts` and `unchanged` are complete after the last batch.
    """

    batches: Generator[SnapshotBatch]
    accounts: Sequence[AccountResult]
    unchanged: Sequence[RawSnapshot]


def extract_snapshots(
    context: RunContext, connection: duckdb.DuckDBPyConnection, stored: Mapping[str, StoredAccount]
) -> ExtractResult:
    """Fetch, parse and validate the snapshot of every account in `context`.

    `connection` shows the stored tables, and `stored` has the last observation of each account. A batch is handed on
    as soon as it has the destination's `max_batch_trunks`, so that memory stays bounded. A failing account is recorded
    and does not stop the others.

    Raises UsageError, before the first request, if stored pseudonyms were made with another key.
    """
    _refuse_other_pseudonyms(context.settings, stored)
    extraction = _Extraction(context, connection, stored)
    return ExtractResult(extraction.batches(), extraction.accounts, extraction.unchanged)


def next_moment(stored: Mapping[str, StoredAccount]) -> datetime:
    """Return now, or just after the last observation if the clock went back: no version ends before it begins."""
    latest = max((account.snapshot_at for account in stored.values()), default=datetime.min.replace(tzinfo=UTC))
    return max(datetime.now(UTC), latest + timedelta(microseconds=1))


@dataclass(frozen=True)
class _Extraction:
    """The extraction of one run, and what it has come to so far."""

    context: RunContext
    connection: duckdb.DuckDBPyConnection
    stored: Mapping[str, StoredAccount]
    accounts: list[AccountResult] = field(default_factory=list)
    unchanged: list[RawSnapshot] = field(default_factory=list)

    def batches(self) -> Generator[SnapshotBatch]:
        """Yield the batches to load, all with the same `snapshot_at`, the time of the first one."""
        context, settings = self.context, self.context.settings
        types = state.read_known_types(self.connection)
        most = context.destination.max_batch_trunks or math.inf
        snapshot_at: datetime | None = None
        pending: list[ValidatedSnapshot] = []
        pending_count = 0
        context.announce(f"{_describe(context.accounts)}: requesting trunks")
        with fetching(
            context.accounts,
            settings.api,
            known_sha256=self._known_sha256(),
            spool_dir=settings.state_dir,
            announce=context.announce,
            secret=settings.pseudonym_key or None,
        ) as responses:
            for number, (account, response) in enumerate(responses, 1):
                try:
                    validated = self._validate(account.name, response, types)
                except (SipTrunksError, InvalidResponseError) as error:
                    self.accounts.append(AccountResult(account.name, "failed", **describe_failure(error)))
                else:
                    if validated is not None:
                        pending.append(validated)
                        pending_count += len(validated.tables.trunks)
                        # The next account has to know the types of this one: they share the columns.
                        types |= validated.tables.types
                    del validated
                if number % _PROGRESS_ACCOUNTS == 0:
                    context.announce(f"{number} of {len(context.accounts)} accounts read")
                if pending_count >= most:
                    snapshot_at = snapshot_at or next_moment(self.stored)
                    yield _take_batch(pending, snapshot_at, settings.loader_version)
                    pending_count = 0
        if pending:
            yield _take_batch(pending, snapshot_at or next_moment(self.stored), settings.loader_version)

    @cached_property
    def _has_trunks(self) -> bool:
        return sql.exists(self.connection, schema.SIP_TRUNKS.name)

    def _known_sha256(self) -> dict[str, str]:
        """Return the hash of the last response by account, if this release has read it with the same settings."""
        loader = self.context.settings.loader_version
        return {name: last.body_sha256 for name, last in self.stored.items() if last.loader_version == loader}

    def _validate(self, account: str, response: Result, types: Mapping[str, ColumnType]) -> ValidatedSnapshot | None:
        """Record the result of an account and return its snapshot; None if the response is unchanged.

        Raises SipTrunksError or InvalidResponseError if the snapshot may not be loaded.
        """
        settings, last = self.context.settings, self.stored.get(account)
        if not isinstance(response, RawSnapshot):
            raise response
        if response.records is None and last is not None:
            _refuse_known_drift(settings, last)
            self.unchanged.append(response)
            self.accounts.append(AccountResult(account, "unchanged", last.trunk_count, 0, 0, 0, last.drift_count))
            return None
        if len(self.context.accounts) <= _FEW_ACCOUNTS:
            size = f"{response.body_bytes / 1e3:.0f} kB"
            self.context.announce(f"{account}: reading {len(response.records or ())} trunks ({size})")
        versions = state.read_stored_versions(self.connection, account) if last and self._has_trunks else None
        validated = _validate(settings, response, types, versions, accept_shrink=self.context.accept_shrink)
        trunks, drift, changes = validated.tables.trunks, validated.tables.drift, validated.difference.changes
        counts = (len(trunks), changes.new_count, changes.changed_count, changes.removed_count, len(drift))
        self.accounts.append(AccountResult(account, "loaded", *counts))
        return validated


def _describe(accounts: Sequence[Account]) -> str:
    return accounts[0].name if len(accounts) == 1 else f"{len(accounts)} accounts"


def _refuse_other_pseudonyms(settings: Settings, stored: Mapping[str, StoredAccount]) -> None:
    """Raise UsageError if any account has pseudonyms that this run would not make.

    Otherwise this run would store the values that they hide, or a second pseudonym for the same value.
    """
    ours = _key_mark(settings.loader_version)
    theirs = {mark: name for name, last in stored.items() if (mark := _key_mark(last.loader_version)) not in ("", ours)}
    if theirs:
        cause = "sip_trunks.pseudonym_key is another key" if ours else "sip_trunks.pseudonymize is not set"
        raise UsageError(
            f"the stored data of {min(theirs.values())} has pseudonyms, but {cause}: restore the setting, or start "
            "again (docs/privacy.md, Another key)"
        )


def _key_mark(loader_version: str) -> str:
    return loader_version.partition(PSEUDONYM_MARK)[2].partition(".")[0]


def _refuse_known_drift(settings: Settings, stored: StoredAccount) -> None:
    """Raise RefusedSnapshotError if an unchanged response drifts although drift is not allowed any more."""
    if stored.drift_count and settings.drift == "strict":
        raise _drift_error(f"still in {stored.drift_count} ways (sip-trunks drift{settings.destination_option})")


def _validate(
    settings: Settings,
    snapshot: RawSnapshot,
    known: Mapping[str, ColumnType],
    stored: pa.Table | None,
    *,
    accept_shrink: bool,
) -> ValidatedSnapshot:
    """Parse the snapshot and compare it with the stored versions. Raises InvalidResponseError or RefusedSnapshotError."""
    from trunk_transforms.parse.shrink_guard import NO_VERSIONS, compare_versions
    from trunk_transforms.parse.snapshot import parse_snapshot

    tables = parse_snapshot(snapshot.records or (), account=snapshot.account, known=known, hide=_hiding(settings))
    difference = compare_versions(NO_VERSIONS if stored is None else stored, tables.trunks)
    changes = difference.changes
    if changes.is_suspicious and not accept_shrink:
        trunks = "1 trunk" if len(tables.trunks) == 1 else f"{len(tables.trunks)} trunks"
        raise RefusedSnapshotError(
            f"the response has {trunks}; {changes.removed_count} of {changes.stored_count} stored trunks are missing. "
            "Nothing was changed. If they were really deleted: "
            f"sip-trunks run --account {snapshot.account} --accept-shrink{settings.destination_option}"
        )
    if tables.drift and settings.drift == "strict":
        first = tables.drift[0]
        raise _drift_error(f"in {len(tables.drift)} ways, first {first.column_name}: {first.detail} ({first.kind})")
    # The raw records are no longer needed; the load needs the memory.
    return ValidatedSnapshot(replace(snapshot, records=None), tables, difference)


def _hiding(settings: Settings) -> Callable[[Columns], Columns] | None:
    if not settings.pseudonymize:
        return None
    from trunk_transforms.parse.pseudonyms import hide_columns

    return partial(hide_columns, names=settings.pseudonymize, key=settings.pseudonym_key)


def _drift_error(how: str) -> RefusedSnapshotError:
    return RefusedSnapshotError(
        f"the response deviates from the declaration {how}; nothing was changed, because sip_trunks.drift is strict"
    )


def _take_batch(pending: list[ValidatedSnapshot], snapshot_at: datetime, loader_version: str) -> SnapshotBatch:
    """Return the batch of all pending snapshots, and empty the list: only the batch keeps them in memory."""
    observations = [
        one.snapshot.observation(
            snapshot_at,
            trunk_count=len(one.tables.trunks),
            drift_count=len(one.tables.drift),
            is_unchanged=one.difference.changes.is_none,
            loader_version=loader_version,
        )
        for one in pending
    ]
    batch = SnapshotBatch(
        accounts=[one.snapshot.account for one in pending],
        snapshots=[one.tables for one in pending],
        differences=[one.difference for one in pending],
        observations=observations,
        snapshot_at=snapshot_at,
    )
    pending.clear()
    return batch


def observe_unchanged(
    settings: Settings, extracted: ExtractResult, stored: Mapping[str, StoredAccount], snapshot_at: datetime
) -> list[dict[str, Any]]:
    """Return the rows of `sip_trunk_snapshots` for the unchanged responses."""
    return [
        snapshot.observation(
            snapshot_at,
            trunk_count=stored[snapshot.account].trunk_count,
            drift_count=stored[snapshot.account].drift_count,
            is_unchanged=True,
            loader_version=settings.loader_version,
        )
        | {"_dlt_load_id": stored[snapshot.account].load_id}
        for snapshot in extracted.unchanged
    ]
