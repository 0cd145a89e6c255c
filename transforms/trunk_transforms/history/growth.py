"""Versions and observations → how many trunks there were, period by period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd
import pyarrow as pa

from trunk_transforms.schema.reports import GROWTH

if TYPE_CHECKING:
    from datetime import datetime

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = ("day", "week", "month")

_FREQUENCIES: dict[Period, str] = {"day": "D", "week": "W-SUN", "month": "M"}
_EVENTS = ["snapshot_count", "created_count", "first_seen_count", "returned_count", "vanished_count"]
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
    """Return per account and period what was created, first seen, returned and vanished, and the total.

    Grain: one row per account and period: every one from the account's first snapshot up to `as_of`, and the earlier
    ones in which a trunk was created; with `since`, those that end after it. Needs `account`, `id`, `created_at`,
    `valid_from` and `valid_to` of `sip_trunks_history`, `account` and `snapshot_at` of `sip_trunk_snapshots`; has the
    columns `GROWTH`. All periods are UTC.
    """
    observations = observations.loc[observations["snapshot_at"] <= as_of, ["account", "snapshot_at"]]
    known = lifetimes.loc[lifetimes["valid_from"] <= as_of].sort_values([*_KEY, "valid_from"])
    ended = known["valid_to"].where(known["valid_to"] <= as_of)
    trunks = known.groupby(_KEY, sort=False)
    is_last = trunks["valid_from"].shift(-1) != ended
    follows = ended.groupby([known["account"], known["id"]], sort=False).shift(1) == known["valid_from"]
    is_first = ~known.duplicated(_KEY)
    created = known.drop_duplicates(_KEY, keep="last")
    events = {
        "snapshot_count": observations.rename(columns={"snapshot_at": "at"}),
        "created_count": _events(created, created["created_at"].where(created["created_at"] <= as_of)),
        "first_seen_count": _events(known, known["valid_from"].where(is_first)),
        "returned_count": _events(known, known["valid_from"].where(~is_first & ~follows)),
        "vanished_count": _events(known, ended.where(is_last)),
    }
    counts = pd.concat(
        [_count(rows, period).rename(name) for name, rows in events.items()],
        axis="columns",
    )
    counts = (
        counts.reindex(counts.index.union(_watched(observations, as_of, period))).fillna(0).astype("int64").sort_index()
    )
    gains = counts["first_seen_count"] + counts["returned_count"] - counts["vanished_count"]
    total = gains.groupby("account").cumsum().astype("Int64")
    growth = counts.assign(trunk_count=total.where(counts["snapshot_count"] > 0)).reset_index()
    if since is not None:
        ends = growth["period"].dt.end_time
        growth = growth.loc[ends >= pd.Timestamp(since).tz_convert("UTC").tz_localize(None)]
    growth["period"] = growth["period"].dt.start_time.dt.date.astype(_DATE)
    return growth[GROWTH.names].reset_index(drop=True)


def _events(rows: pd.DataFrame, moments: pd.Series) -> pd.DataFrame:
    return rows[["account"]].assign(at=moments).dropna()


def _count(events: pd.DataFrame, period: Period) -> pd.Series:
    """Return the number of events by account and period."""
    periods = events["at"].dt.tz_convert("UTC").dt.tz_localize(None).dt.to_period(_FREQUENCIES[period])
    return events.groupby(["account", periods.rename("period")]).size()


def _watched(observations: pd.DataFrame, as_of: datetime, period: Period) -> pd.MultiIndex:
    """Return every account with each period since its first look."""
    last = pd.Timestamp(as_of).tz_convert("UTC").tz_localize(None)
    frequency = _FREQUENCIES[period]
    first = observations.groupby("account")["snapshot_at"].min().dt.tz_convert("UTC").dt.tz_localize(None)
    ranges = {account: pd.period_range(begin, last, freq=frequency) for account, begin in first.items()}
    pairs = [(account, each) for account, periods in ranges.items() for each in periods]
    return pd.MultiIndex.from_tuples(pairs, names=["account", "period"])
