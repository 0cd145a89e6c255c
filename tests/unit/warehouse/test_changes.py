"""What changed between two moments, and step by step."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pytest

from tests.support.changes import derive_changes, log_changes
from tests.support.frames import day, drift, observations, rows, versions
from trunk_transforms.schema.reports import CHANGES

ALL = versions(
    {"id": 1, "days": (0, 2)},
    {"id": 1, "days": (2, None), "sip_address": "out.didww.com", "outbound_proxy": True},
    {"id": 2, "days": (0, 1)},
    {"id": 3, "days": (2, None)},
    {"id": 4, "days": (0, None)},
)


def test_without_a_moment_the_last_two_snapshots_are_compared() -> None:
    changes = derive_changes(ALL, observations(0, 1, 2), drift(), since=None, as_of=day(9))
    assert list(changes.columns) == CHANGES.names
    assert rows(changes, "trunk_id", "change", "field", "old", "new", "legs", "note") == [
        (1, "changed", "outbound_proxy", "false", "true", "outbound", None),
        (1, "changed", "sip_address", "sip.telnyx.com", "out.didww.com", "outbound", None),
        (3, "added", None, None, None, None, None),
    ]
    assert set(changes["observed_at"]) == {pd.Timestamp(day(2))}


def test_from_an_earlier_moment_everything_since_counts() -> None:
    changes = derive_changes(ALL, observations(0, 1, 2), drift(), since=day(0.5), as_of=day(9))
    assert rows(changes, "trunk_id", "change", "observed_at")[-1] == (2, "removed", pd.Timestamp(day(1)))
    assert len(changes) == 4


def test_up_to_an_earlier_moment_nothing_later_counts() -> None:
    changes = derive_changes(ALL, observations(0, 1), drift(), since=day(0), as_of=day(1.5))
    assert rows(changes, "trunk_id", "change") == [(2, "removed")]


@pytest.mark.parametrize("since", [None, day(-5), day(0)])
def test_the_first_snapshot_is_not_a_change(since: Any) -> None:
    assert derive_changes(ALL, observations(0), drift(), since=since, as_of=day(0.5)).empty
    assert log_changes(ALL, observations(0), drift(), since=since or day(-9), as_of=day(0.5)).empty


def test_a_change_and_its_reversal_are_two_steps_and_no_difference() -> None:
    there_and_back = versions(
        {"days": (0, 1)}, {"days": (1, 2), "country_code": "FR"}, {"days": (2, None)}, {"id": 2, "days": (1, 2)}
    )
    seen = (there_and_back, observations(0, 1, 2), drift())
    assert derive_changes(*seen, since=day(0), as_of=day(3)).empty
    assert rows(log_changes(*seen, since=day(0), as_of=day(3)), "trunk_id", "change", "old", "new") == [
        (1, "changed", "FR", "DE"),
        (2, "removed", None, None),
        (1, "changed", "DE", "FR"),
        (2, "added", None, None),
    ]


def test_a_trunk_that_changed_before_its_removal_is_removed_once() -> None:
    gone = versions({"days": (0, 1)}, {"days": (1, 2), "country_code": "FR"})
    changes = derive_changes(gone, observations(0, 1, 2), drift(), since=day(0), as_of=day(3))
    assert rows(changes, "change", "observed_at") == [("removed", pd.Timestamp(day(2)))]


def test_a_difference_has_the_moment_of_its_change_although_the_trunk_changed_later() -> None:
    name = {"nickname": "x"}
    later = versions(
        {"days": (0, 1)},
        {"days": (1, 2), "country_code": "FR"},
        {"days": (2, None), "country_code": "FR"} | name,
        {"id": 2, "days": (1, 2)},
        {"id": 2, "days": (2, None)} | name,
    )
    changes = derive_changes(later, observations(0, 1, 2), drift(), since=day(0), as_of=day(3))
    assert rows(changes, "trunk_id", "change", "field", "observed_at") == [
        (1, "changed", "nickname", pd.Timestamp(day(2))),
        (1, "changed", "country_code", pd.Timestamp(day(1))),
        (2, "added", None, pd.Timestamp(day(1))),
    ]


def test_the_legs_that_an_update_re_creates_are_those_that_the_vendor_documents() -> None:
    documented: list[tuple[str, Any, str]] = [
        ("phone_number", "+4930231253", "both"),
        ("sip_username", "x", "both"),
        ("sip_address", "x.example", "outbound"),
        ("outbound_proxy", True, "outbound"),
        ("inbound_authorization_type", "auth", "inbound"),
        ("allowed_inbound_ips", '["185.246.41.140"]', "inbound"),
        ("sip_calling_format", "e164", "none"),
        ("country_code", "FR", "none"),
    ]
    stored = []
    for number, (field, value, _) in enumerate(documented):
        # updated_at moves with every update, and then says nothing.
        after = {field: value, "updated_at": day(1)}
        stored += [{"id": number, "days": (0, 1)}, {"id": number, "days": (1, None)} | after]
    changes = derive_changes(versions(*stored), observations(0, 1), drift(), since=None, as_of=day(2))
    expected = [(number, field, legs, None) for number, (field, _, legs) in enumerate(documented)]
    assert rows(changes, "trunk_id", "field", "legs", "note") == expected


def test_an_update_that_shows_nothing_may_be_one_of_the_credentials() -> None:
    touched = versions({"days": (0, 1)}, {"days": (1, None), "updated_at": day(1)})
    changes = derive_changes(touched, observations(0, 1), drift(), since=None, as_of=day(2))
    assert rows(changes, "field", "old", "new", "legs") == [
        ("updated_at", "2026-01-15T00:00:00.000000Z", "2026-03-03T09:00:00.000000Z", None)
    ]
    assert changes["note"][0].startswith("possible credential change")


@pytest.mark.parametrize(
    ("steps", "is_shown"),
    [
        ([{"country_code": "FR"}, {}], False),
        ([{"country_code": "FR"}, {"country_code": "FR", "sip_address": "x.example"}, {}], False),
        ([None, {}], False),
        ([{"country_code": "FR"}, {"country_code": "FR"}, {}], True),
        ([{}, {}], True),
    ],
    ids=["there and back", "two fields and back", "removed and returned", "touched between", "touched twice"],
)
def test_updated_at_that_the_versions_between_explain_suggests_no_change_of_credentials(
    steps: list[dict[str, Any] | None], is_shown: bool
) -> None:
    """Every update moves `updated_at`, so a field that changed and changed back leaves it moved."""
    stored: list[dict[str, Any]] = [{"days": (0, 1)}]
    for place, fields in enumerate(steps, 1):
        if fields is not None:
            end = place + 1 if place < len(steps) else None
            stored.append({"days": (place, end), "updated_at": day(place), **fields})
    seen = (versions(*stored), observations(*range(len(steps) + 1)), drift())
    changes = derive_changes(*seen, since=day(0), as_of=day(9))
    assert rows(changes, "change", "field") == [("changed", "updated_at")] * is_shown


def test_allowlists_are_compared_and_shown_in_order() -> None:
    changed = versions(
        {"id": 1, "days": (0, 1), "allowed_inbound_ips": '["b", "a", null]'},
        {"id": 1, "days": (1, None), "allowed_inbound_ips": '["a", "b"]'},
        {"id": 2, "days": (0, 1), "allowed_inbound_ips": '["b", "a"]'},
        {"id": 2, "days": (1, None), "allowed_inbound_ips": '["a", "b"]', "country_code": "FR"},
    )
    changes = derive_changes(changed, observations(0, 1), drift(), since=None, as_of=day(2))
    assert rows(changes, "trunk_id", "field", "old", "new") == [
        (1, "allowed_inbound_ips", '[null, "a", "b"]', '["a", "b"]'),
        (2, "country_code", "DE", "FR"),
    ]


@pytest.mark.parametrize("compare", [derive_changes, log_changes])
class TestDrift:
    """A column that the API newly delivers, or no longer, is no change of every trunk."""

    def test_a_new_column_is_not_a_change(self, compare: Any) -> None:
        grown = versions({"days": (0, 1), "zz_desk": None}, {"days": (1, None), "zz_desk": "reception"})
        found = drift({"snapshot_at": day(1), "column_name": "zz_desk"})
        assert compare(grown, observations(0, 1), found, since=day(0), as_of=day(2)).empty

    def test_updated_at_that_moves_with_a_new_column_does_not_suggest_a_change_of_credentials(
        self, compare: Any
    ) -> None:
        moved = {"days": (1, None), "zz_desk": "reception", "updated_at": day(1)}
        found = drift({"snapshot_at": day(1), "column_name": "zz_desk"})
        grown = versions({"days": (0, 1), "zz_desk": None}, moved)
        assert compare(grown, observations(0, 1), found, since=day(0), as_of=day(2)).empty

    def test_a_value_in_a_column_that_was_there_before_is_one(self, compare: Any) -> None:
        grown = versions({"days": (0, 1), "zz_desk": None}, {"days": (1, None), "zz_desk": "reception"})
        found = drift(*({"snapshot_at": day(n), "column_name": "zz_desk"} for n in (0, 1)))
        changes = compare(grown, observations(0, 1), found, since=day(0), as_of=day(2))
        assert rows(changes, "field", "old", "new", "legs") == [("zz_desk", None, "reception", None)]

    def test_an_unchanged_response_has_the_columns_of_the_response_before(self, compare: Any) -> None:
        grown = versions({"days": (0, 2), "zz_desk": "desk"}, {"days": (2, None), "zz_desk": "reception"})
        found = drift(*({"snapshot_at": day(n), "column_name": "zz_desk"} for n in (0, 2)))
        seen = observations(0, 1, 2, 3, loads=(0, 0, 2, 2))
        assert rows(compare(grown, seen, found, since=day(1), as_of=day(4)), "old", "new") == [("desk", "reception")]

    def test_a_declared_field_that_every_trunk_lost_is_not_a_change(self, compare: Any) -> None:
        shrunk = versions({"days": (0, 1)}, {"days": (1, None), "country_code": None})
        missing = {"snapshot_at": day(1), "column_name": "country_code", "kind": "missing_column"}
        assert compare(shrunk, observations(0, 1), drift(missing), since=day(0), as_of=day(2)).empty

    def test_a_declared_field_that_only_this_trunk_lacks_is_one(self, compare: Any) -> None:
        shrunk = versions({"days": (0, 1)}, {"days": (1, None), "country_code": None})
        missing = {"snapshot_at": day(1), "column_name": "country_code", "kind": "missing_column"}
        changes = compare(shrunk, observations(0, 1, trunk_count=2), drift(missing), since=day(0), as_of=day(2))
        assert rows(changes, "field", "old", "new") == [("country_code", "DE", None)]


def test_a_misfit_is_the_value_that_was_sent() -> None:
    flawed = versions(
        {"days": (0, 1), "outbound_proxy": True, "outbound_proxy__v_text": None},
        {"days": (1, None), "outbound_proxy": None, "outbound_proxy__v_text": "yes"},
    )
    changes = derive_changes(flawed, observations(0, 1), drift(), since=None, as_of=day(2))
    assert rows(changes, "field", "old", "new") == [("outbound_proxy", "true", "yes")]


def test_a_misfit_of_an_allowlist_is_compared_if_no_changed_trunk_has_a_list() -> None:
    flawed = versions(
        {"days": (0, 1), "allowed_inbound_ips": None, "allowed_inbound_ips__v_text": None},
        {"days": (1, None), "allowed_inbound_ips": None, "allowed_inbound_ips__v_text": "8.8.8.8"},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        changes = derive_changes(flawed, observations(0, 1), drift(), since=None, as_of=day(2))
    assert rows(changes, "field", "old", "new") == [("allowed_inbound_ips", None, "8.8.8.8")]


def test_fields_of_the_api_may_have_any_name() -> None:
    names = {"observed_at": "a", "before_at": "a", "change": "a", "field": "a", "old": "a", "x_old": "a", "note": "a"}
    odd = versions({"days": (0, 1)} | names, {"days": (1, None)} | dict.fromkeys(names, "b"))
    found = drift(*({"snapshot_at": day(n), "column_name": name} for n in (0, 1) for name in names))
    changes = derive_changes(odd, observations(0, 1), found, since=None, as_of=day(2))
    assert rows(changes, "field", "old", "new") == [(name, "a", "b") for name in sorted(names)]


def test_each_account_is_compared_with_its_own_last_snapshots() -> None:
    stored = versions(
        {"account": "a", "days": (0, 5)},
        {"account": "a", "days": (5, None), "country_code": "FR"},
        {"account": "b", "days": (0, 1)},
        {"account": "b", "days": (1, None), "country_code": "FR"},
    )
    seen = pd.concat([observations(0, 5, account="a"), observations(0, 1, account="b")])
    together = derive_changes(stored, seen, drift(), since=None, as_of=day(9))
    assert rows(together, "account", "observed_at") == [("a", pd.Timestamp(day(5))), ("b", pd.Timestamp(day(1)))]
    apart = [
        derive_changes(stored[stored["account"] == a], seen[seen["account"] == a], drift(), since=None, as_of=day(9))
        for a in ("a", "b")
    ]
    pd.testing.assert_frame_equal(together, pd.concat(apart, ignore_index=True))


def test_without_a_difference_there_is_no_change() -> None:
    quiet = versions({"days": (0, None)})
    for stored in (quiet, quiet.iloc[:0]):
        for seen in (observations(0), observations(0, 1)):
            changes = derive_changes(stored, seen, drift(), since=None, as_of=day(2))
            assert changes.empty
            assert list(changes.columns) == CHANGES.names
