"""Whether our run costs ten times as much for ten times the trunks: one size after the other, several times over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.answer import Moment
from tests.bench.compare import enter, take_turn
from tests.bench.competitors import OUR_FILE, OURS
from tests.bench.results import Result, Row
from tests.bench.serving import serving

NAME = "linear"
SIZES = (2, 100_000, 1_000_000, 3_000_000)


def label_of(size: int) -> str:
    """Return the label of a size."""
    return f"{OURS}, {size:,} trunks"


def compare_sizes(rounds: int) -> Result:
    """Return what a first run costs at each size."""
    first = replace(OUR_FILE, runs=OUR_FILE.runs[:1])
    contenders = {size: enter(first) for size in SIZES}
    with TemporaryDirectory(prefix="sip-trunks-bench-") as home, serving(SIZES) as served:
        # The first one only warms up.
        for number, size in enumerate((SIZES[0], *SIZES * rounds)):
            with TemporaryDirectory(dir=home) as folder:
                answers = {Moment.FIRST: served[size, Moment.FIRST]}
                take_turn(contenders[size], answers, Path(folder), limit=0, counts=number > 0)
    rows = {
        label_of(size): Row(label_of(size), row.does, row.runs, row.kept, row.note)
        for size, contender in contenders.items()
        for row in contender.rows
    }
    return Result(NAME, "first runs", rows)
