"""The whole run against a real API and a real DuckDB file: what is stored, what is refused, what stays."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipelines.errors import DestinationFailed, RunActive
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.builders import ABSENT, IP_TRUNK, TRUNK, body, trunk
from tests.conftest import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.outcome import AccountOutcome, Outcome
    from tests.conftest import Api, Begin

pytestmark = pytest.mark.usefixtures("place")


def load(with_reports: bool = False, **options: Any) -> Outcome:
    """Run; the reports take their time, so that only a test about them has them written."""
    settings = read_settings()
    return run(settings, pick_accounts(settings, []), with_reports=with_reports, **options)


def only(outcome: Outcome) -> AccountOutcome:
    (account,) = outcome.accounts
    return account


def query(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(read_settings().warehouse_path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def state() -> dict[str, list[tuple[Any, ...]]]:
    """Everything that a run could have changed in the trunks."""
    return {
        name: query(f"SELECT * FROM {name} ORDER BY ALL")
        for name in ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips")
    }


def test_the_documented_answer_is_stored_exactly(api: Api) -> None:
    api.answer([TRUNK, IP_TRUNK])
    outcome = load()
    assert outcome.exit_code == 0
    assert (only(outcome).trunk_count, only(outcome).new_count, only(outcome).drift) == (2, 2, ())
    names = ", ".join(TRUNK)
    moment = datetime(2026, 3, 31, 10, tzinfo=UTC)
    first, second = query(f"SELECT {names} FROM sip_trunks ORDER BY id")
    assert first == (42, "1000", "myuser", "sip.provider.com", "+e164", "auth", None, False, "US", moment, moment)
    assert second[:2] == (43, "+14155551234")
    assert second[6:8] == ('["203.0.113.10","198.51.100.20"]', True)
    assert query("SELECT trunk_id, position, ip FROM sip_trunk_allowed_ips ORDER BY ALL") == [
        (43, 0, "203.0.113.10"),
        (43, 1, "198.51.100.20"),
    ]
    types = {name: column_type for name, column_type, *_ in query("DESCRIBE sip_trunks")}
    assert types["id"] == "BIGINT"
    assert types["outbound_proxy"] == "BOOLEAN"
    assert types["created_at"] == types["updated_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["allowed_inbound_ips"] == "JSON"


def test_history_has_exactly_the_versions_that_were_seen(api: Api) -> None:
    api.answer([TRUNK, IP_TRUNK])
    first = load().snapshot_at
    again = load()
    assert only(again).status == "unchanged"
    assert query("SELECT count(*), count(valid_to) FROM sip_trunks_history") == [(2, 0)]

    api.answer([TRUNK | {"country_code": "DE"}, trunk(id=44)])
    second = load()
    assert (only(second).new_count, only(second).changed_count, only(second).removed_count) == (1, 1, 1)
    rows = "SELECT id, country_code, valid_from, valid_to FROM sip_trunks_history ORDER BY id, valid_from"
    assert query(rows) == [
        (42, "US", first, second.snapshot_at),
        (42, "DE", second.snapshot_at, None),
        (43, "US", first, second.snapshot_at),
        (44, "US", second.snapshot_at, None),
    ]

    api.answer([TRUNK | {"country_code": "DE"}, IP_TRUNK, trunk(id=44)])
    third = load()
    assert query(rows)[2:4] == [(43, "US", first, second.snapshot_at), (43, "US", third.snapshot_at, None)]
    as_of = (
        "SELECT id FROM sip_trunks_history WHERE valid_from <= '{0}' AND coalesce(valid_to > '{0}', true) ORDER BY id"
    )
    assert query(as_of.format(first)) == [(42,), (43,)]
    assert query(as_of.format(second.snapshot_at)) == [(42,), (44,)]
    assert query(as_of.format(third.snapshot_at)) == [(42,), (43,), (44,)]


def test_a_reordered_answer_opens_no_version(api: Api, begin: Begin) -> None:
    begin(TRUNK, IP_TRUNK)
    before = state()
    api.answer([IP_TRUNK | {"allowed_inbound_ips": ["198.51.100.20", "203.0.113.10"]}, dict(reversed(TRUNK.items()))])
    outcome = load()
    assert only(outcome).status == "loaded"
    assert (only(outcome).new_count, only(outcome).changed_count, only(outcome).removed_count) == (0, 0, 0)
    assert state() == before
    assert query("SELECT is_unchanged FROM sip_trunk_snapshots ORDER BY snapshot_at") == [(False,), (True,)]


def test_an_unchanged_answer_is_noted_without_loading_anything(begin: Begin) -> None:
    begin(TRUNK)
    before = query("SELECT * FROM famulor._dlt_loads")
    outcome = load()
    assert only(outcome).status == "unchanged"
    assert query("SELECT * FROM famulor._dlt_loads") == before
    assert query("SELECT trunk_count, is_unchanged FROM sip_trunk_snapshots ORDER BY snapshot_at") == [
        (1, False),
        (1, True),
    ]
    assert query(
        "SELECT count(DISTINCT body_sha256), count(DISTINCT _dlt_load_id) FROM famulor.sip_trunk_snapshots"
    ) == [(1, 1)]


def test_allowlists_follow_their_trunks(api: Api, begin: Begin) -> None:
    begin(IP_TRUNK, IP_TRUNK | {"id": 44})
    api.answer([IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.1"]}, IP_TRUNK | {"id": 45, "allowed_inbound_ips": None}])
    load()
    assert query("SELECT trunk_id, position, ip FROM sip_trunk_allowed_ips") == [(43, 0, "192.0.2.1")]


def test_a_new_field_becomes_a_column_everywhere_and_is_reported(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    api.answer([TRUNK | {"nickname": "Front desk", "limits": {"calls": 5}}, IP_TRUNK])
    outcome = load()
    assert {(d.column_name, d.kind) for d in only(outcome).drift} == {
        ("nickname", "new_column"),
        ("limits", "new_column"),
    }
    assert query("SELECT nickname, limits FROM sip_trunks ORDER BY id") == [("Front desk", '{"calls":5}'), (None, None)]
    assert query("SELECT nickname FROM sip_trunks_history WHERE id = 42 ORDER BY valid_from") == [
        (None,),
        ("Front desk",),
    ]
    assert query("SELECT column_name, kind, row_count FROM schema_drift ORDER BY 1") == [
        ("limits", "new_column", 1),
        ("nickname", "new_column", 1),
    ]
    api.answer(
        [TRUNK | {"nickname": "Front desk", "limits": {"calls": 5}}, IP_TRUNK, trunk(id=45, nickname=7, limits=[1])]
    )
    load()
    assert query("SELECT nickname, nickname__v_text, limits FROM sip_trunks WHERE id = 45") == [(None, "7", "[1]")]
    assert query("SELECT count(*) FROM sip_trunks_history WHERE id = 42") == [(2,)]


def test_a_type_that_flips_is_stored_beside_and_reported(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    api.answer([TRUNK | {"outbound_proxy": "yes", "created_at": "soon"}])
    outcome = load()
    assert {(d.column_name, d.kind) for d in only(outcome).drift} == {
        ("outbound_proxy", "type_mismatch"),
        ("created_at", "type_mismatch"),
    }
    rows = "SELECT outbound_proxy, outbound_proxy__v_text, created_at, created_at__v_text FROM sip_trunks"
    assert query(rows) == [(None, "yes", None, "soon")]
    api.answer([TRUNK])
    load()
    assert query(rows) == [(False, None, datetime(2026, 3, 31, 10, tzinfo=UTC), None)]
    assert query("SELECT count(*) FROM sip_trunks_history") == [(3,)]


def test_a_field_that_vanishes_is_null_and_reported(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    api.answer([trunk(country_code=ABSENT)])
    assert [(d.column_name, d.kind, d.row_count) for d in only(load()).drift] == [("country_code", "missing_column", 1)]
    assert query("SELECT country_code FROM sip_trunks") == [(None,)]


def test_an_unusable_answer_changes_nothing(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    before, looks = state(), query("SELECT * FROM sip_trunk_snapshots")
    for answer, says in (
        (b"<!doctype html><title>Login</title>", "HTML"),
        (body(TRUNK)[:-20], "end in the middle"),
        (b'{"data": null}', "null"),
        (b"[]", "an array"),
        (b'{"error": "oops"}', "the keys error"),
        (b'{"data": [1]}', "a number at index 0"),
        (body(trunk(id=None)), "integer `id`"),
        (body(), "lacks 1 of the 1 stored"),
    ):
        api.answer(answer)
        outcome = load()
        assert outcome.exit_code == 5, says
        assert says in (only(outcome).error or "")
        assert state() == before, says
        assert query("SELECT * FROM sip_trunk_snapshots") == looks, says
    api.answer([TRUNK, IP_TRUNK])
    assert load().exit_code == 0


def test_a_large_loss_is_refused_until_it_is_accepted_once(api: Api, begin: Begin) -> None:
    begin(*(trunk(id=n) for n in range(10)))
    api.answer([trunk(id=n) for n in range(4)])
    refused = load()
    assert refused.exit_code == 5
    assert "--accept-shrink" in (only(refused).error or "")
    assert query("SELECT count(*) FROM sip_trunks") == [(10,)]
    accepted = load(accept_shrink=True)
    assert only(accepted).removed_count == 6
    assert query("SELECT count(*) FROM sip_trunks") == [(4,)]
    assert query("SELECT count(*) FROM sip_trunks_history WHERE valid_to IS NOT NULL") == [(6,)]


def test_no_trunks_at_all_are_fine_on_the_first_run_and_when_accepted(api: Api) -> None:
    api.answer([])
    assert load().exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks") == [(0,)]
    api.answer([IP_TRUNK])
    load()
    api.answer([])
    assert load().exit_code == 5
    assert load(accept_shrink=True).exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks") == query("SELECT count(*) FROM sip_trunk_allowed_ips") == [(0,)]
    assert query("SELECT count(*) FROM sip_trunks_history WHERE valid_to IS NULL") == [(0,)]


def test_accounts_live_side_by_side_and_fail_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    api.queue([TRUNK, IP_TRUNK])
    api.queue([TRUNK])
    assert load().exit_code == 0
    assert query("SELECT account, id FROM sip_trunks ORDER BY ALL") == [("acme", 42), ("acme", 43), ("beta", 42)]
    api.queue(b"", status=401)
    api.queue([TRUNK | {"country_code": "DE"}])
    outcome = load()
    assert outcome.exit_code == 8
    assert [(a.account, a.status, a.exit_code) for a in outcome.accounts] == [
        ("acme", "failed", 3),
        ("beta", "loaded", 0),
    ]
    assert query("SELECT account, id, country_code FROM sip_trunks ORDER BY ALL") == [
        ("acme", 42, "US"),
        ("acme", 43, "US"),
        ("beta", 42, "DE"),
    ]
    assert query("SELECT count(*) FROM sip_trunks_history WHERE account = 'acme' AND valid_to IS NOT NULL") == [(0,)]
    sent = [headers["Authorization"] for _, headers in api.requests]
    assert sent == ["Bearer token-a", "Bearer token-b"] * 2


def test_drift_of_an_account_that_did_not_change_is_not_forgotten(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    drifting = [TRUNK | {"nickname": "x"}]
    api.queue([TRUNK])
    api.queue(drifting)
    load()
    for country in ("DE", "FR"):
        api.queue([TRUNK | {"country_code": country}])
        api.queue(drifting)
        acme, beta = load().accounts
        assert (acme.status, beta.status) == ("loaded", "unchanged")
        assert [seen.column_name for seen in beta.drift] == ["nickname"]
    assert query("SELECT account, column_name, is_current FROM drift") == [("beta", "nickname", True)]
    looks = "SELECT account, count(*), count(DISTINCT _dlt_load_id) FROM sip_trunk_snapshots GROUP BY ALL ORDER BY ALL"
    assert query(looks) == [("acme", 3, 3), ("beta", 3, 1)]


@pytest.mark.parametrize(("one", "other"), [(1, "a"), ("a", 1), (1, 1.5), (True, "x"), ({"a": 1}, "x"), (1, [1])])
def test_a_new_field_of_two_types_in_two_accounts_loads_both(
    api: Api, monkeypatch: pytest.MonkeyPatch, one: Any, other: Any
) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    api.queue([trunk(new_field=one)])
    api.queue([trunk(new_field=other)])
    assert load().exit_code == 0
    assert query("SELECT count(new_field) FROM sip_trunks") in ([(1,)], [(2,)])
    assert query("SELECT count(*) FROM sip_trunks_history") == [(2,)]


def test_the_permissions_of_the_published_file_stay(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    read_settings().warehouse_path.chmod(0o600)
    api.answer([IP_TRUNK, TRUNK])
    load()
    assert read_settings().warehouse_path.stat().st_mode & 0o777 == 0o600


def test_dlt_does_not_pile_up_its_schema(api: Api) -> None:
    for country in ("DE", "FR", "GB"):
        api.answer([TRUNK | {"country_code": country}])
        load()
    assert query("SELECT count(*) FROM famulor._dlt_version") == [(1,)]


def test_a_lone_surrogate_in_a_new_object_is_stored(api: Api) -> None:
    for note in ({"a": "\ud800"}, {"a": 1}, ["\udc00"], "\ud800", {"a": "\u0000"}):
        api.answer([TRUNK | {"note": note}])
        assert load().exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks_history") == [(5,)]


def test_a_column_that_starts_with_a_digit_keeps_its_type(api: Api) -> None:
    for value in (1, "s", 2):
        api.answer([trunk(**{"9\u00e9": value, "2fa_setting_" + "x" * 60: value})])
        assert load().exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks_history") == [(3,)]


def test_a_log_that_cannot_be_written_does_not_fail_a_run(api: Api, place: Path) -> None:
    (place / "data" / "state").mkdir(parents=True)
    (place / "data" / "state" / "sip-trunks.log").symlink_to("/dev/full")
    api.answer([TRUNK])
    code = "from pipelines.cli import main; raise SystemExit(main(['run', '--no-reports']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_the_log_says_how_a_run_ended(api: Api, place: Path) -> None:
    api.answer(b"", 401)
    code = "from pipelines.cli import main; raise SystemExit(main(['run']))"
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert "(401)" in (place / "data" / "state" / "sip-trunks.log").read_text()


def test_strict_drift_holds_for_an_answer_that_did_not_change_too(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(TRUNK | {"nickname": "x"})
    monkeypatch.setenv("SIP_TRUNKS__DRIFT", "strict")
    assert load().exit_code == 5


def test_a_clock_that_went_back_does_not_turn_time_around(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    ahead = datetime.now(UTC) + timedelta(days=1)
    with duckdb.connect(str(read_settings().warehouse_path)) as connection:
        connection.execute(f"UPDATE famulor.sip_trunk_snapshots SET snapshot_at = '{ahead}'")
    api.answer([TRUNK | {"country_code": "DE"}])
    snapshot_at = load().snapshot_at
    assert snapshot_at == ahead + timedelta(microseconds=1)
    assert query("SELECT valid_from < valid_to FROM sip_trunks_history WHERE valid_to IS NOT NULL") == [(True,)]


def test_a_run_leaves_nothing_behind_but_the_file_and_its_notes(api: Api, place: Path) -> None:
    api.answer([TRUNK])
    load(with_reports=True)
    assert sorted(path.name for path in (place / "data").iterdir()) == ["reports", "state", "warehouse.duckdb"]
    assert [path.name for path in (place / "data" / "reports").iterdir()] == ["index.html"]
    assert sorted(path.name for path in (place / "data" / "state").iterdir()) == [
        "last_run.json",
        "run.lock",
        "sizes.json",
    ]
    assert json.loads((place / "data" / "state" / "last_run.json").read_text())["exit_code"] == 0
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())


def test_what_a_dead_run_left_is_thrown_away(api: Api, begin: Begin, place: Path) -> None:
    begin(TRUNK)
    state_dir = place / "data" / "state"
    (state_dir / "warehouse.duckdb").write_bytes(b"garbage")
    (state_dir / "warehouse.duckdb.wal").write_bytes(b"garbage")
    (state_dir / "dlt" / "sip_trunks").mkdir(parents=True)
    (state_dir / "dlt" / "sip_trunks" / "state.json").write_text("garbage")
    api.answer([TRUNK, IP_TRUNK])
    assert load().exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks_history") == [(2,)]


def test_a_second_run_at_the_same_time_is_turned_away_at_once(api: Api, place: Path) -> None:
    state_dir = place / "data" / "state"
    state_dir.mkdir(parents=True)
    with (state_dir / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunActive, match="another run is active"):
            load()
    assert api.requests == []


def test_a_published_file_that_is_broken_is_named_and_left_alone(api: Api, place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(DestinationFailed, match="restore it from a backup"):
        load()
    assert (place / "data" / "warehouse.duckdb").read_bytes() == b"not a database" * 1000


def test_the_file_explains_itself(api: Api) -> None:
    api.answer([TRUNK | {"nickname": "Front desk"}])
    load(with_reports=True)
    ours = "schema_name IN ('famulor', 'main', 'reports') AND table_name NOT LIKE '~_dlt%' ESCAPE '~' AND NOT internal"
    assert query(f"SELECT table_name FROM duckdb_tables() WHERE {ours} AND comment IS NULL") == []
    assert query(f"SELECT table_name, column_name FROM duckdb_columns() WHERE {ours} AND comment IS NULL") == []
    assert query("SELECT schema_name FROM duckdb_schemas() WHERE schema_name LIKE '%staging%'") == []


def test_the_counts_are_published_as_a_table(api: Api) -> None:
    api.answer([TRUNK, trunk(id=1), trunk(id=2), trunk(id=3, country_code=None)])
    load(with_reports=True)
    assert query("SELECT * FROM reports.counts") == [
        ("+e164", "US", "United States", 3, 75.0),
        ("+e164", None, None, 1, 25.0),
    ]
    api.answer([TRUNK, trunk(id=1), trunk(id=2)])
    load()
    with pytest.raises(duckdb.CatalogException):
        query("SELECT * FROM reports.counts")


def test_text_from_the_api_is_stored_as_it_is(api: Api) -> None:
    texts = [
        "'; DROP TABLE sip_trunks; --",
        "<script>alert(1)</script>",
        "=1+1",
        "Zo\u00eb \U0001f4de",
        "\u202egnp.exe",
        "a\u0000b",
        "x" * 1_000_000,
    ]
    api.answer([trunk(id=n, sip_username=text) for n, text in enumerate(texts)])
    assert load().exit_code == 0
    assert [text for (text,) in query("SELECT sip_username FROM sip_trunks ORDER BY id")] == texts


def test_an_account_of_any_allowed_name_scopes_only_its_own_rows(
    api: Api, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__A_1", "token-a")
    begin(TRUNK)
    monkeypatch.delenv("SOURCES__FAMULOR__ACCOUNTS__A_1")
    api.answer([IP_TRUNK])
    load()
    assert query("SELECT account, id FROM sip_trunks ORDER BY ALL") == [("a_1", 42), ("default", 43)]
    assert query("SELECT count(*) FROM sip_trunks_history WHERE valid_to IS NOT NULL") == [(0,)]


def test_fields_of_any_name_are_stored_in_columns_of_their_own(api: Api) -> None:
    names = [
        "select",
        "",
        "日本",
        "x" * 300,
        "a b",
        'quo"te',
        "_dlt_id",
        "_dlt_load_id",
        "account",
        "valid_to",
        "row_version",
    ]
    names += [
        "sipUsername",
        "position",
        "ip",
        "trunk_id",
        "a__b",
        "x__v_text",
        "%s",
        "{}",
        "-- ",
        "snapshot_at",
        "1",
        "ID",
    ]
    sent = {name: f"value {index}" for index, name in enumerate(names)}
    api.answer([TRUNK, trunk(id=43, **sent)])
    assert load().exit_code == 0
    stored = query("SELECT * FROM sip_trunks_history WHERE id = 43")[0]
    assert set(sent.values()) <= set(stored)
    api.answer([TRUNK, trunk(id=43, **dict(reversed(sent.items())))])
    load()
    assert query("SELECT count(*) FROM sip_trunks_history") == [(2,)]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM famulor.sip_trunks WHERE id = 43",
        "DELETE FROM famulor.sip_trunks_history WHERE id = 43",
        "DELETE FROM famulor.sip_trunk_allowed_ips WHERE trunk_id = 43",
        "DROP TABLE famulor.sip_trunks",
        "CREATE SCHEMA famulor_work; CREATE TABLE famulor_work.stale (x INTEGER)",
    ],
)
def test_a_file_that_somebody_has_written_into_is_mended_by_the_next_load(begin: Begin, api: Api, damage: str) -> None:
    begin(TRUNK, IP_TRUNK)
    with duckdb.connect(str(read_settings().warehouse_path)) as connection:
        connection.execute(damage)
    api.answer([trunk(phone_number="1001"), IP_TRUNK])
    assert load().exit_code == 0
    current = query("SELECT id, row_version FROM famulor.sip_trunks ORDER BY id")
    assert [id_ for id_, _ in current] == [42, 43]
    assert query("SELECT id, row_version FROM famulor.sip_trunks_history WHERE valid_to IS NULL ORDER BY id") == current
    entries = query("SELECT trunk_id, position, ip FROM famulor.sip_trunk_allowed_ips ORDER BY ALL")
    assert [ip for *_, ip in entries] == IP_TRUNK["allowed_inbound_ips"]
