"""Rewritings of the stored tables and logs, as SQL: the deletion of rows, and another name of an account.

`row_version` has the account in it. It is derived again from the stored values, so that the next run compares as if the
account had always had its new name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sip_trunks.warehouse.findings import OLD_LOG
from sip_trunks.warehouse.sql import DATASET, TYPES_BY_SQL, literal, quoted, read_columns, read_tables, transaction
from trunk_transforms import schema
from trunk_transforms.schema.reports import ACCOUNT_FAILURES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_VERSIONS = "renamed_versions"
_ROWS_AT_ONCE = 10_000
_VERSIONED = [(one, table) for one in schema.RESOURCES for table in (one.history, one.current)]
_VERSIONED += [(schema.TRUNKS, schema.SIP_TRUNK_SNAPSHOT_ROWS)]


def rows_of(account: str) -> dict[str, str]:
    """Return the SQL condition for the rows of an account, for each table and log with account names."""
    names = [*(table.name for table in schema.EVERY_TABLE), OLD_LOG, ACCOUNT_FAILURES.name]
    return dict.fromkeys(names, f"account = {literal(account)}")


class Rewriting(Protocol):
    """A change of rows, and the queries of the rows that remain."""

    conditions: Mapping[str, str]
    """The SQL condition for the rows to change, by table and log."""

    def change(self, table: str, columns: Collection[str], condition: str) -> str:
        """Return the statement that changes the rows of a table with these columns that meet the condition."""

    def select(self, columns: Sequence[str], source: str, condition: str) -> str:
        """Return the query of these columns of a source, without or with other values where the condition is met."""

    source_tables: Sequence[str] = ()
    """The tables that `prepare` needs."""

    def prepare(self, _connection: DuckDBPyConnection) -> None:
        """Create what the statements and queries need."""
        return

    def list_inserts(self, _connection: DuckDBPyConnection) -> list[str]:
        """Return statements that create in another database what `prepare` created in the connection."""
        return []

    def apply(self, connection: DuckDBPyConnection, dataset: str, tables: Iterable[str]) -> dict[str, int]:
        """Change the rows of those of these tables that are stored; return the number of changed rows by table."""
        stored, counts = read_tables(connection, dataset), {}
        with transaction(connection):
            for name in tables:
                if name in stored and name in self.conditions:
                    query = self.change(f"{dataset}.{name}", stored[name], self.conditions[name])
                    ((counts[name],),) = connection.execute(query).fetchall()
        return counts


@dataclass
class Deletion(Rewriting):
    """The deletion of the rows that meet the condition of their table."""

    conditions: Mapping[str, str]

    def change(self, table: str, _columns: Collection[str], condition: str) -> str:
        """Return the statement that deletes the rows."""
        return f"DELETE FROM {table} WHERE {condition}"

    def select(self, columns: Sequence[str], source: str, condition: str) -> str:
        """Return the query of the other rows."""
        return f"SELECT {', '.join(map(quoted, columns))} FROM {source} WHERE ({condition}) IS NOT TRUE"


class Count(Deletion):
    """Counts the rows that a deletion would delete."""

    def change(self, table: str, _columns: Collection[str], condition: str) -> str:
        """Return the query of the number of rows."""
        return f"SELECT count(*) FROM {table} WHERE {condition}"


@dataclass
class Renaming(Rewriting):
    """The stored name of an account, and its new one. Its statements need the table that `prepare` creates."""

    old: str
    new: str
    source_tables = tuple(table.name for _, table in _VERSIONED)

    def __post_init__(self) -> None:
        # The entries come before the tables from whose rows their versions are derived.
        self.conditions = dict(reversed(rows_of(self.old).items()))

    def change(self, table: str, columns: Collection[str], condition: str) -> str:
        """Return the statement that renames the account in a table with these columns."""
        values = [f"{name} = {value}" for name, value in self._values.items() if name in columns]
        return f"UPDATE {table} SET {', '.join(values)} WHERE {condition}"

    def select(self, columns: Sequence[str], source: str, condition: str) -> str:
        """Return the query of all rows of a source with these columns, those of the account renamed."""
        renamed = {name: f"CASE WHEN {condition} THEN {value} ELSE {name} END" for name, value in self._values.items()}
        return f"SELECT {', '.join(f'{renamed.get(n, quoted(n))} AS {quoted(n)}' for n in columns)} FROM {source}"

    @property
    def _values(self) -> dict[str, str]:
        version = f"(SELECT new_version FROM {_VERSIONS} WHERE old_version = row_version)"
        return {"account": literal(self.new), "row_version": f"coalesce({version}, row_version)"}

    def prepare(self, connection: DuckDBPyConnection) -> None:
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
                f"SELECT row_version, {values} FROM {DATASET}.{table.name} WHERE account = {literal(self.old)} "
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

    values = {
        name: _canonical(rows[name]) if kind == "json" else rows[name].cast(schema.arrow_type(kind))
        for name, kind in types.items()
    }
    renamed = pa.table({"account": pa.repeat(account, len(rows)), **values})
    return pa.table({"old_version": rows["row_version"], "new_version": derive_row_version(renamed, types)})


def _canonical(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return JSON in the spelling that runs store, because some databases store another one."""
    import pyarrow as pa

    from trunk_transforms.parse.values import as_json, read_integer, read_number

    def respell(text: str | None) -> str | None:
        return text and as_json(json.loads(text, parse_float=read_number, parse_int=read_integer))

    spelled = {text: respell(text) for text in texts.unique().to_pylist()}
    return pa.chunked_array([[spelled[text] for text in texts.to_pylist()]], pa.string())
