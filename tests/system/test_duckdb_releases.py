"""What is published is for everybody: other releases of DuckDB read the file and the lake, row for row, like ours.

Every release is the real one (tests/support/environments.py), in a process that has nothing else on its path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.support.api import Api
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.demo_account import work_in
from tests.support.environments import Environments, cache_folder
from tests.support.runs import COMMAND, TOKEN, load
from tests.support.shared import built_once
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sip_trunks.run.result import RunResult

# 1.1 was the first to read blocks of other sizes than 256 KB.
OLDEST = "1.1.3"
NEXT = "2.0.1"
RELEASES = (OLDEST, "1.4.5", "1.5.5", NEXT)
READABLE_BY_ALL = "v1.0.0+"
"""What the file says of the releases that can read it: in fact, all since 1.1, because of its small blocks."""

TABLES = ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips", "sip_trunk_snapshots", "schema_drift")
LATEST = (
    TRUNK | {"phone_number": None, "country_code": "DE", "zz_field": {"calls": 5}},
    IP_TRUNK,
    trunk(id=45, zz_field=[1]),
)
CHANGED = [
    TRUNK | {"zz_name": "Front", "zz_field": {"calls": 5}},
    trunk(id=44, outbound_proxy="yes", zz_share=1.5),
    IP_TRUNK,
]
SNAPSHOTS = (
    [TRUNK, trunk(id=44, sip_calling_format="e164")],
    CHANGED,
    CHANGED,
    list(LATEST),
)

EMPTY = ("fixed", "unanswered")
REPORT_TABLES = [report.table.name for name, report in REPORTS.items() if name not in ("audit", *EMPTY)]

OF_THE_FILE = (
    *(f"SELECT * FROM {place}.{table} ORDER BY ALL" for place in ("famulor", "main") for table in TABLES),
    *(f"SELECT * FROM famulor.{table} ORDER BY ALL" for table in ("_dlt_loads", "_dlt_pipeline_state", "_dlt_version")),
    "SELECT * FROM drift ORDER BY ALL",
    *(f"SELECT * FROM reports.{table} ORDER BY ALL" for table in REPORT_TABLES),
    "SELECT schema_name, table_name, comment FROM duckdb_tables() ORDER BY ALL",
    "SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
    """
    SELECT schema_name, table_name, column_index, column_name, data_type, comment
    FROM duckdb_columns() WHERE NOT internal ORDER BY ALL
    """,
    """
    SELECT snapshot_at, id, country_code, row_version FROM sip_trunk_snapshots
    JOIN sip_trunks_history ON valid_from <= snapshot_at AND (valid_to > snapshot_at OR valid_to IS NULL) ORDER BY ALL
    """,
)
KNOWN_OF_THE_FILE: dict[str, list[list[Any]]] = {
    "SELECT id, allowed_inbound_ips[2], len(allowed_inbound_ips), zz_field->>'$.calls' FROM sip_trunks ORDER BY id": [
        [42, None, None, "5"],
        [43, "198.51.100.20", 2, None],
        [45, None, None, None],
    ],
    "SELECT allowed_inbound_ips FROM trunks_as_of('2999-01-01 12:00Z') WHERE list_contains(allowed_inbound_ips, "
    "'203.0.113.10')": [[["203.0.113.10", "198.51.100.20"]]],
    "SELECT id FROM sip_trunks_history ANTI JOIN sip_trunks USING (account, id)": [[44], [44]],
    "SELECT column_name, kind, row_count, first_seen_at < last_seen_at, is_current FROM drift ORDER BY ALL": [
        ["outbound_proxy", "type_mismatch", 1, True, False],
        ["phone_number", "type_mismatch", 1, False, True],
        ["zz_field", "new_column", 2, True, True],
        ["zz_name", "new_column", 1, True, False],
        ["zz_share", "new_column", 1, True, False],
    ],
    "SELECT sip_calling_format, trunk_count FROM reports.counts WHERE country_code = 'DE'": [["+e164", 1]],
}


def of_the_lake(lake: Path) -> tuple[str, ...]:
    tables = {name: f"read_parquet('{lake}/famulor/{name}/*.parquet')" for name in TABLES}
    tables |= {name: f"read_parquet('{lake}/famulor/reports/{name}.parquet')" for name in REPORT_TABLES}
    rows = f"read_parquet('{lake}/sip_trunk_snapshot_rows/**/*.parquet', union_by_name = true)"
    queries = [f"SELECT * FROM {files} ORDER BY ALL" for files in (*tables.values(), rows)]
    queries += [f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {f})" for f in (*tables.values(), rows)]
    return tuple(queries)


def known_of_the_lake(lake: Path) -> dict[str, list[list[Any]]]:
    trunks = f"read_parquet('{lake}/famulor/sip_trunks/*.parquet')"
    # As docs/destinations.md has it: the rows as part of one version.
    rows = f"read_parquet('{(lake / 'famulor').resolve()}/sip_trunk_snapshot_rows/**/*.parquet', union_by_name = true)"
    return {
        f"SELECT id, allowed_inbound_ips, allowed_inbound_ips[2], len(allowed_inbound_ips) FROM {trunks} ORDER BY id": [
            [42, None, None, None],
            [43, ["203.0.113.10", "198.51.100.20"], "198.51.100.20", 2],
            [45, None, None, None],
        ],
        f"SELECT DISTINCT typeof(allowed_inbound_ips) FROM {rows}": [["VARCHAR[]"]],
        f"SELECT count(*), count(DISTINCT snapshot_at), count(zz_name), count(len(allowed_inbound_ips)) FROM {rows}": [
            [8, 3, 1, 2]
        ],
    }


# ---------------------------------------------------------------------- the releases


def release(environments: Environments, version: str) -> Reader:
    """Return a release, in a folder that has nothing but it and what hands its moments to Python."""
    return Reader(version, environments.folder(f"duckdb-{version}", [f"duckdb=={version}", "pytz"], "--no-deps"))


@pytest.fixture(scope="session")
def releases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(cache_folder(request, tmp_path_factory, "duckdb-releases"))


_ASK = """
import json, sys
import duckdb
wanted, file, script, queries = json.load(sys.stdin)
assert duckdb.__version__ == wanted, f"{duckdb.__version__} from {duckdb.__file__}"
connection = duckdb.connect(file, read_only=script is None) if file else duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
if script:
    connection.execute(script)
