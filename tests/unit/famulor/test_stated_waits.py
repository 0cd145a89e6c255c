"""What a server says about how long to wait, in its headers or its body, and what is made of it."""

from __future__ import annotations

import gzip
import json
import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import ApiUnreachableError
from tests.support.faulty_server import FaultyServer, response, send
from tests.support.fetching import GOOD, NOT_TO_BE_QUOTED, failure, fetch, ids
from tests.support.runs import PATIENCE_SECONDS

if TYPE_CHECKING:
    import socket
    from threading import Event

    from tests.support.api import Api


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


def announced_seconds(line: str) -> float:
    (seconds,) = re.findall(r"attempt 2 of 3 in ([\d.]+) s$", line)
    return float(seconds)


@pytest.mark.parametrize("way", ["Retry-After in seconds", "X-RateLimit-Reset", "retry_after in the body"])
def test_a_stated_wait_is_kept(way: str) -> None:
    announced: list[str] = []
    asked_at: list[float] = []

    def ask_to_wait(connection: socket.socket, _: Event) -> None:
        asked_at.append(time.monotonic())
        connection.sendall(asked_to_wait(0.25)[way])

    with FaultyServer(ask_to_wait, send(response(GOOD))) as server:
        assert ids(fetch(server.base_url, announce=announced.append)) == [42, 43]
        assert time.monotonic() - asked_at[0] >= 0.24  # the moment of a reset is written in milliseconds
    assert len(announced) == 1
    assert "too many requests (429)" in announced[0]
    assert announced_seconds(announced[0]) <= 0.3


def test_a_wait_stated_as_a_date_is_kept() -> None:
    moment = int(time.time() + 0.3) + 1  # a date has whole seconds; this one is 0.3 to 1.3 s away
    rejection = response(status=429, Retry_After=formatdate(moment, usegmt=True))
    with FaultyServer(send(rejection), send(response(GOOD))) as server:
        fetch(server.base_url)
    assert time.time() >= moment


@pytest.mark.parametrize("way", asked_to_wait(0))
def test_a_stated_wait_beyond_the_time_allowed_is_not_waited_for(way: str) -> None:
    announced: list[str] = []
    with FaultyServer(send(asked_to_wait(10 * PATIENCE_SECONDS)[way])) as server:
        message = failure(ApiUnreachableError, server.base_url, announce=announced.append)
        assert len(server.requests) == 1
    assert announced == []
    assert f"{server.host} sent no complete response after 1 attempt within total_seconds = 600: " in message
    (asked,) = re.findall(r"too many requests \(429\); it asks to wait (\d+) s$", message)
    # What is stated as a moment is nearer by the time that this takes.
    assert 9 * PATIENCE_SECONDS < int(asked) <= 10 * PATIENCE_SECONDS


@pytest.mark.parametrize(
    "rejection",
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
def test_a_429_without_a_usable_wait_is_tried_again_after_the_usual_one(rejection: bytes) -> None:
    announced: list[str] = []
    with FaultyServer(send(rejection), send(response(GOOD))) as server:
        assert ids(fetch(server.base_url, announce=announced.append)) == [42, 43]
    assert [announced_seconds(line) for line in announced] == [0.0]


def test_too_many_requests_that_stay_are_unreachable(api: Api) -> None:
    api.answer(b"", status=429, Retry_After="0")
    assert "after 3 attempts: too many requests (429)" in failure(ApiUnreachableError, api.base_url)
    assert len(api.requests) == 3


def test_an_unavailable_server_may_state_a_wait_too(api: Api) -> None:
    api.answer(b"", status=503, Retry_After="6000")
    assert "status 503; it asks to wait 6000 s" in failure(ApiUnreachableError, api.base_url)


def test_a_rate_limit_reset_counts_only_where_the_limit_was_hit(api: Api) -> None:
    api.queue(b"", 500, X_RateLimit_Reset=str(int(time.time()) + 10 * PATIENCE_SECONDS))
    api.answer(GOOD)
    announced: list[str] = []
    assert ids(fetch(api.base_url, announce=announced.append)) == [42, 43]
    assert [announced_seconds(line) for line in announced] == [0.0]


def test_a_wait_stated_in_a_body_that_comes_in_pieces_is_read() -> None:
    head = b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b'b\r\n{"retry_aft\r\n9\r\ner": 0.3}\r\n0\r\n\r\n'
    waits: list[str] = []
    with FaultyServer(send(head + pieces), send(response(GOOD))) as server:
        fetch(server.base_url, announce=waits.append)
    assert "in 0.3 s" in waits[0]
