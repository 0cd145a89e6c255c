"""`report`, `audit` and `rules` as a user calls them: from the API's answer to the file that a person opens."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import openpyxl
import pytest

from pipelines.cli import main
from pipelines.delivery import FORMATS
from tests.builders import IP_TRUNK, TRUNK, trunk
from tests.conftest import TOKEN, Api
from tests.environments import locked
from tests.test_cli import COMMAND
from transforms.audit import RULES
from transforms.reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '=HYPERLINK("http://evil.example","x")'
TWIN = trunk(id=47, phone_number="+493023125201", sip_username="lindner-47", country_code="DE")
FIRST = [
    TRUNK,
    IP_TRUNK,
    trunk(id=45, sip_username=HOSTILE, country_code="DE|<b>", sip_address="javascript:alert(1)"),
    trunk(id=46, phone_number="+493023125199", sip_username="lindner-46", country_code="DE"),
]
SECOND = [*FIRST[1:], TWIN, IP_TRUNK | {"id": 48, "allowed_inbound_ips": ["0.0.0.0/0"], "phone_number": "+14155551299"}]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A data directory that two runs have written to; the tests only read it, and workers share it."""
    base = tmp_path_factory.getbasetemp()
    place = (base if worker_id == "master" else base.parent) / "report_command"
    with locked(place.with_suffix(".lock")):
        if not place.exists():
            draft = place.with_suffix(".draft")
            draft.mkdir()
            store_two_answers(draft)
            draft.rename(place)
    return place / "data"


def store_two_answers(place: Path) -> None:
    api = Api()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SOURCES__FAMULOR__API_TOKEN", "DLT_PROJECT_DIR", "DLT_DATA_DIR"):
            patch.delenv(name, raising=False)
        patch.chdir(place)
        patch.setenv("SIP_TRUNKS__DATA_DIR", str(place / "data"))
        patch.setenv("SOURCES__FAMULOR__BASE_URL", api.base_url)
        patch.setenv("FAMULOR_API_KEY", TOKEN)
        for answer in (FIRST, SECOND):
            api.answer(answer)
            assert main(["run"]) == 0
    api.close()


