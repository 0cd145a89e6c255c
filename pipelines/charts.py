"""Report frames → pictures: PNG files, and the growth as SVG for a page.

Every chart is a Vega-Lite specification written here. What comes out of a frame becomes data in it and nothing else,
with no expression anywhere: text from the API is never a field name, a link or code. vl_convert draws without a
browser and without network; it is imported when something is drawn, and costs half a second then.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from html import escape
from itertools import chain
from itertools import count as count_from
from typing import TYPE_CHECKING, Any

import pandas as pd

from transforms.answer import printable
from transforms.counts import COUNT_COLUMNS, PRESETS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

PICTURED = frozenset({"counts", "growth", "audit", *PRESETS})
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

_FIRST_DARK_HEAT = 6
_MOST_BARS = 25
_MOST_COLUMNS = 8
_MOST_PERIODS = 60
_LONGEST_LABEL = 60
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif"
_NAMES = {
    "sip_calling_format": "calling format",
    "country_code": "country",
    "inbound_authorization_type": "inbound authorisation",
    "outbound_proxy": "outbound proxy",
    "sip_address": "SIP address",
}
# str.isprintable() takes these for visible, and no font shows anything.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

_Spec = dict[str, Any]


def draw_png(name: str, frame: pd.DataFrame) -> bytes:
    """Return the picture of a report, white behind, two pixels to the point.

    Raises ValueError if the report is none of `PICTURED`.
    """
    if name not in PICTURED:
        raise ValueError(f"there is no picture of {name}: there is one of {', '.join(sorted(PICTURED))}")
    if name == "growth":
        spec = _picture_growth(frame)
    elif name == "audit":
        spec = _picture_findings(frame)
    else:
        spec = _picture_counts(frame)
    import vl_convert

    styled = spec | {"background": "white", "padding": 20, "config": _config(COLOURS)}
    return bytes(vl_convert.vegalite_to_png(styled, scale=2, allowed_base_urls=[]))


def draw_growth_svg(growth: pd.DataFrame, width: int = 900) -> str:
    """Return the growth as an `<svg>` to put into a page, so wide that it is legible at `width` pixels.

    Its colours are the page's CSS variables; it holds no style, no script and no reference. Text is escaped.
    """
    import vl_convert

    variables = {name: f"var(--{name}, {colour})" for name, colour in COLOURS.items()}
    periods = sum_growth(growth)
    spec = _growth_spec(periods, variables, width)
    styled = spec | {"background": None, "padding": 4, "config": _config(variables)}
    svg: str = vl_convert.vegalite_to_svg(styled, allowed_base_urls=[])
    start, drawing = svg.split(">", 1)
    # The label says it all: what the parts of a drawing are is nothing to be read out.
    drawing = drawing.replace("<g ", '<g aria-hidden="true" ', 1)
    box = re.search(r'viewBox="[\d. -]+"', start)
    label = escape(describe_growth(periods))
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" {box[0] if box else ""}>{drawing}'


# --- text and counts, for pictures and pages alike


def readable(value: object, limit: int = _LONGEST_LABEL) -> str:
    """Return a value as text that cannot fool its reader: one line of at most `limit` characters.

    What is missing is a dash. Control characters, marks that turn the reading direction, and what no font shows come
    out as their escapes.
    """
    if value is None or value is pd.NA or value != value:
        return "–"
    text = str(value)[: limit + 1]
    return printable(_INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text), limit)


def name_column(column: str) -> str:
    """Return what a column is called in a heading."""
    return _NAMES.get(column, readable(column.replace("_", " ")))


def counted_by(counts: pd.DataFrame) -> list[str]:
    """Return the columns that the trunks are counted by; a country's name is no column of its own."""
    named = {"country_name"} if "country_code" in counts else set()
    return [column for column in counts.columns if column not in {*COUNT_COLUMNS, *named}]


@dataclass(frozen=True)
class Bar:
    """One value with its number of trunks."""

    label: str
    count: int
    share_pct: float


def rank(counts: pd.DataFrame, most: int) -> list[Bar]:
    """Return the most frequent rows, the others as one bar at the end."""
    ordered = counts.sort_values("trunk_count", ascending=False, kind="stable")
    total = max(int(counts["trunk_count"].sum()), 1)
    head = ordered.head(most)
    labels = [" · ".join(_label(row, column) for column in counted_by(counts)) for row in head.to_dict("records")]
    pairs = list(zip(_tell_apart(labels), map(int, head["trunk_count"]), strict=True))
    rest = ordered.iloc[most:]
    if len(rest):
        pairs.append((_others(len(rest)), int(rest["trunk_count"].sum())))
    return [Bar(label, count, count * 100 / total) for label, count in pairs]


