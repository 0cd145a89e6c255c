"""Reports → where people find them: the schema `reports` beside the data, and one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks import __version__
from sip_trunks.core.files import write_whole
from sip_trunks.reporting.inputs import read_inputs, read_options, stored_tables
from sip_trunks.warehouse import report_tables, sql
from trunk_transforms.audit.finding_log import extend_findings
from trunk_transforms.reports.registry import derive_report
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination
    from trunk_transforms.reports.inputs import ReportInputs


def publish_tables(connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot_at: datetime) -> ReportInputs:
    """Write every report as a table of the schema `reports`, in place of the one before; return their inputs.

    The findings are a log: those that earlier runs have published stay, with the time when they were last seen.
    """
    inputs = _read_basis(connection, settings, snapshot_at)
    with sql.transaction(connection):
        for report in REPORTS.values():
            frame = derive_report(report.name, inputs)
            if report.name == "audit":
                frame = extend_findings(
                    inputs.tables.get("log"), frame, inputs.suppressed, inputs.tables["observations"]
                )
            report_tables.write_report(connection, report.table, frame, report.question)
        report_tables.create_findings(connection)
    return inputs


def publish_page(
    settings: Settings, destination: Destination, snapshot_at: datetime, inputs: ReportInputs | None
) -> None:
    """Write the report page in place of the one before; without a inputs, from what is stored."""
    from sip_trunks.reporting.html_page import render_page

    if inputs is None:
        with destination.reading(stored_tables(list(REPORTS))) as connection:
            inputs = _read_basis(connection, settings, snapshot_at)
    frames = {name: derive_report(name, inputs) for name, report in REPORTS.items() if report.is_on_page}
    page = render_page(frames, as_of=snapshot_at, place=destination.location, version=__version__)
    settings.page_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(settings.page_path, page.encode())


def _read_basis(connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot_at: datetime) -> ReportInputs:
    return read_inputs(connection, list(REPORTS), read_options(settings, as_of=snapshot_at, is_log=True))
