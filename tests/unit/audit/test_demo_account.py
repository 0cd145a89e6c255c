"""The demo account shows what the audit can find: each rule, and each kind of cause."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from sip_trunks.famulor.demo import trunks_at
from tests.support.frames import day
from tests.support.stories import inputs_of
from trunk_transforms.audit.rules import RULES

if TYPE_CHECKING:
    import pandas as pd

RUNS = 4
ELSEWHERE = {
    "allowlist-shared": "needs several accounts",
    "duplicate-across-accounts": "needs several accounts",
    "changed-out-of-hours": "is off without a setting",
    "credential-age": "needs a year of history",
}


@cache
def findings() -> pd.DataFrame:
    """Return the findings after some runs, an hour apart."""
    told = {edition / 24: trunks_at(edition) for edition in range(RUNS)}
    return inputs_of({"demo": told}, day(RUNS / 24)).findings


@pytest.mark.parametrize("rule", RULES)
def test_the_demo_account_shows_every_rule_that_it_can(rule: str) -> None:
    assert (rule in set(findings()["rule"])) == (rule not in ELSEWHERE)


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        ("exposure-shared-credential", 'the username "reseller-4711" at'),
        ("format-national-countries", 'national numbers at "pbx.zadarma.com"'),
        ("provider-outbound-proxy", "outbound_proxy is off, but DIDWW needs it"),
    ],
)
def test_the_demo_account_shows_a_shared_credential_a_host_and_a_fact_on_a_provider(rule: str, cause: str) -> None:
    shared = findings()[findings()["rule"] == rule].groupby("cause").size()
    assert max(count for text, count in shared.items() if str(text).startswith(cause)) > 1
