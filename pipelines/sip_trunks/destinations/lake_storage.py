"""The files of a lake: in a folder of this machine, or in a store such as S3 that fsspec can reach.

Both have the same operations. Names are relative to the lake, with `/` between folders.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from sip_trunks.core.errors import ConfigError, DestinationError, RunActiveError, SipTrunksError
from sip_trunks.core.files import remove, sync_directory
from sip_trunks.core.settings import Settings
from sip_trunks.warehouse.sql import DATASET, file_literal, literal

_BEGINNING = f".{DATASET}-begun"
"""A file that exists while the first version is published. A lake with versions, but without it and without a pointer,
has lost the pointer."""


@dataclass(frozen=True)
class LocalFiles:
    """A folder of this machine; `famulor` in it is a link to the current version."""

    root: Path
    arrow = None
    residual_data = None
    pointer = f"the link {DATASET}"

    @property
    def location(self) -> str:
        """The folder."""
        return str(self.root)

    def make_known_to(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing: DuckDB reads local files without help."""

    def confine(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Restrict the connection to the files of the lake."""
        # DuckDB checks paths before and after it reads them as patterns.
        connection.execute(f"SET allowed_directories = [{literal(f'{self.root}/')}, {file_literal(f'{self.root}/')}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")

    def read_pointer(self) -> str | None:
        """Return the current version, if there is one."""
        link = self.root / DATASET
        if link.is_symlink():
            return link.readlink().name
        if link.exists():
            raise DestinationError(
                f"{link} is a folder, where a link to the current version is expected; "
                "copy a lake with its links, or move it away"
            )
        return None

    @contextmanager
    def holding_lock(self) -> Iterator[None]:
        """Hold the lake for publishing. Raises RunActiveError if another run holds it."""
        self.root.mkdir(parents=True, exist_ok=True)
        directory = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise RunActiveError(f"another run is publishing into {self.location}") from None
        finally:
            os.close(directory)

    def has_begun(self) -> bool:
        """Whether publishing the first version has begun and not ended."""
        return (self.root / _BEGINNING).exists()

    def mark_beginning(self) -> None:
        """Record that publishing the first version has begun."""
        (self.root / _BEGINNING).touch()

    def write_pointer(self, version: str) -> None:
        """Make a version the current one, atomically and durably."""
        draft = self.root / f".{DATASET}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(Path("versions") / version)
        draft.replace(self.root / DATASET)
        sync_directory(self.root)
        (self.root / _BEGINNING).unlink(missing_ok=True)

    def find(self, folder: str) -> list[str]:
        """Return the Parquet files below a folder, in order."""
        if not (self.root / folder).exists():
            return []
        walk = os.walk(self.root / folder, onerror=_raise)
        return sorted(str(Path(base, name)) for base, _, names in walk for name in names if name.endswith(".parquet"))

    def list_names(self, folder: str) -> list[str]:
        """Return the names in a folder; none if it does not exist."""
        path = self.root / folder
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def size_bytes(self, folder: str) -> int:
        """Return the size of all files below a folder."""
        return sum(path.stat().st_size for path in (self.root / folder).rglob("*") if path.is_file())

    def adopt(self, source: Path, name: str) -> None:
        """Move a file or a folder into the lake, durably; a folder is merged into an existing one."""
        for file in _files_of(source):
            moved = self.root / name / file.relative_to(source)
            moved.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, moved)
            with moved.open("rb") as opened:
                os.fsync(opened.fileno())
            self._sync_up(moved.parent)

    def _sync_up(self, folder: Path) -> None:
        """Make the entries of the folder and of its parents in the lake durable."""
        for directory in (folder, *folder.parents):
            sync_directory(directory)
            if directory == self.root:
                break

    def share(self, files: Sequence[str], name: str) -> None:
        """Add files, as `find` returns them, to another folder as well."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in map(Path, files):
            os.link(file, folder / file.name)
        self._sync_up(folder)

    def link_rows(self, name: str, rows: str) -> None:
        """Link the full snapshots, which versions share, into a version under this name."""
        (self.root / rows).mkdir(exist_ok=True)
        link = self.root / name
        link.symlink_to(Path("..") / ".." / rows)
        sync_directory(link.parent)

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        remove(self.root / name)


def without_password(url: str) -> str:
    """Return the URL without user and password."""
    return re.sub(r"//.*@", "//", url)


def _files_of(source: Path) -> list[Path]:
    """Return a file itself, or the files below a folder, in order."""
    return [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())


def _raise(error: OSError) -> None:
    raise error


@dataclass(frozen=True)
class RemoteFiles:
    """A folder of a store such as `s3://bucket/lake`; the object `famulor.json` in it names the current version.

    Credentials follow dlt's rules: `destination.filesystem.credentials`.
    """

    settings: Settings
    url: str
    pointer = f"the object {DATASET}.json"
    residual_data = "earlier versions of objects, if the store keeps them"
    root = None

    @property
    def location(self) -> str:
        """The URL without user and password."""
        return without_password(self.url)

    @cached_property
    def arrow(self) -> Any:
        """The fsspec filesystem. Raises ConfigError if it cannot be opened."""
        from sip_trunks.core.dlt_runtime import dlt_environment

        try:
            with dlt_environment(self.settings):
                from dlt.common.configuration import resolve_configuration
                from dlt.common.storages import FilesystemConfiguration, fsspec_from_config

                config = resolve_configuration(
                    FilesystemConfiguration(bucket_url=self.url), sections=("destination", "filesystem")
                )
                return fsspec_from_config(config)[0]
        except Exception as error:
            kind = type(error).__name__
            raise ConfigError(
                f"the lake {self.location} cannot be used ({kind}): the extra for its protocol, such as '.[s3]', "
                "and credentials under [destination.filesystem.credentials] are needed"
            ) from error

    @contextmanager
    def _store(self) -> Iterator[Any]:
        """Yield the filesystem without cached listings; errors, which differ by store, become DestinationError."""
        try:
            self.arrow.invalidate_cache()
            yield self.arrow
        except (SipTrunksError, FileNotFoundError):
            raise
        except Exception as error:
            text = str(error).replace(self.url, self.location).partition("\n")[0]
            raise DestinationError(
                f"the lake {self.location} cannot be used ({type(error).__name__}): {text}"
            ) from error

    def _at(self, name: str) -> str:
        return f"{self.url}/{name}"

    def make_known_to(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB read the lake, and nothing else in the store, through fsspec, which needs no download."""
        connection.register_filesystem(_confined(self.arrow, self.url))

    def confine(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Keep the connection from reading files of this machine."""
        # Without external access, DuckDB would not use fsspec either.
        connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET lock_configuration = true")

    def read_pointer(self) -> str | None:
        """Return the current version, if there is one."""
        with self._store() as store, suppress(FileNotFoundError):
            return str(json.loads(store.cat_file(self._at(f"{DATASET}.json")))["version"])
        return None

    def holding_lock(self) -> AbstractContextManager[None]:
        """Do nothing, because a store has no locks; a run reads the pointer again before it writes it."""
        return nullcontext()

    def has_begun(self) -> bool:
        """Whether publishing the first version has begun and not ended."""
        with self._store() as store:
            return bool(store.exists(self._at(_BEGINNING)))

    def mark_beginning(self) -> None:
        """Record that publishing the first version has begun."""
        with self._store() as store:
            store.pipe_file(self._at(_BEGINNING), b"{}")

    def write_pointer(self, version: str) -> None:
        """Make a version the current one; a store writes an object as a whole."""
        with self._store() as store:
            store.pipe_file(self._at(f"{DATASET}.json"), json.dumps({"version": version}).encode())
            if store.exists(self._at(_BEGINNING)):
                store.rm(self._at(_BEGINNING))

    def find(self, folder: str) -> list[str]:
        """Return the Parquet files below a folder, in order."""
        with self._store() as store:
            found = store.find(self._at(folder))
            return sorted(store.unstrip_protocol(path) for path in found if path.endswith(".parquet"))

    def list_names(self, folder: str) -> list[str]:
        """Return the names in a folder; none if it does not exist."""
        with self._store() as store, suppress(FileNotFoundError):
            return sorted(path.rstrip("/").rpartition("/")[2] for path in store.ls(self._at(folder), detail=False))
        return []

    def size_bytes(self, folder: str) -> int:
        """Return the size of all files below a folder."""
        with self._store() as store:
            return int(sum(store.du(self._at(folder), total=False).values()))

    def adopt(self, source: Path, name: str) -> None:
        """Copy a file, or the files of a folder, into the lake."""
        with self._store() as store:
            for file in _files_of(source):
                store.put_file(str(file), self._at((PurePosixPath(name) / file.relative_to(source)).as_posix()))

    def share(self, files: Sequence[str], name: str) -> None:
        """Add files, as `find` returns them, to another folder as well."""
        with self._store() as store:
            for file in files:
                store.cp_file(file, self._at(f"{name}/{file.rpartition('/')[2]}"))

    def link_rows(self, name: str, rows: str) -> None:
        """Do nothing: a store has no links; readers find the rows beside the versions."""

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        with self._store() as store:
            store.rm(self._at(name), recursive=True)


def _confined(store: Any, url: str) -> Any:
    """Return a read-only filesystem of the files below the URL, which requests the details of each file only once."""
    from fsspec.spec import AbstractFileSystem

    root = store._strip_protocol(url)  # noqa: SLF001 - fsspec has no public name for it
    known: dict[str, Any] = {}

    class Confined(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
        protocol = store.protocol
        cachable = False

        def _inside(self, path: str) -> str:
            bare = str(store._strip_protocol(path))  # noqa: SLF001
            if not bare.startswith(f"{root}/") or ".." in bare.split("/"):
                raise PermissionError(f"{path} is outside of the lake")
            return bare

        def info(self, path: str, **_: Any) -> Any:
            bare = self._inside(path)
            if bare not in known:
                known[bare] = store.info(bare)
            return known[bare]

        def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
            return store.ls(self._inside(path), detail=detail)

        def modified(self, path: str) -> Any:
            found = self.info(path)
            return found.get("LastModified") or store.modified(self._inside(path))

        def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
            if mode != "rb":
                raise PermissionError("a lake is read only")
            return store.open(self._inside(path), mode)

    return Confined()


LakeFiles = LocalFiles | RemoteFiles


def open_lake_files(settings: Settings) -> LakeFiles:
    """Return the files of the lake that `sip_trunks.lake` names."""
    lake = settings.lake
    if "://" in lake and not lake.startswith("file://"):
        return RemoteFiles(settings, lake.rstrip("/"))
    return LocalFiles(local_folder(settings))


def local_folder(settings: Settings) -> Path:
    """Return the folder that `sip_trunks.lake` names, relative to the data directory."""
    return settings.data_dir / Path(settings.lake.removeprefix("file://")).expanduser()
