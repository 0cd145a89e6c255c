"""The lives of findings over successive audits, and the rules of each audit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import pytest

from tests.support.frames import day, frame, observations, rows
from trunk_transforms.audit.finding_log import continue_lives, note_rules, with_ages
from trunk_transforms.schema.findings import AUDITED_RULES, FINDINGS, FINDINGS_HISTORY

DAYS = [pd.Timestamp(day(number)) for number in range(5)]
LIFE = ("rule", "opened_at", "closed_at", "closed_because")


def findings(*rules: str, trunk_id: int = 1, **values: Any) -> pd.DataFrame:
    base = {"account": "acme", "trunk_id": trunk_id, "phone_number": "+4930231252", "severity": "high"}
    return frame([base | {"rule": r, "cause": "c", "seen": "s", "fix": "f"} | values for r in rules], FINDINGS.names)


@dataclass(frozen=True)
class Audits:
    """The stored audits so far, of one account with one snapshot per day."""

    count: int = 0
    lives: pd.DataFrame | None = None
    audited: pd.DataFrame | None = field(default=None)

    def then(
        self,
        found: pd.DataFrame,
        *,
        suppressed: pd.DataFrame | None = None,
        trunks: Collection[int] = (1,),
        rules: Collection[str] = ("a", "b"),
    ) -> Audits:
        seen = observations(*range(self.count + 1)).assign(_dlt_load_id="1")
        lives = continue_lives(
            self.lives,
            with_ages(found, self.lives),
            findings() if suppressed is None else suppressed,
            trunks=pd.DataFrame({"account": "acme", "id": pd.Series(list(trunks), dtype="Int64")}),
            observations=seen,
            audited=self.audited,
            rules=rules,
        )
        return Audits(self.count + 1, lives, note_rules(self.audited, seen, rules))

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        assert self.lives is not None
        return rows(self.lives, *columns)


def test_a_finding_that_returns_has_another_life() -> None:
    audits = Audits().then(findings("a", "b")).then(findings("a")).then(findings("a", "b"))
    assert audits.rows(*LIFE) == [
        ("a", DAYS[0], None, None),
        ("b", DAYS[2], None, None),
        ("b", DAYS[0], DAYS[1], "fixed"),
    ]
    ages = with_ages(findings("a", "c"), audits.lives)
    assert rows(ages, "rule", "opened_at", "is_new_rule") == [("a", DAYS[0], False), ("c", None, None)]
    assert str(ages["opened_at"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "fixed"),
        ({"trunks": (2,)}, "trunk removed"),
        ({"rules": ("b",)}, "rule removed"),
        ({"trunks": (), "rules": ("b",)}, "trunk removed"),
        ({"suppressed": findings("a")}, "suppressed"),
    ],
    ids=str,
)
def test_a_life_ends_for_one_reason_and_keeps_it(change: dict[str, Any], reason: str) -> None:
    ended = Audits().then(findings("a")).then(findings(), **change)
    assert ended.rows(*LIFE) == [("a", DAYS[0], DAYS[1], reason)]
    assert ended.then(findings()).rows(*LIFE) == ended.rows(*LIFE)
    assert ended.then(findings("a")).rows(*LIFE) == [("a", DAYS[2], None, None), *ended.rows(*LIFE)]


def test_a_life_has_the_latest_severity_and_cause_and_a_closed_one_the_last() -> None:
    audits = Audits().then(findings("a")).then(findings("a", severity="low", cause="d"))
    assert audits.rows("severity", "cause", "opened_at") == [("low", "d", DAYS[0])]
    assert audits.then(findings()).rows("severity", "cause", "closed_because") == [("low", "d", "fixed")]


def test_a_snapshot_that_is_audited_twice_adds_no_second_life() -> None:
    audits = Audits().then(findings("a"))
    hidden = replace(audits, count=0).then(findings(), suppressed=findings("a"))
    assert hidden.rows(*LIFE) == [("a", DAYS[0], DAYS[0], "suppressed")]
    assert replace(hidden, count=0).then(findings("a")).rows(*LIFE) == [("a", DAYS[0], None, None)]


def test_findings_of_rules_that_no_earlier_audit_had_are_marked() -> None:
    first = Audits().then(findings("a"))
    assert first.rows("rule", "is_new_rule") == [("a", False)]
    upgraded = first.then(findings("a", "b", "c"), rules=("a", "b", "c"))
    assert upgraded.rows("rule", "is_new_rule") == [("a", False), ("b", False), ("c", True)]
    # The mark belongs to the life: one that is opened later is news.
    later = upgraded.then(findings("c"), rules=("a", "b", "c")).then(
        pd.concat([findings("c"), findings("c", trunk_id=2)], ignore_index=True), trunks=(1, 2), rules=("a", "b", "c")
    )
    assert later.rows("rule", "trunk_id", "is_new_rule")[:2] == [("c", 1, True), ("c", 2, False)]


def test_a_renamed_rule_closes_and_opens_findings_of_a_new_rule() -> None:
    renamed = Audits().then(findings("b-old")).then(findings("a-new"), rules=("a-new",))
    assert renamed.rows("rule", "closed_because", "is_new_rule") == [
        ("a-new", None, True),
        ("b-old", "rule removed", False),
    ]


def test_findings_of_a_new_account_are_new() -> None:
    before = Audits().then(findings("a"))
    both = pd.concat([observations(0, 1), observations(1, account="beta")]).assign(_dlt_load_id="1")
    lives = continue_lives(
        before.lives,
        with_ages(findings("a", account="beta"), before.lives),
        findings(),
        trunks=pd.DataFrame({"account": ["acme", "beta"], "id": pd.array([1, 1], dtype="Int64")}),
        observations=both,
        audited=before.audited,
        rules=("a",),
    )
    assert rows(lives, "account", "is_new_rule", "closed_because") == [("beta", False, None), ("acme", False, "fixed")]


def test_an_audit_with_unknown_rules_makes_every_other_rule_new() -> None:
    unknown = pd.DataFrame({"account": "acme", "rule": ["a", None], "since": DAYS[0], "audited_at": DAYS[0]})
    upgraded = Audits(1, None, unknown).then(findings("a", "b"))
    assert upgraded.rows("rule", "is_new_rule") == [("a", False), ("b", True)]
    assert upgraded.audited is not None
    assert rows(upgraded.audited, "rule", "since", "audited_at") == [("a", DAYS[0], DAYS[1]), ("b", DAYS[1], DAYS[1])]


def test_the_history_has_the_declared_columns() -> None:
    audits = Audits().then(findings("a")).then(findings())
    assert audits.lives is not None
    assert audits.audited is not None
    assert list(audits.lives.columns) == FINDINGS_HISTORY.names
    assert list(audits.audited.columns) == AUDITED_RULES.names
