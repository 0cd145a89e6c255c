"""A Parquet lake in a DuckDB connection: views on the files of a version."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import duckdb

from sip_trunks.core.errors import DestinationError
from sip_trunks.destinations.lake_storage import open_lake_files
from sip_trunks.destinations.lake_versions import LakeVersions, name_of
from sip_trunks.warehouse import report_tables, sql

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.lake_storage import LakeFiles


@dataclass(frozen=True)
class LakePartReader:
    """Reads single accounts from one version of a lake. Holds no connection, so that it can be pickled."""

    settings: Settings
    version: str

    @contextmanager
    def reading(self, accounts: Collection[str], tables: Collection[str]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a read-only connection to these tables with the rows of these accounts."""
        versions = LakeVersions(open_lake_files(self.settings), self.version)
        condition = f"account IN ({', '.join(map(sql.literal, accounts))})" if accounts else "false"
        with connecting(versions.files) as connection:
            for table in tables:
                if files := versions.find_files(table):
                    sql.show_files(connection, table, files, condition)
            versions.files.confine(connection)
            yield connection


@contextmanager
def connecting(files: LakeFiles) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that can read the files of a lake. Errors of the files become DestinationError."""
    with failing_by_name(files), duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        files.make_known_to(connection)
        yield connection


@contextmanager
def failing_by_name(files: LakeFiles) -> Iterator[None]:
    """Turn DuckDB's errors about files into DestinationError, with the location of the lake."""
    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        reason = str(error).partition("\n")[0]
        raise DestinationError(f"the lake at {files.location} cannot be read: {reason}") from error


def show_reports(connection: duckdb.DuckDBPyConnection, versions: LakeVersions, kind: str) -> None:
    """Show the stored reports as tables or views of the connection (`kind`)."""
    for file in versions.find_reports(report_tables.REPORTS_SCHEMA):
        report_tables.show_report(connection, name_of(file), file, kind)


def show_derived(connection: duckdb.DuckDBPyConnection, settings: Settings, versions: LakeVersions) -> None:
    """Show everything that follows from the tables: views, macros, reports."""
    from sip_trunks.core.provider_catalog import read_provider_catalog
    from sip_trunks.warehouse.views import create_views

    create_views(connection, partial(read_provider_catalog, settings), kind="VIEW")
    show_reports(connection, versions, kind="VIEW")
    if report_tables.has_reports(connection):
        report_tables.create_findings(connection)
    if report_tables.has_runs(connection):
        report_tables.create_runs(connection)
