"""The column of a field: one of its own for every field, whatever it is called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import TRUNK, raw, trunk
from trunk_transforms.parse.column_names import claim_columns, column_name
from trunk_transforms.parse.records import Columns, read_records


def values(columns: Columns, name: str) -> list[Any]:
    return list(columns.table[name].to_pylist())


def drift(columns: Columns) -> set[tuple[str, str, int]]:
    return {(entry.column_name, entry.kind, entry.row_count) for entry in columns.drift}


def test_names_that_collide_or_are_reserved_get_columns_of_their_own() -> None:
    columns = read_records(raw(trunk(sipUsername="other", account="acme", _dlt_load_id="x", valid_from=1)))
    assert values(columns, "sip_username") == ["myuser"]
    own = [name for name in columns.table.column_names if name not in TRUNK]
    assert len(own) == 4
    assert not {"account", "_dlt_load_id", "valid_from"} & set(own)
    assert {kind for _, kind, _ in drift(columns)} == {"name_collision", "new_column"}


@pytest.mark.parametrize(
    "name", ["select", "", "日本", "x" * 300, "a b", 'quo"te', "__x", "1st", "x__v_text", "\u202e"]
)
def test_any_field_name_gets_a_column_that_can_be_stored(name: str) -> None:
    columns = read_records(raw(trunk(**{name: "v"})))
    own = [column for column in columns.table.column_names if column not in TRUNK]
    assert len(own) == 1
    assert 0 < len(own[0]) <= 63
    assert own[0] == own[0].lower()
    assert not own[0].endswith("__v_text")
    assert values(columns, own[0]) == ["v"]


@pytest.mark.parametrize("batch_records", [1, 2, 8])
def test_which_field_gets_a_column_does_not_depend_on_the_order_of_the_records(batch_records: int) -> None:
    records = [trunk(id=1, zzMaxChannels=1), trunk(id=2, zz_max_channels=2), trunk(id=3, ZzMaxChannels=3)]
    seen = []
    for order in (records, records[::-1], records[1:] + records[:1]):
        columns = read_records(raw(*order), batch_records=batch_records)
        own = sorted(set(columns.table.column_names) - set(TRUNK))
        seen.append((own, sorted(map(str, columns.table.select(["id", *own]).to_pylist())), columns.drift))
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][0]) == 3
    assert "zz_max_channels" in seen[0][0]


LONG = "f" * 300


OTHERS_COLUMN = column_name(LONG)


@pytest.mark.parametrize("sent", [{OTHERS_COLUMN: "a", LONG: 1}, {LONG: 1, OTHERS_COLUMN: "a"}])
def test_a_field_named_like_another_s_column_loses_nothing(sent: dict[str, Any]) -> None:
    columns = read_records(raw(trunk(**sent)))
    own = {name: values(columns, name) for name in columns.table.column_names if name not in TRUNK}
    assert sorted(own.values(), key=str) == [["a"], [1]]


@given(
    st.sets(
        st.sampled_from(
            ["foo", "Foo", "FOO", "foo bar", *claim_columns(["foo", "Foo", "FOO"]).values(), LONG, OTHERS_COLUMN]
        )
    )
)
def test_every_field_has_a_column_of_its_own(fields: set[str]) -> None:
    claimed = claim_columns(fields)
    assert claimed.keys() == fields
    assert len(set(claimed.values())) == len(fields)


def test_a_stored_column_that_comes_as_a_field_is_read_and_does_not_hang() -> None:
    columns = read_records(
        raw(trunk(**{OTHERS_COLUMN: 1, "zz_newer": 2})), {OTHERS_COLUMN: "text", "account_1": "bigint"}
    )
    own = {name: values(columns, name) for name in columns.table.column_names if name not in TRUNK}
    assert [1] in own.values() or ["1"] in own.values()


def test_a_field_that_is_only_null_takes_no_column_from_another() -> None:
    columns = read_records(raw(trunk(zzMaxChannels=5, zz_max_channels=None)))
    assert values(columns, "zz_max_channels") == [5]
    assert {entry.kind for entry in columns.drift} == {"new_column"}


def test_a_stored_column_keeps_its_type_for_the_field_that_made_it() -> None:
    columns = read_records(raw(trunk(zzMaxChannels=5)), {"zz_max_channels": "text"})
    assert values(columns, "zz_max_channels__v_text") == ["5"]
