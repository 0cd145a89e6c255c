"""Every table as it is after a load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from trunk_transforms.parse.batch import Load


def tables_after(load: Load, stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return every table as it is once the snapshots are stored; `_dlt_load_id` is null in what is new.

    The rows of `sip_trunk_snapshot_rows` are those of these snapshots only, to be added to what is there.
    """
    import pyarrow as pa

    from trunk_transforms.history.scd2 import extend_history, replace_current
    from trunk_transforms.parse.snapshot import drift_table, snapshot_table

    trunks = _concat(*(snapshot.trunks for snapshot in load.snapshots))
    allowed_ips = pa.concat_tables([snapshot.allowed_ips for snapshot in load.snapshots])
    drift = drift_table(load.snapshots, load.snapshot_at)
    current = stored[schema.SIP_TRUNKS.name]
    after = {
        schema.SIP_TRUNKS.name: replace_current(current, trunks, trunks, load.accounts),
        schema.SIP_TRUNKS_HISTORY.name: extend_history(
            stored[schema.SIP_TRUNKS_HISTORY.name], trunks, load.accounts, load.snapshot_at
        ),
        schema.SIP_TRUNK_ALLOWED_IPS.name: replace_current(
            stored[schema.SIP_TRUNK_ALLOWED_IPS.name], allowed_ips, trunks, load.accounts
        ),
        schema.SIP_TRUNK_SNAPSHOTS.name: _concat(stored[schema.SIP_TRUNK_SNAPSHOTS.name], snapshot_table(load.looks)),
        schema.SCHEMA_DRIFT.name: _concat(stored[schema.SCHEMA_DRIFT.name], drift),
    }
    # The newest file has every column that there ever was: its schema reads them all.
    rows = _concat(after[schema.SIP_TRUNKS.name].slice(0, 0), trunks)
    moments = pa.repeat(pa.scalar(load.snapshot_at, schema.arrow_type("timestamp")), len(rows))
    return after | {schema.SIP_TRUNK_SNAPSHOT_ROWS.name: rows.add_column(1, "snapshot_at", moments)}


def _concat(*tables: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="default")
