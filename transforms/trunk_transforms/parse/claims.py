"""Read what the keys of an envelope and the headers of a response say: whether there is more, how much, or an error.

Names are compared as lower-case letters, so that `has_more`, `hasMore` and `X-Has-More` are the same name. A name with
any word that is not about paging, such as `next_invoice` or `total_minutes`, says nothing. A prefix such as `hydra:`
does not matter.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

# Patterns are texts, because compiling all of them takes a hundredth of a small run, which needs a few.
_COUNT_WORDS = (
    "all|collection|count|data|docs|documents?|elements?|entries|entry|filtered|found|hits?|items?|list|match"
    "|matches|matching|meta|nb|num(?:bers?of)?|objects?|odata|overall|pagination|query|records?|response|results?|rows?"
    "|set|sip|size|totals?|trunks?|wp"
)
"""The words of a count of the records, not of something else that is limited or counted, such as phone numbers."""
_COUNT = f"x?(?:{_COUNT_WORDS})+"
_PAGING_WORDS = (
    f"{_COUNT_WORDS}|are|at|available|batch|continuation|current|cursors?|evaluated|exists?|from|has|have|href|id|in"
    "|incomplete|index|is|key|last|left|links?|load|marker|more|next|numbers?|of|offset|pager?|pages|paging|partial"
    "|phone|position|prev|previous|remaining|scroll|skip|start|there|to|token|truncated|uri|url"
)
_PAGING = f"x?(?:{_PAGING_WORDS})+"
_MAY_PAGE = f"x?(?:{_PAGING_WORDS}|after|anchor|before|bookmark|chunk|max|min|part|resume|segment|window)+"

_KINDS = {
    "earlier": "prev",
    "more": (
        "(?<!current)(?<!last)(?<!start)"
        "(?:continuation|cursor|incomplete|more|next|partial|scrollid|truncated"
        "|remaining(?:item|page|record|result|row))|lastevaluated"
    ),
    "pages": "pages(?!ize)|(?:last|num|total)page$|page(?:count|total)",
    "count": "total|count|overall|num(?!ber)|numbers?of|^nb",
    "offset": "^x?(?:offset|skip)$",
    "first": "^(?:from|start|startat|startindex)$",
    "last": "^to$",
    "page": "^x?(?:current)?page(?:index|number)?$",
}
_SPECIFIC_KINDS = frozenset({"earlier", "more", "pages"})
"""Kinds whose names mean the same in every object. Others do not, such as the offset of a time zone."""

_PAGING_OBJECTS = (
    "x?(?:(?:list|response|results?)?(?:info|meta(?:data)?)|hits|page(?:info|r|s)?|pagination|paginator|paging|summary)"
)
_ENVELOPES = _PAGING_OBJECTS + "|contentrange|data|links?|list|response|results?|view"
_OTHER_OBJECTS = "account|balance|billing|limit|plan|quota|subscription|usage"
_PAGE_LINK = r"(?i)(?:links?|view)\.(?:[a-z]+:)?(?:last|self)$|page_?(?:link|url)$"
_ERRORS = "(?:is|has)?(?:error|exception|failure|fault)s?(?:codes?|descriptions?|details?|list|messages?|msg|text)?"
_SUCCESSES = "(?:is|was)?(?:ok|success|successful|succeeded)"
_STATUSES = "(?:http)?(?:code|result|status|statuscode)"
_FAILURES = "denied|errors?|exception|fail|failed|failures?|false|incomplete|ko|no|nok|partial|[45][0-9]{2}"
_FINISHED = "(?:is)?(?:completed?|done|end|eof|finished|last|lastpage)"
_MESSAGES = "(?:detail|message|msg|reason)s?"
_EMPTY = frozenset({"", "0", "0.0", "false", "no", "none", "null"})
_LINK_RELATION = r"""(?i)<([^<>]*)>|;\s*rel\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;,]+))"""
_PAIR = r"""([\w-]+)\s*=\s*["']?([^\s"',;]+)"""
_RANGE = r"(?i)(?:[a-z-]+ +)?(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})?"
_THOUSANDS = "(?<=[0-9])[,_' ](?=[0-9]{3}(?![0-9]))"


class Claim(NamedTuple):
    """A key beside the records, and its value. `is_general` if it describes the response as a whole."""

    path: str
    name: str
    value: Any
    is_general: bool

    @property
    def kind(self) -> str | None:
        """What the key says about paging, one of `_KINDS`; None if it says nothing."""
        if not re.fullmatch(_PAGING, self.name):
            return None
        kind = next((kind for kind, pattern in _KINDS.items() if re.search(pattern, self.name)), None)
        if kind == "count" and not re.fullmatch(_COUNT, self.name):
            return None
        return kind if self.is_general or kind in _SPECIFIC_KINDS else None

    @property
    def may_page(self) -> bool:
        """Whether the key is about paging, even if its meaning is unknown, and its value is set."""
        return bool(re.fullmatch(_MAY_PAGE, self.name)) and self.is_set

    @property
    def number(self) -> int | None:
        """The integer that the value is or, if it counts the records, the only one in its text; None without one."""
        number, text = as_integer(self.value), self.value if isinstance(self.value, str) else ""
        if number is None and self.kind == "count":
            digits = re.findall("[0-9]+", re.sub(_THOUSANDS, "", text))
            number = as_integer(digits[0]) if len(digits) == 1 else None
        return number

    @property
    def is_set(self) -> bool:
        """Whether the value is neither null, false, zero nor empty."""
        value = self.value
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        return any(bool(v) if isinstance(v, dict | list) else _plain(v) not in _EMPTY for v in inner)

    @property
    def has_more(self) -> bool:
        """Whether there are more records after these."""
        if self.is_general and re.fullmatch(_FINISHED, self.name):
            return _plain(self.value) == "false"
        return self.kind == "more" and self.is_set

    @property
    def is_total(self) -> bool:
        """Whether the value must be the number of all records, and not only a number up to it."""
        return self.kind == "count" and "total" in self.name

    @property
    def is_message(self) -> bool:
        """Whether the value is a message: text that is more than a word such as OK."""
        is_text = self.is_general and isinstance(self.value, str) and bool(re.fullmatch(_MESSAGES, self.name))
        return is_text and self.is_set and not re.fullmatch(_SUCCESSES, _plain(self.value).rstrip(".!"))

    @property
    def is_error(self) -> bool:
        """Whether the response reports an error."""
        if not self.is_general or re.fullmatch(_ERRORS, self.name):
            return self.is_general and self.is_set
        is_failure = bool(re.fullmatch(_FAILURES, _plain(self.value)))
        if re.fullmatch(_SUCCESSES, self.name):
            return is_failure or (self.value is not None and not self.is_set)
        return is_failure and bool(re.fullmatch(_STATUSES, self.name))


def read_claims(content: Mapping[str, Any]) -> Iterator[Claim]:
    """Yield the keys of the object and of the objects in it."""
    waiting: list[tuple[str, bool, Mapping[str, Any]]] = [("", True, content)]
    while waiting:
        parent, is_general, values = waiting.pop()
        for key, value in values.items():
            path, name = f"{parent}.{key[:80]}".lstrip("."), _name(key)
            yield Claim(path, name, _unwrap(value), is_general)
            if re.search(_PAGE_LINK, path):
                yield from _read_page_number(path, value, is_general)
            if isinstance(value, dict) and not re.search(_OTHER_OBJECTS, name):
                waiting.append((path, is_general and bool(re.fullmatch(_ENVELOPES, name)), value))
            elif isinstance(value, list) and is_general and re.fullmatch(_PAGING_OBJECTS, name):
                waiting += [(path, True, item) for item in value if isinstance(item, dict)]
            elif isinstance(value, list) and name.endswith("links"):
                for link in (link for link in value if isinstance(link, dict)):
                    url = link.get("href") or link.get("url")
                    if "next" in _name(str(link.get("rel") or link.get("label"))):
                        yield Claim(path, "next", url, is_general)
                    yield from _read_page_number(path, url, is_general)


def _unwrap(value: Any) -> Any:
    """Return the 17 of `{"value": 17}`, and anything else as it is."""
    inner = value.get("value") if isinstance(value, dict) else None
    return value if inner is None else inner


def _read_page_number(path: str, url: object, is_general: bool) -> Iterator[Claim]:
    """Yield the number of the page that the URL leads to, as a number of pages."""
    if isinstance(url, dict):
        url = url.get("href")
    with suppress(ValueError):
        for number in parse_qs(urlsplit(url).query).get("page", ()) if isinstance(url, str) else ():
            yield Claim(f"{path}?page", "pages", number, is_general)


def read_paging_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the headers that say something about paging, in the form of an envelope."""
    found: dict[str, Any] = {}
    for key, value in headers.items():
        name = _name(key)
        if name == "link":
            found[key] = _read_links(value)
        elif name == "contentrange" and (parts := re.match(_RANGE, value)):
            first, last, total = (int(part or 0) for part in parts.groups())
            found[key] = {"next": True} if first or last + 1 < total else {}
        elif value.startswith("{") and re.fullmatch(_PAGING, name):
            with suppress(msgspec.DecodeError):
                found[key] = msgspec.json.decode(value, type=dict[str, Any])
        elif Claim(key, name, value, True).kind is not None:
            found[key] = value
        elif re.fullmatch(_PAGING_OBJECTS, name):
            found[key] = dict(re.findall(_PAIR, value))
    return {key: value for key, value in found.items() if value != {}}


def _read_links(header: str) -> dict[str, str | bool]:
    """Return the URLs of the header by their relations, if these are about paging."""
    url, found = "", dict[str, str | bool]()
    for target, *relations in re.findall(_LINK_RELATION, header):
        url = target or url
        names = "".join(relations).lower().split()
        found |= {name: url or True for name in names if name in ("last", "next", "prev", "previous")}
    return found


def as_integer(value: object) -> int | None:
    """Return an integer that may be sent as 3, 3.0, "3" or "1,700"; None if it is something else."""
    if isinstance(value, str):
        value = re.sub(_THOUSANDS, "", value.strip())
    try:
        return msgspec.convert(value, int | None, strict=False)
    except msgspec.ValidationError:
        return None


def _name(key: str) -> str:
    return re.sub("^[^:]*:|[^a-z]", "", key[:80].lower())


def _plain(value: object) -> str:
    return "" if isinstance(value, dict | list) else str(value).strip().lower()
