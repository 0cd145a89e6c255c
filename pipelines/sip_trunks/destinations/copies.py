"""Copies of a destination's tables in a DuckDB connection: how readers and runs see a server or a Delta lake.

Such a destination has no commit over all of its tables. A load counts from its rows in `sip_trunk_snapshots`, which
are written last; until then, the other tables may be ahead of them.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import duckdb

from sip_trunks.warehouse import sql
from sip_trunks.warehouse.sql import quoted
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import pyarrow as pa

    from sip_trunks.core.settings import Settings

OBSERVATIONS = schema.SIP_TRUNK_SNAPSHOTS.name
OBSERVED_VERSIONS_QUERY = """
    SELECT versions.account, versions.id, versions.row_version
    FROM {history} AS versions
    JOIN (SELECT account, MAX(snapshot_at) AS seen_at FROM {observations} GROUP BY account) AS seen
    ON seen.account = versions.account
    WHERE versions.valid_from <= seen.seen_at AND (versions.valid_to IS NULL OR versions.valid_to > seen.seen_at)
"""
"""The trunks as of the last snapshot that counts, without the changes of an interrupted run."""


class StoredTables(Protocol):
    """The tables of a destination, which can be fetched one by one."""

    def columns_of(self, table: str) -> dict[str, schema.ColumnType]:
        """Return the columns of a table and their types; none if the table does not exist."""

    def fetch(self, table: str, columns: Collection[str]) -> pa.Table:
        """Return these columns of a table; JSON is text."""

    def fetch_observed_versions(self) -> pa.Table:
        """Return account, id and row_version of the trunks as of the last snapshot that counts."""


def has_observations(tables: StoredTables) -> bool:
    """Whether a load was completed."""
    return bool(tables.columns_of(OBSERVATIONS)) and len(tables.fetch(OBSERVATIONS, ["account"])) > 0


@contextmanager
def connecting() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an empty connection for copies."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE SCHEMA {sql.DATASET}")
        yield connection


def copy_for_run(connection: duckdb.DuckDBPyConnection, tables: StoredTables) -> None:
    """Copy what a run compares with: of the trunks, only the columns that show whether they have changed."""
    if tables.columns_of(schema.SIP_TRUNKS.name):
        _write_copy(connection, tables, schema.SIP_TRUNKS.name, tables.fetch_observed_versions())
    for name in (OBSERVATIONS, schema.SCHEMA_DRIFT.name):
        _copy(connection, tables, name)


def distrust_observations(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the run read every response again, because an interrupted run has changed some of the tables."""
    connection.execute(f"UPDATE {sql.DATASET}.{OBSERVATIONS} SET loader_version = '? ' || loader_version")


def copy_for_readers(
    connection: duckdb.DuckDBPyConnection, settings: Settings, tables: StoredTables, names: Sequence[str]
) -> None:
    """Copy these tables, create the views, and confine the connection to them."""
    from sip_trunks.core.provider_catalog import read_provider_catalog
    from sip_trunks.warehouse.views import create_views

    # The observations first: whatever they list is then in the copies of the other tables.
    for name in sorted(names, key=lambda name: name != OBSERVATIONS):
        _copy(connection, tables, name)
    create_views(connection, partial(read_provider_catalog, settings))
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _copy(connection: duckdb.DuckDBPyConnection, tables: StoredTables, name: str) -> None:
    columns = tables.columns_of(name)
    if columns:
        _write_copy(connection, tables, name, tables.fetch(name, list(columns)))


def _write_copy(connection: duckdb.DuckDBPyConnection, tables: StoredTables, name: str, rows: pa.Table) -> None:
    """Write the rows of a table into the connection; columns that the rows lack are null."""
    import pyarrow as pa

    types = {column: schema.SQL_TYPES[kind] for column, kind in tables.columns_of(name).items()}
    columns = rows.column_names
    definitions = ", ".join(f"{quoted(column)} {kind}" for column, kind in types.items())
    connection.execute(f"CREATE OR REPLACE TABLE {sql.DATASET}.{quoted(name)} ({definitions})")
    connection.register("copied", rows)
    # Lists become JSON, and JSON loses its blanks, which every database sets in its own way.
    functions = {
        column: "to_json" if isinstance(rows.schema.field(column).type, pa.ListType) else "json" for column in columns
    }
    compact = ", ".join(f"{functions[c]}({quoted(c)})" if types[c] == "JSON" else quoted(c) for c in columns)
    names = ", ".join(map(quoted, columns))
    connection.execute(f"INSERT INTO {sql.DATASET}.{quoted(name)} ({names}) SELECT {compact} FROM copied")
    connection.unregister("copied")
