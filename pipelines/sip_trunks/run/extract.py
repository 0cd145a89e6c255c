"""What comes in: the snapshots of all accounts, fetched, judged, and handed on to be loaded.

An account that fails is noted and holds up no other; nothing of it is handed on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from sip_trunks.core.errors import Failure, RefusedSnapshot, SettingsError, describe_failure
from sip_trunks.core.settings import PSEUDONYM_MARK
from sip_trunks.famulor.client import Snapshot
from sip_trunks.famulor.fetch_many import fetching
from sip_trunks.run.result import AccountOutcome
from sip_trunks.warehouse import sql, state
from trunk_transforms import schema
from trunk_transforms.parse.batch import Load
from trunk_transforms.parse.envelope import UnusableAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from datetime import datetime

    import duckdb
    import pyarrow as pa

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.warehouse.state import StoredAccount
    from trunk_transforms.parse.records import Columns
    from trunk_transforms.parse.shrink_guard import Difference
    from trunk_transforms.parse.snapshot import SnapshotTables
    from trunk_transforms.schema.tables import ColumnType

_FEW_ACCOUNTS = 10
_ACCOUNTS_WORTH_A_LINE = 100


@dataclass(frozen=True)
class Judged:
    """A snapshot that may be loaded, and what it changes."""

    snapshot: Snapshot
    tables: SnapshotTables
    difference: Difference


@dataclass(frozen=True)
class Taken:
    """What was taken from the API: the outcome of each account, and what is, to the byte, the last answer."""

    done: list[AccountOutcome] = field(default_factory=list)
    unchanged: list[Snapshot] = field(default_factory=list)


def take(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    accounts: Sequence[Account],
    stored: Mapping[str, StoredAccount],
    taken: Taken,
    *,
    accept_shrink: bool,
    trunks_at_once: int | None,
    announce: Callable[[str], None],
) -> Generator[list[Judged]]:
    """Fetch and judge every account, noting in `taken` what came of it, and yield what may be loaded.

    All of it at once, or whenever there are as many trunks as `trunks_at_once`: so much is held in memory. Raises
    SettingsError, before it asks for anything, where other pseudonyms are stored.
    """
    _refuse_other_pseudonyms(settings, stored)
    known = state.read_known_types(connection)
    has_trunks = sql.exists(connection, schema.SIP_TRUNKS.name)
    # Another release may read the same answer differently.
    loader = settings.loader_version
    known_sha256 = {name: last.body_sha256 for name, last in stored.items() if last.loader_version == loader}
    pending: list[Judged] = []
    pending_count = 0
    announce(f"{_names(accounts)}: asking the API")
    with fetching(
        accounts,
        settings.api,
        known_sha256=known_sha256,
        spool_dir=settings.state_dir,
        announce=announce,
        secret=settings.pseudonym_key or None,
    ) as results:
        for number, (account, result) in enumerate(results, 1):
            last = stored.get(account.name)
            try:
                if not isinstance(result, Snapshot):
                    raise result
                if result.records is None and last is not None:
                    _refuse_drifting(settings, last)
                    taken.unchanged.append(result)
                    taken.done.append(_unchanged_outcome(result, last))
                else:
                    if len(accounts) <= _FEW_ACCOUNTS:
                        size = f"{result.body_bytes / 1e3:.0f} kB"
                        announce(f"{account.name}: reading {len(result.records or ())} trunks ({size})")
                    versions = state.read_stored_versions(connection, account.name) if last and has_trunks else None
                    judged = _judge(settings, result, known, versions, accept_shrink)
                    pending.append(judged)
                    pending_count += len(judged.tables.trunks)
                    # What one account taught the next has to know: all go into the same columns.
                    known |= judged.tables.types
                    taken.done.append(_loaded_outcome(judged))
            except (Failure, UnusableAnswer) as error:
                taken.done.append(AccountOutcome(account.name, "failed", **describe_failure(error)))
            if number % _ACCOUNTS_WORTH_A_LINE == 0:
                announce(f"{number} of {len(accounts)} accounts read")
            if trunks_at_once and pending_count >= trunks_at_once:
                yield pending
                pending, pending_count = [], 0
    if pending:
        yield pending


def _names(accounts: Sequence[Account]) -> str:
    return accounts[0].name if len(accounts) == 1 else f"{len(accounts)} accounts"


def _refuse_other_pseudonyms(settings: Settings, stored: Mapping[str, StoredAccount]) -> None:
    """Raise SettingsError if pseudonyms are stored that this run would not make, of whichever account.

    It would say what they hide, or pseudonyms of one value would differ.
    """
    ours = _key_mark(settings.loader_version)
    theirs = {mark: name for name, last in stored.items() if (mark := _key_mark(last.loader_version)) not in ("", ours)}
    if theirs:
        seen = "sip_trunks.pseudonym_key is another one" if ours else "sip_trunks.pseudonymize is not set"
        raise SettingsError(
            f"what is stored of {min(theirs.values())} has pseudonyms, but {seen}: set what it was, or begin anew "
            "(docs/privacy.md, Another key)"
        )


def _key_mark(loader_version: str) -> str:
    return loader_version.partition(PSEUDONYM_MARK)[2].partition(".")[0]


def _refuse_drifting(settings: Settings, stored: StoredAccount) -> None:
    """Raise RefusedSnapshot if the answer that is stored, and has come again, deviates and must not."""
    if stored.drift_count and settings.drift == "strict":
        raise _refused_for_drift(f"still in {stored.drift_count} ways (sip-trunks drift{settings.destination_option})")


def _judge(
    settings: Settings,
    snapshot: Snapshot,
    known: Mapping[str, ColumnType],
    stored: pa.Table | None,
    accept_shrink: bool,
) -> Judged:
    """Type the snapshot and compare it with the stored versions. Raises UnusableAnswer or RefusedSnapshot."""
    from trunk_transforms.parse.shrink_guard import NO_VERSIONS, compare_versions
    from trunk_transforms.parse.snapshot import read_snapshot

    tables = read_snapshot(snapshot.records or (), account=snapshot.account, known=known, hide=_hiding(settings))
    difference = compare_versions(NO_VERSIONS if stored is None else stored, tables.trunks)
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
    return Judged(replace(snapshot, records=None), tables, difference)


def _hiding(settings: Settings) -> Callable[[Columns], Columns] | None:
    if not settings.pseudonymize:
        return None
    from trunk_transforms.parse.pseudonyms import hide_columns

    return partial(hide_columns, names=settings.pseudonymize, key=settings.pseudonym_key)


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


def _loaded_outcome(judged: Judged) -> AccountOutcome:
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


def load_of(judged: Sequence[Judged], snapshot_at: datetime, loader_version: str) -> Load:
    """Return what a destination has to store of these snapshots; `snapshot_at` is the moment of all of them."""
    looks = [
        entry.snapshot.look(
            snapshot_at,
            trunk_count=len(entry.tables.trunks),
            drift_count=len(entry.tables.drift),
            is_unchanged=entry.difference.changes.is_none,
            loader_version=loader_version,
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
