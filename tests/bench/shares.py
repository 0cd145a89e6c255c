"""Where a first run's CPU goes: `compare_shares`, which `python -m tests.bench` calls, and the picture of it.

    one server process ──the answer──▶ sip-trunks run --no-reports, with a clock on its parts ──▶ CPU of each

The clock is on some dozen functions, and runs for the innermost of them. A profiler would make a small run five times
as long, and that unevenly.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from functools import reduce
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.bench.compare import ask_module
from tests.bench.serving import PROJECT, say, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    Shares = dict[int, dict[str, float]]

NAME = "shares"
SIZES = (1_000, 1_000_000)
PICTURE = PROJECT / "docs" / "pictures" / "where-the-time-goes.png"
# Greys and blues for what every run costs, warm ones for what every trunk does.
COLOURS = (
    *("#475569", "#64748b", "#94a3b8", "#cbd5e1", "#e2e8f0"),
    *("#7c2d12", "#b45309", "#d97706", "#f59e0b", "#fcd34d", "#0f766e"),
)

REST = "everything else"
START, IMPORT, OWN = "start: Python, DuckDB, Arrow", "start: import dlt", "dlt's own"
FETCH, CUT, TYPE, HASH = "download and hash", "cut into records", "records to columns", "row versions"
HAND_OVER, DUCKDB, VIEWS = "hand over as Parquet", "DuckDB: write, compress", "views and comments"
PARTS = (START, IMPORT, OWN, VIEWS, REST, FETCH, CUT, TYPE, HASH, HAND_OVER, DUCKDB)
"""In the order of the picture: what every run costs, then what every trunk does."""

CLOCKED = {
    "sip_trunks.famulor.fetch_many:fetch_snapshot": FETCH,
    "sip_trunks.famulor.client:read_page": CUT,
    "trunk_transforms.parse.snapshot:read_records": TYPE,
    "trunk_transforms.parse.snapshot:derive_row_version": HASH,
    "sip_trunks.destinations.dlt_pipeline:load_with_dlt": OWN,
    "dlt.common.data_writers.writers:ArrowToParquetWriter.write_data": HAND_OVER,
    "dlt.destinations.impl.duckdb.sql_client:DuckDbSqlClient.execute_sql": DUCKDB,
    "sip_trunks.destinations.duckdb_file:_checkpoint": DUCKDB,
    "sip_trunks.warehouse.views:create_views": VIEWS,
}
"""Which part of the run a function is, with all that it calls but what is a part of its own."""


def compare_shares(rounds: int) -> Shares:
    """Return the CPU seconds of each part of a first run, medians, at a small and a large size. Raises BenchError."""
    seconds: dict[int, dict[str, list[float]]] = {size: {part: [] for part in PARTS} for size in SIZES}
    with TemporaryDirectory(prefix="sip-trunks-bench-") as name, serving(SIZES) as served:
        for number in range(rounds + 1):
            for (size, _), answer in served.items():
                say(f"{size:,} trunks, part by part, round {number} of {rounds}")
                folder = Path(name, f"{size}-{number}")
                folder.mkdir()
                spent = ask_module("tests.bench.shares", folder, answer.variables())
                if number:  # the first one warms up
                    for part in PARTS:
                        seconds[size][part].append(spent[part])
    return {size: {part: median(each) for part, each in parts.items()} for size, parts in seconds.items()}


def told(shares: Shares) -> str:
    """Return the shares as lines, size by size."""
    return "\n".join(
        f"{size:,} trunks: " + ", ".join(f"{part} {seconds:.3f} s" for part, seconds in parts.items())
        for size, parts in shares.items()
    )


def draw(shares: Shares) -> bytes:
    """Return the picture: one bar for each size, as long as the run takes CPU, made of its parts."""
    import vl_convert

    values = [
        {"part": part, "place": PARTS.index(part), "size": f"{size:,} trunks", "seconds": seconds}
        for size, parts in shares.items()
        for part, seconds in parts.items()
    ]
    spec = {
        "data": {"values": values},
        "facet": {
            "row": {
                "field": "size",
                "title": None,
                "sort": None,
                "header": {"labelOrient": "top", "labelAnchor": "start"},
            }
        },
        "spec": {
            "width": 760,
            "height": 54,
            "mark": "bar",
            "encoding": {
                "x": {
                    "field": "seconds",
                    "type": "quantitative",
                    "stack": True,
                    "title": "CPU seconds",
                    "axis": {"tickCount": 8},
                },
                "color": {
                    "field": "part",
                    "type": "nominal",
                    "sort": PARTS,
                    "title": None,
                    "scale": {"range": COLOURS},
                    "legend": {"orient": "bottom", "columns": 4, "symbolType": "square"},
                },
                "order": {"field": "place"},
            },
        },
        "resolve": {"scale": {"x": "independent"}},
        "background": "white",
        "padding": 12,
        "config": {"font": "DejaVu Sans"},
    }
    return bytes(vl_convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[]))


def run_clocked() -> dict[str, float]:
    """Run the command in this process; return the CPU seconds of each part."""
    spent: dict[str, float] = {}
    open_parts = [REST]
    last = 0.0  # the process began with it

    def switch() -> None:
        nonlocal last
        now = time.process_time()
        spent[open_parts[-1]] = spent.get(open_parts[-1], 0.0) + now - last
        last = now

    @contextmanager
    def clocking(part: str) -> Iterator[None]:
        switch()
        open_parts.append(part)
        try:
            yield
        finally:
            switch()
            open_parts.pop()

    with clocking(START):
        import duckdb  # noqa: F401
        import pyarrow.compute  # noqa: F401
    with clocking(IMPORT):
        import dlt  # noqa: F401
    from sip_trunks.commands import main

    for place, part in CLOCKED.items():
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = reduce(getattr, owners, import_module(module))
        setattr(owner, name, clocking(part)(getattr(owner, name)))
    main(["run", "--no-reports"])
    switch()
    return spent


if __name__ == "__main__":
    print(json.dumps(run_clocked()))
