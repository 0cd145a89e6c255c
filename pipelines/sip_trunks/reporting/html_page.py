"""Report frames → one HTML page that needs nothing but itself: no script, no request, every text escaped.

The page shows what fits on a page: the worst and the newest, with the number of what it leaves out.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pandas as pd

from sip_trunks.reporting.charts import draw_growth_svg
from sip_trunks.reporting.summaries import (
    counted_by,
    cross,
    describe_growth,
    group_findings,
    name_column,
    rank,
    readable,
    sum_growth,
)
from trunk_transforms.audit.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from datetime import datetime

    from jinja2 import Environment

    Frames = Mapping[str, pd.DataFrame]

_MOST_COUNTRIES = 30
_MOST_FORMATS = 6
_MOST_BARS = 12
_MOST_CHANGES = 50
_MOST_FINDINGS = 200
_MOST_TRUNKS_OF_A_RULE = 25
_MOST_ACCOUNTS = 50
_WIDTHS = {"wide": 1000, "narrow": 340}
"""How wide the growth is drawn: once for a screen or paper, once for a phone; the stylesheet shows one of them."""
_CARDS = {"Stored": ("accounts", "trunks", "freshness"), "Changes": ("changes",), "Findings": ("findings",)}
"""The sections of the overview, as they stand together; counts have a table of their own."""


def render_page(reports: Frames, *, as_of: datetime, place: str, version: str) -> str:
    """Return the page as HTML with the reports that there are; `as_of` (UTC) is the moment that they tell of."""
    style = files("sip_trunks.reporting").joinpath("page.css").read_text("utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html")
        .render(
            style=style,
            digest=digest,
            as_of=f"{_moment(as_of)} UTC",
            place=place,
            version=version,
            **_parts(reports),
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("sip_trunks.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["readable"] = readable
    made.filters["thousands"] = lambda count: f"{count:,}"
    return made


def _parts(reports: Frames) -> dict[str, Any]:
    """Return what the template shows of each report, by the name that it has there; all counts are lists."""
    parts: dict[str, Any] = {"heats": [], "bars": []}
    for name, frame in reports.items():
        match name:
            case "overview":
                parts[name] = _cards(frame, is_counted="counts" in reports)
            case "growth":
                parts[name] = _growth(frame)
            case "changes":
                parts[name] = _changes(frame)
            case "audit":
                parts[name] = _findings(frame)
            case "freshness":
                parts[name] = _freshness(frame)
            case _:
                columns = counted_by(frame)
                if len(columns) == 2 and not frame.empty:
                    parts["heats"].append(_heat(frame, columns))
                else:
                    parts["bars"].append(_bars(frame, columns))
    return parts


def _cards(overview: pd.DataFrame, *, is_counted: bool) -> list[dict[str, Any]]:
    """Return the numbers at the top: what there is, what is wrong, and what has happened."""
    cards = _CARDS if is_counted else {**_CARDS, "Most frequent": ("counts",)}
    rows = overview.to_dict("records")
    return [
        {"title": title, "lines": [_line(row) for section in sections for row in rows if row["section"] == section]}
        for title, sections in cards.items()
    ]


def _line(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    item = row["item"]
    if row["section"] == item and row["value"] == 1:
        item = item.removesuffix("s")
    return {
        "section": row["section"],
        "item": item,
        "value": "–" if pd.isna(row["value"]) else f"{int(row['value']):,}",
        "detail": "" if pd.isna(row["detail"]) else row["detail"],
    }


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
    bars = rank(counts, _MOST_BARS)
    return {
        "title": f"Trunks by {' and '.join(map(name_column, columns))}",
        "side": " and ".join(map(name_column, columns)),
        "rows": bars,
        "most": max((bar.count for bar in bars), default=1),
    }


def _growth(growth: pd.DataFrame) -> dict[str, Any] | None:
    from markupsafe import Markup

    if growth.empty:
        return None
    periods = sum_growth(growth)
    return {
        # Made by vl_convert, which escapes the text in it.
        "svgs": {name: Markup(draw_growth_svg(growth, width)) for name, width in _WIDTHS.items()},  # noqa: S704
        "text": describe_growth(periods),
        "rows": _records(periods),
        "more": growth["period"].nunique() - len(periods),
    }


def _changes(changes: pd.DataFrame) -> dict[str, Any]:
    return {"rows": _records(changes.head(_MOST_CHANGES)), "more": max(len(changes) - _MOST_CHANGES, 0)}


def _findings(findings: pd.DataFrame) -> dict[str, Any]:
    """Return the findings by rule, the worst first: what the rule asks once, and some of its trunks.

    A fix that is the same for all trunks of a rule is said once.
    """
    groups = findings.groupby(["severity", "rule"], sort=False)
    most = min(_MOST_TRUNKS_OF_A_RULE, max(_MOST_FINDINGS // max(groups.ngroups, 1), 1))
    shown = dict(list(groups.head(most).groupby(["severity", "rule"], sort=False)))
    fixes = groups["fix"].nunique(dropna=False)
    rules = []
    for severity, code, count in group_findings(findings):
        rule = RULES.get(code)
        rows = shown[(severity, code)]
        rules.append(
            {
                "severity": severity,
                "code": code,
                "question": rule.question if rule else "",
                "why": rule.why if rule else "",
                "fix": rows["fix"].iloc[0] if fixes[(severity, code)] == 1 else None,
                "count": count,
                "rows": _records(rows),
                "more": count - len(rows),
            }
        )
    # Without a log of findings, nobody knows which are new.
    is_logged = findings["first_seen_at"].notna().any()
    return {"rules": rules, "unaged": "new" if is_logged else "–"}


def _freshness(freshness: pd.DataFrame) -> dict[str, Any]:
    rows = _records(freshness.head(_MOST_ACCOUNTS))
    for row in rows:
        for name in ("age_seconds", "expected_interval_seconds", "longest_gap_seconds"):
            row[name] = _duration(row[name])
    return {"rows": rows, "more": max(len(freshness) - _MOST_ACCOUNTS, 0)}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of plain values: what is missing as None, moments (UTC) as text."""
    records: Iterable[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[assignment]
    return [{name: _moment(v) if isinstance(v, pd.Timestamp) else v for name, v in row.items()} for row in records]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds} s"
