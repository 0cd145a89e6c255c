"""The registry: every report has its columns, needs no more than it says, and can be masked."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.unit.reports.inputs import NOW, inputs
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.registry import derive_report, tables_needed, trunk_columns
from trunk_transforms.schema.reports import REPORTS


@pytest.mark.parametrize("name", REPORTS)
def test_every_column_of_a_report_is_documented_with_and_without_rows(name: str) -> None:
    report = REPORTS[name]
    ages = {"last_seen_at", "is_current"} if name == "audit" else set()  # the log of the findings adds them
    empty = {table: made.head(0) for table, made in inputs().tables.items()}
    for made in (
        derive_report(report.name, inputs()),
        derive_report(report.name, ReportInputs(empty, Options(as_of=NOW))),
    ):
        assert list(made.columns) == [name for name in report.table.names if name not in ages]
    assert list(derive_report(report.name, inputs()).dtypes) == list(made.dtypes) or name == "overview"
    assert report.question.endswith("?")


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_needs_no_more_than_it_says(name: str) -> None:
    whole = inputs()
    narrow = {table: whole.tables[table] for table in tables_needed([name]) & whole.tables.keys()}
    if "trunks" in narrow:
        narrow["trunks"] = narrow["trunks"][trunk_columns([name], whole.options.by)]
    report = REPORTS[name]
    pd.testing.assert_frame_equal(
        derive_report(report.name, ReportInputs(narrow, whole.options)), derive_report(report.name, whole)
    )


@pytest.mark.parametrize("name", REPORTS)
def test_masked_reports_hold_no_number_and_no_username(name: str) -> None:
    options = {"is_masked": True, "by": ("phone_number", "sip_username", "normalized_number")}
    text = derive_report(name, inputs(**options)).to_csv()
    assert "+4930231" not in text
    assert "lindner" not in text
