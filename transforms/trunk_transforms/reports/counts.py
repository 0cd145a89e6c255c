"""Counts and shares of trunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from trunk_transforms.enrich.countries import unify_countries


def count_trunks(trunks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the number of trunks per combination of the columns `by`, the most frequent first.

    Grain: one row per combination that occurs; a missing value is a value of its own. Needs one row per trunk with the
    columns `by`, each named once. Adds `trunk_count` and `share_pct` (0 to 100, of all trunks, rounded to two digits).

    Raises KeyError if a column is missing.
    """
    return rank_groups([count_groups(trunks, by)], by)


def count_changes(changes: pd.DataFrame) -> dict[str, int]:
    """Return the number of added, removed and changed trunks, and of changed fields, by these names.

    A trunk that changed in several snapshots is one changed trunk. A field counts once per change of its value. Needs
    the columns `CHANGES`.
    """
    trunks = changes.drop_duplicates(["account", "trunk_id", "change"])["change"].value_counts()
    counts = {f"{change} trunks": int(trunks.get(change, 0)) for change in ("added", "removed", "changed")}
    return counts | {"changed fields": int((changes["change"] == "changed").sum())}


def count_groups(trunks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the number of trunks per combination of the columns `by`, unordered and without shares.

    Grain: one row per combination that occurs. Needs one row per trunk with the columns `by`; adds `trunk_count`.
    """
    return trunks.groupby(list(by), dropna=False, sort=False).size().rename("trunk_count").reset_index()


def rank_groups(groups: Iterable[pd.DataFrame], by: Sequence[str]) -> pd.DataFrame:
    """Return the result of `count_trunks` for all trunks, from the groups of several parts.

    Grain: one row per combination of the columns `by`, where `UK` and `GB` are one country. Needs the columns `by` and
    `trunk_count`, where a combination may have several rows; adds `share_pct`.
    """
    grouped = unify_countries(pd.concat(groups, ignore_index=True)).groupby(list(by), dropna=False, sort=False)
    counts = grouped["trunk_count"].sum().astype("int64").reset_index()
    counts["share_pct"] = (counts["trunk_count"] * 100 / max(counts["trunk_count"].sum(), 1)).round(2)
    return counts.sort_values(["trunk_count", *by], ascending=[False, *(True for _ in by)], ignore_index=True)
