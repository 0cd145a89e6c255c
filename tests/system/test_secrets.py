"""Secrets stay secret: not in a file, not on a stream, not in a traceback, whatever goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.builders import TRUNK, trunk
from tests.support.kills import KILLED, kill_at
from tests.support.runs import COMMAND, PATIENCE_SECONDS, TOKEN, start

if TYPE_CHECKING:
    from tests.support.api import Api

SECRETS = [f"s3cr3t-value-{n}" for n in range(6)]
LEAKY = trunk(
    zz_password=SECRETS[0],
    zzSipPassword=SECRETS[1],
    zz_nested={"members": [{"api_key": SECRETS[2], "realm": "fine"}]},
    sip_address={"token": SECRETS[3]},
    allowed_inbound_ips=[{"client_secret": SECRETS[4]}],
    zz_listed=[[{"PIN": SECRETS[5]}]],
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
    return start("--debug", "run", *options)


def test_nothing_secret_is_in_any_file_or_stream_after_a_run(api: Api, place: Path) -> None:
    api.answer([TRUNK, LEAKY | {"id": 43}])
    done = run("--json")
    assert done.returncode == 0, done.stderr
    dropped = [
        d["column_name"] for d in json.loads(done.stdout)["accounts"][0]["drift"] if d["kind"] == "secret_dropped"
    ]
    assert sorted(dropped) == [
        "allowed_inbound_ips",
        "sip_address",
        "zz_listed",
        "zz_nested",
        "zz_password",
        "zz_sip_password",
    ]
    assert_nowhere(place, done.stdout, done.stderr)
    assert_nowhere(place, start("status", "--json").stdout)
    assert "fine" in start("sql", "SELECT zz_nested FROM sip_trunks").stdout


@pytest.mark.parametrize("stage", ["reading", "writing reports", "publishing"])
def test_nothing_secret_is_left_by_a_run_that_was_killed(api: Api, place: Path, stage: str) -> None:
    api.answer([LEAKY])
    assert kill_at(stage, 0) in (0, KILLED)
    assert_nowhere(place)


def test_nothing_secret_is_left_by_a_run_that_was_killed_while_dlt_loads(api: Api, place: Path) -> None:
    """Only then the trunks lie in files of dlt's own."""
    api.answer([LEAKY])
    while kill_at("loading", 0, until=lambda: has_files_to_load(place)) != KILLED or not has_files_to_load(place):
        # The run was faster than the kill.
        shutil.rmtree(place / "data")
    assert_nowhere(place)


def has_files_to_load(place: Path) -> bool:
    """Whether dlt has written the trunks into a file; its folders come and go, which os.walk does not mind."""
    for folder, _, names in os.walk(place / "data" / "state" / "dlt"):
        for name in names:
            with suppress(FileNotFoundError):
                if b"fine" in Path(folder, name).read_bytes():
                    return True
    return False


@pytest.mark.parametrize(
    ("response", "status"),
    [(b'{"message": "' + SECRETS[0].encode() + b'"}', 401), (SECRETS[0].encode(), 200), (b'{"data": [1]}', 500)],
)
def test_nothing_secret_is_in_the_message_or_traceback_of_a_failure(
    api: Api, place: Path, response: bytes, status: int
) -> None:
    api.answer(response, status)
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
    api.answer(b"", 503, Retry_After="500")
    process = subprocess.Popen([COMMAND, "run"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        assert any("attempt 2" in line for line in process.stderr)
        title = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert "run" in title
        process.kill()
        process.wait(PATIENCE_SECONDS)
    assert TOKEN not in title
