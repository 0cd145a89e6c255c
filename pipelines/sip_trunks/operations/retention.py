"""What is kept, and for how long: rows that go, out of every table and every file that has them.

    accounts forget NAME    everything of one account
    prune                   what is older than a moment, and whatever takes room for nothing

A destination writes its tables anew without the rows (`Destination.rewriting`) and is published as by a run: under
the lock, all of it at once where it can. The reports follow from what is left.
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
    from trunk_transforms.reports.inputs import Basis

EVERY_TABLE = tuple(table.name for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS))
_LOOKS = schema.SIP_TRUNK_SNAPSHOTS.name


class Drops(NamedTuple):
    """The rows that go: a condition in plain SQL by table, and by log."""

    tables: dict[str, str]
    logs: dict[str, str]


def drops_of(account: str) -> Drops:
    """Return what is stored of an account: everything."""
    condition = f"account = {sql.literal(account)}"
    # The log of the runs names no account that was configured.
    return Drops(dict.fromkeys(EVERY_TABLE, condition), {report_tables.FINDINGS: condition})


def drops_before(connection: duckdb.DuckDBPyConnection, limit: datetime) -> Drops:
    """Return what nobody needs who asks of moments from `limit` (UTC) on.

    Of each account stay the last look at or before it, with the answer that it had, and what was known then: all
    that is later is told as before, and the account as if it had been looked at for the first time there.
    """
    looks = f"{sql.DATASET}.{_LOOKS}"
    rows = connection.execute(
        f"SELECT account, max(snapshot_at), arg_max(_dlt_load_id, snapshot_at) FROM {looks} "
        f"WHERE snapshot_at <= {_literal(limit)} GROUP BY account"
    ).fetchall()
    before: dict[datetime, list[str]] = {}
    outdated: dict[tuple[datetime, str], list[str]] = {}
    for account, last_at, load_id in rows:
        before.setdefault(last_at, []).append(account)
        # An answer that was, to the byte, the last one has the load of the one that was read.
        outdated.setdefault((last_at, load_id), []).append(account)
    of_looks = [f"{_among(names)} AND snapshot_at < {_literal(moment)}" for moment, names in before.items()]
    of_answers = [
        f"{_among(names)} AND snapshot_at < {_literal(moment)} AND _dlt_load_id <> {sql.literal(load_id)}"
        for (moment, load_id), names in outdated.items()
    ]
    return Drops(
        {
            schema.SIP_TRUNKS_HISTORY.name: f"valid_to <= {_literal(limit)}",
            _LOOKS: _any_of(of_looks),
            schema.SCHEMA_DRIFT.name: _any_of(of_answers),
            schema.SIP_TRUNK_SNAPSHOT_ROWS.name: _any_of(of_answers),
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


def count_rows(connection: duckdb.DuckDBPyConnection, drops: Drops) -> dict[str, int]:
    """Return how many rows of each table that is stored would go."""
    counts = {}
    for name, condition in drops.tables.items():
        if sql.exists(connection, name):
            query = f"SELECT count(*) FROM {sql.DATASET}.{name} WHERE {condition}"
            ((counts[name],),) = connection.execute(query).fetchall()
    return counts | report_tables.count_logged(connection, drops.logs)


def rewrite(settings: Settings, destination: Destination, drops: Drops) -> dict[str, int]:
    """Publish the tables, and the reports, without these rows; return how many went of each.

    Whoever calls holds the lock. Raises DestinationFailed.
    """
    moment = datetime.now(UTC)
    destination.discard_work()
    try:
        with destination.rewriting(drops.tables, moment) as rewritten:
            connection, counts = rewritten.connection, rewritten.dropped_counts
            span = state.read_looks_span(connection) if sql.exists(connection, _LOOKS) else None
            basis = None
            if destination.publishes_reports:
                counts |= report_tables.drop_logged(connection, drops.logs)
                basis = _renew_reports(settings, connection, span and span[1])
        destination.publish(moment)
        logger.info("dropped from %s: %s", destination.place, _describe(counts))
        _renew_page(settings, span and span[1], basis)
    finally:
        destination.discard_work()
        discard_dlt_folder(settings)
    return counts


def _describe(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} of {table}" for table, count in counts.items() if count) or "no row"


def _renew_reports(settings: Settings, connection: duckdb.DuckDBPyConnection, seen_at: datetime | None) -> Basis | None:
    """Write the reports that there are from what is left, as of the last look; none if that is not possible."""
    from sip_trunks.reporting.publish import publish_tables

    if not report_tables.has_reports(connection):
        return None
    if seen_at is not None:
        try:
            return publish_tables(connection, settings, seen_at)
        except Exception as error:  # noqa: BLE001 - what is wrong with a report must not keep rows that have to go
            logger.error("the reports could not be written (%s)", type(error).__name__)
    report_tables.drop_reports(connection)
    return None


def _renew_page(settings: Settings, seen_at: datetime | None, basis: Basis | None) -> None:
    """Write the page, if there is one, from what is left; remove it if that is not possible."""
    from sip_trunks.reporting.publish import publish_page

    if not settings.page_path.exists():
        return
    if seen_at is not None:
        try:
            publish_page(settings, open_destination(settings), seen_at, basis)
        except Exception as error:  # noqa: BLE001
            logger.error("the report page could not be written (%s)", type(error).__name__)
        else:
            return
    settings.page_path.unlink(missing_ok=True)
