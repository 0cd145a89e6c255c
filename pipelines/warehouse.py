"""The DuckDB file: a private copy to work on, atomic publishing, views and comments, and what readers ask of it.

    data/warehouse.duckdb ─copy─▶ state/warehouse.duckdb ─dlt, views, comments, reports─▶ fsync ─rename─▶ published

Every run starts from the published file and replaces it as a whole. A reader keeps the file it opened; a run that
did not end leaves nothing that counts. The loader's private copy has the same name, since DuckDB names the catalog
after the file.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import DestinationFailed, SettingsError
from transforms import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from pipelines.settings import Settings

DATASET = "famulor"
REPORTS_SCHEMA = "reports"
_ROWS_WORTH_THREADS = 300_000
_STAGING = f"{DATASET}_staging"


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


def private_path(settings: Settings) -> Path:
    """Return where the loader's own copy is while it runs."""
    return settings.state_dir / settings.warehouse_path.name


def discard_private_copy(settings: Settings) -> None:
    """Throw away whatever lies at the loader's own place."""
    private = private_path(settings)
    for leftover in (private, _write_ahead_log(private)):
        leftover.unlink(missing_ok=True)


def start_private_copy(settings: Settings) -> None:
    """Copy the published file, if there is one, to the loader's own place, with its permissions."""
    if settings.warehouse_path.exists():
        shutil.copy(settings.warehouse_path, private_path(settings))


def prepare_for(connection: duckdb.DuckDBPyConnection, row_count: int) -> None:
    """Set the connection up for a load of that many rows: few are loaded with less work by one thread."""
    if row_count < _ROWS_WORTH_THREADS:
        connection.execute("SET threads = 1")
        # The file is written once, at the end; nothing could be recovered from a half of it.
        connection.execute("SET checkpoint_threshold = '1GB'")


