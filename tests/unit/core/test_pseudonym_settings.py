"""Which fields are stored as pseudonyms, and by which key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.accounts import with_pseudonym_key
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("value", "key", "says"),
    [
        ("phone_number", "short", "needs a key of at least 16 characters"),
        ("id", "k" * 32, "cannot have 'id'"),
        ("row_version", "k" * 32, "cannot have 'row_version'"),
        ("phoneNumber,countryCode", "k" * 32, "cannot have 'countryCode'"),
        ("phone_numbr", "k" * 32, "cannot have 'phone_numbr'; it can have phone_number, nickname, sip_username"),
        ("", "k" * 32, "is set, but empty"),
    ],
)
def test_settings_that_would_protect_nothing_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, value: str, key: str, says: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", value)
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", key)
    with pytest.raises(UsageError, match=says):
        with_pseudonym_key(read_settings())


def test_stored_data_is_read_without_the_key(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number")
    assert read_settings().pseudonymize == ("phone_number",)


def test_fields_are_named_as_a_list_or_with_commas(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", "k" * 32)
    for written in ('["sip_username", "phone_number"]', "phone_number,sip_username", " phoneNumber sip_username "):
        monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", written)
        assert read_settings().pseudonymize == ("phone_number", "sip_username")
    assert "k" * 32 not in repr(read_settings())
