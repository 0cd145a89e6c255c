"""Report frames → pictures: PNG files, the growth as SVG for a page, and specifications for a notebook to draw.

Every chart is a Vega-Lite specification written here. What comes out of a frame becomes data in it and nothing else,
with no expression anywhere: text from the API is never a field name, a link or code. vl_convert draws without a
browser and without network; it is imported when something is drawn, and costs half a second then.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sip_trunks.reporting.summaries import (
    Grid,
    counted_by,
    cross,
    describe_growth,
    group_findings,
    name_column,
    rank,
    readable,
    sum_growth,
    tell_count,
)
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PICTURED = frozenset(report.name for report in REPORTS.values() if report.has_picture)
"""The reports that `draw_png` can draw."""

COLOURS = {
    "ink": "#17202b",
    "muted": "#5a6675",
    "line": "#dfe4ea",
    "accent": "#1f6fb5",
    "vanished": "#c4570a",
}
"""The colours of a chart on white. In a page each of them is the CSS variable of this name, where there is one."""

SEVERITY_COLOURS = {
    "critical": "#8c1027",
    "high": "#cf4a1d",
    "medium": "#e8a33d",
    "low": "#7fb3d5",
    "info": "#b8c0c9",
}
"""Worst first; the lighter, the more harmless, so that the order survives without colour vision."""

HEAT = ("#ffffff", "#eaf2fb", "#d6e6f7", "#c1d9f2", "#a9cbec", "#8dbae3", "#2f74b5", "#23639f", "#185089", "#0d3c6e")
"""From nothing to the most; the page's stylesheet has the same steps, and their counterparts for dark mode."""

_Spec = dict[str, Any]
ON_STRONG = "#ffffff"
"""What is legible on the stronger half of `HEAT`."""


@dataclass(frozen=True)
class _Look:
    """The colours of a chart, as they are or as the variables of the page it stands in, and its room for labels."""

    colours: Mapping[str, str]
    severities: Mapping[str, str]
    heat: Sequence[str]
    on_strong: str
    label_limit: int
    legend: _Spec | None


_ON_WHITE = _Look(
    COLOURS, SEVERITY_COLOURS, HEAT, ON_STRONG, 440, {"title": None, "orient": "top", "symbolType": "square"}
)


def _as_variables(prefix: str, colours: Mapping[str, str]) -> dict[str, str]:
    return {name: f"var(--{prefix}{name}, {colour})" for name, colour in colours.items()}


_IN_PAGE = replace(_ON_WHITE, colours=_as_variables("", COLOURS))
_IN_NOTEBOOK = _Look(
    _as_variables("st-", COLOURS),
    _as_variables("st-", SEVERITY_COLOURS),
    list(_as_variables("st-heat-", dict(zip(map(str, range(len(HEAT))), HEAT, strict=True))).values()),
    f"var(--st-on-strong, {ON_STRONG})",
    190,
    None,  # beside the labels a narrow page has no room for one
)

_FIRST_DARK_HEAT = 6
_MOST_BARS = 25
_MOST_COLUMNS = 8
_FLUID_WIDTH = 400  # what the bars of a chart are sized for that may become narrower or wider
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif"


def draw_png(name: str, frame: pd.DataFrame) -> bytes:
    """Return the picture of a report, white behind, two pixels to the point.

    Raises ValueError if the report is none of `PICTURED`.
    """
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(picture_spec(name, frame), scale=2, allowed_base_urls=[]))


def picture_spec(name: str, frame: pd.DataFrame) -> _Spec:
    """Return the specification of a report's picture. Raises ValueError if the report is none of `PICTURED`."""
    if name not in PICTURED:
        raise ValueError(f"there is no picture of {name}: there is one of {', '.join(sorted(PICTURED))}")
    if name == "growth":
        spec = _picture_growth(frame)
    elif name == "audit":
        spec = _picture_findings(frame, _ON_WHITE)
    else:
        spec = _picture_counts(frame, _ON_WHITE)
    return spec | {"background": "white", "padding": 20, "config": _config(COLOURS)}


