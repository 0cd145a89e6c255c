"""The DuckDB file: a private copy to work on, and atomic publishing.

    data/warehouse.duckdb ─copy─▶ state/warehouse.duckdb ─dlt, views, comments, reports─▶ fsync ─rename─▶ published

Every run starts from the published file and replaces it as a whole. A reader keeps the file it opened; a run that
did not end leaves nothing that counts. The loader's private copy has the same name, since DuckDB names the catalog
after the file.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import DestinationFailed, nothing_stored
from sip_trunks.core.files import sync_directory
from sip_trunks.destinations.base import Rewritten, Spare
from sip_trunks.warehouse import sql, state
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa

    from sip_trunks.core.settings import Settings
    from trunk_transforms.parse.batch import Load

_ROWS_WORTH_THREADS = 300_000
_STAGING = f"{sql.DATASET}_staging"
_WORK = f"{sql.DATASET}_work"
_DLT_CONFIG = {
    # What dlt writes is read once, a moment later, by threads that share its row groups.
    "DATA_WRITER__COMPRESSION": "none",
    "DATA_WRITER__ROW_GROUP_SIZE": "122880",
}


@dataclass(frozen=True)
class Warehouse:
    """The published DuckDB file of a data directory, as a destination."""

    settings: Settings
    name = "duckdb"
    publishes_reports = True
    is_atomic = True
    trunks_at_once = 200_000

    @property
    def path(self) -> Path:
        """The published file."""
        return self.settings.warehouse_path

    @property
    def place(self) -> str:
        """The published file, for a person."""
        return str(self.path)

    @property
    def _private_path(self) -> Path:
        return self.settings.state_dir / self.path.name

    @property
    def _fresh_path(self) -> Path:
        return self.settings.state_dir / "rewritten" / self.path.name

    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    def size_bytes(self) -> int | None:
        """Return the size of the file, if there is one."""
        return self.path.stat().st_size if self.exists() else None

    def is_work_pending(self) -> bool:
        """Whether a private copy lies there."""
        return os.path.exists(self._private_path)  # noqa: PTH110 - a folder that may not be read is no error

    def discard_work(self) -> None:
        """Throw away whatever lies at the loader's own place."""
        for leftover in (self._private_path, _write_ahead_log(self._private_path)):
            leftover.unlink(missing_ok=True)
        shutil.rmtree(self._fresh_path.parent, ignore_errors=True)

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a writing connection to a private copy. Raises DestinationFailed if the file is none of DuckDB's."""
        if self.exists():
            shutil.copy(self.path, self._private_path)  # with its permissions
        try:
            connection = duckdb.connect(self._private_path)
        except duckdb.Error as error:
            raise _unreadable(self.path, error) from error
        try:
            connection.execute("SET TimeZone = 'UTC'")
            # Rows have keys, not places; keeping their order costs memory.
            connection.execute("SET preserve_insertion_order = false")
            yield connection
            _write_all(connection)
        except duckdb.Error as error:
            raise DestinationFailed(f"DuckDB failed: {_first_line(error)}") from error
        finally:
            connection.close()

    def load(self, connection: duckdb.DuckDBPyConnection, load: Load) -> None:
        """Merge the snapshots into the private copy, by dlt. Raises DestinationFailed."""
        from sip_trunks.core.provider_catalog import read_usable_facts
        from sip_trunks.destinations.dlt_pipeline import changing_source, load_with_dlt, merging_source
        from sip_trunks.warehouse.views import create_views

        if load.row_count < _ROWS_WORTH_THREADS:
            # Few rows are loaded with less work by one thread.
            connection.execute("SET threads = 1")
            # The file is written once, at the end; nothing could be recovered from a half of it.
            connection.execute("SET checkpoint_threshold = '1GB'")

        _drop_passing(connection)
        if _tables_agree(connection, load.accounts):
            stale = _note_stale(connection, load)
            source = partial(changing_source, load, stale)
        else:
            source = partial(merging_source, load)
        load_with_dlt(self.settings, _through(connection), source, _DLT_CONFIG)
        _drop_passing(connection)
        # dlt stores its schema anew with every load, since the boundary of the history is part of it; the last counts.
        versions = f"{sql.DATASET}._dlt_version"
        connection.execute(f"DELETE FROM {versions} WHERE inserted_at < (SELECT max(inserted_at) FROM {versions})")
        create_views(connection, partial(read_usable_facts, self.settings))

    def seed(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Load whole tables into the private copy, by dlt. Raises DestinationFailed."""
        from sip_trunks.core.provider_catalog import read_usable_facts
        from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, load_with_dlt, writing_source
        from sip_trunks.warehouse.views import create_views

        kept = {name: table for name, table in tables.items() if name != schema.SIP_TRUNK_SNAPSHOT_ROWS.name}
        load_with_dlt(self.settings, _through(connection), lambda: writing_source(kept), KEEPING_LOAD_IDS)
        create_views(connection, partial(read_usable_facts, self.settings))

    def write_looks(self, connection: duckdb.DuckDBPyConnection, looks: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to `sip_trunk_snapshots` for answers that dlt has nothing to load from."""
        state.insert_looks(connection, f"{sql.DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}", looks)

    @contextmanager
    def rewriting(self, drops: Mapping[str, str], _moment: datetime) -> Iterator[Rewritten]:
        """Yield a writing connection to a private copy without these rows, which then is written anew."""
        with self.working() as connection:
            stored = [table for table in drops if sql.exists(connection, table)]
            with sql.transaction(connection):
                counts = {table: _delete(connection, f"{sql.DATASET}.{table}", drops[table]) for table in stored}
            yield Rewritten(connection, counts)
        self._write_anew()

    def _write_anew(self) -> None:
        """Copy what counts of the private file into a new one: blocks that are free keep what was in them."""
        self._fresh_path.parent.mkdir()
        try:
            with duckdb.connect() as connection:
                connection.execute("SET preserve_insertion_order = false")
                connection.execute(f"ATTACH {sql.literal(self._private_path)} AS stored (READ_ONLY)")
                connection.execute(f"ATTACH {sql.literal(self._fresh_path)} AS fresh")
                connection.execute("COPY FROM DATABASE stored TO fresh")
        except duckdb.Error as error:
            raise DestinationFailed(f"{self.path} cannot be written anew: {_first_line(error)}") from error
        shutil.copymode(self._private_path, self._fresh_path)
        self._fresh_path.replace(self._private_path)

    def forget_past(self) -> None:
        """Do nothing: there is one file."""

    def spare(self) -> Spare:
        """Return the size of the blocks that are free."""
        with self.reading() as connection:
            return Spare(bytes=state.read_free_bytes(connection))

    remnants = None

    def publish(self, _snapshot_at: datetime) -> None:
        """Put the private file in the published one's place, atomically and durably."""
        with self._private_path.open("rb") as file:
            os.fsync(file.fileno())
        self._private_path.replace(self.path)
        # A log that somebody's writing connection left beside the old file would be replayed on the new one.
        _write_ahead_log(self.path).unlink(missing_ok=True)
        sync_directory(self.settings.data_dir)

    @contextmanager
    def reading(self, _tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a reading connection to the published file that can touch nothing else.

        Raises SettingsError if there is no file yet, DestinationFailed if it cannot be opened.
        """
        if not self.exists():
            raise nothing_stored(self.place)
        # No SQL of a reader writes a file, reads another one or loads an extension.
        try:
            connection = duckdb.connect(self.path, read_only=True, config={"enable_external_access": "false"})
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET lock_configuration = true")
        except duckdb.Error as error:
            raise _unreadable(self.path, error) from error
        try:
            yield connection
        finally:
            connection.close()

    def tally(self, columns: Sequence[str]) -> pa.Table:
        """Return how many trunks have each combination of these columns."""
        with self.reading((schema.SIP_TRUNKS.name,)) as connection:
            return state.tally_trunks(connection, columns)


def _write_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the log into the file; closing would do it too, but keep silent if it cannot."""
    connection.execute("CHECKPOINT")


def _delete(connection: duckdb.DuckDBPyConnection, table: str, condition: str) -> int:
    """Delete the rows of a table for which a condition holds; return how many."""
    ((count,),) = connection.execute(f"DELETE FROM {table} WHERE {condition}").fetchall()
    return int(count)


def _tables_agree(connection: duckdb.DuckDBPyConnection, accounts: Sequence[str]) -> bool:
    """Whether the tables say the same of what is current, so that one of them speaks for all.

    They do unless somebody has written into the file; then a merge of whole snapshots mends them.
    """
    stored = sql.read_tables(connection)
    tables = {table.name for table in schema.TABLES}
    if not tables & stored.keys():
        return True
    if not tables <= stored.keys():
        return False
    theirs = f"account IN ({', '.join(map(sql.literal, accounts))})"
    versions = "count(*), coalesce(sum(hash(account, id, row_version)), 0)"
    entry_count = "coalesce(json_array_length(allowed_inbound_ips), 0)"
    expected = f"coalesce(sum({entry_count}), 0), coalesce(sum({entry_count} * hash(row_version)::HUGEINT), 0)"

    def read(sums: str, table: schema.Table, condition: str = "") -> tuple[Any, ...]:
        query = f"SELECT {sums} FROM {sql.DATASET}.{table.name} WHERE {theirs} {condition}"
        return tuple(connection.execute(query).fetchall()[0])

    history = read(versions, schema.SIP_TRUNKS_HISTORY, "AND valid_to IS NULL")
    entries = read("count(*), coalesce(sum(hash(row_version)), 0)", schema.SIP_TRUNK_ALLOWED_IPS)
    return read(f"{versions}, {expected}", schema.SIP_TRUNKS) == history + entries


def _drop_passing(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop the schemas that are there during a load only."""
    for passing in (_STAGING, _WORK):
        connection.execute(f"DROP SCHEMA IF EXISTS {passing} CASCADE")


def _note_stale(connection: duckdb.DuckDBPyConnection, load: Load) -> str | None:
    """Make a table of the stored trunks that the load changes or removes; return its name, or None if there are none.

    dlt works on connections of its own, which see no temporary table.
    """
    keys = _stale_keys(load)
    if not len(keys):
        return None
    connection.execute(f"CREATE SCHEMA {_WORK}")
    connection.register("keys", keys)
    connection.execute(f"CREATE TABLE {_WORK}.stale AS FROM keys")
    connection.unregister("keys")
    return f"{_WORK}.stale"


def _stale_keys(load: Load) -> pa.Table:
    """Return account and trunk_id of the stored trunks that have changed or are gone."""
    import pyarrow as pa

    return pa.concat_tables(
        pa.table(
            {
                "account": pa.repeat(pa.scalar(account, pa.string()), len(difference.stale_ids)),
                "trunk_id": difference.stale_ids,
            }
        )
        for account, difference in zip(load.accounts, load.differences, strict=True)
    )


def _unreadable(path: Path, error: duckdb.Error) -> DestinationFailed:
    """Return what to say of a file that cannot be opened, and what to do about it."""
    text = str(error)
    if "lock" in text:
        return DestinationFailed(f"{path} is open for writing in another program; close it there, or open it read-only")
    if "storage version greater" in text or "version number" in text:
        return DestinationFailed(
            f"{path} was written by a newer DuckDB, in a format that this one ({duckdb.__version__}) cannot read; "
            "docs/destinations.md says how to bring it back (Old and new DuckDB)"
        )
    return DestinationFailed(
        f"{path} cannot be read ({_first_line(error)}); restore it from a backup, or move it away to start anew"
    )


def _through(connection: duckdb.DuckDBPyConnection) -> Callable[[], Any]:
    """Return what makes dlt's destination: a connection of its own would checkpoint the file after every job."""

    def destination() -> Any:
        import dlt

        return dlt.destinations.duckdb(connection)

    return destination


def _write_ahead_log(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
