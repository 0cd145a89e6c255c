"""What follows a run: the log of the runs, metrics, news for a webhook, one line that sums it up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipelines.catalog import SeenDrift
from pipelines.cli import main
from pipelines.errors import ApiRefused, Failure, RunActive, SettingsError, Terminated
from pipelines.notify import NotTold, check_address, forget_news, notify
from pipelines.outcome import AccountOutcome, Outcome, RuleFindings
from pipelines.run_log import note_run, summarize, summarize_failure
from pipelines.settings import Settings, prepare_state_dir, read_settings
from pipelines.watch import follow_up_failure
from tests.builders import IP_TRUNK, TRUNK, trunk
from tests.test_cli import COMMAND
from transforms.report_schema import RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Api, Begin

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
SECRET = "s3cret-part-of-the-address"


class Hook:
    """A webhook that answers with `statuses`, then with 200, and remembers what it was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.asked = 0
        self.statuses: list[int] = []
        self.delay = 0.0
        self.is_asked = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.asked += 1
                hook.is_asked.set()
                time.sleep(hook.delay)
                status = hook.statuses.pop(0) if hook.statuses else 200
                if status == 200:
                    assert list(body) == ["text"]
                    hook.texts.append(body["text"])
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{hook.address}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/{SECRET}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self) -> str:
        """Return what was said since this was last asked."""
        said, self.texts[:] = "\n".join(self.texts), []
        return said


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.close()


@pytest.fixture
def told(place: Path, hook: Hook) -> Settings:
    """Settings that name the webhook."""
    settings = replace(read_settings(), notify=hook.address)
    prepare_state_dir(settings)
    return settings


def outcome_of(*accounts: AccountOutcome, exit_code: int = 0, findings: Any = ()) -> Outcome:
    return Outcome(accounts, "duckdb", "place", NOON, NOON, 1.5, None, exit_code, findings=findings)


def tell(settings: Settings, outcome: Outcome) -> None:
    notify(settings, summarize(outcome), outcome, None)


QUIET = AccountOutcome("acme", "unchanged", trunk_count=3)
REFUSED = AccountOutcome("acme", "failed", error="the token of account 'acme' was refused (401)", exit_code=3)


# ---------------------------------------------------------------------- the log


