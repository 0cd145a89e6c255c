"""The dlt source: one request feeds all tables.

    account's trunks ─GET─▶ fetch_snapshot ─▶ parse_snapshot ─▶ sip_trunks             merge, cdc: the current state
                                                            ├▶ sip_trunks_history     merge, scd2: every version
                                                            ├▶ sip_trunk_allowed_ips  merge, cdc: allowlist entries
                                                            ├▶ sip_trunk_snapshots    merge, upsert: proof of looking
                                                            └▶ schema_drift           merge, upsert: deviations

`famulor()` is what others import into their own pipeline; the product's own load builds the same resources from
snapshots that it has fetched and judged before (`build_resources`).
"""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import dlt

from sip_trunks.core.settings import DEFAULT_ACCOUNT, DEFAULT_BASE_URL, Account, ApiSettings
from sip_trunks.famulor.client import fetch_snapshot
from trunk_transforms import schema
from trunk_transforms.history.scd2 import VALIDITY_COLUMNS, with_validity
from trunk_transforms.parse.snapshot import ParsedSnapshot, drift_table, join_tables, parse_snapshot, snapshot_table
from trunk_transforms.schema.tables import JSON_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from dlt.extract import DltResource


UNDECLARED_TYPES: dict[str, schema.ColumnType] = {
    "text": "text",
    "bigint": "bigint",
    "double": "double",
    "bool": "bool",
    "json": "json",
}
"""The types that a field of the API gets which the declaration does not know, by dlt's names."""

_ROWS_WORTH_COLLECTING = 100_000

CONTRACT: Any = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}
"""New columns are welcome; a type that slipped past the decoder fails before anything is written."""


def build_resources(
    read_table: Callable[[str], Sequence[pa.Table]], dispositions: Mapping[schema.Table, Any]
) -> list[DltResource]:
    """Return one dlt resource per table; `read_table` is called with its name when it is extracted."""

    def rows(name: str) -> Iterator[Any]:
        for table in read_table(name):
            yield with_hints(table)
            if len(table) >= _ROWS_WORTH_COLLECTING:
                # dlt leaves frames behind that hold each other and what they were given; the load needs the memory.
                gc.collect(1)

    return [
        dlt.resource(
            rows,
            name=table.name,
            primary_key=() if table is schema.SIP_TRUNKS_HISTORY else table.primary_key,
            write_disposition=disposition,
            columns=_descriptions(table),
            schema_contract=CONTRACT,
        )(table.name)
        for table, disposition in dispositions.items()
    ]


ADDING: Mapping[schema.Table, Any] = dict.fromkeys(schema.TABLES, "append")
"""For rows of which none is stored under its key: there is nothing to merge them with."""


def merging_snapshots(accounts: Sequence[str], snapshot_at: datetime) -> dict[schema.Table, Any]:
    """Return the write dispositions for whole snapshots.

    What `accounts` no longer have is deleted from the current state and closed in the history, nobody else's rows
    are touched. Versions begin and end at `snapshot_at`.
    """
    scope = f"account IN ({', '.join(_quoted(name) for name in accounts)})"
    upsert: Any = {"disposition": "merge", "strategy": "upsert"}
    return {
        schema.SIP_TRUNKS: _current(scope),
        schema.SIP_TRUNKS_HISTORY: _versions(scope, snapshot_at),
        schema.SIP_TRUNK_ALLOWED_IPS: _current(scope),
        schema.SIP_TRUNK_SNAPSHOTS: upsert,
        schema.SCHEMA_DRIFT: upsert,
    }


def merging_changes(stale: str, snapshot_at: datetime) -> dict[schema.Table, Any]:
    """Return the write dispositions for those trunks of the snapshots that are new or have changed.

    `stale` is a table of the destination: account and trunk_id of the stored trunks that have changed or are gone.
    They alone are replaced, deleted and closed. Versions begin and end at `snapshot_at`.
    """
    trunks, entries = (f"(account, {key}) IN (SELECT account, trunk_id FROM {stale})" for key in ("id", "trunk_id"))
    return {
        **ADDING,
        schema.SIP_TRUNKS: _current(trunks),
        schema.SIP_TRUNKS_HISTORY: _versions(trunks, snapshot_at),
        schema.SIP_TRUNK_ALLOWED_IPS: _current(entries),
    }


