"""Each rule of the audit on frames made by hand: what it finds, how bad that is, and what it leaves alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from tests.support.frames import rows, trunks
from tests.unit.audit.rules.cases import (
    EASYBELL,
    EASYBELL_TLS,
    EU,
    LATEST,
    LOGIN,
    NEGATIVE,
    POSITIVE,
    TWILIO,
    US,
    A,
    B,
    auth,
    host,
    ips,
    number,
    pbx,
    proxied,
    same_host,
)
from tests.unit.enrich.test_numbers import spellings
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.rules.context import Verdict, gather_context
from trunk_transforms.enrich.numbers import as_text, list_digits, match_valid_numbers
from trunk_transforms.enrich.providers import default_providers, read_providers
from trunk_transforms.schema.findings import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.unit.audit.rules.cases import Row
    from trunk_transforms.audit.rules.rule import Rule
    from trunk_transforms.enrich.providers import Providers

    Found = list[tuple[Any, ...]]

NOW = datetime(2026, 7, 1, tzinfo=UTC)
PROVIDERS = default_providers()
STATE = {  # test_history.py and test_usage.py have the others
    code: rule for code, rule in RULES.items() if not rule.needs_past and rule.family != "usage"
}


def audit(*differences: Row, rule: str | None = None, as_of: datetime = NOW, context: Providers = PROVIDERS) -> Found:
    """Return (id, rule, severity, seen, fix) of what is found in trunks that are numbered from 1."""
    made = trunks(*({"id": place} | row for place, row in enumerate(differences, 1)))
    rules = None if rule is None else [RULES[rule]]
    found = audit_trunks(made, providers=context, as_of=as_of, rules=rules)
    return rows(found, "trunk_id", "rule", "severity", "seen", "fix")


def audit_each(cases: Mapping[str, Sequence[Row]], rules: Iterable[Rule], as_of: datetime = NOW) -> dict[str, Found]:
    """Return what `audit` returns for each case, by one audit of all of them, in accounts of their own.

    A rule that is not about several accounts looks at each of them as if it were alone; that is tested too.
    """
    made = [
        {"id": place} | row | {"account": f"{case} {row.get('account', '')}"}
        for case, differences in cases.items()
        for place, row in enumerate(differences, 1)
    ]
    found: dict[str, Found] = {case: [] for case in cases}
    audited = audit_trunks(trunks(*made), providers=PROVIDERS, as_of=as_of, rules=rules)
    for account, *finding in rows(audited, "account", "trunk_id", "rule", "severity", "seen", "fix"):
        found[account.partition(" ")[0]].append(tuple(finding))
    return found


def trunks_of(rule: str) -> list[Row]:
    return [row for differences, *_ in POSITIVE[rule] for row in differences]


WRONG = {f"{rule}-{n}": case for rule, cases in POSITIVE.items() for n, case in enumerate(cases, 1)}
SOUND = {f"{rule}-{n}": case for rule, cases in NEGATIVE.items() for n, case in enumerate(cases, 1)}


@cache
def found_in_accounts_of_their_own() -> dict[str, Found]:
    cases = {f"wrong-{name}": differences for name, (differences, *_) in WRONG.items()}
    cases |= {f"sound-{name}": differences for name, differences in SOUND.items()}
    return audit_each(cases, [rule for rule in RULES.values() if not rule.is_cross_account])


def find(kind: str, name: str, differences: tuple[Row, ...]) -> tuple[str, Found]:
    """Return the rule that a case is about, and what it finds."""
    rule = name.rpartition("-")[0]
    if RULES[rule].is_cross_account:
        return rule, audit(*differences, rule=rule)
    return rule, [finding for finding in found_in_accounts_of_their_own()[f"{kind}-{name}"] if finding[1] == rule]


@pytest.mark.parametrize("name", WRONG)
def test_a_rule_finds_a_wrong_value_and_says_how_severe_it_is(name: str) -> None:
    differences, severity, text, *count = WRONG[name]
    rule, found = find("wrong", name, differences)
    expected = [(place, rule, severity) for place in range(1, 1 + (count or [len(differences)])[0])]
    assert sorted((trunk, code, bad) for trunk, code, bad, _, _ in found) == expected
    for _, _, _, seen, fix in found:
        assert text in f"{seen}; {fix}"
        assert seen.isprintable()
        assert fix.isprintable()


@pytest.mark.parametrize("name", SOUND)
def test_a_rule_finds_nothing_in_a_sound_trunk(name: str) -> None:
    assert find("sound", name, SOUND[name])[1] == []


def test_every_rule_has_cases_of_both_kinds() -> None:
    assert set(POSITIVE) == set(NEGATIVE) == STATE.keys()


def test_no_finding_is_worse_than_its_rule() -> None:
    for rule, cases in POSITIVE.items():
        assert max((case[1] for case in cases), key=SEVERITIES.index) == RULES[rule].severity


def test_a_sound_trunk_has_no_finding_at_any_provider() -> None:
    sound = [
        {},
        ips(*US, **number("+12125550111", "US")),
        ips(*TWILIO, **host("acme.pstn.twilio.com"), **number("+14165550123", "CA")),
        ips("23.19.63.1", **proxied("sip.uk.didlogic.net"), **number("+441481960194", "GG")),
        auth(**proxied("out.didww.com"), sip_calling_format="e164", **number("+77272501234", "KZ")),
        ips(*EASYBELL, *EASYBELL_TLS, **host("voip.easybell.de"), **number("+498999998432")),
        auth(**host("sip.plusnet.de"), **number("+38328012345", "XK")),
        ips("8.8.8.0/24", "2a00:1450::/64", **pbx(), **number("1000"), outbound_proxy=True),
    ]
    assert audit(*(row | {"sip_username": f"login-{place}"} for place, row in enumerate(sound))) == []


def test_a_trunk_without_any_value_has_a_finding_for_each_that_is_needed() -> None:
    nothing = dict.fromkeys(set(trunks().columns) - {"account", "id"})
    assert [code for _, code, *_ in audit(nothing)] == ["number-missing", "country-unknown", "value-unknown"]


CONFLICT, BOTH = "same inbound number as trunk", "and several of them admit the same callers"


@pytest.mark.parametrize(
    ("rule", "differences", "seen"),
    [
        (
            "duplicate-trunk",
            ({}, {}, {}, LOGIN),
            [f"same number, username and SIP address as trunk {others}" for others in ("2, 3", "1, 3", "1, 2")],
        ),
        # Twins have a finding as such: as a number, they name those that are no twins.
        ("inbound-number-conflict", ({}, {}, LOGIN), [f"{CONFLICT} {others}, {BOTH}" for others in ("3", "3", "1, 2")]),
        (
            "inbound-number-conflict",
            (ips("8.8.8.8"), ips("8.8.8.8") | LOGIN, ips("8.8.4.4") | LATEST),
            [
                f"{CONFLICT} 2, 3, {BOTH}",
                f"{CONFLICT} 1, 3, {BOTH}",
                f"{CONFLICT} 1, 2, but none of them admits the callers of this one",
            ],
        ),
        # Equal numbers have a finding as such: these are equal only after reading them.
        (
            "duplicate-number",
            ({}, {} | LOGIN, number("004930231252")),
            [f"same number as trunk {others}" for others in ("3", "3", "1, 2")],
        ),
        (
            "duplicate-number",
            ({"id": None}, {"id": 2} | number("004930231252")),
            ["same number as trunk ?", "same number as trunk 2"],
        ),
        (
            "duplicate-across-accounts",
            (A, A | LOGIN, B, {"account": 'c"\n'}),
            [
                'same number as trunk 3 of account "b", trunk 4 of account "c"\\n"',
                'same number as trunk 3 of account "b", trunk 4 of account "c"\\n"',
                'same number as trunk 1 of account "a", trunk 2 of account "a", trunk 4 of account "c"\\n"',
                'same number as trunk 1 of account "a", trunk 2 of account "a", trunk 3 of account "b"',
            ],
        ),
        (
            "allowlist-shared",
            tuple(ips("8.8.8.8", account=account) for account in "abcde"),
            [
                f"8.8.8.8 also in account {others} and 1 more"
                for others in ('"b", "c", "d"', '"a", "c", "d"', '"a", "b", "d"', *['"a", "b", "c"'] * 2)
            ],
        ),
        (
            "exposure-shared-credential",
            ({},) * 6,
            [
                f"same username at the same host as trunk {others} and 2 more"
                for others in ("2, 3, 4", "1, 3, 4", "1, 2, 4", *["1, 2, 3"] * 3)
            ],
        ),
    ],
)
def test_a_finding_names_the_trunks_that_share_a_value(
    rule: str, differences: tuple[Row, ...], seen: list[str]
) -> None:
    assert sorted(text for *_, text, _ in audit(*differences, rule=rule)) == sorted(seen)


@pytest.mark.parametrize(
    ("differences", "seen"),
    [
        (
            same_host(*["8.8.8.8"] * 3, "8.8.8.8 8.8.4.4"),
            '8.8.4.4 allowed on this trunk alone of 4 at "pbx.example.com"',
        ),
        (
            same_host(*["8.8.8.8 8.8.4.4"] * 4, "8.8.8.8"),
            '8.8.4.4 missing on this trunk alone of 5 at "pbx.example.com"',
        ),
        (same_host(*["8.8.8.8"] * 3, "8.8.4.4"), "8.8.4.4 allowed, 8.8.8.8 missing on this trunk alone of 4"),
        # Lists that are empty, open or broken are no peers; one with a port or a private address as well is.
        (
            same_host(
                *["8.8.8.8 1.1.1.1"] * 2,
                *("", "0.0.0.0/0", "junk", "8.8.8.8 junk", "10.0.0.1", "8.0.0.0/8"),
                *("8.8.8.8:5060 1.1.1.1", "8.8.8.8 1.1.1.1 10.0.0.1"),
                "8.8.8.8",
            ),
            '1.1.1.1 missing on this trunk alone of 5 at "pbx.example.com"',
        ),
        (
            same_host(*[" ".join(US)] * 2, *["185.246.41.140"] * 2, "8.8.8.8", address="sip.telnyx.com"),
            '8.8.8.8 allowed on this trunk alone of 5 at "Telnyx"',
        ),
        (
            same_host(*["192.76.120.10 8.8.8.8"] * 3, "185.246.41.140", address="sip.telnyx.com"),
            '8.8.8.8 missing on this trunk alone of 4 at "Telnyx"',
        ),
    ],
)
def test_an_outlier_is_the_one_trunk_that_differs(differences: tuple[Row, ...], seen: str) -> None:
    (found,) = audit(*differences, rule="allowlist-outlier")
    assert found[0] == len(differences)
    assert found[3].startswith(seen)


CHANGE = re.compile(r"(?:a (\+)|(\+\d+)) before it|(\+\d+) in place of the leading (\d+)")


def test_a_fix_of_a_number_makes_a_valid_one() -> None:
    texts = [(text, region) for text, region, _ in spellings()]
    texts += [(f"49 (0){n}", "DE") for n in ("30 231252", "151 12345678")] + [
        ("4930231252", "DE"),
        ("03 012345678", "DE"),
    ]
    made = ({"id": place, **number(text, region)} for place, (text, region) in enumerate(texts))
    rules = [RULES[code] for code in ("number-without-plus", "number-malformed")]
    found = audit_trunks(trunks(*made), providers=PROVIDERS, as_of=NOW, rules=rules)
    fixed = []
    for text, fix in rows(found, "phone_number", "fix"):
        digits = list_digits(as_text(pd.Series([text])))[0].as_py()
        for plus, code, start, leading in CHANGE.findall(fix):
            assert not leading or digits.startswith(leading)
            fixed.append(f"{plus or code or start}{digits.removeprefix(leading)}")
    assert len(fixed) > 1000
    assert match_valid_numbers(as_text(pd.Series(fixed))).all()


@pytest.mark.parametrize("rule", ["number-without-plus", "number-country"])
def test_a_finding_says_that_a_did_is_inferred(rule: str) -> None:
    found = audit(*trunks_of(rule), rule=rule)
    assert len(found) == len(trunks_of(rule))
    assert all("appears to be a DID" in seen for *_, seen, _ in found)


DATED = [
    code
    for code in RULES
    if code.startswith(("provider-", "proxy-", "inbound-auth-")) or code in ("exposure-password", "allowlist-platform")
]
REMARK = re.compile(r" \(by a catalog entry of 202[0-9-]+, older than 12 months: check it\)$")


@cache
def dated(as_of: datetime) -> dict[str, Found]:
    return audit_each({rule: trunks_of(rule) for rule in DATED}, [RULES[rule] for rule in DATED], as_of)


@pytest.mark.parametrize("rule", DATED)
def test_findings_by_facts_older_than_a_year_say_how_old_they_are(rule: str) -> None:
    fresh, old = (
        [finding for finding in dated(as_of)[rule] if finding[1] == rule] for as_of in (NOW, NOW.replace(year=2036))
    )
    assert len(fresh) == len(trunks_of(rule))
    assert not any(REMARK.search(seen) for *_, seen, _ in fresh)
    assert all(REMARK.search(seen) for *_, seen, _ in old)
    assert [(*found, REMARK.sub("", seen), fix) for *found, seen, fix in old] == fresh


def test_findings_by_the_same_fact_have_the_same_cause_however_old_it_is() -> None:
    made = trunks(*({"id": place} | row for place, row in enumerate((ips(EU[0]), host("a.sip.telnyx.com")), 1)))
    fresh, old = (
        audit_trunks(made, providers=PROVIDERS, as_of=NOW.replace(year=year), rules=[RULES[code] for code in DATED])
        for year in (2026, 2036)
    )
    assert rows(fresh, "rule", "cause") == rows(old, "rule", "cause")
    assert rows(fresh, "rule", "cause") == [
        ("provider-ips-missing", "Telnyx (EU): add 185.246.41.141"),
        ("provider-host", "Telnyx takes calls at sip.telnyx.com: a subdomain is inbound-only, outbound calls get 404"),
    ]


def test_only_findings_by_facts_on_providers_can_be_old() -> None:
    made = [row for rule in STATE for row in trunks_of(rule)]
    fresh, late = (audit(*made, as_of=NOW.replace(year=year)) for year in (2026, 2036))
    assert {code for _, code, *_ in set(late) - set(fresh)} == set(DATED)


def test_an_allowlist_may_have_addresses_of_a_region_that_the_catalog_lacks() -> None:
    catalog = (
        '[[provider]]\nname = "Acme"\nas_of = 2026-06-01\nhosts = ["acme.example"]\nregions_complete = false\n'
        '[[provider.group]]\nname = "US"\naddresses = ["9.9.9.9"]\n'
    )
    made = ips("8.8.8.8", **host("acme.example")), ips("9.9.9.9", "8.8.8.8", **host("acme.example"))
    assert audit(*(row | LOGIN for row in made), rule="provider-ips-other", context=read_providers(catalog)) == []
    ((*found, fix),) = audit(*made, rule="provider-ips-missing", context=read_providers(catalog))
    assert (found[:3], fix) == (
        [1, "provider-ips-missing", "medium"],
        "add 9.9.9.9 (US), or make sure that the listed ones are your region's",
    )


def test_facts_with_a_newer_date_of_the_operator_are_not_old() -> None:
    context = read_providers(
        'platform_hosts = ["in.example.com"]\n[[provider]]\nname = "Acme"\nas_of = 2035-12-31\n'
        'hosts = ["acme.example.net"]\ncalling_format = "national"\npassword_severity = "low"\n'
    )
    made = auth(**host("gw.acme.example.net")), number("1000", **host("a.in.example.com"))
    found = audit(*made, context=context, as_of=NOW.replace(year=2036))
    assert [finding[:4] for finding in found] == [
        (1, "provider-calling-format", "high", 'sip_calling_format is "+e164", but Acme expects "national"'),
        (2, "host-platform", "high", '"a.in.example.com" is the platform\'s own inbound address'),
        (1, "exposure-password", "low", "authorized by password, but Acme sends calls from fixed addresses"),
    ]


def test_each_rule_finds_a_trunk_once_and_fixes_it_in_words() -> None:
    context = gather_context(trunks(*(row for rule in STATE for row in trunks_of(rule))), PROVIDERS, NOW)
    for rule in STATE.values():
        found = rule.check(context)
        assert len(set(found.rows)) == len(found) > 0
        assert set(found.places) <= set(range(len(found.verdicts)))
        assert list(found.verdicts.columns) == list(Verdict._fields)
