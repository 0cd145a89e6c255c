"""The environments of the competitors: each installed once from its pins, `tests/bench/ways/<name>.txt`, by uv.

`python -m tests.bench.installed` resolves the pins anew from the `.in` file beside them, which says what is wanted and
why. A library that no Python package brings comes from `<name>.npm`. An environment lives below `build/` and is made
again when its pins change. Its bytecode is compiled with it, so that nobody compiles in a run that counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from textwrap import shorten

from tests.bench.serving import PROJECT, say

WAYS = Path(__file__).with_name("ways")
HOME = PROJECT / "build" / "bench-environments"
UV = str(Path(sys.executable).with_name("uv"))
LAST_WORDS = 200  # characters of a reason


@dataclass(frozen=True)
class Missing:
    """Why an environment cannot be had, in one line."""

    reason: str


def install(name: str) -> Path | Missing:
    """Return the folder of programs of the environment, making it if nobody has yet."""
    folder = HOME / name
    mark = folder / ".ready"
    pins, libraries = WAYS / f"{name}.txt", WAYS / f"{name}.npm"
    if not pins.is_file():
        pins = pins.with_suffix(".in")  # nothing fits it; trying says why
    packages = libraries.read_text().split() if libraries.is_file() else []
    # The place counts, too: programs name their interpreter by its path.
    state = sha256(f"{folder}{pins.read_text()}{packages}{sys.version}".encode()).hexdigest()
    if not mark.is_file() or mark.read_text() != state:
        say(f"installing {name}")
        shutil.rmtree(folder, ignore_errors=True)
        python = str(folder / "bin" / "python")
        commands = [
            (UV, "venv", "--quiet", "--python", sys.executable, str(folder)),
            (UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, "-r", str(pins)),
        ]
        if packages:
            commands.append(("npm", "install", "--ignore-scripts", "--prefix", str(folder), *packages))
        for command in commands:
            if reason := _refusal(command):
                return Missing(reason)
        mark.write_text(state)
    return folder / "bin"


def versions(name: str) -> str:
    """Return what the environment was asked for, as `name version, …`."""
    lines = (line.partition("#")[0].strip() for line in (WAYS / f"{name}.in").read_text().splitlines())
    return ", ".join(line.replace("==", " ") for line in lines if line)


def lock() -> None:
    """Resolve the pins of every environment anew; those that cannot be resolved stay as they are."""
    for wanted in sorted(WAYS.glob("*.in")):
        options = ("--quiet", "--upgrade", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate")
        header = ("--custom-compile-command", "python -m tests.bench.installed")
        names = (wanted.name, "--output-file", f"{wanted.stem}.txt")
        reason = _refusal((UV, "pip", "compile", "--python-version", "3.11", *options, *header, *names), cwd=WAYS)
        print(f"{wanted.stem}: {reason or 'resolved'}")


def _refusal(command: tuple[str, ...], cwd: Path = PROJECT) -> str:
    """Run the command; return what kept it from its work, if anything, in one line."""
    # A registry that cannot be reached is no reason to wait for minutes.
    variables = {"UV_HTTP_TIMEOUT": "60", "UV_HTTP_RETRIES": "1"} | dict(os.environ)
    try:
        done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True)
    except FileNotFoundError:
        return f"there is no {Path(command[0]).name}"
    if done.returncode == 0:
        return ""
    words = shorten(done.stderr.replace(f"{PROJECT}/", ""), LAST_WORDS, placeholder=" …")
    return words or f"{Path(command[0]).name} ended with {done.returncode}"


if __name__ == "__main__":
    lock()
