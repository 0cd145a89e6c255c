"""The new name of an account in the stored tables, and the versions that follow from it, as SQL.

`row_version` has the account in it. It is derived again from the stored values, so that the next run compares as if the
account had always had its new name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sip_trunks.warehouse.sql import DATASET, TYPES_BY_SQL, literal, quoted, read_columns
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_VERSIONS = "renamed_versions"
_ROWS_AT_ONCE = 10_000
_VERSIONED = [
    (resource, table)
    for resource in schema.RESOURCES
    for table in (
        resource.history,
        resource.current,
        *((schema.SIP_TRUNK_SNAPSHOT_ROWS,) if resource is schema.TRUNKS else ()),
    )
]
VERSIONED_TABLES = [table.name for _, table in _VERSIONED]
"""The tables from whose rows the versions are derived."""


@dataclass(frozen=True)
class Renaming:
    """The stored name of an account, and its new one. Its statements need the table that `derive_versions` creates."""

    old: str
    new: str

    @property
    def condition(self) -> str:
        """The SQL condition for the rows of the account."""
        return f"account = {literal(self.old)}"

    def update(self, table: str, columns: Collection[str]) -> str:
        """Return the statement that renames the account in a table with these columns."""
        values = [f"{name} = {value}" for name, value in self._values.items() if name in columns]
        return f"UPDATE {table} SET {', '.join(values)} WHERE {self.condition}"

    def select(self, columns: Sequence[str], source: str) -> str:
        """Return the query of all rows of a source with these columns, those of the account renamed."""
        renamed = {
            name: f"CASE WHEN {self.condition} THEN {value} ELSE {name} END" for name, value in self._values.items()
        }
        return f"SELECT {', '.join(f'{renamed.get(n, quoted(n))} AS {quoted(n)}' for n in columns)} FROM {source}"

    @property
    def _values(self) -> dict[str, str]:
        version = f"(SELECT new_version FROM {_VERSIONS} WHERE old_version = row_version)"
        return {"account": literal(self.new), "row_version": f"coalesce({version}, row_version)"}

    def derive_versions(self, connection: DuckDBPyConnection) -> None:
        """Create the temporary table of the versions. Grain: one row per `row_version` of the account.

        Columns: `old_version`, and `new_version`, which a run derives from the same values under the new name.
        """
        import pyarrow as pa

        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_VERSIONS} (old_version VARCHAR, new_version VARCHAR)")
        for resource, table in _VERSIONED:
            types = _types_of(resource, read_columns(connection, table.name))
            if not types:
                continue
            values = ", ".join(_as_value(name, kind) for name, kind in types.items())
            rows = connection.execute(
                f"SELECT row_version, {values} FROM {DATASET}.{table.name} WHERE {self.condition} "
                f"AND row_version NOT IN (SELECT old_version FROM {_VERSIONS})"
            ).to_arrow_reader(_ROWS_AT_ONCE)
            derived = [_derive(pa.Table.from_batches([batch]), types, self.new) for batch in rows]
            if derived:
                connection.register("derived_versions", pa.concat_tables(derived))
                query = "SELECT old_version, any_value(new_version) FROM derived_versions GROUP BY old_version"
                connection.execute(f"INSERT INTO {_VERSIONS} {query}")
                connection.unregister("derived_versions")

    def list_inserts(self, connection: DuckDBPyConnection) -> list[str]:
        """Return statements that create and fill the table of the versions in another database."""
        found = connection.execute(f"FROM {_VERSIONS}").fetchall()
        rows = [f"({literal(old)}, {literal(new)})" for old, new in found]
        columns = "old_version VARCHAR(64) PRIMARY KEY, new_version VARCHAR(64)"
        return [
            f"CREATE TEMPORARY TABLE {_VERSIONS} ({columns})",
            *(
                f"INSERT INTO {_VERSIONS} VALUES {', '.join(rows[begin : begin + _ROWS_AT_ONCE])}"
                for begin in range(0, len(rows), _ROWS_AT_ONCE)
            ),
        ]


def _types_of(resource: schema.Resource, columns: dict[str, str]) -> dict[str, schema.ColumnType]:
    """Return the types of the columns that come from the API, which are part of `row_version`."""
    fields = resource.fields
    return {
        name: fields[name].type if name in fields else TYPES_BY_SQL[kind]
        for name, kind in columns.items()
        if name not in schema.RESERVED_COLUMNS
    }


def _as_value(name: str, kind: schema.ColumnType) -> str:
    column = quoted(name)
    if kind == "text_list":
        return f"from_json({column}, '[\"VARCHAR\"]') AS {column}"
    return f"{column}::VARCHAR AS {column}" if kind == "json" else column


def _derive(rows: pa.Table, types: dict[str, schema.ColumnType], account: str) -> pa.Table:
    import pyarrow as pa

    from trunk_transforms.parse.snapshot import derive_row_version

    values = rows.select(list(types)).cast(pa.schema([(name, schema.arrow_type(kind)) for name, kind in types.items()]))
    for name in (name for name, kind in types.items() if kind == "json"):
        values = values.set_column(values.column_names.index(name), name, _canonical(values[name]))
    values = values.add_column(0, "account", pa.repeat(account, len(values)))
    versions = derive_row_version(values, types)
    return pa.table({"old_version": rows["row_version"], "new_version": versions})


def _canonical(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return JSON in the spelling that runs store, because some databases store another one."""
    import pyarrow as pa

    from trunk_transforms.parse.values import as_json, read_integer, read_number

    def respell(text: str | None) -> str | None:
        return text and as_json(json.loads(text, parse_float=read_number, parse_int=read_integer))

    spelled = {text: respell(text) for text in texts.unique().to_pylist()}
    return pa.chunked_array([[spelled[text] for text in texts.to_pylist()]], pa.string())
