"""The line that a crontab gets."""

from __future__ import annotations

from pathlib import Path

from sip_trunks.operations.scheduling import crontab
from sip_trunks.operations.scheduling.job import Job
from sip_trunks.operations.scheduling.timetable import read_cron


def job(folder: str, data_dir: str | None = None) -> Job:
    return Job(
        name="sip-trunks",
        timetable=read_cron("7 * * * *"),
        command=("/opt/sip trunks", "run"),
        folder=Path(folder),
        writable=(Path(folder, "data"),),
        data_dir=Path(data_dir) if data_dir else None,
        user="somebody",
    )


def test_the_line_runs_the_command_in_its_folder() -> None:
    line = crontab.line_of(job("/srv/trunks"))
    assert line.startswith("7 * * * *  cd /srv/trunks && out=$('/opt/sip trunks' run 2>&1)")


def test_a_percent_sign_is_escaped_and_a_quote_is_quoted() -> None:
    line = crontab.line_of(job("/srv/it's 100% here", "/data/50%"))
    assert "cd '/srv/it'\"'\"'s 100\\% here' && " in line
    assert "SIP_TRUNKS__DATA_DIR=/data/50\\% " in line
    assert line.count("%") == line.count("\\%")


def test_the_line_lies_between_marks_that_name_the_schedule_and_its_folder() -> None:
    ((title, block),) = crontab.render(job("/srv/trunks"))
    assert title == "the crontab of somebody"
    begin, line, end = block.splitlines()
    assert begin.startswith("# begin sip-trunks in /srv/trunks: ")
    assert line == crontab.line_of(job("/srv/trunks"))
    assert end == "# end sip-trunks"
