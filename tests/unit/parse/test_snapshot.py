"""Columns → the tables that are stored: what a version is, allowlists, twins."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.support.builders import ABSENT, IP_TRUNK, TRUNK, raw, trunk
from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.parse.pseudonyms import hide_columns
from trunk_transforms.parse.records import DriftError
from trunk_transforms.parse.snapshot import ParsedSnapshot, derive_entries, parse_snapshot, parse_together, pick_rows
from trunk_transforms.schema.resources import TRUNKS
from trunk_transforms.schema.tables import JSON_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunk_transforms.parse.records import Columns
    from trunk_transforms.schema.tables import ColumnType


def read(*records: dict[str, Any], account: str = "acme") -> ParsedSnapshot:
    return parse_snapshot(raw(*records), account=account)


def entries_of(snapshot: ParsedSnapshot) -> Any:
    assert TRUNKS.entries is not None
    return derive_entries(snapshot.rows, TRUNKS.entries)


def version(record: dict[str, Any], account: str = "acme") -> str:
    return str(read(record, account=account).rows["row_version"][0].as_py())


IPS = ["203.0.113.10", "198.51.100.20"]


@pytest.mark.parametrize(
    "same",
    [
        dict(reversed(IP_TRUNK.items())),
        IP_TRUNK | {"allowed_inbound_ips": list(reversed(IPS))},
        IP_TRUNK | {"created_at": "2026-03-31T11:00:00Z"},
        IP_TRUNK | {"created_at": "2026-03-31 11:00:00"},
        IP_TRUNK | {"created_at": "2026-03-31T13:00:00+02:00"},
        IP_TRUNK | {"id": 43.0},
        IP_TRUNK | {"zz_field": None},
    ],
    ids=["keys", "allowlist", "seconds", "blank", "offset", "number", "null"],
)
def test_another_spelling_of_the_same_trunk_is_not_a_new_version(same: dict[str, Any]) -> None:
    assert version(same) == version(IP_TRUNK)


def test_null_and_absent_are_the_same_version() -> None:
    assert version(trunk(allowed_inbound_ips=ABSENT)) == version(trunk(allowed_inbound_ips=None))


def test_keys_of_a_new_object_may_change_their_order() -> None:
    assert version(trunk(zz_extra={"a": 1, "b": 2})) == version(trunk(zz_extra={"b": 2, "a": 1}))


@pytest.mark.parametrize(
    "changed",
    [
        *(TRUNK | {name: "other"} for name in TRUNK if name not in ("id", "allowed_inbound_ips", "outbound_proxy")),
        TRUNK | {"id": 7},
        TRUNK | {"outbound_proxy": True},
        TRUNK | {"outbound_proxy": "false"},
        TRUNK | {"allowed_inbound_ips": []},
        TRUNK | {"allowed_inbound_ips": [None]},
        TRUNK | {"allowed_inbound_ips": ["null"]},
        TRUNK | {"allowed_inbound_ips": ["a", "b"]},
        TRUNK | {"allowed_inbound_ips": ["a,1:b"]},
        TRUNK | {"zz_field": 0},
        TRUNK | {"zz_field": ""},
        TRUNK | {"updated_at": "2026-03-31T10:00:00.000001Z"},
    ],
    ids=str,
)
def test_every_real_change_is_a_new_version(changed: dict[str, Any]) -> None:
    assert version(changed) != version(TRUNK)


def test_a_number_within_json_may_be_spelled_with_a_fraction_of_zero() -> None:
    assert version(trunk(zz_extra={"a": [1, 2.5]})) == version(trunk(zz_extra={"a": [1.0, 2.5]}))


def test_text_that_moves_from_one_column_to_the_next_is_a_new_version() -> None:
    assert version(trunk(phone_number="ab", sip_username="c")) != version(trunk(phone_number="a", sip_username="bc"))


def test_versions_of_different_accounts_differ() -> None:
    assert version(TRUNK, "acme") != version(TRUNK, "beta")


def test_versions_are_the_same_in_every_release() -> None:
    # A change here closes and reopens every version that anybody has stored: it needs a migration.
    canonical = (
        "acme\n"
        "allowed_inbound_ips=12:1:a,1:b,null\n"
        "country_code=2:US\n"
        "created_at=16:1774951200000000\n"
        "id=2:42\n"
        "inbound_authorization_type=4:auth\n"
        "outbound_proxy=5:false\n"
        "phone_number=4:1000\n"
        "sip_address=16:sip.provider.com\n"
        "sip_calling_format=5:+e164\n"
        "updated_at=16:1774951200000000\n"
        'zz_extra=9:{"a":[1]}\n'
        "zz_flag=4:true\n"
        "zz_ratio=19:4602678819172646912\n"
    )
    record = trunk(
        zz_ratio=0.5,
        zz_flag=True,
        zz_extra={"a": [1]},
        allowed_inbound_ips=["b", "a", None],
        sip_username=None,
        nickname=ABSENT,
    )
    assert version(record) == blake2b(canonical.encode(), digest_size=16).hexdigest()


def test_allowlists_become_rows_in_the_order_sent() -> None:
    rows = read(TRUNK, IP_TRUNK, trunk(id=44, allowed_inbound_ips=[]), trunk(id=45, allowed_inbound_ips=["::1", None]))
    entries = [(r["trunk_id"], r["position"], r["ip"]) for r in entries_of(rows).to_pylist()]
    assert entries == [(43, 0, "203.0.113.10"), (43, 1, "198.51.100.20"), (45, 0, "::1"), (45, 1, None)]


def test_an_empty_account_has_empty_tables_with_every_column() -> None:
    empty, full = read(), read(TRUNK)
    assert empty.rows.schema.equals(full.rows.schema)
    assert entries_of(empty).schema.equals(entries_of(full).schema)
    assert len(empty.rows) == len(entries_of(empty)) == 0


def test_equal_twins_collapse_silently() -> None:
    tables = read(TRUNK, IP_TRUNK, dict(reversed(TRUNK.items())))
    assert tables.rows["id"].to_pylist() == [42, 43]
    assert tables.drift == ()


@pytest.mark.parametrize("newest", [0, 1, 2])
def test_of_twins_that_differ_the_one_updated_last_stays(newest: int) -> None:
    twins = [trunk(sip_username=f"u{n}", updated_at=f"2026-04-0{5 if n == newest else 1}T00:00:00Z") for n in range(3)]
    tables = read(*twins)
    assert tables.rows["sip_username"].to_pylist() == [f"u{newest}"]
    assert [(entry.kind, entry.row_count) for entry in tables.drift] == [("duplicate_id", 3)]


def test_text_that_is_json_is_marked_as_such() -> None:
    schema = read(trunk(zz_extra={"a": 1})).rows.schema
    assert schema.field("zz_extra").metadata == JSON_FIELD
    assert schema.field("sip_username").metadata == {}


def test_many_trunks_over_several_batches_keep_their_rows_together() -> None:
    records = [trunk(id=n, allowed_inbound_ips=[f"10.0.0.{n % 250}"] * (n % 3)) for n in range(25_000)]
    tables = read(*records)
    assert tables.rows["id"].to_pylist() == list(range(25_000))
    assert len(set(tables.rows["row_version"].to_pylist())) == 25_000
    last = entries_of(tables).to_pylist()[-1]
    assert (last["trunk_id"], last["position"], last["ip"]) == (24_998, 1, "10.0.0.248")
    assert last["row_version"] == tables.rows["row_version"][24_998].as_py()
    assert tables.rows["allowed_inbound_ips"][24_998].as_py() == ["10.0.0.248"] * 2


def test_trunks_are_picked_with_their_allowlists() -> None:
    snapshot = read(trunk(id=1, allowed_inbound_ips=["203.0.113.1"]), IP_TRUNK, trunk(id=3))
    picked = pick_rows(snapshot, pa.chunked_array([[False, True, True]]))
    assert picked.rows["id"].to_pylist() == [IP_TRUNK["id"], 3]
    assert set(entries_of(picked)["trunk_id"].to_pylist()) == {IP_TRUNK["id"]}
    assert entries_of(picked)["ip"].to_pylist() == IP_TRUNK["allowed_inbound_ips"]
    assert pick_rows(snapshot, pa.chunked_array([[True] * 3])) is snapshot


@pytest.mark.parametrize("hide", [None, partial(hide_columns, names=["phone_number"], key=b"key")], ids=["", "hidden"])
def test_accounts_that_are_parsed_together_are_what_each_is_alone(hide: Callable[[Columns], Columns] | None) -> None:
    known: dict[str, ColumnType] = {"zz_rate": "double", "zz_extra": "json"}
    sent = {
        "acme": raw(TRUNK, IP_TRUNK),
        "none": raw(),
        "beta": raw(IP_TRUNK | {"nickname": None, "zz_rate": None}, trunk(id=44, allowed_inbound_ips=[])),
        "many": raw(*(trunk(id=n, allowed_inbound_ips=["::1"] * (n % 3)) for n in range(12_000))),
        "last": raw(trunk(nickname=ABSENT, updated_at="2026-03-31 11:00:00")),
    }
    together = parse_together(sent, known=known, hide=hide)
    alone = [parse_snapshot(records, account=account, known=known, hide=hide) for account, records in sent.items()]
    assert [one.account for one in together] == [*sent]
    for one, expected in zip(together, alone, strict=True):
        assert one.rows.equals(expected.rows, check_metadata=True)
        assert (one.types, one.drift, one.resource) == (expected.types, (), expected.resource)
        assert entries_of(one).equals(entries_of(expected))
    assert [len(one.rows) for one in parse_together({"none": [], "neither": []})] == [0, 0]


@pytest.mark.parametrize(
    "odd",
    [
        [trunk(zz_rate=0.5)],
        [trunk(zz_field="new")],
        [trunk(country_code=ABSENT)],
        [trunk(sip_address=None)],
        [trunk(outbound_proxy="no")],
        [trunk(created_at="soon")],
        [trunk(sip_calling_format="E.164")],
        [trunk(api_key="secret")],
        [TRUNK, TRUNK],
        [trunk(id=None)],
    ],
    ids=str,
)
def test_accounts_are_not_parsed_together_with_one_that_has_drift(odd: list[dict[str, Any]]) -> None:
    with pytest.raises((DriftError, InvalidResponseError)):
        parse_together({"acme": raw(TRUNK), "odd": raw(*odd), "beta": raw(TRUNK)}, known={"zz_rate": "double"})
