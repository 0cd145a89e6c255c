"""When a schedule comes, as cron reads its expression. tests/system/test_timetable.py asks systemd."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import islice, pairwise

import pytest

from sip_trunks.core.errors import UsageError
from sip_trunks.operations.scheduling.timetable import read_cron, read_interval

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
def test_a_cron_expression_comes_at_the_times_that_cron_gives_it(expression: str, first: list[str]) -> None:
    assert times(expression, len(first)) == first


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
    with pytest.raises(UsageError, match=advice):
        read_interval(every, 0)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("5/10 * * * *", "5-59/10"),
        ("60 * * * *", "minute must be 0-59"),
        ("0 24 * * *", "hour must be 0-23"),
        ("0 0 0 * *", "day of the month must be 1-31"),
        ("0 0 * foo *", "month must be 1-12 or jan-dec"),
        ("0 0 * * fri-mon", "ends before it begins"),
        ("*/0 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("* * *", "five fields in quotes"),
        ("7 * * * * run", "five fields in quotes"),
        ("", "five fields in quotes"),
        ("@reboot", "@hourly"),
        ("0 0 31 2,4 *", "never runs"),
        ("٣ * * * *", "minute"),
        ("-1 * * * *", "minute"),
    ],
)
def test_an_invalid_cron_expression_is_refused_with_the_reason(expression: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        read_cron(expression)
