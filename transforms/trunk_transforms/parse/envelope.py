"""What an answer of the API looks like from outside: the envelope, its raw records, and where the next page is."""

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
    """The API answered something that is no list of trunks; the message says what was expected and what came."""


@dataclass(frozen=True)
class Page:
    """One answer: its records as the bytes they were sent in, and what the paging keys say.

    `next_page` is the link to the next page, or its number where only numbers are given; null on the last page.
    `total` is how many records all pages together should hold, where the answer says so.
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
    """Return the records and the paging of one complete answer.

    Raises InvalidResponseError if it is no JSON object with a list of objects under `data`, or if its paging keys cannot
    be followed: a page that is left out would look like trunks that are gone.
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
        raise InvalidResponseError("expected a list of trunks, got JSON nested too deeply to be read") from None
    _refuse_non_objects(records)
    return Page(records, _next_page(envelope), _total(envelope))


def _read_leniently(body: bytes | memoryview) -> tuple[_Envelope, list[bytes]]:
    """Read what the quick parser rejects and JSON allows: lone surrogates, UTF-16 and UTF-32."""
    try:
        answer = json.loads(bytes(body), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidResponseError(
            f"expected JSON in UTF-8, got a byte that is none at offset {error.start} of {len(body)}"
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidResponseError(_no_json(body, error)) from None
    except InvalidResponseError:
        raise
    except ValueError:
        raise InvalidResponseError(_OUT_OF_RANGE) from None
    if not isinstance(answer, dict):
        raise InvalidResponseError(f"expected an object with a list under `data`, got {json_type(answer)}")
    if "data" not in answer:
        raise InvalidResponseError(
            f"expected an object with a list under `data`, got an object with {_name_keys(answer)}"
        )
    data = answer["data"]
    if not isinstance(data, list):
        raise InvalidResponseError(f"expected a list under `data`, got {json_type(data)}")
    try:
        records = [json.dumps(record, allow_nan=False).encode() for record in data]
    except ValueError:
        raise InvalidResponseError(_OUT_OF_RANGE) from None
    paging = {key: value for key, value in answer.items() if key in _Envelope.__struct_fields__ and key != "data"}
    return _Envelope(data=[], **paging), records


_OUT_OF_RANGE = "expected numbers that a computer can hold, got one that is out of range"


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidResponseError(f"expected JSON, got {name}, which JSON has not")


def _no_json(body: bytes | memoryview, error: json.JSONDecodeError) -> str:
    start = bytes(body[:4096]).lstrip()
    if not start:
        return "expected JSON, got an empty answer"
    if start.startswith(b"<"):
        return f"expected JSON, got a page of HTML or XML ({len(body)} bytes)"
    rest = error.doc[error.pos :].strip()
    is_cut = not rest or error.msg.startswith("Unterminated") or any(w.startswith(rest) for w in _JSON_WORDS)
    if is_cut:
        return f"expected complete JSON, got {len(body)} bytes that end in the middle"
    return f"expected JSON, got something else from character {error.pos} on ({error.msg})"


_JSON_WORDS = ("true", "false", "null")


def _name_keys(answer: dict[str, Any]) -> str:
    if not answer:
        return "no keys"
    names = [printable(key, 40) for key in list(answer)[:5]]
    more = f" and {len(answer) - 5} more" if len(answer) > 5 else ""
    return f"the keys {', '.join(names)}{more}"


_TYPE_BY_FIRST_BYTE = {'"': "a string", "[": "an array", "t": "a boolean", "f": "a boolean", "n": "null"}


def _refuse_non_objects(records: Sequence[bytes | msgspec.Raw]) -> None:
    """Raise InvalidResponseError for the first record that is no object; Arrow's JSON reader crashes on some of them."""
    views: Iterable[Any] = map(memoryview, records)
    starts: list[int] = list(map(itemgetter(0), views))
    if starts.count(ord("{")) < len(starts):
        index = next(index for index, start in enumerate(starts) if start != ord("{"))
        kind = _TYPE_BY_FIRST_BYTE.get(chr(starts[index]), "a number")
        raise InvalidResponseError(f"expected objects in `data`, got {kind} at index {index}")


def _next_page(envelope: _Envelope) -> str | int | None:
    """Where the next page is: Laravel's paginator has it beside `data`, its resource collections under `links`."""
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
    """Return a count that may come as 3, 3.0 or "3". Raises InvalidResponseError for anything else but null."""
    match value:
        case None:
            return None
        case bool():
            pass
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str() if value.isascii() and value.isdigit() and len(value) < 20:
            return int(value)
    raise InvalidResponseError(f"expected a number in the paging keys, got {json_type(value)} that is none")


def _total(envelope: _Envelope) -> int | None:
    """Return what all pages together hold; a `total` that is no count only means that it cannot be checked."""
    meta = envelope.meta if isinstance(envelope.meta, dict) else {}
    try:
        return _page_number(meta.get("total", envelope.total))
    except InvalidResponseError:
        return None


def json_type(value: object) -> str:
    """Return what JSON calls the type of `value`, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "a number"
