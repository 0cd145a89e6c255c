"""Extract: fetch, parse and validate the snapshots of all accounts, in batches to load.

A failing account is recorded and does not stop the others; its snapshot is in no batch.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import PSEUDONYM_MARK
from sip_trunks.famulor.client import RawSnapshot
from sip_trunks.famulor.fetch_many import fetching
from sip_trunks.run.left_accounts import find_match, hide_plain_numbers, refuse
from sip_trunks.run.refusals import describe_part, describe_refusal, drift_error, shrink_error
from sip_trunks.run.result import AccountResult
from sip_trunks.run.small_accounts import parse_groups
from sip_trunks.warehouse import sql, state
from trunk_transforms import schema
from trunk_transforms.parse.batch import SnapshotBatch
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    import pyarrow as pa

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.destinations.base import Destination
    from sip_trunks.famulor.fetch_many import Result
    from sip_trunks.run.result import RunResult
    from sip_trunks.warehouse.state import StoredAccount
    from trunk_transforms.parse.assignments import Assignments
    from trunk_transforms.parse.records import Columns, Drift
    from trunk_transforms.parse.shrink_guard import Changes, Difference
    from trunk_transforms.parse.snapshot import ParsedSnapshot
    from trunk_transforms.schema.tables import ColumnType

_FEW_ACCOUNTS = 10
_PROGRESS_ACCOUNTS = 100
_FATAL = (OSError, MemoryError, duckdb.Error)
"""Errors that are not the fault of one account's data."""


@dataclass(frozen=True)
class RunContext:
    """The settings, the destination, the accounts and the options of one run, which begins when this is created."""

    settings: Settings
    destination: Destination
    accounts: Sequence[Account]
    accept_shrink: bool = False
    with_reports: bool = True
    announce: Callable[[str], None] = lambda _: None
    interrupted: Sequence[RunResult] = ()
    note: Callable[[RunResult | None], None] = lambda _: None
    accept_new_account: bool = False
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _clock: float = field(default_factory=time.monotonic, repr=False)

    @property
    def watched(self) -> set[str]:
        """The names of the accounts that are configured, or part of this run."""
        return {account.name for account in (*self.settings.accounts, *self.accounts)}

    @property
    def duration_seconds(self) -> float:
        """Time since the run began."""
        return round(time.monotonic() - self._clock, 3)


@dataclass(frozen=True)
class ValidatedSnapshot:
    """A snapshot that may be loaded: each list of the API, and its differences from the stored versions."""

    snapshot: RawSnapshot
    lists: list[ParsedSnapshot]
    differences: list[Difference]

    @property
    def trunk_count(self) -> int:
        """The number of trunks."""
        return len(self.lists[0].rows)

    @property
    def drift(self) -> list[Drift]:
        """The deviations of all lists."""
        return [entry for parsed in self.lists for entry in parsed.drift]


