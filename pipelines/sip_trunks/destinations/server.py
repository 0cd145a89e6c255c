"""A database server: any database that dlt can merge into, by dlt's name for it (`postgres`, `bigquery`, …).

    snapshots ─dlt merge, table by table─▶ schema `famulor` on the server ─then the rows of sip_trunk_snapshots

A server cannot make all tables visible at once, because dlt loads each table in its own transaction. A load is complete
once its rows are in `sip_trunk_snapshots`, which are written last. The next run repeats an interrupted load.
Readers get copies of the tables that they request (copies.py).
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import ConfigError, DestinationError, RunActiveError
from sip_trunks.destinations import copies
from sip_trunks.destinations.copies import OBSERVATIONS
from sip_trunks.destinations.dlt_pipeline import (
    KEEPING_LOAD_IDS,
    Loaded,
    load_with_dlt,
    merging_source,
    using_dlt,
    writing_source,
)
from sip_trunks.warehouse import sql, state
from sip_trunks.warehouse.sql import quoted
from trunk_transforms import schema
from trunk_transforms.schema.findings import AUDITED_RULES, FINDINGS_HISTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import duckdb
    import pyarrow as pa
    from dlt.extract import DltSource

    from sip_trunks.destinations.base import Rewritten
    from sip_trunks.warehouse.rewriting import Rewriting
    from trunk_transforms.parse.batch import SnapshotBatch

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

    def fetch(self, table: str, columns: Collection[str] | None = None) -> pa.Table:
        """Return these columns of a table (default: all); JSON is text."""
        types = self.columns_of(table)
        # A number in JSON may exceed every column type; text carries it unchanged.
        selected = ", ".join(
            f"CAST({quoted(name)} AS TEXT) AS {quoted(name)}" if types[name] == "json" else quoted(name)
            for name in columns or types
        )
        return self.query(f"SELECT {selected} FROM {quoted(table)}")

    def fetch_observed_versions(self, resource: schema.Resource) -> pa.Table:
        """Return account, id and row_version of the rows as of the last complete snapshot of each account."""
        # Without the changes of an interrupted run.
        return self.query(f"""
            SELECT versions.account, versions.{resource.key}, versions.row_version
            FROM {resource.history.name} AS versions
            JOIN (SELECT account, MAX(snapshot_at) AS seen_at FROM {OBSERVATIONS} GROUP BY account) AS seen
            ON seen.account = versions.account
            WHERE versions.valid_from <= seen.seen_at
                AND (versions.valid_to IS NULL OR versions.valid_to > seen.seen_at)
        """)

    def query(self, query: str) -> pa.Table:
        """Return the result of a query on the server."""
        table: pa.Table = self.dataset(query).arrow()
        return table


@dataclass(frozen=True)
class DatabaseServer(copies.CopiedDestination):
    """A dataset on a server that dlt knows by name, as a destination."""

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

        from sip_trunks.famulor.source import check_strategies

        try:
            destination: Any = Destination.from_reference(self.name)
        except UnknownDestinationModule:
            raise ConfigError(
                f"{self.name!r} is not a destination; use duckdb, parquet, or a database such as postgres"
            ) from None
        check_strategies(destination)
        return _postgres() if self.name == "postgres" else destination

    @cached_property
    def stored_tables(self) -> ServerTables:
        """The tables of the dataset, for use inside `using_dlt`."""
        destination = self._dlt_destination
        import dlt

        return ServerTables(dlt.dataset(destination, sql.DATASET))

    # ------------------------------------------------------------------ writing

    @contextmanager
    def holding_lock(self) -> Iterator[None]:
        """Exclude runs of other machines, if the database has locks for that. Raises RunActiveError."""
        if self.name != "postgres":
            yield
            return
        with self.stored_tables.dataset.sql_client as client:
            ((is_free,),) = client.execute_sql("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", sql.DATASET)
            if not is_free:
                raise RunActiveError(f"another run is loading into {self.location}")
            yield

    def load(self, connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Merge the snapshots with dlt, then write their rows of `sip_trunk_snapshots`. Raises DestinationError."""
        _refuse_nul(snapshot.rows for snapshot in batch.snapshots)
        stored = state.read_stored_accounts(connection)
        is_half_done = self.is_half_done()
        loaded = self._run_dlt(partial(merging_source, batch, with_observations=False), _DLT_CONFIG)
        rows = [dict(row) | {"_dlt_load_id": loaded.load_id} for row in batch.observations]
        self.write_observations(connection, rows)
        if is_half_done:
            self._delete_unobserved_drift()
        # Accounts that are no longer configured are not loaded again; the repair does not wait for them.
        expected = set(stored) & {account.name for account in self.settings.accounts}
        if not is_half_done or expected <= set(batch.accounts):
            self._delete_old_schemas(loaded.schema_hash)

    def _delete_unobserved_drift(self) -> None:
        """Delete the drift that an interrupted load has written; this load has replaced its other rows."""
        with using_dlt(self.settings), self.stored_tables.dataset.sql_client as client:
            names = (schema.SCHEMA_DRIFT.name, OBSERVATIONS)
            drift, observations = map(client.make_qualified_table_name, names)
            client.execute_sql(
                f"DELETE FROM {drift} WHERE _dlt_load_id NOT IN (SELECT _dlt_load_id FROM {observations})"
            )

    def is_half_done(self) -> bool:
        """Whether a load was interrupted.

        dlt stores its schema before every load, because the time of the load is part of it. The earlier schemas are
        deleted at the end of a load, so there is more than one only after an interruption.
        """
        with using_dlt(self.settings):
            if not self.stored_tables.columns_of(OBSERVATIONS):
                return False
            return len(self.stored_tables.query(f"SELECT version_hash FROM _dlt_version WHERE {_OUR_SCHEMA}")) > 1

    def _delete_old_schemas(self, current: str) -> None:
        """Delete the schemas that dlt stored before the current one, which marks every load as complete."""
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        with using_dlt(self.settings), self.stored_tables.dataset.sql_client as client:
            # The staging dataset does not exist before the first merge.
            for dataset in (nullcontext(), client.with_staging_dataset()):
                with dataset, suppress(DatabaseUndefinedRelation):
                    table = client.make_qualified_table_name("_dlt_version")
                    client.execute_sql(f"DELETE FROM {table} WHERE {_OUR_SCHEMA} AND version_hash <> %s", current)

    def initialize(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Load whole tables with dlt, `sip_trunk_snapshots` last. Raises DestinationError."""
        config = _DLT_CONFIG | KEEPING_LOAD_IDS
        names = [table.name for table in schema.TABLES if table.name in tables]
        rest = {name: tables[name] for name in names if name != OBSERVATIONS}
        for part in (rest, {OBSERVATIONS: tables[OBSERVATIONS]}):
            _refuse_nul(part.values())
            # This also replaces the rows of an interrupted run.
            loaded = self._run_dlt(partial(writing_source, part, replaced=part), config)
        self._delete_old_schemas(loaded.schema_hash)
        self.copy_for_run(connection)

    def write_audit(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Merge the history of findings and replace the list of rules, then update the copies in the connection.

        An interruption counts as an interrupted load, which the next run repeats.
        """
        from sip_trunks.famulor.source import UPSERT, build_source

        if not tables:
            return
        _refuse_nul(tables.values())
        is_half_done = self.is_half_done()
        how = {FINDINGS_HISTORY: UPSERT, AUDITED_RULES: "replace"}
        dispositions = {table: how[table] for table in how if table.name in tables}
        source = partial(build_source, lambda name: [tables[name]], dispositions)
        loaded = self._run_dlt(source, _DLT_CONFIG | KEEPING_LOAD_IDS)
        if not is_half_done:
            self._delete_old_schemas(loaded.schema_hash)
        self.copy_for_run(connection)

    def _run_dlt(self, source: Callable[[], DltSource], config: Mapping[str, str]) -> Loaded:
        # For Arrow tables dlt may prefer CSV, which turns empty text into nulls.
        prefers = self._dlt_destination.capabilities().preferred_loader_file_format
        loader_format = prefers if prefers == "insert_values" else None
        return load_with_dlt(self.settings, lambda _: self._dlt_destination, source, config, loader_format)

    def write_observations(self, connection: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to `sip_trunk_snapshots` in one transaction, and update the copies in the connection."""
        with using_dlt(self.settings), self.stored_tables.dataset.sql_client as client, client.begin_transaction():
            table = client.make_qualified_table_name(OBSERVATIONS)
            for row in rows:
                names = ", ".join(map(client.escape_column_name, row))
                values = ", ".join(["%s"] * len(row))
                client.execute_sql(f"INSERT INTO {table} ({names}) VALUES ({values})", *row.values())
        self.copy_for_run(connection)

    # ------------------------------------------------------------------ maintenance

    @contextmanager
    def rewriting(self, rewriting: Rewriting, _moment: datetime) -> Iterator[Rewritten]:
        """Change the rows in one transaction, and yield a connection to copies of the tables."""
        with self.working() as connection:
            with using_dlt(self.settings):
                self.prepare(connection, rewriting)
                counts = self._change(rewriting, rewriting.list_inserts(connection))
            self.copy_for_run(connection)
            yield connection, counts

    def _change(self, rewriting: Rewriting, prepared: Sequence[str]) -> dict[str, int]:
        """Change the rows, and delete the staged rows of an interrupted load; return the number of rows by table.

        The statements `prepared` come first. The observations are changed last: until then, the command can be repeated
        on a database without transactions.
        """
        stored = [name for name in rewriting.conditions if self.stored_tables.columns_of(name)]
        stored.sort(key=lambda name: name == OBSERVATIONS)
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        counts: dict[str, int] = {}
        with self.stored_tables.dataset.sql_client as client:
            with client.begin_transaction():
                for text in prepared:
                    client.execute_sql(text)
                for name in stored:
                    table, condition = client.make_qualified_table_name(name), rewriting.conditions[name]
                    ((count,),) = client.execute_sql(f"SELECT count(*) FROM {table} WHERE {condition}")
                    counts[name] = int(count)
                    client.execute_sql(rewriting.change(table, self.stored_tables.columns_of(name), condition))
            with client.with_staging_dataset():
                for name in stored:
                    # A table has no staging table before the first load that merges into it.
                    with suppress(DatabaseUndefinedRelation):
                        client.execute_sql(f"DELETE FROM {client.make_qualified_table_name(name)}")
        return counts

    # ------------------------------------------------------------------ reading

    def count_by(self, columns: Sequence[str]) -> pa.Table:
        """Return the number of current trunks by these columns; the server counts them."""
        import pyarrow as pa

        with using_dlt(self.settings):
            types = self.stored_tables.columns_of(schema.SIP_TRUNKS.name)
            if not self.exists() or any(types.get(name, "json") == "json" for name in columns):
                # Of all databases, only DuckDB is known to ignore blanks when it compares JSON.
                return super().count_by(columns)
            names = ", ".join(map(quoted, columns))
            query = f"SELECT {names}, COUNT(*) AS trunk_count FROM {schema.SIP_TRUNKS.name} GROUP BY {names}"
            counted = self.stored_tables.query(query)
        fields = [(name, schema.arrow_type(types[name])) for name in columns]
        return counted.cast(pa.schema([*fields, ("trunk_count", pa.int64())]))


def _refuse_nul(tables: Iterable[pa.Table]) -> None:
    """Raise DestinationError if a text contains U+0000, which databases refuse or cut off."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for column, field in (pair for table in tables for pair in zip(table.columns, table.schema, strict=True)):
        texts = pc.list_flatten(column) if isinstance(field.type, pa.ListType) else column
        nul = r"\u0000" if field.metadata == schema.JSON_FIELD else "\0"
        if pa.types.is_string(texts.type) and pc.any(pc.match_substring(texts, nul)).as_py():
            raise DestinationError(
                f"{field.name} has a text with the character U+0000, which the database cannot store; "
                "nothing was loaded. The destinations duckdb and parquet can store it"
            )


def _postgres() -> Any:
    """Return dlt's destination with connection options for loads; options in the credentials override them.

    With enough memory, Postgres compares the history with a hash join, not a nested loop. The other options end the
    statements of a dead process, and return text and numbers exactly, independently of the database's defaults.
    """
    import dlt
    from dlt.common.configuration import resolve_configuration
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

    credentials = resolve_configuration(PostgresCredentials(), sections=("destination", "postgres", "credentials"))
    query = dict(credentials.query or {})
    options = "-cwork_mem=256MB -cclient_connection_check_interval=1s -cclient_encoding=UTF8 -cextra_float_digits=1"
    credentials.query = query | {"options": f"{options} {query.get('options', '')}".strip()}
    return dlt.destinations.postgres(credentials=credentials)
