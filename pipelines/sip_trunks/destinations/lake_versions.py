"""The versions of a Parquet lake: their names and files, and how a run publishes the next one.

    lake/famulor ──▶ versions/20261124T173641123456Z/    the current version: a folder per table, as dlt writes them
                       sip_trunks/ sip_trunks_history/ sip_trunk_allowed_ips/ sip_trunk_snapshots/ schema_drift/
                       reports/   sip_trunk_snapshot_rows ──▶ ../../sip_trunk_snapshot_rows
         sip_trunk_snapshot_rows/snapshot_date=2026-11-24/20261124T173641123456Z.parquet     files are only added
         sip_trunk_snapshot_rows-20261201T050000000000Z/…    compacted, for this version and those after it

A version is named after the time at which it begins. Published files never change. Earlier versions are kept for an
hour, so that readers can finish. A compaction writes a version without deleted rows and with fewer files.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import duckdb

from sip_trunks.core.errors import DestinationError, RunActiveError
from sip_trunks.destinations.lake_storage import LakeFiles
from sip_trunks.warehouse import sql
from sip_trunks.warehouse.rewriting import Rewriting
from trunk_transforms import schema

SNAPSHOT_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
_REQUIRED_TABLES = {table.name for table in schema.REQUIRED_TABLES}
TABLES = [table.name for table in (*schema.TABLES, *schema.AUDIT_TABLES)]
"""The tables of a version, without the full snapshots."""

_VERSION_FORMAT = "%Y%m%dT%H%M%S%fZ"
_VERSION = re.compile(r"\d{8}T\d{12}Z")
_DATE_FOLDER = re.compile(r"snapshot_date=\d{4}-\d\d-\d\d")
_GENERATION = re.compile(rf"{SNAPSHOT_ROWS}-({_VERSION.pattern})")
_READ_TIMEOUT = timedelta(hours=1)
_GROUP_ROWS = 100_000  # rows of a row group, as dlt writes them


@dataclass(frozen=True)
class LakeVersions:
    """The versions of a lake, as one run or reader sees them; `pinned` is read in place of the current version."""

    files: LakeFiles
    pinned: str | None = None

    @cached_property
    def current(self) -> str | None:
        """The version that was current at the first access. Raises DestinationError if the lake lost its pointer."""
        if self.pinned is not None:
            return self.pinned
        version = self.files.read_pointer()
        if version is None and not self.files.has_begun():
            versions = self.list_names()
            if versions or any(self.files.find(folder) for folder in self.generations().values()):
                raise DestinationError(
                    f"the lake at {self.files.location} has lost {self.files.pointer}, which names the current "
                    f"version; restore it (the newest version is {max(versions, default='gone')}), or move the lake "
                    "away"
                )
        return version

    def list_names(self) -> list[str]:
        """Return the names of all versions, in order; other names beside them are ignored."""
        return [name for name in self.files.list_names("versions") if _VERSION.fullmatch(name)]

    def generations(self) -> dict[str, str]:
        """Return the folders of full snapshots, in order, by the version that each was first written for."""
        found = [name for name in self.files.list_names("") if name == SNAPSHOT_ROWS or _GENERATION.fullmatch(name)]
        return {name.removeprefix(SNAPSHOT_ROWS).removeprefix("-"): name for name in sorted(found)}

    def rows_folder(self, version: str | None) -> str:
        """Return the newest folder of full snapshots that is not newer than the version, which reads from it."""
        known = [folder for since, folder in self.generations().items() if since <= (version or "")]
        return known[-1] if known else SNAPSHOT_ROWS

    def find_files(self, table: str) -> list[str]:
        """Return the files of a table, or those of the reports, in the current version; none before the first run.

        Raises DestinationError if the files are missing.
        """
        if self.current is None:
            return []
        if table == SNAPSHOT_ROWS:
            files = self.files.find(self.rows_folder(self.current))
            return [file for file in files if name_of(file) <= self.current]
        files = self.files.find(f"versions/{self.current}/{table}")
        if not files and table in _REQUIRED_TABLES:
            raise DestinationError(
                f"the lake at {self.files.location} lacks the files of {table} in versions/{self.current}; restore "
                "them from a backup, or move the lake away to start again"
            )
        return files

    def table_bytes(self) -> int:
        """Return the size of the current version without the full snapshots."""
        return self.files.size_bytes(f"versions/{self.current}") if self.current else 0

    def mergeable_groups(self) -> list[list[str]]:
        """Return the files of the full snapshots in groups that can be merged: one group for each day before today."""
        today = f"snapshot_date={datetime.now(UTC):%Y-%m-%d}"
        groups: dict[str, list[str]] = defaultdict(list)
        for file in self.find_files(SNAPSHOT_ROWS):
            date = _folder_of(file)
            groups[date if date < today else file].append(file)
        return list(groups.values())

    # ------------------------------------------------------------------ publishing

    def name_next(self, moment: datetime) -> str:
        """Return the name of a version that begins at `moment`, or just after the current one if that is later."""
        if self.current is None:
            return version_at(moment)
        before = datetime.strptime(self.current, _VERSION_FORMAT).replace(tzinfo=UTC)
        return version_at(max(moment, before + timedelta(microseconds=1)))

    def publish(self, draft: Path, moment: datetime) -> None:
        """Move a draft into the lake, add the tables that are not in it unchanged, and make it the current version.

        Raises RunActiveError if another run has published since this one began.
        """
        files, version, before = self.files, self.name_next(moment), self.current
        with files.holding_lock():
            self._refuse_other_run(before)
            if before is None:
                files.mark_beginning()
            self._delete_unpublished(before, but=version)
            rows = self.rows_folder(version)
            if (draft / SNAPSHOT_ROWS).exists():
                files.adopt(draft / SNAPSHOT_ROWS, rows)
                shutil.rmtree(draft / SNAPSHOT_ROWS)
            target = f"versions/{version}"
            for name in TABLES:
                if not any((draft / name).glob("*.parquet")) and (unchanged := self.find_files(name)):
                    files.share(unchanged, f"{target}/{name}")
            files.adopt(draft, target)
            files.link_rows(f"{target}/{SNAPSHOT_ROWS}", rows)
            self._refuse_other_run(before)
            files.write_pointer(version)
            self._delete_outdated(version)

    def _refuse_other_run(self, before: str | None) -> None:
        if self.files.read_pointer() != before:
            raise RunActiveError(
                f"another run has published into {self.files.location} in the meantime; this run changed nothing"
            )

    def _delete_unpublished(self, current: str | None, but: str) -> None:
        """Delete the files of runs that ended before they published, except this run's own (`but`)."""
        newest = current or ""
        outdated = [f"versions/{version}" for version in self.list_names() if version > newest]
        outdated += [folder for since, folder in self.generations().items() if since > newest and since != but]
        date = f"snapshot_date={newest[:4]}-{newest[4:6]}-{newest[6:8]}"
        rows = self.rows_folder(current)
        for folder in self.files.list_names(rows):
            if _DATE_FOLDER.fullmatch(folder) and folder >= date:
                for name in self.files.list_names(f"{rows}/{folder}"):
                    version = name.removesuffix(".parquet")
                    if _VERSION.fullmatch(version) and version > newest:
                        outdated.append(f"{rows}/{folder}/{name}")
        self._remove(outdated)

    def _delete_outdated(self, current: str) -> None:
        """Delete the versions that were replaced before the longest time that a reader may take."""
        limit = version_at(datetime.now(UTC) - _READ_TIMEOUT)
        replaced = pairwise(self.list_names())
        self._remove(f"versions/{version}" for version, next_one in replaced if next_one < limit and version != current)
        generations = pairwise(self.generations().items())
        self._remove(folder for (_, folder), (since, _) in generations if since < limit and since <= current)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.files.remove(name)

    def expire_old(self) -> None:
        """Delete every version but the current one, and the full snapshots that only earlier versions read."""
        current = self.files.read_pointer()
        rows = self.rows_folder(current)
        with self.files.holding_lock():
            self._remove(f"versions/{version}" for version in self.list_names() if version != current)
            self._remove(folder for folder in self.generations().values() if folder != rows)


