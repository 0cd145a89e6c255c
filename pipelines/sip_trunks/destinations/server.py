"""A database server: whatever dlt can merge into, by dlt's name for it (`postgres`, `bigquery`, …).

    snapshots ─dlt merge, table by table─▶ schema `famulor` on the server ─then the rows of sip_trunk_snapshots

A server has no rename that shows everything at once: dlt loads each table in a transaction of its own. What makes a
load count is its row in `sip_trunk_snapshots`, written last; a run that dies before is done again by the next one.
Readers get copies of the tables they ask for, in a DuckDB connection like any other.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import DestinationFailed, Failure, RunActive, SettingsError, nothing_stored
from sip_trunks.core.settings import use_dlt
from sip_trunks.destinations.base import Rewritten, Spare
from sip_trunks.destinations.dlt_pipeline import (
    KEEPING_LOAD_IDS,
    load_with_dlt,
    merging_source,
    raise_failure,
    writing_source,
)
from sip_trunks.warehouse import sql, state
from sip_trunks.warehouse.sql import quoted
from trunk_transforms import schema
from trunk_transforms.parse.envelope import UnusableAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa
    from dlt.extract import DltSource

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.dlt_pipeline import Loaded
    from trunk_transforms.parse.batch import Load

_STRATEGIES = {"cdc", "scd2", "upsert"}
_LOOKS = schema.SIP_TRUNK_SNAPSHOTS.name
_OUR_SCHEMA = "schema_name = 'famulor'"
VERSIONS_SEEN = """
    SELECT versions.account, versions.id, versions.row_version
    FROM {trunks} AS versions
    JOIN (SELECT account, MAX(snapshot_at) AS seen_at FROM {looks} GROUP BY account) AS seen
    ON seen.account = versions.account
    WHERE versions.valid_from <= seen.seen_at AND (versions.valid_to IS NULL OR versions.valid_to > seen.seen_at)
