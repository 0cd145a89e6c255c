"""Cut the envelope of a response: its raw records, in batches that bound memory, and the keys beside them."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any, NoReturn

import msgspec

from trunk_transforms.text import printable

Raw = bytes | msgspec.Raw


class InvalidResponseError(ValueError):
    """The response is not a list of trunks. The message says what was expected and what was received."""


class TruncatedResponseError(InvalidResponseError):
    """The response ends in the middle, so that another attempt may get the whole."""


@dataclass(frozen=True)
class Page:
    """One page of a response: its records as raw bytes, its other keys, and its headers that are about paging."""

    records: Sequence[Raw]
    envelope: dict[str, Any]
    headers: Mapping[str, Any] = field(default_factory=dict)

    def nested(self, key: str) -> dict[str, Any]:
        """Return the object under a key of the envelope, or an empty one."""
        value = self.envelope.get(key)
        return value if isinstance(value, dict) else {}


class _Bare(msgspec.Struct, forbid_unknown_fields=True):
    data: list[msgspec.Raw]


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_page(body: bytes | memoryview, headers: Mapping[str, Any] | None = None) -> Page:
    """Return one complete page. `headers` are those that are about paging.

    Raises TruncatedResponseError if the body ends in the middle, and InvalidResponseError if it is not a JSON object
    with a list of objects under `data`.
    """
    if bytes(body[:3]) == _BYTE_ORDER_MARK:
        body = memoryview(body)[3:]
    try:
        try:
            records, envelope = _cut(body)
        except (msgspec.DecodeError, ValueError) as error:
            # Python's parser recognizes every cut, but needs ten times the memory of the body.
            if str(error) == "Input data was truncated" and not bytes(body[-64:]).rstrip().endswith(b"}"):
                raise _truncated(body) from None
            records, envelope = _read_leniently(body)
    except RecursionError:
        raise InvalidResponseError("expected a list of trunks, got JSON that is nested too deeply") from None
    _refuse_non_objects(records)
    return Page(records, envelope, headers or {})


def _cut(body: bytes | memoryview) -> tuple[Sequence[Raw], dict[str, Any]]:
    """Return the records, and the keys beside them. Raises DecodeError or ValueError."""
    try:
        return msgspec.json.decode(body, type=_Bare).data, {}  # most responses; twice as fast
    except msgspec.ValidationError:
        raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        records = msgspec.json.decode(raw.pop("data", b"null"), type=list[msgspec.Raw])
        return records, {key: msgspec.json.decode(value) for key, value in raw.items()}


def _read_leniently(body: bytes | memoryview) -> tuple[Sequence[Raw], dict[str, Any]]:
    """Read valid JSON that msgspec rejects: lone surrogates, UTF-16 and UTF-32."""
    from trunk_transforms.parse.values import read_integer, read_number  # imports Arrow

    try:
        content = json.loads(
            bytes(body), parse_float=read_number, parse_int=read_integer, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        if error.reason in _CUT_CHARACTER:
            raise _truncated(body) from None
        raise InvalidResponseError(
            f"expected JSON in UTF-8, got an invalid byte at offset {error.start} of {len(body)}"
        ) from None
    except json.JSONDecodeError as error:
        raise _explain_invalid_json(body, error) from None
    if not isinstance(content, dict) or "data" not in content:
        seen = f"an object with {_name_keys(content)}" if isinstance(content, dict) else json_type(content)
        raise InvalidResponseError(f"expected an object with a list under `data`, got {seen}")
    data = content.pop("data")
    if not isinstance(data, list):
        is_php = isinstance(data, dict) and data and all(map(str.isdecimal, data))
        seen = "an object with numbers as keys: a PHP array with gaps" if is_php else json_type(data)
        raise InvalidResponseError(f"expected a list under `data`, got {seen}")
    return [_render(record).encode() for record in data], content


def _render(value: Any) -> str:
    """Return JSON in which numbers of any size keep their digits."""
    from trunk_transforms.parse.values import LargeNumber

    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(name)}: {_render(member)}' for name, member in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_render, value))}]"
    return value if isinstance(value, LargeNumber) else json.dumps(value)


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidResponseError(f"expected JSON, got {name}, which is not valid in JSON")


def _explain_invalid_json(body: bytes | memoryview, error: json.JSONDecodeError) -> InvalidResponseError:
    if bytes(body[:4096]).lstrip().startswith(b"<"):
        return InvalidResponseError(f"expected JSON, got a page of HTML or XML ({len(body)} bytes)")
    if error.msg.startswith("Unterminated") or _CUT.fullmatch(error.doc, error.pos):
        return _truncated(body)
    return InvalidResponseError(f"expected JSON, got a syntax error at character {error.pos} ({error.msg})")


def _truncated(body: bytes | memoryview) -> TruncatedResponseError:
    if not bytes(body[:4096]).strip():
        return TruncatedResponseError("expected JSON, got an empty response")
    return TruncatedResponseError(f"expected complete JSON, got {len(body)} bytes that end in the middle")


_CUT_CHARACTER = ("unexpected end of data", "truncated data")
_CUT = re.compile(r"\s*+(?:-|\.|[eE][+-]?|tr?u?|fa?l?s?|nu?l?|\\?u[0-9a-fA-F]{0,4})?\s*+")
"""The beginning of a word, a number or an escape, where a parser finds an error if the text ends there."""


def _name_keys(content: dict[str, Any]) -> str:
    names = [printable(key, 40) for key in list(content)[:5]]
    more = f" and {len(content) - 5} more" if len(content) > 5 else ""
    return f"the keys {', '.join(names)}{more}" if content else "no keys"


_TYPE_BY_FIRST_BYTE = {'"': "a string", "[": "an array", "t": "a boolean", "f": "a boolean", "n": "null"}


def _refuse_non_objects(records: Sequence[Raw]) -> None:
    """Raise InvalidResponseError if a record is not an object, because Arrow's JSON reader crashes on some of these."""
    views: Iterable[Any] = map(memoryview, records)
    starts: list[int] = list(map(itemgetter(0), views))
    if starts.count(ord("{")) < len(starts):
        index = next(index for index, start in enumerate(starts) if start != ord("{"))
        kind = _TYPE_BY_FIRST_BYTE.get(chr(starts[index]), "a number")
        raise InvalidResponseError(f"expected objects in `data`, got {kind} at index {index}")


_JSON_TYPES: dict[type, str] = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}


def json_type(value: object) -> str:
    """Return the JSON type of `value`, with its article."""
    return "null" if value is None else _JSON_TYPES.get(type(value), "a number")


def split_records(records: Iterable[Raw], batch_records: int, batch_bytes: int) -> Iterator[list[Raw]]:
    """Split the records into batches of at most `batch_records` records and about `batch_bytes` bytes."""
    remaining = iter(records)
    while batch := list(islice(remaining, batch_records)):
        views: Iterable[Any] = map(memoryview, batch)
        sizes = [*map(len, views)]
        if sum(sizes) <= batch_bytes:
            yield batch
            continue
        start, size = 0, 0
        for index, record_size in enumerate(sizes):
            if size and size + record_size > batch_bytes:
                yield batch[start:index]
                start, size = index, 0
            size += record_size
        yield batch[start:]
