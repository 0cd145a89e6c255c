"""The overview: what is there, what happened and what is wrong."""

from __future__ import annotations

from tests.support.frames import day, rows, trunks
from tests.unit.reports.inputs import NOW, inputs
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.overview import derive_overview
from trunk_transforms.schema.reports import OVERVIEW


def test_the_overview_has_trunks_changes_and_findings() -> None:
    overview = inputs(is_log=True).overview
    assert list(overview.columns) == OVERVIEW.names
    assert rows(overview.loc[~overview["section"].isin(["findings"])]) == [
        ("accounts", "accounts", 1, "acme"),
        ("trunks", "trunks", 4, None),
        ("counts", "+e164 · Germany", 1, "25 %"),
        ("counts", "+e164 · QQ", 1, "25 %"),
        ("counts", "e164-ish · –", 1, "25 %"),
        ("counts", "national · Germany", 1, "25 %"),
        ("changes", "added trunks", 2, "since 2026-02-03"),
        ("changes", "removed trunks", 1, None),
        ("changes", "changed trunks", 1, None),
        ("changes", "changed fields", 1, "sip_address"),
        ("changes", "re-created trunks", 1, "a leg was down briefly"),
        ("freshness", "missed runs", 0, "every account seen since 2026-03-04 09:00Z"),
    ]
    found = inputs().findings
    severities = overview.loc[overview["section"] == "findings", "item"]
    assert list(severities) == list(dict.fromkeys(found["severity"]))
    assert overview.loc[overview["section"] == "findings", "value"].sum() == len(found)


def test_the_overview_names_accounts_that_are_late_or_were_never_seen() -> None:
    # Seen on days 0, 1 and 2, and then not for three days.
    late = Options(as_of=day(5), accounts=("acme", "new"), is_log=True)
    overview = ReportInputs(inputs().tables, late).overview
    assert rows(overview.loc[overview["section"] == "freshness"]) == [
        ("freshness", "new", None, "never seen"),
        ("freshness", "acme", 2, "missed runs, last seen 2026-03-04 09:00Z"),
    ]


def test_an_overview_of_nothing_says_so() -> None:
    whole = inputs()
    empty = ReportInputs({**whole.tables, "trunks": trunks(), "changes": whole.changes.head(0)}, Options(as_of=NOW))
    overview = derive_overview(
        counts=empty.count(("sip_calling_format", "country_code")),
        changes=empty.changes,
        changed_since=None,
        findings=empty.findings,
        freshness=empty.freshness,
    )
    assert rows(overview.loc[overview["section"].isin(["trunks", "changes", "findings"])]) == [
        ("trunks", "trunks", 0, None),
        ("changes", "changed trunks", 0, "none added, removed or changed since the last snapshot but one"),
        ("findings", "findings", 0, None),
    ]
