"""The versions of a Parquet lake: their names and files, and how a run publishes the next one.

    lake/famulor ──▶ versions/20261124T173641123456Z/    the current version: a folder per table, as dlt writes them
                       sip_trunks/ sip_trunks_history/ sip_trunk_allowed_ips/ sip_trunk_snapshots/ schema_drift/
                       reports/   sip_trunk_snapshot_rows ──▶ ../../sip_trunk_snapshot_rows
         sip_trunk_snapshot_rows/snapshot_date=2026-11-24/20261124T173641123456Z.parquet     files are only added
         sip_trunk_snapshot_rows-20261201T050000000000Z/…    compacted, for this version and those after it

A version is named after the moment at which it begins. No published file ever changes. Earlier versions stay for an
hour, so that readers can finish.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from sip_trunks.core.errors import DestinationError, RunActiveError, nothing_stored
from trunk_transforms import schema

if TYPE_CHECKING:
    from pathlib import Path

    from sip_trunks.destinations.lake_storage import LakeFiles

SNAPSHOT_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
_VERSION_FORMAT = "%Y%m%dT%H%M%S%fZ"
_VERSION = re.compile(r"\d{8}T\d{12}Z")
_DATE_FOLDER = re.compile(r"snapshot_date=\d{4}-\d\d-\d\d")
_GENERATION = re.compile(rf"{SNAPSHOT_ROWS}-({_VERSION.pattern})")
_READ_TIMEOUT = timedelta(hours=1)


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
                    f"version; put it back (the newest version is {max(versions, default='gone')}), or move the lake "
                    "away"
                )
        return version

    @property
    def stored(self) -> str:
        """The current version. Raises ConfigError if nothing is stored yet."""
        if self.current is None:
            raise nothing_stored(self.files.location)
        return self.current

    def list_names(self) -> list[str]:
        """Return the names of all versions, in order; other names beside them are ignored."""
        return [name for name in self.files.list_names("versions") if _VERSION.fullmatch(name)]

    def generations(self) -> dict[str, str]:
        """Return the folders of full snapshots, in order, by the version that each was first written for."""
        found = [name for name in self.files.list_names("") if name == SNAPSHOT_ROWS or _GENERATION.fullmatch(name)]
        return {name.removeprefix(SNAPSHOT_ROWS).removeprefix("-"): name for name in sorted(found)}

    def rows_folder(self, version: str | None) -> str:
        """Return the folder of full snapshots that a version reads: the newest that is not newer than the version."""
        known = [folder for since, folder in self.generations().items() if since <= (version or "")]
        return known[-1] if known else SNAPSHOT_ROWS

    def find_files(self, table: str) -> list[str]:
        """Return the files of a table in the current version, none before the first run.

        Raises DestinationError if they are missing.
        """
        if self.current is None:
            return []
        if table == SNAPSHOT_ROWS:
            files = self.files.find(self.rows_folder(self.current))
            return [file for file in files if name_of(file) <= self.current]
        files = self.files.find(f"versions/{self.current}/{table}")
        if not files:
            raise DestinationError(
                f"the lake at {self.files.location} lacks the files of {table} in versions/{self.current}; restore "
                "them from a backup, or move the lake away to start again"
            )
        return files

    def find_reports(self, folder: str) -> list[str]:
        """Return the files of the reports in the current version."""
        return self.files.find(f"versions/{self.current}/{folder}") if self.current else []

    def table_bytes(self) -> int:
        """Return the size of the current version without the full snapshots."""
        return self.files.size_bytes(f"versions/{self.current}") if self.current else 0

    # ------------------------------------------------------------------ publishing

    def name_next(self, moment: datetime) -> str:
        """Return the name of a version that begins at a moment, or after the current one if the clock went back."""
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
            if before is not None:
                unchanged = [t.name for t in schema.TABLES if not any((draft / t.name).glob("*.parquet"))]
                for folder in unchanged:
                    files.share(files.find(f"versions/{before}/{folder}"), f"{target}/{folder}")
            files.adopt(draft, target)
            files.link_rows(f"{target}/{SNAPSHOT_ROWS}", rows)
            self._refuse_other_run(before)
            files.write_pointer(version)
            self._delete_outdated(version)

    def _refuse_other_run(self, before: str | None) -> None:
        if self.files.read_pointer() != before:
            raise RunActiveError(
                f"another run has published into {self.files.location} meanwhile; this one changed nothing"
            )

    def _delete_unpublished(self, current: str | None, but: str) -> None:
        """Delete the files of runs that ended before they published, except this run's own (`but`)."""
        newest = current or ""
        for version in self.list_names():
            if version > newest:
                self.files.remove(f"versions/{version}")
        for since, folder in self.generations().items():
            if since > newest and since != but:
                self.files.remove(folder)
        date = f"snapshot_date={newest[:4]}-{newest[4:6]}-{newest[6:8]}"
        rows = self.rows_folder(current)
        for folder in self.files.list_names(rows):
            if _DATE_FOLDER.fullmatch(folder) and folder >= date:
                for name in self.files.list_names(f"{rows}/{folder}"):
                    version = name.removesuffix(".parquet")
                    if _VERSION.fullmatch(version) and version > newest:
                        self.files.remove(f"{rows}/{folder}/{name}")

    def _delete_outdated(self, current: str) -> None:
        """Delete the versions that were replaced longer ago than a reader may take."""
        limit = version_at(datetime.now(UTC) - _READ_TIMEOUT)
        for version, successor in pairwise(self.list_names()):
            if successor < limit and version != current:
                self.files.remove(f"versions/{version}")
        for (_, folder), (since, _) in pairwise(self.generations().items()):
            if since < limit and since <= current:
                self.files.remove(folder)

    def expire_old(self) -> None:
        """Delete every version but the current one, and the full snapshots that only earlier versions read."""
        current = self.files.read_pointer()
        rows = self.rows_folder(current)
        with self.files.holding_lock():
            for version in self.list_names():
                if version != current:
                    self.files.remove(f"versions/{version}")
            for folder in self.generations().values():
                if folder != rows:
                    self.files.remove(folder)


def version_at(moment: datetime) -> str:
    """Return the name of the version that begins at a moment."""
    return moment.astimezone(UTC).strftime(_VERSION_FORMAT)


def name_of(file: str) -> str:
    """Return the name of a Parquet file without its folder and extension."""
    return file.rpartition("/")[2].removesuffix(".parquet")
