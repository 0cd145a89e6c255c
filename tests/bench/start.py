"""What commands cost that answer from a small account's file, which is what starting them costs."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from tests.bench.answer import Moment
from tests.bench.compare import environment
from tests.bench.cost import measure
from tests.bench.results import Result, Row
from tests.bench.serving import say, serving

NAME = "start"
TRUNKS = 1000
STORE = ("sip-trunks", "run")
DUCKDB, PANDAS = "Python with DuckDB, nothing else", "Python with DuckDB and pandas, nothing else"
COMMANDS = {
    DUCKDB: ("python", "-c", "import duckdb"),
    PANDAS: ("python", "-c", "import duckdb, pandas"),
    "sip-trunks --help": ("sip-trunks", "--help"),
    "sip-trunks status": ("sip-trunks", "status"),
    "sip-trunks sql": ("sip-trunks", "sql", "SELECT count(*) FROM sip_trunks"),
    "sip-trunks describe": ("sip-trunks", "describe"),
    "sip-trunks report": ("sip-trunks", "report"),
}


def compare_starts(rounds: int) -> Result:
    """Return what each command cost. Raises BenchError."""
    rows = {label: Row(label) for label in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="sip-trunks-bench-") as home, serving([TRUNKS]) as served:
        folder = Path(home)
        variables = environment(folder) | served[TRUNKS, Moment.FIRST].variables()
        measure(STORE, folder, variables)
        for number in range(rounds + 1):
            turns = list(COMMANDS)
            random.Random(number).shuffle(turns)
            for label in turns:
                say(label)
                cost = measure(COMMANDS[label], folder, variables)
                if number:  # the first round only warms up
                    rows[label].runs.append(cost)
    return Result(NAME, f"commands on a stored account of {TRUNKS:,} trunks", rows)
