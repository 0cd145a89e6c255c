"""Answers of the API with as many trunks as asked for, the same bytes on every machine, and their server.

`python -m tests.bench.answer 1000 100000 --moments first touched` builds an answer per size and moment, serves it as
the API does, and its list of trunks, which are the same bytes, as a bare array:

    /<size>/<moment>/api/user/phone-numbers/sip-trunks   {"data":[…]}
    /<size>/<moment>/bare                                        […]

It prints, as one line of JSON, the port and what a loader has to end up with. It stops when its standard input ends,
so that it cannot outlive the process that started it. Standard library only; `tests.bench.serving` starts it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HOST = "127.0.0.1"
TOKEN = "bench-token"
TRUNKS_PATH = "user/phone-numbers/sip-trunks"
START, END = b'{"data":', b"}"  # what the answer has around the bare array

FIRST_ID = 2101
FIRST_CREATED_AT = datetime(2024, 1, 10, 8)  # noqa: DTZ001 - spelled with its Z; half the time of an aware one
CUSTOMERS = ("hanse-spedition", "praxis-lindner", "brightwater-dental", "harbor-clinics", "alpenblick-hotels")

# country, start of its numbers, SIP host, calling format, outbound proxy
SITES = (
    ("DE", "+4930231", "sip.telnyx.com", "+e164", False),
    ("US", "+1212555", "{customer}.pstn.twilio.com", "+e164", False),
    ("GB", "+4420794", "sip.uk.didlogic.net", "+e164", True),
    ("FR", "+3319900", "out.didww.com", "e164", True),
    ("DE", "", "pbx.{customer}.example", "national", False),  # extensions of a PBX
    ("NL", "+3120555", "nl.wavix.net", "+e164", False),
    ("AT", "+4372055", "sip.de.didlogic.net", "+e164", True),
)


class Moment(StrEnum):
    """When the API is asked."""

    FIRST = "first"
    TOUCHED = "touched"
    """Every hundredth trunk has another value of one field."""
    LATER = "later"
    """A fiftieth of the trunks is lost, as many are won, and every twentieth has changed."""


class Fingerprint(NamedTuple):
    """What a loader must have stored: two that are equal hold the same values of every field of every trunk."""

    trunk_count: int
    id_sum: int
    digest: str


@dataclass(frozen=True)
class Answer:
    """The body, and what is in it."""

    body: bytes
    fingerprint: Fingerprint


class _Piece(NamedTuple):
    """A part of the answer: the records as JSON without the brackets, and what the fingerprint needs of them."""

    text: bytes
    id_sum: int
    digests: str


def build_answer(trunk_count: int, moment: Moment = Moment.FIRST, *, at_once: int = 50_000) -> Answer:
    """Return the answer with that many trunks; one process makes so many `at_once`."""
    moved = trunk_count // 50 if moment is Moment.LATER else 0
    starts = range(moved, trunk_count + moved, at_once)
    serials = [range(start, min(start + at_once, trunk_count + moved)) for start in starts]
    make = partial(_make_piece, moment)
    texts, id_sum, digest = [], 0, hashlib.sha256()
    # A process of its own costs more than a small answer, and less than waiting for a large one.
    with ProcessPoolExecutor() as pool:
        for piece in pool.map(make, serials) if len(serials) > 1 else map(make, serials):
            texts.append(piece.text)
            id_sum += piece.id_sum
            digest.update(piece.digests.encode())
    body = b"".join((START, b"[", b",".join(texts), b"]", END))
    return Answer(body, Fingerprint(trunk_count, id_sum, digest.hexdigest()))


def _make_piece(moment: Moment, serials: range) -> _Piece:
    trunks = [_at(moment, trunk(serial)) for serial in serials]
    text = json.dumps(trunks, separators=(",", ":")).encode()[1:-1]
    return _Piece(text, sum(values["id"] for values in trunks), "".join(map(_digest, trunks)))


def _at(moment: Moment, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a trunk has at that moment: one that has changed calls the other way round."""
    every = {Moment.FIRST: 0, Moment.TOUCHED: 100, Moment.LATER: 20}[moment]
    if not every or values["id"] % every:
        return values
    return values | {"outbound_proxy": not values["outbound_proxy"]}


