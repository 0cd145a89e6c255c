"""Clients of all kinds read what is published, as docs/clients.md says, and none of them notices a run."""

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

from pipelines.famulor.demo import DEMO_TOKEN, serve
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.builders import IP_TRUNK, trunk
from tests.environments import Environments, cache_folder
from tests.test_docs import matches, sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.conftest import Api

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "clients.md"
COMMAND = str(Path(sys.executable).with_name("sip-trunks"))

pytestmark = pytest.mark.timeout(600)  # the clients are 80 MB to download, once

Look = tuple[int, str]
"""How many snapshots there had been, and when the last one was."""

LEAST_LOOKS = 5
"""What each reader does at the least; one less divides every number of runs."""


# ---------------------------------------------------------------------- nobody notices a run

# In turn, one trunk comes and goes, one is changed and back, an allowlist grows and shrinks.
SNAPSHOTS = (
    [trunk(id=n, country_code="DE") for n in range(10)] + [IP_TRUNK],
    [trunk(id=n, country_code="GB") for n in range(12)] + [IP_TRUNK | {"allowed_inbound_ips": ["203.0.113.10"]}],
    [trunk(id=n, country_code="FR") for n in range(9)] + [IP_TRUNK | {"allowed_inbound_ips": ["::1", "192.0.2.1"]}],
)


def load(api: Api, step: int, destination: str, *, with_reports: bool) -> None:
    api.answer(SNAPSHOTS[step % len(SNAPSHOTS)])
    settings = read_settings(destination)
    outcome = run(settings, pick_accounts(settings, []), with_reports=with_reports)
    assert outcome.exit_code == 0, outcome


@dataclass
class Reader:
    """A process that looks (tests/watcher.py), and what it has seen so far."""

    kind: str
    process: subprocess.Popen[str]
    complaints: Path
    looks: list[Look] = field(default_factory=list)

    def note(self, lines: Iterable[str]) -> None:
        self.looks += [(count, latest) for count, latest in map(json.loads, filter(None, lines))]

    def await_look(self) -> None:
        """Wait for the next look that has not been noted; there is none if the reader has died."""
        assert self.process.stdout is not None
        self.note([self.process.stdout.readline()])

    def end(self) -> None:
        assert self.process.stdout is not None
        self.note(self.process.stdout)
        assert self.process.wait() == 0, f"{self.kind}: {self.complaints.read_text()}"

    def assert_forward(self, last: int) -> None:
        """Assert that it looked often, saw the world change, and never went back in time."""
        assert len(self.looks) >= LEAST_LOOKS
        assert all(earlier <= later for earlier, later in pairwise(self.looks))
        if self.kind == "patient":
            assert set(self.looks) == {self.looks[0]}
        else:
            assert self.looks[0][0] < self.looks[-1][0] <= last


def watch(kinds: Mapping[str, tuple[int, float]], load: Callable[[int], None], runs: int) -> None:
    """Have so many readers of each kind, who rest so long, look while there are runs, and judge what they have seen.

    Runs do not wait for readers, but for so many of their looks that each has its share.
    """
    Path("snapshots.json").write_text(json.dumps(SNAPSHOTS))
    stop, env = Path("stop"), os.environ | {"PYTHONPATH": str(PROJECT)}
    load(0)
    readers: list[Reader] = []
    with ExitStack() as stack:
        stack.callback(stop.touch)
        for kind, rest in ((kind, rest) for kind, (count, rest) in kinds.items() for _ in range(count)):
            complaints = Path(f"reader-{len(readers)}.log")
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.watcher", kind, str(rest)],
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
                load(step)
            if step * (LEAST_LOOKS - 1) % runs == 0:
                for reader in readers:
                    reader.await_look()
        stop.touch()
        for reader in readers:
            reader.end()
    for reader in readers:
        reader.assert_forward(runs + 1)


def test_eight_readers_of_the_file_see_one_whole_snapshot_each_time_while_eight_runs_change_it(
    api: Api, place: Path
) -> None:
    kinds = {"file": (7, 25.0), "patient": (1, 25.0)}
    watch(kinds, lambda step: load(api, step, "duckdb", with_reports=step in (3, 6)), runs=8)


def test_four_readers_of_the_lake_see_one_whole_snapshot_each_time_while_four_runs_change_it(
    api: Api, place: Path
) -> None:
    kinds = {"lake": (2, 3.0), "folder": (2, 9.0)}
    watch(kinds, lambda step: load(api, step, "parquet", with_reports=step == 2), runs=4)


