"""How a value is read depends on nothing but the value: not on its neighbours, and not on the way of reading."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import ABSENT, TRUNK
from trunk_transforms.parse.records import Columns, read_records
from trunk_transforms.parse.snapshot import derive_row_version

if TYPE_CHECKING:
    from trunk_transforms.schema.tables import ColumnType

TYPES: dict[str, ColumnType] = {
    "zz_whole": "bigint",
    "zz_ratio": "double",
    "zz_flag": "bool",
    "zz_text": "text",
    "zz_object": "json",
}

DATES = ("2026-03-31", "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "2026-02-30", "1969-12-31")
TIMES = ("10:00:00", "10:00", "10", "24:00:00", "23:59:60", "00:00:00", "23:59:59")
FRACTIONS = ("", *("." + "123456789012"[:digits] for digits in range(13)), ",5")
ZONES = ("", "Z", "z", "+00", "-03", "+0530", "+05:30", "-23:59", "+23:59", "+24:00", "-00:00", "+5", " UTC", " Z")
MOMENTS = st.builds("{}{}{}{}{}".format, *map(st.sampled_from, (DATES, "Tt _", TIMES, FRACTIONS, ZONES)))
NUMBERS = (
    "0", "-0", "-0.0", "1", "1.0", "1e2", "42", "1.5", "-7", "0.1", "1e400", "-1e400", "1E+400", "1e-400", "5e-324",
    "1e1000000000000000000", "9007199254740993", "9223372036854775807", "9223372036854775808", "1e19",
    "123456789012345678901234567890.5", "9" * 5000, "1" * 400, "0." + "3" * 5000,
)  # fmt: skip
TEXTS = ('""', '" "', '"x"', '"1"', '"NaN"', '"true"', r'"\ud800"', r'"\ud83d\ude00"', r'"a\u0000b"', r'"\/"', '"日本"')
LISTS = ("[]", "[null]", '["a"]', '["b","a"]', "[1]", r'["\ud800"]', '[["a"]]')
OBJECTS = ("{}", '{"b":1,"a":[1e400]}', r'{"a":"\ud800"}', '{"n":-0.0}')
MISSING = st.sampled_from([ABSENT, "null"])
ANYTHING = st.sampled_from([*NUMBERS, *TEXTS, *LISTS, *OBJECTS, "true", "false"]) | MISSING
INSTANTS = MOMENTS.map(json.dumps) | ANYTHING
COLUMNS = {
    **dict.fromkeys(("outbound_proxy", "country_code", "allowed_inbound_ips", *TYPES), ANYTHING),
    **dict.fromkeys(("created_at", "updated_at", "zz_text"), INSTANTS),
}
RECORDS = st.lists(st.fixed_dictionaries(COLUMNS), min_size=1, max_size=6)


def spell(records: list[dict[str, Any]]) -> list[bytes]:
    """Return records whose values are spelled as JSON."""
    numbers = count(1)
    plain = {name: json.dumps(value) for name, value in TRUNK.items()}
    whole = [plain | record | {"id": str(next(numbers))} for record in records]
    texts = (",".join(f'"{name}":{text}' for name, text in record.items() if text is not ABSENT) for record in whole)
    return [b"{%s}" % text.encode() for text in texts]


def rows(columns: Columns) -> list[str]:
    """Return each row, without what is null, beside its version; as text, so that -0.0 is not 0.0."""
    table = columns.table.add_column(0, "account", [["acme"] * len(columns.table)])
    versions = derive_row_version(table, columns.types).to_pylist()
    values = ({n: v for n, v in row.items() if v is not None} for row in columns.table.to_pylist())
    return [f"{version} {sorted(row.items())}" for version, row in zip(versions, values, strict=True)]


@settings(max_examples=60)
@given(RECORDS, st.integers(1, 6))
def test_a_value_is_read_the_same_alone_and_beside_others(records: list[dict[str, Any]], size: int) -> None:
    sent = spell(records)
    alone = [rows(read_records([record], TYPES))[0] for record in sent]
    assert rows(read_records(sent, TYPES)) == alone
    assert rows(read_records(sent, TYPES, batch_records=size)) == alone


@settings(max_examples=60)
@given(st.lists(st.fixed_dictionaries({"created_at": MOMENTS.map(json.dumps) | MISSING}), min_size=2, max_size=8))
def test_an_instant_is_read_the_same_alone_and_beside_others(records: list[dict[str, Any]]) -> None:
    sent = spell(records)
    columns = read_records(sent)
    assert rows(columns) == [rows(read_records([record]))[0] for record in sent]
    assert sum(entry.row_count for entry in columns.drift if entry.kind == "type_mismatch") == sum(
        entry.row_count for record in sent for entry in read_records([record]).drift if entry.kind == "type_mismatch"
    )


FITTING = {
    "zz_whole": ("0", "-0", "-9223372036854775808", "null"),
    "zz_ratio": ("0", "-0", "-0.0", "1e-400", "5e-324", "0.1", "1.0", "1e2", "null"),
    "zz_flag": ("true", "false", "null"),
    "zz_text": ('""', '"x"', r'"\ud83d\ude00"', r'"a\u0000b"', "null"),
    "allowed_inbound_ips": ("[]", "[null]", '["b","a"]', "null"),
    "created_at": ('"2026-03-31 10:00:00+00"', '"2026-03-31T10:00:00"', '"soon"', "null"),
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in FITTING.items() for text in texts])
def test_both_ways_of_reading_a_value_agree(name: str, text: str) -> None:
    quick = read_records(spell([{name: text}]), TYPES)
    # An object in a column of another type can only be read value by value.
    slow = read_records(spell([{name: text}, {"sip_address": "{}"}]), TYPES)
    assert rows(slow)[0] == rows(quick)[0]
    assert pa.types.is_string(slow.table.schema.field("sip_address__v_text").type)
