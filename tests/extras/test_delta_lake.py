"""What only Delta tables promise: programs of others read them, older versions stay, and a run may die between commits.

What every destination promises is in test_delta_contract.py. Tables are read here by Arrow's own filesystem, as the
product does: with deltalake's, a process can abort or hang when it ends while Arrow's threads still use it.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyarrow import fs

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.consistency import assert_answers_are_whole
from tests.support.hard_account import hard_trunks
from tests.support.kills import KILLED, kill_at, snapshot
from tests.support.runs import call, capture, load, query, start
from tests.support.shared import built_once
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sip_trunks.core.settings import Settings
    from sip_trunks.run.result import RunResult
    from tests.support.api import Api

    Trunks = Sequence[dict[str, Any]]
    Responses = tuple[Trunks, Trunks]

TABLES = (*schema.REQUIRED_TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS)
ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
SNAPSHOTS = schema.SIP_TRUNK_SNAPSHOTS.name
HISTORY = schema.SIP_TRUNKS_HISTORY.name
ACCOUNTS = ("acme", "beta")

STORY: tuple[Responses, ...] = (
    ([TRUNK, IP_TRUNK, trunk(id=44)], [TRUNK, IP_TRUNK]),
    (
        [
            trunk(country_code="DE"),
            IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.7", "203.0.113.10"]},
            trunk(id=45, zz_label="Front", zz_rates={"calls": 5, "a": [1, None]}),
            trunk(id=46, outbound_proxy="yes"),
            *hard_trunks(1),
        ],
        [TRUNK, IP_TRUNK],
    ),
    ([TRUNK, IP_TRUNK | {"country_code": None}, trunk(id=45), trunk(id=46), *hard_trunks(2)], []),
)
"""What the API sends to the accounts, run by run; in one more run it sends the last again."""
BEFORE: Responses = ([TRUNK, IP_TRUNK, trunk(id=50), *hard_trunks(0)], [TRUNK])
AFTER: Responses = (
    [TRUNK | {"country_code": "DE"}, IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.1"]}, trunk(id=51), *hard_trunks(0)],
    [TRUNK],
)


@pytest.fixture(autouse=True)
def delta(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make Delta tables what every run and every command means; return their folder."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    monkeypatch.setenv("SIP_TRUNKS__TABLE_FORMAT", "delta")
    return place / "data" / "lake" / "famulor_delta"


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ACCOUNTS:
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name.upper()}", f"token-{name}")


def load_responses(api: Api, responses: Responses, **options: Any) -> RunResult:
    """Run on what the API sends to each account."""
    for name, trunks in zip(ACCOUNTS, responses, strict=True):
        api.answer_to(f"token-{name}", list(trunks))
    outcome = load(**options)
    assert outcome.exit_code == 0, outcome.failures
    return outcome


def read(folder: Path, version: int | datetime | None = None) -> pa.Table:
    """Return the rows of a table, or of an older version of it, by the format's own library."""
    table = DeltaTable(folder)
    if version is not None:
        table.load_as_version(version)
    return table.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())).to_table()


def read_by_polars(folder: Path) -> pa.Table:
    """Return the rows of a table by Polars, which finds nothing below a folder whose name a URL has to escape."""
    with TemporaryDirectory(dir="/tmp") as plain:
        shutil.copytree(folder, f"{plain}/table")
        return pl.read_delta(f"{plain}/table").to_arrow()


def keys(table: pa.Table) -> list[tuple[str, int]]:
    return sorted(zip(table["account"].to_pylist(), table["id"].to_pylist(), strict=True))


def keys_sent(responses: Responses) -> list[tuple[str, int]]:
    return sorted((name, t["id"]) for name, trunks in zip(ACCOUNTS, responses, strict=True) for t in trunks)


# ---------------------------------------------------------------------- tables that others read


