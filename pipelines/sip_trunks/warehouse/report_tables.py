"""The schema `reports`: every report as a table, in the file or as a file of the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.warehouse.sql import comment_on, literal, quoted, transaction
from trunk_transforms.schema import reports as report_schema
from trunk_transforms.schema.tables import SQL_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pandas as pd

    from trunk_transforms import schema

REPORTS_SCHEMA = "reports"
FINDINGS = report_schema.AUDIT_FINDINGS.name
RUNS = report_schema.RUNS.name
LOGS = (FINDINGS, RUNS)
"""The tables that are logs: the others are written anew."""


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
    for declared in (*(report.table for report in report_schema.REPORTS.values()), report_schema.RUNS):
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
    """Remove the reports but for the logs; of the findings none is known to be current any more."""
    connection.execute(f"DROP VIEW IF EXISTS main.{report_schema.CURRENT_FINDINGS.name}")
    for name in _list_reports(connection):
        if name == FINDINGS:
            connection.execute(f"UPDATE {REPORTS_SCHEMA}.{name} SET is_current = NULL WHERE is_current")
        elif name not in LOGS:
            connection.execute(f"DROP TABLE {REPORTS_SCHEMA}.{quoted(name)}")


def count_logged(connection: duckdb.DuckDBPyConnection, conditions: Mapping[str, str]) -> dict[str, int]:
    """Return how many rows of the logs that there are a condition holds for, by log."""
    return _for_each_log(connection, conditions, "SELECT count(*) FROM")


def drop_logged(connection: duckdb.DuckDBPyConnection, conditions: Mapping[str, str]) -> dict[str, int]:
    """Remove the rows of the logs that there are for which a condition holds; return how many, by log."""
    return _for_each_log(connection, conditions, "DELETE FROM")


def _for_each_log(
    connection: duckdb.DuckDBPyConnection, conditions: Mapping[str, str], statement: str
) -> dict[str, int]:
    counts, stored = {}, _list_reports(connection)
    for name in LOGS:
        if name in stored and name in conditions:
            query = f"{statement} {REPORTS_SCHEMA}.{name} WHERE {conditions[name]}"
            ((counts[name],),) = connection.execute(query).fetchall()
    return counts


def count_current_findings(
    connection: duckdb.DuckDBPyConnection, snapshot_at: datetime
) -> list[tuple[str, str, int, int]] | None:
    """Return severity, rule, how many findings of it there are and how many of them this snapshot brought.

    None if the last run that saw something new wrote no reports.
    """
    if not has_reports(connection):
        return None
    return connection.execute(
        f"SELECT severity, rule, count(*), count(*) FILTER (first_seen_at = {literal(snapshot_at)}) "
        f"FROM {REPORTS_SCHEMA}.{FINDINGS} WHERE is_current GROUP BY ALL ORDER BY ALL"
    ).fetchall()


def create_findings(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the view `findings` on the log of the audits: those that are current."""
    table = report_schema.CURRENT_FINDINGS
    name = f"main.{table.name}"
    columns = ", ".join(table.names)
    connection.execute(
        f"CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM {REPORTS_SCHEMA}.{FINDINGS} WHERE is_current"
    )
    comment_on(connection, "VIEW", name, table.grain, table.meanings)


def write_runs(connection: duckdb.DuckDBPyConnection, runs: Sequence[Mapping[str, Any]]) -> None:
    """Put these runs into the log of the runs, each in place of what it had of it; those that it has stay."""
    declared = report_schema.RUNS
    table = f"{REPORTS_SCHEMA}.{declared.name}"
    there = _list_columns(connection, declared.name)
    lacking = [f"{column.name} {SQL_TYPES[column.type]}" for column in declared.columns if column.name not in there]
    if lacking:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {REPORTS_SCHEMA}")
        if there:  # of another release
            connection.execute("; ".join(f"ALTER TABLE {table} ADD COLUMN {column}" for column in lacking))
        else:
            connection.execute(f"CREATE TABLE {table} ({', '.join(lacking)})")
        comment_on(connection, "TABLE", table, declared.grain, declared.meanings)
        create_runs(connection)
    # When a run is put here it has not quite ended: the next one, which reads what it noted then, puts that right.
    found = connection.execute(f"SELECT started_at, ended_at, exit_code FROM {table}").fetchall()
    stored = {started_at: rest for started_at, *rest in found}
    missing = [run for run in runs if stored.get(run["started_at"]) != [run["ended_at"], run["exit_code"]]]
    if not missing:
        return
    outdated = ", ".join(_as_sql(run["started_at"]) for run in missing)
    rows = ", ".join(f"({', '.join(_as_sql(run.get(name)) for name in declared.names)})" for run in missing)
    with transaction(connection):
        connection.execute(f"DELETE FROM {table} WHERE started_at IN ({outdated})")
        connection.execute(f"INSERT INTO {table} ({', '.join(declared.names)}) VALUES {rows}")


def has_runs(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether there is a log of the runs: releases before it kept none."""
    return RUNS in _list_reports(connection)


def create_runs(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the view `runs` on their log."""
    name = f"main.{RUNS}"
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS FROM {REPORTS_SCHEMA}.{RUNS}")
    comment_on(connection, "VIEW", name, report_schema.RUNS.grain, report_schema.RUNS.meanings)


def _as_sql(value: Any) -> str:
    return "NULL" if value is None else literal(value)


def _list_columns(connection: duckdb.DuckDBPyConnection, report: str) -> list[str]:
    columns = (
        f"SELECT column_name FROM information_schema.columns WHERE table_schema = {literal(REPORTS_SCHEMA)} "
        f"AND table_name = {literal(report)}"
    )
    return [name for (name,) in connection.execute(columns).fetchall()]


def _list_reports(connection: duckdb.DuckDBPyConnection) -> list[str]:
    tables = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {literal(REPORTS_SCHEMA)}"
    return [name for (name,) in connection.execute(tables).fetchall()]
