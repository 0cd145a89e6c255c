"""Parse the envelope of a response: its raw records and the link to the next page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class InvalidResponseError(ValueError):
    """The response is not a list of trunks. The message says what was expected and what was received."""


@dataclass(frozen=True)
class Page:
    """One page of a response: its records as raw bytes, and its paging keys.

    `next_page` is the link to the next page, or its number if the page has no links; None on the last page. `total` is
    the number of records on all pages, if the page has it.
    """

    records: Sequence[bytes | msgspec.Raw]
    next_page: str | int | None
    total: int | None


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]
    next_page_url: Any = None
    current_page: Any = None
    last_page: Any = None
    total: Any = None
    links: Any = None
    meta: Any = None


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_page(body: bytes | memoryview) -> Page:
    """Return the records and the paging keys of one complete page.

    Raises InvalidResponseError if the body is not a JSON object with a list of objects under `data`, or if its paging
    keys are not valid, because the trunks of a skipped page would appear as removed.
    """
    if bytes(body[:3]) == _BYTE_ORDER_MARK:
        body = memoryview(body)[3:]
    records: Sequence[bytes | msgspec.Raw]
    try:
        try:
            envelope = msgspec.json.decode(body, type=_Envelope)
            records = envelope.data
        except (msgspec.DecodeError, ValueError):
            envelope, records = _read_leniently(body)
    except RecursionError:
        raise InvalidResponseError("expected a list of trunks, got JSON that is nested too deeply") from None
    _refuse_non_objects(records)
    return Page(records, _next_page(envelope), _total(envelope))


def _read_leniently(body: bytes | memoryview) -> tuple[_Envelope, list[bytes]]:
    """Read valid JSON that msgspec rejects: lone surrogates, UTF-16 and UTF-32."""
    from trunk_transforms.parse.values import read_integer, read_number  # imports Arrow

    try:
        content = json.loads(
            bytes(body), parse_float=read_number, parse_int=read_integer, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise InvalidResponseError(
            f"expected JSON in UTF-8, got an invalid byte at offset {error.start} of {len(body)}"
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidResponseError(_explain_invalid_json(body, error)) from None
    if not isinstance(content, dict) or "data" not in content:
        seen = f"an object with {_name_keys(content)}" if isinstance(content, dict) else json_type(content)
        raise InvalidResponseError(f"expected an object with a list under `data`, got {seen}")
    data = content["data"]
    if not isinstance(data, list):
        is_php = isinstance(data, dict) and data and all(map(str.isdecimal, data))
        seen = "an object with numbers as keys: a PHP array with gaps" if is_php else json_type(data)
        raise InvalidResponseError(f"expected a list under `data`, got {seen}")
    paging = {key: value for key, value in content.items() if key in _Envelope.__struct_fields__ and key != "data"}
    return _Envelope(data=[], **paging), [_render(record).encode() for record in data]


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


def _explain_invalid_json(body: bytes | memoryview, error: json.JSONDecodeError) -> str:
    start = bytes(body[:4096]).lstrip()
    if not start:
        return "expected JSON, got an empty response"
    if start.startswith(b"<"):
        return f"expected JSON, got a page of HTML or XML ({len(body)} bytes)"
    rest = error.doc[error.pos :].strip()
    is_cut = not rest or error.msg.startswith("Unterminated") or any(w.startswith(rest) for w in _JSON_WORDS)
    if is_cut:
        return f"expected complete JSON, got {len(body)} bytes that end in the middle"
    return f"expected JSON, got a syntax error at character {error.pos} ({error.msg})"


_JSON_WORDS = ("true", "false", "null")


def _name_keys(content: dict[str, Any]) -> str:
    names = [printable(key, 40) for key in list(content)[:5]]
    more = f" and {len(content) - 5} more" if len(content) > 5 else ""
    return f"the keys {', '.join(names)}{more}" if content else "no keys"


_TYPE_BY_FIRST_BYTE = {'"': "a string", "[": "an array", "t": "a boolean", "f": "a boolean", "n": "null"}


def _refuse_non_objects(records: Sequence[bytes | msgspec.Raw]) -> None:
    """Raise InvalidResponseError if a record is not an object, because Arrow's JSON reader crashes on some of these."""
    views: Iterable[Any] = map(memoryview, records)
    starts: list[int] = list(map(itemgetter(0), views))
    if starts.count(ord("{")) < len(starts):
        index = next(index for index, start in enumerate(starts) if start != ord("{"))
        kind = _TYPE_BY_FIRST_BYTE.get(chr(starts[index]), "a number")
        raise InvalidResponseError(f"expected objects in `data`, got {kind} at index {index}")


def _next_page(envelope: _Envelope) -> str | int | None:
    """Return the link or number of the next page. Laravel's paginator puts it beside `data`, collections in `links`."""
    links = envelope.links if isinstance(envelope.links, dict) else {}
    for link in (envelope.next_page_url, links.get("next")):
        if isinstance(link, str) and link:
            return link
        if link not in (None, ""):
            raise InvalidResponseError(f"expected a link to the next page, got {json_type(link)}")
    meta = envelope.meta if isinstance(envelope.meta, dict) else {}
    current = _page_number(meta.get("current_page", envelope.current_page))
    last = _page_number(meta.get("last_page", envelope.last_page))
    return current + 1 if current is not None and last is not None and current < last else None


def _page_number(value: object) -> int | None:
    """Return a number that may be sent as 3, 3.0 or "3", or None for null. Raises InvalidResponseError."""
    try:
        return msgspec.convert(value, int | None, strict=False)
    except msgspec.ValidationError:
        raise InvalidResponseError(f"expected an integer in the paging keys, got {json_type(value)}") from None


def _total(envelope: _Envelope) -> int | None:
    """Return the number of records on all pages; None, which skips the check, if `total` is not a number."""
    meta = envelope.meta if isinstance(envelope.meta, dict) else {}
    try:
        return _page_number(meta.get("total", envelope.total))
    except InvalidResponseError:
        return None


_JSON_TYPES: dict[type, str] = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}


def json_type(value: object) -> str:
    """Return the JSON type of `value`, with its article."""
    return "null" if value is None else _JSON_TYPES.get(type(value), "a number")
