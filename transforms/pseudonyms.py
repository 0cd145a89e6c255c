"""Values replaced by pseudonyms, before anything is written: `hmac:DID:49:5f0c…` for +4930…, `hmac:unknown::…` for ana.

What is derived from a number, its kind and its calling code, stands in the pseudonym, since nobody can derive it from
there. The rest is HMAC-SHA256 of the value with a key (128 bits of it): equal values have equal pseudonyms in every
account and field, so that they can be joined; without the key nobody can try out numbers.
"""

from __future__ import annotations

import hmac
from itertools import repeat
from operator import methodcaller
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from transforms.numbers import derive_numbers
from transforms.records import Columns
from transforms.schema import VARIANT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Collection

_DIGITS = 32


def hide_columns(columns: Columns, names: Collection[str], key: bytes) -> Columns:
    """Return the columns with pseudonyms in place of the values of those named, misfits included.

    What is no text, a number or an object in a field that is not declared, is a misfit then: its column is null, its
    pseudonym beside it in `<column>__v_text`. Missing and blank values stay as they are.
    """
    table, types = columns.table, dict(columns.types)
    for name in names:
        misfits = name + VARIANT_SUFFIX
        if misfits in types:
            table = _with(table, misfits, derive_pseudonyms(table[misfits], key))
        if types.get(name) == "text":
            table = _with(table, name, derive_pseudonyms(table[name], key))
        elif name in types and table[name].null_count < len(table):
            hidden = derive_pseudonyms(table[name].cast(pa.string()), key)
            hidden = pc.coalesce(hidden, table[misfits]) if misfits in types else hidden
            table = _with(table, name, pa.nulls(len(table), table.schema.field(name).type))
            table, types = _with(table, misfits, hidden), types | {misfits: "text"}
    return Columns(table, types, columns.drift)


def derive_pseudonyms(values: pa.ChunkedArray | pa.Array, key: bytes) -> pa.Array:
    """Return the pseudonym of each text; each distinct one is looked at once. Null and blank text stay."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    encoded = values.dictionary_encode()
    distinct = encoded.dictionary
    facts = derive_numbers(pd.DataFrame({"phone_number": pd.Series(distinct, dtype="str")}))
    codes = pa.array(facts["calling_code"].astype("str"), pa.string(), from_pandas=True)
    # All in C: a call of Python's for each of a million values takes as long as the digest.
    digests = map(hmac.digest, repeat(key), distinct.cast(pa.binary()).to_numpy(False), repeat("sha256"))
    pseudonyms = pc.binary_join_element_wise(
        "hmac",
        pa.array(facts["number_kind"], pa.string(), from_pandas=True),
        pc.fill_null(codes, ""),
        pc.utf8_slice_codeunits(pa.array([*map(methodcaller("hex"), digests)], pa.string()), 0, _DIGITS),
        ":",
    )
    is_blank = pc.equal(pc.utf8_trim_whitespace(distinct), "")
    return pc.if_else(is_blank, distinct, pseudonyms).take(encoded.indices)


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.append_column(name, values) if index < 0 else table.set_column(index, name, values)
