"""The findings of successive audits → the life of each finding, and the rules that each account was audited by.

findings, suppressed findings ─┐
history so far, trunks ────────┴─continue_lives─▶ open lives, then closed ones with the reason
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from trunk_transforms.schema.findings import AUDITED_RULES, FINDINGS_HISTORY

_KEY = ["account", "trunk_id", "rule"]


def continue_lives(
    history: pd.DataFrame | None,
    findings: pd.DataFrame,
    suppressed: pd.DataFrame,
    *,
    trunks: pd.DataFrame,
    observations: pd.DataFrame,
    audited: pd.DataFrame | None,
    rules: Collection[str],
) -> pd.DataFrame:
    """Return the history of findings after one more audit: the open findings first, in their order.

    Grain and columns: those of `FINDINGS_HISTORY`. A life ends at the account's last snapshot, for the first reason
    that applies: the finding is suppressed, the trunk or the rule does not exist any more, the finding is fixed. Needs
    the findings `with_ages`, `account` and `id` of the trunks, `account` and `snapshot_at` of the observations, and the
    rules of this audit and of the one before (`audited`, with the columns `AUDITED_RULES`); a null in `audited` stands
    for an audit with unknown rules.
    """
    seen_at = observations.groupby("account")["snapshot_at"].max()
    found = findings.assign(
        opened_at=findings["opened_at"].fillna(seen_at.reindex(findings["account"]).set_axis(findings.index)),
        closed_at=pd.Series(pd.NaT, findings.index, "datetime64[us, UTC]"),
        closed_because=pd.Series(None, findings.index, "str"),
        is_new_rule=findings["is_new_rule"].fillna(_is_by_new_rule(findings, audited)),
    )[FINDINGS_HISTORY.names]
    if history is None or history.empty:
        return found
    is_open = history["closed_at"].isna()
    rest = history.loc[~(is_open & _keys(history).isin(_keys(found)))].reindex(columns=found.columns)
    ends = rest["closed_at"].isna()
    exists = _keys(rest, _KEY[:2]).isin(_keys(trunks, ["account", "id"]))
    reasons = np.select(
        [_keys(rest).isin(_keys(suppressed)), ~exists, ~rest["rule"].isin(list(rules))],
        ["suppressed", "trunk removed", "rule removed"],
        "fixed",
    )
    closed_at = rest["account"].map(seen_at).fillna(seen_at.max())
    ended = rest.assign(
        closed_at=rest["closed_at"].mask(ends, closed_at),
        closed_because=rest["closed_because"].mask(ends, pd.Series(reasons, rest.index, dtype="str")),
    )
    lives = pd.concat([found, ended], ignore_index=True).astype({"is_new_rule": "boolean"})
    # One snapshot can be audited twice. A finding that was suppressed in between goes on.
    return lives.drop_duplicates(list(FINDINGS_HISTORY.primary_key), ignore_index=True)


def note_rules(audited: pd.DataFrame | None, observations: pd.DataFrame, rules: Collection[str]) -> pd.DataFrame:
    """Return the rules of each account's last audit, after an audit by `rules`.

    Grain and columns: those of `AUDITED_RULES`. Needs the earlier rules and `account`, `snapshot_at` and `_dlt_load_id`
    of the observations.
    """
    last = observations.sort_values("snapshot_at").drop_duplicates("account", keep="last")
    noted = last.rename(columns={"snapshot_at": "audited_at"}).merge(pd.DataFrame({"rule": sorted(rules)}), how="cross")
    before = None if audited is None else audited[["account", "rule", "since"]].dropna()
    if before is None or before.empty:
        noted = noted.assign(since=noted["audited_at"])
    else:
        noted = noted.merge(before, on=["account", "rule"], how="left", validate="1:1")
        noted = noted.assign(since=noted["since"].fillna(noted["audited_at"]))
    return noted[AUDITED_RULES.names].sort_values(list(AUDITED_RULES.primary_key), ignore_index=True)


def with_ages(findings: pd.DataFrame, history: pd.DataFrame | None) -> pd.DataFrame:
    """Return the findings with `opened_at` (UTC) and `is_new_rule` of their lives; null if no run has stored them.

    Grain: as the findings, one row per account, trunk and rule.
    """
    if history is None or history.empty:
        opened_at = pd.Series(pd.NaT, findings.index, "datetime64[us, UTC]")
        return findings.assign(opened_at=opened_at, is_new_rule=pd.Series(pd.NA, findings.index, "boolean"))
    lives = history.loc[history["closed_at"].isna(), [*_KEY, "opened_at", "is_new_rule"]]
    # Without the texts, which a merge would copy.
    ages = findings[_KEY].merge(lives, on=_KEY, how="left", validate="1:1")
    return findings.assign(opened_at=ages["opened_at"].array, is_new_rule=ages["is_new_rule"].astype("boolean").array)


def _is_by_new_rule(findings: pd.DataFrame, audited: pd.DataFrame | None) -> pd.Series:
    """Return a flag per finding: the account was audited before, but not by this rule."""
    if audited is None:
        return pd.Series(data=False, index=findings.index)
    is_known = _keys(findings, ["account", "rule"]).isin(_keys(audited, ["account", "rule"]))
    return findings["account"].isin(audited["account"]) & ~is_known


def _keys(rows: pd.DataFrame, columns: Collection[str] = _KEY) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[list(columns)])
