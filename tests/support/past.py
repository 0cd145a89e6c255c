"""A past of one's own: what runs at any moments would have stored, made in memory and stored at once."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sip_trunks import __version__
from sip_trunks.core.lock import holding_lock
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.dlt_pipeline import discard_dlt_folder
from sip_trunks.reporting.publish import publish_tables
from tests.support.builders import body, raw
from trunk_transforms import schema
from trunk_transforms.history.after_load import tables_after
from trunk_transforms.parse.batch import SnapshotBatch
from trunk_transforms.parse.snapshot import parse_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sip_trunks.core.settings import Settings

    Answer = tuple[str, datetime, list[dict[str, Any]]]

_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
_TABLES = {table.name: table for table in schema.EVERY_TABLE}


def tables_of(answers: Sequence[Answer]) -> dict[str, pa.Table]:
    """Return all tables once accounts have given these answers at these moments, the same answer twice being one."""
    stored = {table.name: table.full_arrow_schema().empty_table() for table in schema.REQUIRED_TABLES}
    rows: list[pa.Table] = []
    types: dict[str, schema.ColumnType] = {}
    last: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {}
    for number, (account, moment, trunks) in enumerate(answers):
        known, look = last.get(account, (None, {}))
        if known == trunks:
            again = look | {"snapshot_at": moment, "is_unchanged": True}
            table = pa.Table.from_pylist([again], stored["sip_trunk_snapshots"].schema)
            stored["sip_trunk_snapshots"] = pa.concat_tables([stored["sip_trunk_snapshots"], table])
            continue
        snapshot, sent = parse_snapshot(raw(*trunks), account=account, known=types), body(*trunks)
        types |= snapshot.types
        look = {
            "account": account, "snapshot_at": moment, "trunk_count": len(trunks), "body_bytes": len(sent),
            "body_sha256": sha256(sent).hexdigest(), "drift_count": len(snapshot.drift), "is_unchanged": False,
            "loader_version": __version__,
        }  # fmt: skip
        stored = tables_after(SnapshotBatch([account], [snapshot], [], [look], moment), stored)
        stored = {name: _with_load(table, f"load-{number}") for name, table in stored.items()}
        rows.append(stored.pop(_ROWS))
        last[account] = trunks, look | {"_dlt_load_id": f"load-{number}"}
    stored[_ROWS] = pa.concat_tables(rows, promote_options="default")
    return {name: _as_declared(table, _TABLES[name]) for name, table in stored.items()}


def _as_declared(table: pa.Table, declared: schema.Table) -> pa.Table:
    """Return the table with columns that may be null only where they are declared so, as runs write them."""
    return table.cast(pa.schema([field.with_nullable(declared.may_be_null(field.name)) for field in table.schema]))


def _with_load(table: pa.Table, load_id: str) -> pa.Table:
    if "_dlt_load_id" not in table.column_names:
        return table.append_column("_dlt_load_id", pa.repeat(pa.scalar(load_id), len(table)))
    place = table.column_names.index("_dlt_load_id")
    return table.set_column(place, "_dlt_load_id", pc.fill_null(table["_dlt_load_id"], load_id))


def store(settings: Settings, answers: Sequence[Answer], *, with_reports: bool = False) -> None:
    """Store what accounts have answered where nothing is stored yet."""
    destination, moment = open_destination(settings), max(moment for _, moment, _ in answers)
    with holding_lock(settings):
        with destination.working() as connection:
            destination.initialize(connection, tables_of(answers))
            if with_reports and destination.publishes_reports:
                publish_tables(connection, settings, moment, destination.write_audit)
        destination.publish(moment)
        destination.discard_work()
        discard_dlt_folder(settings)