def draw_growth_svg(growth: pd.DataFrame, width: int = 900) -> str:
    """Return the growth as an `<svg>` to put into a page, so wide that it is legible at `width` pixels.

    Its colours are the page's CSS variables; it holds no style, no script and no reference. Text is escaped.
    """
    import vl_convert

    periods = sum_growth(growth)
    spec = _growth_spec(periods, _IN_PAGE, width)
    styled = spec | {"background": None, "padding": 4, "config": _config(_IN_PAGE.colours)}
    svg: str = vl_convert.vegalite_to_svg(styled, allowed_base_urls=[])
    start, drawing = svg.split(">", 1)
    # The label says it all: what the parts of a drawing are is nothing to be read out.
    drawing = drawing.replace("<g ", '<g aria-hidden="true" ', 1)
    box = re.search(r'viewBox="[\d. -]+"', start)
    label = escape(describe_growth(periods))
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" {box[0] if box else ""}>{drawing}'


def fluid_specs(name: str, frame: pd.DataFrame) -> list[_Spec]:
    """Return the picture of a report as specifications, one below the other, for a page to draw as wide as it is.

    They have no title; their colours are CSS variables (`--st-…`) with those on white to fall back on. There are
    none for a report without rows.
    """
    if frame.empty:
        return []
    if name == "growth":
        spec = _growth_spec(sum_growth(frame), _IN_NOTEBOOK, _FLUID_WIDTH)
    else:
        spec = _picture_findings(frame, _IN_NOTEBOOK) if name == "audit" else _picture_counts(frame, _IN_NOTEBOOK)
        del spec["title"]
    panels = [{"data": spec["data"]} | panel for panel in spec["vconcat"]] if "vconcat" in spec else [spec]
    styled = {
        "background": "transparent",
        "padding": 4,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _config(_IN_NOTEBOOK.colours),
    }
    return [panel | {"width": "container"} | styled for panel in panels]


# --- counts and findings


def _picture_counts(counts: pd.DataFrame, look: _Look) -> _Spec:
    columns = counted_by(counts)
    title = f"Trunks by {' and '.join(map(name_column, columns))}"
    if counts.empty:
        return _sentence(title, "No trunks are stored.")
    total = int(counts["trunk_count"].sum())
    heading = _title(title, tell_count(total, "trunk"))
    if len(columns) == 2:
        # Of countries there are many: they go down, where there is room.
        return heading | _grid_spec(cross(counts, *_sides(columns), _MOST_BARS, _MOST_COLUMNS), look)
    return heading | _bars_spec(
        [
            {"label": bar.label, "count": bar.count, "text": f"{bar.count:,}  ({bar.share_pct:.1f} %)"}
            for bar in rank(counts, _MOST_BARS)
        ],
        {"value": look.colours["accent"]},
        look,
    )


def _sides(columns: Sequence[str]) -> tuple[str, str]:
    first, second = columns
    return (first, second) if first == "country_code" else (second, first)


def _grid_spec(grid: Grid, look: _Look) -> _Spec:
    cells = [
        {
            "row": grid.rows[down],
            "column": grid.columns[across],
            "count": f"{count:,}",
            "fill": look.heat[grid.heat(count)],
            "ink": _ink(grid.heat(count), look),
        }
        for down, row in enumerate(grid.cells)
        for across, count in enumerate(row)
    ]
    side = {"type": "nominal", "sort": None}
    axis = {"title": None, "domain": False, "ticks": False}
    return {
        "data": {"values": cells},
        "width": {"step": 96},
        "height": {"step": 26},
        "encoding": {
            "x": side | {"field": "column", "axis": axis | {"orient": "top", "labelAngle": 0, "labelLimit": 90}},
            "y": side | {"field": "row", "axis": axis | {"labelLimit": min(look.label_limit, 320), "labelPadding": 8}},
            "tooltip": _tooltip(row="", column="", count="trunks"),
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": look.colours["line"], "strokeWidth": 1},
                "encoding": {"color": {"field": "fill", "type": "nominal", "scale": None}},
            },
            {
                "mark": {"type": "text", "fontSize": 12},
                "encoding": {
                    "text": {"field": "count", "type": "nominal"},
                    "color": {"field": "ink", "type": "nominal", "scale": None},
                },
            },
        ],
    }


