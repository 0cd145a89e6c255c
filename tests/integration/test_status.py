"""What `status --max-age` says to monitors: whether every account that should be seen was seen lately."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sip_trunks.commands import main
from tests.support.builders import TRUNK
from tests.support.runs import call

if TYPE_CHECKING:
    from tests.support.fixtures import Begin

pytestmark = pytest.mark.usefixtures("place")


def test_data_that_is_young_enough_passes(begin: Begin) -> None:
    begin(TRUNK)
    call("status", "--max-age", "100d")
    assert json.loads(call("status", "--max-age", "100d", "--json"))["stale_accounts"] == []


def test_an_account_that_was_never_seen_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--max-age", "2h", "--json"]) == 10
    out, err = capsys.readouterr()
    assert json.loads(out)["stale_accounts"] == ["default"]
    assert err == "sip-trunks: 1 account was not seen for 2h: default (never seen)\n"


def test_nothing_stored_and_nothing_configured_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    assert "no account has been observed" in call("status", "--max-age", "1d", code=10)


@pytest.mark.parametrize("age", ["", "2", "2 weeks", "-1h", "0s"])
def test_an_age_that_is_not_a_duration_is_a_usage_error(age: str) -> None:
    assert "--max-age needs a duration" in call("status", f"--max-age={age}", code=2)
