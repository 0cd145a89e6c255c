"""The stored tables after a load, and as they were before an interrupted load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from trunk_transforms.parse.batch import SnapshotBatch

_OBSERVATIONS, _DRIFT = schema.SIP_TRUNK_SNAPSHOTS.name, schema.SCHEMA_DRIFT.name


def tables_after(batch: SnapshotBatch, stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return every table that the batch changes as it is afterwards; `_dlt_load_id` is null in new rows.

    `sip_trunk_snapshot_rows` has only the rows of this batch, to be added to the stored ones.
    """
    from trunk_transforms.history.scd2 import concat, extend_history, repeat_moment, replace_current
    from trunk_transforms.parse.snapshot import derive_entries, drift_table, snapshot_table

    snapshot_at, after = batch.snapshot_at, {}
    for resource, accounts in batch.accounts_by_list.items():
        snapshots = [snapshot for snapshot in batch.snapshots if snapshot.resource is resource]
        rows = concat(*(snapshot.rows for snapshot in snapshots))
        current, history = resource.current.name, resource.history.name
        after[current] = replace_current(stored[current], rows, rows, accounts)
        after[history] = extend_history(stored[history], rows, accounts, snapshot_at)
        if resource.entries:
            name, entries = resource.entries.table.name, derive_entries(rows, resource.entries)
            after[name] = replace_current(stored[name], entries, rows, accounts)
        if resource is schema.TRUNKS:
            # The newest file has every column that ever existed, so its schema can read all files.
            full = concat(after[current].slice(0, 0), rows)
            moments = repeat_moment(snapshot_at, len(full))
            after[schema.SIP_TRUNK_SNAPSHOT_ROWS.name] = full.add_column(1, "snapshot_at", moments)
    return after | {
        _OBSERVATIONS: concat(stored[_OBSERVATIONS], snapshot_table(batch.observations)),
        _DRIFT: concat(stored[_DRIFT], drift_table(batch.snapshots, snapshot_at)),
    }


def drop_unobserved(stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables as of the last rows of `sip_trunk_snapshots`, without the changes of an interrupted load."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from trunk_transforms.history.scd2 import VALIDITY_COLUMNS, drop_unobserved_versions
    from trunk_transforms.parse.snapshot import derive_entries

    observations, drift = stored[_OBSERVATIONS], stored[_DRIFT]
    is_observed = pc.is_in(drift["_dlt_load_id"], value_set=observations["_dlt_load_id"].combine_chunks())
    observed = {_OBSERVATIONS: observations, _DRIFT: drift.filter(is_observed)}
    for resource in schema.RESOURCES:
        history = drop_unobserved_versions(stored[resource.history.name], observations)
        current = history.filter(pc.is_null(history["valid_to"])).drop_columns(list(VALIDITY_COLUMNS))
        observed |= {resource.history.name: history, resource.current.name: current}
        if resource.entries:
            entries = derive_entries(current, resource.entries)
            entries = entries.append_column("_dlt_load_id", pa.nulls(len(entries), pa.string()))
            observed[resource.entries.table.name] = entries
    return observed
