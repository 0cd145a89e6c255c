"""A timetable means the same to systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import datetime
from itertools import islice

import pytest

from sip_trunks.operations.scheduling.timetable import read_cron

START = datetime(2027, 2, 26, 21, 50)  # noqa: DTZ001 - local time, as schedulers have it


def times(expression: str, count: int) -> list[str]:
    return [f"{time:%Y-%m-%d %H:%M}" for time in islice(read_cron(expression).after(START), count)]


@pytest.mark.parametrize(
    "expression",
    [
        "7 * * * *",
        "* * * * *",
        "*/15 9-17 * * mon-fri",
        "5-59/10 1,2,3,20 * * *",
        "*/7 */5 * * *",
        "0 0 1,15 * 5",
        "0 0 1-7 jan,mar-may sun",
        "3 3 */2 * 1",
        "0 12 * * sat-sun",
        "59 23 31 * *",
        "30 4 29 2 *",
        "@weekly",
        "0 0 31 2 1",
    ],
)
def test_systemd_makes_the_same_times_of_it(expression: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NOT TESTED WITH SYSTEMD, which is not there: apt-get install systemd")
    found: set[str] = set()
    for calendar in read_cron(expression).calendar():
        command = ["systemd-analyze", "calendar", "--iterations=12", f"--base-time={START:%Y-%m-%d %H:%M:%S}", calendar]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TZ": "UTC", "LC_ALL": "C"})
        assert done.returncode == 0, done.stderr
        found |= set(re.findall(r"(?:Next elapse|Iter\. #\d+): \w{3} (\S+ \d\d:\d\d):00 UTC", done.stdout))
    assert sorted(found)[:8] == times(expression, 8)
