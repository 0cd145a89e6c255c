"""Pseudonyms: what is hidden is nowhere, what was derived from it still holds, and nobody loses it by an accident."""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from pipelines.cli import main
from pipelines.errors import SettingsError
from pipelines.settings import read_settings, with_pseudonym_key
from tests.builders import IP_TRUNK, TRUNK, raw, trunk
from transforms.numbers import derive_numbers
from transforms.pseudonyms import derive_pseudonyms, hide_columns
from transforms.records import read_records
from transforms.snapshot import read_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Api

KEY = b"a key of some length, 32 or more"
NUMBERS = ["+4930231125000", "1000", "ext-7", "0049 30 231125000", " ", None, "x" * 40, "+4930231125000"]


def test_a_pseudonym_has_the_kind_and_the_calling_code_and_nothing_else_of_its_number() -> None:
    hidden = derive_pseudonyms(pa.array(NUMBERS, pa.string()), KEY).to_pylist()
    assert [text and text.rpartition(":")[0] for text in hidden] == [
        "hmac:DID:49", "hmac:extension:", "hmac:extension:", "hmac:DID:49", "", None, "hmac:unknown:", "hmac:DID:49",
    ]  # fmt: skip
    assert hidden[0] == hidden[7] != hidden[3]
    assert len(hidden[0].rpartition(":")[2]) == 32
    other = derive_pseudonyms(pa.array(NUMBERS[:1], pa.string()), b"another key, as long as the first").to_pylist()
    assert other[0] != hidden[0]


def test_kind_and_calling_code_are_read_off_a_pseudonym() -> None:
    hidden = derive_pseudonyms(pa.array(NUMBERS, pa.string()), KEY)
    plain = derive_numbers(pd.DataFrame({"phone_number": pd.Series(NUMBERS, dtype="str")}))
    derived = derive_numbers(pd.DataFrame({"phone_number": pd.Series(hidden.to_pylist(), dtype="str")}))
    for column in ("number_kind", "calling_code"):
        pd.testing.assert_series_equal(derived[column], plain[column])


def test_what_only_looks_like_a_pseudonym_says_nothing() -> None:
    texts = pd.DataFrame({"phone_number": pd.Series(["hmac:DID:49:", "hmac:king:1:" + "0" * 32], dtype="str")})
    assert derive_numbers(texts)["number_kind"].tolist() == ["unknown", "unknown"]


def test_misfits_and_fields_of_other_types_are_hidden_too() -> None:
    records = raw(
        trunk(phone_number=491234567, owner={"name": "Ana Lopez"}, floor=4711),
        trunk(id=43, phone_number="1000", owner=None, floor=None),
    )
    names = ("phone_number", "owner", "floor")
    plain = read_records(records)
    for _ in range(2):  # with the types that are stored then, the same again
        columns = hide_columns(read_records(records, plain.types), names, KEY)
        text = json.dumps(columns.table.to_pylist(), default=str)
        assert not [word for word in ("491234567", "Ana", "4711", "1000") if word in text]
        assert columns.types == {name: columns.types[name] for name in columns.table.column_names}
        for name in names:
            hidden = columns.table[f"{name}__v_text"].to_pylist()
            assert hidden[0].startswith("hmac:")
            assert hidden[1] is None
    assert columns.table["id"].to_pylist() == [42, 43]


def test_a_field_is_hidden_however_it_is_written_and_wherever_it_is_a_member() -> None:
    records = raw(
        trunk(
            phoneNumber="+4930111111111",  # the column of its name is taken: this one gets a tag
            callerId="+4930222222222",
            routes=[{"label": "fine", "to": {"phone-number": ["+4930333333333", 4930444444444, None, ""]}}],
            sip_address={"caller_id": {"deep": [{"er": "+4930555555555"}]}, "port": 5060},
        ),
    )
    columns = hide_columns(read_records(records), ("caller_id", "phone_number"), KEY)
    text = json.dumps(columns.table.to_pylist(), default=str)
    assert "4930" not in text
    routes, address = (json.loads(columns.table[n][0].as_py()) for n in ("routes", "sip_address__v_text"))
    assert routes[0]["label"] == "fine"
    assert [value and value[:12] for value in routes[0]["to"]["phone-number"]] == [
        "hmac:DID:49:",
        "hmac:DID:49:",
        None,
        "",
    ]
    assert address["port"] == 5060
    (same,) = derive_pseudonyms(pa.array(["+4930333333333"]), KEY).to_pylist()
    assert routes[0]["to"]["phone-number"][0] == same