rows = [connection.execute(query).fetchall() for query in queries]
connection.close()
json.dump(rows, sys.stdout, default=str)
"""


@dataclass(frozen=True)
class Reader:
    """A release of DuckDB, or the one that is installed with us."""

    version: str
    folder: Path | None = None

    def ask(self, queries: Sequence[str], file: Path | None = None, script: str | None = None) -> list[list[list[Any]]]:
        """Return the rows of the queries; the file is opened for writing, in order to run a script, or else not."""
        isolation = ["-S", "-P"] if self.folder else ["-P"]  # neither site-packages nor the folder we are in
        done = subprocess.run(
            [sys.executable, *isolation, "-c", _ASK],
            input=json.dumps([self.version, str(file) if file else None, script, list(queries)]),
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(self.folder)} if self.folder else None,
        )
        assert done.returncode == 0, f"duckdb {self.version}: {done.stderr}"
        rows: list[list[list[Any]]] = json.loads(done.stdout)
        return rows

    def environment(self) -> dict[str, str]:
        """Return the environment in which our own commands use this release."""
        return os.environ | ({"PYTHONPATH": str(self.folder)} if self.folder else {})


OURS = Reader(duckdb.__version__)


@pytest.fixture(params=RELEASES)
def reader(request: pytest.FixtureRequest, releases: Environments) -> Reader:
    return release(releases, request.param)


@pytest.fixture
def next_release(releases: Environments) -> Reader:
    return release(releases, NEXT)


# ---------------------------------------------------------------------- what is published


@dataclass(frozen=True)
class Published:
    """A data directory after the same four runs into the file and into the lake, and what our release reads there."""

    data: Path
    of_the_file: Mapping[str, list[list[Any]]]
    of_the_lake: Mapping[str, list[list[Any]]]

    @property
    def file(self) -> Path:
        return self.data / "warehouse.duckdb"

    @property
    def lake(self) -> Path:
        return self.data / "lake"


def load_snapshot(api: Api, trunks: list[dict[str, Any]], destination: str | None = None, **options: bool) -> RunResult:
    api.answer(trunks)
    outcome = load(destination, **options)
    assert outcome.exit_code == 0
    return outcome


def publish(folder: Path) -> None:
    """Load the same snapshots into the file and into the lake, in `data` of the folder."""
    api = Api()
    try:
        with pytest.MonkeyPatch.context() as patch:
            work_in(folder, patch, SOURCES__FAMULOR__BASE_URL=api.base_url, FAMULOR_API_KEY=TOKEN)
            for destination in ("duckdb", "parquet"):
                for snapshot in SNAPSHOTS:
                    load_snapshot(api, snapshot, destination, with_reports=True)
    finally:
        api.close()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    data = built_once(tmp_path_factory, "published-for-releases", publish) / "data"
    file, lake = OF_THE_FILE, of_the_lake(data / "lake")
    rows = OURS.ask([*file, *lake], data / "warehouse.duckdb")
    return Published(
        data,
        dict(zip(file, rows[: len(file)], strict=True)) | KNOWN_OF_THE_FILE,
        dict(zip(lake, rows[len(file) :], strict=True)) | known_of_the_lake(data / "lake"),
    )


@pytest.fixture
def copied(published: Published, place: Path) -> Path:
    """A data directory of the test's own, with the published file in it; our commands find it."""
    (place / "data").mkdir()
    return Path(shutil.copy(published.file, place / "data"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder that are not the loader's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and "state" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def storage_version(file: Path) -> str:
    query = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal"
    return str(OURS.ask([query], file)[0][0][0])


# ---------------------------------------------------------------------- reading


def test_every_release_reads_the_published_file_and_leaves_it_unchanged(reader: Reader, published: Published) -> None:
    """Only the release itself shows that it can read what ours has written."""
    before = contents(published.data)
    assert all(published.of_the_file.values())
    seen = reader.ask(list(published.of_the_file), published.file)
    for query, rows in zip(published.of_the_file, seen, strict=True):
        assert rows == published.of_the_file[query], query
    assert contents(published.data) == before


def test_every_release_reads_the_lake_like_ours(reader: Reader, published: Published) -> None:
    """Only the release itself shows that it can read the Parquet files that ours has written."""
    assert all(published.of_the_lake.values())
    seen = reader.ask(list(published.of_the_lake))
    for query, rows in zip(published.of_the_lake, seen, strict=True):
        assert rows == published.of_the_lake[query], query


def test_what_we_write_is_declared_readable_for_every_release(copied: Path, place: Path) -> None:
    subprocess.run([COMMAND, "export", "--format", "duckdb", "--output", str(place / "copy")], check=True)
    (exported,) = (place / "copy").glob("*.duckdb")
    assert storage_version(copied) == storage_version(exported) == READABLE_BY_ALL


def test_our_commands_say_the_same_with_the_next_release(next_release: Reader, copied: Path) -> None:
    """Only our commands, with the next release in place of ours, show that an upgrade of DuckDB breaks none of them."""

    def said(reader: Reader, *arguments: str) -> tuple[int, str]:
        done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=reader.environment())
        lines = [line for line in done.stdout.splitlines() if '"age_seconds"' not in line]
        return done.returncode, "\n".join(lines)

    assert said(next_release, "sql", "SELECT version() AS used", "--format", "csv") == (0, f"used\nv{NEXT}")
    for arguments in (
        ["sql", "SELECT * FROM sip_trunks", "--format", "json"],
        ["sql", "DELETE FROM famulor.sip_trunks"],
        ["report", "counts", "--by", "zz_name"],
        ["drift", "--since", "2020-01-01"],
        ["describe", "--format", "markdown"],
        ["status", "--json"],
    ):
        assert said(next_release, *arguments) == said(OURS, *arguments), arguments


# ---------------------------------------------------------------------- writing, which nobody should

# The first is told to; a file that is new is so by default.
UPGRADES = {
    "changed": "ATTACH '{old}' AS old (STORAGE_VERSION 'v2.0.0'); CREATE TABLE old.mine AS SELECT 7 AS n; DETACH old",
    "made anew": "ATTACH '{old}' AS old (READ_ONLY); ATTACH '{new}' AS new; COPY FROM DATABASE old TO new; DETACH new",
}
DOWNGRADE = """
ATTACH '{old}' AS old (READ_ONLY); ATTACH '{new}' AS new (STORAGE_VERSION 'v1.0.0'); COPY FROM DATABASE old TO new;
DETACH new
"""


def rewrite(file: Path, reader: Reader, script: str) -> None:
    """Have a release change the file, or write another one in its place."""
    new = file.parent.parent / "new" / file.name
    new.parent.mkdir(exist_ok=True)
    reader.ask([], script=script.format(old=file, new=new))
    if new.exists():
        new.replace(file)


def test_a_file_that_the_next_release_wrote_into_goes_on_and_stays_readable(
    next_release: Reader, copied: Path, api: Api, releases: Environments
) -> None:
    next_release.ask([], copied, script="CREATE TABLE mine AS SELECT 7 AS n")
    load_snapshot(api, [*LATEST, trunk(id=46)])
    assert storage_version(copied) == READABLE_BY_ALL
    oldest = release(releases, OLDEST)
    queries = ["SELECT id FROM sip_trunks ORDER BY id", "SELECT n FROM mine"]
    assert oldest.ask(queries, copied) == next_release.ask(queries, copied) == [[[42], [43], [45], [46]], [[7]]]


@pytest.mark.parametrize("how", UPGRADES)
def test_a_file_that_only_the_next_release_can_read_is_refused_in_one_line_and_left_alone(
    next_release: Reader, copied: Path, api: Api, how: str
) -> None:
    rewrite(copied, next_release, UPGRADES[how])
    before = contents(copied.parent)
    for arguments in (["run"], ["sql", "FROM sip_trunks"]):
        done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (7, "")
        assert done.stderr.startswith(f"sip-trunks: {copied} was written by a newer DuckDB")
        assert done.stderr.count("\n") == 1
    assert contents(copied.parent) == before
    assert not api.requests


def test_a_file_that_only_the_next_release_can_read_comes_back_by_a_copy(
    next_release: Reader, copied: Path, api: Api
) -> None:
    history = "SELECT * FROM sip_trunks_history ORDER BY ALL"
    before = OURS.ask([history], copied)
    rewrite(copied, next_release, UPGRADES["changed"])
    rewrite(copied, next_release, DOWNGRADE)
    assert storage_version(copied) == READABLE_BY_ALL
    assert OURS.ask([history], copied) == before
    (account,) = load_snapshot(api, [*LATEST, trunk(id=46)]).accounts
    assert (account.new_count, account.changed_count, account.removed_count) == (1, 0, 0)
