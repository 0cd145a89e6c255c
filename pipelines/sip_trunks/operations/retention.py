"""Retention: deleting rows from every table and file, and compacting what is left.

    accounts forget NAME    deletes everything of one account
    prune                   deletes what is older than a moment, and reclaims space

A destination rewrites its tables without the rows (`compacting`) and is then published as after a run: under the lock,
and as a whole if it can. The reports are made again from what is left.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from sip_trunks.core.logs import logger
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.dlt_pipeline import discard_dlt_folder
from sip_trunks.warehouse import report_tables, sql, state
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination
    from trunk_transforms.reports.inputs import ReportInputs

EVERY_TABLE = tuple(table.name for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS))
_OBSERVATIONS = schema.SIP_TRUNK_SNAPSHOTS.name


class Deletions(NamedTuple):
    """The rows to delete: an SQL condition by table, and by log among the reports."""

    tables: dict[str, str]
    logs: dict[str, str]


def deletions_of(account: str) -> Deletions:
    """Return the deletion of everything that is stored of an account."""
    condition = f"account = {sql.literal(account)}"
    # The log of the runs has no names of accounts.
    return Deletions(dict.fromkeys(EVERY_TABLE, condition), {report_tables.FINDINGS: condition})


def deletions_before(connection: duckdb.DuckDBPyConnection, limit: datetime) -> Deletions:
    """Return the deletion of everything that questions about moments from `limit` (UTC) on do not need.

    Of each account, the last observation at or before `limit` stays, with its response and the state at that time. So
    answers about later moments stay the same, and the history of the account begins with that observation.
    """
    observations = f"{sql.DATASET}.{_OBSERVATIONS}"
    rows = connection.execute(
        f"SELECT account, max(snapshot_at), arg_max(_dlt_load_id, snapshot_at) FROM {observations} "
        f"WHERE snapshot_at <= {_literal(limit)} GROUP BY account"
    ).fetchall()
    before: dict[datetime, list[str]] = {}
    outdated: dict[tuple[datetime, str], list[str]] = {}
    for account, last_at, load_id in rows:
        before.setdefault(last_at, []).append(account)
        # An unchanged response has the load of the response before it.
        outdated.setdefault((last_at, load_id), []).append(account)
    of_observations = [f"{_among(names)} AND snapshot_at < {_literal(moment)}" for moment, names in before.items()]
    of_responses = [
        f"{_among(names)} AND snapshot_at < {_literal(moment)} AND _dlt_load_id <> {sql.literal(load_id)}"
        for (moment, load_id), names in outdated.items()
    ]
    return Deletions(
        {
            schema.SIP_TRUNKS_HISTORY.name: f"valid_to <= {_literal(limit)}",
            _OBSERVATIONS: _any_of(of_observations),
            schema.SCHEMA_DRIFT.name: _any_of(of_responses),
            schema.SIP_TRUNK_SNAPSHOT_ROWS.name: _any_of(of_responses),
        },
        {
            report_tables.FINDINGS: f"is_current = false AND last_seen_at < {_literal(limit)}",
            report_tables.RUNS: f"started_at < {_literal(limit)}",
        },
    )


def _literal(moment: datetime) -> str:
    return sql.literal(moment.isoformat(sep=" "))


def _among(accounts: Sequence[str]) -> str:
    return f"account IN ({', '.join(map(sql.literal, accounts))})"


def _any_of(conditions: Sequence[str]) -> str:
    return " OR ".join(f"({condition})" for condition in conditions) or "account IS NULL"


def count_rows(connection: duckdb.DuckDBPyConnection, deletions: Deletions) -> dict[str, int]:
    """Return the number of rows to delete by table."""
    counts = {}
    for name, condition in deletions.tables.items():
        if sql.exists(connection, name):
            query = f"SELECT count(*) FROM {sql.DATASET}.{name} WHERE {condition}"
            ((counts[name],),) = connection.execute(query).fetchall()
    return counts | report_tables.count_logged(connection, deletions.logs)


def compact(settings: Settings, destination: Destination, deletions: Deletions) -> dict[str, int]:
    """Publish the tables and reports compactly and without these rows; return the number of deleted rows by table.

    The caller holds the lock. Raises DestinationError.
    """
    moment = datetime.now(UTC)
    destination.discard_work()
    try:
        with destination.compacting(deletions.tables, moment) as compacted:
            connection, counts = compacted.connection, compacted.deleted_counts
            span = state.read_observation_span(connection) if sql.exists(connection, _OBSERVATIONS) else None
            inputs = None
            if destination.publishes_reports:
                counts |= report_tables.drop_logged(connection, deletions.logs)
                inputs = _renew_reports(settings, connection, span and span[1])
        destination.publish(moment)
        logger.info("deleted from %s: %s", destination.location, _describe(counts))
        _renew_page(settings, span and span[1], inputs)
    finally:
        destination.discard_work()
        discard_dlt_folder(settings)
    return counts


def _describe(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} of {table}" for table, count in counts.items() if count) or "no rows"


def _renew_reports(
    settings: Settings, connection: duckdb.DuckDBPyConnection, seen_at: datetime | None
) -> ReportInputs | None:
    """Write the reports, if there are any, as of the last observation that is left; drop them if that fails."""
    from sip_trunks.reporting.publish import publish_tables

    if not report_tables.has_reports(connection):
        return None
    if seen_at is not None:
        try:
            return publish_tables(connection, settings, seen_at)
        except Exception as error:  # noqa: BLE001 - a failing report must not keep rows from being deleted
            logger.error("the reports could not be written (%s)", type(error).__name__)
    report_tables.drop_reports(connection)
    return None


def _renew_page(settings: Settings, seen_at: datetime | None, inputs: ReportInputs | None) -> None:
    """Write the page, if there is one, from what is left; delete it if that fails."""
    from sip_trunks.reporting.publish import publish_page

    if not settings.page_path.exists():
        return
    if seen_at is not None:
        try:
            publish_page(settings, open_destination(settings), seen_at, inputs)
        except Exception as error:  # noqa: BLE001
            logger.error("the report page could not be written (%s)", type(error).__name__)
        else:
            return
    settings.page_path.unlink(missing_ok=True)
