"""Every page of a response belongs to the one snapshot, or there is none."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.errors import ApiUnreachableError
from tests.support.builders import IP_TRUNK, TRUNK, body, trunk
from tests.support.faulty_server import FaultyServer, response, send
from tests.support.fetching import PATH, failure, fetch, host, ids, paths
from tests.support.runs import TOKEN
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api
    from tests.support.faulty_server import Bystander


def pages_by_next_page_url(origin: str) -> list[dict[str, Any]]:
    """A Laravel paginator, whole."""
    return [
        {
            "current_page": number,
            "last_page": 3,
            "per_page": 2,
            "total": 6,
            "next_page_url": f"{origin}{PATH}?page={number + 1}" if number < 3 else None,
            "links": [{"url": None, "label": "Next", "active": False}],
        }
        for number in (1, 2, 3)
    ]


def pages_by_links(origin: str) -> list[dict[str, Any]]:
    return [
        {"links": {"next": f"{origin}{PATH}?page={number + 1}" if number < 3 else None}, "meta": {"total": 6}}
        for number in (1, 2, 3)
    ]


def pages_by_relative_link(_: str) -> list[dict[str, Any]]:
    return [{"next_page_url": "?page=2"}, {"next_page_url": f"{PATH}?page=3"}, {}]


def pages_by_number(_: str) -> list[dict[str, Any]]:
    return [{"current_page": number, "last_page": 3} for number in (1, 2, 3)]


def pages_by_number_in_meta(_: str) -> list[dict[str, Any]]:
    return [{"meta": {"current_page": number, "last_page": 3, "total": 6}, "links": {}} for number in (1, 2, 3)]


KINDS_OF_PAGES = (
    pages_by_next_page_url,
    pages_by_links,
    pages_by_relative_link,
    pages_by_number,
    pages_by_number_in_meta,
)


def bodies_of(pages: list[dict[str, Any]]) -> list[bytes]:
    """Two trunks on each page: 1 and 2, 3 and 4, …"""
    return [body(trunk(id=2 * index + 1), trunk(id=2 * index + 2), **envelope) for index, envelope in enumerate(pages)]


@pytest.mark.parametrize("kind", KINDS_OF_PAGES)
def test_every_page_belongs_to_the_one_snapshot(api: Api, kind: Callable[[str], list[dict[str, Any]]]) -> None:
    pages = bodies_of(kind(api.origin))
    for page in pages:
        api.queue(page)
    snapshot = fetch(api.base_url)
    assert ids(snapshot) == [1, 2, 3, 4, 5, 6]
    assert paths(api) == [PATH, f"{PATH}?page=2", f"{PATH}?page=3"]
    assert {headers["Authorization"] for _, headers in api.requests} == {f"Bearer {TOKEN}"}
    assert snapshot.body_bytes == sum(map(len, pages))
    assert snapshot.body_sha256 == hashlib.sha256(b"".join(pages)).hexdigest()


def test_a_page_that_fails_once_is_fetched_again(api: Api) -> None:
    first, second, third = bodies_of(pages_by_number(""))
    api.queue(first)
    api.queue(b"", status=500)
    api.queue(second)
    api.queue(third)
    snapshot = fetch(api.base_url)
    assert ids(snapshot) == [1, 2, 3, 4, 5, 6]
    assert snapshot.body_sha256 == hashlib.sha256(first + second + third).hexdigest()


def test_a_page_that_breaks_off_is_counted_once() -> None:
    first, second, third = (response(page) for page in bodies_of(pages_by_number("")))
    with FaultyServer(send(first), send(second[:-10]), send(second), send(third)) as server:
        assert ids(fetch(server.base_url)) == [1, 2, 3, 4, 5, 6]


def test_each_page_has_its_own_attempts(api: Api) -> None:
    for page in bodies_of(pages_by_number("")):
        api.queue(b"", status=500)
        api.queue(b"", status=500)
        api.queue(page)
    assert ids(fetch(api.base_url)) == [1, 2, 3, 4, 5, 6]


def test_a_page_that_stays_broken_fails_the_whole_snapshot(api: Api) -> None:
    api.queue(bodies_of(pages_by_number(""))[0])
    api.answer(b"", status=500)
    failure(ApiUnreachableError, api.base_url)


def test_a_page_that_is_not_a_list_fails_the_whole_snapshot(api: Api) -> None:
    api.queue(bodies_of(pages_by_number(""))[0])
    api.answer(b'{"error": "Server is tired"}')
    failure(InvalidResponseError, api.base_url)
    assert len(api.requests) == 2


def test_a_link_to_the_first_page_is_unusable(api: Api) -> None:
    api.answer(body(TRUNK, next_page_url=PATH))
    assert "expected a last page" in failure(InvalidResponseError, api.base_url)
    assert len(api.requests) == 1


REPEATED: dict[str, list[dict[str, Any]]] = {
    "by a server that ignores the number": [{"current_page": 1, "last_page": 3, "total": 6}] * 3,
    "with other numbers": [{"current_page": number, "last_page": 3} for number in (1, 2, 3)],
    "with other links": [{"next_page_url": "?page=2"}, {"next_page_url": "?page=3"}, {}],
}


@pytest.mark.parametrize("envelopes", REPEATED.values(), ids=REPEATED.keys())
def test_a_page_that_is_repeated_is_unusable_at_once(api: Api, envelopes: list[dict[str, Any]]) -> None:
    for envelope in envelopes:
        api.queue(body(trunk(id=1), trunk(id=2), **envelope))
    assert failure(InvalidResponseError, api.base_url).endswith("run again")
    assert len(api.requests) == 2


def test_a_trunk_that_moves_to_another_page_while_they_are_read_makes_them_unusable(api: Api) -> None:
    for number, ids_of_page in enumerate([(1, 2, 3), (3, 4, 5)], 1):
        trunks = [trunk(id=id_, nickname=f"on page {number}") for id_ in ids_of_page]
        api.queue(body(*trunks, current_page=number, last_page=2, total=6))
    assert "expected each record once" in failure(InvalidResponseError, api.base_url)


def test_a_trunk_given_twice_on_one_of_several_pages_does_not_stand_for_another(api: Api) -> None:
    api.queue(body(trunk(id=1), trunk(id=1), current_page=1, last_page=2, total=3))
    api.queue(body(trunk(id=2), current_page=2, last_page=2, total=3))
    assert "got 2 records on 2 pages, but `total` of the response is 3" in failure(InvalidResponseError, api.base_url)


INTERNAL_ORIGINS = [
    "http://laravel-app:8080",
    "https://127.0.0.1",
    "http://{0}@evil.example",
    "ftp://[bad",
    "//internal",
]


@pytest.mark.parametrize("origin", INTERNAL_ORIGINS)
@pytest.mark.parametrize("is_simple", [False, True])
def test_pages_with_numbers_are_requested_from_the_configured_url(api: Api, origin: str, is_simple: bool) -> None:
    """A proxy before the API does not always tell it its own name, so that its links have another one."""
    for number in (1, 2, 3):
        link = f"{origin}{PATH}?page={number + 1}" if number < 3 else None
        numbers = {"current_page": number} if is_simple else {"current_page": number, "last_page": 3, "total": 3}
        api.queue(body(trunk(id=number), next_page_url=link, **numbers))
    assert ids(fetch(api.base_url)) == [1, 2, 3]
    assert paths(api) == [PATH, f"{PATH}?page=2", f"{PATH}?page=3"]


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("https://{host}/x", "got one to https:// on the same host, which must not receive the token"),
        ("http://127.0.0.1/x", "got one to port 80 of the same host, which"),
        ("http://user@{host}/x", "got one with a user or a backslash, which"),
        ("http://internal:8080/x", "got one to 'internal:8080', which"),
    ],
)
def test_the_error_says_in_what_a_link_differs(api: Api, link: str, says: str) -> None:
    api.answer(body(TRUNK, next_page_url=link.format(host=host(api))))
    message = failure(InvalidResponseError, api.base_url)
    assert says in message
    assert message.count("127.0.0.1") == 1


@pytest.mark.parametrize("form", ["http://{0}/x", "//{0}/x"])
@pytest.mark.parametrize("key", ["next_page_url", "links"])
def test_the_token_never_follows_a_paging_link_to_another_host(
    api: Api, elsewhere: Bystander, form: str, key: str
) -> None:
    link = form.format(elsewhere.host)
    api.answer(body(TRUNK, **{key: {"next": link} if key == "links" else link}))
    message = failure(InvalidResponseError, api.base_url)
    assert f"expected a paging link within {host(api)}, got one to port {elsewhere.port} of the same host" in message
    assert len(api.requests) == 1
    assert not elsewhere.was_contacted


def test_the_token_never_follows_a_redirect_from_a_later_page(api: Api, elsewhere: Bystander) -> None:
    api.queue(body(TRUNK, next_page_url="?page=2"))
    api.answer(b"", status=302, Location=f"http://{elsewhere.host}/x")
    failure(InvalidResponseError, api.base_url)
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("total", [0, 1, 3, -2])
@pytest.mark.parametrize("is_in_meta", [True, False])
def test_a_total_that_is_not_the_number_of_trunks_is_unusable(api: Api, total: int, is_in_meta: bool) -> None:
    api.answer(body(TRUNK, IP_TRUNK, **({"meta": {"total": total}} if is_in_meta else {"total": total})))
    message = failure(InvalidResponseError, api.base_url)
    assert "got 2 records on 1 page, but" in message
    assert f"total` of the response is {total}; " in message


def test_a_total_that_fits_is_fine(api: Api) -> None:
    api.answer(body(TRUNK, IP_TRUNK, total=2))
    assert ids(fetch(api.base_url)) == [42, 43]


@pytest.mark.parametrize("total", [2, 3])
def test_a_trunk_given_twice_on_the_only_page_does_not_stand_for_another(api: Api, total: int) -> None:
    api.answer(body(TRUNK, IP_TRUNK, IP_TRUNK, total=total))
    if total == 2:
        assert ids(fetch(api.base_url)) == [42, 43, 43]
    else:
        assert "got 2 records on 1 page, but `total` of the response is 3" in failure(
            InvalidResponseError, api.base_url
        )


def test_a_first_page_that_is_known_does_not_hide_the_others(api: Api) -> None:
    first, second = body(trunk(id=1), next_page_url="?page=2"), body(trunk(id=2))
    api.queue(first)
    api.queue(second)
    known = fetch(api.base_url).body_sha256
    api.queue(first)
    api.queue(body(trunk(id=3)))
    assert ids(fetch(api.base_url, known_sha256=known)) == [1, 3]


MORE_THAN_CAME: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a total elsewhere": ({"meta": {"pagination": {"total": 17, "total_pages": 2}}}, {}),
    "a flag": ({"has_more": True}, {}),
    "a cursor": ({"next_cursor": "abc"}, {}),
    "another link": ({"count": 17, "next": f"{PATH}?page=2"}, {}),
    "a link in a header": ({}, {"Link": f'<{PATH}?page=2>; rel="next"'}),
    "a range": ({}, {"Content_Range": "trunks 0-1/17"}),
    "a total in a header": ({}, {"X_Total_Count": "17"}),
}


@pytest.mark.parametrize(("envelope", "headers"), MORE_THAN_CAME.values(), ids=MORE_THAN_CAME.keys())
def test_a_response_that_says_that_there_is_more_is_unusable(
    api: Api, envelope: dict[str, Any], headers: dict[str, str]
) -> None:
    api.answer(body(TRUNK, IP_TRUNK, **envelope), 200, **headers)
    message = failure(InvalidResponseError, api.base_url)
    key = next(iter(envelope or headers)).replace("_", "-" if headers else "_")
    assert f"`{key}" in message
    assert len(api.requests) == 1


def test_a_known_body_with_a_header_that_says_that_there_is_more_is_unusable(api: Api) -> None:
    content = body(TRUNK)
    api.answer(content, X_Total_Count="17")
    failure(InvalidResponseError, api.base_url, known_sha256=hashlib.sha256(content).hexdigest())


def test_a_snapshot_lists_the_keys_that_are_not_declared(api: Api) -> None:
    api.answer(body(TRUNK, total=1, meta={"request_id": "x"}, zz_invented=None))
    (trunks,) = (fetch(api.base_url).records or {}).values()
    assert trunks.undeclared_keys == ("zz_invented", "meta.request_id")
