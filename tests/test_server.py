"""The trunks on a real PostgreSQL: what is stored, what is refused, what stays, what comes after a run that died."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.errors import DestinationFailed, RunActive
from pipelines.load import run
from pipelines.settings import Account, pick_accounts, read_settings
from tests import test_prune
from tests.builders import ABSENT, IP_TRUNK, TRUNK, trunk
from tests.conftest import TOKEN
from tests.consistency import reads_back
from tests.past import store
from tests.test_history import _VERSIONS, some_trunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.outcome import AccountOutcome, Outcome
    from tests.conftest import Api
    from tests.postgres_server import PostgresServer

    Rows = list[tuple[Any, ...]]
    Call = Callable[..., str]

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
CREDENTIALS = "DESTINATION__POSTGRES__CREDENTIALS"
TABLES = ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips", "sip_trunk_snapshots", "schema_drift")
SEQUENCES = 2
SNAPSHOTS = 3
PATIENCE_SECONDS = 30
PASSWORD = "wr0ng-S3cret"
NUMBER = "+49305550199"
_connections: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def url(place: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The database of the test, which the settings name."""
    monkeypatch.setenv(CREDENTIALS, postgres_url)
    yield postgres_url
    while _connections:
        _connections.popitem()[1].close()


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Run a command in this process and return what it printed; on failure, the one line on standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str, code: int = 0, destination: str = "postgres") -> str:
        capfd.readouterr()
        returned = main([*arguments, "--destination", destination])
        out, err = capfd.readouterr()
        assert returned == code, err
        assert "Traceback" not in out + err
        assert TOKEN not in out + err
        if not code:
            return out
        assert err.splitlines()[-1].startswith("sip-trunks: ")
        return err.splitlines()[-1]

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def load(destination: str = "postgres", **options: Any) -> Outcome:
    settings = read_settings(destination)
    return run(settings, pick_accounts(settings, []), with_reports=False, **options)


def only(outcome: Outcome) -> AccountOutcome:
    (account,) = outcome.accounts
    return account


def ask(sql: str, url: str | None = None) -> Rows:
    """Return the rows of a query that the server itself answers."""
    url = url or os.environ[CREDENTIALS]
    if url not in _connections:
        _connections[url] = psycopg2.connect(url)
        _connections[url].autocommit = True
    with _connections[url].cursor() as cursor:
        cursor.execute(sql)
        rows: Rows = cursor.fetchall() if cursor.description else []
        return rows


def query(sql: str, destination: str = "postgres") -> Rows:
    """Return the rows of a query as readers of the product get them."""
    with open_destination(read_settings(destination)).reading() as connection:
        return connection.execute(sql).fetchall()


def state(where: str = "true") -> dict[str, Rows]:
    """The rows of the trunks, with where and by which transaction each was written: what is equal was not touched."""
    return {
        name: ask(f"SELECT ctid::text, xmin::text, account, row_version FROM famulor.{name} WHERE {where} ORDER BY 1")
        for name in ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips")
    }


def notes(place: Path) -> str:
    """Everything that the loader has left in its data directory, as text; the report page is for its readers."""
    files = sorted(path for path in (place / "data").rglob("*") if path.is_file() and path.name != "index.html")
    return "".join(path.read_text("utf-8", "replace") for path in files)


def assert_whole(trunks: Sequence[dict[str, Any]], account: str = "default") -> None:
    """Assert that all tables show these trunks of the account, and that its versions neither overlap nor repeat."""
    mine = f"account = '{account}'"
    assert ask(
        f"SELECT id, phone_number, country_code, allowed_inbound_ips FROM famulor.sip_trunks WHERE {mine} ORDER BY id"
    ) == sorted((t["id"], t["phone_number"], t["country_code"], t["allowed_inbound_ips"]) for t in trunks)
    assert ask(f"SELECT trunk_id, position, ip FROM famulor.sip_trunk_allowed_ips WHERE {mine}  ORDER BY 1, 2") == [
        (t["id"], place, ip)
        for t in sorted(trunks, key=lambda t: int(t["id"]))
        for place, ip in enumerate(t["allowed_inbound_ips"] or ())
    ]
    still_open = f"SELECT id, row_version FROM famulor.sip_trunks_history WHERE {mine} AND valid_to IS NULL ORDER BY id"
    assert ask(still_open) == ask(f"SELECT id, row_version FROM famulor.sip_trunks WHERE {mine} ORDER BY id")
    wrong = f"""
        SELECT id, valid_from, valid_to FROM (
            SELECT id, valid_from, coalesce(valid_to, 'infinity') AS valid_to, row_version,
                lead(valid_from) OVER versions AS next_from, lead(row_version) OVER versions AS next_version
            FROM famulor.sip_trunks_history WHERE {mine} WINDOW versions AS (PARTITION BY id ORDER BY valid_from)
        ) AS v
        WHERE valid_from >= valid_to OR valid_to > next_from OR (valid_to = next_from AND row_version = next_version)
    """
    assert ask(wrong) == []
    latest = f"SELECT trunk_count FROM famulor.sip_trunk_snapshots WHERE {mine} ORDER BY snapshot_at DESC LIMIT 1"
    assert ask(latest) == [(len(trunks),)]


