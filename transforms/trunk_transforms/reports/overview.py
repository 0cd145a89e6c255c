"""The other reports → one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from trunk_transforms.schema.reports import OVERVIEW, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_MOST_COUNTS = 5
_MOST_ACCOUNTS = 5
_Row = tuple[str, str, int | None, str | None]


def derive_overview(
    *,
    counts: pd.DataFrame,
    changes: pd.DataFrame,
    changed_since: datetime | None,
    findings: pd.DataFrame,
    freshness: pd.DataFrame,
) -> pd.DataFrame:
    """Return what there is, what happened and what is wrong, on one screen.

    Grain: one row per thing worth a line, in the order of reading. Needs the reports of these names, of changes those
    since a moment (UTC), without one since the last snapshot but one; has the columns `OVERVIEW`. `value` is null
    where nothing is counted.
    """
    rows: list[_Row] = [
        *_say_accounts(freshness),
        ("trunks", "trunks", int(counts["trunk_count"].sum()), None),
        *_say_counts(counts),
        *_say_changes(
            changes, f"since {changed_since:%Y-%m-%d}" if changed_since else "since the last snapshot but one"
        ),
        *_say_findings(findings),
        *_say_freshness(freshness),
    ]
    overview = pd.DataFrame(rows, columns=OVERVIEW.names)
    return overview.astype({"section": "str", "item": "str", "value": "Int64", "detail": "str"})


def _say_accounts(freshness: pd.DataFrame) -> Iterable[_Row]:
    seen = freshness.loc[freshness["snapshot_at"].notna()]
    names = list(seen["account"].sort_values().head(_MOST_ACCOUNTS))
    more = len(seen) - len(names)
    yield "accounts", "accounts", len(seen), ", ".join(names) + (f" and {more} more" if more else "")


def _say_counts(counts: pd.DataFrame) -> Iterable[_Row]:
    for row in counts.head(_MOST_COUNTS).to_dict("records"):
        country = row["country_code"] if pd.isna(row["country_name"]) else row["country_name"]
        parts = ["–" if pd.isna(part) else str(part) for part in (row["sip_calling_format"], country)]
        yield "counts", " · ".join(parts), int(row["trunk_count"]), f"{row['share_pct']:g} %"


def _say_changes(changes: pd.DataFrame, since: str) -> Iterable[_Row]:
    if changes.empty:
        yield "changes", "changes", 0, since
        return
    trunks = changes.drop_duplicates(["account", "trunk_id", "change"])
    for change in ("added", "removed", "changed"):
        of_kind = changes.loc[changes["change"] == change]
        fields = ", ".join(of_kind["field"].dropna().value_counts().index[:3])
        yield "changes", change, int((trunks["change"] == change).sum()), since if change == "added" else fields or None
    outages = changes.loc[changes["legs"].isin(["inbound", "outbound", "both"])]
    count = len(outages.drop_duplicates(["account", "trunk_id"]))
    if count:
        yield "changes", "re-created", count, "trunks whose leg was down briefly"


def _say_findings(findings: pd.DataFrame) -> Iterable[_Row]:
    if findings.empty:
        yield "findings", "findings", 0, None
        return
    for severity in reversed(SEVERITIES):
        rules = findings.loc[findings["severity"] == severity, "rule"].value_counts()
        if len(rules):
            shown = ", ".join(f"{rule} ({count})" for rule, count in rules.head(2).items())
            yield "findings", severity, int(rules.sum()), shown + (" …" if len(rules) > 2 else "")


def _say_freshness(freshness: pd.DataFrame) -> Iterable[_Row]:
    never = freshness["snapshot_at"].isna()
    late = freshness["missed_run_count"].fillna(0) > 0
    worst = freshness.loc[late | never].head(_MOST_ACCOUNTS)
    for row in worst.to_dict("records"):
        if pd.isna(row["snapshot_at"]):
            yield "freshness", row["account"], None, "never seen"
        else:
            missed = int(row["missed_run_count"])
            yield "freshness", row["account"], missed, f"missed runs, last seen {row['snapshot_at']:%Y-%m-%d %H:%M}Z"
    if freshness.empty:
        yield "freshness", "accounts seen", 0, None
    elif worst.empty:
        last = freshness["snapshot_at"].min()
        yield "freshness", "missed runs", 0, f"every account seen since {last:%Y-%m-%d %H:%M}Z"
    elif int((late | never).sum()) > len(worst):
        yield "freshness", "more accounts", int((late | never).sum()) - len(worst), "sip-trunks report freshness"