@dataclass(frozen=True)
class Grid:
    """Trunks counted by two columns: a label for each row and column, and the cells row by row.

    `most` is the highest number of a cell that is not of the others: those together are far ahead of all.
    """

    rows: list[str]
    columns: list[str]
    cells: list[list[int]]
    most: int

    def heat(self, count: int) -> int:
        """Return how strong the colour of a cell is, from 0 for nothing to 9 for `most` and more."""
        # The root keeps small numbers apart where one is far ahead.
        return 1 + round(8 * min(count / max(self.most, 1), 1) ** 0.5) if count else 0


def cross(counts: pd.DataFrame, rows: str, columns: str, most_rows: int, most_columns: int) -> Grid:
    """Return the counts as a grid, the most frequent values first and the others as one at the end of each side."""
    row_labels, row_places = _fold(counts, rows, most_rows)
    column_labels, column_places = _fold(counts, columns, most_columns)
    sums = counts["trunk_count"].groupby([row_places, column_places]).sum().unstack(fill_value=0)
    full = sums.reindex(index=range(len(row_labels)), columns=range(len(column_labels)), fill_value=0)
    cells = [[int(count) for count in row] for row in full.to_numpy()]
    most = max(count for row in cells[:most_rows] for count in row[:most_columns])
    return Grid(row_labels, column_labels, cells, most)


def _fold(counts: pd.DataFrame, column: str, most: int) -> tuple[list[str], pd.Series]:
    """Return labels for the most frequent values of a column and the others, and the place of each row's label."""
    codes, values = pd.factorize(counts[column], use_na_sentinel=False)
    totals = counts["trunk_count"].groupby(codes).sum().sort_values(ascending=False, kind="stable")
    places = {code: min(place, most) for place, code in enumerate(totals.index)}
    place_of_row = pd.Series(codes, index=counts.index).map(places).rename(column)
    firsts = counts.assign(**{"~place": place_of_row}).drop_duplicates("~place").sort_values("~place").head(most)
    labels = _tell_apart(_label(row, column) for row in firsts.to_dict("records"))
    return labels + [_others(len(values) - most)] * (len(values) > most), place_of_row


def _label(row: Mapping[Hashable, Any], column: str) -> str:
    value, country = readable(row[column]), readable(row.get("country_name"))
    return f"{country} ({value})" if column == "country_code" and country != "–" else value


def _tell_apart(labels: Iterable[str]) -> list[str]:
    """Return the labels, each once: a chart would put two values into one place whose texts only begin alike."""
    told: dict[str, None] = {}
    for label in labels:
        others = (f"{label} ({number})" for number in count_from(2))
        told[next(each for each in chain([label], others) if each not in told)] = None
    return list(told)


def _others(count: int) -> str:
    return _number(count, "other")


# --- counts and findings


def _picture_counts(counts: pd.DataFrame) -> _Spec:
    columns = counted_by(counts)
    title = f"Trunks by {' and '.join(map(name_column, columns))}"
    if counts.empty:
        return _sentence(title, "No trunks are stored.")
    total = int(counts["trunk_count"].sum())
    heading = _title(title, _number(total, "trunk"))
    if len(columns) == 2:
        # Of countries there are many: they go down, where there is room.
        return heading | _grid_spec(cross(counts, *_sides(columns), _MOST_BARS, _MOST_COLUMNS))
    return heading | _bars_spec(
        [
            {"label": bar.label, "count": bar.count, "text": f"{bar.count:,}  ({bar.share_pct:.1f} %)"}
            for bar in rank(counts, _MOST_BARS)
        ],
        {"value": COLOURS["accent"]},
    )


def _sides(columns: Sequence[str]) -> tuple[str, str]:
    first, second = columns
    return (first, second) if first == "country_code" else (second, first)


