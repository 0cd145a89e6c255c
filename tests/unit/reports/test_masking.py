"""What is masked before a report travels."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.support.frames import frame, rows, trunks
from trunk_transforms.reports.masking import mask, mask_changes, mask_columns, mask_findings

COLUMNS = ["account", "trunk_id", "phone_number", "rule", "severity", "cause", "seen", "fix"]


def findings(rule: str, **values: Any) -> pd.DataFrame:
    base = {"account": "acme", "trunk_id": 1, "phone_number": "+4930231252", "severity": "high"}
    return frame([base | {"rule": rule, "seen": "s", "fix": "f"} | values], COLUMNS)


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
def test_only_the_ends_of_a_masked_value_can_be_read(value: str, masked: str) -> None:
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
    found = findings("a", cause='the number "+4930231299"', seen="username 'x+4930231252y'")
    masked = mask_findings(found, trunks({"id": 1, "sip_username": "x+4930231252y"}))
    assert rows(masked, "seen", "cause") == [("username 'x+••••••2y'", 'the number "+49••••••99"')]


def test_masked_causes_are_shared_by_the_same_findings_and_tell_others_apart() -> None:
    users = {1: "amember01", 2: "amember01", 3: "amxxber01"}
    found = pd.concat(
        [
            findings("a", trunk_id=number, cause=f'the username "{user}"', phone_number="")
            for number, user in users.items()
        ],
        ignore_index=True,
    )
    masked = mask_findings(found, trunks(*({"id": number, "sip_username": user} for number, user in users.items())))
    assert rows(masked, "cause") == [
        ('the username "am••••••01"',),
        ('the username "am••••••01"',),
        ('the username "am••••••01" (2)',),
    ]


def test_a_cause_in_the_spelling_of_another_trunk_and_a_short_user_before_a_host_are_masked() -> None:
    spelled = {1: "1000", 2: "+1000"}
    found = pd.concat(
        [findings("a", trunk_id=n, cause='the number "1000"', phone_number=number) for n, number in spelled.items()],
        ignore_index=True,
    )
    made = trunks(*({"id": n, "phone_number": number, "sip_username": "user77"} for n, number in spelled.items()))
    masked = mask_findings(found.assign(seen='"user77@sip.plusnet.de" has a user in it'), made)
    assert "1000" not in "".join(masked["cause"])
    assert "user77" not in "".join(masked["seen"])


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


def test_values_of_the_wrong_type_are_masked_like_those_of_the_right_one() -> None:
    sent = {"phone_number__v_text": "4930231252", "sip_username__v_text": "7", "outbound_proxy__v_text": "+493023125"}
    found = findings("a", seen='phone_number "4930231252", sip_username "7", outbound_proxy "+493023125"')
    assert rows(mask_findings(found, trunks({"id": 1} | sent)), "seen") == [
        ('phone_number "49••••••52", sip_username "••••••", outbound_proxy "+49••••••25"',)
    ]


def test_undeclared_columns_are_masked_where_they_look_like_a_number() -> None:
    counts = frame([{"zz_invented": "call +4930231278", "trunk_count": 1}], [])
    assert rows(mask_columns(counts, {"zz_invented"})) == [("call +49••••••78", 1)]
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
            {"field": "zz_caller", "old": "desk of 0041 44 555 01 78", "new": "v1.2.3 4"},
        ],
        ["field", "old", "new"],
    )
    assert rows(mask_changes(changed), "old", "new") == [
        ("+49••••••52", "••••••"),
        ("sip.telnyx.com", None),
        ('["192.76.120.10", "+49••••••78"]', "li••••••01@sip.telnyx.com"),
        ("desk of 00••••••78", "v1.2.3 4"),
    ]


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("12 345678user@sip.telnyx.com", "12••••••er@sip.telnyx.com"),
        ("ana1234567890b@x", "an••••••0b@x"),
        ("+49 30 123456@x", "+49••••••56@x"),
        ("a@b@c", "••••••@••••••@c"),
        ("sip:4930123456099:secret-word@x", "sip:49••••••99:se••••••rd@x"),
        ("@", "@"),
    ],
)
def test_numbers_and_users_that_touch_are_both_masked(value: str, masked: str) -> None:
    counts = frame([{"zz_invented": value}], [])
    assert rows(mask_columns(counts, {"zz_invented"})) == [(masked,)]


LONG = 100_000


@pytest.mark.parametrize("unit", ["1", "1.", "a", "a ", "a@", "@", "+", "(", "1 (", "-", " ", "/", '"', "é"])
@pytest.mark.parametrize("end", ["", "x", "@", "@x", "1"])
def test_long_values_are_masked_in_a_time_that_does_not_grow_with_their_square(unit: str, end: str) -> None:
    counts = frame([{"zz_invented": unit * (LONG // len(unit)) + end}], [])
    ((masked,),) = rows(mask_columns(counts, {"zz_invented"}))
    assert "1" * 7 not in masked
    assert len(masked) <= 4 * LONG
