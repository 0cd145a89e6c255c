"""Office hours: on which days, from when to when, and in which time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_DAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_EXAMPLE = '"Mo-Fr 08:00-18:00 Europe/Berlin" or "Mo-Fr 08:00-18:00, Sa 09:00-13:00 Europe/Berlin"'
_DAY = "mon?|tue?|wed?|thu?|fri?|sat?|sun?"
_PERIOD = re.compile(rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?\s+)?(?P<hours>\d\d?:\d\d-\d\d?:\d\d)")


@dataclass(frozen=True)
class OfficeHours:
    """Periods of the week in a time zone, each as its first minute and its length; minute 0 is Monday, 00:00."""

    text: str
    time_zone: str
    periods: tuple[tuple[int, int], ...]

    def include(self, moments: pd.Series) -> pd.Series:
        """Return a flag per moment (UTC): it is in the office hours by the clock of the time zone."""
        import numpy as np
        import pandas as pd

        is_open = np.zeros(_WEEK_MINUTES, dtype=bool)
        for first, length in self.periods:
            is_open[np.arange(first, first + length) % _WEEK_MINUTES] = True
        local = moments.dt.tz_convert(self.time_zone).dt
        minutes = local.day_of_week * _DAY_MINUTES + local.hour * 60 + local.minute
        return pd.Series(is_open[minutes.to_numpy(dtype=int)], index=moments.index)


def read_office_hours(text: str) -> OfficeHours:
    """Return the office hours that a text describes, such as `Mo-Fr 08:00-18:00 Europe/Berlin`.

    A text has one or more periods, separated by commas, and a time zone. Days may go over the end of the week, and
    hours over midnight; the end may be 24:00. A period without days has the days of the one before it, or all days.

    Raises ValueError, in one line, if the text is not valid.
    """
    from zoneinfo import ZoneInfo

    *rest, time_zone = text.split() or [""]
    try:
        ZoneInfo(time_zone)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{time_zone!r} is not a time zone; write the hours as {_EXAMPLE}") from None
    periods: list[tuple[int, int]] = []
    days: tuple[int, ...] = tuple(range(7))
    for part in " ".join(rest).lower().split(","):
        found = _PERIOD.fullmatch(part.strip())
        if not found:
            raise ValueError(f"{part.strip()!r} is not days and hours; write them as {_EXAMPLE}")
        if found["first"]:
            first = _DAYS.index(found["first"][:2])
            last = _DAYS.index((found["last"] or found["first"])[:2])
            days = tuple((first + step) % 7 for step in range((last - first) % 7 + 1))
        begin, end = (_read_time(time) for time in found["hours"].split("-"))
        if begin in (end, _DAY_MINUTES):
            raise ValueError(f"{found['hours']!r} has no length; write all day as 00:00-24:00")
        length = (end - begin) % _DAY_MINUTES or _DAY_MINUTES
        periods += [(day * _DAY_MINUTES + begin, length) for day in days]
    return OfficeHours(" ".join(text.split()), time_zone, tuple(dict.fromkeys(periods)))


def _read_time(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MINUTES:
        raise ValueError(f"{text!r} is not a time of the day; the latest one is 24:00")
    return hours * 60 + minutes
