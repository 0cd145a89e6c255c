"""Runs that are killed, at any stage, and the accounts that they load."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests.support.builders import IP_TRUNK, trunk
from tests.support.consistency import assert_whole, closed_versions
from tests.support.runs import COMMAND, PATIENCE_SECONDS, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.api import Api

KILLED = -signal.SIGKILL
"""The exit code of a process that was killed."""
STAGES = ("requesting trunks", "reading", "loading", "writing reports", "publishing")


def snapshot(step: int) -> list[dict[str, Any]]:
    """An account of twelve trunks of which some change, vanish and appear with every step."""
    ips = [f"192.0.2.{step % 250}", "203.0.113.10"]
    steady = [trunk(id=n, phone_number=str(1000 + n)) for n in range(6)]
    changing = [IP_TRUNK | {"id": 100 + n, "country_code": "US" if step % (n + 2) else "DE"} for n in range(3)]
    moving = [IP_TRUNK | {"id": 200 + step + n, "allowed_inbound_ips": ips[: n + 1]} for n in range(3)]
    return [*steady, *changing, *moving]


def assert_survives_kills(api: Api, published: Callable[[], Path], stage: str, longest: float, kills: int) -> None:
    """Kill runs at random moments after a stage; assert that each leaves one whole snapshot, and the next run works.

    `longest` are the seconds in which most of the stage happens. `published` returns a file with the stored tables.
    """
    rng, closed = random.Random(stage), set[tuple[Any, ...]]()
    api.answer(stored := snapshot(0))
    assert load(accept_shrink=True).exit_code == 0
    killed = step = 0
    while killed < kills:
        step += 1
        # The last kill is in a large loss that is accepted: it must not have happened by half.
        shrinks = killed == kills - 1
        new = snapshot(step)[:3] if shrinks else snapshot(step)
        api.answer(new)
        code = kill_at(stage, rng.uniform(0, longest), *(["--accept-shrink"] if shrinks else []))
        assert code in (0, KILLED)
        if code == KILLED:
            killed += 1
        else:
            # This machine was faster than the kill: the next one comes sooner.
            longest /= 2
        path = published()
        stored = (stored, new)[assert_whole(path, stored, new)]
        assert closed <= closed_versions(path)
        closed = closed_versions(path)
    api.answer(new := snapshot(step + 50))
    assert load(accept_shrink=True).exit_code == 0
    path = published()
    assert assert_whole(path, new) == 0
    assert closed <= closed_versions(path)


def kill_at(stage: str, delay: float, *options: str, until: Callable[[], bool] | None = None) -> int:
    """Start a run, kill it `delay` seconds after it announced a stage; return its exit code.

    With `until` it is killed as soon as that can be seen as well.
    """
    # Reports take their time; without them, everything else can be killed as well.
    command = [COMMAND, "run", *(["--no-reports"] if stage != "writing reports" else []), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if stage in line:
                time.sleep(delay)
                while until and not until() and process.poll() is None:
                    pass
                process.kill()
                break
        process.stderr.read()
    return process.wait(PATIENCE_SECONDS)
