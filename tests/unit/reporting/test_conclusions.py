"""The sentences above the charts of the notebook."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from sip_trunks.reporting.summaries import conclude_changes, conclude_counts, conclude_findings, conclude_growth
from tests.support.changes import log_changes
from tests.support.frames import day, drift, frame, observations, trunks, versions
from trunk_transforms.reports.counts import count_trunks
from trunk_transforms.schema.findings import FINDINGS

NOW = day(20)


def life(number: int, *days: float | None, **values: Any) -> dict[str, Any]:
    return {"id": number, "days": days} | values


@pytest.mark.parametrize(
    ("lives", "seen", "sentence"),
    [
        ([], (), "No snapshots are stored."),
        ([life(1, 0, None)], (0,), "One snapshot is stored, from 02 Mar 2026; growth appears after the second."),
        ([life(1, 0, None)], (0, 5), "The last snapshot is from 07 Mar 2026; changes in the last week are unknown."),
        ([life(1, 0, None)], (0, 19), "As many trunks as a week ago."),
        ([life(1, 0, None)], (15, 19), "As many trunks as in the first snapshot."),
        ([life(1, 0, 19), life(2, 0, None)], (0, 19), "1 trunk fewer than a week ago, in Germany."),
        ([life(n, 0, 19) for n in (1, 2)], (0, 19), "2 trunks fewer than a week ago, both in Germany."),
        ([life(n, 0, 19) for n in (1, 2, 3)], (0, 19), "3 trunks fewer than a week ago, all in Germany."),
        ([life(1, 19, None, country_code=None)], (0, 19), "1 trunk more than a week ago, without a country."),
        ([life(1, 0, 2), life(2, 0, None)], (0, 2, 19), "As many trunks as a week ago."),
        # A change, and a trunk that vanished and came back, are no growth.
        ([life(1, 0, 18), life(1, 18, None, country_code="FR")], (0, 18), "As many trunks as a week ago."),
        (
            [life(1, 0, 19), life(2, 19, None), life(3, 19, None), life(4, 19, None, country_code="uk")],
            (0, 19),
            "2 trunks more than a week ago: 3 added, 1 removed, 3 of them in Germany.",
        ),
        (
            [life(1, 18, 19), life(2, 18, 19, country_code="UK")],
            (18, 19),
            "2 trunks fewer than in the first snapshot, in 2 countries.",
        ),
        (
            [life(1, 0, 19, country_code="UK"), life(2, 0, 19, country_code="GB")],
            (0, 19),
            "2 trunks fewer than a week ago, both in United Kingdom.",
        ),
    ],
)
def test_growth_in_a_week(lives: list[dict[str, Any]], seen: tuple[float, ...], sentence: str) -> None:
    assert conclude_growth(versions(*lives), observations(*seen), NOW) == sentence


def test_a_new_account_is_compared_with_its_first_snapshot() -> None:
    both = pd.concat([observations(0, 19), observations(18, 19, account="beta")], ignore_index=True)
    known = versions(life(1, 0, None), life(1, 18, None, account="beta"), life(2, 19, None, account="beta"))
    expected = "1 trunk more than a week ago (new accounts: in their first snapshot), in Germany."
    assert conclude_growth(known, both, NOW) == expected


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        ([], ""),
        (["DE"], "The only trunk has the same country: Germany (DE)."),
        (["UK", "GB", "gb"], "All 3 trunks have the same country: United Kingdom (GB)."),
        (["DE", "DE", "FR"], "Most frequent country: Germany (DE), 2 of 3 trunks (67 %)."),
        (["DE", "FR"], "Most frequent country: Germany (DE) and France (FR), 1 of 2 trunks (50 %) each."),
        (["DE", "FR", "AT"], "Most frequent country: 3 values, 1 of 3 trunks (33 %) each."),
        (["DE", None], "Most frequent country: Germany (DE), 1 of 2 trunks (50 %); 1 is unknown."),
        (["DE", "XX", None], "Most frequent country: Germany (DE), 1 of 3 trunks (33 %); 2 are unknown."),
        ([None, None], "2 of 2 trunks have no known country."),
    ],
)
def test_the_most_frequent_value(codes: list[str | None], sentence: str) -> None:
    from trunk_transforms.enrich.countries import derive_country_name

    counted = count_trunks(trunks(*({"id": n, "country_code": code} for n, code in enumerate(codes))), ["country_code"])
    assert conclude_counts(derive_country_name(counted)) == sentence


def test_an_unknown_provider_is_no_provider() -> None:
    counts = pd.DataFrame({"provider": ["unknown", "Telnyx"], "trunk_count": [3, 1], "share_pct": [75.0, 25.0]})
    assert conclude_counts(counts) == "Most frequent provider: Telnyx, 1 of 4 trunks (25 %); 3 are unknown."


def test_changes_of_a_week() -> None:
    history = versions(life(1, 0, 18), life(1, 18, None, country_code="FR"), life(2, 18, None))
    changes = log_changes(history, observations(0, 18), drift(), since=None, as_of=NOW)
    assert conclude_changes(changes.head(0), history.head(0), NOW) == ""
    expected = "In the last 7 days: 1 added trunk, 1 changed trunk, 1 changed field, most often country_code."
    assert conclude_changes(changes, history, NOW) == expected
    assert (
        conclude_changes(changes, history, day(30)) == "No changes in the last 7 days; the latest are from 20 Mar 2026."
    )


def test_trunks_of_which_only_drift_changed_are_changed_trunks() -> None:
    history = versions(life(1, 0, 10), life(1, 10, 18), life(1, 18, None), life(2, 0, 10), life(2, 18, None))
    none = log_changes(history.head(0), observations(0, 18), drift(), since=None, as_of=NOW)
    assert conclude_changes(none, history, NOW) == "In the last 7 days: 1 changed trunk (1 only by drift)."
    assert conclude_changes(none, history, day(30)) == ""
    both = log_changes(versions(life(2, 0, 18)), observations(0, 18), drift(), since=None, as_of=NOW)
    expected = "In the last 7 days: 1 removed trunk, 1 changed trunk (1 only by drift)."
    assert conclude_changes(both, history, NOW) == expected


def test_findings_begin_with_the_worst() -> None:
    base = {"account": "acme", "trunk_id": 1, "seen": "x", "fix": "y", "cause": "z"}
    rows = [base | {"rule": rule, "severity": severity} for rule, severity in (("a", "low"), ("b", "high"))]
    findings = frame(rows, FINDINGS.names)
    assert conclude_findings(findings.head(0)) == ""
    assert conclude_findings(findings) == "2 findings on 1 trunk, 1 of severity high; the first to fix: b."