def _ink(heat: int, look: _Look) -> str:
    return look.on_strong if heat >= _FIRST_DARK_HEAT else look.colours["ink" if heat else "muted"]


def _bars_spec(bars: list[dict[str, Any]], colour: _Spec, look: _Look) -> _Spec:
    axis = {"title": None, "domain": False, "ticks": False, "labelLimit": look.label_limit, "labelPadding": 8}
    return {
        "data": {"values": bars},
        "width": 560,
        "height": {"step": 26},
        "encoding": {
            "x": {"field": "count", "type": "quantitative", "axis": None},
            "y": {"field": "label", "type": "nominal", "sort": None, "axis": axis},
            "tooltip": _tooltip(label="", text=""),
        },
        "layer": [
            {"mark": {"type": "bar", "height": {"band": 0.72}, "cornerRadiusEnd": 3}, "encoding": {"color": colour}},
            {
                "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "color": look.colours["ink"]},
                "encoding": {"text": {"field": "text", "type": "nominal"}},
            },
        ],
    }


def _picture_findings(findings: pd.DataFrame, look: _Look) -> _Spec:
    title = "Findings by severity and rule"
    if findings.empty:
        return _sentence(title, "No findings: nothing is misconfigured as far as the rules see.")
    rules = group_findings(findings)
    # A rule may find things of different severity.
    severities = Counter(rule for _, rule, _ in rules)
    bars: list[dict[str, Any]] = [
        {
            "label": readable(rule) if severities[rule] == 1 else f"{readable(rule)} ({severity})",
            "severity": severity,
            "count": count,
            "text": f"{count:,}" if look.legend else f"{count:,} {severity}",
        }
        for severity, rule, count in rules[:_MOST_BARS]
    ]
    rest = rules[_MOST_BARS:]
    if rest:
        hidden = sum(count for _, _, count in rest)
        bars.append(
            {"label": tell_count(len(rest), "other"), "severity": rest[0][0], "count": hidden, "text": f"{hidden:,}"}
        )
    colour = {
        "field": "severity",
        "type": "nominal",
        "scale": {"domain": list(look.severities), "range": list(look.severities.values())},
        "legend": look.legend,
    }
    heading = _title(title, f"{tell_count(len(findings), 'finding')} of {tell_count(len(severities), 'rule')}")
    return heading | _bars_spec(bars, colour, look)


# --- growth


def _picture_growth(growth: pd.DataFrame) -> _Spec:
    title = "Growth of the trunks"
    if growth.empty:
        return _sentence(title, "Nobody has looked yet.")
    return _title(title, "created, vanished, and how many there were when somebody looked") | _growth_spec(
        sum_growth(growth), _ON_WHITE, 900
    )


