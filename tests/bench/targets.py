"""What the numbers have to be, as data: each a ratio of medians of one run, or a median itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from tests.bench import competitors as by
from tests.bench import history, linear, reports, start
from tests.bench.cost import Cost

if TYPE_CHECKING:
    from tests.bench.results import Result

Part = Callable[[Cost], float]
CPU: Part = attrgetter("cpu_seconds")
WALL: Part = attrgetter("wall_seconds")
PEAK: Part = attrgetter("peak_mb")
DISK: Part = attrgetter("disk_mb")
UNITS = {CPU: ("s", "CPU"), WALL: ("s", "wall"), PEAK: ("MB", "peak memory"), DISK: ("MB", "size of the file")}
MISSED = "MISSED"

COMPARED = (2, 1_000, 100_000, 1_000_000)
SMALL, LARGE, LARGEST = "1000", "100000", "1000000"


@dataclass(frozen=True)
class Target:
    """That one cost of a command is at most so much, or at most so many times that of another."""

    result: str
    label: str
    part: Part
    limit: float
    base: str = ""
    start: str = ""
    """What costs as much as starting does, which is taken off both."""

    def judge(self, results: Mapping[str, Result]) -> str:
        """Return what came of it, or nothing if nothing beside it was measured either."""
        if self.result not in results:
            return ""
        rows = results[self.result].rows
        for name in filter(None, (self.label, self.base, self.start)):
            if not (name in rows and rows[name].runs):
                return f"not measured: {self}: there is no run of “{name}”"
        start = rows[self.start].middle(self.part) if self.start else 0.0
        value = rows[self.label].middle(self.part) - start
        if self.base:
            value /= rows[self.base].middle(self.part) - start
        verdict = "met" if value <= self.limit else MISSED
        return f"{verdict}: {self}: {self._spelled(value)}"

    def __str__(self) -> str:
        place = f"{int(self.result):,} trunks, " if self.result.isdecimal() else ""
        above = " above start-up" if self.start else ""
        against = f" of “{self.base}”" if self.base else ""
        return f"{place}“{self.label}”, {UNITS[self.part][1]}{above}: at most {self._spelled(self.limit)}{against}"

    def _spelled(self, value: float) -> str:
        if not self.base:
            return f"{value:.3g} {UNITS[self.part][0]}"
        return f"1/{1 / value:.3g}" if value < 0.6 else f"{value:.3g} ×"


TARGETS = (
    Target(LARGEST, by.OURS, CPU, 4.7, by.FLOOR),
    Target(LARGEST, by.OURS, CPU, 1, by.OBJECT),
    Target(LARGEST, by.OURS, PEAK, 800),
    Target(LARGEST, by.AGAIN, CPU, 1.5, by.HASH),
    Target(LARGEST, by.TOUCHED, CPU, 1, by.OURS),
    Target(LARGE, by.OURS, CPU, 1 / 15, by.MERGE),
    Target(LARGE, by.OURS, CPU, 1 / 2, by.MERGE_PARQUET),
    Target(LARGE, by.OURS, CPU, 1 / 3, by.INGESTR),
    Target(LARGE, by.OURS, CPU, 1 / 6, by.SINGER),
    Target(LARGE, by.OURS, CPU, 1 / 6, by.AIRBYTE),
    Target(LARGE, by.OURS, CPU, 1 / 10, by.SLING),
    Target(LARGE, by.TOUCHED, CPU, 1, by.OURS),
    Target(SMALL, by.OURS, CPU, 0.85, by.MERGE),
    Target(SMALL, by.OURS, CPU, 1.15, by.SINGER),
    Target(SMALL, by.OUR_REPORTS, CPU, 1.6, by.MERGE),
    Target(SMALL, by.AGAIN, CPU, 1.5, by.MSGSPEC),
    Target(start.NAME, "sip-trunks --help", CPU, 0.15),
    *(Target(start.NAME, f"sip-trunks {name}", CPU, 2, start.DUCKDB) for name in ("status", "sql", "describe")),
    Target(start.NAME, "sip-trunks report", CPU, 2, start.PANDAS),
    *(
        Target(
            linear.NAME, linear.label_of(large), CPU, large / small * 1.05, linear.label_of(small), linear.label_of(2)
        )
        for small, large in ((100_000, 1_000_000), (100_000, 3_000_000))
    ),
    Target(history.NAME, history.LATE, CPU, 1.1, history.EARLY),
    Target(history.NAME, history.LATE, DISK, 3.5, history.FIRST),
    Target(reports.NAME, reports.ALL, WALL, 30),
)


def judge(results: Mapping[str, Result]) -> list[str]:
    """Return what came of every target that one of the results is about."""
    return [told for target in TARGETS if (told := target.judge(results))]


def is_missed(verdict: str) -> bool:
    """Whether `judge` said of a target that it is missed."""
    return verdict.startswith(MISSED)
