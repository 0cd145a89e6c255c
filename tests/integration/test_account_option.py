"""`--account` of the reports, the audit and drift, and `--output` of commands that print data."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK, trunk
from tests.support.past import store
from tests.support.runs import call

if TYPE_CHECKING:
    from pathlib import Path

DID = "+4930231125077"
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def two_accounts(place: Path) -> None:
    ours = [trunk(id=1, country_code="DE", phone_number=DID), trunk(id=2, country_code="AT", phone_number="1002")]
    theirs = [trunk(id=3, country_code="DE", phone_number=DID, zz_invented=1), IP_TRUNK]
    stored = [("acme", MOMENT, ours), ("beta", MOMENT, theirs), ("acme", MOMENT + timedelta(days=1), ours[:1])]
    store(read_settings(), stored)


def ask(*arguments: str) -> Any:
    return json.loads(call(*arguments, "--json"))


@pytest.mark.parametrize("past", [(), ("--as-of", "2026-03-01T12:00:00Z")])
def test_counts_are_of_the_trunks_of_the_account(past: tuple[str, ...]) -> None:
    assert sum(row["trunk_count"] for row in ask("report", "by_country", *past)) == (4 if past else 3)
    assert sum(row["trunk_count"] for row in ask("report", "counts", "--account", "beta", *past)) == 2
    both = ask("report", "counts", "--account", "beta", "--account", "acme", *past)
    assert both == ask("report", "counts", *past)


def test_changes_growth_freshness_and_findings_are_of_the_account() -> None:
    assert {row["account"] for row in ask("report", "changes", "--account", "acme")} == {"acme"}
    assert ask("report", "changes", "--account", "beta") == []
    assert [row["account"] for row in ask("report", "freshness", "--account", "beta")] == ["beta"]
    created = {
        account: sum(row["created_count"] for row in ask("report", "growth", *account.split()))
        for account in ("", "--account acme", "--account beta")
    }
    assert created == {"": 4, "--account acme": 2, "--account beta": 2}
    every, ours = ask("audit"), ask("audit", "--account", "acme")
    # Rules compare all accounts: a number of the other account is still found.
    assert ours == [row for row in every if row["account"] == "acme"]
    assert "duplicate-across-accounts" in {row["rule"] for row in ours}
    assert "beta" not in call("report", "--account", "acme")


def test_drift_is_of_the_account_and_an_unknown_account_is_named() -> None:
    assert [row["account"] for row in ask("drift", "--account", "beta")] == ["beta"]
    assert ask("drift", "--account", "acme") == []
    for command in ("drift", "report", "audit"):
        assert "stored: acme, beta; did you mean acme?" in call(command, "--account", "acmee", code=2)


@pytest.mark.parametrize(
    "command", ["drift", "rules", "describe", "accounts", "audit", "report", "sql FROM sip_trunks"]
)
def test_every_command_that_prints_data_writes_it_to_a_file(place: Path, command: str) -> None:
    arguments = command.split(maxsplit=1)
    assert call(*arguments, "--json", "--output", "out.json") == ""
    assert json.loads((place / "out.json").read_text()) == ask(*arguments)


def test_an_export_without_a_name_is_a_new_folder_here(place: Path) -> None:
    assert "sip-trunks import sip-trunks-export-" in call("export", "--format", "csv")
    assert len([*place.glob("sip-trunks-export-*/*.csv")]) > 3
