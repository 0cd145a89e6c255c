"""Rules on `phone_number`. The kind of number is inferred, because the API does not have it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trunk_transforms.audit.rules.context import NOTHING, AuditContext, Findings, Verdict, as_findings
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, LIVEKIT, rule
from trunk_transforms.audit.rules.wording import name_place, quote_own
from trunk_transforms.enrich.countries import country_name
from trunk_transforms.enrich.numbers import (
    CALLING_CODES,
    MOST_DIGITS,
    Flags,
    as_flags,
    as_text,
    list_calling_codes,
    list_digits,
    match_pseudonyms,
)

_PLANS = "Google's libphonenumber (numbering plans of all countries)"
_PLAIN = r"^(?:\+?[0-9]+|[0-9A-Za-z_.*#-]+)$"


@rule(
    "number-missing",
    severity="high",
    question="Which trunks have no number?",
    why="The trunk cannot be called, and its caller number is unknown.",
    fix="set phone_number to an extension or to a DID in E.164",
    source=API_DOCUMENTATION,
)
def check_missing(context: AuditContext) -> Findings:
    """Find trunks with a missing or blank number."""

    def decide(host: str | None) -> Verdict:
        return Verdict("phone_number is missing or blank", cause=f"missing numbers {name_place(host)}")

    is_missing = context.trunks["phone_number"].isna() & ~context.is_unreadable("phone_number")
    return context.decide(["host"], decide, is_missing)


@rule(
    "number-malformed",
    severity="high",
    question="Which numbers have spaces, brackets, a leading 00 instead of +, or other invalid characters?",
    why="Providers reject such a caller number. For inbound calls, LiveKit ignores only spaces, dashes and brackets: a "
    "number with any other character, 00 or (0) matches no call.",
    fix="write digits only: an extension, or a DID in E.164 such as +14155551234",
    source=f"{API_DOCUMENTATION}; {LIVEKIT}",
    yields_to=("number-invalid",),
)
def check_malformed(context: AuditContext) -> Findings:
    """Find values that are neither digits, with or without +, nor a name without spaces."""
    numbers, normalized = _texts(context.trunks)
    # 030-123456 matches the pattern of a name such as ext-100, but without the dash it is a number.
    is_separated = _matches(numbers, "[^+0-9]") & as_flags(pc.is_valid(normalized))
    is_malformed = is_separated | _is_prefixed(numbers, normalized) | ~_matches(numbers, _PLAIN)
    is_malformed &= ~match_pseudonyms(numbers)
    found = context.trunks.loc[is_malformed & context.trunks["phone_number"].notna()]
    if found.empty:
        return NOTHING
    numbers, normalized = _texts(found)
    remarks = pd.Series("has characters that are not part of a number", index=found.index)
    remarks[_matches(numbers, r"[\s\p{Z}]")] = "has spaces"
    remarks[_matches(numbers, "[()]")] = "has brackets"
    is_dropped = ~_is_whole(found, list_digits(numbers))
    remarks[_matches(numbers, r"\(0\)") & is_dropped] = "has (0), which is dialed only within the country"
    # Australia dials 0011, Singapore 001.
    is_other_prefix = found["e164"].notna() & (found["e164"] != found["normalized_number"])
    is_prefixed = _is_prefixed(numbers, normalized)
    remarks[is_prefixed] = "begins with 00 in place of +"
    remarks[is_prefixed & is_other_prefix] = "begins with a prefix for calls abroad in place of +"
    return as_findings(quote_own(found["phone_number"]) + " " + remarks, "write digits only; " + _advise(found))


@rule(
    "number-too-long",
    severity="high",
    question="Which numbers have more than 15 digits or characters?",
    why="E.164 allows at most 15 digits, and the API documents at most 15 characters for an extension.",
    fix="correct the number",
    source=f"ITU-T E.164; {API_DOCUMENTATION}",
)
def check_too_long(context: AuditContext) -> Findings:
    """Find long numbers, without counting the + and separators, and long names."""
    trunks, numbers = context.trunks, context.trunks["phone_number"]
    names = numbers.where(_matches(as_text(numbers), _PLAIN))
    lengths = trunks["e164"].fillna(trunks["normalized_number"]).fillna(names).str.removeprefix("+").str.len()
    too_long = lengths[lengths > MOST_DIGITS].astype("int64").astype("str")
    if too_long.empty:
        return NOTHING
    seen = "phone_number has " + too_long + " digits or characters"
    return as_findings(seen, cause="the number " + quote_own(numbers[seen.index]))


@rule(
    "number-invalid",
    severity="high",
    question="Which numbers with a + cannot exist?",
    why="The trunk cannot be called, and providers reject calls from a number that does not exist.",
    fix="correct the number",
    source=_PLANS,
)
def check_invalid(context: AuditContext) -> Findings:
    """Find international numbers that are in no numbering plan."""
    _, normalized = _texts(context.trunks)
    found = context.trunks.loc[_matches(normalized, r"^\+[0-9]{1,15}$") & context.trunks["e164"].isna()]
    if found.empty:
        return NOTHING
    remarks = "cannot be a number of +" + found["calling_code"].astype("str") + ": wrong length, or no such area"
    remarks = remarks.where(found["calling_code"].notna(), "does not begin with a calling code")
    return as_findings(quote_own(found["phone_number"]) + " " + remarks)


@rule(
    "number-without-plus",
    severity="medium",
    question="Which numbers appear to be a DID but lack the +?",
    why="Without it, a number is read as an extension or as a number of another country.",
    fix="write it in E.164, such as +14155551234, if it is a DID",
    source=f"{_PLANS}, as the trunk's country dials; {API_DOCUMENTATION}",
    yields_to=("number-malformed",),
)
def check_without_plus(context: AuditContext) -> Findings:
    """Find numbers without + that exist in the trunk's country, and those with a national prefix if it has none.

    Other digits may be an extension of up to 15 digits. Digits that may be one of two numbers are ambiguous: the fix
    names the likelier spelling first.
    """
    numbers, normalized = _texts(context.trunks)
    is_bare = ~_matches(numbers, r"\+") & ~_is_prefixed(numbers, normalized) & ~match_pseudonyms(numbers)
    is_dialled = (context.trunks["number_kind"] == "DID") & ~context.trunks["country"].isin(CALLING_CODES)
    is_dialled &= _matches(normalized, rf"^[0-9]{{1,{MOST_DIGITS}}}$")
    is_read = context.trunks["e164"].notna() | context.trunks["likely_e164"].notna()
    found = context.trunks.loc[is_bare & (is_read | is_dialled)]
    if found.empty:
        return NOTHING
    seen = quote_own(found["phone_number"]) + " appears to be a DID, but lacks the +"
    return as_findings(seen, _advise(found))


def _advise(trunks: pd.DataFrame) -> pd.Series:
    """Return how numbers get their spelling in E.164, without naming the number; null if unclear or if it is that."""
    digits = list_digits(as_text(trunks["phone_number"])).to_pylist()
    clear, likely, other = (_spell(digits, trunks[name]) for name in ("e164", "likely_e164", "other_e164"))
    fixes = [
        f"write {f'either {one} or {two}' if one and two else only or one}, if it is a DID" if only or one else None
        for only, one, two in zip(clear, likely, other, strict=True)
    ]
    return pd.Series(fixes, trunks.index, dtype="str")


def _spell(digits: Sequence[str | None], readings: pd.Series) -> list[str | None]:
    """Return the change from each number's digits to its reading in E.164; None if unclear or if there is none."""
    e164 = as_text(readings)
    codes = list_calling_codes(e164).to_pylist()
    return [_name_change(*values) for values in zip(digits, e164.to_pylist(), codes, strict=True)]


