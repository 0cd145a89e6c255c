"""Counts, findings and growth as charts and summaries get them."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from trunk_transforms.reports.counts import derive_shares
from trunk_transforms.schema.reports import GROWTH


def counts(*rows: tuple[Any, ...], by: tuple[str, ...] = ("sip_calling_format", "country_code")) -> pd.DataFrame:
    """Return counts, one row per tuple of values and the number of trunks."""
    made = pd.DataFrame(rows, columns=[*by, "trunk_count"])
    made = made.astype({name: pd.StringDtype("pyarrow", na_value=np.nan) for name in by})
    return made.assign(share_pct=derive_shares(made["trunk_count"]))


def findings(*rows: tuple[str, str, int]) -> pd.DataFrame:
    """Return findings: severity, rule, and how many of it."""
    return pd.DataFrame(
        [(severity, rule) for severity, rule, count in rows for _ in range(count)], columns=["severity", "rule"]
    )


def growth(*rows: tuple[str, str, int, int, int | None]) -> pd.DataFrame:
    """Return growth: account, period, created, vanished, and trunks."""
    made = [
        (account, date.fromisoformat(period), int(trunks is not None), created, 0, 0, vanished, trunks)
        for account, period, created, vanished, trunks in rows
    ]
    frame = pd.DataFrame(made, columns=GROWTH.names)
    return frame.astype({"period": pd.ArrowDtype(pa.date32()), "trunk_count": "Int64"})


TWO_ACCOUNTS = growth(
    ("a", "2026-01-01", 3, 0, 10),
    ("a", "2026-02-01", 2, 1, 11),
    ("a", "2026-03-01", 0, 0, None),
    ("a", "2026-04-01", 1, 0, 12),
    ("b", "2026-02-01", 4, 0, 5),
    ("b", "2026-03-01", 1, 0, None),
    ("b", "2026-04-01", 0, 2, 4),
)


FRAMES = {
    "counts": counts(("e164", "DE", 3), ("+e164", "FR", 2), (None, "DE", 1)),
    "by_country": counts(("DE", 3), (None, 2), by=("country_code",)),
    "by_provider": counts(("Telnyx", 3), ("unknown", 2), by=("provider",)),
    "by_authorization": counts(("ip", 3), ("auth", 2), by=("inbound_authorization_type",)),
    "by_number_kind": counts(("DID", 3), ("extension", 2), by=("number_kind",)),
    "growth": TWO_ACCOUNTS,
    "audit": findings(("critical", "allowlist-open", 2), ("low", "host-ip", 9)),
}
