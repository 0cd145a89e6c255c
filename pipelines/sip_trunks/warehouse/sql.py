"""SQL on any destination: identifiers, values, tables and columns, views on files."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import duckdb

from trunk_transforms import schema
from trunk_transforms.schema import reports as report_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


DATASET = "famulor"


TYPES_BY_SQL: dict[str, schema.ColumnType] = {
    "VARCHAR": "text",
    "BIGINT": "bigint",
    "DOUBLE": "double",
    "BOOLEAN": "bool",
    "JSON": "json",
}
"""The types of columns that are not declared."""


_CHANGES_BEHIND = (schema.SIP_TRUNKS_HISTORY.name, schema.SIP_TRUNK_SNAPSHOTS.name, schema.SCHEMA_DRIFT.name)


_TABLES_BEHIND = {
    **{table.name: (table.name,) for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS)},
    schema.DRIFT.name: (schema.SIP_TRUNK_SNAPSHOTS.name, schema.SCHEMA_DRIFT.name),
    report_schema.TRUNK_COUNTS.name: (schema.SIP_TRUNKS.name,),
    report_schema.SIP_TRUNK_CHANGES.name: _CHANGES_BEHIND,
    report_schema.TRUNKS_AS_OF.name: (schema.SIP_TRUNKS_HISTORY.name, schema.SIP_TRUNK_SNAPSHOTS.name),
    report_schema.CHANGES_BETWEEN.name: _CHANGES_BEHIND,
}
"""Which stored tables each table, view and macro is read from."""


JSON_COLUMNS = "json_columns"
"""The key under which a Parquet file says which of its text columns are JSON, as a JSON array of names."""


def quoted(identifier: str) -> str:
    """Return the identifier quoted for SQL; names of columns come from the API."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return the value quoted for SQL. Parameters would be shorter, but DuckDB imports pandas to bind them."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def find_tables(query: str) -> list[str] | None:
    """Return the tables that a query names, those behind a view or macro included; None if it names none of them."""
    words = set(re.findall(r"\w+", query.lower()))
    return [table for name in sorted(words & set(_TABLES_BEHIND)) for table in _TABLES_BEHIND[name]] or None


def read_columns(connection: duckdb.DuckDBPyConnection, table: str, place: str = DATASET) -> dict[str, str]:
    """Return the columns of a table or view and their types; none if there is none of that name."""
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
        f"AND schema_name = {literal(place)} AND table_name = {literal(table)} ORDER BY column_index"
    ).fetchall()
    return dict(rows)


def read_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return the stored tables, each with its columns and their types."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
        f"AND schema_name = {literal(DATASET)} ORDER BY table_name, column_index"
    ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, column_type in rows:
        tables.setdefault(table, {})[column] = column_type
    return tables


def exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether the connection has a table of that name."""
    return bool(read_columns(connection, table))


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run the statements of this context as one: each that commits on its own costs as much again."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # that DuckDB has given it up is no news
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def comment_on(
    connection: duckdb.DuckDBPyConnection, kind: str, name: str, meaning: str, columns: Mapping[str, str]
) -> None:
    """Say what a table or view means, and what each of its columns does."""
    comments = [f"COMMENT ON {kind} {name} IS {literal(meaning)}"]
    comments += [f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(text)}" for column, text in columns.items()]
    connection.execute("; ".join(comments))


def show_files(
    connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[str], condition: str = "true"
) -> None:
    """Make `famulor.<table>` a view on Parquet files, with the types that the warehouse has, or on some of their rows.

    The last of the files has every column of the others; lists and JSON travel as such, and are JSON here.
    """
    last = literal(files[-1])
    marked = connection.execute(
        f"SELECT decode(value) FROM parquet_kv_metadata({last}) WHERE decode(key) = {literal(JSON_COLUMNS)}"
    ).fetchall()
    types = connection.execute(f"DESCRIBE FROM read_parquet({last}, hive_partitioning = false)").fetchall()
    casts = [f"to_json({quoted(name)}) AS {quoted(name)}" for name, kind, *_ in types if kind.endswith("[]")]
    casts += [f"{quoted(name)}::JSON AS {quoted(name)}" for (text,) in marked for name in json.loads(text)]
    replaced = f" REPLACE ({', '.join(casts)})" if casts else ""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {DATASET}")
    connection.execute(
        f"CREATE OR REPLACE VIEW {DATASET}.{quoted(table)} AS SELECT *{replaced} "
        f"FROM read_parquet([{', '.join(map(literal, files))}], union_by_name = true, hive_partitioning = false) "
        f"WHERE {condition}"
    )
