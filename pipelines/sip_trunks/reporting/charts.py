"""Report frames → pictures: PNG files, and specifications for a notebook. The report page draws its own chart.

Every chart is a Vega-Lite specification. Values of a frame become data in it, and the specification has no expressions,
so text from the API is never a field name, a link or code. vl_convert draws without a browser or network access. It
takes half a second to import, so it is imported when the first chart is drawn.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sip_trunks.core.errors import UsageError
from sip_trunks.reporting import summaries
from sip_trunks.reporting.chart_style import IN_NOTEBOOK, ON_WHITE, config_of, layer, nominal, sentence_chart
from sip_trunks.reporting.growth_chart import MONTH_HOURS, as_moment, period_hours
from trunk_transforms.history.growth import sum_growth
from trunk_transforms.schema.reports import REPORTS
from trunk_transforms.text import count_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from sip_trunks.reporting.chart_style import Spec, Style

CLICKED = "clicked"
"""The name of the selection in the charts of a notebook."""

PICTURED = frozenset(report.name for report in REPORTS.values() if report.has_picture)
"""The reports that `draw_png` can draw."""


_BARE = {"title": None, "domain": False, "ticks": False}
"""An axis with labels alone."""
_FIRST_DARK_HEAT = 6
_MOST_BARS = 25
_MOST_COLUMNS = 8
_WIDTH = 900
_FLUID_WIDTH = 400  # the bars of a chart that can become narrower or wider are sized for this width


def draw_png(name: str, frame: pd.DataFrame) -> bytes:
    """Return the picture of a report on white, at two pixels per point.

    Raises UsageError if the report is not in `PICTURED`.
    """
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(picture_spec(name, frame), scale=2, allowed_base_urls=[]))


def picture_spec(name: str, frame: pd.DataFrame) -> Spec:
    """Return the specification of a report's picture. Raises UsageError if the report is not in `PICTURED`."""
    if name not in PICTURED:
        raise UsageError(f"{name} has no picture; choose one of {', '.join(sorted(PICTURED))}")
    spec = _report_spec(name, frame, ON_WHITE, _WIDTH)
    return spec | {"background": "white", "padding": 20, "config": config_of(ON_WHITE.colours)}


def fluid_specs(name: str, frame: pd.DataFrame, clicked: Sequence[Mapping[str, str]] = ()) -> list[Spec]:
    """Return the picture of a report as specifications, top to bottom, that adapt to the width of the page.

    They have no title. Their colours are CSS variables (`--st-…`) that default to the colours on white. The list is
    empty if the report has no rows. A click on a mark of the last one selects it, with the name `CLICKED`; `clicked`
    has the labels of the marks that are selected at first.
    """
    if frame.empty:
        return []
    spec = _report_spec(name, frame, IN_NOTEBOOK, _FLUID_WIDTH)
    del spec["title"]
    panels = [{"data": spec["data"]} | panel for panel in spec["vconcat"]] if "vconcat" in spec else [spec]
    styled = {
        "width": "container",
        "background": "transparent",
        "padding": 4,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": config_of(IN_NOTEBOOK.colours),
    }
    *others, last = (panel | styled for panel in panels)
    return [*others, _make_clickable(last, clicked)]


