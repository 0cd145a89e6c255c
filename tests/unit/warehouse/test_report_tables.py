"""Published reports that an earlier version wrote."""

from __future__ import annotations

import duckdb

from sip_trunks.warehouse.report_tables import create_findings
from trunk_transforms.schema.reports import AUDIT_FINDINGS, CURRENT_FINDINGS
from trunk_transforms.schema.tables import SQL_TYPES


def test_columns_that_a_log_of_findings_does_not_have_yet_are_null_in_the_view() -> None:
    new = ("nickname", "cause")
    columns = ", ".join(f"{c.name} {SQL_TYPES[c.type]}" for c in AUDIT_FINDINGS.columns if c.name not in new)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE SCHEMA reports; CREATE TABLE reports.audit_findings ({columns})")
        connection.execute(
            "INSERT INTO reports.audit_findings (account, trunk_id, is_current) VALUES ('acme', 1, true)"
        )
        create_findings(connection)
        assert connection.execute("SELECT account, nickname, cause FROM findings").fetchall() == [("acme", None, None)]
        assert [name for name, *_ in connection.execute("DESCRIBE findings").fetchall()] == CURRENT_FINDINGS.names
