"""Whether Dask says what pandas says, and what both cost: `python -m tests.bench --parts scale`.

A lake of a million trunks in a thousand accounts, with a second snapshot, as two runs have stored it. Each report is
worked out by either engine, as a process of its own, and what it writes has to be the same bytes.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.accounts import configure, serving
from tests.bench.answer import Moment
from tests.bench.cost import BenchError, measure
from tests.bench.results import Result, Row
from tests.bench.serving import say

NAME = "scale"
ACCOUNTS = 1000
TRUNKS = 1000
WORKERS = 2
WORKER_BYTES = 768 * 2**20
PARTITION_ROWS = 50_000
_COMMANDS = {
    "counts by format and country": ("report", "counts"),
    "counts by number kind and provider": ("report", "counts", "--by", "number_kind", "provider"),
    "changes": ("report", "changes"),
    "audit": ("audit",),
}
_ENGINES = {"pandas": (), "dask": ("--engine", "dask")}


def compare_engines(rounds: int) -> Result:
    """Return what each report costs by either engine. Raises BenchError if they do not say the same."""
    rows = {(what, engine): Row(f"{what}: {engine}") for what in _COMMANDS for engine in _ENGINES}
    with (
        TemporaryDirectory(prefix="sip-trunks-bench-") as home,
        serving(ACCOUNTS, TRUNKS, Moment.FIRST, Moment.LATER) as port,
    ):
        folder = Path(home)
        variables = configure(folder, ACCOUNTS, port) | {
            "SIP_TRUNKS__DESTINATION": "parquet",
            "SIP_TRUNKS__DASK_WORKERS": str(WORKERS),
            "SIP_TRUNKS__DASK_WORKER_BYTES": str(WORKER_BYTES),
            "SIP_TRUNKS__DASK_PARTITION_ROWS": str(PARTITION_ROWS),
        }
        for _ in range(2):
            say("storing a snapshot")
            measure(("sip-trunks", "run", "--no-reports", "--accept-shrink"), folder, variables)
        for _ in range(rounds):
            for what, command in _COMMANDS.items():
                written = {}
                for engine, options in _ENGINES.items():
                    row = rows[what, engine]
                    say(row.label)
                    row.runs.append(measure(("sip-trunks", *command, *options, "--format", "csv"), folder, variables))
                    written[engine] = sha256((folder / "output.txt").read_bytes()).hexdigest()
                if len(set(written.values())) > 1:
                    raise BenchError(f"the engines differ in {what}")
    about = (
        f"{ACCOUNTS:,} accounts of {TRUNKS:,} trunks in a lake, two snapshots; Dask on {WORKERS} processes of at most "
        f"{WORKER_BYTES / 1e6:.0f} MB each, {PARTITION_ROWS:,} trunks at a time; the peak is of all processes together"
    )
    return Result(NAME, about, {row.label: row for row in rows.values()})
