"""The demo account, whose trunks change from edition to edition, and a loopback server that is its API.

All of it is invented and the same on every machine: how the account observations follows from the number of the
edition alone, never from the clock. Standard library only: a demo needs no network and starts at once.
"""

from __future__ import annotations

import copy
import json
import random
from collections import deque
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")
Trunk = dict[str, Any]

DEMO_TOKEN = "demo-token"  # noqa: S105 - opens nothing but the server below

HOST = "127.0.0.1"
TRUNKS_PATH = "/api/user/phone-numbers/sip-trunks"
RATE_LIMIT = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "99", "X-RateLimit-Reset": "1774944000"}
EPOCH = datetime(2026, 3, 31, 8, tzinfo=UTC)  # the morning of edition 0
FIRST_ID = 2101
FIRST_COUNT = 50
MOST_PER_STEP = 3  # trunks added, changed and removed from one edition to the next
SIZES = range(42, 59)  # how many trunks an edition may have

# SIP host, calling format, outbound proxy, addresses that send inbound calls (none: username and password)
PROVIDERS: dict[str, tuple[str, str, bool, tuple[str, ...]]] = {
    "didlogic-br": ("sip.br.didlogic.net", "+e164", True, ("169.57.132.146",)),
    "didlogic-de": ("sip.de.didlogic.net", "+e164", True, ("157.230.96.24",)),
    "didlogic-fr": ("sip.fr.didlogic.net", "+e164", True, ("159.8.84.235",)),
    "didlogic-nl": ("sip.nl.didlogic.net", "+e164", True, ("89.149.192.7",)),
    "didlogic-uk": ("sip.uk.didlogic.net", "+e164", True, ("23.19.63.1",)),
    "didww": ("out.didww.com", "e164", True, ()),
    "easybell": ("voip.easybell.de", "+e164", False, ("195.52.221.151", "195.185.214.173", "195.52.221.142")),
    "fonial": ("sip.plusnet.de", "+e164", False, ()),
    "genesys": ("{customer}.byoc.apse2.pure.cloud", "+e164", False, ()),
    "own-pbx": ("pbx.{customer}.example", "national", False, ("203.0.113.10", "203.0.113.11")),
    "plivo": ("{customer}.zt.plivo.com", "+e164", False, ()),
    "ringcentral": ("sip.ringcentral.com", "+e164", False, ()),
    "sipcall": ("sip.sipcall.ch", "+e164", False, ()),
    "telnyx-au": ("sip.telnyx.com", "+e164", False, ("103.115.244.145", "103.115.244.146")),
    "telnyx-eu": ("sip.telnyx.com", "+e164", False, ("185.246.41.140", "185.246.41.141")),
    "telnyx-us": ("sip.telnyx.com", "+e164", False, ("192.76.120.10",)),
    "twilio": ("{customer}.pstn.twilio.com", "+e164", False, ("54.172.60.0", "54.172.60.1", "54.244.51.0")),
    "vonage": ("{customer}.sip.vonage.com", "+e164", False, ()),
    "wavix": ("nl.wavix.net", "+e164", False, ()),
    "zadarma": ("pbx.zadarma.com", "national", False, ()),
}

# A reseller's customers: new trunks take the rows in turn. DIDs of DE, GB, US, FR and AU come from the ranges
# reserved for fiction there; the other countries reserve none. Each row has a hundred numbers of its own, and
# as the count of rows shares no divisor with 100, a number comes up again only after 2700 trunks.
SITES = (
    ("hanse-spedition", "DE", "+49 40 66969 1##", "easybell"),
    ("hanse-spedition", "DE", "10##", "own-pbx"),
    ("praxis-lindner", "DE", "+49 30 23125 2##", "telnyx-eu"),
    ("kanzlei-brandt", "DE", "+49 69 90009 3##", "didww"),
    ("autohaus-keller", "DE", "+49 89 99998 4##", "fonial"),
    ("rheinbau", "DE", "+49 221 4710 5##", "twilio"),
    ("rheinbau", "DE", "20##", "own-pbx"),
    ("brightwater-dental", "GB", "+44 20 7946 01##", "telnyx-eu"),
    ("northgate-lettings", "GB", "+44 161 496 02##", "didlogic-uk"),
    ("clyde-couriers", "GB", "+44 141 496 03##", "didww"),
    ("harbor-clinics", "US", "+1 212 555 01##", "telnyx-us"),
    ("bluebird-insurance", "US", "+1 415 555 01##", "twilio"),
    ("lonestar-roofing", "US", "+1 512 555 01##", "plivo"),
    ("lonestar-roofing", "US", "30##", "ringcentral"),
    ("evergreen-realty", "US", "+1 206 555 01##", "vonage"),
    ("alpenblick-hotels", "AT", "+43 720 55 01 ##", "didlogic-de"),
    ("zuerisee-treuhand", "CH", "+41 44 555 01 ##", "sipcall"),
    ("sante-leman", "CH", "40##", "own-pbx"),
    ("atelier-sud", "FR", "+33 4 65 71 01 ##", "didlogic-fr"),
    ("clinique-vauban", "FR", "+33 1 99 00 02 ##", "wavix"),
    ("grachten-makelaars", "NL", "+31 20 555 01##", "didlogic-nl"),
    ("costa-rent", "ES", "50##", "zadarma"),
    ("costa-rent", "ES", "+34 919 55 01 ##", "twilio"),
    ("wisla-transport", "PL", "+48 22 555 01 ##", "didww"),
    ("southern-cross-travel", "AU", "+61 2 5550 01##", "telnyx-au"),
    ("yarra-physio", "AU", "+61 3 7010 02##", "genesys"),
    ("paulista-energia", "BR", "+55 11 5550 01##", "didlogic-br"),
)

