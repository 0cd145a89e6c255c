"""The files of a lake, in a directory of this machine or in a store that fsspec knows.

Both have the same few operations; names are relative to the lake, `/` between folders.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import DATASET, literal
from pipelines.errors import SettingsError
from pipelines.warehouse import sync_directory

if TYPE_CHECKING:
    import duckdb

    from pipelines.settings import Settings


@dataclass(frozen=True)
class LocalFiles:
    """A directory; `famulor` in it is a link to the version that is current."""

    root: Path
    arrow = None

    @property
    def place(self) -> str:
        """The directory."""
        return str(self.root)

    def make_known_to(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing: DuckDB reads files by itself."""

    def confine(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let the connection read nothing but the lake from now on."""
        connection.execute(f"SET allowed_directories = [{literal(f'{self.root}/')}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")

    def read_pointer(self) -> str | None:
        """Return the version that is current, if there is one."""
        try:
            return (self.root / DATASET).readlink().name
        except FileNotFoundError:
            return None

    def write_pointer(self, version: str) -> None:
        """Make a version the current one, atomically and durably."""
        draft = self.root / f".{DATASET}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(Path("versions") / version)
        draft.replace(self.root / DATASET)
        sync_directory(self.root)

    def find(self, folder: str) -> list[str]:
        """Return the Parquet files below a folder, in order."""
        return sorted(map(str, (self.root / folder).rglob("*.parquet")))

    def list_names(self, folder: str) -> list[str]:
        """Return the names in a folder; none if it is not there."""
        path = self.root / folder
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def size_bytes(self, folder: str) -> int:
        """Return the size of all files below a folder."""
        return sum(path.stat().st_size for path in (self.root / folder).rglob("*") if path.is_file())

    def adopt(self, source: Path, name: str) -> None:
        """Move a file or a folder into the lake, durably; a folder joins what is there already."""
        target = self.root / name
        for file in [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file()):
            place = target if file == source else target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as written:
                os.fsync(written.fileno())
            shutil.move(file, place)
            sync_directory(place.parent)

    def share(self, source: str, name: str) -> None:
        """Give the files of a folder a second place."""
        folder = self.root / name
        folder.mkdir(parents=True)
        for file in (self.root / source).iterdir():
            os.link(file, folder / file.name)

    def link_rows(self, version: str, rows: str) -> None:
        """Let the rows of the snapshots, which all versions share, be found in the version too."""
        (self.root / rows).mkdir(exist_ok=True)
        (self.root / version / rows).symlink_to(Path("..") / ".." / rows)

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class RemoteFiles:
    """A folder of a store such as `s3://bucket/lake`; the object `famulor.json` in it names the current version.

    Credentials are found by dlt's rules, under `destination.filesystem.credentials`.
    """

    settings: Settings
    place: str

    @cached_property
    def arrow(self) -> Any:
        """The fsspec filesystem."""
        from pipelines.settings import use_dlt

        use_dlt(self.settings)
        from dlt.common.configuration import resolve_configuration
        from dlt.common.storages import FilesystemConfiguration, fsspec_from_config

        try:
            config = resolve_configuration(
                FilesystemConfiguration(bucket_url=self.place), sections=("destination", "filesystem")
            )
            return fsspec_from_config(config)[0]
        except Exception as error:
            kind = type(error).__name__
            raise SettingsError(
                f"the lake {self.place} cannot be used ({kind}): the extra for its protocol, such as sip-trunks[s3], "
                "and credentials under [destination.filesystem.credentials] are needed"
            ) from error

    def make_known_to(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB read the store through fsspec: its own way would be an extension to download."""
        connection.register_filesystem(self.arrow)

    def confine(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let the connection read nothing of this machine from now on."""
        # Without external access at all, DuckDB would not ask fsspec either.
        connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
        connection.execute("SET lock_configuration = true")

    def _at(self, name: str) -> str:
        return f"{self.place}/{name}"

    def read_pointer(self) -> str | None:
        """Return the version that is current, if there is one."""
        try:
            return str(json.loads(self.arrow.cat_file(self._at(f"{DATASET}.json")))["version"])
        except FileNotFoundError:
            return None

    def write_pointer(self, version: str) -> None:
        """Make a version the current one; stores write an object as a whole."""
        self.arrow.pipe_file(self._at(f"{DATASET}.json"), json.dumps({"version": version}).encode())

    def find(self, folder: str) -> list[str]:
        """Return the Parquet files below a folder, in order."""
        self.arrow.invalidate_cache()
        found = self.arrow.find(self._at(folder))
        return sorted(self.arrow.unstrip_protocol(path) for path in found if path.endswith(".parquet"))

    def list_names(self, folder: str) -> list[str]:
        """Return the names in a folder; none if it is not there."""
        self.arrow.invalidate_cache()
        try:
            return sorted(path.rstrip("/").rpartition("/")[2] for path in self.arrow.ls(self._at(folder), detail=False))
        except FileNotFoundError:
            return []

    def size_bytes(self, folder: str) -> int:
        """Return the size of all files below a folder."""
        return int(sum(self.arrow.du(self._at(folder), total=False).values()))

    def adopt(self, source: Path, name: str) -> None:
        """Copy a file, or the files of a folder, into the lake."""
        for file in [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file()):
            self.arrow.put_file(
                str(file), self._at(name if file == source else f"{name}/{file.relative_to(source).as_posix()}")
            )

    def share(self, source: str, name: str) -> None:
        """Give the files of a folder a second place."""
        for file in self.find(source):
            self.arrow.cp_file(file, self._at(f"{name}/{file.rpartition('/')[2]}"))

    def link_rows(self, version: str, rows: str) -> None:
        """Do nothing: a store has no links; the rows are found beside the versions."""

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        self.arrow.rm(self._at(name), recursive=True)
