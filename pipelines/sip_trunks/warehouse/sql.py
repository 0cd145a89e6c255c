"""SQL for every destination: identifiers, values, tables, columns, and views on files."""

import glob
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from trunk_transforms import schema
from trunk_transforms.schema import reports as report_schema
from trunk_transforms.schema.findings import AUDIT_TABLES, CURRENT_FINDINGS

DATASET = "famulor"
TRUNKS = f"{DATASET}.{schema.SIP_TRUNKS.name}"
HISTORY = f"{DATASET}.{schema.SIP_TRUNKS_HISTORY.name}"
OBSERVATIONS = f"{DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}"
DRIFT = f"{DATASET}.{schema.SCHEMA_DRIFT.name}"
ASSIGNMENTS = f"{DATASET}.{schema.SIP_TRUNK_ASSIGNMENTS.name}"
ASSIGNMENTS_HISTORY = f"{DATASET}.{schema.SIP_TRUNK_ASSIGNMENTS_HISTORY.name}"

_UNDECLARED: tuple[schema.ColumnType, ...] = ("text", "bigint", "double", "bool", "json")
TYPES_BY_SQL = {schema.SQL_TYPES[kind]: kind for kind in _UNDECLARED}
"""The types of undeclared columns."""

_HISTORIES = tuple(resource.history.name for resource in schema.RESOURCES)
_CHANGES_BEHIND = (*_HISTORIES, schema.SIP_TRUNK_SNAPSHOTS.name, schema.SCHEMA_DRIFT.name)
_TABLES_BEHIND = {
    **{table.name: (table.name,) for table in schema.EVERY_TABLE},
    schema.SIP_TRUNKS.name: (schema.SIP_TRUNKS.name, schema.SIP_TRUNK_ASSIGNMENTS.name),
    schema.DRIFT.name: (schema.SIP_TRUNK_SNAPSHOTS.name, schema.SCHEMA_DRIFT.name),
    report_schema.ACCOUNT_RUNS.name: (schema.SIP_TRUNK_SNAPSHOTS.name,),
    CURRENT_FINDINGS.name: (schema.SIP_TRUNK_SNAPSHOTS.name, *(table.name for table in AUDIT_TABLES)),
    report_schema.TRUNK_COUNTS.name: (schema.SIP_TRUNKS.name,),
    **{view.name: _CHANGES_BEHIND for view in report_schema.OF_HISTORY},
    report_schema.TRUNKS_AS_OF.name: (schema.SIP_TRUNKS_HISTORY.name, schema.SIP_TRUNK_SNAPSHOTS.name),
    report_schema.CHANGES_BETWEEN.name: _CHANGES_BEHIND,
}
"""The stored tables that each table, view and macro reads."""

JSON_COLUMNS = "json_columns"
"""The metadata key of a Parquet file under which it lists its JSON columns, as a JSON array of names."""


def quoted(identifier: str) -> str:
    """Return the identifier quoted for SQL. Column names come from the API, so they may contain anything."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return the value as an SQL literal. Not a query parameter, because DuckDB imports pandas to bind one."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def find_tables(query: str) -> list[str] | None:
    """Return the stored tables that a query reads, directly or through views and macros; None if it names none."""
    words = set(re.findall(r"\w+", query.lower()))
    return [table for name in sorted(words & set(_TABLES_BEHIND)) for table in _TABLES_BEHIND[name]] or None


def read_tables(connection: duckdb.DuckDBPyConnection, dataset: str = DATASET) -> dict[str, dict[str, str]]:
    """Return the SQL type of each column, by table and column. Views are included."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
        f"AND schema_name = {literal(dataset)} ORDER BY table_name, column_index"
    ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, column_type in rows:
        tables.setdefault(table, {})[column] = column_type
    return tables


