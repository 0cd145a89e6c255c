"""Report frames → pictures: PNG files, and the growth as SVG for a page.

Every chart is a Vega-Lite specification written here. What comes out of a frame becomes data in it and nothing else,
with no expression anywhere: text from the API is never a field name, a link or code. vl_convert draws without a
browser and without network; it is imported when something is drawn, and costs half a second then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from transforms.answer import printable
from transforms.counts import COUNT_COLUMNS, PRESETS

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

PICTURED = frozenset({"counts", "growth", "audit", *PRESETS})
"""The reports that `draw_png` can draw."""

COLOURS = {
    "ink": "#17202b",
    "muted": "#5a6675",
    "line": "#dfe4ea",
    "gap": "#eceff3",
    "accent": "#1f6fb5",
    # Okabe and Ito's, darkened where white would swallow them; the last one is for the rest.
    "series-1": "#1f6fb5",
    "series-2": "#c4570a",
    "series-3": "#00835f",
    "series-4": "#a23f7f",
    "series-5": "#8a6d00",
    "series-6": "#6b7683",
    "created": "#1f6fb5",
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
_MOST_SERIES = 5
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
    timeline = trace_growth(growth)
    spec = _growth_spec(timeline, variables, width)
    styled = spec | {"background": None, "padding": 0, "config": _config(variables)}
    svg: str = vl_convert.vegalite_to_svg(styled, allowed_base_urls=[])
    start, drawing = svg.split(">", 1)
    box = re.search(r'viewBox="[\d. -]+"', start)
    assert box  # noqa: S101 - vl_convert writes one
    label = escape(describe_growth(timeline))
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" {box[0]}>{drawing}'


# --- text and counts, for pictures and pages alike


def readable(value: object, limit: int = _LONGEST_LABEL) -> str:
    """Return a value as text that cannot fool its reader: one line of at most `limit` characters, – if it is missing.

    Control characters, marks that turn the reading direction, and what no font shows come out as their escapes.
    """
    if pd.api.types.is_scalar(value) and pd.isna(value):
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
    pairs = list(zip(labels, map(int, head["trunk_count"]), strict=True))
    rest = ordered.iloc[most:]
    if len(rest):
        pairs.append((_others(len(rest)), int(rest["trunk_count"].sum())))
    return [Bar(label, count, count * 100 / total) for label, count in pairs]


@dataclass(frozen=True)
class Grid:
    """Trunks counted by two columns: a label for each row and column, and the cells row by row."""

    rows: list[str]
    columns: list[str]
    cells: list[list[int]]

    def heat(self, count: int) -> int:
        """Return how strong the colour of a cell is, from 0 for nothing to 9 for the most."""
        most = max(max(row) for row in self.cells)
        # The root keeps small numbers apart where one is far ahead.
        return 1 + round(8 * (count / most) ** 0.5) if count else 0


def cross(counts: pd.DataFrame, rows: str, columns: str, most_rows: int, most_columns: int) -> Grid:
    """Return the counts as a grid, the most frequent values first and the others as one at the end of each side."""
    row_labels, row_places = _fold(counts, rows, most_rows)
    column_labels, column_places = _fold(counts, columns, most_columns)
    sums = counts["trunk_count"].groupby([row_places, column_places]).sum().unstack(fill_value=0)
    full = sums.reindex(index=range(len(row_labels)), columns=range(len(column_labels)), fill_value=0)
    return Grid(row_labels, column_labels, [[int(count) for count in row] for row in full.to_numpy()])


def _fold(counts: pd.DataFrame, column: str, most: int) -> tuple[list[str], pd.Series]:
    """Return labels for the most frequent values of a column and the others, and the place of each row's label."""
    codes, values = pd.factorize(counts[column], use_na_sentinel=False)
    totals = counts["trunk_count"].groupby(codes).sum().sort_values(ascending=False, kind="stable")
    places = {code: min(place, most) for place, code in enumerate(totals.index)}
    place_of_row = pd.Series(codes, index=counts.index).map(places).rename(column)
    firsts = counts.assign(**{"~place": place_of_row}).drop_duplicates("~place").sort_values("~place").head(most)
    labels = [_label(row, column) for row in firsts.to_dict("records")]
    return labels + [_others(len(values) - most)] * (len(values) > most), place_of_row


def _label(row: Mapping[Hashable, Any], column: str) -> str:
    value, country = readable(row[column]), readable(row.get("country_name"))
    return f"{country} ({value})" if column == "country_code" and country != "–" else value


def _others(count: int) -> str:
    return f"{count:,} other{'s' if count > 1 else ''}"


# --- counts and findings


