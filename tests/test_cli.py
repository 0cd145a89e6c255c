"""The commands as a user calls them: their output, their exit codes, and what they import."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.cli import main
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.builders import IP_TRUNK, TRUNK, trunk
from tests.conftest import TOKEN

if TYPE_CHECKING:
    from tests.conftest import Api, Begin

pytestmark = pytest.mark.usefixtures("place")

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))


def call(*arguments: str, code: int = 0) -> str:
    """Run the command in this process and return what it printed; on failure, the one line on standard error.

    What only a process can show - signals, pipes, imports, another user - has one of its own.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            returned = main(arguments)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    printed, errors = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert returned == code, errors
    assert "Traceback" not in errors + printed
    assert TOKEN not in errors + printed
    if code:
        assert errors.splitlines()[-1].startswith("sip-trunks: ")
        return errors.splitlines()[-1]
    return printed


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process."""
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60)


def load(with_reports: bool = False) -> None:
    """Store what the API answers; tests about `run` call it."""
    settings = read_settings()
    assert run(settings, pick_accounts(settings, []), with_reports=with_reports).exit_code == 0


def modules_of(*arguments: str) -> set[str]:
    """Return the names of the modules that a command imports."""
    code = "import sys; from pipelines.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print('\\n', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"dlt", "pandas", "pyarrow", "numpy"}


def test_the_light_commands_import_nothing_heavy(api: Api) -> None:
    api.answer([TRUNK])
    load(with_reports=True)
    assert not (HEAVY | {"duckdb", "urllib3"}) & modules_of("--help")
    asking = {"urllib3", "ssl", "pipelines.load"}
    for command, unwanted in (
        (["status"], HEAVY | asking),
        (["drift"], HEAVY),
        (["sql", "SELECT count(*) FROM sip_trunks"], HEAVY | asking),
        (["describe"], HEAVY | asking),
        (["describe", "sip_trunks"], HEAVY),
        (["run"], HEAVY),
    ):
        assert not unwanted & modules_of(*command), command
    assert "dlt" not in modules_of("report", "counts")


def test_a_run_without_reports_imports_no_pandas(api: Api) -> None:
    api.answer([TRUNK])
    modules = modules_of("run", "--no-reports")
    assert "dlt" in modules
    assert "pandas" not in modules


def test_a_run_says_what_it_did_and_what_to_try_next(api: Api) -> None:
    api.answer([TRUNK, IP_TRUNK, trunk(id=44, new_field="x")])
    done = start("run")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "account    default" in out
    assert "trunks     3: 3 new, 0 changed, 0 removed since the last run" in out
    assert "new_field: not declared, stored as text (new_column, 1 record)" in out
    assert "warehouse.duckdb" in out
    assert "+e164" in out
    for line in out.split("try next\n")[1].splitlines():
        program, *arguments = shlex.split(line)
        assert shutil.which(program), line
        call(*arguments)


def test_the_outcome_as_json_has_all_of_it(api: Api) -> None:
    api.answer([TRUNK])
    outcome = json.loads(call("run", "--json"))
    assert outcome["exit_code"] == 0
    assert outcome["accounts"][0] | {"drift": None} == {
        "account": "default",
        "status": "loaded",
        "trunk_count": 1,
        "new_count": 1,
        "changed_count": 0,
        "removed_count": 0,
        "drift_count": 0,
        "drift": None,
        "error": None,
        "exit_code": 0,
    }


@pytest.mark.parametrize(("status", "code"), [(401, 3), (403, 3), (404, 3), (500, 4), (429, 4), (204, 5)])
def test_what_the_api_says_becomes_the_exit_code(api: Api, status: int, code: int) -> None:
    api.answer(b"{}" if status != 204 else b"", status)
    line = call("run", code=code)
    assert "default" in line


def test_no_token_says_how_to_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    assert "FAMULOR_API_KEY" in call("run", code=2)
    assert "--demo" in call("run", "--account", "acme", code=2)


def test_an_unreachable_api_is_named_after_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", "http://127.0.0.1:1/api")
    assert "after 5 attempts" in call("run", code=4)


def test_a_failure_is_json_too_where_json_was_asked_for(api: Api) -> None:
    api.answer(b"", 401)
    done = start("run", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["accounts"][0]["exit_code"] == 3


def test_the_demo_moves_from_run_to_run_and_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    monkeypatch.delenv("SOURCES__FAMULOR__BASE_URL")
    first, second = (json.loads(call("run", "--demo", "--json"))["accounts"][0] for _ in range(2))
    assert first["account"] == "demo"
    assert first["new_count"] == first["trunk_count"] == 50
    assert first["drift_count"] == second["drift_count"] == 0
    assert min(second["new_count"], second["changed_count"], second["removed_count"]) > 0
    counts = json.loads(
        call("sql", "SELECT count(*) AS n, count(valid_to) AS closed FROM sip_trunks_history", "--format", "json")
    )
    assert counts[0]["n"] == 50 + second["new_count"] + second["changed_count"]
    assert counts[0]["closed"] == second["removed_count"] + second["changed_count"]


@pytest.mark.parametrize("command", [["sql", "SELECT 1"], ["report"], ["report", "counts"]])
def test_reading_before_the_first_run_says_what_to_do(command: list[str]) -> None:
    assert "sip-trunks run" in call(*command, code=2)
    assert not (Path("data") / "warehouse.duckdb").exists()


def test_sql_reads_and_never_writes(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    assert json.loads(call("sql", "SELECT id, created_at FROM sip_trunks", "--format", "json")) == [
        {"id": 42, "created_at": "2026-03-31T10:00:00Z"}
    ]
    for statement in (
        "CREATE TABLE x (a INT)",
        "DELETE FROM famulor.sip_trunks",
        "DROP VIEW sip_trunks",
        f"COPY sip_trunks TO '{place}/out.csv'",
        f"ATTACH '{place}/other.duckdb'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ):
        assert "SQL: " in call("sql", statement, code=2)
    assert sorted(path.name for path in place.iterdir()) == ["data"]


@pytest.mark.parametrize("query", ["", " ; ", "-- nothing", "SELECT 1; SELECT 2"])
def test_sql_takes_exactly_one_statement(begin: Begin, query: str) -> None:
    begin(TRUNK)
    assert "expected one statement" in call("sql", query, code=2)


def test_sql_shows_every_column_and_json_as_json(begin: Begin) -> None:
    begin(IP_TRUNK)
    (row,) = json.loads(
        call("sql", "SELECT 1 AS a, 2 AS a, 3 AS a_2, allowed_inbound_ips AS ips FROM sip_trunks", "--format", "json")
    )
    assert row == {"a": 1, "a_2": 2, "a_2_2": 3, "ips": ["203.0.113.10", "198.51.100.20"]}
    assert "(no rows)" in call("sql", "SELECT 1 WHERE false")


def test_a_moment_is_printed_so_that_it_can_be_asked_for(begin: Begin) -> None:
    begin(TRUNK)
    moment = call("sql", "SELECT min(snapshot_at) AS at FROM sip_trunk_snapshots").splitlines()[1]
    found = call("sql", f"SELECT count(*) AS n FROM sip_trunks_history WHERE valid_from = TIMESTAMPTZ '{moment}'")
    assert found.split() == ["n", "1"]


def test_a_terminal_gets_what_is_too_wide_for_a_table_line_by_line(begin: Begin) -> None:
    begin(TRUNK)
    done = subprocess.run(
        ["script", "-qec", f"{COMMAND} sql 'FROM sip_trunks'", "/dev/null"],
        capture_output=True,
        text=True,
        env=dict(os.environ) | {"COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
    )
    assert "phone_number                1000" in done.stdout
    assert "country_code                US" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_a_letter_gets_a_substitute(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    begin(trunk(sip_username="Zo\u00eb \u4e2d"))
    done = subprocess.run([COMMAND, "sql", "SELECT sip_username, NULL AS nothing FROM sip_trunks"], capture_output=True)
    assert done.returncode == 0


def test_reports_are_written_again_after_a_run_without(api: Api) -> None:
    api.answer([TRUNK])
    call("run", "--no-reports")
    assert "reports" in call("sql", "FROM reports.counts", code=2)
    assert "the last one" in call("run")
    assert "+e164" in call("sql", "FROM reports.counts")
    call("run", "--no-reports")
    assert "+e164" in call("sql", "FROM reports.counts")


def test_a_syntax_error_is_what_duckdb_says_on_one_line(begin: Begin) -> None:
    begin(TRUNK)
    assert 'syntax error at or near "SELEC"' in call("sql", "SELEC 1", code=2)


def test_csv_is_safe_for_spreadsheets_unless_raw(begin: Begin) -> None:
    begin(TRUNK, IP_TRUNK)
    query = ["sql", "SELECT phone_number, sip_calling_format FROM sip_trunks ORDER BY id", "--format", "csv"]
    assert call(*query) == "phone_number,sip_calling_format\n1000,'+e164\n'+14155551234,e164\n"
    assert call(*query, "--raw") == "phone_number,sip_calling_format\n1000,+e164\n+14155551234,e164\n"


def test_escape_sequences_from_the_api_do_not_reach_the_terminal(api: Api) -> None:
    api.answer([trunk(sip_username="\u001b[31mred\u001b[0m\u202e", sip_calling_format="\u001b]0;title\u0007")])
    out = call("run") + call("sql", "SELECT * FROM sip_trunks") + call("report", "counts")
    assert "\u001b" not in out
    assert "\u202e" not in out


def test_counts_by_any_columns(begin: Begin) -> None:
    begin(TRUNK, IP_TRUNK, trunk(id=44, country_code=None))
    assert json.loads(call("report", "counts", "--by", "country_code", "--format", "json")) == [
        {"country_code": "US", "country_name": "United States", "trunk_count": 2, "share_pct": 66.67},
        {"country_code": None, "country_name": None, "trunk_count": 1, "share_pct": 33.33},
    ]
    assert "total: 3 trunks" in call("report", "counts", "--by", "outbound_proxy", "inbound_authorization_type")
    assert "_dlt_load_id" in call("report", "counts", "--by", "_dlt_load_id")
    assert "no column 'nope'" in call("report", "counts", "--by", "nope", code=2)
    assert "no report named 'nope'" in call("report", "nope", code=2)


def test_status_shows_an_account_that_never_came(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    api.queue([TRUNK])
    api.queue(b"", 401)
    done = start("run", "--no-reports")
    assert done.returncode == 8
    assert "account    beta\nfailed     " in done.stdout
    assert "never seen" in call("status")


def test_status_works_for_a_user_who_may_only_read(begin: Begin, place: Path) -> None:
    if os.geteuid():
        pytest.skip("NOT TESTED: another user, since only root may become one")
    begin(TRUNK)
    for path in (place, *place.parents[:3]):
        path.chmod(0o755)
    # The first call imports what the other user may not be allowed to read.
    code = "import os; from pipelines.cli import main\nmain(['status'])\nos.setuid(65534)\nexit(main(['status']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^default ", done.stdout, flags=re.MULTILINE)) == 2


def test_status_tells_what_is_stored_and_how_the_last_run_ended(api: Api, begin: Begin) -> None:
    empty = json.loads(call("status", "--json"))
    assert (empty["accounts"][0]["snapshot_at"], empty["last_run"], empty["is_run_active"]) == (None, None, False)
    assert "never seen" in call("status")
    begin(TRUNK)
    api.answer(b"", 401)
    call("run", code=3)
    status = json.loads(call("status", "--json"))
    assert status["accounts"][0]["trunk_count"] == 1
    assert status["last_run"]["exit_code"] == 3
    assert "does not accept the token" in status["last_run"]["error"]
    assert "exit code 3" in call("status")


def test_drift_tells_since_when_and_what_is_over(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    assert "no drift" in call("drift")
    api.answer([trunk(sip_calling_format="E.164"), trunk(id=43, sip_calling_format="E.164")])
    first = json.loads(call("run", "--json"))
    second = json.loads(call("run", "--json"))
    assert (second["accounts"][0]["status"], second["accounts"][0]["drift_count"]) == ("unchanged", 1)
    (seen,) = json.loads(call("drift", "--format", "json"))
    assert (seen["column_name"], seen["kind"], seen["row_count"], seen["is_current"]) == (
        "sip_calling_format",
        "unknown_value",
        2,
        True,
    )
    assert (seen["first_seen_at"], seen["last_seen_at"]) == (first["snapshot_at"], second["snapshot_at"])
    assert second["accounts"][0]["drift"][0]["first_seen_at"] == first["snapshot_at"]
    assert "still drifting" in call("status")
    api.answer([TRUNK])
    load()
    assert "still drifting" not in call("status")
    assert "no drift" in call("drift")
    (over,) = json.loads(call("drift", "--since", "2026-01-01", "--format", "json"))
    assert over["is_current"] is False
    assert "no drift" in call("drift", "--since", "2999-01-01")


def test_strict_drift_fails_before_anything_is_written(api: Api, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(TRUNK)
    monkeypatch.setenv("SIP_TRUNKS__DRIFT", "strict")
    api.answer([TRUNK | {"nickname": "x"}])
    assert "nickname" in call("run", code=5)
    assert json.loads(call("sql", "SELECT count(*) AS n FROM sip_trunk_snapshots", "--format", "json")) == [{"n": 1}]
    monkeypatch.setenv("SIP_TRUNKS__DRIFT", "report")
    assert "nickname" in call("run", "--no-reports")


def test_check_says_what_is_ready_and_what_is_not(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer([TRUNK])
    assert "ok    account default: token accepted, 1 trunks" in call("check")
    api.answer(b"", 401)
    done = start("check")
    assert (done.returncode, "FAIL  account default" in done.stdout) == (3, True)
    monkeypatch.delenv("FAMULOR_API_KEY")
    done = start("check")
    assert (done.returncode, "FAIL  token" in done.stdout) == (2, True)


def test_describe_knows_declared_and_new_columns(begin: Begin) -> None:
    begin(TRUNK | {"nickname": "x"})
    out = call("describe", "sip_trunks")
    assert "Host of the SIP server" in out
    assert "nickname" in out
    assert set(json.loads(call("describe", "--format", "json"))) >= {"sip_trunks", "sip_trunks_history", "schema_drift"}
    assert "| `id` | BIGINT |" in call("describe", "sip_trunks", "--format", "markdown")
    assert "nothing is named 'nope'" in call("describe", "nope", code=2)


def test_a_port_that_is_taken_is_a_usage_error(api: Api) -> None:
    assert "--port" in call("demo-api", "--port", api.origin.rpartition(":")[2], code=2)


def test_a_query_can_be_interrupted(begin: Begin) -> None:
    begin(TRUNK)
    process = subprocess.Popen(
        [COMMAND, "sql", "SELECT count(*) FROM range(10000000000) a, range(1000000000) b"],
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=10)
    assert (process.returncode, "stopped" in printed) == (130, True)


def test_usage_errors_exit_with_2() -> None:
    for arguments in (
        [],
        ["nope"],
        ["run", "--demo", "--account", "x"],
        ["run", "--nope"],
        ["demo-api", "--port", "70000"],
    ):
        done = start(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_the_demo_api_serves_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([COMMAND, "demo-api", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    base_url = process.stdout.readline().split("answers at ")[1].split()[0]
    command = process.stdout.readline().strip()
    assert base_url in command
    monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", base_url)
    monkeypatch.setenv("FAMULOR_API_KEY", "demo-token")
    assert json.loads(call("run", "--json"))["accounts"][0]["trunk_count"] == 50
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 0
    process.stdout.close()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_ends_soon_and_leaves_the_stored_file(
    api: Api, begin: Begin, place: Path, sent: int, code: int
) -> None:
    begin(TRUNK)
    stored = (place / "data" / "warehouse.duckdb").read_bytes()
    api.answer(b"{}", 503, Retry_After="30")
    process = subprocess.Popen(
        [COMMAND, "run", "--no-reports"], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stderr is not None
    assert any("attempt 2" in line for line in process.stderr)
    started = time.monotonic()
    process.send_signal(sent)
    assert process.wait(5) == code
    assert time.monotonic() - started < 5
    assert "stopped" in process.stderr.read()
    process.stderr.close()
    assert (place / "data" / "warehouse.duckdb").read_bytes() == stored
    api.answer([TRUNK, IP_TRUNK])
    assert "1 new" in call("run", "--no-reports")


def test_it_works_from_any_directory_with_the_settings_of_the_project(
    api: Api, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    project, elsewhere = place / "project", place / "elsewhere"
    (project / ".dlt").mkdir(parents=True)
    elsewhere.mkdir()
    (project / ".dlt" / "secrets.toml").write_text(
        f'[sources.famulor]\napi_token = "{TOKEN}"\nbase_url = "{api.base_url}"\n'
    )
    (project / ".dlt" / "config.toml").write_text('[sip_trunks]\ndata_dir = "store"\n')
    for name in ("FAMULOR_API_KEY", "SOURCES__FAMULOR__BASE_URL", "SIP_TRUNKS__DATA_DIR"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(project)
    api.answer([TRUNK])
    load()
    assert (project / "store" / "warehouse.duckdb").exists()
    assert api.requests[-1][1]["Authorization"] == f"Bearer {TOKEN}"


def test_a_pipe_that_closes_early_is_no_error(begin: Begin) -> None:
    begin(*(trunk(id=n, sip_username="u" * 100) for n in range(5000)))
    done = subprocess.run(f"{COMMAND} sql 'FROM sip_trunks' | head -1", shell=True, capture_output=True, text=True)
    assert done.stderr == ""
