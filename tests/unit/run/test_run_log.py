"""The log of the runs: a line for each in a file that stays short."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sip_trunks.core.errors import SipTrunksError
from sip_trunks.core.settings import prepare_state_dir, read_settings
from sip_trunks.run.run_log import note_run, summarize_failure
from tests.support.hook import NOON

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_of_runs_stays_short(place: Path) -> None:
    settings = read_settings()
    prepare_state_dir(settings)
    run = summarize_failure(settings, SipTrunksError("x" * 1000), NOON)
    for _ in range(400):
        note_run(settings, run)
    lines = (settings.state_dir / "runs.jsonl").read_text().splitlines()
    assert 100 < len(lines) < 250
    assert {json.loads(line)["started_at"] for line in lines} == {NOON.isoformat()}
