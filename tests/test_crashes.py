"""Kill -9 at many points of a run: the file is the last good one or the new one, and the next run just works."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.builders import IP_TRUNK, trunk
from tests.consistency import assert_whole, closed_versions

if TYPE_CHECKING:
    from tests.conftest import Api

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
STAGES = ("asking the API", "reading", "loading", "writing reports", "publishing")
KILLS_PER_STAGE = 3


def snapshot(step: int) -> list[dict[str, Any]]:
    """An account of twelve trunks of which some change, vanish and appear with every step."""
    ips = [f"192.0.2.{step % 250}", "203.0.113.10"]
    steady = [trunk(id=n, phone_number=str(1000 + n)) for n in range(6)]
    changing = [IP_TRUNK | {"id": 100 + n, "country_code": "US" if step % (n + 2) else "DE"} for n in range(3)]
    moving = [IP_TRUNK | {"id": 200 + step + n, "allowed_inbound_ips": ips[: n + 1]} for n in range(3)]
    return [*steady, *changing, *moving]


def kill_at(stage: str, delay: float, *options: str) -> int:
    """Start a run, kill it `delay` seconds after it announced a stage; return its exit code."""
    # Reports take their time; without them, everything else can be killed as well.
    command = [COMMAND, "run", *(["--no-reports"] if stage != "writing reports" else []), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if stage in line:
                time.sleep(delay)
                process.kill()
                break
        process.stderr.read()
    return process.wait(30)


def load() -> None:
    settings = read_settings()
    assert run(settings, pick_accounts(settings, []), accept_shrink=True, with_reports=False).exit_code == 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_anywhere_leaves_one_whole_snapshot_and_the_next_run_works(
    api: Api, place: Path, stage: str
) -> None:
    path = place / "data" / "warehouse.duckdb"
    rng = random.Random(stage)
    longest = {"loading": 0.9, "asking the API": 0.3, "reading": 0.3}.get(stage, 0.06)
    stored = snapshot(0)
    api.answer(stored)
    load()
    closed = closed_versions(path)
    killed = 0
    for step in range(1, KILLS_PER_STAGE + 1):
        # The last of them is a large loss that is accepted: killed, it must not have happened by half.
        shrinks = step == KILLS_PER_STAGE
        new = snapshot(step)[:3] if shrinks else snapshot(step)
        api.answer(new)
        code = kill_at(stage, rng.uniform(0, longest), *(["--accept-shrink"] if shrinks else []))
        killed += code == -9
        assert code in (0, -9)
        stored = (stored, new)[assert_whole(path, stored, new)]
        assert closed <= closed_versions(path)
        closed = closed_versions(path)
    assert killed >= KILLS_PER_STAGE // 2
    new = snapshot(99)
    api.answer(new)
    load()
    assert assert_whole(path, new) == 0
    assert closed <= closed_versions(path)
    left = {entry.name for entry in (place / "data" / "state").iterdir()}
    # A run that was killed as it ended may have noted how, or not.
    assert left - {"runs.jsonl", "metrics.prom"} == {"last_run.json", "run.lock", "sip-trunks.log", "sizes.json"}


def test_a_first_run_that_is_killed_leaves_no_file_and_the_next_one_makes_it(api: Api, place: Path) -> None:
    path = place / "data" / "warehouse.duckdb"
    api.answer(snapshot(0))
    for stage in STAGES[:4]:
        assert kill_at(stage, 0) == -9
        assert not path.exists()
    load()
    assert assert_whole(path, snapshot(0)) == 0


def test_a_killed_run_is_told_by_status(api: Api, place: Path) -> None:
    api.answer(snapshot(0))
    assert kill_at("loading", 0) == -9
    done = subprocess.run([COMMAND, "status"], capture_output=True, text=True)
    assert "did not end" in done.stdout
    assert "active" not in done.stdout