def _grid_spec(grid: Grid) -> _Spec:
    cells = [
        {
            "row": grid.rows[down],
            "column": grid.columns[across],
            "count": f"{count:,}",
            "fill": HEAT[grid.heat(count)],
            "ink": "#ffffff" if grid.heat(count) >= _FIRST_DARK_HEAT else COLOURS["ink" if count else "muted"],
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
            "y": side | {"field": "row", "axis": axis | {"labelLimit": 320, "labelPadding": 8}},
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": COLOURS["line"], "strokeWidth": 1},
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


def _bars_spec(bars: list[dict[str, Any]], colour: _Spec) -> _Spec:
    y = {"field": "label", "type": "nominal", "sort": None}
    return {
        "data": {"values": bars},
        "width": 560,
        "height": {"step": 26},
        "encoding": {
            "x": {"field": "count", "type": "quantitative", "axis": None},
            "y": y | {"axis": {"title": None, "domain": False, "ticks": False, "labelLimit": 440, "labelPadding": 8}},
        },
        "layer": [
            {"mark": {"type": "bar", "height": {"band": 0.72}, "cornerRadiusEnd": 3}, "encoding": {"color": colour}},
            {
                "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "color": COLOURS["ink"]},
                "encoding": {"text": {"field": "text", "type": "nominal"}},
            },
        ],
    }


def _picture_findings(findings: pd.DataFrame) -> _Spec:
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
            "text": f"{count:,}",
        }
        for severity, rule, count in rules[:_MOST_BARS]
    ]
    rest = rules[_MOST_BARS:]
    if rest:
        hidden = sum(count for _, _, count in rest)
        bars.append({"label": _others(len(rest)), "severity": rest[0][0], "count": hidden, "text": f"{hidden:,}"})
    colour = {
        "field": "severity",
        "type": "nominal",
        "scale": {"domain": list(SEVERITY_COLOURS), "range": list(SEVERITY_COLOURS.values())},
        "legend": {"title": None, "orient": "top", "symbolType": "square"},
    }
    heading = _title(title, f"{_number(len(findings), 'finding')} of {_number(len(severities), 'rule')}")
    return heading | _bars_spec(bars, colour)


def group_findings(findings: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return severity, rule and how many findings it has, the worst and then the most frequent first."""
    counts = findings.groupby(["severity", "rule"]).size().rename("count").reset_index().to_dict("records")
    order = list(SEVERITY_COLOURS)
    rules = [(row["severity"], row["rule"], int(row["count"])) for row in counts]
    return sorted(rules, key=lambda rule: (order.index(rule[0]), -rule[2], rule[1]))


# --- growth


def sum_growth(growth: pd.DataFrame) -> pd.DataFrame:
    """Return the growth of all accounts together. Grain: one row per period, the last `_MOST_PERIODS` of them.

    `trunk_count` sums what was last seen of each account; it is null in a period in which nobody looked.
    """
    counts = growth.pivot(index="period", columns="account", values="trunk_count").astype("float64")
    events = growth.drop(columns=["account", "trunk_count"]).groupby("period").sum()
    total = counts.ffill().sum(axis="columns").where(counts.notna().any(axis="columns"))
    return events.assign(trunk_count=total.astype("Int64")).tail(_MOST_PERIODS).reset_index()


def describe_growth(periods: pd.DataFrame) -> str:
    """Return what the chart shows, for who cannot see it."""
    seen = periods["trunk_count"].dropna()
    if not len(seen):
        return "Growth of the trunks: nobody has looked yet."
    created = int(periods["created_count"].sum())
    return (
        f"Growth of the trunks from {periods['period'].iloc[0]} to {periods['period'].iloc[-1]}: {created:,} created, "
        f"{int(seen.iloc[-1]):,} there at the last snapshot. The table below has every number."
    )


def _picture_growth(growth: pd.DataFrame) -> _Spec:
    title = "Growth of the trunks"
    if growth.empty:
        return _sentence(title, "Nobody has looked yet.")
    return _title(title, "created, vanished, and how many there were when somebody looked") | _growth_spec(
        sum_growth(growth), COLOURS, 900
    )


def _growth_spec(periods: pd.DataFrame, colours: Mapping[str, str], width: int) -> _Spec:
    values = [
        {
            "period": f"{row['period']}T00:00:00Z",
            "created": int(row["created_count"]),
            "vanished": -int(row["vanished_count"]),
            "total": None if pd.isna(row["trunk_count"]) else int(row["trunk_count"]),
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
            "format": "%b %Y" if all(moment.day == 1 for moment in moments) else "%d %b %Y",
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
        }
        return {"x": x, "y": {"field": name, "type": "quantitative", "axis": axis}}

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
    return pd.date_range(first, last, freq="MS" if is_monthly else "7D" if is_weekly else "1D", tz="UTC")


# --- what all charts share


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _title(title: str, subtitle: str) -> _Spec:
    return {"title": {"text": title, "subtitle": subtitle}}


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
