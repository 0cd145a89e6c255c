"""The demo account is believable, the same everywhere, and served as the API would serve it."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.famulor.demo import DEMO_TOKEN, serve, trunks_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": int,
    "phone_number": str,
    "nickname": str,
    "sip_username": str,
    "sip_address": str,
    "sip_calling_format": str,
    "inbound_authorization_type": str,
    "allowed_inbound_ips": (list, type(None)),
    "outbound_proxy": bool,
    "country_code": str,
    "created_at": str,
    "updated_at": str,
}
CALLING_FORMATS = {"+e164", "e164", "national"}
IMPORTED = 2150  # the trunk with values that the API does not document
TRUNKS = "/user/phone-numbers/sip-trunks"
# Straight to the loopback, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
AUTHORIZED = {"Authorization": f"Bearer {DEMO_TOKEN}"}

Trunk = dict[str, Any]


@pytest.fixture(scope="module")
def editions() -> list[list[Trunk]]:
    return [trunks_at(edition) for edition in range(120)]


@pytest.fixture
def base_url() -> Iterator[str]:
    with serve() as url:
        yield url


def by_id(trunks: Iterable[Trunk]) -> dict[int, Trunk]:
    return {trunk["id"]: trunk for trunk in trunks}


def steps(editions: list[list[Trunk]]) -> Iterator[tuple[dict[int, Trunk], dict[int, Trunk]]]:
    """Each edition with the one that follows it."""
    return pairwise(map(by_id, editions))


def changes(before: dict[int, Trunk], after: dict[int, Trunk]) -> dict[int, set[str]]:
    """The fields that changed, for every trunk in both editions that changed."""
    return {
        trunk_id: {field for field in FIELDS if before[trunk_id][field] != after[trunk_id][field]}
        for trunk_id in before.keys() & after.keys()
        if before[trunk_id] != after[trunk_id]
    }


def request(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    """Status, headers and decoded body of the answer, whatever its status."""
    try:
        with OPENER.open(urllib.request.Request(url, method=method, headers=headers or {})) as ok:
            return ok.status, ok.headers, json.load(ok)
    except urllib.error.HTTPError as refused:
        with refused:
            body = refused.read()
            return refused.code, refused.headers, json.loads(body) if body else None


@pytest.mark.parametrize(
    ("edition", "sha256"),
    [
        (0, "b5e77a1b297a47cd82bf2a1939f261ab0bddae55d27266e43a6196e52c9b36f2"),
        (7, "ffd672d575b3fdfac842f458b3a3ca46012966e4cdf414cba08d1bae5e3beb4f"),
    ],
)
def test_editions_are_the_same_on_every_machine(edition: int, sha256: str) -> None:
    assert hashlib.sha256(json.dumps(trunks_at(edition)).encode()).hexdigest() == sha256


def test_editing_an_edition_leaves_later_ones_alone() -> None:
    before = json.dumps(trunks_at(3))
    edited: list[Trunk] = trunks_at(3)
    for trunk in edited:
        (trunk["allowed_inbound_ips"] or []).append("192.0.2.1")
        trunk.clear()
    assert json.dumps(trunks_at(3)) == before


def test_trunks_have_the_documented_fields_in_order_with_their_types(editions: list[list[Trunk]]) -> None:
    for trunk in (trunk for trunks in editions for trunk in trunks):
        assert list(trunk) == list(FIELDS)
        odd = {"country_code"} if trunk["id"] == IMPORTED else set()
        assert {n for n, expected in FIELDS.items() if not isinstance(trunk[n], expected)} <= odd, trunk
        assert type(trunk["id"]) is int
        assert all(isinstance(ip, str) for ip in trunk["allowed_inbound_ips"] or [])


def test_enums_hold_documented_values_only_and_each_of_them(editions: list[list[Trunk]]) -> None:
    assert {trunk["sip_calling_format"] for trunk in editions[0] if trunk["id"] != IMPORTED} == CALLING_FORMATS
    for trunks in editions:
        assert {trunk["sip_calling_format"] for trunk in trunks if trunk["id"] != IMPORTED} <= CALLING_FORMATS
        assert {trunk["inbound_authorization_type"] for trunk in trunks} == {"auth", "ip"}


def test_timestamps_have_the_documented_spelling_and_order(editions: list[list[Trunk]]) -> None:
    spelling = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z")
    for trunk in (trunk for trunks in editions for trunk in trunks):
        assert spelling.fullmatch(trunk["created_at"])
        assert spelling.fullmatch(trunk["updated_at"])
        assert trunk["created_at"] <= trunk["updated_at"]


def test_no_two_trunks_share_an_id_and_only_a_copy_has_the_login_of_another(editions: list[list[Trunk]]) -> None:
    for trunks in editions:
        logins = {(trunk["phone_number"], trunk["sip_username"], trunk["sip_address"]) for trunk in trunks}
        assert len(by_id(trunks)) == len(trunks)
        assert len(trunks) - len(logins) <= 1


def test_trunks_are_listed_by_id(editions: list[list[Trunk]]) -> None:
    for trunks in editions:
        assert [trunk["id"] for trunk in trunks] == sorted(trunk["id"] for trunk in trunks)


def test_the_account_stays_about_as_big_as_it_was(editions: list[list[Trunk]]) -> None:
    assert all(40 <= len(trunks) <= 60 for trunks in editions)


def test_every_edition_changes_adds_and_removes_trunks(editions: list[list[Trunk]]) -> None:
    for before, after in steps(editions):
        assert 1 <= len(after.keys() - before.keys()) <= 3
        assert 1 <= len(before.keys() - after.keys()) <= 3
        assert 1 <= len(changes(before, after)) <= 3


def test_every_change_moves_updated_at_forward_and_leaves_the_identity(editions: list[list[Trunk]]) -> None:
    for before, after in steps(editions):
        for trunk_id, fields in changes(before, after).items():
            assert "updated_at" in fields
            assert not fields & {"id", "created_at"}
            assert before[trunk_id]["updated_at"] < after[trunk_id]["updated_at"]


def test_every_field_that_can_change_does_and_sometimes_only_the_password(
    editions: list[list[Trunk]],
) -> None:
    seen = [fields for step in steps(editions) for fields in changes(*step).values()]
    assert set.union(*seen) >= set(FIELDS) - {"id", "nickname", "created_at", "country_code"}
    assert {"updated_at"} in seen


def test_a_removed_trunk_sometimes_comes_back_as_it_was(editions: list[list[Trunk]]) -> None:
    removed: dict[int, Trunk] = {}
    returned: list[tuple[Trunk, Trunk]] = []
    for before, after in steps(editions):
        returned += [(removed[trunk_id], after[trunk_id]) for trunk_id in removed.keys() & after.keys()]
        removed |= {trunk_id: before[trunk_id] for trunk_id in before.keys() - after.keys()}
        removed = {trunk_id: trunk for trunk_id, trunk in removed.items() if trunk_id not in after}
    assert len(returned) > 10
    assert all(was == again for was, again in returned)


def test_the_first_edition_has_something_for_the_audit_to_find() -> None:
    trunks: list[Trunk] = trunks_at(0)
    numbers = [trunk["phone_number"] for trunk in trunks]
    allowed_ips = {ip for trunk in trunks for ip in trunk["allowed_inbound_ips"] or []}

    assert any(trunk["inbound_authorization_type"] == "ip" and not trunk["allowed_inbound_ips"] for trunk in trunks)
    assert {"0.0.0.0/0", "10.20.0.5"} <= allowed_ips
    assert any(trunk["sip_address"] == "out.didww.com" and not trunk["outbound_proxy"] for trunk in trunks)
    assert any(trunk["sip_address"] == "sip.telnyx.com" and trunk["sip_calling_format"] != "+e164" for trunk in trunks)
    assert any(trunk["country_code"] == "UK" for trunk in trunks)
    assert len(numbers) - len(set(numbers)) == 2
    assert any(" " in number for number in numbers)
    assert any(len(number) > 6 and not number.startswith("+") for number in numbers)
    assert any(trunk["sip_username"] == trunk["phone_number"] for trunk in trunks)


def test_the_server_sends_the_edition_to_its_token(base_url: str) -> None:
    status, headers, body = request(base_url + TRUNKS, headers=AUTHORIZED)
    assert (status, body) == (200, {"data": trunks_at(0)})
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(json.dumps(body))
    assert headers["X-RateLimit-Limit"] == "100"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": DEMO_TOKEN}])
def test_the_server_refuses_any_other_token(base_url: str, headers: dict[str, str]) -> None:
    status, _, body = request(base_url + TRUNKS, headers=headers)
    assert (status, body["error"]) == (401, "Invalid API key")
    assert body["message"]


@pytest.mark.parametrize("path", ["", "/user/phone-numbers", TRUNKS + "/2101"])
def test_the_server_has_no_other_path(base_url: str, path: str) -> None:
    assert request(base_url + path, headers=AUTHORIZED)[::2] == (404, {"error": "Not found."})


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_server_takes_no_other_method(base_url: str, method: str) -> None:
    status, headers, _ = request(base_url + TRUNKS, method, AUTHORIZED)
    assert (status, headers["Allow"]) == (405, "GET")


def test_the_server_keeps_to_its_edition_unless_told_to_advance() -> None:
    with serve(edition=4) as url:
        answers = [request(url + TRUNKS, headers=AUTHORIZED)[2]["data"] for _ in range(2)]
    assert answers == [trunks_at(4), trunks_at(4)]


def test_an_advancing_server_moves_on_with_every_list_it_hands_out() -> None:
    with serve(edition=4, advances=True) as url:
        first = request(url + TRUNKS, headers=AUTHORIZED)[2]["data"]
        assert request(url + TRUNKS)[0] == 401
        assert request(url, headers=AUTHORIZED)[0] == 404
        second = request(url + TRUNKS, headers=AUTHORIZED)[2]["data"]
    assert [first, second] == [trunks_at(4), trunks_at(5)]


def test_an_advancing_server_hands_out_each_edition_once_to_many_at_a_time() -> None:
    with serve(advances=True) as url, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: request(url + TRUNKS, headers=AUTHORIZED)[2]["data"], range(24)))
    assert sorted(map(json.dumps, answers)) == sorted(json.dumps(trunks_at(edition)) for edition in range(24))


def test_the_server_writes_nothing_to_the_terminal(base_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    request(base_url + TRUNKS, headers=AUTHORIZED)
    request(base_url)
    request(base_url, "POST")
    assert capfd.readouterr() == ("", "")


def test_the_server_stops_with_its_context() -> None:
    with serve() as url:
        pass
    with pytest.raises(urllib.error.URLError, match="refused"):
        request(url)