# ---------------------------------------------------------------------- what is stored


def test_the_documented_answer_is_stored_exactly_and_nothing_of_it_stays_in_staging(api: Api) -> None:
    assert not open_destination(read_settings("postgres")).exists()
    api.answer([TRUNK, IP_TRUNK])
    outcome = load()
    assert (outcome.exit_code, outcome.destination) == (0, "postgres")
    assert (only(outcome).trunk_count, only(outcome).new_count, only(outcome).drift) == (2, 2, ())
    moment = datetime(2026, 3, 31, 10, tzinfo=UTC)
    first, second = ask(f"SELECT {', '.join(TRUNK)} FROM famulor.sip_trunks ORDER BY id")
    assert first == (42, "1000", "myuser", "sip.provider.com", "+e164", "auth", None, False, "US", moment, moment)
    assert second[:2] == (43, "+14155551234")
    assert second[6:8] == (["203.0.113.10", "198.51.100.20"], True)
    assert ask("SELECT trunk_id, position, ip FROM famulor.sip_trunk_allowed_ips ORDER BY 1, 2") == [
        (43, 0, "203.0.113.10"),
        (43, 1, "198.51.100.20"),
    ]
    types: dict[str, str] = dict(
        ask(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'famulor' AND table_name = 'sip_trunks_history'"
        )
    )
    assert {types[name] for name in ("created_at", "updated_at", "valid_from", "valid_to")} == {
        "timestamp with time zone"
    }
    assert (types["id"], types["outbound_proxy"], types["allowed_inbound_ips"]) == ("bigint", "boolean", "jsonb")
    assert types["phone_number"] == types["row_version"] == "character varying"
    assert ask("SELECT account, snapshot_at, trunk_count, is_unchanged FROM famulor.sip_trunk_snapshots") == [
        ("default", outcome.snapshot_at, 2, False)
    ]
    for table in TABLES:
        assert ask(f"SELECT * FROM famulor_staging.{table}") == []


def test_history_has_exactly_the_versions_that_were_seen(api: Api, url: str) -> None:
    # What a database has been told about time zones and dates must change nothing.
    database = url.rpartition("/")[2]
    ask(f"ALTER DATABASE {database} SET timezone = 'America/St_Johns'")
    ask(f"ALTER DATABASE {database} SET datestyle = 'German'")
    rows = "SELECT id, country_code, valid_from, valid_to FROM famulor.sip_trunks_history ORDER BY id, valid_from"

    steady = IP_TRUNK | {"id": 50}
    api.answer([TRUNK, IP_TRUNK, steady])
    first = load().snapshot_at
    api.answer([TRUNK | {"country_code": "DE"}, trunk(id=44), steady])
    second = load()
    assert (only(second).new_count, only(second).changed_count, only(second).removed_count) == (1, 1, 1)
    assert ask(rows) == [
        (42, "US", first, second.snapshot_at),
        (42, "DE", second.snapshot_at, None),
        (43, "US", first, second.snapshot_at),
        (44, "US", second.snapshot_at, None),
        (50, "US", first, None),
    ]
    assert_whole([TRUNK | {"country_code": "DE"}, trunk(id=44), steady])

    longer = steady | {"allowed_inbound_ips": ["192.0.2.1", *IP_TRUNK["allowed_inbound_ips"]]}
    changed = [TRUNK | {"country_code": "DE"}, IP_TRUNK, trunk(id=44), longer]
    api.answer(changed)
    third = load()
    assert (only(third).new_count, only(third).changed_count, only(third).removed_count) == (1, 1, 0)
    assert ask(rows)[2:] == [
        (43, "US", first, second.snapshot_at),
        (43, "US", third.snapshot_at, None),
        (44, "US", second.snapshot_at, None),
        (50, "US", first, third.snapshot_at),
        (50, "US", third.snapshot_at, None),
    ]
    assert_whole(changed)
    assert query("SELECT valid_from, valid_to FROM sip_trunks_history WHERE id = 43 ORDER BY 1")[0] == (
        first,
        second.snapshot_at,
    )


def test_an_unchanged_answer_is_noted_without_loading_anything(api: Api) -> None:
    api.answer([TRUNK, IP_TRUNK])
    load()
    before, loads = state(), ask("SELECT * FROM famulor._dlt_loads")
    moments = []
    for _ in range(2):
        outcome = load()
        assert only(outcome).status == "unchanged"
        moments.append(outcome.snapshot_at)
    assert state() == before
    assert ask("SELECT * FROM famulor._dlt_loads") == loads
    looks = "SELECT trunk_count, is_unchanged, snapshot_at FROM famulor.sip_trunk_snapshots ORDER BY snapshot_at"
    assert ask(looks)[1:] == [(2, True, moments[0]), (2, True, moments[1])]
    distinct = "count(DISTINCT body_sha256), count(DISTINCT _dlt_load_id), count(DISTINCT loader_version)"
    assert ask(f"SELECT {distinct} FROM famulor.sip_trunk_snapshots") == [(1, 1, 1)]

    # A second look: the same trunks in another order are read, but nothing is written.
    api.answer([IP_TRUNK, dict(reversed(TRUNK.items()))])
    outcome = load()
    assert (only(outcome).status, only(outcome).changed_count) == ("loaded", 0)
    assert state() == before
    assert ask(looks)[-1] == (2, True, outcome.snapshot_at)
    # dlt keeps its schema once more with every load, unless somebody tidies up.
    assert ask("SELECT count(*) FROM famulor._dlt_version") == [(1,)]


