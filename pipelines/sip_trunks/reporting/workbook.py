"""Report frames → one XLSX workbook: typed cells, filters, frozen headers, and no formulas or links."""

import io
from datetime import UTC, date, datetime
from typing import Any

from sip_trunks.reporting.formats import Frames, frame_rows
from trunk_transforms.text import printable

_MOST_ROWS = 1_048_575  # of a sheet, below its header
_LONGEST_CELL = 32_767
_LARGEST_EXACT = 2**53  # numbers in a sheet are doubles
# A sheet has no dates before 1900, a 29th of February in 1900, and rounds the last moments up to no date.
_FIRST_MONTH, _LAST_MONTH = (1900, 3), (9999, 12)
_WIDEST = 60
_NARROWEST = 8


def write_workbook(frames: Frames) -> bytes:
    """Return a workbook with a sheet for each report.

    Times are UTC, and their header says so, because XLSX has no time zones. If a report has more rows than a sheet can
    hold, the last row of the sheet gives the number of rows left out.
    """
    import xlsxwriter

    content = io.BytesIO()
    # Text stays text, whatever its first character is.
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "nan_inf_to_errors": True,
        "default_date_format": "yyyy-mm-dd hh:mm:ss",
    }
    with xlsxwriter.Workbook(content, options) as workbook:
        header = workbook.add_format({"bold": True, "bottom": 1, "valign": "top"})
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        for name, frame in frames.items():
            sheet = workbook.add_worksheet(name[:31])
            rows = frame_rows(frame.head(_MOST_ROWS - 1))
            titles = [
                f"{name} (UTC)" if str(values.dtype).endswith("UTC]") else str(name) for name, values in frame.items()
            ]
            for column, title in enumerate(titles):
                longest = max([len(title) + 3, *(len(str(row[column])) for row in rows[:200])])
                sheet.write_string(0, column, title, header)
                sheet.set_column(column, column, min(max(longest + 1, _NARROWEST), _WIDEST))
            for index, row in enumerate(rows, start=1):
                for column, value in enumerate(row):
                    _write_cell(sheet, index, column, value, day)
            sheet.freeze_panes(1, 0)
            if rows:
                sheet.autofilter(0, 0, len(rows), len(titles) - 1)
            if len(frame) > len(rows):
                sheet.write_string(len(rows) + 1, 0, f"{len(frame) - len(rows)} more rows do not fit in a sheet")
    return content.getvalue()


def _write_cell(sheet: Any, row: int, column: int, value: Any, day: Any) -> None:
    match value:
        case int() if abs(value) > _LARGEST_EXACT:
            sheet.write_string(row, column, str(value))
        case None | bool() | int() | float():
            sheet.write(row, column, value)
        case date() if not _FIRST_MONTH <= (value.year, value.month) < _LAST_MONTH:
            sheet.write_string(row, column, value.isoformat().replace("+00:00", "Z"))
        case datetime():
            sheet.write_datetime(row, column, value.astimezone(UTC).replace(tzinfo=None))
        case date():
            sheet.write_datetime(row, column, value, day)
        case _:
            sheet.write_string(row, column, printable(str(value), _LONGEST_CELL))
