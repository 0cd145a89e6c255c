"""Snapshots → versions, in memory, for destinations whose files cannot merge.

In a database, dlt's strategies `cdc` and `scd2` do the same. Both compare `row_version`, a hash of the account and all
values of a trunk, which identifies a version.
"""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from trunk_transforms.schema.tables import arrow_type

VALIDITY_COLUMNS = ("valid_from", "valid_to")
_MOMENT = arrow_type("timestamp")


def with_validity(trunks: pa.Table, valid_from: datetime | None = None) -> pa.Table:
    """Return the trunks as current versions that begin at `valid_from`.

    Grain: one row per trunk. Adds `valid_from` and `valid_to` (UTC); `valid_to` is null. The moment is optional for an
    empty table.
    """
    begins = repeat_moment(valid_from, len(trunks))
    return trunks.append_column("valid_from", begins).append_column("valid_to", pa.nulls(len(trunks), _MOMENT))


def repeat_moment(moment: datetime | None, count: int) -> pa.Array:
    """Return a timestamp column that has the same moment in each of `count` rows."""
    return pa.repeat(pa.scalar(moment, _MOMENT), count)


def replace_current(stored: pa.Table, snapshot: pa.Table, versions: pa.Table, accounts: Sequence[str]) -> pa.Table:
    """Return the current rows after the snapshots of these accounts have replaced their stored rows.

    Works for the trunks and for their allowlist entries: both tables need `account` and `row_version`, and `versions`
    has the trunks of the snapshots. Stored rows of unchanged versions and of other accounts are kept as they are.
    """
    is_kept = pc.or_(pc.invert(_is_of(stored, accounts)), _is_among(stored, versions))
    return concat(_rows(stored, is_kept), _rows(snapshot, pc.invert(_is_among(snapshot, stored))))


def extend_history(history: pa.Table, trunks: pa.Table, accounts: Sequence[str], snapshot_at: datetime) -> pa.Table:
    """Return the versions after snapshots of these accounts at `snapshot_at`.

    Grain: one row per version. `trunks` has the trunks of the snapshots, one row per (account, id); `history` has the
    versions so far, with `valid_from` and `valid_to` (UTC). A current version that the snapshots lack ends at
    `snapshot_at`. A trunk whose version is not current in the history begins one there. Closed versions are unchanged.
    """
    is_open = pc.is_null(history["valid_to"])
    is_gone = pc.and_(pc.and_(is_open, _is_of(history, accounts)), pc.invert(_is_among(history, trunks)))
    valid_to = pc.if_else(is_gone, pa.scalar(snapshot_at, _MOMENT), history["valid_to"])
    closed = history.set_column(history.schema.get_field_index("valid_to"), "valid_to", valid_to)
    new = _rows(trunks, pc.invert(_is_among(trunks, _rows(history, is_open))))
    return concat(closed, with_validity(new, snapshot_at))


def drop_unobserved_versions(history: pa.Table, observations: pa.Table) -> pa.Table:
    """Return the versions as of the last observation of each account.

    Grain: one row per version. `observations` has the rows of `sip_trunk_snapshots`. Versions that began later are
    dropped and versions that ended later are current again, because an interrupted load wrote them.
    """
    newest = observations.group_by("account").aggregate([("snapshot_at", "max")])
    seen_at = pc.take(newest["snapshot_at_max"], pc.index_in(history["account"], newest["account"].combine_chunks()))
    still_open = pc.if_else(pc.greater(history["valid_to"], seen_at), pa.scalar(None, _MOMENT), history["valid_to"])
    reopened = history.set_column(history.schema.get_field_index("valid_to"), "valid_to", still_open)
    return reopened.filter(pc.less_equal(history["valid_from"], seen_at))


def _is_of(table: pa.Table, accounts: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(table["account"], value_set=pa.array(accounts, pa.string()))


def _is_among(table: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    """Return a flag per row: `others` has its version."""
    return pc.is_in(table["row_version"], value_set=others["row_version"].combine_chunks())


def _rows(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """Return the selected rows; the table itself, not a copy, if all rows are selected."""
    return table if pc.all(mask, min_count=0).as_py() else table.filter(mask)


def concat(*tables: pa.Table) -> pa.Table:
    """Return the rows of all tables; a column that one of them lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")
