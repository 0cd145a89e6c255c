"""Kill -9 at many points of a run: the file is the last good one or the new one, and the next run just works."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.consistency import assert_whole, closed_versions
from tests.support.kills import KILLED, STAGES, kill_at, snapshot
from tests.support.runs import call, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

KILLS_PER_STAGE = 8
LONGEST_DELAYS = {"loading": 0.9, "requesting trunks": 0.3, "reading": 0.3}


def store() -> None:
    assert load(accept_shrink=True).exit_code == 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_anywhere_leaves_one_whole_snapshot_and_the_next_run_works(
    api: Api, place: Path, stage: str
) -> None:
    """Forty kills in all: only real ones, wherever they land, show that no moment of a run is a bad one."""
    path = place / "data" / "warehouse.duckdb"
    rng = random.Random(stage)
    longest = LONGEST_DELAYS.get(stage, 0.06)
    stored = snapshot(0)
    api.answer(stored)
    store()
    closed = closed_versions(path)
    killed = step = 0
    while killed < KILLS_PER_STAGE:
        step += 1
        # The last kill is in a large loss that is accepted: it must not have happened by half.
        shrinks = killed == KILLS_PER_STAGE - 1
        new = snapshot(step)[:3] if shrinks else snapshot(step)
        api.answer(new)
        code = kill_at(stage, rng.uniform(0, longest), *(["--accept-shrink"] if shrinks else []))
        assert code in (0, KILLED)
        if code == KILLED:
            killed += 1
        else:
            # This machine was faster than the kill: the next one comes sooner.
            longest /= 2
        stored = (stored, new)[assert_whole(path, stored, new)]
        assert closed <= closed_versions(path)
        closed = closed_versions(path)
    new = snapshot(step + 50)
    api.answer(new)
    store()
    assert assert_whole(path, new) == 0
    assert closed <= closed_versions(path)
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


def test_a_first_run_that_is_killed_leaves_no_file_and_the_next_one_makes_it(api: Api, place: Path) -> None:
    path = place / "data" / "warehouse.duckdb"
    api.answer(snapshot(0))
    for stage in STAGES[:4]:
        kill_first_run(path, stage)
    store()
    assert assert_whole(path, snapshot(0)) == 0


def test_status_shows_that_a_run_was_killed(api: Api, place: Path) -> None:
    api.answer(snapshot(0))
    kill_first_run(place / "data" / "warehouse.duckdb", "loading")
    shown = call("status")
    assert "did not end" in shown
    assert "active" not in shown
