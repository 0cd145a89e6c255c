"""Commands as processes: what only a terminal, a pipe, a signal or another user can show."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.processes import wait_until_it_computes, wait_until_it_has_open
from tests.support.runs import COMMAND, PATIENCE_SECONDS, as_ordinary_user, call, load, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.fixtures import Begin

pytestmark = pytest.mark.usefixtures("place")


def on_a_terminal(*arguments: str, columns: int = 80) -> str:
    """Return what a command shows on a terminal that nobody types on."""
    command = f"stty cols {columns}; {shlex.join([COMMAND, *arguments])}"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_SECONDS,
        # `script` takes its shell from the environment, and COLUMNS would be believed before the terminal.
        env=os.environ | {"NO_COLOR": "1", "TERM": "dumb", "SHELL": "/bin/sh", "COLUMNS": str(columns)},
    )
    return done.stdout


def test_a_run_proposes_commands_that_can_be_called(api: Api) -> None:
    """What is proposed depends on the name by which the process was started."""
    api.answer([TRUNK, IP_TRUNK])
    done = start("run")
    assert done.returncode == 0, done.stderr
    proposed = done.stdout.split("try next\n")[1].splitlines()
    assert len(proposed) > 3
    for line in proposed:
        program, *arguments = shlex.split(line)
        assert shutil.which(program), line
        call(*arguments)


@pytest.mark.parametrize("arguments", [[], ["nope"], ["run", "--nope"]])
def test_a_usage_error_is_the_exit_code_of_the_process(arguments: list[str]) -> None:
    done = start(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_failure_is_the_exit_code_of_the_process(api: Api) -> None:
    api.answer(b"", 401)
    done = start("run", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["accounts"][0]["exit_code"] == 3


def test_a_process_exits_without_garbage_collection_but_runs_its_exit_handlers() -> None:
    code = """
import atexit, gc, sys
from sip_trunks.__main__ import main
atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000))
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code, "rules"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.endswith("\nFalse True\n")


# ---------------------------------------------------------------------- terminals and encodings


def test_rows_too_wide_for_the_terminal_are_shown_line_by_line(begin: Begin) -> None:
    begin(TRUNK)
    shown = on_a_terminal("sql", "FROM sip_trunks")
    assert "phone_number                1000" in shown
    assert "country_code                US" in shown


def test_every_report_fits_the_width_of_the_terminal(api: Api, begin: Begin) -> None:
    begin(TRUNK, IP_TRUNK)
    api.answer([IP_TRUNK | {"allowed_inbound_ips": ["0.0.0.0/0"]}, trunk(id=47, sip_username="lindner-47")])
    assert load().exit_code == 0
    names = ["growth", "counts", "freshness", "overview", "audit", "changes"]
    lines = on_a_terminal("report", *names).splitlines()
    begins = [lines.index(name) for name in names]
    assert all(end - begin > 2 for begin, end in pairwise([*begins, len(lines)]))
    assert max(map(len, lines)) <= 80


