"""What was there at a moment, and the life of one trunk."""

from __future__ import annotations

import pandas as pd

from tests.support.changes import log_changes
from tests.support.frames import day, drift, observations, rows, versions
from trunk_transforms.history.timeline import count_versions, derive_timeline, list_moments, state_at

HISTORY = versions(
    {"id": 1, "days": (0, None)},
    {"id": 2, "days": (0, 2)},
    {"id": 2, "sip_address": "out.didww.com", "country_code": "FR", "days": (2, 4)},
    {"id": 2, "days": (6, None)},
    {"id": 3, "days": (2, 6)},
)
OBSERVATIONS = observations(0, 2, 4, 6)
CHANGES = log_changes(HISTORY, OBSERVATIONS, drift(), since=None, as_of=day(9))


def test_moments_are_those_of_all_accounts_each_once() -> None:
    both = pd.concat([observations(4, 2), observations(2, 3, account="beta")])
    assert list_moments(both) == [day(2), day(3), day(4)]
    assert list_moments(observations()) == []


def test_a_version_is_there_from_its_first_moment_until_before_its_end() -> None:
    known = {number: set(state_at(HISTORY, day(number))["id"]) for number in (-1, 0, 1, 2, 3.9, 4, 5, 6, 7)}
    assert known == {
        -1: set(),
        0: {1, 2},
        1: {1, 2},
        2: {1, 2, 3},
        3.9: {1, 2, 3},
        4: {1, 3},
        5: {1, 3},
        6: {1, 2},
        7: {1, 2},
    }


def test_a_state_has_one_version_of_each_trunk() -> None:
    assert rows(state_at(HISTORY, day(3)), "id", "country_code") == [(1, "DE"), (2, "FR"), (3, "DE")]


def test_all_changes_begin_after_the_first_snapshot() -> None:
    told = sorted(rows(CHANGES, "observed_at", "trunk_id", "change", "field"), key=str)
    assert told == sorted(
        [
            (day(2), 2, "changed", "country_code"),
            (day(2), 2, "changed", "sip_address"),
            (day(2), 3, "added", None),
            (day(4), 2, "removed", None),
            (day(6), 2, "added", None),
            (day(6), 3, "removed", None),
        ],
        key=str,
    )


def test_those_that_changed_most_come_first() -> None:
    assert rows(count_versions(HISTORY), "id", "version_count") == [(2, 3), (1, 1), (3, 1)]


def test_a_timeline_has_the_changes_of_every_version_and_the_times_without_the_trunk() -> None:
    assert rows(derive_timeline(HISTORY, CHANGES, "acme", 2), "valid_from", "valid_to", "what") == [
        (day(6), None, "added"),
        (day(4), None, "removed"),
        (day(2), day(4), "country_code: DE → FR; sip_address: sip.telnyx.com → out.didww.com"),
        (day(0), day(2), "first seen"),
    ]


def test_a_trunk_that_came_later_was_added_and_one_that_never_changed_first_seen() -> None:
    assert rows(derive_timeline(HISTORY, CHANGES, "acme", 3), "what") == [("removed",), ("added",)]
    assert rows(derive_timeline(HISTORY, CHANGES, "acme", 1), "what") == [("first seen",)]


def test_without_an_observation_there_is_no_timeline() -> None:
    changes = log_changes(versions(), observations(), drift(), since=None, as_of=day(9))
    assert changes.empty
    assert count_versions(versions()).empty
    assert state_at(versions(), day(1)).empty
    assert derive_timeline(versions(), changes, "acme", 1).empty
