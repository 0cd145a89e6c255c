"""The schema `reports`: every report as a table, in the file or as a file of the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.catalog import comment_on, literal, quoted
from transforms import report_schema

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from transforms import schema

REPORTS_SCHEMA = "reports"
FINDINGS = report_schema.AUDIT_FINDINGS.name
"""The table of the findings, which is a log: the others are written anew."""


def write_report(
    connection: duckdb.DuckDBPyConnection, declared: schema.Table, frame: pd.DataFrame, question: str
) -> None:
    """Write a report's frame as the table of the schema `reports` that is declared, in place of the one before."""
    import pyarrow as pa

    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {REPORTS_SCHEMA}")
    connection.register("report_frame", pa.Table.from_pandas(frame, preserve_index=False))
    table = f"{REPORTS_SCHEMA}.{quoted(declared.name)}"
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM report_frame")
    connection.unregister("report_frame")
    comment_on(connection, "TABLE", table, f"{question} {declared.grain}", declared.meanings)


def read_report(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[list[str], list[tuple[Any, ...]]] | None:
    """Return the columns and rows of a published report; None if the last run wrote none."""
    try:
        result = connection.execute(f"SELECT * FROM {REPORTS_SCHEMA}.{quoted(name)}")
    except duckdb.CatalogException:
        return None
    return [column[0] for column in result.description or ()], result.fetchall()


def show_report(connection: duckdb.DuckDBPyConnection, name: str, file: str, kind: str) -> None:
    """Make `reports.<name>` a view on a Parquet file, or a table with what is in it."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {REPORTS_SCHEMA}")
    source = f"read_parquet({literal(file)}, hive_partitioning = false)"
    table = f"{REPORTS_SCHEMA}.{quoted(name)}"
    connection.execute(f"CREATE {kind} {table} AS FROM {source}")
    for declared in report_schema.REPORT_TABLES:
        if declared.name == name and kind == "VIEW":
            comment_on(connection, kind, table, declared.grain, declared.meanings)


def copy_reports(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write every report of the connection as a Parquet file into the folder."""
    for name in _list_reports(connection):
        file = literal(folder / f"{name}.parquet")
        connection.execute(f"COPY {REPORTS_SCHEMA}.{quoted(name)} TO {file} (FORMAT parquet, COMPRESSION zstd)")


def has_reports(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the last run wrote reports."""
    return "overview" in _list_reports(connection)


def drop_reports(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the reports but for the log of the findings, of which none is known to be current any more."""
    connection.execute(f"DROP VIEW IF EXISTS main.{report_schema.CURRENT_FINDINGS.name}")
    for name in _list_reports(connection):
        if name == FINDINGS:
            connection.execute(f"UPDATE {REPORTS_SCHEMA}.{name} SET is_current = NULL WHERE is_current")
        else:
            connection.execute(f"DROP TABLE {REPORTS_SCHEMA}.{quoted(name)}")


def count_findings(connection: duckdb.DuckDBPyConnection, condition: str) -> dict[str, int]:
    """Return how many rows of the log of the audits a condition holds for, if there is a log."""
    if FINDINGS not in _list_reports(connection):
        return {}
    query = f"SELECT count(*) FROM {REPORTS_SCHEMA}.{FINDINGS} WHERE {condition}"
    ((count,),) = connection.execute(query).fetchall()
    return {FINDINGS: int(count)}


def drop_findings(connection: duckdb.DuckDBPyConnection, condition: str) -> dict[str, int]:
    """Remove the rows of the log of the audits, if there is one, for which a condition holds; return how many."""
    if FINDINGS not in _list_reports(connection):
        return {}
    ((count,),) = connection.execute(f"DELETE FROM {REPORTS_SCHEMA}.{FINDINGS} WHERE {condition}").fetchall()
    return {FINDINGS: int(count)}


def create_findings(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the view `findings` on the log of the audits: those that are current."""
    table = report_schema.CURRENT_FINDINGS
    name = f"main.{table.name}"
    columns = ", ".join(table.names)
    connection.execute(
        f"CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM {REPORTS_SCHEMA}.{FINDINGS} WHERE is_current"
    )
    comment_on(connection, "VIEW", name, table.grain, table.meanings)


def _list_reports(connection: duckdb.DuckDBPyConnection) -> list[str]:
    tables = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {literal(REPORTS_SCHEMA)}"
    return [name for (name,) in connection.execute(tables).fetchall()]
