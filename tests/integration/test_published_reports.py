"""What a run publishes beside the data: the tables of the schema `reports`, and the page."""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb
import pytest

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.inputs import read_inputs, read_options, stored_tables
from tests.support.builders import TRUNK, trunk
from tests.support.frames import rows
from tests.support.published import OPEN
from tests.support.runs import call, load, query
from trunk_transforms import schema
from trunk_transforms.reports.registry import derive_report
from trunk_transforms.schema.findings import CURRENT_FINDINGS
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.published import Published


# ---------------------------------------------------------------------- run by run


def test_every_report_is_a_table_with_documented_columns(published: Published) -> None:
    with published.reading(0) as connection:
        for report in REPORTS.values():
            if report.name == "audit":  # its table is the view `findings`
                continue
            described = f"SELECT column_name, column_type FROM (DESCRIBE reports.{report.table.name})"
            declared = [(column.name, schema.SQL_TYPES[column.type]) for column in report.table.columns]
            assert connection.execute(described).fetchall() == declared, report.name
        for table in (CURRENT_FINDINGS, *schema.AUDIT_TABLES):
            described = f"SELECT column_name, column_type FROM (DESCRIBE main.{table.name})"
            declared = [(column.name, schema.SQL_TYPES[column.type]) for column in table.columns]
            assert connection.execute(described).fetchall() == declared, table.name
        found = "SELECT trunk_id, rule, severity, is_new_rule FROM findings WHERE trunk_id = 43"
        assert connection.execute(found).fetchone() == (43, "allowlist-open", "critical", False)
    page = published.page(0)
    assert page is not None
    assert "allowlist-open" in page
    assert "+14155551299" in page


def test_a_run_without_reports_leaves_none_that_are_out_of_date(published: Published) -> None:
    assert published.page(1) is None
    for view in ("reports.counts", "findings"):
        with pytest.raises(duckdb.CatalogException, match=view.rpartition(".")[2]):
            published.query(1, f"FROM {view}")
    assert published.page(2) is not None


def test_a_finding_keeps_its_age_from_run_to_run_and_has_another_life_if_it_returns(published: Published) -> None:
    lives = "SELECT opened_at, closed_at, closed_because FROM findings_history WHERE rule = 'allowlist-open'"
    seen = published.moments
    # The run between them wrote no reports.
    assert published.query(2, lives) == [(seen[0], None, None)]
    assert published.query(3, lives) == [(seen[0], seen[3], "trunk removed")]
    if published.kind == "duckdb":
        again = [(seen[0], seen[3], "trunk removed"), (seen[4], None, None)]
        assert published.query(4, f"{lives} ORDER BY opened_at") == again


def test_the_view_of_findings_has_the_current_ones(published: Published) -> None:
    found = "SELECT trunk_id, severity FROM findings WHERE rule = 'allowlist-open'"
    assert published.query(0, found) == [(43, "critical")]
    assert published.query(3, found) == []


# ---------------------------------------------------------------------- one run


