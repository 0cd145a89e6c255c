"""Report frames → pictures: PNG files, the growth as SVG for a page, and specifications for a notebook to draw.

Every chart is a Vega-Lite specification written here. What comes out of a frame becomes data in it and nothing else,
with no expression anywhere: text from the API is never a field name, a link or code. vl_convert draws without a
browser and without network; it is imported when something is drawn, and costs half a second then.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sip_trunks.reporting.chart_style import (
    COLOURS,
    IN_NOTEBOOK,
    IN_PAGE,
    ON_WHITE,
    Spec,
    Style,
    config_of,
    heading_of,
    sentence_chart,
    tooltip,
)
from sip_trunks.reporting.summaries import (
    Grid,
    count_of,
    counted_by,
    cross,
    describe_growth,
    group_findings,
    name_column,
    rank,
    readable,
    sum_growth,
)
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

PICTURED = frozenset(report.name for report in REPORTS.values() if report.has_picture)
"""The reports that `draw_png` can draw."""


_FIRST_DARK_HEAT = 6
_MOST_BARS = 25
_MOST_COLUMNS = 8
_FLUID_WIDTH = 400  # what the bars of a chart are sized for that may become narrower or wider


def draw_png(name: str, frame: pd.DataFrame) -> bytes:
    """Return the picture of a report, white behind, two pixels to the point.

    Raises ValueError if the report is none of `PICTURED`.
    """
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(picture_spec(name, frame), scale=2, allowed_base_urls=[]))


def picture_spec(name: str, frame: pd.DataFrame) -> Spec:
    """Return the specification of a report's picture. Raises ValueError if the report is none of `PICTURED`."""
    if name not in PICTURED:
        raise ValueError(f"there is no picture of {name}: there is one of {', '.join(sorted(PICTURED))}")
    if name == "growth":
        spec = _picture_growth(frame)
    elif name == "audit":
        spec = _picture_findings(frame, ON_WHITE)
    else:
        spec = _picture_counts(frame, ON_WHITE)
    return spec | {"background": "white", "padding": 20, "config": config_of(COLOURS)}


def draw_growth_svg(growth: pd.DataFrame, width: int = 900) -> str:
    """Return the growth as an `<svg>` to put into a page, so wide that it is legible at `width` pixels.

    Its colours are the page's CSS variables; it holds no style, no script and no reference. Text is escaped.
    """
    import vl_convert

    periods = sum_growth(growth)
    spec = _growth_spec(periods, IN_PAGE, width)
    styled = spec | {"background": None, "padding": 4, "config": config_of(IN_PAGE.colours)}
    svg: str = vl_convert.vegalite_to_svg(styled, allowed_base_urls=[])
    start, drawing = svg.split(">", 1)
    # The label says it all: what the parts of a drawing are is nothing to be read out.
    drawing = drawing.replace("<g ", '<g aria-hidden="true" ', 1)
    box = re.search(r'viewBox="[\d. -]+"', start)
    label = escape(describe_growth(periods))
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" {box[0] if box else ""}>{drawing}'


def fluid_specs(name: str, frame: pd.DataFrame) -> list[Spec]:
    """Return the picture of a report as specifications, one below the other, for a page to draw as wide as it is.

    They have no title; their colours are CSS variables (`--st-…`) with those on white to fall back on. There are
    none for a report without rows.
    """
    if frame.empty:
        return []
    if name == "growth":
        spec = _growth_spec(sum_growth(frame), IN_NOTEBOOK, _FLUID_WIDTH)
    else:
        spec = _picture_findings(frame, IN_NOTEBOOK) if name == "audit" else _picture_counts(frame, IN_NOTEBOOK)
        del spec["title"]
    panels = [{"data": spec["data"]} | panel for panel in spec["vconcat"]] if "vconcat" in spec else [spec]
    styled = {
        "background": "transparent",
        "padding": 4,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": config_of(IN_NOTEBOOK.colours),
    }
    return [panel | {"width": "container"} | styled for panel in panels]


# --- counts and findings


