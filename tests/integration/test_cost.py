"""What a run into the DuckDB file costs, counted and not timed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.bench.answer import trunk
from tests.bench.serving import PROJECT
from tests.bench.shares import PARTS
from tests.support.costs import EXECUTE, MANY, assert_a_trunk_costs_some_bytes_and_no_call, run, trunks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


def test_a_trunk_costs_some_bytes_and_no_call(api: Api, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only thousands of trunks show a call that is made for each of them, or a table that is stored twice.

    DuckDB's threads fill blocks in a different order each time, so a file of the same rows can be half as large again:
    its rows say exactly what is stored, its bytes only that the columns are compressed.
    """
    assert_a_trunk_costs_some_bytes_and_no_call(api, place, monkeypatch, "duckdb", byte_limit=500)
    with duckdb.connect(place / str(MANY) / "warehouse.duckdb", read_only=True) as connection:
        rows = connection.execute("SELECT sum(estimated_size) FROM duckdb_tables()").fetchone()
        blocks = connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()
    assert rows is not None
    # Many rows take less room in large blocks.
    assert blocks == (256 * 1024,)
    allowlist_entries = sum(len(answered["allowed_inbound_ips"] or ()) for answered in trunks(MANY))
    assert 0 <= rows[0] - (2 * MANY + allowlist_entries) < 30


@pytest.mark.usefixtures("place")
def test_a_run_takes_few_jobs_and_statements(api: Api) -> None:
    first = run(api, trunks(100))
    # Five tables and dlt's state; nothing is there to be merged with.
    assert first["submit_job"] == 6
    assert 50 < first[EXECUTE] < 175
    assert first["read_settings"] == 1
    changed = [trunk(serial) | {"outbound_proxy": None} if serial == 1 else trunk(serial) for serial in range(100)]
    second = run(api, changed)
    # Each of the three tables of trunks is merged once it is staged.
    assert second["submit_job"] == 8
    assert 50 < second[EXECUTE] < 230
    unchanged = run(api, changed)
    assert unchanged["submit_job"] == 0
    assert 5 < unchanged[EXECUTE] < 25


@pytest.mark.usefixtures("place")
def test_the_clock_of_the_benchmark_finds_every_part_of_a_run(api: Api) -> None:
    api.answer(trunks(100))
    done = subprocess.run([sys.executable, "-m", "tests.bench.shares"], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) == set(PARTS)
