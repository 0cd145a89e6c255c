"""What the reports cost, and the share of each: `compare_reports`, which `python -m tests.bench` calls.

    one server process ──two answers──▶ sip-trunks run --no-reports, twice ──▶ the reports, from the stored file

The second answer has lost a fiftieth of the trunks, won as many, and changed a twentieth. Then a process of its own
reads what is stored, derives every report, and writes all of them as tables and as a page, several times over.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from tests.bench.answer import Moment
from tests.bench.compare import ask_module, environment
from tests.bench.competitors import NO_REPORTS
from tests.bench.cost import RSS_UNIT, Cost, measure
from tests.bench.results import Result, Row
from tests.bench.serving import say, serving

NAME = "reports"
TRUNKS = 1_000_000
ALL = "all reports"


def compare_reports(rounds: int) -> Result:
    """Store two snapshots and return what each step of making the reports took. Raises BenchError."""
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory(prefix="sip-trunks-bench-") as name:
        folder = Path(name)
        with serving([TRUNKS], (Moment.FIRST, Moment.LATER)) as served:
            for answer in served.values():
                say("storing them")
                measure(NO_REPORTS, folder, environment(folder) | answer.variables())
        for number in range(rounds):
            say(f"making the reports, round {number + 1} of {rounds}")
            for label, cost in ask_module("tests.bench.reports", folder, {}).items():
                rows.setdefault(label, Row(label)).runs.append(Cost(*cost))
    return Result(NAME, f"the reports of {TRUNKS:,} trunks", rows)


def make() -> dict[str, Cost]:
    """Make all reports of what is stored; return what each step cost, and what all of them, by label."""
    costs: dict[str, Cost] = {}
    first = before = time.process_time(), time.perf_counter()

    def lap(step: str) -> None:
        nonlocal before
        now = time.process_time(), time.perf_counter()
        costs[step] = cost_since(before)
        before = now

    from datetime import UTC, datetime

    import duckdb

    from sip_trunks.core.settings import read_settings
    from sip_trunks.destinations import open_destination
    from sip_trunks.reporting.html_page import render_page
    from sip_trunks.reporting.inputs import read_inputs, read_options, stored_tables
    from sip_trunks.reporting.publish import write_tables
    from sip_trunks.warehouse.views import write_audit
    from trunk_transforms.reports.registry import derive_report
    from trunk_transforms.schema.reports import REPORTS

    gc.set_threshold(200_000, 20, 20)  # as the command does
    lap("imports")
    settings, now = read_settings(), datetime.now(UTC)
    with open_destination(settings).reading(stored_tables(list(REPORTS))) as connection:
        inputs = read_inputs(connection, list(REPORTS), read_options(settings, as_of=now, is_log=True))
    lap("reading")
    len(inputs.trunks)
    lap("derived columns")
    # Reports that use other reports come last; measured first, they would include their cost.
    for name in sorted(REPORTS, key=("accounts", "overview").__contains__):
        derive_report(name, inputs)
        lap(name)
    with duckdb.connect("written.duckdb") as written:
        written.execute("CREATE SCHEMA famulor")
        write_tables(written, inputs, write_audit)
    os.remove("written.duckdb")  # noqa: PTH107 - as light as it gets
    lap("writing the tables")
    frames = {name: derive_report(name, inputs) for name, report in REPORTS.items() if report.is_on_page}
    render_page(frames, as_of=now, destination=SimpleNamespace(name="duckdb", location="here"))
    lap("writing the page")
    return {ALL: cost_since(first)} | costs


def cost_since(moment: tuple[float, float]) -> Cost:
    """Return the CPU and the time since then, and the peak so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e6
    return Cost(time.process_time() - moment[0], time.perf_counter() - moment[1], peak)


if __name__ == "__main__":
    print(json.dumps(make()))
