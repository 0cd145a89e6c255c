"""How many trunks there were, period by period."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from tests.support.frames import day, observations, rows, versions
from trunk_transforms.history.growth import Period, derive_growth, is_within, list_fitting_periods
from trunk_transforms.schema.reports import GROWTH

LIVES = versions(
    {"id": 1, "days": (0, 1)},
    {"id": 1, "days": (1, None), "country_code": "FR"},  # changed, not gone
    {"id": 2, "days": (0, 1)},
    {"id": 2, "days": (3, None)},  # back on day 3
    {"id": 3, "days": (1, 3), "created_at": datetime(2026, 3, 3, 1, tzinfo=UTC)},
)
COUNTS = ("period", "snapshot_count", "created_count", "first_seen_count", "returned_count", "vanished_count")


@pytest.mark.parametrize(
    ("days", "periods"),
    [
        (0, ["hour", "day", "week", "month"]),
        (2, ["hour", "day", "week", "month"]),
        (3, ["day", "week", "month"]),
        (59, ["week", "month"]),
        (400, ["week", "month"]),
        (730, ["month"]),
        (9000, ["month"]),
    ],
)
def test_the_finest_period_that_fits_a_chart_is_first(days: float, periods: list[Period]) -> None:
    assert list_fitting_periods(day(0), day(days)) == periods
    if days < 1000:
        growth = derive_growth(LIVES, observations(0, days), as_of=day(days), since=day(0), period=periods[0])
        assert len(growth) <= 60


def test_an_hour_is_a_timestamp() -> None:
    growth = derive_growth(LIVES, observations(0, 0.1), as_of=day(0.1), since=day(0), period="hour")
    assert rows(growth, "period", "trunk_count") == [
        (pd.Timestamp("2026-03-02 09:00"), 2),
        (pd.Timestamp("2026-03-02 10:00"), None),
        (pd.Timestamp("2026-03-02 11:00"), 2),
    ]
    moments = pd.Series([day(0), day(0.05), day(0.1)])
    assert list(is_within(moments, growth["period"].iloc[[0, 2]], "hour")) == [True, False, True]


def test_every_day_since_the_first_observation_is_there_and_a_gap_between_runs_shows() -> None:
    growth = derive_growth(LIVES, observations(0, 1, 3), as_of=day(3.2), period="day")
    assert list(growth.columns) == GROWTH.names
    assert rows(growth, *COUNTS, "trunk_count") == [
        (date(2026, 1, 15), 0, 2, 0, 0, 0, None),
        (date(2026, 3, 2), 1, 0, 2, 0, 0, 2),
        (date(2026, 3, 3), 1, 1, 1, 0, 1, 2),
        (date(2026, 3, 4), 0, 0, 0, 0, 0, None),
        (date(2026, 3, 5), 1, 0, 0, 1, 1, 2),
    ]


@pytest.mark.parametrize(
    ("period", "first_days"),
    [("week", [date(2026, 1, 12), date(2026, 3, 2)]), ("month", [date(2026, 1, 1), date(2026, 3, 1)])],
)
def test_weeks_begin_on_monday_and_months_on_their_first(period: Any, first_days: list[date]) -> None:
    growth = derive_growth(LIVES, observations(0, 1, 3), as_of=day(3.2), period=period)
    assert list(growth["period"]) == first_days
    assert rows(growth, *COUNTS[1:], "trunk_count")[-1] == (3, 1, 3, 1, 2, 2)


def test_growth_at_a_moment_knows_nothing_that_came_later() -> None:
    growth = derive_growth(LIVES, observations(0, 1, 3), as_of=day(2.5), period="month")
    assert rows(growth, *COUNTS[1:], "trunk_count")[-1] == (2, 1, 3, 0, 1, 2)


def test_since_leaves_out_the_periods_that_were_over_by_then() -> None:
    growth = derive_growth(LIVES, observations(0, 1, 3), as_of=day(3.2), since=day(1.9), period="day")
    assert list(growth["period"]) == [date(2026, 3, 4), date(2026, 3, 5)]


def test_dates_that_no_calendar_shows_do_no_harm() -> None:
    odd = versions(
        {"id": 1, "days": (0, None), "created_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"id": 2, "days": (0, None), "created_at": datetime(9999, 12, 31, tzinfo=UTC)},
        {"id": 3, "days": (0, None), "created_at": None},
    )
    growth = derive_growth(odd, observations(0), as_of=day(1), period="day")
    assert rows(growth, "period", "created_count", "trunk_count") == [
        (date(1, 1, 1), 1, None),
        (date(2026, 3, 2), 0, 3),
        (date(2026, 3, 3), 0, None),
    ]


def test_an_account_without_trunks_has_a_growth_of_zero() -> None:
    growth = derive_growth(versions(), observations(0), as_of=day(0.1), period="day")
    assert rows(growth, "account", "period", "trunk_count") == [("acme", date(2026, 3, 2), 0)]


def test_growth_is_the_same_for_all_accounts_at_once_and_for_each() -> None:
    lives = pd.concat([LIVES, LIVES.assign(account="beta")])
    seen = pd.concat([observations(0, 1, 3), observations(0, 3, account="beta")])
    together = derive_growth(lives, seen, as_of=day(4), period="day")
    apart = [
        derive_growth(lives[lives["account"] == a], seen[seen["account"] == a], as_of=day(4), period="day")
        for a in ("acme", "beta")
    ]
    pd.testing.assert_frame_equal(together, pd.concat(apart, ignore_index=True))
