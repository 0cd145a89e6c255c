"""The demo account, whose trunks change from edition to edition, and its API on a loopback server.

The account is invented and the same on every machine: the number of an edition determines its trunks, not the clock.
demo.toml has the sites, providers and mistakes. Only the standard library is used, so that a demo starts at once.
"""

import copy
import json
import random
import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from itertools import count
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

T = TypeVar("T")
Trunk = dict[str, Any]

DEMO_TOKEN = "demo-token"  # noqa: S105 - valid only for the server below

HOST = "127.0.0.1"
TRUNKS_PATH = "/api/user/phone-numbers/sip-trunks"
NUMBERS_PATH = "/api/user/assistants/phone-numbers"
ASSISTANTS_PATH = "/api/user/assistants/get"
RATE_LIMIT = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "99", "X-RateLimit-Reset": "1774944000"}
EPOCH = datetime(2026, 3, 31, 8, tzinfo=UTC)  # the morning of edition 0
FIRST_ID = 2101
FIRST_COUNT = 50
MOST_PER_STEP = 3  # trunks added, changed and removed per edition
SIZES = range(42, 59)  # allowed numbers of trunks in an edition

_ACCOUNT = tomllib.loads(resources.files(__package__).joinpath("demo.toml").read_text("utf-8"))
PROVIDERS: dict[str, tuple[str, str, bool, list[str]]] = _ACCOUNT["providers"]
SITES: list[tuple[str, str, str, str]] = _ACCOUNT["sites"]
MISTAKES: dict[str, Trunk] = _ACCOUNT["mistakes"]
INCIDENTS: dict[str, dict[str, Trunk]] = _ACCOUNT["incidents"]
RECREATED: dict[str, int] = _ACCOUNT["recreated"]
UNANSWERED: dict[str, int] = _ACCOUNT["unanswered"]
STATUSES: dict[str, str] = _ACCOUNT["assistants"]

OFFICE_IPS = ("203.0.113.24", "198.51.100.77", "192.0.2.140", "10.8.0.15")  # the last one is private, a common mistake
NEW_PROVIDERS = ("telnyx-eu", "twilio", "didww", "didlogic-de")
CALLING_FORMATS = ("+e164", "e164", "national")


def trunks_at(edition: int) -> list[dict[str, object]]:
    """Return the trunks of the demo account at `edition` (0, 1, 2, …) as the API lists them, ordered by id.

    Each edition is one day after the previous one, with one to three trunks added, changed and removed.
    """
    trunks = _trunks_of(edition)
    # A deep copy, so that changes by the caller do not reach the account.
    return copy.deepcopy([trunks[trunk_id] for trunk_id in sorted(trunks)])


def _trunks_of(edition: int) -> dict[int, Trunk]:
    trunks = {trunk_id: _first_trunk(trunk_id) for trunk_id in range(FIRST_ID, FIRST_ID + FIRST_COUNT)}
    gone: deque[Trunk] = deque(maxlen=20)
    for step in range(1, edition + 1):
        _advance(trunks, gone, step)
    return trunks


def assistants_at(edition: int) -> list[Trunk]:
    """Return the assistants at `edition` as the API lists them: an inbound one per trunk, and some outbound ones."""
    idle = {int(trunk_id) for trunk_id, begin in UNANSWERED.items() if begin <= edition}
    idle |= {_first_id(int(begin)) for begin in RECREATED if int(begin) <= edition}
    assistants = list[Trunk]()
    for trunk_id in _trunks_of(edition):
        customer = SITES[(trunk_id - FIRST_ID) % len(SITES)][0].replace("-", " ").title()
        # An assistant whose number was taken from it stays.
        status, number = STATUSES.get(str(trunk_id), "active"), None if trunk_id in idle else trunk_id
        assistants.append(_assistant(trunk_id * 10, f"{customer} Reception", "inbound", number, status))
        if trunk_id % 5 == 0:
            assistants.append(_assistant(trunk_id * 10 + 1, f"{customer} Reminders", "outbound", trunk_id))
    return assistants


