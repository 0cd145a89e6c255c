"""Import: an empty destination begins with a copy and goes on as its source would, or is left as it was."""

from __future__ import annotations

import fcntl
import shutil
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.settings import read_settings
from sip_trunks.operations.transfer import export_tables, import_tables
from tests.support.damaged_copies import DAMAGES
from tests.support.runs import call, query
from tests.support.transfers import (
    EDITIONS,
    FILES,
    MOMENTS,
    NEXT,
    SNAPSHOT_ROWS,
    answers,
    at,
    bytes_of,
    call_refused,
    clone,
    contents,
    expected_tables,
    go_on,
    left_in,
    names_in,
    rows_of,
    tables_in,
    without_snapshot_rows,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sip_trunks.core.settings import Settings
    from tests.support.api import Api
    from tests.support.transfers import Past

pytestmark = pytest.mark.usefixtures("place")


# ---------------------------------------------------------------------- a destination that begins with a copy


# Each source, format and destination is here once. All of them, with pasts that runs made, are in tests/system.


def assert_goes_on(begun: Settings, api: Api, place: Path) -> None:
    """Assert that one more run stores in it what that run would have stored in its source."""
    went = go_on(begun, api, NEXT)
    assert [status for _, status, *_ in went.outcome] == ["loaded", "unchanged"]
    export_tables(begun, place / "after", "parquet")
    given = [*answers(), *((name, went.moment, list(NEXT[name])) for name in NEXT)]
    assert rows_of(tables_in(place / "after"), went.moment) == rows_of(
        expected_tables(begun.destination, given), went.moment
    )


def test_a_file_is_initialized_from_an_export_of_a_lake(past: Past, api: Api, place: Path) -> None:
    assert "warehouse.duckdb" in call("import", str(past.copy("parquet", "duckdb")))
    assert left_in(place / "data") == ["warehouse.duckdb"]
    assert contents(read_settings()) == without_snapshot_rows(contents(past.settings("parquet")))
    assert "interrupted" not in call("status")
    assert "total:" in call("report", "counts")
    assert query("SELECT count(*) > 0 FROM reports.counts") == [(True,)]
    assert_goes_on(read_settings(), api, place)


def test_a_lake_is_initialized_from_an_export_of_a_file_as_of_a_moment(past: Past, api: Api, place: Path) -> None:
    export_tables(past.settings("duckdb"), place / "then", "csv", MOMENTS[2])
    import_tables(at(place / "begun", "parquet"), place / "then")
    went = go_on(at(place / "begun", "parquet"), api, EDITIONS[3])
    export_tables(at(place / "begun", "parquet"), place / "after", "parquet")
    after = rows_of(tables_in(place / "after"), went.moment)
    # A file has no rows of snapshots, so these are of the lake's own run only.
    assert len(after.pop(SNAPSHOT_ROWS)[1]) == len(EDITIONS[3]["acme"])
    expected = expected_tables("duckdb", [*answers(3), ("acme", went.moment, list(EDITIONS[3]["acme"]))])
    assert after == rows_of(expected, went.moment)


# ---------------------------------------------------------------------- a copy that is not one


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_copy_is_refused_and_leaves_nothing(name: str, past: Past, place: Path) -> None:
    form, damage = DAMAGES[name]
    shutil.copytree(past.copy("duckdb", form), place / "copy")
    damage(place / "copy")
    assert "copy" in call_refused("import", "copy", code=2)
    assert left_in(place / "data") == []
    assert set(names_in(place)) <= {"copy", "data"}


# ---------------------------------------------------------------------- a destination that cannot take it


@pytest.mark.parametrize("kind", FILES)
def test_a_destination_that_is_not_empty_is_left_as_it_is(kind: str, past: Past, place: Path) -> None:
    data = clone(past.settings(kind), place / "data").data_dir
    before = bytes_of(data)
    said = call_refused("import", "--destination", kind, str(past.copy("duckdb", "parquet")), code=2)
    assert "is not empty" in said
    assert bytes_of(data) == before


@pytest.mark.parametrize("kind", FILES)
def test_an_import_during_a_run_is_refused(kind: str, past: Past, place: Path) -> None:
    (place / "data" / "state").mkdir(parents=True)
    (place / "data" / "state" / "warehouse.duckdb").write_text("what the run works on")
    with (place / "data" / "state" / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        said = call_refused("import", "--destination", kind, str(past.copy("duckdb", "parquet")), code=6)
        assert "another run is active" in said
    assert left_in(place / "data") == ["state/warehouse.duckdb"]


def test_a_data_directory_that_is_a_file_is_named(past: Past, place: Path) -> None:
    (place / "data").write_text("mine")
    assert str(place / "data") in call_refused("import", str(past.copy("duckdb", "parquet")), code=7)
    assert (place / "data").read_text() == "mine"


def test_a_postgresql_that_does_not_respond_is_named_without_the_password(
    past: Past, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://loader:s3cret@127.0.0.1:1/nowhere")
    said = call_refused("import", "--destination", "postgres", str(past.copy("duckdb", "parquet")), code=7)
    assert "postgres" in said
    assert "s3cret" not in said
    assert left_in(place / "data") == []
