from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pandas as pd
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from trunk_transforms.enrich.numbers import (
    as_text,
    derive_numbers,
    list_readings,
    match_valid_numbers,
    normalize_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def derive(*numbers: str | None) -> pd.DataFrame:
    return derive_numbers(pd.DataFrame({"phone_number": list(numbers)}))


def rows(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    columns = frame[["number_kind", "normalized_number", "calling_code"]]
    return [tuple(None if pd.isna(value) else value for value in row) for row in columns.itertuples(index=False)]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+493023125115", ("DID", "+493023125115", 49)),
        ("+49 (0) 30 / 2312-5115", ("DID", "+493023125115", 49)),
        ("0049.30.23125115", ("DID", "+493023125115", 49)),
        ("\u202a+49\u00a030\u201323125115\u202c", ("DID", "+493023125115", 49)),  # pasted from a web page
        ("+12125550111", ("DID", "+12125550111", 1)),
        ("+3834912345", ("DID", "+3834912345", 383)),
        ("+39 (0)2 1234 5678", ("DID", "+390212345678", 39)),  # in Italy, the 0 is part of the number
        ("0039 (0)2 1234 5678", ("DID", "+390212345678", 39)),
        ("498999998432", ("unknown", "498999998432", None)),  # an extension of 12 digits, or a number of Munich
        ("4155551234", ("unknown", "4155551234", None)),  # of San Francisco or, with a +, of Switzerland: who knows
        ("0000000042", ("unknown", "0000000042", None)),
        ("0741926265", ("DID", "0741926265", None)),
        ("(0)741926265", ("DID", "0741926265", None)),  # without a + the 0 belongs to the number
        ("+999123", ("DID", "+999123", None)),
        ("1000", ("extension", "1000", None)),
        (" 10-00 ", ("extension", "1000", None)),
        ("007", ("extension", "007", None)),
        ("reception", ("extension", None, None)),
        ("12345678", ("unknown", "12345678", None)),
        ("+49 ABC", ("unknown", None, None)),
        ("+", ("unknown", None, None)),
        ("\u0661\u0662\u0663", ("unknown", None, None)),  # digits, but none that can be dialled
        ("", ("unknown", None, None)),
        (" ", ("unknown", None, None)),
        (None, ("unknown", None, None)),
    ],
)
def test_the_kind_of_a_number_follows_from_its_spelling(number: str | None, expected: tuple[object, ...]) -> None:
    assert rows(derive(number)) == [expected]


def test_derived_columns_keep_index_and_types_and_the_input_is_untouched() -> None:
    trunks = pd.DataFrame({"phone_number": ["1000", "+493023125115"]}, index=[7, 3])
    derived = derive_numbers(trunks)
    assert list(derived.index) == [7, 3]
    assert [str(dtype) for dtype in derived.dtypes] == ["str", "str", "str", "Int64"]
    assert list(trunks.columns) == ["phone_number"]


@pytest.mark.parametrize("numbers", [[], [None, None]])
def test_columns_have_their_types_without_any_number(numbers: list[None]) -> None:
    assert [str(dtype) for dtype in derive(*numbers).dtypes][1:] == ["str", "str", "Int64"]


@settings(max_examples=40)  # of many texts each
@given(st.lists(st.none() | st.text() | st.text("+0123456789 ()-", max_size=20), min_size=10))
def test_any_text_has_a_kind(numbers: list[str | None]) -> None:
    derived = derive(*numbers)
    assert set(derived["number_kind"]) <= {"DID", "extension", "unknown"}
    assert derived["normalized_number"].dropna().str.fullmatch(r"\+?[0-9]+").all()


def example_numbers() -> Iterable[str]:
    kinds = [getattr(PhoneNumberType, name) for name in dir(PhoneNumberType) if name.isupper() and name != "UNKNOWN"]
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        examples = [phonenumbers.example_number_for_type(region, kind) for region in regions for kind in kinds]
        examples.append(phonenumbers.example_number_for_non_geo_entity(code))
        yield from (phonenumbers.format_number(e, PhoneNumberFormat.E164) for e in examples if e is not None)


def mutated(numbers: Iterable[str], rng: random.Random) -> Iterable[str]:
    for number in numbers:
        for _ in range(12):
            digits = list(number)
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(2, len(digits))
                digits[place : place + rng.randint(0, 1)] = rng.choices("0123456789", k=rng.randint(0, 2)) or ["7"]
            yield "".join(digits)


def test_numbers_are_valid_as_libphonenumber_says_but_for_those_that_it_repairs() -> None:
    examples = set(example_numbers())
    numbers = sorted(examples | set(mutated(sorted(examples), random.Random(5))))
    valid = match_valid_numbers(pa.array(numbers, pa.large_string()))
    expected, repaired = [], set()
    for number in numbers:
        try:
            parsed = phonenumbers.parse(number)
        except phonenumbers.NumberParseException:
            expected.append(False)
            continue
        is_same = phonenumbers.format_number(parsed, PhoneNumberFormat.E164) == number
        is_valid = phonenumbers.is_valid_number(parsed)
        expected.append(is_valid and is_same)
        if is_valid and not is_same:
            repaired.add(number)
    assert list(valid) == expected
    assert len(numbers) > 8000
    assert 2000 < sum(expected) < len(numbers) - 4000
    assert len(repaired) < len(numbers) / 100


