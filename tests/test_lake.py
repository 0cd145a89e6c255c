"""The Parquet lake: any program reads it, no reader notices a run, and it answers as the DuckDB file does."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.errors import DestinationFailed, RunActive
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests import test_disk
from tests.builders import ABSENT, IP_TRUNK, TRUNK, trunk
from tests.consistency import assert_whole, closed_versions
from tests.test_crashes import STAGES, kill_at, snapshot
from transforms import schema
from transforms.reports import REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.outcome import AccountOutcome, Outcome
    from tests.conftest import Api, Begin

    Call = Callable[..., str]

disk = test_disk.disk
TABLES = (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS)
ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
VERSION = "%Y%m%dT%H%M%S%fZ"
KILLS_PER_STAGE = 3


@pytest.fixture(autouse=True)
def lake(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lake will be; it is what every command means."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    return place / "data" / "lake"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Run commands in this process: return what one printed or, if it is to fail, its one line."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str, code: int | tuple[int, ...] = 0) -> str:
        capsys.readouterr()
        returned = main(arguments)
        printed = capsys.readouterr()
        lines = [line for line in printed.err.splitlines() if not any(stage in line for stage in STAGES)]
        assert returned in (code if isinstance(code, tuple) else (code,)), printed.err
        assert len(lines) == (1 if returned else 0), printed.err
        return lines[0] if returned else printed.out

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def load(destination: str = "parquet", with_reports: bool = False, **options: Any) -> Outcome:
    """Run; the reports take their time, so that only a test about them has them written."""
    settings = read_settings(destination)
    return run(settings, pick_accounts(settings, []), with_reports=with_reports, **options)


def only(outcome: Outcome) -> AccountOutcome:
    (account,) = outcome.accounts
    return account


def query(sql: str) -> list[tuple[Any, ...]]:
    with open_destination(read_settings("parquet")).reading() as connection:
        return connection.execute(sql).fetchall()


def current(lake: Path) -> Path:
    return (lake / "famulor").resolve()


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def file_of_views(version: Path) -> Path:
    """Return a DuckDB file that shows the Parquet files of a version: what is whole can be told from it."""
    path = Path("views.duckdb")
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        for table in schema.TABLES:
            lists = [column.name for column in table.columns if column.type == "text_list"]
            casts = f"REPLACE ({', '.join(f'to_json({name}) AS {name}' for name in lists)})" if lists else ""
            files = f"read_parquet('{version / table.name}/*.parquet')"
            connection.execute(f"CREATE VIEW {table.name} AS SELECT * {casts} FROM {files}")
    return path


def rows_of(table: pa.Table, like: pa.Schema) -> list[str]:
    """Return rows as text, in an order of their own; programs differ in how large a text they expect."""
    return sorted(map(repr, table.select(like.names).cast(like).to_pylist()))


def in_duckdb(sql: str) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).to_arrow_table()


# ---------------------------------------------------------------------- readable by everything


def test_every_program_reads_the_same_rows_from_every_folder(api: Api, place: Path) -> None:
    for trunks in ([TRUNK, IP_TRUNK], [TRUNK | {"country_code": "DE"}, IP_TRUNK, trunk(id=5)]):
        api.answer(trunks)
        load()
    api.answer([TRUNK, IP_TRUNK])
    load(with_reports=True)
    load()
    assert [len(files_in(place / "data/lake/famulor" / table.name)) for table in TABLES] == [1, 1, 1, 1, 1, 3]
    for table in TABLES:
        folder = f"data/lake/famulor/{table.name}"
        like = pa.schema([pa.field(column.name, column.arrow_type) for column in table.columns])
        expected = rows_of(pq.read_table(files_in(place / folder)[0]), like) if table.name != ROWS else None
        seen = {
            "pandas": pa.Table.from_pandas(pd.read_parquet(folder)[like.names], like, preserve_index=False),
            "pyarrow": ds.dataset(folder, format="parquet").to_table(),
            "pyarrow.parquet": pq.read_table(folder),
            "duckdb": in_duckdb(f"FROM read_parquet('{folder}/**/*.parquet', union_by_name = true)"),
            "polars": pl.read_parquet(folder).to_arrow(),
            "polars, lazily": pl.scan_parquet(folder).collect().to_arrow(),
        }
        rows = {program: rows_of(found, like) for program, found in seen.items()}
        assert rows == dict.fromkeys(seen, expected or rows["pyarrow"]), table.name
        assert len(rows["duckdb"]) == {
            "sip_trunks": 2, "sip_trunks_history": 5, "sip_trunk_allowed_ips": 2, "sip_trunk_snapshots": 4,
            "schema_drift": 0, ROWS: 7,
        }[table.name]  # fmt: skip
    assert sorted(pd.read_parquet("data/lake/famulor/sip_trunks")["id"]) == [42, 43]
    assert len(pd.read_parquet("data/lake/famulor/reports/counts.parquet")) == 2


def test_columns_have_the_declared_types_in_compressed_files(begin: Begin, lake: Path) -> None:
    begin(TRUNK | {"nickname": "x", "limits": {"calls": 5}, "level": 1, "share": 1.5, "on": True}, IP_TRUNK)
    load()  # of this one, only the table of snapshots is new
    for table in TABLES:
        (file,) = files_in(lake / "famulor" / table.name)
        stored = pq.read_schema(file)
        assert {c.name: stored.field(c.name).type for c in table.columns} == {
            c.name: c.arrow_type for c in table.columns
        }
        metadata = pq.read_metadata(file)
        columns = [metadata.row_group(0).column(index) for index in range(metadata.num_columns)]
        assert {column.compression for column in columns} == {"ZSTD"}
        assert stored.pandas_metadata is None
    trunks = pq.read_schema(files_in(lake / "famulor" / "sip_trunks")[0])
    assert trunks.field("created_at").type == pa.timestamp("us", "UTC")
    assert trunks.field("allowed_inbound_ips").type == pa.list_(pa.string())
    new = {"nickname": pa.string(), "limits": pa.string(), "level": pa.int64(), "share": pa.float64(), "on": pa.bool_()}
    assert {name: trunks.field(name).type for name in new} == new


# ---------------------------------------------------------------------- no reader notices a run


def test_readers_that_are_half_way_through_a_large_table_get_the_rest_of_it(api: Api, lake: Path) -> None:
    count = 120_000
    api.answer([trunk(id=n) for n in range(count)])
    load()
    folder = current(lake) / "sip_trunks"
    (file,) = files_in(folder)
    groups = pq.read_metadata(file)
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [100_000, 20_000]

    found = ds.dataset(folder, format="parquet")
    scanner = ds.dataset(folder, format="parquet").scanner(columns=["id"], batch_size=1000).to_batches()
    lazy = pl.scan_parquet(folder)
    with duckdb.connect() as connection:
        stream = connection.execute(f"SELECT id FROM read_parquet('{folder}/*.parquet')").to_arrow_reader(1000)
        batches = {"scanner": [next(scanner)], "stream": [stream.read_next_batch()]}
        api.answer([TRUNK])
        assert load(accept_shrink=True).exit_code == 0
        assert query("SELECT id FROM sip_trunks") == [(42,)]
        batches["scanner"] += scanner
        batches["stream"] += stream
    ids = {name: pa.Table.from_batches(of)["id"].to_pylist() for name, of in batches.items()}
    ids["dataset"] = found.to_table(columns=["id"])["id"].to_pylist()
    ids["polars"] = lazy.select("id").collect()["id"].to_list()
    for name, of in ids.items():
        assert sorted(of) == list(range(count)), name


def test_commands_that_read_while_a_run_works_see_the_version_before(api: Api, begin: Begin, call: Call) -> None:
    begin(TRUNK, IP_TRUNK)
    sql = f"SELECT (SELECT count(*) FROM sip_trunks), (SELECT count(*) FROM {ROWS}), count(*) FROM sip_trunk_snapshots"
    seen = {}

    def look(stage: str) -> None:
        status = json.loads(call("status", "--json"))
        counts = json.loads(call("report", "counts", "--format", "json"))
        told = [status["accounts"][0]["trunk_count"], sum(row["trunk_count"] for row in counts)]
        seen[stage] = [query(sql), *told]

    api.answer([TRUNK, IP_TRUNK, trunk(id=5)])
    load(announce=look, with_reports=True)
    assert seen.pop("writing the report page") == [[(3, 5, 2)], 3, 3]  # the run has published by then
    assert seen == {stage: [[(2, 2, 1)], 2, 2] for stage in seen}
    assert list(seen)[-3:] == ["loading 3 trunks", "writing reports", "publishing"]
    load(announce=look, with_reports=True)
    assert seen["publishing"] == [[(3, 5, 2)], 3, 3]


def test_no_file_that_was_published_ever_changes(api: Api, begin: Begin, lake: Path) -> None:
    begin(TRUNK, IP_TRUNK)
    published: dict[str, tuple[bytes, int]] = {}
    for answer in ([TRUNK | {"country_code": "DE"}, IP_TRUNK], None, [TRUNK | {"nickname": "x"}, IP_TRUNK]):
        published = contents(lake)
        if answer is not None:
            api.answer(answer)
        assert load().exit_code == 0
        after = contents(lake)
        assert {name: after.get(name) for name in published} == published
        assert len(after) > len(published)


# ---------------------------------------------------------------------- a schema that grows


def test_all_snapshots_are_read_back_whatever_fields_they_had(api: Api, lake: Path) -> None:
    records = [
        trunk(),
        trunk(nickname="Front desk", limits={"calls": 5}),
        trunk(nickname=7, limits=[1, {"a": None}], outbound_proxy="yes"),
        trunk(country_code=ABSENT),
        trunk(level=3),
    ]
    moments = []
    for record in records:
        api.answer([record])
        moments.append(load().snapshot_at)
    expected = [
        (None, None, None, False, None, "US", None),
        ("Front desk", None, '{"calls":5}', False, None, "US", None),
        (None, "7", '[1,{"a":null}]', None, "yes", "US", None),
        (None, None, None, False, None, None, None),
        (None, None, None, False, None, "US", 3),
    ]
    columns = [
        "nickname", "nickname__v_text", "limits", "outbound_proxy", "outbound_proxy__v_text", "country_code", "level",
    ]  # fmt: skip
    files = files_in(lake / "famulor" / ROWS)
    assert len(files) == len(records)
    newest = pq.read_schema(files[-1])
    assert set(newest.names) == set().union(*(pq.read_schema(file).names for file in files))
    pattern = f"read_parquet('{lake}/famulor/{ROWS}/**/*.parquet', union_by_name = true)"
    seen = {
        "duckdb": in_duckdb(f"FROM {pattern}"),
        "pyarrow": ds.dataset(files, schema=newest).to_table(),
        "polars": pl.scan_parquet(files, schema=pl.read_parquet_schema(files[-1]), missing_columns="insert")
        .collect()
        .to_arrow(),
    }
    for program, table in seen.items():
        rows = table.select(["snapshot_at", *columns]).sort_by("snapshot_at").to_pylist()
        assert [tuple(row[name] for name in columns) for row in rows] == expected, program
        assert [row["snapshot_at"] for row in rows] == moments, program
    assert query(f"SELECT {', '.join(columns)} FROM {ROWS} ORDER BY snapshot_at") == expected
    versions = f"SELECT {', '.join(columns)} FROM sip_trunks_history ORDER BY valid_from"
    assert query(versions) == expected
    looks = query("SELECT drift_count FROM sip_trunk_snapshots ORDER BY snapshot_at")
    assert looks == [(0,), (2,), (4,), (1,), (1,)]


def test_sql_shows_lists_and_objects_as_json(api: Api, begin: Begin, call: Call) -> None:
    begin(IP_TRUNK | {"limits": {"calls": [1, None]}})
    api.answer([IP_TRUNK])
    load()
    select = "SELECT limits, limits.calls[0] AS first, allowed_inbound_ips, allowed_inbound_ips->>1 AS second"
    rows = json.loads(call("sql", f"{select} FROM sip_trunks_history ORDER BY valid_from", "--format", "json"))
    ips = ["203.0.113.10", "198.51.100.20"]
    assert rows == [
        {"limits": {"calls": [1, None]}, "first": 1, "allowed_inbound_ips": ips, "second": ips[1]},
        {"limits": None, "first": None, "allowed_inbound_ips": ips, "second": ips[1]},
    ]
    types = dict(row[:2] for row in query(f"DESCRIBE {ROWS}"))
    assert types["limits"] == types["allowed_inbound_ips"] == "JSON"


def test_fields_of_any_name_and_texts_of_any_kind_are_stored_as_they_are(api: Api, lake: Path) -> None:
    names = ["select", "", "日本", "x" * 300, "a b", 'quo"te', "_dlt_id", "_dlt_load_id", "account", "valid_to", "ID"]
    names += ["snapshot_at", "a__b", "a.b", "a/b", "%s", "{}", "-- ", "1", "x__v_text", "element"]
    texts = ["'; DROP TABLE sip_trunks; --", "=1+1", "Zo\u00eb \U0001f4de", "a\u0000b", "\u202egnp.exe", "x" * 100_000]
    sent = {name: f"{texts[index % len(texts)]} {index}" for index, name in enumerate(names)}
    api.answer([TRUNK, trunk(id=43, **sent)])
    assert load().exit_code == 0
    api.answer([TRUNK, trunk(id=43, **dict(reversed(sent.items())))])
    load()
    for table in ("sip_trunks", "sip_trunks_history", ROWS):
        assert set(sent.values()) <= set(query(f"SELECT * FROM {table} WHERE id = 43")[0])
        folder = str(lake / "famulor" / table)
        stored = pl.read_parquet(folder).filter(pl.col("id") == 43).rows()[0]
        assert set(sent.values()) <= {value for value in stored if isinstance(value, str)}
    assert query("SELECT count(*) FROM sip_trunks_history") == [(2,)]


def test_a_field_that_is_named_as_the_folders_are_is_read_back(begin: Begin, lake: Path) -> None:
    begin(trunk(snapshot_date="of the API"))
    folder = lake / "famulor" / ROWS
    for frame in (pd.read_parquet(folder), pl.read_parquet(folder).to_pandas()):
        assert "of the API" in frame.iloc[0].to_list()


# ---------------------------------------------------------------------- the same answers as the DuckDB file

MOMENTS = ("snapshot_at", "first_seen_at", "last_seen_at", "valid_from", "valid_to", "_dlt_load_id")


def test_every_command_answers_as_it_does_on_the_file(api: Api, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    drifting = [IP_TRUNK | {"nickname": "x", "limits": {"b": [1], "a": None}}, trunk(id=5, outbound_proxy="yes")]
    for acme, beta in (
        ([TRUNK, IP_TRUNK], [TRUNK]),
        ([TRUNK | {"country_code": "DE"}, IP_TRUNK, trunk(id=44, country_code=None)], drifting),
        (last := [IP_TRUNK | {"nickname": 7}, trunk(id=45, sip_calling_format="odd")], drifting),
    ):
        for destination in ("duckdb", "parquet"):
            api.queue(acme)
            api.queue(beta)
            assert load(destination, accept_shrink=True, with_reports=acme is last).exit_code == 0

    def both(*arguments: str) -> list[Any]:
        options = ("--format", "json") if arguments[0] != "status" else ("--json",)
        return [json.loads(call(*arguments, *options, "--destination", name)) for name in ("duckdb", "parquet")]

    file, lake = both("report", *REPORTS)
    for name in REPORTS:
        assert [_timeless(row, *WHEN) for row in lake[name]] == [_timeless(row, *WHEN) for row in file[name]], name
    file, lake = both("report", "counts", "--by", "account", "inbound_authorization_type")
    assert lake == file
    for arguments in (["drift"], ["drift", "--since", "2000-01-01"]):
        file, lake = ([_timeless(row) for row in rows] for rows in both(*arguments))
        assert lake == file
        assert len(file) > 3
    file, lake = both("describe")
    assert lake == file
    assert {"nickname", "limits", "outbound_proxy__v_text"} <= {c["name"] for c in lake["sip_trunks"]["columns"]}
    for table in schema.TABLES:
        file, lake = both("sql", f"FROM {table.name} ORDER BY {', '.join(table.primary_key)}")
        assert list(map(_timeless, lake)) == list(map(_timeless, file)), table.name
        assert [list(row) for row in lake] == [list(row) for row in file]
        file, lake = both("sql", f"SELECT column_name, column_type FROM (DESCRIBE {table.name})")
        assert lake == file
        comments = "SELECT comment FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = "
        file, lake = both("sql", f"{comments} '{table.name}' ORDER BY column_index")
        assert lake == file
    for sql in (
        "FROM drift ORDER BY ALL",
        "FROM sip_trunk_changes ORDER BY account, observed_at, trunk_id, field",
        "FROM trunk_counts ORDER BY ALL",
        "FROM reports.counts ORDER BY ALL",
    ):
        file, lake = both("sql", sql)
        assert [_timeless(row, *WHEN) for row in lake] == [_timeless(row, *WHEN) for row in file]
    file, lake = both("status")
    assert (lake["destination"], file["destination"]) == ("parquet", "duckdb")
    assert lake["warehouse_bytes"] > 0
    assert list(lake) == list(file)
    assert [_timeless(a, "age_seconds", "drift") for a in lake["accounts"]] == [
        _timeless(a, "age_seconds", "drift") for a in file["accounts"]
    ]
    assert [[_timeless(d) for d in a["drift"]] for a in lake["accounts"]] == [
        [_timeless(d) for d in a["drift"]] for a in file["accounts"]
    ]


WHEN = ("observed_at", "detail", "age_seconds", "longest_gap_seconds", "expected_interval_seconds")
"""What else depends on when the runs were."""


def _timeless(row: dict[str, Any], *others: str) -> dict[str, Any]:
    """Return a row with a mark for its moments and loads, which two runs cannot share; null stays null."""
    return {name: "…" if value and name in (*MOMENTS, *others) else value for name, value in row.items()}


# ---------------------------------------------------------------------- all or nothing


@pytest.mark.parametrize("stage", ["loading", "writing reports", "publishing"])
def test_a_run_killed_anywhere_leaves_one_whole_snapshot_and_the_next_run_works(
    api: Api, lake: Path, stage: str, call: Call
) -> None:
    rng = random.Random(stage)
    longest = {"loading": 0.6}.get(stage, 0.03)
    stored = snapshot(0)
    api.answer(stored)
    load()
    closed: set[tuple[Any, ...]] = set()
    killed = 0
    for step in range(1, KILLS_PER_STAGE + 1):
        shrinks = step == KILLS_PER_STAGE
        new = snapshot(step)[:3] if shrinks else snapshot(step)
        api.answer(new)
        code = kill_at(stage, rng.uniform(0, longest), *(["--accept-shrink"] if shrinks else []))
        assert code in (0, -9)
        killed += code == -9
        path = file_of_views(current(lake))
        stored = (stored, new)[assert_whole(path, stored, new)]
        assert closed <= closed_versions(path)
        closed = closed_versions(path)
        known = f"SELECT count(*) FROM {ROWS} WHERE snapshot_at NOT IN (SELECT snapshot_at FROM sip_trunk_snapshots)"
        assert query(known) == [(0,)]
    assert killed >= KILLS_PER_STAGE // 2
    if code:
        assert "did not end" in call("status")
    new = snapshot(99)
    api.answer(new)
    assert load(accept_shrink=True).exit_code == 0
    path = file_of_views(current(lake))
    assert assert_whole(path, new) == 0
    assert closed <= closed_versions(path)
    assert_nothing_left_over(lake)


def assert_nothing_left_over(lake: Path) -> None:
    version = current(lake).name
    assert max(path.name for path in (lake / "versions").iterdir()) == version
    moments = {f"{moment:{VERSION}}" for (moment,) in query("SELECT snapshot_at FROM sip_trunk_snapshots")}
    assert {path.stem for path in files_in(lake / ROWS)} <= moments
    assert sorted(path.name for path in lake.iterdir()) == ["famulor", ROWS, "versions"]
    left = {path.name for path in read_settings().state_dir.iterdir()}
    assert left <= {"last_run.json", "metrics.prom", "run.lock", "runs.jsonl", "sip-trunks.log", "sizes.json"}


def test_a_first_run_that_is_killed_leaves_no_lake_and_the_next_one_makes_it(api: Api, lake: Path, call: Call) -> None:
    api.answer(snapshot(0))
    assert kill_at("writing reports", 0) == -9
    assert not (lake / "famulor").is_symlink()
    status = json.loads(call("status", "--json"))
    assert (status["is_work_pending"], status["is_run_active"], status["warehouse_bytes"]) == (True, False, None)
    assert status["last_run"]["error"] == "did not end"
    assert "a run did not end" in call("status")
    # As if it had died between the last file and the switch.
    shutil.copytree(lake.parent / "state" / "lake" / "famulor", lake / "versions" / "20200101T000000000000Z")
    (lake / ".famulor-begun").touch()
    load()
    assert assert_whole(file_of_views(current(lake)), snapshot(0)) == 0
    assert_nothing_left_over(lake)


def test_of_two_runs_from_different_places_the_later_one_is_refused_and_loses_nothing(
    api: Api, begin: Begin, lake: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LAKE", str(lake))
    begin(TRUNK)
    api.answer([TRUNK | {"country_code": "DE"}])
    ours = read_settings("parquet")
    theirs = replace(ours, data_dir=place / "elsewhere")

    def let_them_go_first(text: str) -> None:
        if text == "publishing":
            api.answer([TRUNK | {"country_code": "FR"}])
            assert run(theirs, pick_accounts(theirs, []), with_reports=False).exit_code == 0

    with pytest.raises(RunActive, match="meanwhile"):
        run(ours, pick_accounts(ours, []), announce=let_them_go_first, with_reports=False)
    assert query("SELECT country_code FROM sip_trunks") == [("FR",)]
    assert query("SELECT count(*) FROM sip_trunk_snapshots") == query(f"SELECT count(*) FROM {ROWS}") == [(2,)]
    assert load().exit_code == 0


def test_a_lake_that_lost_its_link_after_one_run_is_left_alone(begin: Begin, lake: Path) -> None:
    begin(TRUNK)
    (lake / "famulor").unlink()
    before = sorted(lake.rglob("*"))
    with pytest.raises(DestinationFailed, match="has lost the link famulor"):
        load()
    assert sorted(lake.rglob("*")) == before


def test_an_import_that_died_while_it_published_is_none_and_the_next_one_works(
    api: Api, lake: Path, place: Path, call: Call
) -> None:
    for country in ("US", "DE"):
        api.answer([TRUNK | {"country_code": country}])
        load()
    call("export", "--output", "copy")
    # As if the import of this copy had died after its last file: rows of two snapshots, a version, and no link.
    (lake / "famulor").unlink()
    (lake / ".famulor-begun").touch()
    assert "nothing is stored yet" in call("sql", "FROM sip_trunks", code=2)
    call("import", "copy")
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
def test_what_a_dead_run_left_in_the_lake_is_never_read_and_thrown_away(
    api: Api, begin: Begin, lake: Path, call: Call, is_changed: bool
) -> None:
    begin(TRUNK, IP_TRUNK)
    later = f"{datetime.now(UTC) + timedelta(days=40):{VERSION}}"
    sooner = f"{datetime.now(UTC):{VERSION}}"
    (rows,) = files_in(lake / ROWS)
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
        api.answer([TRUNK | {"country_code": "DE"}, IP_TRUNK])
    assert load().exit_code == 0
    assert_nothing_left_over(lake)
    assert query(f"SELECT count(*) FROM {ROWS}") == [(4 if is_changed else 2,)]
    assert json.loads(call("status", "--json"))["is_work_pending"] is False


def test_accounts_are_replaced_one_by_one_and_fail_alone(api: Api, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    api.queue([TRUNK, IP_TRUNK])
    api.queue([IP_TRUNK])
    load()
    api.queue(b"", status=401)
    api.queue([IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.1"]}])
    outcome = load()
    assert outcome.exit_code == 8
    assert [account.status for account in outcome.accounts] == ["failed", "loaded"]
    assert query("SELECT account, id, len(allowed_inbound_ips::VARCHAR[]) FROM sip_trunks ORDER BY ALL") == [
        ("acme", 42, None),
        ("acme", 43, 2),
        ("beta", 43, 1),
    ]
    assert query("SELECT account, count(*) FROM sip_trunk_allowed_ips GROUP BY ALL ORDER BY ALL") == [
        ("acme", 2),
        ("beta", 1),
    ]
    assert query("SELECT account FROM sip_trunks_history WHERE valid_to IS NOT NULL") == [("beta",)]
    before = contents(lake)
    api.answer(b"", status=401)
    assert load().exit_code == 3
    assert contents(lake) == before


def test_a_large_loss_is_refused_until_it_is_accepted_and_then_empties_the_tables(
    api: Api, begin: Begin, lake: Path
) -> None:
    begin(TRUNK, IP_TRUNK)
    before = contents(lake)
    api.answer([])
    refused = load()
    assert refused.exit_code == 5
    assert "--accept-shrink" in (only(refused).error or "")
    assert contents(lake) == before
    accepted = load(accept_shrink=True)
    assert only(accepted).removed_count == 2
    assert query("SELECT count(*) FROM sip_trunks") == query("SELECT count(*) FROM sip_trunk_allowed_ips") == [(0,)]
    assert query("SELECT DISTINCT valid_to FROM sip_trunks_history") == [(accepted.snapshot_at,)]
    assert query("SELECT trunk_count FROM sip_trunk_snapshots ORDER BY snapshot_at") == [(2,), (0,)]
    for table in schema.TABLES:
        assert pd.read_parquet(lake / "famulor" / table.name).columns.to_list()[0] == "account"
    api.answer([IP_TRUNK])
    load()
    assert query("SELECT id, valid_to IS NULL FROM sip_trunks_history ORDER BY ALL") == [
        (42, False),
        (43, False),
        (43, True),
    ]


def test_an_unchanged_answer_is_noted_without_dlt(begin: Begin, lake: Path) -> None:
    begin(TRUNK, IP_TRUNK)
    before = current(lake)
    code = "import sys; from pipelines.cli import main\nassert main(['run']) == 0\nprint('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "the answer is, to the byte, the last one" in done.stdout
    assert "dlt" not in done.stdout.splitlines()[-1].split()
    looks = "SELECT trunk_count, is_unchanged, count(DISTINCT _dlt_load_id) OVER () FROM sip_trunk_snapshots"
    assert query(f"{looks} ORDER BY snapshot_at") == [(2, False, 1), (2, True, 1)]
    after = current(lake)
    assert after != before
    for table in schema.TABLES:
        (was,), (now,) = files_in(before / table.name), files_in(after / table.name)
        assert was.samefile(now) == (table.name != "sip_trunk_snapshots")
    assert len(files_in(lake / ROWS)) == 1


# ---------------------------------------------------------------------- what sql may do


def test_sql_neither_writes_nor_reads_anything_else(begin: Begin, lake: Path, place: Path, call: Call) -> None:
    begin(TRUNK)
    (file,) = files_in(current(lake) / "sip_trunks")
    (place / "own.csv").write_text("a\n1\n")
    (place / "data" / "own.csv").write_text("a\n1\n")
    before = contents(place)
    outside, escaping = place / "new.parquet", f"{lake}/famulor/../../own.csv"
    for sql in (
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
    ):
        assert call("sql", sql, code=2).startswith("sip-trunks: SQL: "), sql
    # These succeed, without an effect.
    call("sql", f"FROM enable_profiling(format = 'json', save_location = '{lake}/new.json')")
    call("sql", f"FROM enable_logging(level = 'trace', storage = 'file', storage_path = '{lake}/new'), sip_trunks")
    assert contents(place) == before
    assert "Total Time" in call("sql", "EXPLAIN ANALYZE SELECT * FROM sip_trunks", "--format", "json")
    assert contents(place) == before


# ---------------------------------------------------------------------- old versions, bad disks


def test_versions_that_were_followed_over_an_hour_ago_are_removed(api: Api, lake: Path) -> None:
    for country in ("US", "DE", "FR", "GB"):
        api.answer([TRUNK | {"country_code": country}])
        load()
    old, before, recent, last = sorted((lake / "versions").iterdir())
    ages = {old: timedelta(hours=3), before: timedelta(hours=2), recent: timedelta(minutes=50)}
    aged = [v.rename(v.with_name(f"{datetime.now(UTC) - age:{VERSION}}")) for v, age in ages.items()]
    load()
    # The one of two hours ago was still current an hour ago.
    assert sorted((lake / "versions").iterdir()) == [*aged[1:], last, current(lake)]
    assert pq.read_table(aged[1] / "sip_trunks")["country_code"].to_pylist() == ["DE"]
    assert query("SELECT country_code FROM sip_trunks") == [("GB",)]
    assert query("SELECT count(*) FROM sip_trunks_history") == query(f"SELECT count(*) FROM {ROWS}") == [(4,)]


@pytest.mark.parametrize(("small", "slack"), [("data", 5), ("lake", 1)])
def test_a_disk_that_fills_up_costs_nothing_stored(
    api: Api, disk: Path, place: Path, monkeypatch: pytest.MonkeyPatch, small: str, slack: int
) -> None:
    rng = random.Random(slack)
    large = [*test_disk.NEW, *(trunk(id=n, sip_username=rng.randbytes(500).hex()) for n in range(100, 2100))]
    lake = disk / "lake"
    if small == "lake":
        monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(place / "data"))
        monkeypatch.setenv("SIP_TRUNKS__LAKE", str(lake))
    api.answer(test_disk.STORED)
    load()
    before = contents(lake)
    api.answer(large)
    test_disk.remount(disk.parent, f"size={test_disk.used(disk) + slack * test_disk.MEGABYTE}")
    done = test_disk.run(7)
    assert "space" in done.stderr.splitlines()[-1]
    assert ("publishing" in done.stderr) == (small == "lake")
    after = contents(lake)
    assert {name: after.get(name) for name in before} == before
    assert assert_whole(file_of_views(current(lake)), test_disk.STORED) == 0
    assert query(f"SELECT count(*) FROM {ROWS}") == [(len(test_disk.STORED),)]
    test_disk.remount(disk.parent, "size=64m")
    load()
    assert assert_whole(file_of_views(current(lake)), large) == 0
    assert_nothing_left_over(lake)


def test_a_lake_in_a_folder_of_any_name_works(api: Api, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LAKE", "../o'dd [lake] * {a,b}?=1 %20#é")
    for trunks in ([TRUNK, IP_TRUNK], [IP_TRUNK], [IP_TRUNK]):
        api.answer(trunks)
        assert load().exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks_history") == [(2,)]
    assert query(f"SELECT count(*) FROM {ROWS}") == [(3,)]


@pytest.mark.parametrize("damage", ["no version", "no table", "no file", "no link", "half a file"])
def test_a_lake_that_lacks_something_is_named_and_left_alone(api: Api, lake: Path, damage: str) -> None:
    for country in ("US", "DE"):
        api.answer([TRUNK | {"country_code": country}])
        load()
    history = current(lake) / "sip_trunks_history"
    if damage == "no version":
        shutil.rmtree(current(lake))
    elif damage == "no table":
        shutil.rmtree(history)
    elif damage == "no file":
        files_in(history)[0].unlink()
    elif damage == "no link":
        (lake / "famulor").unlink()
    else:
        file = files_in(history)[0]
        file.write_bytes(file.read_bytes()[:200])
    before = contents(lake)
    api.answer([TRUNK | {"country_code": "FR"}])
    with pytest.raises(DestinationFailed, match=str(lake)):
        load()
    assert contents(lake) == before
