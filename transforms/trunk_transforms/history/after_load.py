"""All stored tables as they are after a load, and as they were before an interrupted one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from trunk_transforms.parse.batch import SnapshotBatch


def tables_after(batch: SnapshotBatch, stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return every table as it is after the batch is stored; `_dlt_load_id` is null in new rows.

    `sip_trunk_snapshot_rows` has only the rows of this batch, which are to be added to the stored ones.
    """
    import pyarrow as pa

    from trunk_transforms.history.scd2 import extend_history, replace_current
    from trunk_transforms.parse.snapshot import drift_table, snapshot_table

    trunks = _concat(*(snapshot.trunks for snapshot in batch.snapshots))
    allowed_ips = pa.concat_tables([snapshot.allowed_ips for snapshot in batch.snapshots])
    drift = drift_table(batch.snapshots, batch.snapshot_at)
    observations = stored[schema.SIP_TRUNK_SNAPSHOTS.name]
    after = {
        schema.SIP_TRUNKS.name: replace_current(stored[schema.SIP_TRUNKS.name], trunks, trunks, batch.accounts),
        schema.SIP_TRUNKS_HISTORY.name: extend_history(
            stored[schema.SIP_TRUNKS_HISTORY.name], trunks, batch.accounts, batch.snapshot_at
        ),
        schema.SIP_TRUNK_ALLOWED_IPS.name: replace_current(
            stored[schema.SIP_TRUNK_ALLOWED_IPS.name], allowed_ips, trunks, batch.accounts
        ),
        schema.SIP_TRUNK_SNAPSHOTS.name: _concat(observations, snapshot_table(batch.observations)),
        schema.SCHEMA_DRIFT.name: _concat(stored[schema.SCHEMA_DRIFT.name], drift),
    }
    # The newest file has every column that ever existed, so its schema can read all files.
    rows = _concat(after[schema.SIP_TRUNKS.name].slice(0, 0), trunks)
    moments = pa.repeat(pa.scalar(batch.snapshot_at, schema.arrow_type("timestamp")), len(rows))
    return after | {schema.SIP_TRUNK_SNAPSHOT_ROWS.name: rows.add_column(1, "snapshot_at", moments)}


def drop_unobserved(stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables as of the last rows of `sip_trunk_snapshots`, without the changes of an interrupted load."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from trunk_transforms.history.scd2 import VALIDITY_COLUMNS, drop_unobserved_versions
    from trunk_transforms.parse.snapshot import derive_allowed_ips

    observations, drift = stored[schema.SIP_TRUNK_SNAPSHOTS.name], stored[schema.SCHEMA_DRIFT.name]
    history = drop_unobserved_versions(stored[schema.SIP_TRUNKS_HISTORY.name], observations)
    trunks = history.filter(pc.is_null(history["valid_to"])).drop_columns(list(VALIDITY_COLUMNS))
    allowed_ips = derive_allowed_ips(trunks)
    is_observed = pc.is_in(drift["_dlt_load_id"], value_set=observations["_dlt_load_id"].combine_chunks())
    return {
        schema.SIP_TRUNKS.name: trunks,
        schema.SIP_TRUNKS_HISTORY.name: history,
        schema.SIP_TRUNK_ALLOWED_IPS.name: allowed_ips.append_column(
            "_dlt_load_id", pa.nulls(len(allowed_ips), pa.string())
        ),
        schema.SIP_TRUNK_SNAPSHOTS.name: observations,
        schema.SCHEMA_DRIFT.name: drift.filter(is_observed),
    }


def _concat(*tables: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="default")