def _picture_counts(counts: pd.DataFrame) -> _Spec:
    columns = counted_by(counts)
    title = f"Trunks by {' and '.join(map(name_column, columns))}"
    if counts.empty:
        return _sentence(title, "No trunks are stored.")
    total = int(counts["trunk_count"].sum())
    heading = _title(title, f"{total:,} trunk{'s' if total > 1 else ''}")
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
            "y": side | {"field": "row", "axis": axis | {"labelLimit": 260}},
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
            "y": y | {"axis": {"title": None, "domain": False, "ticks": False, "labelLimit": 320, "labelPadding": 8}},
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
    shown = rules.head(_MOST_BARS)
    bars = [
        {"label": readable(rule), "severity": readable(severity), "count": count, "text": f"{count:,}"}
        for (severity, rule), count in shown["count"].items()
    ]
    rest = rules.iloc[_MOST_BARS:]
    if len(rest):
        hidden = int(rest["count"].sum())
        bars.append({"label": _others(len(rest)), "severity": "info", "count": hidden, "text": f"{hidden:,}"})
    colour = {
        "field": "severity",
        "type": "nominal",
        "scale": {"domain": list(SEVERITY_COLOURS), "range": list(SEVERITY_COLOURS.values())},
        "legend": {"title": None, "orient": "top", "symbolType": "square"},
    }
    return _title(title, f"{len(findings):,} findings, {len(rules):,} rules") | _bars_spec(bars, colour)


def group_findings(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the number of findings (`count`) by severity and rule, the worst and then the most frequent first."""
    counts = findings.groupby(["severity", "rule"]).size().rename("count").reset_index()
    order = {severity: place for place, severity in enumerate(SEVERITY_COLOURS)}
    counts["order"] = counts["severity"].map(order).fillna(len(order))
    ordered = counts.sort_values(["order", "count", "rule"], ascending=[True, False, True])
    return ordered.set_index(["severity", "rule"])[["count"]]


# --- growth


@dataclass(frozen=True)
class Timeline:
    """The growth, period after period without a hole, as it is drawn.

    `events` are the sums of all accounts, with `trunk_count` the last known ones together, null where nobody looked.
    `seen` has a column of trunk counts for each line; `guessed` what there must have been before the first snapshot,
    by the creation dates of what it showed. `step` is how long a period is.
    """

    step: str
    events: pd.DataFrame
    seen: pd.DataFrame
    guessed: pd.DataFrame

    def last(self, count: int) -> Timeline:
        """Return the last periods of it."""
        return replace(
            self, events=self.events.tail(count), seen=self.seen.tail(count), guessed=self.guessed.tail(count)
        )


_FREQUENCIES = {"day": "D", "week": "7D", "month": "MS"}


def trace_growth(growth: pd.DataFrame) -> Timeline:
    """Return the growth of all accounts together, and as lines: one for each of the largest, one for the others."""
    rows = growth.assign(period=pd.to_datetime(growth["period"]))
    periods, step = _all_periods(rows["period"])
    rows = rows.set_index(["period", "account"]).sort_index()
    counts = rows["trunk_count"].astype("float64").unstack().reindex(periods)
    net = (rows["created_count"] - rows["vanished_count"]).astype("float64").unstack().reindex(periods).fillna(0)
    looked = counts.notna()
    is_watched = looked.cummax()
    # What came up to the first look was there less before: backwards from there, sum by sum.
    later = net.where(~is_watched.shift(fill_value=False), 0)[::-1].cumsum()[::-1].shift(-1, fill_value=0)
    guess = (counts.bfill().iloc[0] - later).clip(lower=0).where(~is_watched)
    known = counts.ffill().fillna(guess)
    lines = _name_lines(known)
    seen_of = looked.T.groupby(lines, sort=False).any().T
    known_of = known.T.groupby(lines, sort=False).sum(min_count=1).T
    first = seen_of.cummax().shift(-1, fill_value=True)  # up to the first look, where both lines meet
    events = rows.drop(columns="trunk_count").groupby(level="period").sum().reindex(periods, fill_value=0)
    events["trunk_count"] = known.sum(axis="columns").where(looked.any(axis="columns"))
    return Timeline(step, events, known_of.where(seen_of), known_of.where(~first | ~seen_of.cummax().shift(fill_value=False)))


def _all_periods(periods: pd.Series) -> tuple[pd.DatetimeIndex, str]:
    """Return every period from the first to the last, and how long they are, by the shortest step between two."""
    days = periods.drop_duplicates().sort_values().diff().min() / pd.Timedelta(days=1)
    step = "day" if days < 7 else "week" if days < 28 else "month"
    return pd.date_range(periods.min(), periods.max(), freq=_FREQUENCIES[step]), step


def _name_lines(known: pd.DataFrame) -> pd.Series:
    """Return for each account the line that it is part of: its own, or that of the others."""
    sizes = known.iloc[-1].sort_values(ascending=False, kind="stable")
    most = _MOST_SERIES if len(sizes) > _MOST_SERIES + 1 else len(sizes)
    names = [readable(account) for account in sizes.index[:most]]
    names += [f"{len(sizes) - most:,} other accounts"] * (len(sizes) - most)
    return pd.Series(names, index=sizes.index)
