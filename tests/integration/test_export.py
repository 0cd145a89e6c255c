"""Export: a consistent copy of all that is stored, now or at a moment, which other programs can read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from sip_trunks.commands import main
from sip_trunks.core.errors import UsageError
from sip_trunks.destinations import open_destination
from sip_trunks.operations.retention import compact
from sip_trunks.operations.transfer import export_tables
from sip_trunks.warehouse import rewriting
from tests.support.builders import IP_TRUNK
from tests.support.hard_account import LISTS, TEXTS
from tests.support.runs import call
from tests.support.transfers import (
    FILES,
    MOMENTS,
    SNAPSHOT_ROWS,
    answers,
    at,
    call_refused,
    clone,
    expected_tables,
    names_in,
    rows_of,
    store,
    tables_in,
)
from trunk_transforms import schema
from trunk_transforms.schema.reports import OF_HISTORY

if TYPE_CHECKING:
    from tests.support.transfers import Past

pytestmark = pytest.mark.usefixtures("place")

TICK = timedelta(microseconds=1)


# ---------------------------------------------------------------------- what is in a copy


@pytest.mark.parametrize("source", FILES)
def test_a_copy_has_all_tables_exactly_as_they_are_stored(source: str, past: Past) -> None:
    copied = tables_in(past.copy(source, "parquet"))
    assert rows_of(copied) == rows_of(expected_tables(source, answers()))
    assert min(len(table) for table in copied.values()) > 5


@pytest.mark.parametrize("source", FILES)
def test_a_copy_as_of_a_moment_has_what_was_stored_then(source: str, past: Past, place: Path) -> None:
    until = [*(moment - TICK for moment in MOMENTS[1:]), datetime(2999, 1, 1, tzinfo=UTC)]
    # The first and the last instant of editions in turn, and both of the one in which most fields appear.
    for number, moment in ((0, MOMENTS[0]), (1, until[1]), (2, MOMENTS[2]), (2, until[2]), (4, until[4])):
        counts = export_tables(past.settings(source), copy := place / f"{moment:%Y%m%d%H%M}", "parquet", moment)
        expected = expected_tables(source, answers(number + 1))
        assert rows_of(tables_in(copy)) == rows_of(expected), moment
        assert counts == {name: len(table) for name, table in expected.items()}
        listed = json.loads((copy / "manifest.json").read_text())["tables"]
        assert counts == {name: entry["row_count"] for name, entry in listed.items()}
    with pytest.raises(UsageError, match="nothing was stored at"):
        export_tables(past.settings(source), place / "before", "parquet", MOMENTS[0] - TICK)
    assert not list(place.glob("*before*"))
    assert not list(place.glob(".*before*"))


def test_fields_named_like_the_columns_of_an_allowlist_are_copied_as_of_a_moment(place: Path) -> None:
    named = IP_TRUNK | {"list": ["x"], "position": 9, "ip": "mine", "trunk_id": 7, "now": "y"}
    given = [("acme", MOMENTS[0], [named]), ("acme", MOMENTS[1], [named | {"country_code": "DE"}])]
    store(at(place / "source"), given)
    export_tables(at(place / "source"), place / "then", "parquet", MOMENTS[0])
    assert rows_of(tables_in(place / "then")) == rows_of(expected_tables("duckdb", given[:1]))


def test_a_destination_whose_accounts_were_all_deleted_has_an_empty_copy_at_any_moment(place: Path) -> None:
    store(source := at(place / "source"), [("acme", MOMENTS[0], [IP_TRUNK])])
    compact(source, open_destination(source), rewriting.Deletion(rewriting.rows_of("acme")))
    assert set(export_tables(source, place / "copy", "parquet", MOMENTS[0]).values()) == {0}


def test_a_copy_of_a_lake_has_nothing_of_a_run_that_has_not_published_yet(past: Past, place: Path) -> None:
    settings = clone(past.settings("parquet"), place / "source")
    (draft := settings.state_dir / "lake" / "famulor" / "sip_trunks").mkdir(parents=True)
    (published,) = (settings.data_dir / "lake" / "famulor" / "sip_trunks").glob("*.parquet")
    pq.write_table(pq.read_table(published).slice(0, 1), draft / "1.parquet")
    export_tables(settings, place / "copy", "parquet")
    assert rows_of(tables_in(place / "copy")) == rows_of(tables_in(past.copy("parquet", "parquet")))


def test_the_command_says_what_was_copied_and_where(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("parquet").data_dir))
    printed = call("export", "--destination", "parquet", "--output", "made/here")
    assert "sip_trunks_history" in printed
    assert "sip-trunks import made/here" in printed
    assert names_in(Path("made/here")) == sorted(
        ["manifest.json", f"{SNAPSHOT_ROWS}.parquet", *(f"{table.name}.parquet" for table in schema.REQUIRED_TABLES)]
    )
    assert names_in(Path("made")) == ["here"]


# ---------------------------------------------------------------------- other programs


def test_pandas_and_polars_read_lists_and_timestamps_from_parquet(past: Past) -> None:
    for name in ("sip_trunks", "sip_trunks_history", SNAPSHOT_ROWS):
        path = past.copy("parquet", "parquet") / f"{name}.parquet"
        # As files: pandas reads a key and a value from a folder that is named account=zeta.
        with path.open("rb") as file:
            frame = pd.read_parquet(file)
        other = pl.read_parquet(path.read_bytes())
        entries = [list(entry) for entry in frame["allowed_inbound_ips"].dropna()]
        assert all(entry in entries for entry in LISTS)
        assert entries == other["allowed_inbound_ips"].drop_nulls().to_list()
        moments = [column.name for column in schema.SIP_TRUNKS_HISTORY.columns if column.type == "timestamp"]
        for moment in {*moments, "snapshot_at"} & set(frame):
            assert str(frame[moment].dtype) == "datetime64[us, UTC]"
            assert other.schema[moment] == pl.Datetime("us", "UTC")
        assert other.schema["allowed_inbound_ips"] == pl.List(pl.String)
        assert other.schema["outbound_proxy"] == pl.Boolean
        assert other.schema["id"] == pl.Int64


def test_pandas_reads_csv_and_tells_blank_from_missing(past: Past) -> None:
    path = past.copy("duckdb", "csv") / "sip_trunks.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False).query("account == 'acme'").set_index("id")
    assert frame["sip_username"].loc["400" : f"{399 + len(TEXTS)}"].tolist() == list(TEXTS)
    assert json.loads(str(frame["allowed_inbound_ips"]["104"])) == LISTS[4]
    assert pd.read_csv(path, parse_dates=["updated_at"])["updated_at"].dt.tz is not None
    header, *lines = path.read_text("utf-8").splitlines()
    assert header.replace('"', "").startswith("account,id,phone_number,nickname,sip_username")
    assert any(',"",' in line for line in lines)
    assert any(",," in line for line in lines)


@pytest.mark.parametrize("source", FILES)
def test_a_duckdb_copy_explains_itself_and_can_be_read_only(source: str, past: Past) -> None:
    with duckdb.connect(past.copy(source, "duckdb") / "warehouse.duckdb", read_only=True) as copy:
        ours = "schema_name IN ('famulor', 'main', 'reports') AND NOT internal"
        for kind in ("table", "view", "column"):
            name = "column_name" if kind == "column" else f"{kind}_name"
            without = f"SELECT {name} FROM duckdb_{kind}s() WHERE {ours} AND comment IS NULL"
            assert copy.execute(without).fetchall() == []
        views = copy.execute(f"SELECT view_name FROM duckdb_views() WHERE {ours} ORDER BY 1").fetchall()
        questions = {"drift", "findings", "trunk_counts", *(view.name for view in OF_HISTORY)}
        tables = {table.name for table in (*schema.REQUIRED_TABLES, *schema.AUDIT_TABLES)} | (
            {SNAPSHOT_ROWS} if source == "parquet" else set()
        )
        assert {name for (name,) in views} == tables | questions
        (total,) = copy.execute("SELECT sum(trunk_count) FROM reports.counts").fetchall()
        assert total == copy.execute("SELECT count(*) FROM sip_trunks").fetchone()
        assert copy.execute("SELECT count(*) > 0 FROM drift WHERE is_current").fetchall() == [(True,)]
        with pytest.raises(duckdb.InvalidInputException):
            copy.execute("DELETE FROM famulor.sip_trunks")
    assert names_in(past.copy(source, "duckdb")) == ["manifest.json", "warehouse.duckdb"]


# ---------------------------------------------------------------------- a copy that cannot be made


def test_a_time_before_the_first_snapshot_is_a_usage_error(
    past: Past, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    assert "2001-02-03" in call_refused("export", "--output", "copy", "--as-of", "2001-02-03", code=2)
    assert list(place.iterdir()) == []
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", "nowhere")
    assert "nothing is stored" in call_refused("export", "--output", "copy", code=2)
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--output", "copy", "--as-of", "yesterday"])
    assert list(place.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_as_it_is(past: Past, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    Path("full").mkdir()
    Path("full/mine").write_text("mine")
    Path("file").write_text("mine")
    Path("hollow").mkdir()
    for taken in ("full", "file", ".", "/"):
        assert "not empty" in call_refused("export", "--output", taken, code=2)
    assert call_refused("export", "--output", "file/below", code=(2, 7))
    assert call_refused("export", "--output", "x" * 300, code=(2, 7))
    assert [Path("full/mine").read_text(), Path("file").read_text()] == ["mine", "mine"]
    assert names_in(place) == ["file", "full", "hollow"]
    call("export", "--output", "hollow/")
    assert Path("hollow/manifest.json").exists()
    call("export", "--output", "n" * 255, "--format", "csv")


def test_a_link_to_an_empty_folder_is_as_good_as_the_folder(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    Path("real").mkdir()
    Path("link").symlink_to("real")
    call("export", "--output", "link")
    assert Path("link/manifest.json").exists()
