"""The times of a schedule: `1h`, `7 * * * *` or `@daily` as one timetable, for cron and for systemd.

A timetable has the times that one crontab line can express. Both schedulers therefore run at the same times, and the
next times can be shown before the schedule is installed. Times are in the machine's local time.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from croniter import croniter

from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import parse_duration

_DAY_MINUTES = 24 * 60
_PER_HOUR = ("1min", "2min", "3min", "4min", "5min", "6min", "10min", "12min", "15min", "20min", "30min", "1h")
_EVERY = {parse_duration("", text) / 60: text for text in (*_PER_HOUR, "2h", "3h", "4h", "6h", "8h", "12h", "1d", "7d")}
"""The intervals that divide an hour, a day or a week evenly, by their minutes."""
_SHORTHANDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_ALLOWED = ("0-59", "0-23", "1-31", "1-12 or jan-dec", "0-7 or sun-sat")
# croniter accepts more than cron does: L, #, ?, 5/10 without a range, fri-mon across the end of the week.
_VALUE = r"(?:[0-9]{1,2}|[a-z]{3})"
_PART = re.compile(rf"(?:\*|(?P<first>{_VALUE})(?:-(?P<last>{_VALUE}))?)(?:/(?P<step>[0-9]{{1,2}}))?")
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_NAMES: Sequence[Any] = croniter.ALPHACONV


@dataclass(frozen=True)
class Timetable:
    """The times of a crontab line. `cron` has its five fields, with numbers instead of names."""

    cron: str

    def calendar(self) -> list[str]:
        """Return the same times as values of systemd's `OnCalendar=`.

        If neither day field begins with `*`, cron runs on dates that match either of them, which takes two values.
        """
        minutes, hours, days, months, weekdays = croniter.expand(self.cron)[0]
        _, _, day_field, _, weekday_field = self.cron.split()
        time = f"{_systemd(hours)}:{_systemd(minutes)}:00"
        in_week = "" if "*" in weekdays else ",".join(_WEEKDAYS[int(day)] for day in weekdays) + " "
        if not day_field.startswith("*") and not weekday_field.startswith("*"):
            return [f"*-{_systemd(months)}-{_systemd(days)} {time}", f"{in_week}*-{_systemd(months)}-* {time}"]
        return [f"{in_week}*-{_systemd(months)}-{_systemd(days)} {time}"]

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Return the times after `moment` in order, without end."""
        return croniter(self.cron, moment, implement_cron_bug=True).all_next(datetime)

    def shortest_gap(self) -> timedelta:
        """Return the shortest time between two runs."""
        minutes, hours, *_ = croniter.expand(self.cron)[0]
        # It is between two runs of a day, or between the last run of a day and the next run.
        per_day = (60 if "*" in minutes else len(minutes)) * (24 if "*" in hours else len(hours))
        times = islice(self.after(datetime(2027, 1, 1)), per_day + 1)  # noqa: DTZ001
        return min(later - earlier for earlier, later in pairwise(times))


def read_cron(text: str) -> Timetable:
    """Return the timetable of a cron expression: five fields, or a shorthand such as `@hourly`.

    Raises UsageError if the expression is not valid, or if cron implementations interpret it differently.
    """
    fields = text.lower().split()
    if text.strip().startswith("@"):
        if text.strip().lower() not in _SHORTHANDS:
            raise UsageError(f"--cron {text.strip()} is not supported; use one of {', '.join(_SHORTHANDS)}")
        fields = [str(values[0]) for values in croniter.expand(text.strip())[0]]
    if len(fields) != len(_FIELDS):
        raise UsageError(
            f'--cron needs five fields in quotes, minute hour day month weekday, such as "7 * * * *"; got {text!r}'
        )
    fields = [",".join(_read_part(part, index) for part in field.split(",")) for index, field in enumerate(fields)]
    timetable = Timetable(" ".join(fields))
    try:
        next(timetable.after(datetime(2027, 1, 1)))  # noqa: DTZ001
    except ValueError:
        raise UsageError(f"--cron {text!r} never runs: these months have no day {fields[2]}") from None
    return timetable


def read_interval(text: str, offset: int) -> Timetable:
    """Return the timetable with the interval `text` (15min, 1h, 1d), `offset` minutes after each full interval.

    The offset is applied modulo the interval. Raises UsageError if the interval does not divide an hour, a day or a
    week evenly.
    """
    minutes = parse_duration("--every", text) / 60
    if minutes not in _EVERY:
        near = sorted(sorted(_EVERY, key=lambda known: abs(known - minutes))[:2])
        raise UsageError(
            f"--every {text} does not divide an hour, a day or a week evenly; use {_EVERY[near[0]]} or "
            f"{_EVERY[near[1]]}, or --cron"
        )
    every = int(minutes)
    days, of_day = divmod(offset % every, _DAY_MINUTES)
    hour, minute = divmod(of_day, 60)
    minute_field = str(minute) if every >= 60 else _steps(minute, every, 60)
    hour_field = "*" if every <= 60 else str(hour) if every >= _DAY_MINUTES else _steps(hour, every // 60, 24)
    return read_cron(f"{minute_field} {hour_field} * * {days if every > _DAY_MINUTES else '*'}")


def _steps(first: int, step: int, end: int) -> str:
    if step == 1:
        return "*"
    return f"*/{step}" if first == 0 else f"{first}-{end - 1}/{step}"


def _read_part(part: str, index: int) -> str:
    """Return a part of a field with numbers for names, as not every cron accepts names in lists and ranges.

    Raises UsageError if the part is not valid.
    """
    found = _PART.fullmatch(part)
    # Sunday is 0, or 7 at the end of a range.
    text = part.replace("-sun", "-7") if _FIELDS[index] == "day of the week" else part
    numbers = re.sub("[a-z]{3}", lambda name: str(_NAMES[index].get(name[0], name[0])), text)
    if not found or not croniter.is_valid(" ".join(["*"] * index + [numbers] + ["*"] * (len(_FIELDS) - 1 - index))):
        raise UsageError(f"--cron: {_FIELDS[index]} must be {_ALLOWED[index]}; got {part!r}")
    if found["step"] and found["first"] and not found["last"]:
        # Some cron implementations ignore the step.
        last = _ALLOWED[index].split()[0].partition("-")[2]
        raise UsageError(f"--cron: {_FIELDS[index]} {part!r}: write the range, {found['first']}-{last}/{found['step']}")
    low, _, high = numbers.partition("/")[0].partition("-")
    if high and int(high) < int(low):
        raise UsageError(f"--cron: {_FIELDS[index]} {part!r} ends before it begins; write two ranges")
    return numbers


def _systemd(values: Collection[object]) -> str:
    return "*" if "*" in values else ",".join(f"{value:02}" for value in values)
