"""A real PostgreSQL: it keeps the promises of every destination, and survives what only a server can meet."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from sip_trunks.commands import main
from sip_trunks.core.errors import DestinationError, RunActiveError
from sip_trunks.core.settings import Account, read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.run.run import run
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.consistency import assert_answers_are_whole, reads_back
from tests.support.destination_contract import TEXTS, ComparedDestinationContract
from tests.support.destination_stories import DestinationStories
from tests.support.lakes import places_with
from tests.support.past import store
from tests.support.runs import COMMAND, PATIENCE_SECONDS, TOKEN, call, load, only, query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.fixtures import Begin
    from tests.support.postgres_server import PostgresServer

    Rows = list[tuple[Any, ...]]

CREDENTIALS = "DESTINATION__POSTGRES__CREDENTIALS"
TABLES = ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips", "sip_trunk_snapshots", "schema_drift")
PASSWORD = "wr0ng-S3cret"
NUMBER = "+49305550199"
_connections: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def url(place: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The database of the test, which the settings name."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "postgres")
    monkeypatch.setenv(CREDENTIALS, postgres_url)
    yield postgres_url
    while _connections:
        _connections.popitem()[1].close()


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


def written_rows(where: str = "true") -> dict[str, Rows]:
    """The rows of all tables, with where and by which transaction each was written: what is equal was not touched."""
    return {
        name: ask(f"SELECT ctid::text, xmin::text, t.* FROM famulor.{name} AS t WHERE {where} ORDER BY 1")
        for name in TABLES
    }


class TestPostgres(ComparedDestinationContract, DestinationStories):
    name = "postgres"
    # PostgreSQL has no NUL in texts, and no lone surrogate in JSON.
    texts = TEXTS
    odd_texts = ()

    def contents(self) -> object:
        return written_rows()

    def values_in_storage(self, table: str, id_: int) -> set[Any]:
        rows = ask(f"SELECT * FROM famulor.{table} WHERE id = {id_}")
        return {value for row in rows for value in row if isinstance(value, str)}

    def places_with(self, text: str) -> set[str]:
        schemas = "('famulor', 'famulor_staging')"
        tables = ask(f"SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN {schemas}")
        queries = {
            f"{schema}.{name}": f"SELECT count(*) FROM {schema}.{name} AS t WHERE strpos(t::text, '{text}') > 0"
            for schema, name in tables
            # dlt's schema names the accounts that the last load was for.
            if name != "_dlt_version"
        }
        return {table for table, sql in queries.items() if ask(sql) != [(0,)]} | places_with(text)

    def assert_tidy(self) -> None:
        for name in TABLES:
            assert ask(f"SELECT * FROM famulor_staging.{name}") == []
        # dlt stores its schema once more with every load.
        assert ask("SELECT count(*) FROM famulor._dlt_version") == [(1,)]

    @pytest.fixture
    def begin(self, api: Api, place: Path) -> Begin:
        """Run once; a database cannot be copied as a folder can."""

        def begin(*trunks: dict[str, Any]) -> None:
            api.answer(list(trunks))
            assert load().exit_code == 0

        return begin


def notes(place: Path) -> str:
    """Everything that runs have left in the data directory, as text; the report page is for its readers."""
    files = sorted(path for path in (place / "data").rglob("*") if path.is_file() and path.name != "index.html")
    return "".join(path.read_text("utf-8", "replace") for path in files)


def assert_whole(trunks: Sequence[dict[str, Any]]) -> None:
    """Assert that all tables show these trunks, and that their versions neither overlap nor repeat."""
    with open_destination(read_settings()).reading() as connection:
        # A load of a table that was completed before its run died stays, with the moment of that run.
        assert_answers_are_whole(lambda sql: connection.execute(sql).fetchall(), trunks, moments_are_observed=False)


# ---------------------------------------------------------------------- how the server has it


def test_columns_have_types_of_the_server(api: Api) -> None:
    api.answer([TRUNK, IP_TRUNK | {"zz_object": {"b": {"y": "\U0001f4de"}}, "zz_list": [1, True, ""]}])
    load()
    of_history = "table_schema = 'famulor' AND table_name = 'sip_trunks_history'"
    types: dict[str, str] = dict(
        ask(f"SELECT column_name, data_type FROM information_schema.columns WHERE {of_history}")
    )
    assert {types[name] for name in ("created_at", "updated_at", "valid_from", "valid_to")} == {
        "timestamp with time zone"
    }
    assert (types["id"], types["outbound_proxy"], types["allowed_inbound_ips"]) == ("bigint", "boolean", "jsonb")
    assert types["phone_number"] == types["row_version"] == "character varying"
    moment = datetime(2026, 3, 31, 10, tzinfo=UTC)
    first, second = ask(f"SELECT {', '.join(TRUNK)} FROM famulor.sip_trunks ORDER BY id")
    names = (42, "1000", "Front desk", "myuser", "sip.provider.com")
    assert first == (*names, "+e164", "auth", None, False, "US", moment, moment)
    assert second[7:9] == (["203.0.113.10", "198.51.100.20"], True)
    assert ask("SELECT zz_object -> 'b' ->> 'y', zz_list -> 2 FROM famulor.sip_trunks WHERE id = 43") == [
        ("\U0001f4de", "")
    ]


def test_rows_are_written_only_if_they_change(api: Api) -> None:
    steady = IP_TRUNK | {"id": 50}
    api.answer([TRUNK, steady])
    load()
    names = ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips")
    before, loads = written_rows(), ask("SELECT * FROM famulor._dlt_loads")
    assert only(load()).status == "unchanged"
    assert ask("SELECT * FROM famulor._dlt_loads") == loads
    api.answer([steady, dict(reversed(TRUNK.items()))])
    assert only(load()).status == "loaded"
    assert [written_rows()[name] for name in names] == [before[name] for name in names]
    api.answer([trunk(country_code="DE"), steady])
    load()
    assert run(read_settings(), [Account("other", TOKEN)], with_reports=False).exit_code == 0
    for name in names:
        key = "account = 'default' AND trunk_id" if name == "sip_trunk_allowed_ips" else "account = 'default' AND id"
        rows = ask(f"SELECT ctid::text, xmin::text, t.* FROM famulor.{name} AS t WHERE {key} = 50 ORDER BY 1")
        assert all(row in before[name] for row in rows), name


def test_the_time_zone_and_date_style_of_the_database_change_nothing(api: Api, url: str) -> None:
    database = url.rpartition("/")[2]
    ask(f"ALTER DATABASE {database} SET timezone = 'America/St_Johns'")
    ask(f"ALTER DATABASE {database} SET datestyle = 'German'")
    api.answer([TRUNK, IP_TRUNK])
    first = load().snapshot_at
    api.answer([TRUNK])
    second = load().snapshot_at
    versions = "SELECT id, valid_from, valid_to FROM {} ORDER BY id"
    assert ask(versions.format("famulor.sip_trunks_history")) == [(42, first, None), (43, first, second)]
    assert query(versions.format("sip_trunks_history")) == [(42, first, None), (43, first, second)]
    assert query("SELECT DISTINCT created_at FROM sip_trunks") == [(datetime(2026, 3, 31, 10, tzinfo=UTC),)]


def test_a_clock_of_the_server_that_went_back_hides_no_new_column(api: Api) -> None:
    api.answer([TRUNK])
    load()
    for table, column in (("_dlt_version", "inserted_at"), ("_dlt_loads", "inserted_at")):
        ask(f"UPDATE famulor.{table} SET {column} = {column} + interval '1 day'")
    api.answer([TRUNK | {"zz_label": "x"}])
    load()
    assert query("SELECT zz_label FROM sip_trunks") == [("x",)]
    api.answer([TRUNK | {"zz_label": 5}])
    assert [(d.column_name, d.kind) for d in only(load()).drift if d.kind == "type_mismatch"] == [
        ("zz_label", "type_mismatch")
    ]


def test_sql_cannot_reach_the_server(api: Api, place: Path) -> None:
    api.answer([TRUNK])
    load()
    before = written_rows()
    for statement in (
        "ATTACH '' AS server (TYPE postgres)",
        f"SELECT * FROM postgres_query('{os.environ[CREDENTIALS]}', 'DELETE FROM famulor.sip_trunks')",
    ):
        call("sql", statement, code=2)
    assert written_rows() == before
    assert "postgres, dataset famulor" in call("status")


def test_forgetting_empties_what_a_dead_load_staged_and_touches_no_other_table() -> None:
    store(
        read_settings(),
        [("idle", datetime(2026, 3, 1, tzinfo=UTC), [TRUNK]), ("kept", datetime(2026, 3, 1, tzinfo=UTC), [IP_TRUNK])],
    )
    kept = written_rows("account <> 'idle'")
    # As a load leaves it that has died.
    ask("CREATE SCHEMA IF NOT EXISTS famulor_staging")
    ask("CREATE TABLE IF NOT EXISTS famulor_staging.sip_trunks AS SELECT * FROM famulor.sip_trunks")
    ask("CREATE TABLE famulor.mine AS SELECT 'idle' AS account")
    assert "vacuums" in call("accounts", "forget", "idle", "--yes")
    assert ask("SELECT count(*) FROM famulor_staging.sip_trunks") == [(0,)]
    assert ask("SELECT count(*) FROM famulor.mine") == [(1,)]
    assert written_rows() == kept


# ---------------------------------------------------------------------- runs that die


def waiting_backends(url: str) -> int:
    """How many statements in the database wait for a lock."""
    locks = "wait_event_type = 'Lock' AND datname = current_database()"
    return int(ask(f"SELECT count(*) FROM pg_stat_activity WHERE {locks}", url)[0][0])


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two questions


@contextmanager
def holding_up(table: str, url: str) -> Iterator[Callable[[], None]]:
    """Hold up whoever wants to write a row into the table until the end, or until the function is called."""
    ask(
        "CREATE OR REPLACE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN coalesce(NEW, OLD); END $$",
        url,
    )
    trigger = (
        f"CREATE TRIGGER wait BEFORE INSERT OR UPDATE OR DELETE ON famulor.{table} "
        "FOR EACH ROW EXECUTE FUNCTION public.wait()"
    )
    if ask(f"SELECT to_regclass('famulor.{table}')", url) != [(None,)]:
        ask(trigger, url)
    else:
        # The first run will make the table.
        ask(
            "CREATE FUNCTION public.hold_up() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF EXISTS ("
            f"SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'famulor.{table}') "
            f"THEN {trigger}; END IF; END $$;"
            "CREATE EVENT TRIGGER hold_up ON ddl_command_end WHEN TAG IN ('CREATE TABLE') "
            "EXECUTE FUNCTION public.hold_up()",
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


def test_the_run_after_a_killed_one_repairs_everything(api: Api, url: str) -> None:
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
    with pytest.raises(DestinationError, match="no more"):
        load()
    ask("DROP FUNCTION public.die CASCADE")


def test_a_load_without_its_last_row_is_repeated_by_the_next_run(api: Api) -> None:
    api.answer(BEFORE)
    load()
    api.answer(AFTER)
    load_all_but_the_last_row()
    # The answer is, the response is unchanged that counts; what is stored is not.
    api.answer(BEFORE)
    assert load().exit_code == 0
    assert_whole(BEFORE)

    api.answer(AFTER)
    load_all_but_the_last_row()
    outcome = only(load())
    assert (outcome.status, outcome.new_count, outcome.changed_count, outcome.removed_count) == ("loaded", 1, 2, 1)
    assert_whole(AFTER)
    observations = "SELECT is_unchanged FROM famulor.sip_trunk_snapshots ORDER BY snapshot_at"
    assert [is_unchanged for (is_unchanged,) in ask(observations)] == [False, True, False]
    assert only(load()).status == "unchanged"


def test_a_first_run_that_was_killed_counts_for_nothing(api: Api, url: str) -> None:
    api.answer(BEFORE)
    with holding_up("sip_trunks_history", url), start_run() as process:
        wait_until(lambda: waiting_backends(url) > 0 or process.poll() is not None)
        process.kill()
        assert process.wait(PATIENCE_SECONDS) == -9
        wait_until(lambda: waiting_backends(url) == 0)
    assert ask("SELECT count(*) > 0 FROM information_schema.tables WHERE table_schema = 'famulor'") == [(True,)]
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
        except DestinationError:
            assert only(load()).status == "loaded"
        cutter.join()
    assert_whole(AFTER)


def test_two_machines_that_load_at_the_same_time_do_not_mix_up_their_rows(api: Api, place: Path, url: str) -> None:
    stored = {"acme": [TRUNK, IP_TRUNK], "beta": [trunk(id=7), trunk(id=8)]}
    accounts = {name: Account(name, TOKEN) for name in stored}
    for trunks in stored.values():
        api.queue(trunks)
    assert run(read_settings(), list(accounts.values())).exit_code == 0

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
            run(read_settings(), [accounts["beta"]])
        except (RunActiveError, DestinationError):
            has_ended.set()
            process.communicate(timeout=PATIENCE_SECONDS)
            run(read_settings(), [accounts["beta"]])
        releaser.join()
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    for name, trunks in stored.items():
        mine = [row[:1] for row in ask(f"SELECT id FROM famulor.sip_trunks WHERE account = '{name}' ORDER BY 1")]
        assert mine == [(record["id"],) for record in trunks]
        assert ask(f"SELECT DISTINCT country_code FROM famulor.sip_trunks WHERE account = '{name}'") == [("FR",)]


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
    api: Api, place: Path, url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    api.answer([trunk(phone_number=NUMBER)])
    wrong: dict[str, str] = {}
    for credentials, says, codes in UNUSABLE:
        if credentials is None:
            monkeypatch.delenv(CREDENTIALS)
        else:
            monkeypatch.setenv(CREDENTIALS, credentials.format(password=PASSWORD, port=urlsplit(url).port, url=url))
        for command in (["run"], ["status"], ["--debug", "status"]):
            code = main(command)
            out, err = capfd.readouterr()
            last_run = json.loads((place / "data" / "state" / "last_run.json").read_text())
            printed = [line for line in err.splitlines() if "requesting trunks" not in line]
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


def test_a_destination_that_is_not_there_or_cannot_merge_is_a_wrong_setting() -> None:
    for name, says in (("nosuch", "is not a destination"), ("redshift", "does not support the merge strategies")):
        for command in ("run", "status"):
            assert says in call(command, "--destination", name, code=2)


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
    api: Api, poor: str, url: str, place: Path, monkeypatch: pytest.MonkeyPatch
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


def test_a_role_that_may_only_read_reads(api: Api, poor: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer([TRUNK])
    load()
    before = written_rows()
    monkeypatch.setenv(CREDENTIALS, poor)
    assert "permission denied" in call("status", code=7)
    ask(f"GRANT USAGE ON SCHEMA famulor TO {urlsplit(poor).username}", url)
    ask(f"GRANT SELECT ON ALL TABLES IN SCHEMA famulor TO {urlsplit(poor).username}", url)
    assert "+e164" in call("report")
    assert "famulor" in call("status")
    api.answer([TRUNK | {"country_code": "DE"}])
    assert "permission denied" in call("run", code=7)
    monkeypatch.setenv(CREDENTIALS, url)
    assert written_rows() == before


# ---------------------------------------------------------------------- what PostgreSQL cannot store


UNSTORABLE: list[tuple[str, Any]] = [
    ("sip_username", "a\u0000b"),
    ("zz_note", {"a": "x\u0000y"}),
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
        except DestinationError:
            # Whatever was written before the refusal, the next run puts right.
            api.answer([TRUNK])
            load()
            assert_whole([TRUNK])
        else:
            with open_destination(read_settings()).reading() as connection:
                result = connection.execute("SELECT * FROM sip_trunks")
                row = dict(zip((column[0] for column in result.description or ()), result.fetchall()[0], strict=True))
            if not reads_back(value, row.get(name), row.get(f"{name}__v_text")):
                wrong[f"{name}={value!r}"] = f"stored as {row.get(name)!r}, {row.get(f'{name}__v_text')!r}"
    assert wrong == {}


def test_a_value_that_the_server_refuses_is_not_quoted_anywhere(api: Api, place: Path, url: str) -> None:
    username = "somebody-at-home"
    api.answer([trunk(phone_number=NUMBER, sip_username=username, sip_address="", allowed_inbound_ips=["\u0000"])])
    line = call("run", code=7)
    for secret in (NUMBER, username, urlsplit(url).password or ""):
        assert secret not in line
        assert secret not in notes(place)
