"""`report`, `audit` and `rules` as a user calls them: from the response of the API to the file that a person opens."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import openpyxl
import pytest

from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.inputs import read_inputs, read_options, stored_tables
from sip_trunks.reporting.output import FORMATS, write_reports
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.runs import call, capture
from tests.support.shared import built_once
from tests.support.stored import store_snapshots
from trunk_transforms.audit.rules import RULES
from trunk_transforms.reports.registry import derive_report
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    import pandas as pd

HOSTILE = '=HYPERLINK("http://evil.example","x")'
TWIN = trunk(id=47, phone_number="+493023125201", sip_username="lindner-47", country_code="DE")
FIRST = [
    TRUNK,
    IP_TRUNK,
    trunk(id=45, sip_username=HOSTILE, country_code="DE|<b>", sip_address="javascript:alert(1)"),
    trunk(id=46, phone_number="+493023125199", sip_username="lindner-46", country_code="DE"),
]
OPEN = IP_TRUNK | {"id": 48, "allowed_inbound_ips": ["0.0.0.0/0"], "phone_number": "+14155551299", "country_code": None}
SECOND = [*FIRST[1:], TWIN, OPEN]
CHANGED = (
    [TRUNK, IP_TRUNK, *(trunk(id=n, sip_address="pbx.example") for n in (50, 51, 52))],
    [
        TRUNK | {"updated_at": "2026-04-01T00:00:00Z"},
        IP_TRUNK | {"allowed_inbound_ips": ["203.0.113.10"], "sip_address": "pbx\x1b[31m.example"},
        *(trunk(id=n, sip_address=address) for n, address in ((50, " pbx.example"), (51, ""), (52, None))),
    ],
)


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(place: Path) -> None:
        # Findings have an age only after a run with reports.
        store_snapshots(place, (FIRST, SECOND), with_reports=True)

    return built_once(tmp_path_factory, "report_command", build) / "data"


@pytest.fixture(scope="module")
def changed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory, "report_changes", lambda place: store_snapshots(place, CHANGED)) / "data"


@pytest.fixture
def stored(place: Path, stored_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory is one that two runs have written to, which tests only read."""
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(stored_once))
    return stored_once


