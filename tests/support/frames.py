"""Hand-made frames as the catalog reads them: one valid row, and what a test wants different about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

DAY_0 = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday

TYPES: dict[str, Any] = {
    **dict.fromkeys(("id", "trunk_id", "trunk_count", "row_count"), pd.Int64Dtype()),
    "outbound_proxy": pd.BooleanDtype(),
    **dict.fromkeys(("created_at", "updated_at", "valid_from", "valid_to", "snapshot_at"), "datetime64[us, UTC]"),
}
TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
TRUNK: dict[str, Any] = {
    "account": "acme",
    "id": 1,
    "phone_number": "+4930231252",
    "nickname": "Berlin office",
    "sip_username": "lindner-01",
    "sip_address": "sip.telnyx.com",
    "sip_calling_format": "+e164",
    "inbound_authorization_type": "ip",
    "allowed_inbound_ips": json.dumps(["185.246.41.140", "185.246.41.141"]),
    "outbound_proxy": False,
    "country_code": "DE",
    "created_at": datetime(2026, 1, 15, tzinfo=UTC),
    "updated_at": datetime(2026, 1, 15, tzinfo=UTC),
}


def day(number: float) -> datetime:
    """Return a moment: the morning of day 0, 1, 2, …"""
    return DAY_0 + timedelta(days=number)


def trunks(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return trunks, one row per dict of what is different."""
    return frame([TRUNK | row for row in rows], TRUNK)


def versions(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return versions; `days` is when they were there: (from, to), where to may be None."""
    filled = []
    for row in rows:
        since, until = row["days"]
        values = TRUNK | {name: value for name, value in row.items() if name != "days"}
        validity = {"valid_from": day(since), "valid_to": None if until is None else day(until)}
        filled.append(values | {"row_version": repr(sorted(values.items(), key=str))} | validity)
    return frame(filled, [*TRUNK, "row_version", "valid_from", "valid_to"])


def observations(
    *days: float, account: str = "acme", trunk_count: int = 1, loads: tuple[float, ...] = ()
) -> pd.DataFrame:
    """Return looks at an account; `loads` names the day whose load each has, its own without."""
    rows = [
        {
            "account": account,
            "snapshot_at": day(number),
            "trunk_count": trunk_count,
            "_dlt_load_id": f"{account}-{load}",
        }
        for number, load in zip(days, loads or days, strict=True)
    ]
    return frame(rows, ["account", "snapshot_at", "trunk_count", "_dlt_load_id"])


def drift(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return deviations."""
    columns = ["account", "snapshot_at", "column_name", "kind", "row_count"]
    return frame([{"account": "acme", "kind": "new_column", "row_count": 1} | row for row in rows], columns)


def frame(rows: list[dict[str, Any]], columns: Any) -> pd.DataFrame:
    """Return rows with the types that the catalog gives to columns of these names."""
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    made = pd.DataFrame(rows, columns=names, dtype="object")
    return made.astype({name: TYPES.get(name, TEXT) for name in names})


def rows(made: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Return the rows of a frame, of these columns or all, missing values as None."""
    shown = made[list(columns or made.columns)]
    return list(shown.astype(object).where(shown.notna(), None).itertuples(index=False, name=None))
