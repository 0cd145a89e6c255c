"""What runs and readers ask of the stored tables, in SQL that works for every destination.

Each destination is read through a DuckDB connection with the tables in schema `famulor`. They are the tables of the
DuckDB file, views on the files of a lake, or copies of a server's tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import ConfigError, UsageError, name_some, suggest
from sip_trunks.core.settings import PSEUDONYMS
from sip_trunks.warehouse import sql
from sip_trunks.warehouse.columns import list_selected, show_columns
from sip_trunks.warehouse.sql import DATASET, DRIFT, OBSERVATIONS, TRUNKS, TYPES_BY_SQL, literal
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa

    from sip_trunks.core.settings import Settings

OBSERVATIONS_QUERY = f"""
    SELECT account, snapshot_at, trunk_count, _dlt_load_id AS load_id,
        lag(snapshot_at) OVER (PARTITION BY account ORDER BY snapshot_at) AS previous_at,
        min(snapshot_at) OVER (PARTITION BY account) AS first_at,
        max(snapshot_at) OVER (PARTITION BY account) AS latest_at
    FROM {OBSERVATIONS}
"""
"""The observations. An unchanged response has the load id of the previous one."""

DRIFT_QUERY = f"""
    WITH observations AS ({OBSERVATIONS_QUERY})
    SELECT drift.account, column_name, kind, detail,
        arg_max(row_count, observations.snapshot_at) AS row_count,
        min(observations.snapshot_at) AS first_seen_at,
        max(observations.snapshot_at) AS last_seen_at,
        max(observations.snapshot_at) = any_value(latest_at) AS is_current
    FROM {DRIFT} AS drift
    JOIN observations ON observations.account = drift.account AND observations.load_id = drift._dlt_load_id
    GROUP BY drift.account, column_name, kind, detail
"""
"""Each deviation with the first and last time that it was seen."""


@dataclass(frozen=True)
class StoredAccount:
    """The last stored snapshot of an account; `assignments_at` is the last one with assignments."""

    snapshot_at: datetime
    trunk_count: int
    body_sha256: str
    drift_count: int
    loader_version: str
    load_id: str
    assignments_sha256: str | None = None
    assignments_at: datetime | None = None


@dataclass(frozen=True)
class SeenDrift:
    """A row of the view `drift`: a deviation of an account's responses, and when it was seen."""

    account: str
    column_name: str
    kind: str
    detail: str
    row_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    is_current: bool


def refuse_unknown_columns(columns: Sequence[str], stored: Collection[str]) -> None:
    """Raise UsageError if one of the columns is not stored."""
    unknown = [name for name in columns if name not in stored]
    if unknown:
        raise UsageError(
            f"sip_trunks has no column {unknown[0]!r}; its columns: {', '.join(stored)}{suggest(unknown[0], stored)}"
        )


