"""Versions → the trunks at one moment, and the timeline of one trunk."""

from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from trunk_transforms.schema.arguments import require_columns, require_time_zone
from trunk_transforms.schema.reports import CHANGES

_KEY = ["account", "id"]
_SHOWN = ("phone_number", "nickname", "sip_address", "country_code", "sip_calling_format", "inbound_authorization_type")


def list_moments(observations: pd.DataFrame) -> list[pd.Timestamp]:
    """Return the times of all observations (UTC), each once and in order."""
    require_columns(observations, ("snapshot_at",), "observations")
    return sorted(observations["snapshot_at"].unique())


def state_at(versions: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """Return the trunks as they were known at a moment.

    Grain: one row per (account, id), in that order. `versions` has the rows of `sip_trunks_history`.
    """
    require_columns(versions, (*_KEY, "valid_from", "valid_to"), "versions")
    require_time_zone(moment, "moment")
    is_valid = (versions["valid_from"] <= moment) & ~(versions["valid_to"] <= moment)
    return versions.loc[is_valid].sort_values(_KEY, ignore_index=True)


def count_versions(versions: pd.DataFrame) -> pd.DataFrame:
    """Return all current and removed trunks with their number of versions, the most versions first.

    Grain: one row per (account, id). Has the last known `phone_number`, and `version_count`.
    """
    require_columns(versions, (*_KEY, "phone_number", "valid_from"), "versions")
    trunks = versions.sort_values("valid_from").groupby(_KEY)
    counts = trunks["phone_number"].last().to_frame().assign(version_count=trunks.size()).reset_index()
    return counts.sort_values(["version_count", *_KEY], ascending=[False, True, True], ignore_index=True)


def count_changed(versions: pd.DataFrame, since: datetime | None = None) -> int:
    """Return the number of trunks of which a version replaced another one after `since` (default: ever).

    Includes trunks of which only drift changed.
    """
    require_columns(versions, (*_KEY, "valid_from", "valid_to"), "versions")
    began = versions if since is None else versions[versions["valid_from"] > since]
    began = began[[*_KEY, "valid_from"]].rename(columns={"valid_from": "valid_to"})
    return len(versions[[*_KEY, "valid_to"]].merge(began).drop_duplicates(_KEY))


def derive_timeline(versions: pd.DataFrame, changes: pd.DataFrame, account: str, trunk_id: int) -> pd.DataFrame:
    """Return the timeline of one trunk: its versions and their changes, the latest first.

    Grain: one row per version, and one per removal of the trunk. `what` lists the changes at `valid_from`, field by
    field. `changes` has every change since the first snapshot, with the columns `CHANGES`.
    """
    require_columns(versions, (*_KEY, "valid_from", "valid_to"), "versions")
    require_columns(changes, CHANGES.names, "changes")
    mine = versions.loc[(versions["account"] == account) & (versions["id"] == trunk_id)]
    own = changes.loc[(changes["account"] == account) & (changes["trunk_id"] == trunk_id)]
    happened = {
        moment: "; ".join(map(_describe, rows.to_dict("records"))) for moment, rows in own.groupby("observed_at")
    }
    timeline = mine[["valid_from", "valid_to", *(name for name in _SHOWN if name in mine)]]
    removed_at = sorted(set(own.loc[own["change"] == "removed", "observed_at"]))
    ends = pd.DataFrame({"valid_from": pd.Series(removed_at, dtype=timeline["valid_from"].dtype)})
    if len(ends):
        timeline = pd.concat([timeline, ends], ignore_index=True)
    what = timeline["valid_from"].map(happened).astype("str")
    timeline.insert(2, "what", what.mask(what.isna(), "first seen").where(timeline["valid_from"].notna()))
    return timeline.sort_values("valid_from", ascending=False, ignore_index=True)


def _describe(change: Mapping[Hashable, Any]) -> str:
    if pd.isna(change["field"]):
        return str(change["change"])
    old, new = ("–" if pd.isna(change[side]) else change[side] for side in ("old", "new"))
    return f"{change['field']}: {old} → {new}"
