"""A small disk of its own for the data directory, which can be full or read-only."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEGABYTE = 2**20


def remount(disk: Path, options: str) -> None:
    """Change the size of a disk, or what may be done with it."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True, capture_output=True)


def used(disk: Path) -> int:
    """Return how many bytes of a disk are taken."""
    room = os.statvfs(disk)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


@pytest.fixture
def disk(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The data directory, on a disk of its own."""
    path = place / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: full and read-only disks, since only root may mount a small one here")
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(path / "data"))
    yield path / "data"
    subprocess.run(["umount", "-l", str(path)], check=True)
