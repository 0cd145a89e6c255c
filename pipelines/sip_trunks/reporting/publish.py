"""Report frames → published reports: the tables of the schema `reports`, and the HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.core.files import write_whole
from sip_trunks.reporting.inputs import read_inputs, read_inputs_of, read_options
from sip_trunks.warehouse import report_tables, sql
from trunk_transforms.audit.finding_log import extend_findings
from trunk_transforms.reports.registry import derive_report
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination
    from trunk_transforms.reports.inputs import Options, ReportInputs


def publish_tables(connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot_at: datetime) -> ReportInputs:
    """Replace every table of the schema `reports`; return the inputs of the reports.

    The findings are a log: findings of earlier runs stay, with the time when they were last seen.
    """
    inputs = read_inputs(connection, list(REPORTS), _options(settings, snapshot_at))
    with sql.transaction(connection):
        for name, report in REPORTS.items():
            frame = derive_report(name, inputs)
            if name == "audit":
                log, observations = inputs.tables.get("log"), inputs.tables["observations"]
                frame = extend_findings(log, frame, inputs.suppressed, observations)
            report_tables.write_report(connection, report.table, frame, report.question)
        report_tables.create_findings(connection)
    return inputs


def publish_page(
    settings: Settings, destination: Destination, snapshot_at: datetime, inputs: ReportInputs | None
) -> None:
    """Replace the destination's report page. Without `inputs`, they are read from `destination`."""
    from sip_trunks.reporting.html_page import render_page

    if inputs is None:
        inputs = read_inputs_of(destination, list(REPORTS), _options(settings, snapshot_at))
    frames = {name: derive_report(name, inputs) for name, report in REPORTS.items() if report.is_on_page}
    page = render_page(frames, as_of=snapshot_at, destination=destination)
    settings.page_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(settings.page_path, page.encode())


def _options(settings: Settings, snapshot_at: datetime) -> Options:
    return read_options(settings, as_of=snapshot_at, is_log=True)
