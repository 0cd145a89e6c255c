"""Versions → changes: between two moments, or step by step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from trunk_transforms.schema.reports import CHANGES, CREDENTIAL_NOTE
from trunk_transforms.schema.tables import API_COLUMNS, RESERVED_COLUMNS, VARIANT_SUFFIX

if TYPE_CHECKING:
    from datetime import datetime

_KEY = ["account", "id"]
_MOMENTS = ["~seen_at", "~before_at", "~after_at"]  # not the name of any API field
_DECLARED = frozenset(column.name for column in API_COLUMNS)
_LEGS = {column.name: column.legs for column in API_COLUMNS if column.legs}


def derive_changes(
    versions: pd.DataFrame, observations: pd.DataFrame, drift: pd.DataFrame, *, since: datetime | None, as_of: datetime
) -> pd.DataFrame:
    """Return the differences between the trunks at `since` and at `as_of`, the latest first.

    Grain: one row per trunk that was added or removed, and one per changed field of a trunk. A field that changed and
    changed back is not listed. Without `since`, each account's last snapshot is compared with the one before it.

    Needs the rows of `sip_trunks_history` that began or ended between the moments, and the rows of
    `sip_trunk_snapshots` and `schema_drift` up to `as_of`; has the columns `CHANGES`.

    The trunks of an account's first snapshot are not changes. A field that one of the two snapshots has for no trunk is
    drift, not a change.
    """
    begins = _beginnings(observations, since, as_of)
    start = _of_account(versions, begins)
    is_before = (versions["valid_from"] <= start) & (versions["valid_to"] > start) & (versions["valid_to"] <= as_of)
    is_after = (versions["valid_from"] > start) & (versions["valid_from"] <= as_of)
    is_after &= versions["valid_to"].isna() | (versions["valid_to"] > as_of)
    # A trunk that changed and was then removed was removed at the end of its last version.
    ended = versions.loc[versions["valid_to"] <= as_of, [*_KEY, "valid_to"]].sort_values("valid_to")
    ended_at = ended.drop_duplicates(_KEY, keep="last").rename(columns={"valid_to": "~ended_at"})
    before = versions.loc[is_before].merge(ended_at, on=_KEY, how="left", validate="1:1")
    pairs = before.merge(versions.loc[is_after], on=_KEY, how="outer", suffixes=("_old", "_new"), validate="1:1")
    pairs["~seen_at"] = pairs["valid_from_new"].fillna(pairs["~ended_at"])
    pairs["~before_at"] = _of_account(pairs, begins)
    pairs["~after_at"] = _of_account(pairs, observations.groupby("account")["snapshot_at"].max())
    return _list_changes(pairs, observations, drift)


def log_changes(
    versions: pd.DataFrame, observations: pd.DataFrame, drift: pd.DataFrame, *, since: datetime, as_of: datetime
) -> pd.DataFrame:
    """Return every change that a snapshot after `since` and up to `as_of` showed, the latest first.

    Grain, needs and columns: those of `derive_changes`, but a field that changed twice has two rows.
    """
    start = _of_account(versions, _beginnings(observations, since, as_of))
    ended = versions.loc[(versions["valid_to"] > start) & (versions["valid_to"] <= as_of)]
    begun = versions.loc[(versions["valid_from"] > start) & (versions["valid_from"] <= as_of)]
    ended, begun = ended.assign(**{"~seen_at": ended["valid_to"]}), begun.assign(**{"~seen_at": begun["valid_from"]})
    pairs = ended.merge(begun, on=[*_KEY, "~seen_at"], how="outer", suffixes=("_old", "_new"), validate="1:1")
    pairs["~before_at"] = _observed_before(pairs, observations)
    pairs["~after_at"] = pairs["~seen_at"]
    return _list_changes(pairs, observations, drift)


def _beginnings(observations: pd.DataFrame, since: datetime | None, as_of: datetime) -> pd.Series:
    """Return per account the time from which changes count: the last observation up to `since`, else the first one."""
    ordered = observations.loc[observations["snapshot_at"] <= as_of].sort_values("snapshot_at")
    if since is None:
        from_last = ordered.groupby("account").cumcount(ascending=False)
        return ordered.loc[from_last == 1].set_index("account")["snapshot_at"]
    first = ordered.groupby("account")["snapshot_at"].min()
    earlier = ordered.loc[ordered["snapshot_at"] <= since].groupby("account")["snapshot_at"].max()
    return earlier.reindex(first.index).fillna(first)


def _of_account(rows: pd.DataFrame, moments: pd.Series) -> pd.Series:
    """Return for each row the moment of its account; null if the account has none."""
    return moments.reindex(rows["account"]).set_axis(rows.index)


def _observed_before(pairs: pd.DataFrame, observations: pd.DataFrame) -> pd.Series:
    """Return for each pair the account's last observation before the one that showed the change."""
    wanted = pairs[["account", "~seen_at"]].drop_duplicates().sort_values("~seen_at")
    earlier = observations[["account"]].assign(**{"~before_at": observations["snapshot_at"]}).sort_values("~before_at")
    found = pd.merge_asof(
        wanted, earlier, left_on="~seen_at", right_on="~before_at", by="account", allow_exact_matches=False
    )
    return pairs[["account", "~seen_at"]].merge(found, how="left", validate="m:1")["~before_at"]