def _name_change(digits: str | None, e164: str | None, calling_code: int | None) -> str | None:
    national = e164.removeprefix(f"+{calling_code}") if e164 else None
    if digits is None or national is None or not digits.endswith(national):
        return None
    start = digits.removesuffix(national)
    if start == f"+{calling_code}":
        return None
    if start in ("", str(calling_code)):
        return f"{'a +' if start else f'+{calling_code}'} before it"
    return f"+{calling_code} in place of the leading {start}"


@rule(
    "number-country",
    severity="medium",
    question="Which DIDs belong to another country than the trunk declares?",
    why="Calls appear to come from another country, national numbers are misread, and other rules on caller numbers "
    "apply.",
    fix="set country_code to the country of the number, unless the trunk is deliberately in another country",
    source=f"{_PLANS}; calling codes are compared, because several countries share +1, +7 and +44",
)
def check_country(context: AuditContext) -> Findings:
    """Find valid DIDs with another calling code than the declared country; codes without a country are not compared."""

    def decide(calling_code: int, country: str | None) -> Verdict | None:
        declared = CALLING_CODES.get(country or "")
        countries = [region for region, code in CALLING_CODES.items() if code == calling_code]
        if declared in (None, calling_code) or not countries:
            return None
        main = f"{country_name(countries[0])}{' and others' if len(countries) > 1 else ''}"
        did = f"a DID of +{calling_code} ({main})"
        return Verdict(f"the number appears to be {did}, but country_code is {country} (+{declared})")

    is_meant = context.trunks["e164"].notna() & (context.trunks["e164"] == context.trunks["normalized_number"])
    return context.decide(["calling_code", "country"], decide, is_meant)


def _texts(trunks: pd.DataFrame) -> tuple[pa.Array, pa.Array]:
    """Return the numbers as stored and normalized."""
    return as_text(trunks["phone_number"]), as_text(trunks["normalized_number"])


def _is_whole(trunks: pd.DataFrame, digits: pa.Array) -> Flags:
    """Return a flag per number: it has all of these digits in E.164."""
    pairs = zip(trunks["e164"].fillna(""), digits.to_pylist(), strict=True)
    return np.array([number.endswith((written or "+").lstrip("+")) for number, written in pairs], dtype=bool)


def _matches(text: pa.Array, pattern: str) -> Flags:
    return as_flags(pc.match_substring_regex(text, pattern))


def _is_prefixed(numbers: pa.Array, normalized: pa.Array) -> Flags:
    """Return a flag per number: it has 00 in place of the +."""
    return _matches(numbers, "^[^+1-9]*0") & _matches(normalized, r"^\+")
