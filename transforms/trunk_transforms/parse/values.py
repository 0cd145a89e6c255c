"""Convert values of fields to the type of their column, or to text if they do not fit."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trunk_transforms.schema.tables import ColumnType, arrow_type

DOUBLE_HOLDS_EVERY_INTEGER_BELOW = 2.0**53
_LONGEST_INTEGER = 1000
_FIRST_MICROSECOND = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z
_LAST_MICROSECOND = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z


class LargeNumber(str):
    """The spelling of a number that is beyond a double, or has more digits than Python converts."""

    __slots__ = ()


def read_number(text: str) -> float | int | LargeNumber:
    """Return a number with a fraction or exponent: 42.0 as the integer 42."""
    number = float(text)
    if abs(number) == float("inf"):
        return _spell(text)
    return int(number) if number.is_integer() and abs(number) < DOUBLE_HOLDS_EVERY_INTEGER_BELOW else number


def read_integer(text: str) -> int | LargeNumber:
    """Return an integer."""
    return int(text) if len(text) < _LONGEST_INTEGER else _spell(text)


def _spell(text: str) -> LargeNumber:
    with suppress(InvalidOperation):  # the exponent has more than 18 digits
        text = str(Decimal(text))
    return LargeNumber(text)


def type_of(values: list[Any]) -> ColumnType | None:
    """Return the most frequent type among the values of a new field. Integers and doubles together are doubles."""
    kinds = Counter(_kind_of(value) for value in values)
    if kinds["bigint"] and kinds["double"]:
        kinds["double"] += kinds.pop("bigint")
    return kinds.most_common(1)[0][0] if kinds else None


def _kind_of(value: Any) -> ColumnType:
    return next((kind for kind in _SCALARS if FIT[kind](value) is not None), "json")


def _fit_text(value: Any) -> str | None:
    return value if type(value) is str and _is_unicode(value) else None


def _fit_bigint(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and -(2**63) <= value < 2**63 else None


def _fit_double(value: Any) -> float | None:
    if isinstance(value, float):
        return value
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1023
    return float(value) if is_number and float(value) == value else None


def _fit_text_list(value: Any) -> list[str | None] | None:
    is_list = isinstance(value, list) and all(item is None or _fit_text(item) is not None for item in value)
    return value if is_list else None


FIT: dict[ColumnType, Callable[[Any], Any]] = {
    "text": _fit_text,
    "timestamp": _fit_text,
    "bigint": _fit_bigint,
    "double": _fit_double,
    "bool": lambda value: value if isinstance(value, bool) else None,
    "text_list": _fit_text_list,
    "json": lambda value: _fit_json(value),  # noqa: PLW0108 - defined below
}
"""By type: a function that returns the value as it is stored, or None if it does not fit."""

_SCALARS: tuple[ColumnType, ...] = ("bool", "bigint", "double", "text")
EXACTLY: dict[ColumnType, type] = {"double": float, "bool": bool}
"""The Python type whose values all fit, by column type."""


def _is_unicode(text: str) -> bool:
    """Return whether `text` can be encoded as UTF-8; a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_json(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces, and no escapes unless the text cannot be encoded."""
    if isinstance(value, LargeNumber):
        return str(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text if _is_unicode(text) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _fit_json(value: Any) -> str | None:
    """Return canonical JSON, or None if it has a lone surrogate, which databases reject even as an escape."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return as_json(value) if _is_unicode(text) else None


def as_text(value: Any) -> str:
    """Return a value as text: a string unchanged, any other value as JSON."""
    return value if isinstance(value, str) and _is_unicode(value) else as_json(value)


def as_timestamps(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the texts as instants, and the texts that are not timestamps. Texts without a time zone are UTC."""
    instants = _cast_to_instants(texts)
    moments = instants.cast(pa.int64())  # Arrow has the years 0 and 10000, Python and pandas do not
    in_range = pc.and_(pc.greater_equal(moments, _FIRST_MICROSECOND), pc.less_equal(moments, _LAST_MICROSECOND))
    instants = pc.if_else(in_range, instants, pa.scalar(None, instants.type))
    if instants.null_count == texts.null_count:
        return instants, pa.nulls(len(texts), pa.string())
    return instants, pc.if_else(pc.is_null(instants), texts, pa.scalar(None, pa.string()))


def _cast_to_instants(texts: pa.Array) -> pa.Array:
    instant = arrow_type("timestamp")
    with suppress(pa.ArrowInvalid):
        return texts.cast(instant)
    has_zone = pc.match_substring_regex(texts, r"(Z|[+-]\d\d(:?\d\d)?)$")
    zoned = pc.if_else(has_zone, texts, pc.binary_join_element_wise(texts, "Z", ""))
    with suppress(pa.ArrowInvalid):
        return zoned.cast(instant)
    instants = {text: _as_instant(text) for text in pc.unique(zoned).to_pylist()}
    return pa.array([instants[text] for text in zoned.to_pylist()], pa.int64()).cast(instant)


def _as_instant(text: str | None) -> int | None:
    """Return microseconds since 1970 (UTC), or None if `text` is not a timestamp."""
    try:
        return None if text is None else pa.scalar(text).cast(arrow_type("timestamp")).value
    except pa.ArrowInvalid:
        return None
