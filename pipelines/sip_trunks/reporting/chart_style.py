"""What all charts share: colours, fonts, titles, tooltips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


Spec = dict[str, Any]


ON_STRONG = "#ffffff"
"""What is legible on the stronger half of `HEAT`."""


@dataclass(frozen=True)
class Style:
    """The colours of a chart, as they are or as the variables of the page it stands in, and its room for labels."""

    colours: Mapping[str, str]
    severities: Mapping[str, str]
    heat: Sequence[str]
    on_strong: str
    label_limit: int
    legend: Spec | None


ON_WHITE = Style(
    COLOURS, SEVERITY_COLOURS, HEAT, ON_STRONG, 440, {"title": None, "orient": "top", "symbolType": "square"}
)


def _as_variables(prefix: str, colours: Mapping[str, str]) -> dict[str, str]:
    return {name: f"var(--{prefix}{name}, {colour})" for name, colour in colours.items()}


IN_PAGE = replace(ON_WHITE, colours=_as_variables("", COLOURS))


IN_NOTEBOOK = Style(
    _as_variables("st-", COLOURS),
    _as_variables("st-", SEVERITY_COLOURS),
    list(_as_variables("st-heat-", dict(zip(map(str, range(len(HEAT))), HEAT, strict=True))).values()),
    f"var(--st-on-strong, {ON_STRONG})",
    190,
    None,  # beside the labels a narrow page has no room for one
)


_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif"


def heading_of(title: str, subtitle: str) -> Spec:
    """Return the title of a chart, with a line below."""
    return {"title": {"text": title, "subtitle": subtitle}}


def tooltip(**titles: str) -> list[Spec]:
    """Return what a mark says when it is pointed at: these fields, each with its title."""
    return [{"field": field, "type": "nominal", "title": title or " "} for field, title in titles.items()]


def sentence_chart(title: str, sentence: str) -> Spec:
    """Return a chart that says a sentence in place of data."""
    return {
        "title": {"text": title},
        "data": {"values": [{"text": sentence}]},
        "width": 560,
        "height": 40,
        "mark": {"type": "text", "fontSize": 14, "align": "left", "x": 0},
        "encoding": {"text": {"field": "text", "type": "nominal"}},
    }


def config_of(colours: Mapping[str, str]) -> Spec:
    """Return fonts, sizes and colours, as Vega-Lite takes them."""
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
