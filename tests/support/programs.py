"""Small programs that stand in for this machine's own schedulers, which no test may change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def put_on_path(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a program that comes before the machine's own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
