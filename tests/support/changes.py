"""Changes of hand-made versions, read as reports read them: from stored tables with these rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from sip_trunks.warehouse import frames, sql

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd


def derive_changes(
    versions: pd.DataFrame, observations: pd.DataFrame, drift: pd.DataFrame, *, since: datetime | None, as_of: datetime
) -> pd.DataFrame:
    """Return the difference between two moments."""
    return _read(versions, observations, drift, since, as_of, is_log=False)


def log_changes(
    versions: pd.DataFrame, observations: pd.DataFrame, drift: pd.DataFrame, *, since: datetime | None, as_of: datetime
) -> pd.DataFrame:
    """Return every step between two moments."""
    return _read(versions, observations, drift, since, as_of, is_log=True)


def _read(
    versions: pd.DataFrame,
    observations: pd.DataFrame,
    drift: pd.DataFrame,
    since: datetime | None,
    as_of: datetime,
    *,
    is_log: bool,
) -> pd.DataFrame:
    loads = observations[["account", "snapshot_at", "_dlt_load_id"]]
    tables = {
        sql.HISTORY: versions,
        sql.OBSERVATIONS: observations,
        sql.DRIFT: drift.merge(loads, on=["account", "snapshot_at"]).drop(columns="snapshot_at"),
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE SCHEMA {sql.DATASET}")
        for name, rows in tables.items():
            connection.register("given_rows", pa.Table.from_pandas(rows, preserve_index=False))
            lists = " REPLACE (allowed_inbound_ips::JSON AS allowed_inbound_ips)" if rows is versions else ""
            connection.execute(f"CREATE TABLE {name} AS SELECT *{lists} FROM given_rows")
        return frames.read_changes(connection, since, as_of, is_log=is_log)
