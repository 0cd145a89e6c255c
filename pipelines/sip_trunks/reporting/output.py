"""Report frames → standard output or a file, in the requested format."""

from __future__ import annotations

import errno
import io
import sys
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, date, datetime
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from sip_trunks.core.errors import UsageError
from sip_trunks.core.files import writing_whole
from sip_trunks.reporting.formats import frame_rows, print_json, rows_as_json, write_frame
from sip_trunks.reporting.terminal import print_findings_as_markdown, print_tables, print_wrapped
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sip_trunks.destinations.base import NamedDestination
    from sip_trunks.reporting.formats import Frames

FORMATS = ("table", "csv", "json", "markdown", "html", "xlsx", "png")
_FORMAT_OF_SUFFIX = {".txt": "table", ".md": "markdown", ".htm": "html"}
_FORMAT_OF_SUFFIX |= {f".{name}": name for name in ("csv", "json", "html", "xlsx", "png")}


_MOST_ROWS = 1_048_575  # of a sheet, below its header
_LONGEST_TEXT = 32_767
_LARGEST_EXACT = 2**53  # numbers in a sheet are doubles
# A sheet has no dates before 1900, a 29th of February in 1900, and rounds the last moments up to no date.
_FIRST_MONTH, _LAST_MONTH = (1900, 3), (9999, 12)
_WIDEST = 60
_NARROWEST = 8


def choose_format(format_name: str | None, output: Path | None) -> str:
    """Return the format that was asked for; by default that of the file's extension, else table."""
    return format_name or _FORMAT_OF_SUFFIX.get(output.suffix.lower() if output else "", "table")


def write_reports(
    frames: Frames,
    *,
    format_name: str,
    output: Path | None,
    raw: bool,
    is_inline: bool,
    suppressed_count: int,
    coverage: Sequence[str],
    as_of: datetime,
    destination: NamedDestination,
) -> None:
    """Write the reports on the data in `destination` to a file or, without `output`, to standard output.

    A CSV or PNG file holds one report: several are written into a folder, each to a file with its name. `raw` turns off
    the guard against formulas in CSV; with `is_inline`, mail programs show the HTML. `coverage` has the gaps of the
    audit, for a table or Markdown.

    Raises UsageError if the reports do not fit the format, or a file cannot be written.
    """
    if raw and format_name != "csv":
        raise UsageError("--raw works only with --format csv")
    if is_inline and format_name != "html":
        raise UsageError("--inline works only with --format html")
    files: dict[Path | None, Frames] = {output: frames}
    if format_name in ("csv", "png") and len(frames) > 1:
        if output is None or output.suffix:
            raise UsageError(f"a {format_name} file holds one report; name one report, or a folder with --output")
        files = {output / f"{name}.{format_name}": {name: frame} for name, frame in frames.items()}

    for path, shown in files.items():
        if format_name in ("html", "xlsx", "png"):
            write_bytes(path, format_name, partial(_render, shown, format_name, as_of, destination, is_inline))
        else:
            write_text(path, partial(_print_reports, shown, format_name, raw, suppressed_count, coverage))


def _render(frames: Frames, format_name: str, as_of: datetime, destination: NamedDestination, is_inline: bool) -> bytes:
    if format_name == "html":
        from sip_trunks.reporting.html_page import render_page

        return render_page(frames, as_of=as_of, destination=destination, is_inline=is_inline).encode()
    if format_name == "xlsx":
        return write_workbook(frames)
    from sip_trunks.reporting.charts import draw_png

    ((name, frame),) = frames.items()
    return draw_png(name, frame)


def _print_reports(frames: Frames, format_name: str, raw: bool, suppressed_count: int, coverage: Sequence[str]) -> None:
    if format_name == "table":
        print_tables(frames, suppressed_count)
        for gap in coverage:
            print_wrapped("coverage  ", gap)
    elif format_name == "json" and len(frames) > 1:
        print_json({name: rows_as_json(list(frame.columns), frame_rows(frame)) for name, frame in frames.items()})
    else:
        for name, frame in frames.items():
            if len(frames) > 1:
                print(f"\n## {name}\n")
            if name == "audit" and format_name == "markdown":
                print_findings_as_markdown(frame, suppressed_count, coverage)
            else:
                write_frame(frame, format_name=format_name, raw=raw)


def write_text(output: Path | None, show: Callable[[], None]) -> None:
    """Write the text that `show` prints to a file or, without `output`, to standard output."""
    if output is None:
        show()
        return
    with _writing_file(output) as file:
        text = io.TextIOWrapper(file, "utf-8", "replace", newline="")
        with redirect_stdout(text):
            show()
        text.flush()
        text.detach()


def write_bytes(output: Path | None, format_name: str, render: Callable[[], bytes]) -> None:
    """Write the bytes that `render` returns to a file or, without `output`, to standard output.

    Raises UsageError, before rendering, for a binary format on a terminal.
    """
    if output is not None:
        content = render()
        with _writing_file(output) as file:
            file.write(content)
        return
    if format_name != "html" and sys.stdout.isatty():
        raise UsageError(f"{format_name} is binary; write it to a file with --output FILE")
    sys.stdout.flush()
    sys.stdout.buffer.write(render())


@contextmanager
def _writing_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield the file that --output names. Raises UsageError if it cannot be written, and OSError on a full disk."""
    if path.is_dir():
        raise UsageError(f"--output {path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_whole(path) as file:
            yield file
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(f"--output {path} cannot be written: {error.strerror}") from None


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
            for column, (heading, values) in enumerate(frame.items()):
                title = f"{heading} (UTC)" if str(values.dtype).endswith("UTC]") else str(heading)
                longest = max([len(title) + 3, *(len(str(row[column])) for row in rows[:200])])
                sheet.write_string(0, column, title, header)
                sheet.set_column(column, column, min(max(longest + 1, _NARROWEST), _WIDEST))
            for index, row in enumerate(rows, start=1):
                for column, value in enumerate(row):
                    _write_cell(sheet, index, column, value, day)
            sheet.freeze_panes(1, 0)
            if rows:
                sheet.autofilter(0, 0, len(rows), frame.shape[1] - 1)
            if len(frame) > len(rows):
                sheet.write_string(len(rows) + 1, 0, f"{len(frame) - len(rows)} more rows do not fit in a sheet")
    return content.getvalue()


def _write_cell(sheet: Any, row: int, column: int, value: Any, day: Any) -> None:
    match value:
        case int() if abs(value) > _LARGEST_EXACT:
            sheet.write_string(row, column, str(value))
        case date() if not _FIRST_MONTH <= (value.year, value.month) < _LAST_MONTH:
            sheet.write_string(row, column, value.isoformat().replace("+00:00", "Z"))
        case None | bool() | int() | float():
            sheet.write(row, column, value)
        case datetime():
            sheet.write_datetime(row, column, value.astimezone(UTC).replace(tzinfo=None))
        case date():
            sheet.write_datetime(row, column, value, day)
        case _:
            sheet.write_string(row, column, printable(str(value), _LONGEST_TEXT))