def _growth_spec(periods: pd.DataFrame, look: _Look, width: int) -> _Spec:
    colours = look.colours
    values = [
        {
            "period": f"{row['period']}T00:00:00Z",
            "created": int(row["created_count"]),
            "vanished": -int(row["vanished_count"]),
            "total": None if pd.isna(row["trunk_count"]) else int(row["trunk_count"]),
            "day": f"from {row['period']}",
            "gone": int(row["vanished_count"]),
            "seen": "–" if pd.isna(row["trunk_count"]) else f"{int(row['trunk_count']):,}",
        }
        for row in periods.to_dict("records")
    ]
    moments = _moments(periods["period"])
    band = max(2, min(36, int((width - 60) * 0.6 / (len(moments) + 1))))
    shown = moments[:: -(-len(moments) // max(width // 100, 2))]
    x = {
        "field": "period",
        "type": "temporal",
        "axis": {
            "title": None,
            "format": "%b %Y" if (moments.day == 1).all() else "%d %b %Y",
            "values": [int(moment.timestamp() * 1000) for moment in shown],
            "labelOverlap": "greedy",
            "grid": False,
        },
        # Everywhere the same, whatever the time zone of the machine.
        "scale": {"type": "utc", "padding": band},
    }

    def count(name: str, title: str, most: int) -> _Spec:
        axis = {
            "title": title,
            "tickCount": max(1, min(4, most)),  # of whole trunks
            "format": ",d",
            "titleAngle": 0,
            "titleAlign": "left",
            "titleY": -10,
            "titleX": 0,
            "minExtent": 30,  # what stands below begins at the same place
        }
        return {
            "x": x,
            "y": {"field": name, "type": "quantitative", "axis": axis},
            "tooltip": _tooltip(day="", created="created", gone="vanished", seen="trunks seen"),
        }

    seen = count("total", "trunks seen", int(periods["trunk_count"].fillna(0).max()))
    moved = int(periods["created_count"].max() + periods["vanished_count"].max())
    created, vanished = (count(name, "created (up), vanished (down)", moved) for name in ("created", "vanished"))
    return {
        "data": {"values": values},
        "vconcat": [
            {
                "width": width - 60,
                "height": 150,
                "layer": [
                    {
                        "mark": {
                            "type": "line",
                            "color": colours["accent"],
                            "strokeWidth": 2,
                            "invalid": "break-paths-filter-domains",
                        },
                        "encoding": seen,
                    },
                    {
                        "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1, "color": colours["accent"]},
                        "encoding": seen,
                    },
                ],
            },
            {
                "width": width - 60,
                "height": 110,
                "layer": [
                    {
                        "mark": {"type": "bar", "width": band, "color": colours["accent"]},
                        "encoding": created,
                    },
                    {
                        "mark": {"type": "bar", "width": band, "color": colours["vanished"]},
                        "encoding": vanished,
                    },
                ],
            },
        ],
        "resolve": {"scale": {"x": "shared"}},
    }


def _moments(periods: pd.Series) -> pd.DatetimeIndex:
    """Return when periods began (UTC), with those in between that have no row because nothing happened."""
    first, last = periods.iloc[0], periods.iloc[-1]
    is_monthly = all(period.day == 1 for period in periods)
    is_weekly = all((period - first).days % 7 == 0 for period in periods)
    if not is_monthly:
        return pd.date_range(first, last, freq="7D" if is_weekly else "1D", tz="UTC")
    # A date that nobody can have meant makes it thousands of years, and pandas counts months one by one.
    months = np.arange(np.datetime64(first, "M"), np.datetime64(last, "M") + 1)
    return pd.DatetimeIndex(months.astype("datetime64[us]"), tz="UTC")


# --- what all charts share


def _title(title: str, subtitle: str) -> _Spec:
    return {"title": {"text": title, "subtitle": subtitle}}


def _tooltip(**titles: str) -> list[_Spec]:
    """Return what a mark says when it is pointed at: these fields, each with its title."""
    return [{"field": field, "type": "nominal", "title": title or " "} for field, title in titles.items()]


def _sentence(title: str, sentence: str) -> _Spec:
    return {
        "title": {"text": title},
        "data": {"values": [{"text": sentence}]},
        "width": 560,
        "height": 40,
        "mark": {"type": "text", "fontSize": 14, "align": "left", "x": 0},
        "encoding": {"text": {"field": "text", "type": "nominal"}},
    }


def _config(colours: Mapping[str, str]) -> _Spec:
    ink, muted, line = colours["ink"], colours["muted"], colours["line"]
    axis = {"labelColor": muted, "titleColor": muted, "domainColor": line, "tickColor": line, "gridColor": line}
    return {
        "font": _FONT,
        "axis": axis | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
        "title": {"color": ink, "subtitleColor": muted, "fontSize": 17, "subtitleFontSize": 13, "anchor": "start"}
        | {"offset": 14, "subtitlePadding": 6},
        "legend": {"labelColor": ink, "labelFontSize": 12},
        "text": {"color": ink},
        "view": {"stroke": None},
        "aria": False,
    }
