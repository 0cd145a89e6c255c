"""Derive the kind, the normalized spelling, the calling code and the validity of `phone_number`.

The API does not return the kind of a number. It is inferred from the spelling.

The numbering plans come from Google's metadata (libphonenumber). All patterns of a calling code are joined into one
and matched against a whole column, because parsing takes 40 µs per number, or 40 seconds per million.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, REGION_CODE_FOR_NON_GEO_ENTITY, PhoneMetadata, PhoneNumberType

from trunk_transforms.enrich import number_patterns as patterns
from trunk_transforms.schema.arguments import require_columns

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Flags: TypeAlias = "NDArray[np.bool_]"

_NUMBER_TYPES = [PhoneNumberType.to_string(number_type).lower() for number_type in PhoneNumberType.values()]
"""The attributes of a numbering plan; it has none for numbers of an unknown type, or of one of two types."""

MOST_DIGITS = 15
"""The digits of the longest number (E.164) and of the longest extension."""

CALLING_CODES = {
    region: code
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()
    for region in regions
    if region != REGION_CODE_FOR_NON_GEO_ENTITY
}
"""The calling code of each country (ISO 3166-1 alpha-2) that has one. Several countries may share a code."""


def derive_numbers(trunks: pd.DataFrame) -> pd.DataFrame:
    """Return the trunks with the columns derived from their numbers.

    Needs `phone_number`. Adds or replaces:

    - `number_kind`: `DID` (begins with +, or has 7 or more digits and begins with 0 or 00), `extension` (up to 6
      digits, or up to 15 characters that are not all digits), else `unknown`: extensions have up to 15 digits, too;
    - `normalized_number`: the digits, with a + if the number is international. Spaces, brackets, dashes, dots, slashes
      and a `(0)` that is not part of the number are removed, and a leading 00 becomes +. Null if other characters
      remain;
    - `calling_code`: of numbers with a +; null for other numbers and for unassigned codes.

    They follow from the number alone; `list_readings` reads it as its country dials it.

    The kind and the calling code of a pseudonym are those of the original number.
    """
    import pandas as pd  # imported here, because pseudonyms need this module in runs without pandas

    require_columns(trunks, ("phone_number",), "trunks")
    numbers = as_text(trunks["phone_number"])
    normalized = normalize_numbers(numbers)
    kinds, codes = infer_kinds(numbers), list_calling_codes(normalized)
    is_hidden = match_pseudonyms(numbers)
    if is_hidden.any():
        parts = pc.split_pattern(pc.if_else(pa.array(is_hidden), numbers, None), ":")
        kinds = pc.coalesce(pc.list_element(parts, 1).cast(pa.string()), kinds.cast(pa.string()))
        stated = pc.list_element(parts, 2)
        codes = pc.coalesce(pc.if_else(pc.equal(stated, ""), None, stated).cast(pa.int64()), codes)
    return trunks.assign(
        number_kind=pd.Series(kinds, trunks.index, "str"),
        normalized_number=pd.Series(normalized, trunks.index, "str"),
        calling_code=pd.Series(codes, trunks.index, pd.ArrowDtype(pa.int64())).astype("Int64"),
    )


def as_text(values: pd.Series) -> pa.Array:
    """Return a column as Arrow text, missing values as nulls."""
    text = pa.array(values.astype("str"), from_pandas=True)
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    return text.cast(pa.large_string())


def as_flags(condition: pa.Array) -> Flags:
    """Return a condition as a NumPy array; null becomes false."""
    flags: Flags = pc.fill_null(condition, fill_value=False).to_numpy(zero_copy_only=False)
    return flags


def match_pseudonyms(numbers: pa.Array) -> Flags:
    """Return a flag per text: whether it is a pseudonym."""
    return as_flags(pc.match_substring_regex(numbers, patterns.PSEUDONYM))


def normalize_numbers(numbers: pa.Array) -> pa.Array:
    """Return `normalized_number` of the numbers, see `derive_numbers`."""
    shortened = pc.replace_substring_regex(numbers, patterns.OPTIONAL_ZERO, r"\1")
    short, whole = map(_as_international, _list_both_digits(shortened, numbers))
    # In Italy, the 0 is part of the number.
    has_zero = pc.not_equal(short, whole)
    return pc.if_else(pa.array(match_valid_numbers(pc.if_else(has_zero, whole, None))), whole, short)


def list_digits(numbers: pa.Array) -> pa.Array:
    """Return the numbers without separators; null if other characters than digits and a leading + remain."""
    is_clean = pc.match_substring_regex(numbers, patterns.DIGITS)
    # Replacing is slow, and most numbers have no separators, as most usernames have letters.
    is_hopeless = pc.match_substring_regex(numbers, "[A-Za-z]")
    spaced = pc.if_else(pc.or_(is_clean, is_hopeless), None, numbers)
    compact = pc.replace_substring_regex(spaced, patterns.SEPARATORS, "")
    compact = pc.if_else(pc.match_substring_regex(compact, patterns.DIGITS), compact, None)
    return pc.if_else(is_clean, numbers, compact)


def _list_both_digits(shortened: pa.Array, numbers: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the digits of shortened numbers, and those of the whole ones; null where nothing was removed."""
    return list_digits(shortened), list_digits(pc.if_else(pc.not_equal(shortened, numbers), numbers, None))


