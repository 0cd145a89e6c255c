"""Report frames → one HTML page that needs nothing but itself: no script, no request, every text escaped.

The page shows what fits on a page: the worst and the newest, with the number of what it leaves out.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipelines.charts import (
    counted_by,
    cross,
    describe_growth,
    draw_growth_svg,
    group_findings,
    name_column,
    rank,
    readable,
    sum_growth,
)
from transforms.audit import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from jinja2 import Environment

    Frames = Mapping[str, pd.DataFrame]

PAGED = (
    "overview",
    "counts",
    "by_provider",
    "by_authorization",
    "by_number_kind",
    "growth",
    "changes",
    "audit",
    "freshness",
)
"""The reports of the whole page."""

_MOST_COUNTRIES = 30
_MOST_FORMATS = 6
_MOST_BARS = 12
_MOST_CHANGES = 50
_MOST_TRUNKS_OF_A_RULE = 25
_MOST_ACCOUNTS = 50


def render_page(reports: Frames, *, as_of: datetime, place: str, version: str) -> str:
    """Return the page as HTML with the reports that there are; `as_of` (UTC) is the moment that they tell of."""
    style = files("pipelines").joinpath("page.css").read_text("utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html")
        .render(
            style=style,
            digest=digest,
            as_of=_moment(as_of),
            place=place,
            version=version,
            **{name: part for name, frame in reports.items() for name, part in [_part(name, frame)]},
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("pipelines", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["readable"] = readable
    made.filters["thousands"] = lambda count: f"{count:,}"
    return made


def _part(name: str, frame: pd.DataFrame) -> tuple[str, Any]:
    """Return what the template knows a report by, and what it shows of it."""
    match name:
        case "overview":
            return "overview", _tiles(frame)
        case "growth":
            return "growth", _growth(frame)
        case "changes":
            return "changes", _changes(frame)
        case "audit":
            return "audit", _findings(frame)
        case "freshness":
            return "freshness", _freshness(frame)
        case _:
            columns = counted_by(frame)
            if len(columns) == 2 and not frame.empty:
                return "heat", _heat(frame, columns)
            return name if name != "counts" else "counted", _bars(frame, columns)


def _tiles(overview: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the numbers at the top: what there is, what is wrong, and what has happened."""
    rows = overview.to_dict("records")
    shown = [row for row in rows if row["section"] in ("accounts", "trunks", "findings", "changes", "freshness")]
    return [
        {
            "section": row["section"],
            "item": row["item"],
            "value": "–" if pd.isna(row["value"]) else f"{int(row['value']):,}",
            "detail": "" if pd.isna(row["detail"]) else row["detail"],
        }
        for row in shown
    ]


def _heat(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    first, second = columns
    rows, across = (second, first) if second == "country_code" else (first, second)
    grid = cross(counts, rows, across, _MOST_COUNTRIES, _MOST_FORMATS)
    total = max(int(counts["trunk_count"].sum()), 1)
    lines = [
        {
            "label": label,
            "cells": [{"count": count, "heat": grid.heat(count)} for count in cells],
            "total": sum(cells),
            "share_pct": sum(cells) * 100 / total,
        }
        for label, cells in zip(grid.rows, grid.cells, strict=True)
    ]
    sums = [sum(cells) for cells in zip(*grid.cells, strict=True)]
    return {
        "title": f"Trunks by {name_column(rows)} and {name_column(across)}",
        "side": name_column(rows),
        "columns": grid.columns,
        "lines": lines,
        "sums": sums,
        "total": int(counts["trunk_count"].sum()),
    }


def _bars(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    return {
        "title": f"Trunks by {' and '.join(map(name_column, columns))}",
        "side": " and ".join(map(name_column, columns)),
        "bars": [
            {"label": bar.label, "count": bar.count, "share_pct": bar.share_pct, "width": round(bar.share_pct)}
            for bar in rank(counts, _MOST_BARS)
        ],
    }


def _growth(growth: pd.DataFrame) -> dict[str, Any] | None:
    from markupsafe import Markup

    if growth.empty:
        return None
    periods = sum_growth(growth)
    return {
        # Made by vl_convert, which escapes the text in it.
        "svg": Markup(draw_growth_svg(growth)),  # noqa: S704
        "text": describe_growth(periods),
        "rows": _records(periods),
    }


def _changes(changes: pd.DataFrame) -> dict[str, Any]:
    return {"rows": _records(changes.head(_MOST_CHANGES)), "more": max(len(changes) - _MOST_CHANGES, 0)}


def _findings(findings: pd.DataFrame) -> dict[str, Any]:
    """Return the findings by rule, the worst first: what the rule asks once, and some of its trunks."""
    rules = []
    rows = findings.groupby(["severity", "rule"], sort=False).head(_MOST_TRUNKS_OF_A_RULE)
    by_rule = dict(list(rows.groupby(["severity", "rule"], sort=False)))
    for severity, code, count in group_findings(findings):
        rule = RULES.get(code)
        shown = by_rule[(severity, code)]
        rules.append(
            {
                "severity": severity,
                "code": code,
                "question": rule.question if rule else "",
                "why": rule.why if rule else "",
                "count": count,
                "rows": _records(shown),
                "more": count - len(shown),
            }
        )
    return {"rules": rules}


def _freshness(freshness: pd.DataFrame) -> dict[str, Any]:
    rows = _records(freshness.head(_MOST_ACCOUNTS))
    for row in rows:
        for name in ("age_seconds", "expected_interval_seconds", "longest_gap_seconds"):
            row[name] = _duration(row[name])
    return {"rows": rows, "more": max(len(freshness) - _MOST_ACCOUNTS, 0)}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of plain values: what is missing as None, moments as text."""
    records: Iterable[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[assignment]
    return [{name: _moment(v) if isinstance(v, pd.Timestamp) else v for name, v in row.items()} for row in records]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds} s"
