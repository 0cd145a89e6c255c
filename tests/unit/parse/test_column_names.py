"""The column of a field: one of its own for every field, whatever it is called."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import TRUNK, raw, trunk
from trunk_transforms.parse.column_names import claim_columns, column_name
from trunk_transforms.parse.records import Columns, origin_of, read_records
from trunk_transforms.parse.snapshot import derive_row_version

if TYPE_CHECKING:
    from trunk_transforms.schema.tables import ColumnType


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


def read_in_turn(
    *snapshots: list[dict[str, Any]], batch_records: int = 8
) -> list[dict[int, tuple[str, dict[str, Any]]]]:
    """Return the version and the own columns of every trunk by its id, in snapshots that follow one another."""
    known: dict[str, ColumnType] = {}
    kept: dict[str, str] = {}
    seen = []
    for trunks in snapshots:
        columns = read_records(raw(*trunks), known, kept, batch_records=batch_records)
        known |= {name: kind for name, kind in columns.types.items() if name not in TRUNK}
        new = [entry for entry in columns.drift if entry.kind == "new_column"]
        kept = {origin: entry.column_name for entry in new if (origin := origin_of(entry.column_name, entry.detail))}
        table = columns.table.add_column(0, "account", [["acme"] * len(columns.table)])
        versions = derive_row_version(table, columns.types).to_pylist()
        own = ({n: v for n, v in row.items() if n not in TRUNK and v is not None} for row in columns.table.to_pylist())
        seen.append(dict(zip(columns.table["id"].to_pylist(), zip(versions, own, strict=True), strict=True)))
    return seen


SPELLINGS = ("zz_max", "zzMax", "ZzMax", "zz-max", "ZZ max")


@pytest.mark.parametrize("batch_records", [1, 8])
@pytest.mark.parametrize(("first", "later"), [*permutations(SPELLINGS, 2)])
def test_a_field_keeps_its_column_when_one_of_the_same_name_comes_and_goes(
    first: str, later: str, batch_records: int
) -> None:
    same, both = trunk(id=1, **{first: 5}), trunk(id=2, **{first: 7, later: 8})
    seen = read_in_turn(
        [same, both | {later: None}],
        [both, same],
        [same, both],
        [same, {n: v for n, v in both.items() if n != first}],
        [trunk(id=1), {n: v for n, v in both.items() if n != first}],
        batch_records=batch_records,
    )
    assert [snapshot[1] for snapshot in seen[:4]] == [seen[0][1]] * 4
    assert seen[1][2] == seen[2][2]
    assert [snapshot[2][1]["zz_max"] for snapshot in seen[:3]] == [7] * 3
    (column,) = seen[1][2][1].keys() - {"zz_max"}
    assert [snapshot[2][1] for snapshot in seen[3:]] == [{column: 8}] * 2


def test_a_field_that_takes_the_place_of_another_gets_its_column() -> None:
    (_, before), (_, after) = (
        snapshot[1] for snapshot in read_in_turn([trunk(id=1, zzMax=5)], [trunk(id=1, zz_max=5)])
    )
    assert before == after == {"zz_max": 5}


def test_long_names_that_are_quoted_alike_keep_columns_of_their_own() -> None:
    fields = {"F" * 70 + end: end for end in "ab"}
    seen = read_in_turn([trunk(id=1, **fields)], [trunk(id=1, **fields)], [trunk(id=1, **fields)])
    assert seen[0] == seen[1] == seen[2]
    assert sorted(seen[0][1][1].values()) == ["a", "b"]


@given(st.lists(st.sets(st.sampled_from([*SPELLINGS, *claim_columns(SPELLINGS).values()])), min_size=2, max_size=5))
def test_fields_keep_their_columns_while_others_come_and_go(snapshots: list[set[str]]) -> None:
    seen = read_in_turn(*([trunk(id=1, **{name: name for name in names})] for names in snapshots))
    columns = [{field: column for column, field in snapshot[1][1].items()} for snapshot in seen]
    for names, before, after in zip(snapshots, columns, columns[1:], strict=False):
        assert before.keys() == names
        assert all(after[field] == column for field, column in before.items() if field in after)
