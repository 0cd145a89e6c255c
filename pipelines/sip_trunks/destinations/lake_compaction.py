"""A lake without deleted rows and with fewer files: the tables and full snapshots that a compaction writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sip_trunks.destinations.lake_versions import SNAPSHOT_ROWS, LakeVersions, name_of
from sip_trunks.warehouse import sql
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

_GROUP_ROWS = 100_000  # rows of a row group, as dlt writes them


@dataclass(frozen=True)
class Compaction:
    """Writes one version of a lake without some rows: tables into `draft`, full snapshots into the lake.

    `draft` is a folder for the tables that change; `staging` is a folder of this machine for files on their way.
    """

    versions: LakeVersions
    version: str
    draft: Path
    staging: Path
    connection: duckdb.DuckDBPyConnection

    def write(self, deletions: Mapping[str, str]) -> dict[str, int]:
        """Write everything and return the number of deleted rows by table; `deletions` maps tables to conditions."""
        counts = {
            table.name: self._write_table(table.name, deletions[table.name])
            for table in schema.TABLES
            if table.name in deletions
        }
        return counts | {SNAPSHOT_ROWS: self._write_generation(deletions.get(SNAPSHOT_ROWS, "false"))}

    def _write_table(self, table: str, deletion: str) -> int:
        """Draft a table without the rows that match a condition, if any do; return how many do."""
        files = self.versions.find_files(table)
        count = sum(self._count_by_file(files, deletion).values())
        if count:
            folder = self.draft / table
            folder.mkdir()
            self._copy(files, deletion, folder / f"{self.version}.parquet")
        return count

    def _write_generation(self, deletion: str) -> int:
        """Write the full snapshots without some rows, in as few files as possible; return how many rows were deleted.

        They get a folder of their own, so that a reader of an earlier version neither misses a row nor sees one twice.
        """
        files, storage = self.versions.find_files(SNAPSHOT_ROWS), self.versions.files
        deleted = self._count_by_file(files, deletion)
        rewritten = [group for group in mergeable_groups(self.versions) if len(group) > 1 or deleted.get(group[0])]
        if not rewritten:
            return 0
        folder = f"{SNAPSHOT_ROWS}-{self.version}"
        replaced = {file for group in rewritten for file in group}
        for date in dict.fromkeys(map(_folder_of, files)):
            others = [file for file in files if _folder_of(file) == date and file not in replaced]
            storage.share(others, f"{folder}/{date}")
        draft = self.staging / f"{self.version}.parquet"
        for group in rewritten:
            has_rows = self._copy(group, deletion, draft)
            # The newest file has every column, so it stays even if no row is left.
            if has_rows or group[-1] == files[-1]:
                storage.adopt(draft, f"{folder}/{_folder_of(group[-1])}/{name_of(group[-1])}.parquet")
        return sum(deleted.values())

    def _copy(self, files: Sequence[str], deletion: str, target: Path) -> int:
        """Write the rows that do not match a condition into one file; return how many there are.

        The last of the files has every column of the others.
        """
        import pyarrow.parquet as pq

        arrow_schema = pq.ParquetFile(files[-1], filesystem=self.versions.files.arrow).schema_arrow
        names = ", ".join(map(sql.quoted, arrow_schema.names))
        query = f"SELECT {names} FROM {_parquet(files)} WHERE ({deletion}) IS NOT TRUE"
        count = 0
        with pq.ParquetWriter(target, arrow_schema, compression="zstd") as writer:
            for batch in self.connection.execute(query).to_arrow_reader(_GROUP_ROWS):
                count += len(batch)
                writer.write_batch(batch.cast(arrow_schema))
        return count

    def _count_by_file(self, files: Sequence[str], condition: str) -> dict[str, int]:
        """Return the number of matching rows by file; files without one are left out."""
        source = _parquet(files, ", filename = '~file'")  # no field of the API can have this name
        query = f'SELECT "~file", count(*) FROM {source} WHERE {condition} GROUP BY ALL'
        return dict(self.connection.execute(query).fetchall())


def mergeable_groups(versions: LakeVersions) -> list[list[str]]:
    """Return the files of the full snapshots in groups that can become one file: those of each day that is over."""
    today = f"snapshot_date={datetime.now(UTC):%Y-%m-%d}"
    groups: dict[str, list[str]] = {}
    for file in versions.find_files(SNAPSHOT_ROWS):
        date = _folder_of(file)
        groups.setdefault(date if date < today else file, []).append(file)
    return list(groups.values())


def _folder_of(file: str) -> str:
    return file.split("/")[-2]


def _parquet(files: Sequence[str], options: str = "") -> str:
    listed = ", ".join(map(sql.literal, files))
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false{options})"
