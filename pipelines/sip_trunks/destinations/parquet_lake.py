"""The Parquet lake: folders of files, a version of them published by one switch.

    lake/famulor ──▶ versions/20261124T173641123456Z/    what is current: one folder per table, as dlt lays them out
                       sip_trunks/ sip_trunks_history/ sip_trunk_allowed_ips/ sip_trunk_snapshots/ schema_drift/
                       reports/   sip_trunk_snapshot_rows ──▶ ../../sip_trunk_snapshot_rows
         sip_trunk_snapshot_rows/snapshot_date=2026-11-24/20261124T173641123456Z.parquet     only ever added to
         sip_trunk_snapshot_rows-20261201T050000000000Z/…    the same, written anew for this version and those after it

Plain Parquet cannot merge, and dlt's `replace` deletes the old files before it writes the new ones. So every run has
dlt write whole tables into a folder of its own, moves them into the lake as a new version, and switches: a link where
the lake is a directory, the object `famulor.json` where it is a store that has no links. No file ever changes; the
versions before stay for an hour, so that whoever reads one can finish.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.core.errors import DestinationFailed, RunActive, nothing_stored
from sip_trunks.destinations.base import Rewritten, Spare
from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, load_with_dlt, writing_source
from sip_trunks.destinations.lake_storage import LocalFiles, RemoteFiles
from sip_trunks.warehouse import report_tables, sql, state
from trunk_transforms import schema
from trunk_transforms.history.after_load import tables_after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pyarrow as pa

    from sip_trunks.core.settings import Settings
    from trunk_transforms.parse.batch import Load

_VERSION_FORMAT = "%Y%m%dT%H%M%S%fZ"
_VERSION = re.compile(r"\d{8}T\d{12}Z")
_DATE_FOLDER = re.compile(r"snapshot_date=\d{4}-\d\d-\d\d")
_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
_GENERATION = re.compile(rf"{_ROWS}-({_VERSION.pattern})")
_LOOKS = schema.SIP_TRUNK_SNAPSHOTS.name
_DLT_CONFIG = KEEPING_LOAD_IDS | {
    # Files are final as dlt writes them: small, and with row groups that a query can skip.
    "DATA_WRITER__COMPRESSION": "zstd",
    "DATA_WRITER__ROW_GROUP_SIZE": "100000",
    # Every version is a dataset of its own: there is no state to restore.
    "RESTORE_FROM_DESTINATION": "false",
}
_READERS_MAY_TAKE = timedelta(hours=1)
_ROWS_AT_ONCE = 100_000  # of a row group, as dlt writes them


@dataclass(frozen=True)
class Part:
    """Of a version of the lake, the rows of some accounts: the tables alone, without views and reports."""

    version: str
    accounts: tuple[str, ...]

    @property
    def condition(self) -> str:
        """Which rows that are, in SQL."""
        return f"account IN ({', '.join(map(sql.literal, self.accounts))})" if self.accounts else "false"


@dataclass(frozen=True)
class Lake:
    """Folders of Parquet files, as a destination; with a part, nothing else is seen by who reads."""

    settings: Settings
    part: Part | None = None
    name = "parquet"
    publishes_reports = True
    is_atomic = True
    trunks_at_once = None

    @cached_property
    def _files(self) -> LocalFiles | RemoteFiles:
        place = self.settings.lake
        if "://" in place and not place.startswith("file://"):
            return RemoteFiles(self.settings, place.rstrip("/"))
        return LocalFiles(self.settings.data_dir / Path(place.removeprefix("file://")).expanduser())

    @property
    def place(self) -> str:
        """The folder or URL, for a person."""
        return self._files.place

    @property
    def _staging(self) -> Path:
        return self.settings.state_dir / "lake"

    @property
    def _draft(self) -> Path:
        return self._staging / sql.DATASET

    @cached_property
    def _version(self) -> str | None:
        """The version that was current when this was first asked. Raises DestinationFailed if that cannot be told."""
        if self.part:
            return self.part.version
        version = self._files.read_pointer()
        if version is None and not self._files.has_begun():
            versions = self._versions()
            if versions or any(self._files.find(folder) for folder in self._generations().values()):
                raise DestinationFailed(
                    f"the lake at {self.place} has lost {self._files.pointer}, which says what is current; "
                    f"put it back (the newest version is {max(versions, default='gone')}), or move the lake away"
                )
        return version

    def _versions(self) -> list[str]:
        """Return the versions that are there, in order; what else lies beside them is not the lake's."""
        return [name for name in self._files.list_names("versions") if _VERSION.fullmatch(name)]

    def _generations(self) -> dict[str, str]:
        """Return the folders with the full snapshots, in order, by the version that each was written anew for."""
        found = [name for name in self._files.list_names("") if name == _ROWS or _GENERATION.fullmatch(name)]
        return {name.removeprefix(_ROWS).removeprefix("-"): name for name in sorted(found)}

    def _rows_of(self, version: str | None) -> str:
        """Return the folder with the full snapshots of a version: as with their files, the newest that it may know."""
        known = [folder for since, folder in self._generations().items() if since <= (version or "")]
        return known[-1] if known else _ROWS

    @property
    def version(self) -> str:
        """What is current, by its name. Raises SettingsError if nothing is stored yet."""
        if self._version is None:
            raise nothing_stored(self.place)
        return self._version

    def exists(self) -> bool:
        """Whether a version has been published."""
        return self._version is not None

    def size_bytes(self) -> int | None:
        """Return the size of everything that is current, snapshots included."""
        if self._version is None:
            return None
        rows = self._rows_of(self._version)
        return self._files.size_bytes(f"versions/{self._version}") + self._files.size_bytes(rows)

    def is_work_pending(self) -> bool:
        """Whether a run that did not end has left files of its own."""
        try:
            return self._staging.exists()
        except PermissionError:
            return False

    def discard_work(self) -> None:
        """Throw away the files of a run that did not end."""
        shutil.rmtree(self._staging, ignore_errors=True)

    # ------------------------------------------------------------------ writing

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to what is published; once it is done with, the reports in it become files."""
        with self._failing_by_name(), self._connection() as connection:
            self._show(connection, [table.name for table in schema.TABLES])
            self._show_reports(connection, kind="TABLE")
            yield connection
            self._keep_reports(connection)

    def load(self, connection: duckdb.DuckDBPyConnection, load: Load) -> None:
        """Have dlt write whole tables as they are after the load. Raises DestinationFailed."""
        stored = {table.name: self._read(table) for table in schema.TABLES}
        self._write(connection, tables_after(load, stored))
        for file in self._drafted(_ROWS):
            self._place_rows(Path(file), load.snapshot_at)

    def seed(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Have dlt write whole tables; the rows of every snapshot become a file of their own."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self._write(connection, {name: table for name, table in tables.items() if name != _ROWS})
        rows = tables.get(_ROWS)
        if rows is None:
            return
        (self._draft / _ROWS).mkdir()
        rows = _with_json_marked(rows.sort_by("snapshot_at"))
        counts = pc.value_counts(rows["snapshot_at"]).to_pylist()
        # The columns are stored even if no snapshot has a row.
        begin, counts = 0, counts or [{"values": max(tables[_LOOKS]["snapshot_at"].to_pylist()), "counts": 0}]
        for count in counts:
            file = self._draft / _ROWS / "rows.parquet"
            pq.write_table(rows.slice(begin, count["counts"]), file, compression="zstd")
            self._place_rows(file, count["values"])
            begin += count["counts"]

    def _write(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        def destination() -> Any:
            import dlt

            return dlt.destinations.filesystem(self._staging.as_uri())

        marked = {name: _with_json_marked(table) for name, table in tables.items()}
        load_with_dlt(self.settings, destination, lambda: writing_source(marked), _DLT_CONFIG)
        self._show(connection, [table.name for table in schema.TABLES])

    def _place_rows(self, file: Path, snapshot_at: datetime) -> None:
        """Give a file with the rows of one snapshot the place that it will have in the lake."""
        folder = self._draft / _ROWS / f"snapshot_date={snapshot_at:%Y-%m-%d}"
        folder.mkdir(exist_ok=True)
        file.rename(folder / f"{_version_at(snapshot_at)}.parquet")

    def _read(self, table: schema.Table) -> pa.Table:
        """Return a table as it is published or, if it is not, without rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = self._published(table.name)
        if not files:
            return table.full_arrow_schema().empty_table()
        return pa.concat_tables([pq.ParquetFile(file, filesystem=self._files.arrow).read() for file in files])

    def write_looks(self, connection: duckdb.DuckDBPyConnection, looks: Sequence[Mapping[str, Any]]) -> None:
        """Write `sip_trunk_snapshots` as a whole, with rows for answers that dlt has nothing to load from."""
        connection.execute(f"CREATE OR REPLACE TEMP TABLE looks AS FROM {sql.DATASET}.{_LOOKS}")
        state.insert_looks(connection, "looks", looks)
        for draft in self._drafted(_LOOKS):
            Path(draft).unlink()
        folder = self._draft / _LOOKS
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{_version_at(max(look['snapshot_at'] for look in looks))}.parquet"
        connection.execute(f"COPY looks TO {sql.literal(file)} (FORMAT parquet, COMPRESSION zstd)")
        self._show(connection, [_LOOKS])

    def publish(self, snapshot_at: datetime) -> None:
        """Move the draft into the lake, complete it with what has not changed, and switch to it."""
        files, version, before = self._files, self._version_for(snapshot_at), self._version
        with self._failing_by_name(), files.holding_lock():
            self._refuse_other_run(before)
            if before is None:
                files.mark_beginning()
            self._clear_away_failures(before, but=version)
            rows = self._rows_of(version)
            if (self._draft / _ROWS).exists():
                files.adopt(self._draft / _ROWS, rows)
                shutil.rmtree(self._draft / _ROWS)
            target = f"versions/{version}"
            if before is not None:
                unchanged = [t.name for t in schema.TABLES if not self._drafted(t.name)]
                for folder in unchanged:
                    files.share(files.find(f"versions/{before}/{folder}"), f"{target}/{folder}")
            files.adopt(self._draft, target)
            files.link_rows(f"{target}/{_ROWS}", rows)
            self._refuse_other_run(before)
            files.write_pointer(version)
            self._clear_away_versions(version)

    def _version_for(self, moment: datetime) -> str:
        """Return the name of the version that a moment begins: after the one before, even if the clock went back."""
        if self._version is None:
            return _version_at(moment)
        before = datetime.strptime(self._version, _VERSION_FORMAT).replace(tzinfo=UTC)
        return _version_at(max(moment, before + timedelta(microseconds=1)))

    def _refuse_other_run(self, before: str | None) -> None:
        """Raise RunActive if somebody else has published since this run began: nothing of theirs may be lost."""
        if self._files.read_pointer() != before:
            raise RunActive(f"another run has published into {self.place} meanwhile; this one changed nothing")

    def _clear_away_failures(self, current: str | None, but: str | None = None) -> None:
        """Remove what a run left in the lake that did not get as far as the switch, `but` this run's own."""
        newest = current or ""
        for version in self._versions():
            if version > newest:
                self._files.remove(f"versions/{version}")
        for since, folder in self._generations().items():
            if since > newest and since != but:
                self._files.remove(folder)
        date = f"snapshot_date={newest[:4]}-{newest[4:6]}-{newest[6:8]}"
        rows = self._rows_of(current)
        for folder in self._files.list_names(rows):
            if _DATE_FOLDER.fullmatch(folder) and folder >= date:
                for name in self._files.list_names(f"{rows}/{folder}"):
                    version = name.removesuffix(".parquet")
                    if _VERSION.fullmatch(version) and version > newest:
                        self._files.remove(f"{rows}/{folder}/{name}")

    def _clear_away_versions(self, current: str) -> None:
        """Remove the versions that were followed by another one longer ago than any reader may take."""
        versions = self._versions()
        limit = _version_at(datetime.now(UTC) - _READERS_MAY_TAKE)
        for version, successor in pairwise(versions):
            if successor < limit and version != current:
                self._files.remove(f"versions/{version}")
        for (_, folder), (since, _) in pairwise(self._generations().items()):
            if since < limit and since <= current:
                self._files.remove(folder)

    # ------------------------------------------------------------------ written anew

    @contextmanager
    def rewriting(self, drops: Mapping[str, str], moment: datetime) -> Iterator[Rewritten]:
        """Draft the tables without these rows, and full snapshots with a file for each day that is over."""
        version = self._version_for(moment)
        with self.working() as connection:
            self._draft.mkdir(parents=True)
            counts = {
                table.name: self._draft_without(connection, table.name, drops[table.name], version)
                for table in schema.TABLES
                if table.name in drops
            }
            counts[_ROWS] = self._write_generation(connection, drops.get(_ROWS, "false"), version)
            self._show(connection, [table.name for table in schema.TABLES])
            yield Rewritten(connection, counts)

    def _draft_without(self, connection: duckdb.DuckDBPyConnection, table: str, drop: str, version: str) -> int:
        """Draft a table without the rows for which a condition holds, if there are any; return how many there are."""
        files = self._published(table)
        count = _count(connection, files, drop)
        if count:
            folder = self._draft / table
            folder.mkdir()
            self._copy(connection, files, drop, folder / f"{version}.parquet")
        return count

    def _write_generation(self, connection: duckdb.DuckDBPyConnection, drop: str, version: str) -> int:
        """Write the full snapshots for a version without some rows, as few files; return how many rows went.

        They are in a folder of their own, so that no reader of an earlier version sees a row twice, or lacks one.
        """
        files = self._published(_ROWS)
        dropped = _count_by_file(connection, files, drop)
        rewritten = [group for group in self._groups() if len(group) > 1 or dropped.get(group[0])]
        if not rewritten:
            return 0
        folder = f"{_ROWS}-{version}"
        gone = {file for group in rewritten for file in group}
        for date in dict.fromkeys(_folder_of(file) for file in files):
            others = [file for file in files if _folder_of(file) == date and file not in gone]
            self._files.share(others, f"{folder}/{date}")
        draft = self._staging / f"{version}.parquet"
        for group in rewritten:
            has_rows = self._copy(connection, group, drop, draft)
            # The columns are stored even if no snapshot has a row.
            if has_rows or group[-1] == files[-1]:
                self._files.adopt(draft, f"{folder}/{_folder_of(group[-1])}/{_name_of(group[-1])}.parquet")
        return sum(dropped.values())

    def _groups(self) -> list[list[str]]:
        """Return the files of the full snapshots, together those that may be one: of a day that is over."""
        today = f"snapshot_date={datetime.now(UTC):%Y-%m-%d}"
        groups: dict[str, list[str]] = {}
        for file in self._published(_ROWS):
            date = _folder_of(file)
            groups.setdefault(date if date < today else file, []).append(file)
        return list(groups.values())

    def _copy(self, connection: duckdb.DuckDBPyConnection, files: Sequence[str], drop: str, target: Path) -> int:
        """Write the rows of files into one, but for those for which a condition holds; return how many there are.

        The last of the files has every column of the others.
        """
        import pyarrow.parquet as pq

        arrow_schema = pq.ParquetFile(files[-1], filesystem=self._files.arrow).schema_arrow
        names = ", ".join(map(sql.quoted, arrow_schema.names))
        query = f"SELECT {names} FROM {_parquet(files)} WHERE ({drop}) IS NOT TRUE"
        count = 0
        with pq.ParquetWriter(target, arrow_schema, compression="zstd") as writer:
            for batch in connection.execute(query).to_arrow_reader(_ROWS_AT_ONCE):
                count += len(batch)
                writer.write_batch(batch.cast(arrow_schema))
        return count

    def forget_past(self) -> None:
        """Remove the versions that are kept for readers, and the full snapshots of before."""
        current = self._files.read_pointer()
        rows = self._rows_of(current)
        with self._files.holding_lock():
            for version in self._versions():
                if version != current:
                    self._files.remove(f"versions/{version}")
            for folder in self._generations().values():
                if folder != rows:
                    self._files.remove(folder)

    def spare(self) -> Spare:
        """Return how many files of full snapshots others could hold."""
        return Spare(files=sum(len(group) - 1 for group in self._groups()))

    @property
    def remnants(self) -> str | None:
        """What a store may keep beside what it shows."""
        return self._files.remnants

    # ------------------------------------------------------------------ reading

    @contextmanager
    def reading(self, tables: Collection[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the version that is current now, that can touch nothing else.

        Raises SettingsError if there is none yet, DestinationFailed if its files cannot be read.
        """
        if not self.exists():
            raise nothing_stored(self.place)
        every = [*(table.name for table in schema.TABLES), _ROWS]
        with self._failing_by_name(), self._connection() as connection:
            self._show(connection, [n for n in every if tables is None or n in tables], with_drafts=False)
            if self.part is None:
                self._show_the_rest(connection)
            self._files.confine(connection)
            yield connection

    def _show_the_rest(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make what is derived from the tables: views, macros, reports."""
        from sip_trunks.core.provider_catalog import read_facts
        from sip_trunks.warehouse.views import create_views

        create_views(connection, partial(read_facts, self.settings), kind="VIEW")
        self._show_reports(connection, kind="VIEW")
        if report_tables.has_reports(connection):
            report_tables.create_findings(connection)
        if report_tables.has_runs(connection):
            report_tables.create_runs(connection)

    def tally(self, columns: Sequence[str]) -> pa.Table:
        """Return how many trunks have each combination of these columns."""
        with self.reading((schema.SIP_TRUNKS.name,)) as connection:
            return state.tally_trunks(connection, columns)

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            self._files.make_known_to(connection)
            yield connection

    @contextmanager
    def _failing_by_name(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            reason = str(error).partition("\n")[0]
            raise DestinationFailed(f"the lake at {self.place} cannot be read: {reason}") from error

    def _published(self, table: str) -> list[str]:
        """Return the current files of a table, none before the first run. Raises DestinationFailed if they are gone."""
        if self._version is None:
            return []
        if table == _ROWS:
            files = self._files.find(self._rows_of(self._version))
            return [file for file in files if _name_of(file) <= self._version]
        files = self._files.find(f"versions/{self._version}/{table}")
        if not files:
            raise DestinationFailed(
                f"the lake at {self.place} lacks the files of {table} in versions/{self._version}; restore them from a "
                "backup, or move the lake away to start anew"
            )
        return files

    def _drafted(self, table: str) -> list[str]:
        return sorted(str(path) for path in (self._draft / table).glob("*.parquet"))

    def _show(self, connection: duckdb.DuckDBPyConnection, tables: Sequence[str], *, with_drafts: bool = True) -> None:
        """Make views on the published files of these tables or, for the run that works on them, the drafted ones."""
        for table in tables:
            files = (self._drafted(table) if with_drafts else []) or self._published(table)
            if files:
                sql.show_files(connection, table, files, self.part.condition if self.part else "true")

    def _show_reports(self, connection: duckdb.DuckDBPyConnection, kind: str) -> None:
        for file in (
            self._files.find(f"versions/{self._version}/{report_tables.REPORTS_SCHEMA}") if self._version else ()
        ):
            report_tables.show_report(connection, _name_of(file), file, kind)

    def _keep_reports(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Write the reports of the connection into the draft; there is none if nothing was stored."""
        if self._draft.exists():
            folder = self._draft / report_tables.REPORTS_SCHEMA
            folder.mkdir(exist_ok=True)
            report_tables.copy_reports(connection, folder)


def _version_at(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_VERSION_FORMAT)


def _name_of(file: str) -> str:
    return file.rpartition("/")[2].removesuffix(".parquet")


def _folder_of(file: str) -> str:
    return file.split("/")[-2]


def _parquet(files: Sequence[str], options: str = "") -> str:
    listed = ", ".join(map(sql.literal, files))
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false{options})"


def _count(connection: duckdb.DuckDBPyConnection, files: Sequence[str], condition: str) -> int:
    return sum(_count_by_file(connection, files, condition).values())


def _count_by_file(connection: duckdb.DuckDBPyConnection, files: Sequence[str], condition: str) -> dict[str, int]:
    """Return in how many rows of each file a condition holds; files without such a row are left out."""
    source = _parquet(files, ", filename = '~file'")  # no field of the API is called like this
    query = f'SELECT "~file", count(*) FROM {source} WHERE {condition} GROUP BY ALL'
    return dict(connection.execute(query).fetchall())


def _with_json_marked(table: pa.Table) -> pa.Table:
    names = [field.name for field in table.schema if field.metadata == schema.JSON_FIELD]
    return table.replace_schema_metadata({sql.JSON_COLUMNS: json.dumps(names)})
