"""When a schedule comes: the same times for cron, for systemd and for who is shown them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import datetime
from itertools import islice, pairwise

import pytest

from pipelines.errors import SettingsError
from pipelines.scheduling.timetable import read_cron, read_interval

START = datetime(2027, 2, 26, 21, 50)  # noqa: DTZ001 - local time, as schedulers have it


def times(expression: str, count: int = 12) -> list[str]:
    return [f"{time:%Y-%m-%d %H:%M}" for time in islice(read_cron(expression).after(START), count)]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("7 * * * *", ["2027-02-26 22:07", "2027-02-26 23:07", "2027-02-27 00:07"]),
        ("*/25 23 * * *", ["2027-02-26 23:00", "2027-02-26 23:25", "2027-02-26 23:50", "2027-02-27 23:00"]),
        ("30 4 29 FEB *", ["2028-02-29 04:30", "2032-02-29 04:30"]),
        ("0 12 * * fri-sun", ["2027-02-27 12:00", "2027-02-28 12:00", "2027-03-05 12:00"]),
        ("0 12 * * 0,7", ["2027-02-28 12:00", "2027-03-07 12:00"]),
        # Both days restricted: either will do. One of them begins with *: both have to agree.
        ("0 0 1,15 * 6", ["2027-02-27 00:00", "2027-03-01 00:00", "2027-03-06 00:00", "2027-03-13 00:00"]),
        ("0 0 */2 * 1", ["2027-03-01 00:00", "2027-03-15 00:00", "2027-03-29 00:00"]),
        ("@monthly", ["2027-03-01 00:00", "2027-04-01 00:00"]),
    ],
)
def test_a_cron_expression_means_what_cron_makes_of_it(expression: str, first: list[str]) -> None:
    assert times(expression, len(first)) == first


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


@pytest.mark.parametrize(
    ("every", "offset", "cron"),
    [
        ("1min", 12345, "* * * * *"),
        ("15min", 12345, "*/15 * * * *"),
        ("15min", 52, "7-59/15 * * * *"),
        ("1h", 52, "52 * * * *"),
        ("6h", 180 + 7, "7 3-23/6 * * *"),
        ("1d", 25 * 60 + 7, "7 1 * * *"),
        ("24h", 7, "7 0 * * *"),
        ("7d", 2 * 24 * 60 + 7, "7 0 * * 2"),
    ],
)
def test_an_interval_is_a_timetable_at_a_minute_of_its_own(every: str, offset: int, cron: str) -> None:
    timetable = read_interval(every, offset)
    assert timetable.cron == cron
    gaps = list(islice(timetable.after(START), 40))
    assert {later - earlier for earlier, later in pairwise(gaps)} == {timetable.shortest_gap()}


@pytest.mark.parametrize(
    ("every", "advice"), [("7h", "6h or 8h"), ("45min", "30min or 1h"), ("30s", "1min or 2min"), ("2d", "12h or 1d")]
)
def test_an_interval_that_no_scheduler_can_keep_is_refused_with_the_next_ones(every: str, advice: str) -> None:
    with pytest.raises(SettingsError, match=advice):
        read_interval(every, 0)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("5/10 * * * *", "5-59/10"),
        ("60 * * * *", "minute needs 0 to 59"),
        ("0 24 * * *", "hour needs 0 to 23"),
        ("0 0 0 * *", "day of the month needs 1 to 31"),
        ("0 0 * foo *", "month needs 1 to 12 or jan to dec"),
        ("0 0 * * fri-mon", "ends before it begins"),
        ("*/0 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("* * *", "five fields in quotes"),
        ("7 * * * * run", "five fields in quotes"),
        ("", "five fields in quotes"),
        ("@reboot", "@hourly"),
        ("0 0 31 2,4 *", "never comes"),
        ("٣ * * * *", "minute"),
        ("-1 * * * *", "minute"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_what_is_wrong(expression: str, says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        read_cron(expression)