def version_at(moment: datetime) -> str:
    """Return the name of the version that begins at `moment`."""
    return moment.astimezone(UTC).strftime(_VERSION_FORMAT)


def name_of(file: str) -> str:
    """Return the name of a Parquet file without its folder and extension."""
    return file.rpartition("/")[2].removesuffix(".parquet")


# ---------------------------------------------------------------------- compaction


@dataclass(frozen=True)
class Compaction:
    """Writes one version of a lake with rewritten rows: tables into `draft`, full snapshots into the lake.

    `draft` is a folder for the tables that change; `staging` is a folder on this machine for temporary files.
    """

    versions: LakeVersions
    version: str
    draft: Path
    staging: Path
    connection: duckdb.DuckDBPyConnection
    rewriting: Rewriting

    def write(self) -> dict[str, int]:
        """Write the version and return the number of changed rows by table."""
        counts = {
            name: self._write_table(name, files, self.rewriting.conditions[name])
            for name in TABLES
            if name in self.rewriting.conditions and (files := self.versions.find_files(name))
        }
        return counts | {SNAPSHOT_ROWS: self._write_generation(self.rewriting.conditions.get(SNAPSHOT_ROWS, "false"))}

    def _write_table(self, table: str, files: Sequence[str], condition: str) -> int:
        """Draft a changed table, if there are rows to change; return the number of those rows."""
        count = sum(self._count_by_file(files, condition).values())
        if count:
            (self.draft / table).mkdir()
            self._copy(files, condition, self.draft / table / f"{self.version}.parquet")
        return count

    def _write_generation(self, condition: str) -> int:
        """Write the changed full snapshots, in as few files as possible; return the number of changed rows.

        The new files are in a separate folder, so that readers of earlier versions see each row exactly once.
        """
        files, storage = self.versions.find_files(SNAPSHOT_ROWS), self.versions.files
        changed = self._count_by_file(files, condition)
        rewritten = [group for group in self.versions.mergeable_groups() if len(group) > 1 or changed.get(group[0])]
        if not rewritten:
            return 0
        folder = f"{SNAPSHOT_ROWS}-{self.version}"
        replaced = {file for group in rewritten for file in group}
        for date in dict.fromkeys(map(_folder_of, files)):
            others = [file for file in files if _folder_of(file) == date and file not in replaced]
            storage.share(others, f"{folder}/{date}")
        draft = self.staging / f"{self.version}.parquet"
        for group in rewritten:
            has_rows = self._copy(group, condition, draft)
            # The newest file has every column, so it is kept even without rows.
            if has_rows or group[-1] == files[-1]:
                storage.adopt(draft, f"{folder}/{_folder_of(group[-1])}/{name_of(group[-1])}.parquet")
        return sum(changed.values())

    def _copy(self, files: Sequence[str], condition: str, target: Path) -> int:
        """Write the rewritten rows of the files into one file; return their number.

        The last of the files has every column of the others.
        """
        import pyarrow.parquet as pq

        arrow_schema = pq.ParquetFile(files[-1], filesystem=self.versions.files.arrow).schema_arrow
        query, count = self.rewriting.select(arrow_schema.names, sql.read_parquet(files), condition), 0
        with pq.ParquetWriter(target, arrow_schema, compression="zstd") as writer:
            for batch in self.connection.execute(query).to_arrow_reader(_GROUP_ROWS):
                count += len(batch)
                writer.write_batch(batch.cast(arrow_schema))
        return count

    def _count_by_file(self, files: Sequence[str], condition: str) -> dict[str, int]:
        """Return the number of matching rows by file, for files that have any."""
        source = sql.read_parquet(files, ", filename = '~file'")  # no field of the API can have this name
        query = f'SELECT "~file", count(*) FROM {source} WHERE {condition} GROUP BY ALL'
        return dict(self.connection.execute(query).fetchall())


def _folder_of(file: str) -> str:
    return file.split("/")[-2]