def label_marks(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the labels of the mark of each row of a report, in columns that identify a mark in its chart."""
    if name == "growth":
        return pd.DataFrame({"day": frame["period"].map(_name_period)})
    if name == "audit":
        labels = {rule[:2]: bar["label"] for rule, bar in _pair_rules(frame, IN_NOTEBOOK)}
        keys = zip(frame["severity"], frame["rule"], strict=True)
        return pd.DataFrame({"label": [labels[key] for key in keys]}, frame.index)
    columns = summaries.counted_by(frame)
    if len(columns) == 2:
        return summaries.label_cells(frame, columns, _MOST_BARS, _MOST_COLUMNS)
    return pd.DataFrame({"label": summaries.label_rows(frame, _MOST_BARS)})


def _make_clickable(panel: Spec, clicked: Sequence[Mapping[str, str]]) -> Spec:
    """Return a chart in which every click on a mark selects it, or no longer; the others become pale."""
    mark = panel["data"]["values"][0]
    fields = next(names for names in (["row", "column"], ["label"], ["day"]) if set(names) <= mark.keys())
    select = {"type": "point", "fields": fields, "toggle": "true"}
    parameter: Spec = {"name": CLICKED, "select": select, "views": ["marks"]}
    parameter |= {"value": [dict(point) for point in clicked]} if clicked else {}
    opacity = {"condition": {"param": CLICKED, "value": 1}, "value": 0.3}
    layers = [each | {"encoding": each["encoding"] | {"opacity": opacity}} for each in panel["layer"]]
    for each in layers:
        each["mark"] = each["mark"] | {"cursor": "pointer"}
    # Altair moves the parameters of a layer to the top, and loses the layer if it has no name.
    layers[0] = layers[0] | {"name": "marks"}
    # marimo draws such a chart on a canvas, which knows no CSS variables, unless the chart asks for SVG.
    return panel | {"layer": layers, "params": [parameter], "usermeta": {"embedOptions": {"renderer": "svg"}}}


def _report_spec(name: str, frame: pd.DataFrame, style: Style, width: int) -> Spec:
    if name == "growth":
        return _picture_growth(frame, style, width)
    return _picture_findings(frame, style) if name == "audit" else _picture_counts(frame, style)


def _tooltip(**titles: str) -> list[Spec]:
    """Return a tooltip that shows these fields, each with its title."""
    return [nominal(field, title=title or " ") for field, title in titles.items()]


def _heading(title: str, subtitle: str) -> Spec:
    return {"title": {"text": title, "subtitle": subtitle}}


# --- counts and findings


def _picture_counts(counts: pd.DataFrame, style: Style) -> Spec:
    columns = summaries.counted_by(counts)
    title = f"Trunks by {summaries.name_columns(columns)}"
    if counts.empty:
        return sentence_chart(title, "No trunks are stored.")
    heading = _heading(title, count_of(int(counts["trunk_count"].sum()), "trunk"))
    if len(columns) == 2:
        return heading | _grid_spec(summaries.cross(counts, columns, _MOST_BARS, _MOST_COLUMNS), style)
    bars = [
        {"label": bar.label, "count": bar.count, "text": f"{bar.count:,}  ({bar.share_pct:.1f} %)"}
        for bar in summaries.rank(counts, _MOST_BARS)
    ]
    return heading | _bars_spec(bars, {"value": style.colours["accent"]}, style)


def _grid_spec(grid: summaries.Grid, style: Style) -> Spec:
    cells = [
        {
            "row": label,
            "column": column,
            "count": f"{count:,}",
            "fill": style.heat[grid.heat(count)],
            "ink": _ink(grid.heat(count), style),
        }
        for label, row in zip(grid.rows, grid.cells, strict=True)
        for column, count in zip(grid.columns, row, strict=True)
    ]
    across = nominal("column", sort=None, axis=_BARE | {"orient": "top", "labelAngle": 0, "labelLimit": 90})
    down = nominal("row", sort=None, axis=_BARE | {"labelLimit": min(style.label_limit, 320), "labelPadding": 8})
    fill, ink = ({"color": nominal(name, scale=None)} for name in ("fill", "ink"))
    return _rows_spec(
        cells,
        {"step": 96},
        {"x": across, "y": down, "tooltip": _tooltip(row="", column="", count="trunks")},
        layer("rect", fill, stroke=style.colours["line"], strokeWidth=1),
        layer("text", ink | {"text": nominal("count")}, fontSize=12),
    )


def _rows_spec(values: list[Spec], width: int | Spec, encoding: Spec, *layers: Spec) -> Spec:
    """Return a chart of these layers, in rows of the same height."""
    size = {"width": width, "height": {"step": 26}}
    return {"data": {"values": values}, **size, "encoding": encoding, "layer": list(layers)}


def _ink(heat: int, style: Style) -> str:
    return style.on_strong if heat >= _FIRST_DARK_HEAT else style.colours["ink" if heat else "muted"]


def _bars_spec(bars: list[dict[str, Any]], colour: Spec, style: Style) -> Spec:
    across = {"field": "count", "type": "quantitative", "axis": None}
    down = nominal("label", sort=None, axis=_BARE | {"labelLimit": style.label_limit, "labelPadding": 8})
    return _rows_spec(
        bars,
        560,
        {"x": across, "y": down, "tooltip": _tooltip(label="", text="")},
        layer("bar", {"color": colour}, height={"band": 0.72}, cornerRadiusEnd=3),
        layer("text", {"text": nominal("text")}, align="left", dx=6, fontSize=12, color=style.colours["ink"]),
    )


def _picture_findings(findings: pd.DataFrame, style: Style) -> Spec:
    title = "Findings by severity and rule"
    if findings.empty:
        return sentence_chart(title, "The audit has no findings.")
    rules = _pair_rules(findings, style)
    bars = list({bar["label"]: bar for _, bar in rules}.values())
    scale = {"domain": list(style.severities), "range": list(style.severities.values())}
    subtitle = f"{count_of(len(findings), 'finding')} of {count_of(findings['rule'].nunique(), 'rule')}"
    return _heading(title, subtitle) | _bars_spec(bars, nominal("severity", scale=scale, legend=style.legend), style)


def _pair_rules(findings: pd.DataFrame, style: Style) -> list[tuple[tuple[str, str, int], dict[str, Any]]]:
    """Return severity, rule and number of findings, the worst first, each with its bar; the last share one bar."""
    rules = summaries.group_findings(findings)
    # A rule can have findings of several severities.
    severities = Counter(rule for _, rule, _ in rules)
    bars: list[dict[str, Any]] = [
        {
            "label": summaries.readable(rule) + (f" ({severity})" if severities[rule] > 1 else ""),
            "severity": severity,
            "count": count,
            "text": f"{count:,}" if style.legend else f"{count:,} {severity}",
        }
        for severity, rule, count in rules[:_MOST_BARS]
    ]
    rest = rules[_MOST_BARS:]
    hidden = sum(count for _, _, count in rest)
    for _ in rest:
        label = count_of(len(rest), "other")
        bars.append({"label": label, "severity": rest[0][0], "count": hidden, "text": f"{hidden:,}"})
    return list(zip(rules, bars, strict=True))


# --- growth


def _picture_growth(growth: pd.DataFrame, style: Style, width: int) -> Spec:
    title = "Growth of the trunks"
    if growth.empty:
        return sentence_chart(title, "No snapshots are stored.")
    heading = _heading(title, "trunks created, trunks vanished, and the total in each snapshot")
    return heading | _growth_spec(sum_growth(growth), style, width)


def _growth_spec(periods: pd.DataFrame, style: Style, width: int) -> Spec:
    accent = style.colours["accent"]
    values = [
        {
            "period": f"{as_moment(row['period']).isoformat()}Z",
            "created": int(row["created_count"]),
            "vanished": -int(row["vanished_count"]),
            "total": None if pd.isna(row["trunk_count"]) else int(row["trunk_count"]),
            "day": _name_period(row["period"]),
            "gone": int(row["vanished_count"]),
            "seen": "–" if pd.isna(row["trunk_count"]) else f"{int(row['trunk_count']):,}",
        }
        for row in periods.to_dict("records")
    ]
    moments = _moments(periods["period"])
    band = max(2, min(36, int((width - 60) * 0.6 / (len(moments) + 1))))
    shown = moments[:: -(-len(moments) // max(width // 100, 2))]
    day = "%b %Y" if (moments.day == 1).all() else "%d %b %Y"
    x_axis = {
        "title": None,
        "format": "%d %b %H:%M" if isinstance(periods["period"].iloc[0], datetime) else day,
        "values": [int(moment.timestamp() * 1000) for moment in shown],
        "labelOverlap": "greedy",
        "grid": False,
    }

    def encode(name: str, title: str, most: int) -> Spec:
        y_axis = {
            "title": title,
            "tickCount": max(1, min(4, most)),  # whole trunks only
            "format": ",d",
            "titleAngle": 0,
            "titleAlign": "left",
            "titleY": -10,
            "titleX": 0,
            "minExtent": 30,  # both panels start at the same x
        }
        return {
            # The scale is UTC, so the picture does not depend on the machine's time zone.
            "x": {"field": "period", "type": "temporal", "axis": x_axis, "scale": {"type": "utc", "padding": band}},
            "y": {"field": name, "type": "quantitative", "axis": y_axis},
            "tooltip": _tooltip(day="", created="created", gone="vanished", seen="trunks seen"),
        }

    total = encode("total", "trunks seen", int(periods["trunk_count"].fillna(0).max()))
    moved = int(periods["created_count"].max() + periods["vanished_count"].max())
    totals = [
        layer("line", total, color=accent, strokeWidth=2, invalid="break-paths-filter-domains"),
        layer("point", total, filled=True, size=50, opacity=1, color=accent),
    ]
    moves = [
        layer("bar", encode(name, "created (up), vanished (down)", moved), width=band, color=colour)
        for name, colour in (("created", accent), ("vanished", style.colours["vanished"]))
    ]
    if style is IN_NOTEBOOK:
        # A period without bars can be clicked too.
        area = {name: totals[0]["encoding"][name] for name in ("x", "tooltip")}
        moves.append(layer("rule", area, strokeWidth=max(band, 8), strokeOpacity=0))
    panels = [{"width": width - 60, "height": high, "layer": layers} for high, layers in ((150, totals), (110, moves))]
    return {"data": {"values": values}, "vconcat": panels, "resolve": {"scale": {"x": "shared"}}}


def _name_period(period: date) -> str:
    return f"from {period}".removesuffix(":00")


def _moments(periods: pd.Series) -> pd.DatetimeIndex:
    """Return the start of every period (UTC), including the periods in between that have no row."""
    starts = [as_moment(period) for period in periods]
    hours = 1 if isinstance(periods.iloc[0], datetime) else period_hours(starts)
    if hours < MONTH_HOURS:
        return pd.date_range(starts[0], starts[-1], freq=f"{hours}h", tz="UTC")
    # An implausible date from the API can span thousands of years, and pandas would step through every month.
    first, last = (np.datetime64(start.isoformat()[:7]) for start in (starts[0], starts[-1]))
    months = np.arange(first, last + 1)
    return pd.DatetimeIndex(months.astype("datetime64[us]"), tz="UTC")
