"""Dates in a workbook: cells that a spreadsheet shows as dates, and text where it has no such date."""

from __future__ import annotations

from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import openpyxl
import pandas as pd
import pytest

from sip_trunks.reporting.output import write_workbook


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(1899, 12, 31, 23, 59, 59, tzinfo=UTC), "1899-12-31T23:59:59Z"),
        (date(1850, 6, 1), "1850-06-01"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
        (date(9999, 12, 31), "9999-12-31"),
        (datetime(1900, 2, 28, 12, tzinfo=UTC), "1900-02-28T12:00:00Z"),
        (datetime(1900, 3, 1, tzinfo=UTC), "1900-03-01 00:00:00"),
        (datetime(2026, 3, 31, 10, tzinfo=UTC), "2026-03-31 10:00:00"),
        (date(2026, 3, 31), "2026-03-31 00:00:00"),
        (datetime(9999, 11, 30, tzinfo=UTC), "9999-11-30 00:00:00"),
        (None, None),
    ],
)
def test_a_date_that_a_sheet_cannot_hold_is_text(value: Any, expected: Any) -> None:
    content = write_workbook({"dates": pd.DataFrame({"at": [value]}, dtype=object)})
    cell = openpyxl.load_workbook(BytesIO(content))["dates"]["A2"]
    assert cell.is_date == (isinstance(expected, str) and " " in expected)
    assert cell.value == expected or str(cell.value) == expected


def test_a_column_of_times_has_both() -> None:
    times = pd.Series(["1850-01-01", "2026-03-31"], dtype="datetime64[us, UTC]")
    sheet = openpyxl.load_workbook(BytesIO(write_workbook({"dates": pd.DataFrame({"at": times})})))["dates"]
    shown = [str(row[0].value) for row in sheet.rows]
    assert shown == ["at (UTC)", "1850-01-01T00:00:00Z", "2026-03-31 00:00:00"]
