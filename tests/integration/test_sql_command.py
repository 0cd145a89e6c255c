"""`sql` as a user calls it: from the command line, from a file, with parameters, in every format."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from sip_trunks.commands.sql_query import read_rows
from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.runs import capture
from tests.support.shared import built_once
from tests.support.stored import store_snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., str]

SOMETHING_ODD = "x' OR '1'='1'; --"
TRUNKS = [TRUNK, IP_TRUNK, trunk(id=44, sip_username=SOMETHING_ODD, country_code="DE", **{"zz\x1b[31mb": 1})]


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory, "sql_command", lambda place: store_snapshots(place, [TRUNKS])) / "data"


@pytest.fixture
def stored(place: Path, stored_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few trunks are stored, which all tests here only read."""
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(stored_once))


@pytest.fixture
def call(stored: None, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return what `sql` prints; with a code, its one line on standard error."""

    def called(*arguments: str, code: int = 0, given: bytes = b"") -> str:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        printed = capture("sql", *arguments, code=code)
        assert code == 0 or (printed.out, printed.errors.count("\n")) == (b"", 1)
        return printed.errors if code else printed.out.decode()

    return called


# ---------------------------------------------------------------------- where the query comes from


@pytest.mark.parametrize("ending", ["", ";", ";\n", "\n-- done\n"])
def test_a_query_may_be_in_a_file(ending: str, call: Call) -> None:
    Path("Ids.SQL").write_bytes(b"\xef\xbb\xbf-- the trunks\nSELECT id\nFROM sip_trunks ORDER BY id" + ending.encode())
    assert call("Ids.SQL").split() == ["id", "42", "43", "44"]


def test_a_query_that_ends_like_a_file_is_a_query(call: Call) -> None:
    assert call("SELECT count(*) AS sql FROM sip_trunks AS my.sql", code=2).startswith("sip-trunks: SQL: Parser Error")
    Path("of mine.sql").write_text("SELECT 7 AS n")
    assert call("of mine.sql").split() == ["n", "7"]


def test_a_query_may_come_through_a_pipe(call: Call) -> None:
    for arguments in ([], ["-"]):
        assert call(*arguments, given=b"SELECT count(*) AS n FROM sip_trunks").split() == ["n", "3"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.sql", None, "missing.sql cannot be read: No such file or directory"),
        ("latin.sql", b"SELECT '\xe9'", "latin.sql is not valid UTF-8"),
        ("empty.sql", b" \n", "empty.sql has no query"),
        ("-", None, "standard input has no query"),
    ],
)
def test_a_file_that_has_no_query_is_named(name: str, content: bytes | None, expected: str, call: Call) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert call(name, code=2) == f"sip-trunks: {expected}\n"


@pytest.mark.parametrize("query", ["", " ; ", "-- nothing", "SELECT 1; SELECT 2"])
def test_exactly_one_statement_is_expected(query: str, call: Call) -> None:
    assert "expected one statement" in call(query, code=2)


def test_a_syntax_error_is_what_duckdb_says_on_one_line(call: Call) -> None:
    assert 'syntax error at or near "SELEC"' in call("SELEC 1", code=2)


@pytest.mark.usefixtures("place")
def test_before_the_first_run_it_says_what_to_do() -> None:
    assert "sip-trunks run" in capture("sql", "SELECT 1", code=2).errors
    assert not Path("data", "warehouse.duckdb").exists()


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("id = $p", "43", [43]),
        ("id IN ($p, 44)", "42", [42, 44]),
        ("phone_number = $p", TRUNK["phone_number"], [42, 44]),
        ("country_code = $p", "DE", [44]),
        ("outbound_proxy = $p", "true", [43]),
        ("created_at < $p", "2020-01-01", []),
        ("sip_username = $p", SOMETHING_ODD, [44]),
        ("sip_username = $p", "", []),
        ("sip_username <> $p", "ünïcode = 1", [42, 43, 44]),
    ],
)
def test_a_parameter_is_a_value_and_nothing_else(condition: str, value: str, expected: list[int], call: Call) -> None:
    query = f"SELECT id FROM sip_trunks WHERE {condition} ORDER BY id"
    found = json.loads(call(query, "--param", f"p={value}", "--format", "json"))
    assert [row["id"] for row in found] == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["SELECT $a + $b", "--param", "a=1"], "SQL: the query has $b; give it a value: --param b=…"),
        (["SELECT 1", "--param", "a=1"], "--param a: the query has no $a"),
        (["SELECT $a", "--param", "a=1", "--param", "$a=2"], "--param a is given twice"),
        (["SELECT $a", "--param", "a"], "--param needs NAME=VALUE, such as country=DE; got 'a'"),
        (["SELECT $a", "--param", "=1"], "--param needs NAME=VALUE, such as country=DE; got '=1'"),
        (["SELECT id FROM sip_trunks WHERE id = $a", "--param", "a=x"], "SQL: Conversion Error: "),
        (["SELECT ?", "--param", "a=1"], "SQL: parameters need names, such as $country"),
        (["SELECT $a", "--param", "a=\udcff"], "--param a: the value is not valid UTF-8"),
        (["SELECT '\udcff'"], "SQL: the query is not valid UTF-8"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(arguments: list[str], expected: str, call: Call) -> None:
    assert call(*arguments, code=2).startswith(f"sip-trunks: {expected}")


# ---------------------------------------------------------------------- what may be asked, and in which form


@pytest.mark.parametrize(
    "query",
    [
        "PIVOT sip_trunks ON country_code USING count(*)",
        "PIVOT sip_trunks ON country_code, outbound_proxy USING count(*)",
        "SUMMARIZE sip_trunks",
        "DESCRIBE sip_trunks",
        "SHOW TABLES",
        "/* how? */ -- EXPLAIN\nEXPLAIN SELECT 1",
    ],
)
def test_statements_that_only_read_are_executed(query: str, call: Call) -> None:
    assert len(call(query).splitlines()) > 1


@pytest.mark.parametrize(
    "query",
    [
        "CREATE TYPE t AS ENUM ('a'); SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM famulor.sip_trunks",
        "/* /* */ EXPLAIN ANALYZE */ DELETE FROM famulor.sip_trunks",
        "EXPLAIN PIVOT sip_trunks ON country_code USING count(*)",
        "CREATE TABLE t AS PIVOT sip_trunks ON country_code USING count(*)",
        "SELECT 1; SELECT 2",
        "CREATE TABLE x (a INT)",
        "DELETE FROM famulor.sip_trunks",
        "DROP VIEW sip_trunks",
        "COPY sip_trunks TO 'out.csv'",
        "ATTACH 'other.duckdb'",
        "FROM read_csv('/etc/passwd')",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "FROM enable_logging(level = 'trace')",
        "PIVOT (FROM sip_trunks LEFT JOIN enable_profiling() AS p ON true) ON country_code USING count(*)",
    ],
)
def test_statements_that_do_more_are_refused(query: str, call: Call) -> None:
    assert call(query, code=2).startswith("sip-trunks: SQL: ")
    assert list(Path().iterdir()) == []


def test_every_column_is_shown_and_json_as_json(call: Call) -> None:
    ips = "allowed_inbound_ips AS ips, created_at FROM sip_trunks WHERE id = 43"
    (row,) = json.loads(call(f"SELECT 1 AS a, 2 AS a, 3 AS a_2, {ips}", "--format", "json"))
    assert row == {"a": 1, "a_2": 2, "a_2_2": 3, "ips": _ips(), "created_at": "2026-03-31T11:00:00Z"}
    assert "(no rows)" in call("SELECT 1 WHERE false")


def test_a_time_is_printed_as_it_can_be_asked_for(call: Call) -> None:
    moment = call("SELECT min(snapshot_at) AS at FROM sip_trunk_snapshots").splitlines()[1]
    found = call(f"SELECT count(*) AS n FROM sip_trunks_history WHERE valid_from = TIMESTAMPTZ '{moment}'")
    assert found.split() == ["n", "3"]


def test_csv_is_safe_for_spreadsheets_unless_raw(call: Call) -> None:
    query = ["SELECT phone_number, sip_calling_format FROM sip_trunks WHERE id < 44 ORDER BY id", "--format", "csv"]
    assert call(*query) == "phone_number,sip_calling_format\n1000,'+e164\n'+14155551234,e164\n"
    assert call(*query, "--raw") == "phone_number,sip_calling_format\n1000,+e164\n+14155551234,e164\n"


@pytest.mark.parametrize("form", ["csv", "json", "md", "txt", "parquet"])
def test_the_name_of_the_output_decides_its_format(form: str, call: Call) -> None:
    query = "SELECT id, allowed_inbound_ips, id FROM sip_trunks ORDER BY id"
    assert call(query, "--output", f"out/trunks.{form}") == ""
    written = Path(f"out/trunks.{form}")
    if form == "parquet":
        table = pq.read_table(written)
        assert table.to_pylist()[1] == {
            "id": 43,
            "allowed_inbound_ips": _ips(),
            "id_2": 43,
        }
    else:
        named = {"md": "markdown", "txt": "table"}.get(form, form)
        assert written.read_text("utf-8") == call(query, "--format", named)
    assert [path.name for path in Path("out").iterdir()] == [written.name]


def _ips() -> list[str]:
    return list(IP_TRUNK["allowed_inbound_ips"])


def test_parquet_goes_to_standard_output(stored: None) -> None:
    written = capture("sql", "FROM sip_trunks", "--format", "parquet").out
    assert pq.read_table(io.BytesIO(written))["id"].to_pylist() == [42, 43, 44]


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_column_names_made_by_a_pivot_are_escaped_on_a_terminal(form: str, call: Call) -> None:
    printed = call("PIVOT (SELECT chr(27) || '[31m' || chr(10) AS x) ON x USING count(*)", "--format", form)
    assert "\x1b" not in printed
    assert r"\x1b" in printed


def test_an_error_that_quotes_a_value_is_printable(call: Call) -> None:
    assert "\x1b" not in call("SELECT CAST(chr(27) || '[31m' AS INT)", code=2)


def test_a_value_that_python_has_no_room_for_is_explained(call: Call) -> None:
    assert "CAST(… AS VARCHAR)" in call("SELECT INTERVAL 10000000 YEAR", code=2)


@pytest.mark.usefixtures("stored")
def test_the_first_rows_come_with_the_number_of_all() -> None:
    _, rows, count = read_rows(read_settings(), "FROM range(50_000)", {}, format_name="table", most=3)
    assert (rows, count) == ([(0,), (1,), (2,)], 50_000)


def test_an_unwritable_file_is_an_error_of_one_line(call: Call) -> None:
    Path("folder").mkdir()
    assert "parquet (" in call("SELECT INTERVAL 1 DAY", "--output", "days.parquet", code=2)
    assert "sql does not write .xlsx; use .csv" in call("SELECT 1", "--output", "trunks.xlsx", code=2)
    assert [path.name for path in Path().iterdir()] == ["folder"]
    assert "folder is a folder" in call("SELECT 1", "--output", "folder", code=2)
    assert "--raw works only with --format csv" in call("SELECT 1", "--raw", code=2)
    assert "--output needs the name of a file" in call("SELECT 1", "--output", "", code=2)


def test_findings_that_nobody_has_written_are_explained(call: Call) -> None:
    assert "wrote reports" in call("FROM findings", code=2)
