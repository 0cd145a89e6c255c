"""When a schedule comes: what people write (`1h`, `7 * * * *`, `@daily`) as one timetable, for cron and for systemd.

A timetable is the times that a line of a crontab can say. So both schedulers are told the same, and the next times can
be shown before anything is installed. Times are the machine's local ones, as both schedulers have it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from sip_trunks.core.errors import SettingsError
from sip_trunks.core.settings import parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY_MINUTES = 24 * 60
_EVERY = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440, 7 * 1440)
"""The minutes after which a timetable can come again, at every turn of the hour, the day and the week."""
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
class _Field:
    """One of the five fields: its name, its values, and the names that stand for them."""

    name: str
    values: range
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", range(60)),
    _Field("hour", range(24)),
    _Field("day of the month", range(1, 32)),
    _Field("month", range(1, 13), _MONTHS),
    # Sunday is 0, and 7 as well.
    _Field("day of the week", range(8), _DAYS),
)


@dataclass(frozen=True)
class Timetable:
    """The times that one line of a crontab says; `cron` is that line's five fields."""

    cron: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_either_day: bool
    """Whether a day comes if the month's or the week's field has it: cron's rule where both are restricted."""

    def calendar(self) -> list[str]:
        """Return the same times as values of systemd's `OnCalendar=`; two where either day will do."""
        time = f"{_systemd(self.hours, _FIELDS[1])}:{_systemd(self.minutes, _FIELDS[0])}:00"
        month, day = _systemd(self.months, _FIELDS[3]), _systemd(self.days, _FIELDS[2])
        weekdays = _systemd_weekdays(self.weekdays)
        if self.is_either_day:
            return [f"*-{month}-{day} {time}", f"{weekdays}*-{month}-* {time}"]
        return [f"{weekdays}*-{month}-{day} {time}"]

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times after `moment`, in order and without end."""
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        while True:
            if self._has_day(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        time = day.replace(hour=hour, minute=minute)
                        if time > moment:
                            yield time
            day += timedelta(days=1)

    def shortest_gap(self) -> timedelta:
        """Return the shortest time from one to the next."""
        # Every timetable of more than one time a day shows its shortest gap within a day and the first time after it.
        times = list(islice(self.after(datetime(2027, 1, 1)), len(self.hours) * len(self.minutes) + 1))  # noqa: DTZ001
        return min(later - earlier for earlier, later in pairwise(times))

    def _has_day(self, day: datetime) -> bool:
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (in_month or in_week if self.is_either_day else in_month and in_week)


def read_cron(text: str) -> Timetable:
    """Return the timetable of a cron expression: five fields, or @hourly and the like. Raises SettingsError."""
    written = text.strip().lower()
    if written.startswith("@") and written not in _SHORTHANDS:
        raise SettingsError(f"--cron knows {', '.join(_SHORTHANDS)}, not {text.strip()!r}")
    fields = _SHORTHANDS.get(written, written).split()
    if len(fields) != len(_FIELDS):
        raise SettingsError(
            f'--cron needs five fields in quotes, minute hour day month weekday, such as "7 * * * *", got {text!r}'
        )
    minutes, hours, days, months, weekdays = map(_read_field, fields, _FIELDS)
    weekdays = frozenset(day % 7 for day in weekdays)
    # A field that begins with * restricts nothing by cron's rule, not even as */2; then both fields have to agree.
    is_either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not is_either_day and all(min(days) > _LONGEST_MONTHS[month - 1] for month in months):
        raise SettingsError(f"--cron {text!r} never comes: no such month has a day {min(days)}")
    cron = " ".join(map(_without_names, fields, _FIELDS))
    return Timetable(cron, minutes, hours, days, months, weekdays, is_either_day)


def read_interval(text: str, offset: int) -> Timetable:
    """Return the timetable that comes every `text` (15min, 1h, 1d), `offset` minutes after the full one.

    The offset is taken modulo the interval. Raises SettingsError if the interval does not divide an hour, a day or a
    week: no timetable comes every 7 hours.
    """
    minutes = parse_duration("--every", text) / 60
    if minutes not in _EVERY:
        near = sorted(sorted(_EVERY, key=lambda known: abs(known - minutes))[:2])
        raise SettingsError(
            f"--every {text} cannot be said to a scheduler, which counts from every full hour, day or week: "
            f"{_as_duration(near[0])} or {_as_duration(near[1])}, or --cron with an expression of your own"
        )
    every = int(minutes)
    days, of_day = divmod(offset % every, _DAY_MINUTES)
    hour, minute = divmod(of_day, 60)
    step = every // 60
    minute_field = str(minute) if every >= 60 else _steps(minute, every, 60)
    hour_field = "*" if every <= 60 else str(hour) if every >= _DAY_MINUTES else _steps(hour, step, 24)
    return read_cron(f"{minute_field} {hour_field} * * {days if every > _DAY_MINUTES else '*'}")


def _steps(first: int, step: int, end: int) -> str:
    if step == 1:
        return "*"
    return f"*/{step}" if first == 0 else f"{first}-{end - 1}/{step}"


def _as_duration(minutes: int) -> str:
    if minutes % _DAY_MINUTES == 0:
        return f"{minutes // _DAY_MINUTES}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}min"


def _read_field(text: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        found |= set(_read_part(part, field))
    return frozenset(found)


def _read_part(part: str, field: _Field) -> range:
    match = re.fullmatch(r"(?:(\*)|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]{1,4}))?", part)
    if not match:
        raise _wrong(part, field)
    star, first, last, step = match.groups()
    if star:
        low, high = field.values[0], field.values[-1]
    else:
        low = _read_value(first, field)
        high = _read_value(last, field) if last else low
        if last == "sun":
            high = 7
    if high < low:
        raise SettingsError(f"--cron: {field.name} {part!r} ends before it begins; write two ranges with a comma")
    if step and not int(step):
        raise _wrong(part, field)
    if step and not star and not last:
        # Crons differ in what they make of it: some ignore the step.
        raise SettingsError(f"--cron: {field.name} {part!r}: write the range, {first}-{field.values[-1]}/{step}")
    return range(low, high + 1, int(step or 1))


def _read_value(text: str, field: _Field) -> int:
    if text in field.names:
        return field.names.index(text) + field.values[0]
    if not text.isdecimal() or int(text) not in field.values:
        raise _wrong(text, field)
    return int(text)


def _wrong(part: str, field: _Field) -> SettingsError:
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return SettingsError(f"--cron: {field.name} needs {field.values[0]} to {field.values[-1]}{names}, got {part!r}")


def _without_names(text: str, field: _Field) -> str:
    """Not every cron takes names in lists and ranges."""
    text = text.replace("-sun", "-7") if "sun" in field.names else text
    return re.sub(r"[a-z]+", lambda name: str(field.names.index(name[0]) + field.values[0]), text)


def _systemd(values: Collection[int], field: _Field) -> str:
    every = field.values
    if len(values) == len(every):
        return "*"
    ordered = sorted(values)
    step = ordered[1] - ordered[0] if len(ordered) > 2 else 1
    if step > 1 and ordered == list(range(ordered[0], every[-1] + 1, step)):
        return f"{ordered[0]:02}/{step}"
    return ",".join(f"{low:02}" if low == high else f"{low:02}..{high:02}" for low, high in _runs(ordered))


def _systemd_weekdays(values: Collection[int]) -> str:
    """Systemd's week begins on Monday."""
    if len(values) == 7:
        return ""
    ordered = sorted((value - 1) % 7 for value in values)
    names = [(_DAYS[(low + 1) % 7].title(), _DAYS[(high + 1) % 7].title()) for low, high in _runs(ordered)]
    return ",".join(low if low == high else f"{low}..{high}" for low, high in names) + " "


def _runs(ordered: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of every unbroken run of numbers."""
    first = last = ordered[0]
    for value in ordered[1:]:
        if value != last + 1:
            yield first, last
            first = value
        last = value
    yield first, last