def _assistant(assistant_id: int, name: str, kind: str, number: int | None, status: str = "active") -> Trunk:
    return {
        "id": assistant_id,
        "phone_number_id": number,
        "name": name,
        "type": kind,
        "status": "inactive" if status == "deleted" else status,
        "deleted_at": _moment(-3, _random(name)) if status == "deleted" else None,
        "system_prompt": f"You are the friendly voice of {name}.",
        "variables": {"greeting": "Hello"},
        "tools": [{"type": "webhook", "url": f"https://hooks.example.com/{assistant_id}"}],
    }


def numbers_at(edition: int) -> list[dict[str, object]]:
    """Return the numbers at `edition` as the API lists them for assistants: of all trunks, and two others."""
    answered = {one["phone_number_id"] for one in assistants_at(edition) if one["type"] == "inbound"}
    numbers = [_number(trunk, "SIP", is_available=trunk["id"] not in answered) for trunk in trunks_at(edition)]
    bought = {"id": 901, "phone_number": "+493023125901", "country_code": "DE"}
    shown = {"id": 902, "phone_number": "+442079460902", "country_code": "GB"}
    return [*numbers, _number(bought, "Normal", is_available=True), _number(shown, "Caller ID", is_available=True)]


def _number(number: Trunk, label: str, *, is_available: bool) -> dict[str, object]:
    shown = {name: number[name] for name in ("id", "phone_number", "country_code")}
    return shown | {"type_label": label, "is_available": is_available}


