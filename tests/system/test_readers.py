"""Readers while runs go on, and two runs at once: commands are processes here, as they are for users."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sip_trunks.core.settings import read_settings
from tests.support.builders import TRUNK, trunk
from tests.support.consistency import assert_whole
from tests.support.lakes import current, parquet_files
from tests.support.runs import COMMAND, PATIENCE_SECONDS, load, query, start

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.api import Api


def test_readers_of_every_kind_see_whole_snapshots_during_runs(api: Api, place: Path) -> None:
    """Only commands beside a run that works show that neither waits for the other, nor sees half of it."""
    snapshots = [[trunk(id=n, country_code=str(step)) for n in range(10)] for step in range(4)]
    api.answer(snapshots[0])
    load()
    path = read_settings().warehouse_path
    are_done = threading.Event()
    has_read = threading.Semaphore(0)
    problems: list[str] = []

    def read() -> None:
        commands = [
            ["sql", "SELECT count(DISTINCT country_code) AS c, count(*) AS n FROM sip_trunks", "--format", "csv"],
            ["report", "counts"],
            ["status"],
        ]
        while not are_done.is_set():
            for command in commands:
                done = start(*command)
                if done.returncode or (command[0] == "sql" and done.stdout != "c,n\n1,10\n"):
                    problems.append(done.stdout + done.stderr)
            has_read.release()

    with duckdb.connect(str(path), read_only=True) as patient:
        patient.execute("BEGIN")
        first = patient.execute("SELECT DISTINCT country_code FROM sip_trunks").fetchall()
        reader = threading.Thread(target=read)
        reader.start()
        try:
            for snapshot in snapshots[1:]:
                api.answer(snapshot)
                # In a process of its own: this one holds the old file open.
                done = start("run", "--no-reports")
                assert done.returncode == 0, done.stderr
                assert has_read.acquire(timeout=PATIENCE_SECONDS)
        finally:
            are_done.set()
            reader.join()
        assert patient.execute("SELECT DISTINCT country_code FROM sip_trunks").fetchall() == first == [("0",)]
    assert problems == []
    assert_whole(path, snapshots[-1])


def test_the_second_of_two_concurrent_runs_is_refused(api: Api, place: Path) -> None:
    api.answer([TRUNK])
    is_asked, may_respond = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        is_asked.set()
        may_respond.wait(PATIENCE_SECONDS)

    api.hold = hold
    with subprocess.Popen([COMMAND, "run", "--no-reports"], stderr=subprocess.DEVNULL) as first:
        try:
            assert is_asked.wait(PATIENCE_SECONDS)
            second = start("run")
            assert second.returncode == 6
            assert f"process {first.pid}" in second.stderr
            assert "active now" in start("status").stdout
        finally:
            may_respond.set()
        assert first.wait(PATIENCE_SECONDS) == 0
    assert_whole(read_settings().warehouse_path, [TRUNK])


def test_a_run_does_not_interrupt_readers_of_a_large_table(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a table of several row groups is still being read while a run replaces it."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    count = 120_000
    api.answer([trunk(id=n) for n in range(count)])
    load()
    folder = current(place / "data" / "lake") / "sip_trunks"
    (file,) = parquet_files(folder)
    groups = pq.read_metadata(file)
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [100_000, 20_000]

    found = ds.dataset(folder, format="parquet")
    scanner = ds.dataset(folder, format="parquet").scanner(columns=["id"], batch_size=1000).to_batches()
    lazy = pl.scan_parquet(folder)
    with duckdb.connect() as connection:
        stream = connection.execute(f"SELECT id FROM read_parquet('{folder}/*.parquet')").to_arrow_reader(1000)
        batches = {"scanner": [next(scanner)], "stream": [stream.read_next_batch()]}
        api.answer([TRUNK])
        assert load(accept_shrink=True).exit_code == 0
        assert query("SELECT id FROM sip_trunks") == [(42,)]
        batches["scanner"] += scanner
        batches["stream"] += stream
    ids = {name: pa.Table.from_batches(of)["id"].to_pylist() for name, of in batches.items()}
    ids["dataset"] = found.to_table(columns=["id"])["id"].to_pylist()
    ids["polars"] = lazy.select("id").collect()["id"].to_list()
    for name, of in ids.items():
        assert sorted(of) == list(range(count)), name
