"""The engine of the audit: which rules there are, which of them apply, and in which order findings come."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tests.support.frames import rows, trunks
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.rules import RULES, select_rules
from trunk_transforms.audit.rules.context import NOTHING, Findings, Verdict
from trunk_transforms.enrich.numbers import derive_numbers
from trunk_transforms.enrich.providers import default_providers, derive_provider
from trunk_transforms.schema.findings import FINDINGS, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunk_transforms.audit.rules.rule import Rule


NOW = datetime(2026, 7, 1, tzinfo=UTC)
PROVIDERS = default_providers()
FAMILIES = (
    *("allowlist", "provider", "proxy", "host", "number", "country", "duplicate", "inbound", "exposure", "username"),
    *("format", "value", "usage", "protection", "flapping", "changed", "credential"),
)
EMPTY = json.dumps([])
OPEN = json.dumps(["0.0.0.0/0"])
PRIVATE = json.dumps(["10.0.0.1", "185.246.41.140", "185.246.41.141"])


def audit(made: pd.DataFrame, rules: Iterable[Rule] | None = None) -> pd.DataFrame:
    return audit_trunks(made, providers=PROVIDERS, as_of=NOW, rules=rules)


# --- The rules ---


@pytest.mark.parametrize("code", RULES)
def test_a_rule_has_a_question_a_reason_and_a_fix(code: str) -> None:
    rule = RULES[code]
    assert rule.code == code
    assert re.fullmatch(r"[a-z]+(?:-[a-z]+)*", code)
    assert rule.family in FAMILIES
    assert rule.severity in SEVERITIES
    assert re.fullmatch(r"Which .+\?", rule.question)
    assert rule.why.endswith(".")
    assert rule.fix.strip()
    assert rule.source.strip()
    assert all(text.isprintable() for text in (rule.question, rule.why, rule.fix, rule.source))


def test_severities_ascend_and_rules_come_by_family() -> None:
    assert SEVERITIES == ("info", "low", "medium", "high", "critical")
    assert list(dict.fromkeys(rule.family for rule in RULES.values())) == list(FAMILIES)
    assert [rule.family for rule in RULES.values()] == sorted(
        (rule.family for rule in RULES.values()), key=FAMILIES.index
    )


def test_codes_are_stable() -> None:
    # Suppressions and published findings name them: one that is renamed is a break to announce.
    assert " ".join(RULES) == (
        "allowlist-empty allowlist-invalid allowlist-open allowlist-wide allowlist-private allowlist-reserved "
        "allowlist-duplicate allowlist-unused allowlist-platform allowlist-outlier allowlist-shared allowlist-replaced "
        "provider-ips-missing provider-ips-other provider-calling-format provider-host provider-outbound-proxy "
        "provider-unsupported provider-registration proxy-unneeded "
        "host-malformed host-platform host-private host-ip "
        "number-missing number-malformed number-too-long number-invalid number-without-plus number-country "
        "number-replaced "
        "country-unknown duplicate-trunk duplicate-number duplicate-across-accounts "
        "inbound-auth-unsupported inbound-number-conflict "
        "exposure-password exposure-username-blank exposure-username-number exposure-username-default "
        "exposure-shared-credential username-length format-outlier format-national-countries value-unknown "
        "value-unreadable usage-unanswered usage-inactive usage-unused protection-weakened flapping "
        "changed-out-of-hours credential-age"
    )
    assert [rule.code for rule in RULES.values() if rule.is_cross_account] == [
        "allowlist-shared",
        "duplicate-across-accounts",
    ]


@pytest.mark.parametrize(
    ("select", "ignore", "codes"),
    [
        ("", "", " ".join(RULES)),
        ("host-ip", "", "host-ip"),
        ("host-ip host-ip", "", "host-ip"),
        ("provider-ips", "", "provider-ips-missing provider-ips-other"),
        ("host allowlist-open", "", "allowlist-open host-malformed host-platform host-private host-ip"),
        ("host", "host-private host-ip country", "host-malformed host-platform"),
        (
            "",
            " ".join(family for family in FAMILIES if family not in ("country", "format")),
            "country-unknown format-outlier format-national-countries",
        ),
        ("host", "host", ""),
    ],
)
def test_rules_are_selected_by_code_and_family_in_the_order_of_all(select: str, ignore: str, codes: str) -> None:
    assert [rule.code for rule in select_rules(select.split(), ignore.split())] == codes.split()


@pytest.mark.parametrize("is_ignored", [False, True])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("allowlst", "did you mean allowlist or "),
        ("allowlist-opn", "did you mean allowlist-open"),
        ("host-p", "did you mean host-"),  # no word of its own
        ("Host-IP", f"the families are {', '.join(FAMILIES)}"),
        ("qqq", "the families are allowlist, "),
        ("", "the families are allowlist, "),
    ],
)
def test_a_rule_that_does_not_exist_is_refused_with_a_hint(name: str, hint: str, is_ignored: bool) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        select_rules(*(([], [name]) if is_ignored else ([name], [])))
    assert str(refused.value).startswith(f"no rule or family of rules is called {name!r}; {hint}")


# --- Findings ---


def test_the_most_severe_come_first_then_by_account_trunk_and_rule() -> None:
    made = trunks(
        {"account": "b", "id": 2, "allowed_inbound_ips": PRIVATE, "country_code": "de"},
        {"account": "a", "id": 10, "allowed_inbound_ips": EMPTY, "phone_number": "+4930231253"},
        {"account": "a", "id": None, "allowed_inbound_ips": EMPTY, "phone_number": "+4930231254"},
        {"account": "b", "id": 1, "allowed_inbound_ips": OPEN, "sip_username": "admin", "phone_number": "030231255"},
        {"account": "a", "id": 9, "phone_number": None, "sip_username": "root", "country_code": "UK"},
    )
    assert rows(audit(made), "severity", "account", "trunk_id", "rule") == [
        ("critical", "a", 10, "allowlist-empty"),
        ("critical", "a", None, "allowlist-empty"),
        ("critical", "b", 1, "allowlist-open"),
        ("high", "a", 9, "exposure-username-default"),
        ("high", "a", 9, "number-missing"),
        ("high", "b", 1, "exposure-username-default"),
        ("high", "b", 2, "allowlist-private"),
        ("medium", "a", 9, "country-unknown"),
        ("medium", "b", 1, "number-without-plus"),
        ("medium", "b", 2, "country-unknown"),
    ]


@pytest.mark.parametrize("made", [trunks(), trunks({}), trunks({"allowed_inbound_ips": EMPTY})])
@pytest.mark.parametrize("rules", [None, [], [RULES["host-ip"]], [RULES["duplicate-trunk"]]])
def test_findings_have_their_columns_and_types_with_and_without_rows(
    made: pd.DataFrame, rules: list[Rule] | None
) -> None:
    found = audit(made, rules)
    assert list(found.columns) == FINDINGS.names
    assert [str(dtype) for dtype in found.dtypes] == ["str", "Int64", *["str"] * 7]
    assert list(found.index) == list(range(len(found)))
    assert found[["rule", "severity", "cause", "seen", "fix"]].notna().all(axis=None)


def test_findings_that_one_change_mends_share_a_cause() -> None:
    made = trunks(
        {"id": 1, "phone_number": "+4930231251", "sip_username": "one"},
        {"id": 2, "phone_number": "0049 30 231251", "sip_username": "one"},
        {"id": 3, "phone_number": "+4930231253", "sip_username": "one"},
        {"id": 4, "phone_number": "+1000", "sip_username": "four", "country_code__v_text": "4"},
        {"id": 5, "phone_number": "1000", "sip_username": "five", "country_code__v_text": "49"},
    )
    found = audit(made, select_rules(["exposure-shared", "duplicate-number", "inbound", "value-unreadable"], []))
    for rule, cause in (
        ("value-unreadable", "the type of country_code"),
        ("inbound-number-conflict", 'the number "+1000"'),
        ("exposure-shared-credential", 'the username "one" at "sip.telnyx.com"'),
        ("duplicate-number", 'the number "+4930231251"'),
    ):
        assert set(found.loc[found["rule"] == rule, "cause"]) == {cause}


PBX = {"sip_address": "pbx.example.com", "phone_number": "1000"}


@pytest.mark.parametrize(
    "made",
    [
        {"allowed_inbound_ips": EMPTY},
        {"allowed_inbound_ips": OPEN},
        {"allowed_inbound_ips": json.dumps([" "])},
        {"allowed_inbound_ips": json.dumps(["8.0.0.0/8"])},
        {"inbound_authorization_type": "auth", "sip_username": None, "allowed_inbound_ips": None},
        {"phone_number": None},
        {"country_code": None},
        {"sip_username": "1000"},
        {"sip_username": None},
    ],
)
def test_the_cause_of_a_finding_that_says_no_value_names_the_host(made: dict[str, Any]) -> None:
    other = {"id": 2, "sip_address": "gw.example.com", "allowed_inbound_ips": json.dumps(["8.8.8.8"])}
    found = audit(trunks(PBX | made, PBX | other | made, PBX | {"id": 3} | made))
    found = found.loc[~found["rule"].str.startswith(("inbound", "duplicate"))]
    causes = {trunk: set(own["cause"]) for trunk, own in found.groupby("trunk_id")}
    assert causes[1] == causes[3] != causes[2]
    assert all('"pbx.example.com"' in cause for cause in causes[1])


def test_a_cause_stays_the_same_while_the_number_of_trunks_grows() -> None:
    def causes(count: int) -> set[str]:
        few = [
            {"sip_calling_format": "national", "country_code": "FR", "allowed_inbound_ips": json.dumps(["8.8.4.4"])},
            {"sip_calling_format": "e164", "account": "b"},
        ]
        usual = [{"sip_calling_format": "national", "allowed_inbound_ips": json.dumps(["8.8.8.8"])}] * count
        usual += [{"sip_calling_format": "national", "account": "b"}] * count
        numbered = ({"id": place, "phone_number": str(1000 + place)} | row for place, row in enumerate([*few, *usual]))
        found = audit(trunks(*({"sip_address": "pbx.example.com"} | row for row in numbered)))
        return set(found.loc[found["severity"] == "medium", "cause"])

    expected = {
        '8.8.4.4 allowed, 8.8.8.8 missing at "pbx.example.com"',
        '"e164" in place of "national" at "pbx.example.com"',
        'national numbers at "pbx.example.com"',
    }
    assert causes(5) == causes(9) == expected


# --- Several rules that see one defect ---


def test_a_rule_yields_to_rules_of_its_kind_and_never_in_a_circle() -> None:
    def follow(code: str, path: tuple[str, ...] = ()) -> None:
        assert code not in path
        for stronger in RULES[code].yields_to:
            assert not RULES[stronger].is_cross_account
            assert RULES[stronger].check is not RULES[code].check
            follow(stronger, (*path, code))

    for code, rule in RULES.items():
        follow(code)
        assert not (rule.yields_to and rule.is_cross_account)


def test_of_two_findings_on_one_defect_the_stronger_one_is_left() -> None:
    password = {"inbound_authorization_type": "auth", "allowed_inbound_ips": None}
    made = trunks(
        {"id": 1} | password | {"allowed_inbound_ips": PRIVATE},
        {"id": 2} | password | {"allowed_inbound_ips": PRIVATE, "sip_address": "pbx.example.com"},
        {"id": 3} | password | {"sip_username": None, "sip_address": "acme.pstn.twilio.com"},
        # The proxy explains a blank username of outbound calls, but not one of inbound calls.
        {"id": 4, "sip_address": "sip.xx.didlogic.net", "sip_username": None},
        {"id": 5, "sip_address": "sip.xx.didlogic.net", "sip_username": None} | password,
    ).assign(phone_number=list("12345"))
    assert rows(audit(made), "trunk_id", "rule") == [
        (3, "exposure-username-blank"),
        (5, "exposure-username-blank"),
        (1, "exposure-password"),
        (4, "provider-outbound-proxy"),
        (5, "provider-outbound-proxy"),
        (2, "allowlist-unused"),
    ]
    unused = audit(made, [RULES["allowlist-unused"]])
    assert set(unused["trunk_id"]) == {1, 2}  # a rule that is not selected is no reason to be silent


def test_neither_the_order_nor_the_index_of_the_trunks_matters_and_they_are_untouched() -> None:
    made = trunks(*({"id": place, "allowed_inbound_ips": PRIVATE, "country_code": "UK"} for place in range(6)))
    expected = audit(made, select_rules(["allowlist", "country"], []))
    before = made.copy()
    for other in (made.iloc[::-1], made.set_axis([7] * 6), made.sample(frac=1, random_state=1)):
        pd.testing.assert_frame_equal(audit(other, select_rules(["allowlist", "country"], [])), expected)
    pd.testing.assert_frame_equal(made, before)


def test_columns_that_are_derived_already_are_not_derived_again() -> None:
    made = trunks({}, {"id": 2, "sip_address": "10.0.0.1", "phone_number": "00493023125115"}, {"id": 3})
    derived = derive_provider(derive_numbers(made), PROVIDERS)
    pd.testing.assert_frame_equal(audit(derived), audit(made))
    named = made.assign(provider="Placetel", sip_address="gw.example.com")
    assert set(audit(named, select_rules(["provider-unsupported"], []))["trunk_id"]) == {1, 2, 3}


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="as_of needs a time zone"):
        audit_trunks(trunks({}), providers=PROVIDERS, as_of=NOW.replace(tzinfo=None))


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # an Arrow column holds no surrogates
ODD_TEXT = ANY_TEXT | st.sampled_from(["", " ", "\x00", "x" * 5000, "1" * 5000, "🤷", "\u202e+49 30 231252", "]]>\n\r"])
ENTRY = ANY_TEXT | st.text("0123456789.:/[]", max_size=12) | st.ip_addresses().map(str)
ENTRIES = st.lists(
    ENTRY | st.sampled_from(["185.246.41.140", "185.246.41.141", "8.8.8.8", "8.8.0.0/16", "10.0.0.1", "\ud800"]),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
ODD_JSON = st.sampled_from(["null", "{}", '""', "[" * 50_000, "9" * 5000, "[1e999]", '["8.8.8.8"', '["\\ud800"]'])


def some(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from(values) | st.sampled_from([None, *values]) | ODD_TEXT


ROWS = st.fixed_dictionaries(
    {
        "account": st.sampled_from(["a", "ä\x00\n" * 30]),
        "id": st.sampled_from([None, 1, 2]) | st.integers(-(2**63), 2**63 - 1),
        "phone_number": some("+4930231252", "+49 30 231252", "1000", "498999998432", "admin"),
        "sip_username": some("+4930231252", "1000", "admin", "lindner-01"),
        "sip_address": some("sip.telnyx.com", "sip.uk.didlogic.net", "x.pstn.twilio.com", "10.0.0.1", "a:b@c/d"),
        "sip_calling_format": some("+e164", "national"),
        "inbound_authorization_type": some("ip", "ip", "auth"),
        "allowed_inbound_ips": ENTRIES.map(json.dumps) | JSON.map(json.dumps) | ODD_JSON | st.none() | ODD_TEXT,
        "outbound_proxy": st.sampled_from([True, False, None]),
        "country_code": some("DE", "FR", "UK", "xk"),
    }
)


@settings(max_examples=5)  # an audit costs the same for one trunk as for many
@given(st.lists(ROWS, min_size=16, max_size=28))
def test_any_trunks_are_audited_each_rule_once_a_trunk_and_alone_as_together(differences: list[dict[str, Any]]) -> None:
    made = trunks(*differences)
    found = audit(made)
    keys = ["account", "id", "phone_number"]
    trunk_counts = Counter(rows(made, *keys))
    for (*trunk, _), count in Counter(rows(found, "account", "trunk_id", "phone_number", "rule")).items():
        assert count <= trunk_counts[tuple(trunk)]
    assert set(found["severity"]) <= set(SEVERITIES)
    # On one line, with nothing in it that a terminal would obey.
    categories = {unicodedata.category(character) for character in "".join([*found["seen"], *found["fix"]])}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    within = [rule for rule in RULES.values() if not rule.is_cross_account]
    together = rows(found.loc[found["rule"].isin([rule.code for rule in within])])
    alone = [rows(audit(own, within)) for _, own in made.groupby("account")]
    assert Counter(together) == Counter(finding for own in alone for finding in own)
    assert [SEVERITIES.index(severity) for severity in found["severity"]] == sorted(
        (SEVERITIES.index(severity) for severity in found["severity"]), reverse=True
    )


@pytest.mark.parametrize("as_list", [list, np.array, tuple])
def test_an_allowlist_may_be_a_list_as_in_the_views(as_list: Any) -> None:
    made = trunks({"id": 1, "allowed_inbound_ips": OPEN}, {"id": 2, "allowed_inbound_ips": None}, {"id": 3})
    lists = [None if pd.isna(text) else as_list(json.loads(text)) for text in made["allowed_inbound_ips"]]
    assert_frame_equal(audit(made.assign(allowed_inbound_ips=pd.Series(lists, dtype=object))), audit(made))


def test_verdicts_without_a_trunk_leave_those_of_other_rules_in_place() -> None:
    made = trunks({"allowed_inbound_ips": OPEN, "inbound_authorization_type": "ip"})
    opened = RULES["allowlist-open"]
    unused = Findings(NOTHING.rows, NOTHING.places, pd.DataFrame([Verdict("never seen")], dtype="str"))
    silent = replace(opened, code="allowlist-never", check=lambda _: unused)
    assert len(audit(made, rules=[opened])) == 1
    assert_frame_equal(audit(made, rules=[silent, opened]), audit(made, rules=[opened]))
