"""Clients of all kinds read what is published, as docs/clients.md says, and no reader notices a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.support.builders import IP_TRUNK, trunk
from tests.support.demo_account import demo_after, work_in
from tests.support.documents import matches, sessions
from tests.support.environments import Environments, cache_folder
from tests.support.runs import COMMAND, PROJECT, call, load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.api import Api

PAGE = PROJECT / "docs" / "clients.md"

Reading = tuple[int, str]
"""How many snapshots there had been, and when the last one was."""

READINGS_DURING_RUNS = 4
"""How many times, at the least, each reader reads while there are runs; it divides every number of runs."""


# ---------------------------------------------------------------------- no reader notices a run

# In turn, one trunk comes and goes, one is changed and back, an allowlist grows and shrinks.
SNAPSHOTS = (
    [trunk(id=n, country_code="DE") for n in range(10)] + [IP_TRUNK],
    [trunk(id=n, country_code="GB") for n in range(12)] + [IP_TRUNK | {"allowed_inbound_ips": ["203.0.113.10"]}],
    [trunk(id=n, country_code="FR") for n in range(9)] + [IP_TRUNK | {"allowed_inbound_ips": ["::1", "192.0.2.1"]}],
)


def load_snapshot(api: Api, step: int, destination: str, *, with_reports: bool = False) -> None:
    api.answer(SNAPSHOTS[step % len(SNAPSHOTS)])
    outcome = load(destination, with_reports=with_reports)
    assert outcome.exit_code == 0, outcome


@dataclass
class Reader:
    """A process that reads (tests/support/reader_process.py), and what it has seen so far."""

    kind: str
    process: subprocess.Popen[str]
    complaints: Path
    readings: list[Reading] = field(default_factory=list)

    def note(self, line: str) -> None:
        count, latest = json.loads(line)
        self.readings.append((count, latest))

    def await_reading(self, count: int) -> None:
        """Wait until it has seen so many snapshots; a patient reader goes on seeing what it saw first."""
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, f"{self.kind}: {self.complaints.read_text()}"
            self.note(line)
            if self.kind == "patient" or self.readings[-1][0] >= count:
                return

    def end(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.note(line)
        assert self.process.wait() == 0, f"{self.kind}: {self.complaints.read_text()}"

    def assert_forward(self, last: int) -> None:
        """Assert that it has read often, from the first snapshot to the last, and never went back in time."""
        assert len(self.readings) > READINGS_DURING_RUNS
        assert all(earlier <= later for earlier, later in pairwise(self.readings))
        assert self.readings[0][0] == 1
        assert self.readings[-1][0] == (1 if self.kind == "patient" else last)


def read_during_runs(kinds: Mapping[str, tuple[int, float]], run_step: Callable[[int], None], runs: int) -> None:
    """Have so many readers of each kind, who rest so long, read while there are runs, and check what they have seen.

    A run does not wait for readers, but now and then the next one waits until each reader has seen the last.
    """
    Path("snapshots.json").write_text(json.dumps(SNAPSHOTS))
    stop, env = Path("stop"), os.environ | {"PYTHONPATH": str(PROJECT)}
    run_step(0)
    readers: list[Reader] = []
    with ExitStack() as stack:
        for kind, rest in ((kind, rest) for kind, (count, rest) in kinds.items() for _ in range(count)):
            complaints = Path(f"reader-{len(readers)}.log")
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.reader_process", kind, str(rest)],
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(complaints.open("w")),
                text=True,
                env=env,
            )
            # It is told to stop before it is waited for.
            stack.push(process.__exit__)
            stack.callback(stop.touch)
            readers.append(Reader(kind, process, complaints))
        for step in range(runs + 1):
            if step:
                run_step(step)
            if step * READINGS_DURING_RUNS % runs == 0:
                for reader in readers:
                    reader.await_reading(step + 1)
        stop.touch()
        for reader in readers:
            reader.end()
    for reader in readers:
        reader.assert_forward(runs + 1)


def test_eight_readers_of_the_file_each_see_one_whole_snapshot_while_twenty_runs_change_it(
    api: Api, place: Path
) -> None:
    """Only readers in processes of their own, who open the file while it is being replaced, can see it half done."""
    kinds = {"file": (7, 25.0), "patient": (1, 25.0)}
    read_during_runs(kinds, lambda step: load_snapshot(api, step, "duckdb", with_reports=step in (7, 14)), runs=20)


def test_four_readers_of_the_lake_each_see_one_whole_snapshot_while_eight_runs_change_it(api: Api, place: Path) -> None:
    """Only readers in processes of their own can open tables of two versions, or files that are deleted meanwhile."""
    kinds = {"lake": (2, 3.0), "folder": (2, 9.0)}
    read_during_runs(kinds, lambda step: load_snapshot(api, step, "parquet", with_reports=step == 4), runs=8)


# ---------------------------------------------------------------------- the page


@pytest.fixture(scope="session")
def environments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(cache_folder(request, tmp_path_factory, "clients"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


def python_block(library: str) -> str:
    """Return the block of the page that begins with this library."""
    (code,) = (block for block in blocks("python") if re.match(rf"(import|from) {library}\b", block))
    return code


@pytest.fixture
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory after two runs of the demo account."""
    return demo_after(2, tmp_path_factory)


