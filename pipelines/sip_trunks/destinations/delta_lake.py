"""The lake as Delta tables: unlike plain Parquet, each table has versions and a log of its own.

    lake/famulor_delta/<table>/_delta_log/
    lake/famulor_delta.json                   which text columns are JSON

dlt replaces whole tables (`replace`) and adds full snapshots (`append`), each table in one commit; there is no commit
over all of them. So a load counts from its rows in `sip_trunk_snapshots`, which are written last, and the next run
drops whatever an interrupted run has written before.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import ConfigError, MissingExtraError, nothing_stored
from sip_trunks.destinations import copies
from sip_trunks.destinations.base import Compacted, ReclaimableSpace
from sip_trunks.destinations.copies import OBSERVATIONS
from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, load_with_dlt, using_dlt, writing_source
from sip_trunks.destinations.lake_storage import local_folder, without_password
from sip_trunks.warehouse import sql, state
from trunk_transforms import schema
from trunk_transforms.history.after_load import drop_unobserved, tables_after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from sip_trunks.core.settings import Settings
    from trunk_transforms.parse.batch import SnapshotBatch

_DATASET = f"{sql.DATASET}_delta"
_HISTORY = schema.SIP_TRUNKS_HISTORY.name
_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
_TABLES = [*(table.name for table in schema.TABLES), _ROWS]
# dlt checks once a second whether a table is done, so all of them are written at the same time.
_DLT_CONFIG = KEEPING_LOAD_IDS | {"LOAD__WORKERS": "6", "RESTORE_FROM_DESTINATION": "false"}


@dataclass(frozen=True)
class DeltaTables:
    """The Delta tables in a folder, and the names of their JSON columns, which the format does not record."""

    root: Path

    @property
    def folder(self) -> Path:
        """The folder of the tables."""
        return self.root / _DATASET

    @property
    def _json_columns_path(self) -> Path:
        return self.root / f"{_DATASET}.json"

    def json_columns(self) -> set[str]:
        """Return the text columns that hold JSON."""
        try:
            return set(json.loads(self._json_columns_path.read_text("utf-8")))
        except FileNotFoundError:
            return set()

    def record_json_columns(self, tables: Mapping[str, pa.Table]) -> None:
        """Record the JSON columns of these tables; call it before the tables are written."""
        known = self.json_columns()
        new = {f.name for table in tables.values() for f in table.schema if f.metadata == schema.JSON_FIELD} - known
        if new:
            self.root.mkdir(parents=True, exist_ok=True)
            draft = self._json_columns_path.with_suffix(".draft")
            draft.write_text(json.dumps(sorted(known | new)), "utf-8")
            draft.replace(self._json_columns_path)

    def dataset_of(self, table: str) -> Any:
        """Return the current version of a table as an Arrow dataset; None if the table does not exist."""
        path = self.folder / table
        if not any(path.glob("_delta_log/*.json")):
            return None
        from deltalake import DeltaTable
        from pyarrow import fs

        # deltalake's own filesystem can abort the process at its end, while Arrow's threads still use it.
        files = fs.SubTreeFileSystem(str(path), fs.LocalFileSystem())
        return DeltaTable(path).to_pyarrow_dataset(filesystem=files)

    def size_bytes(self, table: str) -> int:
        """Return the size of the current version of a table."""
        dataset = self.dataset_of(table)
        files: list[str] = dataset.files if dataset else []
        return sum((self.folder / table / file).stat().st_size for file in files)

    def columns_of(self, table: str) -> dict[str, schema.ColumnType]:
        """Return the columns of a table and their types; none if the table does not exist."""
        dataset = self.dataset_of(table)
        if dataset is None:
            return {}
        json_columns = self.json_columns()
        return {field.name: "json" if field.name in json_columns else _type_of(field) for field in dataset.schema}

    def fetch(self, table: str, columns: Collection[str]) -> pa.Table:
        """Return these columns of a table with the types that were written."""
        found: pa.Table = self.dataset_of(table).to_table(columns=list(columns))
        return found.cast(_declared_schema(found.schema, self.json_columns()))

    def read(self, table: schema.Table) -> pa.Table:
        """Return a table; without rows if it does not exist."""
        columns = self.columns_of(table.name)
        return self.fetch(table.name, columns) if columns else table.full_arrow_schema().empty_table()

    def fetch_observed_versions(self) -> pa.Table:
        """Return account, id and row_version of the trunks as of the last snapshot that counts."""
        import duckdb

        with duckdb.connect() as connection:
            connection.register("history", self.read(schema.SIP_TRUNKS_HISTORY))
            connection.register("observations", self.read(schema.SIP_TRUNK_SNAPSHOTS))
            query = copies.OBSERVED_VERSIONS_QUERY.format(history="history", observations="observations")
            return connection.execute(query).to_arrow_table()


@dataclass(frozen=True)
class DeltaLake:
    """Delta tables in a folder, as a destination. Raises ConfigError if the library is not installed."""

    settings: Settings
    name = "parquet"
    publishes_reports = False
    is_atomic = False
    max_batch_trunks = None
    alternative = None
    residual_data = None

    def __post_init__(self) -> None:
        if find_spec("deltalake") is None:
            raise MissingExtraError("sip_trunks.table_format is delta, which needs deltalake: pip install '.[delta]'")

    @cached_property
    def _tables(self) -> DeltaTables:
        if "://" in self.settings.lake.removeprefix("file://"):
            raise ConfigError(f"sip_trunks.lake is {without_password(self.settings.lake)}; delta tables need a folder")
        return DeltaTables(local_folder(self.settings))

    @property
    def location(self) -> str:
        """The folder of the tables."""
        return str(self._tables.folder)

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """The folder of the lake."""
        return (self._tables.root,)

    def exists(self) -> bool:
        """Whether a load was completed."""
        with using_dlt(self.settings):
            return copies.has_observations(self._tables)

    def size_bytes(self) -> int | None:
        """Return the size of all files, earlier versions of the tables included."""
        return sum(path.stat().st_size for path in self._tables.folder.rglob("*") if path.is_file())

    def needed_bytes(self) -> int:
        """Return twice the size of the current version: dlt's files and the tables that are made of them."""
        with using_dlt(self.settings):
            return 2 * sum(self._tables.size_bytes(table.name) for table in schema.TABLES)

    # ------------------------------------------------------------------ writing

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to copies of what a run compares with."""
        with using_dlt(self.settings), copies.connecting() as connection:
            copies.copy_for_run(connection, self._tables)
            if sql.exists(connection, OBSERVATIONS) and self._is_half_done():
                copies.distrust_observations(connection)
            yield connection

    def load(self, connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Have dlt write whole tables as they are after the load, `sip_trunk_snapshots` last."""
        with using_dlt(self.settings):
            stored = {table.name: self._tables.read(table) for table in schema.TABLES}
            if self._is_half_done():
                stored = drop_unobserved(stored)
        after = tables_after(batch, stored)
        observations = after.pop(OBSERVATIONS)
        load_id = self._write(after, replaced=[name for name in after if name != _ROWS])
        new = observations.slice(len(stored[OBSERVATIONS])).to_pylist()
        self.write_observations(connection, [row | {"_dlt_load_id": load_id} for row in new])

    def initialize(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Have dlt write whole tables, `sip_trunk_snapshots` last."""
        rest = {name: table for name, table in tables.items() if name != OBSERVATIONS}
        for part in (rest, {OBSERVATIONS: tables[OBSERVATIONS]}):
            self._write(part, replaced=list(part))
        copies.copy_for_run(connection, self._tables)

    def write_observations(self, connection: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to `sip_trunk_snapshots`; the connection then has copies of what is stored."""
        import pyarrow as pa

        self._write({OBSERVATIONS: pa.Table.from_pylist(list(rows), schema.SIP_TRUNK_SNAPSHOTS.full_arrow_schema())})
        copies.copy_for_run(connection, self._tables)

    def publish(self, snapshot_at: datetime) -> None:
        """Do nothing: readers see what is loaded."""

    def _write(self, tables: Mapping[str, pa.Table], replaced: Collection[str] = ()) -> str:
        """Write tables with dlt and return the id of the load."""

        def destination() -> Any:
            import dlt

            return dlt.destinations.filesystem(self._tables.root.as_uri())

        self._tables.record_json_columns(tables)
        for file in self._tables.folder.glob("_dlt_*/*.jsonl"):
            # dlt would read a file that an interrupted run has not written to its end.
            if not _is_json(file):
                file.unlink()
        source = partial(writing_source, tables, replaced=replaced, table_format="delta")
        return load_with_dlt(self.settings, destination, source, _DLT_CONFIG, dataset=_DATASET).load_id

    def _is_half_done(self) -> bool:
        """Whether the tables have changes that no snapshot that counts accounts for."""
        stored = {table.name: self._tables.read(table) for table in schema.TABLES}
        observed = drop_unobserved(stored)
        return any(
            sorted(stored[name]["row_version"].to_pylist()) != sorted(observed[name]["row_version"].to_pylist())
            for name in (schema.SIP_TRUNKS.name, _HISTORY, schema.SIP_TRUNK_ALLOWED_IPS.name)
        ) or not stored[_HISTORY]["valid_to"].equals(observed[_HISTORY]["valid_to"])

    # ------------------------------------------------------------------ maintenance

    @property
    def _backup(self) -> Path:
        return self._tables.folder.with_suffix(".before")

    @property
    def _replaced(self) -> Path:
        return self._tables.folder.with_suffix(".gone")

    @contextmanager
    def compacting(self, deletions: Mapping[str, str], _moment: datetime) -> Iterator[Compacted]:
        """Rewrite all tables without the deleted rows, and yield a connection to copies of what a run compares with.

        No earlier version of a table is left, because the format cannot delete rows from those. The previous tables
        are kept as a backup until the new ones are complete.
        """
        tables = self._tables
        with using_dlt(self.settings), copies.connecting() as connection:
            stored = {name: tables.fetch(name, columns) for name in _TABLES if (columns := tables.columns_of(name))}
            if self._is_half_done():
                stored |= drop_unobserved(stored)
            kept = {name: _without(table, deletions.get(name, "false")) for name, table in stored.items()}
            counts = {name: len(table) - len(kept[name]) for name, table in stored.items() if name in deletions}
            tables.folder.rename(self._backup)
            if len(kept[OBSERVATIONS]):
                self.initialize(connection, kept)
            self._backup.rename(self._replaced)
            self.discard_work()
            yield Compacted(connection, counts)

    def is_work_pending(self) -> bool:
        """Whether an interrupted compaction has left its backup."""
        return self._backup.exists()

    def discard_work(self) -> None:
        """Restore the backup of an interrupted compaction."""
        if self._backup.exists():
            shutil.rmtree(self._tables.folder, ignore_errors=True)
            self._backup.rename(self._tables.folder)
        shutil.rmtree(self._replaced, ignore_errors=True)

    def expire_old_versions(self) -> None:
        """Do nothing: a compaction leaves no earlier version."""

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return the number of files beyond one per table."""
        return ReclaimableSpace(files=max(0, sum(1 for _ in self._tables.folder.rglob("*.parquet")) - len(_TABLES)))

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
        """Return the number of current trunks by these columns."""
        with self.reading((schema.SIP_TRUNKS.name,)) as connection:
            return state.count_trunks_by(connection, columns)

    def part_reader(self) -> None:
        """Return None: processes would each copy whole tables."""


def _without(table: pa.Table, condition: str) -> pa.Table:
    """Return the rows of a table that do not match a condition in SQL."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("stored", table.append_column("~index", pa.array(range(len(table)), pa.int64())))
        kept = connection.execute(f'SELECT "~index" FROM stored WHERE ({condition}) IS NOT TRUE').to_arrow_table()
    return table.take(kept["~index"])


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text("utf-8"))
    except ValueError:
        return False
    return True


def _type_of(field: pa.Field) -> schema.ColumnType:
    import pyarrow as pa

    tests: dict[schema.ColumnType, Any] = {
        "bigint": pa.types.is_integer,
        "double": pa.types.is_floating,
        "bool": pa.types.is_boolean,
        "timestamp": pa.types.is_timestamp,
        "text_list": pa.types.is_list,
    }
    return next((name for name, is_such in tests.items() if is_such(field.type)), "text")


def _declared_schema(found: pa.Schema, json_columns: Collection[str]) -> pa.Schema:
    """Return the schema with the declared types; the format does not keep the metadata of columns."""
    import pyarrow as pa

    return pa.schema(
        pa.field(
            field.name,
            schema.arrow_type(_type_of(field)),
            metadata=schema.JSON_FIELD if field.name in json_columns else None,
        )
        for field in found
    )
