"""One answer of the API with as many trunks as asked for, the same bytes on every machine, and its server.

`python -m tests.bench.answer 100 100000` serves an answer of each size below `/<size>/api` and prints, as one line
of JSON, the port and what a loader has to end up with; with `later`, the answers of a later moment. It stops when its
standard input ends, so that it cannot outlive the process that started it. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOST = "127.0.0.1"
TOKEN = "bench-token"
TRUNKS_PATH = "user/phone-numbers/sip-trunks"

FIRST_ID = 2101
FIRST_CREATED_AT = datetime(2024, 1, 10, 8, tzinfo=UTC)
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


def build_answer(trunk_count: int, *, is_later: bool = False) -> Answer:
    """Return the answer with that many trunks; the later one has lost and won some, and changed others."""
    trunks = [_change(trunk(serial)) for serial in _later(trunk_count)] if is_later else _first(trunk_count)
    return Answer(json.dumps({"data": trunks}, separators=(",", ":")).encode(), fingerprint_of(trunks))


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


def _first(trunk_count: int) -> list[dict[str, Any]]:
    return [trunk(serial) for serial in range(trunk_count)]


def _later(trunk_count: int) -> range:
    moved = trunk_count // 50
    return range(moved, trunk_count + moved)


def _change(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a trunk after some time: every twentieth calls through the outbound proxy or no longer."""
    return values if values["id"] % 20 else values | {"outbound_proxy": not values["outbound_proxy"]}


def _allowlist(serial: int) -> list[str]:
    return [f"203.{place}.{serial // 250 % 256}.{serial % 250 + 1}" for place in range(1 + serial // 2 % 3)]


def _spelled(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def fingerprint_of(trunks: Iterable[Mapping[str, Any]]) -> Fingerprint:
    """Return the fingerprint of the trunks, which come by id; `tests.bench.stored` takes it of a DuckDB file."""
    count = id_sum = 0
    digest = hashlib.sha256()
    for values in trunks:
        count += 1
        id_sum += values["id"]
        digest.update(hashlib.md5("\x1f".join(_as_text(values)).encode()).hexdigest().encode())
    return Fingerprint(count, id_sum, digest.hexdigest())


def _as_text(values: Mapping[str, Any]) -> Iterable[str]:
    for name, value in values.items():
        if name == "allowed_inbound_ips":
            yield ",".join(value or ())
        elif name.endswith("_at"):
            yield str((datetime.fromisoformat(value) - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1))
        else:
            yield str(value).lower() if isinstance(value, bool) else str(value)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, answers: Mapping[str, Answer], *args: Any) -> None:
        self.answers = answers  # first: the base class answers while it is constructed
        super().__init__(*args)

    def do_GET(self) -> None:
        answer = self.answers.get(self.path)
        if answer is None:
            self._answer(HTTPStatus.NOT_FOUND, b'{"error": "Not found."}')
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(HTTPStatus.UNAUTHORIZED, b'{"error": "Invalid API key"}')
        else:
            self._answer(HTTPStatus.OK, answer.body)

    def _answer(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No access log."""


def serve(sizes: Iterable[int], *, is_later: bool) -> None:
    """Serve an answer of each size until standard input ends."""
    answers = {size: build_answer(size, is_later=is_later) for size in sizes}
    by_path = {f"/{size}/api/{TRUNKS_PATH}": answer for size, answer in answers.items()}
    with ThreadingHTTPServer((HOST, 0), partial(_Handler, by_path)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        facts = {size: [len(answer.body), answer.fingerprint] for size, answer in answers.items()}
        print(json.dumps({"port": server.server_port, "answers": facts}), flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    serve(map(int, filter(str.isdecimal, sys.argv[1:])), is_later="later" in sys.argv)
