"""Turn the pages of a response, and decide whether they are all of it.

Records that are missing from a snapshot appear as removed. So a response is refused if anything beside its records says
that there is more than what was read. Only the paging of Laravel, which the API uses elsewhere, is followed.
"""

import json
from collections.abc import Iterable, Sequence

from trunk_transforms.parse.claims import as_integer, read_claims
from trunk_transforms.parse.envelope import InvalidResponseError, Page
from trunk_transforms.text import printable

_DECLARED = frozenset(
    {"current_page", "first_page_url", "from", "last_page", "last_page_url", "links", "meta", "next_page_url", "path"}
    | {"per_page", "prev_page_url", "to", "total"}
)


def find_next_page(page: Page, number: int) -> str | int | None:
    """Return the number of the page after page `number`, or the link to it; None if it is the last page.

    Laravel's paginator has the keys beside `data`, its collections have them in `links` and `meta`. The number is
    preferred, because the link may have the name of a host behind a proxy.

    Raises InvalidResponseError if this is not the page that was requested.
    """
    keys = page.envelope | page.nested("meta")
    links = (keys.get("next_page_url"), page.nested("links").get("next"))
    link = next((link for link in links if link and isinstance(link, str)), None)
    current, last = as_integer(keys.get("current_page")), as_integer(keys.get("last_page"))
    if current not in (None, number):
        raise InvalidResponseError(f"expected page {number}, got page {current}; run again")
    has_next = current is not None and (link is not None if last is None else current < last)
    return number + 1 if has_next else link


def add_ids(ids: set[str], page: Page) -> None:
    """Add the ids of the page. Raises InvalidResponseError if an earlier page has one of them."""
    try:
        added = {_normalize(json.loads(bytes(record), parse_int=str).get("id")) for record in page.records}
    except (ValueError, RecursionError):
        raise InvalidResponseError("expected JSON in UTF-8 that is not nested too deeply, got something else") from None
    if not ids.isdisjoint(added):
        raise InvalidResponseError("expected each record once, got some of them again on a later page; run again")
    ids |= added


def _normalize(id_: object) -> str:
    """Return the same text for 10, 10.0, 1e1 and "10"."""
    number = as_integer(id_)
    return str(id_ if number is None else number)


def has_count(page: Page) -> bool:
    """Return whether the page says how many records there are."""
    return any(claim.kind == "count" for claim in (*read_claims(page.envelope), *read_claims(page.headers)))


def refuse_incomplete(pages: Sequence[Page], record_count: int) -> None:
    """Raise InvalidResponseError if a page says that the pages are not the whole response, or reports an error.

    `record_count` is the number of different ones.
    """
    end = 0
    for number, page in enumerate(pages, 1):
        begin, end = end, end + len(page.records)
        if number > 1 and not page.records:
            raise InvalidResponseError(f"expected records on page {number} of {len(pages)}, got none; run again")
        most = {"offset": begin, "first": begin + 1, "last": end, "page": number}
        most |= {"pages": len(pages), "count": record_count}
        for claim in (*read_claims(page.envelope), *read_claims(page.headers)):
            key = f"`{printable(claim.path, 80)}` of the response"
            if claim.is_error or (claim.is_message and not record_count):
                raise InvalidResponseError(f"expected records, got a report of an error in {key}")
            has_earlier = number == 1 and claim.kind == "earlier" and claim.is_set
            has_more = number == len(pages) and claim.has_more
            count = claim.number
            if claim.is_total and count is None and claim.is_set and not isinstance(claim.value, dict):
                raise InvalidResponseError(f"expected an integer in {key}, got something else; report it")
            missing = 0 if count is None else count - most.get(claim.kind or "", count)
            if has_earlier or has_more or missing > 0 or (missing and claim.is_total):
                says = "says that there are others" if count is None else f"is {count}"
                read = f"{record_count} record{'s' * (record_count != 1)} on {len(pages)} page{'s' * (len(pages) > 1)}"
                raise InvalidResponseError(
                    f"expected a complete response, got {read}, but {key} {says}; run again, and report it if it stays"
                )


def find_undeclared_keys(pages: Iterable[Page]) -> tuple[str, ...]:
    """Return the keys of the envelopes that are neither `data` nor keys of Laravel's paging, in order."""
    keys: dict[str, None] = {}
    for page in pages:
        keys |= dict.fromkeys([*page.envelope, *(f"meta.{key}" for key in page.nested("meta") if key not in _DECLARED)])
    return tuple(key for key in keys if key not in _DECLARED)


def find_paging_keys(pages: Iterable[Page]) -> frozenset[str]:
    """Return the undeclared keys that are or have a key about paging that is set, though its meaning is unknown."""
    claims = (claim for page in pages for claim in read_claims(page.envelope) if claim.may_page)
    names = {".".join(claim.path.split(".")[: 1 + claim.path.startswith("meta.")]) for claim in claims}
    return frozenset(names.difference(_DECLARED, (f"meta.{key}" for key in _DECLARED)))
