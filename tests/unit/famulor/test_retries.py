"""Faults that another attempt may cure, waits that a server asks for, and the time that is allowed for all of it."""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
import time
import zlib
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import ApiUnreachableError
from tests.support.builders import IP_TRUNK, TRUNK, body, raw, trunk
from tests.support.faulty_server import (
    DRIPPING,
    FaultyServer,
    response,
    send,
    send_and_fall_silent,
    send_and_reset,
    send_endlessly,
)
from tests.support.fetching import GOOD, NOT_TO_BE_QUOTED, failure, fetch, host, ids, records
from tests.support.runs import TOKEN
from trunk_transforms.parse.envelope import TruncatedResponseError

if TYPE_CHECKING:
    from threading import Event

    from tests.support.api import Api
    from tests.support.faulty_server import Step


GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
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


SILENCES = sorted(fault for fault in FAULTS if "silence" in fault)


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - SILENCES))
def test_a_fault_is_retried_and_never_shortens_a_snapshot(fault: str) -> None:
    announced: list[str] = []
    with FaultyServer(FAULTS[fault], FAULTS[fault], send(response(GOOD))) as server:
        snapshot = fetch(server.base_url, announce=announced.append)
        assert len(server.requests) == 3
    assert records(snapshot) == raw(TRUNK, IP_TRUNK)
    assert snapshot.body_sha256 == hashlib.sha256(GOOD).hexdigest()
    assert [re.findall(r"attempt \d of \d", line) for line in announced] == [["attempt 2 of 3"], ["attempt 3 of 3"]]


@pytest.mark.parametrize("fault", SILENCES)
def test_silence_is_retried_and_never_shortens_a_snapshot(fault: str) -> None:
    """A busy machine is silent for a while too, so that there may be more attempts than those that are meant."""
    announced: list[str] = []
    with FaultyServer(FAULTS[fault], FAULTS[fault], send(response(GOOD))) as server:
        snapshot = fetch(server.base_url, read_seconds=0.15, attempts=1000, announce=announced.append)
    assert records(snapshot) == raw(TRUNK, IP_TRUNK)
    assert snapshot.body_sha256 == hashlib.sha256(GOOD).hexdigest()
    assert len(announced) >= 2
    assert all("the server stopped sending; attempt" in line for line in announced)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_is_unreachable_and_names_host_and_attempts(fault: str) -> None:
    limits = {"read_seconds": 0.15} if fault in SILENCES else {}
    with FaultyServer(FAULTS[fault]) as server:
        message = failure(ApiUnreachableError, server.base_url, attempts=2, **limits)
        server.wait_for_requests(2)
    assert len(server.requests) == 2
    assert f"{server.host} sent no complete response after 2 attempts: " in message


def cut_gzip(content: bytes, length: int) -> bytes:
    return response(gzip.compress(content)[:length], Content_Encoding="gzip")


CUT_BODIES: dict[str, bytes] = {
    "nothing": response(b""),
    "blanks": response(b" \r\n\t "),
    "JSON": response(GOOD[:-30]),
    "JSON without its last character": response(GOOD[:-1]),
    "JSON in a character": response('{"data": [{"a": "\u20ac'.encode()[:-1]),
    "chunked JSON": CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD) - 9, GOOD[:-9]),
    "gzip": cut_gzip(GOOD, 100),
    "gzip in its header": cut_gzip(GOOD, 10),
    "deflate": response(zlib.compress(GOOD)[:-40], Content_Encoding="deflate"),
}


@pytest.mark.parametrize("cut", CUT_BODIES.values(), ids=CUT_BODIES.keys())
def test_a_truncated_body_is_retried_even_if_its_length_matches(cut: bytes) -> None:
    with FaultyServer(send(cut), send(cut), send(response(GOOD))) as server:
        snapshot = fetch(server.base_url)
        assert len(server.requests) == 3
    assert records(snapshot) == raw(TRUNK, IP_TRUNK)
    assert snapshot.body_sha256 == hashlib.sha256(GOOD).hexdigest()


@pytest.mark.parametrize("cut", CUT_BODIES.values(), ids=CUT_BODIES.keys())
def test_a_body_that_always_ends_early_is_unusable_after_the_last_attempt(cut: bytes) -> None:
    with FaultyServer(send(cut)) as server:
        message = failure(TruncatedResponseError, server.base_url, attempts=2)
        assert len(server.requests) == 2
    assert "end in the middle" in message or message == "expected JSON, got an empty response"