def _list_changes(pairs: pd.DataFrame, observations: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """Return the changes between pairs of versions: columns `…_old` and `…_new`, and the moments `_MOMENTS`."""
    is_added, is_removed = pairs["valid_from_old"].isna(), pairs["valid_from_new"].isna()
    both = pairs.loc[~is_added & ~is_removed & (pairs["row_version_old"] != pairs["row_version_new"])]
    parts = [_rows(pairs.loc[is_added], "added"), _rows(pairs.loc[is_removed], "removed")]
    names = [name.removesuffix("_old") for name in pairs.columns if name.endswith("_old")]
    fields = [n for n in names if n not in RESERVED_COLUMNS and not n.endswith(VARIANT_SUFFIX)]
    for field in fields:
        old, new = _texts(both, field, "_old"), _texts(both, field, "_new")
        differs = ~((old == new) | (old.isna() & new.isna()))
        parts.append(_rows(both.loc[differs], "changed", field=field, old=old[differs], new=new[differs]))
    changes = pd.concat(parts, ignore_index=True)
    # updated_at moves with every change, so it is listed only if it is the only one.
    touched = changes.groupby(["account", "trunk_id", "observed_at"])["change"].transform("size")
    moved = changes["field"] == "updated_at"
    changes = _drop_drift(changes.loc[~moved | (touched == 1)], observations, drift)
    changes["legs"] = changes["field"].map(_LEGS).astype("str")
    changes["note"] = changes["note"].mask(changes["field"] == "updated_at", CREDENTIAL_NOTE)
    return order_changes(changes[CHANGES.names])


def order_changes(changes: pd.DataFrame) -> pd.DataFrame:
    """Return the changes, the latest first; those of the same moment by account, trunk and field."""
    order = ["observed_at", "account", "trunk_id", "field"]
    return changes.sort_values(order, ascending=[False, True, True, True], ignore_index=True)


def _rows(pairs: pd.DataFrame, change: str, **values: Any) -> pd.DataFrame:
    rows = pairs[["account", "id", *_MOMENTS]].rename(columns={"id": "trunk_id", "~seen_at": "observed_at"})
    texts = dict.fromkeys(("field", "old", "new", "note")) | {"change": change} | values
    return rows.assign(**texts).astype(dict.fromkeys(texts, "str"))


def _texts(pairs: pd.DataFrame, field: str, side: str) -> pd.Series:
    """Return the values of a field as text, equal values in one spelling, and misfits as the API sent them."""
    values, misfits = pairs[field + side], field + VARIANT_SUFFIX + side
    if field == "allowed_inbound_ips":
        # Many trunks have the same list, so each one is sorted once.
        lists = {text: json.loads(text) for text in values.dropna().unique()}
        values = values.map({text: json.dumps(sorted(entries, key=_entry_order)) for text, entries in lists.items()})
    elif isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    elif pd.api.types.is_bool_dtype(values.dtype):
        values = values.map({True: "true", False: "false"})
    texts = values.astype("str")
    return pairs[misfits].astype("str").fillna(texts) if misfits in pairs else texts


def _entry_order(entry: object) -> str:
    return entry if isinstance(entry, str) else ""


def _drop_drift(changes: pd.DataFrame, observations: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """Return the changes without those of fields that one of the two snapshots has for no trunk."""
    counts = observations[["account", "snapshot_at", "trunk_count"]]
    seen = drift.merge(counts, on=["account", "snapshot_at"], validate="m:1").rename(columns={"snapshot_at": "read_at"})
    new = seen.loc[seen["kind"] == "new_column"]
    missing = seen.loc[(seen["kind"] == "missing_column") & (seen["row_count"] >= seen["trunk_count"])]
    is_declared = changes["field"].isin(_DECLARED) | changes["field"].isna()
    is_delivered = pd.Series(data=True, index=changes.index)
    for moment in ("~before_at", "~after_at"):
        read_at = _read_moments(changes, moment, observations)
        columns = _columns(changes.assign(read_at=read_at, column_name=changes["field"]))
        is_known = columns.isin(_columns(new)) | is_declared.to_numpy()
        is_delivered &= is_known & ~columns.isin(_columns(missing))
    return changes.loc[is_delivered]


def _columns(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[["account", "read_at", "column_name"]])


def _read_moments(changes: pd.DataFrame, moment: str, observations: pd.DataFrame) -> pd.Series:
    """Return when the response of each observation was first read; later observations of its load are unchanged."""
    first = observations.groupby(["account", "_dlt_load_id"])["snapshot_at"].transform("min")
    keyed = pd.DataFrame({"account": observations["account"], moment: observations["snapshot_at"], "read_at": first})
    return changes[["account", moment]].merge(keyed, how="left", validate="m:1")["read_at"].set_axis(changes.index)