def _picture_counts(counts: pd.DataFrame, style: Style) -> Spec:
    columns = counted_by(counts)
    title = f"Trunks by {' and '.join(map(name_column, columns))}"
    if counts.empty:
        return sentence_chart(title, "No trunks are stored.")
    total = int(counts["trunk_count"].sum())
    heading = heading_of(title, count_of(total, "trunk"))
    if len(columns) == 2:
        # Of countries there are many: they go down, where there is room.
        return heading | _grid_spec(cross(counts, *_sides(columns), _MOST_BARS, _MOST_COLUMNS), style)
    return heading | _bars_spec(
        [
            {"label": bar.label, "count": bar.count, "text": f"{bar.count:,}  ({bar.share_pct:.1f} %)"}
            for bar in rank(counts, _MOST_BARS)
        ],
        {"value": style.colours["accent"]},
        style,
    )


def _sides(columns: Sequence[str]) -> tuple[str, str]:
    first, second = columns
    return (first, second) if first == "country_code" else (second, first)


def _grid_spec(grid: Grid, style: Style) -> Spec:
    cells = [
        {
            "row": grid.rows[down],
            "column": grid.columns[across],
            "count": f"{count:,}",
            "fill": style.heat[grid.heat(count)],
            "ink": _ink(grid.heat(count), style),
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
            "y": side | {"field": "row", "axis": axis | {"labelLimit": min(style.label_limit, 320), "labelPadding": 8}},
            "tooltip": tooltip(row="", column="", count="trunks"),
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": style.colours["line"], "strokeWidth": 1},
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


def _ink(heat: int, style: Style) -> str:
    return style.on_strong if heat >= _FIRST_DARK_HEAT else style.colours["ink" if heat else "muted"]


def _bars_spec(bars: list[dict[str, Any]], colour: Spec, style: Style) -> Spec:
    axis = {"title": None, "domain": False, "ticks": False, "labelLimit": style.label_limit, "labelPadding": 8}
    return {
        "data": {"values": bars},
        "width": 560,
        "height": {"step": 26},
        "encoding": {
            "x": {"field": "count", "type": "quantitative", "axis": None},
            "y": {"field": "label", "type": "nominal", "sort": None, "axis": axis},
            "tooltip": tooltip(label="", text=""),
        },
        "layer": [
            {"mark": {"type": "bar", "height": {"band": 0.72}, "cornerRadiusEnd": 3}, "encoding": {"color": colour}},
            {
                "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "color": style.colours["ink"]},
                "encoding": {"text": {"field": "text", "type": "nominal"}},
            },
        ],
    }


def _picture_findings(findings: pd.DataFrame, style: Style) -> Spec:
    title = "Findings by severity and rule"
    if findings.empty:
        return sentence_chart(title, "No findings: nothing is misconfigured as far as the rules see.")
    rules = group_findings(findings)
    # A rule may find things of different severity.
    severities = Counter(rule for _, rule, _ in rules)
    bars: list[dict[str, Any]] = [
        {
            "label": readable(rule) if severities[rule] == 1 else f"{readable(rule)} ({severity})",
            "severity": severity,
            "count": count,
            "text": f"{count:,}" if style.legend else f"{count:,} {severity}",
        }
        for severity, rule, count in rules[:_MOST_BARS]
    ]
    rest = rules[_MOST_BARS:]
    if rest:
        hidden = sum(count for _, _, count in rest)
        bars.append(
            {"label": count_of(len(rest), "other"), "severity": rest[0][0], "count": hidden, "text": f"{hidden:,}"}
        )
    colour = {
        "field": "severity",
        "type": "nominal",
        "scale": {"domain": list(style.severities), "range": list(style.severities.values())},
        "legend": style.legend,
    }
    heading = heading_of(title, f"{count_of(len(findings), 'finding')} of {count_of(len(severities), 'rule')}")
    return heading | _bars_spec(bars, colour, style)


# --- growth


def _picture_growth(growth: pd.DataFrame) -> Spec:
    title = "Growth of the trunks"
    if growth.empty:
        return sentence_chart(title, "Nobody has looked yet.")
    return heading_of(title, "created, vanished, and how many there were when somebody looked") | _growth_spec(
        sum_growth(growth), ON_WHITE, 900
    )


def _growth_spec(periods: pd.DataFrame, style: Style, width: int) -> Spec:
    colours = style.colours
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

    def count(name: str, title: str, most: int) -> Spec:
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
            "tooltip": tooltip(day="", created="created", gone="vanished", seen="trunks seen"),
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
