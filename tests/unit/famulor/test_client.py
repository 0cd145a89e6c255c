"""One request for a snapshot: where it may go, what it carries, and which responses are none."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from sip_trunks import __version__
from sip_trunks.core.errors import ApiRefusedError, ApiUnreachableError, ConfigError
from tests.support.builders import IP_TRUNK, TRUNK, raw
from tests.support.faulty_server import FaultyServer, response, send
from tests.support.fetching import ACCOUNT, GOOD, NOT_TO_BE_QUOTED, PATH, failure, fetch, host, paths, records
from tests.support.runs import TOKEN
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.faulty_server import Bystander


# The request


def test_the_snapshot_holds_the_records_as_they_were_sent(api: Api) -> None:
    api.answer(GOOD)
    snapshot = fetch(api.base_url)
    assert snapshot.account == "acme"
    assert records(snapshot) == raw(TRUNK, IP_TRUNK)
    assert (snapshot.body_bytes, snapshot.body_sha256) == (len(GOOD), hashlib.sha256(GOOD).hexdigest())


def test_an_account_without_trunks_has_an_empty_snapshot(api: Api) -> None:
    assert records(fetch(api.base_url)) == []


def test_the_request_is_one_get_with_the_token_and_our_name() -> None:
    with FaultyServer(send(response(GOOD))) as server:
        fetch(server.base_url)
        (request,) = server.requests
    first, *lines = request.decode().removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == f"GET {PATH} HTTP/1.1"
    assert headers == {
        "Host": server.host,
        "Authorization": f"Bearer {TOKEN}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": f"sip-trunks/{__version__}",
    }
    assert request.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("ending", ["", "/", "//", "/ "])
def test_a_slash_after_the_base_url_makes_no_difference(api: Api, ending: str) -> None:
    fetch(api.base_url + ending)
    assert paths(api) == [PATH]


def test_a_base_url_without_a_path_is_served_too(api: Api) -> None:
    fetch(api.origin)
    assert paths(api) == ["/user/phone-numbers/sip-trunks"]


@pytest.mark.parametrize(
    "base_url",
    [
        "http://app.famulor.de/api",
        "http://127.0.0.1.evil.example/api",
        "http://localhost.evil.example/api",
        "http://0.0.0.0:8000/api",
        "http://192.168.1.10/api",
    ],
)
def test_http_is_refused_unless_it_stays_on_this_machine(base_url: str) -> None:
    message = failure(ConfigError, base_url)
    assert "base_url must be a URL such as https://" in message
    assert base_url in message


def test_http_to_localhost_by_name_is_allowed(api: Api) -> None:
    fetch(api.base_url.replace("127.0.0.1", "localhost"))
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "addition",
    ["user@", "user:hunter2@", "user:hunter2@app.famulor.de@", "127.0.0.1\\@"],
)
def test_a_base_url_with_a_user_is_refused_and_the_password_not_shown(elsewhere: Bystander, addition: str) -> None:
    message = failure(ConfigError, f"http://{addition}{elsewhere.host}/api")
    assert "a user" in message
    assert "hunter2" not in message
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("addition", ["?api_key=hunter2", "/?api_key=hunter2", "#hunter2"])
def test_a_base_url_with_a_query_or_fragment_is_refused(elsewhere: Bystander, addition: str) -> None:
    message = failure(ConfigError, f"http://{elsewhere.host}/api{addition}")
    assert "query" in message
    assert "hunter2" not in message
    assert not elsewhere.was_contacted


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        " ",
        "garbage",
        "app.famulor.de/api",
        "//app.famulor.de/api",
        "https://",
        "https:///api",
        "https://:443/api",
        "ftp://app.famulor.de/api",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://[bad",
        "https://a..b/",
        "https://exa mple.invalid",
        f"https://{'x' * 64}.invalid",
        "https://app.famulor.de:port/api",
        "https://app.famulor.de:99999/api",
        "https://app.famulor.de:-1/api",
        "http://127.0.0.1:0/api",
    ],
)
def test_a_base_url_that_is_not_a_url_is_a_settings_error(base_url: str) -> None:
    assert "sources.famulor.base_url must be a URL such as https://host/path" in failure(ConfigError, base_url)


def test_the_token_is_not_in_the_account_s_repr() -> None:
    assert TOKEN not in f"{ACCOUNT!r} {ACCOUNT} {(ACCOUNT,)}"


def test_the_spool_directory_is_empty_after_success_and_failure(api: Api, tmp_path: Path) -> None:
    api.answer(GOOD)
    kept = fetch(api.base_url, spool_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    api.answer(b"not json")
    failure(InvalidResponseError, api.base_url, spool_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert records(kept) == raw(TRUNK, IP_TRUNK)


# Refused


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "status 400"),
        (401, "does not accept the token of account 'acme' (401)"),
        (403, "does not accept the token of account 'acme' (403)"),
        (404, "check sources.famulor.base_url"),
        (405, "status 405"),
        (410, "status 410"),
        (422, "status 422"),
    ],
)
def test_a_client_error_is_final_after_one_request(api: Api, status: int, says: str) -> None:
    content = json.dumps({"error": NOT_TO_BE_QUOTED, "message": f"{NOT_TO_BE_QUOTED} {TOKEN}"}).encode()
    api.answer(content, status=status, Retry_After="0")
    announced: list[str] = []
    message = failure(ApiRefusedError, api.base_url, announce=announced.append)
    assert says in message
    assert host(api) in message
    assert len(api.requests) == 1
    assert announced == []


BY_GATEWAYS: dict[str, tuple[bytes, dict[str, str]]] = {
    "HTML": (f"<!DOCTYPE html><p>{NOT_TO_BE_QUOTED}".encode(), {"Content_Type": "text/html; charset=UTF-8"}),
    "HTML that says it is JSON": (b" <html>" + bytes(2**16), {}),
    "a challenge": (b"", {"Content_Type": "text/html", "cf_mitigated": "challenge"}),
    "a challenge in JSON": (b'{"error": "x"}', {"CF_Mitigated": "challenge"}),
    "a blocked address": (b"error code: 1020", {"Content_Type": "text/plain", "Server": "cloudflare"}),
    "an error of Cloudflare in JSON": (b'{"title": "Error 1020", "cloudflare_error": true}', {"Server": "cloudflare"}),
    "compressed HTML": (gzip.compress(b"<html>"), {"Content_Encoding": "gzip"}),
}


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("by_gateway", BY_GATEWAYS)
def test_a_refusal_by_a_gateway_is_tried_again_and_does_not_blame_the_token(
    api: Api, by_gateway: str, status: int
) -> None:
    content, headers = BY_GATEWAYS[by_gateway]
    api.answer(content, status=status, **headers)
    message = failure(ApiUnreachableError, api.base_url)
    assert f"after 3 attempts: status {status} came from a gateway in front of the API" in message
    assert "ask the vendor whether" in message
    assert "the token is not the cause" in message
    assert len(api.requests) == 3


def test_a_gateway_that_passes_a_later_attempt_does_not_fail_a_run(api: Api) -> None:
    api.queue(b"<html>", 403, Content_Type="text/html", Retry_After="0")
    api.answer(GOOD)
    assert records(fetch(api.base_url)) == raw(TRUNK, IP_TRUNK)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("content", [b"", b'{"message": "Unauthenticated."}', b'\n{"error": "Invalid API key"}'])
def test_a_refusal_by_the_api_is_final(api: Api, content: bytes, status: int) -> None:
    api.answer(content, status=status)
    assert "does not accept the token" in failure(ApiRefusedError, api.base_url)
    assert len(api.requests) == 1


# Unusable


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "HTML": (f"<!doctype html><p>{NOT_TO_BE_QUOTED}".encode(), "expected JSON, got a page of HTML or XML"),
    "text": (NOT_TO_BE_QUOTED.encode(), "expected JSON, got a syntax error at character 0"),
    "two answers": (GOOD + GOOD, f"expected JSON, got a syntax error at character {len(GOOD)}"),
    "data null": (b'{"data": null}', "expected a list under `data`, got null"),
    "data an object": (
        json.dumps({"data": {"id": NOT_TO_BE_QUOTED}}).encode(),
        "expected a list under `data`, got an object",
    ),
    "a PHP array with gaps": (
        b'{"data": {"1": {}, "3": {}}}',
        "got an object with numbers as keys: a PHP array with gaps",
    ),
    "data a string": (
        json.dumps({"data": NOT_TO_BE_QUOTED}).encode(),
        "expected a list under `data`, got a string",
    ),
    "data false": (b'{"data": false}', "expected a list under `data`, got a boolean"),
    "data zero": (b'{"data": 0}', "expected a list under `data`, got a number"),
    "a bare list": (b"[]", "expected an object with a list under `data`, got an array"),
    "null": (b"null", "expected an object with a list under `data`, got null"),
    "an error": (
        json.dumps({"error": NOT_TO_BE_QUOTED, "message": NOT_TO_BE_QUOTED}).encode(),
        "expected an object with a list under `data`, got an object with the keys error, message",
    ),
    "an empty object": (b"{}", "expected an object with a list under `data`, got an object with no keys"),
    "data in capitals": (b'{"Data": []}', "got an object with the keys Data"),
    "a string among the trunks": (
        json.dumps({"data": [TRUNK, NOT_TO_BE_QUOTED]}).encode(),
        "expected objects in `data`, got a string at index 1",
    ),
    "null among the trunks": (b'{"data": [null]}', "expected objects in `data`, got null at index 0"),
    "lists for trunks": (b'{"data": [[1]]}', "expected objects in `data`, got an array at index 0"),
    "numbers for trunks": (b'{"data": [42]}', "expected objects in `data`, got a number at index 0"),
}


@pytest.mark.parametrize(("content", "says"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_response_that_is_not_a_list_of_trunks_is_unusable_after_one_request(
    api: Api, content: bytes, says: str
) -> None:
    api.answer(content)
    announced: list[str] = []
    assert says in failure(InvalidResponseError, api.base_url, announce=announced.append)
    assert len(api.requests) == 1
    assert announced == []


@pytest.mark.parametrize("status", [201, 204, 206, 304])
def test_a_status_that_is_neither_success_nor_error_is_unusable(status: int) -> None:
    content = b"" if status in (204, 304) else GOOD
    with FaultyServer(send(response(content, status=status))) as server:
        assert failure(InvalidResponseError, server.base_url) == f"expected status 200, got {status}"
        assert len(server.requests) == 1
