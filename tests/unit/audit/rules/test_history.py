"""The rules on recent changes and old credentials: what they find in accounts that were observed for some time."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.frames import day, rows
from tests.support.stories import AUTH, PBX, inputs_of, ips, listed
from trunk_transforms.audit.coverage import describe_coverage
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.office_hours import read_office_hours
from trunk_transforms.audit.rules import RULES
from trunk_transforms.enrich.providers import default_providers
from trunk_transforms.reports.inputs import Options, ReportInputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from tests.support.stories import Trunk

    Story = Sequence[Trunk | None]

TELNYX = {"sip_address": "sip.telnyx.com"}
EU = ["185.246.41.140", "185.246.41.141"]
DIDWW = {"sip_address": "out.didww.com", "sip_calling_format": "e164", "outbound_proxy": True}
OFF = {"outbound_proxy": False}
BASE: Trunk = {}
NOW = 5
HISTORY = [rule for rule in RULES.values() if rule.needs_past]


FOUND: dict[str, list[tuple[Story, str, str]]] = {
    "allowlist-replaced": [
        ((BASE, ips("9.9.9.9")), "9.9.9.9 instead of 8.8.8.8, listed until 2026-03-03 09:00 UTC", "9.9.9.9"),
        ((BASE, ips("9.9.9.9"), ips("9.9.9.9", nickname="x")), "listed until 2026-03-03", "9.9.9.9"),
        ((BASE, AUTH, ips("9.9.9.9")), "9.9.9.9 instead of 8.8.8.8", "9.9.9.9"),
        ((BASE, ips(), ips("9.9.9.9")), "9.9.9.9 instead of 8.8.8.8", "9.9.9.9"),
        ((ips("8.8.8.8", "8.8.8.8/32"), ips("9.9.9.9", "9.9.9.9")), "9.9.9.9 instead of 8.8.8.8, listed", "9.9.9.9"),
        ((BASE, ips("9.9.9.9"), {"allowed_inbound_ips": "9.9.9.9"}, ips("9.9.9.9")), "9.9.9.9 instead", "9.9.9.9"),
        ((ips("8.8.8.0/24", "2a00::1"), ips("9.9.9.0/24", "1.1.1.1")), "9.9.9.0/24, 1.1.1.1 instead of", "1.1.1.1"),
        ((ips(*EU) | TELNYX, ips("9.9.9.9") | TELNYX), "9.9.9.9 instead of 185.246.41.140", "9.9.9.9"),
        ((ips("203.0.113.10"), ips("198.51.100.20")), "198.51.100.20 instead of 203.0.113.10", "198.51.100.20"),
    ],
    "protection-weakened": [
        ((BASE, AUTH), "authorized by password (by allowlist until 2026-03-03 09:00 UTC)", "authorized by password"),
        ((BASE, {"inbound_authorization_type": "auth"}), "authorized by password", "authorized by password"),
        ((BASE, ips("8.8.8.8", "8.8.4.4")), "the allowlist has 8.8.4.4 (not until", "the allowlist has 8.8.4.4"),
        ((BASE, ips("8.8.8.0/24")), "the allowlist has 8.8.8.0/24", "the allowlist has 8.8.8.0/24"),
        ((ips("8.8.8.8", "2a00::1"), ips("8.8.8.8", "2a00::/64")), "the allowlist has 2a00::/64", "2a00::/64"),
        ((DIDWW, DIDWW | OFF), "outbound_proxy is off, but DIDWW needs it (on until", "DIDWW needs it"),
        ((DIDWW, DIDWW | OFF | AUTH), "authorized by password (by allowlist until", "password; outbound_proxy is off"),
    ],
    "number-replaced": [
        ((BASE, None, {"id": 2}), "same number as trunk 1, which was removed at 2026-03-03", "the number "),
        ((BASE, {"id": 2, "phone_number": "49 (30) 231-252"}), "same number as trunk 1", "the number "),
        ((BASE, {"id": 2, "phone_number": "5"}, {"id": 2}), "same number as trunk 1", "the number "),
        (({"phone_number": "1000"}, {"id": 2, "phone_number": "+1000"}), "same number as trunk 1", "the number "),
    ],
    "flapping": [
        ((BASE, OFF | {"outbound_proxy": True}, BASE), "outbound_proxy changed and changed back", "outbound_proxy"),
        ((BASE, ips("9.9.9.9"), {"nickname": "x"} | ips("9.9.9.9"), BASE), "allowed_inbound_ips changed", "allowed"),
        ((BASE, AUTH, BASE), "allowed_inbound_ips changed and changed back", "inbound_authorization_type changed back"),
    ],
}  # fmt: skip


LEFT_ALONE: dict[str, list[Story]] = {
    "allowlist-replaced": [
        (BASE, ips("8.8.8.8", "9.9.9.9")),
        (BASE, ips("8.8.8.0/24")),
        (ips("8.8.8.0/24"), ips("8.8.8.8")),
        (BASE, ips("0.0.0.0/0")),
        (BASE, AUTH),
        (AUTH, ips("9.9.9.9")),
        ({"inbound_authorization_type": "auth"}, ips("9.9.9.9")),  # the list was not in use
        (ips("10.0.0.1"), ips("9.9.9.9")),  # no call came from there
        (ips("pbx.example.com"), ips("9.9.9.9")),
        (BASE, ips("9.9.9.9"), BASE),  # flapping
        (BASE, ips(*EU) | TELNYX),
        (BASE, ips(EU[0], "9.9.9.9") | TELNYX),  # provider-ips-other
        (BASE, ips("34.195.177.252")),  # allowlist-platform
        (BASE, {"allowed_inbound_ips": "9.9.9.9"}),
        (BASE, {"allowed_inbound_ips": '["9.9.9.9"]'}),
        ({"allowed_inbound_ips": ["8.8.8.8", 5]}, ips("9.9.9.9")),
        (BASE, {"inbound_authorization_type": 5, "allowed_inbound_ips": ["9.9.9.9"]}),
        (BASE, ips()),
        (ips(), ips("9.9.9.9")),
        ({"allowed_inbound_ips": None}, ips("9.9.9.9")),
        (BASE, ips("8.8.8.8", nickname="other")),
        (None, ips("9.9.9.9")),
    ],
    "protection-weakened": [
        (AUTH, BASE),
        (ips("8.8.8.8", "8.8.4.4"), BASE),
        (ips("8.8.8.8", "8.8.4.4"), ips("8.8.8.8", "1.1.1.1")),
        (BASE, ips("9.9.9.9")),  # replaced, which is worse
        (BASE, ips("9.9.9.9", "1.1.1.1")),
        (BASE, ips("8.8.8.8", "0.0.0.0/0")),  # open, which is worse
        (BASE, ips("8.8.8.8", "::/0")),
        (ips(EU[0]) | TELNYX, ips(*EU) | TELNYX),
        (BASE, ips("8.8.8.8", "34.195.177.252")),
        (ips("8.8.8.8", "8.8.4.4"), BASE, ips("8.8.8.8", "8.8.4.4")),  # it was there before
        (ips("8.8.8.0", "8.8.8.1"), ips("8.8.8.0/31")),
        (ips(), AUTH),  # an empty list admits everybody
        ({"allowed_inbound_ips": None}, AUTH),
        (ips("0.0.0.0/0"), AUTH),
        (ips("8.8.8.8, 8.8.4.4"), AUTH),  # ignored
        (ips("10.0.0.1"), ips("10.0.0.1", "9.9.9.9")),
        (BASE, {"allowed_inbound_ips": "8.8.8.8"}),
        (BASE, {"inbound_authorization_type": 7, "allowed_inbound_ips": None}),
        ({"inbound_authorization_type": 7}, AUTH),
        ({"allowed_inbound_ips": "8.8.8.8"}, AUTH),
        ({"outbound_proxy": True}, OFF),
        (DIDWW, DIDWW | {"outbound_proxy": "no"}),
        (DIDWW | {"outbound_proxy": 1}, DIDWW | OFF),
        (DIDWW | OFF, DIDWW | OFF | {"nickname": "x"}),
        (None, AUTH),
    ],
    "number-replaced": [
        (BASE, {"id": 2, "phone_number": "+4930231253"}),
        (BASE, None),
        (BASE, None, BASE),
        (BASE, {"phone_number": "+4930231299"}),
        ({"phone_number": None}, {"id": 2, "phone_number": None}),
        ({"phone_number": 5}, {"id": 2, "phone_number": 5}),
        ({"phone_number": " "}, {"id": 2, "phone_number": " "}),
    ],
    "flapping": [
        (BASE, {"outbound_proxy": True}),
        (BASE, {"nickname": "x"}, BASE),
        (BASE, ips("9.9.9.9"), ips("1.1.1.1")),
        (BASE, {"sip_username": "a"}, {"sip_username": "b"}, {"sip_username": "c"}),
        (BASE, None, BASE),
        (ips("8.8.8.8", "9.9.9.9"), ips("9.9.9.9", "8.8.8.8"), ips("8.8.8.8", "9.9.9.9")),
    ],
}  # fmt: skip


STORIES = {f"found-{rule}-{place}": case[0] for rule, cases in FOUND.items() for place, case in enumerate(cases)}
STORIES |= {f"no-{rule}-{place}": story for rule, stories in LEFT_ALONE.items() for place, story in enumerate(stories)}


@cache
def found_at(as_of: float) -> pd.DataFrame:
    """Return the findings of the rules on history on a day, each story being one trunk of an account of its own."""
    told = {
        name: {
            place: [*(listed(place, trunk) if trunk is not None else []), PBX | {"id": 99, "phone_number": "77"}]
            for place, trunk in enumerate(story)
        }
        for name, story in STORIES.items()
    }
    return inputs_of(told, day(as_of), rules=HISTORY, is_past=as_of < NOW).findings


def found_in(name: str, rule: str, as_of: float) -> list[tuple[Any, ...]]:
    findings = found_at(as_of)
    return rows(findings[(findings["account"] == name) & (findings["rule"] == rule)], "severity", "seen", "cause")


@pytest.mark.parametrize("name", [name for name in STORIES if name.startswith("found-")])
def test_a_change_is_found_while_it_is_recent(name: str) -> None:
    rule, _, place = name.removeprefix("found-").rpartition("-")
    _, seen, cause = FOUND[rule][int(place)]
    (found,) = found_in(name, rule, NOW)
    assert found[0] == RULES[rule].severity
    assert seen in found[1]
    assert cause in found[2]
    assert "2026-" not in found[2]  # a cause is the same whenever it is found
    assert found_in(name, rule, NOW + 30) == []
    assert found_in(name, rule, 0.5) == []


@pytest.mark.parametrize("name", [name for name in STORIES if name.startswith("no-")])
def test_no_change_is_invented(name: str) -> None:
    rule = name.removeprefix("no-").rpartition("-")[0]
    assert found_in(name, rule, NOW) == []


@pytest.mark.parametrize(
    ("times", "found"),
    [([0, 1, 5, 25], 1), ([0, 1, 2], 0), ([0, 1, 13, 26], 0), ([0, 1, 13, 25], 1), ([0, 1, 14, 26, 27, 60], 1)],
)
def test_three_updates_within_a_day_are_flapping(times: list[float], found: int) -> None:
    told = {hour / 24: listed(hour / 24, {"sip_username": f"user-{hour}"}) for hour in times}
    findings = inputs_of({"acme": told}, day(9), rules=[RULES["flapping"]]).findings
    assert len(findings) == found
    assert all("re-created 3 times within 24 hours until 2026-03-0" in seen for seen in findings["seen"])


@pytest.mark.parametrize(("times", "found"), [(4, 1), (3, 0)])
def test_changes_of_the_password_count_as_updates(times: int, found: int) -> None:
    told = {hour / 24: listed(hour / 24, BASE) for hour in range(times)}
    assert len(inputs_of({"acme": told}, day(9), rules=[RULES["flapping"]]).findings) == found


def test_accounts_with_equal_ids_do_not_mix() -> None:
    before, after = listed(0, BASE, {"id": 5, "phone_number": "5"}), listed(1, ips("9.9.9.9"))
    accounts = {"a": {0: before, 1: after, 2: before}, "b": {0: after, 1: after, 2: listed(2, {"id": 7})}}
    inputs = inputs_of(accounts, day(3), rules=[rule for rule in HISTORY if rule.code != "flapping"])
    assert rows(inputs.findings, "account", "rule", "trunk_id") == [("b", "number-replaced", 7)]


@pytest.mark.parametrize(
    ("story", "as_of", "found", "known"),
    [
        ({0: BASE, 400: BASE | {"nickname": "x"}}, 401, True, True),
        ({0: BASE, 1: BASE, 400: BASE | {"nickname": "x"}}, 401, True, True),
        ({0: BASE, 364: BASE | {"nickname": "x"}}, 364.5, False, False),  # too short to know
        ({0: BASE, 100: BASE, 400: BASE | {"nickname": "x"}}, 401, False, True),  # only updated_at changed
        ({0: BASE, 100: BASE | {"sip_username": "new"}}, 401, False, True),
        ({0: None, 100: BASE}, 401, False, True),  # a new trunk has a new credential
        ({0: BASE | {"sip_username": None}}, 401, False, True),
        ({0: BASE | {"sip_username": 5}}, 401, False, True),
        ({0: BASE, 100: {"outbound_proxy": True}, 400: {"outbound_proxy": True, "nickname": "x"}}, 401, True, True),
    ],
)  # fmt: skip
def test_a_credential_is_old_after_a_year_without_a_sign_of_a_new_one(
    story: dict[float, Trunk | None], as_of: float, found: bool, known: bool
) -> None:
    told = {at: listed(at, trunk) if trunk is not None else [] for at, trunk in story.items()}
    inputs = inputs_of({"acme": told}, day(as_of), rules=[RULES["credential-age"]])
    assert rows(inputs.findings, "severity", "seen") == (
        [("low", "no sign of a new credential in the last 365 days")] if found else []
    )
    assert list(describe_coverage(inputs.coverage)) == (
        [] if known else ["1 of 1 trunk has a history shorter than 365 days, so the age of its credential is unknown"]
    )


HOURS = read_office_hours("Mo-Fr 08:00-18:00 Europe/Berlin")


@pytest.mark.parametrize(
    ("updated_at", "seen"),
    [
        ("2026-03-03T09:00:00Z", None),
        ("2026-03-02T20:30:00Z", "nickname at Mon 2026-03-02 21:30 Europe/Berlin, the office hours are Mo-Fr 08:00-"),
        ("2026-03-03T07:00:00Z", None),  # 08:00 in Berlin
        ("2026-03-03T06:59:59Z", "nickname at Tue 2026-03-03 07:59 Europe/Berlin"),
        ("2024-01-15T10:00:00.000000Z", None),  # it did not move
        ("2026-03-09T03:00:00Z", None),  # after the snapshot: a wrong clock
        ("2025-01-01T03:00:00Z", None),  # not recent
        (5, None),
        (None, None),
    ],
)
def test_changes_outside_the_office_hours_are_found_by_the_clock_of_the_api(updated_at: Any, seen: str | None) -> None:
    told = {0: [PBX], 1: [PBX | {"nickname": "x", "updated_at": updated_at}]}
    rule = [RULES["changed-out-of-hours"]]
    assert inputs_of({"acme": told}, day(2), rules=rule).findings.empty  # off by default
    found = rows(
        inputs_of({"acme": told}, day(2), rules=rule, office_hours=HOURS).findings, "severity", "seen", "cause"
    )
    assert [(severity, cause) for severity, _, cause in found] == (
        [("medium", "outside Mo-Fr 08:00-18:00 Europe/Berlin")] if seen else []
    )
    assert all(text.startswith(seen or "") for _, text, _ in found)


def test_additions_and_later_changes_outside_the_office_hours_are_found() -> None:
    night = {"updated_at": "2026-03-03T01:00:00Z"}
    told = {0: [], 1: [PBX | night], 2: [PBX | night | {"nickname": "x", "updated_at": "2026-03-03T12:00:00Z"}]}
    (found,) = rows(
        inputs_of({"a": told}, day(3), rules=[RULES["changed-out-of-hours"]], office_hours=HOURS).findings, "seen"
    )
    assert found[0].startswith("added at Tue 2026-03-03 02:00")


def test_an_audit_without_history_finds_nothing_in_it_and_says_so() -> None:
    inputs = inputs_of({"acme": {0: listed(0, BASE), 1: listed(1, AUTH)}}, day(2), rules=HISTORY)
    alone = ReportInputs({"trunks": inputs.tables["trunks"]}, inputs.options)
    assert not inputs.findings.empty
    assert alone.findings.empty
    assert list(describe_coverage(alone.coverage)) == [
        f"no history was read, so these rules find nothing: {', '.join(rule.code for rule in HISTORY)}"
    ]
    assert audit_trunks(alone.trunks, providers=default_providers(), as_of=day(2), rules=HISTORY).empty
    others = Options(as_of=day(2), rules=[RULES["host-ip"]])
    assert list(describe_coverage(ReportInputs(alone.tables, others).coverage)) == []


def test_a_field_that_no_trunk_has_any_more_is_no_change() -> None:
    told = {0: listed(0, DIDWW), 1: listed(1, DIDWW)}
    for name in ("inbound_authorization_type", "allowed_inbound_ips", "outbound_proxy", "phone_number", "updated_at"):
        without = [{key: value for key, value in trunk.items() if key != name} for trunk in told[1]]
        inputs = inputs_of({"a": {0: told[0], 1: without, 2: told[0]}}, day(3), rules=HISTORY, office_hours=HOURS)
        assert inputs.findings.empty, name


def test_masked_findings_show_no_number() -> None:
    told = {0: listed(0, BASE), 1: listed(1, {"id": 2})}
    inputs = inputs_of({"a": told}, day(2), rules=HISTORY, is_masked=True)
    assert "4930231252" not in inputs.findings.to_csv()
    assert list(inputs.findings["rule"]) == ["number-replaced"]
