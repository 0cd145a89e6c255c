"""The lake as Delta tables. Unlike plain Parquet, each Delta table has its own versions and log.

    lake/famulor_delta/<table>/_delta_log/
    lake/famulor_delta.json                   which text columns are JSON

dlt replaces whole tables (`replace`) and adds full snapshots (`append`), each table in one commit. There is no commit
over all tables, so a load is complete once its rows are in `sip_trunk_snapshots`, which are written last. The next run
drops the rows of an interrupted run.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from sip_trunks.core.errors import ConfigError, MissingExtraError
from sip_trunks.core.files import write_whole
from sip_trunks.core.settings import refuse_characters
from sip_trunks.destinations import copies
from sip_trunks.destinations.base import ReclaimableSpace, Rewritten
from sip_trunks.destinations.copies import OBSERVATIONS, TABLES
from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, load_with_dlt, using_dlt, writing_source
from sip_trunks.destinations.lake_storage import local_folder, without_password
from sip_trunks.warehouse import sql
from sip_trunks.warehouse.rewriting import Renaming, Rewriting
from trunk_transforms import schema
from trunk_transforms.history.after_load import drop_unobserved, tables_after

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from trunk_transforms.parse.batch import SnapshotBatch

T = TypeVar("T")
_DATASET = f"{sql.DATASET}_delta"
_ATTEMPTS = 20
_UNUSABLE = "%[]^|\\" + "".join(map(chr, range(32)))
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
            write_whole(self._json_columns_path, json.dumps(sorted(known | new)).encode())

    def read(self, table: str, use: Callable[[Any], T], default: T) -> T:
        """Return the result of `use` for the current version, an Arrow dataset; the default if there is no table."""
        path = self.folder / table
        if not any(path.glob("_delta_log/*.json")):
            return default
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
        from pyarrow import fs

        # deltalake's own filesystem can abort the process at its end, while Arrow's threads still use it.
        files = fs.SubTreeFileSystem(str(path), fs.LocalFileSystem())
        for _ in range(_ATTEMPTS):
            # A compaction may delete the files of this version meanwhile.
            with suppress(OSError, DeltaError):
                return use(DeltaTable(path).to_pyarrow_dataset(filesystem=files))
        return use(DeltaTable(path).to_pyarrow_dataset(filesystem=files))

    def replace(self, table: str, rows: pa.Table) -> None:
        """Replace all rows of a table in one commit, then delete the files of its earlier versions and their log."""
        from deltalake import DeltaTable, write_deltalake

        path = self.folder / table
        write_deltalake(path, rows, mode="overwrite")
        current = DeltaTable(path)
        current.create_checkpoint()
        # Also what a killed process has left. The log has the least and the greatest value of each column and file.
        kept = {"_last_checkpoint", *self.read(table, lambda it: it.files, [])}
        for file in path.rglob("*"):
            if file.is_file() and file.name not in kept and not file.name.startswith(f"{current.version():020}."):
                file.unlink()

    def size_bytes(self, table: str) -> int:
        """Return the size of the current version of a table."""
        return self.read(table, lambda it: sum((self.folder / table / f).stat().st_size for f in it.files), 0)

    def columns_of(self, table: str) -> dict[str, schema.ColumnType]:
        """Return the columns of a table and their types; none if the table does not exist."""
        json_columns = self.json_columns()
        fields: list[pa.Field] = self.read(table, lambda it: list(it.schema), [])
        return {field.name: "json" if field.name in json_columns else _type_of(field) for field in fields}

    def fetch(self, table: str, columns: Collection[str] | None = None) -> pa.Table:
        """Return these columns of a table (default: all) with the types that were written."""
        import pyarrow as pa

        types, marks = self.columns_of(table), {"json": schema.JSON_FIELD}
        names = list(columns or types)
        wanted = pa.schema([pa.field(n, schema.arrow_type(types[n]), metadata=marks.get(types[n])) for n in names])
        return self.read(table, lambda it: it.to_table(columns=names), wanted.empty_table()).cast(wanted)

    def read_all(self) -> dict[str, pa.Table]:
        """Return every table except the full snapshots; a table that does not exist has no rows."""
        empty = {table.name: table.full_arrow_schema().empty_table() for table in schema.TABLES}
        return empty | {name: self.fetch(name) for name in empty if self.columns_of(name)}

    def fetch_observed_versions(self, resource: schema.Resource) -> pa.Table:
        """Return account, id and row_version of the rows as of the last complete snapshot of each account."""
        versions = drop_unobserved(self.read_all())[resource.name]
        return versions.select(["account", resource.key, "row_version"])


@dataclass(frozen=True)
class DeltaLake(copies.CopiedDestination):
    """Delta tables in a folder, as a destination. Raises MissingExtraError if deltalake is not installed."""

    name = "parquet"

    def __post_init__(self) -> None:
        if find_spec("deltalake") is None:
            raise MissingExtraError("sip_trunks.table_format is delta, which needs deltalake: pip install '.[delta]'")

    @cached_property
    def stored_tables(self) -> DeltaTables:
        """The tables. Raises ConfigError if the lake is not a folder, or has a path that deltalake cannot use."""
        if "://" in self.settings.lake.removeprefix("file://"):
            raise ConfigError(f"sip_trunks.lake is {without_password(self.settings.lake)}; delta tables need a folder")
        refuse_characters("lake", root := local_folder(self.settings), _UNUSABLE)
        return DeltaTables(root)

    @property
    def location(self) -> str:
        """The folder of the tables."""
        return str(self.stored_tables.folder)

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """The folder of the lake."""
        return (self.stored_tables.root,)

    def size_bytes(self) -> int | None:
        """Return the size of all files, earlier versions of the tables included."""
        return sum(path.stat().st_size for path in self.stored_tables.folder.rglob("*") if path.is_file())

    def needed_bytes(self) -> int:
        """Return twice the size of the current version: once for dlt's files, once for the new tables."""
        with using_dlt(self.settings):
            return 2 * sum(self.stored_tables.size_bytes(table.name) for table in schema.TABLES)

    # ------------------------------------------------------------------ writing

    def load(self, connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Have dlt write whole tables as they are after the load, `sip_trunk_snapshots` last."""
        repaired = {}
        with using_dlt(self.settings):
            stored = self.stored_tables.read_all()
            if self.is_half_done():
                stored = drop_unobserved(stored)
                # The batch may lack an optional list.
                repaired = {name: rows for name, rows in stored.items() if self.stored_tables.columns_of(name)}
        after = repaired | tables_after(batch, stored)
        observations = after.pop(OBSERVATIONS)
        load_id = self._write(after, replaced=after.keys() - {schema.SIP_TRUNK_SNAPSHOT_ROWS.name})
        new = observations.slice(len(stored[OBSERVATIONS])).to_pylist()
        self.write_observations(connection, [row | {"_dlt_load_id": load_id} for row in new])

    def initialize(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Have dlt write whole tables, `sip_trunk_snapshots` last."""
        rest = {name: table for name, table in tables.items() if name != OBSERVATIONS}
        for part in (rest, {OBSERVATIONS: tables[OBSERVATIONS]}):
            self._write(part, replaced=part)
        self.copy_for_run(connection)

    def write_observations(self, connection: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to `sip_trunk_snapshots`, and update the copies in the connection."""
        import pyarrow as pa

        from trunk_transforms.parse.snapshot import snapshot_table

        load_ids = pa.array([row["_dlt_load_id"] for row in rows], pa.string())
        self._write({OBSERVATIONS: snapshot_table(rows).append_column("_dlt_load_id", load_ids)})
        self.copy_for_run(connection)

    def write_audit(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Replace the tables of the audit, each in one commit, and update the copies in the connection."""
        with using_dlt(self.settings):
            for name, rows in tables.items():
                self.stored_tables.replace(name, rows)
            self.copy_for_run(connection)

    def _write(self, tables: Mapping[str, pa.Table], replaced: Collection[str] = ()) -> str:
        """Write tables with dlt and return the id of the load."""
        self.stored_tables.record_json_columns(tables)
        for file in self.stored_tables.folder.glob("_dlt_*/*.jsonl"):
            # dlt would fail on a file that an interrupted run has written only in part.
            try:
                json.loads(file.read_text("utf-8"))
            except ValueError:
                file.unlink()
        source = partial(writing_source, tables, replaced=replaced, table_format="delta")
        uri = self.stored_tables.root.as_uri()
        return load_with_dlt(
            self.settings, lambda dlt: dlt.filesystem(uri), source, _DLT_CONFIG, dataset=_DATASET
        ).load_id

    def is_half_done(self) -> bool:
        """Whether the tables have changes that do not belong to a complete snapshot."""
        stored = self.stored_tables.read_all()
        observed = drop_unobserved(stored)
        histories = [resource.history.name for resource in schema.RESOURCES]
        return any(
            sorted(stored[table.name]["row_version"].to_pylist())
            != sorted(observed[table.name]["row_version"].to_pylist())
            for resource in schema.RESOURCES
            for table in resource.tables
        ) or any(not stored[name]["valid_to"].equals(observed[name]["valid_to"]) for name in histories)

    # ------------------------------------------------------------------ maintenance

    @contextmanager
    def rewriting(self, rewriting: Rewriting, _moment: datetime) -> Iterator[Rewritten]:
        """Replace each table by its rows without the deleted ones, and yield a connection to copies of the new tables.

        `sip_trunk_snapshots` is first: rows of other tables that belong to none of its rows count as those of an
        interrupted load, so that every command may follow one that was killed here.
        """
        tables, conditions, counts = self.stored_tables, rewriting.conditions, {}
        with using_dlt(self.settings), copies.connecting() as connection:
            if isinstance(rewriting, Renaming):
                counts[OBSERVATIONS] = self._add_renamed(connection, rewriting)
            for name in TABLES:
                if tables.columns_of(name):
                    stored, condition = tables.fetch(name), conditions.get(name, "false")
                    kept = _query(connection, stored, f"FROM stored WHERE ({condition}) IS NOT TRUE")
                    if name in conditions:
                        counts[name] = counts.get(name, 0) + len(stored) - len(kept)
                    tables.replace(name, kept)
            self.copy_for_run(connection)
            yield connection, counts

    def _add_renamed(self, connection: duckdb.DuckDBPyConnection, renaming: Renaming) -> int:
        """Add rows with the new name to each table, then rename the observations in one commit; return their number.

        Rows that belong to no observation count as those of an interrupted load, so that a run may come in between.
        """
        tables, condition = self.stored_tables, renaming.conditions[OBSERVATIONS]
        observations = tables.fetch(OBSERVATIONS)
        count: int = observations["account"].to_pylist().count(renaming.old)
        if count:
            self.prepare(connection, renaming)
            for name in TABLES:
                if name != OBSERVATIONS and tables.columns_of(name):
                    stored, others = tables.fetch(name), f"FROM stored WHERE account <> {sql.literal(renaming.new)}"
                    added = renaming.select(stored.column_names, f"stored WHERE {condition}", condition)
                    tables.replace(name, _query(connection, stored, f"{others} UNION ALL {added}"))
            renamed = renaming.select(observations.column_names, "stored", condition)
            tables.replace(OBSERVATIONS, _query(connection, observations, renamed))
        return count

    @property
    def _set_aside(self) -> Path:
        """The folder to which earlier releases moved the tables during a compaction."""
        return self.stored_tables.folder.with_suffix(".before")

    def is_work_pending(self) -> bool:
        """Whether an interrupted compaction of an earlier release has left the tables aside."""
        return self._set_aside.exists()

    def discard_work(self) -> None:
        """Move the tables back that an interrupted compaction of an earlier release has left aside."""
        if self._set_aside.exists():
            shutil.rmtree(self.stored_tables.folder, ignore_errors=True)
            self._set_aside.rename(self.stored_tables.folder)

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return the number of files beyond one per table."""
        return ReclaimableSpace(
            files=max(0, sum(1 for _ in self.stored_tables.folder.rglob("*.parquet")) - len(TABLES))
        )


def _query(connection: duckdb.DuckDBPyConnection, table: pa.Table, query: str) -> pa.Table:
    """Return the result of a query of a table, which it calls `stored`, with the same columns."""
    connection.register("stored", table)
    found = connection.execute(query).to_arrow_table()
    connection.unregister("stored")
    return found.cast(table.schema)


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
