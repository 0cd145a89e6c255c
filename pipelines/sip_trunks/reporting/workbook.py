"""Report frames → one XLSX workbook: typed cells, filters, frozen headers; no formula and no link is alive in it."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sip_trunks.reporting.formats import frame_rows
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

_MOST_ROWS = 1_048_575  # of a sheet, below its header
_LONGEST_CELL = 32_767
_LARGEST_EXACT = 2**53  # a sheet's numbers are doubles
_WIDEST = 60
_NARROWEST = 8


def write_workbook(frames: Mapping[str, pd.DataFrame]) -> bytes:
    """Return a workbook with a sheet for each report.

    Moments are UTC, and say so in the header: XLSX knows no time zones. Rows that a sheet has no room for are left
    out, which its last row says.
    """
    import xlsxwriter

    content = io.BytesIO()
    # Text is text, whatever it begins with; numbers stay numbers.
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "remove_timezone": True,
        "nan_inf_to_errors": True,
        "default_date_format": "yyyy-mm-dd hh:mm:ss",
    }
    with xlsxwriter.Workbook(content, options) as workbook:
        header = workbook.add_format({"bold": True, "bottom": 1, "valign": "top"})
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        for name, frame in frames.items():
            sheet = workbook.add_worksheet(name[:31])
            rows = frame_rows(frame.head(_MOST_ROWS - 1))
            titles = [_title(column, frame[column]) for column in frame.columns]
            for place, title in enumerate(titles):
                sheet.write_string(0, place, title, header)
                sheet.set_column(place, place, _width(title, rows[:200], place))
            for number, row in enumerate(rows, start=1):
                for place, value in enumerate(row):
                    _write_cell(sheet, number, place, value, day)
            sheet.freeze_panes(1, 0)
            if rows:
                sheet.autofilter(0, 0, len(rows), len(titles) - 1)
            if len(frame) > len(rows):
                sheet.write_string(len(rows) + 1, 0, f"{len(frame) - len(rows)} more rows do not fit into a sheet")
    return content.getvalue()


def _write_cell(sheet: Any, number: int, place: int, value: Any, day: Any) -> None:
    match value:
        case None:
            pass
        case bool():
            sheet.write_boolean(number, place, value)
        case int() if abs(value) > _LARGEST_EXACT:
            sheet.write_string(number, place, str(value))
        case int() | float():
            sheet.write_number(number, place, value)
        case datetime():
            sheet.write_datetime(number, place, value.astimezone(UTC).replace(tzinfo=None))
        case date():
            sheet.write_datetime(number, place, value, day)
        case _:
            sheet.write_string(number, place, printable(str(value), _LONGEST_CELL))


def _title(column: str, values: pd.Series) -> str:
    return f"{column} (UTC)" if str(values.dtype).endswith("UTC]") else str(column)


def _width(title: str, rows: Sequence[Sequence[Any]], place: int) -> int:
    longest = max([len(title) + 3, *(len(str(row[place])) for row in rows)])
    return min(max(longest + 1, _NARROWEST), _WIDEST)