@dataclass(frozen=True)
class ExtractResult:
    """The batches to load, one `AccountResult` per account, and the unchanged responses.

    `batches` does the work: `accounts` and `unchanged` are complete after the last batch.
    """

    context: RunContext
    connection: duckdb.DuckDBPyConnection
    stored: Mapping[str, StoredAccount]
    accounts: list[AccountResult] = field(default_factory=list)
    unchanged: list[RawSnapshot] = field(default_factory=list)

    @cached_property
    def snapshot_at(self) -> datetime:
        """The time of the run in the history: the time of the first access, when the first snapshots are complete.

        If the clock went back, it is just after the last observation, so that no version ends before it begins.
        """
        latest = max((last.snapshot_at for last in self.stored.values()), default=datetime.min.replace(tzinfo=UTC))
        return max(datetime.now(UTC), latest + timedelta(microseconds=1))

    def batches(self) -> Generator[SnapshotBatch]:
        """Yield the batches to load, each as soon as it has the destination's `max_batch_trunks`, to bound memory."""
        context, settings = self.context, self.context.settings
        most = context.destination.max_batch_trunks or math.inf
        pending: list[ValidatedSnapshot] = []
        pending_count = 0
        known = {name: last for name, last in self.stored.items() if self._is_comparable(last)}
        names = [account.name for account in context.accounts]
        context.announce(f"{names[0] if len(names) == 1 else f'{len(names)} accounts'}: requesting trunks")
        with fetching(
            context.accounts,
            settings.api,
            known_sha256={name: (last.body_sha256, last.assignments_sha256) for name, last in known.items()},
            spool_dir=settings.state_dir,
            announce=context.announce,
            secret=settings.pseudonym_key or None,
        ) as responses:
            groups = parse_groups(responses, self._types, _hiding(settings, schema.TRUNKS))
            for number, (account, response, parsed) in enumerate(groups, 1):
                try:
                    validated = self._validate(account, response, parsed)
                except _FATAL:
                    raise
                except Exception as error:  # noqa: BLE001 - the other accounts are loaded
                    self.accounts.append(AccountResult(account, "failed", **describe_refusal(error)))
                else:
                    if validated is not None:
                        pending.append(validated)
                        pending_count += sum(len(one.rows) for one in validated.lists)
                        # All accounts share the columns, so the next one needs the types of this one.
                        for one in validated.lists:
                            self._types[one.resource].update(one.types)
                    del validated, parsed
                if number % _PROGRESS_ACCOUNTS == 0:
                    context.announce(f"{number} of {len(names)} accounts read")
                if pending_count >= most:
                    yield self._take_batch(pending)
                    pending_count = 0
        if pending:
            yield self._take_batch(pending)

    @cached_property
    def _types(self) -> dict[schema.Resource, dict[str, ColumnType]]:
        """The types of the undeclared columns that are stored, or in the snapshots so far."""
        return {resource: state.read_known_types(self.connection, resource) for resource in schema.RESOURCES}

    @cached_property
    def _stored_resources(self) -> set[schema.Resource]:
        stored = sql.read_tables(self.connection)
        return {resource for resource in schema.RESOURCES if resource.name in stored}

    @cached_property
    def _kept_columns(self) -> dict[tuple[str, str], dict[str, str]]:
        """The columns that quoted fields had last, by account and list."""
        from trunk_transforms.parse.records import origin_of

        kept: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for seen in reversed(state.read_drift(self.connection, datetime.min.replace(tzinfo=UTC))):
            name, _, column = seen.column_name.rpartition(".")
            if seen.kind == "new_column" and (origin := origin_of(column, seen.detail)):
                kept[seen.account, name or schema.TRUNKS.name][origin] = column
        return kept

    def _validate(
        self, account: str, response: Result, ready: Mapping[schema.Resource, ParsedSnapshot]
    ) -> ValidatedSnapshot | None:
        """Record the result of an account and return its snapshot; None if the response is unchanged.

        `ready` has the lists that are parsed already.

        Raises SipTrunksError or InvalidResponseError if the snapshot may not be loaded.
        """
        settings, last = self.context.settings, self.stored.get(account)
        if not isinstance(response, RawSnapshot):
            raise response
        if response.records is None and last is not None:
            self._add_unchanged(response, last, describe_part(response.assignments))
            return None
        # Arrow is slow to import, and an unchanged response does not need it.
        from trunk_transforms.parse.snapshot import parse_snapshot

        validated = ValidatedSnapshot(replace(response, records=None, assignments=None), [], [])
        for resource, records in (response.records or {}).items():
            if len(self.context.accounts) <= _FEW_ACCOUNTS:
                size = f"{response.body_bytes / 1e3:.0f} kB"
                title = resource.title.removesuffix("s" * (len(records) == 1))
                self.context.announce(f"{account}: reading {len(records)} {title} ({size})")
            parsed = ready.get(resource) or parse_snapshot(
                records,
                account=account,
                resource=resource,
                known=self._types[resource],
                kept=self._kept_columns.get((account, resource.name)),
                hide=_hiding(settings, resource),
                undeclared_keys=records.undeclared_keys,
            )
            if last is None and resource is schema.TRUNKS:
                self._refuse_left_trunks(parsed)
            difference = self._compare(parsed)
            if difference.changes.is_suspicious and not self.context.accept_shrink:
                raise shrink_error(parsed, difference.changes, settings)
            if difference.changes.removed_count and records.paging_keys and not self.context.accept_shrink:
                self._refuse_new_paging(parsed, difference.changes, records.paging_keys)
            validated.lists.append(parsed)
            validated.differences.append(difference)
        drift, changes = validated.drift, validated.differences[0].changes
        if drift and settings.drift == "strict":
            raise drift_error(
                f"in {len(drift)} ways, first {drift[0].column_name}: {drift[0].detail} ({drift[0].kind})"
            )
        counts = (changes.new_count, changes.changed_count, changes.removed_count, len(drift))
        result = AccountResult(account, "loaded", validated.trunk_count, *counts)
        validated, error = self._add_assignments(validated, response.assignments)
        if error and last and self._is_comparable(last) and last.body_sha256 == response.body_sha256:
            self._add_unchanged(validated.snapshot, last, error)
            return None
        self.accounts.append(replace(result, assignments_error=error))
        return validated

    def _refuse_new_paging(self, parsed: ParsedSnapshot, changes: Changes, keys: frozenset[str]) -> None:
        """Raise RefusedSnapshotError if no earlier snapshot had one of the keys: this may be one page of several."""
        new = {printable(key, 60) for key in keys} - state.read_envelope_keys(self.connection, parsed.account)
        if new:
            raise shrink_error(parsed, changes, self.context.settings, f" and the new key `{min(new)}`")

    def _is_comparable(self, last: StoredAccount) -> bool:
        """Whether the same response would be read as the last one: not by another release, or with other settings."""
        return last.loader_version == self.context.settings.loader_version

    def _add_unchanged(self, response: RawSnapshot, last: StoredAccount, assignments_error: str | None) -> None:
        settings = self.context.settings
        if last.drift_count and settings.drift == "strict":
            raise drift_error(f"still in {last.drift_count} ways (sip-trunks drift{settings.destination_option})")
        self.unchanged.append(response)
        counts = (last.trunk_count, 0, 0, 0, last.drift_count)
        result = AccountResult(response.account, "unchanged", *counts, assignments_error=assignments_error)
        self.accounts.append(result)

    def _compare(self, parsed: ParsedSnapshot) -> Difference:
        """Return the differences of a list from its stored versions."""
        from trunk_transforms.parse.shrink_guard import NO_VERSIONS, compare_versions

        account, resource = parsed.account, parsed.resource
        has_versions = account in self.stored and resource in self._stored_resources
        versions = state.read_stored_versions(self.connection, account, resource) if has_versions else NO_VERSIONS
        return compare_versions(versions, parsed.rows, resource.key)

    def _add_assignments(
        self, validated: ValidatedSnapshot, assignments: Assignments | Exception | None
    ) -> tuple[ValidatedSnapshot, str | None]:
        """Return the snapshot with its assignments, or without them and the reason: they never cost a snapshot."""
        if assignments is None or isinstance(assignments, Exception):
            return validated, describe_part(assignments)
        from trunk_transforms.parse.assignments import parse_assignments

        snapshot, (trunks, *_) = validated.snapshot, validated.lists
        try:
            hide = _hiding(self.context.settings, schema.ASSIGNMENTS)
            parsed = parse_assignments(assignments, trunks.rows, snapshot.account, hide)
            difference = self._compare(parsed)
            is_lost = len(trunks.rows) > 0 == len(parsed.rows) and difference.changes.removed_count > 0
            if is_lost and not self.context.accept_shrink:
                raise shrink_error(parsed, difference.changes, self.context.settings)
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001 - the trunks are loaded
            return replace(validated, snapshot=replace(snapshot, assignments_sha256=None)), describe_part(error)
        lists, differences = [*validated.lists, parsed], [*validated.differences, difference]
        return ValidatedSnapshot(snapshot, lists, differences), None

    @cached_property
    def _left_trunks(self) -> pa.Table | None:
        """The current trunks of the stored accounts that are no longer configured; None if there are none."""
        context = self.context
        left = self.stored.keys() - context.watched
        if not left or context.accept_new_account:
            return None
        return hide_plain_numbers(context.destination.read_numbers(self.connection, left), context.settings)

    def _refuse_left_trunks(self, parsed: ParsedSnapshot) -> None:
        """Raise RefusedSnapshotError if a new account has the trunks of one that is no longer configured."""
        if self._left_trunks is not None and (match := find_match(parsed.rows, self._left_trunks)):
            raise refuse(parsed.account, match, self.context.settings)

    def _take_batch(self, pending: list[ValidatedSnapshot]) -> SnapshotBatch:
        """Return the batch of all pending snapshots, and empty the list: only the batch keeps them in memory."""
        batch = SnapshotBatch(
            accounts=[one.snapshot.account for one in pending],
            snapshots=[parsed for one in pending for parsed in one.lists],
            differences=[difference for one in pending for difference in one.differences],
            observations=[
                one.snapshot.observation(
                    self.snapshot_at,
                    trunk_count=one.trunk_count,
                    drift_count=len(one.drift),
                    is_unchanged=all(difference.changes.is_none for difference in one.differences),
                    loader_version=self.context.settings.loader_version,
                )
                for one in pending
            ],
            snapshot_at=self.snapshot_at,
        )
        pending.clear()
        return batch

    def observe_unchanged(self) -> list[dict[str, Any]]:
        """Return the rows of `sip_trunk_snapshots` for the unchanged responses."""
        return [
            snapshot.observation(
                self.snapshot_at,
                trunk_count=last.trunk_count,
                drift_count=last.drift_count,
                is_unchanged=True,
                loader_version=self.context.settings.loader_version,
            )
            | {"_dlt_load_id": last.load_id}
            for snapshot in self.unchanged
            for last in [self.stored[snapshot.account]]
        ]


