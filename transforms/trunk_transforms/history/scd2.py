"""Snapshots → versions: what a merge keeps in a database, derived in memory where files cannot merge.

A database has this done by dlt's strategies `cdc` and `scd2`. `row_version` decides in both: it hashes the account
and all values of a trunk, so that a version is known by it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from trunk_transforms.schema.tables import SIP_TRUNKS, arrow_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

VALIDITY_COLUMNS = ("valid_from", "valid_to")
_MOMENT = arrow_type("timestamp")


def with_validity(trunks: pa.Table, valid_from: datetime | None = None) -> pa.Table:
    """Return the trunks as versions that begin at `valid_from` and are still current.

    Grain: one row per trunk. Adds `valid_from` and `valid_to` (UTC), the latter null. The moment may be left out where
    there is no trunk.
    """
    begins = pa.repeat(pa.scalar(valid_from, _MOMENT), len(trunks))
    return trunks.append_column("valid_from", begins).append_column("valid_to", pa.nulls(len(trunks), _MOMENT))


def replace_current(stored: pa.Table, snapshot: pa.Table, versions: pa.Table, accounts: Sequence[str]) -> pa.Table:
    """Return what is current once the accounts' snapshots have replaced what was stored of them.

    Works for the trunks and for what hangs on them: both tables need `account` and `row_version`, and `versions` are
    the trunks of the snapshots. A row whose version is still there stays as it was stored; rows of other accounts do.
    """
    is_kept = pc.or_(pc.invert(_is_of(stored, accounts)), _is_among(stored, versions))
    return _concat(_rows(stored, is_kept), _rows(snapshot, pc.invert(_is_among(snapshot, stored))))


def extend_history(history: pa.Table, trunks: pa.Table, accounts: Sequence[str], snapshot_at: datetime) -> pa.Table:
    """Return the versions once snapshots of these accounts, taken at `snapshot_at`, have been seen.

    Grain: one row per version. `trunks` has the trunks of the snapshots, one row per (account, id); `history` the
    versions so far, with `valid_from` and `valid_to` (UTC). A version that the snapshots lack ends at `snapshot_at`,
    one that they have and the history has not, or no longer, begins there; closed versions stay as they are.
    """
    is_open = pc.is_null(history["valid_to"])
    is_gone = pc.and_(pc.and_(is_open, _is_of(history, accounts)), pc.invert(_is_among(history, trunks)))
    valid_to = pc.if_else(is_gone, pa.scalar(snapshot_at, _MOMENT), history["valid_to"])
    closed = history.set_column(history.schema.get_field_index("valid_to"), "valid_to", valid_to)
    new = _rows(trunks, pc.invert(_is_among(trunks, _rows(history, is_open))))
    return _concat(closed, with_validity(new, snapshot_at))


def drop_unobserved_versions(history: pa.Table, observations: pa.Table) -> pa.Table:
    """Return the versions as they were when the last of the looks at each account was noted.

    Grain: one row per version. `observations` are the rows of `sip_trunk_snapshots`; what a load that was never noted has
    added to the history is gone, and what it has ended is current again.
    """
    newest = observations.group_by("account").aggregate([("snapshot_at", "max")])
    seen_at = pc.take(newest["snapshot_at_max"], pc.index_in(history["account"], newest["account"].combine_chunks()))
    still_open = pc.if_else(pc.greater(history["valid_to"], seen_at), pa.scalar(None, _MOMENT), history["valid_to"])
    reopened = history.set_column(history.schema.get_field_index("valid_to"), "valid_to", still_open)
    return reopened.filter(pc.less_equal(history["valid_from"], seen_at))


def derive_history(snapshot_rows: pa.Table, observations: pa.Table) -> pa.Table:
    """Return the versions that all these snapshots show: what SCD2 would have kept of them.

    Grain: one row per version, with `valid_from` and `valid_to` (UTC). `snapshot_rows` has one row per trunk and
    snapshot (`account`, `snapshot_at`, the trunk's columns); `observations` are the rows of `sip_trunk_snapshots`, of which
    those count that had something to read: an answer that was, to the byte, the last one has no rows of its own.
    """
    history = with_validity(SIP_TRUNKS.arrow_schema().empty_table())
    for account, snapshot_at in _read_looks(observations):
        is_seen = pc.and_(
            pc.equal(snapshot_rows["account"], account),
            pc.equal(snapshot_rows["snapshot_at"], pa.scalar(snapshot_at, _MOMENT)),
        )
        trunks = snapshot_rows.filter(is_seen).drop_columns(["snapshot_at"])
        history = extend_history(history, trunks, [account], snapshot_at)
    return history


def _read_looks(observations: pa.Table) -> list[tuple[str, datetime]]:
    """Return account and moment of the observations that something was read from, in order: the first of each load."""
    first = observations.group_by(["account", "_dlt_load_id"]).aggregate([("snapshot_at", "min")])
    ordered = first.sort_by([("snapshot_at_min", "ascending"), ("account", "ascending")])
    return list(zip(ordered["account"].to_pylist(), ordered["snapshot_at_min"].to_pylist(), strict=True))


def _is_of(table: pa.Table, accounts: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(table["account"], value_set=pa.array(accounts, pa.string()))


def _is_among(table: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    """Whether each row's version is one of the others'."""
    return pc.is_in(table["row_version"], value_set=others["row_version"].combine_chunks())


def _rows(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """Return the rows that the mask allows; often that is all of them, and copying them would cost their memory."""
    return table if pc.all(mask, min_count=0).as_py() else table.filter(mask)


def _concat(first: pa.Table, second: pa.Table) -> pa.Table:
    """Return the rows of both; a column that one of them lacks is null there."""
    return pa.concat_tables([first, second], promote_options="default")