def test_a_pseudonym_can_be_made_again_with_any_tool_that_knows_hmac() -> None:
    for key in (KEY, b"k" * 16, b"k" * 64, b"k" * 65):
        (pseudonym,) = derive_pseudonyms(pa.array(["+4930231125000"]), key).to_pylist()
        assert pseudonym == f"hmac:DID:49:{hmac.digest(key, b'+4930231125000', 'sha256').hex()[:32]}"


def test_pseudonyms_need_no_pandas_which_a_run_without_reports_has_not() -> None:
    code = "import sys, transforms.pseudonyms; print('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_row_versions_are_of_what_is_stored() -> None:
    records = raw(TRUNK, IP_TRUNK)

    def versions(key: bytes) -> list[str]:
        hidden = read_snapshot(records, account="a", hide=lambda columns: hide_columns(columns, ["phone_number"], key))
        return list(hidden.trunks["row_version"].to_pylist())

    assert versions(KEY) == versions(KEY)
    assert set(versions(KEY)).isdisjoint(read_snapshot(records, account="a").trunks["row_version"].to_pylist())
    assert versions(KEY) != versions(b"x" * 32)


@pytest.mark.parametrize(
    ("value", "key", "says"),
    [
        ("phone_number", None, "needs a key of at least 16 characters"),
        ("phone_number", "short", "needs a key of at least 16 characters"),
        ("id", "k" * 32, "cannot have 'id'"),
        ("row_version", "k" * 32, "cannot have 'row_version'"),
        ("phoneNumber,countryCode", "k" * 32, "cannot have 'countryCode'"),
        ("phone_numbr", "k" * 32, "cannot have 'phone_numbr'; it can have phone_number and sip_username"),
        ("", "k" * 32, "is set, but empty"),
    ],
)
def test_what_would_protect_nothing_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, value: str, key: str | None, says: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", value)
    if key:
        monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", key)
    with pytest.raises(SettingsError, match=says):
        with_pseudonym_key(read_settings())


def test_what_is_stored_is_read_without_the_key(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number")
    assert read_settings().pseudonymize == ("phone_number",)


def test_fields_are_named_as_a_list_or_with_commas(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", "k" * 32)
    for written in ('["sip_username", "phone_number"]', "phone_number,sip_username", " phoneNumber sip_username "):
        monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", written)
        assert read_settings().pseudonymize == ("phone_number", "sip_username")
    assert "k" * 32 not in repr(read_settings())


# Whole runs

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
def test_what_is_hidden_is_in_no_file_and_history_joins_and_reports_go_on(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], destination: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number,sip_username")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", KEY.decode())
    api.answer(snapshot())
    assert main(["run", *(["--no-reports"] if destination == "parquet" else [])]) == 0
    api.answer(snapshot(country_code="DE"))
    assert main(["run", "--no-reports"]) == 0
    assert main(["run", "--no-reports"]) == 0
    said = capsys.readouterr()
    assert "1 changed, 0 removed" in said.out
    assert "to the byte, the last one" in said.out
    assert not files_that_tell(place / "data")
    query = """SELECT number_kind, starts_with(phone_number, 'hmac:DID:'), starts_with(sip_username, 'hmac:') AS u
        FROM sip_trunks WHERE country_code = 'DE'"""
    main(["sql", query, "--format", "csv"])
    assert capsys.readouterr().out.splitlines()[1] == "DID,true,true"
    main(["report", "by_number_kind", "--format", "csv"])
    assert capsys.readouterr().out.splitlines()[1].startswith("DID,2")
    main(["audit", "--select", "number", "--format", "csv"])
    assert "number" not in capsys.readouterr().out.partition("\n")[2]


def test_a_run_says_once_that_pseudonyms_do_not_reach_what_is_stored(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer(snapshot())
    said = []
    for fields in ("[]", "phone_number", "phone_number,sip_username", "phone_number,sip_username"):
        monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", fields)
        monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", KEY.decode())
        assert main(["run", "--no-reports"]) == 0
        said.append("the history of default keeps the values that were stored before" in capsys.readouterr().err)
    assert said == [False, True, True, False]


def test_a_run_that_would_say_what_is_hidden_is_refused(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number,sip_username")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", KEY.decode())
    api.answer(snapshot())
    assert main(["run", "--no-reports"]) == 0
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", "another key, by mistake")
    assert main(["run", "--no-reports"]) == 2
    assert "sip_trunks.pseudonym_key is another one" in capsys.readouterr().err
    monkeypatch.delenv("SIP_TRUNKS__PSEUDONYMIZE")
    assert main(["run", "--no-reports"]) == 2
    assert "sip_trunks.pseudonymize is not set" in capsys.readouterr().err
    assert not files_that_tell(place / "data")
    # Other fields are no other key.
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "phone_number")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", KEY.decode())
    assert main(["run", "--no-reports"]) == 0