def extract_snapshots(
    context: RunContext, connection: duckdb.DuckDBPyConnection, stored: Mapping[str, StoredAccount]
) -> ExtractResult:
    """Fetch, parse and validate the snapshot of every account in `context`.

    `connection` shows the stored tables, and `stored` has the last observation of each account. A failing account is
    recorded and does not stop the others.

    Raises UsageError, before the first request, if stored pseudonyms were made with another key, or if a field to be
    replaced by pseudonyms is unknown.
    """
    state.refuse_unknown_fields(context.settings, connection)
    _refuse_other_pseudonyms(context.settings, stored)
    return ExtractResult(context, connection, stored)


def _refuse_other_pseudonyms(settings: Settings, stored: Mapping[str, StoredAccount]) -> None:
    """Raise UsageError if the pseudonyms of any account were made with another key.

    Otherwise this run would store the values that they hide, or a second pseudonym for the same value.
    """
    ours = pseudonym_marks(settings.loader_version).partition(".")[0]
    marks = {name: pseudonym_marks(last.loader_version).partition(".")[0] for name, last in stored.items()}
    others = {mark: name for name, mark in marks.items() if mark not in ("", ours)}
    if others:
        cause = "sip_trunks.pseudonym_key is a different key" if ours else "sip_trunks.pseudonymize is not set"
        raise UsageError(
            f"the stored data of {min(others.values())} has pseudonyms, but {cause}: restore the setting, or start "
            "again (docs/privacy.md, Another key)"
        )


def pseudonym_marks(loader_version: str) -> str:
    """Return the marks of the key and of the pseudonymized fields, separated by dots; empty without pseudonyms."""
    return loader_version.partition(PSEUDONYM_MARK)[2]


def _hiding(settings: Settings, resource: schema.Resource) -> Callable[[Columns], Columns] | None:
    if not settings.pseudonymize:
        return None
    from trunk_transforms.parse.pseudonyms import hide_columns

    names = settings.pseudonymize
    if resource is schema.ASSIGNMENTS and "nickname" in names:
        names = (*names, "name")  # of an assistant
    return partial(hide_columns, names=names, key=settings.pseudonym_key)
