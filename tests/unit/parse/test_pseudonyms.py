"""Pseudonyms: what is hidden is in no column, and what was derived from it still holds."""

from __future__ import annotations

import hmac
import json

import pandas as pd
import pyarrow as pa

from tests.support.builders import IP_TRUNK, TRUNK, raw, trunk
from trunk_transforms.enrich.numbers import derive_numbers
from trunk_transforms.parse.pseudonyms import derive_pseudonyms, hide_columns
from trunk_transforms.parse.records import read_records
from trunk_transforms.parse.snapshot import parse_snapshot

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


def test_a_text_that_only_looks_like_a_pseudonym_has_no_kind() -> None:
    texts = pd.DataFrame({"phone_number": pd.Series(["hmac:DID:49:", "hmac:king:1:" + "0" * 32], dtype="str")})
    assert derive_numbers(texts)["number_kind"].tolist() == ["unknown", "unknown"]


def test_misfits_and_fields_of_other_types_are_hidden_too() -> None:
    records = raw(
        trunk(phone_number=491234567, zz_owner={"name": "Ana Lopez"}, zz_floor=4711),
        trunk(id=43, phone_number="1000", zz_owner=None, zz_floor=None),
    )
    names = ("phone_number", "zz_owner", "zz_floor")
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
            zzCallerId="+4930222222222",
            zz_routes=[{"label": "fine", "to": {"phone-number": ["+4930333333333", "004930444444444", None, ""]}}],
            sip_address={"zz_caller_id": {"deep": [{"er": "+4930555555555"}]}, "port": 5060},
        ),
    )
    columns = hide_columns(read_records(records), ("zz_caller_id", "phone_number"), KEY)
    text = json.dumps(columns.table.to_pylist(), default=str)
    assert "4930" not in text
    routes, address = (json.loads(columns.table[n][0].as_py()) for n in ("zz_routes", "sip_address__v_text"))
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


def test_a_pseudonym_can_be_reproduced_with_any_hmac_tool() -> None:
    for key in (KEY, b"k" * 16, b"k" * 64, b"k" * 65):
        (pseudonym,) = derive_pseudonyms(pa.array(["+4930231125000"]), key).to_pylist()
        assert pseudonym == f"hmac:DID:49:{hmac.digest(key, b'+4930231125000', 'sha256').hex()[:32]}"


def test_row_versions_are_of_the_stored_values() -> None:
    records = raw(TRUNK, IP_TRUNK)

    def versions(key: bytes) -> list[str]:
        hidden = parse_snapshot(records, account="a", hide=lambda columns: hide_columns(columns, ["phone_number"], key))
        return list(hidden.rows["row_version"].to_pylist())

    assert versions(KEY) == versions(KEY)
    assert set(versions(KEY)).isdisjoint(parse_snapshot(records, account="a").rows["row_version"].to_pylist())
    assert versions(KEY) != versions(b"x" * 32)
