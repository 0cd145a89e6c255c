"""Disks that are full, read-only or broken: exit 7, one line, what was stored stays, and it heals by itself."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.builders import IP_TRUNK, trunk
from tests.support.consistency import assert_whole
from tests.support.disk import MEGABYTE, remount, used
from tests.support.runs import call, load, start

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.api import Api

STORED = [trunk(id=n) for n in range(20)]
NEW = [*STORED[:-1], IP_TRUNK]
LARGE = [*NEW, *(trunk(id=n) for n in range(100, 6000))]


def run(code: int | tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    done = start("run")
    allowed = code if isinstance(code, tuple) else (code,)
    assert done.returncode in allowed, done.stderr
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr
    return done


def store() -> None:
    """Store what the API sends, in this process: what comes before and after the run that a test is about."""
    assert load().exit_code == 0


@pytest.mark.parametrize("slack", [0, 2.3, 4.6, 6, 8])
def test_a_full_disk_at_any_stage_loses_no_stored_data(api: Api, disk: Path, slack: float) -> None:
    api.answer(STORED)
    store()
    before = (disk / "warehouse.duckdb").read_bytes()
    api.answer(LARGE)
    remount(disk.parent, f"size={used(disk) + int(slack * MEGABYTE) // 4096 * 4096}")
    done = run((0, 7))
    message = done.stderr.splitlines()[-1]
    if done.returncode:
        assert message.startswith("sip-trunks: ")
        assert "space" in message
    if done.returncode and "the trunks are stored" not in message:
        assert (disk / "warehouse.duckdb").read_bytes() == before
    else:
        assert slack > 4
        assert assert_whole(disk / "warehouse.duckdb", LARGE) == 0
    remount(disk.parent, "size=64m")
    store()
    assert assert_whole(disk / "warehouse.duckdb", LARGE) == 0


def test_a_disk_that_is_read_only_is_named(api: Api, disk: Path) -> None:
    api.answer(STORED)
    store()
    remount(disk.parent, "ro")
    done = run(7)
    assert "Read-only file system" in done.stderr.splitlines()[-1]
    assert call("sql", "SELECT count(*) FROM sip_trunks").split() == ["count_star()", "20"]
    remount(disk.parent, "rw")
    store()


def test_a_data_directory_that_is_a_file_is_named(api: Api, place: Path) -> None:
    (place / "data").write_text("")
    assert str(place / "data") in run(7).stderr


@pytest.mark.parametrize("damage", ["state lost", "state garbage", "notes garbage"])
def test_a_damaged_state_is_repaired_and_keeps_the_history(api: Api, place: Path, damage: str) -> None:
    path, state = place / "data" / "warehouse.duckdb", place / "data" / "state"
    api.answer(NEW)
    store()
    if damage == "state lost":
        shutil.rmtree(state)
    elif damage == "state garbage":
        (state / "warehouse.duckdb").write_bytes(path.read_bytes()[:100_000])
        (state / "dlt").mkdir()
        (state / "dlt" / "state.json").write_bytes(b"\0\xff")
    else:
        (state / "last_run.json").write_text('[{"broken')
        (state / "run.lock").write_text("\0\xff")
        call("status")
    api.answer(STORED)
    store()
    assert assert_whole(path, STORED) == 0
