"""Whether a run stays as quick, and its file as small, after many others: `python -m tests.bench --parts history`.

One account is loaded again and again. Every time, one in a hundred trunks has another value than the time before.
"""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.answer import Moment
from tests.bench.compare import check_stored, environment
from tests.bench.competitors import NO_REPORTS, OUR_FILE
from tests.bench.cost import measure
from tests.bench.results import Result, Row
from tests.bench.serving import say, serving

NAME = "history"
TRUNKS = 1000
RUNS = 200
FIRST, EARLY, LATE = "run 1", "runs 2 to 6", f"runs {RUNS - 4} to {RUNS}"
_ROWS = {1: FIRST, **dict.fromkeys(range(2, 7), EARLY), **dict.fromkeys(range(RUNS - 4, RUNS + 1), LATE)}


def compare_runs(runs: int = RUNS) -> Result:
    """Return what the first and the last of so many runs cost. Raises BenchError."""
    rows = {label: Row(label) for label in (FIRST, EARLY, LATE)}
    moments = (Moment.FIRST, Moment.TOUCHED)
    with TemporaryDirectory(prefix="sip-trunks-bench-") as home, serving([TRUNKS], moments) as served:
        folder = Path(home)
        for number, moment in enumerate(islice(cycle(moments), runs), 1):
            say(f"run {number} of {runs}")
            answer = served[TRUNKS, moment]
            cost = measure(NO_REPORTS, folder, environment(folder) | answer.variables())
            if number in _ROWS:
                disk_mb = (folder / OUR_FILE.place).stat().st_size / 1e6
                rows[_ROWS[number]].runs.append(cost._replace(disk_mb=disk_mb))
        check_stored(OUR_FILE, folder, answer)
    return Result(NAME, f"`sip-trunks run --no-reports` of {TRUNKS:,} trunks, 1 % changed each time", rows)
