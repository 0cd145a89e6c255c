"""What the audit cannot judge: trunks of unknown providers, and old facts."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from trunk_transforms.audit.coverage import Coverage, measure_coverage
from trunk_transforms.enrich.providers import default_providers


def coverage(year: int, **counts: int) -> Coverage:
    frame = pd.DataFrame({"provider": pd.Series(counts.keys(), dtype="str"), "trunk_count": counts.values()})
    frame["provider"] = frame["provider"].replace("none", None)
    return measure_coverage(frame, default_providers(), datetime(year, 7, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"Telnyx": 7, "unknown": 3, "none": 2}, (12, 3)),
        ({"Telnyx": 7}, (7, 0)),
        ({}, (0, 0)),
    ],
)
def test_trunks_of_unknown_providers_are_counted(counts: dict[str, int], expected: tuple[int, int]) -> None:
    assert coverage(2026, **counts)[:2] == expected


def test_facts_on_the_accounts_providers_are_named_after_a_year() -> None:
    assert coverage(2026, Vonage=1, fonial=1).old_facts == []
    assert coverage(2027, Vonage=1, fonial=1).old_facts == ["Vonage of 2026-06-01", "fonial of 2026-06-01"]
    assert coverage(2028, Vonage=1, unknown=1).old_facts == [
        "Vonage of 2026-06-01",
        "Vonage (sip-us.vonage.com) of 2026-11-01",
        "Vonage (sip.nexmo.com) of 2026-11-01",
        "Vonage (all) of 2026-11-01",
    ]


def test_each_gap_is_one_sentence() -> None:
    assert list(coverage(2027, fonial=7, unknown=3).describe()) == [
        "3 of 10 trunks have an unknown provider, so the rules on providers are silent on them",
        "facts older than 12 months, to be checked: fonial of 2026-06-01",
    ]
    assert list(coverage(2026, fonial=7).describe()) == []