def read_columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the SQL type of each column of a stored table; empty if the table does not exist."""
    return read_tables(connection).get(table, {})


def exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether a stored table with this name exists."""
    # Listing columns would take three times as long.
    found = [
        f"SELECT 1 FROM duckdb_{kind}s() WHERE database_name = current_database() "
        f"AND schema_name = {literal(DATASET)} AND {kind}_name = {literal(table)}"
        for kind in ("table", "view")
    ]
    return bool(connection.execute(" UNION ALL ".join(found)).fetchall())


def has_every_view(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the file has every view on stored tables that this release declares."""
    return {view.name for view in report_schema.OF_HISTORY} <= read_tables(connection, "main").keys()


def file_literal(path: object) -> str:
    """Return the path of a file as an SQL literal, escaped so that it matches no other file."""
    plain, escaped = str(path), glob.escape(str(path))
    # DuckDB has no pattern that is only a backslash.
    return literal(plain if escaped == plain else escaped.replace("\\", "?"))


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Run the statements of this context in one transaction, which is faster than one commit per statement."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # DuckDB may have rolled back already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def write_table(
    connection: duckdb.DuckDBPyConnection, table: str, rows: object, query: str = "FROM given_rows"
) -> None:
    """Create or replace a table with Arrow rows, or with the result of a query of them, as `given_rows`."""
    connection.register("given_rows", rows)
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS {query}")
    connection.unregister("given_rows")


def insert_rows(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()
) -> None:
    """Insert rows into a table: these columns (default: all that a row has); a column that a row lacks is null."""
    names = names or list(dict.fromkeys(name for row in rows for name in row))
    if rows:
        values = ", ".join(f"({', '.join(literal(row.get(name)) for name in names)})" for row in rows)
        connection.execute(f"INSERT INTO {table} ({', '.join(map(quoted, names))}) VALUES {values}")


def comment_on(
    connection: duckdb.DuckDBPyConnection, kind: str, name: str, meaning: str, columns: Mapping[str, str]
) -> None:
    """Set the comments of a table or view and of its columns."""
    comments = [f"COMMENT ON {kind} {name} IS {literal(meaning)}"]
    comments += [f"COMMENT ON COLUMN {name}.{quoted(column)} IS {literal(text)}" for column, text in columns.items()]
    connection.execute("; ".join(comments))


def create_view(
    connection: duckdb.DuckDBPyConnection, table: schema.Table, query: str, meanings: Mapping[str, str] | None = None
) -> None:
    """Create or replace the declared view in schema `main`, with comments; `meanings` are those of all its columns."""
    connection.execute(f"CREATE OR REPLACE VIEW main.{table.name} AS {query}")
    comment_on(connection, "VIEW", f"main.{table.name}", table.grain, meanings or table.meanings)


def read_parquet(files: Sequence[str], options: str = "") -> str:
    """Return the SQL of the rows of Parquet files, with each column that any of them has."""
    listed = ", ".join(map(file_literal, files))
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false{options})"


def show_files(
    connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[str], condition: str = "true"
) -> None:
    """Create `famulor.<table>` as a view on the rows of Parquet files that meet the condition.

    Its types are those of the DuckDB file: lists and JSON text become JSON. The last file must have all columns of the
    other files.
    """
    metadata = f"parquet_kv_metadata({file_literal(files[-1])})"
    marked = connection.execute(
        f"SELECT decode(value) FROM {metadata} WHERE decode(key) = {literal(JSON_COLUMNS)}"
    ).fetchall()
    types = connection.execute(f"DESCRIBE FROM {read_parquet(files[-1:])}").fetchall()
    casts = [f"to_json({quoted(name)}) AS {quoted(name)}" for name, kind, *_ in types if kind.endswith("[]")]
    casts += [f"{quoted(name)}::JSON AS {quoted(name)}" for (text,) in marked for name in json.loads(text)]
    replaced = f" REPLACE ({', '.join(casts)})" if casts else ""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {DATASET}")
    connection.execute(
        f"CREATE OR REPLACE VIEW {DATASET}.{quoted(table)} AS SELECT *{replaced} "
        f"FROM {read_parquet(files)} WHERE {condition}"
    )
