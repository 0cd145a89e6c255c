"""A database server: any database that dlt can merge into, by dlt's name for it (`postgres`, `bigquery`, …).

    snapshots ─dlt merge, table by table─▶ schema `famulor` on the server ─then the rows of sip_trunk_snapshots

A server cannot make all tables visible at once: dlt loads each table in a transaction of its own. A load counts from
its rows in `sip_trunk_snapshots`, which are written last; the next run repeats a load that was interrupted before.
Readers get copies of the tables that they ask for (copies.py).
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import ConfigError, DestinationError, RunActiveError, nothing_stored
from sip_trunks.destinations import copies
from sip_trunks.destinations.base import Compacted, ReclaimableSpace
from sip_trunks.destinations.copies import OBSERVATIONS
from sip_trunks.destinations.dlt_pipeline import (
    KEEPING_LOAD_IDS,
    load_with_dlt,
    merging_source,
    using_dlt,
    writing_source,
)
from sip_trunks.warehouse import sql, state
from sip_trunks.warehouse.sql import quoted
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    import duckdb
    import pyarrow as pa
    from dlt.extract import DltSource

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.dlt_pipeline import Loaded
    from trunk_transforms.parse.batch import SnapshotBatch

_STRATEGIES = {"cdc", "scd2", "upsert"}
_TABLES = [table.name for table in schema.TABLES]
_OUR_SCHEMA = "schema_name = 'famulor'"
_DLT_CONFIG = {
    # dlt would leave a copy of the last load, phone numbers included, in its staging schema.
    "LOAD__TRUNCATE_STAGING_DATASET": "true",
}


@dataclass(frozen=True)
class ServerTables:
    """The tables of a dlt dataset on a server; their columns are those of the first access."""

    dataset: Any

    def columns_of(self, table: str) -> dict[str, schema.ColumnType]:
        """Return the columns of a table and their types; none if the table does not exist."""
        if table not in self.dataset.tables:
            return {}
        return {name: hint["data_type"] for name, hint in self.dataset.schema.tables[table]["columns"].items()}

    def fetch(self, table: str, columns: Collection[str]) -> pa.Table:
        """Return these columns of a table; JSON is text."""
        types = self.columns_of(table)
        # A number in JSON may exceed every column type; text carries it unchanged.
        selected = ", ".join(
            f"CAST({quoted(name)} AS TEXT) AS {quoted(name)}" if types[name] == "json" else quoted(name)
            for name in columns
        )
        return self.query(f"SELECT {selected} FROM {quoted(table)}")

    def fetch_observed_versions(self) -> pa.Table:
        """Return account, id and row_version of the trunks as of the last snapshot that counts."""
        names = {"history": schema.SIP_TRUNKS_HISTORY.name, "observations": OBSERVATIONS}
        return self.query(copies.OBSERVED_VERSIONS_QUERY.format(**names))

    def query(self, query: str) -> pa.Table:
        """Return the result of a query on the server."""
        table: pa.Table = self.dataset(query).arrow()
        return table


@dataclass(frozen=True)
class DatabaseServer:
    """A dataset on a server that dlt knows by name, as a destination."""

    settings: Settings
    publishes_reports = False
    is_atomic = False
    max_batch_trunks = None
    alternative = None
    written_folders = ()
    residual_data = "the server's own files until it vacuums them, its log and its backups"

    @property
    def name(self) -> str:
        """Dlt's name of the destination."""
        return self.settings.destination

    @property
    def location(self) -> str:
        """The destination and the dataset."""
        return f"{self.name}, dataset {sql.DATASET}"

    @cached_property
    def _dlt_destination(self) -> Any:
        """Dlt's destination, for use inside `using_dlt`. Raises ConfigError if it is unknown or cannot merge."""
        from dlt.common.destination import Destination
        from dlt.common.destination.exceptions import UnknownDestinationModule

        try:
            destination: Any = Destination.from_reference(self.name)
            strategies = set(destination.capabilities().supported_merge_strategies or ())
        except UnknownDestinationModule:
            raise ConfigError(
                f"there is no destination {self.name!r}; choose duckdb, parquet, or a database of dlt such as postgres"
            ) from None
        if not strategies >= _STRATEGIES:
            raise ConfigError(
                f"{self.name} cannot merge as the history needs it (strategies {', '.join(sorted(_STRATEGIES))}); "
                "choose duckdb, parquet, or a database that can, such as postgres"
            )
        return _postgres() if self.name == "postgres" else destination

    @cached_property
    def _tables(self) -> ServerTables:
        destination = self._dlt_destination
        import dlt

        return ServerTables(dlt.dataset(destination, sql.DATASET))

    def exists(self) -> bool:
        """Whether a load was completed. Raises DestinationError if the server does not respond."""
        with using_dlt(self.settings):
            return copies.has_observations(self._tables)

    def size_bytes(self) -> int | None:
        """Return None: every database measures this differently."""
        return None

    def needed_bytes(self) -> int:
        """Return 0: only dlt's files of the load are written to this machine."""
        return 0

    def is_work_pending(self) -> bool:
        """Return False: the next run repeats whatever an interrupted run has done."""
        return False

    def discard_work(self) -> None:
        """Do nothing: the next run completes what an interrupted run has left on the server."""

    # ------------------------------------------------------------------ writing

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to copies of what a run compares with."""
        with using_dlt(self.settings), copies.connecting() as connection, self._holding_lock():
            self._copy_for_run(connection)
            if sql.exists(connection, OBSERVATIONS) and self._is_half_done():
                copies.distrust_observations(connection)
            yield connection

    def _copy_for_run(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.__dict__.pop("_tables", None)  # it keeps the columns of its first access
        copies.copy_for_run(connection, self._tables)

    @contextmanager
    def _holding_lock(self) -> Iterator[None]:
        """Keep out the runs of other machines, if the database has locks for that. Raises RunActiveError."""
        if self.name != "postgres":
            yield
            return
        with self._tables.dataset.sql_client as client:
            ((is_free,),) = client.execute_sql("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", sql.DATASET)
            if not is_free:
                raise RunActiveError(f"another run is loading into {self.location}")
            yield

    def load(self, connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Merge the snapshots with dlt, then write their rows of `sip_trunk_snapshots`. Raises DestinationError."""
        for snapshot in batch.snapshots:
            _refuse_nul(snapshot.trunks)
        stored = state.read_stored_accounts(connection)
        is_half_done = self._is_half_done()
        loaded = self._run_dlt(partial(merging_source, replace(batch, observations=())), _DLT_CONFIG)
        rows = [dict(row) | {"_dlt_load_id": loaded.load_id} for row in batch.observations]
        self.write_observations(connection, rows)
        # Accounts that are no longer configured are not loaded again; the repair does not wait for them.
        expected = set(stored) & {account.name for account in self.settings.accounts}
        if not is_half_done or expected <= set(batch.accounts):
            self._delete_old_schemas(loaded.schema_hash, with_staging=True)

    def _is_half_done(self) -> bool:
        """Whether a load was interrupted.

        Before every load, dlt stores its schema once more, because the load's moment is part of it. The earlier ones
        are deleted at the end of a load.
        """
        with using_dlt(self.settings):
            if not self._tables.columns_of(OBSERVATIONS):
                return False
            return len(self._tables.query(f"SELECT version_hash FROM _dlt_version WHERE {_OUR_SCHEMA}")) > 1

    def _delete_old_schemas(self, current: str, *, with_staging: bool) -> None:
        """Delete the schemas that dlt stored before the current one: no load is half done."""
        with using_dlt(self.settings), self._tables.dataset.sql_client as client:
            tables = [client.make_qualified_table_name("_dlt_version")]
            if with_staging:
                with client.with_staging_dataset():
                    tables.append(client.make_qualified_table_name("_dlt_version"))
            for table in tables:
                client.execute_sql(f"DELETE FROM {table} WHERE {_OUR_SCHEMA} AND version_hash <> %s", current)

    def initialize(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Load whole tables with dlt, `sip_trunk_snapshots` last. Raises DestinationError."""
        config = _DLT_CONFIG | KEEPING_LOAD_IDS
        rest = {name: tables[name] for name in _TABLES if name != OBSERVATIONS}
        for part in (rest, {OBSERVATIONS: tables[OBSERVATIONS]}):
            for table in part.values():
                _refuse_nul(table)
            # This replaces whatever an interrupted run has left.
            loaded = self._run_dlt(partial(writing_source, part, replaced=list(part)), config)
        self._delete_old_schemas(loaded.schema_hash, with_staging=False)
        self._copy_for_run(connection)

    def _run_dlt(self, source: Callable[[], DltSource], config: Mapping[str, str]) -> Loaded:
        # For Arrow tables dlt may prefer CSV, which turns empty text into nulls.
        prefers = self._dlt_destination.capabilities().preferred_loader_file_format
        loader_format = prefers if prefers == "insert_values" else None
        return load_with_dlt(self.settings, lambda: self._dlt_destination, source, config, loader_format)

    def write_observations(self, connection: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to `sip_trunk_snapshots` in one transaction; the connection then has copies of what is stored."""
        with using_dlt(self.settings), self._tables.dataset.sql_client as client, client.begin_transaction():
            table = client.make_qualified_table_name(OBSERVATIONS)
            for row in rows:
                names = ", ".join(map(client.escape_column_name, row))
                values = ", ".join(["%s"] * len(row))
                client.execute_sql(f"INSERT INTO {table} ({names}) VALUES ({values})", *row.values())
        self._copy_for_run(connection)

    def publish(self, snapshot_at: datetime) -> None:
        """Do nothing: readers see what is loaded."""

    # ------------------------------------------------------------------ maintenance

    @contextmanager
    def compacting(self, deletions: Mapping[str, str], _moment: datetime) -> Iterator[Compacted]:
        """Delete these rows in one transaction, and yield a connection to copies of what a run compares with."""
        with self.working() as connection:
            with using_dlt(self.settings):
                counts = self._delete(deletions)
            self._copy_for_run(connection)
            yield Compacted(connection, counts)

    def _delete(self, deletions: Mapping[str, str]) -> dict[str, int]:
        """Delete rows, and the staged rows of an interrupted load; return the number of deleted rows by table.

        Without transactions, the observations have to go last: as long as they exist, the command can be repeated.
        """
        stored = [name for name in _TABLES if name in deletions and self._tables.columns_of(name)]
        stored.sort(key=lambda name: name == OBSERVATIONS)
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        counts: dict[str, int] = {}
        with self._tables.dataset.sql_client as client:
            with client.begin_transaction():
                for name in stored:
                    table = client.make_qualified_table_name(name)
                    ((count,),) = client.execute_sql(f"SELECT count(*) FROM {table} WHERE {deletions[name]}")
                    counts[name] = int(count)
                    client.execute_sql(f"DELETE FROM {table} WHERE {deletions[name]}")
            with client.with_staging_dataset():
                for name in stored:
                    # A table has no staging table before the first load that merges into it.
                    with suppress(DatabaseUndefinedRelation):
                        client.execute_sql(f"DELETE FROM {client.make_qualified_table_name(name)}")
        return counts

    def expire_old_versions(self) -> None:
        """Do nothing: a server keeps no versions."""

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return nothing: every database reclaims space in its own way."""
        return ReclaimableSpace()

    # ------------------------------------------------------------------ reading

    @contextmanager
    def reading(self, tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to copies of these tables. Raises ConfigError if nothing is stored yet."""
        if not self.exists():
            raise nothing_stored(self.location)
        names = [name for name in _TABLES if tables is None or name in tables]
        with using_dlt(self.settings), copies.connecting() as connection:
            copies.copy_for_readers(connection, self.settings, self._tables, names)
            yield connection

    def count_by(self, columns: Sequence[str]) -> pa.Table:
        """Return the number of current trunks by these columns; the server counts them."""
        with using_dlt(self.settings):
            types = self._tables.columns_of(schema.SIP_TRUNKS.name)
            if not self.exists() or any(types.get(name) == "json" for name in columns):
                # Only DuckDB knows which JSON differs in nothing but blanks.
                with self.reading((schema.SIP_TRUNKS.name,)) as connection:
                    return state.count_trunks_by(connection, columns)
            state.refuse_unknown_columns(columns, types)
            names = ", ".join(map(quoted, columns))
            query = f"SELECT {names}, COUNT(*) AS trunk_count FROM {schema.SIP_TRUNKS.name} GROUP BY {names}"
            counted = self._tables.query(query)
        with copies.connecting() as connection:
            connection.register("counted", counted)
            kinds = {name: schema.SQL_TYPES[types[name]] for name in columns} | {"trunk_count": "BIGINT"}
            casts = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in kinds.items())
            return connection.execute(f"SELECT {casts} FROM counted").to_arrow_table()

    def part_reader(self) -> None:
        """Return None: processes would each copy whole tables."""


