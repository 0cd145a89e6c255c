"""The stored findings: the history of their lives, the rules of the last audit, and the view of the open ones.

Data directories of earlier releases have a log in place of the history, `reports.audit_findings`, and no list of rules.
They are read as what follows from the log, and replaced by the next audit.
"""

from collections.abc import Iterable
from datetime import datetime

import duckdb

from sip_trunks.warehouse.sql import DATASET, HISTORY, OBSERVATIONS, create_view, exists, literal, read_tables
from trunk_transforms import schema
from trunk_transforms.audit.suppressions import Suppression
from trunk_transforms.schema.findings import AUDITED_RULES, CURRENT_FINDINGS, FINDINGS, FINDINGS_HISTORY

OLD_LOG = "audit_findings"
"""The log of earlier releases, in the schema `reports`."""

LIVES = f"{DATASET}.{FINDINGS_HISTORY.name}"
AUDITED = f"{DATASET}.{AUDITED_RULES.name}"
_VIEW = CURRENT_FINDINGS

# A change ends a finding, so the end is the first snapshot after it that is not an unchanged response.
_OLD_LIVES = f"""
    WITH loads AS (SELECT account, _dlt_load_id, min(snapshot_at) AS loaded_at FROM {OBSERVATIONS} GROUP BY ALL),
    log AS (
        SELECT log.*, CASE WHEN is_current = false THEN coalesce(
            (SELECT min(loaded_at) FROM loads WHERE loads.account = log.account AND loaded_at > log.last_seen_at),
            last_seen_at) END AS closed_at
        FROM reports.{OLD_LOG} AS log
    )
    SELECT {{columns}}, first_seen_at AS opened_at, closed_at,
        CASE WHEN closed_at IS NULL THEN NULL WHEN EXISTS (
            SELECT 1 FROM {HISTORY} AS versions
            WHERE versions.account = log.account AND versions.id = log.trunk_id AND versions.valid_from <= closed_at
                AND (versions.valid_to > closed_at OR versions.valid_to IS NULL)
        ) THEN 'fixed' ELSE 'trunk removed' END AS closed_because,
        false AS is_new_rule
    FROM log
"""
# All accounts were audited together, so a rule that found something ran for each of them. Whether another rule ran is
# unknown; it counts as new, because an upgrade is no news. The null stands for an audit.
_OLD_RULES = f"""
    SELECT account, rule, min(snapshot_at) AS since, max(snapshot_at) AS audited_at,
        arg_max(_dlt_load_id, snapshot_at) AS _dlt_load_id
    FROM {OBSERVATIONS}, (SELECT DISTINCT rule FROM reports.{OLD_LOG} UNION ALL SELECT NULL)
    WHERE snapshot_at < (SELECT max(snapshot_at) FROM {OBSERVATIONS}) GROUP BY ALL
"""


