"""What takes long to build and is only read: built once per session, by whichever worker needs it first."""

from __future__ import annotations

import os
import shutil
import traceback
from typing import TYPE_CHECKING

import pytest

from tests.support.environments import locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def built_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Return the folder `name` of this session, which `build` fills if no worker has built it yet.

    `build` gets an empty folder that is renamed when it is complete, so nothing in it may contain its own path. Tests
    copy what they change. If a build fails, every test that needs it fails with the traceback of that one build; a
    worker that was killed in it leaves it to the next.
    """
    folder = _session_folder(tmp_path_factory) / name
    draft, failure = (folder.with_name(f"{name}.{suffix}") for suffix in ("draft", "failed"))
    with locked(folder.with_name(f"{name}.lock")):
        if failure.exists():
            pytest.fail(f"{name} could not be built:\n{failure.read_text('utf-8')}", pytrace=False)
        if not folder.exists():
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                build(draft)
            except (Exception, pytest.fail.Exception):
                failure.write_text(traceback.format_exc(), "utf-8")
                raise
            draft.rename(folder)
    return folder


def _session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this session share, and no other session."""
    base = tmp_path_factory.getbasetemp()
    # The name is compared because a session that a test of another session starts inherits its variable.
    if base.name == f"popen-{os.environ.get('PYTEST_XDIST_WORKER')}":
        base = base.parent
    folder = base / "built-once"
    folder.mkdir(exist_ok=True)
    return folder
