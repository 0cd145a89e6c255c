"""How much less our load costs than the plain way of doing it with dlt: `python -m tests.bench.load`.

    one server process ──the same bytes──▶ sip-trunks run │ plain dlt │ …, each to DuckDB and to Parquet │ ours again

The plain way writes no reports, so ours does not either: what they cost, `tests.bench.reports` tells.

Every competitor is a process of its own in a directory of its own, with nothing of this shell's settings, and they
take turns. A time counts only if what was stored is, field by field, what was served. The first, uncounted round is
small: it compiles and caches what each of them imports.

CPU is user and system time of the process and of all its children, peak memory that of the largest of them. On
Linux a child starts with its parent's peak, so this process imports nothing heavy and stays at some 20 MB. Disk is
what the run left: our data directory without logs, dlt's database file or bucket without its working directory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NoReturn

from tests.bench.answer import HOST, TOKEN, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PROJECT = Path(__file__).resolve().parents[2]
SIP_TRUNKS = str(Path(sys.executable).with_name("sip-trunks"))
PLAIN_DLT = str(Path(__file__).with_name("plain_dlt.py"))

WARM_UP_TRUNKS = 100
HELP_RUNS = 5
TRUNKS = 100_000  # what the targets are set for
CPU_TARGET = 8.0
PEAK_TARGET_MB = 500.0
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in one unit of ru_maxrss


class Failed(Exception):
    """A competitor failed, or stored something else than was served."""


class OutOfTime(Exception):
    """A competitor did not finish in its time."""


@dataclass(frozen=True)
class Competitor:
    """A command and where its tables are: at `place` in its `folder`, in a layout that `tests.bench.stored` knows.

    Everything else that it leaves is in the first part of `place`, too.
    """

    label: str
    command: tuple[str, ...]
    folder: str
    place: str
    layout: str
    is_slow: bool = False


@dataclass(frozen=True)
class Cost:
    """What one run of a command cost."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    disk_mb: float = 0.0


@dataclass(frozen=True)
class Served:
    """One answer of the server: where it is, and what must be stored of it."""

    base_url: str
    body_bytes: int
    fingerprint: Fingerprint


OURS, OUR_LAKE = "sip-trunks run", "sip-trunks to Parquet"
PLAIN, PLAIN_LAKE = "plain dlt", "plain dlt to Parquet"


def competitors(served: Served) -> tuple[Competitor, ...]:
    """Return the competitors in the order of their turns; the last two go on where the first two ended."""
    plain = (sys.executable, "-P", PLAIN_DLT, served.base_url, TOKEN)
    via_parquet, to_parquet = (*plain, "duckdb", "parquet"), (*plain, "filesystem", "parquet")
    ours = Competitor(OURS, (SIP_TRUNKS, "run", "--no-reports"), "ours", "data/warehouse.duckdb", "sip-trunks")
    to_lake = (SIP_TRUNKS, "run", "--no-reports", "--destination", "parquet")
    our_lake = Competitor(OUR_LAKE, to_lake, "our-lake", "data/lake/famulor", "sip-trunks lake")
    return (
        ours,
        our_lake,
        Competitor(PLAIN, (*plain, "duckdb"), "plain", "plain.duckdb", "plain", is_slow=True),
        Competitor("plain dlt, via Parquet files", via_parquet, "parquet", "plain.duckdb", "plain", is_slow=True),
        Competitor(PLAIN_LAKE, to_parquet, "plain-lake", "lake/famulor", "plain", is_slow=True),
        *(replace(first, label=f"{first.label}, same answer again") for first in (ours, our_lake)),
    )


# ---------------------------------------------------------------------- running


def run_round(served: Served, directory: Path, *, with_slow: bool, limit: float = 0) -> dict[str, Cost | None]:
    """Return what each competitor's run cost, None if it took longer than the limit; 0 is no limit.

    Raises Failed if one of them did not store what was served.
    """
    costs: dict[str, Cost | None] = {}
    stopped = set()
    for competitor in competitors(served):
        if (competitor.is_slow and not with_slow) or competitor.folder in stopped:
            continue
        say(f"{served.fingerprint.trunk_count} trunks: {competitor.label}")
        folder = directory / competitor.folder
        try:
            cost = measure(competitor.command, folder, environment(folder, served), limit)
        except OutOfTime:
            costs[competitor.label] = None
            stopped.add(competitor.folder)
            continue
        check_stored(competitor, folder, served.fingerprint)
        costs[competitor.label] = replace(cost, disk_mb=size_bytes(folder / Path(competitor.place).parts[0]) / 1e6)
    return costs


