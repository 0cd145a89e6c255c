"""What was measured, as rows of runs, kept as JSON below `build/` so that a part of it can be measured anew."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.cost import Cost
from tests.bench.serving import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = PROJECT / "build" / "bench"


def machine() -> str:
    """Return what the numbers depend on, beside the programs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = platform.system()
    with suppress(OSError):
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    processor = platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
        processor = " ".join([*names[:1], processor])
    return (
        f"{os.cpu_count()} cores ({processor}), {memory:.0f} GB, {system}, "
        f"kernel {platform.release()}, Python {platform.python_version()}"
    )


@dataclass
class Row:
    """The runs of one command; without any, the note says why."""

    label: str
    does: str = ""
    runs: list[Cost] = field(default_factory=list)
    kept: str = ""
    note: str = ""

    def middle(self, part: Callable[[Cost], float]) -> float:
        """Return the median of one of the costs."""
        return median(map(part, self.runs))


@dataclass
class Result:
    """The rows that were measured together, and where and when that was."""

    name: str
    about: str
    rows: dict[str, Row]
    machine: str = field(default_factory=machine)
    day: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")

    def save(self) -> None:
        """Write it in place of what was measured before."""
        HOME.mkdir(parents=True, exist_ok=True)
        (HOME / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1))


def load(name: str) -> Result | None:
    """Return what was measured last, if anything was."""
    file = HOME / f"{name}.json"
    if not file.is_file():
        return None
    values = json.loads(file.read_text())
    rows = {
        label: Row(**row | {"runs": [Cost(*run) for run in row["runs"]]}) for label, row in values.pop("rows").items()
    }
    return Result(**values, rows=rows)
