"""Counts and shares of trunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms.schema.reports import BY_FORMAT_AND_COUNTRY, COUNT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd


def count_trunks(trunks: pd.DataFrame, by: Sequence[str] = BY_FORMAT_AND_COUNTRY) -> pd.DataFrame:
    """Return how many trunks each combination of the columns `by` has, the most frequent first.

    Grain: one row per combination that occurs; a missing value is a value of its own. Needs the columns `by`, one row
    per trunk. Adds `trunk_count` and `share_pct` (0 to 100, of all trunks, rounded to two digits).
    Raises KeyError if a column is not there, ValueError if none is named, one twice, or one that the report adds.
    """
    if not by or len(set(by)) < len(by):
        raise ValueError("name one or more columns to count by, each once")
    taken = [name for name in by if name in COUNT_COLUMNS]
    if taken:
        raise ValueError(f"{taken[0]}: the report itself has a column of that name")
    return rank_groups([count_groups(trunks, by)], by)


def count_groups(trunks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return how many trunks each combination of the columns `by` has, in no order, without shares.

    Grain: one row per combination that occurs. Needs one row per trunk with the columns `by`; adds `trunk_count`.
    """
    return trunks.groupby(list(by), dropna=False, sort=False).size().rename("trunk_count").reset_index()


def rank_groups(groups: Iterable[pd.DataFrame], by: Sequence[str]) -> pd.DataFrame:
    """Return what `count_trunks` returns of all trunks, from the groups of several parts of them.

    Grain: one row per combination of the columns `by`. Needs the columns `by` and `trunk_count`, adds `share_pct`; a
    combination may be in several rows.
    """
    import pandas as pd

    grouped = pd.concat(groups, ignore_index=True).groupby(list(by), dropna=False, sort=False)
    counts = grouped["trunk_count"].sum().astype("int64").reset_index()
    counts["share_pct"] = (counts["trunk_count"] * 100 / max(counts["trunk_count"].sum(), 1)).round(2)
    order = ["trunk_count", *by]
    return counts.sort_values(order, ascending=[False, *(True for _ in by)], ignore_index=True)
