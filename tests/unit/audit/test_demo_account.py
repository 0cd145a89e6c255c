"""The demo account shows what the audit can find: each rule, and each kind of cause."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pytest

from sip_trunks.famulor.demo import assistants_at, numbers_at, trunks_at
from tests.support.assignments import frame_of
from tests.support.frames import day
from tests.support.stories import inputs_of
from trunk_transforms.audit.rules import RULES
from trunk_transforms.parse.assignments import Assignments, Assistant, Number, keep_fields, parse_assignments

if TYPE_CHECKING:
    import pandas as pd

RUNS = 4
ELSEWHERE = {
    "allowlist-shared": "needs several accounts",
    "duplicate-across-accounts": "needs several accounts",
    "changed-out-of-hours": "is off without a setting",
    "credential-age": "needs a year of history",
    "usage-unused": "needs 90 days of history",
}


@cache
def findings() -> pd.DataFrame:
    """Return the findings after some runs, an hour apart."""
    told = {edition / 24: trunks_at(edition) for edition in range(RUNS)}
    inputs, last = inputs_of({"demo": told}, day(RUNS / 24)), RUNS - 1
    numbers, assistants = (map(bytes, map(msgspec.json.encode, listed(last))) for listed in (numbers_at, assistants_at))
    assignments = Assignments(keep_fields(numbers, Number), keep_fields(assistants, Assistant))
    trunks = pa.table({"id": [trunk["id"] for trunk in trunks_at(last)]})
    rows = parse_assignments(assignments, trunks, "demo").rows.to_pylist()
    assigned = frame_of(*(row | {"assistants": json.loads(row["assistants"])} for row in rows))
    return replace(inputs, tables={**inputs.tables, "assignments": assigned}).findings


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
