"""The generated parts of docs/performance.md: `python -m tests.bench.document` writes them from what was measured.

A part begins with `<!-- generated: bench NAME -->`, where NAME is a size, `ways`, `start`, `linear`, `history`,
`accounts`, `reports`, `machine` or `versions`, and ends with `<!-- end -->`. A part without a measurement is unchanged,
so a table and the targets below it are always of the same day.
"""

from __future__ import annotations

from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING

from tests.bench import accounts, history, linear, reports, start
from tests.bench.competitors import FLOOR, WAYS
from tests.bench.installed import versions
from tests.bench.results import Result, Row, load
from tests.bench.serving import PROJECT
from tests.bench.targets import COMPARED, CPU, PEAK, WALL, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.bench.cost import Cost

DOCUMENT = PROJECT / "docs" / "performance.md"
NAMES = (*map(str, COMPARED), start.NAME, linear.NAME, history.NAME, accounts.NAME, reports.NAME)


def table_of(result: Result) -> str:
    """Return the result as a table, padded so that it can be read as it is."""
    floor = result.rows.get(FLOOR)
    base = floor.middle(CPU) if floor and floor.runs else 0.0
    columns = ["", "runs", "CPU s", "× floor", "wall s", "peak MB", "disk MB"]
    rows = [_cells(row, base) for row in result.rows.values() if row.runs]
    kept = [
        index
        for index, name in enumerate(columns)
        if not name or any(row[index] for row in rows)  # without empty columns
    ]
    return _table([[row[index] for index in kept] for row in (columns, *rows)])


def ways_of(results: Mapping[str, Result]) -> str:
    """Return what each way to load the trunks stores, once for the tables of all sizes."""
    measured = (results[size].rows.values() for size in map(str, COMPARED) if size in results)
    rows = {row.label: row for found in measured for row in found if row.runs}
    cells = [[row.label, "; ".join(filter(None, (row.does, row.note))), row.kept] for row in rows.values()]
    return _table([["", "stores", "types"], *cells]) if cells else ""


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    ruler = ["-" * width for width in widths]
    return "\n".join(_line(cells, widths) for cells in (lines[0], ruler, *lines[1:]))


def _cells(row: Row, base: float) -> list[str]:
    ratio = f"{row.middle(CPU) / base:.1f}" if base else ""
    disk = row.middle(lambda cost: cost.disk_mb)
    costs = [spread(row.runs, CPU, 2), ratio, spread(row.runs, WALL, 2), spread(row.runs, PEAK, 0)]
    return [row.label, str(len(row.runs)), *costs, f"{disk:.1f}" if disk else ""]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(map(str.ljust, cells, widths))} |"


def spread(runs: Sequence[Cost], part: Callable[[Cost], float], digits: int) -> str:
    """Return the median and, where they differ, the smallest and the largest value."""
    values = [part(run) for run in runs]
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def missing(result: Result) -> str:
    """Return the ways that are not in the table, and why, as a list below it."""
    reasons = [f"- {row.label}: {row.note}" for row in result.rows.values() if not row.runs]
    return "\n".join(["", "", "Not in the table:", "", *reasons]) if reasons else ""


def told(result: Result) -> str:
    """Return the table under what it is about, when that was, and how to repeat it."""
    which = f"compare --trunks {result.name}" if result.name.isdecimal() else result.name
    about = f"{result.about}, medians (min–max), measured on {result.day} by `python -m tests.bench --parts {which}`."
    return f"{about}\n\n{table_of(result)}{missing(result)}"


def ours() -> str:
    """Return the versions of what our own runs use."""
    return ", ".join(f"{name} {version(name)}" for name in ("sip-trunks", "dlt", "duckdb", "pyarrow", "msgspec"))


def parts(results: Mapping[str, Result]) -> Iterator[tuple[str, str]]:
    """Yield every part of which something is known, with its name."""
    for name, result in results.items():
        verdicts = "\n".join(f"- {verdict}" for verdict in judge({name: result}))
        yield name, "\n\n".join(filter(None, [told(result), verdicts]))
    yield "ways", ways_of(results)
    environments = dict.fromkeys(name for way in WAYS for name in way.environments)
    pins = [f"- {name}: {versions(name)}" for name in environments]
    yield "versions", "\n".join([f"- ours: {ours()}", *pins])
    yield "machine", "\n".join(dict.fromkeys(f"- {result.machine}" for result in results.values()))


def write() -> None:
    """Put what was measured last into the document."""
    results = {name: result for name in NAMES if (result := load(name))}
    text = DOCUMENT.read_text("utf-8")
    for name, part in parts(results):
        before, begin, rest = text.partition(f"<!-- generated: bench {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if begin and part:
            text = f"{before}{begin}{part}\n{end}{after}"
    DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__":
    write()
