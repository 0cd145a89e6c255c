"""Results as text: tables for a terminal, CSV, JSON and Markdown. Text from the API is untrusted in all of them."""

from __future__ import annotations

import csv
import json
import re
import sys
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, TypeAlias

from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

Frames: TypeAlias = "Mapping[str, pd.DataFrame]"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""In English, whatever the locale is."""

_LONGEST_CELL = 200
_ROWS_AT_ONCE = 50_000
_FORMULA_STARTS = frozenset("=+-@\t\r")


def write_frame(frame: pd.DataFrame, *, format_name: str, raw: bool = False) -> None:
    """Print a frame as `write_rows` does; counts of trunks end with a total in a table and in Markdown."""
    # CSV is written a part at a time: a million rows of Python values would take gigabytes.
    parts = (frame_rows(frame.iloc[at : at + _ROWS_AT_ONCE]) for at in range(0, len(frame), _ROWS_AT_ONCE))
    write_rows(list(frame.columns), chain.from_iterable(parts), format_name=format_name, raw=raw)
    if "share_pct" in frame and format_name in ("table", "markdown"):
        gap = "\n" if format_name == "markdown" else ""
        print(f"{gap}total: {frame['trunk_count'].sum()} trunks")


def write_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, format_name: str, raw: bool = False) -> None:
    """Print rows to standard output as a table, csv, markdown or json (an array of objects).

    In CSV, text that a spreadsheet would run as a formula gets a leading apostrophe unless `raw` is set. On a terminal,
    control characters are escaped in every format.
    """
    match format_name:
        case "json":
            print_json(rows_as_json(columns, rows))
        case "csv":
            show = partial(_as_csv, raw=raw, is_terminal=sys.stdout.isatty())
            csv.writer(sys.stdout, lineterminator="\n").writerows(map(show, row) for row in chain([columns], rows))
        case "markdown":
            print(as_markdown(columns, rows))
        case _:
            listed = list(rows)
            print_table(columns, listed)
            if not listed:
                print("(no rows)")


def rows_as_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows as objects of plain values; duplicate column names are numbered."""
    names = number_twins(columns)
    return [dict(zip(names, map(_as_json, row), strict=True)) for row in rows]


def number_twins(names: Iterable[str], pattern: str = "{}_{}") -> list[str]:
    """Return the names, duplicates numbered by `pattern`: `a`, `a_2`."""
    numbered: dict[str, None] = {}
    for name in names:
        candidates = chain([name], (pattern.format(name, number) for number in count(2)))
        numbered[next(each for each in candidates if each not in numbered)] = None
    return list(numbered)


def frame_rows(frame: pd.DataFrame) -> list[list[Any]]:
    """Return the rows of a frame as Python values, None for a missing value."""
    values = frame.astype(object).where(frame.notna(), None)
    return list(map(list, values.itertuples(index=False, name=None)))


def frame_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as dictionaries of Python values, None for a missing value."""
    return [dict(zip(frame.columns, row, strict=True)) for row in frame_rows(frame)]


def name_item(section: str, item: str, value: int | None) -> str:
    """Return the item of a row of the overview as it is read after its value: `trunk` after 1."""
    return item.removesuffix("s") if value == 1 and section in ("accounts", "trunks", "changes") else item


def name_moment(moment: date) -> str:
    """Return a day as people write it, or a time (UTC): `13 Jun 2026, 13:37 UTC`."""
    day = f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"
    return f"{day}, {moment:%H:%M} UTC" if isinstance(moment, datetime) else day


def name_duration(seconds: int | None) -> str:
    """Return a length of time in the largest unit of which there are two: `36 h`, `2 d`."""
    if seconds is None:
        return "–"
    units = (("d", 86400), ("h", 3600), ("min", 60))
    return next((f"{seconds / length:.0f} {unit}" for unit, length in units if seconds >= 2 * length), f"{seconds} s")


def as_size(size_bytes: int) -> str:
    """Return a number of bytes in readable form, such as `1.5 MB`."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.0f} kB"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: with lines on a terminal, plain and aligned elsewhere."""
    # PIVOT makes names of columns from values.
    columns, *cells = [[_as_text(value) for value in row] for row in [columns, *rows]]
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(columns))]
    if sys.stdout.isatty():
        _print_rich(columns, cells, numeric)
        return
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    for row in [columns, *cells]:
        aligned = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)]
        print("  ".join(aligned).rstrip())


def _print_rich(columns: Sequence[str], cells: list[list[str]], numeric: list[bool]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # A table that is too wide may fit with its column names broken at the underscores.
    for names in (columns, [name.replace("_", "_\n") for name in columns]):
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
        for name, is_number in zip(names, numeric, strict=True):
            table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        width = table.__rich_measure__(console, console.options.update(max_width=10_000)).maximum
        if width <= console.width or not cells:
            console.print(table)
            return
    # Otherwise one line per value, and a blank line between rows.
    width = max(map(len, columns))
    rows = ("\n".join(f"{name:<{width}}  {cell}" for name, cell in zip(columns, row, strict=True)) for row in cells)
    print("\n\n".join(rows))


def _as_text(value: Any) -> str:
    match value:
        case None:
            return "–"
        case datetime():
            return value.isoformat(sep=" ").replace("+00:00", "Z")
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.10g}"
        case _:
            return printable(str(value), _LONGEST_CELL)


def _as_json(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else None  # JSON has no NaN and no infinity
        case datetime() | date():
            return value.isoformat().replace("+00:00", "Z")
        case dict():
            return {str(key): _as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_json(item) for item in value]
        case _:
            return str(value)


def as_markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table in Markdown; markup in its values is escaped."""
    lines = [[in_markdown(_as_text(name)) for name in columns], ["---"] * len(columns)]
    lines += [[in_markdown(_as_text(value)) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_markdown(text: str) -> str:
    """Return text that Markdown renders literally: without markup, HTML or automatic links."""
    # An underscore between letters is not markup.
    escaped = re.sub(r"([\\`*\[\]<>|~#&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
    return escaped.replace("://", ":&#47;/").replace("www.", "www&#46;").replace("@", "&#64;")


def _as_csv(value: Any, *, raw: bool, is_terminal: bool) -> Any:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        value = _as_json(value)
        if isinstance(value, dict | list | bool):
            value = json.dumps(value)
        if not isinstance(value, str):
            return value
    text = f"'{value}" if value[:1] in _FORMULA_STARTS and not raw else value
    return printable(text, sys.maxsize) if is_terminal else text


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=1))
