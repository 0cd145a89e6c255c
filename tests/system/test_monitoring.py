"""The end of a run and `status` for monitors, as far as only processes show them: pipes and signals."""

from __future__ import annotations

import json
import os
import subprocess
from shlex import quote
from typing import TYPE_CHECKING

from tests.support.builders import TRUNK
from tests.support.runs import COMMAND, PATIENCE_SECONDS, call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.hook import Hook


def test_a_reader_that_leaves_early_changes_neither_the_exit_code_nor_the_log(place: Path, api: Api) -> None:
    for answered, code in (([TRUNK], 0), ([], 3)):
        api.answer(answered, 401 if code else 200)
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as nowhere:
            command = [COMMAND, "run", "--no-reports"]
            done = subprocess.run(command, stdout=nowhere, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS)
        assert done.returncode == code
        *_, summary = [line for line in done.stderr.splitlines() if "exit code" in line]
        assert f"exit code {code} after" in summary
        assert ("does not accept the token" in done.stderr, "Broken pipe" in done.stderr) == (code == 3, False)
        *_, last = (place / "data" / "state" / "runs.jsonl").read_text().splitlines()
        assert json.loads(last)["exit_code"] == code
        assert f"sip_trunks_run_exit_code {code}\n" in (place / "data" / "state" / "metrics.prom").read_text()


def test_a_signal_during_the_webhook_request_does_not_change_a_finished_run(place: Path, api: Api, hook: Hook) -> None:
    """The webhook responds to nothing until the process has ended, however long that takes."""
    api.answer([TRUNK])
    hook.is_open.clear()
    arguments = ("run", "--no-reports", "--notify", hook.address)
    process = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert hook.is_asked.wait(PATIENCE_SECONDS)
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    # A process that gets the signal late has given up waiting before.
    assert "no notification was sent: " in said
    assert "exit code 0 after" in said
    hook.is_open.set()
    call(*arguments)
    assert "trunks: 1 new, 0 changed, 0 removed (default)" in hook.take_texts()


def test_a_reader_that_has_read_enough_does_not_hide_that_data_is_stale(place: Path) -> None:
    command = f"{quote(COMMAND)} status --max-age 2h | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 10, done.stderr