def trunk(serial: int) -> dict[str, Any]:
    """Return the trunk of that serial number; every other one has an allowlist, of one to three addresses."""
    # Neither 5 nor 7 divides the other or 2, so that every customer has trunks of every kind.
    customer = CUSTOMERS[serial % len(CUSTOMERS)]
    country, number, host, calling_format, outbound_proxy = SITES[serial % len(SITES)]
    allowlist = _allowlist(serial) if serial % 2 else None
    created_at = FIRST_CREATED_AT + timedelta(seconds=301 * serial, microseconds=serial * 7919 % 10**6)
    updated_at = created_at + timedelta(hours=serial % 500 if serial % 3 else 0)
    return {
        "id": FIRST_ID + serial,
        "phone_number": f"{number}{serial:07}" if number else str(1000 + serial % 9000),
        "sip_username": f"{customer}-{serial:06}",
        "sip_address": host.format(customer=customer),
        "sip_calling_format": calling_format,
        "inbound_authorization_type": "ip" if allowlist else "auth",
        "allowed_inbound_ips": allowlist,
        "outbound_proxy": outbound_proxy,
        "country_code": country,
        "created_at": _spelled(created_at),
        "updated_at": _spelled(updated_at),
    }


def _allowlist(serial: int) -> list[str]:
    return [f"203.{place}.{serial // 250 % 256}.{serial % 250 + 1}" for place in range(1 + serial // 2 % 3)]


def _spelled(moment: datetime) -> str:
    return f"{moment.isoformat(timespec='microseconds')}Z"


def _digest(values: Mapping[str, Any]) -> str:
    """Return what the fingerprint takes of a trunk; `tests.bench.stored` takes the same of what is stored."""
    return hashlib.md5("\x1f".join(_as_text(values)).encode()).hexdigest()


def _as_text(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if name == "allowed_inbound_ips":
            yield ",".join(value or ())
        elif name.endswith("_at"):
            since = datetime.fromisoformat(value[:-1]) - datetime(1970, 1, 1)  # noqa: DTZ001 - both are UTC
            yield str((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds)
        else:
            yield str(value).lower() if isinstance(value, bool) else str(value)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, bodies: Mapping[str, memoryview], *args: Any) -> None:
        self.bodies = bodies  # first: the base class answers while it is constructed
        super().__init__(*args)

    def do_GET(self) -> None:
        body = self.bodies.get(self.path)
        if body is None:
            self._answer(HTTPStatus.NOT_FOUND, memoryview(b'{"error": "Not found."}'))
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(HTTPStatus.UNAUTHORIZED, memoryview(b'{"error": "Invalid API key"}'))
        else:
            self._answer(HTTPStatus.OK, body)

    def _answer(self, status: HTTPStatus, body: memoryview) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No access log."""


def serve(sizes: Iterable[int], moments: Iterable[Moment]) -> None:
    """Serve an answer of each size and moment until standard input ends."""
    answers = {f"/{size}/{moment}": build_answer(size, moment) for size, moment in product(sizes, moments)}
    bodies = {}
    for place, answer in answers.items():
        body = memoryview(answer.body)
        bodies[f"{place}/api/{TRUNKS_PATH}"] = body
        bodies[f"{place}/bare"] = body[len(START) : -len(END)]
    facts = {
        place: [len(answer.body), hashlib.sha256(answer.body).hexdigest(), answer.fingerprint]
        for place, answer in answers.items()
    }
    with ThreadingHTTPServer((HOST, 0), partial(_Handler, bodies)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"port": server.server_port, "answers": facts}), flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="+", type=int)
    parser.add_argument("--moments", nargs="+", type=Moment, default=[Moment.FIRST])
    options = parser.parse_args()
    serve(options.sizes, options.moments)
