"""Report frames → one self-contained HTML page: no script, no request, every text escaped.

The page shows the worst and the newest rows, and the number of rows that it omits.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import date, datetime
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from sip_trunks import __version__
from sip_trunks.reporting import summaries
from sip_trunks.reporting.formats import frame_records
from trunk_transforms.audit.coverage import describe_coverage
from trunk_transforms.audit.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from sip_trunks.destinations.base import NamedDestination
    from sip_trunks.reporting.formats import Frames

_MOST_COUNTRIES = 30
_MOST_FORMATS = 6
_MOST_BARS = 12
_MOST_ROWS = 50
_MOST_FINDINGS = 200
_MOST_TRUNKS_OF_A_RULE = 25
_MOST_FIRST = 3
_MOST_TRUNKS_OF_A_CAUSE = 3
_LONGEST_FIX = 160
_WIDTHS = {"wide": 1000, "tablet": 620, "narrow": 336}
"""The widths of the growth chart, in pixels: for screens and paper, tablets, and phones. The stylesheet shows one."""
_TOTAL_HEIGHT, _MOVED_HEIGHT, _HEADING, _FOOTING = 150, 110, 34, 24
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000, 60000)
_CARDS = {"Stored": ("accounts", "trunks", "freshness"), "Changes": ("changes",), "Findings": ("findings",)}
"""The sections of the overview on each card. The counts have a table of their own."""
_DETAILS = {"Stored": "freshness", "Changes": "changes", "Findings": "audit"}
"""The report that each card links to, if the page has it."""


def render_page(reports: Frames, *, as_of: datetime, destination: NamedDestination) -> str:
    """Return the page as HTML, with these reports as of `as_of` (UTC) on the data in `destination`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sip_trunks.reporting", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"readable": summaries.readable, "thousands": "{:,}".format, "duration": _duration}
    style = files("sip_trunks.reporting").joinpath("page.css").read_text("utf-8")
    return environment.get_template("page.html").render(
        style=style,
        style_hash=b64encode(sha256(style.encode()).digest()).decode(),
        as_of=f"{_moment(as_of)} UTC",
        destination=destination,
        version=__version__,
        **_parts(reports),
    )


def _parts(reports: Frames) -> dict[str, Any]:
    """Return the template's variables: one per report, and two lists of counts, as grids and as bars."""
    parts: dict[str, Any] = {"heats": [], "bars": []}
    for name, frame in reports.items():
        match name:
            case "overview":
                parts[name] = _cards(frame, reports)
            case "growth":
                parts[name] = _growth(frame)
            case "audit":
                parts[name] = _findings(frame)
            case "coverage":
                parts[name] = list(describe_coverage(frame))
            case "changes":
                shown = _first_rows(frame, _MOST_ROWS)
                shown["rows"] = list(map(_with_moved_entries, shown["rows"]))
                parts[name] = {"text": summaries.describe_changes(frame)} | shown
            case "freshness":
                parts[name] = _first_rows(frame, _MOST_ROWS)
            case _:
                columns = summaries.counted_by(frame)
                if len(columns) == 2 and not frame.empty:
                    parts["heats"].append(_heat(frame, columns))
                else:
                    parts["bars"].append(_bars(frame, columns))
    return parts


def _cards(overview: pd.DataFrame, reports: Frames) -> list[dict[str, Any]]:
    """Return the cards at the top: stored data, changes, findings, and the highest counts if no table has them."""
    cards = _CARDS if "counts" in reports else {**_CARDS, "Most frequent": ("counts",)}
    rows = _records(overview)
    for row in rows:
        if row["section"] in ("accounts", "trunks", "changes") and row["value"] == 1:
            row["item"] = row["item"].removesuffix("s")
    return [
        {
            "title": title,
            "link": _DETAILS.get(title) if _DETAILS.get(title) in reports else None,
            "lines": [row for section in sections for row in rows if row["section"] == section],
        }
        for title, sections in cards.items()
    ]