@pytest.mark.parametrize("status", [200, 401])
def test_a_structured_log_has_an_object_in_each_line_and_the_run_in_the_last(
    status: int, api: Api, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer([TRUNK], status)
    code = main(["run", "--no-reports", "--log-format", "json"])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(line.keys() >= {"at", "level", "event", "message"} for line in lines)
    assert all(datetime.fromisoformat(line["at"]).tzinfo for line in lines)
    assert {"run"} == {line["event"] for line in lines[-1:]}
    assert (lines[-1]["exit_code"], code) == (0, 0) if status == 200 else (3, 3)
    assert lines[-1].keys() >= {*RUNS.names, "destination"}
    assert [line["level"] for line in lines].count("error") == (status == 401)
    logged = (place / "data" / "state" / "sip-trunks.log").read_text().splitlines()
    assert [json.loads(line)["message"] for line in logged] == [line["message"] for line in lines]


def test_an_error_that_ends_a_run_is_an_object_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LOG_FORMAT", "json")
    assert main(["run", "--account", "nobody"]) == 2
    summary, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert summary.keys() >= {*RUNS.names, "destination"}
    assert summary.items() >= {"event": "run", "level": "error", "exit_code": 2}.items()
    assert "default" not in summary["error"]
    assert last.items() >= {"event": "error", "level": "error", "exit_code": 2}.items()
    assert "no account named 'nobody'; configured: default" in last["message"]
    monkeypatch.setenv("SIP_TRUNKS__LOG_FORMAT", "xml")
    assert main(["run"]) == 2
    assert "sip_trunks.log_format" in capsys.readouterr().err


def test_a_run_is_summed_up_in_one_line_before_what_went_wrong(
    begin: Begin, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(TRUNK)
    assert main(["run", "--no-reports"]) == 0
    *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"sip-trunks: exit code 0 after \d\.\d s; 0 loaded, 1 unchanged, 0 failed; "
        r"trunks 1 \(0 new, 0 changed, 0 removed\); drift 0",
        last,
    )
    api.answer([], 401)
    assert main(["run", "--no-reports"]) == 3
    *_, summary, last = capsys.readouterr().err.splitlines()
    assert "exit code 3 after" in summary
    assert "does not accept the token" in last


# ---------------------------------------------------------------------- the table


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_the_table_of_runs_has_those_that_failed_and_those_that_were_killed(
    destination: str, begin: Begin, api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    begin(TRUNK, IP_TRUNK)
    state = place / "data" / "state"
    api.answer([], 401)
    assert main(["run", "--no-reports"]) == 3
    assert main(["run", "--account", "nobody"]) == 2
    with (state / "runs.jsonl").open("a") as file:
        file.write('{"destination": "elsewhere", "started_at": "2026-01-01T00:00:00+00:00"}\n[]\n{"destination": "du')
    killed = {"started_at": "2026-03-31T12:00:00.5Z", "destination": destination, "error": "did not end"}
    (state / "last_run.json").write_text(json.dumps(killed | {"exit_code": None}))
    api.answer([TRUNK, IP_TRUNK])
    for _ in range(2):
        assert main(["run", "--no-reports"]) == 0
    rows = read_runs(place, destination)
    assert [(row["exit_code"], row["trunk_count"]) for row in rows] == [
        (None, None), (0, 2), (3, None), (2, None), (0, 2), (0, 2),
    ]  # fmt: skip
    assert [row["unchanged_count"] for row in rows] == [None, 0, 0, None, 1, 1]
    assert rows[0]["error"] == "did not end"
    assert rows[2]["error"].startswith("127.0.0.1")
    assert "default" not in rows[2]["error"]
    assert rows[1]["ended_at"] > rows[1]["started_at"]
    assert rows[5]["version"]


def read_runs(place: Path, destination: str) -> list[dict[str, Any]]:
    files = {"duckdb": "data/warehouse.duckdb", "parquet": "data/lake/famulor/reports/runs.parquet"}
    with duckdb.connect() as reader:
        if destination == "duckdb":
            reader.execute(f"ATTACH '{place / files[destination]}' AS stored (READ_ONLY); USE stored")
        source = "runs" if destination == "duckdb" else f"'{place / files[destination]}'"
        result = reader.execute(f"FROM {source} ORDER BY started_at")
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_the_file_of_runs_stays_short(told: Settings) -> None:
    run = summarize_failure(told, Failure("x" * 1000), NOON)
    for _ in range(400):
        note_run(told, run)
    lines = (told.state_dir / "runs.jsonl").read_text().splitlines()
    assert 100 < len(lines) < 250
    assert {json.loads(line)["started_at"] for line in lines} == {NOON.isoformat()}


def test_old_runs_are_pruned(begin: Begin, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(TRUNK)
    old = summarize(replace(outcome_of(QUIET), started_at=datetime.now(UTC) - timedelta(days=500)))
    note_run(read_settings(), old)
    assert main(["run", "--no-reports"]) == 0
    assert len(read_runs(place, "duckdb")) == 3
    assert main(["prune", "--older-than", "400d", "--yes"]) == 0
    assert re.search(r"^runs +1$", capsys.readouterr().out, re.MULTILINE)
    assert len(read_runs(place, "duckdb")) == 2
    assert main(["run", "--no-reports"]) == 0
    assert len(read_runs(place, "duckdb")) == 3


def test_a_run_has_ended_when_it_was_over_and_not_when_its_row_was_written(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    for _ in range(2):
        assert main(["run", "--no-reports"]) == 0
    noted = [json.loads(line) for line in (place / "data" / "state" / "runs.jsonl").read_text().splitlines()]
    before, *_ = [row for row in read_runs(place, "duckdb") if row["started_at"] == _moment(noted[-2]["started_at"])]
    assert before["ended_at"] == _moment(noted[-2]["ended_at"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_table_of_runs_of_another_release_goes_on(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    with duckdb.connect(str(place / "data" / "warehouse.duckdb")) as writer:
        writer.execute("ALTER TABLE reports.runs DROP COLUMN drift_count")
        writer.execute("ALTER TABLE reports.runs ADD COLUMN weather VARCHAR DEFAULT 'fair'")
    assert main(["run", "--no-reports"]) == 0
    rows = read_runs(place, "duckdb")
    assert [(row["drift_count"], row["trunk_count"]) for row in rows[-1:]] == [(0, 1)]
    assert rows[-1]["weather"] == "fair"


def test_a_reader_that_leaves_early_changes_neither_the_exit_code_nor_the_log(place: Path, api: Api) -> None:
    for answered, code in (([TRUNK], 0), ([], 3)):
        api.answer(answered, 401 if code else 200)
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as nowhere:
            done = subprocess.run([COMMAND, "run", "--no-reports"], stdout=nowhere, stderr=subprocess.PIPE, text=True)
        assert done.returncode == code
        *_, summary = [line for line in done.stderr.splitlines() if "exit code" in line]
        assert f"exit code {code} after" in summary
        assert ("does not accept the token" in done.stderr, "Broken pipe" in done.stderr) == (code == 3, False)
        *_, last = (place / "data" / "state" / "runs.jsonl").read_text().splitlines()
        assert json.loads(last)["exit_code"] == code
        assert f"sip_trunks_run_exit_code {code}\n" in (place / "data" / "state" / "metrics.prom").read_text()


# ---------------------------------------------------------------------- metrics


def samples_of(text: str) -> dict[str, float]:
    """Return the samples of a text in Prometheus's format; it has nothing else, each metric with its type before."""
    samples, typed = {}, set()
    for line in text.splitlines():
        if line.startswith("#"):
            _, kind, name, _ = line.split(" ", 3)
            typed |= {name} if kind == "TYPE" else set()
            continue
        found = re.fullmatch(r'([a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\.)*"(?:,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? (\S+)', line)
        assert found, line
        assert found[1] in typed
        samples[f"{found[1]}{found[2] or ''}"] = float(found[3])
    return samples


def test_metrics_say_how_the_last_run_went_and_keep_what_it_did_not_find_out(
    begin: Begin, api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__METRICS", str(place / "exported" / "sip_trunks.prom"))
    begin(TRUNK, IP_TRUNK)

    def samples() -> dict[str, float]:
        return samples_of((place / "exported" / "sip_trunks.prom").read_text())

    assert main(["run"]) == 0
    good = samples()
    assert good["sip_trunks_run_exit_code"] == 0
    assert good["sip_trunks_last_success_timestamp_seconds"] == good["sip_trunks_last_run_timestamp_seconds"]
    assert good['sip_trunks_trunks{account="default"}'] == 2
    assert good['sip_trunks_drift{account="default"}'] == 0
    assert sum(value for name, value in good.items() if name.startswith("sip_trunks_findings")) > 0
    api.answer([], 401)
    for arguments, code in (([], 3), (["--account", "nobody"], 2)):
        assert main(["run", *arguments]) == code
        failed = samples()
        assert failed["sip_trunks_run_exit_code"] == code
        assert failed["sip_trunks_last_run_timestamp_seconds"] > good["sip_trunks_last_run_timestamp_seconds"]
        changing = {
            "sip_trunks_run_exit_code",
            "sip_trunks_last_run_timestamp_seconds",
            "sip_trunks_run_duration_seconds",
        }
        assert {n: v for n, v in failed.items() if n not in changing} == {
            n: v for n, v in good.items() if n not in changing
        }
    api.answer([TRUNK])
    assert main(["run", "--no-reports"]) == 0
    # What was found in the answer before is not current, and what would be found in this one nobody has looked at.
    assert not [name for name in samples() if "findings" in name]
    assert main(["run"]) == 0
    assert [name for name in samples() if "findings" in name]
    assert main(["accounts", "forget", "default", "--yes"]) == 0
    assert not [name for name in samples() if "default" in name or "findings" in name]


def test_that_metrics_cannot_be_written_is_a_warning(
    begin: Begin, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").write_text("")
    monkeypatch.setenv("SIP_TRUNKS__METRICS", str(place / "file" / "sip_trunks.prom"))
    begin(TRUNK)
    assert main(["run", "--no-reports"]) == 0
    assert "sip-trunks: the metrics are not written: " in capsys.readouterr().err
    monkeypatch.setenv("SIP_TRUNKS__METRICS", "~nobody-of-that-name/sip_trunks.prom")
    assert main(["run", "--no-reports"]) == 0
    assert "sip-trunks: the metrics are not written: RuntimeError: " in capsys.readouterr().err


# ---------------------------------------------------------------------- the webhook


def test_a_failure_is_told_once_a_day_and_that_it_is_over(told: Settings, hook: Hook) -> None:
    for code in (3, 3, 3):
        tell(told, outcome_of(REFUSED, exit_code=code))
    assert len(hook.texts) == 1
    assert "failed with exit code 3" in hook.told()
    file = told.state_dir / "notified.json"
    memory = json.loads(file.read_text())
    file.write_text(json.dumps(memory | {"told_at": (datetime.now(UTC) - timedelta(hours=25)).isoformat()}))
    tell(told, outcome_of(REFUSED, exit_code=3))
    assert "it has failed since 2026-03-31 12:00 UTC" in hook.told()
    tell(told, outcome_of(REFUSED, QUIET, exit_code=8))
    assert "exit code 8: 1 of 2 accounts" in hook.told()
    tell(told, outcome_of(QUIET))
    assert "works again; it had failed since 2026-03-31 12:00 UTC" in hook.told()
    tell(told, outcome_of(QUIET))
    assert hook.told() == ""


def test_what_nobody_asked_to_be_told_is_not_said(told: Settings, hook: Hook) -> None:
    tell(replace(told, notify_on=("findings",)), outcome_of(REFUSED, exit_code=3))
    assert hook.asked == 0


def test_new_findings_drift_and_changes_are_told_without_any_number(told: Settings, hook: Hook) -> None:
    drift = [
        SeenDrift("acme", name, "new_column", "for <+4930555123456>", 3, since, NOON, True)
        for name, since in (("<!here> +49 30 555 0177\n& more", NOON), ("old", NOON - timedelta(hours=1)))
    ]
    findings = [
        RuleFindings("critical", "allowlist-open", 2, 1),
        RuleFindings("high", "number-duplicate", 3, 0),
        RuleFindings("low", "number-format", 9, 9),
    ]
    entry = AccountOutcome("acme", "loaded", 5, 1, 2, 3, drift_count=2, drift=tuple(drift))
    tell(told, outcome_of(entry, findings=tuple(findings)))
    said = hook.told()
    assert "1 new finding: 1 critical of allowlist-open" in said
    assert "number-" not in said
    assert "trunks: 1 new, 2 changed, 3 removed (acme)" in said
    assert "&lt;!here&gt; … &amp; more (new_column)" in said.replace("\\n", " ")
    assert "old" not in said
    assert not re.search(r"\d{5}", said)
    tell(replace(told, notify_severity="low"), outcome_of(QUIET, findings=tuple(findings)))
    assert "10 new findings: 1 critical of allowlist-open, 9 low of number-format" in hook.told()


def test_a_webhook_that_stumbles_is_told_again_and_one_that_refuses_is_not(told: Settings, hook: Hook) -> None:
    hook.statuses = [500]
    tell(told, outcome_of(REFUSED, exit_code=3))
    assert (hook.asked, len(hook.texts)) == (2, 1)
    for status in (404, 302):
        hook.statuses, asked = [status], hook.asked
        with pytest.raises(NotTold, match=f"HTTP {status}") as caught:
            tell(told, outcome_of(QUIET))
        assert SECRET not in str(caught.value)
        assert hook.asked == asked + 1
    hook.told()
    tell(told, outcome_of(QUIET))
    assert hook.told().count("works again") == 1


def test_what_a_run_that_failed_in_part_has_found_is_not_lost_with_a_webhook_that_is_away(
    told: Settings, hook: Hook
) -> None:
    hook.statuses = [404, 404]
    found = (RuleFindings("critical", "allowlist-open", 1, 1),)
    for findings in (found, ()):
        with pytest.raises(NotTold):
            tell(told, outcome_of(REFUSED, QUIET, exit_code=8, findings=findings))
    tell(told, outcome_of(REFUSED, QUIET, exit_code=8))
    said = hook.told()
    assert said.count("failed with exit code 8") == 1
    assert said.count("1 new finding: 1 critical of allowlist-open") == 1
    tell(told, outcome_of(REFUSED, QUIET, exit_code=8))
    assert hook.told() == ""


@pytest.mark.parametrize("noted", ["{}", "[]", '{"unsent": 1}', '{"unsent": [], "told_at": 3}', "\0"])
def test_a_memory_that_is_none_is_no_obstacle(noted: str, told: Settings, hook: Hook) -> None:
    (told.state_dir / "notified.json").write_text(noted)
    tell(told, outcome_of(REFUSED, exit_code=3))
    assert "failed with exit code 3" in hook.told()


def test_news_that_wait_for_the_webhook_are_forgotten_with_their_account(told: Settings, hook: Hook) -> None:
    for name in ("acme", "acme-2"):
        hook.statuses = [404]
        with pytest.raises(NotTold):
            tell(told, outcome_of(AccountOutcome(name, "loaded", 1, 1, 0, 0)))
    forget_news(told, "acme")
    tell(told, outcome_of(QUIET))
    assert hook.told().splitlines()[0].endswith(": trunks: 1 new, 0 changed, 0 removed (acme-2)")


def test_a_webhook_that_is_slow_is_left_alone_and_told_the_next_time(told: Settings, hook: Hook) -> None:
    hook.delay = 1.0
    outcome = outcome_of(REFUSED, exit_code=3)
    with pytest.raises(NotTold, match=r"within 0\.2 s|no answer"):
        notify(told, summarize(outcome), outcome, None, total_seconds=0.2)
    assert json.loads((told.state_dir / "notified.json").read_text())["told_at"] is None


def test_a_signal_while_the_webhook_is_told_changes_nothing_of_a_run_that_is_over(
    place: Path, api: Api, hook: Hook
) -> None:
    api.answer([TRUNK])
    hook.delay = 8.0
    command = [COMMAND, "run", "--no-reports", "--notify", hook.address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert hook.is_asked.wait(60)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "no news were sent: stopped" in said
    assert "exit code 0 after" in said
    hook.delay = 0
    hook.told()
    assert main(["run", "--no-reports", "--notify", hook.address]) == 0
    assert "trunks: 1 new, 0 changed, 0 removed (default)" in hook.told()


def test_that_another_run_is_active_is_no_news(told: Settings, hook: Hook) -> None:
    follow_up_failure(told, RunActive("another run is active"), NOON)
    assert hook.asked == 0
    assert not told.metrics_path.exists()
    (line,) = (told.state_dir / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["exit_code"] == 6


def test_a_data_directory_that_cannot_be_used_is_told(
    place: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").write_text("")
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(place / "file" / "data"))
    assert main(["run", "--notify", hook.address]) == 7
    assert "failed with exit code 7" in hook.told()
    *_, last = capsys.readouterr().err.splitlines()
    assert "Not a directory" in last


def test_a_message_has_no_number_however_it_is_written_and_keeps_hosts_and_dates(told: Settings, hook: Hook) -> None:
    numbers = ("030/123456", "(030) 123 456", "12 34 56", "+49 30 - 123456", "0049.30.123456")
    for number in numbers:
        failed = replace(REFUSED, account=f"acme{len(number)}", error=f"at 192.168.10.20 on 2026-11-26: {number}")
        tell(told, outcome_of(failed, exit_code=3))
    said = hook.told()
    assert said.count("at 192.168.10.20 on 2026-11-26") == len(numbers)
    assert "123" not in said.replace("192.168.10.20", "")
    follow_up_failure(told, ValueError("cannot convert 'ana.lopez'"), NOON)
    assert "exit code 1: ValueError" in (said := hook.told())
    assert "ana.lopez" not in said


def test_a_webhook_that_is_away_costs_a_run_nothing(
    begin: Begin, api: Api, place: Path, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(TRUNK)
    hook.statuses = [404]
    api.answer([], 401)
    assert main(["run", "--no-reports", "--notify", hook.address]) == 3
    said = capsys.readouterr()
    assert "no news were sent: the webhook was not told: it answers with HTTP 404" in said.err
    assert main(["run", "--no-reports", "--notify", hook.address]) == 3
    assert "failed with exit code 3" in hook.told()
    api.answer([TRUNK, trunk(id=7)])
    assert main(["run", "--no-reports", "--notify", hook.address]) == 0
    assert "works again" in (news := hook.told())
    assert "trunks: 1 new, 0 changed, 0 removed (default)" in news
    said = capsys.readouterr()
    logged = "".join(path.read_text(errors="replace") for path in (place / "data" / "state").glob("*.*"))
    assert SECRET not in said.out + said.err + logged


def test_an_error_that_ends_a_run_is_told_unless_somebody_pressed_ctrl_c(
    told: Settings, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    follow_up_failure(told, KeyboardInterrupt(), NOON)
    assert hook.asked == 0
    follow_up_failure(told, Terminated(), NOON)
    assert "exit code 143: stopped" in hook.told()
    follow_up_failure(told, ApiRefused("no <b>"), NOON)
    assert "exit code 3: no &lt;b&gt;" in hook.told()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "address",
    ["http://hooks.example.com/x", "https:///x", "ftp://example.com/x", "hooks.example.com/x", "https://me:pw@example.com/x",
     "https://[::1", "https://example.com:0/x"],
)  # fmt: skip
def test_news_go_nowhere_but_to_a_safe_address(
    address: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY", address)
    with pytest.raises(SettingsError, match="needs the address of a webhook") as caught:
        check_address(read_settings())
    assert address not in str(caught.value)


def test_check_says_what_the_webhook_will_be_told(
    place: Path, api: Api, hook: Hook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY", hook.address)
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY_ON", "failure,recovery")
    api.answer([TRUNK])
    assert main(["check"]) == 0
    assert "ok    notify: a webhook will be told of failure, recovery" in (said := capsys.readouterr().out)
    assert (SECRET in said, hook.asked) == (False, 0)
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY_ON", "everything")
    assert main(["check"]) == 2