# What is wrong at edition 0, by trunk, for the audit to find.
MISTAKES: dict[int, dict[str, object]] = {
    2104: {"outbound_proxy": False},  # DIDWW needs it
    2108: {"country_code": "UK"},
    2112: {"inbound_authorization_type": "ip", "allowed_inbound_ips": []},  # nobody can call in
    2118: {"sip_username": ""},  # as some PBX guides have it
    2121: {"allowed_inbound_ips": ["0.0.0.0/0"]},  # anybody can call in
    2129: {"allowed_inbound_ips": ["203.0.113.10", "10.20.0.5"]},  # private, never seen from outside
    2130: {"sip_calling_format": "national"},  # Telnyx wants +e164
    2131: {"sip_calling_format": "+e164"},  # DIDWW wants no plus
    2132: {"phone_number": "498999998432"},  # a DID without its plus
    2135: {"phone_number": "+44 20 7946 0135"},
    2138: {"phone_number": "+12125550111"},  # the number of 2111
    2139: {"sip_username": "+14155550139"},  # its own number, the first thing that a scanner tries
    2143: {"sip_address": "nordnetz.sip.livekit.cloud"},  # the platform's own inbound address
}

OFFICE_IPS = ("203.0.113.24", "198.51.100.77", "192.0.2.140", "10.8.0.15")  # the last one is the usual slip
NEW_PROVIDERS = ("telnyx-eu", "twilio", "didww", "didlogic-de")
CALLING_FORMATS = ("+e164", "e164", "national")


def trunks_at(edition: int) -> list[dict[str, object]]:
    """The demo account's trunks as the API would list them at `edition` (0, 1, 2, …), by id.

    Each edition is a day later than the one before it, with one to three trunks added, changed and removed.
    Raises ValueError if `edition` is negative.
    """
    if edition < 0:
        raise ValueError(f"editions start at 0, got {edition}")
    trunks = {trunk_id: _first_trunk(trunk_id) for trunk_id in range(FIRST_ID, FIRST_ID + FIRST_COUNT)}
    gone: deque[Trunk] = deque(maxlen=20)
    for step in range(1, edition + 1):
        _advance(trunks, gone, step)
    # Deep, so that a caller who edits an allowlist edits none of the tables above.
    return copy.deepcopy([trunks[trunk_id] for trunk_id in sorted(trunks)])


def _advance(trunks: dict[int, Trunk], gone: deque[Trunk], edition: int) -> None:
    """Takes `trunks` and the recently removed ones, `gone`, from the edition before to `edition`."""
    rng = _random(f"edition {edition}")
    now = _moment(edition, rng)
    add_count, change_count, remove_count = (1 + int(rng.random() * MOST_PER_STEP) for _ in range(3))
    if len(trunks) + add_count - remove_count not in SIZES:
        remove_count = add_count
    touched = _sample(rng, trunks, remove_count + change_count)

    first_id = FIRST_ID + FIRST_COUNT + (edition - 1) * MOST_PER_STEP  # so that no two editions share an id
    added = [_new_trunk(trunk_id, now) for trunk_id in range(first_id, first_id + add_count)]
    if gone and rng.random() < 0.3:  # a removed trunk comes back as it was, in place of a new one
        added[0] = _pick(rng, gone)
        gone.remove(added[0])
    for trunk_id in touched[:remove_count]:
        gone.append(trunks.pop(trunk_id))
    for trunk_id in touched[remove_count:]:
        trunks[trunk_id] |= _change(trunks[trunk_id], rng) | {"updated_at": now}
    trunks.update((trunk["id"], trunk) for trunk in added)


def _first_trunk(trunk_id: int) -> Trunk:
    """A trunk of edition 0, mistakes included: created one every nine days, half of them updated since."""
    rng = _random(f"trunk {trunk_id}")
    created_day = -9 * (FIRST_ID + FIRST_COUNT - trunk_id)
    trunk = _new_trunk(trunk_id, _moment(created_day, rng)) | MISTAKES.get(trunk_id, {})
    if rng.random() < 0.5:
        trunk["updated_at"] = _moment(int(created_day * rng.random()), rng)
    return trunk


