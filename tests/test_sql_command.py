"""`sip-trunks sql`: from the command line, from a file, with parameters, in every form, and at the prompt."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from pipelines.sql_command import answer
from tests.builders import IP_TRUNK, TRUNK, trunk
from tests.conftest import TOKEN, Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[..., str]

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
SOMETHING_ODD = "x' OR '1'='1'; --"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory with a few trunks, which all tests here only read."""
    folder, api = tmp_path_factory.mktemp("stored"), Api()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SIP_TRUNKS__DATA_DIR", str(folder / "data"))
        patch.setenv("SOURCES__FAMULOR__BASE_URL", api.base_url)
        patch.setenv("FAMULOR_API_KEY", TOKEN)
        api.answer([TRUNK, IP_TRUNK, trunk(id=44, sip_username=SOMETHING_ODD, country_code="DE", **{"a\x1b[31mb": 1})])
        try:
            settings = read_settings()
            assert run(settings, pick_accounts(settings, []), with_reports=False).exit_code == 0
            yield folder
        finally:
            api.close()


@pytest.fixture
def call(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return what `sql` prints; with a code, its one line on standard error."""
    monkeypatch.chdir(tmp_path)

    def called(*arguments: str, code: int = 0, given: bytes = b"") -> str:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert main(["sql", *arguments]) == code
        printed = capsys.readouterr()
        assert code == 0 or (printed.out, printed.err.count("\n")) == ("", 1)
        return printed.err if code else printed.out

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
        ("latin.sql", b"SELECT '\xe9'", "latin.sql is no text in UTF-8"),
        ("empty.sql", b" \n", "empty.sql has no query"),
        ("-", None, "standard input has no query"),
    ],
)
def test_a_file_that_has_no_query_is_named(name: str, content: bytes | None, expected: str, call: Call) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert call(name, code=2) == f"sip-trunks: {expected}\n"


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
        (["SELECT $a", "--param", "a=\udcff"], "--param a: the value is no text in UTF-8"),
        (["SELECT '\udcff'"], "SQL: the query is no text in UTF-8"),
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
def test_whatever_only_reads_is_answered(query: str, call: Call) -> None:
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
        "ATTACH 'x'",
        "FROM read_csv('/etc/passwd')",
    ],
)
def test_whatever_does_more_is_refused(query: str, call: Call) -> None:
    assert call(query, code=2).startswith("sip-trunks: SQL: ")


@pytest.mark.parametrize("form", ["csv", "json", "md", "txt", "parquet"])
def test_the_name_of_the_output_says_its_form(form: str, call: Call) -> None:
    query = "SELECT id, allowed_inbound_ips, id FROM sip_trunks ORDER BY id"
    assert call(query, "--output", f"out/trunks.{form}") == ""
    written = Path(f"out/trunks.{form}")
    if form == "parquet":
        table = pq.read_table(written)
        assert table.to_pylist()[1] == {
            "id": 43,
            "allowed_inbound_ips": json.dumps(_ips(), separators=(",", ":")),
            "id_2": 43,
        }
    else:
        named = {"md": "markdown", "txt": "table"}.get(form, form)
        assert written.read_text("utf-8") == call(query, "--format", named)
    assert [path.name for path in Path("out").iterdir()] == [written.name]


def _ips() -> list[str]:
    return list(IP_TRUNK["allowed_inbound_ips"])


def test_parquet_goes_through_a_pipe(stored: Path) -> None:
    done = subprocess.run([COMMAND, "sql", "FROM sip_trunks", "--format", "parquet"], capture_output=True)
    assert pq.read_table(pa.BufferReader(done.stdout))["id"].to_pylist() == [42, 43, 44]


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_names_that_a_pivot_makes_of_values_do_not_reach_the_terminal_as_they_are(form: str, call: Call) -> None:
    printed = call("PIVOT (SELECT chr(27) || '[31m' || chr(10) AS x) ON x USING count(*)", "--format", form)
    assert "\x1b" not in printed
    assert r"\x1b" in printed


def test_an_error_that_quotes_a_value_is_printable(call: Call) -> None:
    assert "\x1b" not in call("SELECT CAST(chr(27) || '[31m' AS INT)", code=2)


def test_a_value_that_python_has_no_room_for_is_explained(call: Call) -> None:
    assert "CAST(… AS VARCHAR)" in call("SELECT INTERVAL 10000000 YEAR", code=2)


@pytest.mark.usefixtures("stored")
def test_the_first_rows_come_with_the_number_of_all() -> None:
    found = answer(read_settings(), "FROM range(50_000)", {}, most=3)
    assert (found.rows, found.count) == ([(0,), (1,), (2,)], 50_000)


def test_what_cannot_be_written_is_said_in_one_line(call: Call) -> None:
    Path("folder").mkdir()
    assert "parquet (" in call("SELECT INTERVAL 1 DAY", "--output", "days.parquet", code=2)
    assert "sql writes no .xlsx; it writes .csv" in call("SELECT 1", "--output", "trunks.xlsx", code=2)
    assert [path.name for path in Path().iterdir()] == ["folder"]
    assert "folder is a folder" in call("SELECT 1", "--output", "folder", code=2)
    assert "--raw is for --format csv" in call("SELECT 1", "--raw", code=2)
    assert "--output needs the name of a file" in call("SELECT 1", "--output", "", code=2)


def test_findings_that_nobody_has_written_are_explained(call: Call) -> None:
    assert "wrote reports" in call("FROM findings", code=2)


# ---------------------------------------------------------------------- the prompt


_READY = "«ready»"


class Terminal:
    """The command on a terminal of its own: what is typed, and what is to be read on it."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._descriptor = descriptor
        self._shown = ""

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def type_at_the_prompt(self, text: str) -> str:
        """Type once there is a prompt; return what was shown before it."""
        before = self.read_until(_READY)
        self.type(text)
        return before

    def read_until(self, pattern: str, seconds: float = 25) -> str:
        """Return what is shown up to and with a text that matches, and forget it."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self._shown, flags=re.DOTALL)):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self._shown!r}"
            if select.select([self._descriptor], [], [], 0.2)[0]:
                data = os.read(self._descriptor, 65536).decode(errors="replace")
                if "\x1b[6n" in data:  # where is the cursor?
                    os.write(self._descriptor, b"\x1b[1;1R")
                data = data.replace("\x1b[?2004h", _READY)  # from now on what is pasted is marked, if anything is
                self._shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", data)
        shown, self._shown = self._shown[: found.end()], self._shown[found.end() :]
        return shown


@contextmanager
def on_a_terminal(*arguments: str, code: int = 0) -> Iterator[Terminal]:
    """Run the command on a terminal and see that it ends well."""
    ours, theirs = pty.openpty()
    env: dict[str, Any] = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [COMMAND, "sql", *arguments],
        env=env,
        preexec_fn=lambda: os.login_tty(theirs),  # noqa: PLW1509 - no thread runs; else Ctrl-C would be a mere letter
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
        assert process.wait(timeout=30) == code
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_the_prompt_answers_completes_remembers_and_goes_on_after_an_error(stored: Path) -> None:
    with on_a_terminal() as terminal:
        assert "last seen 20" in terminal.type_at_the_prompt("SELECT count(*) AS found\r")
        terminal.read_until(r"\.\.\.>")
        terminal.type("FROM sip_trunks;\r")
        assert re.search(r"found.*3\s", terminal.type_at_the_prompt("SELEC 1;\r"), flags=re.DOTALL)
        failed = terminal.type_at_the_prompt("SELECT min(country_co\t")
        assert "SQL: Parser Error: syntax error at or near" in failed
        terminal.read_until("country_co.*de")
        terminal.type(") AS first FROM sip_trunks;\r")
        assert re.search(r"first.*DE", terminal.type_at_the_prompt("SELECT 'never ended\x03"), flags=re.DOTALL)
        terminal.type_at_the_prompt(".tables\r")
        assert "trunk_counts" in terminal.type_at_the_prompt("SELECT 1; SELECT 2;\r")
        assert "expected one statement" in terminal.type_at_the_prompt(".quit\r")
    history = stored / "data" / "state" / "sql_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "SELECT count(*) AS found" in history.read_text("utf-8")


def test_ctrl_c_stops_the_query_and_ctrl_d_the_prompt(stored: Path) -> None:
    with on_a_terminal("--format", "csv") as terminal:
        terminal.type_at_the_prompt("SELECT count(*) FROM range(10000000000) AS a, range(1000000000) AS b;\r")
        time.sleep(1)  # nothing is shown while a query runs
        terminal.type("\x03")
        assert "stopped" in terminal.type_at_the_prompt("SELECT 6 * 7 AS answer;\r")
        assert "answer\n42\n" in terminal.type_at_the_prompt("SELECT * FROM range(1001);\r")
        assert "the first 1,000 of 1,001 rows" in terminal.type_at_the_prompt("\x04")


def test_sigterm_ends_the_prompt_and_leaves_the_terminal_as_it_was(stored: Path) -> None:
    with on_a_terminal(code=143) as terminal:
        terminal.read_until(_READY)
        terminal.process.send_signal(signal.SIGTERM)
        terminal.read_until("stopped")
        terminal.process.wait(timeout=30)
        assert terminal.echoes  # as it would not if the prompt had been ended by force


def test_ctrl_c_stops_what_is_printed_and_a_history_that_cannot_be_kept_is_none(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(stored / "data" / "warehouse.duckdb", tmp_path)
    (tmp_path / "state").write_text("no folder")
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path))
    with on_a_terminal("--format", "csv") as terminal:
        terminal.type_at_the_prompt("SELECT repeat('x', 20000) FROM range(1000);\r")
        terminal.read_until("x{1000}")
        terminal.type("\x03")
        terminal.read_until("stopped")
        terminal.type_at_the_prompt("SELECT t.country_co\t")
        terminal.read_until("t.country_co.*de")
        terminal.type(" FROM sip_trunks AS t ORDER BY ALL LIMIT 1;\r")
        assert re.search(r"country_code\s+DE", terminal.type_at_the_prompt("\x04"))


def test_without_anything_stored_there_is_no_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path))
    ours, theirs = pty.openpty()
    done = subprocess.run([COMMAND, "sql"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nothing is stored yet" in done.stderr
