"""Standard streams that are full, closed or broken: messages decide nothing, and lost output is named.

Only processes have such streams.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.support.builders import TRUNK
from tests.support.runs import COMMAND, PATIENCE_SECONDS, query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.api import Api
    from tests.support.fixtures import Begin

FULL = "standard output cannot be written (No space left on device)"
RUN = ["run", "--no-reports"]
READERS: list[tuple[list[str], int]] = [
    (["status"], 0),
    (["status", "--json"], 0),
    (["report"], 0),
    (["report", "counts", "--format", "csv"], 0),
    (["report", "--format", "xlsx"], 0),
    (["audit", "--fail-on", "info"], 10),
    (["sql", "FROM range(20000)", "--format", "json"], 0),
    (["check"], 0),
    (["rules"], 0),
    (["--help"], 0),
    (["--version"], 0),
    (["report", "--help"], 0),
]


@contextmanager
def stream(kind: str) -> Iterator[IO[Any]]:
    """Yield a stream that cannot be written."""
    if kind == "full":
        with Path("/dev/full").open("w") as file:
            yield file
    else:
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as file:
            yield file


def call_into(name: str, kind: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Call the command with one stream that cannot be written, and the other one captured."""
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if kind == "closed":
        arguments = ["sh", "-c", f'"$@" {1 if name == "stdout" else 2}>&-', "sh", COMMAND, *arguments]
        return subprocess.run(arguments, text=True, errors="replace", timeout=PATIENCE_SECONDS, **streams)
    with stream(kind) as file:
        return subprocess.run(
            [COMMAND, *arguments], text=True, errors="replace", timeout=PATIENCE_SECONDS, **streams | {name: file}
        )


@pytest.mark.parametrize("kind", ["full", "closed", "broken"])
def test_messages_that_cannot_be_written_do_not_change_a_run(kind: str, api: Api, place: Path) -> None:
    api.answer([TRUNK])
    assert call_into("stderr", kind, RUN).returncode == 0
    assert query("SELECT count(*) FROM sip_trunks") == [(1,)]
    api.answer(b"", 401)
    assert call_into("stderr", kind, RUN).returncode == 3
    assert json.loads((place / "data" / "state" / "last_run.json").read_text())["exit_code"] == 3


@pytest.mark.parametrize("kind", ["full", "closed", "broken"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--log-format", "json"]])
def test_an_unwritable_result_is_published_and_reported(kind: str, options: list[str], api: Api, place: Path) -> None:
    api.answer([TRUNK])
    done = call_into("stdout", kind, [*RUN, *options])
    assert done.returncode == (7 if kind == "full" else 0)
    assert query("SELECT count(*) FROM sip_trunks") == [(1,)]
    assert json.loads((place / "data" / "state" / "last_run.json").read_text())["exit_code"] == 0
    assert "1 loaded" in done.stderr
    assert (f"{FULL}; the loaded data is published" in done.stderr) == (kind == "full")
    api.answer(b"", 401)
    failed = call_into("stdout", kind, [*RUN, *options])
    assert failed.returncode == 3
    assert "published" not in failed.stderr
    assert "Traceback" not in done.stderr + failed.stderr


@pytest.mark.parametrize(("arguments", "code"), READERS)
def test_lost_output_is_reported_and_a_check_keeps_its_exit_code(arguments: list[str], code: int, begin: Begin) -> None:
    begin(TRUNK | {"country_code": "nowhere"})
    full, closed, broken = (call_into("stdout", kind, arguments) for kind in ("full", "closed", "broken"))
    assert (full.returncode, closed.returncode, broken.returncode) == (code or 7, code, code)
    assert [line for line in full.stderr.splitlines() if "standard output" in line] == [f"sip-trunks: {FULL}"]
    assert "standard output" not in closed.stderr + broken.stderr
    assert all("Exception" not in done.stderr for done in (full, closed, broken))


@pytest.mark.parametrize("kind", ["full", "closed", "broken"])
@pytest.mark.parametrize(("arguments", "code"), [READERS[0], READERS[5]])
def test_messages_that_cannot_be_written_do_not_change_a_command(
    kind: str, arguments: list[str], code: int, begin: Begin
) -> None:
    begin(TRUNK | {"country_code": "nowhere"})
    done = call_into("stderr", kind, arguments)
    assert done.returncode == code
    assert done.stdout
