"""How old findings are, and what the log keeps of those that are over."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tests.support.frames import day, frame, observations, rows
from trunk_transforms.audit.finding_log import extend_findings, with_ages

COLUMNS = ["account", "trunk_id", "phone_number", "rule", "severity", "cause", "seen", "fix"]


def findings(*rules: str, trunk_id: int = 1, **values: Any) -> pd.DataFrame:
    base = {"account": "acme", "trunk_id": trunk_id, "phone_number": "+4930231252", "severity": "high"}
    return frame([base | {"rule": rule, "cause": "c", "seen": "s", "fix": "f"} | values for rule in rules], COLUMNS)


def audit(
    log: pd.DataFrame | None, found: pd.DataFrame, *days: float, suppressed: pd.DataFrame | None = None
) -> pd.DataFrame:
    hidden = findings() if suppressed is None else suppressed
    return extend_findings(log, with_ages(found, log), hidden, observations(*days))


def test_a_finding_has_the_age_of_the_first_audit_that_had_it_without_a_break() -> None:
    log = audit(None, findings("a", "b"), 0)
    log = audit(log, findings("a"), 0, 1)
    log = audit(log, findings("a", "b"), 0, 1, 2)
    moments = [pd.Timestamp(day(number)) for number in range(3)]
    assert rows(log, "rule", "first_seen_at", "last_seen_at", "is_current") == [
        ("a", moments[0], moments[2], True),
        ("b", moments[2], moments[2], True),
        ("b", moments[0], moments[0], False),
    ]
    assert rows(with_ages(findings("a", "c"), log), "rule", "first_seen_at") == [("a", moments[0]), ("c", None)]


def test_a_log_of_an_earlier_release_lacks_causes_and_goes_on() -> None:
    log = audit(audit(None, findings("a", "b"), 0).drop(columns="cause"), findings("a"), 0, 1)
    assert rows(log, "rule", "cause") == [("a", "c"), ("b", None)]


def test_a_run_without_reports_breaks_no_age() -> None:
    log = audit(None, findings("a"), 0)
    unsure = log.assign(is_current=log["is_current"].astype("boolean").where(~log["is_current"]))
    again = audit(unsure, findings("a"), 0, 1, 2)
    assert rows(again, "rule", "first_seen_at", "is_current") == [("a", pd.Timestamp(day(0)), True)]


def test_a_finding_that_is_suppressed_for_a_while_keeps_its_age() -> None:
    log = audit(None, findings("a", "b"), 0)
    log = audit(log, findings("b"), 0, 1, suppressed=findings("a"))
    assert rows(log, "rule", "is_current") == [("b", True), ("a", None)]
    log = audit(log, findings("a", "b"), 0, 1, 2)
    assert rows(log, "rule", "first_seen_at", "is_current") == [
        ("a", pd.Timestamp(day(0)), True),
        ("b", pd.Timestamp(day(0)), True),
    ]
    # What is mended while it is suppressed is over.
    log = audit(audit(log, findings(), 0, 1, 2, 3, suppressed=findings("a")), findings(), 0, 1, 2, 3, 4)
    assert rows(log, "rule", "is_current") == [("a", False), ("b", False)]


def test_the_log_keeps_resolved_findings_after_nothing_is_found() -> None:
    log = audit(audit(None, findings("a"), 0), findings(), 0, 1)
    assert rows(log, "rule", "last_seen_at", "is_current") == [("a", pd.Timestamp(day(0)), False)]
    assert str(log["first_seen_at"].dtype) == "datetime64[us, UTC]"