@pytest.mark.parametrize("number", ["+4402079460108", "+49", "+1212555011", "+121255501111", "493023125115", "+999123"])
def test_a_number_that_is_not_in_e164_is_not_valid(number: str) -> None:
    assert not match_valid_numbers(as_text(pd.Series([number])))[0]


def read(*pairs: tuple[str, str | None]) -> list[str | None]:
    numbers, countries = (pa.array(values, pa.large_string()) for values in zip(*pairs, strict=True))
    first, second = list_readings(numbers, normalize_numbers(numbers), countries)
    found: list[str | None] = pc.if_else(pc.is_null(second), first, None).to_pylist()
    return found


@pytest.mark.parametrize(
    ("number", "country", "expected"),
    [
        ("0212345678", "IT", "+390212345678"),
        ("(0)2 12345678", "IT", "+390212345678"),
        ("89161234567", "RU", "+79161234567"),
        ("0612345678", "HU", "+3612345678"),
        ("01149301234567", "US", "+49301234567"),
        ("001 49 30 231252", "SG", "+4930231252"),  # 001 and 49, not 00 and 1
        ("13123456789", "CN", "+8613123456789"),
        ("13123456789", "US", "+13123456789"),
        ("13123456789", "DE", None),
        ("4930231252", "DE", None),  # of Berlin, or of the area 4930
        ("39 (0)2 12345678", "IT", "+390212345678"),
        ("44 (0)20 7946 0108", "GB", "+442079460108"),
        ("498999998432", "DE", "+498999998432"),
        ("442079460108", "GB", "+442079460108"),
        ("13123456789", None, "+13123456789"),
        ("0111523456789", "AR", "+5491123456789"),
        ("01123456789", "AR", "+541123456789"),
        ("1000000001", "DE", None),
        ("444444444444444", "DE", None),  # with +49 it has 17 digits
        ("22123456", "NO", None),  # as short as an extension
        ("0741926265", "AQ", None),
        ("+1000", "US", None),
        ("reception", "DE", None),
    ],
)
def test_a_number_is_read_as_its_country_dials_it(number: str, country: str | None, expected: str | None) -> None:
    assert read((number, country)) == [expected]


def spellings() -> Iterable[tuple[str, str, str]]:
    """Return every example as a text, with its region and what it means in E.164."""
    kinds = [getattr(PhoneNumberType, name) for name in dir(PhoneNumberType) if name.isupper() and name != "UNKNOWN"]
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        plan = PhoneMetadata.metadata_for_region(region)
        assert plan is not None
        exit_code = (plan.preferred_international_prefix or plan.international_prefix or "").replace("~", "")
        examples = (phonenumbers.example_number_for_type(region, kind) for kind in kinds)
        for example in filter(None, examples):
            e164 = phonenumbers.format_number(example, PhoneNumberFormat.E164)
            forms = (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL)
            texts = {phonenumbers.format_number(example, form) for form in forms}
            texts |= {e164, e164[1:], f"00{e164[1:]}", phonenumbers.national_significant_number(example)}
            texts |= {exit_code + e164[1:]} if exit_code.isdigit() else set()
            yield from ((text, region, e164) for text in texts)


def test_the_likelier_of_two_readings_comes_first() -> None:
    cases = [*spellings(), ("4930231252", "DE", "+4930231252"), ("4915112345678", "DE", "+4915112345678")]
    texts, regions, meant = zip(*cases, strict=True)
    numbers, countries = (pa.array(values, pa.large_string()) for values in (texts, regions))
    first, second = (r.to_pylist() for r in list_readings(numbers, normalize_numbers(numbers), countries))
    unclear = [(one, other, e164) for one, other, e164 in zip(first, second, meant, strict=True) if other]
    assert ("+4930231252", "+494930231252", "+4930231252") in unclear
    assert [triple for triple in unclear if triple[0] != triple[2] or triple[0] == triple[1]] == []
    assert all(match_valid_numbers(pa.array(sorted({n for n in [*first, *second] if n}), pa.large_string())))


def test_no_spelling_of_an_example_of_any_region_is_read_as_another_number() -> None:
    cases = list(spellings())
    found = read(*((text, region) for text, region, _ in cases))
    pairs = list(zip(cases, found, strict=True))
    assert [(case, number) for case, number in pairs if number not in (None, case[2])] == []
    unread = [text for (text, _, _), number in pairs if number is None]
    assert len(pairs) - len(unread) > 5000
    # Short numbers may be extensions; among the others, few could be written without their calling code or with it.
    assert len([text for text in unread if sum(map(str.isdigit, text)) >= 10]) < 150
