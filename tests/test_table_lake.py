"""The lake as Delta and as Iceberg tables: it keeps what the DuckDB file keeps, and others read it as what it is.

Iceberg's library is in no environment but that of the processes that are started here: of the command itself, or of
one that calls several commands in turn (`work`), since each would import everything anew. It collects what there is to
see afterwards, too, by the product and by the formats' own readers.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.settings import read_settings
from tests.builders import ABSENT, IP_TRUNK, TRUNK, trunk
from tests.conftest import TOKEN, Api
from tests.environments import OUTER_ENVIRONMENT, Environments, cache_folder, locked
from tests.test_moving import _rich
from transforms import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Trunks = Sequence[dict[str, Any]]
    Answers = tuple[Trunks, Trunks]
    Command = tuple[str, ...]
    Rows = dict[str, list[str]]

ICEBERG = "0.12.0"
FORMATS = ("delta", "iceberg")
KINDS = ("duckdb", *FORMATS)
LIBRARIES = {"delta": "deltalake", "iceberg": "pyiceberg"}
PROJECT = Path(__file__).parent.parent
COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
PATIENCE_SECONDS = 30
ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
LOOKS = schema.SIP_TRUNK_SNAPSHOTS.name
HISTORY = schema.SIP_TRUNKS_HISTORY.name
TABLES = (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS)

STORY: tuple[Answers, ...] = (
    ([TRUNK, IP_TRUNK, trunk(id=44)], [TRUNK, IP_TRUNK]),
    (
        [
            trunk(country_code="DE"),
            IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.7", "203.0.113.10"]},
            trunk(id=45, nickname="Front", plan={"calls": 5, "a": [1, None]}),
            trunk(id=46, outbound_proxy="yes"),
            *_rich(1),
        ],
        [TRUNK, IP_TRUNK],
    ),
    (
        [TRUNK, IP_TRUNK | {"country_code": ABSENT}, trunk(id=45), trunk(id=46), *_rich(2)],
        [],
    ),
)  # fmt: skip
STORY = tuple(
    ([{name: value for name, value in t.items() if value is not ABSENT} for t in acme], beta) for acme, beta in STORY
)
"""What the accounts `acme` and `beta` answer, run by run; after it, the last answers come once more."""
CHANGED = len(STORY)

RUN: Command = ("run", "--json", "--no-reports")
SAYS: tuple[Command, ...] = (
    ("report", "counts", "--format", "json"),
    ("report", "--by", "account", "country_code", "--format", "json"),
    ("drift", "--format", "json"),
    ("drift", "--since", "2020-01-01", "--format", "json"),
    ("describe", "--format", "json"),
    ("status", "--json"),
    ("sql", "SELECT count(*) AS n, count(nickname) AS named FROM sip_trunks_history", "--format", "json"),
)


# ---------------------------------------------------------------------- what is kept, and what there is to see of it


@dataclass(frozen=True)
class Kept:
    """A data directory with trunks in one kind of place, and the environment in which commands find it."""

    kind: str
    data: Path
    packages: Path

    @property
    def dataset(self) -> Path:
        return self.data / "lake" / f"famulor_{self.kind}"

    def environment(self) -> dict[str, str]:
        ours = ("FAMULOR_API_KEY", "DLT_PROJECT_DIR", "DLT_DATA_DIR", "LOAD__WORKERS", "PYTHONPATH")
        outer = {
            name: value
            for name, value in OUTER_ENVIRONMENT.items()
            if name not in ours and not name.startswith(("SOURCES__", "SIP_TRUNKS__", "DESTINATION__"))
        }
        return outer | {
            "HOME": str(self.data.parent / "home"),
            "SIP_TRUNKS__DATA_DIR": str(self.data),
            "SIP_TRUNKS__DESTINATION": "duckdb" if self.kind == "duckdb" else "parquet",
            "SOURCES__FAMULOR__BACKOFF_SECONDS": "0.01",
            "SOURCES__FAMULOR__ACCOUNTS__ACME": TOKEN,
            "SOURCES__FAMULOR__ACCOUNTS__BETA": TOKEN,
            **({"SIP_TRUNKS__TABLE_FORMAT": self.kind} if self.kind in FORMATS else {}),
            **({"PYTHONPATH": str(self.packages)} if self.kind == "iceberg" else {}),
        }

    def call(
        self, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, *arguments],
            env=self.environment() | dict(environment or {}),
            cwd=self.data.parent,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, f"{self.kind}: {done.stderr}"
        return done

    def asking(self, api: Api, *answers: Answers) -> dict[str, str]:
        """Have the API answer the next runs so; return what makes a command ask it."""
        api.queued.clear()
        for trunks in chain.from_iterable(answers):
            api.queue(list(trunks))
        return {"SOURCES__FAMULOR__BASE_URL": api.base_url}

    def run(self, api: Api, answers: Answers) -> Went:
        done = self.call(*RUN, environment=self.asking(api, answers))
        return Went(json.loads(done.stdout), done.stderr)

    def killed(self, api: Api, answers: Answers, pattern: str, tables: Sequence[str], delay: float = 0) -> None:
        """Run, and kill -9 as soon as there is one file more of this pattern in every one of these folders."""

        def count() -> list[int]:
            # A file that is begun is empty.
            return [sum(path.stat().st_size > 0 for path in (self.dataset / t).glob(pattern)) for t in tables]

        before, deadline = count(), time.monotonic() + PATIENCE_SECONDS
        with subprocess.Popen(
            [COMMAND, "run", "--no-reports"],
            env=self.environment() | self.asking(api, answers),
            cwd=self.data.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while not all(now > then for now, then in zip(count(), before, strict=True)):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(delay)
            process.kill()
        assert process.returncode == -9

    def call_in_turn(self, *commands: Command, environment: Mapping[str, str] | None = None) -> list[Said]:
        """Return what the commands say, called by one process."""
        return self._work(commands, environment, is_looking=False)[0]

    def look_after(self, *commands: Command, environment: Mapping[str, str] | None = None) -> tuple[list[Said], Seen]:
        """Return what the commands say, and all there is to see afterwards, as the same process collects it."""
        said, seen = self._work(commands, environment, is_looking=True)
        assert seen is not None
        return said, seen

    def _work(
        self, commands: Sequence[Command], environment: Mapping[str, str] | None, *, is_looking: bool
    ) -> tuple[list[Said], Seen | None]:
        file = self.data.with_suffix(".seen")
        script = f"from tests.test_table_lake import work; work({str(file)!r}, {commands!r}, {is_looking})"
        own = self.environment() | dict(environment or {})
        path = os.pathsep.join([*filter(None, [own.get("PYTHONPATH")]), str(PROJECT)])
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=own | {"PYTHONPATH": path},
            cwd=self.data.parent,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{self.kind}: {done.stderr}"
        said, seen = pickle.loads(file.read_bytes())
        return said, seen


@dataclass(frozen=True)
class Said:
    """What a command that succeeded has printed."""

    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def went(self) -> Went:
        return Went(self.json, self.stderr)


@dataclass(frozen=True)
class Went:
    """What a run said: its outcome, and what is for a person."""

    outcome: dict[str, Any]
    stderr: str

    @property
    def moment(self) -> datetime:
        moment: str = self.outcome["snapshot_at"]
        return datetime.fromisoformat(moment)

    def accounts(self, moments: Moments) -> list[Any]:
        accounts: list[Any] = json.loads(moments.numbered(json.dumps(self.outcome["accounts"])))
        return accounts

    def statuses(self) -> list[str]:
        return [account["status"] for account in self.outcome["accounts"]]


@dataclass(frozen=True)
class Seen:
    """The tables as SQL has them, and as the format's own readers have them."""

    types: dict[str, dict[str, str]]
    tables: dict[str, pa.Table]
    read_by: dict[str, dict[str, pa.Table]]
    versions: list[list[tuple[str, int]]]
    """Which trunks the older versions of `sip_trunks` have, the first one first."""
    version_at: list[tuple[str, int]] | None
    """Which trunks were there at the moment of the last run that changed them, before it did."""


