"""What the audit cannot check: trunks of unknown providers, and old facts."""

from __future__ import annotations

import inspect
import sys
from datetime import UTC, datetime

import pandas as pd
import pytest

from tests.support.frames import rows
from trunk_transforms.audit.coverage import describe_coverage, measure_coverage, needs_provider
from trunk_transforms.audit.rules import RULES, select_rules
from trunk_transforms.enrich.providers import default_providers


def coverage(year: int, *select: str, **counts: int) -> pd.DataFrame:
    """Return the coverage of trunks of these providers; a host of an unknown one is `unknown_<host>`."""
    names = [None if name == "none" else name.partition("_")[0] for name in counts]
    hosts = [f"sip.{name.partition('_')[2] or name}.example" for name in counts]
    frame = pd.DataFrame({"provider": pd.Series(names, dtype="str"), "sip_address": pd.Series(hosts, dtype="str")})
    frame["trunk_count"] = pd.Series(list(counts.values()), dtype="int64")
    on = datetime(year, 7, 1, tzinfo=UTC)
    return measure_coverage(frame, default_providers(), on, select_rules(select, ()), known_count=sum(counts.values()))


def test_hosts_of_unknown_providers_are_listed_with_the_rules_that_are_silent() -> None:
    gaps = coverage(2026, "exposure", Telnyx=7, unknown_a=1, unknown_b=2, none=2)
    assert rows(gaps) == [
        ("unknown provider", "sip.b.example", 2, 12, "exposure-password"),
        ("unknown provider", "sip.a.example", 1, 12, "exposure-password"),
    ]


@pytest.mark.parametrize(
    ("select", "silent"),
    [
        (("exposure", "inbound", "proxy"), "proxy-unneeded, inbound-auth-unsupported, exposure-password"),
        (("proxy-unneeded",), "proxy-unneeded"),
        (("provider-host", "number"), "provider-host"),
        (("number", "host", "duplicate"), None),
    ],
    ids=str,
)
def test_only_selected_rules_are_silent(select: tuple[str, ...], silent: str | None) -> None:
    found = coverage(2028, *select, unknown_a=1, Vonage=1)["rules"].unique()
    assert list(found) == ([silent] if silent else [])


def test_every_rule_that_asks_for_a_known_provider_is_declared_to_need_one() -> None:
    """A trunk of an unknown provider has no finding of a rule that filters by `is_provider_known`."""
    asking = set()
    for code, rule in RULES.items():
        helpers = inspect.getsource(sys.modules[rule.check.__module__])
        source = inspect.getsource(rule.check)
        if "is_provider_known" in source or ("_is_known_by_ip(" in source and "_is_known_by_ip" in helpers):
            asking.add(code)
    assert {code for code, rule in RULES.items() if needs_provider(rule)} == asking


def test_facts_on_the_accounts_providers_are_named_after_a_year() -> None:
    assert coverage(2026, Vonage=1, fonial=1).empty
    assert list(coverage(2027, Vonage=1, fonial=1)["item"]) == ["Vonage of 2026-06-01", "fonial of 2026-06-01"]
    assert rows(coverage(2028, "provider-host", Vonage=3, fonial=1), "gap", "item", "trunk_count")[:2] == [
        ("old fact", "Vonage of 2026-06-01", 3),
        ("old fact", "Vonage (sip-us.vonage.com) of 2026-11-01", 3),
    ]


def test_each_kind_of_gap_is_one_sentence() -> None:
    assert list(describe_coverage(coverage(2027, "provider-host", fonial=7, unknown_a=3))) == [
        (
            "3 of 10 trunks have an unknown provider, so the rules on providers do not check them: provider-host. "
            "Hosts: sip.a.example (3)"
        ),
        "facts older than 12 months, to be checked: fonial of 2026-06-01",
    ]
    assert list(describe_coverage(coverage(2026, fonial=7))) == []


@pytest.mark.parametrize(
    ("known_count", "select", "sentences"),
    [
        (9, (), ["1 of 10 trunks has a history shorter than 365 days, so the age of its credential is unknown"]),
        (0, (), ["10 of 10 trunks have a history shorter than 365 days, so the age of their credentials is unknown"]),
        (0, ("flapping",), []),
        (10, (), []),
        (None, ("flapping", "host"), ["no history was read, so these rules find nothing: flapping"]),
        (None, ("host",), []),
    ],
)
def test_a_history_that_is_too_short_or_was_not_read_is_a_gap(
    known_count: int | None, select: tuple[str, ...], sentences: list[str]
) -> None:
    counts = pd.DataFrame({"provider": ["fonial"], "sip_address": ["sip.plusnet.de"], "trunk_count": [10]})
    on = datetime(2026, 7, 1, tzinfo=UTC)
    gaps = measure_coverage(counts, default_providers(), on, select_rules(select, ()), known_count)
    assert list(describe_coverage(gaps)) == sentences
