"""Report frames → what a run stores and publishes: the findings, the tables of the schema `reports`, the HTML page."""

from collections.abc import Callable, Mapping
from datetime import datetime

import duckdb
import pyarrow as pa

from sip_trunks.core.files import write_whole
from sip_trunks.core.settings import Settings
from sip_trunks.destinations.base import Destination
from sip_trunks.reporting.inputs import read_inputs, read_inputs_of, read_options, stored_tables
from sip_trunks.warehouse import report_tables, sql
from trunk_transforms.audit.finding_log import note_rules
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.registry import derive_page, derive_report
from trunk_transforms.schema.findings import AUDITED_RULES, FINDINGS_HISTORY
from trunk_transforms.schema.reports import REPORTS

WriteAudit = Callable[["duckdb.DuckDBPyConnection", "Mapping[str, pa.Table]"], None]


def publish_tables(
    connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot_at: datetime, write_audit: WriteAudit
) -> ReportInputs:
    """Replace every table of the schema `reports` and the tables of the audit; return the inputs of the reports."""
    inputs = read_inputs(connection, list(REPORTS), _options(settings, snapshot_at))
    write_tables(connection, inputs, write_audit)
    return inputs


def write_tables(connection: duckdb.DuckDBPyConnection, inputs: ReportInputs, write_audit: WriteAudit) -> None:
    """Replace every table of the schema `reports` and the tables of the audit by those of the inputs."""
    audit = _audit_tables(inputs)
    with sql.transaction(connection):
        for name, report in REPORTS.items():
            if name != "audit":
                report_tables.write_report(connection, report.table, derive_report(name, inputs), report.question)
        write_audit(connection, audit)
        report_tables.drop_old_log(connection)


def publish_reports(
    connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot_at: datetime, destination: Destination
) -> ReportInputs:
    """Replace the tables of the audit and, if the destination stores them, the reports; return the inputs of these.

    `connection` is that of the run. At a destination without reports, it has only a part of the stored tables, so all
    of them are read again.
    """
    if destination.publishes_reports:
        return publish_tables(connection, settings, snapshot_at, destination.write_audit)
    with destination.reading(stored_tables(list(REPORTS))) as stored:
        inputs = read_inputs(stored, list(REPORTS), _options(settings, snapshot_at))
        audit = _audit_tables(inputs)
    destination.write_audit(connection, audit)
    return inputs


def _audit_tables(inputs: ReportInputs) -> dict[str, pa.Table]:
    """Return the tables of the audit as they are after one more audit, which `inputs` has."""
    import pyarrow as pa

    rules = [rule.code for rule in inputs.options.rules]
    noted = note_rules(inputs.tables.get("audited_rules"), inputs.tables["observations"], rules)
    return {
        table.name: pa.Table.from_pandas(frame[table.names], table.full_arrow_schema(), preserve_index=False)
        for table, frame in ((FINDINGS_HISTORY, inputs.lives), (AUDITED_RULES, noted))
    }


def publish_page(
    settings: Settings, destination: Destination, snapshot_at: datetime, inputs: ReportInputs | None
) -> None:
    """Replace the destination's report page. Without `inputs`, they are read from `destination`."""
    from sip_trunks.reporting.html_page import render_page

    if inputs is None:
        inputs = read_inputs_of(destination, list(REPORTS), _options(settings, snapshot_at))
    frames = derive_page((name for name, report in REPORTS.items() if report.is_on_page), inputs)
    page = render_page(frames, as_of=snapshot_at, destination=destination)
    settings.page_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(settings.page_path, page.encode())


def _options(settings: Settings, snapshot_at: datetime) -> Options:
    return read_options(settings, as_of=snapshot_at, is_log=True)