class Commands:
    """Calls a command in this process; `errors` is what it wrote to standard error."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture
        self.errors = ""

    def binary(self, *arguments: str, code: int = 0) -> bytes:
        self._capture.readouterr()
        assert main(list(arguments)) == code
        out, err = self._capture.readouterr()
        self.errors = err.decode()
        return out

    def __call__(self, *arguments: str, code: int = 0) -> str:
        return self.binary(*arguments, code=code).decode()

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--format", "json", code=code))

    def error(self, *arguments: str) -> str:
        self(*arguments, code=2)
        (line,) = self.errors.splitlines()
        return line


@pytest.fixture
def call(
    place: Path, stored: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Commands:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(stored))
    return Commands(capfdbinary)


def test_without_a_name_the_overview_fits_eighty_columns(call: Commands) -> None:
    lines = call("report").splitlines()
    assert max(map(len, lines)) <= 80
    sections = [line.split()[0] for line in lines if line[0] != " "]
    assert sections == ["accounts", "trunks", "counts", "changes", "findings", "freshness"]


PICTURED = ("counts", "growth", "audit", *(name for name in REPORTS if name.startswith("by_")))


@pytest.mark.parametrize("form", FORMATS)
def test_every_report_comes_in_every_format(call: Commands, tmp_path: Path, form: str) -> None:
    names = PICTURED if form == "png" else tuple(REPORTS)
    output = tmp_path / "made"
    assert call.binary("report", *names, "--format", form, "--output", str(output)) == b""
    made = sorted(output.iterdir()) if form in ("csv", "png") else [output]
    assert len(made) == (len(names) if form in ("csv", "png") else 1)
    assert min(len(file.read_bytes()) for file in made) > 40
    # What goes to a file goes to a pipe as well.
    one = call.binary("report", "counts", "--format", form)
    call("report", "counts", "--format", form, "--output", str(tmp_path / "one"))
    if form not in ("html", "xlsx"):  # which say when they were made
        assert (tmp_path / "one").read_bytes() == one


def test_a_report_without_a_picture_says_which_have_one(call: Commands) -> None:
    for name in set(REPORTS) - set(PICTURED):
        assert "there is one of audit, by_" in call.error("report", name, "--format", "png")


def test_the_name_of_the_file_says_the_format(call: Commands, tmp_path: Path) -> None:
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


def test_several_reports_as_csv_or_png_are_files_of_a_folder(call: Commands, tmp_path: Path) -> None:
    call("report", "counts", "growth", "--format", "csv", "--output", str(tmp_path / "csv"))
    assert sorted(path.name for path in (tmp_path / "csv").iterdir()) == ["counts.csv", "growth.csv"]
    call("report", "counts", "growth", "--format", "png", "--output", str(tmp_path / "png"))
    assert sorted(path.name for path in (tmp_path / "png").iterdir()) == ["counts.png", "growth.png"]
    assert "a csv file holds one report" in call.error("report", "counts", "growth", "--format", "csv")
    assert "is a folder; name a file in it" in call.error("report", "--output", str(tmp_path))


def test_several_reports_go_into_one_document(call: Commands, tmp_path: Path) -> None:
    assert set(call.json("report", "counts", "freshness")) == {"counts", "freshness"}
    markdown = call("report", "counts", "freshness", "--format", "markdown")
    assert re.findall(r"^## (\w+)", markdown, flags=re.MULTILINE) == ["counts", "freshness"]
    table = call("report", "freshness", "counts", "freshness")
    assert [line for line in table.splitlines() if line in REPORTS] == ["freshness", "counts"]


def test_a_workbook_has_every_report_and_nothing_alive_in_it(call: Commands, tmp_path: Path) -> None:
    call("report", "--output", str(tmp_path / "all.xlsx"))
    book = openpyxl.load_workbook(tmp_path / "all.xlsx")
    assert book.sheetnames == list(REPORTS)
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f" or cell.hyperlink]
    for sheet in book:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref.startswith("A1:")
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


def test_csv_is_safe_for_a_spreadsheet_unless_raw(call: Commands) -> None:
    by = ("report", "counts", "--by", "sip_username", "phone_number", "--format", "csv")
    safe, raw = (list(csv.DictReader(io.StringIO(call(*by, *more)))) for more in ([], ["--raw"]))
    assert {row["sip_username"] for row in raw} >= {HOSTILE, "trunk_user"}
    assert {row["sip_username"] for row in safe} >= {f"'{HOSTILE}", "trunk_user"}
    assert {row["phone_number"] for row in raw} >= {"+14155551234"}
    assert {row["phone_number"] for row in safe} >= {"'+14155551234"}
    assert not [value for row in safe for value in row.values() if value.startswith(("=", "+", "-", "@"))]


def test_markdown_shows_text_as_it_is(call: Commands) -> None:
    out = call("report", "counts", "--by", "country_code", "sip_address", "--format", "markdown")
    (line,) = [line for line in out.splitlines() if "javascript" in line]
    assert line.startswith(r"| DE\|\<b\> | – |")
    assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", out.splitlines()[0]))
    assert "total: 5 trunks" in out


def test_counts_come_by_any_column_and_a_wrong_one_is_named(call: Commands) -> None:
    (row,) = [row for row in call.json("report", "counts", "--by", "number_kind") if row["number_kind"] == "DID"]
    assert row == {"number_kind": "DID", "trunk_count": 4, "share_pct": 80.0}
    assert call.json("report", "--by", "provider", "account")[0]["account"] == "default"
    for arguments, message in {
        ("counts", "--by", "provder"): "no column 'provder'",
        ("counts", "--by", "trunk_count"): "the report itself has a column of that name",
        ("counts", "--by", "account", "account"): "names a column twice",
        ("growth", "--by", "account"): "name that report",
        ("count",): "no report named 'count'",
    }.items():
        assert message in call.error("report", *arguments)


def test_growth_comes_by_day_week_or_month(call: Commands) -> None:
    created = {
        period: [row["created_count"] for row in call.json("report", "growth", "--period", period)]
        for period in ("day", "week", "month")
    }
    # All six were created on 2026-03-31.
    assert {period: sum(counts) for period, counts in created.items()} == dict.fromkeys(created, 6)
    assert call.json("report", "growth")[0]["period"] == "2026-03-01"


def test_changes_are_those_between_the_last_two_snapshots_or_since_a_moment(call: Commands, stored: Path) -> None:
    def changed(*arguments: str) -> list[tuple[int, str]]:
        return [(row["trunk_id"], row["change"]) for row in call.json("report", "changes", *arguments)]

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
    assert sum(row["trunk_count"] for row in call.json("report", "counts", *first)) == 4
    assert {row["trunk_id"] for row in call.json("audit", *first)} <= {42, 43, 45, 46}
    assert "nothing is known of" in call.error("report", "counts", "--as-of", before.isoformat())
    assert "is after" in call.error("report", "changes", "--since", "2999-01-01")


def test_changes_are_told_below_the_snapshot_that_showed_them(call: Commands) -> None:
    moment, *lines = call("report", "changes").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  default", moment)
    assert lines == ["  trunk 42  removed", "  trunk 47  added", "  trunk 48  added", "2 added, 1 removed"]
    assert call("report", "changes", "--since", "2999-01-01", "--as-of", "2999-01-02") == "no changes\n"


def test_a_changed_field_is_told_with_what_it_cost(
    api: Api, place: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    call = Commands(capfdbinary)
    changed = IP_TRUNK | {"allowed_inbound_ips": ["203.0.113.10"], "sip_address": "pbx\x1b[31m.example"}
    touched = TRUNK | {"updated_at": "2026-04-01T00:00:00Z"}
    for answer in ([TRUNK, IP_TRUNK], [touched, changed]):
        api.answer(answer)
        call("run", "--no-reports")
    _, *lines = call("report", "changes").splitlines()
    assert lines == [
        "  trunk 42  changed  updated_at",
        "          old   2026-03-31T10:00:00.000000Z",
        "          new   2026-04-01T00:00:00.000000Z",
        "          note  possible credential change, which re-creates both legs:",
        "                updated_at moved and nothing else",
        "  trunk 43  changed  allowed_inbound_ips: inbound leg re-created",
        '          old   ["198.51.100.20", "203.0.113.10"]',
        '          new   ["203.0.113.10"]',
        "  trunk 43  changed  sip_address: outbound leg re-created",
        "          old   sip.provider.com",
        "          new   pbx\\x1b[31m.example",
        "3 fields changed",
    ]


def test_a_terminal_gets_every_report_within_its_width(stored: Path, place: Path) -> None:
    names = ["growth", "counts", "freshness", "overview", "audit", "changes"]
    done = subprocess.run(
        ["script", "-qec", f"stty cols 80; {COMMAND} report {' '.join(names)}", "/dev/null"],
        capture_output=True,
        text=True,
        env=os.environ | {"SIP_TRUNKS__DATA_DIR": str(stored), "NO_COLOR": "1", "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
    )
    lines = done.stdout.splitlines()
    begins = [lines.index(name) for name in names]
    assert all(end - begin > 2 for begin, end in pairwise([*begins, len(lines)]))
    assert max(map(len, lines)) <= 80


def test_the_audit_says_what_was_seen_and_what_to_do(call: Commands) -> None:
    findings = call.json("audit")
    (finding,) = [row for row in findings if row["rule"] == "allowlist-open"]
    assert (finding["trunk_id"], finding["severity"], finding["account"]) == (48, "critical", "default")
    assert "0.0.0.0/0" in finding["seen"]
    assert datetime.fromisoformat(finding["first_seen_at"]).year >= 2026
    lines = call("audit").splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "critical  allowlist-open"
    assert lines[1].startswith("          of    trunk 48 +14155551299 (default, since ")
    assert lines[-1].startswith(f"{len(findings)} findings: 1 critical, ")


def test_the_audit_fails_on_what_it_is_told_to(call: Commands) -> None:
    for arguments, code in {
        (): 0,
        ("--fail-on", "critical"): 10,
        ("--fail-on", "info"): 10,
        ("--fail-on", "critical", "--ignore", "allowlist"): 0,
        ("--select", "allowlist-open", "--fail-on", "high"): 10,
        ("--select", "host,number", "--fail-on", "critical"): 0,
    }.items():
        call("audit", *arguments, code=code)
    assert call("audit", "--select", "country-unknown", "--ignore", "country") == "no findings\n"
    assert "did you mean allowlist-open" in call.error("audit", "--select", "allow-list-open")


def test_a_reader_that_leaves_early_makes_no_success_of_a_failing_audit(stored: Path) -> None:
    for options, code in ((["--fail-on", "info"], 10), ([], 0)):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [COMMAND, "audit", *options],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"SIP_TRUNKS__DATA_DIR": str(stored)},
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (code, "")


def test_a_suppressed_finding_is_gone_until_its_day(call: Commands, place: Path) -> None:
    def suppressed_until(day: str) -> str:
        (place / ".dlt").mkdir(exist_ok=True)
        (place / ".dlt" / "config.toml").write_text(
            f'[[sip_trunks.suppressions]]\nrule = "allowlist-open"\ntrunk_id = 48\nreason = "a test"\nuntil = {day}\n'
        )
        return call("audit", "--select", "allowlist-open")

    assert suppressed_until("2999-12-31") == "no findings; 1 suppressed\n"
    assert "1 finding: 1 critical" in suppressed_until("2020-01-01")
    (place / ".dlt" / "config.toml").write_text('[[sip_trunks.suppressions]]\nrule = "allowlist-opn"\n')
    assert "sip_trunks.suppressions" in call.error("audit")
    assert "FAIL  settings: [[sip_trunks.suppressions]]: suppression 1 has no trunk_id" in call("check", code=2)


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "html", "xlsx"])
def test_masked_reports_give_no_number_away(call: Commands, tmp_path: Path, form: str) -> None:
    for number, command in enumerate(
        (["report", "changes", "audit", "overview"], ["report", "counts", "--by", "phone_number"], ["audit"])
    ):
        output = tmp_path / f"{number}{'.xlsx' if form == 'xlsx' else ''}"
        call(*command, "--mask", "--format", form, "--output", str(output))
        if form == "xlsx":
            cells = [c.value for s in openpyxl.load_workbook(output) for row in s.iter_rows() for c in row]
            content = "\n".join(map(str, cells))
        else:
            files = output.iterdir() if output.is_dir() else [output]
            content = "\n".join(file.read_text("utf-8") for file in files)
        for secret in ("4155551234", "3023125199", "lindner-4", "trunk_user"):
            assert secret not in content


def test_options_that_would_do_nothing_are_refused(call: Commands) -> None:
    assert "--period is for `report growth`" in call.error("report", "counts", "--period", "week")
    assert "--since is for the reports growth" in call.error("report", "by_country", "--since", "2026-01-01")
    assert "--raw is for --format csv" in call.error("report", "counts", "--raw", "--format", "json")


def test_moments_are_utc_wherever_they_are_shown(call: Commands, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    call("report", "freshness", "--as-of", "2999-01-01T03:00+05:00", "--output", str(page))
    assert "2998-12-31 22:00 UTC" in page.read_text("utf-8")


def test_a_value_that_cannot_be_seen_is_quoted(
    api: Api, place: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    call = Commands(capfdbinary)
    for address in ("pbx.example", " pbx.example", "", None):
        api.answer([TRUNK | {"sip_address": address}])
        call("run", "--no-reports")
    shown = call("report", "changes", "--since", "2020-01-01")
    assert "new   –" in shown
    api.answer([TRUNK | {"sip_address": " pbx.example"}])
    call("run", "--no-reports")
    assert 'new   " pbx.example"' in call("report", "changes")


def test_an_expired_suppression_is_named(call: Commands, place: Path) -> None:
    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text(
        '[[sip_trunks.suppressions]]\nrule = "allowlist"\ntrunk_id = 48\nreason = "a test"\nuntil = 2020-01-01\n'
    )
    call("audit")
    assert call.errors == "sip-trunks: the suppression of allowlist for trunk 48 has expired on 2020-01-01\n"


def test_the_rules_are_explained(call: Commands) -> None:
    described = call.json("rules")
    assert [rule["rule"] for rule in described] == list(RULES)
    assert set(described[0]) == {"rule", "severity", "question", "why", "fix", "source"}
    assert "allowlist-empty" in call("rules")


def test_a_file_that_cannot_be_written_is_one_line_and_leaves_the_old_one(call: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "counts.csv"
    assert call.error("report", "--output", str(path)).endswith(f"--output {path} cannot be written: File exists")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_picture_is_nothing_for_a_terminal(stored: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(stored))
    done = subprocess.run(
        ["script", "-qec", f"{COMMAND} report counts --format png", "/dev/null"], capture_output=True, text=True
    )
    assert "--output FILE" in done.stdout
