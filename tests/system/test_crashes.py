"""Kill -9 at many points of a run: the file is the last good one or the new one, and the next run just works."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.consistency import assert_whole
from tests.support.kills import KILLED, STAGES, assert_survives_kills, kill_at, snapshot
from tests.support.runs import call, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

KILLS_PER_STAGE = 8
LONGEST_DELAYS = {"loading": 0.9, "requesting trunks": 0.3, "reading": 0.3}


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_anywhere_leaves_one_whole_snapshot_and_the_next_run_works(
    api: Api, place: Path, stage: str
) -> None:
    """Forty kills in all: only real ones, wherever they land, show that no moment of a run is a bad one."""
    path = place / "data" / "warehouse.duckdb"
    assert_survives_kills(api, lambda: path, stage, LONGEST_DELAYS.get(stage, 0.06), KILLS_PER_STAGE)
    call("run", "--no-reports")  # it follows up what a killed run has noted
    left = {entry.name for entry in (place / "data" / "state").iterdir()}
    # A run that was killed as it ended may have noted how, or not.
    assert left - {"runs.jsonl", "metrics.prom"} == {"last_run.json", "run.lock", "sip-trunks.log", "sizes.json"}


def kill_first_run(path: Path, stage: str) -> None:
    """Kill a first run before it publishes. One that was faster than the kill has left a whole file, and is undone."""
    while True:
        code = kill_at(stage, 0)
        if not path.exists():
            assert code == KILLED
            return
        assert assert_whole(path, snapshot(0)) == 0
        shutil.rmtree(path.parent)


def test_a_killed_first_run_leaves_no_file_and_the_next_run_creates_it(api: Api, place: Path) -> None:
    path = place / "data" / "warehouse.duckdb"
    api.answer(snapshot(0))
    for stage in STAGES[:4]:
        kill_first_run(path, stage)
    load()
    assert assert_whole(path, snapshot(0)) == 0


def test_status_shows_that_a_run_was_killed(api: Api, place: Path) -> None:
    api.answer(snapshot(0))
    kill_first_run(place / "data" / "warehouse.duckdb", "loading")
    shown = call("status")
    assert "did not end" in shown
    assert "active" not in shown
