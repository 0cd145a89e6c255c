"""Copies of a destination's tables in a DuckDB connection, for readers and runs of a server or a Delta lake.

Such a destination has no commit over all tables. A load is complete once its rows are in `sip_trunk_snapshots`, which
are written last; until then, the other tables may be ahead of it.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

import duckdb

from sip_trunks.core.errors import nothing_stored
from sip_trunks.destinations.base import Destination
from sip_trunks.destinations.dlt_pipeline import using_dlt
from sip_trunks.warehouse import sql, state
from sip_trunks.warehouse.sql import quoted
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from sip_trunks.core.settings import Settings
    from sip_trunks.warehouse.rewriting import Rewriting

Columns: TypeAlias = "dict[str, schema.ColumnType]"
"""The types of the columns of a table, by name."""

OBSERVATIONS = schema.SIP_TRUNK_SNAPSHOTS.name
TABLES = sorted((table.name for table in schema.EVERY_TABLE), key=lambda name: name != OBSERVATIONS)
"""The tables, the observations first: copies of the other tables then have all that they list."""


class StoredTables(Protocol):
    """The tables of a destination, which can be fetched one by one."""

    def columns_of(self, table: str) -> Columns:
        """Return the columns of a table and their types; none if the table does not exist."""

    def fetch(self, table: str, columns: Collection[str] | None = None) -> pa.Table:
        """Return these columns of a table (default: all); JSON is text."""

    def fetch_observed_versions(self, resource: schema.Resource) -> pa.Table:
        """Return account, id and row_version of the rows as of the last complete snapshot of each account."""


@dataclass(frozen=True)
class CopiedDestination(Destination):
    """A destination that readers and runs see as copies of its tables."""

    settings: Settings
    publishes_reports = False
    is_atomic = False

    @property
    def stored_tables(self) -> StoredTables:
        """The tables, for use inside `using_dlt`."""
        raise NotImplementedError

    def holding_lock(self) -> AbstractContextManager[None]:
        """Exclude runs of other machines, if the destination has locks for that. Raises RunActiveError."""
        return nullcontext()

    def is_half_done(self) -> bool:
        """Whether a load was interrupted, so that some tables are ahead of `sip_trunk_snapshots`."""
        raise NotImplementedError

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to copies of the tables that a run compares with. Raises RunActiveError."""
        with using_dlt(self.settings), connecting() as connection, self.holding_lock():
            self.copy_for_run(connection)
            if sql.exists(connection, OBSERVATIONS) and self.is_half_done():
                # No response counts as unchanged, because the interrupted load has changed some of the tables.
                connection.execute(f"UPDATE {sql.DATASET}.{OBSERVATIONS} SET loader_version = '? ' || loader_version")
            yield connection

    def copy_for_run(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Copy the tables that a run compares with; of a resource, only the columns that show which rows changed."""
        self.__dict__.pop("stored_tables", None)  # they may keep the columns of their first access
        tables = self.stored_tables
        # Without observations, an import was killed, and the rows that it wrote do not count.
        for resource in schema.RESOURCES if tables.columns_of(OBSERVATIONS) else ():
            if columns := tables.columns_of(resource.name):
                _write_copy(connection, resource.name, columns, tables.fetch_observed_versions(resource))
        self._copy(connection, (OBSERVATIONS, schema.SCHEMA_DRIFT.name, *(table.name for table in schema.AUDIT_TABLES)))

    def _copy(self, connection: duckdb.DuckDBPyConnection, names: Iterable[str], json_as: str = "json") -> None:
        """Copy those of these tables that exist, in this order."""
        for name in names:
            if columns := self.stored_tables.columns_of(name):
                _write_copy(connection, name, columns, self.stored_tables.fetch(name), json_as)

    def prepare(self, connection: duckdb.DuckDBPyConnection, rewriting: Rewriting) -> None:
        """Prepare a rewriting in the connection, from copies of the tables that it needs."""
        self._copy(connection, rewriting.source_tables, json_as="")  # `json` would round large numbers
        rewriting.prepare(connection)

    def read_numbers(self, _connection: duckdb.DuckDBPyConnection, accounts: Collection[str]) -> pa.Table:
        """Return account, id and phone_number of these accounts' current trunks; a run has no copy of the numbers."""
        with using_dlt(self.settings), connecting() as connection:
            self._copy(connection, [schema.TRUNKS.name])
            return state.read_numbers(connection, accounts)

    def exists(self) -> bool:
        """Whether a load was completed. Raises DestinationError if the destination cannot be reached."""
        with using_dlt(self.settings):
            tables = self.stored_tables
            return bool(tables.columns_of(OBSERVATIONS)) and len(tables.fetch(OBSERVATIONS, ["account"])) > 0

    @contextmanager
    def reading(self, tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to copies of these tables and to the views, which can open nothing else.

        Raises NothingStoredError if nothing is stored yet.
        """
        from sip_trunks.warehouse.provider_catalog import read_provider_catalog
        from sip_trunks.warehouse.views import create_views

        if not self.exists():
            raise nothing_stored(self.location)
        with using_dlt(self.settings), connecting() as connection:
            self._copy(connection, [name for name in TABLES if tables is None or name in tables])
            create_views(connection, partial(read_provider_catalog, self.settings))
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection


@contextmanager
def connecting() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an empty connection for copies."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE SCHEMA {sql.DATASET}")
        yield connection


def _write_copy(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Columns, rows: pa.Table, json_as: str = "json"
) -> None:
    """Write the rows of a table with these columns into the connection; columns that the rows lack are null."""
    import pyarrow as pa

    values = []
    for column, kind in columns.items():
        value = quoted(column) if column in rows.column_names else "NULL"
        if schema.SQL_TYPES[kind] == "JSON" and value != "NULL":
            # Lists become JSON. `json` removes blanks, which each database adds in its own way.
            is_list = isinstance(rows.schema.field(column).type, pa.ListType)
            value = f"{'to_json' if is_list else json_as}({value})"
        values.append(f"{value}::{schema.SQL_TYPES[kind]} AS {quoted(column)}")
    sql.write_table(connection, f"{sql.DATASET}.{table}", rows, f"SELECT {', '.join(values)} FROM given_rows")
