"""Which assistants use the trunks: read after an account's trunks, stored with their history, at no risk to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.assignments import ASSISTANTS_PATH, NUMBERS_PATH, SECRETS, answer_assignments, assistant, number
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.runs import call, capture, load, only, query

if TYPE_CHECKING:
    from tests.support.api import Api

STORED = "SELECT trunk_id, has_inbound_assistant, assistants::VARCHAR FROM famulor.sip_trunk_assignments ORDER BY 1"
VERSIONS = (
    "SELECT trunk_id, has_inbound_assistant, valid_to IS NULL FROM sip_trunk_assignments_history ORDER BY 1, valid_from"
)
REASON = "SELECT assignments_sha256 IS NULL FROM sip_trunk_snapshots ORDER BY snapshot_at"
DESTINATIONS = pytest.mark.parametrize("destination", ["duckdb", "parquet"])


@pytest.fixture(autouse=True)
def switched_on(place: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ASSIGNMENTS", "true")
    api.answer([TRUNK, IP_TRUNK])


def described(**members: Any) -> dict[str, Any]:
    return {"id": 7, "name": "Reception", "type": "inbound", "status": "active"} | members


def stored(destination: str | None = None) -> dict[int, tuple[bool | None, list[dict[str, Any]]]]:
    return {id_: (is_answered, json.loads(text)) for id_, is_answered, text in query(STORED, destination)}


@DESTINATIONS
def test_each_trunk_has_its_assistants_and_their_history(api: Api, destination: str) -> None:
    answer_assignments(api, [number(42, False), number(43, True), number(901, False)], [assistant()])
    assert only(load(destination)).assignments_error is None
    assert stored(destination) == {42: (True, [described()]), 43: (False, [])}
    answer_assignments(api, [number(42, True)], [assistant(phone_number_id=None), assistant(id=8, type="outbound")])
    assert only(load(destination)).changed_count == 0
    assert stored(destination) == {42: (False, [described(id=8, type="outbound")]), 43: (None, [])}
    assert query(VERSIONS, destination) == [
        (42, True, False),
        (42, False, True),
        (43, False, False),
        (43, None, True),
    ]


def test_only_the_kept_fields_of_an_assistant_touch_the_disk(api: Api, place: Path, tmp_path: Path) -> None:
    answer_assignments(api, [number(42, False)], [assistant()])
    load(with_reports=True)
    call("export", "--output", str(place / "copy"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"Reception" in path.read_bytes() for path in files)
    for secret in SECRETS:
        assert not [path for path in files if secret.encode() in path.read_bytes()]


@DESTINATIONS
def test_changed_prompts_are_no_change(api: Api, destination: str) -> None:
    answer_assignments(api, [number(42, False)], [assistant()])
    load(destination)
    answer_assignments(api, [number(42, False)], [assistant(system_prompt="another")])
    assert only(load(destination)).status == "unchanged"
    assert query(REASON, destination) == [(False,), (False,)]


def test_all_pages_of_assistants_are_read(api: Api) -> None:
    first, second = assistant(), assistant(id=8, phone_number_id=43)
    page = {"current_page": 1, "last_page": 2, "per_page": 100, "total": 2}
    api.answer_at(NUMBERS_PATH, json.dumps([number(42, False), number(43, False)]).encode())
    api.answer_at(f"{ASSISTANTS_PATH}&page=1", json.dumps({"data": [first], **page}).encode())
    api.answer_at(f"{ASSISTANTS_PATH}&page=2", json.dumps({"data": [second], **page, "current_page": 2}).encode())
    load()
    assert stored() == {42: (True, [described()]), 43: (True, [described(id=8)])}


@DESTINATIONS
def test_trouble_with_the_assignments_costs_neither_trunks_nor_stored_assignments(api: Api, destination: str) -> None:
    answer_assignments(api, [number(42, False), number(43, True)], [assistant()])
    load(destination)
    before = stored(destination)
    api.answer([TRUNK, IP_TRUNK | {"nickname": "New"}])
    api.answer_at(NUMBERS_PATH, b'{"error": "Insufficient permissions"}', 403)
    printed = capture("run", "--no-reports", "--destination", destination)
    (line,) = [line for line in printed.errors.splitlines() if "assignments" in line]
    assert "no permission to read assignments" in line
    assert "the stored ones are from 20" in line
    assert query("SELECT nickname FROM sip_trunks WHERE id = 43", destination) == [("New",)]
    assert stored(destination) == before
    assert " assignments" in call("status", "--destination", destination)
    answer_assignments(api, [number(42, True), number(43, True)], [assistant(phone_number_id=None)])
    load(destination)
    assert stored(destination) == {42: (False, []), 43: (False, [])}
    assert query(REASON, destination) == [(False,), (True,), (False,)]


def test_an_unchanged_response_stays_unchanged_whatever_comes_of_the_assignments(api: Api) -> None:
    answer_assignments(api, [number(42, False), number(43, True)], [assistant()])
    load()
    for content, status, reason in (
        (b'{"error": "Not found"}', 404, "no assignments at this path"),
        (b"<html>", 200, "HTML"),
        (b'[{"id": "x", "is_available": 1}]', 200, "odd record"),
        (b'[{"id": 42}]', 200, "odd record"),
        (b'{"error": "maintenance"}', 200, "expected an object with a list"),
        (b"[" * 5000, 200, "nested too deeply"),
        (b"[]", 200, "2 of 2 stored assignments are missing"),
    ):
        api.answer_at(NUMBERS_PATH, content, status)
        outcome = load()
        assert (only(outcome).status, outcome.exit_code) == ("unchanged", 0)
        assert reason in str(only(outcome).assignments_error)
        assert [line for line in outcome.warnings if "no new assignments" in line]
    assert stored() == {42: (True, [described()]), 43: (False, [])}


def test_assignments_that_would_take_too_long_are_not_waited_for(api: Api) -> None:
    answer_assignments(api, [number(42, False)], [assistant()])
    api.answer_at(NUMBERS_PATH, b"{}", 429, Retry_After="100000")
    outcome = load()
    assert (only(outcome).status, outcome.exit_code) == ("loaded", 0)
    assert "it asks to wait 100000 s" in str(only(outcome).assignments_error)


def test_an_empty_list_is_accepted_once_if_the_user_says_so(api: Api) -> None:
    answer_assignments(api, [number(42, False)], [assistant()])
    load()
    answer_assignments(api, [], [])
    load(accept_shrink=True)
    assert stored() == {}


def test_assigned_numbers_without_any_assistant_are_odd(api: Api) -> None:
    answer_assignments(api, [number(42, False)], [])
    assert "expected assistants" in str(only(load()).assignments_error)
    assert query("SELECT count(*) FROM sip_trunks") == [(2,)]


def test_a_page_has_at_most_32_megabytes(api: Api) -> None:
    answer_assignments(api, [number(42, False)], [assistant(system_prompt="x" * 2**25)])
    assert "expected at most 33554432 bytes" in str(only(load()).assignments_error)


def test_without_the_setting_nothing_is_requested_or_created(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCES__FAMULOR__ASSIGNMENTS")
    load()
    assert [path for path, _ in api.requests] == ["/api/user/phone-numbers/sip-trunks"]
    assert query("SELECT count(*) FROM duckdb_columns() WHERE table_name || column_name LIKE '%assignments%'") == [(0,)]


def test_a_lost_assistant_is_a_change_a_finding_and_a_row_of_the_report(api: Api) -> None:
    answer_assignments(api, [number(42, False), number(43, False)], [assistant(), assistant(id=8, phone_number_id=43)])
    load()
    answer_assignments(api, [number(42, True), number(43, False)], [assistant(id=8, phone_number_id=43)])
    lost_at = load(with_reports=True).snapshot_at
    view = "SELECT id, has_inbound_assistant, assistant_count FROM sip_trunks ORDER BY id"
    assert query(view) == [(42, False, 0), (43, True, 1)]
    changes = "SELECT trunk_id, field, old, new, note LIKE 'lost its assistant%', observed_at FROM "
    lost = [(42, "has_inbound_assistant", "true", "false", True, lost_at)]
    assert query(f"{changes} sip_trunk_changes") == lost
    assert query(f"{changes} changes_between('2000-01-01', '3000-01-01')") == lost
    assert query(f"{changes} reports.changes") == lost
    assert query("SELECT trunk_id, reason, since FROM reports.unanswered") == [(42, "no inbound assistant", lost_at)]
    assert query("SELECT trunk_id, rule FROM findings WHERE rule LIKE 'usage-%'") == [(42, "usage-unanswered")]
    assert '"trunk_id": 42' in call("report", "unanswered", "--json")
    assert "Unanswered trunks" in (Path("data") / "reports" / "index.html").read_text("utf-8")


def test_names_of_assistants_are_masked_and_replaced_by_pseudonyms(
    api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer_assignments(api, [number(42, False)], [assistant(status="inactive", name="Reception Lindner")])
    load()
    assert "Reception Lindner" in call("report", "unanswered")
    assert "Lindner" not in call("report", "unanswered", "--mask")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYMIZE", "nickname")
    monkeypatch.setenv("SIP_TRUNKS__PSEUDONYM_KEY", "k" * 40)
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "other"))
    load()
    assert [one["name"][:5] for _, found in stored().values() for one in found] == ["hmac:"]
    assert not [p for p in (tmp_path / "other").rglob("*") if p.is_file() and b"Lindner" in p.read_bytes()]


def test_a_removed_trunk_takes_its_assignments_along_and_a_new_one_brings_some(api: Api) -> None:
    answer_assignments(api, [number(42, False)], [assistant()])
    load()
    api.answer([trunk(id=44)])
    answer_assignments(api, [number(44, True)], [assistant(phone_number_id=None)])
    load(accept_shrink=True)
    assert stored() == {44: (False, [])}
