"""Accounts under new names: the command that renames one, and runs that find the trunks of one under another name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.prometheus import samples_of
from tests.support.runs import call, capture, load, only, query

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.fixtures import Begin

BY_ACCOUNT = "SELECT account, count(*) FROM sip_trunks GROUP BY ALL ORDER BY ALL"
TRUNKS = [TRUNK, IP_TRUNK, trunk(id=44, phone_number="+4930555010", zz_note="drifts")]


def configure(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name.upper()}", f"token-{name}")


def test_a_renamed_account_has_its_new_name_wherever_the_old_one_was(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / ".dlt").mkdir()
    suppression = 'rule = "inbound"\naccount = "default"\ntrunk_id = 42\nreason = "known"\nuntil = "2999-01-01"'
    (place / ".dlt" / "config.toml").write_text(f"[[sip_trunks.suppressions]]\n{suppression}\n")
    api.answer(TRUNKS)
    call("run")
    findings = "SELECT trunk_id, rule, opened_at, closed_at, closed_because FROM findings_history ORDER BY ALL"
    found = query(findings)
    assert found
    api.answer([], 401)
    call("run", code=3)
    printed = capture("accounts", "rename", "default", "acme")
    lines = printed.out.decode().splitlines()
    assert "sip_trunks_history        3" in lines
    assert lines[-3].startswith("renamed    default to acme, in ")
    assert lines[-1] == "unreached  existing backups and exports; destinations other than duckdb"
    assert printed.errors.splitlines() == [
        "sip-trunks: default is still configured; before the next run, name it acme under [sources.famulor.accounts]",
        "sip-trunks: [[sip_trunks.suppressions]] has the account default: change it to acme",
    ]
    assert query(findings) == found
    assert query("SELECT DISTINCT account FROM findings_history") == [("acme",)]
    samples = samples_of(read_settings().metrics_path.read_text())
    assert samples['sip_trunks_trunks{account="acme"}'] == 3
    last_run = json.loads(read_settings().last_run_path.read_text())
    assert [entry["account"] for entry in last_run["accounts"]] == ["acme"]
    assert "acme" in read_settings().page_path.read_text()
    for path in (place / "data").rglob("*"):
        assert not path.is_file() or path.suffix == ".log" or b'"default"' not in path.read_bytes(), path

    api.answer(TRUNKS)
    assert "sip-trunks accounts rename acme default" in call("run", code=5)
    configure(monkeypatch, "acme")
    assert "the response is unchanged" in call("run", "--no-reports")
    api.answer([*TRUNKS, trunk(id=45)])
    assert "1 new, 0 changed, 0 removed" in call("run")
    assert not [name for name in samples_of(read_settings().metrics_path.read_text()) if "default" in name]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("nobody", "acme"), "no account named 'nobody'; stored: default"),
        (("default", "default"), "already has an account named 'default'"),
        (("default", "a b"), "'a b' is not a valid account name"),
        (("default", ""), "'' is not a valid account name"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(begin: Begin, place: Path, names: tuple[str, ...], says: str) -> None:
    begin(TRUNK)
    assert says in call("accounts", "rename", *names, code=2)
    assert query(BY_ACCOUNT) == [("default", 1)]


def test_before_anything_is_stored_there_is_no_account_to_rename(place: Path) -> None:
    assert "stored: no account" in call("accounts", "rename", "default", "acme", code=2)


def test_the_demo_account_is_renamed_there_and_back(place: Path) -> None:
    call("run", "--demo", "--no-reports")
    call("accounts", "rename", "demo", "acme")
    assert "sip-trunks accounts rename acme demo" in call("run", "--demo", "--no-reports", code=5)
    call("accounts", "rename", "acme", "demo")
    # The next edition of the demo account is compared with the one before.
    assert "1 new, 1 changed, 3 removed" in call("run", "--demo", "--no-reports")


# ---------------------------------------------------------------------- trunks under another name


def test_an_account_with_the_trunks_of_a_removed_account_is_refused(
    begin: Begin, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    begin(*TRUNKS)
    configure(monkeypatch, "acme", "beta", "empty")
    # Meanwhile one was changed, one was deleted and one is new.
    api.answer_to("token-acme", [trunk(nickname="new"), TRUNKS[2], trunk(id=90, phone_number="1090")])
    api.answer_to("token-beta", [trunk(id=91, phone_number="1000")])
    api.answer_to("token-empty", [])
    assert b"accounts rename default acme" in capture("check", code=5).out
    result = load()
    assert result.exit_code == 8
    refused, *others = result.accounts
    assert [entry.status for entry in others] == ["loaded", "loaded"]
    assert refused.exit_code == 5
    assert "2 of the 3 stored trunks of default" in (refused.error or "")
    for way in ("accounts rename default acme", "run --account acme --accept-new-account"):
        assert f"sip-trunks {way} --destination parquet" in (refused.error or "")
    assert query(BY_ACCOUNT) == [("beta", 1), ("default", 3)]
    assert load(accept_new_account=True).exit_code == 0
    # Once it is stored, it is like any other.
    assert load().exit_code == 0
    assert query(BY_ACCOUNT) == [("acme", 3), ("beta", 1), ("default", 3)]


def test_trunks_are_found_under_another_name_although_their_numbers_become_pseudonyms(
    begin: Begin, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(*TRUNKS)
    configure(monkeypatch, "acme")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", "a key of some length, 32 or more")
    assert only(load()).exit_code == 5
    call("accounts", "rename", "default", "acme")
    assert only(load()).changed_count == 3
    # Pseudonyms are found, and renamed, as any other value.
    configure(monkeypatch, "beta")
    monkeypatch.delenv("SOURCES__FAMULOR__ACCOUNTS__ACME")
    assert only(load()).exit_code == 5
    call("accounts", "rename", "acme", "beta")
    assert only(load()).status == "unchanged"
    api.answer([*TRUNKS, trunk(id=45)])
    assert [only(outcome := load()).new_count, only(outcome).changed_count] == [1, 0]
