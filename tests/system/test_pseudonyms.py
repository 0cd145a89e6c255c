"""Runs that store pseudonyms: nothing of what they hide reaches a file, and history and reports go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.commands import main
from sip_trunks.core.accounts import with_pseudonym_key
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK, trunk
from tests.support.runs import call, query

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

KEY = "a key of some length, 32 or more"


SECRETS = ("4155550199", "beatriz.exchange", "30231125077", "ana.lopez")


def snapshot(**changed: Any) -> list[dict[str, Any]]:
    return [
        IP_TRUNK | {"phone_number": "+14155550199", "sip_username": "beatriz.exchange"},
        trunk(phone_number="+4930231125077", sip_username="ana.lopez", **changed),
    ]


def files_that_tell(folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        found += [f"{path.name}: {secret}" for secret in SECRETS if secret.encode() in content]
    return found


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_hidden_values_are_in_no_file_and_history_and_reports_still_work(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number,sip_username")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", KEY)
    api.answer(snapshot())
    call("run", *(["--no-reports"] if destination == "parquet" else []))
    api.answer(snapshot(country_code="DE"))
    assert "1 changed, 0 removed" in call("run", "--no-reports")
    assert "the response is unchanged" in call("run", "--no-reports")
    stored = """SELECT number_kind, starts_with(phone_number, 'hmac:DID:'), starts_with(sip_username, 'hmac:')
        FROM sip_trunks WHERE country_code = 'DE'"""
    assert query(stored) == [("DID", True, True)]
    assert call("report", "by_number_kind", "--format", "csv").splitlines()[1].startswith("DID,2")
    assert "number" not in call("audit", "--select", "number", "--format", "csv").partition("\n")[2]
    # A run that would store the values themselves, or other pseudonyms, is refused.
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", "another key, by mistake")
    assert "sip_trunks.pseudonym_key is a different key" in call("run", "--no-reports", code=2)
    monkeypatch.delenv("SIP_TRUNKS__PSEUDONYMIZE")
    assert "sip_trunks.pseudonymize is not set" in call("run", "--no-reports", code=2)
    assert not files_that_tell(place / "data")


def test_a_run_warns_once_that_stored_values_are_not_pseudonymized(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other fields with the same key are no reason to refuse a run, but to warn."""
    api.answer(snapshot())
    said = []
    for fields in ("[]", "phone_number", "phone_number,sip_username", "phone_number,sip_username"):
        monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", fields)
        monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", KEY)
        assert main(["run", "--no-reports"]) == 0
        said.append("the history of default keeps the values that were stored before" in capsys.readouterr().err)
    assert said == [False, True, True, False]


def test_fields_without_a_key_are_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings have no key; dlt, whose vaults may have one, is asked before that is said."""
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number")
    with pytest.raises(UsageError, match="needs a key of at least 16 characters"):
        with_pseudonym_key(read_settings())
