"""The rules on the use of trunks by assistants, and what says that nobody answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.assignments import frame_of, use
from tests.support.frames import day
from tests.support.stories import AUTH, inputs_of, ips, listed
from trunk_transforms.audit.rules import RULES
from trunk_transforms.enrich.assistants import derive_use

USAGE = [rule for rule in RULES.values() if rule.family == "usage"]
UNUSED_AFTER = 90


def find(assignment: dict[str, Any], trunk: dict[str, Any], days: int = 1) -> list[str]:
    """Return the codes of the findings on a trunk with these assignments since day 0."""
    inputs = inputs_of({"acme": {0: listed(0, trunk)}}, day(days))
    assigned = replace(inputs, tables={**inputs.tables, "assignments": frame_of(assignment)})
    return sorted(replace(assigned, options=replace(inputs.options, rules=USAGE)).findings["rule"])


@pytest.mark.parametrize(
    ("assignment", "trunk", "expected"),
    [
        ({}, AUTH, ["usage-unanswered"]),
        ({}, ips("8.8.8.8"), ["usage-unanswered"]),
        ({}, ips(), []),
        ({}, AUTH | {"sip_username": ""}, []),
        ({"has_inbound_assistant": None}, AUTH, []),
        ({"has_inbound_assistant": True, "assistants": [use()]}, AUTH, []),
        ({"has_inbound_assistant": True}, AUTH, []),
        ({"has_inbound_assistant": True, "assistants": [use(status="inactive")]}, AUTH, ["usage-inactive"]),
        ({"has_inbound_assistant": False, "assistants": [use(status="deleted")]}, AUTH, ["usage-inactive"]),
        ({"has_inbound_assistant": True, "assistants": [use(status="inactive"), use()]}, AUTH, []),
        ({"assistants": [use("outbound")]}, AUTH, ["usage-unanswered"]),
    ],
)
def test_a_trunk_that_nobody_answers_is_found(
    assignment: dict[str, Any], trunk: dict[str, Any], expected: list[str]
) -> None:
    assert find(assignment, trunk) == expected


def test_a_trunk_that_nobody_uses_is_found_after_90_days_unless_a_stronger_rule_sees_it() -> None:
    assert find({}, ips(), UNUSED_AFTER - 1) == []
    assert find({}, ips(), UNUSED_AFTER) == ["usage-unused"]
    assert find({"assistants": [use("outbound")]}, ips(), UNUSED_AFTER) == []
    assert find({"assistants": [use("outbound", "deleted")]}, ips(), UNUSED_AFTER) == ["usage-unused"]
    assert find({}, AUTH, UNUSED_AFTER) == ["usage-unanswered"]


def test_without_assignments_there_are_no_findings() -> None:
    inputs = inputs_of({"acme": {0: listed(0, AUTH)}}, day(UNUSED_AFTER))
    assert replace(inputs, options=replace(inputs.options, rules=USAGE)).findings.empty


@pytest.mark.parametrize(
    ("is_assigned", "remark"), [(True, "; an inbound"), (False, "; no inbound assistant has"), (None, "UTC")]
)
def test_a_replaced_number_is_reported_with_its_assistant(is_assigned: bool | None, remark: str) -> None:
    inputs = inputs_of({"acme": {0: listed(0, {}), 1: listed(1, {"id": 2})}}, day(2))
    assignments = frame_of({"trunk_id": 2, "has_inbound_assistant": is_assigned})
    rules = [RULES["number-replaced"]]
    assigned = replace(inputs, tables={**inputs.tables, "assignments": assignments})
    (seen,) = replace(assigned, options=replace(inputs.options, rules=rules)).findings["seen"]
    assert remark in seen


def test_an_unknown_assignment_is_neither_answered_nor_unused() -> None:
    used = derive_use(frame_of({"has_inbound_assistant": None}))
    assert used["reason"].isna().all()
    assert used["is_used"].all()
