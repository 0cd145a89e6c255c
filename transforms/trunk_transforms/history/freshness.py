"""Observations → the age of the last snapshot per account, and missed runs."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from trunk_transforms.schema.arguments import require_columns, require_time_zone
from trunk_transforms.schema.reports import FRESHNESS

_INTERVALS = 20  # few enough to follow a changed schedule within about a day
_FEWEST_INTERVALS = 2
_SHORTEST_SECONDS = 300  # shorter intervals come from repeated runs by hand, not from a schedule


def derive_freshness(
    observations: pd.DataFrame,
    *,
    as_of: datetime,
    expected_interval_seconds: float | None = None,
    accounts: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the age of each account's last snapshot at `as_of`, and the number of runs missed since.

    Grain: one row per account that has an observation or is in `accounts`, the stalest first. Needs `account`,
    `snapshot_at` and `trunk_count` of `sip_trunk_snapshots`; has the columns `FRESHNESS`. A run counts as missed half
    an interval after it was expected.
    """
    require_columns(observations, ("account", "snapshot_at", "trunk_count"), "observations")
    require_time_zone(as_of, "as_of")
    observations = observations.loc[observations["snapshot_at"] <= as_of].sort_values("snapshot_at")
    by_account = observations.groupby("account")
    gaps = by_account["snapshot_at"].diff().dt.total_seconds().groupby(observations["account"])
    fresh = pd.DataFrame({"snapshot_at": by_account["snapshot_at"].max()}).assign(
        longest_gap_seconds=gaps.max(),
        snapshot_count=by_account.size(),
        trunk_count=by_account["trunk_count"].last(),
        expected_interval_seconds=gaps.apply(_median_of_last),
    )
    fresh = fresh.reindex(sorted({*fresh.index, *accounts})).rename_axis("account").reset_index()
    if expected_interval_seconds is not None:
        fresh["expected_interval_seconds"] = expected_interval_seconds
    fresh["age_seconds"] = (pd.Timestamp(as_of) - fresh["snapshot_at"]).dt.total_seconds()
    missed = (fresh["age_seconds"] / fresh["expected_interval_seconds"] + 0.5) // 1 - 1
    fresh["missed_run_count"] = missed.clip(lower=0)
    fresh["snapshot_count"] = fresh["snapshot_count"].fillna(0)
    whole = [name for name in FRESHNESS.names if name not in ("account", "snapshot_at")]
    fresh[whole] = fresh[whole].astype("float64").round().astype("Int64")
    fresh = fresh.sort_values(["age_seconds", "account"], ascending=[False, True], na_position="first")
    return fresh[FRESHNESS.names].reset_index(drop=True)


def _median_of_last(gaps: pd.Series) -> float:
    last = gaps.dropna().tail(_INTERVALS)
    median = float(last.median()) if len(last) >= _FEWEST_INTERVALS else float("nan")
    return median if median >= _SHORTEST_SECONDS else float("nan")
