"""When a schedule runs: `1h`, `7 * * * *` or `@daily` as one timetable, for cron and for systemd.

A timetable holds the times that one line of a crontab can express, so both schedulers get the same times, and the next
ones can be shown before anything is installed. Times are local to the machine, as both schedulers take them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from croniter import croniter

from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_DAY_MINUTES = 24 * 60
_EVERY = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440, 7 * 1440)
"""The intervals, in minutes, that divide an hour, a day or a week evenly."""
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_ALLOWED = ("0-59", "0-23", "1-31", "1-12 or jan-dec", "0-7 or sun-sat")
# croniter takes more than cron does: L, #, ?, 5/10 without a range, fri-mon around the end of the week.
_VALUE = r"(?:[0-9]{1,2}|[a-z]{3})"
_PART = re.compile(rf"(?:\*|(?P<first>{_VALUE})(?:-(?P<last>{_VALUE}))?)(?:/(?P<step>[0-9]{{1,2}}))?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_NAMES: dict[int, dict[str, int]] = {
    3: {name.lower(): number for number, name in enumerate(_MONTHS, 1)},
    4: {name.lower(): number for number, name in enumerate(_WEEKDAYS)} | {"-sun": -7},  # at the end of a range
}


@dataclass(frozen=True)
class Timetable:
    """The times of one line of a crontab; `cron` holds its five fields, without names."""

    cron: str

    def calendar(self) -> list[str]:
        """Return the same times as values of systemd's `OnCalendar=`: two if either of two days will do."""
        minutes, hours, days, months, weekdays = croniter.expand(self.cron)[0]
        time = f"{_systemd(hours)}:{_systemd(minutes)}:00"
        in_week = "" if "*" in weekdays else ",".join(_WEEKDAYS[int(day)] for day in weekdays) + " "
        if self._is_either_day:
            return [f"*-{_systemd(months)}-{_systemd(days)} {time}", f"{in_week}*-{_systemd(months)}-* {time}"]
        return [f"{in_week}*-{_systemd(months)}-{_systemd(days)} {time}"]

    @property
    def _is_either_day(self) -> bool:
        """Whether a date matches if the month's or the week's field does: cron's rule if neither begins with `*`."""
        fields = self.cron.split()
        return not fields[2].startswith("*") and not fields[4].startswith("*")

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times after `moment`, in order and without end."""
        times = croniter(self.cron, moment, implement_cron_bug=True)
        while True:
            yield times.get_next(datetime)

    def shortest_gap(self) -> timedelta:
        """Return the shortest time from one run to the next."""
        minutes, hours, *_ = croniter.expand(self.cron)[0]
        # The shortest gap is within a day, or from its last run to the next one.
        per_day = (60 if "*" in minutes else len(minutes)) * (24 if "*" in hours else len(hours))
        times = islice(self.after(datetime(2027, 1, 1)), per_day + 1)  # noqa: DTZ001
        return min(later - earlier for earlier, later in pairwise(times))


def read_cron(text: str) -> Timetable:
    """Return the timetable of a cron expression: five fields, or `@hourly` and the like.

    Raises UsageError for everything that not every cron reads in the same way.
    """
    written = text.strip().lower()
    if written.startswith("@") and written not in _SHORTHANDS:
        raise UsageError(f"--cron {text.strip()} is not supported; use one of {', '.join(_SHORTHANDS)}")
    fields = _SHORTHANDS.get(written, written).split()
    if len(fields) != len(_FIELDS):
        raise UsageError(
            f'--cron needs five fields in quotes, minute hour day month weekday, such as "7 * * * *"; got {text!r}'
        )
    timetable = Timetable(" ".join(_read_field(field, place) for place, field in enumerate(fields)))
    try:
        next(timetable.after(datetime(2027, 1, 1)))  # noqa: DTZ001
    except ValueError:
        raise UsageError(f"--cron {text!r} never runs: no such month has a day {fields[2]}") from None
    return timetable


def read_interval(text: str, offset: int) -> Timetable:
    """Return the timetable that runs every `text` (15min, 1h, 1d), `offset` minutes after the full one.

    The offset is taken modulo the interval. Raises UsageError if the interval does not divide an hour, a day or a
    week evenly.
    """
    minutes = parse_duration("--every", text) / 60
    if minutes not in _EVERY:
        near = sorted(sorted(_EVERY, key=lambda known: abs(known - minutes))[:2])
        raise UsageError(
            f"--every {text} does not divide an hour, a day or a week evenly; use {_as_duration(near[0])} or "
            f"{_as_duration(near[1])}, or --cron"
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


def _as_duration(minutes: int) -> str:
    if minutes % _DAY_MINUTES == 0:
        return f"{minutes // _DAY_MINUTES}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}min"


def _read_field(text: str, place: int) -> str:
    """Return a field with numbers for names, which not every cron takes in lists and ranges. Raises UsageError."""
    return ",".join(_read_part(part, place) for part in text.split(","))


def _read_part(part: str, place: int) -> str:
    found = _PART.fullmatch(part)
    others = ["*"] * len(_FIELDS)
    names = _NAMES.get(place, {})
    others[place] = re.sub(r"-sun|[a-z]{3}", lambda name: str(names.get(name[0], name[0])), part)
    if not found or not croniter.is_valid(" ".join(others)):
        raise UsageError(f"--cron: {_FIELDS[place]} must be {_ALLOWED[place]}; got {part!r}")
    if found["step"] and found["first"] and not found["last"]:
        # Some crons ignore the step.
        last = re.match(r"\d+-(\d+)", _ALLOWED[place])
        raise UsageError(
            f"--cron: {_FIELDS[place]} {part!r}: write the range, {found['first']}-{last and last[1]}/{found['step']}"
        )
    low, _, high = others[place].partition("/")[0].partition("-")
    if high and int(high) < int(low):
        raise UsageError(f"--cron: {_FIELDS[place]} {part!r} ends before it begins; write two ranges")
    return others[place]


def _systemd(values: Collection[object]) -> str:
    return "*" if "*" in values else ",".join(f"{value:02}" for value in values)
