"""What the reports cost, and the share of each: `python -m tests.bench.reports`.

    one server process ──two answers──▶ sip-trunks run --no-reports, twice ──▶ the reports, from the stored file

The second answer has lost a fiftieth of the trunks, won as many, and changed a twentieth. Then a process of its own
reads what is stored, derives every report, and writes all of them as tables and as a page, several times over.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.load import (
    PROJECT,
    RSS_UNIT,
    SIP_TRUNKS,
    Failed,
    environment,
    machine,
    measure,
    positive,
    print_table,
    say,
    serving,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRUNKS = 1_000_000  # what the targets are set for
SECONDS_TARGET = 60.0
PEAK_TARGET_MB = 4000.0
WALL, PEAK = "wall s", "peak MB"


def compare(trunk_count: int, rounds: int) -> None:
    """Store two snapshots, make the reports, and print what each took. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="sip-trunks-bench-") as name:
        folder = Path(name)
        for is_later in (False, True):
            with serving(trunk_count, is_later=is_later) as served:
                say("storing them")
                measure((SIP_TRUNKS, "run", "--no-reports"), folder, environment(folder, served[trunk_count]))
        costs = []
        for number in range(rounds):
            say(f"making the reports, round {number + 1} of {rounds}")
            costs.append(make_in_process(folder))
    print_result(costs, trunk_count)


def make_in_process(folder: Path) -> dict[str, float]:
    """Return what `make` returns in a process of its own. Raises Failed."""
    done = subprocess.run(
        (sys.executable, "-m", "tests.bench.reports", "--make"),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Failed(done.stderr[-2000:])
    costs: dict[str, float] = json.loads(done.stdout)
    return costs


def make() -> dict[str, float]:
    """Make all reports of what is stored; return the CPU seconds of each step, and the `WALL` and `PEAK` of all."""
    started, costs = time.perf_counter(), {}
    before = time.process_time()

    def lap(step: str) -> None:
        nonlocal before
        now = time.process_time()
        costs[step] = now - before
        before = now

    from datetime import UTC, datetime

    import duckdb

    from pipelines.destination import open_destination
    from pipelines.page import PAGED, render_page
    from pipelines.report_tables import write_report
    from pipelines.reporting import read_basis, read_options, stored_tables
    from pipelines.settings import read_settings
    from transforms.reports import REPORTS

    lap("imports")
    settings, now = read_settings(), datetime.now(UTC)
    with open_destination(settings).reading(stored_tables(list(REPORTS))) as connection:
        basis = read_basis(connection, list(REPORTS), read_options(settings, as_of=now, is_log=True))
    lap("reading")
    len(basis.trunks)
    lap("derived columns")
    # The overview is made of others, so that it comes last.
    for name in (*(name for name in REPORTS if name != "overview"), "overview"):
        REPORTS[name].derive(basis)
        lap(name)
    with duckdb.connect("written.duckdb") as written:
        for report in REPORTS.values():
            write_report(written, report.table, report.derive(basis), report.question)
    os.remove("written.duckdb")  # noqa: PTH107 - as light as it gets
    lap("writing the tables")
    frames = {name: REPORTS[name].derive(basis) for name in PAGED}
    render_page(frames, as_of=now, place="here", version="bench")
    lap("writing the page")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e6
    return costs | {WALL: time.perf_counter() - started, PEAK: peak}


def print_result(costs: Sequence[Mapping[str, float]], trunk_count: int) -> None:
    """Print the machine, the share of each step, and how all of it compares with the targets."""
    middle = {step: median(cost[step] for cost in costs) for step in costs[0]}
    steps = {step: seconds for step, seconds in middle.items() if step not in (WALL, PEAK)}
    total = sum(steps.values())
    print(f"the reports of {trunk_count} trunks, median of {len(costs)} rounds")
    print(machine())
    print()
    rows = [(step, f"{seconds:.2f}", f"{seconds * 100 / total:.0f} %") for step, seconds in steps.items()]
    print_table([("", "CPU s", "share"), *rows, ("all", f"{total:.2f}", "100 %")])
    print()
    print(
        f"under {SECONDS_TARGET:.0f} s: {middle[WALL]:.1f} s by the clock ({verdict(middle[WALL] < SECONDS_TARGET)}); "
        f"under {PEAK_TARGET_MB:.0f} MB: {middle[PEAK]:.0f} MB ({verdict(middle[PEAK] < PEAK_TARGET_MB)})"
    )
    if trunk_count != TRUNKS:
        print(f"(both targets are set for {TRUNKS} trunks)")


def main() -> int:
    """Return 0 if the reports were made, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reports", description="what the reports cost")
    parser.add_argument("--trunks", type=positive, default=TRUNKS, metavar="N", help=f"how many ({TRUNKS})")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="how often they are made (3)")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(json.dumps(make()))
        return 0
    try:
        compare(options.trunks, options.rounds)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