def _heat(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    grid = summaries.cross(counts, columns, _MOST_COUNTRIES, _MOST_FORMATS)
    title, side = f"Trunks by {summaries.name_columns(grid.by)}", summaries.name_column(grid.by[0])
    shares = summaries.list_shares(list(map(sum, grid.cells)))
    return {"title": title, "side": side, "grid": grid, "shares": shares, "total": int(counts["trunk_count"].sum())}


def _bars(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    side = summaries.name_columns(columns)
    return {"title": f"Trunks by {side}", "side": side, "rows": summaries.rank(counts, _MOST_BARS)}


def _growth(growth: pd.DataFrame) -> dict[str, Any] | None:
    if growth.empty:
        return None
    periods = summaries.sum_growth(growth)
    rows = _records(periods)
    return {
        "charts": {name: _chart(rows, width) for name, width in _WIDTHS.items()},
        "text": summaries.describe_growth(periods),
        "rows": rows,
        "more": growth["period"].nunique() - len(periods),
    }


def _chart(rows: list[dict[str, Any]], width: int) -> dict[str, Any]:
    """Return the growth chart for the template: a panel of totals above a panel of created and vanished trunks.

    All positions are pixels from the top left. A period without snapshots interrupts the line of the totals.
    """
    days: list[date] = [row["period"] for row in rows]
    totals = [row["trunk_count"] for row in rows]
    created, vanished = ([row[name] for row in rows] for name in ("created_count", "vanished_count"))
    total_steps = _steps(0, max((total for total in totals if total is not None), default=0))
    moved_steps = _steps(-max(vanished), max(created))
    left = 14 + 7 * max(len(f"{step:,}") for step in (*total_steps, *moved_steps))
    period_days = _period_days(days)
    # Half of the last label of the time axis is to the right of the last period.
    right, span = width - 36, (days[-1] - days[0]).days
    band = max(2, min(36, round((right - left) * 0.6 / (span / period_days + 2))))

    def x_of(day: date) -> float:
        share = (day - days[0]).days / span if span else 0.5
        return round(left + band + share * (right - left - 2 * band), 1)

    total_bottom = _HEADING + _TOTAL_HEIGHT
    moved_bottom = total_bottom + _HEADING + _MOVED_HEIGHT
    y_of_total, totals_panel = _panel("trunks seen", total_steps, total_bottom, _TOTAL_HEIGHT)
    y_of_moved, moved_panel = _panel("created (up), vanished (down)", moved_steps, moved_bottom, _MOVED_HEIGHT)
    line, is_drawing, marks = [], False, []
    for row, day, total in zip(rows, days, totals, strict=True):
        x, start = x_of(day), x_of(day) - band / 2
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
        "times": [(x_of(day), text) for day, text in _time_labels(days, period_days, max(width // 100, 2))],
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
    size = next(
        size
        for exponent in range(20)
        for size in (10**exponent, 2 * 10**exponent, 5 * 10**exponent)
        if highest - lowest <= 4 * size
    )
    first, last = lowest // size * size, -(-highest // size) * size
    return range(first, max(last, first + size) + 1, size)


def _period_days(days: list[date]) -> int:
    """Return the shortest length of a period, in days, if these are the starts of days, weeks or months."""
    if all(day.day == 1 for day in days):
        return 28
    return 7 if all((later - earlier).days % 7 == 0 for earlier, later in pairwise(days)) else 1


def _time_labels(days: list[date], period_days: int, most: int) -> list[tuple[date, str]]:
    """Return at most `most` days with their labels, in the smallest unit of time that needs no more labels."""
    first, last = days[0], days[-1]
    for step in (1, 2, 7, 14):
        if period_days <= step and (last - first).days // step < most:
            shown = map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1, step))
            return [(day, f"{day.day} {_MONTHS[day.month - 1]} {day.year}") for day in shown]
    # Numbered from the year 0.
    start, end = (day.year * 12 + day.month - 1 for day in (first, last))
    start += first.day > 1
    for step in _MONTH_STEPS:
        months = range(-(-start // step) * step, end + 1, step)
        if len(months) <= most:
            break
    return [
        (
            date(month // 12, month % 12 + 1, 1),
            f"{_MONTHS[month % 12]} {month // 12}" if step < 12 else f"{month // 12}",
        )
        for month in months
    ]


def _findings(findings: pd.DataFrame) -> dict[str, Any]:
    """Return the findings by severity and rule, worst first: the rule, and the first trunks that it found.

    `fix` is set if it is the same for every trunk of the rule. `first` has the worst causes.
    """
    groups = findings.groupby(["severity", "rule"], sort=False)
    most = min(_MOST_TRUNKS_OF_A_RULE, max(_MOST_FINDINGS // max(groups.ngroups, 1), 1))
    rules: list[dict[str, Any]] = []
    first: list[dict[str, Any]] = []
    for severity, code, count in summaries.group_findings(findings):
        group = groups.get_group((severity, code))
        fix = group["fix"].iloc[0] if group["fix"].nunique(dropna=False) == 1 else None
        rule = {"severity": severity, "code": code, "declared": RULES.get(code), "fix": fix, "count": count}
        rule["new_count"] = int(group["is_new_rule"].fillna(value=False).sum())
        causes = summaries.group_by_cause(group)
        first += map(_first, causes[: _MOST_FIRST - len(first)])
        rules.append(rule | _causes(group, causes, most))
    # The age of a finding is known only if findings are logged.
    is_logged = findings["opened_at"].notna().any()
    return {"rules": rules, "first": first, "unaged": "new" if is_logged else "–"}


def _first(cause: summaries.FindingGroup) -> dict[str, Any]:
    """Return a cause for the cards at the top of the page: what was seen, the trunks, the oldest day, why, and the fix.

    A long fix, such as one with all addresses of a provider, is cut here.
    """
    seen: str = cause.rows["seen"].iloc[0]
    declared = RULES.get(cause.rule)
    is_word = seen.partition(" ")[0].isalpha()  # the name of a field stays as it is
    since = cause.opened_at and f"{cause.opened_at.day} {_MONTHS[cause.opened_at.month - 1]} {cause.opened_at.year}"
    return {
        "severity": cause.severity,
        "code": cause.rule,
        "seen": seen[0].upper() + seen[1:] if is_word else seen,
        "rows": _records(cause.rows.head(_MOST_TRUNKS_OF_A_CAUSE)),
        "more": max(len(cause.rows) - _MOST_TRUNKS_OF_A_CAUSE, 0),
        "since": since,
        "declared": declared,
        "fix": shorten(cause.fix, _LONGEST_FIX, placeholder=" …"),
    }


def _causes(findings: pd.DataFrame, groups: list[summaries.FindingGroup], most: int) -> dict[str, Any]:
    """Return the findings of a rule by cause: the number of causes, and the first findings of each, `most` in total."""
    causes: list[dict[str, Any]] = []
    for group in groups:
        room = most - sum(len(cause["rows"]) for cause in causes)
        if room > 0:
            causes.append({"text": group.text, "count": len(group.rows), "rows": _records(group.rows.head(room))})
    shown = sum(len(cause["rows"]) for cause in causes)
    return {"causes": causes, "cause_count": findings["cause"].nunique(dropna=False), "more": len(findings) - shown}


def _with_moved_entries(change: dict[str, Any]) -> dict[str, Any]:
    """Return a change; of an allowlist, with the entries that were removed and added in place of both lists."""
    if change["field"] != "allowed_inbound_ips":
        return change
    try:
        old, new = (list(map(str, json.loads(change[name] or "[]"))) for name in ("old", "new"))
    except (ValueError, TypeError):
        return change  # a pseudonym
    removed, added = [each for each in old if each not in new], [each for each in new if each not in old]
    if not removed and not added:
        return change  # only the order changed
    sides = {"old": ("removed", removed), "new": ("added", added)}
    return change | {name: f"{verb} {', '.join(moved)}" if moved else None for name, (verb, moved) in sides.items()}


def _first_rows(frame: pd.DataFrame, most: int) -> dict[str, Any]:
    return {"rows": _records(frame.head(most)), "more": max(len(frame) - most, 0)}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as plain values: None for a missing value, text for a time (UTC)."""
    records = frame_records(frame)
    return [{name: _moment(v) if isinstance(v, datetime) else v for name, v in row.items()} for row in records]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds} s"
