"""The lake as Delta or Iceberg tables: what plain Parquet lacks, each table with versions of its own.

    lake/famulor_delta/<table>/_delta_log/          lake/famulor_iceberg/<table>/metadata/
    lake/famulor_delta.json                         lake/famulor_iceberg.json        which text is JSON

dlt writes whole tables (`replace`) and adds full snapshots (`append`), each table in one commit; there is no commit
over all of them. As on a server, a load counts from its row in `sip_trunk_snapshots`, written last; what a run that
died has written before is forgotten by the next.
"""

from __future__ import annotations

import json
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import SettingsError
from sip_trunks.core.settings import use_dlt
from sip_trunks.destinations.base import Rewritten, Spare
from sip_trunks.destinations.dlt_pipeline import KEEPING_LOAD_IDS, writing_source
from sip_trunks.destinations.lake_storage import without_password
from sip_trunks.destinations.server import VERSIONS_SEEN, Server
from sip_trunks.warehouse import sql, state
from trunk_transforms import schema
from trunk_transforms.history.after_load import tables_after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    import duckdb
    import pyarrow as pa

    from trunk_transforms.parse.batch import Load

_LOOKS = schema.SIP_TRUNK_SNAPSHOTS.name
_HISTORY = schema.SIP_TRUNKS_HISTORY.name
_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name

_LIBRARIES = {"delta": "deltalake", "iceberg": "pyiceberg"}
# dlt looks once a second whether a table is done, so they had better be written at the same time.
_DLT_CONFIG = KEEPING_LOAD_IDS | {"LOAD__WORKERS": "6", "RESTORE_FROM_DESTINATION": "false"}