def refuse_unknown_accounts(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
    """Raise UsageError if one of the accounts is not stored."""
    stored = read_stored_accounts(connection) if names else {}
    for name in names:
        if name not in stored:
            known = name_some(list(stored), 20) or "no account"
            raise UsageError(f"no account named {name!r} is stored; stored: {known}{suggest(name, stored)}")


def count_trunks_by(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> pa.Table:
    """Return the number of current trunks by these columns, as `trunk_count`. Raises UsageError if one is unknown."""
    shown = show_columns(schema.SIP_TRUNKS, sql.read_columns(connection, schema.SIP_TRUNKS.name))
    refuse_unknown_columns(columns, shown)
    groups, names = ", ".join(shown[n] for n in columns), list_selected({name: shown[name] for name in columns})
    query = f"SELECT {names}, count(*) AS trunk_count FROM {TRUNKS} AS stored GROUP BY {groups}"
    return connection.execute(query).to_arrow_table()


# ---------------------------------------------------------------------- reads


def read_stored_accounts(connection: duckdb.DuckDBPyConnection) -> dict[str, StoredAccount]:
    """Return the last snapshot of each stored account, by account."""
    sha256 = "assignments_sha256"
    if sha256 not in sql.read_columns(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
        sha256 = "NULL"
    rows = _query_observations(
        connection,
        "SELECT account, snapshot_at, trunk_count, body_sha256, drift_count, loader_version, _dlt_load_id, "
        f"{sha256}, max(CASE WHEN {sha256} IS NOT NULL THEN snapshot_at END) OVER (PARTITION BY account) "
        f"FROM {OBSERVATIONS} QUALIFY row_number() OVER (PARTITION BY account ORDER BY snapshot_at DESC) = 1 "
        "ORDER BY account",
    )
    return {account: StoredAccount(*values) for account, *values in rows}


def read_spans(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[datetime, datetime, int]]:
    """Return the first observation, the last observation and its number of trunks, by account."""
    rows = _query_observations(
        connection,
        "SELECT account, min(snapshot_at), max(snapshot_at), arg_max(trunk_count, snapshot_at) "
        f"FROM {OBSERVATIONS} GROUP BY account ORDER BY account",
    )
    return {account: (first_at, last_at, count) for account, first_at, last_at, count in rows}


def read_observation_span(connection: duckdb.DuckDBPyConnection) -> tuple[datetime, datetime] | None:
    """Return the time of the first and of the last observation; None if there are no observations."""
    ((first, last),) = connection.execute(f"SELECT min(snapshot_at), max(snapshot_at) FROM {OBSERVATIONS}").fetchall()
    return (first, last) if first else None


def count_observations(connection: duckdb.DuckDBPyConnection, account: str) -> int:
    """Return the number of stored observations of the account."""
    query = f"SELECT count(*) FROM {OBSERVATIONS} WHERE account = {literal(account)}"
    return sum(count for (count,) in _query_observations(connection, query))


def _query_observations(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; no rows if no observation was ever stored."""
    return connection.execute(query).fetchall() if sql.exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name) else []


def read_stored_versions(
    connection: duckdb.DuckDBPyConnection, account: str, resource: schema.Resource = schema.TRUNKS
) -> pa.Table:
    """Return the key, as `id`, and `row_version` of the account's current rows."""
    table = f"{DATASET}.{resource.name}"
    query = f"SELECT {resource.key} AS id, row_version FROM {table} WHERE account = {literal(account)}"
    return connection.execute(query).to_arrow_table()


def read_numbers(connection: duckdb.DuckDBPyConnection, accounts: Collection[str]) -> pa.Table:
    """Return account, id and phone_number of the current trunks of these accounts."""
    names = ", ".join(map(literal, accounts))
    query = f"SELECT account, id, phone_number FROM {TRUNKS} WHERE account IN ({names})"
    return connection.execute(query).to_arrow_table()


def read_drift(connection: duckdb.DuckDBPyConnection, since: datetime | None = None) -> list[SeenDrift]:
    """Return the deviations seen at or after `since` (default: the current ones), by account, latest first."""
    condition = "is_current" if since is None else f"last_seen_at >= {literal(since)}"
    try:
        rows = connection.execute(
            f"SELECT * FROM ({DRIFT_QUERY}) WHERE {condition} "
            "ORDER BY account, last_seen_at DESC, column_name, kind, detail"
        ).fetchall()
    except duckdb.CatalogException:  # nothing is stored yet
        return []
    return [SeenDrift(*row) for row in rows]


def read_envelope_keys(connection: duckdb.DuckDBPyConnection, account: str) -> set[str]:
    """Return the undeclared keys beside the records that earlier snapshots of the account had."""
    if not sql.exists(connection, schema.SCHEMA_DRIFT.name):
        return set()
    query = f"SELECT column_name FROM {DATASET}.{schema.SCHEMA_DRIFT.name} WHERE account = {literal(account)}"
    return {name for (name,) in connection.execute(f"{query} AND kind = 'new_envelope_key'").fetchall()}


def read_known_types(
    connection: duckdb.DuckDBPyConnection, resource: schema.Resource = schema.TRUNKS
) -> dict[str, schema.ColumnType]:
    """Return the types of undeclared columns that earlier runs stored, by column."""
    declared, columns = resource.current.names, sql.read_columns(connection, resource.name)
    return {name: TYPES_BY_SQL[t] for name, t in columns.items() if name not in declared and t in TYPES_BY_SQL}


def read_free_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the size of the DuckDB file's free blocks in bytes; 0 for a connection without a file."""
    query = "SELECT block_size * free_blocks FROM pragma_database_size() WHERE database_name = current_database()"
    return sum(free for (free,) in connection.execute(query).fetchall())


def known_accounts(moment: datetime) -> str:
    """Return the SQL condition for rows of accounts with a stored observation at or before the moment."""
    return f"account IN (SELECT account FROM {OBSERVATIONS} WHERE snapshot_at <= TIMESTAMPTZ {literal(moment)})"


def refuse_unknown_fields(settings: Settings, connection: duckdb.DuckDBPyConnection | None) -> None:
    """Raise ConfigError if `pseudonymize` has a field that is neither declared nor stored: nothing would be replaced.

    `connection` shows the stored tables; None if there are none yet.
    """
    undeclared = [name for name in settings.pseudonymize if name not in PSEUDONYMS]
    if not undeclared:
        return
    tables = sql.read_tables(connection) if connection else {}
    stored = {name for resource in schema.RESOURCES for name in tables.get(resource.name, ())}
    for name in undeclared:
        if name in stored or any(re.fullmatch(f"{re.escape(name)}_[0-9a-f]{{8}}", other) for other in stored):
            continue
        near = get_close_matches(name, [*PSEUDONYMS, *sorted(stored)], 1, cutoff=0.5)
        hint = f": did you mean {near[0]}?" if near else f", unlike {', '.join(PSEUDONYMS)}."
        raise ConfigError(
            f"sip_trunks.pseudonymize has {name!r}, which is neither a declared nor a stored field{hint} A field that "
            "the API adds can be listed once a run has stored it"
        )
