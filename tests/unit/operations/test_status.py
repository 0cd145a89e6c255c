"""Which accounts are stale, and how that is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import Account, read_settings
from sip_trunks.operations.status import describe_stale, find_stale

if TYPE_CHECKING:
    from pathlib import Path


def seen(account: str, age_seconds: int | None) -> dict[str, Any]:
    moment = None if age_seconds is None else f"2026-01-01T00:00:{59 - age_seconds % 60:02}Z"
    return {"account": account, "age_seconds": age_seconds, "snapshot_at": moment}


def test_an_account_that_is_no_longer_configured_is_not_stale(place: Path) -> None:
    entries = [seen("acme", 10), seen("gone", 10**6)]
    configured = replace(read_settings(), accounts=(Account("acme", "token"),))
    assert find_stale(configured, entries, 60) == []
    assert [entry["account"] for entry in find_stale(configured, [seen("acme", 61)], 60)] == ["acme"]
    # Without any that is configured, all that are stored are watched.
    assert [entry["account"] for entry in find_stale(replace(configured, accounts=()), entries, 60)] == ["gone"]


@pytest.mark.parametrize("age", [-1, -259_170])
def test_an_observation_in_the_future_is_stale_and_said_to_be(age: int, place: Path) -> None:
    unconfigured = replace(read_settings(), accounts=())
    stale = find_stale(unconfigured, [seen("acme", age), seen("beta", 0), seen("gamma", 7200)], 7200)
    assert [entry["account"] for entry in stale] == ["acme"]
    ahead = "2 d" if age < -100 else "1 s"
    assert describe_stale(stale, "2h").endswith(f": acme (seen {ahead} in the future: the clock was ahead)")


def test_a_thousand_stale_accounts_are_one_line() -> None:
    stale = [seen(f"account-{number}", None) for number in range(1000)]
    line = describe_stale(stale, "2h")
    assert line.startswith("1000 accounts were not seen for 2h: account-0 (never seen), account-1 (never seen), ")
    assert line.endswith(" and 995 more accounts")
    assert len(line) < 250