"""
"""The trunks as the last snapshot that counts has seen them, whatever a run that died has done since."""
_DLT_CONFIG = {
    # dlt would leave a copy of the last load, phone numbers included, in its staging schema.
    "LOAD__TRUNCATE_STAGING_DATASET": "true",
}


@dataclass(frozen=True)
class Server:
    """A dataset on a server that dlt knows by name, as a destination."""

    settings: Settings
    publishes_reports = False
    is_atomic = False
    trunks_at_once = None

    @property
    def name(self) -> str:
        """Dlt's name of the destination."""
        return self.settings.destination

    @property
    def place(self) -> str:
        """The destination and the dataset, for a person."""
        return f"{self.name}, dataset {self.dataset}"

    @property
    def dataset(self) -> str:
        """Dlt's name of the dataset: a schema on the server."""
        return sql.DATASET

    @property
    def tables(self) -> list[str]:
        """The tables that are kept."""
        return [table.name for table in schema.TABLES]

    @cached_property
    def _dlt_destination(self) -> Any:
        """Dlt's destination. Raises SettingsError if there is none of that name, or if it cannot do what is needed."""
        use_dlt(self.settings)
        from dlt.common.destination import Destination
        from dlt.common.destination.exceptions import UnknownDestinationModule

        try:
            destination: Any = Destination.from_reference(self.name)
            strategies = set(destination.capabilities().supported_merge_strategies or ())
        except UnknownDestinationModule:
            raise SettingsError(
                f"no destination named {self.name!r}; there are duckdb, parquet, and dlt's databases such as postgres"
            ) from None
        if not strategies >= _STRATEGIES:
            raise SettingsError(
                f"{self.name} cannot merge as the history needs it (strategies {', '.join(sorted(_STRATEGIES))}); "
                "choose duckdb, parquet, or a database that can, such as postgres"
            )
        return _postgres() if self.name == "postgres" else destination

    @cached_property
    def _dataset(self) -> Any:
        destination = self._dlt_destination
        import dlt

        return dlt.dataset(destination, self.dataset)

    def exists(self) -> bool:
        """Whether a load was completed there. Raises DestinationFailed if the server cannot be asked."""
        with self._failing_by_name():
            return bool(self._columns_of(_LOOKS)) and len(self._fetch(_LOOKS, ["account"])) > 0

    def size_bytes(self) -> int | None:
        """Return None: every database counts differently."""
        return None

    def is_work_pending(self) -> bool:
        """Whether a run that did not end has left something: nothing that the next one would not do again."""
        return False

    def discard_work(self) -> None:
        """Do nothing: what a dead run left on the server is completed by the next."""

    # ------------------------------------------------------------------ writing

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to copies of what a run compares with."""
        with self._failing_by_name(), self._connection() as connection, self._holding_lock():
            self._copy_for_run(connection)
            if sql.exists(connection, _LOOKS) and self._is_half_done():
                # What a run that died has loaded is no answer that was seen: none is taken for unchanged.
                connection.execute(f"UPDATE {sql.DATASET}.{_LOOKS} SET loader_version = '? ' || loader_version")
            yield connection

    @contextmanager
    def _holding_lock(self) -> Iterator[None]:
        """Keep other machines out for as long as this run takes, where the database can. Raises RunActive."""
        if self.name != "postgres":
            yield
            return
        with self._dataset.sql_client as client:
            ((is_free,),) = client.execute_sql("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", self.dataset)
            if not is_free:
                raise RunActive(f"another run is loading into {self.place}")
            yield

    def load(self, connection: duckdb.DuckDBPyConnection, load: Load) -> None:
        """Merge the snapshots, by dlt, and then say that they are there. Raises DestinationFailed."""
        for snapshot in load.snapshots:
            _refuse_nul(snapshot.trunks)
        stored = state.read_stored_accounts(connection)
        is_half_done = self._is_half_done()
        loaded = self._run_dlt(partial(merging_source, replace(load, looks=())), _DLT_CONFIG)
        self.write_looks(connection, [dict(look) | {"_dlt_load_id": loaded.load_id} for look in load.looks])
        # Accounts that are no longer configured are not loaded again; they must not hold up the others for ever.
        expected = set(stored) & {account.name for account in self.settings.accounts}
        if not is_half_done or expected <= set(load.accounts):
            self._prune_schemas(loaded.schema_hash, with_staging=True)

    def _is_half_done(self) -> bool:
        """Whether a run has begun to load and did not end.

        dlt stores its schema before it loads, once more every time, since the moment of the load is part of it; the
        ones before are removed when a load has ended.
        """
        with self._failing_by_name():
            if not self._columns_of(_LOOKS):
                return False
            return len(self._dataset(f"SELECT version_hash FROM _dlt_version WHERE {_OUR_SCHEMA}").arrow()) > 1

    def _prune_schemas(self, current: str, *, with_staging: bool) -> None:
        """Remove the schemas that dlt stored before the current one, by whatever clock: no load is half done."""
        with self._failing_by_name(), self._dataset.sql_client as client:
            places = [client.make_qualified_table_name("_dlt_version")]
            if with_staging:
                with client.with_staging_dataset():
                    places.append(client.make_qualified_table_name("_dlt_version"))
            for place in places:
                client.execute_sql(f"DELETE FROM {place} WHERE {_OUR_SCHEMA} AND version_hash <> %s", current)

    def seed(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Load whole tables, by dlt, the snapshots last. Raises DestinationFailed."""
        config = _DLT_CONFIG | KEEPING_LOAD_IDS
        rest = {name: tables[name] for name in self.tables if name != _LOOKS}
        for part in (rest, {_LOOKS: tables[_LOOKS]}):
            # In place of what a run that died may have left.
            for table in part.values():
                _refuse_nul(table)
            loaded = self._run_dlt(partial(writing_source, part, replaced=list(part)), config)
        self._prune_schemas(loaded.schema_hash, with_staging=False)
        self._copy_for_run(connection)

    def _run_dlt(self, source: Callable[[], DltSource], config: Mapping[str, str]) -> Loaded:
        # What dlt prefers for Arrow tables may be CSV, which makes missing values of empty text.
        prefers = self._dlt_destination.capabilities().preferred_loader_file_format
        loader_format = prefers if prefers == "insert_values" else None
        return load_with_dlt(self.settings, lambda: self._dlt_destination, source, config, loader_format, self.dataset)

    def write_looks(self, connection: duckdb.DuckDBPyConnection, looks: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to `sip_trunk_snapshots` in one transaction; the connection then has copies of what is stored."""
        with self._failing_by_name(), self._dataset.sql_client as client, client.begin_transaction():
            table = client.make_qualified_table_name(_LOOKS)
            for look in looks:
                names = ", ".join(map(client.escape_column_name, look))
                places = ", ".join(["%s"] * len(look))
                client.execute_sql(f"INSERT INTO {table} ({names}) VALUES ({places})", *look.values())
        self._copy_for_run(connection)

    def publish(self, snapshot_at: datetime) -> None:
        """Do nothing: what is loaded is seen."""

    @contextmanager
    def rewriting(self, drops: Mapping[str, str], _moment: datetime) -> Iterator[Rewritten]:
        """Delete these rows in one transaction, and yield a connection to copies of what a run compares with."""
        with self.working() as connection:
            with self._failing_by_name():
                counts = self._delete(drops)
            self._copy_for_run(connection)
            yield Rewritten(connection, counts)

    def _delete(self, drops: Mapping[str, str]) -> dict[str, int]:
        """Delete rows, also where a load that died has staged them; return how many went of each table.

        Where the database has no transactions, the snapshots go last: as long as they are there, it can be repeated.
        """
        stored = [name for name in self.tables if name in drops and self._columns_of(name)]
        stored.sort(key=lambda name: name == _LOOKS)
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        counts: dict[str, int] = {}
        with self._dataset.sql_client as client:
            with client.begin_transaction():
                for name in stored:
                    table = client.make_qualified_table_name(name)
                    ((count,),) = client.execute_sql(f"SELECT count(*) FROM {table} WHERE {drops[name]}")
                    counts[name] = int(count)
                    client.execute_sql(f"DELETE FROM {table} WHERE {drops[name]}")
            with client.with_staging_dataset():
                for name in stored:
                    # There is none of a table that no load has merged into yet.
                    with suppress(DatabaseUndefinedRelation):
                        client.execute_sql(f"DELETE FROM {client.make_qualified_table_name(name)}")
        return counts

    def forget_past(self) -> None:
        """Do nothing: what is deleted is deleted, as far as the server goes."""

    def spare(self) -> Spare:
        """Return nothing: every database tidies up in its own way."""
        return Spare()

    @property
    def remnants(self) -> str | None:
        """What databases keep of rows that are deleted."""
        return "the server's own files until it vacuums them, its log and its backups"

    # ------------------------------------------------------------------ reading

    @contextmanager
    def reading(self, tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to copies of these tables. Raises SettingsError if nothing is stored yet."""
        if not self.exists():
            raise nothing_stored(self.place)
        from sip_trunks.core.provider_catalog import read_facts
        from sip_trunks.warehouse.views import create_views

        with self._failing_by_name(), self._connection() as connection:
            # The snapshots first: what they say is there is in the copies of the other tables.
            for name in sorted(self.tables, key=lambda name: name != _LOOKS):
                if tables is None or name in tables:
                    self._copy(connection, name)
            create_views(connection, partial(read_facts, self.settings))
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection

    def tally(self, columns: Sequence[str]) -> pa.Table:
        """Return how many trunks have each combination of these columns; the server counts them."""
        with self._failing_by_name():
            types = self._columns_of(schema.SIP_TRUNKS.name)
            if not self.exists() or any(types.get(name) == "json" for name in columns):
                # What is equal but for its blanks, only DuckDB knows.
                with self.reading((schema.SIP_TRUNKS.name,)) as connection:
                    return state.tally_trunks(connection, columns)
            state.refuse_unknown_columns(columns, types)
            names = ", ".join(map(quoted, columns))
            query = f"SELECT {names}, COUNT(*) AS trunk_count FROM {schema.SIP_TRUNKS.name} GROUP BY {names}"
            tallied = self._dataset(query).arrow()
        with self._connection() as connection:
            connection.register("tallied", tallied)
            kinds = {name: schema.SQL_TYPES[types[name]] for name in columns} | {"trunk_count": "BIGINT"}
            casts = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in kinds.items())
            return connection.execute(f"SELECT {casts} FROM tallied").to_arrow_table()

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"CREATE SCHEMA {sql.DATASET}")
            yield connection

    def _copy_for_run(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Copy what a run compares with; of the trunks, what says whether they have changed."""
        self.__dict__.pop("_dataset", None)  # it keeps the schema of the time when it was first asked
        self._copy(connection, schema.SIP_TRUNKS.name, self._fetch_versions)
        for name in (_LOOKS, schema.SCHEMA_DRIFT.name):
            self._copy(connection, name)

    def _columns_of(self, table: str) -> dict[str, schema.ColumnType]:
        """Return the columns of a table and their types; none if it is not there."""
        if table not in self._dataset.tables:
            return {}
        return {name: hint["data_type"] for name, hint in self._dataset.schema.tables[table]["columns"].items()}

    def _copy(
        self, connection: duckdb.DuckDBPyConnection, table: str, fetch: Callable[[], pa.Table] | None = None
    ) -> None:
        """Copy a table that is there into the connection; columns that `fetch` leaves out are null."""
        import pyarrow as pa

        types = {name: schema.SQL_TYPES[kind] for name, kind in self._columns_of(table).items()}
        if not types:
            return
        rows = fetch() if fetch else self._fetch(table, list(types))
        columns = rows.column_names
        definitions = ", ".join(f"{quoted(name)} {kind}" for name, kind in types.items())
        connection.execute(f"CREATE OR REPLACE TABLE {sql.DATASET}.{quoted(table)} ({definitions})")
        connection.register("copied", rows)
        # Lists are made JSON, and JSON loses its blanks, which every database sets its own way.
        functions = {
            name: "to_json" if isinstance(rows.schema.field(name).type, pa.ListType) else "json" for name in columns
        }
        compact = ", ".join(f"{functions[n]}({quoted(n)})" if types[n] == "JSON" else quoted(n) for n in columns)
        names = ", ".join(map(quoted, columns))
        connection.execute(f"INSERT INTO {sql.DATASET}.{quoted(table)} ({names}) SELECT {compact} FROM copied")
        connection.unregister("copied")

    def _fetch_versions(self) -> pa.Table:
        """Return account, id and version of the trunks as the last snapshot that counts has seen them."""
        return self._dataset(VERSIONS_SEEN.format(trunks=schema.SIP_TRUNKS_HISTORY.name, looks=_LOOKS)).arrow()

    def _fetch(self, table: str, columns: Collection[str]) -> pa.Table:
        """Return these columns of a table; JSON is text."""
        types = self._columns_of(table)
        # A number in JSON may be more than any column can hold; as text it travels as it is.
        selected = ", ".join(
            f"CAST({quoted(name)} AS TEXT) AS {quoted(name)}" if types[name] == "json" else quoted(name)
            for name in columns
        )
        return self._dataset(f"SELECT {selected} FROM {quoted(table)}").arrow()

    @contextmanager
    def _failing_by_name(self) -> Iterator[None]:
        """Turn whatever dlt or the driver raises into one line without a password or a value."""
        try:
            yield
        except (Failure, UnusableAnswer, OSError, NameError, TypeError, AttributeError):
            raise
        except Exception as error:  # noqa: BLE001 - every driver has errors of its own
            raise_failure(f"{self.name} cannot be used", error)


def _refuse_nul(table: pa.Table) -> None:
    """Raise DestinationFailed if a text has the one character that databases cut off or refuse."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for field in table.schema:
        texts = pc.list_flatten(table[field.name]) if isinstance(field.type, pa.ListType) else table[field.name]
        nul = r"\u0000" if field.metadata == schema.JSON_FIELD else "\0"
        if pa.types.is_string(texts.type) and pc.any(pc.match_substring(texts, nul)).as_py():
            raise DestinationFailed(
                f"{field.name} has a text with the character U+0000, which the database cannot store; "
                "nothing was loaded: duckdb and parquet can store it"
            )


def _postgres() -> Any:
    """Return dlt's destination with connections that suit a load; what the credentials say themselves stays.

    The history's comparison has to fit into memory, or it is done row by row against row; a statement of a process
    that has died has to end; and text and numbers have to come back as they are, whatever the database's defaults.
    """
    import dlt
    from dlt.common.configuration import resolve_configuration
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

    credentials = resolve_configuration(PostgresCredentials(), sections=("destination", "postgres", "credentials"))
    query = dict(credentials.query or {})
    options = "-cwork_mem=256MB -cclient_connection_check_interval=1s -cclient_encoding=UTF8 -cextra_float_digits=1"
    credentials.query = query | {"options": f"{options} {query.get('options', '')}".strip()}
    return dlt.destinations.postgres(credentials=credentials)
