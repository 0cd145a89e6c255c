"""How fresh what is stored is."""

from __future__ import annotations

import pytest

from tests.support.frames import day, observations, rows
from trunk_transforms.history.freshness import derive_freshness
from trunk_transforms.schema.reports import FRESHNESS


def test_the_expected_interval_is_the_median_of_the_last_ones() -> None:
    fresh = derive_freshness(observations(0, 1, 2, 3, 10, trunk_count=7), as_of=day(13.6))
    assert list(fresh.columns) == FRESHNESS.names
    hour = 3600
    assert rows(fresh, *FRESHNESS.names[2:]) == [(round(3.6 * 24 * hour), 24 * hour, 3, 7 * 24 * hour, 5, 7)]


@pytest.mark.parametrize(("age", "missed"), [(0, 0), (1, 0), (1.4, 0), (1.6, 1), (2.4, 1), (10, 9)])
def test_a_run_counts_as_missed_half_an_interval_after_it_was_expected(age: float, missed: int) -> None:
    fresh = derive_freshness(observations(0), as_of=day(age), expected_interval_seconds=24 * 3600)
    assert list(fresh["missed_run_count"]) == [missed]


def test_an_account_without_a_snapshot_comes_first_and_two_observations_give_no_interval() -> None:
    fresh = derive_freshness(observations(0, 1), as_of=day(2), accounts=["beta", "acme"])
    assert rows(fresh, "account", "age_seconds", "expected_interval_seconds", "missed_run_count", "snapshot_count") == [
        ("beta", None, None, None, 0),
        ("acme", 24 * 3600, None, None, 2),
    ]
