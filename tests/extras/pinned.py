"""The sets of packages that tests of this folder install, each with the version of everything in it."""

from __future__ import annotations

from pathlib import Path

PACKAGES = Path(__file__).parent / "packages"


def pinned(name: str) -> list[str]:
    """Return the requirements of a set, one for each package."""
    lines = (PACKAGES / f"{name}.txt").read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]
