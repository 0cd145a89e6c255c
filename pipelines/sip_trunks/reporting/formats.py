"""How results are shown: tables for a terminal, CSV, JSON, Markdown. Text from the API is untrusted in all of them."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from datetime import date, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

_LONGEST_CELL = 200
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_rows(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, form: str, raw: bool = False, total: str | None = None
) -> None:
    """Print rows to standard output as `form`: table, csv, markdown or json (an array of objects).

    In CSV, text that a spreadsheet would run as a formula gets a leading apostrophe unless `raw`; `total` is a line
    below a table.
    """
    if form == "json":
        print(json.dumps(rows_as_json(columns, rows), indent=1))
    elif form == "csv":
        print(_csv(columns, rows, raw=raw), end="")
    elif form == "markdown":
        print(as_markdown(columns, rows))
        if total:
            print(f"\n{total}")
    else:
        print_table(columns, rows)
        if not rows:
            print("(no rows)")
        if total:
            print(total)


def rows_as_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows as objects of plain values; a column name that comes twice is numbered."""
    names = number_twins(columns)
    return [dict(zip(names, map(_as_json, row), strict=True)) for row in rows]


def number_twins(columns: Sequence[str]) -> list[str]:
    """Return the names of columns, those that come twice numbered."""
    names: list[str] = []
    for name in columns:
        free = (candidate for n in count(1) if (candidate := name if n == 1 else f"{name}_{n}") not in names)
        names.append(next(free))
    return names


def frame_rows(frame: pd.DataFrame) -> list[list[Any]]:
    """Return the rows of a frame as Python values, missing ones as None."""
    values = frame.astype(object).where(frame.notna(), None)
    return list(map(list, values.itertuples(index=False, name=None)))


def as_size(size_bytes: int) -> str:
    """Return a number of bytes for a person."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.0f} kB"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: with rules on a terminal, plain and aligned when piped."""
    cells = [[_as_text(value) for value in row] for row in rows]
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(columns))]
    if sys.stdout.isatty():
        _print_rich(columns, cells, numeric)
        return
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        aligned = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)]
        print("  ".join(aligned).rstrip())


def _print_rich(columns: Sequence[str], cells: list[list[str]], numeric: list[bool]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # What is too wide may fit with its names broken at the underscores.
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
    _print_records(columns, cells)


def _print_records(columns: Sequence[str], cells: list[list[str]]) -> None:
    """Print what is too wide for a table: one line per value, a blank line between rows."""
    width = max(map(len, columns))
    for index, row in enumerate(cells):
        if index:
            print()
        for name, cell in zip(columns, row, strict=True):
            print(f"{name.ljust(width)}  {cell}")


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
            return value if value - value == 0 else None  # JSON has neither NaN nor infinity
        case datetime() | date():
            return value.isoformat().replace("+00:00", "Z")
        case dict():
            return {str(key): _as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_json(item) for item in value]
        case _:
            return str(value)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, raw: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in [columns, *rows]:
        writer.writerow([_as_csv(value, raw=raw) for value in row])
    return text.getvalue()


def as_markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown; what it holds stays text."""
    lines = [[_in_markdown(name) for name in columns], ["---"] * len(columns)]
    lines += [[_in_markdown(_as_text(value)) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _in_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, and no address that it would make a link of."""
    escaped = re.sub(r"([\\`*\[\]<>|~#&]|\b_|_\b)", r"\\\1", text)
    return escaped.replace("://", ":&#47;/").replace("www.", "www&#46;").replace("@", "&#64;")


def _as_csv(value: Any, *, raw: bool) -> Any:
    plain = _as_json(value)
    if isinstance(plain, dict | list):
        plain = json.dumps(plain)
    elif isinstance(plain, bool):
        plain = "true" if plain else "false"
    is_formula = isinstance(plain, str) and plain.startswith(_FORMULA_STARTS)
    return f"'{plain}" if is_formula and not raw else plain


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object as JSON."""
    print(json.dumps(value, indent=1))
