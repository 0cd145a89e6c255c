"""What every destination promises, stated once. The tests of a destination are a subclass that names it:

    class TestDuckdbFile(AtomicDestinationContract):
        name = "duckdb"

Where a destination differs for a reason, an attribute or a method of its subclass says so.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from sip_trunks.core.errors import RunActiveError
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.warehouse.rewriting import Deletion, rows_of
from tests.support import story
from tests.support.builders import ABSENT, IP_TRUNK, TRUNK, body, trunk
from tests.support.consistency import assert_answers_are_whole, reads_back
from tests.support.past import store
from tests.support.runs import call, load, only, query
from trunk_transforms import schema
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from sip_trunks.run.result import RunResult
    from tests.support.api import Api
    from tests.support.fixtures import Begin

    Rows = list[tuple[Any, ...]]
    Trunks = list[dict[str, Any]]

FIRST = [TRUNK, IP_TRUNK, IP_TRUNK | {"id": 50}, IP_TRUNK | {"id": 51}]
"""What most tests begin with: the first run is made once and copied."""
ACCOUNTS = {"acme": "token-a", "beta": "token-b"}
NAMES = (
    "select", "user", "User", "order", "table", "left", "end", "default", "primary", "", "日本", "x" * 300,
    "x" * 299 + "y", "ä" * 80, "日" * 80, "a b", 'quo"te', "it's", "_dlt_id", "_dlt_load_id", "account", "valid_to",
    "row_version", "snapshot_at", "sipUsername", "position", "ip", "trunk_id", "element", "a__b", "a.b", "a/b", "a\\b",
    "x__v_text", "%s", "%(id)s", "{}", "-- ", "$1", "1", "ID", "oid",
)  # fmt: skip
"""Names of fields that SQL, dlt, DuckDB, PostgreSQL, Parquet or this project might take for something else."""
TEXTS = (
    "", " ", "null", "NULL", "\\N", "it's", '"quoted", and; more', "'; DROP TABLE sip_trunks; --", "=1+1",
    "back\\slash \\n \\' E'x'", "line\nbreak\r\nand\ttab\x0b\x01", "%s %% %(id)s {} $1 :name",
    "<script>alert(1)</script>", "Zo\u00eb \u65e5\u672c \U0001f4de \u202egnp.exe\u2028\ufeff", "x" * 1_000_000,
)  # fmt: skip
VALUES = r"""
    "created_at": "9999-12-31T23:59:59.999999Z", "updated_at": "0001-01-01T00:00:00Z",
    "allowed_inbound_ips": [null, "", "a"], "zz_low": -9223372036854775808, "zz_high": 9223372036854775807,
    "zz_higher": 9223372036854775808, "zz_tenth": 0.1, "zz_sum": 0.30000000000000004, "zz_huge": 1e308,
    "zz_tiny": 5e-324, "zz_zero": -0.0, "zz_yes": true,
    "zz_list": [null, true, "", {}, [1.0, 1e2, 12345678901234567890123]],
    "zz_object": {"zz": 1, "b": {"y": "\ud83d\udcde", "x": null}, "aaa": "\\ \" ' \n", "a": 1}, "zz_far": {"n": 1e400}
