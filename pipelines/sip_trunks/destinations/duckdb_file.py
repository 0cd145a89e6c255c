"""The DuckDB file: a run works on a private copy, which then replaces the published file.

    data/warehouse.duckdb ─copy─▶ state/warehouse.duckdb ─dlt, views, comments, reports─▶ fsync ─rename─▶ published

Every run starts from the published file and replaces it as a whole. A reader keeps the file that it opened, and an
interrupted run changes nothing for readers. The private copy has the same file name, because DuckDB names the catalog
after the file.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import DestinationError, first_line, nothing_stored
from sip_trunks.core.files import move_whole
from sip_trunks.destinations.base import Destination, ReclaimableSpace, Rewritten
from sip_trunks.warehouse import sql, state
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pyarrow as pa

    from sip_trunks.core.settings import Settings
    from sip_trunks.warehouse.rewriting import Rewriting
    from trunk_transforms.parse.batch import SnapshotBatch

_ROWS_WORTH_THREADS = 300_000
_ROWS_WORTH_LARGE_BLOCKS = 20_000
# Rows have keys, so order does not matter. By default, each thread collects five row groups before it writes them.
_SAVE_MEMORY = "SET preserve_insertion_order = false; SET write_buffer_row_group_count = 1"
_STAGING = f"{sql.DATASET}_staging"
_WORK = f"{sql.DATASET}_work"
_DLT_CONFIG = {
    # dlt's files are read only once, by threads that share the row groups.
    "DATA_WRITER__COMPRESSION": "none",
    "DATA_WRITER__ROW_GROUP_SIZE": "122880",
}


@dataclass(frozen=True)
class DuckDBFile(Destination):
    """The published DuckDB file of a data directory, as a destination."""

    settings: Settings
    name = "duckdb"
    publishes_reports = True
    is_atomic = True
    max_batch_trunks = 200_000
    alternative = "parquet"

    @property
    def path(self) -> Path:
        """The published file."""
        return self.settings.warehouse_path

    @property
    def location(self) -> str:
        """The path of the published file."""
        return str(self.path)

    @property
    def _private_path(self) -> Path:
        return self.settings.state_dir / self.path.name

    @property
    def _fresh_path(self) -> Path:
        return self.settings.state_dir / "rewritten" / self.path.name

    def exists(self) -> bool:
        """Whether the file exists."""
        return self.path.exists()

    def size_bytes(self) -> int | None:
        """Return the size of the file; None if it does not exist."""
        return self.path.stat().st_size if self.exists() else None

    def needed_bytes(self) -> int:
        """Return twice the size of the file: one for the private copy, one for dlt's files and the blocks they add."""
        return 2 * (self.size_bytes() or 0)

    def is_work_pending(self) -> bool:
        """Whether an interrupted run has left a private copy."""
        return os.path.exists(self._private_path)  # noqa: PTH110 - a folder that may not be read is not an error

    def discard_work(self) -> None:
        """Delete the private copy of an interrupted run."""
        for leftover in (self._private_path, _write_ahead_log(self._private_path)):
            leftover.unlink(missing_ok=True)
        shutil.rmtree(self._fresh_path.parent, ignore_errors=True)

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a writing connection to a private copy. Raises DestinationError if DuckDB cannot read the file."""
        if self.exists():
            shutil.copy(self.path, self._private_path)  # with its permissions
        try:
            connection = duckdb.connect(self._private_path)
        except duckdb.Error as error:
            raise _unreadable(self.path, error) from error
        try:
            with connection:
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute(_SAVE_MEMORY)
                # Metadata of an earlier checkpoint that is used again cannot be read by DuckDB before 1.4.
                connection.execute("SET experimental_metadata_reuse = false")
                yield connection
                _checkpoint(connection)
        except duckdb.Error as error:
            raise DestinationError(f"DuckDB failed: {first_line(error)}") from error

    def load(self, connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Merge the snapshots into the private copy with dlt. Raises DestinationError."""
        from sip_trunks.destinations.dlt_pipeline import changing_source, load_with_dlt, merging_source

        self._begin_file(connection, batch.row_count)
        if batch.row_count < _ROWS_WORTH_THREADS:
            # One thread loads few rows with less work.
            connection.execute("SET threads = 1")
            # The file is written once, at the end, because a part of it would be useless.
            connection.execute("SET checkpoint_threshold = '1GB'")

        _drop_temporary_schemas(connection)
        if _tables_agree(connection, batch):
            source = partial(changing_source, batch, _write_stale_keys(connection, batch))
        else:
            source = partial(merging_source, batch)
        # Through dlt's own connection, the file would be checkpointed after every job.
        load_with_dlt(self.settings, lambda dlt: dlt.duckdb(connection), source, _DLT_CONFIG)
        _drop_temporary_schemas(connection)
        # dlt stores its schema with every load, because the time of the load is part of it; only the last is needed.
        versions = f"{sql.DATASET}._dlt_version"
        connection.execute(f"DELETE FROM {versions} WHERE inserted_at < (SELECT max(inserted_at) FROM {versions})")
        self._create_views(connection)
        if batch.row_count >= self.max_batch_trunks:
            # Background threads return freed memory to the system.
            connection.execute("SET allocator_background_threads = true")
            # DuckDB would keep these rows in memory for as long as the file is attached.
            _checkpoint(connection)
            with self._detached(connection) as name:
                connection.execute(f"ATTACH {sql.literal(self._private_path)} AS {name}")

    def initialize(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Load whole tables into the private copy with dlt. Raises DestinationError."""
        from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, load_with_dlt, writing_source

        self._begin_file(connection, len(tables[schema.TRUNKS.history.name]))
        source = partial(writing_source, {t.name: tables[t.name] for t in schema.TABLES if t.name in tables})
        load_with_dlt(self.settings, lambda dlt: dlt.duckdb(connection), source, KEEPING_LOAD_IDS)
        self._create_views(connection)

    def _begin_file(self, connection: duckdb.DuckDBPyConnection, row_count: int) -> None:
        """Give a file that is new the blocks that suit its rows; a file keeps the size of its blocks for good."""
        if self.exists() or sql.read_tables(connection):
            return
        with self._detached(connection) as name:
            self._private_path.unlink()
            attach_new_file(connection, self._private_path, name, row_count)

    @contextmanager
    def _detached(self, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
        """Detach the private copy and yield its name, under which a file has to be attached in this context.

        Every connection continues with that file, because its database has the same name.
        """
        name = sql.quoted(self._private_path.stem)
        connection.execute(f"ATTACH ':memory:' AS aside; USE aside; DETACH {name}")
        yield name
        connection.execute(f"USE {name}; DETACH aside")

    def _create_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        from sip_trunks.warehouse.provider_catalog import read_usable_catalog
        from sip_trunks.warehouse.views import create_views

        create_views(connection, partial(read_usable_catalog, self.settings))

    def write_observations(self, connection: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to `sip_trunk_snapshots` for responses that are unchanged."""
        sql.insert_rows(connection, sql.OBSERVATIONS, rows)
        if not sql.has_every_view(connection):  # another release wrote the file
            self._create_views(connection)

    def write_audit(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Write the tables of the audit, and their views, into the private copy."""
        from sip_trunks.warehouse.views import write_audit

        write_audit(connection, tables)

    @contextmanager
    def rewriting(self, rewriting: Rewriting, _moment: datetime) -> Iterator[Rewritten]:
        """Yield a writing connection to a private copy with changed rows, which is compacted afterwards."""
        with self.working() as connection:
            rewriting.prepare(connection)
            names = [table.name for table in schema.EVERY_TABLE]
            yield connection, rewriting.apply(connection, sql.DATASET, names)
        self._compact()

    def _compact(self) -> None:
        """Copy the content of the private file into a new one, because free blocks keep the bytes of deleted rows."""
        self._fresh_path.parent.mkdir()
        try:
            with duckdb.connect() as connection:
                connection.execute(_SAVE_MEMORY)
                connection.execute(f"ATTACH {sql.literal(self._private_path)} AS stored (READ_ONLY)")
                history = f"database_name = 'stored' AND table_name = {sql.literal(schema.TRUNKS.history.name)}"
                sizes = connection.execute(f"SELECT estimated_size FROM duckdb_tables() WHERE {history}").fetchall()
                attach_new_file(connection, self._fresh_path, "fresh", sum(size for (size,) in sizes))
                connection.execute("COPY FROM DATABASE stored TO fresh")
        except duckdb.Error as error:
            raise DestinationError(f"{self.path} cannot be rewritten: {first_line(error)}") from error
        shutil.copymode(self._private_path, self._fresh_path)
        self._fresh_path.replace(self._private_path)

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return the size of the free blocks."""
        with self.reading() as connection:
            return ReclaimableSpace(bytes=state.read_free_bytes(connection))

    def publish(self, _snapshot_at: datetime) -> str | None:
        """Replace the published file with the private copy, atomically and durably; links to it are followed.

        Return a warning if another writer's changes were not in the copy.
        """
        warning = self._set_changes_aside()
        move_whole(self._private_path, self.path)
        return warning

    def _set_changes_aside(self) -> str | None:
        """Keep the published file under another name if another program has left a log of changes beside it.

        The log would be replayed on the new file. It fits only the old one, so both are kept. Return a warning.
        """
        logs = [log for log in map(_write_ahead_log, {self.path, self._target}) if log.exists() and log.stat().st_size]
        for log in logs:
            kept = self._target.with_name(f"{self.path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.duckdb")
            if self.exists():
                os.link(self._target, kept)
            log.replace(_write_ahead_log(kept))
            warning = (
                f"another program has changed {self.path}, but ended without writing its log into the file; these "
                f"changes are not in the new file. They are kept: open {kept} with DuckDB, then delete it"
            )
        return warning if logs else None

    @property
    def _target(self) -> Path:
        """The published file, or the one that it links to."""
        return Path(os.path.realpath(self.path))

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """The folder of the file, if the published file is a link to it."""
        folder = self._target.parent
        return () if folder == self.settings.data_dir.resolve() else (folder,)

    @property
    def residual_data(self) -> str | None:
        """The files that were kept because of another program's changes."""
        return ", ".join(map(str, sorted(self._target.parent.glob(f"{self.path.stem}-*.duckdb")))) or None

    @contextmanager
    def reading(self, _tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a read-only connection to the published file that can open nothing else.

        Raises NothingStoredError if the file does not exist yet, DestinationError if it cannot be opened.
        """
        if not self.exists():
            raise nothing_stored(self.location)
        # A reader's SQL cannot write a file, read another one or load an extension.
        try:
            connection = duckdb.connect(self.path, read_only=True, config={"enable_external_access": "false"})
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET lock_configuration = true")
        except duckdb.Error as error:
            raise _unreadable(self.path, error) from error
        with connection:
            yield connection


def attach_new_file(connection: duckdb.DuckDBPyConnection, path: Path, name: str, row_count: int) -> None:
    """Create a DuckDB file for so many versions of trunks, and attach it as `name`.

    Its blocks have 16 KB if these are few, because most of a small file with DuckDB's default of 256 KB would be empty.
    Many rows take a third less room in large blocks.
    """
    block_bytes = 2**18 if row_count >= _ROWS_WORTH_LARGE_BLOCKS else 2**14
    connection.execute(f"ATTACH {sql.literal(path)} AS {name} (BLOCK_SIZE {block_bytes})")


def _checkpoint(connection: duckdb.DuckDBPyConnection) -> None:
    # Closing the connection would also write the log into the file, but would hide an error.
    connection.execute("CHECKPOINT")


def _tables_agree(connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> bool:
    """Whether the tables agree on the current rows of these accounts, so that a load can compare with one of them.

    They agree unless another program has written to the file. If they do not, a merge of whole snapshots repairs them.
    """
    resources = [*batch.accounts_by_list]
    needed, stored = [table.name for table in schema.loaded_tables(resources)], sql.read_tables(connection)
    missing = [name for name in needed if name not in stored]
    if missing:
        return len(missing) == len(needed)
    theirs = f"account IN ({', '.join(map(sql.literal, batch.accounts))})"

    def read(sums: str, table: schema.Table, condition: str = "") -> tuple[Any, ...]:
        query = f"SELECT {sums} FROM {sql.DATASET}.{table.name} WHERE {theirs} {condition}"
        return tuple(connection.execute(query).fetchall()[0])

    def agree(resource: schema.Resource) -> bool:
        versions = f"count(*), coalesce(sum(hash(account, {resource.key}, row_version)), 0)"
        expected, found = versions, read(versions, resource.history, "AND valid_to IS NULL")
        if resource.entries:
            count = f"coalesce(json_array_length({resource.entries.list_column}), 0)"
            expected += f", coalesce(sum({count}), 0), coalesce(sum({count} * hash(row_version)::HUGEINT), 0)"
            found += read("count(*), coalesce(sum(hash(row_version)), 0)", resource.entries.table)
        return read(expected, resource.current) == found

    return all(map(agree, resources))


def _drop_temporary_schemas(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop the schemas that exist only during a load."""
    for passing in (_STAGING, _WORK):
        connection.execute(f"DROP SCHEMA IF EXISTS {passing} CASCADE")


def _write_stale_keys(connection: duckdb.DuckDBPyConnection, batch: SnapshotBatch) -> dict[schema.Resource, str]:
    """Make tables with the keys of the stored rows that the batch changes or removes, for resources with such rows.

    Returns their names. They are not temporary tables, because dlt works on other connections.
    """
    import pyarrow as pa

    connection.execute(f"CREATE SCHEMA {_WORK}")
    stale = {}
    for resource in batch.accounts_by_list:
        keys = pa.concat_tables(
            pa.table({"account": pa.repeat(snapshot.account, len(known.stale_ids)), resource.key: known.stale_ids})
            for snapshot, known in zip(batch.snapshots, batch.differences, strict=True)
            if snapshot.resource is resource
        )
        if len(keys):
            stale[resource] = f"{_WORK}.{resource.name}"
            sql.write_table(connection, stale[resource], keys)
    return stale


def _unreadable(path: Path, error: duckdb.Error) -> DestinationError:
    """Return the error for a file that cannot be opened; it says what to do."""
    text = str(error)
    if "lock" in text:
        return DestinationError(f"{path} is open for writing in another program; close it there, or open it read-only")
    if "storage version greater" in text or "version number" in text:
        return DestinationError(
            f"{path} was written by a newer DuckDB, in a format that this one ({duckdb.__version__}) cannot read; "
            "see docs/destinations.md, Old and new DuckDB"
        )
    return DestinationError(
        f"{path} cannot be read ({first_line(error)}); restore it from a backup, or move it away to start again"
    )


def _write_ahead_log(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
