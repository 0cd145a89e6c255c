"""What somebody looks at: the part of what is stored that is of some accounts, countries and providers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tests.support.changes import log_changes
from tests.support.frames import day, drift, observations, rows, trunks, versions
from trunk_transforms.reports.filters import MISSING, Selection, list_choices, narrow, select
from trunk_transforms.reports.inputs import Options, ReportInputs

MOVED: dict[str, Any] = {"id": 2, "country_code": "FR", "sip_address": "out.didww.com"}
NOWHERE: dict[str, Any] = {"id": 3, "country_code": None, "sip_address": None}
OTHER: dict[str, Any] = {"id": 1, "account": "beta", "country_code": "US"}


def inputs() -> ReportInputs:
    """Two accounts; trunk 2 moved from Germany and Telnyx to France and DIDWW, trunk 4 is gone."""
    history = versions(
        {"id": 1, "days": (0, None)},
        {"id": 2, "days": (0, 5)},
        MOVED | {"days": (5, None)},
        NOWHERE | {"days": (0, None)},
        {"id": 4, "country_code": "AT", "days": (0, 5)},
        OTHER | {"days": (0, None)},
    )
    tables = {
        "trunks": trunks({"id": 1}, MOVED, NOWHERE, OTHER),
        "versions": history,
        "lifetimes": history,
        "observations": observations_of_both(),
        "changes": log_changes(history, observations_of_both(), drift(), since=None, as_of=day(9)),
    }
    return ReportInputs(tables, Options(as_of=day(9), accounts=["acme", "beta"]))


def observations_of_both() -> pd.DataFrame:
    return pd.concat([observations(0, 5), observations(0, 5, account="beta")], ignore_index=True)


def chosen(**wanted: list[str]) -> ReportInputs:
    return select(inputs(), Selection(**wanted))


def test_where_nothing_is_chosen_nothing_is_left_out() -> None:
    whole = inputs()
    assert select(whole, Selection()) is whole


def test_trunks_are_filtered_by_account_country_and_provider() -> None:
    assert rows(chosen(countries=["DE"]).trunks, "account", "id") == [("acme", 1)]
    assert rows(chosen(accounts=["beta"]).trunks, "account", "id") == [("beta", 1)]
    assert rows(chosen(providers=["DIDWW"]).trunks, "account", "id") == [("acme", 2)]
    assert rows(chosen(countries=["DE", "FR"], providers=["DIDWW"]).trunks, "id") == [(2,)]


def test_the_trunks_of_some_counts_are_left() -> None:
    whole = inputs()
    for by in (["country_code"], ["provider", "country_code"], ["sip_address"]):
        counts = whole.count(by)
        assert [len(narrow(whole, counts.iloc[[place]], by).trunks) for place in range(len(counts))] == list(
            counts["trunk_count"]
        )
        assert len(narrow(whole, counts, by).trunks) == len(whole.trunks)
    # A missing value is a value of its own.
    nowhere = whole.count(["country_code"]).loc[lambda counts: counts["country_code"].isna()]
    assert rows(narrow(whole, nowhere, ["country_code"]).trunks, "id") == [(3,)]


def test_a_country_is_chosen_however_its_code_is_written() -> None:
    spelled = [{"id": place, "country_code": code} for place, code in enumerate(("UK", "GB", "gb", "DE"), 1)]
    history = versions(*(row | {"days": (0, None)} for row in spelled))
    tables = dict(inputs().tables) | {"trunks": trunks(*spelled), "versions": history, "lifetimes": history}
    british = ReportInputs(tables, Options(as_of=day(9)))
    assert list_choices(british)["country"] == {"United Kingdom (GB)": "GB", "Germany (DE)": "DE"}
    for code in ("GB", "UK"):
        chosen_ones = select(british, Selection(countries=[code]))
        assert rows(chosen_ones.trunks, "id") == rows(chosen_ones.tables["versions"], "id") == [(1,), (2,), (3,)]


def test_a_trunk_that_moved_is_in_the_history_of_both_places() -> None:
    for country in ("DE", "FR"):
        history = chosen(countries=[country]).tables["versions"]
        assert rows(history.loc[history["id"] == 2], "country_code") == [("DE",), ("FR",)]
        changes = chosen(countries=[country]).changes
        assert rows(changes, "trunk_id", "field") == [(2, "country_code"), (2, "sip_address")]


def test_trunks_without_a_country_or_provider_can_be_chosen() -> None:
    assert rows(chosen(countries=[MISSING]).trunks, "id") == [(3,)]
    assert rows(chosen(providers=[MISSING]).trunks, "id") == [(3,)]


def test_observations_are_filtered_by_account_only() -> None:
    only = chosen(accounts=["beta"])
    assert set(only.tables["observations"]["account"]) == {"beta"}
    assert list(only.freshness["account"]) == ["beta"]
    assert len(chosen(countries=["US"]).tables["observations"]) == 4


def test_a_choice_without_a_match_leaves_every_report_empty() -> None:
    nothing = chosen(countries=["BR"])
    assert nothing.trunks.empty
    assert nothing.findings.empty
    assert nothing.changes.empty
    assert nothing.count(["provider"]).empty
    assert set(nothing.growth["trunk_count"].dropna()) == {0}
    assert chosen(accounts=["nobody"]).growth.empty


def test_choices_are_those_of_any_version_the_most_frequent_first() -> None:
    choices = list_choices(inputs())
    assert choices["account"] == {"acme": "acme", "beta": "beta"}
    assert choices["country"] == {
        "Germany (DE)": "DE",
        "Austria (AT)": "AT",
        "France (FR)": "FR",
        "United States (US)": "US",
        MISSING: MISSING,
    }
    assert list(choices["provider"]) == ["Telnyx", "DIDWW", MISSING]


def test_every_choice_finds_a_version() -> None:
    choices = list_choices(inputs())
    for country in choices["country"].values():
        assert len(chosen(countries=[country]).tables["versions"])
    for provider in choices["provider"].values():
        assert len(chosen(providers=[provider]).tables["versions"])
