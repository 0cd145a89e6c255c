"""Runs into the lake that are killed, and disks that fill up: what is published is whole, and the next run works."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.consistency import assert_whole
from tests.support.disk import MEGABYTE, remount, used
from tests.support.kills import KILLED, assert_survives_kills, kill_at, snapshot
from tests.support.lakes import ROWS, assert_nothing_left_over, contents, current, file_of_views
from tests.support.runs import call, load, query, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

KILLS_PER_STAGE = 5
LONGEST_DELAY = {"loading": 0.6, "writing reports": 0.3, "publishing": 0.03}
"""Seconds from the moment that a stage is announced in which most of it happens."""


@pytest.fixture(autouse=True)
def lake(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lake will be; it is what every command means."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    return place / "data" / "lake"


@pytest.mark.parametrize("stage", LONGEST_DELAY)
def test_a_run_killed_anywhere_leaves_one_whole_snapshot_and_the_next_run_works(
    api: Api, lake: Path, stage: str
) -> None:
    """Only kills at many moments find one at which files, versions and the switch do not belong together."""

    def published() -> Path:
        unknown = f"SELECT count(*) FROM {ROWS} WHERE snapshot_at NOT IN (SELECT snapshot_at FROM sip_trunk_snapshots)"
        assert query(unknown) == [(0,)]
        return file_of_views(current(lake))

    assert_survives_kills(api, published, stage, LONGEST_DELAY[stage], KILLS_PER_STAGE)
    call("run", "--no-reports")  # it follows up what a killed run has noted
    assert_nothing_left_over(lake)


def test_a_killed_first_run_leaves_no_lake_and_the_next_run_creates_it(api: Api, lake: Path) -> None:
    api.answer(snapshot(0))
    while kill_at("writing reports", 0) != KILLED:  # this machine was faster than the kill
        shutil.rmtree(lake.parent)
    assert not (lake / "famulor").is_symlink()
    status = json.loads(call("status", "--json"))
    assert (status["is_work_pending"], status["is_run_active"], status["warehouse_bytes"]) == (True, False, None)
    assert status["last_run"]["error"] == "did not end"
    assert "a run was interrupted" in call("status")
    # As if it had died between the last file and the switch.
    shutil.copytree(lake.parent / "state" / "lake" / "famulor", lake / "versions" / "20200101T000000000000Z")
    (lake / ".famulor-begun").touch()
    load()
    assert assert_whole(file_of_views(current(lake)), snapshot(0)) == 0
    assert_nothing_left_over(lake)


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_an_unchanged_response_is_recorded_without_importing_dlt(
    api: Api, place: Path, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a process of its own shows what a run imports."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    api.answer([TRUNK, IP_TRUNK])
    load()
    code = "import sys; from sip_trunks.commands import main\nassert main(['run']) == 0\nprint('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "the response is unchanged" in done.stdout
    assert "dlt" not in done.stdout.splitlines()[-1].split()
    observations = "SELECT trunk_count, is_unchanged, count(DISTINCT _dlt_load_id) OVER () FROM sip_trunk_snapshots"
    assert query(f"{observations} ORDER BY snapshot_at") == [(2, False, 1), (2, True, 1)]


@pytest.mark.parametrize(("small", "slack"), [("data", 5), ("lake", 1)])
def test_a_disk_that_fills_up_costs_nothing_stored(
    api: Api, disk: Path, place: Path, monkeypatch: pytest.MonkeyPatch, small: str, slack: int
) -> None:
    """Only a real disk that is full shows which writes nobody has expected to fail."""
    rng = random.Random(slack)
    before_it = [trunk(id=n) for n in range(20)]
    large = [*before_it[:-1], IP_TRUNK, *(trunk(id=n, sip_username=rng.randbytes(500).hex()) for n in range(100, 2100))]
    lake = disk / "lake"
    if small == "lake":
        monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(place / "data"))
        monkeypatch.setenv("SIP_TRUNKS__LAKE", str(lake))
    api.answer(before_it)
    load()
    before = contents(lake)
    api.answer(large)
    remount(disk.parent, f"size={used(disk) + slack * MEGABYTE}")
    done = start("run")
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr
    assert "space" in done.stderr.splitlines()[-1]
    assert ("publishing" in done.stderr) == (small == "lake")
    after = contents(lake)
    assert {name: after.get(name) for name in before} == before
    assert assert_whole(file_of_views(current(lake)), before_it) == 0
    assert query(f"SELECT count(*) FROM {ROWS}") == [(len(before_it),)]
    remount(disk.parent, "size=64m")
    load()
    assert assert_whole(file_of_views(current(lake)), large) == 0
    assert_nothing_left_over(lake)
    assert read_settings().state_dir.is_dir()