# ---------------------------------------------------------------------- the page


@pytest.fixture(scope="session")
def environments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(cache_folder(request, tmp_path_factory, "clients"), "REQUIRE_CLIENTS")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


def python_block(library: str) -> str:
    """Return the block of the page that begins with this library."""
    (code,) = (block for block in blocks("python") if re.match(rf"(import|from) {library}\b", block))
    return code


def advance(*, with_reports: bool = False) -> None:
    """Run on whatever the settings in force name."""
    settings = read_settings("duckdb")
    assert run(settings, pick_accounts(settings, []), with_reports=with_reports).exit_code == 0


def work_in(folder: Path, patch: pytest.MonkeyPatch, base_url: str) -> None:
    patch.chdir(folder)
    patch.setenv("HOME", str(folder / "home"))
    patch.setenv("SIP_TRUNKS__DATA_DIR", str(folder / "data"))
    patch.setenv("SOURCES__FAMULOR__BASE_URL", base_url)
    patch.setenv("FAMULOR_API_KEY", DEMO_TOKEN)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory after two runs on the demo account."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch, serve(advances=True) as base_url:
        work_in(folder, patch, base_url)
        advance()
        advance(with_reports=True)
    return folder / "data"


@pytest.fixture
def demo(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a copy of it, which the test can `advance`."""
    shutil.copytree(published, tmp_path / "data")
    with serve(edition=2) as base_url:
        work_in(tmp_path, monkeypatch, base_url)
        yield tmp_path


def test_the_commands_of_the_page_print_what_it_says(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = environments.folder("duckdb-cli", ["duckdb-cli==1.5.5"], "--no-deps") / "duckdb_cli"
    work_in(tmp_path, monkeypatch, "http://127.0.0.1:9")
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
    done = subprocess.run([sys.executable, "-c", python_block("duckdb")], capture_output=True, text=True)
    assert done.stdout.split() == ["48", "8", "17"], done.stderr


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

looks = "SELECT count(*) FROM sip_trunk_snapshots"
with engine.connect() as patient:
    before = patient.execute(text(looks)).scalar()
    print("waiting", flush=True)
    input()
    assert patient.execute(text(looks)).scalar() == before
assert ask(looks) == before + 1
"""


@pytest.mark.parametrize("sqlalchemy", ["2.0.58", "1.4.54"])
def test_sqlalchemy_reads_the_file_as_the_page_says_and_sees_the_next_run(
    environments: Environments, published: Path, demo: Path, sqlalchemy: str
) -> None:
    packages = [f"sqlalchemy=={sqlalchemy}", "duckdb-engine==0.17.0", "duckdb==1.5.5", "pytz"]
    folder = environments.folder(f"sqlalchemy-{sqlalchemy}", packages, "--compile-bytecode")
    with subprocess.Popen(
        # Nothing of our own environment is on its path.
        [sys.executable, "-S", "-P", "-W", "error", "-c", python_block("sqlalchemy") + _AFTERWARDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    ) as client:
        assert client.stdout is not None
        count, views, columns, waiting = (client.stdout.readline() for _ in range(4))
        advance()
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
        looks = "SELECT count(*) FROM trunks.sip_trunk_snapshots"
        assert connection.execute(looks).fetchall() == [(2,)]
        advance()
        assert connection.execute(looks).fetchall() == [(2,)]
        connection.execute("DETACH trunks; ATTACH 'data/warehouse.duckdb' AS trunks (READ_ONLY)")
        assert connection.execute(looks).fetchall() == [(3,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only mode"):
            connection.execute("CREATE TABLE trunks.mine AS SELECT 1 AS n")


def test_every_view_answers_through_an_attached_name_and_every_macro_after_use(demo: Path) -> None:
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
    load(api, 0, "parquet", with_reports=False)
    with duckdb.connect() as connection:
        connection.execute("CREATE VIEW trunks AS FROM read_parquet('data/lake/famulor/sip_trunks/*.parquet')")
        seen = []
        for step in (0, 1):
            load(api, step, "parquet", with_reports=False)
            seen.append(connection.execute("SELECT count(*), min(country_code) FROM trunks").fetchall())
    assert seen == [[(11, "DE")], [(13, "GB")]]
