"""The findings that an earlier release stored, and whether the stored ones are current."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest

from sip_trunks.warehouse.findings import create_findings, lives_query, rules_query
from trunk_transforms.schema.findings import CURRENT_FINDINGS, FINDINGS_HISTORY


def at(day: int) -> datetime:
    return datetime(2026, 5, day, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """What a release without causes and nicknames stored: the last response is unchanged, trunk 3 is gone."""
    with duckdb.connect() as connection:
        connection.execute("""
            SET TimeZone = 'UTC'; CREATE SCHEMA reports; CREATE SCHEMA famulor;
            CREATE TABLE famulor.sip_trunk_snapshots AS SELECT * FROM (VALUES
                ('acme', TIMESTAMPTZ '2026-05-01', '1'), ('acme', '2026-05-02', '1'), ('acme', '2026-05-03', '2'),
                ('acme', '2026-05-04', '3'), ('acme', '2026-05-05', '3')) AS rows(account, snapshot_at, _dlt_load_id);
            CREATE TABLE famulor.sip_trunks_history AS SELECT * FROM (VALUES
                ('acme', 1, TIMESTAMPTZ '2026-05-01', NULL::TIMESTAMPTZ), ('acme', 3, '2026-05-01', '2026-05-04')
            ) AS rows(account, id, valid_from, valid_to);
            CREATE TABLE reports.overview (item VARCHAR);
            CREATE TABLE reports.audit_findings AS SELECT 'acme' AS account, trunk_id::BIGINT AS trunk_id, rule,
                '+4930' AS phone_number, 'high' AS severity, 'seen' AS seen, 'fix' AS fix,
                first_seen_at::TIMESTAMPTZ AS first_seen_at, last_seen_at::TIMESTAMPTZ AS last_seen_at, is_current
            FROM (VALUES (1, 'a', '2026-05-01', '2026-05-04', true), (1, 'b', '2026-05-01', '2026-05-01', false),
                (1, 'c', '2026-05-03', '2026-05-03', NULL), (3, 'a', '2026-05-01', '2026-05-03', false)
            ) AS rows(trunk_id, rule, first_seen_at, last_seen_at, is_current)
        """)
        yield connection


def test_a_log_of_an_earlier_release_is_read_as_lives(connection: duckdb.DuckDBPyConnection) -> None:
    query = lives_query(connection)
    assert query is not None
    assert [name for name, *_ in connection.execute(f"DESCRIBE {query}").fetchall()] == FINDINGS_HISTORY.names
    lives = connection.execute(
        f"SELECT trunk_id, rule, cause, opened_at, closed_at, closed_because, is_new_rule FROM ({query}) ORDER BY 1, 2"
    ).fetchall()
    assert lives == [
        (1, "a", None, at(1), None, None, False),
        # The response of the second day is unchanged, so that of the third ended it.
        (1, "b", None, at(1), at(3), "fixed", False),
        # Suppressed, or not checked: the next audit decides.
        (1, "c", None, at(3), None, None, False),
        (3, "a", None, at(1), at(4), "trunk removed", False),
    ]


def test_rules_that_found_something_before_are_known_and_the_others_are_not(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    query = rules_query(connection)
    assert query is not None
    known = connection.execute(f"SELECT account, rule, since FROM ({query}) ORDER BY rule NULLS LAST").fetchall()
    assert known == [("acme", rule, at(1)) for rule in ("a", "b", "c", None)]


def test_the_view_of_findings_reads_an_old_log_until_the_next_audit(connection: duckdb.DuckDBPyConnection) -> None:
    create_findings(connection)
    assert connection.execute("SELECT trunk_id, rule, nickname FROM findings").fetchall() == [(1, "a", None)]
    assert [name for name, *_ in connection.execute("DESCRIBE findings").fetchall()] == CURRENT_FINDINGS.names
    connection.execute("DROP TABLE reports.overview")  # the last run wrote no reports
    create_findings(connection)
    with pytest.raises(duckdb.CatalogException, match="findings"):
        connection.execute("FROM findings")
