"""The Parquet lake: it keeps the promises of every destination, and any program reads it while runs go on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.errors import DestinationError, RunActiveError, UsageError
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.run.run import run
from sip_trunks.warehouse.read_only import refuse_all_but_queries
from tests.support.builders import ABSENT, IP_TRUNK, TRUNK, trunk
from tests.support.destination_contract import AtomicDestinationContract, ComparedDestinationContract
from tests.support.embedded import ParquetLake
from tests.support.lakes import (
    ROWS,
    VERSION,
    assert_nothing_left_over,
    contents,
    current,
    parquet_files,
)
from tests.support.past import store
from tests.support.runs import call, load, query
from tests.support.story import STORY
from trunk_transforms import schema

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.fixtures import Begin

TABLES = (*schema.REQUIRED_TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS)


class TestParquetLake(ParquetLake, AtomicDestinationContract, ComparedDestinationContract):
    """See tests/system/test_destination_stories.py for the rest."""


@pytest.fixture
def lake(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lake will be; it is what every command means."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    return place / "data" / "lake"


def rows_of(table: pa.Table, like: pa.Schema) -> list[str]:
    """Return rows as text, in an order of their own; programs differ in how large a text they expect."""
    return sorted(map(repr, table.select(like.names).cast(like).to_pylist()))


def in_duckdb(sql: str) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).to_arrow_table()


# ---------------------------------------------------------------------- readable by everything


def test_every_program_reads_the_same_rows_from_every_folder(api: Api, begin: Begin, lake: Path) -> None:
    begin(TRUNK, IP_TRUNK)
    api.answer([trunk(country_code="DE"), IP_TRUNK, trunk(id=5)])
    load()
    api.answer([TRUNK, IP_TRUNK])
    load()
    load()
    assert [len(parquet_files(lake / "famulor" / table.name)) for table in TABLES] == [1, 1, 1, 1, 1, 3]
    for table in TABLES:
        folder = f"data/lake/famulor/{table.name}"
        like = table.full_arrow_schema()
        seen = {
            "pandas": pa.Table.from_pandas(pd.read_parquet(folder)[like.names], like, preserve_index=False),
            "pyarrow": ds.dataset(folder, format="parquet").to_table(),
            "pyarrow.parquet": pq.read_table(folder),
            "duckdb": in_duckdb(f"FROM read_parquet('{folder}/**/*.parquet', union_by_name = true)"),
            "polars": pl.read_parquet(folder).to_arrow(),
            "polars, lazily": pl.scan_parquet(folder).collect().to_arrow(),
        }
        rows = {program: rows_of(found, like) for program, found in seen.items()}
        assert rows == dict.fromkeys(seen, rows["pyarrow"]), table.name
        assert len(rows["duckdb"]) == {
            "sip_trunks": 2, "sip_trunks_history": 5, "sip_trunk_allowed_ips": 2, "sip_trunk_snapshots": 4,
            "schema_drift": 0, ROWS: 7,
        }[table.name]  # fmt: skip
    assert sorted(pd.read_parquet("data/lake/famulor/sip_trunks")["id"]) == [42, 43]


def test_columns_have_the_declared_types_in_compressed_files_even_without_rows(
    api: Api, begin: Begin, lake: Path
) -> None:
    begin(
        TRUNK | {"zz_text": "x", "zz_object": {"calls": 5}, "zz_number": 1, "zz_share": 1.5, "zz_flag": True}, IP_TRUNK
    )
    new = {
        "zz_text": pa.string(), "zz_object": pa.string(), "zz_number": pa.int64(), "zz_share": pa.float64(),
        "zz_flag": pa.bool_(),
    }  # fmt: skip
    load()  # only the table of snapshots is written again
    for is_empty in (False, True):
        if is_empty:
            api.answer([])
            load(accept_shrink=True)
        for table in TABLES:
            file = parquet_files(lake / "famulor" / table.name)[-1]
            stored = pq.read_schema(file)
            declared = table.full_arrow_schema()
            assert [stored.field(name).type for name in declared.names] == declared.types
            metadata = pq.read_metadata(file)
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            compressions = {group.column(n).compression for group in groups for n in range(metadata.num_columns)}
            assert compressions <= {"ZSTD"}, table.name
            assert is_empty or compressions
            assert stored.pandas_metadata is None
            assert pd.read_parquet(lake / "famulor" / table.name).columns.to_list()[0] in ("account", "snapshot_at")
        trunks = pq.read_schema(parquet_files(lake / "famulor" / "sip_trunks")[0])
        assert trunks.field("created_at").type == pa.timestamp("us", "UTC")
        assert trunks.field("allowed_inbound_ips").type == pa.list_(pa.string())
        assert {name: trunks.field(name).type for name in new} == new


def test_all_snapshots_are_read_back_with_any_fields(api: Api, lake: Path) -> None:
    snapshots = [
        [trunk()],
        [trunk(zz_label="Front desk", zz_limits={"calls": 5})],
        [
            trunk(zz_label=7, zz_limits=[1, {"a": None}], outbound_proxy="yes"),
            trunk(id=43, country_code=ABSENT),
            trunk(id=44, zz_floor=3),
        ],
    ]
    moments = []
    for trunks in snapshots:
        api.answer(trunks)
        moments.append(load().snapshot_at)
    expected = [
        (moments[0], 42, None, None, None, False, None, "US", None),
        (moments[1], 42, "Front desk", None, '{"calls":5}', False, None, "US", None),
        (moments[2], 42, None, "7", '[1,{"a":null}]', None, "yes", "US", None),
        (moments[2], 43, None, None, None, False, None, None, None),
        (moments[2], 44, None, None, None, False, None, "US", 3),
    ]
    columns = [
        "snapshot_at", "id", "zz_label", "zz_label__v_text", "zz_limits", "outbound_proxy", "outbound_proxy__v_text",
        "country_code", "zz_floor",
    ]  # fmt: skip
    files = parquet_files(lake / "famulor" / ROWS)
    assert len(files) == len(snapshots)
    newest = pq.read_schema(files[-1])
    assert set(newest.names) == set().union(*(pq.read_schema(file).names for file in files))
    seen = {
        "duckdb": in_duckdb(f"FROM read_parquet('{lake}/famulor/{ROWS}/**/*.parquet', union_by_name = true)"),
        "pyarrow": ds.dataset(files, schema=newest).to_table(),
        "polars": pl.scan_parquet(files, schema=pl.read_parquet_schema(files[-1]), missing_columns="insert")
        .collect()
        .to_arrow(),
    }
    for program, table in seen.items():
        rows = table.select(columns).sort_by([("snapshot_at", "ascending"), ("id", "ascending")]).to_pylist()
        assert [tuple(row.values()) for row in rows] == expected, program
    assert query(f"SELECT {', '.join(columns)} FROM {ROWS} ORDER BY snapshot_at, id") == expected
    types: dict[str, str] = dict(row[:2] for row in query(f"DESCRIBE {ROWS}"))
    assert (types["zz_limits"], types["allowed_inbound_ips"]) == ("JSON", "VARCHAR[]")
    assert query("SELECT drift_count FROM sip_trunk_snapshots ORDER BY snapshot_at") == [(0,), (2,), (6,)]


def test_fields_of_any_name_are_stored_in_the_full_snapshots(begin: Begin, lake: Path) -> None:
    names = (
        "select",
        "",
        "日本",
        "x" * 300,
        'quo"te',
        "_dlt_id",
        "account",
        "ID",
        "snapshot_at",
        "a.b",
        "snapshot_date",
    )
    sent = {name: f"value {number}" for number, name in enumerate(names)}
    begin(trunk(**sent))
    assert set(sent.values()) <= set(query(f"FROM {ROWS}")[0])
    # `snapshot_date` is the name of the folders as well.
    folder = lake / "famulor" / ROWS
    for frame in (pd.read_parquet(folder), pl.read_parquet(folder).to_pandas()):
        assert set(sent.values()) <= set(map(str, frame.iloc[0].to_list()))


# ---------------------------------------------------------------------- no reader notices a run


def test_no_file_that_was_published_ever_changes(api: Api, begin: Begin, lake: Path) -> None:
    begin(TRUNK, IP_TRUNK)
    for answer in ([trunk(country_code="DE"), IP_TRUNK], None, [TRUNK | {"zz_label": "x"}, IP_TRUNK]):
        published, before = contents(lake), current(lake)
        if answer is not None:
            api.answer(answer)
        assert load().exit_code == 0
        after = contents(lake)
        assert {name: after.get(name) for name in published} == published
        assert len(after) > len(published)
        assert current(lake) != before
        if answer is None:
            # An unchanged response is recorded; everything else is the same file as before.
            for table in schema.REQUIRED_TABLES:
                (was,), (now,) = (parquet_files(version / table.name) for version in (before, current(lake)))
                assert was.samefile(now) == (table.name != "sip_trunk_snapshots")
            assert len(parquet_files(lake / ROWS)) == 2


# ---------------------------------------------------------------------- all or nothing


def test_the_later_of_two_runs_into_one_lake_is_refused(
    api: Api, begin: Begin, lake: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(TRUNK)
    monkeypatch.setenv("SIP_TRUNKS__LAKE", str(lake))
    api.answer([trunk(country_code="DE")])
    ours = read_settings()
    theirs = replace(ours, data_dir=place / "elsewhere")

    def let_them_go_first(text: str) -> None:
        if text == "publishing":
            api.answer([trunk(country_code="FR")])
            assert run(theirs, pick_accounts(theirs, []), with_reports=False).exit_code == 0

    with pytest.raises(RunActiveError, match="in the meantime"):
        run(ours, pick_accounts(ours, []), announce=let_them_go_first, with_reports=False)
    assert query("SELECT country_code FROM sip_trunks") == [("FR",)]
    assert query("SELECT count(*) FROM sip_trunk_snapshots") == query(f"SELECT count(*) FROM {ROWS}") == [(2,)]
    assert load().exit_code == 0


def test_an_import_killed_while_publishing_is_discarded_by_the_next_one(lake: Path) -> None:
    settings, moment = read_settings(), datetime(2026, 3, 1, tzinfo=UTC)
    past = [("default", moment, [TRUNK]), ("default", moment + timedelta(days=1), [trunk(country_code="DE")])]
    store(settings, past)
    # As if it had died after its last file: rows of two snapshots, a version, and no link.
    (lake / "famulor").unlink()
    (lake / ".famulor-begun").touch()
    assert "nothing is stored yet" in call("sql", "FROM sip_trunks", code=2)
    store(settings, past)
    assert query("SELECT country_code FROM sip_trunks") == [("DE",)]
    assert query(f"SELECT country_code FROM {ROWS} ORDER BY snapshot_at") == [("US",), ("DE",)]
    assert not (lake / ".famulor-begun").exists()
    assert_nothing_left_over(lake)


def test_files_that_are_not_the_lakes_stay(api: Api, begin: Begin, lake: Path) -> None:
    begin(TRUNK)
    (date,) = (lake / ROWS).iterdir()
    kept = [lake / "versions" / "keep-before-migration", lake / "versions" / "2020-backup", date / "zz-readme.txt"]
    for path in kept:
        path.touch()
    api.answer([IP_TRUNK, TRUNK])
    load()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize("is_changed", [True, False])
def test_files_of_an_interrupted_run_are_never_read_and_are_deleted(
    api: Api, begin: Begin, lake: Path, is_changed: bool
) -> None:
    begin(TRUNK, IP_TRUNK)
    later = f"{datetime.now(UTC) + timedelta(days=40):{VERSION}}"
    sooner = f"{datetime.now(UTC):{VERSION}}"
    (rows,) = parquet_files(lake / ROWS)
    (lake / ROWS / "snapshot_date=2999-01-01").mkdir()
    shutil.copy(rows, lake / ROWS / "snapshot_date=2999-01-01" / f"{later}.parquet")
    shutil.copy(rows, rows.with_name(f"{sooner}.parquet"))
    shutil.copytree(current(lake), lake / "versions" / later, symlinks=True)
    (lake / "versions" / sooner / "sip_trunks").mkdir(parents=True)
    (lake / ".famulor").symlink_to(f"versions/{later}")
    (lake.parent / "state" / "lake" / "famulor" / "sip_trunks").mkdir(parents=True)
    (lake.parent / "state" / "lake" / "famulor" / "sip_trunks" / "x.parquet").write_bytes(b"garbage")
    assert json.loads(call("status", "--json"))["is_work_pending"] is True
    assert query(f"SELECT count(*) FROM {ROWS}") == query("SELECT count(*) FROM sip_trunks") == [(2,)]
    if is_changed:
        api.answer([trunk(country_code="DE"), IP_TRUNK])
    assert load().exit_code == 0
    assert_nothing_left_over(lake)
    assert query(f"SELECT count(*) FROM {ROWS}") == [(4 if is_changed else 2,)]
    assert json.loads(call("status", "--json"))["is_work_pending"] is False


# ---------------------------------------------------------------------- what sql may do


def test_sql_neither_writes_nor_reads_anything_else(begin: Begin, lake: Path, place: Path) -> None:
    begin(TRUNK)
    (file,) = parquet_files(current(lake) / "sip_trunks")
    (place / "own.csv").write_text("a\n1\n")
    (place / "data" / "own.csv").write_text("a\n1\n")
    before = contents(place)
    outside, escaping = place / "new.parquet", f"{lake}/famulor/../../own.csv"
    statements = (
        f"COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"COPY (SELECT 1 AS id) TO '{file}' (USE_TMP_FILE false)",
        f"COPY (SELECT 1 AS id) TO '{lake}/famulor' (FORMAT parquet, PARTITION_BY id, OVERWRITE)",
        f"COPY (SELECT 1) TO '{outside}'",
        f"COPY sip_trunks FROM '{file}'",
        f"EXPORT DATABASE '{lake}/new'",
        f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"EXPLAIN ANALYZE COPY (SELECT 1 AS id) TO '{file}' (USE_TMP_FILE false)",
        f"explain  analyze\ncopy (SELECT 1) TO '{lake}/new.parquet'",
        f"EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"EXPLAIN (FORMAT json, ANALYZE) COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"/* EXPLAIN */ EXPLAIN -- x\n ANALYZE COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"EXPLAIN ANALYZE EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"PREPARE x AS COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"SELECT 1; COPY (SELECT 1) TO '{lake}/new.parquet'",
        f"ATTACH '{lake}/new.duckdb' AS x",
        f"ATTACH '{outside}' AS x",
        "ATTACH ':memory:' AS x",
        "CREATE TABLE x AS SELECT 1",
        "DELETE FROM sip_trunks",
        "DROP VIEW sip_trunks",
        "FROM read_csv('/etc/passwd')",
        "FROM read_text('/etc/passwd')",
        "FROM read_blob('/proc/self/environ')",
        "FROM glob('/etc/*')",
        "FROM '/etc/passwd'",
        f"FROM read_csv('{place}/own.csv')",
        f"FROM read_csv('{escaping}')",
        f"FROM read_text('{place}/data/state/last_run.json')",
        "FROM read_text('https://127.0.0.1:1/')",
        "FROM read_text('s3://bucket/key')",
        "EXPLAIN ANALYZE FROM read_csv('/etc/passwd')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_directories = ['/']",
        "RESET enable_external_access",
        "PRAGMA enable_external_access = true",
        "IMPORT DATABASE '/tmp'",
        "CALL pragma_version()",
        "",
    )
    # In one connection: to open the lake costs more than all the statements.
    with open_destination(read_settings()).reading() as connection:

        def query_as_the_command_does(sql: str) -> None:
            refuse_all_but_queries(connection, sql, {})
            connection.execute(sql).fetchall()

        for sql in statements:
            with pytest.raises((UsageError, duckdb.Error)):
                query_as_the_command_does(sql)
    for sql in (statements[1], statements[7], "FROM read_csv('/etc/passwd')", f"FROM read_csv('{escaping}')"):
        assert call("sql", sql, code=2).startswith("sip-trunks: SQL: "), sql
    profiling = f"enable_profiling(format = 'json', save_location = '{lake}/new.json')"
    for sql in (
        f"FROM {profiling}",
        f"PIVOT (FROM sip_trunks LEFT JOIN {profiling} AS p ON true) ON country_code USING count(*)",
        f"FROM enable_logging(level = 'trace', storage = 'file', storage_path = '{lake}/new'), sip_trunks",
    ):
        assert "may do more than read" in call("sql", sql, code=2)
    assert contents(place) == before
    assert "Total Time" in call("sql", "EXPLAIN ANALYZE SELECT * FROM sip_trunks", "--format", "json")
    assert contents(place) == before


# ---------------------------------------------------------------------- old versions, full snapshots, damage


def test_versions_that_were_followed_over_an_hour_ago_are_removed(api: Api, begin: Begin, lake: Path) -> None:
    begin(TRUNK)
    api.answer([trunk(country_code="DE")])
    for _ in range(3):
        load()  # the second and the third response are unchanged
    old, before, recent, last = sorted((lake / "versions").iterdir())
    ages = {old: timedelta(hours=3), before: timedelta(hours=2), recent: timedelta(minutes=50)}
    aged = [v.rename(v.with_name(f"{datetime.now(UTC) - age:{VERSION}}")) for v, age in ages.items()]
    load()
    # The version of two hours ago was still current an hour ago.
    assert sorted((lake / "versions").iterdir()) == [*aged[1:], last, current(lake)]
    assert pq.read_table(aged[1] / "sip_trunks")["country_code"].to_pylist() == ["DE"]
    assert query("SELECT count(*) FROM sip_trunk_snapshots") == [(5,)]
    assert query("SELECT count(*) FROM sip_trunks_history") == query(f"SELECT count(*) FROM {ROWS}") == [(2,)]


def test_full_snapshots_of_days_that_are_over_become_one_file_a_day(lake: Path) -> None:
    store(read_settings(), STORY)
    every = f"FROM {ROWS} ORDER BY ALL"

    def names() -> list[str]:
        return sorted(path.name for path in (lake / "famulor" / ROWS).rglob("*.parquet"))

    rows, files = query(every), names()
    assert "files      2 fewer after compaction" in call("prune")
    assert names() == files
    with open_destination(read_settings()).reading() as reader:
        call("prune", "--yes")
        assert reader.execute(every).fetchall() == rows
    assert query(every) == rows
    assert len(names()) == len(files) - 2
    assert set(names()) < set(files)
    assert "fewer" not in call("prune")


def test_a_lake_in_a_folder_of_any_name_works(api: Api, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LAKE", "../o'dd [lake] * {a,b}?=1 %20#é")
    for trunks in ([TRUNK, IP_TRUNK], [IP_TRUNK], [IP_TRUNK]):
        api.answer(trunks)
        assert load().exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks_history") == [(2,)]
    assert query(f"SELECT count(*) FROM {ROWS}") == [(3,)]


def test_a_damaged_lake_is_reported_and_unchanged(api: Api, begin: Begin, lake: Path) -> None:
    begin(TRUNK)
    api.answer([trunk(country_code="DE")])
    load()
    shutil.copytree(lake, lake.with_name("whole"), symlinks=True)
    api.answer([trunk(country_code="FR")])
    for damage in ("no version", "no table", "no file", "no link", "half a file"):
        shutil.rmtree(lake)
        shutil.copytree(lake.with_name("whole"), lake, symlinks=True)
        history = current(lake) / "sip_trunks_history"
        if damage == "no version":
            shutil.rmtree(current(lake))
        elif damage == "no table":
            shutil.rmtree(history)
        elif damage == "no file":
            parquet_files(history)[0].unlink()
        elif damage == "no link":
            (lake / "famulor").unlink()
        else:
            file = parquet_files(history)[0]
            file.write_bytes(file.read_bytes()[:200])
        before = contents(lake)
        with pytest.raises(DestinationError) as caught:
            load()
        assert str(lake) in str(caught.value), damage
        assert contents(lake) == before, damage
        assert damage != "no link" or "has lost the link famulor" in str(caught.value)