@pytest.fixture
def story(accounts: None, place: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tables after the story, only to be read."""

    def build(folder: Path) -> None:
        for number, responses in enumerate((*STORY, STORY[-1])):
            # The last responses have no trunk of an account, which needs somebody's consent.
            load_responses(api, responses, accept_shrink=number == len(STORY) - 1)
        shutil.copytree(place / "data", folder / "data", symlinks=True)

    return replace(read_settings(), data_dir=built_once(tmp_path_factory, "delta-story", build) / "data")


def folder_of(settings: Settings, table: str) -> Path:
    return settings.data_dir / "lake" / "famulor_delta" / table


def test_other_programs_read_the_same_rows_with_the_declared_types(story: Settings) -> None:
    """Only readers that do not go through our views show what is in the tables themselves."""
    with open_destination(story).reading() as connection:
        for table in TABLES:
            described = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE famulor.{table.name})")
            columns = [f"{name}::VARCHAR AS {name}" if kind == "JSON" else name for name, kind in described.fetchall()]
            stored = connection.execute(f"SELECT {', '.join(columns)} FROM famulor.{table.name}").to_arrow_table()
            lists = [column.name for column in table.columns if column.type == "text_list"]
            folder = folder_of(story, table.name)
            for found in (read(folder), read_by_polars(folder)):
                assert set(found.column_names) == set(stored.column_names)
                declared = table.full_arrow_schema()
                assert [_small(found.schema.field(name).type) for name in declared.names] == declared.types
                assert _as_text(found, []) == _as_text(stored, lists), table.name


def _small(kind: pa.DataType) -> pa.DataType:
    """Return the type of which a program uses a larger variant."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_small(kind.value_type))
    return pa.string() if pa.types.is_large_string(kind) or kind == pa.string_view() else kind


def _as_text(table: pa.Table, lists: Sequence[str]) -> list[str]:
    """Return rows as text; a list in the lake is JSON in SQL, whose spelling does not matter."""

    def plain(name: str, value: Any) -> Any:
        if name in lists and value is not None:
            return json.loads(value)
        if isinstance(value, str) and value[:1] in ("{", "["):
            return value.replace(" ", "")
        return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value

    return sorted(repr([(name, plain(name, row[name])) for name in sorted(row)]) for row in table.to_pylist())


def test_every_snapshot_that_changed_something_is_added_in_full(story: Settings) -> None:
    stored, observations = read(folder_of(story, ROWS)), read(folder_of(story, SNAPSHOTS)).to_pylist()
    moments = sorted({observation["snapshot_at"] for observation in observations})
    assert len(moments) == len(STORY) + 1
    changed = {(o["snapshot_at"], o["account"]) for o in observations if not o["is_unchanged"]}
    assert sorted((moments.index(moment), name) for moment, name in changed) == [
        (0, "acme"), (0, "beta"), (1, "acme"), (2, "acme"), (2, "beta"),
    ]  # fmt: skip
    assert sorted((row["snapshot_at"], row["account"], row["id"]) for row in stored.to_pylist()) == sorted(
        (moment, name, id_)
        for moment, responses in zip(moments, STORY, strict=False)
        for name, id_ in keys_sent(responses)
        if (moment, name) in changed
    )
    newest, current = (
        sorted(repr(sorted((k, v) for k, v in row.items() if k not in ("snapshot_at", "_dlt_load_id"))) for row in rows)
        for rows in (
            [row for row in stored.to_pylist() if row["snapshot_at"] == moments[len(STORY) - 1]],
            read(folder_of(story, "sip_trunks")).to_pylist(),
        )
    )
    assert newest == current


def test_older_versions_are_those_after_each_run(story: Settings) -> None:
    trunks = folder_of(story, "sip_trunks")
    versions = [read(trunks, number) for number in range(DeltaTable(trunks).version() + 1)]
    assert [keys(version) for version in versions] == [keys_sent(responses) for responses in STORY]
    observations = read(folder_of(story, SNAPSHOTS)).to_pylist()
    last_change = max(o["snapshot_at"] for o in observations if not o["is_unchanged"])
    assert keys(read(trunks, last_change)) == keys_sent(STORY[-2])


# ---------------------------------------------------------------------- runs that died


@pytest.fixture
def first_run(accounts: None, place: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Leave what the first run leaves."""

    def build(folder: Path) -> None:
        load_responses(api, BEFORE)
        shutil.move(place / "data", folder / "data")

    shutil.copytree(built_once(tmp_path_factory, "delta-first", build) / "data", place / "data", symlinks=True)


def stored_rows() -> dict[str, list[str]]:
    """Return the rows of all tables but those of full snapshots; moments of runs are their number, loads left out."""
    found: dict[str, list[str]] = {}
    with open_destination(read_settings()).reading() as connection:
        rows = connection.execute(f"SELECT DISTINCT snapshot_at FROM {SNAPSHOTS} ORDER BY 1").fetchall()
        numbers = {moment: f"run {number}" for number, (moment,) in enumerate(rows)}
        for table in schema.REQUIRED_TABLES:
            records = connection.execute(f"SELECT * EXCLUDE (_dlt_load_id) FROM {table.name}").fetchall()
            found[table.name] = sorted(
                repr([numbers.get(value, value) if isinstance(value, datetime) else value for value in record])
                for record in records
            )
    return found


def counts(outcome: RunResult) -> list[tuple[str, int | None, int | None, int | None]]:
    return [(a.account, a.new_count, a.changed_count, a.removed_count) for a in outcome.accounts]


def test_tables_ahead_of_their_last_snapshot_are_compared_as_of_that_snapshot(
    first_run: None, delta: Path, api: Api
) -> None:
    """A run that died before it stored its observations leaves this. No kill is sure to hit that moment."""
    undisturbed = load_responses(api, AFTER)
    expected = stored_rows()
    # One with the account that was loaded, one with the other.
    _, *commits = sorted((delta / SNAPSHOTS / "_delta_log").glob("*.json"))
    assert len(commits) == 2
    for commit in commits:
        commit.unlink()
    assert query(f"SELECT count(*) FROM {SNAPSHOTS}") == [(2,)]
    again = load_responses(api, AFTER)
    assert counts(again) == counts(undisturbed)
    # No version begins or ends at a moment without a snapshot.
    assert stored_rows() == expected
    assert query(f"SELECT count(*) FROM {SNAPSHOTS}") == [(4,)]


def test_a_run_works_after_one_that_stored_a_schema_without_its_rows(
    first_run: None, place: Path, delta: Path, api: Api
) -> None:
    """A run that died before it wrote a new column has stored dlt's schema that has it."""
    responses = ([*BEFORE[0], trunk(id=52, zz_tariff="new")], BEFORE[1])
    shutil.copytree(place / "data", place / "first")
    load_responses(api, responses)
    shutil.copytree(delta / "_dlt_version", place / "announced")
    shutil.rmtree(place / "data")
    (place / "first").rename(place / "data")
    schemas = len(list((delta / "_dlt_version").glob("famulor__*")))
    shutil.copytree(place / "announced", delta / "_dlt_version", dirs_exist_ok=True)
    assert len(list((delta / "_dlt_version").glob("famulor__*"))) > schemas
    ids = query("SELECT id FROM sip_trunks WHERE account = 'acme' ORDER BY id")
    assert ids == sorted((t["id"],) for t in BEFORE[0])
    assert load_responses(api, responses).accounts[0].status == "loaded"
    assert query("SELECT id, zz_tariff FROM sip_trunks WHERE zz_tariff IS NOT NULL") == [(52, "new")]


def test_a_file_that_was_begun_and_not_written_does_not_stop_the_next_run(
    first_run: None, delta: Path, api: Api
) -> None:
    newest = max(path.name for path in (delta / "_dlt_version").glob("famulor__*"))
    (delta / "_dlt_version" / newest.replace("famulor__1", "famulor__2")).touch(exist_ok=False)
    assert query("SELECT count(*) FROM sip_trunks WHERE id = 42") == [(2,)]
    assert load_responses(api, AFTER).accounts[0].status == "loaded"


def test_a_first_run_that_died_before_its_snapshot_was_stored_counts_for_nothing(
    first_run: None, delta: Path, api: Api
) -> None:
    shutil.rmtree(delta / SNAPSHOTS)
    assert "nothing is stored yet at " in call("report", code=2)
    outcome = load_responses(api, BEFORE)
    assert [(a.status, a.new_count) for a in outcome.accounts] == [("loaded", len(trunks)) for trunks in BEFORE]


def test_a_run_killed_anywhere_is_followed_by_one_that_stores_its_response(delta: Path, api: Api) -> None:
    """Only a process that is killed leaves what dlt, the lock and the run log make of it; also what libraries print."""

    def commits() -> list[int]:
        return [len(list((delta / table.name / "_delta_log").glob("*.json"))) for table in TABLES]

    codes: list[int] = []
    for step, table_count in enumerate((2, 0, 1, 3, 5)):
        api.answer(snapshot(step))
        before = commits()

        def is_far_enough(before: list[int] = before, most: int = table_count) -> bool:
            return sum(now > then for now, then in zip(commits(), before, strict=True)) >= most

        codes.append(kill_at("loading", 0, until=is_far_enough))
        assert codes[-1] in (KILLED, 0)
        if step == 2:
            # Once with a process, whose libraries write past Python's streams.
            done = start("run", "--no-reports", "--json")
            assert done.returncode == 0, done.stderr
            assert all(line.startswith("sip-trunks: ") for line in done.stderr.splitlines()), done.stderr
            assert not re.search(r"warn|delta|dlt|error", done.stderr, re.IGNORECASE), done.stderr
        else:
            assert load().exit_code == 0
        with open_destination(read_settings()).reading() as connection:
            assert_answers_are_whole(lambda sql: connection.execute(sql).fetchall(), snapshot(step))
    assert KILLED in codes


# ---------------------------------------------------------------------- what goes


def test_readers_beside_a_compaction_always_find_what_is_stored(first_run: None, delta: Path, api: Api) -> None:
    """Only a reader in another thread comes to the moment at which the files of its version are deleted."""
    load_responses(api, AFTER)
    found: list[Any] = []
    is_over = threading.Event()

    def read_on() -> None:
        while not is_over.is_set():
            try:
                found.append(query(f"SELECT count(*) FROM {HISTORY} WHERE account = 'acme' AND valid_to IS NULL"))
            except Exception as error:  # noqa: BLE001 - a thread's errors are shown at the end
                found.append(error)

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read_on)
        for command in ("prune --yes", "prune --older-than 1s --yes", "accounts forget beta --yes", "prune --yes"):
            call(*command.split())
        is_over.set()
        reader.result()
    assert len(found) > 3
    assert all(each == [(len(AFTER[0]),)] for each in found), found


def test_a_compaction_leaves_one_file_for_each_table_and_the_log_of_one_version(first_run: None, delta: Path) -> None:
    version = DeltaTable(delta / HISTORY).version()
    (delta / HISTORY / "part-of-a-killed-process.parquet").touch()
    for number in (1, 2):
        call("prune", "--yes")
        names = sorted(path.name for path in (delta / HISTORY).rglob("*") if path.is_file())
        prefix = f"{version + number:020}"
        assert names[:3] == [f"{prefix}.checkpoint.parquet", f"{prefix}.json", "_last_checkpoint"]
        assert len(names) == 4


# ---------------------------------------------------------------------- settings that cannot be used


@pytest.mark.parametrize("name", ["100%", "[x", "a\\b", "a|b", "a^b", "new\nline"])
def test_a_folder_that_the_library_cannot_use_is_refused_by_check_and_run_alike(
    place: Path, api: Api, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LAKE", str(place / name))
    assert "choose a folder without it" in call("run", code=2)
    assert "choose a folder without it" in capture("check", code=2).out.decode()
    assert not (place / name).exists()


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)
    for arguments in (["run"], ["status"], ["sql", "FROM sip_trunks"]):
        printed = capture(*arguments, code=2)
        assert printed.out == b""
        (line,) = printed.errors.splitlines()
        assert "needs deltalake" in line
        assert "pip install '.[delta]'" in line


def test_a_store_cannot_have_delta_tables(place: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LAKE", "s3://bucket/lake")
    for command in ("run", "status"):
        printed = capture(command, code=2)
        assert printed.out == b""
        (line,) = printed.errors.splitlines()
        assert line.startswith("sip-trunks: sip_trunks.lake is s3://bucket/lake")
    assert not api.requests
    assert not (place / "data" / "lake").exists()
