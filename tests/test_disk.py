"""Disks that are full, read-only or broken: exit 7, one line, what was stored stays, and it heals by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.load import run as run_here
from pipelines.settings import pick_accounts, read_settings
from tests.builders import IP_TRUNK, trunk
from tests.consistency import assert_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Api

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
MEGABYTE = 2**20
STORED = [trunk(id=n) for n in range(20)]
NEW = [*STORED[:-1], IP_TRUNK]
LARGE = [*NEW, *(trunk(id=n) for n in range(100, 6000))]


def run(code: int | tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([COMMAND, "run"], capture_output=True, text=True, timeout=60)
    allowed = code if isinstance(code, tuple) else (code,)
    assert done.returncode in allowed, done.stderr
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr
    return done


def load() -> None:
    """Store what the API answers, in this process: what comes before and after the run that a test is about."""
    settings = read_settings()
    assert run_here(settings, pick_accounts(settings, []), with_reports=False).exit_code == 0


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True, capture_output=True)


@pytest.fixture
def disk(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small disk of its own for the data directory."""
    path = place / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: full and read-only disks, since only root may mount a small one here")
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(path / "data"))
    yield path / "data"
    subprocess.run(["umount", "-l", str(path)], check=True)


def used(disk: Path) -> int:
    room = os.statvfs(disk)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


@pytest.mark.parametrize(
    "slack", [0, pytest.param(2.3, marks=pytest.mark.slow), 4.6, pytest.param(6, marks=pytest.mark.slow), 8]
)
def test_a_disk_that_fills_up_at_any_stage_costs_nothing_stored(api: Api, disk: Path, slack: float) -> None:
    api.answer(STORED)
    load()
    before = (disk / "warehouse.duckdb").read_bytes()
    api.answer(LARGE)
    remount(disk.parent, f"size={used(disk) + int(slack * MEGABYTE) // 4096 * 4096}")
    done = run((0, 7))
    said = done.stderr.splitlines()[-1]
    if done.returncode:
        assert said.startswith("sip-trunks: ")
        assert "space" in said
    if done.returncode and "the trunks are stored" not in said:
        assert (disk / "warehouse.duckdb").read_bytes() == before
    else:
        assert slack > 4
        assert assert_whole(disk / "warehouse.duckdb", LARGE) == 0
    remount(disk.parent, "size=64m")
    load()
    assert assert_whole(disk / "warehouse.duckdb", LARGE) == 0


def test_a_disk_that_is_read_only_is_named(api: Api, disk: Path) -> None:
    api.answer(STORED)
    load()
    remount(disk.parent, "ro")
    done = run(7)
    assert "Read-only file system" in done.stderr.splitlines()[-1]
    listed = subprocess.run([COMMAND, "sql", "SELECT count(*) FROM sip_trunks"], capture_output=True, text=True)
    assert listed.stdout.split() == ["count_star()", "20"]
    remount(disk.parent, "rw")
    load()


def test_a_data_directory_that_is_a_file_is_named(api: Api, place: Path) -> None:
    (place / "data").write_text("")
    assert str(place / "data") in run(7).stderr


@pytest.mark.parametrize("damage", ["state lost", "state garbage", "notes garbage"])
def test_a_damaged_state_heals_by_itself_and_keeps_the_history(api: Api, place: Path, damage: str) -> None:
    path, state = place / "data" / "warehouse.duckdb", place / "data" / "state"
    api.answer(NEW)
    load()
    if damage == "state lost":
        subprocess.run(["rm", "-r", str(state)], check=True)
    elif damage == "state garbage":
        (state / "warehouse.duckdb").write_bytes(path.read_bytes()[:100_000])
        (state / "dlt").mkdir()
        (state / "dlt" / "state.json").write_bytes(b"\0\xff")
    else:
        (state / "last_run.json").write_text('[{"broken')
        (state / "run.lock").write_text("\0\xff")
        assert subprocess.run([COMMAND, "status"], capture_output=True).returncode == 0
    api.answer(STORED)
    load()
    assert assert_whole(path, STORED) == 0
