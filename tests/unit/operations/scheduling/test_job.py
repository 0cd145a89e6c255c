"""What a schedule calls, and how often: found out before any scheduler is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import read_settings
from sip_trunks.operations.scheduling.job import describe_run, offset_minutes
from sip_trunks.operations.scheduling.timetable import read_cron
from tests.support.runs import call

DAILY = read_cron("@daily")


@pytest.fixture(autouse=True)
def project(place: Path) -> Path:
    """A folder with settings of its own."""
    (place / ".dlt").mkdir()
    return place


def test_a_job_runs_here_with_this_program_and_may_write_what_a_run_writes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LAKE", "/lakes/trunks")
    monkeypatch.setenv("SIP_TRUNKS__METRICS", "/var/lib/textfile/sip_trunks.prom")
    settings = read_settings("parquet")
    job = describe_run(settings, "sip-trunks", DAILY, accounts=["acme"], destination="parquet")
    assert job.writable == (project / "data", Path("/lakes/trunks"), Path("/var/lib/textfile"))
    assert job.folder == project
    program = str(Path(sys.executable).with_name("sip-trunks"))
    assert job.command == (program, "run", "--account", "acme", "--destination", "parquet")
    assert offset_minutes(settings) == offset_minutes(read_settings())


def test_a_data_directory_is_passed_on_if_only_the_shell_knows_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passed_on() -> Path | None:
        return describe_run(read_settings(), "sip-trunks", DAILY, accounts=[], destination=None).data_dir

    assert passed_on() == project / "data"
    monkeypatch.delenv("SIP_TRUNKS__DATA_DIR")
    (project / ".dlt" / "config.toml").write_text('[sip_trunks]\ndata_dir = "store"\n')
    assert passed_on() is None


def test_a_name_that_cannot_be_printed_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be printed"):
        describe_run(read_settings(), "sip-trunks", DAILY, accounts=["line\nfeed"], destination=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "use either --every 1h or"),
        (["--every", "1h", "--cron", "7 * * * *"], "use either --every 1h or"),
        (["--every", "1h", "--cron", "--systemd"], "use one of them"),
        (["--every", "soon"], "15min, 1h or 1d"),
        (["--every", "7h", "--cron"], "6h or 8h"),
        (["--cron", "7 * * *"], "five fields"),
        (["--every", "1h", "--cron", "--name", "a b"], "--name"),
        (["--every", "1h", "--cron", "--account", "acme"], "no account named 'acme'"),
    ],
)
def test_an_invalid_schedule_is_refused(options: list[str], message: str) -> None:
    assert message in call("schedule", "install", *options, code=2)
