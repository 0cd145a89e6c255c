"""`check` as a user calls it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sip_trunks.commands.dispatch import COMMANDS
from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.runs import PROJECT, call, capture, query

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.fixtures import Begin


@pytest.mark.usefixtures("place")
def test_check_shows_passed_and_failed_checks(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer([TRUNK])
    assert "ok    account default: token accepted, 1 trunks" in call("check")
    api.answer(b"", 401)
    assert b"FAIL  account default" in capture("check", code=3).out
    monkeypatch.delenv("FAMULOR_API_KEY")
    assert b"FAIL  token" in capture("check", code=2).out


def test_check_fails_as_the_next_run_would(api: Api, begin: Begin) -> None:
    begin(TRUNK, IP_TRUNK)
    api.answer([])
    told = json.loads(capture("check", "--json", code=5).out)
    assert told["exit_code"] == 5
    (failed,) = (check for check in told["checks"] if not check["is_ok"])
    assert failed["check"] == "account default"
    assert "2 of 2 stored trunks are missing" in failed["detail"]
    assert failed["detail"] in call("run", "--no-reports", code=5)
    api.answer([TRUNK, IP_TRUNK])
    assert json.loads(call("check", "--json"))["exit_code"] == 0


def test_the_error_on_a_missing_token_lists_the_folders_that_were_searched(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    (place / "a").mkdir()
    monkeypatch.chdir(place / "a")
    said = call("run", code=2)
    for folder in (place / "a", place, PROJECT):
        assert str(folder / ".dlt") in said


def test_folders_are_options_of_every_command_before_and_after_it(place: Path, api: Api) -> None:
    api.answer([TRUNK])
    (place / "settings").mkdir()
    (place / "settings" / "config.toml").write_text('[sources.famulor]\nattempts = "many"')
    assert "attempts needs" in call("--config", "settings", "status", code=2)
    (place / "settings" / "config.toml").write_text("[sources.famulor]\nattempts = 1")
    call("run", "--no-reports", "--config", "settings", "--data-dir", "there")
    assert (place / "there" / "warehouse.duckdb").is_file()
    assert not (place / "data").exists()
    assert call("--data-dir", "there", "sql", "SELECT count(*) FROM sip_trunks", "--format", "csv").split() == [
        "count_star()",
        "1",
    ]
    assert "has no .dlt, secrets.toml or config.toml" in call("status", "--config", "nowhere", code=2)


def refused(*arguments: str) -> str:
    """Return the only line that a command prints, which `check` prints as its result."""
    printed = capture(*arguments, code=2)
    (line,) = (printed.out.decode() + printed.errors).splitlines()
    assert line.startswith("FAIL  settings: " if arguments[0] == "check" else "sip-trunks: ")
    return line


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"completion"}))
def test_every_command_refuses_settings_that_it_does_not_use(
    place: Path, api: Api, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    arguments = {"export": ["--output", "x"], "import": ["x"], "schedule": ["show"]}.get(command, [])
    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text('[sip_trunk]\npseudonymize = ["phone_number"]')
    assert "did you mean sip_trunks.pseudonymize?" in refused(command, *arguments)
    (place / ".dlt" / "config.toml").write_text('[sip_trunks]\npseudonymize = ["phone"]')
    assert "neither a declared nor a stored field: did you mean phone_number?" in refused(command, *arguments)
    assert api.requests == []


def test_a_stored_field_can_be_replaced_by_pseudonyms(api: Api, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(TRUNK | {"zz_invented": "+4930231125077"})
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", "k" * 32)
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "zzInvented")
    api.answer([TRUNK | {"zz_invented": "+4930231125078"}])
    assert "zz_invented will be replaced" in call("check")
    call("run", "--no-reports")
    assert query("SELECT starts_with(zz_invented, 'hmac:') FROM sip_trunks") == [(True,)]


def test_check_compares_the_free_space_with_the_destination_in_use(api: Api, place: Path) -> None:
    api.answer([TRUNK])
    assert call("run", "--no-reports", "--destination", "parquet")
    with (place / "data" / "warehouse.duckdb").open("wb") as file:
        file.truncate(1 << 43)  # more than any disk of a machine that tests has free, and no block of it is written
    assert "ok    disk" in call("check", "--destination", "parquet")
    disk = next(line for line in capture("check", code=7).out.decode().splitlines() if " disk" in line)
    assert disk.startswith("FAIL")
    assert "warehouse.duckdb may need" in disk