def _as_international(digits: pa.Array) -> pa.Array:
    is_prefixed = pc.match_substring_regex(digits, "^00[1-9][0-9]{7,}$")
    return pc.if_else(is_prefixed, _prepend("+", pc.utf8_slice_codeunits(digits, 2)), digits)


def list_readings(numbers: pa.Array, normalized: pa.Array, countries: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the numbers in E.164 as their countries dial them: the only reading and null, or the two likeliest ones.

    Needs the ISO 3166-1 codes of the countries. A number without + may begin with the country's prefix for calls
    abroad, with its national prefix, or with neither. Fewer than 10 digits without a leading 0 may be an extension and
    are not read. Without a country, 11 to 15 digits are read as an international number.

    4930231252 of Germany is +4930231252 or +494930231252: both exist. The one with the country's own calling code in
    it is the first, because few people write a number without the prefixes of both its country and its area.
    """
    first, second = _read_dialled(numbers, countries)
    return pc.coalesce(first, _where_valid(normalized)), second


def _read_dialled(numbers: pa.Array, countries: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the readings of numbers without +, each country's numbers at once."""
    digits = _list_dialled_digits(numbers)
    places = np.flatnonzero(as_flags(pc.match_substring_regex(digits, patterns.DIALLED)))
    if not places.size:
        return pa.nulls(len(numbers), pa.large_string()), pa.nulls(len(numbers), pa.large_string())
    encoded = countries.take(pa.array(places)).dictionary_encode(null_encoding="encode")
    codes = encoded.indices.to_numpy()
    groups = [places[codes == code] for code in range(len(encoded.dictionary))]
    names = encoded.dictionary.to_pylist()
    spelled = [_spell(digits.take(pa.array(rows)), name) for rows, name in zip(groups, names, strict=True)]
    abroad, *at_home = (_where_valid(pa.concat_arrays(parts)) for parts in zip(*spelled, strict=True))
    first = pc.coalesce(abroad, *at_home)
    others = (pc.if_else(pc.not_equal(first, other), other, None) for other in at_home)
    second = pc.if_else(pc.is_null(abroad), pc.coalesce(*others), None)
    # The place of each number among the readings; numbers that are not read have none.
    index = np.full(len(numbers), -1)
    index[np.concatenate(groups)] = np.arange(len(first))
    order = pa.array(index, mask=index < 0)
    return first.take(order), second.take(order)


def _list_dialled_digits(numbers: pa.Array) -> pa.Array:
    """Return the digits without the (0) in 49 (0) 30 …, unless it is part of the number, as in Italy."""
    shortened = pc.replace_substring_regex(numbers, patterns.BARE_OPTIONAL_ZERO, r"\1")
    short, whole = _list_both_digits(shortened, numbers)
    is_whole = match_valid_numbers(_prepend("+", pc.if_else(pc.not_equal(short, whole), whole, None)))
    return pc.if_else(pa.array(is_whole), whole, short)


def _spell(digits: pa.Array, country: str | None) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """Return the digits in E.164 after a prefix for calls abroad, a calling code, a national prefix, or no prefix."""
    plan = PhoneMetadata.metadata_for_region(country) if country else None
    with_plus = _prepend("+", digits)
    if plan is None:
        is_bare, nothing = pc.match_substring_regex(digits, "^[1-9][0-9]{10,14}$"), _strip_prefix(digits, None)
        return nothing, pc.if_else(is_bare, with_plus, None), nothing, nothing
    code = f"+{plan.country_code}"
    abroad = _strip_prefix(digits, plan.international_prefix)
    national = _strip_prefix(digits, plan.national_prefix_for_parsing, plan.national_prefix_transform_rule)
    own = pc.if_else(pc.starts_with(with_plus, code), with_plus, None)
    return _prepend("+", abroad), own, _prepend(code, national), _prepend(code, digits)


def _strip_prefix(digits: pa.Array, prefix: str | None, rule: str | None = None) -> pa.Array:
    """Return the digits without the prefix, rewritten by libphonenumber's rule; null if they have no such prefix."""
    if not prefix:
        return pa.nulls(len(digits), pa.large_string())
    start = f"^(?:{prefix})"
    rest = pc.replace_substring_regex(digits, start, "", max_replacements=1)
    if rule:
        # The rule is for numbers that have the prefix's last group.
        group = pc.replace_substring_regex(digits, f"{start}.*$", rf"\{re.compile(prefix).groups}")
        rewritten = pc.replace_substring_regex(digits, start, rule, max_replacements=1)
        rest = pc.if_else(pc.equal(group, ""), rest, rewritten)
    return pc.if_else(pc.match_substring_regex(digits, start), rest, None)


def _where_valid(numbers: pa.Array) -> pa.Array:
    # The plans of some countries have longer numbers than E.164 allows.
    short = pc.if_else(pc.less_equal(pc.utf8_length(numbers), 1 + MOST_DIGITS), numbers, None)
    return pc.if_else(pa.array(match_valid_numbers(short)), short, None)


def match_valid_numbers(numbers: pa.Array) -> Flags:
    """Return a flag per normalized number: whether the numbering plans allow it. False for numbers without +.

    Equals `phonenumbers.is_valid_number`, but does not repair numbers that are wrong in E.164: +44 020 … with the
    national prefix, +54 11 15 … and +52 1 … as mobiles were once dialed.
    """
    codes = list_calling_codes(numbers)
    codes = pc.fill_null(codes, 0).to_numpy(zero_copy_only=False)
    is_valid = np.zeros(len(numbers), dtype=bool)
    for code in np.unique(codes[codes > 0]):
        rows = np.flatnonzero(codes == code)
        is_valid[rows] = as_flags(pc.match_substring_regex(numbers.take(pa.array(rows)), _valid_numbers(int(code))))
    return is_valid


def infer_kinds(numbers: pa.Array) -> pa.Array:
    """Return `number_kind` of the numbers, see `derive_numbers`."""
    digits = list_digits(numbers)
    is_did = pc.match_substring_regex(digits, patterns.DID)
    is_short = pc.match_substring_regex(digits, patterns.SHORT_EXTENSION)
    is_named = pc.and_(pc.is_null(digits), pc.match_substring_regex(numbers, patterns.NAMED_EXTENSION))
    conditions = pc.make_struct(*(pc.fill_null(flags, fill_value=False) for flags in (is_did, is_short, is_named)))
    return pc.case_when(conditions, *map(pa.scalar, ("DID", "extension", "extension", "unknown")))


def list_calling_codes(numbers: pa.Array) -> pa.Array:
    """Return the calling codes of the numbers with a +. The result is unique: no code is a prefix of another."""
    found = pa.nulls(len(numbers), pa.large_string())
    digits = pc.if_else(pc.starts_with(numbers, "+"), pc.utf8_slice_codeunits(numbers, 1, 4), None)
    for length in (1, 2, 3):
        start = pc.utf8_slice_codeunits(digits, 0, length)
        known = [str(code) for code in COUNTRY_CODE_TO_REGION_CODE if len(str(code)) == length]
        found = pc.if_else(pc.is_in(start, pa.array(known, pa.large_string())), start, found)
    return found.cast(pa.int64())


def _prepend(start: str, numbers: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(numbers, "^", start, max_replacements=1)


@cache
def _valid_numbers(code: int) -> str:
    """Return a pattern for all numbers of a calling code, of every type in every region with that code."""
    national = dict.fromkeys(
        description.national_number_pattern
        for region in COUNTRY_CODE_TO_REGION_CODE[code]
        for plan in [PhoneMetadata.metadata_for_region_or_calling_code(code, region)]
        for description in (getattr(plan, name, None) for name in _NUMBER_TYPES)
        if description is not None and description.national_number_pattern
    )
    return rf"^\+{code}(?:{'|'.join(national)})$"
