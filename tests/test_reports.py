"""The registry of reports, the counts and the overview, on frames made by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.frames import day, drift, frame, looks, rows, trunks, versions
from transforms.countries import derive_country_name
from transforms.counts import BY_FORMAT_AND_COUNTRY, PRESETS, count_trunks, tally_trunks
from transforms.overview import derive_overview
from transforms.report_schema import OVERVIEW
from transforms.reports import COUNTS, REPORTS, Basis, Options, tables_needed, trunk_columns

NOW = day(3)
TRUNKS = trunks(
    {"id": 1},
    {"id": 2, "phone_number": "1001", "sip_calling_format": "national", "sip_address": "pbx.example"},
    {"id": 3, "country_code": None, "sip_calling_format": "e164-ish", "sip_address": "acme.pstn.twilio.com"},
    {"id": 4, "phone_number": "+4930231299", "country_code": "QQ", "inbound_authorization_type": "auth"},
)


def basis(**options: Any) -> Basis:
    seen = versions(
        {"id": 1, "days": (0, None)},
        {"id": 2, "days": (0, None), "phone_number": "1001"},
        {"id": 3, "days": (1, None)},
        {"id": 4, "days": (1, 2)},
        {"id": 4, "days": (2, None), "sip_address": "pbx.example"},
        {"id": 5, "days": (0, 2)},
    )
    lifetimes = seen[["account", "id", "created_at", "valid_from", "valid_to"]]
    tables = {"trunks": TRUNKS, "versions": seen, "lifetimes": lifetimes, "looks": looks(0, 1, 2), "drift": drift()}
    return Basis(tables, Options(as_of=NOW, **options))


def test_unknown_and_missing_values_are_rows_of_their_own() -> None:
    counts = basis().count(("sip_calling_format", "country_code"))
    assert rows(counts) == [
        ("+e164", "DE", "Germany", 1, 25.0),
        ("+e164", "QQ", None, 1, 25.0),
        ("e164-ish", None, None, 1, 25.0),
        ("national", "DE", "Germany", 1, 25.0),
    ]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("by_country", [("DE", "Germany", 2, 50.0), ("QQ", None, 1, 25.0), (None, None, 1, 25.0)]),
        ("by_provider", [("Telnyx", 2, 50.0), ("Twilio", 1, 25.0), ("unknown", 1, 25.0)]),
        ("by_authorization", [("ip", 3, 75.0), ("auth", 1, 25.0)]),
        ("by_number_kind", [("DID", 3, 75.0), ("extension", 1, 25.0)]),
    ],
)
def test_the_presets_count_by_what_they_are_called(preset: str, expected: list[tuple[Any, ...]]) -> None:
    assert rows(REPORTS[preset].derive(basis())) == expected


def test_trunks_are_counted_by_any_columns_in_their_order() -> None:
    counts = REPORTS["counts"].derive(basis(by=("outbound_proxy", "account", "calling_code")))
    assert rows(counts) == [(False, "acme", 49, 3, 75.0), (False, "acme", None, 1, 25.0)]


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_counts_are_the_same_of_tallies_whatever_fields_the_api_has(name: str) -> None:
    names = trunk_columns([name], BY_FORMAT_AND_COUNTRY)
    odd = TRUNKS.assign(trunk_count=1000)
    tallies = pd.concat([tally_trunks(odd.iloc[:1], names), tally_trunks(odd.iloc[1:], names)])
    assert tallies["trunk_count"].sum() == len(TRUNKS)
    counts = REPORTS[name].derive(Basis({"tallies": tallies}, Options(as_of=NOW)))
    assert_frame_equal(counts, REPORTS[name].derive(Basis({"trunks": odd}, Options(as_of=NOW))))
    assert counts["trunk_count"].sum() == len(TRUNKS)


def test_no_trunks_are_no_rows_and_no_division_by_zero() -> None:
    assert rows(count_trunks(trunks(), ("account",))) == []


@pytest.mark.parametrize("by", [(), ("account", "account"), ("trunk_count",)])
def test_columns_that_cannot_be_counted_by_are_refused(by: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="column"):
        count_trunks(TRUNKS.assign(trunk_count=1), by)


def test_a_country_is_named_however_its_code_is_written() -> None:
    named = derive_country_name(frame([{"country_code": code} for code in ("UK", "de", "XK", "XX", "ß", None)], []))
    assert rows(named) == [
        ("UK", "United Kingdom"),
        ("de", "Germany"),
        ("XK", "Kosovo"),
        ("XX", None),
        ("ß", None),
        (None, None),
    ]


@pytest.mark.parametrize("name", REPORTS)
def test_every_column_of_a_report_is_documented_with_and_without_rows(name: str) -> None:
    report = REPORTS[name]
    ages = {"last_seen_at", "is_current"} if name == "audit" else set()  # the log of the findings adds them
    empty = {table: made.head(0) for table, made in basis().tables.items()}
    for made in (report.derive(basis()), report.derive(Basis(empty, Options(as_of=NOW)))):
        assert list(made.columns) == [name for name in report.table.names if name not in ages]
    assert list(report.derive(basis()).dtypes) == list(made.dtypes) or name == "overview"
    assert report.question.endswith("?")


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_needs_no_more_than_it_says(name: str) -> None:
    whole = basis()
    narrow = {table: whole.tables[table] for table in tables_needed([name])}
    if "trunks" in narrow:
        narrow["trunks"] = narrow["trunks"][trunk_columns([name], whole.options.by)]
    report = REPORTS[name]
    pd.testing.assert_frame_equal(report.derive(Basis(narrow, whole.options)), report.derive(whole))


def test_every_preset_is_a_report() -> None:
    assert set(PRESETS) <= set(REPORTS)


@pytest.mark.parametrize("name", REPORTS)
def test_masked_reports_hold_no_number_and_no_username(name: str) -> None:
    options = {"is_masked": True, "by": ("phone_number", "sip_username", "normalized_number")}
    text = REPORTS[name].derive(basis(**options)).to_csv()
    assert "+4930231" not in text
    assert "lindner" not in text


def test_the_overview_says_what_is_there_what_happened_and_what_is_wrong() -> None:
    overview = basis(is_log=True).overview
    assert list(overview.columns) == OVERVIEW.names
    assert rows(overview.loc[~overview["section"].isin(["findings"])]) == [
        ("accounts", "accounts", 1, "acme"),
        ("trunks", "trunks", 4, None),
        ("counts", "+e164 · Germany", 1, "25 %"),
        ("counts", "+e164 · QQ", 1, "25 %"),
        ("counts", "e164-ish · –", 1, "25 %"),
        ("counts", "national · Germany", 1, "25 %"),
        ("changes", "added", 2, "since 2026-02-03"),
        ("changes", "removed", 1, None),
        ("changes", "changed", 1, "sip_address"),
        ("changes", "re-created", 1, "trunks whose leg was down briefly"),
        ("freshness", "missed runs", 0, "every account seen since 2026-03-04 09:00Z"),
    ]
    found = basis().findings
    severities = overview.loc[overview["section"] == "findings", "item"]
    assert list(severities) == list(dict.fromkeys(found["severity"]))
    assert overview.loc[overview["section"] == "findings", "value"].sum() == len(found)


def test_the_overview_names_accounts_that_are_late_or_were_never_seen() -> None:
    # Seen on days 0, 1 and 2, and then not for three days.
    late = Options(as_of=day(5), accounts=("acme", "new"), is_log=True)
    overview = Basis(basis().tables, late).overview
    assert rows(overview.loc[overview["section"] == "freshness"]) == [
        ("freshness", "new", None, "never seen"),
        ("freshness", "acme", 2, "missed runs, last seen 2026-03-04 09:00Z"),
    ]


def test_an_overview_of_nothing_says_so() -> None:
    whole = basis()
    empty = Basis({**whole.tables, "trunks": trunks(), "versions": versions()}, Options(as_of=NOW))
    overview = derive_overview(
        counts=empty.count(("sip_calling_format", "country_code")),
        changes=empty.changes,
        changed_since=None,
        findings=empty.findings,
        freshness=empty.freshness,
    )
    assert rows(overview.loc[overview["section"].isin(["trunks", "changes", "findings"])]) == [
        ("trunks", "trunks", 0, None),
        ("changes", "changes", 0, "since the last snapshot but one"),
        ("findings", "findings", 0, None),
    ]
