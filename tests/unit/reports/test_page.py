"""What only the page shows: accounts on one line, what was fixed, growth in steps that fit, names of changed trunks."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.support.frames import day, observations, rows, trunks, versions
from tests.support.pages import basis_of, find
from tests.unit.reports.inputs import inputs
from trunk_transforms.audit.rules import RULES
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.registry import derive_page
from trunk_transforms.schema.findings import FINDINGS_HISTORY


def test_each_account_is_on_one_line_the_worst_first() -> None:
    stored = trunks(
        {"id": 1, "account": "calm"},
        {"id": 2, "account": "open", "allowed_inbound_ips": '["0.0.0.0/0"]', "phone_number": "1002"},
        {"id": 3, "account": "open", "inbound_authorization_type": "auth", "phone_number": "1003"},
    )
    seen = pd.concat([observations(0, trunk_count=1).assign(account=name) for name in ("calm", "open")])
    options = Options(as_of=day(1), accounts=("calm", "new", "open"), rules=(RULES["allowlist-open"],))
    accounts = ReportInputs({"trunks": stored, "observations": seen}, options).accounts
    columns = ("account", "trunk_count", "allowlist_pct", "finding_count", "worst_severity", "worst_finding")
    assert rows(accounts, *columns) == [
        ("open", 2, 50.0, 1, "critical", "0.0.0.0/0 allows every address on the internet"),
        ("calm", 1, 100.0, 0, None, None),
        ("new", 0, None, 0, None, None),
    ]
    assert rows(accounts, "snapshot_at") == [(day(0),), (day(0),), (None,)]


def live(trunk_id: int, account: str = "acme", **more: Any) -> dict[Any, Any]:
    (finding,) = find(1, ("text",)).to_dict("records")
    life = {"rule": "allowlist-empty", "opened_at": day(0), "closed_at": pd.NaT, "closed_because": None}
    return finding | life | {"account": account, "trunk_id": trunk_id, "seen": f"trunk {trunk_id}"} | more


def fixed_of(*lives: dict[str, Any], as_of: float = 10, **options: Any) -> list[tuple[Any, ...]]:
    history = pd.DataFrame(list(lives))[FINDINGS_HISTORY.names].astype({"trunk_id": "Int64", "is_new_rule": "boolean"})
    moments = {
        name: pd.to_datetime(history[name], utc=True).astype("datetime64[us, UTC]")
        for name in ("opened_at", "closed_at")
    }
    tables = {"findings_history": history.assign(**moments), "observations": observations(0, as_of)}
    tables["trunks"] = trunks({"id": 1}, {"id": 2}, {"id": 3, "phone_number": "+4930231299"})
    asked = Options(as_of=day(as_of), rules=(RULES["allowlist-empty"],), **options)
    return rows(ReportInputs(tables, asked).fixed, "trunk_id", "seen", "closed_at")


def test_a_finding_is_fixed_if_it_ended_in_the_last_week_and_its_trunk_exists() -> None:
    ended = {"closed_because": "fixed"}
    assert fixed_of(
        live(1),  # this audit does not find it any more
        live(2, closed_at=day(5), **ended),
        live(3, closed_at=day(2), **ended),
        live(4),  # its trunk was removed
        live(5, closed_at=day(9), closed_because="suppressed"),
    ) == [(1, "trunk 1", day(10)), (2, "trunk 2", day(5))]


def test_what_other_accounts_fixed_is_left_out() -> None:
    lives = (live(1), live(1, account="other", closed_at=day(9), closed_because="fixed"))
    assert fixed_of(*lives, only=("acme",)) == [(1, "trunk 1", day(10))]
    assert len(fixed_of(*lives)) == 2


@pytest.mark.parametrize(("days", "step_hours"), [(0.1, 1), (3, 24), (80, 7 * 24)])
def test_the_growth_on_the_page_has_the_finest_steps_that_fit(days: float, step_hours: int) -> None:
    basis = basis_of(trunks({"id": 1}), versions({"id": 1, "days": (0, None)}), observations(0, days))
    growth = ReportInputs(basis.tables, Options(as_of=day(days))).fitted_growth
    starts = pd.to_datetime(growth["period"])
    assert set(starts.diff().dropna()) == {pd.Timedelta(hours=step_hours)}
    assert 2 <= len(starts) <= 60


def test_a_period_that_is_asked_for_and_a_first_snapshot_keep_the_months() -> None:
    whole = inputs()
    assert ReportInputs(whole.tables, Options(as_of=day(3), period="month")).fitted_growth.equals(whole.growth)
    first = whole.tables["observations"].head(1)
    young = ReportInputs({**whole.tables, "observations": first}, Options(as_of=first["snapshot_at"].iloc[0]))
    assert young.fitted_growth.equals(young.growth)


def test_a_changed_trunk_has_its_name_also_after_it_was_removed() -> None:
    tables = inputs().tables
    past = versions({"id": 5, "days": (0, 1), "nickname": "old"}, {"id": 5, "days": (1, 2), "nickname": "last"})
    named = derive_page(["changes"], ReportInputs({**tables, "recent_versions": past}, inputs().options))["changes"]
    names = dict(rows(named, "trunk_id", "nickname"))
    assert names[5] == "last"
    assert names[4] == rows(tables["trunks"].query("id == 4"), "nickname")[0][0]
    unnamed = derive_page(["changes"], ReportInputs({"changes": tables["changes"]}, inputs().options))["changes"]
    assert set(unnamed["nickname"]) == {None}
