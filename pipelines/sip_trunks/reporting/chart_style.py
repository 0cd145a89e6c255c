"""Colours, fonts and building blocks that all charts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLOURS = {"ink": "#17202b", "muted": "#5a6675", "line": "#dfe4ea", "accent": "#1f6fb5", "vanished": "#c4570a"}
"""The colours of a chart on white. The page has CSS variables with the same names."""


SEVERITY_COLOURS = {"critical": "#8c1027", "high": "#cf4a1d", "medium": "#e8a33d", "low": "#7fb3d5", "info": "#b8c0c9"}
"""Worst first. Lower severities are lighter, so that the order is visible without colour vision."""


HEAT = ("#ffffff", "#eaf2fb", "#d6e6f7", "#c1d9f2", "#a9cbec", "#8dbae3", "#2f74b5", "#23639f", "#185089", "#0d3c6e")
"""From zero to the highest count. The page's stylesheet has the same steps, and others for dark mode."""


Spec = dict[str, Any]


ON_STRONG = "#ffffff"
"""The text colour on the darker half of `HEAT`."""


@dataclass(frozen=True)
class Style:
    """The colours of a chart, as values or as CSS variables of its page, and the room for labels and a legend."""

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


IN_NOTEBOOK = Style(
    _as_variables("st-", COLOURS),
    _as_variables("st-", SEVERITY_COLOURS),
    [f"var(--st-heat-{step}, {colour})" for step, colour in enumerate(HEAT)],
    f"var(--st-on-strong, {ON_STRONG})",
    190,
    None,  # a narrow page has no room for a legend beside the labels
)


_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif"


def nominal(field: str, **more: Any) -> Spec:
    """Return the encoding of a text field."""
    return {"field": field, "type": "nominal", **more}


def layer(mark: str, encoding: Spec, **properties: Any) -> Spec:
    """Return one layer of a chart: a kind of mark, its properties, and the fields that it encodes."""
    return {"mark": {"type": mark, **properties}, "encoding": encoding}


def sentence_chart(title: str, sentence: str) -> Spec:
    """Return a chart that shows a sentence instead of data."""
    return {
        "title": {"text": title},
        "data": {"values": [{"text": sentence}]},
        "width": 560,
        "height": 40,
        **layer("text", {"text": nominal("text")}, fontSize=14, align="left", x=0),
    }


def config_of(colours: Mapping[str, str]) -> Spec:
    """Return fonts, sizes and colours as a Vega-Lite configuration."""
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
