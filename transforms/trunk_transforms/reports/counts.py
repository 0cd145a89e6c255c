"""Counts and shares of trunks."""

from collections.abc import Iterable, Sequence

import pandas as pd

from trunk_transforms.enrich.countries import unify_countries
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER
from trunk_transforms.schema.arguments import require_columns


def count_trunks(trunks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the number of trunks per combination of the columns `by`, the most frequent first.

    Grain: one row per combination that occurs; a missing value is a value of its own. Needs one row per trunk with the
    columns `by`, each named once. Adds `trunk_count` and `share_pct` (0 to 100, of all trunks; they sum to 100).

    Raises ValueError if a column is missing.
    """
    return rank_groups([count_groups(trunks, by)], by)


def count_changes(changes: pd.DataFrame, changed_count: int = 0) -> dict[str, int]:
    """Return the number of added, removed and changed trunks, and of changed fields, by these names.

    A trunk that changed in several snapshots is one changed trunk. A field counts once per change of its value. Needs
    the columns `CHANGES`. `changed_count` is the number of changed trunks with those of which only drift changed; these
    have no rows.
    """
    require_columns(changes, ("account", "trunk_id", "change"), "changes")
    trunks = changes.drop_duplicates(["account", "trunk_id", "change"])["change"].value_counts()
    counts = {f"{change} trunks": int(trunks.get(change, 0)) for change in ("added", "removed", "changed")}
    counts["changed trunks"] = max(counts["changed trunks"], changed_count)
    return counts | {"changed fields": int((changes["change"] == "changed").sum())}


def count_providers(trunks: pd.DataFrame) -> int:
    """Return the number of known providers of trunks. Needs `provider`; the value `unknown` is not a provider."""
    require_columns(trunks, ("provider",), "trunks")
    return int(trunks["provider"].where(trunks["provider"] != UNKNOWN_PROVIDER).nunique())


def count_groups(trunks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the number of trunks per combination of the columns `by`, unordered and without shares.

    Grain: one row per combination that occurs. Needs one row per trunk with the columns `by`; adds `trunk_count`.
    """
    require_columns(trunks, by, "trunks")
    return trunks.groupby(list(by), dropna=False, sort=False).size().rename("trunk_count").reset_index()


def rank_groups(groups: Iterable[pd.DataFrame], by: Sequence[str]) -> pd.DataFrame:
    """Return the result of `count_trunks` for all trunks, from the groups of several parts.

    Grain: one row per combination of the columns `by`, where `UK` and `GB` are one country. Needs the columns `by` and
    `trunk_count`, where a combination may have several rows; adds `share_pct`.
    """
    every = pd.concat(groups, ignore_index=True)
    require_columns(every, (*by, "trunk_count"), "groups")
    unified = unify_countries(every) if "country_code" in by else every
    grouped = unified.groupby(list(by), dropna=False, sort=False)
    counts = grouped["trunk_count"].sum().astype("int64").reset_index()
    counts = counts.sort_values(["trunk_count", *by], ascending=[False, *(True for _ in by)], ignore_index=True)
    return counts.assign(share_pct=derive_shares(counts["trunk_count"]))


def derive_shares(counts: pd.Series, digits: int = 2) -> pd.Series:
    """Return the share of each count in their sum, in percent, rounded to `digits` so that the shares sum to 100.

    Each share is rounded down, and the ones with the largest remainder get what is missing; of equal ones, the first.
    The view `trunk_counts` has the same shares.
    """
    units, total = 100 * 10**digits, max(int(counts.sum()), 1)
    shares, remainders = (counts * units) // total, (counts * units) % total
    order = remainders.sort_values(ascending=False, kind="stable").index
    rounded_up = pd.Series(1, order[: int(remainders.sum()) // total])
    percent: pd.Series = shares.add(rounded_up, fill_value=0) / 10**digits
    return percent
