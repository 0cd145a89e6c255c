"""The findings of successive audits → the age of each finding."""

from __future__ import annotations

import pandas as pd

_KEY = ["account", "trunk_id", "rule"]


def extend_findings(
    log: pd.DataFrame | None, findings: pd.DataFrame, suppressed: pd.DataFrame, observations: pd.DataFrame
) -> pd.DataFrame:
    """Return the log of findings after one more audit: its findings first, then the earlier ones that it lacks.

    Grain: one row per account, trunk, rule and `first_seen_at`. A finding that was resolved and came back has two rows;
    one that was suppressed for a while has one. Needs the log so far, the findings `with_ages`, the suppressed
    findings, and `account` and `snapshot_at` of the observations. Has the columns of a finding and `FINDING_AGES`.
    """
    seen_at = findings["account"].map(observations.groupby("account")["snapshot_at"].max())
    first_seen_at = findings["first_seen_at"].fillna(seen_at)
    found = findings.assign(first_seen_at=first_seen_at, last_seen_at=seen_at, is_current=True)
    if log is None or log.empty:
        return found
    is_continued = _is_current(log) & _keys(log).isin(_keys(found))
    rest = log.loc[~is_continued]
    is_hidden = _is_current(rest) & _keys(rest).isin(_keys(suppressed))
    ended = rest.assign(is_current=pd.Series(data=False, index=rest.index, dtype="boolean").mask(is_hidden))
    return pd.concat([found, ended.reindex(columns=found.columns)], ignore_index=True).astype({"is_current": "boolean"})


def with_ages(findings: pd.DataFrame, log: pd.DataFrame | None) -> pd.DataFrame:
    """Return the findings with `first_seen_at` (UTC) from the log; null if the log lacks the finding.

    Grain: as the findings, one row per account, trunk and rule.
    """
    if log is None or log.empty:
        return findings.assign(first_seen_at=pd.Series(pd.NaT, index=findings.index, dtype="datetime64[us, UTC]"))
    return findings.merge(log.loc[_is_current(log), [*_KEY, "first_seen_at"]], on=_KEY, how="left", validate="1:1")


def _is_current(log: pd.DataFrame) -> pd.Series:
    """Return a flag per finding: not known to be resolved. Null counts as current, because no audit checked it."""
    return log["is_current"].fillna(value=True).astype(bool)


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[_KEY])
