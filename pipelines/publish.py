"""Report frames → where people read them: for now the `reports` schema of the published file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines import catalog
from transforms.reports import REPORTS

if TYPE_CHECKING:
    import duckdb


def publish_reports(connection: duckdb.DuckDBPyConnection) -> None:
    """Derive every report from what is stored and write it as a table of the `reports` schema."""
    for report in REPORTS.values():
        trunks = catalog.read_trunks(connection, report.needs)
        catalog.write_report(connection, report.name, report.derive(trunks), report.question, report.columns)
