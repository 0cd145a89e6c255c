"""The lake as Delta or Iceberg tables: what plain Parquet lacks, each table with versions of its own.

    lake/famulor_delta/<table>/_delta_log/          lake/famulor_iceberg/<table>/metadata/

dlt writes whole tables (`replace`) and adds full snapshots (`append`), each table in one commit; there is no commit
over all of them. As on a server, a load counts from its row in `sip_trunk_snapshots`, written last.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import catalog
from pipelines.dlt_load import KEEPING_LOAD_IDS, writing_source
from pipelines.errors import SettingsError
from pipelines.lake import tables_after
from pipelines.server import VERSIONS_SEEN, Server
from pipelines.settings import use_dlt
from transforms import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import duckdb
    import pyarrow as pa

    from pipelines.destination import Load

_LOOKS = schema.SIP_TRUNK_SNAPSHOTS.name
_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name

_LIBRARIES = {"delta": "deltalake", "iceberg": "pyiceberg"}
# dlt looks once a second whether a table is done, so they had better be written at the same time.
_DLT_CONFIG = KEEPING_LOAD_IDS | {"LOAD__WORKERS": "6"}


@dataclass(frozen=True)
class TableLake(Server):
    """Delta or Iceberg tables in a folder, as a destination. Raises SettingsError without the format's library."""

    def __post_init__(self) -> None:
        library = _LIBRARIES[self.settings.table_format]
        if find_spec(library) is None:
            raise SettingsError(
                f"sip_trunks.table_format is {self.settings.table_format}, which needs {library}: "
                f"pip install 'sip-trunks[{self.settings.table_format}]'"
            )

    @property
    def place(self) -> str:
        """The folder of the tables."""
        return str(self._root / self.dataset)

    @property
    def dataset(self) -> str:
        """Dlt's name of the dataset: a folder of the lake."""
        return f"{catalog.DATASET}_{self.settings.table_format}"

    @property
    def tables(self) -> list[str]:
        """The tables that are kept."""
        return [*super().tables, _ROWS]

    @cached_property
    def _root(self) -> Path:
        if "://" in self.settings.lake:
            raise SettingsError(
                f"sip_trunks.lake is {self.settings.lake}: {self.settings.table_format} tables need a folder"
            )
        return self.settings.data_dir / Path(self.settings.lake).expanduser()

    @cached_property
    def _dlt_destination(self) -> Any:
        use_dlt(self.settings)
        import dlt

        return dlt.destinations.filesystem(self._root.as_uri())

    def size_bytes(self) -> int | None:
        """Return the size of all files, older versions of the tables included."""
        return sum(path.stat().st_size for path in Path(self.place).rglob("*") if path.is_file())

    # ------------------------------------------------------------------ writing

    def load(self, connection: duckdb.DuckDBPyConnection, load: Load) -> None:
        """Have dlt write whole tables as they are after the load, and then say that they are there."""
        with self._failing_by_name():
            stored = {table.name: self._read(table) for table in schema.TABLES}
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
        source = partial(writing_source, tables, replaced=replaced, table_format=self.settings.table_format)
        with warnings.catch_warnings():
            # Iceberg's library says so of every table that was empty before.
            warnings.filterwarnings("ignore", message="Delete operation did not match any records")
            return self._run_dlt(source, _DLT_CONFIG)

    # ------------------------------------------------------------------ reading

    def _read(self, table: schema.Table) -> pa.Table:
        """Return a table as it is stored or, if it is not, without rows."""
        columns = self._columns_of(table.name)
        return self._fetch(table.name, columns) if columns else table.full_arrow_schema().empty_table()

    def _columns_of(self, table: str) -> dict[str, schema.ColumnType]:
        """Return the columns of a table and their types; none if it is not there, or was never finished."""
        folder = self._root / self.dataset / table
        is_there = any(folder.glob("_delta_log/*.json")) or any(folder.glob("metadata/*.metadata.json"))
        return super()._columns_of(table) if is_there else {}

    def _fetch_versions(self) -> pa.Table:
        import duckdb

        with duckdb.connect() as connection:
            versions = ["account", "id", "row_version", "valid_from", "valid_to"]
            connection.register("versions", self._fetch(schema.SIP_TRUNKS_HISTORY.name, versions))
            connection.register("looks", self._fetch(_LOOKS, ["account", "snapshot_at"]))
            return connection.execute(VERSIONS_SEEN.format(trunks="versions", looks="looks")).to_arrow_table()

    def _is_half_done(self) -> bool:
        """Whether the trunks are not those that the last snapshot that counts has seen."""
        if not self._columns_of(_LOOKS) or not self._columns_of(schema.SIP_TRUNKS_HISTORY.name):
            return False
        seen = set(self._fetch_versions()["row_version"].to_pylist())
        newest = max(self._fetch(_LOOKS, ["snapshot_at"])["snapshot_at"].to_pylist())
        history = self._fetch(schema.SIP_TRUNKS_HISTORY.name, ["valid_from", "valid_to"])
        moments = [*history["valid_from"].to_pylist(), *filter(None, history["valid_to"].to_pylist())]
        current = self._fetch(schema.SIP_TRUNKS.name, ["row_version"])
        return seen != set(current["row_version"].to_pylist()) or max(moments, default=newest) > newest

    def _fetch(self, table: str, columns: Collection[str]) -> pa.Table:
        path = self._root / self.dataset / table
        found = _read_delta(path, columns) if self.settings.table_format == "delta" else _read_iceberg(path, columns)
        json_columns = [name for name, kind in self._columns_of(table).items() if kind == "json"]
        return _with_declared_types(found, json_columns)


def _read_delta(path: Path, columns: Collection[str]) -> pa.Table:
    from deltalake import DeltaTable
    from pyarrow import fs

    # deltalake's own filesystem can abort the process when it ends while Arrow's threads still use it.
    files = fs.SubTreeFileSystem(str(path), fs.LocalFileSystem())
    return DeltaTable(path).to_pyarrow_dataset(filesystem=files).to_table(columns=list(columns))


def _read_iceberg(path: Path, columns: Collection[str]) -> pa.Table:
    from pyiceberg.table import StaticTable

    newest = max((path / "metadata").glob("*.metadata.json"))
    return StaticTable.from_metadata(str(newest)).scan(selected_fields=tuple(columns)).to_arrow()


def _with_declared_types(table: pa.Table, json_columns: Collection[str]) -> pa.Table:
    """Return the table with the types that were written: Iceberg returns large ones, and neither keeps metadata."""
    import pyarrow as pa

    def declared(field: pa.Field) -> pa.Field:
        kind = field.type
        if pa.types.is_large_string(kind):
            kind = pa.string()
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = pa.list_(pa.string())
        is_json = field.name in json_columns and not pa.types.is_list(kind)
        return pa.field(field.name, kind, metadata=schema.JSON_FIELD if is_json else None)

    return table.cast(pa.schema([declared(field) for field in table.schema]))
