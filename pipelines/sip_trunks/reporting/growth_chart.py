"""The growth of the trunks → the positions of the lines, bars and labels of a chart, which page.html draws as SVG."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sip_trunks.reporting.formats import MONTHS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

_TOTAL_HEIGHT, _MOVED_HEIGHT, _HEADING, _FOOTING = 150, 110, 34, 26
_HOUR_STEPS = (1, 2, 3, 6, 12, 24, 48, 168, 336)
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000, 60000)
_HOUR = timedelta(hours=1)
MONTH_HOURS = 28 * 24
"""The shortest month."""


def draw_growth(rows: list[dict[str, Any]], width: int) -> dict[str, Any]:
    """Return the growth chart of this width in pixels: a panel of totals above a panel of created and vanished trunks.

    `rows` are those of `sum_growth`. Positions are pixels from the top left. A period without snapshots interrupts the
    line of the totals.
    """
    moments = [as_moment(row["period"]) for row in rows]
    totals = [row["trunk_count"] for row in rows]
    created, vanished = ([row[name] for row in rows] for name in ("created_count", "vanished_count"))
    total_steps = _steps(0, max((total for total in totals if total is not None), default=0))
    moved_steps = _steps(-max(vanished), max(created))
    left = 14 + 7 * max(len(f"{step:,}") for step in (*total_steps, *moved_steps))
    hours = period_hours(moments)
    # Half of the last label of the time axis is to the right of the last period.
    right, span = width - 36, (moments[-1] - moments[0]) / _HOUR
    band = max(2, min(36, round((right - left) * 0.6 / (span / hours + 2))))

    def x_of(moment: datetime) -> float:
        share = (moment - moments[0]) / _HOUR / span if span else 0.5
        return round(left + band + share * (right - left - 2 * band), 1)

    total_bottom = _HEADING + _TOTAL_HEIGHT
    moved_bottom = total_bottom + _HEADING + _MOVED_HEIGHT
    y_of_total, totals_panel = _panel("trunks seen", total_steps, total_bottom, _TOTAL_HEIGHT)
    y_of_moved, moved_panel = _panel("created (up), vanished (down)", moved_steps, moved_bottom, _MOVED_HEIGHT)
    line, is_drawing, marks = [], False, []
    for row, moment, total in zip(rows, moments, totals, strict=True):
        x, start = x_of(moment), x_of(moment) - band / 2
        bars = [("created", start, y_of_moved(row["created_count"]), y_of_moved(0))]
        bars.append(("vanished", start, y_of_moved(0), y_of_moved(-row["vanished_count"])))
        point = None if total is None else (x, y_of_total(total))
        if point:
            line.append(f"{'L' if is_drawing else 'M'}{x},{point[1]}")
        is_drawing = point is not None
        marks.append({"row": row, "bars": [bar for bar in bars if bar[2] < bar[3]], "point": point})
    return {
        "width": width,
        "height": moved_bottom + _FOOTING,
        "left": left,
        "right": right,
        "band": band,
        "radius": max(2, min(4, band / 2)),
        "panels": [totals_panel, moved_panel],
        "times": [(x_of(moment), text) for moment, text in _time_labels(moments, hours, max(width // 100, 2))],
        "line": "".join(line),
        "marks": marks,
    }


def _panel(title: str, steps: range, bottom: int, height: int) -> tuple[Callable[[int], float], dict[str, Any]]:
    """Return the function from a number to its `y`, and a panel whose number axis has these steps."""

    def y_of(number: int) -> float:
        return round(bottom - height * (number - steps[0]) / (steps[-1] - steps[0]), 1)

    return y_of, {"title": title, "top": bottom - height, "zero": y_of(0), "numbers": [(y_of(n), n) for n in steps]}


def _steps(lowest: int, highest: int) -> range:
    """Return at most six round numbers, equally spaced, that include zero and enclose these two."""
    sizes = (factor * 10**exponent for exponent in range(20) for factor in (1, 2, 5))
    size = next(size for size in sizes if highest - lowest <= 4 * size)
    first, last = lowest // size * size, -(-highest // size) * size
    return range(first, max(last, first + size) + 1, size)


def as_moment(period: date) -> datetime:
    """Return the start of a period: a day, or an hour."""
    return period if isinstance(period, datetime) else datetime.combine(period, time())


def period_hours(moments: list[datetime]) -> int:
    """Return the shortest length of a period, in hours, if these are the starts of hours, days, weeks or months."""
    if all(moment.day == 1 and not moment.hour for moment in moments):
        return MONTH_HOURS
    gaps = [(later - earlier) / _HOUR for earlier, later in pairwise(moments)]
    return next(hours for hours in (168, 24, 1) if all(gap % hours == 0 for gap in gaps))


def _time_labels(moments: list[datetime], hours: int, most: int) -> list[tuple[datetime, str]]:
    """Return at most `most` moments with their labels, in the smallest unit of time that needs no more labels."""
    first, last = moments[0], moments[-1]
    for step in _HOUR_STEPS:
        count = int((last - first) / _HOUR // step) + 1
        if hours <= step and count <= most:
            shown = [first + number * step * _HOUR for number in range(count)]
            ends = (f"{each:%H:%M}" if step < 24 else each.year for each in shown)
            return [(each, f"{each.day} {_month(each)} {end}") for each, end in zip(shown, ends, strict=True)]
    # Numbered from the year 0.
    start, end = (moment.year * 12 + moment.month - 1 for moment in (first, last))
    start += first.day > 1
    for step in _MONTH_STEPS:
        months = range(-(-start // step) * step, end + 1, step)
        if len(months) <= most:
            break
    starts = [datetime(month // 12, month % 12 + 1, 1) for month in months]  # noqa: DTZ001 - periods have no time zone
    return [(each, f"{_month(each)} {each.year}" if step < 12 else f"{each.year}") for each in starts]


def _month(moment: datetime) -> str:
    return MONTHS[moment.month - 1]