def _current(scope: str) -> Any:
    return {
        "disposition": "merge",
        "strategy": "cdc",
        "destination_scope": scope,
        "skip_unchanged_rows": True,
        "row_version_column_name": "row_version",
    }


def _versions(scope: str, snapshot_at: datetime) -> Any:
    return {
        "disposition": "merge",
        "strategy": "scd2",
        "destination_scope": scope,
        "row_version_column_name": "row_version",
        "validity_column_names": list(VALIDITY_COLUMNS),
        # dlt keeps the boundary of the last load in the stored schema: every load has to say its own.
        "boundary_timestamp": snapshot_at,
    }


def with_hints(table: pa.Table) -> Any:
    """Return the table with what dlt has to be told about it: which text is JSON."""
    json_columns = [field.name for field in table.schema if field.metadata == JSON_FIELD]
    hints: Any = {column: {"name": column, "data_type": "json"} for column in json_columns}
    return dlt.mark.with_hints(table, dlt.mark.make_hints(columns=hints)) if hints else table


def _quoted(account: str) -> str:
    # dlt formats the scope, hence the doubled braces.
    return "'" + account.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"


def _descriptions(table: schema.Table) -> Any:
    return {
        column.name: {"name": column.name, "description": column.meaning}
        for column in table.columns
        if column.source != "dlt"
    }


def tables_of(
    snapshots: Sequence[ParsedSnapshot], observations: Sequence[Mapping[str, Any]], snapshot_at: datetime
) -> dict[str, list[pa.Table]]:
    """Return the rows of all tables for the snapshots of one load; `observations` are the rows of `sip_trunk_snapshots`."""
    trunks = join_tables(snapshot.trunks for snapshot in snapshots)
    return {
        schema.SIP_TRUNKS.name: trunks,
        schema.SIP_TRUNKS_HISTORY.name: [with_validity(table, snapshot_at) for table in trunks],
        schema.SIP_TRUNK_ALLOWED_IPS.name: join_tables(snapshot.allowed_ips for snapshot in snapshots),
        schema.SIP_TRUNK_SNAPSHOTS.name: [snapshot_table(observations)],
        schema.SCHEMA_DRIFT.name: [drift_table(snapshots, snapshot_at)],
    }


build_source = dlt.source(build_resources, name="famulor", schema_contract=CONTRACT)
"""`build_resources` as a source of the same name and schema as `famulor`, for snapshots that were fetched before."""


@dlt.source(name="famulor", schema_contract=CONTRACT)
def famulor(
    api_token: str = dlt.secrets.value,
    base_url: str = DEFAULT_BASE_URL,
    account: str = DEFAULT_ACCOUNT,
    attempts: int = ApiSettings.attempts,
    total_seconds: float = ApiSettings.total_seconds,
) -> Any:
    """All SIP trunks of one account: current state, history, allowlists, snapshots, drift.

    Configured by dlt's own injection (`sources.famulor.api_token`, `sources.famulor.base_url`). The request is sent
    when the first resource is extracted and feeds all five. What is in the destination beyond this answer is deleted
    or closed, in this `account` only; a caller who wants to refuse suspicious answers looks at them first, as
    `sip-trunks run` does. Raises ApiRefusedError, ApiUnreachableError and InvalidResponseError out of the pipeline.
    """
    settings = ApiSettings(base_url=base_url, attempts=attempts, total_seconds=total_seconds)
    looked_at = datetime.now(UTC)

    @cache
    def tables() -> Mapping[str, Sequence[pa.Table]]:
        snapshot = fetch_snapshot(Account(account, api_token), settings)
        read = parse_snapshot(snapshot.records or (), account=account, known=_known_types())
        row = snapshot.observation(
            looked_at, trunk_count=len(read.trunks), drift_count=len(read.drift), is_unchanged=None
        )
        return tables_of([read], [row], looked_at)

    return build_resources(lambda name: tables()[name], merging_snapshots([account], looked_at))


def _known_types() -> dict[str, schema.ColumnType]:
    """The types that undeclared columns got in earlier loads of the pipeline that is running."""
    stored = dlt.current.source_schema().tables.get(schema.SIP_TRUNKS.name, {}).get("columns", {})
    types = {name: str(hint.get("data_type")) for name, hint in stored.items()}
    return {name: UNDECLARED_TYPES[hint] for name, hint in types.items() if hint in UNDECLARED_TYPES}