def size_bytes(place: Path) -> int:
    """Return the size of a file, or of all in a folder but logs; a file with two names counts once."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    sizes = {file.stat().st_ino: file.stat().st_size for file in files if file.suffix != ".log"}
    return sum(sizes.values())


def environment(folder: Path, served: Served | None = None) -> dict[str, str]:
    """Return the variables of a competitor: its own directory for everything, nothing of the user's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "SIP_TRUNKS__DATA_DIR": str(folder / "data"),
        "FAMULOR_API_KEY": TOKEN,
        **({"SOURCES__FAMULOR__BASE_URL": served.base_url} if served else {}),
    }


def measure(command: Sequence[str], folder: Path, variables: Mapping[str, str], limit: float = 0) -> Cost:
    """Return what it costs to run the command in the folder.

    Raises Failed, with its last words, if it fails, OutOfTime if it takes longer than the limit; 0 is no limit.
    """
    # The empty settings folder keeps the project's own, and whatever secrets are in it, out of the comparison.
    (folder / ".dlt").mkdir(parents=True, exist_ok=True)
    os.sync()  # nobody waits for the disk on account of the one before
    with (folder / "output.txt").open("w+b") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            signal.setitimer(signal.ITIMER_REAL, limit)  # wait4 has no limit of its own
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            words = output.read().decode(errors="replace")[-2000:]
            raise Failed(f"{' '.join(command)} ended with {process.returncode}:\n{words}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * RSS_UNIT / 1e6)


def check_stored(competitor: Competitor, folder: Path, expected: Fingerprint) -> None:
    """Raise Failed unless every table that has to hold the trunks holds exactly those that were served."""
    command = (sys.executable, "-m", "tests.bench.stored", competitor.layout, str(folder / competitor.place))
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if result.returncode:
        raise Failed(f"{competitor.label}: its result cannot be read:\n{result.stderr[-2000:]}")
    for table, found in json.loads(result.stdout).items():
        if Fingerprint(*found) != expected:
            raise Failed(f"{competitor.label}, {table}: stored {Fingerprint(*found)}, served {expected}")


@contextmanager
def serving(*sizes: int, is_later: bool = False) -> Iterator[dict[int, Served]]:
    """Yield the answer of each size, served by a process of its own that ends with this context or this process."""
    say(f"generating {max(sizes)} trunks")
    command = (sys.executable, "-m", "tests.bench.answer", *map(str, sizes), *(["later"] if is_later else []))
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                raise Failed("the server did not start")
            facts = json.loads(line)
            yield {
                size: Served(f"http://{HOST}:{facts['port']}/{size}/api", body_bytes, Fingerprint(*fingerprint))
                for size, (body_bytes, fingerprint) in ((size, facts["answers"][str(size)]) for size in sizes)
            }
        finally:
            process.kill()


def say(text: str) -> None:
    """Tell a waiting person what goes on, apart from the result."""
    print(f"… {text}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------- telling


def print_result(costs: Mapping[str, Sequence[Cost]], help_costs: Sequence[Cost], served: Served) -> None:
    """Print the machine, the table, and how it compares with the targets."""
    first = next(iter(costs.values()), [])
    print(f"{served.fingerprint.trunk_count} trunks, {served.body_bytes / 1e6:.1f} MB of JSON from a loopback server")
    print(machine())
    print("median (min–max); × is the median divided by that of the first line; stored values equal in every line")
    print()
    header = ("", "runs", "CPU s", "×", "wall s", "×", "peak MB", "×", "disk MB", "×")
    print_table([header, *(table_row(label, runs, first) for label, runs in costs.items())])
    print()
    if told := "; ".join(verdicts(costs)):
        print(told)
        if served.fingerprint.trunk_count != TRUNKS:
            print(f"(both targets are set for {TRUNKS} trunks)")
    if {OUR_LAKE, PLAIN_LAKE} <= costs.keys():
        print(f"to Parquet files, CPU of the plain dlt pipeline: {cpu_ratio(costs, PLAIN_LAKE, OUR_LAKE):.1f}× ours")
    print(f"sip-trunks --help: {median(map(cpu_of, help_costs)):.3f} s of CPU, median of {len(help_costs)}")


def verdicts(costs: Mapping[str, Sequence[Cost]]) -> Iterator[str]:
    """Yield how the result compares with each target that it says something about."""
    if {OURS, PLAIN} <= costs.keys():
        ratio = cpu_ratio(costs, PLAIN, OURS)
        yield (
            f"at least {CPU_TARGET:.0f} times less CPU than the plain dlt pipeline: {ratio:.1f}× "
            f"({verdict(ratio >= CPU_TARGET)})"
        )
    if OURS in costs:
        peak = max(map(peak_of, costs[OURS]))
        yield f"peak memory under {PEAK_TARGET_MB:.0f} MB: {peak:.0f} MB ({verdict(peak < PEAK_TARGET_MB)})"


def cpu_ratio(costs: Mapping[str, Sequence[Cost]], label: str, base: str) -> float:
    """Return how many times the CPU of one competitor another one takes."""
    return median(map(cpu_of, costs[label])) / median(map(cpu_of, costs[base]))


def machine() -> str:
    """Return what the numbers depend on, in two lines."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("dlt", "duckdb", "pyarrow", "sip-trunks"))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({platform.system()} {platform.machine()}), load average now {load}\n"
        f"Python {platform.python_version()}, {packages}"
    )


def cpu_of(cost: Cost) -> float:
    """Return the CPU seconds."""
    return cost.cpu_seconds


def wall_of(cost: Cost) -> float:
    """Return the seconds by the clock on the wall."""
    return cost.wall_seconds


def peak_of(cost: Cost) -> float:
    """Return the peak memory in MB."""
    return cost.peak_mb


def disk_of(cost: Cost) -> float:
    """Return the MB that the run left on disk."""
    return cost.disk_mb


def table_row(label: str, runs: Sequence[Cost], first: Sequence[Cost]) -> tuple[str, ...]:
    """Return the cells of one competitor."""
    cells = [label, str(len(runs))]
    for part, digits in ((cpu_of, 2), (wall_of, 2), (peak_of, 0), (disk_of, 1)):
        cells += [spread(runs, part, digits), f"{median(map(part, runs)) / median(map(part, first)):.2f}"]
    return tuple(cells)


def spread(runs: Sequence[Cost], part: Callable[[Cost], float], digits: int) -> str:
    """Return the median and, where they differ, the smallest and the largest value."""
    values = [part(run) for run in runs]
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print the rows in columns: the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        print("  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]))


def verdict(is_met: bool) -> str:
    """Return the word for it."""
    return "met" if is_met else "MISSED"


# ---------------------------------------------------------------------- the command


def compare(trunk_count: int, rounds: int, slow_rounds: int, limit: int) -> None:
    """Run everything and print the result. Raises Failed."""
    with (
        tempfile.TemporaryDirectory(prefix="sip-trunks-bench-") as name,
        serving(WARM_UP_TRUNKS, trunk_count) as served,
    ):
        run_round(served[WARM_UP_TRUNKS], Path(name, "warm-up"), with_slow=slow_rounds > 0)
        costs: dict[str, list[Cost]] = {}
        stopped: Counter[str] = Counter()
        for number in range(rounds):
            with tempfile.TemporaryDirectory(dir=name) as directory:
                say(f"round {number + 1} of {rounds}")
                done = run_round(served[trunk_count], Path(directory), with_slow=number < slow_rounds, limit=limit)
            for label, cost in done.items():
                if cost:
                    costs.setdefault(label, []).append(cost)
                else:
                    stopped[label] += 1
        folder = Path(name, "help")
        help_costs = [measure((SIP_TRUNKS, "--help"), folder, environment(folder)) for _ in range(HELP_RUNS)]
        print_result(costs, help_costs, served[trunk_count])
        for label, times in stopped.items():
            print(f"{label}: not finished in {limit} s" + (f", {times} times" if times > 1 else ""))
        if slow_rounds < rounds:
            print(f"plain dlt ran in {slow_rounds} of {rounds} rounds, being slow: --slow-rounds runs it more often")


def positive(text: str) -> int:
    """Return the number if it is a positive one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"needs a number from 1 up, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """Return the number if it is a positive one or 0."""
    return 0 if text == "0" else positive(text)


def terminate(_signal: int, _frame: object) -> NoReturn:
    """End as after Ctrl-C: children and directories go first."""
    raise KeyboardInterrupt


def out_of_time(_signal: int, _frame: object) -> NoReturn:
    """End the waiting for a competitor."""
    raise OutOfTime


def main() -> int:
    """Return 0 if everything ran and stored the same, 1 if not, 130 if it was stopped."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description="our load against plain dlt")
    parser.add_argument("--trunks", type=positive, default=TRUNKS, metavar="N", help=f"size of the answer ({TRUNKS})")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="turns of each competitor (3)")
    parser.add_argument(
        "--slow-rounds", type=count, default=1, metavar="N", help="turns of the plain pipelines (1); 0 leaves them out"
    )
    parser.add_argument(
        "--limit", type=count, default=0, metavar="SECONDS", help="stop a competitor that takes longer (0: no limit)"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGALRM, out_of_time)
    try:
        compare(options.trunks, options.rounds, min(options.rounds, options.slow_rounds), options.limit)
    except Failed as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
