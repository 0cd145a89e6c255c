"""Packages that the tests use and the environment has not: each set installed once, into a folder of its own.

The folders are below pytest's cache. Where a set cannot be installed, its tests skip and say why.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.runs import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OUTER_ENVIRONMENT = dict(os.environ)
"""Where uv finds its settings and its cache; a test's own home has neither."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out while the file is locked; a process that had to wait finds the work done."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass
class Environments:
    """Sets of packages, each in a folder of its own below `home`."""

    home: Path
    failures: dict[str, str] = field(default_factory=dict)

    def folder(self, name: str, packages: Sequence[str], *options: str, beside_ours: bool = False) -> Path:
        """Return the folder of a set, installing it if that has not been done; skip the test if that is impossible.

        With `beside_ours` it has only what our own environment lacks, so that both can be used together.
        """
        ours = sorted({found.name for found in distributions()}) if beside_ours else []
        # The folder may outlast the versions that are asked for, and another machine or Python may share the cache.
        digest = sha256(repr([sorted(packages), options, ours]).encode()).hexdigest()[:8]
        marks = [name, digest, str(sys.implementation.cache_tag), os.uname().sysname, os.uname().machine]
        folder = self.home / "-".join(marks)
        # A folder is moved into its place when it is complete.
        with locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir() and name not in self.failures:
                draft = folder.with_name(f"{folder.name}.part")
                shutil.rmtree(draft, ignore_errors=True)
                if ours:
                    excludes = folder.with_name(f"{folder.name}.excludes")
                    excludes.write_text("\n".join(ours))
                    options += ("--excludes", str(excludes))
                reason = _install(draft, [*options, *packages])
                if reason:
                    self.failures[name] = reason
                else:
                    draft.rename(folder)
        if name in self.failures:
            pytest.skip(f"NOT TESTED WITH {name.upper()}: uv cannot install it: {self.failures[name]}")
        return folder


def _install(folder: Path, arguments: Sequence[str]) -> str | None:
    """Install into a new folder, from wherever uv finds packages; return what kept it from that, if so."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        return "there is no uv; pip install uv"
    options = ("--quiet", "--no-progress", "--only-binary", ":all:")
    done = subprocess.run(
        [uv, "pip", "install", *options, "--python", sys.executable, "--target", str(folder), *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        # A busy machine is slow to read what it downloads. Connecting has a timeout of its own, which stays short.
        env={"UV_HTTP_TIMEOUT": str(PATIENCE_SECONDS), "UV_HTTP_RETRIES": "1"} | OUTER_ENVIRONMENT,
    )
    return None if done.returncode == 0 else " ".join(done.stderr.split()) or f"uv ended with {done.returncode}"


def cache_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that stays from one session to the next or, where that cannot be, lasts for this one."""
    cache = getattr(request.config, "cache", None)  # there is none with `-p no:cacheprovider`
    if cache is not None:
        with suppress(OSError):
            return Path(cache.mkdir(name))
    return tmp_path_factory.mktemp(name)