"""
"""Members of a record, in JSON."""
STORED_VALUES: dict[str, Any] = {
    "created_at": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    "updated_at": datetime(1, 1, 1, tzinfo=UTC),
    "allowed_inbound_ips": [None, "", "a"],
    "zz_low": -(2**63),
    "zz_high": 2**63 - 1,
    "zz_higher": 2**63,
    "zz_tenth": 0.1,
    "zz_sum": 0.30000000000000004,
    "zz_huge": 1e308,
    "zz_tiny": 5e-324,
    "zz_zero": -0.0,
    "zz_yes": True,
    "zz_list": [None, True, "", {}, [1, 100, 12345678901234567890123]],
    "zz_object": {"zz": 1, "b": {"y": "\U0001f4de", "x": None}, "aaa": "\\ \" ' \n", "a": 1},
    "zz_far": {"n": "1E+400"},
}
"""What they are stored as, once JSON is read."""


def load_trunks(api: Api, *trunks: dict[str, Any], **options: Any) -> RunResult:
    """Run on a response with these trunks."""
    api.answer(list(trunks))
    outcome = load(**options)
    assert outcome.exit_code == 0, only(outcome).error
    return outcome


def counts_of(outcome: RunResult) -> tuple[int | None, int | None, int | None]:
    """Return how many trunks of the only account are new, changed and removed."""
    account = only(outcome)
    return account.new_count, account.changed_count, account.removed_count


@dataclass(frozen=True)
class Reader:
    """Somebody who reads what is stored, as our own commands do."""

    connection: duckdb.DuckDBPyConnection

    def rows(self, sql: str) -> Rows:
        """Return the rows of a query."""
        return self.connection.execute(sql).fetchall()

    def records(self, sql: str) -> Trunks:
        """Return the rows of a query by name with JSON read: how it is spelled differs between destinations."""
        result = self.connection.execute(sql)
        columns = [(str(name), str(kind)) for name, kind, *_ in result.description or ()]
        return [
            {
                name: json.loads(value) if kind == "JSON" and value is not None else value
                for (name, kind), value in zip(columns, row, strict=True)
            }
            for row in result.fetchall()
        ]


@contextmanager
def reading() -> Iterator[Reader]:
    """Open what is stored once for several queries: to open it costs more than they do."""
    with open_destination(read_settings()).reading() as connection:
        yield Reader(connection)


def assert_whole(trunks: Trunks) -> None:
    """Assert that every table shows these trunks, and that the history is sound."""
    with reading() as stored:
        assert_answers_are_whole(stored.rows, trunks)


class Destination:
    """What the tests need to know of a destination."""

    name: ClassVar[str]
    """What `--destination` calls it."""
    texts: ClassVar[Sequence[str]] = (*TEXTS, "a\0b")
    """Texts that it stores."""
    odd_texts: ClassVar[Sequence[str]] = ("\ud800", "\0")
    """Texts that it stores within JSON."""

    @pytest.fixture(autouse=True)
    def destination(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it what every run and every command means."""
        monkeypatch.setenv("SIP_TRUNKS__DESTINATION", self.name)

    @pytest.fixture
    def accounts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Configure two accounts, `acme` and `beta`."""
        for name, token in ACCOUNTS.items():
            monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name.upper()}", token)

    @abstractmethod
    def contents(self) -> object:
        """Return all that is stored, so exactly that only what was not written at all is equal to itself."""

    @abstractmethod
    def values_in_storage(self, table: str, id_: int) -> set[Any]:
        """Return the values of a trunk's rows in a table, read from the storage by a program of others."""

    @abstractmethod
    def places_with(self, text: str) -> set[str]:
        """Return where a text is in what this project has written, compressed or not; the log aside."""

    def rows_of_trunks(self, where: str = "true") -> list[Rows]:
        """Return the rows of the tables of trunks: equal means that the trunks were not loaded again."""
        names = ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips")
        with reading() as stored:
            return [stored.rows(f"FROM {name} WHERE {where} ORDER BY ALL") for name in names]

    def assert_empty(self) -> None:
        """Assert that readers find nothing after all accounts are forgotten."""
        assert not open_destination(read_settings()).exists()

    def assert_tidy(self) -> None:
        """Assert that the runs have left nothing behind that no later run needs."""


