"""The Parquet lake: folders of Parquet files, published as a whole by switching to a new version (lake_versions.py).

    state/lake/famulor/ ─dlt writes whole tables─▶ draft ─moved into the lake─▶ versions/… ─switch─▶ current version

Plain Parquet cannot merge, and dlt's `replace` deletes the old files before it writes the new ones. So every run has
dlt write whole tables into a folder of its own, and publishes that as the next version. The switch is a link if the
lake is a directory, and the object `famulor.json` if it is a store, which has no links.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import nothing_stored
from sip_trunks.destinations import lake_reading
from sip_trunks.destinations.base import Compacted, ReclaimableSpace
from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, load_with_dlt, writing_source
from sip_trunks.destinations.lake_compaction import Compaction, mergeable_groups
from sip_trunks.destinations.lake_storage import open_lake_files
from sip_trunks.destinations.lake_versions import SNAPSHOT_ROWS, LakeVersions, version_at
from sip_trunks.warehouse import report_tables, sql, state
from trunk_transforms import schema
from trunk_transforms.history.after_load import tables_after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    import duckdb
    import pyarrow as pa

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.lake_reading import LakePartReader
    from trunk_transforms.parse.batch import SnapshotBatch

_OBSERVATIONS = schema.SIP_TRUNK_SNAPSHOTS.name
_TABLES = [table.name for table in schema.TABLES]
_DLT_CONFIG = KEEPING_LOAD_IDS | {
    # Files stay as dlt writes them: small, and with row groups that a query can skip.
    "DATA_WRITER__COMPRESSION": "zstd",
    "DATA_WRITER__ROW_GROUP_SIZE": "100000",
    # Every version is a dataset of its own: there is no state to restore.
    "RESTORE_FROM_DESTINATION": "false",
}


@dataclass(frozen=True)
class ParquetLake:
    """Folders of Parquet files, as a destination."""

    settings: Settings
    name = "parquet"
    publishes_reports = True
    is_atomic = True
    max_batch_trunks = None
    alternative = None

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
        """Return twice the size of the tables: dlt's files and the draft that is made of them."""
        return 2 * self._versions.table_bytes()

    def is_work_pending(self) -> bool:
        """Whether an interrupted run has left a draft."""
        try:
            return self._staging.exists()
        except PermissionError:
            return False

    def discard_work(self) -> None:
        """Delete the draft of an interrupted run."""
        shutil.rmtree(self._staging, ignore_errors=True)

    # ------------------------------------------------------------------ writing

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the current version; at the end its reports are written into the draft."""
        with lake_reading.connecting(self._versions.files) as connection:
            self._show_for_run(connection, _TABLES)
            lake_reading.show_reports(connection, self._versions, kind="TABLE")
            yield connection
            if self._draft.exists():
                folder = self._draft / report_tables.REPORTS_SCHEMA
                folder.mkdir(exist_ok=True)
                report_tables.copy_reports(connection, folder)

    def load(self, connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Have dlt write whole tables as they are after the load. Raises DestinationError."""
        stored = {table.name: self._read(table) for table in schema.TABLES}
        self._write(connection, tables_after(batch, stored))
        for file in self._drafted(SNAPSHOT_ROWS):
            self._place_rows(Path(file), batch.snapshot_at)

    def initialize(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Have dlt write whole tables; the full snapshots get a file each. Raises DestinationError."""
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
        def destination() -> Any:
            import dlt

            return dlt.destinations.filesystem(self._staging.as_uri())

        marked = {name: _with_json_marked(table) for name, table in tables.items()}
        load_with_dlt(self.settings, destination, lambda: writing_source(marked), _DLT_CONFIG)
        self._show_for_run(connection, _TABLES)

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
        connection.execute(f"CREATE OR REPLACE TEMP TABLE observations AS FROM {sql.DATASET}.{_OBSERVATIONS}")
        state.insert_observations(connection, "observations", rows)
        for draft in self._drafted(_OBSERVATIONS):
            Path(draft).unlink()
        folder = self._draft / _OBSERVATIONS
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{version_at(max(row['snapshot_at'] for row in rows))}.parquet"
        connection.execute(f"COPY observations TO {sql.literal(file)} (FORMAT parquet, COMPRESSION zstd)")
        self._show_for_run(connection, [_OBSERVATIONS])

    def publish(self, snapshot_at: datetime) -> None:
        """Make the draft the current version. Raises RunActiveError if another run has published meanwhile."""
        with lake_reading.failing_by_name(self._versions.files):
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
    def compacting(self, deletions: Mapping[str, str], moment: datetime) -> Iterator[Compacted]:
        """Draft the tables without the deleted rows, and full snapshots with one file for each day that is over."""
        version = self._versions.name_next(moment)
        with self.working() as connection:
            self._draft.mkdir(parents=True)
            compaction = Compaction(self._versions, version, self._draft, self._staging, connection)
            counts = compaction.write(deletions)
            self._show_for_run(connection, _TABLES)
            yield Compacted(connection, counts)

    def expire_old_versions(self) -> None:
        """Delete the earlier versions that were kept for readers."""
        self._versions.expire_old()

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return how many files of full snapshots could be merged into others."""
        return ReclaimableSpace(files=sum(len(group) - 1 for group in mergeable_groups(self._versions)))

    @property
    def residual_data(self) -> str | None:
        """Earlier versions of objects, if the lake is a store that keeps them."""
        return self._versions.files.residual_data

    # ------------------------------------------------------------------ reading

    @contextmanager
    def reading(self, tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the current version that can read nothing else and write nothing.

        Raises ConfigError if nothing is stored yet, DestinationError if the files cannot be read.
        """
        if not self.exists():
            raise nothing_stored(self.location)
        with lake_reading.connecting(self._versions.files) as connection:
            for table in (*_TABLES, SNAPSHOT_ROWS):
                if (tables is None or table in tables) and (files := self._versions.find_files(table)):
                    sql.show_files(connection, table, files)
            lake_reading.show_derived(connection, self.settings, self._versions)
            self._versions.files.confine(connection)
            yield connection

    def count_by(self, columns: Sequence[str]) -> pa.Table:
        """Return the number of current trunks by these columns."""
        with self.reading((schema.SIP_TRUNKS.name,)) as connection:
            return state.count_trunks_by(connection, columns)

    def part_reader(self) -> LakePartReader:
        """Return a reader of single accounts of the current version. Raises ConfigError if nothing is stored yet."""
        return lake_reading.LakePartReader(self.settings, self._versions.stored)


def _with_json_marked(table: pa.Table) -> pa.Table:
    names = [field.name for field in table.schema if field.metadata == schema.JSON_FIELD]
    return table.replace_schema_metadata({sql.JSON_COLUMNS: json.dumps(names)})
