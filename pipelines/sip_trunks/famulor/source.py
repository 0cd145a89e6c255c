"""The dlt source: one request fills all tables.

    account's trunks ─GET─▶ fetch_snapshot ─▶ parse_snapshot ─▶ sip_trunks             merge, cdc: the current state
                                                            ├▶ sip_trunks_history     merge, scd2: every version
                                                            ├▶ sip_trunk_allowed_ips  merge, cdc: allowlist entries
                                                            ├▶ sip_trunk_snapshots    merge, upsert: observations
                                                            └▶ schema_drift           merge, upsert: deviations

`famulor()` is the source for other dlt pipelines. The product's own load builds the same resources from snapshots that
were fetched and validated before (`build_resources`).
"""

import gc
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from dlt.extract.items_transform import MapItem

from sip_trunks.core.errors import ConfigError, UsageError
from sip_trunks.core.settings import DEFAULT_ACCOUNT, DEFAULT_BASE_URL, ApiSettings, checked_account
from sip_trunks.famulor.client import fetch_snapshot
from trunk_transforms import schema
from trunk_transforms.history.scd2 import VALIDITY_COLUMNS, with_validity
from trunk_transforms.parse.snapshot import (
    ParsedSnapshot,
    derive_entries,
    drift_table,
    join_tables,
    parse_snapshot,
    snapshot_table,
)
from trunk_transforms.schema.tables import JSON_FIELD

UNDECLARED_TYPES: tuple[schema.ColumnType, ...] = ("text", "bigint", "double", "bool", "json")
"""The column types of fields that are not declared. dlt uses the same names."""

_STRATEGIES = {"cdc", "scd2", "upsert"}
_HISTORIES = {resource.history for resource in schema.RESOURCES}
_ROWS_WORTH_COLLECTING = 100_000

UPSERT: Any = {"disposition": "merge", "strategy": "upsert"}
"""The write disposition of a table with a key, from which rows do not disappear."""

CONTRACT: Any = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}
"""New columns are added. A value of the wrong type fails the load before anything is written."""


def build_resources(
    read_table: Callable[[str], Sequence[pa.Table]], dispositions: Mapping[schema.Table, Any]
) -> list[DltResource]:
    """Return one dlt resource per table. On extraction, `read_table` gets the name and returns the rows."""

    def rows(name: str) -> Iterator[Any]:
        for table in read_table(name):
            yield with_hints(table)
            if len(table) >= _ROWS_WORTH_COLLECTING:
                # dlt leaves reference cycles that keep tables in memory, which the load needs.
                gc.collect(1)

    return [
        dlt.resource(
            rows,
            name=table.name,
            primary_key=() if table in _HISTORIES else table.primary_key,
            write_disposition=disposition,
            columns=_descriptions(table),
            schema_contract=CONTRACT,
        )(table.name)
        for table, disposition in dispositions.items()
    ]


def merging_snapshots(
    accounts: Mapping[schema.Resource, Sequence[str]], snapshot_at: datetime
) -> dict[schema.Table, Any]:
    """Return the write dispositions for complete snapshots of these lists and accounts.

    Rows that the accounts no longer have are deleted from the current state and closed in the history. Rows of other
    accounts are not changed. Versions begin and end at `snapshot_at`.
    """
    dispositions = dict.fromkeys(schema.loaded_tables(accounts), UPSERT)
    for resource, names in accounts.items():
        dispositions |= _merging(resource, f"account IN ({', '.join(map(_quoted, names))})", snapshot_at)
    return dispositions


def merging_changes(
    resources: Collection[schema.Resource], stale: Mapping[schema.Resource, str], snapshot_at: datetime
) -> dict[schema.Table, Any]:
    """Return the write dispositions for the new and changed rows of the snapshots of these lists.

    `stale` names tables in the destination with the account and key of the stored rows that were changed or removed.
    Only these are replaced, deleted and closed; all other rows have new keys and are added without a merge. Versions
    begin and end at `snapshot_at`.
    """
    dispositions: dict[schema.Table, Any] = dict.fromkeys(schema.loaded_tables(resources), "append")
    for resource, keys in stale.items():
        scope = f"(account, {{}}) IN (SELECT account, {resource.key} FROM {keys})"
        dispositions |= _merging(resource, scope, snapshot_at)
    return dispositions


def _merging(resource: schema.Resource, scope: str, snapshot_at: datetime) -> dict[schema.Table, Any]:
    """Return the write dispositions of a resource. `scope` is the SQL condition of the rows to merge, {} their key."""
    versions = {
        "validity_column_names": list(VALIDITY_COLUMNS),
        # Always set, because dlt stores the boundary of the last load in its schema.
        "boundary_timestamp": snapshot_at,
    }
    merging = {
        resource.current: _merge("cdc", scope.format(resource.key), skip_unchanged_rows=True),
        resource.history: _merge("scd2", scope.format(resource.key), **versions),
    }
    if resource.entries:
        merging[resource.entries.table] = _merge("cdc", scope.format(resource.entries.parent), skip_unchanged_rows=True)
    return merging


def _merge(strategy: str, scope: str, **more: Any) -> Any:
    by = {"destination_scope": scope, "row_version_column_name": "row_version"}
    return {"disposition": "merge", "strategy": strategy, **by, **more}


def with_hints(table: pa.Table) -> Any:
    """Return the table with hints for dlt that name its JSON columns."""
    json_columns = [field.name for field in table.schema if field.metadata == JSON_FIELD]
    hints: Any = {column: {"name": column, "data_type": "json"} for column in json_columns}
    return dlt.mark.with_hints(table, dlt.mark.make_hints(columns=hints)) if hints else table