def publish(settings: Settings) -> None:
    """Put the private file in the published one's place, atomically and durably."""
    private = private_path(settings)
    with private.open("rb") as file:
        os.fsync(file.fileno())
    private.replace(settings.warehouse_path)
    # A log that somebody's writing connection left beside the old file would be replayed on the new one.
    _write_ahead_log(settings.warehouse_path).unlink(missing_ok=True)
    directory = os.open(settings.data_dir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_ahead_log(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


@contextmanager
def open_private(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a writing connection to the private file. Raises DestinationFailed if the file is none of DuckDB's."""
    path = private_path(settings)
    try:
        connection = duckdb.connect(path)
    except duckdb.Error as error:
        raise DestinationFailed(
            f"{settings.warehouse_path} cannot be read ({_first_line(error)}); restore it from a backup, "
            "or move it away to start anew"
        ) from error
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # Rows have keys, not places; keeping their order costs memory.
        connection.execute("SET preserve_insertion_order = false")
        yield connection
        # Closing would write the log into the file too, but keep silent if it cannot.
        connection.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise DestinationFailed(f"DuckDB failed: {_first_line(error)}") from error
    finally:
        connection.close()


@contextmanager
def open_published(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a reading connection to the published file that can touch nothing else.

    Raises SettingsError if there is no file yet, DestinationFailed if it cannot be opened.
    """
    path = settings.warehouse_path
    if not path.exists():
        raise SettingsError(f"nothing is stored yet at {path}: run `sip-trunks run`, or `sip-trunks run --demo`")
    # No SQL of a reader writes a file, reads another one or loads an extension.
    try:
        connection = duckdb.connect(path, read_only=True, config={"enable_external_access": "false"})
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
    except duckdb.IOException as error:
        in_use = "lock" in str(error)
        raise DestinationFailed(
            f"{path} is open for writing in another program; close it there, or open it read-only"
            if in_use
            else f"{path} cannot be read: {_first_line(error)}"
        ) from error
    except duckdb.Error as error:
        raise DestinationFailed(f"{path} cannot be read: {_first_line(error)}") from error
    try:
        yield connection
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def quoted(identifier: str) -> str:
    """Return the identifier quoted for SQL; names of columns come from the API."""
    return '"' + identifier.replace('"', '""') + '"'


def _literal(value: object) -> str:
    """Return the value quoted for SQL. Parameters would be shorter, but DuckDB imports pandas to bind them."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


# ---------------------------------------------------------------------- what a run needs to know


def read_stored_accounts(connection: duckdb.DuckDBPyConnection) -> dict[str, StoredAccount]:
    """Return the last snapshot of each account that is stored, by account."""
    if not _exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
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


def read_stored_versions(connection: duckdb.DuckDBPyConnection, account: str) -> pa.Table:
    """Return `id` and `row_version` of the account's current trunks."""
    import pyarrow as pa

    if not _exists(connection, schema.SIP_TRUNKS.name):
        return pa.schema([("id", pa.int64()), ("row_version", pa.string())]).empty_table()
    query = f"SELECT id, row_version FROM {DATASET}.{schema.SIP_TRUNKS.name} WHERE account = {_literal(account)}"
    return connection.execute(query).to_arrow_table()


def read_drift(connection: duckdb.DuckDBPyConnection, since: datetime | None = None) -> list[SeenDrift]:
    """Return the deviations seen at or after `since`, by account, the latest first; without it, the current ones."""
    condition = "is_current" if since is None else f"last_seen_at >= {_literal(since)}"
    try:
        rows = connection.execute(
            f"SELECT * FROM main.{schema.DRIFT.name} WHERE {condition} "
            "ORDER BY account, last_seen_at DESC, column_name, kind, detail"
        ).fetchall()
    except duckdb.CatalogException:  # nothing is stored yet
        return []
    return [SeenDrift(*row) for row in rows]


def read_known_types(connection: duckdb.DuckDBPyConnection) -> dict[str, schema.ColumnType]:
    """Return the types that undeclared columns have got in earlier runs."""
    types: dict[str, schema.ColumnType] = {
        "VARCHAR": "text",
        "BIGINT": "bigint",
        "DOUBLE": "double",
        "BOOLEAN": "bool",
        "JSON": "json",
    }
    declared = {column.name for column in schema.SIP_TRUNKS.columns}
    columns = read_columns(connection, schema.SIP_TRUNKS.name)
    return {name: types[t] for name, t in columns.items() if name not in declared and t in types}


def read_columns(connection: duckdb.DuckDBPyConnection, table: str, place: str = DATASET) -> dict[str, str]:
    """Return the columns of a table or view and their types; none if there is none of that name."""
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
        f"AND schema_name = {_literal(place)} AND table_name = {_literal(table)} ORDER BY column_index"
    ).fetchall()
    return dict(rows)


def _exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(read_columns(connection, table))


def count_looks(settings: Settings, account: str) -> int:
    """Return how many snapshots of the account are published."""
    if not settings.warehouse_path.exists():
        return 0
    with open_published(settings) as connection:
        if not _exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
            return 0
        query = f"SELECT count(*) FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} WHERE account = {_literal(account)}"
        rows = connection.execute(query).fetchall()
        return int(rows[0][0])


# ---------------------------------------------------------------------- what a run writes beside dlt


def write_looks(connection: duckdb.DuckDBPyConnection, looks: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to `sip_trunk_snapshots` for answers that dlt has nothing to load from."""
    for look in looks:
        names = ", ".join(quoted(name) for name in look)
        values = ", ".join(_literal(value) for value in look.values())
        connection.execute(f"INSERT INTO {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} ({names}) VALUES ({values})")


def describe_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the file explain itself: views in `main`, comments on everything, dlt's staging tables gone."""
    connection.execute(f"DROP SCHEMA IF EXISTS {_STAGING} CASCADE")
    for table in schema.TABLES:
        stored = read_columns(connection, table.name)
        order = {column.name: place for place, column in enumerate(table.columns)}
        last = order.get("updated_at", len(order))  # undeclared fields follow the API's own
        names = sorted(stored, key=lambda name: order.get(name, last + 0.5))
        connection.execute(
            f"CREATE OR REPLACE VIEW main.{table.name} AS "
            f"SELECT {', '.join(map(quoted, names))} FROM {DATASET}.{table.name}"
        )
        _comment_on(connection, "TABLE", DATASET, table, list(stored))
        _comment_on(connection, "VIEW", "main", table, names)
    _create_drift_view(connection)
    # dlt stores its schema anew with every load, since the boundary of the history is part of it; the last one counts.
    versions = f"{DATASET}._dlt_version"
    connection.execute(f"DELETE FROM {versions} WHERE inserted_at < (SELECT max(inserted_at) FROM {versions})")


def _create_drift_view(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `main.drift`: an answer that was, to the byte, the last one has the deviations of that one."""
    connection.execute(
        f"""
        CREATE OR REPLACE VIEW main.{schema.DRIFT.name} AS
        WITH looks AS (
            SELECT account, snapshot_at,
                min(snapshot_at) OVER (PARTITION BY account, _dlt_load_id) AS read_at,
                max(snapshot_at) OVER (PARTITION BY account) AS latest_at
            FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}
        )
        SELECT drift.account, column_name, kind, detail,
            arg_max(row_count, looks.snapshot_at) AS row_count,
            min(looks.snapshot_at) AS first_seen_at,
            max(looks.snapshot_at) AS last_seen_at,
            max(looks.snapshot_at) = any_value(latest_at) AS is_current
        FROM {DATASET}.{schema.SCHEMA_DRIFT.name} AS drift
        JOIN looks ON looks.account = drift.account AND looks.read_at = drift.snapshot_at
        GROUP BY drift.account, column_name, kind, detail
        """
    )
    _comment_on(connection, "VIEW", "main", schema.DRIFT, [column.name for column in schema.DRIFT.columns])


def _comment_on(
    connection: duckdb.DuckDBPyConnection, kind: str, place: str, table: schema.Table, columns: Sequence[str]
) -> None:
    name = f"{place}.{table.name}"
    connection.execute(f"COMMENT ON {kind} {name} IS {_literal(table.grain)}")
    for column in columns:
        comment = _literal(describe_column(table, column))
        connection.execute(f"COMMENT ON COLUMN {name}.{quoted(column)} IS {comment}")


def describe_column(table: schema.Table, name: str) -> str:
    """Return the meaning of a column, declared or not."""
    for column in table.columns:
        if column.name == name:
            allowed = f" One of: {', '.join(column.allowed)}." if column.allowed else ""
            return column.meaning + allowed
    base = name.removesuffix(schema.VARIANT_SUFFIX)
    if base != name:
        return f"Values of {base} that did not fit its type, as text."
    return "A field of the API that the declaration does not know."


def write_report(
    connection: duckdb.DuckDBPyConnection, name: str, frame: pd.DataFrame, comment: str, columns: Mapping[str, str]
) -> None:
    """Write a report's frame as table `reports.<name>`, in place of the one before."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {REPORTS_SCHEMA}")
    connection.register("report_frame", frame)
    table = f"{REPORTS_SCHEMA}.{quoted(name)}"
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM report_frame")
    connection.unregister("report_frame")
    connection.execute(f"COMMENT ON TABLE {table} IS {_literal(comment)}")
    for column in frame.columns:
        connection.execute(f"COMMENT ON COLUMN {table}.{quoted(column)} IS {_literal(columns.get(column, ''))}")


def read_report(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[list[str], list[tuple[Any, ...]]] | None:
    """Return the columns and rows of a published report; None if the last run wrote none."""
    try:
        result = connection.execute(f"SELECT * FROM {REPORTS_SCHEMA}.{quoted(name)}")
    except duckdb.CatalogException:
        return None
    return [column[0] for column in result.description or ()], result.fetchall()


def has_reports(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the file has reports."""
    schemas = f"SELECT 1 FROM duckdb_schemas() WHERE schema_name = '{REPORTS_SCHEMA}' AND NOT internal"
    return bool(connection.execute(schemas).fetchall())


def drop_reports(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the reports: better none than those of an older snapshot."""
    connection.execute(f"DROP SCHEMA IF EXISTS {REPORTS_SCHEMA} CASCADE")


# ---------------------------------------------------------------------- frames for the transforms


def read_trunks(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> pd.DataFrame:
    """Return these columns of the current state. Grain: one row per (account, id), in that order.

    Raises SettingsError if a column is not stored.
    """
    stored = read_columns(connection, schema.SIP_TRUNKS.name, "main")
    unknown = [name for name in columns if name not in stored]
    if unknown:
        raise SettingsError(f"no column {unknown[0]!r} in sip_trunks; there are {', '.join(stored)}")
    names = ", ".join(quoted(name) for name in columns)
    result = connection.execute(f"SELECT {names} FROM main.{schema.SIP_TRUNKS.name} ORDER BY account, id")
    frame: pd.DataFrame = result.to_arrow_table().to_pandas()
    return frame