def _refuse_nul(table: pa.Table) -> None:
    """Raise DestinationError if a text contains U+0000, which databases refuse or cut off."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for field in table.schema:
        texts = pc.list_flatten(table[field.name]) if isinstance(field.type, pa.ListType) else table[field.name]
        nul = r"\u0000" if field.metadata == schema.JSON_FIELD else "\0"
        if pa.types.is_string(texts.type) and pc.any(pc.match_substring(texts, nul)).as_py():
            raise DestinationError(
                f"{field.name} has a text with the character U+0000, which the database cannot store; "
                "nothing was loaded: duckdb and parquet can store it"
            )


def _postgres() -> Any:
    """Return dlt's destination with connection options for loads, which options in the credentials override.

    Enough memory keeps the comparison of the history from becoming a nested loop; statements of a dead process end;
    and text and numbers come back exactly, whatever the database's defaults.
    """
    import dlt
    from dlt.common.configuration import resolve_configuration
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

    credentials = resolve_configuration(PostgresCredentials(), sections=("destination", "postgres", "credentials"))
    query = dict(credentials.query or {})
    options = "-cwork_mem=256MB -cclient_connection_check_interval=1s -cclient_encoding=UTF8 -cextra_float_digits=1"
    credentials.query = query | {"options": f"{options} {query.get('options', '')}".strip()}
    return dlt.destinations.postgres(credentials=credentials)