def test_values_are_stored_exactly(api: Api) -> None:
    texts = [
        "",
        None,
        " ",
        "null",
        "NULL",
        "\\N",
        "it's",
        '"quoted", and; more',
        "'; DROP TABLE famulor.sip_trunks; --",
        "back\\slash \\n \\' E'x'",
        "line\nbreak\r\nand\ttab\x0b\x01",
        "%s %% %(id)s {} $1 :name",
        "Zo\u00eb \u65e5\u672c \U0001f4de \u202egnp.exe\u2028\ufeff",
        "=1+1",
        "x" * 1_000_000,
    ]
    api.answer([trunk(id=n, sip_username=text, note={"a'b\\": [text]}) for n, text in enumerate(texts)])
    assert load().exit_code == 0
    stored = [(text, {"a'b\\": [text]}) for text in texts]
    assert ask("SELECT sip_username, note FROM famulor.sip_trunks ORDER BY id") == stored
    assert ask("SELECT sip_username, note FROM famulor.sip_trunks_history ORDER BY id") == stored
    assert [
        (t, json.loads(note)) for t, note in query("SELECT sip_username, note FROM sip_trunks ORDER BY id")
    ] == stored


def test_drift_gets_columns_and_is_remembered(api: Api) -> None:
    api.answer([TRUNK])
    load()
    api.answer([TRUNK | {"nickname": "Front desk", "limits": {"calls": 5}}, IP_TRUNK])
    outcome = load()
    assert {(d.column_name, d.kind) for d in only(outcome).drift} == {
        ("nickname", "new_column"),
        ("limits", "new_column"),
    }
    assert ask("SELECT nickname, limits FROM famulor.sip_trunks ORDER BY id") == [
        ("Front desk", {"calls": 5}),
        (None, None),
    ]
    assert ask("SELECT nickname FROM famulor.sip_trunks_history WHERE id = 42 ORDER BY valid_from") == [
        (None,),
        ("Front desk",),
    ]

    # The types that the fields got are known to the next run; what does not fit them stands beside.
    api.answer([trunk(nickname=7, limits=[1], outbound_proxy="yes", created_at="soon", country_code=ABSENT)])
    outcome = load(accept_shrink=True)
    assert {(d.column_name, d.kind) for d in only(outcome).drift} >= {
        ("nickname", "type_mismatch"),
        ("outbound_proxy", "type_mismatch"),
        ("created_at", "type_mismatch"),
        ("country_code", "missing_column"),
    }
    columns = (
        "nickname, nickname__v_text, limits, outbound_proxy, outbound_proxy__v_text, created_at, created_at__v_text, "
        "country_code"
    )
    misfit = (None, "7", [1], None, "yes", None, "soon", None)
    assert ask(f"SELECT {columns} FROM famulor.sip_trunks") == [misfit]
    assert ask(f"SELECT {columns} FROM famulor.sip_trunks_history WHERE valid_to IS NULL") == [misfit]

    api.answer([TRUNK])
    load()
    assert ask(f"SELECT {columns} FROM famulor.sip_trunks") == [
        (None, None, None, False, None, datetime(2026, 3, 31, 10, tzinfo=UTC), None, "US")
    ]
    seen = (
        "SELECT column_name, kind, row_count, first_seen_at = last_seen_at FROM drift WHERE NOT is_current ORDER BY ALL"
    )
    assert ("created_at", "type_mismatch", 1, True) in query(seen)
    assert len(query(seen)) >= 6
    assert query("SELECT count(*) FROM sip_trunks_history WHERE id = 42") == [(4,)]


