"""Copies of a PostgreSQL and into one."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import DestinationError, UsageError
from sip_trunks.core.settings import Settings, read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.operations.transfer import export_tables, import_tables
from tests.support.processes import wait_until
from tests.support.runs import PATIENCE_SECONDS, load
from tests.support.transfers import (
    COPY_FORMATS,
    EDITIONS,
    NEXT,
    ONE,
    OTHER,
    at,
    clone,
    contents,
    edition_of,
    go_on,
    left_in,
    without_snapshot_rows,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.postgres_server import PostgresServer
    from tests.support.transfers import Past

RUN = """
from sip_trunks.run.run import run
from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.settings import read_settings
settings = read_settings("postgres")
outcome = run(settings, pick_accounts(settings, []), accept_shrink=True, with_reports=False)
assert [account.status for account in outcome.accounts] == ["loaded"], outcome
"""


@pytest.fixture
def server(place: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of an empty database."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    return at(place / "server", "postgres")


@pytest.fixture
def database(postgres_url: str) -> str:
    return postgres_url.rpartition("/")[2]


def test_postgresql_is_initialized_from_an_export_and_exported_again(
    past: Past, api: Api, place: Path, server: Settings, postgres_server: PostgresServer, database: str
) -> None:
    """In every format, and into every kind of destination."""
    import_tables(server, past.copy("parquet", "parquet"))
    assert left_in(server.data_dir) == []
    assert contents(server, parsed=True) == without_snapshot_rows(contents(past.settings("parquet"), parsed=True))

    expected = go_on(clone(past.settings("parquet"), place / "source"), api, NEXT).outcome
    assert go_on(server, api, NEXT).outcome == expected
    stored = contents(server, parsed=True)
    for form in COPY_FORMATS:
        export_tables(server, place / f"as-{form}", form)
    for kind, form in (("duckdb", "parquet"), ("parquet", "csv")):
        import_tables(at(place / kind, kind), place / f"as-{form}")
        assert contents(at(place / kind, kind), parsed=True) == stored
    with pytest.raises(UsageError, match="is not empty"):
        import_tables(server, place / "as-duckdb")
    assert contents(server, parsed=True) == stored
    for name in ("famulor", "famulor_staging"):
        postgres_server.execute(f"DROP SCHEMA {name} CASCADE", database)
    import_tables(server, place / "as-duckdb")
    assert contents(server, parsed=True) == stored


def test_a_copy_is_of_one_moment_while_a_run_loads(api: Api, place: Path, server: Settings, postgres_url: str) -> None:
    """A run is made to wait after it has merged the trunks and before it says so, which readers must not see."""
    import psycopg2

    api.answer(ONE)
    load("postgres")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'famulor.sip_trunk_snapshots'::regclass"
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE famulor.sip_trunk_snapshots IN EXCLUSIVE MODE")

        def is_waiting() -> bool:
            cursor.execute(waiting)
            ((count,),) = cursor.fetchall()
            return bool(count)

        api.answer(OTHER)
        command = [sys.executable, "-c", RUN]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as run:
            try:
                wait_until(lambda: is_waiting() or run.poll() is not None, "the run waits for the lock")
                assert run.poll() is None
                export_tables(read_settings("postgres"), place / "copy", "parquet")
            finally:
                connection.rollback()
            _, errors = run.communicate(timeout=PATIENCE_SECONDS)
            assert run.returncode == 0, errors[-2000:]
    assert edition_of(place / "copy") == 0


def test_an_import_after_a_killed_one_has_only_the_export(
    past: Past, api: Api, server: Settings, postgres_server: PostgresServer, database: str
) -> None:
    go_on(server, api, EDITIONS[0])
    # What makes a load count is written last: it is what a run that died lacks, and here what an import cannot write.
    postgres_server.execute("DELETE FROM famulor.sip_trunk_snapshots", database)
    postgres_server.execute("ALTER TABLE famulor.sip_trunk_snapshots ADD CONSTRAINT never CHECK (false)", database)
    with pytest.raises(DestinationError):
        import_tables(server, past.copy("duckdb", "parquet"))
    assert left_in(server.data_dir) == ["state/last_run.json"]
    assert not open_destination(server).exists()
    postgres_server.execute("ALTER TABLE famulor.sip_trunk_snapshots DROP CONSTRAINT never", database)
    import_tables(server, past.copy("duckdb", "parquet"))
    assert contents(server, parsed=True) == contents(past.settings("duckdb"), parsed=True)