@pytest.fixture
def demo(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of it, in which the test can run the third."""
    shutil.copytree(published, tmp_path / "data", symlinks=True)
    work_in(tmp_path, monkeypatch)
    return tmp_path


def run_again() -> None:
    call("run", "--demo", "--no-reports")


def test_the_commands_of_the_page_print_what_it_says(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only DuckDB's own command line shows that the page's commands are its commands."""
    cli = environments.folder("duckdb-cli", ["duckdb-cli==1.5.5"], "--no-deps") / "duckdb_cli"
    work_in(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", os.pathsep.join([str(cli), str(Path(COMMAND).parent), os.environ["PATH"]]))
    for command, expected in sessions(PAGE.read_text("utf-8")):
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert matches(done.stdout.splitlines(), expected), f"{command}\n{done.stdout}"
    refused = subprocess.run(
        ["duckdb", "-readonly", "data/warehouse.duckdb", "CREATE TABLE mine AS SELECT 1"],
        capture_output=True,
        text=True,
    )
    assert refused.returncode != 0
    assert "read-only mode" in refused.stderr


def test_python_reads_the_file_as_the_page_says(demo: Path) -> None:
    """Only the code of the page, in a process that has nothing of ours, shows that it reads the file."""
    done = subprocess.run([sys.executable, "-c", python_block("duckdb")], capture_output=True, text=True)
    assert done.stdout.split() == ["48", "6", "17"], done.stderr


# What follows the page's own block, in the same process; `input` waits for a run that replaces the file.
_AFTERWARDS = """
import json
from sqlalchemy.exc import DBAPIError

def ask(query):
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar()

inspector = inspect(engine)
places = ("famulor", "main", "reports")
assert {f"warehouse.{place}" for place in places} <= set(inspector.get_schema_names())
columns = {}
for place in places:
    for name in inspector.get_table_names(place) + inspector.get_view_names(place):
        columns[f"{place}.{name}"] = [column["name"] for column in inspector.get_columns(name, place)]
print(json.dumps(columns), flush=True)

try:
    ask("CREATE TABLE famulor.mine AS SELECT 1 AS n")
except DBAPIError as error:
    assert "read-only mode" in str(error)
else:
    raise AssertionError("it can write")

snapshots = "SELECT count(*) FROM sip_trunk_snapshots"
with engine.connect() as patient:
    before = patient.execute(text(snapshots)).scalar()
    print("waiting", flush=True)
    input()
    assert patient.execute(text(snapshots)).scalar() == before
assert ask(snapshots) == before + 1
"""


UNKNOWN_LIST = "Did not recognize type 'list' of column"
"""The dialect has no type for a list; docs/clients.md says so."""


@pytest.mark.parametrize("sqlalchemy", ["2.0.58", "1.4.54"])
def test_sqlalchemy_reads_the_file_as_the_page_says_and_sees_the_next_run(
    environments: Environments, published: Path, demo: Path, sqlalchemy: str
) -> None:
    """Only the client itself, in an environment of its own, shows that it can list and ask what is published."""
    packages = [f"sqlalchemy=={sqlalchemy}", "duckdb-engine==0.17.0", "duckdb==1.5.5", "pytz"]
    folder = environments.folder(f"sqlalchemy-{sqlalchemy}", packages, "--compile-bytecode")
    with subprocess.Popen(
        # Nothing of our own environment is on its path.
        [
            sys.executable,
            "-S",
            "-P",
            "-W",
            "error",
            "-W",
            f"ignore:{UNKNOWN_LIST}",
            "-c",
            python_block("sqlalchemy") + _AFTERWARDS,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    ) as client:
        assert client.stdout is not None
        count, views, columns, waiting = (client.stdout.readline() for _ in range(4))
        run_again()
        _, complaint = client.communicate("\n")
    assert client.returncode == 0, complaint
    assert (count, waiting) == ("48\n", "waiting\n")
    assert "'sip_trunk_changes'" in views
    stored: dict[str, list[str]] = {}
    with duckdb.connect(published / "warehouse.duckdb", read_only=True) as connection:
        for name, column in connection.execute(
            "SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() WHERE NOT internal "
            "ORDER BY column_index"
        ).fetchall():
            stored.setdefault(name, []).append(column)
    assert json.loads(columns) == stored


# ---------------------------------------------------------------------- attached to another file


def test_a_file_of_ones_own_joins_the_published_one_as_the_page_says(demo: Path) -> None:
    own, elsewhere = blocks("sql")
    with duckdb.connect("mine.duckdb") as connection:
        owners = connection.execute(own).fetchall()
        assert [owner for owner, _ in owners] == ["Amir", "Lena"]
        *begin, question, back = (part for part in elsewhere.split(";\n") if part.strip())
        connection.execute(";".join(begin))
        assert connection.execute(question).fetchall() == [(48,)]
        connection.execute(back)
        assert connection.execute("SELECT current_database()").fetchall() == [("mine",)]
        snapshots = "SELECT count(*) FROM trunks.sip_trunk_snapshots"
        assert connection.execute(snapshots).fetchall() == [(2,)]
        run_again()
        assert connection.execute(snapshots).fetchall() == [(2,)]
        connection.execute("DETACH trunks; ATTACH 'data/warehouse.duckdb' AS trunks (READ_ONLY)")
        assert connection.execute(snapshots).fetchall() == [(3,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only mode"):
            connection.execute("CREATE TABLE trunks.mine AS SELECT 1 AS n")


def test_every_view_works_through_an_attached_name_and_every_macro_after_use(demo: Path) -> None:
    def names(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
        return [name for (name,) in connection.execute(query).fetchall()]

    with duckdb.connect("data/warehouse.duckdb", read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        views = names(connection, "SELECT view_name FROM duckdb_views() WHERE NOT internal")
        expected = {view: connection.execute(f"FROM {view} ORDER BY ALL").fetchall() for view in views}
        macros = names(connection, "SELECT function_name FROM duckdb_functions() WHERE NOT internal")
    values = {
        "provider_of": ("'sip.telnyx.com'", "Telnyx"),
        "country_name": ("'DE'", "Germany"),
        "number_kind": ("'+4930231252'", "DID"),
    }
    tables = {"trunks_as_of": "now()", "changes_between": "'2020-01-01', now()"}
    assert set(macros) == {*values, *tables}
    with duckdb.connect() as connection:
        connection.execute("ATTACH 'data/warehouse.duckdb' AS other (READ_ONLY); SET TimeZone = 'UTC'")
        for view in views:
            assert connection.execute(f"FROM other.{view} ORDER BY ALL").fetchall() == expected[view], view
        for macro, (argument, value) in values.items():
            assert connection.execute(f"SELECT other.{macro}({argument})").fetchall() == [(value,)]
        connection.execute("USE other")
        for macro, (argument, value) in values.items():
            assert connection.execute(f"SELECT {macro}({argument})").fetchall() == [(value,)]
        for macro, arguments in tables.items():
            assert len(connection.execute(f"FROM {macro}({arguments})").fetchall()) > 1, macro


def test_a_view_on_the_lake_in_a_connection_that_stays_open_sees_the_next_run(api: Api, place: Path) -> None:
    load_snapshot(api, 0, "parquet")
    with duckdb.connect() as connection:
        connection.execute("CREATE VIEW trunks AS FROM read_parquet('data/lake/famulor/sip_trunks/*.parquet')")
        seen = []
        for step in (0, 1):
            load_snapshot(api, step, "parquet")
            seen.append(connection.execute("SELECT count(*), min(country_code) FROM trunks").fetchall())
    assert seen == [[(11, "DE")], [(13, "GB")]]