def test_fields_of_any_name_and_kind_read_back_as_from_the_file(api: Api) -> None:
    names = ["select", "user", "order", "table", "left", "end", "default", "primary", "", "\u65e5\u672c", "x" * 300]
    names += [
        "x" * 299 + "y",
        "\u00e4" * 80,
        "\u65e5" * 80,
        "a b",
        'quo"te',
        "it's",
        "_dlt_id",
        "_dlt_load_id",
        "account",
    ]
    names += [
        "valid_to",
        "row_version",
        "sipUsername",
        "position",
        "ip",
        "trunk_id",
        "a__b",
        "x__v_text",
        "%s",
        "%(id)s",
    ]
    names += ["{}", "-- ", "snapshot_at", "1", "ID", "User", "oid", "$1", "a\\b", "a.b"]
    fields = """
        "created_at": "9999-12-31T23:59:59.999999Z", "updated_at": "0001-01-01T00:00:00Z",
        "allowed_inbound_ips": [null, "", "a"], "low": -9223372036854775808, "high": 9223372036854775807,
        "higher": 9223372036854775808, "tenth": 0.1, "sum": 0.30000000000000004, "huge": 1e308, "tiny": 5e-324,
        "zero": -0.0, "yes": true, "list": [null, true, "", {}, [1.0, 1e2, 12345678901234567890123]],
        "object": {"zz": 1, "b": {"y": "\\ud83d\\udcde", "x": null}, "aaa": "\\\\ \\" ' \\n", "a": 1},
        "far": {"n": 1e400}
    """
    sent = {name: f"value {index}" for index, name in enumerate(names)}

    def answer(values: dict[str, str]) -> bytes:
        second = json.dumps(trunk(id=43, **values)).encode()[:-1] + b", " + fields.encode() + b"}"
        return b'{"data": [' + json.dumps(TRUNK).encode() + b", " + second + b"]}"

    def row(destination: str) -> dict[str, Any]:
        with open_destination(read_settings(destination)).reading() as connection:
            result = connection.execute("SELECT * EXCLUDE (_dlt_load_id) FROM sip_trunks WHERE id = 43")
            columns = [(str(name), str(kind)) for name, kind, *_ in result.description or ()]
            (values,) = result.fetchall()
        # jsonb orders keys its own way.
        return {
            name: (kind, json.loads(value) if kind == "JSON" and value is not None else value)
            for (name, kind), value in zip(columns, values, strict=True)
        }

    api.answer(answer(sent))
    for destination in ("duckdb", "postgres"):
        assert load(destination).exit_code == 0
    assert row("postgres") == row("duckdb")
    (stored,) = ask("SELECT * FROM famulor.sip_trunks_history WHERE id = 43")
    assert set(sent.values()) <= {value for value in stored if isinstance(value, str)}
    typed = "SELECT object -> 'b' ->> 'y', list -> 2, high FROM famulor.sip_trunks WHERE id = 43"
    assert ask(typed) == [("\U0001f4de", "", 2**63 - 1)]
    api.answer(answer(dict(reversed(sent.items()))))
    load()
    assert ask("SELECT count(*) FROM famulor.sip_trunks_history") == [(2,)]


def test_a_clock_that_went_back_hides_no_new_column(api: Api) -> None:
    api.answer([TRUNK])
    load()
    for table, column in (("_dlt_version", "inserted_at"), ("_dlt_loads", "inserted_at")):
        ask(f"UPDATE famulor.{table} SET {column} = {column} + interval '1 day'")
    api.answer([TRUNK | {"nickname": "x"}])
    load()
    assert query("SELECT nickname FROM sip_trunks") == [("x",)]
    api.answer([TRUNK | {"nickname": 5}])
    assert [(d.column_name, d.kind) for d in only(load()).drift if d.kind == "type_mismatch"] == [
        ("nickname", "type_mismatch")
    ]


# ---------------------------------------------------------------------- accounts, refusals


def test_accounts_live_side_by_side_and_fail_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    acme = [TRUNK | {"nickname": "x"}, IP_TRUNK]
    api.queue(acme)
    api.queue([TRUNK])
    assert load().exit_code == 0
    before = state("account = 'acme'")

    api.queue(b"", status=401)
    api.queue([TRUNK | {"country_code": "DE"}, IP_TRUNK])
    outcome = load()
    assert outcome.exit_code == 8
    assert [(a.account, a.status, a.exit_code) for a in outcome.accounts] == [
        ("acme", "failed", 3),
        ("beta", "loaded", 0),
    ]
    assert state("account = 'acme'") == before

    api.queue(acme)
    api.queue([TRUNK])
    outcome = load()
    assert [(a.status, [d.column_name for d in a.drift]) for a in outcome.accounts] == [
        ("unchanged", ["nickname"]),
        ("loaded", []),
    ]
    assert state("account = 'acme'") == before
    assert_whole(acme, "acme")
    assert_whole([TRUNK], "beta")
    looks = (
        "SELECT account, count(*), count(DISTINCT _dlt_load_id) FROM famulor.sip_trunk_snapshots GROUP BY 1 ORDER BY 1"
    )
    assert ask(looks) == [("acme", 2, 1), ("beta", 3, 3)]