def test_a_run_publishes_what_the_command_derives_and_an_unchanged_one_leaves_it(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two accounts and with a suppression, so that both are in what is compared."""
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text(
        '[[sip_trunks.suppressions]]\nrule = "allowlist-open"\ntrunk_id = 43\nreason = "a test"\nuntil = 2999-01-01\n'
    )
    api.answer([TRUNK, OPEN, trunk(id=9, country_code=None)])
    moment = load(with_reports=True).snapshot_at
    found = query("SELECT account, trunk_id, rule FROM findings")
    assert {("acme", 43, "duplicate-across-accounts"), ("beta", 43, "duplicate-across-accounts")} <= set(found)
    assert "allowlist-open" not in {rule for _, _, rule in found}
    assert "0.0.0.0/0" not in read_settings().page_path.read_text("utf-8")
    assert query("SELECT account, trunk_count FROM reports.freshness ORDER BY ALL") == [("acme", 3), ("beta", 3)]
    with open_destination(read_settings()).reading(stored_tables(list(REPORTS))) as connection:
        inputs = read_inputs(connection, list(REPORTS), read_options(read_settings(), as_of=moment, is_log=True))
        for report in REPORTS.values():
            derived = derive_report(report.name, inputs)
            columns = ", ".join(derived.columns)
            place_of = "main" if report.name == "audit" else "reports"
            published = connection.execute(f"SELECT {columns} FROM {place_of}.{report.table.name}").fetchall()
            assert published == rows(derived), report.name

    written = read_settings().page_path.stat().st_mtime_ns
    before = query("FROM findings_history")
    assert {account.status for account in load(with_reports=True).accounts} == {"unchanged"}
    assert query("FROM findings_history") == before
    assert read_settings().page_path.stat().st_mtime_ns == written


def test_a_finding_opens_when_its_suppression_ends_though_the_response_is_unchanged(api: Api, place: Path) -> None:
    def suppress_until(day: date) -> None:
        (place / ".dlt" / "config.toml").write_text(
            f'[[sip_trunks.suppressions]]\nrule = "allowlist-open"\ntrunk_id = 43\nreason = "a test"\nuntil = {day}\n'
        )

    (place / ".dlt").mkdir()
    lives = "SELECT trunk_id, opened_at, closed_at FROM findings_history WHERE rule = 'allowlist-open'"
    suppress_until(date(2999, 1, 1))
    api.answer([OPEN])
    load(with_reports=True)
    assert query(lives) == []
    with duckdb.connect(str(read_settings().warehouse_path)) as connection:
        connection.execute("UPDATE famulor.audited_rules SET audited_at = audited_at - INTERVAL 9 DAY")
    suppress_until(datetime.now(UTC).date() - timedelta(days=2))
    outcome = load(with_reports=True)
    assert outcome.accounts[0].status == "unchanged"
    assert query(lives) == [(43, outcome.snapshot_at, None)]
    again = load(with_reports=True)
    assert again.findings is not None
    assert {found.new_count for found in again.findings} == {0}


@pytest.mark.parametrize("subject", ["trunk_id = 43", 'account = "default"\ntrunk_id = 43'])
def test_a_new_suppression_closes_a_finding_though_the_response_is_unchanged(
    api: Api, place: Path, subject: str
) -> None:
    api.answer([OPEN])
    load(with_reports=True)
    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text(
        f'[[sip_trunks.suppressions]]\nrule = "allowlist"\n{subject}\nreason = "a test"\nuntil = 2999-01-01\n'
    )
    outcome = load(with_reports=True)
    assert outcome.accounts[0].status == "unchanged"
    lives = "SELECT closed_at, closed_because FROM findings_history WHERE rule = 'allowlist-open'"
    assert query(lives) == [(outcome.snapshot_at, "suppressed")]
    assert "0.0.0.0/0" not in read_settings().page_path.read_text("utf-8")
    assert load(with_reports=True).findings == tuple(outcome.findings or ())


# ---------------------------------------------------------------------- several destinations


def shown_by(path: Path) -> str | None:
    """Return the destination that a page names; None if there is no page."""
    found = re.search(r"Destination <strong>(\w+)</strong>: \S+", path.read_text("utf-8")) if path.exists() else None
    return found and found[1]


def test_each_destination_has_a_page_of_its_own(api: Api, place: Path) -> None:
    ours, lakes = read_settings("duckdb").page_path, read_settings("parquet").page_path
    api.answer([OPEN])
    load(with_reports=True)
    said = call("run", "--destination", "parquet")
    assert f"page       {lakes}" in said
    assert (shown_by(ours), shown_by(lakes)) == ("duckdb", "parquet")
    written = lakes.stat().st_mtime_ns
    api.answer([OPEN, TRUNK])
    load(with_reports=True)
    assert lakes.stat().st_mtime_ns == written
    call("accounts", "forget", "default", "--yes", "--destination", "parquet")
    assert (shown_by(ours), shown_by(lakes)) == ("duckdb", None)
    assert "<b>2</b> <span>trunks</span>" in ours.read_text("utf-8")


@pytest.mark.parametrize(
    "command", ["run", "run --no-reports", "prune --older-than 1d", "accounts forget default --yes"]
)
@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_a_page_that_names_no_destination_does_not_stay(destination: str, command: str, api: Api, place: Path) -> None:
    """An earlier commit wrote the pages of all destinations to this path."""
    api.answer([OPEN])
    load(destination)
    old = place / "data" / "reports" / "index.html"
    old.parent.mkdir()
    old.write_text("<!doctype html><title>SIP trunks</title>")
    call(*command.split(), "--destination", destination)
    assert shown_by(old) == ("duckdb" if (destination, command) == ("duckdb", "run") else None)
    assert shown_by(read_settings(destination).page_path) == (destination if command == "run" else None)


# ---------------------------------------------------------------------- reports that cannot be written


def test_a_failed_page_or_report_does_not_lose_the_snapshot(api: Api, place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "reports").write_text("in the way")
    api.answer([OPEN])
    outcome = load(with_reports=True)
    assert outcome.exit_code == 7
    assert "reports" in str(outcome.report_error)
    assert query("SELECT sum(trunk_count) FROM reports.counts") == [(1,)]
    assert f"exit code 7: no reports: {outcome.report_error}" in call("status")
    (place / "data" / "reports").unlink()
    outcome = load(with_reports=True)
    assert (outcome.accounts[0].status, outcome.exit_code) == ("unchanged", 0)
    assert read_settings().page_path.exists()

    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text('[sip_trunks]\nproviders = "missing.toml"\n')
    api.answer([OPEN, TRUNK])
    outcome = load(with_reports=True)
    assert (outcome.accounts[0].status, outcome.exit_code) == ("loaded", 2)
    assert outcome.report_error is not None
    assert "missing.toml cannot be read: No such file or directory" in outcome.report_error
    assert query("SELECT count(*) FROM sip_trunks") == [(2,)]
    with pytest.raises(duckdb.CatalogException):  # better none than those of an older snapshot
        query("FROM reports.counts")
    assert not read_settings().page_path.exists()
    # Once it is mended the next run writes them, though the response is unchanged.
    (place / ".dlt" / "config.toml").unlink()
    outcome = load(with_reports=True)
    assert (outcome.accounts[0].status, outcome.exit_code, outcome.report_error) == ("unchanged", 0, None)
    assert query("SELECT sum(trunk_count) FROM reports.counts") == [(2,)]
    assert read_settings().page_path.exists()


@pytest.mark.usefixtures("place")
def test_a_missing_report_library_does_not_lose_the_snapshot(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer([OPEN])
    monkeypatch.setitem(sys.modules, "sip_trunks.reporting.publish", None)
    outcome = load(with_reports=True)
    assert outcome.accounts[0].status == "loaded"
    assert "sip_trunks.reporting.publish" in str(outcome.report_error)
    assert query("SELECT count(*) FROM sip_trunks") == [(1,)]
