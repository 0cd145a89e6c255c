"""`run` as a user calls it: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.builders import IP_TRUNK, TRUNK, body, trunk
from tests.support.runs import TOKEN, call, capture, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.fixtures import Begin

pytestmark = pytest.mark.usefixtures("place")


def test_a_run_prints_its_result_and_writes_the_reports_by_default(api: Api) -> None:
    hostile = {"sip_username": "\u001b[31mred\u001b[0m\u202e", "sip_calling_format": "\u001b]0;title\u0007"}
    api.answer([TRUNK, IP_TRUNK, trunk(id=44, zz_invented="x", **hostile)])
    first = call("run", "--no-reports")
    assert "account    default" in first
    assert "trunks     3: 3 new, 0 changed, 0 removed since the last run" in first
    assert "zz_invented: not declared, stored as text (new_column, 1 record)" in first
    assert "warehouse.duckdb" in first
    assert "try next\n" in first
    assert "reports" in call("sql", "FROM reports.counts", code=2)
    # The response is the same one; only the reports are new.
    second = call("run")
    assert "the response is unchanged" in second
    assert "+e164" in second
    assert "+e164" in call("sql", "FROM reports.counts")
    assert "the response is unchanged" in call("run", "--no-reports")
    assert "+e164" in call("sql", "FROM reports.counts")
    # Escape sequences from the API do not reach the terminal.
    trunks, counts = call("sql", "FROM sip_trunks"), call("report", "counts")
    assert "red" in trunks
    for out in (first, second, trunks, counts):
        assert "title" in out
        assert "\u001b" not in out
        assert "\u202e" not in out


def test_the_result_as_json_has_all_of_it(api: Api) -> None:
    api.answer([TRUNK])
    result = json.loads(call("run", "--json", "--no-reports"))
    assert result["exit_code"] == 0
    assert result["accounts"][0] | {"drift": None} == {
        "account": "default",
        "status": "loaded",
        "trunk_count": 1,
        "new_count": 1,
        "changed_count": 0,
        "removed_count": 0,
        "drift_count": 0,
        "drift": None,
        "assignments_error": None,
        "error": None,
        "exit_code": 0,
    }


@pytest.mark.parametrize(("status", "code"), [(401, 3), (403, 3), (404, 3), (500, 4), (429, 4), (204, 5)])
def test_the_response_decides_the_exit_code(api: Api, status: int, code: int) -> None:
    api.answer(b"{}" if status != 204 else b"", status)
    line = call("run", code=code)
    assert "default" in line


def test_an_incomplete_response_removes_no_trunk(api: Api) -> None:
    trunks = [trunk(id=number) for number in range(1, 18)]
    api.answer(trunks)
    call("run", "--no-reports")
    api.answer(body(*trunks[:15], meta={"pagination": {"total": 17, "total_pages": 2}}))
    assert "`meta.pagination.total" in call("run", "--no-reports", code=5)
    assert "17" in call("sql", "SELECT count(*) FROM sip_trunks")


def test_a_new_key_about_paging_is_refused_only_when_trunks_are_missing(api: Api) -> None:
    trunks = [trunk(id=number) for number in range(1, 18)]
    api.answer(trunks)
    call("run", "--no-reports")
    api.answer(body(*trunks[:16], paging={"after": "abc"}))
    says = "16 trunks and the new key `paging`; 1 of 17 stored trunks are missing"
    assert says in call("run", "--no-reports", code=5)
    api.answer(body(*trunks[:16], zz_invented={"server": "a"}, request_id="x"))
    assert "1 removed" in call("run", "--no-reports")
    api.answer(body(*trunks[:16], paging={"after": "abc"}))
    assert "paging: not declared" in call("run", "--no-reports")
    api.answer(body(*trunks[:15], paging={"after": "abd"}))
    assert "1 removed" in call("run", "--no-reports")
    api.answer(body(*trunks[:14], bookmark="abc"))
    assert "new key `bookmark`" in call("run", "--no-reports", code=5)
    assert "1 removed" in call("run", "--no-reports", "--accept-shrink")


def test_an_undeclared_key_beside_the_trunks_is_drift(api: Api) -> None:
    api.answer(body(TRUNK, total=1, meta={"zz_\u001b": 1}, zz_invented=None))
    printed = call("run", "--no-reports")
    assert "drift      2\n" in printed
    assert "zz_invented: not declared, not stored (new_envelope_key, 0 records)" in printed
    assert "meta.zz_\\x1b: " in printed
    api.answer(body(TRUNK, total=1))
    assert "drift      none" in call("run", "--no-reports")


def test_a_failure_is_json_too_if_json_is_asked_for(api: Api) -> None:
    api.answer(b"", 401)
    printed = capture("run", "--json", code=3)
    assert json.loads(printed.out)["accounts"][0]["exit_code"] == 3


def test_without_a_token_it_says_how_to_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    assert "FAMULOR_API_KEY" in call("run", code=2)
    assert "--demo" in call("run", "--account", "acme", code=2)


def test_an_unreachable_api_is_named_after_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", "http://127.0.0.1:1/api")
    assert "after 5 attempts" in call("run", code=4)


def test_the_demo_moves_from_run_to_run_and_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    monkeypatch.delenv("SOURCES__FAMULOR__BASE_URL")
    runs = [call("run", "--demo", "--json", "--no-reports") for _ in range(2)]
    first, second = (json.loads(run)["accounts"][0] for run in runs)
    assert first["account"] == "demo"
    assert first["new_count"] == first["trunk_count"] == 50
    assert first["drift_count"] == second["drift_count"] == 2  # of the imported trunk
    assert min(second["new_count"], second["changed_count"], second["removed_count"]) > 0
    counts = json.loads(
        call("sql", "SELECT count(*) AS n, count(valid_to) AS closed FROM sip_trunks_history", "--format", "json")
    )
    assert counts[0]["n"] == 50 + second["new_count"] + second["changed_count"]
    assert counts[0]["closed"] == second["removed_count"] + second["changed_count"]


def test_strict_drift_fails_before_anything_is_written(api: Api, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(TRUNK)
    monkeypatch.setenv("SIP_TRUNKS__DRIFT", "strict")
    api.answer([TRUNK | {"zz_invented": "x"}])
    assert "zz_invented" in call("run", code=5)
    assert json.loads(call("sql", "SELECT count(*) AS n FROM sip_trunk_snapshots", "--format", "json")) == [{"n": 1}]
    monkeypatch.setenv("SIP_TRUNKS__DRIFT", "report")
    assert "zz_invented" in call("run", "--no-reports")


def test_a_failing_account_is_named_beside_one_that_is_loaded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    api.queue([TRUNK])
    api.queue(b"", 401)
    printed = capture("run", "--no-reports", code=8)
    assert "account    beta\nfailed     " in printed.out.decode()
    assert "never seen" in call("status")


def test_the_settings_and_the_data_are_those_of_the_project(
    api: Api, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    project = place / "project"
    (project / ".dlt").mkdir(parents=True)
    (project / ".dlt" / "secrets.toml").write_text(
        f'[sources.famulor]\napi_token = "{TOKEN}"\nbase_url = "{api.base_url}"\n'
    )
    (project / ".dlt" / "config.toml").write_text('[sip_trunks]\ndata_dir = "store"\n')
    for name in ("FAMULOR_API_KEY", "SOURCES__FAMULOR__BASE_URL", "SIP_TRUNKS__DATA_DIR"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(project)
    api.answer([TRUNK])
    assert load().exit_code == 0
    assert (project / "store" / "warehouse.duckdb").exists()
    assert api.requests[-1][1]["Authorization"] == f"Bearer {TOKEN}"
