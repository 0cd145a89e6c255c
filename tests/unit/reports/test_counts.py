"""Counts of trunks, on frames made by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tests.support.frames import rows, trunks
from tests.unit.reports.inputs import NOW, TRUNKS, inputs
from trunk_transforms.reports.counts import count_groups, count_trunks, derive_shares
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.registry import derive_report, trunk_columns
from trunk_transforms.schema.reports import BY_FORMAT_AND_COUNTRY, COUNT_REPORTS


def test_unknown_and_missing_values_are_rows_of_their_own() -> None:
    counts = inputs().count(("sip_calling_format", "country_code"))
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
def test_the_presets_count_by_the_column_in_their_name(preset: str, expected: list[tuple[Any, ...]]) -> None:
    assert rows(derive_report(preset, inputs())) == expected


def test_trunks_are_counted_by_any_columns_in_their_order() -> None:
    counts = derive_report("counts", inputs(by=("outbound_proxy", "account", "calling_code")))
    assert rows(counts) == [(False, "acme", 49, 3, 75.0), (False, "acme", None, 1, 25.0)]


def test_a_country_is_counted_once_however_its_code_is_written() -> None:
    made = trunks(*({"id": place, "country_code": code} for place, code in enumerate(("UK", "GB", "gb", "ZZ"))))
    counts = ReportInputs({"trunks": made}, Options(as_of=NOW)).count(("country_code",))
    assert rows(counts) == [("GB", "United Kingdom", 3, 75.0), ("ZZ", None, 1, 25.0)]
    groups = count_groups(made, ["country_code"])
    assert_frame_equal(ReportInputs({"groups": groups}, Options(as_of=NOW)).count(("country_code",)), counts)


@pytest.mark.parametrize("name", sorted(COUNT_REPORTS))
def test_counts_of_partial_counts_are_the_same_with_any_fields(name: str) -> None:
    names = trunk_columns([name], BY_FORMAT_AND_COUNTRY)
    odd = TRUNKS.assign(trunk_count=1000)
    groups = pd.concat([count_groups(odd.iloc[:1], names), count_groups(odd.iloc[1:], names)])
    assert groups["trunk_count"].sum() == len(TRUNKS)
    counts = derive_report(name, ReportInputs({"groups": groups}, Options(as_of=NOW)))
    assert_frame_equal(counts, derive_report(name, ReportInputs({"trunks": odd}, Options(as_of=NOW))))
    assert counts["trunk_count"].sum() == len(TRUNKS)


def test_no_trunks_are_no_rows_and_no_division_by_zero() -> None:
    assert rows(count_trunks(trunks(), ("account",))) == []


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40), st.integers(0, 2))
def test_shares_sum_to_100_and_are_rounded_up_or_down(counts: list[int], digits: int) -> None:
    shares = derive_shares(pd.Series(counts), digits)
    assert round(shares.sum(), 9) == 100
    exact = [count * 100 / sum(counts) for count in counts]
    assert all(abs(share - true) < 10.0**-digits for share, true in zip(shares, exact, strict=True))
    ordered = sorted(zip(counts, shares, strict=True), key=lambda pair: (-pair[0], -pair[1]))
    assert [share for _, share in ordered] == sorted(shares, reverse=True)


def test_the_first_of_three_thirds_gets_the_missing_hundredth() -> None:
    made = trunks(*({"id": place, "country_code": code} for place, code in enumerate(("US", "DE", "FR"))))
    assert rows(count_trunks(made, ["country_code"])) == [("DE", 1, 33.34), ("FR", 1, 33.33), ("US", 1, 33.33)]