def test_a_large_loss_is_refused_until_it_is_accepted_once(api: Api) -> None:
    api.answer([IP_TRUNK | {"id": n} for n in range(10)])
    load()
    before, looks = state(), ask("SELECT * FROM famulor.sip_trunk_snapshots")
    for answer in ([IP_TRUNK | {"id": 1}], []):
        api.answer(answer)
        refused = load()
        assert refused.exit_code == 5
        assert "--accept-shrink" in (only(refused).error or "")
    assert state() == before
    assert ask("SELECT * FROM famulor.sip_trunk_snapshots") == looks
    accepted = load(accept_shrink=True)
    assert only(accepted).removed_count == 10
    assert_whole([])
    assert ask("SELECT count(*) FROM famulor.sip_trunks_history WHERE valid_to IS NULL") == [(0,)]


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_the_server_keeps_the_same_versions_as_the_file(seed: int, api: Api) -> None:
    rng = random.Random(100 + seed)
    accounts = [Account("acme", TOKEN), Account("beta", TOKEN)]
    answers: dict[str, list[dict[str, Any]]] = {}
    moments: dict[str, list[Any]] = {"duckdb": [], "postgres": []}
    for edition in range(1, SNAPSHOTS + 1):
        # Now and then an account's answer is, to the byte, the one before.
        changing = [account.name for account in accounts if account.name not in answers or rng.random() < 0.8]
        answers |= {name: some_trunks(rng, edition) for name in changing}
        for destination, seen in moments.items():
            for account in accounts:
                api.queue(answers[account.name])
            outcome = run(read_settings(destination), accounts, accept_shrink=True, with_reports=False)
            assert outcome.exit_code == 0
            seen.append(outcome.snapshot_at)

    # Both saw the same answers, one a moment after the other: their moments are compared by their number.
    versions, current = {}, {}
    for destination, seen in moments.items():
        number: dict[Any, int | None] = {moment: number for number, moment in enumerate(seen)} | {None: None}
        with open_destination(read_settings(destination)).reading() as connection:
            rows = connection.execute(f"SELECT {_VERSIONS} FROM sip_trunks_history").fetchall()
            versions[destination] = sorted(((*row[:-2], number[row[-2]], number[row[-1]]) for row in rows), key=repr)
            current[destination] = [
                connection.execute(f"SELECT * EXCLUDE (_dlt_load_id) FROM {table} ORDER BY ALL").fetchall()
                for table in ("sip_trunks", "sip_trunk_allowed_ips")
            ]
    assert versions["postgres"] == versions["duckdb"]
    assert current["postgres"] == current["duckdb"]
    assert len(versions["duckdb"]) > 8


# ---------------------------------------------------------------------- commands


def test_the_commands_say_the_same_as_on_the_file(api: Api, call: Call) -> None:
    odd = trunk(id=44, nickname="x", sip_calling_format="odd", limits={"calls": 1})
    api.answer([TRUNK, IP_TRUNK, odd, trunk(id=45, nickname=7, country_code=None, outbound_proxy="no")])
    for destination in ("duckdb", "postgres"):
        assert json.loads(call("run", "--json", "--no-reports", destination=destination))["exit_code"] == 0

    def same(*arguments: str) -> str:
        out = call(*arguments)
        assert out == call(*arguments, destination="duckdb")
        return out

    assert "+e164" in same("report", "counts", "by_provider", "changes")
    same("report", "--by", "nickname", "--format", "csv")
    same("report", "--by", "allowed_inbound_ips", "number_kind", "provider", "outbound_proxy", "--format", "csv")
    assert len(open_destination(read_settings("postgres")).tally(["inbound_authorization_type"])) == 2
    assert "there are" in call("report", "--by", "nothing", code=2)
    trunks = same("sql", "SELECT * EXCLUDE (_dlt_load_id) FROM sip_trunks ORDER BY id", "--format", "json")
    assert [entry["id"] for entry in json.loads(trunks)] == [42, 43, 44, 45]
    same("sql", "SELECT id, row_version, valid_to IS NULL FROM sip_trunks_history ORDER BY ALL", "--format", "csv")
    for question in ("trunk_counts", "sip_trunk_changes", "(SELECT id, provider FROM trunks_as_of(now()))"):
        same("sql", f"FROM {question} ORDER BY ALL")
    described = json.loads(same("describe", "--format", "json"))
    assert {"nickname", "nickname__v_text"} <= {c["name"] for c in described["sip_trunks"]["columns"]}
    same("check")

    def without_moments(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if not name.endswith("_at")} for row in rows]

    both = ("postgres", "duckdb")
    since = ("drift", "--since", "2020-01-01", "--format", "json")
    server, file = (without_moments(json.loads(call(*since, destination=d))) for d in both)
    assert {row["column_name"] for row in server} >= {"nickname", "limits", "sip_calling_format", "outbound_proxy"}
    assert server == file
    server, file = (json.loads(call("status", "--json", destination=d))["accounts"] for d in both)
    for account in (*server, *file):
        account["drift"] = without_moments(account["drift"])
        assert 0 <= account.pop("age_seconds") < 600
    assert without_moments(server) == without_moments(file)
    assert "postgres, dataset famulor" in call("status")


def test_readers_cannot_write_and_say_so_before_there_is_anything_to_read(api: Api, call: Call, place: Path) -> None:
    for arguments in (["report"], ["drift"], ["sql", "FROM sip_trunks"]):
        assert "nothing is stored yet" in call(*arguments, code=2)
    assert json.loads(call("status", "--json"))["accounts"][0]["snapshot_at"] is None
    api.answer([TRUNK])
    load()
    before = state()
    target = place / "copied"
    for statement in (
        "DELETE FROM sip_trunks",
        "DELETE FROM famulor.sip_trunks",
        f"COPY famulor.sip_trunks TO '{target}'",
        "ATTACH '' AS server (TYPE postgres)",
        f"SELECT * FROM postgres_query('{os.environ[CREDENTIALS]}', 'DELETE FROM famulor.sip_trunks')",
        "SELECT 1; DELETE FROM famulor.sip_trunks",
    ):
        assert call("sql", statement, code=2)
    assert not target.exists()
    assert state() == before
    assert query("SELECT count(*) FROM sip_trunks") == [(1,)]


