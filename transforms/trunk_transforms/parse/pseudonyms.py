"""Replace values by pseudonyms before anything is written: `hmac:DID:49:5f0c…` for +4930…, `hmac:unknown::…` for ana.

A pseudonym contains the kind and the calling code of a number, which cannot be derived from it. The rest is 128 bits of
the HMAC-SHA256 of the value. Equal values have equal pseudonyms in every account and field, so that they can be joined.
Without the key, a number cannot be found by trying all numbers.
"""

import hmac
import json
import re
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trunk_transforms.enrich.numbers import infer_kinds, list_calling_codes, normalize_numbers
from trunk_transforms.parse.column_names import column_name
from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.parse.records import Columns
from trunk_transforms.parse.values import as_json, as_text, read_integer, read_number
from trunk_transforms.schema.tables import API_COLUMNS, VARIANT_SUFFIX

Covers = Callable[[str], bool]

PREFIX = "hmac:"
"""The beginning of every pseudonym."""
_DIGITS = 32
_DECLARED = frozenset(column.name for column in API_COLUMNS)


def hide_columns(columns: Columns, names: Collection[str], key: bytes) -> Columns:
    """Return the columns with pseudonyms in place of the values of the columns `names`, including their variants.

    If an undeclared field contains numbers or objects, its column becomes null and `<column>__v_text` has the
    pseudonyms. In the objects of other columns, the values of members with one of the names are replaced at any depth.
    Missing and blank values do not change.
    """
    covers = _covering(names)
    table, types = columns.table, dict(columns.types)
    covered = {name for name in (name.removesuffix(VARIANT_SUFFIX) for name in columns.types) if covers(name)}
    for name in columns.types.keys() & covered:
        misfits = name + VARIANT_SUFFIX
        if misfits in types:
            table = _with(table, misfits, derive_pseudonyms(table[misfits], key))
        if types[name] == "text":
            table = _with(table, name, derive_pseudonyms(table[name], key))
        elif table[name].null_count < len(table):
            hidden = derive_pseudonyms(table[name].cast(pa.string()), key)
            hidden = pc.coalesce(hidden, table[misfits]) if misfits in types else hidden
            table = _with(table, name, pa.nulls(len(table), table.schema.field(name).type))
            table, types = _with(table, misfits, hidden), types | {misfits: "text"}
    for name, column_type in columns.types.items():
        is_misfits = name.endswith(VARIANT_SUFFIX)
        if (column_type == "json" or is_misfits) and not covers(name.removesuffix(VARIANT_SUFFIX)):
            table = _with(table, name, _hide_members(table[name], covers, key))
    return Columns(table, types, columns.drift)


def _covering(names: Collection[str]) -> Covers:
    """Return a function that tests whether a field or column, in any spelling, is one of `names`.

    The column of an undeclared field has a tag if its name was already in use (see `column_names`).
    """
    tagged = re.compile(f"(?:{'|'.join(map(re.escape, names))})_[0-9a-f]{{8}}")

    @cache
    def covers(name: str) -> bool:
        column = column_name(name)
        return column in names or (column not in _DECLARED and bool(tagged.fullmatch(column)))

    return covers


def derive_pseudonyms(values: pa.ChunkedArray | pa.Array, key: bytes) -> pa.Array:
    """Return the pseudonym of each text. Null and blank texts do not change. Repeated texts are computed once."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    encoded = values.dictionary_encode()
    distinct = encoded.dictionary
    numbers = distinct.cast(pa.large_string())
    codes = list_calling_codes(normalize_numbers(numbers)).cast(pa.string())
    digests = pa.array(_digest(distinct.cast(pa.binary()).to_pylist(), key), pa.string())
    kinds = infer_kinds(numbers).cast(pa.string())
    pseudonyms = pc.binary_join_element_wise(PREFIX.removesuffix(":"), kinds, pc.fill_null(codes, ""), digests, ":")
    is_blank = pc.equal(pc.utf8_trim_whitespace(distinct), "")
    return pc.if_else(is_blank, distinct, pseudonyms).take(encoded.indices)


def _digest(values: list[bytes], key: bytes) -> list[str]:
    """Return the first 32 digits of the HMAC-SHA256 of each value; the key is hashed only once."""
    begin = hmac.new(key, digestmod="sha256")
    found = []
    for value in values:
        digest = begin.copy()
        digest.update(value)
        found.append(digest.hexdigest()[:_DIGITS])
    return found


# ---------------------------------------------------------------------- members of objects


def _hide_members(values: pa.ChunkedArray, covers: Covers, key: bytes) -> pa.ChunkedArray:
    """Return JSON with pseudonyms below the covered members. Text that is not JSON does not change."""
    try:
        objects = {text: value for text in values.unique().to_pylist() if (value := _read_object(text)) is not None}
        found: dict[str, None] = {}
        for value in objects.values():
            _replace(value, covers, found.setdefault)
        plain = pa.array(found, pa.string())
        hidden = dict(zip(found, derive_pseudonyms(plain, key).to_pylist(), strict=True))
        changed = {text: as_json(_replace(value, covers, hidden.get)) for text, value in objects.items() if hidden}
    except RecursionError:
        raise InvalidResponseError("expected trunks, got JSON that is nested too deeply") from None
    if not changed:
        return values
    return pa.chunked_array([[changed.get(text, text) for text in values.to_pylist()]], values.type)


def _read_object(text: str | None) -> Any:
    if text is None or "{" not in text:
        return None
    try:
        return json.loads(text, parse_float=read_number, parse_int=read_integer)
    except ValueError:
        return None


def _replace(value: Any, covers: Covers, hide: Callable[[str], Any], *, is_covered: bool = False) -> Any:
    """Return a value of JSON with the results of `hide` in place of everything below the covered members."""
    if isinstance(value, dict):
        return {
            name: _replace(member, covers, hide, is_covered=is_covered or covers(name))
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_replace(item, covers, hide, is_covered=is_covered) for item in value]
    return hide(as_text(value)) if is_covered and value is not None else value


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.append_column(name, values) if index < 0 else table.set_column(index, name, values)
