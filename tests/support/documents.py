"""The commands of the documents, and what the documents say that they print."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sip_trunks.famulor.demo import DEMO_TOKEN, serve
from tests.support.demo_account import work_in
from tests.support.runs import COMMAND, PATIENCE_SECONDS, PROJECT, call

if TYPE_CHECKING:
    from collections.abc import Iterator

README = PROJECT / "README.md"
DONE_ALREADY = "true"
TRANSLATED = {
    # What the Makefile calls.
    "make demo": "sip-trunks run --demo",
    # The environment that runs this test is the one that these would make.
    "make setup": DONE_ALREADY,
    ". .venv/bin/activate": DONE_ALREADY,
    # What a reader types into it.
    "${EDITOR:-vi} .dlt/secrets.toml": f"sed -i 's/^api_token = .*/api_token = \"{DEMO_TOKEN}\"/' .dlt/secrets.toml",
    # The tests that run now are these.
    "make test": DONE_ALREADY,
    "make test-all": DONE_ALREADY,
    # tests/system/paths/test_notebook.py opens it.
    "make notebook": DONE_ALREADY,
}
OURS = re.compile(r"(?P<settings>([A-Z_]+=\S+ )*)sip-trunks (?P<arguments>[a-z][^|&;<>$`]*)")
"""A command of ours and nothing else: no part of it is for a shell to understand."""


def sessions(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every `$ command` of the console blocks and the lines that it should print."""
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *printed = part.rstrip("\n").split("\n")
            yield command, printed


def python_blocks(document: Path) -> list[str]:
    """Return the blocks of Python of a document."""
    return re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), flags=re.DOTALL)


def matches(printed: list[str], expected: list[str]) -> bool:
    """Whether the first lines printed are those expected, where … stands for anything."""
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in expected]
    return all(re.fullmatch(p, line) for p, line in zip(patterns, printed, strict=False)) and len(printed) >= len(
        expected
    )


def assert_commands_print_what_it_says(document: Path, folder: Path, *, as_processes: bool) -> None:
    """Run the commands of a document, one after the other, in an empty folder.

    As processes they are what they are for a reader. Otherwise our own are called in this process, since each process
    would import everything again.
    """
    shutil.copytree(PROJECT / ".dlt", folder / ".dlt", ignore=shutil.ignore_patterns("secrets.toml"))
    with pytest.MonkeyPatch.context() as patch, serve() as base_url:
        work_in(folder, patch, SOURCES__FAMULOR__BASE_URL=base_url)
        patch.setenv("PATH", f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}")
        for command, expected in sessions(document.read_text("utf-8")):
            line = TRANSLATED.get(command, command).replace("FAMULOR_API_KEY=…", f"FAMULOR_API_KEY={DEMO_TOKEN}")
            printed = _printed_by(line, as_process=as_processes)
            assert matches(printed.splitlines(), expected), f"{command}\n{printed}"


def _printed_by(line: str, *, as_process: bool) -> str:
    ours = OURS.fullmatch(line)
    if ours and not as_process:
        with pytest.MonkeyPatch.context() as patch:
            for setting in ours["settings"].split():
                patch.setenv(*setting.split("=", 1))
            return call(*shlex.split(ours["arguments"]))
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout
