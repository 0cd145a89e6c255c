"""Suppressions: how they are written, what they hide, and until when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

from tests.support.frames import rows, trunks
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.suppressions import Suppression, read_suppressions, suppress
from trunk_transforms.enrich.providers import default_providers

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def audit(made: pd.DataFrame) -> pd.DataFrame:
    return audit_trunks(made, providers=default_providers(), as_of=NOW)


ENTRY_IN_SETTINGS = {"rule": "allowlist-open", "trunk_id": 2, "reason": "a test", "until": date(2026, 7, 1)}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"note": "x"}, ": unknown key 'note'; the keys are rule, account, trunk_id, reason, until, cause"),
        *(({name: None}, f" has no {name}") for name in ENTRY_IN_SETTINGS),
        ({"trunk_id": None, "cause": " "}, " has no trunk_id and no cause"),
        ({"cause": 1}, ": cause must be text"),
        ({"rule": " "}, " has no rule"),
        ({"reason": ""}, " has no reason"),
        ({"rule": 1}, ": rule must be text"),
        ({"account": 1}, ": account must be text"),
        ({"reason": True}, ": reason must be text"),
        ({"trunk_id": "2"}, ": trunk_id must be a whole number"),
        ({"trunk_id": 2.0}, ": trunk_id must be a whole number"),
        ({"trunk_id": True}, ": trunk_id must be a whole number"),
        ({"until": 2026}, ": until must be a day such as 2027-06-30"),
        ({"until": "June"}, ": until must be a day such as 2027-06-30"),
        ({"until": "2027-02-30"}, ": until must be a day such as 2027-06-30"),
        ({"until": NOW}, ": until must be a day such as 2027-06-30"),
        (
            {"rule": "allowlist-opn"},
            ": no rule or family of rules is called 'allowlist-opn'; did you mean allowlist-open",
        ),
    ],
)
def test_a_suppression_that_is_wrong_is_refused_in_one_line(entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_suppressions([ENTRY_IN_SETTINGS, ENTRY_IN_SETTINGS | entry])
    assert str(refused.value).startswith(f"suppression 2{problem}")
    assert str(refused.value).isprintable()


def test_suppressions_are_read_with_a_day_as_a_day_or_as_text() -> None:
    entries = [
        ENTRY_IN_SETTINGS,
        ENTRY_IN_SETTINGS | {"rule": "exposure", "account": "a", "until": "2027-06-30", "trunk_id": 0},
        ENTRY_IN_SETTINGS | {"account": ""},
    ]
    first = Suppression("allowlist-open", None, 2, "a test", date(2026, 7, 1))
    second = Suppression("exposure", "a", 0, "a test", date(2027, 6, 30))
    assert read_suppressions(entries) == (first, second, first)
    assert read_suppressions([]) == ()


def suppression(rule: str, account: str | None = None, trunk_id: int = 1, day: int = 1) -> Suppression:
    return Suppression(rule, account, trunk_id, "a test", date(2026, 7, day))


SHARED = Suppression("allowlist", None, None, "a test", date(2026, 7, 1), '0.0.0.0/0 at "sip.telnyx.com"')


@pytest.fixture(scope="module")
def findings() -> pd.DataFrame:
    """Two of the allowlist and one on the country for trunk 1 of a and b, one on the country for one without id."""
    odd = {"allowed_inbound_ips": json.dumps(["0.0.0.0/0", "10.0.0.1"]), "country_code": "uk"}
    numbers = ("+441481960194", "+442079460108")
    made = [{"account": account, "phone_number": n} | odd for account, n in zip("ab", numbers, strict=True)]
    return audit(trunks(*made, {"account": "a", "id": None, "country_code": "de"}))


@pytest.mark.parametrize(
    ("meant", "covered"),
    [
        (suppression("allowlist-open"), [("a", 1, "allowlist-open"), ("b", 1, "allowlist-open")]),
        (suppression("allowlist-open", "b"), [("b", 1, "allowlist-open")]),
        (suppression("allowlist", "b", 1), [("b", 1, "allowlist-open"), ("b", 1, "allowlist-private")]),
        (suppression("country", "a"), [("a", 1, "country-unknown")]),
        (suppression("country", None, 1), [("a", 1, "country-unknown"), ("b", 1, "country-unknown")]),
        (suppression("country", None, 7), []),
        (suppression("country", "c"), []),
        (suppression("host"), []),
        (SHARED, [("a", 1, "allowlist-open"), ("b", 1, "allowlist-open")]),
        (replace(SHARED, account="b"), [("b", 1, "allowlist-open")]),
        (replace(SHARED, trunk_id=7), []),
        (replace(SHARED, rule="country"), []),
    ],
)
def test_a_suppression_is_about_a_rule_or_family_and_an_account_and_a_trunk_if_it_names_them(
    meant: Suppression, covered: list[tuple[str, int | None, str]], findings: pd.DataFrame
) -> None:
    columns = ("account", "trunk_id", "rule")
    assert len(findings) == 7
    flags = meant.covers(findings)
    assert rows(findings.loc[flags], *columns) == covered
    kept, suppressed = suppress(findings, [meant, suppression("value")], NOW)
    assert rows(kept) == rows(findings.loc[~flags])
    assert rows(suppressed) == rows(findings.loc[flags])
    assert list(kept.index) == list(range(len(kept)))
    assert list(kept.dtypes) == list(suppressed.dtypes) == list(findings.dtypes)


def test_several_suppressions_hide_a_finding_once_and_without_any_nothing_is_hidden(findings: pd.DataFrame) -> None:
    kept, suppressed = suppress(findings, [suppression("allowlist"), suppression("allowlist-open", "a")], NOW)
    assert (len(kept), len(suppressed)) == (3, 4)
    kept, suppressed = suppress(findings, [], NOW)
    pd.testing.assert_frame_equal(kept, findings)
    assert suppressed.empty
    nothing = audit(trunks())
    assert all(part.empty for part in suppress(nothing, [suppression("allowlist")], NOW))


@pytest.mark.parametrize(
    ("as_of", "is_valid"),
    [
        (datetime(2026, 7, 1, tzinfo=UTC), True),
        (datetime(2026, 7, 1, 23, 59, 59, 999999, tzinfo=UTC), True),
        (datetime(2026, 7, 2, tzinfo=UTC), False),
        (datetime(2026, 7, 2, 1, tzinfo=timezone(timedelta(hours=2))), True),  # still the day before in UTC
        (datetime(2026, 7, 1, 23, tzinfo=timezone(timedelta(hours=-2))), False),
    ],
)
def test_a_suppression_holds_through_the_whole_of_its_last_day(
    as_of: datetime, is_valid: bool, findings: pd.DataFrame
) -> None:
    meant, later = suppression("allowlist"), suppression("country", day=31)
    assert meant.is_valid(as_of) == is_valid
    assert later.is_valid(as_of)
    _, suppressed = suppress(findings, [meant, later], as_of)
    assert len(suppressed) == (6 if is_valid else 2)
