"""Report frames → standard output or a file, in the form that was asked for."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from sip_trunks.core.errors import UsageError
from sip_trunks.core.files import write_whole
from sip_trunks.reporting.formats import frame_rows, print_json, rows_as_json, write_rows
from sip_trunks.reporting.terminal import print_tables, total_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd

    Frames = Mapping[str, pd.DataFrame]

FORMATS = ("table", "csv", "json", "markdown", "html", "xlsx", "png")
_FORMS_BY_SUFFIX = {
    ".txt": "table",
    ".csv": "csv",
    ".json": "json",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xlsx": "xlsx",
    ".png": "png",
}
_ONE_REPORT_A_FILE = {"csv": ".csv", "png": ".png"}
_BYTES = ("html", "xlsx", "png")
"""The forms that are in an encoding of their own, whatever that of standard output is."""


def choose_format(form: str | None, output: Path | None) -> str:
    """Return the form that was asked for; without one, that of the file's name, or a table."""
    return form or _FORMS_BY_SUFFIX.get(output.suffix.lower() if output else "", "table")


def write_reports(
    frames: Frames,
    *,
    form: str,
    output: Path | None = None,
    raw: bool = False,
    suppressed_count: int = 0,
    render_page: Callable[[Frames], str],
) -> None:
    """Write the reports to a file, or to standard output without one.

    CSV and PNG hold one report: several need a folder, in which each gets a file of its name. `raw` leaves CSV as it
    is. Raises UsageError if the form does not suit, or the file cannot be written.
    """
    if raw and form != "csv":
        raise UsageError("--raw is for --format csv")
    if form in _ONE_REPORT_A_FILE and len(frames) > 1:
        if output is None or output.suffix:
            raise UsageError(f"a {form} file holds one report: name one, or a folder with --output")
        for name, frame in frames.items():
            content = _render({name: frame}, form, raw, suppressed_count, render_page)
            write_output(output / f"{name}{_ONE_REPORT_A_FILE[form]}", content)
        return
    if output is None and form == "table":
        print_tables(frames, suppressed_count)
        return
    content = _render(frames, form, raw, suppressed_count, render_page)
    if output is not None:
        write_output(output, content)
    elif form in ("xlsx", "png") and sys.stdout.isatty():
        raise UsageError(f"{form} is nothing for a terminal: --output FILE")
    elif form in _BYTES:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    else:
        sys.stdout.write(content.decode())


def write_output(path: Path, content: bytes) -> None:
    """Write the file that --output names. Raises UsageError if it cannot be written."""
    if path.is_dir():
        raise UsageError(f"--output {path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UsageError(f"--output {path} cannot be written: {error.strerror}") from None


def _render(frames: Frames, form: str, raw: bool, suppressed_count: int, render_page: Callable[[Frames], str]) -> bytes:
    if form == "html":
        return render_page(frames).encode()
    if form == "xlsx":
        from sip_trunks.reporting.workbook import write_workbook

        return write_workbook(frames)
    if form == "png":
        from sip_trunks.reporting.charts import PICTURED, draw_png

        ((name, frame),) = frames.items()
        if name not in PICTURED:
            raise UsageError(f"there is no picture of {name}; there is one of {', '.join(sorted(PICTURED))}")
        return draw_png(name, frame)
    text = io.StringIO()
    with redirect_stdout(text):
        if form == "table":
            print_tables(frames, suppressed_count)
        elif form == "json" and len(frames) > 1:
            print_json({name: rows_as_json(list(frame.columns), frame_rows(frame)) for name, frame in frames.items()})
        else:
            for name, frame in frames.items():
                if form == "markdown" and len(frames) > 1:
                    print(f"\n## {name}\n")
                write_rows(list(frame.columns), frame_rows(frame), form=form, raw=raw, total=total_line(frame))
    return text.getvalue().encode("utf-8", "replace")