@pytest.fixture
def changed(place: Path, changed_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data directory is one in which the second snapshot has changed every trunk of the first."""
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(changed_once))


def call_json(*arguments: str) -> Any:
    return json.loads(call(*arguments, "--format", "json"))


def error(*arguments: str) -> str:
    """Return the only line that a usage error prints."""
    printed = capture(*arguments, code=2)
    assert printed.out == b""
    (line,) = printed.errors.splitlines()
    return line


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("arguments", [[], ["counts"]])
def test_before_the_first_run_it_says_what_to_do(arguments: list[str]) -> None:
    assert "sip-trunks run" in error("report", *arguments)
    assert not Path("data", "warehouse.duckdb").exists()


def test_without_a_name_the_overview_fits_eighty_columns(stored: Path) -> None:
    lines = call("report").splitlines()
    assert max(map(len, lines)) <= 80
    sections = [line.split()[0] for line in lines if line[0] != " "]
    assert sections == ["accounts", "trunks", "counts", "changes", "findings", "freshness"]


PICTURED = ("counts", "growth", "audit", *(name for name in REPORTS if name.startswith("by_")))


def derive(stored: Path, *, is_masked: bool) -> dict[str, pd.DataFrame]:
    """Return every report of what is stored, as the command derives it before it gives it a format."""
    with pytest.MonkeyPatch.context() as patch:
        # Nobody's settings are in force there.
        patch.chdir(stored)
        patch.delenv("DLT_PROJECT_DIR", raising=False)
        patch.setenv("SIP_TRUNKS__DATA_DIR", str(stored))
        settings = read_settings()
        names = list(REPORTS)
        options = read_options(settings, is_masked=is_masked, since=None)
        with open_destination(settings).reading(stored_tables(names)) as connection:
            inputs = read_inputs(connection, names, options)
        return {name: derive_report(report.name, inputs) for name, report in REPORTS.items()}


@pytest.fixture(scope="module")
def frames(stored_once: Path) -> dict[str, pd.DataFrame]:
    return derive(stored_once, is_masked=False)


@pytest.fixture(scope="module")
def masked_frames(stored_once: Path) -> dict[str, pd.DataFrame]:
    return derive(stored_once, is_masked=True)


def write(frames: dict[str, pd.DataFrame], output: Path, form: str) -> list[Path]:
    """Write reports in a format and return the files, sorted by name."""

    write_reports(
        frames,
        format_name=form,
        output=output,
        raw=False,
        is_inline=False,
        suppressed_count=0,
        coverage=[],
        as_of=datetime(2027, 1, 1, tzinfo=UTC),
        destination=SimpleNamespace(name="duckdb", location="here"),
    )
    return sorted(output.iterdir()) if output.is_dir() else [output]


@pytest.mark.parametrize("form", FORMATS)
def test_every_report_comes_in_every_format(
    stored: Path, frames: dict[str, pd.DataFrame], tmp_path: Path, form: str
) -> None:
    names = PICTURED if form == "png" else tuple(REPORTS)
    made = write({name: frames[name] for name in names}, tmp_path / "made", form)
    if form in ("csv", "png"):
        assert [file.name for file in made] == sorted(f"{name}.{form}" for name in names)
    assert min(len(file.read_bytes()) for file in made) > 40
    # What goes to a file goes to a pipe as well.
    one = capture("report", "counts", "--format", form).out
    if form in ("html", "xlsx"):  # which contain the time at which they were made
        assert len(one) > 40
    else:
        call("report", "counts", "--format", form, "--output", str(tmp_path / "one"))
        assert (tmp_path / "one").read_bytes() == one


def test_a_report_without_a_picture_names_those_that_have_one(
    stored: Path, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    assert "choose one of audit, by_" in error("report", "freshness", "--format", "png")
    for name in set(REPORTS) - set(PICTURED):
        with pytest.raises(UsageError, match="choose one of audit, by_"):
            write({name: frames[name]}, tmp_path / name, "png")


def test_the_name_of_the_file_decides_the_format(stored: Path, tmp_path: Path) -> None:
    for suffix, start in {
        "xlsx": b"PK",
        "png": b"\x89PNG",
        "html": b"<!doctype html>",
        "json": b"[",
        "md": b"| ",
    }.items():
        file = tmp_path / "new" / f"counts.{suffix}"
        call("report", "counts", "--output", str(file))
        assert file.read_bytes().startswith(start)


def test_several_reports_as_csv_need_a_folder(stored: Path, tmp_path: Path) -> None:
    assert "a csv file holds one report" in error("report", "counts", "growth", "--format", "csv")
    assert "is a folder; name a file in it" in error("report", "counts", "--output", str(tmp_path))


def test_several_reports_go_into_one_document(stored: Path, tmp_path: Path) -> None:
    assert set(call_json("report", "counts", "freshness")) == {"counts", "freshness"}
    markdown = call("report", "counts", "freshness", "--format", "markdown")
    assert re.findall(r"^## (\w+)", markdown, flags=re.MULTILINE) == ["counts", "freshness"]
    table = call("report", "freshness", "counts", "freshness")
    assert [line for line in table.splitlines() if line in REPORTS] == ["freshness", "counts"]


def test_a_workbook_has_every_report_and_no_formulas_or_links(stored: Path, tmp_path: Path) -> None:
    call("report", "--output", str(tmp_path / "all.xlsx"))
    book = openpyxl.load_workbook(tmp_path / "all.xlsx")
    assert book.sheetnames == list(REPORTS)
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f" or cell.hyperlink]
    for sheet in book:
        assert sheet.freeze_panes == "A2"
        assert sheet.max_row == 1 or sheet.auto_filter.ref.startswith("A1:")
    changes = book["changes"]
    titles = [cell.value for cell in changes[1]]
    assert "observed_at (UTC)" in titles
    assert isinstance(changes.cell(2, titles.index("observed_at (UTC)") + 1).value, datetime)
    assert isinstance(changes.cell(2, titles.index("trunk_id") + 1).value, int)
    assert isinstance(book["counts"].cell(2, 5).value, int | float)
    call("report", "counts", "--by", "sip_username", "sip_address", "--output", str(tmp_path / "counts.xlsx"))
    cells = [cell for row in openpyxl.load_workbook(tmp_path / "counts.xlsx")["counts"].iter_rows() for cell in row]
    assert {HOSTILE, "javascript:alert(1)"} <= {cell.value for cell in cells}
    assert not [cell for cell in cells if cell.data_type == "f" or cell.hyperlink]


def test_csv_is_safe_for_a_spreadsheet_unless_raw(stored: Path) -> None:
    by = ("report", "counts", "--by", "sip_username", "phone_number", "--format", "csv")
    safe, raw = (list(csv.DictReader(io.StringIO(call(*by, *more)))) for more in ([], ["--raw"]))
    assert {row["sip_username"] for row in raw} >= {HOSTILE, "trunk_user"}
    assert {row["sip_username"] for row in safe} >= {f"'{HOSTILE}", "trunk_user"}
    assert {row["phone_number"] for row in raw} >= {"+14155551234"}
    assert {row["phone_number"] for row in safe} >= {"'+14155551234"}
    assert not [value for row in safe for value in row.values() if value.startswith(("=", "+", "-", "@"))]


def test_markdown_shows_text_as_it_is(stored: Path) -> None:
    out = call("report", "counts", "--by", "country_code", "sip_address", "--format", "markdown")
    (line,) = [line for line in out.splitlines() if "javascript" in line]
    assert line.startswith(r"| DE\|\<b\> | – |")
    assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", out.splitlines()[0]))
    assert "total: 5 trunks" in out


def test_counts_come_by_any_column_and_a_wrong_one_is_named(stored: Path) -> None:
    (row,) = [row for row in call_json("report", "counts", "--by", "number_kind") if row["number_kind"] == "DID"]
    assert row == {"number_kind": "DID", "trunk_count": 4, "share_pct": 80.0}
    assert call_json("report", "--by", "provider", "account")[0]["account"] == "default"
    by_country = {row["country_code"]: row for row in call_json("report", "counts", "--by", "country_code")}
    assert by_country["US"] == {
        "country_code": "US",
        "country_name": "United States",
        "trunk_count": 1,
        "share_pct": 20.0,
    }
    assert by_country[None] == {"country_code": None, "country_name": None, "trunk_count": 1, "share_pct": 20.0}
    assert "total: 5 trunks" in call("report", "counts", "--by", "outbound_proxy", "inbound_authorization_type")
    assert "_dlt_load_id" in call("report", "counts", "--by", "_dlt_load_id")
    for arguments, message in {
        ("counts", "--by", "provder"): "no column 'provder'",
        ("counts", "--by", "trunk_count"): "the report has a column of that name",
        ("counts", "--by", "account", "account"): "names a column twice",
        ("growth", "--by", "account"): "name that report",
        ("count",): "no report named 'count'",
        ("nope",): "no report named 'nope'",
    }.items():
        assert message in error("report", *arguments)


def test_growth_comes_by_day_week_or_month(stored: Path) -> None:
    created = {
        period: [row["created_count"] for row in call_json("report", "growth", "--period", period)]
        for period in ("day", "week", "month")
    }
    # All six were created on 2026-03-31.
    assert {period: sum(counts) for period, counts in created.items()} == dict.fromkeys(created, 6)
    assert call_json("report", "growth")[0]["period"] == "2026-03-01"


def test_changes_are_those_between_the_last_two_snapshots_or_since_a_moment(stored: Path) -> None:
    def changed(*arguments: str) -> list[tuple[int, str]]:
        return [(row["trunk_id"], row["change"]) for row in call_json("report", "changes", *arguments)]

    second = [(42, "removed"), (47, "added"), (48, "added")]
    assert changed() == second
    with duckdb.connect(str(stored / "warehouse.duckdb"), read_only=True) as connection:
        moments = connection.execute("SELECT DISTINCT snapshot_at FROM sip_trunk_snapshots ORDER BY 1").fetchall()
    before = moments[0][0] - timedelta(hours=1)
    # What the first snapshot had is not known to be new.
    assert changed("--since", before.isoformat()) == second
    assert changed("--since", moments[0][0].isoformat()) == second
    assert changed("--since", moments[1][0].isoformat()) == []
    first = ("--as-of", moments[0][0].isoformat())
    assert changed(*first) == []
    assert sum(row["trunk_count"] for row in call_json("report", "counts", *first)) == 4
    assert {row["trunk_id"] for row in call_json("audit", *first)} <= {42, 43, 45, 46}
    assert "nothing was stored at" in error("report", "counts", "--as-of", before.isoformat())
    assert "is after" in error("report", "changes", "--since", "2999-01-01")


def test_changes_are_listed_below_the_snapshot_that_showed_them(stored: Path) -> None:
    moment, *lines = call("report", "changes").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  default", moment)
    assert lines == ["  trunk 42  removed", "  trunk 47  added", "  trunk 48  added", "2 added trunks, 1 removed trunk"]
    assert call("report", "changes", "--since", "2999-01-01", "--as-of", "2999-01-02") == (
        "no added or removed trunks, no changed fields\n"
    )


@pytest.mark.usefixtures("changed")
def test_a_changed_field_is_shown_with_its_note() -> None:
    _, *lines = call("report", "changes").splitlines()
    others = next(number for number, line in enumerate(lines) if "trunk 50" in line)
    assert lines[:others] == [
        "  trunk 42  changed  updated_at",
        "          old   2026-03-31T10:00:00.000000Z",
        "          new   2026-04-01T00:00:00.000000Z",
        "          note  possible credential change, which re-creates both legs: only",
        "                updated_at changed",
        "  trunk 43  changed  allowed_inbound_ips: inbound leg re-created",
        '          old   ["198.51.100.20", "203.0.113.10"]',
        '          new   ["203.0.113.10"]',
        "  trunk 43  changed  sip_address: outbound leg re-created",
        "          old   sip.provider.com",
        "          new   pbx\\x1b[31m.example",
    ]
    assert lines[-1] == "5 changed trunks, 6 changed fields"


@pytest.mark.usefixtures("changed")
def test_a_value_that_cannot_be_seen_is_quoted() -> None:
    lines = call("report", "changes", "--since", "2020-01-01").splitlines()
    new = {}
    for line in lines:
        if found := re.match(r"  trunk (\d+)  changed", line):
            number = int(found[1])
        elif "  new   " in line:
            new[number] = line.partition("  new   ")[2]
    assert new[50] == '" pbx.example"'
    assert new[51] == '""'
    assert new[52] == "–"


def test_a_finding_has_the_observed_value_and_a_fix(stored: Path) -> None:
    findings = call_json("audit")
    (finding,) = [row for row in findings if row["rule"] == "allowlist-open"]
    assert (finding["trunk_id"], finding["severity"], finding["account"]) == (48, "critical", "default")
    assert "0.0.0.0/0" in finding["seen"]
    assert datetime.fromisoformat(finding["opened_at"]).year >= 2026
    lines = call("audit").splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"critical  allowlist-open, since {finding['opened_at'][:10]}"
    assert "          of    trunk 48, +14155551299, Provider X Main, default" in lines
    count = re.compile(rf"{len(findings)} findings( of \d+ causes)?: 1 critical, ")
    place = next(place for place, line in enumerate(lines) if count.match(line))
    trunk_count = len(call_json("sql", "FROM sip_trunks"))
    told = " ".join(line.strip() for line in lines[place + 1 :])
    assert re.match(rf"coverage  \d+ of {trunk_count} trunks have an unknown provider, so the rules on ", told)


def test_the_audit_fails_on_the_given_severity(stored: Path) -> None:
    for arguments, code in {
        ("--select", "allowlist-open"): 0,
        ("--select", "allowlist-open", "--fail-on", "critical"): 10,
        ("--select", "allowlist-open", "--fail-on", "high"): 10,
        ("--fail-on", "info"): 10,
        ("--fail-on", "critical", "--ignore", "allowlist"): 0,
        ("--select", "host,number", "--fail-on", "critical"): 0,
    }.items():
        capture("audit", *arguments, code=code)
    assert call("audit", "--select", "country-unknown", "--ignore", "country") == "no findings\n"
    assert "did you mean allowlist-open" in error("audit", "--select", "allow-list-open")


def test_a_suppressed_finding_is_gone_until_its_day(stored: Path, place: Path) -> None:
    def suppressed_until(day: str) -> str:
        (place / ".dlt").mkdir(exist_ok=True)
        (place / ".dlt" / "config.toml").write_text(
            f'[[sip_trunks.suppressions]]\nrule = "allowlist-open"\ntrunk_id = 48\nreason = "a test"\nuntil = {day}\n'
        )
        return call("audit", "--select", "allowlist-open")

    assert suppressed_until("2999-12-31") == "no findings; 1 suppressed\n"
    assert "1 finding: 1 critical" in suppressed_until("2020-01-01")
    (place / ".dlt" / "config.toml").write_text('[[sip_trunks.suppressions]]\nrule = "allowlist-opn"\n')
    assert "sip_trunks.suppressions" in error("audit")
    checked = capture("check", code=2).out.decode()
    assert "FAIL  settings: [[sip_trunks.suppressions]]: suppression 1 has no reason" in checked


def assert_masked(*files: Path) -> None:
    for file in files:
        if file.suffix == ".xlsx":
            cells = [c.value for s in openpyxl.load_workbook(file) for row in s.iter_rows() for c in row]
            content = "\n".join(map(str, cells))
        else:
            content = file.read_text("utf-8")
        for secret in ("4155551234", "3023125199", "lindner-4", "trunk_user"):
            assert secret not in content


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "html", "xlsx"])
def test_masked_reports_show_no_number_in_any_format(
    masked_frames: dict[str, pd.DataFrame], tmp_path: Path, form: str
) -> None:
    assert_masked(*write(masked_frames, tmp_path / f"masked{'.xlsx' if form == 'xlsx' else ''}", form))


@pytest.mark.parametrize(
    "command", [["report", "changes", "overview"], ["report", "counts", "--by", "phone_number"], ["audit"]]
)
def test_a_masked_report_shows_no_number(stored: Path, tmp_path: Path, command: list[str]) -> None:
    call(*command, "--mask", "--format", "json", "--output", str(tmp_path / "masked.json"))
    assert_masked(tmp_path / "masked.json")


def test_options_that_would_do_nothing_are_refused(stored: Path) -> None:
    assert "--period works only with `report growth`" in error("report", "counts", "--period", "week")
    assert "--since works only with the reports growth" in error("report", "by_country", "--since", "2026-01-01")
    assert "--raw works only with --format csv" in error("report", "counts", "--raw", "--format", "json")
    assert "--inline works only with --format html" in error("report", "--inline")


def test_a_picture_without_a_name_is_that_of_the_counts(stored: Path, tmp_path: Path) -> None:
    for names in ([], ["counts"]):
        call("report", *names, "--format", "png", "--output", str(tmp_path / f"{len(names)}.png"))
    drawn = [(tmp_path / f"{number}.png").read_bytes() for number in (0, 1)]
    assert drawn[0].startswith(b"\x89PNG")
    assert drawn[0] == drawn[1]


def test_the_page_for_a_mail_has_the_account_and_its_findings(stored: Path, tmp_path: Path) -> None:
    call("report", "--format", "html", "--inline", "--output", str(tmp_path / "mail.html"))
    mail = (tmp_path / "mail.html").read_text("utf-8")
    assert "<style" not in mail
    assert "Do this first" in mail
    assert "0.0.0.0/0" in mail


def test_moments_are_utc_wherever_they_are_shown(stored: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    call("report", "freshness", "--as-of", "2999-01-01T03:00+05:00", "--output", str(page))
    assert "31 Dec 2998, 22:00 UTC" in page.read_text("utf-8")


def test_an_expired_suppression_is_named(stored: Path, place: Path) -> None:
    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text(
        '[[sip_trunks.suppressions]]\nrule = "allowlist"\ntrunk_id = 48\nreason = "a test"\nuntil = 2020-01-01\n'
    )
    expected = "sip-trunks: the suppression of allowlist for trunk 48 has expired on 2020-01-01\n"
    assert capture("audit").errors == expected


def test_the_rules_are_explained(stored: Path) -> None:
    described = call_json("rules")
    assert [rule["rule"] for rule in described] == list(RULES)
    assert set(described[0]) == {"rule", "severity", "question", "why", "fix", "source"}
    assert "allowlist-empty" in call("rules")


def test_a_file_that_cannot_be_written_is_one_line_and_leaves_the_old_one(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "counts.csv"
    assert error("report", "counts", "--output", str(path)).endswith(f"--output {path} cannot be written: File exists")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_of_an_output_is_named(stored: Path) -> None:
    printed = capture("report", "counts", "--output", "/dev/full", code=7)
    assert printed.errors == "sip-trunks: no space left on the disk of /dev/full; free some space and run again\n"
