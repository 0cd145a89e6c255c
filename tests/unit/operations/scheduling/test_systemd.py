"""The texts of a service and of its timer."""

from __future__ import annotations

from pathlib import Path

import pytest

from sip_trunks.core.errors import UsageError
from sip_trunks.operations.scheduling import systemd
from sip_trunks.operations.scheduling.job import Job
from sip_trunks.operations.scheduling.timetable import read_cron


def job(folder: str = "/srv/sip-trunks") -> Job:
    return Job(
        name="sip-trunks",
        timetable=read_cron("*/5 0 1,15 * 5"),
        command=(f"{folder}/.venv/bin/sip-trunks", "run"),
        folder=Path(folder),
        writable=(Path(folder, "data"),),
    )


def test_a_service_of_the_machine_is_confined_to_the_folders_that_a_run_writes() -> None:
    assert "\nReadWritePaths=/srv/sip-trunks/data\nPrivateTmp=true\n" in systemd.service_of(job(), is_system=True)
    # What is below /tmp could not be seen with a /tmp of its own.
    assert "PrivateTmp" not in systemd.service_of(job("/tmp/sip-trunks"), is_system=True)
    assert "ProtectSystem" not in systemd.service_of(job(), is_system=False)


@pytest.mark.parametrize("folder", ["/srv/it's", '/srv/"quoted"', "/srv/back\\slash"])
def test_a_folder_that_a_unit_cannot_name_is_refused(folder: str) -> None:
    with pytest.raises(UsageError, match="try --cron"):
        systemd.service_of(job(folder), is_system=True)


def test_a_timer_has_a_line_for_each_of_two_days_of_which_either_will_do() -> None:
    lines = [line for line in systemd.timer_of(job()).splitlines() if line.startswith("OnCalendar=")]
    assert lines == [f"OnCalendar={time}" for time in job().timetable.calendar()]
    assert len(lines) == 2
