"""Redirects are followed within the origin, and the token never leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.builders import TRUNK, body
from tests.support.fetching import GOOD, PATH, failure, fetch, host, ids, paths
from tests.support.runs import TOKEN
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.faulty_server import Bystander


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("is_relative", [True, False])
def test_a_redirect_within_the_origin_is_followed_with_the_token(api: Api, status: int, is_relative: bool) -> None:
    api.queue(b"", status=status, Location="/v2/trunks?all=1" if is_relative else f"{api.origin}/v2/trunks?all=1")
    api.answer(GOOD)
    assert ids(fetch(api.base_url)) == [42, 43]
    assert paths(api) == [PATH, "/v2/trunks?all=1"]
    assert api.requests[1][1]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_never_follows_a_redirect_to_another_origin(api: Api, elsewhere: Bystander, status: int) -> None:
    api.answer(b"", status=status, Location=f"http://{elsewhere.host}{PATH}")
    message = failure(InvalidResponseError, api.base_url)
    assert f"a redirect within {host(api)}, got one to port {elsewhere.port} of the same host, which" in message
    assert "sources.famulor.base_url" in message
    assert len(api.requests) == 1
    assert not elsewhere.was_contacted


@pytest.mark.parametrize(
    "form",
    [
        "//{elsewhere}/x",
        "http://{api}@{elsewhere}/x",
        "http://{api}\\@{elsewhere}/x",
        "http://user:pass@{elsewhere}/x",
        "HTTP://{elsewhere}/x",
        " http://{elsewhere}/x",
        "http://{elsewhere}#@{api}/x",
        "http://{elsewhere}?@{api}/x",
    ],
)
def test_no_spelling_of_another_origin_gets_the_token(api: Api, elsewhere: Bystander, form: str) -> None:
    link = form.format(api=host(api), elsewhere=elsewhere.host)
    api.queue(b"", status=302, Location=link)
    message = failure(InvalidResponseError, api.base_url)
    assert "pass@" not in message
    api.answer(body(next_page_url=link.strip()))
    failure(InvalidResponseError, api.base_url)
    assert len(api.requests) == 2
    assert not elsewhere.was_contacted


def test_the_same_port_under_another_name_is_another_origin(api: Api) -> None:
    api.answer(b"", status=302, Location=f"{api.origin.replace('127.0.0.1', 'localhost')}{PATH}")
    assert "which must not receive the token" in failure(InvalidResponseError, api.base_url)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "location",
    ["https://{host}/x", "ftp://{host}/x", "file:///etc/passwd", "javascript:alert(1)", "mailto:a@b", "data:,x"],
)
def test_a_redirect_to_another_scheme_is_refused(api: Api, location: str) -> None:
    api.answer(b"", status=302, Location=location.format(host=host(api)))
    assert "which must not receive the token" in failure(InvalidResponseError, api.base_url)
    assert len(api.requests) == 1


def test_a_redirect_loop_ends(api: Api) -> None:
    api.answer(b"", status=302, Location=PATH)
    assert failure(InvalidResponseError, api.base_url) == "expected a response, got more than 5 redirects"
    assert len(api.requests) == 6


def test_a_redirect_without_a_target_is_unusable(api: Api) -> None:
    api.answer(b"", status=302)
    assert failure(InvalidResponseError, api.base_url) == "expected status 200, got 302"


def test_a_fault_behind_a_redirect_is_a_retry_from_the_start(api: Api) -> None:
    api.queue(b"", status=307, Location="/moved")
    api.queue(b"", status=500)
    api.queue(b"", status=307, Location="/moved")
    api.answer(GOOD)
    assert ids(fetch(api.base_url)) == [42, 43]
    assert paths(api) == [PATH, "/moved"] * 2


def test_a_crooked_link_that_parsers_read_differently_gets_no_token(api: Api, elsewhere: Bystander) -> None:
    host = api.origin.removeprefix("http://")
    for link in (f"http://{elsewhere.host}\\@{host}/x", f"http://{elsewhere.host}#@{host}/x", f"http://a@{host}/x"):
        api.answer(b"", 302, Location=link)
        failure(InvalidResponseError, api.base_url)
        api.answer(body(TRUNK, next_page_url=link))
        failure(InvalidResponseError, api.base_url)
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("link", ["http://[bad", "//[x"])
def test_a_link_that_is_not_a_url_is_unusable(api: Api, link: str) -> None:
    api.answer(b"", 302, Location=link)
    assert "something else" in failure(InvalidResponseError, api.base_url)
    api.answer(body(TRUNK, next_page_url=link))
    assert "something else" in failure(InvalidResponseError, api.base_url)
