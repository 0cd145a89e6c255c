"""Secrets stay secret: not in a file, not on a stream, not in a traceback, whatever goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.builders import TRUNK, trunk
from tests.conftest import TOKEN

if TYPE_CHECKING:
    from tests.conftest import Api

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
SECRETS = [f"s3cr3t-value-{n}" for n in range(6)]
LEAKY = trunk(
    password=SECRETS[0],
    sipPassword=SECRETS[1],
    auth={"nested": [{"api_key": SECRETS[2], "realm": "fine"}]},
    sip_address={"token": SECRETS[3]},
    allowed_inbound_ips=[{"client_secret": SECRETS[4]}],
    tags=[[{"PIN": SECRETS[5]}]],
)


def assert_nowhere(place: Path, *streams: str) -> None:
    files = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    for secret in (TOKEN, *SECRETS):
        assert secret.encode() not in files
        for stream in streams:
            assert secret not in stream


@pytest.fixture(autouse=True)
def loud(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "--debug", "run", *options], capture_output=True, text=True)


def test_nothing_secret_is_in_any_file_or_stream_after_a_run(api: Api, place: Path) -> None:
    api.answer([TRUNK, LEAKY | {"id": 43}])
    done = run("--json")
    assert done.returncode == 0, done.stderr
    dropped = [
        d["column_name"] for d in json.loads(done.stdout)["accounts"][0]["drift"] if d["kind"] == "secret_dropped"
    ]
    assert sorted(dropped) == ["allowed_inbound_ips", "auth", "password", "sip_address", "sip_password", "tags"]
    assert_nowhere(place, done.stdout, done.stderr)
    described = subprocess.run([COMMAND, "status", "--json"], capture_output=True, text=True)
    assert_nowhere(place, described.stdout)
    assert (
        "fine" in subprocess.run([COMMAND, "sql", "SELECT auth FROM sip_trunks"], capture_output=True, text=True).stdout
    )


@pytest.mark.parametrize("stage", ["reading", "loading", "publishing"])
def test_nothing_secret_is_left_by_a_run_that_was_killed(api: Api, place: Path, stage: str) -> None:
    api.answer([LEAKY])
    process = subprocess.Popen([COMMAND, "run"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if stage in line:
                time.sleep(0.5 if stage == "loading" else 0)
                process.kill()
        process.wait(10)
    assert_nowhere(place)


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b'{"message": "' + SECRETS[0].encode() + b'"}', 401), (SECRETS[0].encode(), 200), (b'{"data": [1]}', 500)],
)
def test_nothing_secret_is_in_the_message_or_traceback_of_a_failure(
    api: Api, place: Path, answer: bytes, status: int
) -> None:
    api.answer(answer, status)
    done = run()
    assert done.returncode in (3, 4, 5)
    assert_nowhere(place, done.stdout, done.stderr)


def test_nothing_secret_is_in_the_traceback_of_a_failed_load(api: Api, place: Path) -> None:
    api.answer([LEAKY])
    (place / "data").mkdir()
    (place / "data" / "warehouse.duckdb").write_bytes(b"no database at all" * 100)
    done = run()
    assert done.returncode == 7
    assert "Traceback" in done.stderr
    assert_nowhere(place, done.stdout, done.stderr)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="NOT TESTED: process titles, no /proc here")
def test_nothing_secret_is_in_the_process_title(api: Api) -> None:
    api.answer(b"", 503, Retry_After="20")
    process = subprocess.Popen([COMMAND, "run"], stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stderr is not None
    with process.stderr:
        assert any("attempt 2" in line for line in process.stderr)
        title = Path(f"/proc/{process.pid}/cmdline").read_text()
        process.kill()
        process.wait(10)
    assert TOKEN not in title