def _quoted(account: str) -> str:
    # Braces are doubled twice, because `_merging` and dlt format the scope.
    return "'" + account.replace("'", "''").replace("{", "{{{{").replace("}", "}}}}") + "'"


def _descriptions(table: schema.Table) -> Any:
    # dlt warns of a described column without data, so one that may be absent is not described.
    return {
        column.name: {"name": column.name, "description": column.meaning}
        for column in table.columns
        if column.source == "api" or not (column.source == "dlt" or column.is_optional)
    }


def tables_of(
    snapshots: Sequence[ParsedSnapshot], observations: Sequence[Mapping[str, Any]], snapshot_at: datetime
) -> dict[str, list[pa.Table]]:
    """Return the rows of all tables for the snapshots of one load. `observations` are rows of `sip_trunk_snapshots`."""
    tables = {
        schema.SIP_TRUNK_SNAPSHOTS.name: [snapshot_table(observations)],
        schema.SCHEMA_DRIFT.name: [drift_table(snapshots, snapshot_at)],
    }
    for resource in dict.fromkeys(snapshot.resource for snapshot in snapshots):
        rows = join_tables(snapshot.rows for snapshot in snapshots if snapshot.resource is resource)
        tables[resource.current.name] = rows
        tables[resource.history.name] = [with_validity(table, snapshot_at) for table in rows]
        if resource.entries:
            tables[resource.entries.table.name] = [derive_entries(table, resource.entries) for table in rows]
    return tables


build_source = dlt.source(build_resources, name="famulor", schema_contract=CONTRACT)
"""`build_resources` as a source with the name and schema of `famulor`, for snapshots that were fetched before."""


@dlt.source(name="famulor", schema_contract=CONTRACT)
def famulor(
    api_token: TSecretStrValue | None = None,
    base_url: str = DEFAULT_BASE_URL,
    account: str = DEFAULT_ACCOUNT,
    attempts: int = ApiSettings.attempts,
    total_seconds: float = ApiSettings.total_seconds,
) -> Any:
    """Return all SIP trunks of one account as resources: current state, history, allowlists, snapshots, drift.

    dlt injects the configuration (`sources.famulor.api_token`, `sources.famulor.base_url`); without it, the token is
    that of the environment variable FAMULOR_API_KEY. The request is sent when
    the first resource is extracted, and fills all five. Stored trunks of this `account` that the response lacks are
    deleted from the current state and closed in the history. Unlike `sip-trunks run`, the source does not validate the
    response against the stored trunks.

    The pipeline raises ApiRefusedError, ApiUnreachableError and InvalidResponseError. Before the request, it raises
    ConfigError if the destination cannot merge, and UsageError if a hint or a step would drop or repeat rows.
    """
    token = api_token or os.environ.get("FAMULOR_API_KEY", "").strip()
    if not token:
        raise ConfigError("famulor() has no API token: set FAMULOR_API_KEY, or sources.famulor.api_token for dlt")
    settings = ApiSettings(base_url=base_url, attempts=attempts, total_seconds=total_seconds)
    snapshot_at = datetime.now(UTC)
    dispositions = merging_snapshots({schema.TRUNKS: [account]}, snapshot_at)

    @cache
    def tables() -> Mapping[str, Sequence[pa.Table]]:
        _check_pipeline({table.name: disposition for table, disposition in dispositions.items()})
        snapshot = fetch_snapshot(checked_account(account, token), settings)
        parsed = [
            parse_snapshot(
                records,
                account=account,
                resource=resource,
                known=_known_types(resource),
                undeclared_keys=records.undeclared_keys,
            )
            for resource, records in (snapshot.records or {}).items()
        ]
        trunk_count, drift_count = len(parsed[0].rows), sum(len(one.drift) for one in parsed)
        observation = snapshot.observation(
            snapshot_at, trunk_count=trunk_count, drift_count=drift_count, is_unchanged=None
        )
        return tables_of(parsed, [observation], snapshot_at)

    return build_resources(lambda name: tables()[name], dispositions)


def check_strategies(destination: Any) -> None:
    """Raise ConfigError if dlt's destination lacks a merge strategy: dlt would append every snapshot instead."""
    if not set(destination.capabilities().supported_merge_strategies or ()) >= _STRATEGIES:
        raise ConfigError(
            f"{destination.destination_name} does not support the merge strategies {', '.join(sorted(_STRATEGIES))}; "
            "use duckdb, parquet, or a database that supports them, such as postgres"
        )


def _check_pipeline(dispositions: Mapping[str, Any]) -> None:
    """Raise ConfigError or UsageError if the running pipeline would not store complete snapshots."""
    destination = dlt.current.pipeline().destination
    if destination is None:
        raise ConfigError("famulor() needs a pipeline with a destination that can merge, such as duckdb or postgres")
    check_strategies(destination)
    for name, resource in dlt.current.source().resources.selected.items():
        steps = resource._pipe.steps[1:]  # noqa: SLF001 - dlt has no public name for them
        if resource.write_disposition != dispositions[name] or not all(isinstance(step, MapItem) for step in steps):
            raise UsageError(
                f"{name} has another write_disposition, incremental, add_limit or add_filter, so rows of a complete "
                "snapshot would be dropped or repeated; remove it, and filter the stored tables instead"
            )


def _known_types(resource: schema.Resource) -> dict[str, schema.ColumnType]:
    """Return the types of the undeclared columns that the running pipeline has stored."""
    stored = dlt.current.source_schema().tables.get(resource.name, {}).get("columns", {})
    return {name: kind for name, hint in stored.items() for kind in UNDECLARED_TYPES if kind == hint.get("data_type")}
