"""The tables as SQL sees them, wherever they are kept: views and comments, and what runs and readers ask of them.

Every destination is read through a DuckDB connection that has the tables in schema `famulor`: the DuckDB file itself,
or views on the files of a lake, or copies of what a server has. The functions here are the same for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import UsageError
from sip_trunks.warehouse.sql import DATASET, TYPES_BY_SQL, exists, literal, quoted, read_columns
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa


OBSERVATIONS_QUERY = f"""
    SELECT account, snapshot_at, trunk_count, _dlt_load_id AS load_id,
        lag(snapshot_at) OVER (PARTITION BY account ORDER BY snapshot_at) AS previous_at,
        min(snapshot_at) OVER (PARTITION BY account) AS first_at,
        max(snapshot_at) OVER (PARTITION BY account) AS latest_at
    FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}
"""
"""The observations, each with the load of its response: an unchanged response has the load of the one before."""

DRIFT_QUERY = f"""
    WITH observations AS ({OBSERVATIONS_QUERY})
    SELECT drift.account, column_name, kind, detail,
        arg_max(row_count, observations.snapshot_at) AS row_count,
        min(observations.snapshot_at) AS first_seen_at,
        max(observations.snapshot_at) AS last_seen_at,
        max(observations.snapshot_at) = any_value(latest_at) AS is_current
    FROM {DATASET}.{schema.SCHEMA_DRIFT.name} AS drift
    JOIN observations ON observations.account = drift.account AND observations.load_id = drift._dlt_load_id
    GROUP BY drift.account, column_name, kind, detail
"""
"""The deviations, and when each was seen."""


@dataclass(frozen=True)
class StoredAccount:
    """What is stored of an account's last snapshot."""

    snapshot_at: datetime
    trunk_count: int
    body_sha256: str
    drift_count: int
    loader_version: str
    load_id: str


@dataclass(frozen=True)
class SeenDrift:
    """A deviation of an account's answers from the declaration, and when it was seen; a row of the view `drift`."""

    account: str
    column_name: str
    kind: str
    detail: str
    row_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    is_current: bool


def refuse_unknown_columns(columns: Sequence[str], stored: Collection[str]) -> None:
    """Raise UsageError if the trunks do not have these columns."""
    unknown = [name for name in columns if name not in stored]
    if unknown:
        raise UsageError(f"no column {unknown[0]!r} in sip_trunks; there are {', '.join(stored)}")


def count_trunks_by(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> pa.Table:
    """Return the number of current trunks, `trunk_count`, by these columns."""
    refuse_unknown_columns(columns, read_columns(connection, schema.SIP_TRUNKS.name))
    names = ", ".join(map(quoted, columns))
    query = f"SELECT {names}, count(*) AS trunk_count FROM {DATASET}.{schema.SIP_TRUNKS.name} GROUP BY {names}"
    return connection.execute(query).to_arrow_table()


# ---------------------------------------------------------------------- what a run needs to know


def read_stored_accounts(connection: duckdb.DuckDBPyConnection) -> dict[str, StoredAccount]:
    """Return the last snapshot of each account that is stored, by account."""
    if not exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
        return {}
    rows = connection.execute(
        f"""
        SELECT account, snapshot_at, trunk_count, body_sha256, drift_count, loader_version, _dlt_load_id
        FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}
        QUALIFY row_number() OVER (PARTITION BY account ORDER BY snapshot_at DESC) = 1
        ORDER BY account
        """
    ).fetchall()
    return {account: StoredAccount(*values) for account, *values in rows}


def read_spans(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[datetime, datetime, int]]:
    """Return by account when it was first and last seen, and how many trunks it had then."""
    if not exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
        return {}
    rows = connection.execute(
        "SELECT account, min(snapshot_at), max(snapshot_at), arg_max(trunk_count, snapshot_at) "
        f"FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} GROUP BY account ORDER BY account"
    ).fetchall()
    return {account: (first_at, last_at, count) for account, first_at, last_at, count in rows}


def read_stored_versions(connection: duckdb.DuckDBPyConnection, account: str) -> pa.Table:
    """Return `id` and `row_version` of the current trunks of an account that is stored."""
    query = f"SELECT id, row_version FROM {DATASET}.{schema.SIP_TRUNKS.name} WHERE account = {literal(account)}"
    return connection.execute(query).to_arrow_table()


def read_drift(connection: duckdb.DuckDBPyConnection, since: datetime | None = None) -> list[SeenDrift]:
    """Return the deviations seen at or after `since`, by account, the latest first; without it, the current ones."""
    condition = "is_current" if since is None else f"last_seen_at >= {literal(since)}"
    try:
        rows = connection.execute(
            f"SELECT * FROM ({DRIFT_QUERY}) WHERE {condition} "
            "ORDER BY account, last_seen_at DESC, column_name, kind, detail"
        ).fetchall()
    except duckdb.CatalogException:  # nothing is stored yet
        return []
    return [SeenDrift(*row) for row in rows]


def read_known_types(connection: duckdb.DuckDBPyConnection) -> dict[str, schema.ColumnType]:
    """Return the types that undeclared columns have got in earlier runs."""
    declared = {column.name for column in schema.SIP_TRUNKS.columns}
    columns = read_columns(connection, schema.SIP_TRUNKS.name)
    return {name: TYPES_BY_SQL[t] for name, t in columns.items() if name not in declared and t in TYPES_BY_SQL}


def read_free_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how much of the file is free blocks; nothing where the tables are in no file of DuckDB's."""
    query = "SELECT block_size * free_blocks FROM pragma_database_size() WHERE database_name = current_database()"
    rows = connection.execute(query).fetchall()
    return sum(free for (free,) in rows)


def count_observations(connection: duckdb.DuckDBPyConnection, account: str) -> int:
    """Return how many snapshots of the account are stored."""
    if not exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
        return 0
    query = f"SELECT count(*) FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} WHERE account = {literal(account)}"
    rows = connection.execute(query).fetchall()
    return int(rows[0][0])


# ---------------------------------------------------------------------- what a run writes beside dlt


def read_observation_span(connection: duckdb.DuckDBPyConnection) -> tuple[datetime, datetime] | None:
    """Return when an account was seen for the first and for the last time; None if none ever was."""
    query = f"SELECT min(snapshot_at), max(snapshot_at) FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}"
    ((first, last),) = connection.execute(query).fetchall()
    return (first, last) if first else None


def known_accounts(moment: datetime) -> str:
    """Return the SQL condition for rows of accounts with a stored observation at or before the moment."""
    observations = f"{DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}"
    return f"account IN (SELECT account FROM {observations} WHERE snapshot_at <= TIMESTAMPTZ {literal(moment)})"


def insert_observations(
    connection: duckdb.DuckDBPyConnection, table: str, observations: Sequence[Mapping[str, Any]]
) -> None:
    """Add rows to a table that is, or is like, `sip_trunk_snapshots`; all have the same columns."""
    names = ", ".join(quoted(name) for name in observations[0])
    rows = ", ".join(f"({', '.join(map(literal, row.values()))})" for row in observations)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES {rows}")
