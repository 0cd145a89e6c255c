"""Report frames → standard output or a file, in the requested format."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from functools import partial
from typing import TYPE_CHECKING

from sip_trunks.core.errors import UsageError
from sip_trunks.core.files import write_whole
from sip_trunks.reporting.formats import frame_rows, print_json, rows_as_json, write_frame
from sip_trunks.reporting.terminal import print_findings_as_markdown, print_tables, print_wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from sip_trunks.destinations.base import NamedDestination
    from sip_trunks.reporting.formats import Frames

FORMATS = ("table", "csv", "json", "markdown", "html", "xlsx", "png")
_FORMAT_OF_SUFFIX = {".txt": "table", ".md": "markdown", ".htm": "html"}
_FORMAT_OF_SUFFIX |= {f".{name}": name for name in ("csv", "json", "html", "xlsx", "png")}


def choose_format(format_name: str | None, output: Path | None) -> str:
    """Return the format that was asked for; by default that of the file's extension, else table."""
    return format_name or _FORMAT_OF_SUFFIX.get(output.suffix.lower() if output else "", "table")


def write_reports(
    frames: Frames,
    *,
    format_name: str,
    output: Path | None,
    raw: bool,
    suppressed_count: int,
    coverage: Sequence[str],
    as_of: datetime,
    destination: NamedDestination,
) -> None:
    """Write the reports on the data in `destination` to a file or, without `output`, to standard output.

    A CSV or PNG file holds one report: several are written into a folder, each to a file with its name. `raw` turns off
    the guard against formulas in CSV. `coverage` has the gaps of the audit, for a table or Markdown.

    Raises UsageError if the reports do not fit the format, or a file cannot be written.
    """
    if raw and format_name != "csv":
        raise UsageError("--raw works only with --format csv")
    files: dict[Path | None, Frames] = {output: frames}
    if format_name in ("csv", "png") and len(frames) > 1:
        if output is None or output.suffix:
            raise UsageError(f"a {format_name} file holds one report; name one report, or a folder with --output")
        files = {output / f"{name}.{format_name}": {name: frame} for name, frame in frames.items()}

    for path, shown in files.items():
        if format_name in ("html", "xlsx", "png"):
            write_bytes(path, format_name, partial(_render, shown, format_name, as_of, destination))
        else:
            write_text(path, partial(_print_reports, shown, format_name, raw, suppressed_count, coverage))


def _render(frames: Frames, format_name: str, as_of: datetime, destination: NamedDestination) -> bytes:
    if format_name == "html":
        from sip_trunks.reporting.html_page import render_page

        return render_page(frames, as_of=as_of, destination=destination).encode()
    if format_name == "xlsx":
        from sip_trunks.reporting.workbook import write_workbook

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
    with redirect_stdout(io.StringIO()) as text:
        show()
    _write_file(output, text.getvalue().encode("utf-8", "replace"))


def write_bytes(output: Path | None, format_name: str, render: Callable[[], bytes]) -> None:
    """Write the bytes that `render` returns to a file or, without `output`, to standard output.

    Raises UsageError, before rendering, for a binary format on a terminal.
    """
    if output is not None:
        _write_file(output, render())
        return
    if format_name != "html" and sys.stdout.isatty():
        raise UsageError(f"{format_name} is binary; write it to a file with --output FILE")
    sys.stdout.flush()
    sys.stdout.buffer.write(render())


def _write_file(path: Path, content: bytes) -> None:
    """Write the file that --output names. Raises UsageError if it cannot be written."""
    if path.is_dir():
        raise UsageError(f"--output {path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UsageError(f"--output {path} cannot be written: {error.strerror}") from None
