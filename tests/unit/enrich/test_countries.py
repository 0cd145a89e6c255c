"""The names of countries, and the codes that mean them."""

from __future__ import annotations

import pandas as pd

from tests.support.frames import frame, rows
from trunk_transforms.enrich.countries import COUNTRY_NAMES, canonical_country, derive_country_name, unify_countries


def test_the_country_stands_beside_its_code() -> None:
    counts = pd.DataFrame({"country_code": ["GB", "UK", "de", " US ", "XK", "ZZ", "", None], "trunk_count": range(8)})
    named = derive_country_name(counts)
    assert list(named.columns) == ["country_code", "country_name", "trunk_count"]
    names = [None if pd.isna(name) else name for name in named["country_name"]]
    assert names == ["United Kingdom", "United Kingdom", "Germany", "United States", "Kosovo", None, None, None]


def test_names_of_countries_are_short_enough_for_a_table() -> None:
    assert max(map(len, COUNTRY_NAMES.values())) < 35
    assert not [name for name in COUNTRY_NAMES.values() if "Republic of" in name]


def test_an_alias_and_lower_case_mean_a_country() -> None:
    assert [canonical_country(code) for code in ("uk", "De", "XX", "")] == ["GB", "DE", None, None]


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


def test_a_country_has_one_code_however_it_is_written() -> None:
    counts = frame([{"country_code": code, "trunk_count": 1} for code in ("UK", "gb", " DE", "XX", "ß", None)], [])
    assert rows(unify_countries(counts), "country_code") == [("GB",), ("GB",), ("DE",), ("XX",), ("ß",), (None,)]
    assert list(counts["country_code"])[:3] == ["UK", "gb", " DE"]
