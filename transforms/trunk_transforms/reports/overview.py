"""The other reports → one screen."""

from collections.abc import Iterable
from datetime import datetime

import pandas as pd

from trunk_transforms.audit.rules.wording import agree, enumerate_some
from trunk_transforms.reports.counts import count_changes
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.schema.reports import ACCOUNTS, OVERVIEW
from trunk_transforms.text import count_of

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
    changed_count: int = 0,
) -> pd.DataFrame:
    """Return the accounts, trunks, changes, findings and missed runs on one screen.

    Grain: one row per line of the overview, in the order of reading. Needs the reports of these names; the changes are
    those since `changed_since` (UTC), or since the last snapshot but one if that is None. `changed_count` is the
    number of changed trunks, including those of which only drift changed; default: those in `changes`.
    Has the columns `OVERVIEW`; `value` is null in a row without a count.
    """
    accounts = freshness["account"].loc[freshness["snapshot_at"].notna()].sort_values()
    since = f"since {changed_since:%Y-%m-%d}" if changed_since else "since the last snapshot but one"
    rows: list[_Row] = [
        ("accounts", "accounts", len(accounts), enumerate_some(list(accounts), _MOST_ACCOUNTS)),
        ("trunks", "trunks", int(counts["trunk_count"].sum()), None),
        *_list_counts(counts),
        *_count_changes(changes, changed_count, since),
        *_count_findings(findings, freshness),
        *_list_late(freshness),
    ]
    overview = pd.DataFrame(rows, columns=OVERVIEW.names)
    return overview.astype({"section": "str", "item": "str", "value": "Int64", "detail": "str"})


def derive_accounts(trunks: pd.DataFrame, findings: pd.DataFrame, freshness: pd.DataFrame) -> pd.DataFrame:
    """Return each account on one line, the one with the worst finding first.

    Grain: one row per account in `freshness`; has the columns `ACCOUNTS`. Needs `account` and
    `inbound_authorization_type` of the trunks, and the findings, the most severe first.
    """
    is_listed = (trunks["inbound_authorization_type"] == "ip").fillna(value=False).astype("float64")
    by_account = is_listed.groupby(trunks["account"])
    worst = findings.drop_duplicates("account").set_index("account")
    accounts = freshness[["account", "snapshot_at", "missed_run_count"]].set_index("account")
    accounts = accounts.assign(
        trunk_count=by_account.size(),
        allowlist_pct=(by_account.mean() * 100).round(2),
        finding_count=findings["account"].value_counts(),
        worst_severity=worst["severity"],
        worst_finding=worst["seen"],
    ).reset_index()
    accounts = accounts.assign(rank=accounts["worst_severity"].map({name: n for n, name in enumerate(SEVERITIES)}))
    accounts = accounts.sort_values(["rank", "finding_count", "account"], ascending=[False, False, True])
    counts = {name: accounts[name].fillna(0).astype("Int64") for name in ("trunk_count", "finding_count")}
    return accounts.assign(**counts)[ACCOUNTS.names].reset_index(drop=True)


def _list_counts(counts: pd.DataFrame) -> Iterable[_Row]:
    for row in counts.head(_MOST_COUNTS).to_dict("records"):
        country = row["country_code"] if pd.isna(row["country_name"]) else row["country_name"]
        parts = ["–" if pd.isna(part) else str(part) for part in (row["sip_calling_format"], country)]
        yield "counts", " · ".join(parts), int(row["trunk_count"]), f"{row['share_pct']:g} %"


def _count_changes(changes: pd.DataFrame, changed_count: int, since: str) -> Iterable[_Row]:
    if changes.empty and not changed_count:
        yield "changes", "changed trunks", 0, f"none added, removed or changed {since}"
        return
    counts = count_changes(changes, changed_count)
    fields = ", ".join(changes["field"].dropna().value_counts().index[:3])
    details = {"added trunks": since, "changed fields": fields or None}
    if drift_count := counts["changed trunks"] - count_changes(changes)["changed trunks"]:
        details["changed trunks"] = f"{drift_count} only by drift"
    for item, count in counts.items():
        yield "changes", item, count, details.get(item)
    outages = changes.loc[changes["legs"].isin(["inbound", "outbound", "both"])]
    if count := len(outages.drop_duplicates(["account", "trunk_id"])):
        yield "changes", "re-created trunks", count, "a leg was down briefly"


def _count_findings(findings: pd.DataFrame, freshness: pd.DataFrame) -> Iterable[_Row]:
    if findings.empty:
        yield "findings", "findings", 0, None
        return
    by_rule = findings.groupby(["severity", "rule"], sort=False)["cause"]
    counts = by_rule.agg(finding_count="size", cause_count="nunique").reset_index()
    counts = counts.sort_values("finding_count", ascending=False, kind="stable")
    for severity in reversed(SEVERITIES):
        rules = counts.loc[counts["severity"] == severity]
        if len(rules):
            worst = rules[["rule", "cause_count", "finding_count"]].head(2).itertuples(index=False)
            shown = ", ".join(f"{rule} ({_count_causes(*numbers)})" for rule, *numbers in worst)
            yield "findings", severity, int(rules["finding_count"].sum()), shown + (" …" if len(rules) > 2 else "")
    is_latest = findings["opened_at"] == findings["account"].map(freshness.set_index("account")["snapshot_at"])
    if count := int((is_latest & findings["is_new_rule"].fillna(value=False)).sum()):
        yield "findings", "of new rules", count, "opened by a new release, not by a change of the account"


def _count_causes(causes: int, trunks: int) -> str:
    return f"{count_of(causes, 'cause')}, {count_of(trunks, 'trunk')}" if causes < trunks else str(trunks)


def _list_late(freshness: pd.DataFrame) -> Iterable[_Row]:
    is_late = freshness["snapshot_at"].isna() | (freshness["missed_run_count"].fillna(0) > 0)
    worst = freshness.loc[is_late].head(_MOST_ACCOUNTS)
    for row in worst.to_dict("records"):
        missed, detail = None, "never seen"
        if pd.notna(row["snapshot_at"]):
            missed = int(row["missed_run_count"])
            detail = f"missed {agree(missed, 'run', 'runs')}, last seen {row['snapshot_at']:%Y-%m-%d %H:%M}Z"
        yield "freshness", row["account"], missed, detail
    if freshness.empty:
        yield "freshness", "accounts seen", 0, None
    elif worst.empty:
        last = freshness["snapshot_at"].min()
        yield "freshness", "missed runs", 0, f"every account seen since {last:%Y-%m-%d %H:%M}Z"
    elif more := int(is_late.sum()) - len(worst):
        yield "freshness", "more accounts", more, "sip-trunks report freshness"
