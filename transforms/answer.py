"""What an answer of the API looks like from outside: the envelope, its raw records, and where the next page is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnusableAnswer(ValueError):
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

    Raises UnusableAnswer if it is no JSON object with a list of objects under `data`.
    """
    if bytes(body[:3]) == _BYTE_ORDER_MARK:
        body = memoryview(body)[3:]
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        records: Sequence[bytes | msgspec.Raw] = envelope.data
    except RecursionError:
        raise UnusableAnswer("expected a list of trunks, got JSON nested too deeply to be read") from None
    except msgspec.DecodeError:
        envelope, records = _read_leniently(body)
    _refuse_non_objects(records)
    return Page(records, _next_page(envelope), _total(envelope))


def _read_leniently(body: bytes | memoryview) -> tuple[_Envelope, list[bytes]]:
    """Read what the quick parser rejects and JSON allows: lone surrogates, UTF-16 and UTF-32."""
    try:
        answer = json.loads(bytes(body), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise UnusableAnswer(
            f"expected JSON in UTF-8, got a byte that is none at offset {error.start} of {len(body)}"
        ) from None
    except json.JSONDecodeError as error:
        raise UnusableAnswer(_no_json(body, error)) from None
    except RecursionError:
        raise UnusableAnswer("expected a list of trunks, got JSON nested too deeply to be read") from None
    if not isinstance(answer, dict):
        raise UnusableAnswer(f"expected an object with a list under `data`, got {json_type(answer)}")
    if "data" not in answer:
        raise UnusableAnswer(f"expected an object with a list under `data`, got an object with {_name_keys(answer)}")
    data = answer["data"]
    if not isinstance(data, list):
        raise UnusableAnswer(f"expected a list under `data`, got {json_type(data)}")
    try:
        records = [json.dumps(record, allow_nan=False).encode() for record in data]
    except ValueError:
        raise UnusableAnswer("expected numbers that a computer can hold, got one that is out of range") from None
    paging = {key: value for key, value in answer.items() if key in _Envelope.__struct_fields__ and key != "data"}
    return _Envelope(data=[], **paging), records


def _refuse_constant(name: str) -> NoReturn:
    raise UnusableAnswer(f"expected JSON, got {name}, which JSON has not")


def _no_json(body: bytes | memoryview, error: json.JSONDecodeError) -> str:
    start = bytes(body[:512]).lstrip()
    if not start:
        return "expected JSON, got an empty answer"
    if start.startswith(b"<"):
        return f"expected JSON, got a page of HTML or XML ({len(body)} bytes)"
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
        return f"expected complete JSON, got {len(body)} bytes that end in the middle"
    return f"expected JSON, got something else from character {error.pos} on ({error.msg})"


def _name_keys(answer: dict[str, Any]) -> str:
    if not answer:
        return "no keys"
    names = [printable(key, 40) for key in list(answer)[:5]]
    more = f" and {len(answer) - 5} more" if len(answer) > 5 else ""
    return f"the keys {', '.join(names)}{more}"


def _refuse_non_objects(records: Sequence[bytes | msgspec.Raw]) -> None:
    """Raise UnusableAnswer for the first record that is no object; Arrow's JSON reader crashes on some of them."""
    for index, record in enumerate(records):
        if memoryview(record)[0] != ord("{"):
            kind = json_type(json.loads(bytes(record)))
            raise UnusableAnswer(f"expected objects in `data`, got {kind} at index {index}")


def _next_page(envelope: _Envelope) -> str | int | None:
    """Where the next page is: Laravel's paginator has it beside `data`, its resource collections under `links`."""
    links = envelope.links if isinstance(envelope.links, dict) else {}
    link = envelope.next_page_url or links.get("next")
    if isinstance(link, str):
        return link
    meta = envelope.meta if isinstance(envelope.meta, dict) else {}
    current = meta.get("current_page", envelope.current_page)
    last = meta.get("last_page", envelope.last_page)
    if _is_integer(current) and _is_integer(last) and current < last:
        return int(current) + 1
    return None


def _total(envelope: _Envelope) -> int | None:
    meta = envelope.meta if isinstance(envelope.meta, dict) else {}
    total = meta.get("total", envelope.total)
    return int(total) if _is_integer(total) else None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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


def printable(text: str, limit: int) -> str:
    """Return `text` fit for one line of a terminal or a log: at most `limit` characters, no control characters.

    Text from the API is untrusted: line breaks, escape sequences, marks that turn the reading direction and lone
    surrogates come out as their escapes.
    """
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)
