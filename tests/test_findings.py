"""How old findings are, and what is masked before a report travels."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.frames import day, frame, looks, rows, trunks
from transforms.findings import extend_findings, with_ages
from transforms.masking import mask, mask_changes, mask_columns, mask_findings

COLUMNS = ["account", "trunk_id", "phone_number", "rule", "severity", "seen", "fix"]


def findings(*rules: str, trunk_id: int = 1, **values: Any) -> pd.DataFrame:
    base = {"account": "acme", "trunk_id": trunk_id, "phone_number": "+4930231252", "severity": "high"}
    return frame([base | {"rule": rule, "seen": "s", "fix": "f"} | values for rule in rules], COLUMNS)


def audit(
    log: pd.DataFrame | None, found: pd.DataFrame, *days: float, suppressed: pd.DataFrame | None = None
) -> pd.DataFrame:
    hidden = findings() if suppressed is None else suppressed
    return extend_findings(log, with_ages(found, log), hidden, looks(*days))


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


def test_the_log_keeps_what_is_over_when_nothing_is_found_any_more() -> None:
    log = audit(audit(None, findings("a"), 0), findings(), 0, 1)
    assert rows(log, "rule", "last_seen_at", "is_current") == [("a", pd.Timestamp(day(0)), False)]
    assert str(log["first_seen_at"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("+4930231278", "+49••••••78"),
        ("498999998432", "49••••••32"),
        ("hanse-spedition-04", "ha••••••04"),
        ("1000", "••••••"),
        ("", ""),
    ],
)
def test_only_the_ends_of_what_is_masked_can_be_read(value: str, masked: str) -> None:
    assert mask(value) == masked


def test_numbers_and_usernames_are_masked_in_columns_and_in_texts() -> None:
    found = findings("a", seen="+4930231252 is also lindner-01", fix="ask lindner-01")
    masked = mask_findings(found, trunks({"id": 1}))
    assert rows(masked, "phone_number", "seen", "fix") == [
        ("+49••••••52", "+49••••••52 is also li••••••01", "ask li••••••01")
    ]
    assert rows(mask_columns(trunks({})), "phone_number", "sip_username", "sip_address") == [
        ("+49••••••52", "li••••••01", "sip.telnyx.com")
    ]


def test_a_username_that_holds_the_number_leaves_none_of_it() -> None:
    found = findings("a", seen="username 'x+4930231252y'")
    masked = mask_findings(found, trunks({"id": 1, "sip_username": "x+4930231252y"}))
    assert rows(masked, "seen") == [("username 'x+••••••2y'",)]


def test_texts_are_masked_wherever_a_trunk_has_numbers_and_users_and_nowhere_else() -> None:
    values = {
        "id": 1,
        "sip_username": "user",
        "sip_address": "4930123456099@sip.telnyx.com",
        "allowed_inbound_ips": '["192.76.120.10", "+493012345602"]',
    }
    found = findings(
        "a", seen='sip_username is "user": "+493012345602", 192.76.120.10', fix="not 4930123456099@: a better username"
    )
    assert rows(mask_findings(found, trunks(values)), "seen", "fix") == [
        ('sip_username is "••••••": "+49••••••02", 192.76.120.10', "not 49••••••99@: a better username")
    ]


def test_columns_that_nobody_declared_are_masked_where_they_look_like_a_number() -> None:
    counts = frame([{"nickname": "call +4930231278", "trunk_count": 1}], [])
    assert rows(mask_columns(counts, {"nickname"})) == [("call +49••••••78", 1)]
    assert rows(mask_columns(counts)) == [("call +4930231278", 1)]


def test_changes_are_masked_by_field_and_undeclared_fields_where_they_look_like_numbers() -> None:
    changed = frame(
        [
            {"field": "phone_number", "old": "+4930231252", "new": "1000"},
            {"field": "sip_address", "old": "sip.telnyx.com", "new": None},
            {
                "field": "allowed_inbound_ips",
                "old": '["192.76.120.10", "+4930231278"]',
                "new": "lindner-01@sip.telnyx.com",
            },
            {"field": "caller", "old": "desk of 0041 44 555 01 78", "new": "v1.2.3 4"},
        ],
        ["field", "old", "new"],
    )
    assert rows(mask_changes(changed), "old", "new") == [
        ("+49••••••52", "••••••"),
        ("sip.telnyx.com", None),
        ('["192.76.120.10", "+49••••••78"]', "li••••••01@sip.telnyx.com"),
        ("desk of 00••••••78", "v1.2.3 4"),
    ]
