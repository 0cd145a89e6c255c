"""Versions → what was there at a moment, and the life of one trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from trunk_transforms.history.changes import log_changes

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from datetime import datetime

_KEY = ["account", "id"]
_VALIDITY = ["valid_from", "valid_to"]
_TOLD = ("phone_number", "sip_address", "country_code", "sip_calling_format", "inbound_authorization_type")


def list_moments(observations: pd.DataFrame) -> list[pd.Timestamp]:
    """Return when somebody looked at any account (UTC), each moment once and in order."""
    return sorted(observations["snapshot_at"].unique())


def state_at(versions: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """Return the trunks as they were known at a moment.

    Grain: one row per (account, id), in that order. `versions` has the rows of `sip_trunks_history`.
    """
    is_there = (versions["valid_from"] <= moment) & ~(versions["valid_to"] <= moment)
    return versions.loc[is_there].sort_values(_KEY, ignore_index=True)


def list_all_changes(tables: Mapping[str, pd.DataFrame], as_of: datetime) -> pd.DataFrame:
    """Return every change since the first snapshot, the latest first; grain and columns are those of `log_changes`.

    `tables` has the whole of `versions`, `observations` and `drift`.
    """
    observations = tables["observations"]
    since = observations["snapshot_at"].min() if len(observations) else as_of
    return log_changes(tables["versions"], observations, tables["drift"], since=since, as_of=as_of)


def list_lives(versions: pd.DataFrame) -> pd.DataFrame:
    """Return the trunks that ever were, those with the most versions first.

    Grain: one row per (account, id). Has `phone_number` as it was last known, and `version_count`.
    """
    trunks = versions.sort_values("valid_from").groupby(_KEY)
    lives = trunks["phone_number"].last().to_frame().assign(version_count=trunks.size()).reset_index()
    return lives.sort_values(["version_count", *_KEY], ascending=[False, True, True], ignore_index=True)


def derive_timeline(versions: pd.DataFrame, changes: pd.DataFrame, account: str, trunk_id: int) -> pd.DataFrame:
    """Return the versions of one trunk and what each changed, the latest first.

    Grain: one row per version, and one more where the trunk was removed. `what` says what happened at `valid_from`,
    field by field; `changes` are those of `list_all_changes`.
    """
    mine = versions.loc[(versions["account"] == account) & (versions["id"] == trunk_id)]
    own = changes.loc[(changes["account"] == account) & (changes["trunk_id"] == trunk_id)]
    happened = {moment: "; ".join(map(_tell, rows.to_dict("records"))) for moment, rows in own.groupby("observed_at")}
    life = mine[[*_VALIDITY, *(name for name in _TOLD if name in mine)]]
    gone = sorted(set(own.loc[own["change"] == "removed", "observed_at"]))
    ends = pd.DataFrame({"valid_from": pd.Series(gone, dtype=life["valid_from"].dtype)})
    if len(ends):
        life = pd.concat([life, ends], ignore_index=True)
    what = life["valid_from"].map(happened).astype("str")
    life.insert(2, "what", what.mask(what.isna(), "first seen").where(life["valid_from"].notna()))
    return life.sort_values("valid_from", ascending=False, ignore_index=True)


def _tell(change: Mapping[Hashable, Any]) -> str:
    if pd.isna(change["field"]):
        return str(change["change"])
    old, new = ("–" if pd.isna(change[side]) else change[side] for side in ("old", "new"))
    return f"{change['field']}: {old} → {new}"
