"""What a run does besides storing trunks: what it leaves behind, what it logs, what it refuses before it begins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.builders import TRUNK
from tests.support.runs import TOKEN, call, load, query

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.api import Api
    from tests.support.fixtures import Begin


def test_a_run_leaves_nothing_behind_but_the_file_and_its_notes(api: Api, place: Path) -> None:
    api.answer([TRUNK])
    load(with_reports=True)
    assert sorted(path.name for path in (place / "data").iterdir()) == ["reports", "state", "warehouse.duckdb"]
    assert [path.name for path in (place / "data" / "reports").iterdir()] == ["index.html"]
    assert sorted(path.name for path in (place / "data" / "state").iterdir()) == [
        "last_run.json",
        "run.lock",
        "sizes.json",
    ]
    assert json.loads((place / "data" / "state" / "last_run.json").read_text())["exit_code"] == 0
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())


def test_a_log_that_cannot_be_written_does_not_fail_a_run(begin: Begin, place: Path) -> None:
    begin(TRUNK)
    log = place / "data" / "state" / "sip-trunks.log"
    log.symlink_to("/dev/full")
    call("run", "--no-reports")
    assert log.is_symlink()


def test_the_log_says_how_a_run_ended(api: Api, place: Path) -> None:
    api.answer(b"", 401)
    call("run", code=3)
    assert "(401)" in (place / "data" / "state" / "sip-trunks.log").read_text()


def test_strict_drift_refuses_an_unchanged_response_too(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(TRUNK | {"zz_label": "x"})
    monkeypatch.setenv("SIP_TRUNKS__DRIFT", "strict")
    assert load().exit_code == 5


def test_the_runs_of_an_account_say_why_it_failed(api: Api, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    for name in ("acme", "beta"):
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name}", f"token-of-{name}")
    api.answer([TRUNK])
    load()
    api.answer_to("token-of-beta", b"", 403)
    call("run", "--no-reports", code=8)
    rows = query("SELECT account, status, trunk_count, exit_code, error FROM account_runs")
    assert sorted(row[:4] for row in rows) == [
        ("acme", "loaded", 1, None),
        ("acme", "unchanged", 1, None),
        ("beta", "failed", None, 3),
        ("beta", "loaded", 1, None),
    ]
    assert "(403)" in next(error for *_, error in rows if error)
    call("accounts", "forget", "beta", "--yes")
    monkeypatch.delenv("SOURCES__FAMULOR__ACCOUNTS__beta")
    load()
    assert query("SELECT DISTINCT account FROM account_runs") == [("acme",)]