# ---------------------------------------------------------------------- runs that die


def waiting_backends(url: str) -> int:
    """How many statements in the database wait for a lock."""
    locks = "wait_event_type = 'Lock' AND datname = current_database()"
    return int(ask(f"SELECT count(*) FROM pg_stat_activity WHERE {locks}", url)[0][0])


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def holding_up(table: str, url: str) -> Iterator[Callable[[], None]]:
    """Hold up whoever wants to write a row into the table until the end, or until the function is called."""
    ask(
        "CREATE OR REPLACE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN coalesce(NEW, OLD); END $$",
        url,
    )
    ask(
        f"CREATE TRIGGER wait BEFORE INSERT OR UPDATE OR DELETE ON famulor.{table} "
        "FOR EACH ROW EXECUTE FUNCTION public.wait()",
        url,
    )
    with closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute("SELECT pg_advisory_xact_lock(4711)")
        yield connection.rollback


def start_run(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "run", "--destination", "postgres", "--no-reports"],
        env=dict(os.environ) | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


BEFORE = [TRUNK, IP_TRUNK, trunk(id=50)]
AFTER = [TRUNK | {"country_code": "DE"}, IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.1"]}, trunk(id=51)]


def test_a_run_after_one_that_was_killed_in_the_middle_makes_everything_right(api: Api, url: str) -> None:
    api.answer(BEFORE)
    load()
    api.answer(AFTER)
    with holding_up("sip_trunks_history", url), start_run() as process:
        wait_until(lambda: waiting_backends(url) > 0 or process.poll() is not None)
        process.kill()
        assert process.wait(PATIENCE_SECONDS) == -9
        # The server notices by itself that nobody waits for the statement any more.
        wait_until(lambda: waiting_backends(url) == 0)
    assert query("SELECT count(*) FROM sip_trunk_snapshots") == [(1,)]
    assert only(load()).status == "loaded"
    assert_whole(AFTER)
    assert ask("SELECT count(*) FROM famulor.sip_trunks_history") == [(6,)]
    for name in TABLES:
        assert ask(f"SELECT * FROM famulor_staging.{name}") == []


def load_all_but_the_last_row() -> None:
    """Run; the run dies when all is loaded, but the row in `sip_trunk_snapshots` is not yet written."""
    ask(
        "CREATE FUNCTION public.die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more'; END $$;"
        "CREATE TRIGGER die BEFORE INSERT ON famulor.sip_trunk_snapshots FOR EACH ROW EXECUTE FUNCTION public.die()"
    )
    with pytest.raises(DestinationFailed, match="no more"):
        load()
    ask("DROP FUNCTION public.die CASCADE")


def test_a_run_after_one_that_died_at_the_end_takes_nothing_for_known_that_was_not_counted(api: Api) -> None:
    api.answer(BEFORE)
    load()
    api.answer(AFTER)
    load_all_but_the_last_row()
    # The answer is, to the byte, the last one that counts; what is stored is not.
    api.answer(BEFORE)
    assert load().exit_code == 0
    assert_whole(BEFORE)

    api.answer(AFTER)
    load_all_but_the_last_row()
    outcome = only(load())
    assert (outcome.status, outcome.new_count, outcome.changed_count, outcome.removed_count) == ("loaded", 1, 2, 1)
    assert_whole(AFTER)
    looks = "SELECT is_unchanged FROM famulor.sip_trunk_snapshots ORDER BY snapshot_at"
    assert [is_unchanged for (is_unchanged,) in ask(looks)] == [False, True, False]
    assert only(load()).status == "unchanged"


def test_a_first_run_that_was_killed_counts_for_nothing(api: Api, call: Call) -> None:
    api.answer(BEFORE)
    with start_run() as process:
        assert process.stderr is not None
        assert any("loading" in line for line in process.stderr)
        time.sleep(0.3)
        process.kill()
    assert process.returncode == -9
    assert "nothing is stored yet" in call("report", code=2)
    assert "did not end" in call("status")
    outcome = load()
    assert (only(outcome).status, only(outcome).new_count) == ("loaded", 3)
    assert_whole(BEFORE)


def test_a_connection_that_is_cut_in_the_middle_of_a_load_leaves_it_right(api: Api, url: str) -> None:
    api.answer(BEFORE)
    load()
    api.answer(AFTER)
    with holding_up("sip_trunks_history", url) as release:

        def cut() -> None:
            wait_until(lambda: waiting_backends(url) > 0)
            ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", url)
            release()

        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            assert load().exit_code == 0
        except DestinationFailed:
            assert only(load()).status == "loaded"
        cutter.join()
    assert_whole(AFTER)


def test_two_machines_that_load_at_the_same_time_do_not_mix_up_their_rows(api: Api, place: Path, url: str) -> None:
    stored = {"acme": [TRUNK, IP_TRUNK], "beta": [trunk(id=7), trunk(id=8)]}
    accounts = {name: Account(name, TOKEN) for name in stored}
    for trunks in stored.values():
        api.queue(trunks)
    assert run(read_settings("postgres"), list(accounts.values())).exit_code == 0

    stored = {name: [one | {"country_code": "FR"} for one in trunks] for name, trunks in stored.items()}
    with closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute("LOCK TABLE famulor.sip_trunks IN SHARE MODE")
        api.answer(stored["acme"])
        process = start_run(SIP_TRUNKS__DATA_DIR=str(place / "acme"), SOURCES__FAMULOR__ACCOUNTS__ACME=TOKEN)
        wait_until(lambda: waiting_backends(url) > 0)
        # The first waits in the middle of its load; the second waits there too, or for the first, or gives up.
        has_ended = threading.Event()

        def release() -> None:
            wait_until(lambda: waiting_backends(url) > 1 or has_ended.is_set())
            connection.rollback()

        releaser = threading.Thread(target=release)
        releaser.start()
        api.answer(stored["beta"])
        try:
            run(read_settings("postgres"), [accounts["beta"]])
        except (RunActive, DestinationFailed):
            has_ended.set()
            process.communicate(timeout=PATIENCE_SECONDS)
            run(read_settings("postgres"), [accounts["beta"]])
        releaser.join()
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    for name, trunks in stored.items():
        assert_whole(trunks, name)


# ---------------------------------------------------------------------- faults


UNUSABLE: list[tuple[str | None, str, tuple[int, ...]]] = [
    ("postgresql://loader:{password}@127.0.0.1:1/db", "Connection refused", (7,)),
    ("postgresql://loader:{password}@nowhere.invalid/db", "nowhere.invalid", (7,)),
    ("postgresql://loader:{password}@127.0.0.1:{port}/postgres", "password authentication failed", (7,)),
    ("{url}_unknown", "does not exist", (7,)),
    ("{password}", "credentials", (2, 7)),
    ("loader:{password}@127.0.0.1/db", "credentials", (2, 7)),
    ("postgresql://loader:{password}@127.0.0.1:{port}", "credentials", (2, 7)),
    # What is forgotten most: the password's own signs have to be escaped.
    *((f"postgresql://loader:it{sign}{{password}}@127.0.0.1:{{port}}/db", "", (2, 7)) for sign in ":/@#?%"),
    (None, CREDENTIALS, (2, 7)),
]


def test_a_server_that_cannot_be_used_is_named_in_one_line_without_the_password(
    api: Api, place: Path, url: str, monkeypatch: pytest.MonkeyPatch, call: Call, capfd: pytest.CaptureFixture[str]
) -> None:
    api.answer([trunk(phone_number=NUMBER)])
    wrong: dict[str, str] = {}
    for credentials, says, codes in UNUSABLE:
        if credentials is None:
            monkeypatch.delenv(CREDENTIALS)
        else:
            monkeypatch.setenv(CREDENTIALS, credentials.format(password=PASSWORD, port=urlsplit(url).port, url=url))
        for command in (["run"], ["status"], ["--debug", "status"]):
            code = main([*command, "--destination", "postgres"])
            out, err = capfd.readouterr()
            last_run = json.loads((place / "data" / "state" / "last_run.json").read_text())
            printed = [line for line in err.splitlines() if "asking the API" not in line]
            seen = out + err + notes(place)
            holds = {
                "exit code": code in codes and last_run["exit_code"] in codes,
                "what it says": printed[-1].startswith("sip-trunks: ") and says in printed[-1],
                "one line": len(printed) == 1 or "--debug" in command,
                "no secret": not any(s in seen for s in ("S3cret", urlsplit(url).password or "", NUMBER, TOKEN)),
            }
            if broken := [name for name, is_so in holds.items() if not is_so]:
                wrong[f"{' '.join(command)} with {credentials}"] = f"{', '.join(broken)}: {code} {printed[-1]}"
            for path in (place / "data" / "state").iterdir():
                path.unlink()
            (place / "data" / "state" / "last_run.json").write_text('{"exit_code": 7}')
    assert wrong == {}


def test_a_destination_that_is_not_there_or_cannot_merge_is_a_wrong_setting(call: Call) -> None:
    for name, says in (("nosuch", "no destination named"), ("redshift", "cannot merge")):
        for command in ("run", "status"):
            assert says in call(command, code=2, destination=name)


@pytest.fixture
def poor(postgres_server: PostgresServer, url: str) -> Iterator[str]:
    """The database's URL for a role that has no rights in it."""
    parts = urlsplit(url)
    name = f"poor_{parts.path[1:]}"
    postgres_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield f"postgresql://{name}:{PASSWORD}@127.0.0.1:{parts.port}{parts.path}"
    postgres_server.execute(f"DROP OWNED BY {name} CASCADE", parts.path[1:])
    postgres_server.execute(f"DROP ROLE {name}")


def test_a_role_needs_the_right_to_make_a_schema_or_two_schemas_of_its_own(
    api: Api, poor: str, url: str, call: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answer([trunk(phone_number=NUMBER)])
    monkeypatch.setenv(CREDENTIALS, poor)
    assert "permission denied" in call("run", code=7)
    assert "permission denied" in json.loads((place / "data" / "state" / "last_run.json").read_text())["error"]
    for secret in (PASSWORD, NUMBER):
        assert secret not in notes(place)
    assert ask("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'famulor%'", url) == []
    for schema in ("famulor", "famulor_staging"):
        ask(f"CREATE SCHEMA {schema} AUTHORIZATION {urlsplit(poor).username}", url)
    dlt_logger = logging.getLogger("dlt")
    level = dlt_logger.level
    dlt_logger.setLevel(logging.DEBUG)
    call("run")
    dlt_logger.setLevel(level)
    assert query("SELECT phone_number FROM sip_trunks") == [(NUMBER,)]
    assert " DEBUG dlt " in notes(place)
    for secret in (PASSWORD, NUMBER, urlsplit(poor).netloc):
        assert secret not in notes(place)


def test_a_role_that_may_only_read_reads(
    api: Api, poor: str, url: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answer([TRUNK])
    load()
    before = state()
    monkeypatch.setenv(CREDENTIALS, poor)
    assert "permission denied" in call("status", code=7)
    ask(f"GRANT USAGE ON SCHEMA famulor TO {urlsplit(poor).username}", url)
    ask(f"GRANT SELECT ON ALL TABLES IN SCHEMA famulor TO {urlsplit(poor).username}", url)
    assert "+e164" in call("report")
    assert "famulor" in call("status")
    api.answer([TRUNK | {"country_code": "DE"}])
    assert "permission denied" in call("run", code=7)
    monkeypatch.setenv(CREDENTIALS, url)
    assert state() == before


# ---------------------------------------------------------------------- what PostgreSQL cannot store


UNSTORABLE: list[tuple[str, Any]] = [
    ("sip_username", "a\u0000b"),
    ("note", {"a": "x\u0000y"}),
    ("created_at", "9999-12-31T23:59:59-05:00"),
    ("xmin", "x"),
]


def test_a_value_that_the_server_cannot_store_is_stored_beside_or_refused_but_never_lost(api: Api) -> None:
    api.answer([TRUNK])
    load()
    wrong = {}
    for name, value in UNSTORABLE:
        api.answer([trunk(**{name: value})])
        try:
            load()
        except DestinationFailed:
            # Whatever was written before the refusal, the next run puts right.
            api.answer([TRUNK])
            load()
            assert_whole([TRUNK])
        else:
            with open_destination(read_settings("postgres")).reading() as connection:
                result = connection.execute("SELECT * FROM sip_trunks")
                row = dict(zip((column[0] for column in result.description or ()), result.fetchall()[0], strict=True))
            if not reads_back(value, row.get(name), row.get(f"{name}__v_text")):
                wrong[f"{name}={value!r}"] = f"stored as {row.get(name)!r}, {row.get(f'{name}__v_text')!r}"
    assert wrong == {}


def test_a_value_that_the_server_refuses_is_not_quoted_anywhere(api: Api, place: Path, call: Call, url: str) -> None:
    username = "somebody-at-home"
    api.answer([trunk(phone_number=NUMBER, sip_username=username, sip_address="", allowed_inbound_ips=["\u0000"])])
    line = call("run", code=7)
    for secret in (NUMBER, username, urlsplit(url).password or ""):
        assert secret not in line
        assert secret not in notes(place)


# ---------------------------------------------------------------------- what goes


def test_rows_of_long_ago_and_of_a_forgotten_account_go_and_the_others_stay(api: Api, call: Call) -> None:
    settings, limit = read_settings("postgres"), test_prune.at(3)
    store(settings, test_prune.STORY)
    before = test_prune.tell(settings, limit)
    counts = test_prune.drop_before(settings, limit)
    assert (counts["sip_trunks_history"], counts["sip_trunk_snapshots"]) == (6, 7)
    assert [*map(str, test_prune.tell(settings, limit))] == [*map(str, before)]
    kept = state("account <> 'idle'")
    # As a load leaves it that has died.
    ask("CREATE SCHEMA IF NOT EXISTS famulor_staging")
    ask("CREATE TABLE IF NOT EXISTS famulor_staging.sip_trunks AS SELECT * FROM famulor.sip_trunks")
    ask("CREATE TABLE famulor.mine AS SELECT 'idle' AS account")
    said = call("accounts", "forget", "idle", "--yes")
    assert "vacuums" in said
    for table in TABLES:
        assert ask(f"SELECT count(*) FROM famulor.{table} WHERE account = 'idle'") == [(0,)]
    assert ask("SELECT count(*) FROM famulor_staging.sip_trunks") == [(0,)]
    assert ask("SELECT count(*) FROM famulor.mine") == [(1,)]
    assert state() == kept
    assert "stored: acme, left, new" in call("accounts", "forget", "idle", "--yes", code=2)
