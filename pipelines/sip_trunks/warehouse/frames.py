"""Stored tables → the frames that the reports follow from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from sip_trunks.warehouse.report_tables import FINDINGS, REPORTS_SCHEMA
from sip_trunks.warehouse.sql import DATASET, literal, quoted, read_columns
from sip_trunks.warehouse.state import known_accounts, refuse_unknown_columns
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pandas as pd
    import pyarrow as pa


def read_trunks(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[str], as_of: datetime | None = None
) -> pd.DataFrame:
    """Return these columns of the trunks, as they are or as they were known at a moment.

    Grain: one row per (account, id), in that order. Raises UsageError if a column is not stored.
    """
    refuse_unknown_columns(columns, read_columns(connection, schema.SIP_TRUNKS.name))
    names = ", ".join(quoted(name) for name in columns)
    if as_of is None:
        return _frame(connection, f"SELECT {names} FROM {DATASET}.{schema.SIP_TRUNKS.name} ORDER BY account, id")
    moment = literal(as_of)
    return _frame(
        connection,
        f"SELECT {names} FROM {DATASET}.{schema.SIP_TRUNKS_HISTORY.name} "
        f"WHERE valid_from <= {moment} AND (valid_to > {moment} OR valid_to IS NULL) "
        f"AND {known_accounts(as_of)} ORDER BY account, id",
    )


def read_lifetimes(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> pd.DataFrame:
    """Return when every version that began by `as_of` was there, from the account's first look that is kept on.

    Grain: one row per version.
    """
    begins = "greatest(versions.valid_from, first.at)"
    return _frame(
        connection,
        f"SELECT versions.account, id, created_at, {begins} AS valid_from, valid_to "
        f"FROM {DATASET}.{schema.SIP_TRUNKS_HISTORY.name} AS versions "
        f"JOIN (SELECT account, min(snapshot_at) AS at FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} "
        f"GROUP BY account) AS first ON first.account = versions.account WHERE {begins} <= {literal(as_of)}",
    )


def read_versions(connection: duckdb.DuckDBPyConnection, since: datetime | None, as_of: datetime) -> pd.DataFrame:
    """Return the versions that began or ended between two observations, with all columns.

    Grain: one row per version. The observations are each account's last ones at or before the moments; without `since`, the
    last two at or before `as_of`.
    """
    observations = f"FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} WHERE snapshot_at <= {literal(as_of)}"
    if since is None:
        begins = (
            f"SELECT account, snapshot_at AS begin_at {observations} "
            "QUALIFY row_number() OVER (PARTITION BY account ORDER BY snapshot_at DESC) = 2"
        )
    else:
        last = f"max(snapshot_at) FILTER (WHERE snapshot_at <= {literal(since)})"
        begins = f"SELECT account, coalesce({last}, min(snapshot_at)) AS begin_at {observations} GROUP BY account"
    return _frame(
        connection,
        f"SELECT versions.* FROM {DATASET}.{schema.SIP_TRUNKS_HISTORY.name} AS versions "
        f"JOIN ({begins}) AS begins ON begins.account = versions.account "
        f"WHERE versions.valid_from <= {literal(as_of)} "
        "AND (versions.valid_from > begins.begin_at OR versions.valid_to > begins.begin_at)",
    )


def read_history(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Return every version of every trunk, with all columns. Grain: one row per version, in the order of their time."""
    return _frame(connection, f"FROM {DATASET}.{schema.SIP_TRUNKS_HISTORY.name} ORDER BY account, id, valid_from")


def read_observations(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> pd.DataFrame:
    """Return the looks up to `as_of`. Grain: one row per account and snapshot."""
    return _frame(
        connection,
        f"SELECT account, snapshot_at, trunk_count, _dlt_load_id FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} "
        f"WHERE snapshot_at <= {literal(as_of)}",
    )


def read_delivered(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> pd.DataFrame:
    """Return which fields the snapshots had beyond those declared, and which they lacked.

    Grain: one row per account, snapshot, column and kind (`new_column`, `missing_column`). The snapshot is the first
    that is kept of those that had the answer.
    """
    return _frame(
        connection,
        "SELECT account, min(observations.snapshot_at) AS snapshot_at, column_name, kind, any_value(row_count) AS row_count "
        f"FROM {DATASET}.{schema.SCHEMA_DRIFT.name} AS drift "
        f"JOIN {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name} AS observations USING (account, _dlt_load_id) "
        f"WHERE kind IN ('new_column', 'missing_column') AND observations.snapshot_at <= {literal(as_of)} "
        "GROUP BY account, _dlt_load_id, column_name, kind, detail",
    )


def read_findings(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame | None:
    """Return the findings that the runs have published so far; None if they have published none."""
    try:
        return _frame(connection, f"FROM {REPORTS_SCHEMA}.{FINDINGS}")
    except duckdb.CatalogException:
        return None


def _frame(connection: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    return as_frame(connection.execute(query).to_arrow_table())


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Return the rows of an Arrow table with types in which a missing value turns no integer into a float."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    types = {
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype("pyarrow", na_value=np.nan),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    # What Arrow hands over without a single row has text columns that pandas 3 cannot merge; made anew, it can.
    return frame if len(frame) else frame.astype(object).astype(frame.dtypes)
