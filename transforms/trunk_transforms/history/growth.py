"""Versions and observations → the number of trunks per period."""

from datetime import datetime
from typing import Literal

import pandas as pd
import pyarrow as pa

from trunk_transforms.schema.arguments import require_columns, require_time_zone
from trunk_transforms.schema.reports import GROWTH

Period = Literal["hour", "day", "week", "month"]
PERIODS: tuple[Period, ...] = ("hour", "day", "week", "month")

MOST_PERIODS = 60
"""The highest number of periods that fit a chart."""

_FREQUENCIES: dict[Period, str] = {"hour": "h", "day": "D", "week": "W-SUN", "month": "M"}
_DAYS: dict[Period, float] = {"hour": 1 / 24, "day": 1, "week": 7, "month": 30.4}
_KEY = ["account", "id"]
_DATE = pd.ArrowDtype(pa.date32())


def derive_growth(
    lifetimes: pd.DataFrame,
    observations: pd.DataFrame,
    *,
    as_of: datetime,
    since: datetime | None = None,
    period: Period = "month",
) -> pd.DataFrame:
    """Return the trunks created, first seen, returned and vanished per account and period, and the total.

    Grain: one row per account and period, from the account's first snapshot to `as_of`, plus earlier periods in which a
    trunk was created; with `since`, only periods that end after it. Needs `account`, `id`, `created_at`, `valid_from`
    and `valid_to` of `sip_trunks_history`, and `account` and `snapshot_at` of `sip_trunk_snapshots`; has the columns
    `GROWTH`. All periods are UTC; the period of an hour is a timestamp, of the others a date.
    """
    require_columns(lifetimes, ("account", "id", "created_at", "valid_from", "valid_to"), "lifetimes")
    require_columns(observations, ("account", "snapshot_at"), "observations")
    require_time_zone(as_of, "as_of")
    observations = observations.loc[observations["snapshot_at"] <= as_of, ["account", "snapshot_at"]]
    known = lifetimes.loc[lifetimes["valid_from"] <= as_of].sort_values([*_KEY, "valid_from"])
    ended = known["valid_to"].where(known["valid_to"] <= as_of)
    trunks = known.groupby(_KEY, sort=False)
    is_last = trunks["valid_from"].shift(-1) != ended
    follows = ended.groupby([known["account"], known["id"]], sort=False).shift(1) == known["valid_from"]
    is_first = ~known.duplicated(_KEY)
    # A later version may have a created_at that cannot be read.
    created = known.dropna(subset="created_at").drop_duplicates(_KEY, keep="last")
    events = {
        "snapshot_count": _count(observations, observations["snapshot_at"], period),
        "created_count": _count(created, created["created_at"].where(created["created_at"] <= as_of), period),
        "first_seen_count": _count(known, known["valid_from"].where(is_first), period),
        "returned_count": _count(known, known["valid_from"].where(~is_first & ~follows), period),
        "vanished_count": _count(known, ended.where(is_last), period),
    }
    counts = pd.concat(events, axis="columns")
    periods = counts.index.union(_list_periods(observations, as_of, period))
    counts = counts.reindex(periods).fillna(0).astype("int64").sort_index()
    gains = counts["first_seen_count"] + counts["returned_count"] - counts["vanished_count"]
    total = gains.groupby("account").cumsum().astype("Int64")
    growth = counts.assign(trunk_count=total.where(counts["snapshot_count"] > 0)).reset_index()
    if since is not None:
        growth = growth.loc[growth["period"].dt.end_time >= pd.Timestamp(since).tz_convert(None)]
    starts = growth["period"].dt.start_time
    growth["period"] = starts if period == "hour" else starts.dt.date.astype(_DATE)
    return growth[GROWTH.names].reset_index(drop=True)


def list_fitting_periods(first: datetime, last: datetime) -> list[Period]:
    """Return the periods that cut a span of time into at most `MOST_PERIODS` parts, or the longest, finest first."""
    days = (last - first).total_seconds() / 86400
    return [period for period in PERIODS if days / _DAYS[period] < MOST_PERIODS - 1] or [PERIODS[-1]]


def is_within(moments: pd.Series, starts: pd.Series, period: Period) -> pd.Series:
    """Return a flag per moment (UTC): it is in one of the periods with these starts."""
    begins = moments.dt.tz_convert(None).dt.to_period(_FREQUENCIES[period]).dt.start_time
    is_in: pd.Series = begins.isin(pd.to_datetime(starts))
    return is_in


def _count(rows: pd.DataFrame, moments: pd.Series, period: Period) -> pd.Series:
    """Return the number of moments per account and period; `moments` has one, or null, per row."""
    events = rows[["account"]].assign(at=moments).dropna()
    periods = events["at"].dt.tz_convert(None).dt.to_period(_FREQUENCIES[period])
    return events.groupby(["account", periods.rename("period")]).size()


def _list_periods(observations: pd.DataFrame, as_of: datetime, period: Period) -> pd.MultiIndex:
    """Return every account with each period since its first observation."""
    last, frequency = pd.Timestamp(as_of).tz_convert(None), _FREQUENCIES[period]
    first = observations.groupby("account")["snapshot_at"].min().dt.tz_convert(None)
    pairs = [(account, each) for account, at in first.items() for each in pd.period_range(at, last, freq=frequency)]
    return pd.MultiIndex.from_tuples(pairs, names=["account", "period"])


def sum_growth(growth: pd.DataFrame) -> pd.DataFrame:
    """Return the growth of all accounts together. Grain: one row per period, the last `MOST_PERIODS` of them.

    `trunk_count` sums the last snapshot of each account; it is null in a period without snapshots.
    """
    counts = growth.pivot(index="period", columns="account", values="trunk_count").astype("float64")
    events = growth.drop(columns=["account", "trunk_count"]).groupby("period").sum()
    total = counts.ffill().sum(axis="columns").where(counts.notna().any(axis="columns"))
    return events.assign(trunk_count=total.astype("Int64")).tail(MOST_PERIODS).reset_index()
