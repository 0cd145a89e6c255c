"""The command as a process that pauses at a certain step, so that what happens meanwhile is no matter of luck."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PROGRAM = """
import fnmatch, os, sys, threading, time
path, paused, go_on, *arguments = sys.argv[1:]

def pause(event, values):
    if event in ("open", "os.mkdir") and threading.current_thread() is threading.main_thread():
        if not isinstance(values[0], str) or not fnmatch.fnmatch(values[0], path):
            return
        # Of folders that are made with their parents, the last is tried first.
        if os.path.isdir(os.path.dirname(values[0])) and not os.path.exists(paused):
            os.close(os.open(paused, os.O_CREAT))
            while not os.path.exists(go_on):
                time.sleep(0.02)

sys.argv[:] = ["sip-trunks", *arguments]
from sip_trunks.__main__ import main
sys.addaudithook(pause)
sys.exit(main())
"""


@contextmanager
def paused_at(path: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yield the command as a process that waits just before it first opens or makes this path, a pattern.

    It goes on when `go_on` is called with the same folder, which is for its marks. A process that still waits at the
    end is killed.
    """
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", _PROGRAM, path, str(folder / "paused"), str(folder / "go-on"), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        try:
            wait_until(lambda: (folder / "paused").exists() or process.poll() is not None, f"the command is at {path}")
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


def go_on(folder: Path) -> None:
    """Let the process go on that has its marks in this folder."""
    (folder / "go-on").touch()