@dataclass(frozen=True)
class TableLake(Server):
    """Delta or Iceberg tables in a folder, as a destination. Raises SettingsError without the format's library."""

    def __post_init__(self) -> None:
        library = _LIBRARIES[self.settings.table_format]
        if find_spec(library) is None:
            raise SettingsError(
                f"sip_trunks.table_format is {self.settings.table_format}, which needs {library}: "
                f"pip install '.[{self.settings.table_format}]'"
            )

    @property
    def place(self) -> str:
        """The folder of the tables."""
        return str(self._folder)

    @property
    def dataset(self) -> str:
        """dlt's name of the dataset: a folder of the lake."""  # noqa: D403 - dlt is written so
        return f"{sql.DATASET}_{self.settings.table_format}"

    @property
    def tables(self) -> list[str]:
        """The tables that are kept."""
        return [*super().tables, _ROWS]

    @property
    def _folder(self) -> Path:
        return self._root / self.dataset

    @cached_property
    def _root(self) -> Path:
        place = self.settings.lake.removeprefix("file://")
        if "://" in place:
            raise SettingsError(
                f"sip_trunks.lake is {without_password(place)}; {self.settings.table_format} tables need a folder"
            )
        return self.settings.data_dir / Path(place).expanduser()

    @cached_property
    def _dlt_destination(self) -> Any:
        use_dlt(self.settings)
        import dlt

        return dlt.destinations.filesystem(self._root.as_uri())

    def size_bytes(self) -> int | None:
        """Return the size of all files, older versions of the tables included."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    # ------------------------------------------------------------------ writing

    def load(self, connection: duckdb.DuckDBPyConnection, load: Load) -> None:
        """Have dlt write whole tables as they are after the load, and then say that they are there."""
        with self._failing_by_name():
            stored = {table.name: self._read(table) for table in schema.TABLES}
            if self._is_half_done():
                stored = _forget_unseen(stored)
        after = tables_after(load, stored)
        looks = after.pop(_LOOKS)
        load_id = self._write(after, replaced=[name for name in after if name != _ROWS])
        new = looks.slice(len(stored[_LOOKS])).to_pylist()
        self.write_looks(connection, [look | {"_dlt_load_id": load_id} for look in new])

    def seed(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Have dlt write whole tables, the snapshots last."""
        for part in ({name: table for name, table in tables.items() if name != _LOOKS}, {_LOOKS: tables[_LOOKS]}):
            self._write(part, replaced=list(part))
        self._copy_for_run(connection)

    def write_looks(self, connection: duckdb.DuckDBPyConnection, looks: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to `sip_trunk_snapshots`; the connection then has copies of what is stored."""
        import pyarrow as pa

        self._write({_LOOKS: pa.Table.from_pylist(list(looks), schema.SIP_TRUNK_SNAPSHOTS.full_arrow_schema())})
        self._copy_for_run(connection)

    def _write(self, tables: Mapping[str, pa.Table], replaced: Collection[str] = ()) -> str:
        self._note_json_columns(tables)
        self._clear_away_beginnings()
        source = partial(writing_source, tables, replaced=replaced, table_format=self.settings.table_format)
        with warnings.catch_warnings():
            # Iceberg's library says so of every table that was empty before.
            warnings.filterwarnings("ignore", message="Delete operation did not match any records")
            return self._run_dlt(source, _DLT_CONFIG).load_id

    def _note_json_columns(self, tables: Mapping[str, pa.Table]) -> None:
        """Remember which text is JSON, before it is written: neither format says so."""
        known = self._json_columns()
        new = {f.name for table in tables.values() for f in table.schema if f.metadata == schema.JSON_FIELD} - known
        if new:
            self._root.mkdir(parents=True, exist_ok=True)
            draft = self._json_columns_path.with_suffix(".draft")
            draft.write_text(json.dumps(sorted(known | new)), "utf-8")
            draft.replace(self._json_columns_path)

    def _clear_away_beginnings(self) -> None:
        """Remove what dlt and Iceberg take for whole files, even if a run died while it wrote them."""
        files = [*self._folder.glob("_dlt_*/*.jsonl"), *self._folder.glob("*/metadata/*.metadata.json")]
        for file in files:
            if not _is_json(file):
                file.unlink()

    # ------------------------------------------------------------------ written anew

    @property
    def _set_aside(self) -> Path:
        return self._folder.with_suffix(".before")

    @property
    def _done_with(self) -> Path:
        return self._folder.with_suffix(".gone")

    @contextmanager
    def rewriting(self, drops: Mapping[str, str], _moment: datetime) -> Iterator[Rewritten]:
        """Write all tables anew without these rows, and yield a connection to copies of what a run compares with.

        No older version of a table is left: neither format can take rows out of those. Until it is done, the tables
        of before are set aside.
        """
        with self._failing_by_name(), self._connection() as connection:
            stored = {name: self._fetch(name, columns) for name in self.tables if (columns := self._columns_of(name))}
            if self._is_half_done():
                stored |= _forget_unseen(stored)
            kept = {name: _without(table, drops.get(name, "false")) for name, table in stored.items()}
            counts = {name: len(table) - len(kept[name]) for name, table in stored.items() if name in drops}
            self._folder.rename(self._set_aside)
            if len(kept[_LOOKS]):
                self.seed(connection, kept)
            self._set_aside.rename(self._done_with)
            self.discard_work()
            yield Rewritten(connection, counts)

    def is_work_pending(self) -> bool:
        """Whether tables are set aside, of which nobody has written what is to come in their place."""
        return self._set_aside.exists()

    def discard_work(self) -> None:
        """Put back the tables that somebody has set aside who did not end."""
        if self._set_aside.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._set_aside.rename(self._folder)
        shutil.rmtree(self._done_with, ignore_errors=True)

    def spare(self) -> Spare:
        """Return how many files there are beyond one a table."""
        return Spare(files=max(0, sum(1 for _ in self._folder.rglob("*.parquet")) - len(self.tables)))

    remnants = None

    # ------------------------------------------------------------------ reading

    @property
    def _json_columns_path(self) -> Path:
        return self._root / f"{self.dataset}.json"

    def _json_columns(self) -> set[str]:
        try:
            return set(json.loads(self._json_columns_path.read_text("utf-8")))
        except FileNotFoundError:
            return set()

    def tally(self, columns: Sequence[str]) -> pa.Table:
        """Return how many trunks have each combination of these columns; there is nobody but us to count them."""
        with self.reading((schema.SIP_TRUNKS.name,)) as connection:
            return state.tally_trunks(connection, columns)

    def _read(self, table: schema.Table) -> pa.Table:
        """Return a table as it is stored or, if it is not, without rows."""
        columns = self._columns_of(table.name)
        return self._fetch(table.name, columns) if columns else table.full_arrow_schema().empty_table()

    def _columns_of(self, table: str) -> dict[str, schema.ColumnType]:
        """Return the columns of a table and their types; none if it is not there, or was never finished."""
        dataset = self._dataset_of(table)
        if dataset is None:
            return {}
        json_columns = self._json_columns()
        return {field.name: "json" if field.name in json_columns else _type_of(field) for field in dataset.schema}

    def _dataset_of(self, table: str) -> Any:
        read = _read_delta if self.settings.table_format == "delta" else _read_iceberg
        return read(self._folder / table)

    def _fetch(self, table: str, columns: Collection[str]) -> pa.Table:
        found = self._dataset_of(table).to_table(columns=list(columns))
        return _with_declared_types(found, self._json_columns())

    def _fetch_versions(self) -> pa.Table:
        import duckdb

        with duckdb.connect() as connection:
            connection.register("versions", self._read(schema.SIP_TRUNKS_HISTORY))
            connection.register("looks", self._read(schema.SIP_TRUNK_SNAPSHOTS))
            return connection.execute(VERSIONS_SEEN.format(trunks="versions", looks="looks")).to_arrow_table()

    def _is_half_done(self) -> bool:
        """Whether the tables have something that the last snapshots that count have not seen."""
        stored = {table.name: self._read(table) for table in schema.TABLES}
        seen = _forget_unseen(stored)
        return any(
            sorted(stored[name]["row_version"].to_pylist()) != sorted(seen[name]["row_version"].to_pylist())
            for name in (schema.SIP_TRUNKS.name, _HISTORY, schema.SIP_TRUNK_ALLOWED_IPS.name)
        ) or not stored[_HISTORY]["valid_to"].equals(seen[_HISTORY]["valid_to"])


def _without(table: pa.Table, condition: str) -> pa.Table:
    """Return the rows of a table for which a condition in SQL does not hold."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("stored", table.append_column("~place", pa.array(range(len(table)), pa.int64())))
        places = connection.execute(f'SELECT "~place" FROM stored WHERE ({condition}) IS NOT TRUE').to_arrow_table()
    return table.take(places["~place"])


def _forget_unseen(stored: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables as the last snapshots that count have seen them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from trunk_transforms.history.scd2 import VALIDITY_COLUMNS, forget_unseen
    from trunk_transforms.parse.snapshot import derive_allowed_ips

    looks, drift = stored[_LOOKS], stored[schema.SCHEMA_DRIFT.name]
    history = forget_unseen(stored[_HISTORY], looks)
    trunks = history.filter(pc.is_null(history["valid_to"])).drop_columns(list(VALIDITY_COLUMNS))
    allowed_ips = derive_allowed_ips(trunks)
    is_seen = pc.is_in(drift["_dlt_load_id"], value_set=looks["_dlt_load_id"].combine_chunks())
    return {
        schema.SIP_TRUNKS.name: trunks,
        _HISTORY: history,
        schema.SIP_TRUNK_ALLOWED_IPS.name: allowed_ips.append_column(
            "_dlt_load_id", pa.nulls(len(allowed_ips), pa.string())
        ),
        _LOOKS: looks,
        schema.SCHEMA_DRIFT.name: drift.filter(is_seen),
    }


def _read_delta(path: Path) -> Any:
    """Return the table's current version as an Arrow dataset; None if there is none."""
    if not any(path.glob("_delta_log/*.json")):
        return None
    from deltalake import DeltaTable
    from pyarrow import fs

    # deltalake's own filesystem can abort the process when it ends while Arrow's threads still use it.
    files = fs.SubTreeFileSystem(str(path), fs.LocalFileSystem())
    return DeltaTable(path).to_pyarrow_dataset(filesystem=files)


def _read_iceberg(path: Path) -> Any:
    """Return the table's current version as an Arrow dataset; None if there is none."""
    whole = filter(_is_json, sorted((path / "metadata").glob("*.metadata.json"), reverse=True))
    newest = next(whole, None)
    if newest is None:
        return None
    import pyarrow.dataset as ds
    from pyiceberg.table import StaticTable

    return ds.dataset(StaticTable.from_metadata(str(newest)).scan().to_arrow())


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text("utf-8"))
    except ValueError:
        return False
    return True


def _type_of(field: pa.Field) -> schema.ColumnType:
    import pyarrow as pa

    tests: dict[schema.ColumnType, Any] = {
        "bigint": pa.types.is_integer,
        "double": pa.types.is_floating,
        "bool": pa.types.is_boolean,
        "timestamp": pa.types.is_timestamp,
        "text_list": lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind),
    }
    return next((name for name, is_such in tests.items() if is_such(field.type)), "text")


def _with_declared_types(table: pa.Table, json_columns: Collection[str]) -> pa.Table:
    """Return the table with the types that were written: Iceberg returns large ones, and neither keeps metadata."""
    import pyarrow as pa

    return table.cast(
        pa.schema(
            [
                pa.field(
                    field.name,
                    schema.arrow_type(_type_of(field)),
                    metadata=schema.JSON_FIELD if field.name in json_columns else None,
                )
                for field in table.schema
            ]
        )
    )
