"""Retention: delete rows from every table and file, and compact the rest.

    accounts forget NAME    delete all data of one account
    prune                   delete data that is older than a given time, and reclaim space

A destination rewrites its tables without the rows (`rewriting`). It is then published as after a run: under the lock,
and as a whole if it is atomic. The reports are written again from the remaining data.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import duckdb

from sip_trunks.core.logs import logger, say
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.base import Destination
from sip_trunks.run.pending import delete_unnamed_page, mark_page, unmark_page
from sip_trunks.warehouse import findings, report_tables, sql, state
from sip_trunks.warehouse.report_tables import LOGS, REPORTS_SCHEMA
from sip_trunks.warehouse.rewriting import Count, Deletion, Rewriting
from trunk_transforms import schema
from trunk_transforms.schema.findings import FINDINGS_HISTORY


def deletion_before(connection: duckdb.DuckDBPyConnection, limit: datetime) -> Deletion:
    """Return the deletion of all data that queries about `limit` (UTC) and later do not need.

    Each account keeps its last observation at or before `limit`, with the response and the state at that time. The
    results of queries about later times do not change, and the history of the account begins with that observation.
    """
    rows = connection.execute(
        "SELECT list(account), last_at, load_id FROM (SELECT account, max(snapshot_at) AS last_at, "
        f"arg_max(_dlt_load_id, snapshot_at) AS load_id FROM {sql.OBSERVATIONS} "
        f"WHERE snapshot_at <= {sql.literal(limit)} GROUP BY account) GROUP BY last_at, load_id"
    ).fetchall()
    observations_before, responses_before = [], []
    for names, moment, load_id in rows:
        among = f"account IN ({', '.join(map(sql.literal, names))}) AND snapshot_at < {sql.literal(moment)}"
        observations_before.append(among)
        # An unchanged response has the load of the response before it.
        responses_before.append(f"{among} AND _dlt_load_id <> {sql.literal(load_id)}")
    responses = _any_of(responses_before)
    return Deletion(
        {
            **{resource.history.name: f"valid_to <= {sql.literal(limit)}" for resource in schema.RESOURCES},
            schema.SIP_TRUNK_SNAPSHOTS.name: _any_of(observations_before),
            schema.SCHEMA_DRIFT.name: responses,
            schema.SIP_TRUNK_SNAPSHOT_ROWS.name: responses,
            FINDINGS_HISTORY.name: f"closed_at < {sql.literal(limit)}",
            findings.OLD_LOG: f"is_current = false AND last_seen_at < {sql.literal(limit)}",
            **dict.fromkeys((report_tables.RUNS, report_tables.FAILURES), f"started_at < {sql.literal(limit)}"),
        }
    )


def _any_of(conditions: Sequence[str]) -> str:
    return " OR ".join(f"({condition})" for condition in conditions) or "account IS NULL"


def count_rows(connection: duckdb.DuckDBPyConnection, deletion: Deletion) -> dict[str, int]:
    """Return the number of rows to delete by table."""
    count = Count(deletion.conditions)
    return count.apply(connection, sql.DATASET, count.conditions) | count.apply(connection, REPORTS_SCHEMA, LOGS)


def compact(settings: Settings, destination: Destination, deletion: Deletion) -> dict[str, int]:
    """Delete these rows, compact and publish the rest; return the number of deleted rows by table.

    The caller holds the lock. Raises DestinationError.
    """
    counts = rewrite(settings, destination, deletion)
    deleted = ", ".join(f"{count} of {table}" for table, count in counts.items() if count)
    logger.info("deleted from %s: %s", destination.location, deleted or "no rows")
    return counts


def rewrite(settings: Settings, destination: Destination, rewriting: Rewriting) -> dict[str, int]:
    """Rewrite the tables and the logs, publish them with new reports; return the number of changed rows by table.

    The caller holds the lock. Raises DestinationError.
    """
    from sip_trunks.reporting.publish import publish_page, publish_reports
    from sip_trunks.run.run import clean_work

    moment = datetime.now(UTC)
    inputs, span, is_page_current = None, None, False
    with clean_work(settings, destination):
        with destination.rewriting(rewriting, moment) as (connection, counts):
            if sql.exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
                span = state.read_observation_span(connection)
            publishes_reports = destination.publishes_reports
            if publishes_reports:
                counts.update(rewriting.apply(connection, REPORTS_SCHEMA, LOGS))
            if span and (findings.has_reports if publishes_reports else findings.has_audit)(connection):
                with _logging_errors("the reports"):
                    inputs = publish_reports(connection, settings, span[1], destination)
            if publishes_reports and inputs is None:
                report_tables.drop_reports(connection)
        mark_page(settings)
        if warning := destination.publish(moment):
            say(logging.WARNING, warning)
        if span and settings.page_path.exists():
            with _logging_errors("the report page"):
                publish_page(settings, open_destination(settings), span[1], inputs)
                is_page_current = True
        if not is_page_current:
            settings.page_path.unlink(missing_ok=True)
        delete_unnamed_page(settings)
        unmark_page(settings)
    return counts


@contextmanager
def _logging_errors(subject: str) -> Iterator[None]:
    """Log an error instead of raising it, because the rows have to be deleted even if a report fails."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        logger.error("%s could not be written (%s)", subject, type(error).__name__)