def _new_trunk(trunk_id: int, now: str) -> Trunk:
    return {"id": trunk_id, **_settings(trunk_id), "created_at": now, "updated_at": now}


def _settings(trunk_id: int) -> Trunk:
    """What a trunk is set to when nobody made a mistake."""
    customer, country, numbers, provider = SITES[(trunk_id - FIRST_ID) % len(SITES)]
    serial = f"{trunk_id % 100:02}"
    return {
        "phone_number": numbers.replace(" ", "").replace("##", serial),
        "sip_username": f"{customer}-{serial}",
        **_connection(customer, provider),
        "country_code": country,
    }


def _connection(customer: str, provider: str) -> Trunk:
    host, calling_format, outbound_proxy, inbound_ips = PROVIDERS[provider]
    return {
        "sip_address": host.format(customer=customer),
        "sip_calling_format": calling_format,
        "inbound_authorization_type": "ip" if inbound_ips else "auth",
        "allowed_inbound_ips": list(inbound_ips) or None,
        "outbound_proxy": outbound_proxy,
    }


def _change(trunk: Trunk, rng: random.Random) -> Trunk:
    """The fields that somebody sets anew, not always for the better; none of them when it is the password."""
    number: str = trunk["phone_number"]
    other_number = f"{number[:-2]}{(int(number[-2:]) + 50) % 100:02}"
    more_ips = sorted({*(trunk["allowed_inbound_ips"] or ()), _pick(rng, OFFICE_IPS)})
    customer = SITES[(trunk["id"] - FIRST_ID) % len(SITES)][0]
    possible: tuple[Trunk, ...] = (
        {},
        {"phone_number": other_number},
        {"sip_username": f"{customer}-{int(rng.random() * 1e6):06}"},
        {"sip_calling_format": _pick(rng, CALLING_FORMATS)},
        {"outbound_proxy": not trunk["outbound_proxy"]},
        {"inbound_authorization_type": "auth", "allowed_inbound_ips": None},
        {"inbound_authorization_type": "ip", "allowed_inbound_ips": more_ips},
        _connection(customer, _pick(rng, NEW_PROVIDERS)),
        _settings(trunk["id"]),  # put right
    )
    return _pick(rng, possible)


def _moment(day: int, rng: random.Random) -> str:
    """Some time within office hours of the `day`, in the API's spelling."""
    moment = EPOCH + timedelta(days=day, seconds=int(rng.random() * 36_000))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _random(seed: str) -> random.Random:
    """Numbers that follow from `seed`: call `random()` only, Python promises it of no other method."""
    return random.Random(seed)  # noqa: S311 - invents data, guards nothing


def _pick(rng: random.Random, items: Sequence[T]) -> T:
    return items[int(rng.random() * len(items))]


def _sample(rng: random.Random, items: Iterable[T], item_count: int) -> list[T]:
    return sorted(items, key=lambda _: rng.random())[:item_count]


@contextmanager
def serve(port: int = 0, *, edition: int = 0, advances: bool = False) -> Iterator[str]:
    """The base URL of a server on this machine that answers as the demo account at `edition`.

    It listens on `port`, on a free one when that is 0, until the context ends. With `advances`, every list of
    trunks that it hands out is of the next edition.
    """
    # One shared counter instead of a lock: `next` of a `count` is atomic.
    editions = count(edition, int(advances))
    with ThreadingHTTPServer((HOST, port), partial(_Handler, editions)) as server:
        # Looks for the shutdown every 0.02 seconds: at the default of 0.5 every demo ends with a pause.
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits for the client to acknowledge its headers
    timeout = 10  # seconds that an idle connection may outlive the server

    def __init__(self, editions: Iterator[int], *args: Any) -> None:
        self.editions = editions  # first: the base class answers the requests while it is constructed
        super().__init__(*args)

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that hangs up is no news
            super().handle()

    def do_GET(self) -> None:
        if urlsplit(self.path).path != TRUNKS_PATH:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "Not found."})
        elif self.headers["Authorization"] != f"Bearer {DEMO_TOKEN}":
            message = "The API key is missing, wrong or expired."
            self._answer(HTTPStatus.UNAUTHORIZED, {"error": "Invalid API key", "message": message})
        else:
            self._answer(HTTPStatus.OK, {"data": trunks_at(next(self.editions))})

    def _refuse(self) -> None:
        answer: dict[str, object] = {"message": f"{self.command} is not supported: use GET."}
        # Closed, because whatever body came along is unread and would pass for the next request.
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, answer, Allow="GET", Connection="close")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - http.server's names

    def _answer(self, status: HTTPStatus, answer: dict[str, object], **headers: str) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (RATE_LIMIT | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No access log: the demo's output is its user's."""