class DestinationContract(Destination):
    """The tests of any destination; destination_stories.py has those that take long."""

    # ------------------------------------------------------------------ before anything is stored

    def test_before_anything_is_stored_every_reader_says_what_to_do(self, api: Api) -> None:
        assert not open_destination(read_settings()).exists()
        for command in ("report", "audit", "drift", "sql FROM+sip_trunks", "export --output copy", "prune --yes"):
            line = call(*(word.replace("+", " ") for word in command.split()), code=2)
            assert "nothing is stored yet" in line, command
        assert json.loads(call("status", "--json"))["accounts"][0]["snapshot_at"] is None
        assert "stored: no account" in call("accounts", "forget", "default", "--yes", code=2)
        assert api.requests == []

    # ------------------------------------------------------------------ what is stored

    def test_documented_records_are_stored_exactly_with_their_types(self, api: Api) -> None:
        outcome = load_trunks(api, TRUNK, IP_TRUNK)
        assert outcome.destination == self.name
        assert counts_of(outcome) == (2, 0, 0)
        assert (only(outcome).trunk_count, only(outcome).drift) == (2, ())
        with reading() as stored:
            first, second = stored.records(f"SELECT {', '.join(TRUNK)} FROM sip_trunks ORDER BY id")
            moments = {name: datetime(2026, 3, 31, 10, tzinfo=UTC) for name in ("created_at", "updated_at")}
            assert first == TRUNK | moments
            assert second == IP_TRUNK | {name: moment + timedelta(hours=1) for name, moment in moments.items()}
            assert stored.rows("SELECT trunk_id, position, ip FROM sip_trunk_allowed_ips ORDER BY ALL") == [
                (43, 0, "203.0.113.10"),
                (43, 1, "198.51.100.20"),
            ]
            assert stored.rows("SELECT account, snapshot_at, trunk_count, is_unchanged FROM sip_trunk_snapshots") == [
                ("default", outcome.snapshot_at, 2, False)
            ]
            for table in schema.REQUIRED_TABLES:
                types = {name: kind for name, kind, *_ in stored.rows(f"DESCRIBE {table.name}")}
                declared = {c.name: schema.VIEW_TYPES[c.type] for c in table.columns if c.name != "assignments_sha256"}
                assert {name: types[name] for name in declared} == declared, table.name
            for view in ("sip_trunks", "sip_trunks_history", "trunks_as_of(now())"):
                listed = f"SELECT id, len(allowed_inbound_ips), unnest(allowed_inbound_ips) FROM {view} ORDER BY ALL"
                assert stored.rows(listed) == [(43, 2, "198.51.100.20"), (43, 2, "203.0.113.10")]
        self.assert_tidy()

    def test_texts_and_values_of_every_kind_in_fields_of_any_name_are_stored_exactly(self, api: Api) -> None:
        sent = {name: f"value {number}" for number, name in enumerate(NAMES)}
        texts = dict(enumerate(self.texts, 100))
        of_texts = [trunk(id=n, sip_username=text, zz_quoted={"a'b\\": [text]}) for n, text in texts.items()]

        def response(values: dict[str, str]) -> bytes:
            odd = json.dumps(trunk(id=43, **values))[:-1] + f", {VALUES}}}"
            return body(TRUNK, *of_texts)[:-2] + b", " + odd.encode() + b"]}"

        api.answer(response(sent))
        outcome = load()
        assert outcome.exit_code == 0, only(outcome).error
        with reading() as stored:
            for table in ("sip_trunks", "sip_trunks_history"):
                rows = stored.records(f"SELECT id, sip_username, zz_quoted FROM {table} WHERE id >= 100 ORDER BY id")
                assert [tuple(row.values()) for row in rows] == [
                    (n, text, {"a'b\\": [text]}) for n, text in texts.items()
                ]
                (row,) = stored.records(f"SELECT * FROM {table} WHERE id = 43")
                assert {name: row[name] for name in STORED_VALUES} == STORED_VALUES, table
                assert set(sent.values()) <= {value for value in row.values() if isinstance(value, str)}, table
        for table in ("sip_trunks", "sip_trunks_history"):
            assert set(sent.values()) <= self.values_in_storage(table, 43), table
        # Fields in another order are given the same columns, so nothing has changed.
        api.answer(response(dict(reversed(sent.items()))))
        assert counts_of(load()) == (0, 0, 0)

    def test_a_column_keeps_its_first_type_and_misfits_are_stored_beside_it(self, api: Api) -> None:
        names = ("zz_shifting", "9\u00e9", "2fa_setting_" + "x" * 60)
        values: list[Any] = [6, [1, "a"], {"b": None}, "text", True, 1.5, 2**64, None]
        load_trunks(api, trunk(zz_object={"a": 1}, **dict.fromkeys(names, 5)))
        many = [trunk(id=n, **dict.fromkeys(names, value)) for n, value in enumerate(values, 100)]
        odd = [trunk(id=n, zz_object={"a": text}) for n, text in enumerate(self.odd_texts, 200)]
        load_trunks(api, trunk(zz_object=["x"]), *many, *odd)
        with reading() as stored:
            columns = "zz_shifting, zz_shifting__v_text"
            assert stored.rows(f"SELECT {columns} FROM sip_trunks WHERE id BETWEEN 100 AND 199 ORDER BY id") == [
                (6, None),
                (None, '[1,"a"]'),
                (None, '{"b":null}'),
                (None, "text"),
                (None, "true"),
                (None, "1.5"),
                (None, str(2**64)),
                (None, None),
            ]
            assert stored.rows("SELECT count(*), count(valid_to) FROM sip_trunks_history WHERE id = 42") == [(2, 1)]
            objects = [
                row["zz_object"] or json.loads(row["zz_object__v_text"])
                for row in stored.records("FROM sip_trunks WHERE id = 42 OR id >= 200 ORDER BY id")
            ]
            assert objects == [["x"], *({"a": text} for text in self.odd_texts)]

    # ------------------------------------------------------------------ history

    def test_an_unchanged_or_reordered_response_is_recorded_and_opens_no_version(self, api: Api, begin: Begin) -> None:
        begin(*FIRST)
        before = self.rows_of_trunks()
        unchanged = load()
        assert only(unchanged).status == "unchanged"
        assert self.rows_of_trunks() == before
        moved = [IP_TRUNK | {"allowed_inbound_ips": IP_TRUNK["allowed_inbound_ips"][::-1]}, *FIRST[2:]]
        reordered = load_trunks(api, *moved, dict(reversed(TRUNK.items())))
        assert only(reordered).status == "loaded"
        assert counts_of(reordered) == (0, 0, 0)
        assert self.rows_of_trunks() == before
        columns = "trunk_count, is_unchanged, snapshot_at, body_sha256, _dlt_load_id"
        observations = query(f"SELECT {columns} FROM sip_trunk_snapshots ORDER BY snapshot_at")
        assert [row[:3] for row in observations][1:] == [
            (4, True, unchanged.snapshot_at),
            (4, True, reordered.snapshot_at),
        ]
        # The unchanged response belongs to the load of the response that it repeats.
        first, second, third = (row[3:] for row in observations)
        assert first == second
        assert not set(second) & set(third)
        self.assert_tidy()

    def test_history_has_exactly_the_versions_that_were_observed(self, api: Api, begin: Begin) -> None:
        begin(*FIRST)
        ((first,),) = query("SELECT snapshot_at FROM sip_trunk_snapshots")
        german, new, without = trunk(country_code="DE"), trunk(id=44), FIRST[3] | {"allowed_inbound_ips": None}
        versions = "SELECT id, country_code, valid_from, valid_to FROM sip_trunks_history ORDER BY id, valid_from"
        of_closed = "FROM sip_trunks_history WHERE valid_to IS NOT NULL"

        outcome = load_trunks(api, german, new, FIRST[2], without)
        assert counts_of(outcome) == (1, 2, 1)
        second = outcome.snapshot_at
        with reading() as stored:
            assert stored.rows(versions) == [
                (42, "US", first, second),
                (42, "DE", second, None),
                (43, "US", first, second),
                (44, "US", second, None),
                (50, "US", first, None),
                (51, "US", first, second),
                (51, "US", second, None),
            ]
            assert_answers_are_whole(stored.rows, [german, new, FIRST[2], without])
            closed = set(map(str, stored.rows(of_closed)))

        longer = FIRST[2] | {"allowed_inbound_ips": ["192.0.2.1", *IP_TRUNK["allowed_inbound_ips"]]}
        outcome = load_trunks(api, german, IP_TRUNK, new, longer, without)
        assert counts_of(outcome) == (1, 1, 0)
        third = outcome.snapshot_at
        with reading() as stored:
            # A trunk that returns has a gap in its history.
            assert stored.rows(versions)[2:] == [
                (43, "US", first, second),
                (43, "US", third, None),
                (44, "US", second, None),
                (50, "US", first, third),
                (50, "US", third, None),
                (51, "US", first, second),
                (51, "US", second, None),
            ]
            assert_answers_are_whole(stored.rows, [german, IP_TRUNK, new, longer, without])
            assert closed < set(map(str, stored.rows(of_closed)))
            for moment, ids in ((first, [42, 43, 50, 51]), (second, [42, 44, 50, 51]), (third, [42, 43, 44, 50, 51])):
                assert stored.rows(f"SELECT id FROM trunks_as_of('{moment}') ORDER BY id") == [(id_,) for id_ in ids]
        self.assert_tidy()

    def test_versions_stay_in_order_when_the_clock_goes_back(self, api: Api) -> None:
        ahead = datetime.now(UTC) + timedelta(days=1)
        store(read_settings(), [("default", ahead, [TRUNK])])
        assert load_trunks(api, trunk(country_code="DE")).snapshot_at == ahead + timedelta(microseconds=1)
        assert query("SELECT valid_from < valid_to FROM sip_trunks_history WHERE valid_to IS NOT NULL") == [(True,)]

    # ------------------------------------------------------------------ drift

    def test_new_fields_become_columns_and_misfits_are_stored_beside(self, api: Api, begin: Begin) -> None:
        begin(*FIRST)

        def drift_of(outcome: RunResult) -> set[tuple[str, str, int]]:
            return {(seen.column_name, seen.kind, seen.row_count) for seen in only(outcome).drift}

        grown = TRUNK | {"zz_label": "Front desk", "zz_limits": {"calls": [5, None]}, "zz_password": "hunter2-secret"}
        expected = {("zz_label", "new_column", 1), ("zz_limits", "new_column", 1), ("zz_password", "secret_dropped", 1)}
        assert drift_of(load_trunks(api, grown, *FIRST[1:])) == expected
        current = {"zz_label": "Front desk", "zz_limits": {"calls": [5, None]}}
        with reading() as stored:
            assert set(stored.rows("SELECT column_name, kind, row_count FROM schema_drift")) == expected
            of_trunk = "SELECT zz_label, zz_limits FROM {} WHERE id = {} ORDER BY {}"
            assert stored.records(of_trunk.format("sip_trunks", 42, "id")) == [current]
            none = dict.fromkeys(current)
            assert stored.records(of_trunk.format("sip_trunks_history", 42, "valid_from")) == [none, current]
            assert stored.records(of_trunk.format("sip_trunks", 43, "id")) == [none]
        assert self.places_with("hunter2-secret") == set()
        sql = "SELECT zz_limits, zz_limits.calls[0] AS first FROM sip_trunks WHERE id = 42"
        assert json.loads(call("sql", sql, "--format", "json")) == [{"zz_limits": {"calls": [5, None]}, "first": 5}]

        # The next run knows the types that the new fields were given.
        misfit = trunk(zz_label=7, zz_limits=[1], outbound_proxy="yes", created_at="soon", country_code=ABSENT)
        assert drift_of(load_trunks(api, misfit, *FIRST[1:])) >= {
            ("zz_label", "type_mismatch", 1),
            ("outbound_proxy", "type_mismatch", 1),
            ("created_at", "type_mismatch", 1),
            ("country_code", "missing_column", 1),
        }
        columns = (
            "SELECT zz_label, zz_label__v_text, zz_limits, outbound_proxy, outbound_proxy__v_text, created_at, "
            "created_at__v_text, country_code FROM {} WHERE id = 42 {}"
        )
        beside = [None, "7", [1], None, "yes", None, "soon", None]
        with reading() as stored:
            for rows in (("sip_trunks", ""), ("sip_trunks_history", "AND valid_to IS NULL")):
                assert [list(row.values()) for row in stored.records(columns.format(*rows))] == [beside]

        assert drift_of(load_trunks(api, *FIRST)) == set()
        with reading() as stored:
            moment = datetime(2026, 3, 31, 10, tzinfo=UTC)
            assert stored.rows(columns.format("sip_trunks", "")) == [
                (None, None, None, False, None, moment, None, "US")
            ]
            past = "SELECT column_name, kind, row_count, first_seen_at = last_seen_at FROM drift WHERE NOT is_current"
            assert ("created_at", "type_mismatch", 1, True) in stored.rows(past)
            assert stored.rows("SELECT count(*) FROM drift WHERE is_current") == [(0,)]
            assert stored.rows("SELECT count(*) FROM sip_trunks_history WHERE id = 42") == [(4,)]

    # ------------------------------------------------------------------ accounts

    @pytest.mark.usefixtures("accounts")
    def test_accounts_are_stored_and_fail_independently(self, api: Api) -> None:
        # A new field may have one type in one account and another type in another account.
        pairs: list[tuple[Any, Any]] = [(1, "a"), ("a", 1), (1, 1.5), (True, "x"), ({"a": 1}, "x"), (1, [1])]
        ours, theirs = ({f"zz_{number}": pair[of] for number, pair in enumerate(pairs)} for of in (0, 1))
        acme = [TRUNK | ours, IP_TRUNK]
        api.answer_to("token-a", acme)
        api.answer_to("token-b", [TRUNK | theirs])
        assert load().exit_code == 0
        with reading() as stored:
            ids = stored.rows("SELECT account, id FROM sip_trunks ORDER BY ALL")
            assert ids == [("acme", 42), ("acme", 43), ("beta", 42)]
            for account, values in (("acme", ours), ("beta", theirs)):
                (row,) = stored.records(f"FROM sip_trunks WHERE id = 42 AND account = '{account}'")
                for name, value in values.items():
                    text = row.get(f"{name}__v_text")
                    assert row[name] == value or reads_back(value, None, text), (name, value)
        of_acme = self.rows_of_trunks("account = 'acme'")

        api.answer_to("token-a", b"", status=401)
        api.answer_to("token-b", [trunk(country_code="DE"), IP_TRUNK])
        outcome = load()
        assert outcome.exit_code == 8
        assert [(a.account, a.status, a.exit_code) for a in outcome.accounts] == [
            ("acme", "failed", 3),
            ("beta", "loaded", 0),
        ]
        assert self.rows_of_trunks("account = 'acme'") == of_acme

        # The drift of an account that has not changed is still reported while another account is loaded.
        api.answer_to("token-a", acme)
        api.answer_to("token-b", [trunk(country_code="FR")])
        outcome = load()
        assert [(a.account, a.status) for a in outcome.accounts] == [("acme", "unchanged"), ("beta", "loaded")]
        assert {seen.column_name for seen in outcome.accounts[0].drift} == set(ours)
        assert outcome.accounts[1].drift == ()
        assert self.rows_of_trunks("account = 'acme'") == of_acme
        with reading() as stored:
            assert {name for (name,) in stored.rows("SELECT column_name FROM drift WHERE is_current")} == set(ours)
            counted = "SELECT account, count(*), count(DISTINCT _dlt_load_id) FROM sip_trunk_snapshots GROUP BY ALL"
            assert sorted(stored.rows(counted)) == [("acme", 2, 1), ("beta", 3, 3)]
        sent = [headers["Authorization"] for _, headers in api.requests]
        assert sent == ["Bearer token-a", "Bearer token-b"] * 3

        before = self.contents()
        api.answer_to("token-b", b"", status=401)
        api.answer_to("token-a", b"", status=401)
        assert load().exit_code == 3
        assert self.contents() == before

    # ------------------------------------------------------------------ refusals

    def test_an_unusable_response_changes_nothing(
        self, api: Api, begin: Begin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(*FIRST)
        before = self.contents()
        for response, says in (
            (b"<!doctype html><title>Login</title>", "HTML"),
            (body(*FIRST)[:-20], "end in the middle"),
            (body(trunk(id=None), *FIRST), "integer `id`"),
        ):
            api.answer(response)
            outcome = load()
            assert outcome.exit_code == 5, says
            assert says in (only(outcome).error or "")
            assert self.contents() == before, says
        monkeypatch.setenv("SIP_TRUNKS__DRIFT", "strict")
        api.answer([*FIRST, trunk(id=44, zz_label="x")])
        assert load().exit_code == 5
        assert self.contents() == before

    def test_a_large_loss_is_refused_until_it_is_accepted(self, api: Api) -> None:
        load_trunks(api)
        assert query("SELECT count(*) FROM sip_trunks") == [(0,)]
        full = [IP_TRUNK | {"id": number} for number in range(10)]
        load_trunks(api, *full)
        before = self.contents()
        for left in (full[:4], []):
            api.answer(left)
            refused = load()
            assert refused.exit_code == 5
            assert "--accept-shrink" in (only(refused).error or "")
            assert self.contents() == before
        accepted = load(accept_shrink=True)
        assert counts_of(accepted) == (0, 0, 10)
        with reading() as stored:
            assert_answers_are_whole(stored.rows, [])
            assert stored.rows("SELECT DISTINCT valid_to FROM sip_trunks_history") == [(accepted.snapshot_at,)]
            counted = "SELECT trunk_count FROM sip_trunk_snapshots ORDER BY snapshot_at"
            assert stored.rows(counted) == [(0,), (10,), (0,)]
        returned = load_trunks(api, full[0])
        versions = "SELECT valid_to FROM sip_trunks_history WHERE id = 0 ORDER BY valid_from"
        assert query(versions) == [(accepted.snapshot_at,), (None,)]
        assert query("SELECT id FROM sip_trunks") == [(0,)]
        assert counts_of(returned) == (1, 0, 0)

    # ------------------------------------------------------------------ one at a time, and only reading

    def test_readers_cannot_write(self, begin: Begin, place: Path) -> None:
        begin(*FIRST)
        before, target = self.contents(), place / "copied"
        for statement in (
            "DELETE FROM sip_trunks",
            "DELETE FROM famulor.sip_trunks",
            "CREATE TABLE zz_new AS SELECT 1",
            f"COPY sip_trunks TO '{target}'",
            f"EXPLAIN ANALYZE COPY sip_trunks TO '{target}'",
            f"ATTACH '{target}' AS zz_other",
            "SELECT 1; DELETE FROM sip_trunks",
        ):
            assert call("sql", statement, code=2).startswith("sip-trunks: SQL: "), statement
        assert not target.exists()
        assert self.contents() == before
        assert query("SELECT count(*) FROM sip_trunks") == [(4,)]

    def test_while_a_run_is_active_every_other_writer_is_refused(self, api: Api, begin: Begin) -> None:
        begin(*FIRST)
        before = self.contents()
        with holding_lock(read_settings()):
            api.requests.clear()
            with pytest.raises(RunActiveError, match="another run is active"):
                load()
            for command in ("run", "accounts forget default --yes", "prune --older-than 1d --yes"):
                assert "another run is active" in call(*command.split(), code=6), command
        assert api.requests == []
        assert self.contents() == before

    # ------------------------------------------------------------------ renamed accounts

    def test_the_run_after_a_renaming_opens_no_version(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        names = {name: f"value {number}" for number, name in enumerate(NAMES)}
        odd = json.dumps(trunk(id=44, **names))[:-1] + f", {VALUES}}}"
        records = [*map(json.dumps, FIRST), odd]
        api.answer(f'{{"data": [{", ".join(records)}]}}'.encode())
        assert load().exit_code == 0
        before = query("SELECT * EXCLUDE (account, row_version) FROM sip_trunks_history ORDER BY id")
        monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
        contents = self.contents()
        refused = only(load())
        assert refused.exit_code == 5
        assert "sip-trunks accounts rename default acme" in (refused.error or "")
        assert self.contents() == contents
        call("accounts", "rename", "default", "acme")
        assert query("SELECT * EXCLUDE (account, row_version) FROM sip_trunks_history ORDER BY id") == before
        assert only(load()).status == "unchanged"
        # The same trunks in another order.
        api.answer(f'{{"data": [{", ".join(reversed(records))}]}}'.encode())
        outcome = load()
        assert (only(outcome).status, counts_of(outcome)) == ("loaded", (0, 0, 0))
        records[0] = json.dumps(trunk(nickname="Renamed"))
        api.answer(f'{{"data": [{", ".join(records)}]}}'.encode())
        assert counts_of(load()) == (0, 1, 0)
        assert query("SELECT account, count(*) FROM sip_trunks_history GROUP BY ALL") == [("acme", 6)]


class AtomicDestinationContract(DestinationContract):
    """The tests of a destination that shows all of a run at once."""

    def test_readers_see_the_snapshot_before_until_a_run_is_published(self, api: Api, begin: Begin) -> None:
        begin(*FIRST)
        counts = "SELECT (SELECT count(*) FROM sip_trunks), count(*) FROM sip_trunk_snapshots"
        seen: dict[str, list[Any]] = {}

        def read(stage: str) -> None:
            seen[stage] = query(counts)
            if stage == "publishing":
                status = json.loads(call("status", "--json"))
                reported = json.loads(call("report", "counts", "--format", "json"))
                seen[stage] += [status["accounts"][0]["trunk_count"], sum(row["trunk_count"] for row in reported)]

        load_trunks(api, *FIRST, trunk(id=5), announce=read)
        assert seen.pop("publishing") == [(4, 1), 4, 4]
        assert "loading 5 trunks" in seen
        assert all(found == [(4, 1)] for found in seen.values()), seen
        assert query(counts) == [(5, 2)]

    def test_a_process_that_dies_while_it_forgets_an_account_has_changed_nothing(self, api: Api, begin: Begin) -> None:
        begin(*FIRST)
        before = self.rows_of_trunks()
        here = open_destination(read_settings())
        with ExitStack() as stack:
            _, counts = stack.enter_context(here.rewriting(Deletion(rows_of("default")), datetime.now(UTC)))
            assert counts["sip_trunks"] == 4
            stack.pop_all()  # the commands of this block did not end as planned
        assert self.rows_of_trunks() == before
        load_trunks(api, *FIRST[:3])
        assert_whole(FIRST[:3])


class ComparedDestinationContract(DestinationContract):
    """The tests of every destination but the DuckDB file, to which it is compared."""

    def test_commands_say_the_same_as_on_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only this test finds a command or a view that reads this destination in a way of its own."""
        # The type of `zz_label` is known from the other accounts: a past that is made in memory needs what fits it.
        odd = [trunk(id=44, sip_calling_format="odd", country_code=None, outbound_proxy="no")]
        odd += [IP_TRUNK | {"id": 45, "zz_label": "x", "zz_limits": {"b": [1], "a": None}}]
        said: list[dict[str, Any]] = []
        for destination in ("duckdb", self.name):
            monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
            store(read_settings(), [*story.STORY, ("odd", story.at(5), odd)])
            said.append(_everything_said())
        on_the_file, here = said
        for command, expected in on_the_file.items():
            assert here[command] == expected, command
        assert len(on_the_file["drift --since 2000-01-01"]) > 3
        columns = {column["name"] for column in here["describe"]["sip_trunks"]["columns"]}
        assert {"zz_label", "zz_limits", "outbound_proxy__v_text"} <= columns


def _everything_said() -> dict[str, Any]:
    """Return what commands and views say, by command or query; what depends on the time of day is left out."""
    said: dict[str, Any] = {}
    for command in (
        f"report {' '.join(REPORTS)}", "report counts --by account inbound_authorization_type",
        "report counts --by allowed_inbound_ips provider zz_label", "drift", "drift --since 2000-01-01", "describe",
        "status",
    ):  # fmt: skip
        options = ("--json",) if command == "status" else ("--format", "json")
        said[command] = _timeless(json.loads(call(*command.split(), *options)))
    assert said["status"].pop("destination") == read_settings().destination
    for name in ("warehouse", "warehouse_bytes", "free_bytes", "growth", "last_run"):
        said["status"].pop(name)
    with reading() as stored:
        for table in schema.REQUIRED_TABLES:
            sql = f"FROM {table.name} ORDER BY {', '.join(table.primary_key)}"
            said[sql] = [_timeless(row) for row in stored.records(sql)]
            sql = f"SELECT column_name, column_type FROM (DESCRIBE {table.name})"
            said[sql] = stored.rows(sql)
        names = ", ".join(f"'{table.name}'" for table in schema.REQUIRED_TABLES)
        comments = f"duckdb_columns() WHERE schema_name = 'main' AND table_name IN ({names})"
        for sql in (
            f"SELECT table_name, comment FROM {comments} ORDER BY table_name, column_index",
            "FROM drift ORDER BY ALL",
            "FROM sip_trunk_changes ORDER BY ALL",
            "FROM trunk_counts ORDER BY ALL",
        ):
            said[sql] = stored.rows(sql)
    said["an unknown column"] = call("report", "--by", "zz_nothing", code=2)
    return said


def _timeless(value: Any) -> Any:
    """Return what was said without ages, at any depth."""
    if isinstance(value, dict):
        return {name: _timeless(member) for name, member in value.items() if name != "age_seconds"}
    return [_timeless(member) for member in value] if isinstance(value, list) else value
