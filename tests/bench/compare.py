"""All ways side by side, at one size: `compare`, which `python -m tests.bench` calls.

    one server process ──the same bytes──▶ way │ way │ way … ──▶ what each stored = what was served ──▶ its times count

They take turns, in an order that every round shuffles anew, each in a process of its own in a directory of its own,
with nothing of this shell's settings. A first, uncounted round of a few trunks finds whatever is only cached in a
first run. A competitor that does not finish within the limit is stopped and not tried again, and one that has used
up the limit with its runs so far is not repeated: the number of runs is in the table. If one of ours fails, nothing
counts.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.answer import Fingerprint, Moment
from tests.bench.cost import BenchError, OutOfTimeError, measure
from tests.bench.installed import WAYS as SCRIPTS
from tests.bench.installed import Missing, install
from tests.bench.results import Result, Row
from tests.bench.serving import PROJECT, Served, say, serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.competitors import Way

WARM_UP_TRUNKS = 100
OUR_PROGRAMS = Path(sys.executable).parent


@dataclass
class Contender:
    """A way, and how it has done so far."""

    way: Way
    programs: Sequence[Path]
    rows: list[Row]
    seconds: float = 0.0
    is_out: bool = False


def compare(trunk_count: int, rounds: int, limit: int, ways: Sequence[Way]) -> Result:
    """Return what every way cost at that size, and why one could not be had."""
    contenders = [enter(way) for way in ways]
    with (
        tempfile.TemporaryDirectory(prefix="sip-trunks-bench-") as home,
        serving({WARM_UP_TRUNKS, trunk_count}, (Moment.FIRST, Moment.TOUCHED)) as served,
    ):
        warm_up, answers = (
            {moment: served[size, moment] for moment in (Moment.FIRST, Moment.TOUCHED)}
            for size in (WARM_UP_TRUNKS, trunk_count)
        )
        for number in range(rounds + 1):
            turns = [contender for contender in contenders if not contender.is_out]
            random.Random(number).shuffle(turns)
            for contender in turns:
                with tempfile.TemporaryDirectory(dir=home) as folder:
                    take_turn(contender, warm_up if number == 0 else answers, Path(folder), limit, counts=number > 0)
                contender.is_out |= bool(contender.way.environments) and contender.seconds >= limit > 0
    body_mb = answers[Moment.FIRST].body_bytes / 1e6
    rows = {row.label: row for contender in contenders for row in contender.rows}
    return Result(str(trunk_count), f"{trunk_count:,} trunks, {body_mb:,.1f} MB of JSON", rows)


def enter(way: Way) -> Contender:
    """Return the contender, out from the start if it cannot be had here."""
    rows = [Row(run.label, run.does, note=way.note) for run in way.runs]
    found = [install(name) for name in way.environments]
    programs = [place for place in found if isinstance(place, Path)]
    contender = Contender(way, programs or [OUR_PROGRAMS], rows)
    for place in found:
        if isinstance(place, Missing):
            drop(contender, f"cannot be installed here: {place.reason}")
    return contender


def drop(contender: Contender, reason: str) -> None:
    """Let it run no more, and say why."""
    contender.is_out = True
    for row in contender.rows:
        row.note = "; ".join(filter(None, (row.note, reason)))


def take_turn(
    contender: Contender, answers: Mapping[Moment, Served], folder: Path, limit: int, *, counts: bool
) -> None:
    """Run its commands one after the other, and note what they cost if that counts."""
    for run, row in zip(contender.way.runs, contender.rows, strict=True):
        served = answers[run.moment]
        if run.moment is not Moment.FIRST and served.fingerprint == answers[Moment.FIRST].fingerprint:
            row.note = "1 % of so few trunks is none"
            continue
        say(f"{served.fingerprint.trunk_count:,} trunks: {run.label}")
        command = tuple(str(SCRIPTS.parent / part) if part.startswith("ways/") else part for part in run.command)
        try:
            cost = measure(command, folder, environment(folder, contender.programs) | served.variables(), limit)
            row.kept = check_stored(contender.way, folder, served)
        except OutOfTimeError:
            drop(contender, f"not finished in {limit} s")
            return
        except BenchError as error:
            if not contender.way.environments:
                raise
            say(str(error))
            drop(contender, f"failed: {str(error).strip().splitlines()[-1]}")
            return
        if counts:
            place = folder / Path(contender.way.place).parts[0]
            row.runs.append(cost._replace(disk_mb=size_bytes(place) / 1e6))
            contender.seconds += cost.wall_seconds


def environment(folder: Path, programs: Sequence[Path] = (OUR_PROGRAMS,)) -> dict[str, str]:
    """Return the variables of a command: its own directory for everything, nothing of the user's settings."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "PATH": os.pathsep.join([*map(str, programs), os.environ.get("PATH", os.defpath)]),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BENCH_WAYS": str(SCRIPTS),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "SIP_TRUNKS__DATA_DIR": str(folder / "data"),
        # Nobody reports home.
        "DO_NOT_TRACK": "1",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "AIRBYTE_OFFLINE_MODE": "1",
        "SLING_DISABLE_TELEMETRY": "true",
        "INGESTR_DISABLE_TELEMETRY": "true",
    }


def ask_module(name: str, folder: Path, variables: Mapping[str, str]) -> Any:
    """Return what a module of the bench prints last, as JSON, run in a process of its own. Raises BenchError."""
    done = subprocess.run(
        (sys.executable, "-m", name),
        cwd=folder,
        env=environment(folder) | dict(variables) | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BenchError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def check_stored(way: Way, folder: Path, served: Served) -> str:
    """Return how the values are kept. Raises BenchError unless every table holds exactly the trunks served."""
    label = way.runs[0].label
    if not way.layout:
        if (folder / "output.txt").read_text().split()[0] != served.body_sha256:
            raise BenchError(f"{label}: another answer than was served")
        return ""
    command = (sys.executable, "-m", "tests.bench.stored", way.layout, str(folder / way.place))
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"{label}: its result cannot be read:\n{done.stderr[-2000:]}")
    tables, kept = json.loads(done.stdout)
    for table, found in tables.items():
        if Fingerprint(*found) != served.fingerprint:
            raise BenchError(f"{label}, {table}: stored {Fingerprint(*found)}, served {served.fingerprint}")
    return str(kept)


def size_bytes(place: Path) -> int:
    """Return the size of a file, or of all in a folder but logs; a file with two names counts once."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    sizes = {file.stat().st_ino: file.stat().st_size for file in files if file.suffix != ".log"}
    return sum(sizes.values())
