"""The stored tables after a load, and as they were before an interrupted load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from trunk_transforms.parse.batch import SnapshotBatch

_TRUNKS = (schema.SIP_TRUNKS, schema.SIP_TRUNKS_HISTORY, schema.SIP_TRUNK_ALLOWED_IPS)
_TABLES = (*_TRUNKS, schema.SIP_TRUNK_SNAPSHOTS, schema.SCHEMA_DRIFT)


def tables_after(batch: SnapshotBatch, stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return every table as it is after the batch is stored; `_dlt_load_id` is null in new rows.

    `sip_trunk_snapshot_rows` has only the rows of this batch, to be added to the stored ones.
    """
    from trunk_transforms.history.scd2 import concat, extend_history, repeat_moment, replace_current
    from trunk_transforms.parse.snapshot import drift_table, snapshot_table

    accounts, snapshot_at = batch.accounts, batch.snapshot_at
    trunks = concat(*(snapshot.trunks for snapshot in batch.snapshots))
    allowed_ips = concat(*(snapshot.allowed_ips for snapshot in batch.snapshots))
    current, history, ips, observations, drift = (stored[table.name] for table in _TABLES)
    after = (
        replace_current(current, trunks, trunks, accounts),
        extend_history(history, trunks, accounts, snapshot_at),
        replace_current(ips, allowed_ips, trunks, accounts),
        concat(observations, snapshot_table(batch.observations)),
        concat(drift, drift_table(batch.snapshots, snapshot_at)),
    )
    # The newest file has every column that ever existed, so its schema can read all files.
    rows = concat(after[0].slice(0, 0), trunks)
    rows = rows.add_column(1, "snapshot_at", repeat_moment(snapshot_at, len(rows)))
    return _by_name(after) | {schema.SIP_TRUNK_SNAPSHOT_ROWS.name: rows}


def drop_unobserved(stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables as of the last rows of `sip_trunk_snapshots`, without the changes of an interrupted load."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from trunk_transforms.history.scd2 import VALIDITY_COLUMNS, drop_unobserved_versions
    from trunk_transforms.parse.snapshot import derive_allowed_ips

    _, history, _, observations, drift = (stored[table.name] for table in _TABLES)
    history = drop_unobserved_versions(history, observations)
    trunks = history.filter(pc.is_null(history["valid_to"])).drop_columns(list(VALIDITY_COLUMNS))
    allowed_ips = derive_allowed_ips(trunks)
    allowed_ips = allowed_ips.append_column("_dlt_load_id", pa.nulls(len(allowed_ips), pa.string()))
    is_observed = pc.is_in(drift["_dlt_load_id"], value_set=observations["_dlt_load_id"].combine_chunks())
    return _by_name((trunks, history, allowed_ips, observations, drift.filter(is_observed)))


def _by_name(tables: tuple[pa.Table, ...]) -> dict[str, pa.Table]:
    return {declared.name: table for declared, table in zip(_TABLES, tables, strict=True)}