def test_gzip_without_its_end_is_read_if_the_json_is_complete() -> None:
    with FaultyServer(send(response(gzip.compress(GOOD)[:-8], Content_Encoding="gzip"))) as server:
        assert ids(fetch(server.base_url)) == [42, 43]


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
    message = failure(ApiUnreachableError, api.base_url)
    assert f"{host(api)} sent no complete response after 3 attempts: status 503" in message
    assert len(api.requests) == 3


def test_one_attempt_means_one_request(api: Api) -> None:
    api.answer(b"", status=500)
    assert "after 1 attempt: " in failure(ApiUnreachableError, api.base_url, attempts=1)
    assert len(api.requests) == 1


def test_every_attempt_carries_the_token(api: Api) -> None:
    api.queue(b"", status=500)
    fetch(api.base_url)
    assert [headers["Authorization"] for _, headers in api.requests] == [f"Bearer {TOKEN}"] * 2


def test_each_wait_is_announced_before_it_begins() -> None:
    seen: list[tuple[int, float]] = []
    with FaultyServer(send(response(status=500))) as server:
        failure(
            ApiUnreachableError,
            server.base_url,
            backoff_seconds=0.1,
            announce=lambda _: seen.append((len(server.requests), time.monotonic())),
        )
    ended = time.monotonic()
    (first, second), moments = zip(*seen, strict=True)
    assert (first, second) == (1, 2)
    # A wait may be as short as half of what it grows to: 0.1 s, then 0.2 s.
    assert moments[1] - moments[0] >= 0.05
    assert ended - moments[1] >= 0.1


def test_a_refused_connection_is_retried_and_named() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        message = failure(ApiUnreachableError, f"http://{address}/api")
    assert message == f"{address} sent no complete response after 3 attempts: no connection (Connection refused)"


def test_a_server_that_starts_late_is_reached() -> None:
    with socket.socket() as reserved, ExitStack() as servers:
        reserved.bind(("127.0.0.1", 0))

        def start(_: str) -> None:
            servers.enter_context(FaultyServer(send(response(GOOD)), listener=reserved))

        assert ids(fetch(f"http://127.0.0.1:{reserved.getsockname()[1]}/api", announce=start)) == [42, 43]


# Time. Nothing here measures how soon a fetch ends: one that did not end would be ended as a test that hangs.

FOREVER_SECONDS = 10.0**6
DRIPS: dict[str, Step] = {
    **DRIPPING,
    "interim answers": send_endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every_seconds=0.02),
    "early hints": send_endlessly(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", every_seconds=0.02),
    "status line": send_endlessly(b"", b"H", every_seconds=0.02),
    "one chunk's size": send_endlessly(CHUNKED + b"1;", b"x", every_seconds=0.02),
    "empty gzip blocks": send_endlessly(GZIPPED + EMPTY_GZIP, b"\0\0\0\xff\xff", every_seconds=0.02),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_a_response_that_drips_ends_with_the_time_allowed(drip: str) -> None:
    with FaultyServer(DRIPS[drip]) as server:
        started = time.monotonic()
        message = failure(ApiUnreachableError, server.base_url, total_seconds=0.5)
        assert time.monotonic() - started >= 0.4
        server.wait_for_requests(1)
    assert len(server.requests) == 1
    assert "within total_seconds = 0.5" in message


def test_silence_ends_with_the_time_allowed_even_if_a_read_may_take_longer() -> None:
    with FaultyServer(send_and_fall_silent()) as server:
        message = failure(ApiUnreachableError, server.base_url, total_seconds=0.3, read_seconds=FOREVER_SECONDS)
    assert f"{server.host} sent no complete response after 1 attempt within total_seconds = 0.3" in message


def test_the_time_allowed_is_for_all_attempts_together() -> None:
    with FaultyServer(send_and_fall_silent()) as server:
        message = failure(ApiUnreachableError, server.base_url, total_seconds=0.5, read_seconds=0.05, attempts=10**9)
    assert re.search(r" after \d+ attempts? within total_seconds = 0\.5: ", message)


def test_the_time_allowed_is_for_all_pages_together() -> None:
    page_numbers = count(2)

    def send_next_page(connection: socket.socket, stop: Event) -> None:
        stop.wait(0.05)
        number = next(page_numbers)
        connection.sendall(response(body(trunk(id=number), next_page_url=f"?page={number}")))

    with FaultyServer(send_next_page) as server:
        message = failure(ApiUnreachableError, server.base_url, total_seconds=0.4)
    assert "within total_seconds = 0.4" in message
