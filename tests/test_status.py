"""What `status` says to monitors: whether every account that should be seen was seen lately."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.cli import main
from pipelines.settings import read_settings
from pipelines.status import describe_stale, find_stale
from tests.builders import TRUNK

if TYPE_CHECKING:
    from tests.conftest import Begin

pytestmark = pytest.mark.usefixtures("place")


def seen(account: str, age_seconds: int | None) -> dict[str, Any]:
    moment = None if age_seconds is None else f"2026-01-01T00:00:{59 - age_seconds % 60:02}Z"
    return {"account": account, "age_seconds": age_seconds, "snapshot_at": moment}


def configure(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name.upper()}", f"token-of-{name}")


def test_data_that_is_young_enough_passes(begin: Begin, capsys: pytest.CaptureFixture[str]) -> None:
    begin(TRUNK)
    assert main(["status", "--max-age", "2h"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["status", "--max-age", "2h", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stale_accounts"] == []


def test_an_account_that_was_never_seen_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--max-age", "2h", "--json"]) == 10
    out, err = capsys.readouterr()
    assert json.loads(out)["stale_accounts"] == ["default"]
    assert err == "sip-trunks: 1 account was not seen for 2h: default (never seen)\n"


def test_nothing_stored_and_nothing_configured_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    assert main(["status", "--max-age", "1d"]) == 10
    assert "no account was ever seen" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_does_not_hide_that_data_is_stale() -> None:
    command = f"{Path(sys.executable).with_name('sip-trunks')} status --max-age 2h | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 10, done.stderr


def test_an_account_that_is_no_longer_configured_is_nobodys_concern(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [seen("acme", 10), seen("gone", 10**6)]
    assert [entry["account"] for entry in find_stale(read_settings(), entries, 60)] == []
    configure(monkeypatch, "acme")
    assert find_stale(read_settings(), entries, 60) == []
    monkeypatch.delenv("SOURCES__FAMULOR__ACCOUNTS__ACME")
    monkeypatch.delenv("FAMULOR_API_KEY")
    assert [entry["account"] for entry in find_stale(read_settings(), entries, 60)] == ["gone"]


def test_a_thousand_stale_accounts_are_one_line() -> None:
    stale = [seen(f"account-{number}", None) for number in range(1000)]
    line = describe_stale(stale, "2h")
    assert line.startswith("1000 accounts were not seen for 2h: account-0 (never seen), account-1 (never seen), ")
    assert line.endswith(" and 995 more")
    assert len(line) < 250


@pytest.mark.parametrize("age", ["", "2", "2 weeks", "-1h", "0s"])
def test_an_age_that_is_none_is_a_usage_error(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", f"--max-age={age}"]) == 2
    assert "--max-age needs a duration" in capsys.readouterr().err
