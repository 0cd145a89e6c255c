"""The DuckDB file: it keeps the promises of every destination, and mends what somebody else has done to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb
import pytest

from sip_trunks.core.errors import DestinationError
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.destination_contract import AtomicDestinationContract
from tests.support.embedded import DuckdbFile
from tests.support.runs import call, capture, load, query

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.fixtures import Begin


class TestDuckdbFile(DuckdbFile, AtomicDestinationContract):
    """See tests/system/test_destination_stories.py for the rest."""


def block_bytes(file: Path) -> int:
    with duckdb.connect(file, read_only=True) as connection:
        ((size,),) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()
    return int(size)


def test_the_file_of_a_small_account_has_small_blocks_and_a_file_keeps_its_blocks_until_it_is_compacted(
    api: Api, place: Path
) -> None:
    api.answer([TRUNK, IP_TRUNK])
    assert load(with_reports=True).exit_code == 0
    file = place / "data" / "warehouse.duckdb"
    assert block_bytes(file) == 16 * 1024
    assert file.stat().st_size < 2e6
    call("export", "--format", "duckdb", "--output", "copy")
    assert block_bytes(place / "copy" / "warehouse.duckdb") == 16 * 1024
    # Earlier releases, and DuckDB itself, write large blocks.
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{file}' AS small; ATTACH '{place / 'large'}' AS large")
        connection.execute("COPY FROM DATABASE small TO large")
    (place / "large").replace(file)
    api.answer([TRUNK])
    assert load().exit_code == 0
    assert block_bytes(file) == 256 * 1024
    call("prune", "--yes")
    assert block_bytes(file) == 16 * 1024
    assert query("SELECT count(*) FROM famulor.sip_trunks_history") == [(2,)]
    call("export", "--output", "moved")
    file.unlink()
    call("import", "moved")
    assert block_bytes(file) == 16 * 1024


def test_an_unchanged_response_adds_no_load_to_those_of_dlt(begin: Begin) -> None:
    begin(TRUNK)
    loads = query("FROM famulor._dlt_loads")
    load()
    assert query("FROM famulor._dlt_loads") == loads


def test_the_file_keeps_its_permissions(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    read_settings().warehouse_path.chmod(0o600)
    api.answer([IP_TRUNK, TRUNK])
    load()
    assert read_settings().warehouse_path.stat().st_mode & 0o777 == 0o600


def test_every_table_and_column_has_a_comment(api: Api, place: Path) -> None:
    api.answer([TRUNK | {"zz_label": "Front desk"}])
    load(with_reports=True)
    ours = "schema_name IN ('famulor', 'main', 'reports') AND table_name NOT LIKE '~_dlt%' ESCAPE '~' AND NOT internal"
    assert query(f"SELECT table_name FROM duckdb_tables() WHERE {ours} AND comment IS NULL") == []
    assert query(f"SELECT table_name, column_name FROM duckdb_columns() WHERE {ours} AND comment IS NULL") == []


def test_files_of_a_killed_run_are_deleted(api: Api, begin: Begin, place: Path) -> None:
    begin(TRUNK)
    state_dir = place / "data" / "state"
    (state_dir / "warehouse.duckdb").write_bytes(b"garbage")
    (state_dir / "warehouse.duckdb.wal").write_bytes(b"garbage")
    (state_dir / "dlt" / "sip_trunks").mkdir(parents=True)
    (state_dir / "dlt" / "sip_trunks" / "state.json").write_text("garbage")
    api.answer([TRUNK, IP_TRUNK])
    assert load().exit_code == 0
    assert query("SELECT count(*) FROM sip_trunks_history") == [(2,)]


def test_a_damaged_file_is_reported_and_unchanged(api: Api, place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(DestinationError, match="restore it from a backup"):
        load()
    assert (place / "data" / "warehouse.duckdb").read_bytes() == b"not a database" * 1000


@pytest.mark.parametrize(
    "damage",
    [
        """
        DELETE FROM famulor.sip_trunks WHERE id = 43;
        DELETE FROM famulor.sip_trunks_history WHERE id = 50;
        DELETE FROM famulor.sip_trunk_allowed_ips WHERE trunk_id = 51;
        CREATE SCHEMA famulor_work;
        CREATE TABLE famulor_work.stale (x INTEGER);
        """,
        "DROP TABLE famulor.sip_trunks",
    ],
    ids=["rows deleted", "table dropped"],
)
def test_a_file_changed_by_another_program_is_repaired_by_the_next_load(api: Api, begin: Begin, damage: str) -> None:
    trunks = [TRUNK, IP_TRUNK, IP_TRUNK | {"id": 50}, IP_TRUNK | {"id": 51}]
    begin(*trunks)
    with duckdb.connect(str(read_settings().warehouse_path)) as connection:
        connection.execute(damage)
    api.answer([trunk(phone_number="1001"), *trunks[1:]])
    assert load().exit_code == 0
    current = query("SELECT id, row_version FROM famulor.sip_trunks ORDER BY id")
    assert [id_ for id_, _ in current] == [42, 43, 50, 51]
    assert query("SELECT id, row_version FROM famulor.sip_trunks_history WHERE valid_to IS NULL ORDER BY id") == current
    entries = query("SELECT ip FROM famulor.sip_trunk_allowed_ips ORDER BY trunk_id, position")
    assert [ip for (ip,) in entries] == IP_TRUNK["allowed_inbound_ips"] * 3


@pytest.mark.parametrize("elsewhere", ["data/disk", "/dev/shm"], ids=["same file system", "another file system"])
def test_a_file_that_is_a_link_is_published_where_it_points_to(api: Api, place: Path, elsewhere: str) -> None:
    (place / "data" / "disk").mkdir(parents=True)
    with TemporaryDirectory(dir=elsewhere) as folder:
        target = Path(folder, "big.duckdb").resolve()
        (place / "data" / "disk" / "next.duckdb").symlink_to(target)
        read_settings().warehouse_path.symlink_to("disk/next.duckdb")  # dangling, relative, in a chain
        for trunks in ([TRUNK], [TRUNK, IP_TRUNK]):
            api.answer(trunks)
            assert load().exit_code == 0
            with duckdb.connect(str(target), read_only=True) as connection:
                assert connection.execute("SELECT count(*) FROM sip_trunks").fetchall() == [(len(trunks),)]
            assert read_settings().warehouse_path.is_symlink()
            assert [path.name for path in Path(folder).iterdir()] == ["big.duckdb"]
        assert open_destination(read_settings()).written_folders == (target.parent,)
        call("prune", "--yes")
        assert query("SELECT count(*) FROM sip_trunks") == [(2,)]
        assert not target.is_symlink()


WRITER = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE main.theirs AS SELECT 42 AS n")
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("command", ["run", "prune --yes"])
@pytest.mark.parametrize("name", ["warehouse.duckdb", "elsewhere.duckdb"])
def test_changes_of_another_program_that_are_only_in_its_log_are_kept_and_named(
    begin: Begin, place: Path, command: str, name: str
) -> None:
    """Only a process that is killed leaves such a log. The file may be a link, and the log is named after the link."""
    begin(TRUNK)
    published = read_settings().warehouse_path
    written = published.with_name(name)
    if written != published:
        published.rename(written)
        published.symlink_to(name)
    subprocess.run([sys.executable, "-c", WRITER, str(written)], check=False)
    printed = capture(*command.split())
    (warning,) = (line for line in printed.errors.splitlines() if "another program" in line)
    (kept,) = published.parent.glob("warehouse-*.duckdb")
    assert str(kept) in warning
    assert not list(place.rglob(f"{name}.wal"))
    assert query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'theirs'") == [(0,)]
    with duckdb.connect(str(kept)) as connection:
        assert connection.execute("FROM main.theirs").fetchall() == [(42,)]
    assert str(kept) in call("accounts", "forget", "default", "--yes")
    assert "another program" not in capture("run").errors
