"""Bodies that are compressed, chunked, large, endless, or known already."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.support.builders import IP_TRUNK, TRUNK, body, raw, trunk
from tests.support.faulty_server import FaultyServer, response, send, send_endlessly
from tests.support.fetching import GOOD, failure, fetch, ids, records
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def deflated_raw(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


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
    trunks = [trunk(id=number, zz_text="x" * 1000) for number in range(5000)]
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
            message = failure(InvalidResponseError, server.base_url, max_body_bytes=2**20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(server.requests) == 1
    assert message == "expected at most max_body_bytes = 1048576, got a larger response"
    assert peak < 2**23


def test_a_body_without_end_is_refused_at_the_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with FaultyServer(send_endlessly(head, b" " * 65536)) as server:
        message = failure(InvalidResponseError, server.base_url, max_body_bytes=2**20)
        assert len(server.requests) == 1
    assert "max_body_bytes = 1048576" in message


def test_a_body_of_exactly_the_limit_is_read(api: Api) -> None:
    api.answer(GOOD)
    assert ids(fetch(api.base_url, max_body_bytes=len(GOOD))) == [42, 43]
    failure(InvalidResponseError, api.base_url, max_body_bytes=len(GOOD) - 1)


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
