"""The schema `reports`: each report as a table of the DuckDB file, or as a file of the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from sip_trunks.warehouse import sql
from sip_trunks.warehouse.findings import OLD_LOG, create_findings
from sip_trunks.warehouse.sql import OBSERVATIONS, literal, quoted
from trunk_transforms.schema import reports as report_schema
from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS, SQL_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from trunk_transforms import schema

REPORTS_SCHEMA = "reports"
RUNS = report_schema.RUNS.name
FAILURES = report_schema.ACCOUNT_FAILURES.name
LOGS = (OLD_LOG, RUNS, FAILURES)
"""The tables that are logs. Each run replaces the other tables."""

_RUN_LOGS = (report_schema.RUNS, report_schema.ACCOUNT_FAILURES)


def write_report(
    connection: duckdb.DuckDBPyConnection, declared: schema.Table, frame: pd.DataFrame, question: str
) -> None:
    """Create or replace the table of a report in the schema `reports`, with comments."""
    import pyarrow as pa

    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {REPORTS_SCHEMA}")
    table = f"{REPORTS_SCHEMA}.{quoted(declared.name)}"
    sql.write_table(connection, table, pa.Table.from_pandas(frame, preserve_index=False))
    sql.comment_on(connection, "TABLE", table, f"{question} {declared.grain}", declared.meanings)


def read_report(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[list[str], list[tuple[Any, ...]]] | None:
    """Return the columns and rows of a published report; None if the last run published no reports."""
    try:
        result = connection.execute(f"SELECT * FROM {REPORTS_SCHEMA}.{quoted(name)}")
    except duckdb.CatalogException:
        return None
    return [column[0] for column in result.description or ()], result.fetchall()


def show_report(connection: duckdb.DuckDBPyConnection, name: str, file: str, kind: str) -> None:
    """Create `reports.<name>` from a Parquet file, as a view on it or as a table with its rows."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {REPORTS_SCHEMA}")
    table = f"{REPORTS_SCHEMA}.{quoted(name)}"
    connection.execute(f"CREATE {kind} {table} AS FROM {sql.read_parquet([file])}")
    declared = {table.name: table for table in (*(r.table for r in report_schema.REPORTS.values()), *_RUN_LOGS)}
    if kind == "VIEW" and name in declared:
        stored = sql.read_tables(connection, REPORTS_SCHEMA)[name]  # another release may have written other columns
        meanings = {column: text for column, text in declared[name].meanings.items() if column in stored}
        sql.comment_on(connection, kind, table, declared[name].grain, meanings)


def copy_reports(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write each report to a Parquet file in the folder."""
    for name in sql.read_tables(connection, REPORTS_SCHEMA):
        file = literal(folder / f"{name}.parquet")
        connection.execute(f"COPY {REPORTS_SCHEMA}.{quoted(name)} TO {file} (FORMAT parquet, COMPRESSION zstd)")


def drop_reports(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete the reports, but keep the logs."""
    for name in sql.read_tables(connection, REPORTS_SCHEMA):
        if name not in LOGS:
            connection.execute(f"DROP TABLE {REPORTS_SCHEMA}.{quoted(name)}")
    create_findings(connection)


def drop_old_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete the log of findings of earlier releases."""
    connection.execute(f"DROP TABLE IF EXISTS {REPORTS_SCHEMA}.{OLD_LOG}")


def write_runs(connection: duckdb.DuckDBPyConnection, runs: Sequence[Mapping[str, Any]]) -> None:
    """Write these runs, and their `failures`, to the run logs. Each replaces the rows with the same start.

    The rows of other runs are kept.
    """
    with sql.transaction(connection):
        stored_tables = sql.read_tables(connection, REPORTS_SCHEMA)
        if any(set(declared.names) - set(stored_tables.get(declared.name, ())) for declared in _RUN_LOGS):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {REPORTS_SCHEMA}")
            for declared in _RUN_LOGS:
                _create_log(connection, declared)
            create_runs(connection)
        # A run writes its row shortly before it ends, so the next run writes the final end and exit code.
        found = connection.execute(f"SELECT started_at, ended_at, exit_code FROM {REPORTS_SCHEMA}.{RUNS}").fetchall()
        stored = {started_at: rest for started_at, *rest in found}
        changed = [run for run in runs if stored.get(run["started_at"]) != [run["ended_at"], run["exit_code"]]]
        if changed:
            failures = [
                failure | {"started_at": run["started_at"]}
                for run in changed
                if run["started_at"] not in stored
                for failure in run.get("failures") or ()
            ]
            replaced = ", ".join(literal(run["started_at"]) for run in changed)
            connection.execute(f"DELETE FROM {REPORTS_SCHEMA}.{RUNS} WHERE started_at IN ({replaced})")
            for declared, rows in zip(_RUN_LOGS, (changed, failures), strict=True):
                sql.insert_rows(connection, f"{REPORTS_SCHEMA}.{declared.name}", rows, declared.names)


def _create_log(connection: duckdb.DuckDBPyConnection, declared: schema.Table) -> None:
    """Create a log, or add the columns that the log of another release lacks."""
    table, columns = f"{REPORTS_SCHEMA}.{declared.name}", [f"{c.name} {SQL_TYPES[c.type]}" for c in declared.columns]
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")
    connection.execute("; ".join(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}" for column in columns))
    sql.comment_on(connection, "TABLE", table, declared.grain, declared.meanings)


def create_runs(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views `runs` and `account_runs` on the run logs and the observations, if these are stored.

    Columns that the run log of an earlier release lacks are null.
    """
    stored = sql.read_tables(connection, REPORTS_SCHEMA)
    if RUNS not in stored:
        return
    columns = report_schema.RUNS.columns
    names = [c.name if c.name in stored[RUNS] else f"NULL::{SQL_TYPES[c.type]} AS {c.name}" for c in columns]
    sql.create_view(connection, report_schema.RUNS, f"SELECT {', '.join(names)} FROM {REPORTS_SCHEMA}.{RUNS}")
    if FAILURES in stored and sql.exists(connection, SIP_TRUNK_SNAPSHOTS.name):
        sql.create_view(connection, report_schema.ACCOUNT_RUNS, _ACCOUNT_RUNS)


_ACCOUNT_RUNS = f"""
    SELECT account, snapshot_at AS ran_at, CASE WHEN is_unchanged THEN 'unchanged' ELSE 'loaded' END AS status,
        trunk_count, drift_count, NULL::VARCHAR AS error, NULL::BIGINT AS exit_code
    FROM {OBSERVATIONS}
    UNION ALL
    SELECT account, started_at, 'failed', NULL, NULL, error, exit_code FROM {REPORTS_SCHEMA}.{FAILURES}
"""