def _list_page(items: list[dict[str, object]], query: str) -> dict[str, object]:
    """Return the page of a list that a query asks for, as Laravel sends it."""
    asked = {name: int(value) for name, value in parse_qsl(query) if value.isdecimal()}
    size, page = max(asked.get("per_page", 15), 1), max(asked.get("page", 1), 1)
    pages = -(-len(items) // size)
    data = items[(page - 1) * size : page * size]
    return {"data": data, "current_page": page, "per_page": size, "total": len(items), "last_page": max(pages, 1)}


def _advance(trunks: dict[int, Trunk], gone: deque[Trunk], edition: int) -> None:
    """Change `trunks` and `gone`, the recently removed trunks, from the previous edition to `edition`."""
    rng = _random(f"edition {edition}")
    now = _moment(edition, rng)
    add_count, change_count, remove_count = (1 + int(rng.random() * MOST_PER_STEP) for _ in range(3))
    if len(trunks) + add_count - remove_count not in SIZES:
        remove_count = add_count
    calm = _list_calm() if edition <= len(INCIDENTS) else ()
    touched = [i for i in sorted(trunks, key=lambda _: rng.random()) if i not in calm][: remove_count + change_count]

    first_id = _first_id(edition)
    added = [_new_trunk(trunk_id, now) for trunk_id in range(first_id, first_id + add_count)]
    if gone and rng.random() < 0.3:  # a removed trunk comes back as it was, in place of a new one
        added[0] = _pick(rng, gone)
        gone.remove(added[0])
    if recreated := RECREATED.get(str(edition)):
        added[0] = trunks[recreated] | {"id": first_id, "created_at": now, "updated_at": now}
        touched[0] = recreated
    for trunk_id in touched[:remove_count]:
        gone.append(trunks.pop(trunk_id))
    incidents = {int(trunk_id): change for trunk_id, change in INCIDENTS.get(str(edition), {}).items()}
    changes = incidents | {trunk_id: _change(trunks[trunk_id], rng) for trunk_id in touched[remove_count:]}
    for trunk_id, change in list(changes.items())[: max(change_count, len(incidents))]:
        trunks[trunk_id] |= change | {"updated_at": now}
    trunks.update((trunk["id"], trunk) for trunk in added)


def _first_id(edition: int) -> int:
    """Return the id of the first trunk that is added in an edition; no two editions share an id."""
    return FIRST_ID + FIRST_COUNT + (edition - 1) * MOST_PER_STEP


def _list_calm() -> set[int]:
    """Return the trunks that change only by incidents until the last one."""
    incidents = [trunk_id for changed in INCIDENTS.values() for trunk_id in changed]
    recreated = {*RECREATED.values(), *(_first_id(int(edition)) for edition in RECREATED)}
    return {*map(int, [*MISTAKES, *incidents]), *recreated, *_ACCOUNT["originals"]}


def _first_trunk(trunk_id: int) -> Trunk:
    """Return a trunk of edition 0 with its mistakes. One was created every nine days; half were updated since."""
    rng = _random(f"trunk {trunk_id}")
    created_day = -9 * (FIRST_ID + FIRST_COUNT - trunk_id)
    trunk = _new_trunk(trunk_id, _moment(created_day, rng)) | MISTAKES.get(str(trunk_id), {})
    if rng.random() < 0.5:
        trunk["updated_at"] = _moment(int(created_day * rng.random()), rng)
    return trunk


def _new_trunk(trunk_id: int, now: str) -> Trunk:
    return {"id": trunk_id, **_settings(trunk_id), "created_at": now, "updated_at": now}


def _settings(trunk_id: int) -> Trunk:
    """Return the settings of a trunk without mistakes."""
    customer, country, numbers, provider = SITES[(trunk_id - FIRST_ID) % len(SITES)]
    serial = f"{trunk_id % 100:02}"
    return {
        "phone_number": numbers.replace(" ", "").replace("##", serial),
        "nickname": f"{customer.replace('-', ' ').title()} {serial}",
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
    """Return changed fields, which may be mistakes; no fields if the password changes."""
    number: str = trunk["phone_number"] or _settings(trunk["id"])["phone_number"]
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
        _settings(trunk["id"]),  # corrects mistakes
    )
    return _pick(rng, possible)


def _moment(day: int, rng: random.Random) -> str:
    """Return a time in the office hours of `day`, in the API's format."""
    moment = EPOCH + timedelta(days=day, seconds=int(rng.random() * 36_000))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _random(seed: str) -> random.Random:
    """Return a generator for `seed`. Use only `random()`: only its results are the same in every Python."""
    return random.Random(seed)  # noqa: S311 - not used for security


def _pick(rng: random.Random, items: Sequence[T]) -> T:
    return items[int(rng.random() * len(items))]


@contextmanager
def serve(port: int = 0, *, edition: int = 0, advances: bool = False) -> Iterator[str]:
    """Serve the API of the demo account at `edition` on this machine, and yield its base URL.

    The server listens on `port` (0: a free port) until the context ends. With `advances`, each list of trunks is the
    next edition; the other lists belong to the last one.
    """
    # `next` of a `count` is atomic, so that no lock is needed.
    editions, last = count(edition, int(advances)), deque([edition], maxlen=1)
    with ThreadingHTTPServer((HOST, port), partial(_Handler, editions, last)) as server:
        # Polls for the shutdown every 0.02 seconds: the default of 0.5 would delay the end of every demo.
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits until the client acknowledges the headers
    timeout = 10  # seconds an idle connection may stay open after the server stops

    def __init__(self, editions: Iterator[int], last: deque[int], *args: Any) -> None:
        # Set first, because the constructor of the base class handles the requests.
        self.editions, self.last = editions, last
        super().__init__(*args)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client hung up
            super().handle()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path not in (TRUNKS_PATH, NUMBERS_PATH, ASSISTANTS_PATH):
            self._respond(HTTPStatus.NOT_FOUND, {"error": "Not found."})
        elif self.headers["Authorization"] != f"Bearer {DEMO_TOKEN}":
            message = "The API key is missing, wrong or expired."
            self._respond(HTTPStatus.UNAUTHORIZED, {"error": "Invalid API key", "message": message})
        elif parts.path == TRUNKS_PATH:
            self.last.append(next(self.editions))
            self._respond(HTTPStatus.OK, {"data": trunks_at(self.last[-1])})
        elif parts.path == NUMBERS_PATH:
            self._respond(HTTPStatus.OK, numbers_at(self.last[-1]))
        else:
            self._respond(HTTPStatus.OK, _list_page(assistants_at(self.last[-1]), parts.query))

    def _refuse(self) -> None:
        message = f"{self.command} is not supported: use GET."
        # Closed, because an unread request body would be parsed as the next request.
        self._respond(HTTPStatus.METHOD_NOT_ALLOWED, {"message": message}, Allow="GET", Connection="close")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - http.server's names

    def _respond(self, status: HTTPStatus, content: object, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (RATE_LIMIT | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no access log."""
