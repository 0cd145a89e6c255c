"""Whether a response is complete, decided from the keys beside its records and from its headers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from tests.support.builders import body, trunk
from trunk_transforms.parse.claims import read_paging_headers
from trunk_transforms.parse.envelope import InvalidResponseError, Page, read_page
from trunk_transforms.parse.paging import (
    add_ids,
    find_next_page,
    find_paging_keys,
    find_undeclared_keys,
    refuse_incomplete,
)

NEXT = "https://app.famulor.de/api/x?page=2"
FIRST = "https://app.famulor.de/api/x?page=1"
FIFTEEN = [trunk(id=number) for number in range(1, 16)]


def page(*trunks: dict[str, Any], **envelope: Any) -> Page:
    return read_page(body(*trunks, **envelope))


def fifteen(**envelope: Any) -> Page:
    return page(*FIFTEEN, **envelope)


def complaint(*pages: Page) -> str:
    """Why these pages with 15 trunks are not a whole response, in one line that can be printed."""
    with pytest.raises(InvalidResponseError) as caught:
        refuse_incomplete(pages, 15)
    message = str(caught.value)
    assert message.startswith("expected ")
    assert message.isprintable()
    return message


# The next page of Laravel's paging


@pytest.mark.parametrize(
    ("paging", "next_page"),
    [
        ({"next_page_url": NEXT}, NEXT),
        ({"links": {"first": "x", "next": NEXT, "prev": None}}, NEXT),
        ({"next_page_url": None, "links": {"next": NEXT}}, NEXT),
        ({"current_page": 1, "last_page": 2}, 2),
        ({"meta": {"current_page": 1, "last_page": 3}}, 2),
        ({"next_page_url": None, "current_page": 1, "last_page": 2}, 2),
        ({"links": [{"url": NEXT, "label": "Next"}], "current_page": 1, "last_page": 2}, 2),
        ({"next_page_url": NEXT, "current_page": 1, "last_page": 3}, 2),
        ({"links": {"next": NEXT}, "meta": {"current_page": 1, "last_page": 2}}, 2),
        ({"next_page_url": NEXT, "current_page": 1}, 2),
        ({"next_page_url": NEXT, "current_page": 1, "last_page": 1}, NEXT),
        ({"current_page": "1", "last_page": "3"}, 2),
        ({"current_page": 1.0, "last_page": 3.0}, 2),
        ({}, None),
        ({"next_page_url": None, "current_page": 1, "last_page": 1}, None),
        ({"next_page_url": "", "prev_page_url": NEXT}, None),
        ({"links": {"first": NEXT, "last": NEXT, "prev": NEXT, "next": None}}, None),
        ({"links": None, "meta": None}, None),
        ({"current_page": 1, "last_page": 0}, None),
        ({"current_page": 1}, None),
        ({"total": 1, "per_page": 15}, None),
    ],
)
def test_the_next_page_is_found_by_its_number_or_else_by_its_link(
    paging: dict[str, Any], next_page: str | int | None
) -> None:
    assert find_next_page(page(**paging), 1) == next_page


@pytest.mark.parametrize(
    "paging",
    [
        {"current_page": 2, "last_page": 3},
        {"meta": {"current_page": 2, "last_page": 2}},
        {"current_page": 0, "last_page": 3},
    ],
)
def test_another_page_than_the_requested_one_is_refused(paging: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponseError):
        find_next_page(page(**paging), 1)


# What says that there is more


MORE: list[dict[str, Any]] = [
    {"has_more": True},
    {"hasMore": 1},
    {"hasmore": "true"},
    {"has_more_pages": True},
    {"next_cursor": "abc"},
    {"cursor": "abc"},
    {"next": NEXT},
    {"next": 2},
    {"nextPageToken": "abc"},
    {"@odata.nextLink": NEXT},
    {"next-page": 2},
    {"links": {"next": {"href": NEXT}}},
    {"_links": {"next": {"href": NEXT}}},
    {"links": [{"rel": "self", "href": "x"}, {"rel": "next", "href": NEXT}]},
    {"meta": {"links": [{"url": NEXT, "label": "Next &raquo;", "active": False}]}},
    {"paging": {"cursors": {"before": "a", "after": "b"}}},
    {"pageInfo": {"hasNextPage": True, "endCursor": "b"}},
    {"response_metadata": {"next_cursor": "abc"}},
    {"continuationToken": "abc"},
    {"isTruncated": True},
    {"incomplete_results": True},
    {"last": False},
    {"meta": {"isLastPage": False}},
    {"done": False, "nextRecordsUrl": "/x"},
    {"metadata": {"remainingItemCount": 2}},
    {"next_page_url": {"href": NEXT}},
    {"load_more": True},
    {"finished": False},
    {"meta": {"completed": False}},
    {"scroll_id": "abc"},
    {"LastEvaluatedKey": {"id": "x"}},
    {"hydra:view": {"hydra:next": NEXT}},
]


@pytest.mark.parametrize("envelope", MORE)
def test_a_key_that_says_that_there_is_more_is_refused_by_name(envelope: dict[str, Any]) -> None:
    key = next(iter(envelope))
    assert f"expected a complete response, got 15 records on 1 page, but `{key}" in complaint(fifteen(**envelope))


COUNTS: list[tuple[str, dict[str, Any]]] = [
    ("total", {"total": 17}),
    ("total", {"total": "17"}),
    ("total", {"total": 17.0}),
    ("total", {"total": 14}),
    ("meta.total", {"meta": {"total": 17}}),
    ("meta.total", {"meta": {"total": 0}}),
    ("meta.pagination.total", {"meta": {"pagination": {"total": 17, "limit": 15, "offset": 0}}}),
    ("count", {"count": 17}),
    ("totalCount", {"totalCount": 17}),
    ("total_count", {"total_count": 17}),
    ("page.totalElements", {"page": {"size": 15, "totalElements": 17, "number": 0}}),
    ("recordsTotal", {"recordsTotal": 17}),
    ("paging.total_results", {"paging": {"total_results": 17}}),
    ("numFound", {"numFound": 17}),
    ("number_of_trunks", {"number_of_trunks": 17}),
    ("sip_trunk_count", {"sip_trunk_count": 17}),
    ("total", {"total": " 17 "}),
    ("total", {"total": "1,700"}),
    ("total", {"total": "17 trunks"}),
    ("total", {"total": {"value": 17, "relation": "eq"}}),
    ("meta.total", {"meta": [{"total": 17}]}),
    ("meta.pagination.total", {"meta": [{"pagination": [{"total": 17}]}]}),
    ("totalItems", {"totalItems": 17}),
    ("hydra:totalItems", {"hydra:totalItems": 14}),
    ("result_info.total_count", {"result_info": {"total_count": 17}}),
    ("info.count", {"info": {"count": 17}}),
    ("summary.total", {"summary": {"total": 17}}),
    ("hits.total", {"hits": {"total": {"value": 17}}}),
    ("nbHits", {"nbHits": 17}),
]


@pytest.mark.parametrize(("key", "envelope"), COUNTS)
def test_a_total_that_is_not_what_was_read_is_refused_by_name(key: str, envelope: dict[str, Any]) -> None:
    assert f"got 15 records on 1 page, but `{key}` of the response" in complaint(fifteen(**envelope))


@pytest.mark.parametrize(
    ("key", "envelope"),
    [
        ("last_page", {"last_page": 2}),
        ("last_page", {"current_page": "one", "last_page": 2}),
        ("total_pages", {"total_pages": 2}),
        ("meta.pagination.total_pages", {"meta": {"pagination": {"total_pages": 2}}}),
        ("pages", {"pages": "2"}),
        ("pageCount", {"pageCount": 2}),
        ("nbPages", {"nbPages": 2}),
        ("invented.last_page", {"invented": {"last_page": 2}}),
        ("meta.last_page", {"meta": [{"last_page": 2}]}),
        ("links?page", {"links": [{"url": None, "label": "&laquo;"}, {"url": NEXT, "label": "Weiter &raquo;"}]}),
        ("meta.links?page", {"meta": {"links": [{"url": "/x?sort=id&page=2", "label": "2", "active": False}]}}),
        ("links.last?page", {"links": {"last": NEXT}}),
        ("_links.last?page", {"_links": {"last": {"href": NEXT}}}),
        ("hydra:view.hydra:last?page", {"hydra:view": {"hydra:last": "?page=2"}}),
        ("last_page_url?page", {"last_page_url": NEXT}),
    ],
)
def test_more_pages_than_were_read_are_refused_by_name(key: str, envelope: dict[str, Any]) -> None:
    assert f"got 15 records on 1 page, but `{key}` of the response is 2; " in complaint(fifteen(**envelope))


@pytest.mark.parametrize(
    "envelope",
    [
        {"offset": 15},
        {"from": 16, "to": 30},
        {"to": 17},
        {"page": 2},
        {"meta": {"pagination": {"current_page": 2}}},
        {"prev_page_url": NEXT},
        {"links": {"prev": NEXT}},
        {"pageInfo": {"hasPreviousPage": True}},
    ],
)
def test_a_first_page_that_is_a_later_one_is_refused(envelope: dict[str, Any]) -> None:
    assert "page" in complaint(fifteen(**envelope))


@pytest.mark.parametrize(
    "envelope",
    [
        {"success": False},
        {"success": "false"},
        {"ok": 0},
        {"status": "error"},
        {"status": "FAILED"},
        {"status": False},
        {"status": 500},
        {"meta": {"code": "429"}},
        {"error": "database is locked"},
        {"error": {"code": 7}},
        {"errors": ["x"]},
        {"errors": {"id": ["x"]}},
        {"meta": {"errors": [{"detail": "x"}]}},
        {"is_error": True},
        {"error_code": 1020},
        {"exception": "ErrorException"},
    ],
)
def test_an_error_beside_the_trunks_is_refused_by_name(envelope: dict[str, Any]) -> None:
    assert f"expected records, got a report of an error in `{next(iter(envelope))}" in complaint(fifteen(**envelope))


HARMLESS: list[dict[str, Any]] = [
    {"meta": {"request_id": "x"}},
    {"next": None, "next_cursor": "", "has_more": False, "total": 15},
    {"hasMore": "false", "nextPage": 0, "next_page_token": "null", "more": []},
    {"links": {"self": FIRST, "first": FIRST, "last": FIRST, "next": None, "prev": None, "docs": NEXT}},
    {"first_page_url": FIRST, "last_page_url": FIRST, "next_page_url": None},
    {"links": {"last": "http://[bad?page=2"}, "last_page_url": "?page=two"},
    {
        "links": [
            {"url": None, "label": "&laquo; Previous"},
            {"url": FIRST, "label": "1"},
            {"url": None, "label": "Next"},
        ]
    },
    {"_links": {"next": {"href": None}}},
    {"current_page": 1, "from": 1, "last_page": 1, "path": NEXT, "per_page": 10, "to": 15, "total": "15"},
    {"meta": {"pagination": {"total": 15, "count": 15, "per_page": 100, "total_pages": 1, "limit": 10, "offset": 0}}},
    {"pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": "a", "endCursor": "b"}},
    {"page": {"size": 20, "totalElements": 15, "totalPages": 1, "number": 0}, "last": True},
    {"limit": 10, "page_size": 10, "max_results": 100, "page": 0, "start_index": 1},
    {
        "success": True,
        "status": "ok",
        "code": 0,
        "message": "15 trunks",
        "error": None,
        "errors": [],
        "warnings": ["x"],
    },
    {"status": 200, "error": False, "exception": "", "ok": 1, "result": "success"},
    {"total": None, "count": "many", "pages": [1, 2]},
    {"account": {"status": "failed", "error": "x", "offset": 3600, "next_invoice": "2026-12-01", "total_minutes": 99}},
    {"setup": {"complete": False, "done": False}},
    {"rate_limit": {"limit": 100, "remaining": 99, "reset": 1774944000}},
    {"country_code": "US", "phone_number": 4930, "discount": 20, "next_update_at": "2026-12-01", "more_info": NEXT},
    {"included": [{"has_more": True, "total": 17}]},
    {"invented": {"sip_trunk_count": 17, "total": 17}},
    {"quota": {"total": 17, "has_more": True}, "billing": {"next": "2026-12-01"}, "usage": {"total_trunks": 17}},
    {"rateLimits": {"more": 17}, "subscription": {"next": "x"}, "plan": {"total": 99}, "balance": {"total": 99.5}},
    {"max_trunks": 50, "trunk_limit": 50, "trunk_quota": 50, "max_pages": 50, "max_total": 50, "total_limit": 50},
    {"remaining_trunks": 35, "trunks_remaining": 35, "available_trunks": 35, "total_available": 35},
    {"phone_numbers_count": 99, "total_phone_numbers": 99, "token_count": 99, "total_numbers": 99},
    {"total": "15 trunks", "count": " 15 ", "meta": [{"total": 15.0}], "results": [{"total": 17}]},
    {"total": ""},
    {"scroll_size": 100, "finished": True, "load_more": False, "scroll_id": None, "LastEvaluatedKey": {}},
]


@pytest.mark.parametrize("envelope", HARMLESS)
def test_a_harmless_key_refuses_nothing(envelope: dict[str, Any]) -> None:
    refuse_incomplete([fifteen(**envelope)], 15)


@pytest.mark.parametrize("total", ["many", "15 of 17", "15.5", 15.5, [15]])
def test_a_total_that_cannot_be_read_is_refused(total: object) -> None:
    says = "expected an integer in `total` of the response, got something else; report it"
    assert complaint(fifteen(total=total)) == says


@pytest.mark.parametrize(
    "envelope",
    [
        {"paging": {"after": "abc"}},
        {"after": "abc"},
        {"meta": {"after": "abc"}},
        {"bookmark": 17},
        {"pagination": {"page": 1, "last": 2}},
        {"page": 1, "of": 2},
        {"stats": {"total": 17}},
        {"remaining": 2},
        {"max_page": 2},
        {"size": 17},
        {"_links": [{"next": {"href": "x"}}]},
    ],
)
def test_an_undeclared_key_may_be_about_paging(envelope: dict[str, Any]) -> None:
    found = find_paging_keys([fifteen(**envelope)])
    assert {key.partition(".")[0] for key in found} == envelope.keys()


@pytest.mark.parametrize(
    "envelope",
    [
        {"total": 15, "per_page": 100, "meta": {"total": 15, "path": NEXT}, "links": {"next": NEXT}},
        {"request_id": "x", "took": 12, "version": 3, "message": "OK", "success": True, "timestamp": 1774944000},
        {"quota": {"total": 100}, "warnings": ["x"], "server": {"name": "a"}, "after": None, "remaining": 0},
    ],
)
def test_declared_and_other_keys_are_not_about_paging(envelope: dict[str, Any]) -> None:
    assert find_paging_keys([fifteen(**envelope)]) == frozenset()


def test_an_empty_page_after_the_first_is_refused() -> None:
    pages = [fifteen(current_page=1, last_page=2), page(current_page=2, last_page=2)]
    with pytest.raises(InvalidResponseError, match="expected records on page 2 of 2, got none; run again"):
        refuse_incomplete(pages, 15)


@pytest.mark.parametrize("key", ["message", "detail"])
@pytest.mark.parametrize(
    ("text", "is_refused"), [("Unauthenticated.", True), ("OK", False), ("", False), (None, False)]
)
def test_an_empty_list_with_a_message_is_the_report_of_an_error(key: str, text: str | None, is_refused: bool) -> None:
    with pytest.raises(InvalidResponseError, match=f"error in `{key}`") if is_refused else nullcontext():
        refuse_incomplete([page(**{key: text})], 0)


def test_a_key_that_would_move_the_cursor_is_named_harmlessly() -> None:
    assert "`\\x1b[31\\u202enext`" in complaint(fifteen(**{"\x1b[31\u202enext": NEXT}))


# Headers


HEADERS: list[dict[str, str]] = [
    {"Pagination": 'page="1"; total=17'},
    {"Link": f'<{NEXT}>; rel="next"'},
    {"link": f"<{NEXT}>;rel=next"},
    {"LINK": f"</style.css>; rel=preload, <{NEXT}>; title='x'; Rel = 'NEXT prefetch'"},
    {"Link": f'<{NEXT}>; rel="prev"'},
    {"Content-Range": "trunks 0-14/17"},
    {"Content-Range": "0-14/17"},
    {"Content-Range": "bytes 0-499/1234"},
    {"Content-Range": "items 15-29/30"},
    {"Content-Range": "items 2-16/*"},
    {"X-Total-Count": "17"},
    {"x-total": "17"},
    {"X-WP-Total": "17"},
    {"X-Total-Pages": "2"},
    {"X-WP-TotalPages": "2"},
    {"X-Next-Page": "2"},
    {"X-Has-More": "true"},
    {"X-Paging-NextCursor": "abc"},
    {"X-Next-Cursor": "abc"},
    {"Pagination-Count": "17"},
    {"X-Pagination": '{"TotalCount": 17, "PageSize": 15}'},
    {"X-Page": "2"},
    {"X-Offset": "15"},
    {"Link": f'<{FIRST}>; rel="first", <{NEXT}>; rel="last"'},
]


@pytest.mark.parametrize("headers", HEADERS)
def test_a_header_that_says_that_there_is_more_is_refused_by_name(headers: dict[str, str]) -> None:
    whole = read_page(body(*FIFTEEN), read_paging_headers(headers))
    assert f"but `{next(iter(headers))}" in complaint(whole)


@pytest.mark.parametrize(
    "headers",
    [
        {"Link": "</a>; rel=preload; as=style, </b?x=;rel=next>; rel=canonical"},
        {"Link": f'<{NEXT}>; rel="first", <{FIRST}>; rel="last"'},
        {"X-Page": "1", "X-Offset": "0"},
        {"Content-Range": "bytes 0-1233/1234"},
        {"Content-Range": "trunks 0-14/15"},
        {"Content-Range": "0-14/*"},
        {"Content-Range": "anything"},
        {"Pagination": "page=1; total=15"},
        {"X-Total-Count": "15", "X-Total-Pages": "1", "X-Next-Page": "", "X-Has-More": "false", "X-Per-Page": "10"},
        {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "99", "X-RateLimit-Reset": "1774944000"},
        {"NEL": '{"report_to": "cf-nel", "max_age": 604800}', "X-Pagination": "{", "Content-Length": "9999"},
        {"Server": "cloudflare", "Age": "99", "Retry-Count": "99", "X-Cache-Hits": "99", "Status": "200 OK"},
    ],
)
def test_a_harmless_header_refuses_nothing(headers: dict[str, str]) -> None:
    refuse_incomplete([read_page(body(*FIFTEEN), read_paging_headers(headers))], 15)


def test_headers_that_say_nothing_about_paging_are_left_out() -> None:
    assert read_paging_headers({"Link": "</a>; rel=preload", "Content-Length": "17", "X-Request-Id": "17"}) == {}


# Several pages


def test_only_the_last_page_must_be_the_last() -> None:
    first = page(*FIFTEEN[:10], has_more=True, next_page_url=NEXT, prev_page_url=None, count=10, total=15, to=10)
    last = page(*FIFTEEN[10:], has_more=False, prev_page_url=NEXT, count=5, total=15, last_page=2, offset=10, to=15)
    refuse_incomplete([first, last], 15)
    assert "on 2 pages, but `has_more` of the response says that there are others; run again" in complaint(
        page(), first
    )


def test_a_total_that_changes_from_page_to_page_is_refused() -> None:
    pages = [page(*FIFTEEN[:10], total=16), page(*FIFTEEN[10:], total=15)]
    assert "got 15 records on 2 pages, but `total` of the response is 16; run again" in complaint(*pages)


@pytest.mark.parametrize(
    "again",
    [trunk(id=10), trunk(id=10, nickname="other"), trunk(id=10, zz_text="\ud800"), trunk(id=10.0), trunk(id="10")],
    ids=["same", "other", "odd", "float", "text"],
)
def test_a_trunk_that_comes_again_on_a_later_page_is_refused(again: dict[str, Any]) -> None:
    ids: set[str] = set()
    add_ids(ids, page(*FIFTEEN[:10], trunk(id=10)))  # twice on one page is drift
    with pytest.raises(InvalidResponseError, match="each record once"):
        add_ids(ids, page(trunk(id=16), again))


@pytest.mark.parametrize("record", [b'{"id": 1, "a": "\xff"}', b'{"id": 1, "a": ' + b"[" * 990 + b"]" * 990 + b"}"])
def test_a_page_that_python_cannot_read_is_unusable(record: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        add_ids(set(), read_page(b'{"data": [' + record + b'], "total": 2}'))


def test_ids_are_counted_once() -> None:
    ids: set[str] = set()
    add_ids(ids, page(*FIFTEEN, *FIFTEEN))
    add_ids(ids, page())
    add_ids(ids, page(trunk(id=16)))
    assert len(ids) == 16


# Drift


def test_undeclared_keys_are_those_that_laravel_does_not_send() -> None:
    pages = [
        page(current_page=1, links={"next": NEXT}, meta={"total": 2, "request_id": "x"}, zz_invented=1),
        page(zz_invented=2, zz_other=None, meta=None),
    ]
    assert find_undeclared_keys(pages) == ("zz_invented", "meta.request_id", "zz_other")