def has_audit(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether an audit of this release is stored."""
    return exists(connection, AUDITED_RULES.name)


def lives_query(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Return the query of the lives of findings; None if no audit is stored."""
    if exists(connection, FINDINGS_HISTORY.name):
        return f"FROM {LIVES}"
    old = _read_old_columns(connection)
    is_complete = old and schema.TRUNKS.history.name in read_tables(connection)
    return _OLD_LIVES.format(columns=old) if is_complete else None


def rules_query(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Return the query of the rules of the last audit, with a null for unknown rules; None if no audit is stored."""
    if has_audit(connection):
        return f"FROM {AUDITED}"
    return _OLD_RULES if _read_old_columns(connection) else None


def _read_old_columns(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Return the columns of a finding in the log of earlier releases, null if it lacks them; None without a log."""
    stored = read_tables(connection, "reports").get(OLD_LOG)
    if stored is None:
        return None
    columns = FINDINGS.columns
    return ", ".join(c.name if c.name in stored else f"NULL::{schema.SQL_TYPES[c.type]} AS {c.name}" for c in columns)


def create_findings(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the view `findings`; drop it if a snapshot with changes has not been audited."""
    if is_audited(connection):
        create_view(connection, _VIEW, f"SELECT {', '.join(_VIEW.names)} FROM {LIVES} WHERE closed_at IS NULL")
    elif not has_audit(connection) and (old := _read_old_columns(connection)) and has_reports(connection):
        opened = "first_seen_at AS opened_at, false AS is_new_rule"
        create_view(connection, _VIEW, f"SELECT {old}, {opened} FROM reports.{OLD_LOG} WHERE is_current")
    elif _VIEW.name in read_tables(connection, "main"):
        connection.execute(f"DROP VIEW main.{_VIEW.name}")


def has_reports(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the last run published reports."""
    return "overview" in read_tables(connection, "reports")


def is_audited(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether every account was audited since its last snapshot with changes."""
    if not has_audit(connection) or not exists(connection, schema.SIP_TRUNK_SNAPSHOTS.name):
        return False
    ((count,),) = connection.execute(f"""
        WITH loaded AS (
            SELECT account, arg_max(_dlt_load_id, snapshot_at) AS load_id FROM {OBSERVATIONS} GROUP BY account
        )
        SELECT count(*) FROM loaded LEFT JOIN (SELECT DISTINCT account, _dlt_load_id FROM {AUDITED}) AS audited
        ON audited.account = loaded.account AND audited._dlt_load_id = loaded.load_id WHERE audited.account IS NULL
    """).fetchall()
    return bool(count == 0)


def read_audited_at(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Return the time of the last audit; None if no audit of this release is stored."""
    if not has_audit(connection):
        return None
    ((audited_at,),) = connection.execute(f"SELECT max(audited_at) FROM {AUDITED}").fetchall()
    return audited_at  # type: ignore[no-any-return]


def has_open(connection: duckdb.DuckDBPyConnection, suppression: Suppression) -> bool:
    """Whether a suppression covers an open finding of the last audit."""
    rule, named = suppression.rule, {name: getattr(suppression, name) for name in ("account", "trunk_id", "cause")}
    same = "".join(f" AND {name} = {literal(value)}" for name, value in named.items() if value is not None)
    rules = f"(rule = {literal(rule)} OR starts_with(rule, {literal(f'{rule}-')}))"
    ((count,),) = connection.execute(
        f"SELECT count(*) FROM {LIVES} WHERE closed_at IS NULL AND {rules}{same}"
    ).fetchall()
    return bool(count)


def count_severities(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int, datetime]] | None:
    """Return severity, number of open findings, their causes, and the time of the oldest, by severity.

    None if the last snapshot with changes was not audited.
    """
    if not is_audited(connection):
        return None
    return connection.execute(
        "SELECT severity, count(*), count(DISTINCT (rule, cause)), min(opened_at) "
        f"FROM {LIVES} WHERE closed_at IS NULL GROUP BY severity"
    ).fetchall()


def count_open_findings(
    connection: duckdb.DuckDBPyConnection, snapshot_at: datetime, accounts: Iterable[str]
) -> list[tuple[str, str, int, int, int, int, int, int, int]] | None:
    """Return the numbers of open findings of these accounts; None if the last snapshot with changes was not audited.

    Grain: one row per severity and rule. The numbers are those of `RuleFindings`; findings of this snapshot are new.
    """
    if not is_audited(connection):
        return None
    moment, names = literal(snapshot_at), ", ".join(map(literal, accounts))
    return connection.execute(f"""
        WITH causes AS (
            SELECT severity, rule, cause, count(*) AS finding_count,
                count(*) FILTER (opened_at = {moment} AND NOT is_new_rule) AS new_count,
                count(*) FILTER (opened_at = {moment} AND is_new_rule) AS new_rule_count,
                count(*) FILTER (opened_at <> {moment}) > 0 AS is_known
            FROM {LIVES} WHERE closed_at IS NULL AND account IN ({names}) GROUP BY ALL
        )
        SELECT severity, rule, sum(finding_count)::BIGINT, sum(new_count)::BIGINT, count(*),
            count(*) FILTER (new_count > 0 AND NOT is_known), count(*) FILTER (new_count > 0 AND is_known),
            coalesce(sum(new_count) FILTER (is_known), 0)::BIGINT, sum(new_rule_count)::BIGINT
        FROM causes GROUP BY severity, rule ORDER BY severity, rule
    """).fetchall()
