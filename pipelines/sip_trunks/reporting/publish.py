"""Reports → where people find them: the schema `reports` beside the data, and one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks import __version__
from sip_trunks.core.files import write_whole
from sip_trunks.reporting.inputs import read_basis, read_options, stored_tables
from sip_trunks.warehouse import report_tables, sql
from trunk_transforms.audit.finding_log import extend_findings
from trunk_transforms.reports.registry import derive_report
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination
    from trunk_transforms.reports.inputs import Basis


def publish_tables(connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot_at: datetime) -> Basis:
    """Write every report as a table of the schema `reports`, in place of the one before; return their basis.

    The findings are a log: those that earlier runs have published stay, with the time when they were last seen.
    """
    basis = _read_basis(connection, settings, snapshot_at)
    with sql.transaction(connection):
        for report in REPORTS.values():
            frame = derive_report(report.name, basis)
            if report.name == "audit":
                frame = extend_findings(basis.tables.get("log"), frame, basis.suppressed, basis.tables["looks"])
            report_tables.write_report(connection, report.table, frame, report.question)
        report_tables.create_findings(connection)
    return basis


def publish_page(settings: Settings, destination: Destination, snapshot_at: datetime, basis: Basis | None) -> None:
    """Write the report page in place of the one before; without a basis, from what is stored."""
    from sip_trunks.reporting.html_page import render_page

    if basis is None:
        with destination.reading(stored_tables(list(REPORTS))) as connection:
            basis = _read_basis(connection, settings, snapshot_at)
    frames = {name: derive_report(name, basis) for name, report in REPORTS.items() if report.is_on_page}
    page = render_page(frames, as_of=snapshot_at, place=destination.location, version=__version__)
    settings.page_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(settings.page_path, page.encode())


def _read_basis(connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot_at: datetime) -> Basis:
    return read_basis(connection, list(REPORTS), read_options(settings, as_of=snapshot_at, is_log=True))
