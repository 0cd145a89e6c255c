"""Read what the keys of an envelope and the headers of a response say: whether there is more, how much, or an error.

Names are compared as lower-case letters, so that `has_more`, `hasMore` and `X-Has-More` are the same name. A name with
any word that is not about paging, such as `next_invoice` or `total_minutes`, says nothing.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PAGING = re.compile(
    "x?(?:all|are|at|available|batch|collection|continuation|count|current|cursors?|data|docs|documents?|elements?"
    "|entries|entry|exists?|filtered|found|from|has|have|href|id|in|incomplete|index|is|items?|key|last|left|links?|list"
    "|marker|match|matches|matching|max|meta|more|next|numbers?|num|objects?|odata|of|offset|overall|pager?|pages"
    "|pagination|partial|phone|position|prev|previous|query|records?|remaining|response|results?|rows?|set|sip|size|skip"
    "|start|there|to|token|totals?|truncated|trunks?|uri|url|wp)+"
)
_KINDS = {
    "earlier": re.compile("prev"),
    "more": re.compile(
        "(?<!current)(?<!last)(?<!start)"
        "(?:continuation|cursor|incomplete|more|next|partial|truncated|remaining.|[^x]remaining)"
    ),
    "pages": re.compile("pages(?!ize)|(?:last|max|num|total)page$|page(?:count|total)"),
    "count": re.compile("total|count|overall|num(?!ber)|numbers?of"),
    "offset": re.compile("^(?:offset|skip)$"),
    "first": re.compile("^(?:from|start|startat|startindex)$"),
    "last": re.compile("^to$"),
    "page": re.compile("^(?:current)?page(?:index|number)?$"),
}
_GENERAL_KINDS = frozenset({"offset", "first", "last", "page"})
"""Kinds whose names also have other meanings in an object of its own, such as the offset of a time zone."""

_ENVELOPES = re.compile("(?:response)?meta(?:data)?|page(?:info|r|s)?|pagination|paginator|paging|data|links?|results?")
_ERRORS = re.compile(
    "(?:is|has)?(?:error|exception|failure|fault)s?(?:codes?|descriptions?|details?|list|messages?|msg|text)?"
)
_SUCCESSES = re.compile("(?:is|was)?(?:ok|success|successful|succeeded)")
_STATUSES = re.compile("(?:http)?(?:code|result|status|statuscode)")
_FAILURES = re.compile("denied|errors?|exception|fail|failed|failures?|false|incomplete|ko|no|nok|partial|[45][0-9]{2}")
_FINISHED = re.compile("(?:is)?(?:complete|done|end|eof|last|lastpage)")
_EMPTY = frozenset({"", "0", "0.0", "false", "no", "none", "null"})
_LINK_RELATION = re.compile(r"""<[^<>]*>|;\s*rel\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;,]+))""", re.IGNORECASE)
_RANGE = re.compile(r"(?:[a-z-]+ +)?(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})?", re.IGNORECASE)


class Claim(NamedTuple):
    """A key beside the records, and its value. `is_general` if it describes the response as a whole."""

    path: str
    name: str
    value: Any
    is_general: bool

    @property
    def kind(self) -> str | None:
        """What the key says about paging, one of `_KINDS`; None if it says nothing."""
        if not _PAGING.fullmatch(self.name):
            return None
        kind = next((kind for kind, pattern in _KINDS.items() if pattern.search(self.name)), None)
        return None if kind in _GENERAL_KINDS and not self.is_general else kind

    @property
    def is_set(self) -> bool:
        """Whether the value is neither null, false, zero nor empty."""
        value = self.value
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        return any(bool(v) if isinstance(v, dict | list) else _plain(v) not in _EMPTY for v in inner)

    @property
    def has_more(self) -> bool:
        """Whether there are more records after these."""
        if self.is_general and _FINISHED.fullmatch(self.name):
            return _plain(self.value) == "false"
        return self.kind == "more" and self.is_set

    @property
    def is_total(self) -> bool:
        """Whether the value must be the number of all records, and not only a number up to it."""
        return self.kind == "count" and self.is_general and "total" in self.name

    @property
    def is_error(self) -> bool:
        """Whether the response reports an error."""
        if not self.is_general or _ERRORS.fullmatch(self.name):
            return self.is_general and self.is_set
        is_failure = bool(_FAILURES.fullmatch(_plain(self.value)))
        if _SUCCESSES.fullmatch(self.name):
            return is_failure or (self.value is not None and not self.is_set)
        return is_failure and bool(_STATUSES.fullmatch(self.name))


def read_claims(content: Mapping[str, Any]) -> Iterator[Claim]:
    """Yield the keys of the object and of the objects in it."""
    waiting: list[tuple[str, bool, Mapping[str, Any]]] = [("", True, content)]
    while waiting:
        parent, is_general, values = waiting.pop()
        for key, value in values.items():
            path, name = f"{parent}.{key[:80]}".lstrip("."), _name(key)
            yield Claim(path, name, value, is_general)
            if isinstance(value, dict):
                waiting.append((path, is_general and bool(_ENVELOPES.fullmatch(name)), value))
            elif isinstance(value, list) and name.endswith("links"):
                for link in (link for link in value if isinstance(link, dict)):
                    if "next" in _name(str(link.get("rel") or link.get("label"))):
                        yield Claim(path, "next", link.get("href") or link.get("url"), is_general)


def read_paging_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the headers that say something about paging, in the form of an envelope."""
    found: dict[str, Any] = {}
    for key, value in headers.items():
        name = _name(key)
        if name == "link":
            relations = " ".join("".join(parts) for parts in _LINK_RELATION.findall(value)).lower().split()
            found[key] = {relation: True for relation in relations if relation in ("next", "prev", "previous")}
        elif name == "contentrange" and (parts := _RANGE.match(value)):
            first, last, total = (int(part or 0) for part in parts.groups())
            found[key] = {"next": True} if first or last + 1 < total else {}
        elif value.startswith("{") and _PAGING.fullmatch(name):
            with suppress(msgspec.DecodeError):
                found[key] = msgspec.json.decode(value, type=dict[str, Any])
        elif Claim(key, name, value, True).kind is not None:
            found[key] = value
    return {key: value for key, value in found.items() if value != {}}


def as_integer(value: object) -> int | None:
    """Return an integer that may be sent as 3, 3.0 or "3"; None if it is something else."""
    try:
        return msgspec.convert(value, int | None, strict=False)
    except msgspec.ValidationError:
        return None


def _name(key: str) -> str:
    return re.sub("[^a-z]", "", key[:80].lower())


def _plain(value: object) -> str:
    return "" if isinstance(value, dict | list) else str(value).strip().lower()
