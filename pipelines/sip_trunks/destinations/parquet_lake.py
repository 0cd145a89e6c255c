"""The Parquet lake: folders of Parquet files, published as a whole by switching to a new version (lake_versions.py).

    state/lake/famulor/ ─dlt writes whole tables─▶ draft ─moved into the lake─▶ versions/… ─switch─▶ current version

Plain Parquet cannot merge, and dlt's `replace` deletes the old files before it writes the new ones. So dlt writes the
whole tables of each run into a separate folder, which is published as the next version. The current version is named by
a link if the lake is a directory, and by the object `famulor.json` if it is a store, which has no links.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import DestinationError, first_line, nothing_stored
from sip_trunks.destinations.base import Destination, PartReader, ReclaimableSpace, Rewritten
from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, load_with_dlt, writing_source
from sip_trunks.destinations.lake_storage import LakeFiles, open_lake_files
from sip_trunks.destinations.lake_versions import SNAPSHOT_ROWS, TABLES, Compaction, LakeVersions, name_of, version_at
from sip_trunks.warehouse import report_tables, sql
from trunk_transforms import schema
from trunk_transforms.history.after_load import tables_after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from sip_trunks.core.settings import Settings
    from sip_trunks.warehouse.rewriting import Rewriting
    from trunk_transforms.parse.batch import SnapshotBatch

_OBSERVATIONS = schema.SIP_TRUNK_SNAPSHOTS.name
_DLT_CONFIG = KEEPING_LOAD_IDS | {
    # Files stay as dlt writes them: small, and with row groups that a query can skip.
    "DATA_WRITER__COMPRESSION": "zstd",
    "DATA_WRITER__ROW_GROUP_SIZE": "100000",
    # Every version is a dataset of its own: there is no state to restore.
    "RESTORE_FROM_DESTINATION": "false",
}


@dataclass(frozen=True)
class ParquetLake(Destination):
    """Folders of Parquet files, as a destination."""

    settings: Settings
    name = "parquet"
    publishes_reports = True
    is_atomic = True

    @cached_property
    def _versions(self) -> LakeVersions:
        return LakeVersions(open_lake_files(self.settings))

    @property
    def location(self) -> str:
        """The folder or URL of the lake."""
        return self._versions.files.location

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """The lake, if it is a folder of this machine."""
        root = self._versions.files.root
        return (root,) if root else ()

    @property
    def _staging(self) -> Path:
        return self.settings.state_dir / "lake"

    @property
    def _draft(self) -> Path:
        return self._staging / sql.DATASET

    def exists(self) -> bool:
        """Whether a version has been published."""
        return self._versions.current is not None

    def size_bytes(self) -> int | None:
        """Return the size of the current version, full snapshots included."""
        version = self._versions.current
        if version is None:
            return None
        return self._versions.table_bytes() + self._versions.files.size_bytes(self._versions.rows_folder(version))

    def needed_bytes(self) -> int:
        """Return twice the size of the tables: once for dlt's files, once for the draft."""
        return 2 * self._versions.table_bytes()

    def is_work_pending(self) -> bool:
        """Whether an interrupted run has left a draft."""
        return os.path.exists(self._staging)  # noqa: PTH110 - a folder that may not be read is not an error

    def discard_work(self) -> None:
        """Delete the draft of an interrupted run."""
        shutil.rmtree(self._staging, ignore_errors=True)

    # ------------------------------------------------------------------ writing

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the current version; at the end its reports are written into the draft."""
        with _connecting(self._versions.files) as connection:
            self._show_for_run(connection, TABLES)
            self._show_reports(connection, kind="TABLE")
            yield connection
            if self._draft.exists():
                folder = self._draft / report_tables.REPORTS_SCHEMA
                folder.mkdir(exist_ok=True)
                report_tables.copy_reports(connection, folder)

    def load(self, connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Have dlt write whole tables as they are after the load. Raises DestinationError."""
        stored = {table.name: self._read(table) for table in schema.loaded_tables(batch.accounts_by_list)}
        self._write(connection, tables_after(batch, stored))
        for file in self._drafted(SNAPSHOT_ROWS):
            self._place_rows(Path(file), batch.snapshot_at)

    def initialize(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Have dlt write whole tables, and write each full snapshot to a file. Raises DestinationError."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self._write(connection, {name: table for name, table in tables.items() if name != SNAPSHOT_ROWS})
        rows = tables.get(SNAPSHOT_ROWS)
        if rows is None:
            return
        (self._draft / SNAPSHOT_ROWS).mkdir()
        rows = _with_json_marked(rows.sort_by("snapshot_at"))
        counts = pc.value_counts(rows["snapshot_at"]).to_pylist()
        # The columns are stored even if no snapshot has a row.
        begin, counts = 0, counts or [{"values": max(tables[_OBSERVATIONS]["snapshot_at"].to_pylist()), "counts": 0}]
        for count in counts:
            file = self._draft / SNAPSHOT_ROWS / "rows.parquet"
            pq.write_table(rows.slice(begin, count["counts"]), file, compression="zstd")
            self._place_rows(file, count["values"])
            begin += count["counts"]

    def _write(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        uri = self._staging.as_uri()
        marked = {name: _with_json_marked(table) for name, table in tables.items()}
        load_with_dlt(self.settings, lambda dlt: dlt.filesystem(uri), partial(writing_source, marked), _DLT_CONFIG)
        self._show_for_run(connection, TABLES)

    def _place_rows(self, file: Path, snapshot_at: datetime) -> None:
        """Move the file with the rows of one snapshot to the name that it will have in the lake."""
        folder = self._draft / SNAPSHOT_ROWS / f"snapshot_date={snapshot_at:%Y-%m-%d}"
        folder.mkdir(exist_ok=True)
        file.rename(folder / f"{version_at(snapshot_at)}.parquet")

    def _read(self, table: schema.Table) -> pa.Table:
        """Return a table of the current version; without rows if nothing is stored yet."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = self._versions.find_files(table.name)
        if not files:
            return table.full_arrow_schema().empty_table()
        arrow_files = self._versions.files.arrow
        return pa.concat_tables([pq.ParquetFile(file, filesystem=arrow_files).read() for file in files])

    def write_observations(self, connection: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write `sip_trunk_snapshots` as a whole, with these rows for responses that are unchanged."""
        connection.execute(f"CREATE OR REPLACE TEMP TABLE observations AS FROM {sql.OBSERVATIONS}")
        sql.insert_rows(connection, "observations", rows)
        file = self._new_file(_OBSERVATIONS, version_at(max(row["snapshot_at"] for row in rows)))
        connection.execute(f"COPY observations TO {sql.literal(file)} (FORMAT parquet, COMPRESSION zstd)")
        self._show_for_run(connection, [_OBSERVATIONS])

    def write_audit(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Draft the tables of the audit."""
        import pyarrow.parquet as pq

        for name, rows in tables.items():
            pq.write_table(rows, self._new_file(name, name), compression="zstd")
        self._show_for_run(connection, tables)

    def _new_file(self, table: str, name: str) -> Path:
        """Return the path of the only file of a table in the draft."""
        for draft in self._drafted(table):
            Path(draft).unlink()
        folder = self._draft / table
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.parquet"

    def publish(self, snapshot_at: datetime) -> None:
        """Make the draft the current version. Raises RunActiveError if another run has published meanwhile."""
        with _naming_lake(self._versions.files):
            self._versions.publish(self._draft, snapshot_at)

    def _drafted(self, table: str) -> list[str]:
        return sorted(map(str, (self._draft / table).glob("*.parquet")))

    def _show_for_run(self, connection: duckdb.DuckDBPyConnection, tables: Collection[str]) -> None:
        """Show the drafted files of these tables or, where there is no draft, the published ones."""
        for table in tables:
            if files := self._drafted(table) or self._versions.find_files(table):
                sql.show_files(connection, table, files)

    # ------------------------------------------------------------------ maintenance

    @contextmanager
    def rewriting(self, rewriting: Rewriting, moment: datetime) -> Iterator[Rewritten]:
        """Draft the tables with changed rows, and the full snapshots with one file for each day that is over."""
        with self.working() as connection:
            self._show_for_run(connection, rewriting.source_tables)
            rewriting.prepare(connection)
            version = self._versions.name_next(moment)
            self._draft.mkdir(parents=True)
            counts = Compaction(self._versions, version, self._draft, self._staging, connection, rewriting).write()
            self._show_for_run(connection, TABLES)
            yield connection, counts

    def expire_old_versions(self) -> None:
        """Delete the earlier versions that were kept for readers."""
        self._versions.expire_old()

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return the number of files of full snapshots that could be merged into others."""
        return ReclaimableSpace(files=sum(len(group) - 1 for group in self._versions.mergeable_groups()))

    @property
    def residual_data(self) -> str | None:
        """Earlier versions of objects, if the lake is a store that keeps them."""
        return self._versions.files.residual_data

    # ------------------------------------------------------------------ reading

    @contextmanager
    def reading(self, tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the current version that can read nothing else and write nothing.

        Raises NothingStoredError if nothing is stored yet, DestinationError if the files cannot be read.
        """
        from sip_trunks.warehouse.provider_catalog import read_provider_catalog
        from sip_trunks.warehouse.views import create_views

        if not self.exists():
            raise nothing_stored(self.location)
        with _connecting(self._versions.files) as connection:
            for table in (*TABLES, SNAPSHOT_ROWS):
                if (tables is None or table in tables) and (files := self._versions.find_files(table)):
                    sql.show_files(connection, table, files)
            self._show_reports(connection, kind="VIEW")
            create_views(connection, partial(read_provider_catalog, self.settings), kind="VIEW")
            report_tables.create_runs(connection)
            self._versions.files.confine(connection)
            yield connection

    def _show_reports(self, connection: duckdb.DuckDBPyConnection, kind: str) -> None:
        """Show the stored reports as tables or views of the connection (`kind`)."""
        for file in self._versions.find_files(report_tables.REPORTS_SCHEMA):
            report_tables.show_report(connection, name_of(file), file, kind)

    def part_reader(self) -> PartReader:
        """Return a reader of single accounts of the current version. Raises NothingStoredError."""
        if self._versions.current is None:
            raise nothing_stored(self.location)
        return partial(_reading_part, self.settings, self._versions.current)


@contextmanager
def _reading_part(
    settings: Settings, version: str, accounts: Collection[str], tables: Collection[str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a read-only connection to the rows of these accounts in these tables of a version."""
    versions = LakeVersions(open_lake_files(settings), version)
    condition = f"account IN ({', '.join(map(sql.literal, accounts))})" if accounts else "false"
    with _connecting(versions.files) as connection:
        for table in tables:
            if files := versions.find_files(table):
                sql.show_files(connection, table, files, condition)
        versions.files.confine(connection)
        yield connection


@contextmanager
def _connecting(files: LakeFiles) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that can read the files of a lake. Raises DestinationError if they cannot be read."""
    with _naming_lake(files), duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        files.make_known_to(connection)
        yield connection


@contextmanager
def _naming_lake(files: LakeFiles) -> Iterator[None]:
    """Turn DuckDB's errors about files into DestinationError, with the location of the lake."""
    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise DestinationError(f"the lake at {files.location} cannot be read: {first_line(error)}") from error


def _with_json_marked(table: pa.Table) -> pa.Table:
    names = [field.name for field in table.schema if field.metadata == schema.JSON_FIELD]
    return table.replace_schema_metadata({sql.JSON_COLUMNS: json.dumps(names)})
