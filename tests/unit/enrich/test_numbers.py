from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pandas as pd
import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumberFormat, PhoneNumberType

from trunk_transforms.enrich.numbers import as_text, derive_numbers, match_valid_numbers

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
        ("498999998432", ("DID", "+498999998432", 49)),  # 12 digits that are a number of Munich with a +
        ("4155551234", ("DID", "4155551234", None)),  # of San Francisco or, with a +, of Switzerland: who knows
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
