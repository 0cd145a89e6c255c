"""The demo account as a user has it after some runs, built once per session for tests that only read it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.runs import call
from tests.support.shared import built_once

if TYPE_CHECKING:
    from pathlib import Path

_OURS = ("SOURCES__", "SIP_TRUNKS__", "DESTINATION__", "FAMULOR_", "DLT_")


def work_in(folder: Path, patch: pytest.MonkeyPatch, **settings: str) -> None:
    """Make `folder` the working directory of a user who has only these settings; the data goes to `data/` in it."""
    for name in filter(lambda name: name.startswith(_OURS), list(os.environ)):
        patch.delenv(name)
    defaults = {"HOME": str(folder / "home"), "SIP_TRUNKS__DATA_DIR": str(folder / "data"), "COLUMNS": "80"}
    for name, value in (defaults | settings).items():
        patch.setenv(name, value)
    patch.chdir(folder)


def demo_after(runs: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data directory after so many runs of the demo account into the file, with the reports of each."""

    def build(folder: Path) -> None:
        if runs > 1:
            shutil.copytree(demo_after(runs - 1, tmp_path_factory), folder / "data", symlinks=True)
        with pytest.MonkeyPatch.context() as patch:
            work_in(folder, patch)
            call("run", "--demo")

    return built_once(tmp_path_factory, f"demo-{runs}", build) / "data"
