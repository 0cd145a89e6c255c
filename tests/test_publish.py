"""What a run publishes beside the data: the tables of the schema `reports`, and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.builders import IP_TRUNK, TRUNK, trunk
from tests.frames import rows
from transforms import schema
from transforms.reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.outcome import Outcome
    from tests.conftest import Api

pytestmark = pytest.mark.usefixtures("place")

OPEN = IP_TRUNK | {"allowed_inbound_ips": ["0.0.0.0/0"], "phone_number": "+14155551299"}
BOTH = pytest.mark.parametrize("destination", ["duckdb", "parquet"])


def load(destination: str = "duckdb", **options: Any) -> Outcome:
    settings = read_settings(destination)
    return run(settings, pick_accounts(settings, []), **options)


def query(sql: str, destination: str = "duckdb") -> list[tuple[Any, ...]]:
    with open_destination(read_settings(destination)).reading() as connection:
        return connection.execute(sql).fetchall()


@BOTH
def test_every_report_is_a_table_with_documented_columns(api: Api, destination: str) -> None:
    api.answer([TRUNK, OPEN])
    load(destination)
    for report in REPORTS.values():
        stored = query(f"SELECT column_name, column_type FROM (DESCRIBE reports.{report.table.name})", destination)
        declared = [(column.name, schema.SQL_TYPES[column.type]) for column in report.table.columns]
        assert stored == declared, report.name
    findings = query("SELECT trunk_id, rule, severity, is_current FROM reports.audit_findings", destination)
    assert findings[0] == (43, "allowlist-open", "critical", True)
    moments = "SELECT DISTINCT typeof(first_seen_at), typeof(trunk_id) FROM reports.audit_findings"
    assert query(moments, destination) == [("TIMESTAMP WITH TIME ZONE", "BIGINT")]
    page = read_settings(destination).page_path.read_text("utf-8")
    assert "allowlist-open" in page
    assert "+14155551299" in page


@BOTH
def test_a_finding_keeps_its_age_from_run_to_run_and_stays_when_it_is_over(api: Api, destination: str) -> None:
    log = "SELECT first_seen_at, last_seen_at, is_current FROM reports.audit_findings WHERE rule = 'allowlist-open'"
    seen = []
    for answer in ([OPEN], [OPEN, TRUNK], [TRUNK], [OPEN, TRUNK]):
        api.answer(answer)
        seen.append(load(destination, accept_shrink=True).snapshot_at)
    assert query(f"{log} ORDER BY first_seen_at", destination) == [
        (seen[0], seen[1], False),
        (seen[3], seen[3], True),
    ]


def test_an_unchanged_answer_leaves_the_reports_as_they_are(api: Api) -> None:
    api.answer([OPEN])
    load()
    page = read_settings().page_path
    written = page.stat().st_mtime_ns
    before = query("FROM reports.audit_findings")
    assert load().accounts[0].status == "unchanged"
    assert query("FROM reports.audit_findings") == before
    assert page.stat().st_mtime_ns == written


@BOTH
def test_a_run_without_reports_leaves_no_stale_ones_and_breaks_no_age(api: Api, destination: str) -> None:
    api.answer([OPEN])
    first = load(destination).snapshot_at
    page = read_settings(destination).page_path
    api.answer([OPEN, TRUNK])
    load(destination, with_reports=False)
    assert not page.exists()
    with pytest.raises(duckdb.CatalogException):
        query("FROM reports.counts", destination)
    api.answer([OPEN, TRUNK, trunk(id=44)])
    load(destination)
    assert page.exists()
    ages = "SELECT first_seen_at, is_current FROM reports.audit_findings WHERE rule = 'allowlist-open'"
    assert query(ages, destination) == [(first, True)]


def test_a_report_that_cannot_be_written_costs_no_snapshot(api: Api, place: Path) -> None:
    api.answer([OPEN])
    load()
    settings = place / ".dlt"
    settings.mkdir()
    (settings / "config.toml").write_text('[sip_trunks]\nproviders = "missing.toml"\n')
    api.answer([OPEN, TRUNK])
    outcome = load()
    assert outcome.accounts[0].status == "loaded"
    assert outcome.exit_code == 2
    assert outcome.report_error is not None
    assert "missing.toml cannot be read: No such file or directory" in outcome.report_error
    assert query("SELECT count(*) FROM sip_trunks") == [(2,)]
    with pytest.raises(duckdb.CatalogException):  # better none than those of an older snapshot
        query("FROM reports.counts")
    assert not read_settings().page_path.exists()
    # Mended, the next run writes them, though the answer is the last one.
    (settings / "config.toml").unlink()
    outcome = load()
    assert (outcome.accounts[0].status, outcome.exit_code, outcome.report_error) == ("unchanged", 0, None)
    assert query("SELECT sum(trunk_count) FROM reports.counts") == [(2,)]
    assert read_settings().page_path.exists()


def told_by_status(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["status"]) == 0
    return capsys.readouterr().out


def test_a_page_that_cannot_be_written_costs_no_snapshot(
    api: Api, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "data").mkdir()
    (place / "data" / "reports").write_text("in the way")
    api.answer([OPEN])
    outcome = load()
    assert outcome.exit_code == 7
    assert "reports" in str(outcome.report_error)
    assert query("SELECT sum(trunk_count) FROM reports.counts") == [(1,)]
    assert f"exit code 7: no reports: {outcome.report_error}" in told_by_status(capsys)
    (place / "data" / "reports").unlink()
    outcome = load()
    assert (outcome.accounts[0].status, outcome.exit_code) == ("unchanged", 0)
    assert read_settings().page_path.exists()


def test_a_suppressed_finding_is_not_published(api: Api, place: Path) -> None:
    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text(
        '[[sip_trunks.suppressions]]\nrule = "allowlist-open"\ntrunk_id = 43\nreason = "a test"\nuntil = 2999-01-01\n'
    )
    api.answer([OPEN, TRUNK])
    load()
    assert ("allowlist-open",) not in query("SELECT rule FROM reports.audit_findings")
    assert "0.0.0.0/0" not in read_settings().page_path.read_text("utf-8")


def test_accounts_are_told_apart(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token-a")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "token-b")
    api.answer([OPEN])
    load()
    found = query("SELECT account, trunk_id FROM reports.audit_findings WHERE rule = 'duplicate-across-accounts'")
    assert found == [("acme", 43), ("beta", 43)]
    assert query("SELECT account, trunk_count FROM reports.freshness ORDER BY ALL") == [("acme", 1), ("beta", 1)]


def test_a_published_report_is_the_one_that_the_command_derives(api: Api) -> None:
    from pipelines.reporting import read_basis, read_options, stored_tables

    api.answer([TRUNK, OPEN, trunk(id=9, country_code=None)])
    moment = load().snapshot_at
    with open_destination(read_settings()).reading(stored_tables(list(REPORTS))) as connection:
        basis = read_basis(connection, list(REPORTS), read_options(read_settings(), as_of=moment, is_log=True))
        for report in REPORTS.values():
            derived = report.derive(basis)
            columns = ", ".join(derived.columns)
            published = connection.execute(f"SELECT {columns} FROM reports.{report.table.name}").fetchall()
            assert published == rows(derived), report.name
