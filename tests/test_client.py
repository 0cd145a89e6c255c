"""One snapshot over HTTP, against real servers on loopback that answer, lie, stall and break."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
import traceback
import tracemalloc
import zlib
from base64 import b64encode
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from pipelines import __version__
from pipelines.errors import ApiRefused, ApiUnreachable, SettingsError
from pipelines.famulor.client import Snapshot, fetch_snapshot
from pipelines.settings import Account, ApiSettings
from tests.builders import IP_TRUNK, TRUNK, body, raw, trunk
from tests.conftest import TOKEN, Api
from tests.faulty_server import (
    Bystander,
    FaultyServer,
    response,
    send,
    send_and_fall_silent,
    send_and_reset,
    send_endlessly,
)
from transforms.answer import UnusableAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faulty_server import Step

ACCOUNT = Account("acme", TOKEN)
PATH = "/api/user/phone-numbers/sip-trunks"
GOOD = body(TRUNK, IP_TRUNK)
BACKOFF_SECONDS = 0.01
NOT_TO_BE_QUOTED = "content-of-the-answer"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's proxy has no part in this."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def elsewhere() -> Iterator[Bystander]:
    bystander = Bystander()
    yield bystander
    bystander.close()


def fetch(
    base_url: str,
    *,
    known_sha256: str | None = None,
    spool_dir: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    **limits: Any,
) -> Snapshot:
    """Fetch with limits that fit a test."""
    fitting: dict[str, Any] = {
        "attempts": 3,
        "total_seconds": 20,
        "read_seconds": 5,
        "backoff_seconds": BACKOFF_SECONDS,
        **limits,
    }
    settings = ApiSettings(base_url=base_url, **fitting)
    return fetch_snapshot(ACCOUNT, settings, known_sha256=known_sha256, spool_dir=spool_dir, announce=announce)


def failure(kind: type[Exception], base_url: str, **options: Any) -> str:
    """The message of the failure of this kind, in which, however it is shown, is neither token nor content."""
    with pytest.raises(kind) as caught:
        fetch(base_url, **options)
    assert type(caught.value) is kind
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value)
    assert TOKEN not in shown
    assert NOT_TO_BE_QUOTED not in shown
    assert "\n" not in str(caught.value)
    return str(caught.value)


def records(snapshot: Snapshot) -> list[bytes]:
    assert snapshot.records is not None
    return [bytes(record) for record in snapshot.records]


def ids(snapshot: Snapshot) -> list[int]:
    return [json.loads(record)["id"] for record in records(snapshot)]


def paths(api: Api) -> list[str]:
    return [path for path, _ in api.requests]


def host(api: Api) -> str:
    return api.origin.removeprefix("http://")


def deflated_raw(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


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
    message = failure(SettingsError, base_url)
    assert "base_url needs https://" in message
    assert base_url in message


def test_http_to_localhost_by_name_is_allowed(api: Api) -> None:
    fetch(api.base_url.replace("127.0.0.1", "localhost"))
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "addition",
    ["user@", "user:hunter2@", "user:hunter2@app.famulor.de@", "127.0.0.1\\@"],
)
def test_a_base_url_with_a_user_is_refused_and_the_password_not_shown(elsewhere: Bystander, addition: str) -> None:
    message = failure(SettingsError, f"http://{addition}{elsewhere.host}/api")
    assert "no user" in message
    assert "hunter2" not in message
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("addition", ["?api_key=hunter2", "/?api_key=hunter2", "#hunter2"])
def test_a_base_url_with_a_query_or_fragment_is_refused(elsewhere: Bystander, addition: str) -> None:
    message = failure(SettingsError, f"http://{elsewhere.host}/api{addition}")
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
def test_what_is_no_address_is_a_settings_error(base_url: str) -> None:
    assert "sources.famulor.base_url needs https://host/path" in failure(SettingsError, base_url)


def test_the_token_is_not_in_the_account_s_repr() -> None:
    assert TOKEN not in f"{ACCOUNT!r} {ACCOUNT} {(ACCOUNT,)}"


def test_the_spool_directory_is_empty_after_success_and_failure(api: Api, tmp_path: Path) -> None:
    api.answer(GOOD)
    kept = fetch(api.base_url, spool_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    api.answer(b"not json")
    failure(UnusableAnswer, api.base_url, spool_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert records(kept) == raw(TRUNK, IP_TRUNK)


# Faults that another attempt may cure

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY_GZIP = b"\x1f\x8b\x08\x00\0\0\0\0\0\x03"  # the header, from where any number of empty blocks may follow
CORRUPT_GZIP = gzip.compress(GOOD)[:-8] + bytes(8)
FAULTS: dict[str, Step] = {
    "closed without an answer": send(b""),
    "closed in the headers": send(response(GOOD)[:30]),
    "reset without an answer": send_and_reset(),
    "reset in the body": send_and_reset(response(GOOD)[:-10]),
    "body shorter than its length": send(response(GOOD)[:-10]),
    "headers and no body": send(response(GOOD).removesuffix(GOOD)),
    "chunk cut off": send(CHUNKED + b"%x\r\n" % len(GOOD) + GOOD[:-10]),
    "last chunk missing": send(CHUNKED + b"%x\r\n%s\r\n" % (len(GOOD), GOOD)),
    "chunk without a size": send(CHUNKED + b"size\r\n" + GOOD),
    "gzip cut off by the connection": send(response(gzip.compress(GOOD), Content_Encoding="gzip")[:-20]),
    "gzip that fails its checksum": send(response(CORRUPT_GZIP, Content_Encoding="gzip")),
    "gzip that is none": send(response(GOOD, Content_Encoding="gzip")),
    "deflate that is none": send(response(b"\xff" + GOOD, Content_Encoding="deflate")),
    "another protocol": send(b"SSH-2.0-OpenSSH_9.7\r\n"),
    "silence": send_and_fall_silent(),
    "silence in the body": send_and_fall_silent(response(GOOD)[:-10]),
}


def patience(fault: str) -> float:
    """How long to wait for a byte: short only where none comes, so that a slow machine is no fault."""
    return 0.15 if "silence" in fault else 5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_retry_and_never_a_short_snapshot(fault: str) -> None:
    announced: list[str] = []
    with FaultyServer(FAULTS[fault], FAULTS[fault], send(response(GOOD))) as server:
        snapshot = fetch(server.base_url, read_seconds=patience(fault), announce=announced.append)
        assert len(server.requests) == 3
    assert records(snapshot) == raw(TRUNK, IP_TRUNK)
    assert snapshot.body_sha256 == hashlib.sha256(GOOD).hexdigest()
    assert [re.findall(r"attempt \d of \d", line) for line in announced] == [["attempt 2 of 3"], ["attempt 3 of 3"]]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_is_unreachable_and_names_host_and_attempts(fault: str) -> None:
    with FaultyServer(FAULTS[fault]) as server:
        message = failure(ApiUnreachable, server.base_url, read_seconds=patience(fault), attempts=2)
        assert len(server.requests) == 2
    assert f"{server.host} gave no complete answer after 2 attempts: " in message


@pytest.mark.parametrize("status", [408, 425, 500, 501, 502, 503, 504, 520])
def test_a_transient_status_is_tried_again(api: Api, status: int) -> None:
    api.queue(NOT_TO_BE_QUOTED.encode(), status=status)
    api.answer(GOOD)
    announced: list[str] = []
    assert ids(fetch(api.base_url, announce=announced.append)) == [42, 43]
    assert len(announced) == 1
    assert f"status {status}" in announced[0]
    assert NOT_TO_BE_QUOTED not in announced[0]


def test_a_transient_status_that_stays_is_unreachable_and_says_which(api: Api) -> None:
    api.answer(NOT_TO_BE_QUOTED.encode(), status=503)
    message = failure(ApiUnreachable, api.base_url)
    assert f"{host(api)} gave no complete answer after 3 attempts: status 503" in message
    assert len(api.requests) == 3


def test_one_attempt_means_one_request(api: Api) -> None:
    api.answer(b"", status=500)
    assert "after 1 attempt: " in failure(ApiUnreachable, api.base_url, attempts=1)
    assert len(api.requests) == 1


def test_every_attempt_carries_the_token(api: Api) -> None:
    api.queue(b"", status=500)
    fetch(api.base_url)
    assert [headers["Authorization"] for _, headers in api.requests] == [f"Bearer {TOKEN}"] * 2


def test_each_wait_is_announced_before_it_begins() -> None:
    seen: list[tuple[int, float]] = []
    with FaultyServer(send(response(status=500))) as server:
        failure(
            ApiUnreachable,
            server.base_url,
            backoff_seconds=0.1,
            announce=lambda _: seen.append((len(server.requests), time.monotonic())),
        )
    ended = time.monotonic()
    (first, second), moments = zip(*seen, strict=True)
    assert (first, second) == (1, 2)
    assert moments[1] - moments[0] >= 0.05
    assert ended - moments[1] >= 0.1


def test_a_refused_connection_is_retried_and_named() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        message = failure(ApiUnreachable, f"http://{address}/api")
    assert message == f"{address} gave no complete answer after 3 attempts: no connection (Connection refused)"


def test_a_server_that_starts_late_is_reached() -> None:
    with socket.socket() as reserved, contextlib.ExitStack() as servers:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        def start(_: str) -> None:
            reserved.close()
            servers.enter_context(FaultyServer(send(response(GOOD)), port=port))

        assert ids(fetch(f"http://127.0.0.1:{port}/api", announce=start)) == [42, 43]


def test_an_unknown_host_is_retried_and_named() -> None:
    announced: list[str] = []
    message = failure(ApiUnreachable, "https://sip-trunks.invalid/api", announce=announced.append)
    assert message == "sip-trunks.invalid gave no complete answer after 3 attempts: the host name is not known (DNS)"
    assert len(announced) == 2


# Time


GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
DRIPS: dict[str, Step] = {
    "status line": send_endlessly(b"", b"H", every_seconds=0.02),
    "headers": send_endlessly(b"HTTP/1.1 200 OK\r\nX-Padding: ", b"x", every_seconds=0.02),
    "interim answers": send_endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every_seconds=0.02),
    "body": send_endlessly(response(GOOD).removesuffix(GOOD), b" ", every_seconds=0.02),
    "one chunk's size": send_endlessly(CHUNKED + b"1;", b"x", every_seconds=0.02),
    "empty gzip blocks": send_endlessly(GZIPPED + EMPTY_GZIP, b"\0\0\0\xff\xff", every_seconds=0.02),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_an_answer_that_drips_ends_with_the_time_allowed(drip: str) -> None:
    with FaultyServer(DRIPS[drip]) as server:
        started = time.monotonic()
        message = failure(ApiUnreachable, server.base_url, total_seconds=0.3)
        assert 0.25 <= time.monotonic() - started < 1.5
        assert len(server.requests) == 1
    assert "within total_seconds = 0.3" in message


def test_silence_ends_with_the_time_allowed_even_if_a_read_may_take_longer() -> None:
    with FaultyServer(send_and_fall_silent()) as server:
        started = time.monotonic()
        message = failure(ApiUnreachable, server.base_url, total_seconds=0.3, read_seconds=30)
        assert time.monotonic() - started < 1.5
    assert f"{server.host} gave no complete answer after 1 attempt within total_seconds = 0.3" in message


def test_the_time_allowed_is_for_all_attempts_together() -> None:
    with FaultyServer(send_and_fall_silent()) as server:
        started = time.monotonic()
        failure(ApiUnreachable, server.base_url, total_seconds=0.4, read_seconds=0.15, attempts=100)
        assert time.monotonic() - started < 2
        assert 2 <= len(server.requests) <= 4


def test_the_time_allowed_is_for_all_pages_together() -> None:
    page = response(body(trunk(), next_page_url="?page=2"))
    with FaultyServer(send(page), send_and_fall_silent()) as server:
        started = time.monotonic()
        failure(ApiUnreachable, server.base_url, total_seconds=0.3, read_seconds=30)
        assert time.monotonic() - started < 2
        assert len(server.requests) == 2


# Too many requests


def asked_to_wait(seconds: float) -> dict[str, bytes]:
    """Every way in which the API may say how long to wait."""
    moment = time.time() + seconds
    stated = json.dumps({"error": "Rate limit exceeded", "message": NOT_TO_BE_QUOTED, "retry_after": seconds}).encode()
    return {
        "Retry-After in seconds": response(status=429, Retry_After=f"{seconds:g}"),
        "Retry-After as a date": response(status=429, Retry_After=formatdate(moment, usegmt=True)),
        "X-RateLimit-Reset": response(status=429, X_RateLimit_Reset=f"{moment:.3f}"),
        "retry_after in the body": response(stated, status=429, Content_Type="application/json"),
        "retry_after in a compressed body": response(gzip.compress(stated), status=429, Content_Encoding="gzip"),
        "Retry-After before the reset": response(
            status=429, Retry_After=f"{seconds:g}", X_RateLimit_Reset=f"{moment + 9999:.0f}"
        ),
        "the body before the reset": response(stated, status=429, X_RateLimit_Reset=f"{moment + 9999:.0f}"),
    }


@pytest.mark.parametrize("way", ["Retry-After in seconds", "X-RateLimit-Reset", "retry_after in the body"])
def test_a_stated_wait_is_kept(way: str) -> None:
    announced: list[str] = []
    with FaultyServer(send(asked_to_wait(0.25)[way]), send(response(GOOD))) as server:
        started = time.monotonic()
        assert ids(fetch(server.base_url, announce=announced.append)) == [42, 43]
        assert 0.2 <= time.monotonic() - started < 1.5
    assert len(announced) == 1
    assert re.search(r"too many requests \(429\); attempt 2 of 3 in 0\.[23] s", announced[0])


def test_a_wait_stated_as_a_date_is_kept() -> None:
    now = time.time()
    moment = int(now + 0.3) + 1  # a date has whole seconds; this one is 0.3 to 1.3 s away
    answer = response(status=429, Retry_After=formatdate(moment, usegmt=True))
    with FaultyServer(send(answer), send(response(GOOD))) as server:
        fetch(server.base_url)
    assert moment <= time.time() < moment + 1


@pytest.mark.parametrize("way", asked_to_wait(0))
def test_a_stated_wait_beyond_the_time_allowed_fails_at_once_and_says_so(way: str) -> None:
    with FaultyServer(send(asked_to_wait(120)[way])) as server:
        started = time.monotonic()
        message = failure(ApiUnreachable, server.base_url)
        assert time.monotonic() - started < 2
        assert len(server.requests) == 1
    assert f"{server.host} gave no complete answer after 1 attempt within total_seconds = 20" in message
    assert re.search(r"too many requests \(429\), and asks to wait (119|120) s$", message)


@pytest.mark.parametrize(
    "answer",
    [
        response(status=429),
        response(status=429, Retry_After="soon"),
        response(status=429, Retry_After="-60"),
        response(status=429, Retry_After="nan"),
        response(status=429, Retry_After="inf"),
        response(status=429, Retry_After="Wed, 99 Oct 2026 07:28:00 GMT"),
        response(status=429, Retry_After="Wed, 21 Oct 99999 07:28:00 GMT"),
        response(status=429, Retry_After=formatdate(0, usegmt=True)),
        response(status=429, X_RateLimit_Reset="later"),
        response(status=429, X_RateLimit_Reset="1700000000"),
        response(b"<html>", status=429),
        response(b"[60]", status=429),
        response(b'{"retry_after": null}', status=429),
        response(b'{"retry_after": {"seconds": 60}}', status=429),
        response(b'{"retry_after": ' + b"9" * 5000 + b"}", status=429),
        response(b"[" * 100_000, status=429),
        response(b"\xff\xfe\xff", status=429),
        response(b"no gzip", status=429, Content_Encoding="gzip"),
    ],
)
def test_a_429_without_a_usable_wait_is_tried_again_soon(answer: bytes) -> None:
    with FaultyServer(send(answer), send(response(GOOD))) as server:
        started = time.monotonic()
        assert ids(fetch(server.base_url)) == [42, 43]
        assert time.monotonic() - started < 1


def test_too_many_requests_that_stay_are_unreachable(api: Api) -> None:
    api.answer(b"", status=429, Retry_After="0")
    assert "after 3 attempts: too many requests (429)" in failure(ApiUnreachable, api.base_url)
    assert len(api.requests) == 3


def test_an_unavailable_server_may_state_a_wait_too(api: Api) -> None:
    api.answer(b"", status=503, Retry_After="120")
    assert "status 503, and asks to wait 120 s" in failure(ApiUnreachable, api.base_url)


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
    message = failure(ApiRefused, api.base_url, announce=announced.append)
    assert says in message
    assert host(api) in message
    assert len(api.requests) == 1
    assert announced == []


# Unusable


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "HTML": (f"<!doctype html><p>{NOT_TO_BE_QUOTED}".encode(), "expected JSON, got a page of HTML or XML"),
    "nothing": (b"", "expected JSON, got an empty answer"),
    "blanks": (b" \r\n\t ", "expected JSON, got an empty answer"),
    "text": (NOT_TO_BE_QUOTED.encode(), "expected JSON, got something else from character 0 on"),
    "truncated JSON": (GOOD[:-30], f"expected complete JSON, got {len(GOOD) - 30} bytes that end in the middle"),
    "two answers": (GOOD + GOOD, f"expected JSON, got something else from character {len(GOOD)} on"),
    "data null": (b'{"data": null}', "expected a list under `data`, got null"),
    "data an object": (
        json.dumps({"data": {"id": NOT_TO_BE_QUOTED}}).encode(),
        "expected a list under `data`, got an object",
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
def test_an_answer_that_is_no_list_of_trunks_is_unusable_after_one_request(api: Api, content: bytes, says: str) -> None:
    api.answer(content)
    announced: list[str] = []
    assert says in failure(UnusableAnswer, api.base_url, announce=announced.append)
    assert len(api.requests) == 1
    assert announced == []


@pytest.mark.parametrize("status", [201, 204, 206, 304])
def test_a_status_that_is_neither_answer_nor_error_is_unusable(status: int) -> None:
    content = b"" if status in (204, 304) else GOOD
    with FaultyServer(send(response(content, status=status))) as server:
        assert failure(UnusableAnswer, server.base_url) == f"expected status 200, got {status}"
        assert len(server.requests) == 1


# Redirects


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
    message = failure(UnusableAnswer, api.base_url)
    assert f"expected a redirect within {host(api)}, got one to '{elsewhere.host}'" in message
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
    message = failure(UnusableAnswer, api.base_url)
    assert "pass@" not in message
    api.answer(body(next_page_url=link.strip()))
    failure(UnusableAnswer, api.base_url)
    assert len(api.requests) == 2
    assert not elsewhere.was_contacted


def test_the_same_port_under_another_name_is_another_origin(api: Api) -> None:
    api.answer(b"", status=302, Location=f"{api.origin.replace('127.0.0.1', 'localhost')}{PATH}")
    assert "which must not see the token" in failure(UnusableAnswer, api.base_url)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "location",
    ["https://{host}/x", "ftp://{host}/x", "file:///etc/passwd", "javascript:alert(1)", "mailto:a@b", "data:,x"],
)
def test_a_redirect_to_another_scheme_is_refused(api: Api, location: str) -> None:
    api.answer(b"", status=302, Location=location.format(host=host(api)))
    assert "which must not see the token" in failure(UnusableAnswer, api.base_url)
    assert len(api.requests) == 1


def test_a_redirect_loop_ends(api: Api) -> None:
    api.answer(b"", status=302, Location=PATH)
    assert failure(UnusableAnswer, api.base_url) == "expected an answer, got more than 5 redirects"
    assert len(api.requests) == 6


def test_a_redirect_without_a_target_is_unusable(api: Api) -> None:
    api.answer(b"", status=302)
    assert failure(UnusableAnswer, api.base_url) == "expected status 200, got 302"


def test_a_fault_behind_a_redirect_is_a_retry_from_the_start(api: Api) -> None:
    api.queue(b"", status=307, Location="/moved")
    api.queue(b"", status=500)
    api.queue(b"", status=307, Location="/moved")
    api.answer(GOOD)
    assert ids(fetch(api.base_url)) == [42, 43]
    assert paths(api) == [PATH, "/moved"] * 2


# Pages


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
    failure(ApiUnreachable, api.base_url)


def test_a_page_that_is_no_list_fails_the_whole_snapshot(api: Api) -> None:
    api.queue(bodies_of(pages_by_number(""))[0])
    api.answer(b'{"error": "Server is tired"}')
    failure(UnusableAnswer, api.base_url)
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    "envelope",
    [{"next_page_url": PATH}, {"next_page_url": "?page=2"}, {"current_page": 1, "last_page": 2}],
    ids=["to the first page", "to itself", "of one number for ever"],
)
def test_pages_that_lead_in_a_circle_are_unusable(api: Api, envelope: dict[str, Any]) -> None:
    api.answer(body(TRUNK, **envelope))
    assert "expected pages that end" in failure(UnusableAnswer, api.base_url)
    assert len(api.requests) <= 2


@pytest.mark.parametrize("form", ["http://{0}/x", "//{0}/x"])
@pytest.mark.parametrize("key", ["next_page_url", "links"])
def test_the_token_never_follows_a_paging_link_to_another_host(
    api: Api, elsewhere: Bystander, form: str, key: str
) -> None:
    link = form.format(elsewhere.host)
    api.answer(body(TRUNK, **{key: {"next": link} if key == "links" else link}))
    message = failure(UnusableAnswer, api.base_url)
    assert f"expected a paging link within {host(api)}, got one to '{elsewhere.host}'" in message
    assert len(api.requests) == 1
    assert not elsewhere.was_contacted


def test_the_token_never_follows_a_redirect_from_a_later_page(api: Api, elsewhere: Bystander) -> None:
    api.queue(body(TRUNK, next_page_url="?page=2"))
    api.answer(b"", status=302, Location=f"http://{elsewhere.host}/x")
    failure(UnusableAnswer, api.base_url)
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("total", [0, 1, 3, -2])
@pytest.mark.parametrize("is_in_meta", [True, False])
def test_a_total_that_is_not_the_number_of_trunks_is_unusable(api: Api, total: int, is_in_meta: bool) -> None:
    api.answer(body(TRUNK, IP_TRUNK, **({"meta": {"total": total}} if is_in_meta else {"total": total})))
    message = failure(UnusableAnswer, api.base_url)
    assert f"expected the {total} trunks" in message
    assert "got 2" in message


def test_a_total_that_fits_is_fine(api: Api) -> None:
    api.answer(body(TRUNK, IP_TRUNK, total=2))
    assert ids(fetch(api.base_url)) == [42, 43]


# Compressed, large and known bodies


ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "GZIP": ("GZIP", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate with its header": ("deflate", zlib.compress),
    "deflate without": ("deflate", deflated_raw),
    "gzip twice": ("gzip, gzip", lambda content: gzip.compress(gzip.compress(content))),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize(("encoding", "compress"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_size_and_hash_are_of_the_decompressed_body(
    api: Api, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    api.answer(compress(GOOD), Content_Encoding=encoding)
    snapshot = fetch(api.base_url)
    assert records(snapshot) == raw(TRUNK, IP_TRUNK)
    assert (snapshot.body_bytes, snapshot.body_sha256) == (len(GOOD), hashlib.sha256(GOOD).hexdigest())


def test_a_chunked_body_is_put_together() -> None:
    pieces = [GOOD[start : start + 7] for start in range(0, len(GOOD), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    with FaultyServer(send(CHUNKED + chunks)) as server:
        assert records(fetch(server.base_url)) == raw(TRUNK, IP_TRUNK)


def test_a_body_of_many_megabytes_arrives_whole(api: Api) -> None:
    trunks = [trunk(id=number, comment="x" * 1000) for number in range(5000)]
    api.answer(gzip.compress(body(*trunks), 1), Content_Encoding="gzip")
    snapshot = fetch(api.base_url)
    assert records(snapshot) == raw(*trunks)
    assert snapshot.body_sha256 == hashlib.sha256(body(*trunks)).hexdigest()


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: gzip.compress(bytes(2**26), 1)),
    "many gzip members": ("gzip", lambda: gzip.compress(bytes(2**20)) * 64),
    "gzip twice": ("gzip, gzip", lambda: gzip.compress(gzip.compress(bytes(2**26), 1))),
    "deflate": ("deflate", lambda: zlib.compress(bytes(2**26), 1)),
}


@pytest.mark.parametrize(("encoding", "build"), BOMBS.values(), ids=BOMBS.keys())
def test_a_compressed_bomb_is_refused_without_unpacking_it(encoding: str, build: Callable[[], bytes]) -> None:
    with FaultyServer(send(response(build(), Content_Encoding=encoding))) as server:
        tracemalloc.start()
        try:
            message = failure(UnusableAnswer, server.base_url, max_body_bytes=2**20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(server.requests) == 1
    assert message == "expected at most max_body_bytes = 1048576, got a larger answer"
    assert peak < 2**23


def test_a_body_without_end_is_refused_at_the_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with FaultyServer(send_endlessly(head, b" " * 65536)) as server:
        message = failure(UnusableAnswer, server.base_url, max_body_bytes=2**20)
        assert len(server.requests) == 1
    assert "max_body_bytes = 1048576" in message


def test_a_body_of_exactly_the_limit_is_read(api: Api) -> None:
    api.answer(GOOD)
    assert ids(fetch(api.base_url, max_body_bytes=len(GOOD))) == [42, 43]
    failure(UnusableAnswer, api.base_url, max_body_bytes=len(GOOD) - 1)


def test_a_body_that_is_known_is_not_read_again(api: Api) -> None:
    api.answer(GOOD)
    known = fetch(api.base_url).body_sha256
    again = fetch(api.base_url, known_sha256=known)
    assert again.records is None
    assert (again.body_bytes, again.body_sha256) == (len(GOOD), known)


def test_a_known_body_is_recognised_however_it_was_compressed(api: Api) -> None:
    api.answer(gzip.compress(GOOD), Content_Encoding="gzip")
    assert fetch(api.base_url, known_sha256=hashlib.sha256(GOOD).hexdigest()).records is None


def test_a_body_that_differs_from_the_known_one_is_read(api: Api) -> None:
    api.answer(GOOD)
    known = fetch(api.base_url).body_sha256
    api.answer(GOOD + b"\n")
    assert ids(fetch(api.base_url, known_sha256=known)) == [42, 43]


def test_a_first_page_that_is_known_does_not_hide_the_others(api: Api) -> None:
    first, second = body(trunk(id=1), next_page_url="?page=2"), body(trunk(id=2))
    api.queue(first)
    api.queue(second)
    known = fetch(api.base_url).body_sha256
    api.queue(first)
    api.queue(body(trunk(id=3)))
    assert ids(fetch(api.base_url, known_sha256=known)) == [1, 3]


# TLS and proxies


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Self-signed certificates with their keys, in one file each: for this machine and for another host."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("NO TLS TEST RAN: the openssl command is missing")
    folder = tmp_path_factory.mktemp("certificates")
    files: dict[str, Path] = {}
    for name, subject in (("here", "IP:127.0.0.1"), ("elsewhere", "DNS:other.invalid")):
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        request = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
        # The key usage is what Python 3.13 insists on.
        usage = ["-addext", f"subjectAltName={subject}", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        options = [*usage, "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([openssl, *request.split(), *options], check=True, capture_output=True)
        certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
        files[name] = certificate
    return files


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_self_signed_certificate_is_refused_before_the_token_is_sent(certificates: dict[str, Path]) -> None:
    with FaultyServer(send(response(GOOD)), tls=tls(certificates["here"])) as server:
        message = failure(ApiUnreachable, server.base_url, attempts=2)
        assert server.requests == []
    assert f"{server.host} gave no complete answer after 2 attempts: TLS failed: " in message
    assert re.search("self.signed certificate", message)


def test_a_certificate_that_the_system_trusts_is_accepted(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    with FaultyServer(send(response(GOOD)), tls=tls(certificates["here"])) as server:
        assert ids(fetch(server.base_url)) == [42, 43]
        assert TOKEN.encode() in server.requests[0]


def test_a_trusted_certificate_for_another_host_is_refused(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["elsewhere"]))
    with FaultyServer(send(response(GOOD)), tls=tls(certificates["elsewhere"])) as server:
        message = failure(ApiUnreachable, server.base_url, attempts=1)
        assert server.requests == []
    assert "TLS failed: IP address mismatch" in message


def test_a_redirect_from_https_to_http_is_refused(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch, elsewhere: Bystander
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    downgrade = response(status=301, Location=f"http://{elsewhere.host}/x")
    with FaultyServer(send(downgrade), tls=tls(certificates["here"])) as server:
        assert "which must not see the token" in failure(UnusableAnswer, server.base_url)
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("drip", ["headers", "body"])
def test_an_answer_that_drips_through_tls_ends_with_the_time_allowed(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch, drip: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    with FaultyServer(DRIPS[drip], tls=tls(certificates["here"])) as server:
        started = time.monotonic()
        message = failure(ApiUnreachable, server.base_url, total_seconds=0.3)
        assert 0.25 <= time.monotonic() - started < 1.5
    assert "within total_seconds = 0.3" in message


def test_a_server_without_tls_is_no_https_server(api: Api) -> None:
    message = failure(ApiUnreachable, api.base_url.replace("http:", "https:"), attempts=1)
    assert "TLS failed: " in message
    assert api.requests == []


def use_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_proxy_is_never_used_for_this_machine(
    api: Api, elsewhere: Bystander, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use_proxy(monkeypatch, f"http://{elsewhere.host}")
    fetch(api.base_url.replace("127.0.0.1", name))
    assert len(api.requests) == 1
    assert not elsewhere.was_contacted


def test_a_proxy_is_asked_for_a_tunnel_and_does_not_see_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyServer(send(response(status=503))) as proxy:
        use_proxy(monkeypatch, f"http://{proxy.host}")
        assert "sip-trunks.invalid" in failure(ApiUnreachable, "https://sip-trunks.invalid/api", attempts=1)
        (request,) = proxy.requests
    assert request.startswith(b"CONNECT sip-trunks.invalid:443 ")
    assert TOKEN.encode() not in request


def test_a_host_that_is_exempt_from_the_proxy_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Bystander
) -> None:
    use_proxy(monkeypatch, f"http://{elsewhere.host}")
    monkeypatch.setenv("no_proxy", "sip-trunks.invalid")
    monkeypatch.setenv("NO_PROXY", "sip-trunks.invalid")
    assert "DNS" in failure(ApiUnreachable, "https://sip-trunks.invalid/api", attempts=1)
    assert not elsewhere.was_contacted


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
def test_an_old_server_and_a_wrong_or_missing_content_type_are_read(head: bytes) -> None:
    with FaultyServer(send(head + GOOD)) as server:
        assert ids(fetch(server.base_url)) == [42, 43]


def test_a_crooked_link_that_parsers_read_differently_gets_no_token(api: Api, elsewhere: Bystander) -> None:
    host = api.origin.removeprefix("http://")
    for link in (f"http://{elsewhere.host}\\@{host}/x", f"http://{elsewhere.host}#@{host}/x", f"http://a@{host}/x"):
        api.answer(b"", 302, Location=link)
        failure(UnusableAnswer, api.base_url)
        api.answer(body(TRUNK, next_page_url=link))
        failure(UnusableAnswer, api.base_url)
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("link", ["http://[bad", "//[x"])
def test_a_link_that_is_no_address_is_unusable(api: Api, link: str) -> None:
    api.answer(b"", 302, Location=link)
    assert "something else" in failure(UnusableAnswer, api.base_url)
    api.answer(body(TRUNK, next_page_url=link))
    assert "something else" in failure(UnusableAnswer, api.base_url)


def test_a_rate_limit_reset_counts_only_where_the_limit_was_hit(api: Api) -> None:
    api.queue(b"", 500, X_RateLimit_Reset=str(int(time.time()) + 60))
    api.answer(GOOD)
    assert ids(fetch(api.base_url, total_seconds=5)) == [42, 43]


def test_a_wait_stated_in_a_body_that_comes_in_pieces_is_read() -> None:
    head = b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b'b\r\n{"retry_aft\r\n9\r\ner": 0.3}\r\n0\r\n\r\n'
    waits: list[str] = []
    with FaultyServer(send(head + pieces), send(response(GOOD))) as server:
        fetch(server.base_url, announce=waits.append)
    assert "in 0.3 s" in waits[0]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://[bad"])
def test_a_proxy_that_cannot_be_used_is_a_settings_error(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    use_proxy(monkeypatch, proxy)
    assert "proxy" in failure(SettingsError, "https://sip-trunks.invalid/api")


def test_a_proxy_may_have_no_scheme_and_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyServer(send(response(status=407))) as proxy:
        use_proxy(monkeypatch, f"us%40er:pass@{proxy.host}")
        assert "proxy" in failure(ApiUnreachable, "https://sip-trunks.invalid/api", attempts=1)
        (request,) = proxy.requests
    assert b"proxy-authorization: basic " + b64encode(b"us@er:pass").lower() in request.lower()
    assert TOKEN.encode() not in request
