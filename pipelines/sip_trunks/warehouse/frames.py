"""Read stored tables as the data frames that reports are made from."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from sip_trunks.warehouse import sql
from sip_trunks.warehouse.changes import EVER, changed_trunks_query, credentials_query, difference_query, steps_query
from sip_trunks.warehouse.columns import list_selected, show_columns
from sip_trunks.warehouse.findings import lives_query, rules_query
from sip_trunks.warehouse.sql import ASSIGNMENTS_HISTORY, DATASET, DRIFT, HISTORY, OBSERVATIONS, TRUNKS, literal, quoted
from sip_trunks.warehouse.state import known_accounts, refuse_unknown_columns
from trunk_transforms import schema
from trunk_transforms.audit.past import PAST
from trunk_transforms.schema.arguments import require_columns, require_time_zone

_MOMENT = "datetime64[us, UTC]"


def read_trunks(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[str] | None = None, as_of: datetime | None = None
) -> pd.DataFrame:
    """Return these columns (default: all) of the current trunks, or of the trunks as known at `as_of`.

    Beside each column are its values of the wrong type, in `<name>__v_text`, if any are stored. Grain: one row per
    (account, id), in this order. A declared column that no load has stored yet is null.

    Raises UsageError if a column is neither declared nor stored.
    """
    later = {c.name: f"NULL::{schema.SQL_TYPES[c.type]}" for c in schema.API_COLUMNS}
    table = schema.SIP_TRUNKS if as_of is None else schema.SIP_TRUNKS_HISTORY
    shown = later | show_columns(schema.SIP_TRUNKS, sql.read_columns(connection, table.name))
    columns = list(shown) if columns is None else columns
    refuse_unknown_columns(columns, shown)
    variants = [name + schema.VARIANT_SUFFIX for name in columns if name + schema.VARIANT_SUFFIX in shown]
    names = list_selected({name: shown[name] for name in (*columns, *variants)})
    rows = f"{TRUNKS} AS stored"
    if as_of is not None:
        was_valid = f"valid_from <= {literal(as_of)} AND (valid_to > {literal(as_of)} OR valid_to IS NULL)"
        rows = f"{HISTORY} AS stored WHERE {was_valid} AND {known_accounts(as_of)}"
    return _frame(connection, f"SELECT {names} FROM {rows} ORDER BY account, id")


def read_lifetimes(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> pd.DataFrame:
    """Return the period of every version that began by `as_of`, cut off at the account's first kept observation.

    Grain: one row per version. Columns: `account`, `id`, `created_at`, `valid_from`, `valid_to`.
    """
    begins = "greatest(versions.valid_from, first.at)"
    first = f"SELECT account, min(snapshot_at) AS at FROM {OBSERVATIONS} GROUP BY account"
    return _frame(
        connection,
        f"SELECT account, id, created_at, {begins} AS valid_from, valid_to FROM {HISTORY} AS versions "
        f"JOIN ({first}) AS first USING (account) WHERE {begins} <= {literal(as_of)}",
    )


def read_changes(
    connection: duckdb.DuckDBPyConnection, since: datetime | None, as_of: datetime, *, is_log: bool
) -> pd.DataFrame:
    """Return the changes between `since` and `as_of` with the columns `CHANGES`, the latest first.

    Grain: one row per trunk that was added or removed, and one per changed field of a trunk; with `is_log`, per
    snapshot that showed it. Without `since`, it is every change for a log, else the difference between each account's
    last snapshot and the one before it.
    """
    stored, begin, end = _history(connection), _at(since) if since else None, _at(as_of)
    is_assigned = sql.exists(connection, schema.SIP_TRUNK_ASSIGNMENTS_HISTORY.name)
    if is_log:
        query = steps_query(stored, begin or EVER, end, is_assigned=is_assigned)
    else:
        query = difference_query(stored, begin, end, is_assigned=is_assigned)
    return _frame(connection, f"SELECT * FROM ({query}) ORDER BY observed_at DESC, account, trunk_id, field")


def read_recent_versions(connection: duckdb.DuckDBPyConnection, since: datetime, as_of: datetime) -> pd.DataFrame:
    """Return all versions after `since` of the trunks that a snapshot after `since` and up to `as_of` showed changed.

    Grain: one row per version, ordered by account, id and `valid_from`. Has the columns `PAST`; a value of the wrong
    type is null. An account's first snapshot is not a change.
    """
    stored, begin, end = _history(connection), _at(since), _at(as_of)
    names = [name for name in PAST if name in stored]
    first = f"SELECT account, min(snapshot_at) AS first_at FROM {OBSERVATIONS} GROUP BY account"
    changed = f"""
        SELECT DISTINCT account, id FROM (SELECT account, id, valid_from, valid_to FROM {HISTORY}) JOIN ({first})
        USING (account)
        WHERE (valid_to > {begin} AND valid_to <= {end})
            OR (valid_from > {begin} AND valid_from <= {end} AND valid_from > first_at)
    """
    return _frame(
        connection,
        f"SELECT {', '.join(map(quoted, names))} FROM {HISTORY} SEMI JOIN ({changed}) USING (account, id) "
        f"WHERE valid_from <= {end} AND (valid_to IS NULL OR valid_to > {begin}) ORDER BY account, id, valid_from",
    )


def read_credentials(connection: duckdb.DuckDBPyConnection, since: datetime, as_of: datetime) -> pd.DataFrame:
    """Return the last sign of a new credential between `since` and `as_of`, `changed_at` (UTC); null is no sign.

    Grain: one row per (account, trunk_id) at `as_of` of the accounts that were observed at `since` already.
    """
    return _frame(connection, credentials_query(_history(connection), _at(since), _at(as_of)))


def read_changed_trunks(
    connection: duckdb.DuckDBPyConnection, since: datetime | None, as_of: datetime, *, is_log: bool
) -> pd.DataFrame:
    """Return the trunks that changed, for the moments of `read_changes`, even if only by drift.

    Grain: one row per (account, trunk_id).
    """
    begin = _at(since) if since else None
    return _frame(connection, changed_trunks_query(_history(connection), begin, _at(as_of), is_log=is_log))


def read_assignments(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> pd.DataFrame:
    """Return the assignments of the trunks as known at `as_of`; no rows if they were never read.

    Grain: one row per (account, trunk_id), in this order. Columns: `has_inbound_assistant`, `assistants` (JSON),
    `since`, the first snapshot with them, and `unchanged_since`, the first one with them and this version of the trunk.
    """
    moment = literal(as_of)
    query = f"""
        SELECT assigned.account, assigned.trunk_id, assigned.has_inbound_assistant,
            assigned.assistants::VARCHAR AS assistants, assigned.valid_from AS since,
            greatest(assigned.valid_from, versions.valid_from) AS unchanged_since
        FROM {ASSIGNMENTS_HISTORY} AS assigned JOIN {HISTORY} AS versions
            ON versions.account = assigned.account AND versions.id = assigned.trunk_id
        WHERE assigned.valid_from <= {moment} AND (assigned.valid_to > {moment} OR assigned.valid_to IS NULL)
            AND versions.valid_from <= {moment} AND (versions.valid_to > {moment} OR versions.valid_to IS NULL)
        ORDER BY assigned.account, assigned.trunk_id
    """
    if not sql.exists(connection, schema.SIP_TRUNK_ASSIGNMENTS_HISTORY.name):
        query = """
            SELECT '' AS account, 0::BIGINT AS trunk_id, true AS has_inbound_assistant, '' AS assistants,
                now() AS since, now() AS unchanged_since WHERE false
        """
    return _frame(connection, query)


def derive_changes(before: pd.DataFrame, after: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    """Return the changes between two complete snapshots of the same accounts, with the columns `CHANGES`.

    Grain: one row per added or removed trunk, and one per changed field of a trunk. Needs `account` and `id`, one row
    per trunk; compares the declared fields that both frames have. `observed_at` is `as_of` (UTC).

    Raises ValueError if a column is missing or `as_of` has no time zone.
    """
    require_columns(before, ("account", "id"), "before")
    require_columns(after, ("account", "id"), "after")
    require_time_zone(as_of, "as_of")
    names = [n for n in ("account", *(column.name for column in schema.API_COLUMNS)) if n in before and n in after]
    begin = pd.Timestamp(as_of) - timedelta(seconds=1)
    spans = ((before, begin, as_of), (after, as_of, None))
    versions = pd.concat(
        rows[names].assign(
            row_version=str(since), valid_from=since, valid_to=pd.Series(until, rows.index, dtype=_MOMENT)
        )
        for rows, since, until in spans
    ).astype({"valid_from": _MOMENT})
    moments = pd.MultiIndex.from_product([sorted(set(versions["account"])), pd.DatetimeIndex([begin, as_of])])
    observations = moments.to_frame(index=False, name=["account", "snapshot_at"]).assign(trunk_count=0, _dlt_load_id="")
    drift = pd.DataFrame(columns=["account", "column_name", "kind", "row_count", "_dlt_load_id"], dtype="str").astype(
        {"row_count": "Int64"}
    )
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; CREATE SCHEMA {DATASET}")
        for name, rows in {HISTORY: versions, OBSERVATIONS: observations, DRIFT: drift}.items():
            sql.write_table(connection, name, pa.Table.from_pandas(rows, preserve_index=False))
        if _history(connection).get("allowed_inbound_ips") == "VARCHAR":
            connection.execute(f"ALTER TABLE {HISTORY} ALTER allowed_inbound_ips TYPE JSON")
        return read_changes(connection, None, as_of, is_log=True)


def read_history(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Return all versions with all columns. Grain: one row per version, ordered by account, id and `valid_from`."""
    shown = show_columns(schema.SIP_TRUNKS_HISTORY, _history(connection))
    return _frame(
        connection, f"SELECT {list_selected(shown)} FROM {HISTORY} AS stored ORDER BY account, id, valid_from"
    )