@dataclass(frozen=True)
class Moments:
    """The moments of the runs, which two destinations cannot share: they are compared by their number."""

    moments: tuple[datetime, ...]

    def numbered(self, text: str) -> str:
        for number, moment in enumerate(self.moments):
            for form in (f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z", repr(moment.isoformat())):
                text = text.replace(form, f"run {number}")
        return text

    def rows(self, seen: Seen) -> Rows:
        """Return the rows of every table as text; moments and loads of runs are the number of the run."""
        looks = seen.tables[LOOKS].sort_by("snapshot_at").to_pylist()
        loads: dict[str, str] = {}
        for look in looks:
            loads.setdefault(look["_dlt_load_id"], f"load of run {self.number(look['snapshot_at'])}")
        return {
            name: sorted(
                repr([(column, self.number(loads.get(row[column], row[column]))) for column in sorted(row)])
                for row in table.to_pylist()
            )
            for name, table in seen.tables.items()
            if name != ROWS
        }

    def number(self, value: Any) -> Any:
        if not isinstance(value, datetime):
            return value
        value = value.astimezone(UTC)
        return f"run {self.moments.index(value)}" if value in self.moments else value.isoformat()


def work(file: str, commands: Sequence[Command], is_looking: bool) -> None:
    """Write what the commands say and, if asked to look, a `Seen` of what the settings in force name."""
    said = [_say(arguments) for arguments in commands]
    Path(file).write_bytes(pickle.dumps((said, _look() if is_looking else None)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # deltalake can abort a process that ends otherwise


def _say(arguments: Command) -> Said:
    """Call a command; what libraries write past Python's streams belongs to what it says."""
    kept = [os.dup(number) for number in (1, 2)]
    with TemporaryFile() as out, TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        said = Said(*(os.pread(file.fileno(), 2**30, 0).decode() for file in (out, err)))
    assert code == 0, said.stderr
    return said


def _look() -> Seen:
    types: dict[str, dict[str, str]] = {}
    tables: dict[str, pa.Table] = {}
    settings = read_settings()
    with open_destination(settings).reading() as connection:
        for table in TABLES:
            described = connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
                f"AND schema_name = 'famulor' AND table_name = '{table.name}' ORDER BY 1"
            ).fetchall()
            if described:
                types[table.name] = dict(described)
                columns = ", ".join(f"{name}::VARCHAR AS {name}" if t == "JSON" else name for name, t in described)
                tables[table.name] = connection.execute(f"SELECT {columns} FROM famulor.{table.name}").to_arrow_table()
    own = {"delta": _read_delta, "iceberg": _read_iceberg}.get(settings.table_format, lambda _looks: ({}, [], None))
    return Seen(types, tables, *own(tables[LOOKS]))


def _folder(table: str) -> Path:
    settings = read_settings()
    return settings.data_dir / settings.lake / f"famulor_{settings.table_format}" / table


def _keys(table: pa.Table) -> list[tuple[str, int]]:
    return sorted(zip(table["account"].to_pylist(), table["id"].to_pylist(), strict=True))


def _last_change(looks: pa.Table) -> datetime:
    moments: list[datetime] = [look["snapshot_at"] for look in looks.to_pylist() if not look["is_unchanged"]]
    return max(moments)


def _read_delta(looks: pa.Table) -> tuple[Any, ...]:
    import polars as pl
    from deltalake import DeltaTable

    trunks = DeltaTable(_folder("sip_trunks"))
    versions = [
        _keys(DeltaTable(_folder("sip_trunks"), version=number).to_pyarrow_table())
        for number in range(trunks.version() + 1)
    ]
    trunks.load_as_version(_last_change(looks))
    read_by = {
        "deltalake": {table.name: DeltaTable(_folder(table.name)).to_pyarrow_table() for table in TABLES},
        "polars": {table.name: pl.read_delta(str(_folder(table.name))).to_arrow() for table in TABLES},
    }
    return read_by, versions, _keys(trunks.to_pyarrow_table())


def _read_iceberg(looks: pa.Table) -> tuple[Any, ...]:
    import polars as pl
    from pyiceberg.table import StaticTable

    os.environ["POLARS_ICEBERG_PLANNER"] = "pyiceberg"
    newest = {table.name: str(max(_folder(table.name).glob("metadata/*.metadata.json"))) for table in TABLES}
    tables = {name: StaticTable.from_metadata(path) for name, path in newest.items()}
    trunks = tables["sip_trunks"]
    versions = [
        _keys(trunks.scan(snapshot_id=snapshot.snapshot_id).to_arrow())
        for snapshot in trunks.snapshots()
        # What is overwritten is first deleted, which is a snapshot too.
        if snapshot.summary.operation.value != "delete"
    ]
    before = trunks.snapshot_as_of_timestamp(int(_last_change(looks).timestamp() * 1000))
    read_by = {
        "pyiceberg": {name: table.scan().to_arrow() for name, table in tables.items()},
        "polars": {name: pl.scan_iceberg(path).collect().to_arrow() for name, path in newest.items()},
    }
    return read_by, versions, _keys(trunks.scan(snapshot_id=before.snapshot_id).to_arrow())


# ---------------------------------------------------------------------- the same story everywhere


@dataclass(frozen=True)
class Told:
    """One kind of place after some runs."""

    kept: Kept
    runs: list[Went]
    seen: Seen
    printed: Mapping[Command, str] = field(default_factory=dict)

    @property
    def moments(self) -> Moments:
        return Moments(tuple(went.moment for went in self.runs))

    def rows(self) -> Rows:
        return self.moments.rows(self.seen)

    def says(self, arguments: tuple[str, ...]) -> Any:
        return json.loads(self.moments.numbered(self.printed[arguments]))


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Iceberg's library and what it needs beside ours."""
    environments = Environments(cache_folder(request, tmp_path_factory, "iceberg"), "REQUIRE_ICEBERG")
    wanted = [f"pyiceberg[sql-sqlite]=={ICEBERG}"]
    return environments.folder(f"pyiceberg-{ICEBERG}", wanted, "--compile-bytecode", beside_ours=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers have."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "table_lake"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def an_api() -> Iterator[Api]:
    api = Api()
    try:
        yield api
    finally:
        api.close()


@pytest.fixture(scope="module")
def told(shared: Path, packages: Path) -> Mapping[str, Told]:
    """The story, told to every kind of place at once; workers share it."""
    file = shared / "told"
    with locked(shared / "told.lock"):
        if not file.exists():
            with ThreadPoolExecutor(len(KINDS)) as pool:
                everything = list(pool.map(lambda kind: tell(Kept(kind, shared / kind, packages)), KINDS))
            file.write_bytes(pickle.dumps({one.kept.kind: one for one in everything}))
    told: dict[str, Told] = pickle.loads(file.read_bytes())
    return told


def tell(kept: Kept) -> Told:
    kept.data.mkdir()
    # The last answers lack all trunks of an account: that much may go only if somebody agrees.
    runs = [*([RUN] * (CHANGED - 1)), (*RUN, "--accept-shrink"), RUN]
    with an_api() as api:
        said, seen = kept.look_after(*runs, *SAYS, environment=kept.asking(api, *STORY, STORY[-1]))
    printed = {arguments: each.stdout for arguments, each in zip(SAYS, said[len(runs) :], strict=True)}
    return Told(kept, [each.went for each in said[: len(runs)]], seen, printed)


@pytest.fixture(params=FORMATS)
def table_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lake(told: Mapping[str, Told], table_format: str) -> Told:
    return told[table_format]


@pytest.fixture
def file(told: Mapping[str, Told]) -> Told:
    return told["duckdb"]


# Runs wait for dlt most of the time: all kinds of place are filled at once, and what is there is shared by the tests.
pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


def test_it_keeps_what_the_file_keeps(lake: Told, file: Told) -> None:
    types = {name: columns for name, columns in lake.seen.types.items() if name != ROWS}
    assert types == file.seen.types
    assert {"nickname", "plan", "outbound_proxy__v_text"} <= set(types["sip_trunks"])
    rows, expected = lake.rows(), file.rows()
    assert min(map(len, expected.values())) > 5
    for name, those in expected.items():
        assert rows[name] == those, name


def test_runs_say_the_same_as_on_the_file(lake: Told, file: Told) -> None:
    assert [went.statuses() for went in lake.runs] == [
        ["loaded", "loaded"],
        ["loaded", "unchanged"],
        ["loaded", "loaded"],
        ["unchanged", "unchanged"],
    ]
    for went, expected in zip(lake.runs, file.runs, strict=True):
        assert went.accounts(lake.moments) == expected.accounts(file.moments)
        assert list(went.outcome) == list(expected.outcome)
    (_, beta) = lake.runs[CHANGED - 1].outcome["accounts"]
    assert (beta["trunk_count"], beta["removed_count"]) == (0, 2)


def test_runs_say_nothing_of_what_they_use(lake: Told) -> None:
    for went in lake.runs:
        assert all(line.startswith("sip-trunks: ") for line in went.stderr.splitlines()), went.stderr
        assert not re.search(r"warn|delta|iceberg|dlt|error", went.stderr, re.IGNORECASE), went.stderr


def test_commands_say_the_same_as_on_the_file(lake: Told, file: Told) -> None:
    assert set(lake.printed) == set(file.printed) == set(SAYS)
    for arguments in SAYS:
        said, expected = lake.says(arguments), file.says(arguments)
        if arguments[0] != "status":
            assert said == expected, arguments
            continue
        assert list(said) == list(expected)
        assert said["warehouse"] == str(lake.kept.dataset)
        assert said["warehouse_bytes"] > 10_000
        ages = [[account.pop("age_seconds") for account in status["accounts"]] for status in (said, expected)]
        assert all(age >= 0 for each in ages for age in each)
        assert said["accounts"] == expected["accounts"]


def test_every_snapshot_that_changed_something_is_added_in_full(lake: Told) -> None:
    rows = lake.seen.tables[ROWS]
    assert set(lake.seen.types[ROWS]) == {"snapshot_at", *lake.seen.types["sip_trunks"]}
    known = [
        (number, name, record["id"])
        for number, answers in enumerate(STORY)
        for name, trunks in zip(("acme", "beta"), answers, strict=True)
        for record in trunks
        if lake.runs[number].statuses()[("acme", "beta").index(name)] == "loaded"
    ]
    moments = lake.moments.moments
    assert sorted((moments.index(row["snapshot_at"]), row["account"], row["id"]) for row in rows.to_pylist()) == sorted(
        known
    )
    newest = [row for row in rows.to_pylist() if row["snapshot_at"] == moments[CHANGED - 1]]
    current = [row for row in lake.seen.tables["sip_trunks"].to_pylist() if row["account"] == "acme"]
    without = ("snapshot_at", "_dlt_load_id")
    as_text = [
        sorted(repr(sorted((k, repr(v)) for k, v in row.items() if k not in without)) for row in each)
        for each in (newest, current)
    ]
    assert as_text[0] == as_text[1]


def test_others_read_the_same_rows_with_the_declared_types(lake: Told) -> None:
    assert len(lake.seen.read_by) == 2
    for reader, tables in lake.seen.read_by.items():
        for table in TABLES:
            found, expected = tables[table.name], lake.seen.tables[table.name]
            assert set(found.column_names) == set(expected.column_names)
            found = found.select(sorted(found.column_names))
            for column in table.columns:
                kind = column.arrow_type
                assert _small(found.schema.field(column.name).type) == kind, (reader, table.name, column.name)
            lists = [column.name for column in table.columns if column.type == "text_list"]
            assert _as_text(found, []) == _as_text(expected, lists), (reader, table.name)


def _small(kind: pa.DataType) -> pa.DataType:
    """Return the type of which programs use larger variants."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_small(kind.value_type))
    return pa.string() if pa.types.is_large_string(kind) or kind == pa.string_view() else kind


def _as_text(table: pa.Table, lists: Sequence[str]) -> list[str]:
    """Return rows as text; what is a list in the lake is JSON in SQL, and JSON is what it says."""

    def plain(name: str, value: Any) -> Any:
        if name in lists and value is not None:
            return json.loads(value)
        if isinstance(value, str) and value[:1] in ("{", "["):
            return value.replace(" ", "")
        return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value

    return sorted(repr([(name, plain(name, row[name])) for name in sorted(row)]) for row in table.to_pylist())


def test_older_versions_are_those_after_each_run(lake: Told) -> None:
    states: list[list[tuple[str, int]]] = []
    for acme, beta in STORY:
        states.append(sorted([("acme", t["id"]) for t in acme] + [("beta", t["id"]) for t in beta]))
    # The first run of Iceberg makes the table and then fills it.
    assert [keys for keys in lake.seen.versions if keys] == states
    assert lake.seen.version_at == states[CHANGED - 2]


def test_a_copy_of_it_begins_a_file_that_is_the_same(told: Mapping[str, Told], tmp_path: Path) -> None:
    lake = told["iceberg"]  # tests/test_moving.py has the other
    lake.kept.call("export", "--format", "csv", "--output", str(tmp_path / "copy"))
    begun = Kept("duckdb", tmp_path / "begun", lake.kept.packages)
    _, seen = begun.look_after(("import", str(tmp_path / "copy")))
    assert seen.types == {name: types for name, types in lake.seen.types.items() if name != ROWS}
    assert replace(lake, seen=seen).rows() == lake.rows()


# ---------------------------------------------------------------------- runs that are killed

BEFORE: Answers = ([TRUNK, IP_TRUNK, trunk(id=50), *_rich(0)], [TRUNK])
AFTER: Answers = (
    [TRUNK | {"country_code": "DE"}, IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.1"]}, trunk(id=51), *_rich(0)],
    [TRUNK],
)
LATER: Answers = ([*AFTER[0], trunk(id=52, tariff="new")], [TRUNK])
COMMITS = {"delta": "_delta_log/*.json", "iceberg": "metadata/*.metadata.json"}


@pytest.fixture(scope="module")
def begun(shared: Path, packages: Path) -> Told:
    """A file after the answers before and after, and a copy of what was in it between them."""
    result = shared / "begun"
    with locked(shared / "begun.lock"):
        if not result.exists():
            (shared / "killed").mkdir()
            file = Kept("duckdb", shared / "killed" / "file", packages)
            export = ("export", "--output", str(shared / "killed" / "copy"))
            with an_api() as api:
                (first, _, second), seen = file.look_after(
                    RUN, export, RUN, environment=file.asking(api, BEFORE, AFTER)
                )
            result.write_bytes(pickle.dumps(Told(file, [first.went, second.went], seen)))
    begun: Told = pickle.loads(result.read_bytes())
    return begun


@pytest.fixture
def recovered(shared: Path, packages: Path, table_format: str, begun: Told) -> Told:
    """A lake that began with that copy, in which a run was killed and another has run."""
    result = shared / f"recovered-{table_format}"
    with locked(shared / f"recovered-{table_format}.lock"):
        if not result.exists():
            lake = Kept(table_format, shared / "killed" / table_format, packages)
            assert lake.call("import", str(shared / "killed" / "copy")).stderr == ""
            with an_api() as api:
                # Everything is there but what makes it count.
                lake.killed(
                    api, AFTER, COMMITS[table_format], [table.name for table in TABLES if table.name != LOOKS], 0.1
                )
                (said,), seen = lake.look_after(RUN, environment=lake.asking(api, AFTER))
            result.write_bytes(pickle.dumps(Told(lake, [begun.runs[0], said.went], seen)))
    recovered: Told = pickle.loads(result.read_bytes())
    return recovered


def test_a_run_after_one_that_was_killed_shows_its_answer_and_counts_what_has_changed(
    recovered: Told, begun: Told
) -> None:
    assert len(recovered.seen.tables[LOOKS]) == 4
    assert re.search("warn|error", recovered.runs[1].stderr, re.IGNORECASE) is None
    # What a run that died has loaded is no answer that was seen; it may have got as far as to doubt the other account.
    assert recovered.runs[1].statuses()[0] == "loaded"
    said, expected = (
        [account | {"status": "…"} for account in told.runs[1].accounts(told.moments)] for told in (recovered, begun)
    )
    assert said == expected
    for name in ("sip_trunks", "sip_trunk_allowed_ips", LOOKS):
        assert _without_loads(recovered, name) == _without_loads(begun, name), name
    versions, those = (
        sorted((row["account"], row["id"], row["row_version"], row["valid_to"] is None) for row in rows.to_pylist())
        for rows in (recovered.seen.tables[HISTORY], begun.seen.tables[HISTORY])
    )
    assert versions == those


def test_a_run_that_was_killed_leaves_no_moment_that_is_not_a_snapshot(recovered: Told, begun: Told) -> None:
    assert _without_loads(recovered, HISTORY) == _without_loads(begun, HISTORY)


def _without_loads(told: Told, table: str) -> list[str]:
    return sorted(re.sub(r"\('_dlt_load_id', '[^']*'\)", "", row) for row in told.rows()[table])


def test_a_run_that_was_killed_before_it_wrote_a_new_column_can_be_followed_by_another(
    recovered: Told, api: Api
) -> None:
    lake = recovered.kept
    lake.killed(api, LATER, "*", ["_dlt_version"])
    stored, went, named = lake.call_in_turn(
        ("sql", "SELECT id FROM sip_trunks WHERE account = 'acme' ORDER BY id", "--format", "json"),
        RUN,
        ("sql", "SELECT id, tariff FROM sip_trunks WHERE tariff IS NOT NULL", "--format", "json"),
        environment=lake.asking(api, LATER),
    )
    assert [row["id"] for row in stored.json] == sorted(t["id"] for t in AFTER[0])
    assert went.went.statuses()[0] == "loaded"
    assert named.json == [{"id": 52, "tariff": "new"}]


def test_what_a_killed_run_only_began_to_write_is_no_end(
    table_format: str, tmp_path: Path, packages: Path, api: Api
) -> None:
    lake = Kept(table_format, tmp_path / "data", packages)
    lake.run(api, ([TRUNK], []))
    if table_format == "iceberg":
        begun = lake.dataset / "sip_trunks" / "metadata" / "00009-0b3e2928-eb23-4aa8-a29d-811bee2157f2.metadata.json"
    else:
        newest = max(path.name for path in (lake.dataset / "_dlt_version").glob("famulor__*"))
        begun = lake.dataset / "_dlt_version" / newest.replace("famulor__1", "famulor__2")
    begun.touch()
    stored, went = lake.call_in_turn(
        ("sql", "SELECT id FROM sip_trunks"), RUN, environment=lake.asking(api, ([TRUNK | {"country_code": "DE"}], []))
    )
    assert "42" in stored.stdout
    assert went.went.statuses()[0] == "loaded"


def test_a_first_run_that_was_killed_counts_for_nothing(tmp_path: Path, api: Api) -> None:
    lake = Kept("delta", tmp_path / "data", tmp_path)
    lake.killed(api, BEFORE, COMMITS["delta"], ["sip_trunks"])
    said = lake.call("report", code=2).stderr
    assert said.startswith("sip-trunks: nothing is stored yet at ")
    assert said.count("\n") == 1
    went = lake.run(api, BEFORE)
    assert went.statuses() == ["loaded", "loaded"]
    assert [account["new_count"] for account in went.outcome["accounts"]] == [len(trunks) for trunks in BEFORE]


# ---------------------------------------------------------------------- settings that cannot be


def test_a_format_whose_library_is_missing_is_named_with_what_brings_it(table_format: str, tmp_path: Path) -> None:
    kept = Kept(table_format, tmp_path / "data", tmp_path)
    # Our own environment without that library: an interpreter that knows no site-packages but these.
    (tmp_path / "packages").mkdir()
    for entry in Path(pa.__file__).parent.parent.iterdir():
        if not entry.name.startswith((*LIBRARIES.values(), "__editable__")):
            (tmp_path / "packages" / entry.name).symlink_to(entry)
    path = os.pathsep.join([str(tmp_path / "packages"), str(PROJECT)])
    for command in ("run", "status", "sql"):
        arguments = [command, *(["FROM sip_trunks"] if command == "sql" else [])]
        done = subprocess.run(
            [sys.executable, "-S", "-P", "-m", "pipelines", *arguments],
            env=kept.environment() | {"PYTHONPATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.count("\n") == 1
        assert LIBRARIES[table_format] in done.stderr
        assert f"pip install '.[{table_format}]'" in done.stderr


def test_a_store_is_no_place_for_tables(table_format: str, tmp_path: Path, packages: Path, api: Api) -> None:
    kept = Kept(table_format, tmp_path / "data", packages)
    for arguments in (["run"], ["status"]):
        done = kept.call(
            *arguments, code=2, environment={"SIP_TRUNKS__LAKE": "s3://bucket/lake"} | kept.asking(api, ([], []))
        )
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("sip-trunks: sip_trunks.lake is s3://bucket/lake")
    assert not api.requests
    assert not (tmp_path / "data" / "lake").exists()