def test_a_picture_is_not_written_to_a_terminal(begin: Begin) -> None:
    begin(TRUNK)
    assert "--output FILE" in on_a_terminal("report", "counts", "--format", "png")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_letter_that_an_encoding_lacks_is_substituted(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    begin(trunk(sip_username="Zo\u00eb \u4e2d"))
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    command = [COMMAND, "sql", "SELECT sip_username, NULL AS nothing FROM sip_trunks"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0
    assert b"?" in done.stdout


# ---------------------------------------------------------------------- pipes


def test_a_pipe_that_closes_early_is_not_an_error(begin: Begin) -> None:
    begin(*(trunk(id=n, sip_username="u" * 100) for n in range(5000)))
    pipe = f"{shlex.quote(COMMAND)} sql 'FROM sip_trunks' | head -1"
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_reader_that_leaves_early_does_not_turn_a_failing_audit_into_a_success(begin: Begin) -> None:
    begin(TRUNK, IP_TRUNK | {"allowed_inbound_ips": ["0.0.0.0/0"]})
    for options, code in ((["--fail-on", "info"], 10), ([], 0)):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [COMMAND, "audit", *options],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (code, "")


def test_parquet_goes_through_a_pipe(begin: Begin) -> None:
    begin(TRUNK, IP_TRUNK)
    command = [COMMAND, "sql", "FROM sip_trunks", "--format", "parquet"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS)
    assert pq.read_table(io.BytesIO(done.stdout))["id"].to_pylist() == [42, 43]


# ---------------------------------------------------------------------- another user


def test_status_works_for_a_user_who_may_only_read(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    # Only a user whom permissions bind is kept from writing by them.
    data = [place / "data", *(place / "data").rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in data}
    for path in reversed(data):
        path.chmod(modes[path] & ~0o222)
    try:
        status, written = (
            subprocess.run(as_ordinary_user(command), capture_output=True, text=True, timeout=PATIENCE_SECONDS)
            for command in ([COMMAND, "status"], ["touch", str(place / "data" / "file")])
        )
    finally:
        for path in data:
            path.chmod(modes[path])
    assert written.returncode, "nothing was read-only"
    assert status.returncode == 0, status.stderr
    assert re.search(r"^default ", status.stdout, flags=re.MULTILINE)


# ---------------------------------------------------------------------- signals


def test_a_data_directory_that_cannot_be_written_is_one_message(begin: Begin, place: Path) -> None:
    """Only a process without root's privileges is bound by permissions."""
    begin(TRUNK)
    (place / "locked").mkdir(mode=0o500)
    folders = {"locked": "locked/state cannot be created or used: Permission denied", "data": "data/state/run.lock"}
    for path in [place / "data", *(place / "data").rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    for folder, said in folders.items():
        command = as_ordinary_user([COMMAND, "run", "--data-dir", folder])
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert done.returncode == 7
        (line,) = done.stderr.splitlines()
        assert said in line
        assert "data_dir" in line or "--data-dir" in line


def test_a_query_can_be_interrupted(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    process = subprocess.Popen(
        [COMMAND, "sql", "SELECT count(*) FROM range(10000000000) a, range(1000000000) b"],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_it_has_open(process.pid, place / "data" / "warehouse.duckdb")
    wait_until_it_computes(process.pid)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, "stopped" in printed) == (130, True)


def test_the_demo_api_serves_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([COMMAND, "demo-api", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        base_url = process.stdout.readline().split("is at ")[1].split()[0]
        command = process.stdout.readline().strip()
        assert base_url in command
        monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", base_url)
        monkeypatch.setenv("FAMULOR_API_KEY", "demo-token")
        assert json.loads(call("run", "--json", "--no-reports"))["accounts"][0]["trunk_count"] == 50
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_does_not_wait_for_the_api_and_leaves_the_stored_file(
    api: Api, begin: Begin, place: Path, sent: signal.Signals, code: int
) -> None:
    begin(TRUNK)
    stored = (place / "data" / "warehouse.duckdb").read_bytes()
    api.answer(b"{}", 503, Retry_After="500")
    process = subprocess.Popen([COMMAND, "run", "--no-reports"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        assert any("attempt 2" in line for line in process.stderr)
        asked = len(api.requests)
        process.send_signal(sent)
        assert process.wait(PATIENCE_SECONDS) == code
        assert "stopped" in process.stderr.read()
    # It ended instead of waiting for the time that the API had named and asking once more.
    assert len(api.requests) == asked
    assert (place / "data" / "warehouse.duckdb").read_bytes() == stored
    api.answer([TRUNK, IP_TRUNK])
    assert "1 new" in call("run", "--no-reports")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sched"], ["schedule"]),
        (["report", "cov"], ["coverage"]),
        (["rules", "allowlist-o"], ["allowlist-open", "allowlist-outlier"]),
        (["audit", "--select", "allowlist-op"], ["allowlist-open"]),
        (["schedule", "install", "--ev"], ["--every"]),
    ],
)
def test_bash_completes_commands_options_and_names(typed: list[str], offered: list[str]) -> None:
    code = f"{call('completion', 'bash')}\nCOMP_WORDS=(sip-trunks {shlex.join(typed)}); COMP_CWORD={len(typed)}"
    done = subprocess.run(["bash", "-c", f'{code}; _shtab_sip_trunks; echo "${{COMPREPLY[@]}}"'], capture_output=True)
    assert done.stdout.decode().split() == offered