def read_observations(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> pd.DataFrame:
    """Return the observations up to `as_of`. Grain: one row per (account, snapshot_at)."""
    query = f"SELECT account, snapshot_at, trunk_count, _dlt_load_id FROM {OBSERVATIONS}"
    return _frame(connection, f"{query} WHERE snapshot_at <= {literal(as_of)}")


def read_findings(connection: duckdb.DuckDBPyConnection, as_of: datetime | None = None) -> pd.DataFrame | None:
    """Return the lives of findings, as of now or of `as_of`, with the columns `FINDINGS_HISTORY`.

    None if no audit is stored.
    """
    query = lives_query(connection)
    if query and as_of is not None:
        moment = literal(as_of)
        ends = ", ".join(
            f"CASE WHEN closed_at <= {moment} THEN {n} END AS {n}" for n in ("closed_at", "closed_because")
        )
        query = f"SELECT * REPLACE ({ends}) FROM ({query}) WHERE opened_at <= {moment}"
    return _frame(connection, query) if query else None


def read_audited_rules(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame | None:
    """Return the rules of the last audit with the columns `AUDITED_RULES`; None if no audit is stored.

    A null rule stands for an audit with unknown rules.
    """
    query = rules_query(connection)
    return _frame(connection, query) if query else None


def _history(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return the SQL types of the stored columns of the history, by column."""
    return sql.read_columns(connection, schema.SIP_TRUNKS_HISTORY.name)


def _at(moment: datetime) -> str:
    return f"TIMESTAMPTZ {literal(moment)}"


def _frame(connection: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    return as_frame(connection.execute(query).to_arrow_table())


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a data frame with nullable types, so that integers with nulls stay integers."""
    types = {
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype("pyarrow", na_value=np.nan),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    # pandas 3 cannot merge the text columns of an empty frame from Arrow; converted twice, they work.
    return frame if len(frame) else frame.astype(object).astype(frame.dtypes)
