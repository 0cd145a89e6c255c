"""`phone_number` → what kind of number it is, how it is spelled properly, which calling code it has, whether it exists.

What a trunk's number is, the API does not tell: all of it is inferred from how the number is written.

Google's metadata (libphonenumber) is taken as data: the patterns of a calling code, joined into one, are matched
against a whole column at once. Parsing number by number takes 40 µs each, a million the better part of a minute.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, REGION_CODE_FOR_NON_GEO_ENTITY, PhoneMetadata

from trunk_transforms.enrich.number_patterns import (
    DID,
    DIGITS,
    NAMED_EXTENSION,
    OPTIONAL_ZERO,
    PSEUDONYM,
    SEPARATORS,
    SHORT_EXTENSION,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]

_NUMBER_TYPES = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)

CALLING_CODES = {
    region: code
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()
    for region in regions
    if region != REGION_CODE_FOR_NON_GEO_ENTITY
}
"""The calling code of each country (ISO 3166-1 alpha-2) that has one; many share theirs."""


def derive_numbers(trunks: pd.DataFrame) -> pd.DataFrame:
    """Return the trunks with what their numbers look like.

    Needs `phone_number`. Adds, or replaces:

    - `number_kind`: `DID` (begins with + or 00, or is too long for an extension: 10 digits, 7 with a leading 0),
      `extension` (up to 6 digits, or up to 15 characters that are not only digits), else `unknown`;
    - `normalized_number`: digits, with a + where they are an international number: spaces, brackets, dashes, dots,
      slashes and `(0)` are gone, a leading 00 is a +, and 11 to 15 digits that are a valid number with a + have one;
      null where anything but digits is left;
    - `calling_code` of the numbers with a +; null for the others and where no country has it.

    Of a pseudonym, kind and calling code are those of the number that it stands for.
    """
    import pandas as pd  # a run without reports has none, and pseudonyms need the rest of this module

    numbers = as_text(trunks["phone_number"])
    normalized = normalize_numbers(numbers)
    kinds, codes = infer_kinds(numbers, normalized), list_calling_codes(normalized)
    is_hidden = match_pseudonyms(numbers)
    if is_hidden.any():
        parts = pc.split_pattern(pc.if_else(pa.array(is_hidden), numbers, None), ":")
        kinds = pc.coalesce(pc.list_element(parts, 1).cast(pa.string()), kinds.cast(pa.string()))
        stated = pc.list_element(parts, 2)
        codes = pc.coalesce(pc.if_else(pc.equal(stated, ""), None, stated).cast(pa.int64()), codes)
    derived = {
        "number_kind": pd.Series(kinds, dtype="str"),
        "normalized_number": pd.Series(normalized, dtype="str"),
        "calling_code": pd.Series(codes, dtype=pd.ArrowDtype(pa.int64())).astype("Int64"),
    }
    return trunks.assign(**{name: values.set_axis(trunks.index) for name, values in derived.items()})


def as_text(values: pd.Series) -> pa.Array:
    """Return a column as Arrow text, missing values as nulls."""
    text = pa.array(values.astype("str"), from_pandas=True)
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    return text.cast(pa.large_string())


def as_flags(condition: pa.Array) -> Flags:
    """Return a condition for NumPy; null is false."""
    flags: Flags = pc.fill_null(condition, fill_value=False).to_numpy(zero_copy_only=False)
    return flags


def match_pseudonyms(numbers: pa.Array) -> Flags:
    """Return which texts are pseudonyms of something that is not stored."""
    return as_flags(pc.match_substring_regex(numbers, PSEUDONYM))


def normalize_numbers(numbers: pa.Array) -> pa.Array:
    """Return the numbers as `normalized_number` has them: see `derive_numbers`."""
    compact = pc.replace_substring_regex(numbers, OPTIONAL_ZERO, r"\1")
    compact = pc.replace_substring_regex(compact, SEPARATORS, "")
    compact = pc.if_else(pc.match_substring_regex(compact, DIGITS), compact, None)
    is_prefixed = pc.match_substring_regex(compact, "^00[1-9][0-9]{7,}$")
    international = pc.if_else(is_prefixed, _with_plus(pc.utf8_slice_codeunits(compact, 2)), compact)
    # Ten digits may be a national number of North America as well as an international one of Norway.
    is_bare = pc.match_substring_regex(international, "^[1-9][0-9]{10,14}$")
    with_plus = pc.if_else(is_bare, _with_plus(international), None)
    return pc.if_else(pa.array(match_valid_numbers(with_plus)), with_plus, international)


def match_valid_numbers(numbers: pa.Array) -> Flags:
    """Return which of the normalised numbers exist, as far as the numbering plans tell; false for those without +.

    As `phonenumbers.is_valid_number`, but for what that repairs before it observations: +44 020 … with the national prefix,
    +54 11 15 … and +52 1 … as mobiles were once dialled. In E.164 these are wrong.
    """
    codes = list_calling_codes(numbers)
    codes = pc.fill_null(codes, 0).to_numpy(zero_copy_only=False)
    is_valid = np.zeros(len(numbers), dtype=bool)
    for code in np.unique(codes[codes > 0]):
        rows = np.flatnonzero(codes == code)
        is_valid[rows] = as_flags(pc.match_substring_regex(numbers.take(pa.array(rows)), _valid_numbers(int(code))))
    return is_valid


def infer_kinds(numbers: pa.Array, normalized: pa.Array) -> pa.Array:
    """Return `number_kind` of the numbers: see `derive_numbers`."""
    is_did = pc.match_substring_regex(normalized, DID)
    is_short = pc.match_substring_regex(normalized, SHORT_EXTENSION)
    is_named = pc.and_(pc.is_null(normalized), pc.match_substring_regex(numbers, NAMED_EXTENSION))
    conditions = pc.make_struct(*(pc.fill_null(flags, fill_value=False) for flags in (is_did, is_short, is_named)))
    return pc.case_when(conditions, *map(pa.scalar, ("DID", "extension", "extension", "unknown")))


def list_calling_codes(numbers: pa.Array) -> pa.Array:
    """Return the calling codes of the numbers with a +; no code is the beginning of another."""
    found = pa.nulls(len(numbers), pa.large_string())
    digits = pc.if_else(pc.starts_with(numbers, "+"), pc.utf8_slice_codeunits(numbers, 1, 4), None)
    for length in (1, 2, 3):
        start = pc.utf8_slice_codeunits(digits, 0, length)
        known = [str(code) for code in COUNTRY_CODE_TO_REGION_CODE if len(str(code)) == length]
        found = pc.if_else(pc.is_in(start, pa.array(known, pa.large_string())), start, found)
    return found.cast(pa.int64())


def _with_plus(digits: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(digits, "^", "+", max_replacements=1)


@cache
def _valid_numbers(code: int) -> str:
    """Return a pattern of all numbers of a calling code: those of every type in every region that has it."""
    patterns = dict.fromkeys(
        description.national_number_pattern
        for region in COUNTRY_CODE_TO_REGION_CODE[code]
        for description in (getattr(_metadata(code, region), name) for name in _NUMBER_TYPES)
        if description is not None and description.national_number_pattern
    )
    return rf"^\+{code}(?:{'|'.join(patterns)})$"


def _metadata(code: int, region: str) -> Any:
    if region == REGION_CODE_FOR_NON_GEO_ENTITY:
        return PhoneMetadata.metadata_for_nongeo_region(code)
    return PhoneMetadata.metadata_for_region(region)
