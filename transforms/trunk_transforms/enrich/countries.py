"""Derive the country from `country_code`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import iso3166

from trunk_transforms.schema.arguments import require_columns

if TYPE_CHECKING:
    import pandas as pd

# Common names that do not begin the formal name in ISO 3166-1.
_COMMON_NAMES = {
    "BQ": "Caribbean Netherlands",
    "CD": "Congo (Kinshasa)",
    "CG": "Congo (Brazzaville)",
    "FK": "Falkland Islands",
    "GB": "United Kingdom",
    "GS": "South Georgia",
    "KP": "North Korea",
    "KR": "South Korea",
    "LA": "Laos",
    "MF": "Saint Martin",
    "NR": "Nauru",
    "RU": "Russia",
    "SX": "Sint Maarten",
    "SY": "Syria",
    "UM": "US Minor Outlying Islands",
    "US": "United States",
    "VA": "Vatican City",
    "VG": "British Virgin Islands",
    "VI": "US Virgin Islands",
    "VN": "Vietnam",
}

COUNTRY_NAMES = {
    # Most formal names, such as "Iran, Islamic Republic of", begin with the common one.
    country.alpha2: _COMMON_NAMES.get(country.alpha2, country.apolitical_name.partition(",")[0])
    for country in iso3166.countries
}
"""The short English name of every country (ISO 3166-1 alpha-2)."""

COUNTRY_ALIASES = {"UK": "GB"}
"""Common codes that are not in ISO 3166-1."""


def canonical_country(code: str) -> str | None:
    """Return the ISO 3166-1 code for a code in any spelling, such as `de` or `UK`; None if there is no such country."""
    upper = code.strip().upper()
    upper = COUNTRY_ALIASES.get(upper, upper)
    # ASCII only, because upper() turns ß into SS, the code of South Sudan.
    return upper if code.isascii() and upper in COUNTRY_NAMES else None


def unify_countries(trunks: pd.DataFrame) -> pd.DataFrame:
    """Return the trunks, or counts of them, with one `country_code` per country: `GB` for `UK` and `gb`.

    Unknown codes stay as they are. Needs `country_code`.
    """
    require_columns(trunks, ("country_code",), "trunks")
    codes = trunks["country_code"]
    meant = {code: canonical_country(str(code)) or code for code in codes.dropna().unique()}
    return trunks.assign(country_code=codes.map(meant).astype(codes.dtype))


def derive_country_name(trunks: pd.DataFrame) -> pd.DataFrame:
    """Return the trunks, or counts of them, with `country_name` right after `country_code`.

    Misspelled codes get a name as well (`de` is Germany, `UK` is the United Kingdom); the audit reports the spelling.
    The name is null if the code is missing or unknown. Needs `country_code`.
    """
    require_columns(trunks, ("country_code",), "trunks")
    codes = trunks["country_code"].astype("str")
    named = trunks.drop(columns="country_name", errors="ignore")
    names = codes.map({code: country_name(code) for code in codes.dropna().unique()}).astype("str")
    named.insert(list(named.columns).index("country_code") + 1, "country_name", names)
    return named


def country_name(code: str) -> str | None:
    """Return the name of the country of a code in any spelling; None if there is no such country."""
    return COUNTRY_NAMES.get(canonical_country(code) or "")
