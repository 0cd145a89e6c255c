"""What follows a run: the structured log, the table of runs, metrics, the webhook, and one line that sums it up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sip_trunks.commands import main
from sip_trunks.core.settings import read_settings
from sip_trunks.run.run_log import note_run, summarize
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.hook import QUIET, SECRET, outcome_of
from tests.support.prometheus import samples_of
from tests.support.runs import call, capture, query
from trunk_transforms.schema.reports import RUNS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.fixtures import Begin
    from tests.support.hook import Hook


def log_of(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    """Call the command and return the lines that it writes to standard error."""
    capsys.readouterr()
    assert main(arguments) == code
    return capsys.readouterr().err.splitlines()


# ---------------------------------------------------------------------- the log


@pytest.mark.parametrize("status", [200, 401])
def test_a_structured_log_has_an_object_in_each_line_and_the_run_in_the_last(
    status: int, api: Api, begin: Begin, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(TRUNK)
    api.answer([TRUNK], status)
    code = 0 if status == 200 else 3
    lines = list(map(json.loads, log_of(capsys, "run", "--no-reports", "--log-format", "json", code=code)))
    assert all(line.keys() >= {"at", "level", "event", "message"} for line in lines)
    assert all(datetime.fromisoformat(line["at"]).tzinfo for line in lines)
    assert {"run"} == {line["event"] for line in lines[-1:]}
    assert lines[-1]["exit_code"] == code
    assert lines[-1].keys() >= {*RUNS.names, "destination"}
    assert [line["level"] for line in lines].count("error") == (status == 401)
    logged = (place / "data" / "state" / "sip-trunks.log").read_text().splitlines()
    assert [json.loads(line)["message"] for line in logged] == [line["message"] for line in lines]


def test_an_error_that_ends_a_run_is_an_object_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LOG_FORMAT", "json")
    summary, last = map(json.loads, log_of(capsys, "run", "--account", "nobody", code=2))
    assert summary.keys() >= {*RUNS.names, "destination"}
    assert summary.items() >= {"event": "run", "level": "error", "exit_code": 2}.items()
    assert "default" not in summary["error"]
    assert last.items() >= {"event": "error", "level": "error", "exit_code": 2}.items()
    assert "no account named 'nobody'; configured: default" in last["message"]
    monkeypatch.setenv("SIP_TRUNKS__LOG_FORMAT", "xml")
    assert "sip_trunks.log_format" in log_of(capsys, "run", code=2)[-1]


def test_a_run_prints_one_summary_line_before_its_errors(
    begin: Begin, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(TRUNK)
    *_, last = log_of(capsys, "run", "--no-reports")
    assert re.fullmatch(
        r"sip-trunks: exit code 0 after \d+\.\d s; 0 loaded, 1 unchanged, 0 failed; "
        r"trunks 1 \(0 new, 0 changed, 0 removed\); drift 0",
        last,
    )
    api.answer([], 401)
    *_, summary, last = log_of(capsys, "run", "--no-reports", code=3)
    assert "exit code 3 after" in summary
    assert "does not accept the token" in last


# ---------------------------------------------------------------------- the table of runs


def read_runs(place: Path, destination: str = "duckdb") -> list[dict[str, Any]]:
    """Return the rows of the table as another program reads them."""
    files = {"duckdb": "data/warehouse.duckdb", "parquet": "data/lake/famulor/reports/runs.parquet"}
    with duckdb.connect() as reader:
        if destination == "duckdb":
            reader.execute(f"ATTACH '{place / files[destination]}' AS stored (READ_ONLY); USE stored")
        source = "runs" if destination == "duckdb" else f"'{place / files[destination]}'"
        result = reader.execute(f"FROM {source} ORDER BY started_at")
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_the_table_of_runs_has_those_that_failed_and_those_that_were_killed(
    destination: str, begin: Begin, api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    begin(TRUNK, IP_TRUNK)
    state = place / "data" / "state"
    api.answer([], 401)
    call("run", "--no-reports", code=3)
    call("run", "--account", "nobody", code=2)
    with (state / "runs.jsonl").open("a") as file:
        file.write('{"destination": "elsewhere", "started_at": "2026-01-01T00:00:00+00:00"}\n[]\n{"destination": "du')
    killed = {"started_at": "2026-03-31T12:00:00.5Z", "destination": destination, "error": "did not end"}
    (state / "last_run.json").write_text(json.dumps(killed | {"exit_code": None}))
    api.answer([TRUNK, IP_TRUNK])
    for _ in range(2):
        call("run", "--no-reports")
    rows = {row["started_at"]: row for row in read_runs(place, destination)}
    dead = rows.pop(datetime.fromisoformat(killed["started_at"]))
    assert (dead["exit_code"], dead["trunk_count"], dead["unchanged_count"]) == (None, None, None)
    assert dead["error"] == "did not end"
    begun, *failed, unchanged, last = (rows[moment] for moment in sorted(rows))
    assert [(row["exit_code"], row["trunk_count"]) for row in (begun, *failed, unchanged, last)] == [
        (0, 2), (3, None), (2, None), (0, 2), (0, 2),
    ]  # fmt: skip
    assert [row["unchanged_count"] for row in (begun, *failed, unchanged, last)] == [0, 0, None, 1, 1]
    assert failed[0]["error"].startswith("127.0.0.1")
    assert "default" not in failed[0]["error"]
    assert begun["ended_at"] > begun["started_at"]
    assert last["version"]
    # A run has ended when it was over, and not when it wrote its row; the next one corrects that.
    noted = json.loads((state / "runs.jsonl").read_text().splitlines()[-2])
    assert unchanged["started_at"] == datetime.fromisoformat(noted["started_at"])
    assert unchanged["ended_at"] == datetime.fromisoformat(noted["ended_at"])


def test_old_runs_are_pruned(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    old = summarize(replace(outcome_of(QUIET), started_at=datetime.now(UTC) - timedelta(days=500)))
    note_run(read_settings(), old)
    call("run", "--no-reports")
    assert len(read_runs(place)) == 3
    assert re.search(r"^runs +1$", call("prune", "--older-than", "400d", "--yes"), re.MULTILINE)
    assert len(read_runs(place)) == 2
    call("run", "--no-reports")
    assert len(read_runs(place)) == 3


def test_a_table_of_runs_of_another_release_is_continued(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    with duckdb.connect(str(place / "data" / "warehouse.duckdb")) as writer:
        writer.execute("ALTER TABLE reports.runs DROP COLUMN drift_count")
        writer.execute("ALTER TABLE reports.runs ADD COLUMN zz_weather VARCHAR DEFAULT 'fair'")
    call("run", "--no-reports")
    rows = read_runs(place)
    assert [(row["drift_count"], row["trunk_count"]) for row in rows[-1:]] == [(0, 1)]
    assert query("SELECT DISTINCT zz_weather FROM reports.runs") == [("fair",)]


# ---------------------------------------------------------------------- metrics


def test_metrics_describe_the_last_run_and_keep_values_that_it_did_not_determine(
    begin: Begin, api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__METRICS", str(place / "exported" / "sip_trunks.prom"))
    begin(TRUNK, IP_TRUNK)

    def samples() -> dict[str, float]:
        return samples_of((place / "exported" / "sip_trunks.prom").read_text())

    call("run")
    good = samples()
    assert good["sip_trunks_run_exit_code"] == 0
    assert good["sip_trunks_last_success_timestamp_seconds"] == good["sip_trunks_last_run_timestamp_seconds"]
    assert good['sip_trunks_trunks{account="default"}'] == 2
    assert good['sip_trunks_drift{account="default"}'] == 0
    assert sum(value for name, value in good.items() if name.startswith("sip_trunks_findings")) > 0
    changing = {
        "sip_trunks_run_exit_code", "sip_trunks_last_run_timestamp_seconds", "sip_trunks_run_duration_seconds",
    }  # fmt: skip
    kept = {name: value for name, value in good.items() if name not in changing}
    api.answer([], 401)
    for arguments, code in (([], 3), (["--account", "nobody"], 2)):
        call("run", *arguments, code=code)
        failed = samples()
        assert failed["sip_trunks_run_exit_code"] == code
        assert failed["sip_trunks_last_run_timestamp_seconds"] > good["sip_trunks_last_run_timestamp_seconds"]
        assert {name: value for name, value in failed.items() if name not in changing} == kept
    api.answer([TRUNK])
    call("run", "--no-reports")
    # Findings of the response before are not current, and this one was not audited.
    assert not [name for name in samples() if "findings" in name]
    call("accounts", "forget", "default", "--yes")
    assert not [name for name in samples() if "default" in name]


# ---------------------------------------------------------------------- the webhook


def test_a_data_directory_that_cannot_be_used_is_sent_to_the_webhook(
    place: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "file").write_text("")
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(place / "file" / "data"))
    assert "Not a directory" in call("run", "--notify", hook.address, code=7)
    assert "failed with exit code 7" in hook.take_texts()


def test_a_webhook_that_cannot_be_reached_changes_nothing_of_a_run(
    begin: Begin, api: Api, place: Path, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(TRUNK)
    run = ("run", "--no-reports", "--notify", hook.address)
    hook.statuses = [404]
    api.answer([], 401)
    said = log_of(capsys, *run, code=3)
    assert [line for line in said if "no notification was sent: the response is HTTP 404" in line]
    said += log_of(capsys, *run, code=3)
    assert "failed with exit code 3" in hook.take_texts()
    api.answer([TRUNK, trunk(id=7)])
    said += log_of(capsys, *run)
    assert "works again" in (sent := hook.take_texts())
    assert "trunks: 1 new, 0 changed, 0 removed (default)" in sent
    logged = "".join(path.read_text(errors="replace") for path in (place / "data" / "state").glob("*.*"))
    assert SECRET not in "".join(said) + logged


def test_check_says_what_will_be_sent_to_the_webhook(
    place: Path, api: Api, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY", hook.address)
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY_ON", "failure,recovery")
    api.answer([TRUNK])
    assert "ok    notify: a webhook will be notified of failure, recovery" in (said := call("check"))
    assert (SECRET in said, hook.request_count) == (False, 0)
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY_ON", "everything")
    assert "FAIL  settings: " in (said := capture("check", code=2).out.decode())
    assert "everything" in said
