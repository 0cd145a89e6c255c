"""Report frames → one self-contained HTML page: no script, no request, every text escaped.

The page shows the worst and the newest rows, and the number of rows that it omits.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sip_trunks import __version__
from sip_trunks.reporting import summaries
from sip_trunks.reporting.charts import draw_growth_svg
from sip_trunks.reporting.formats import frame_records
from trunk_transforms.audit.rules import RULES

if TYPE_CHECKING:
    import pandas as pd

    from sip_trunks.destinations.base import NamedDestination
    from sip_trunks.reporting.formats import Frames

_MOST_COUNTRIES = 30
_MOST_FORMATS = 6
_MOST_BARS = 12
_MOST_ROWS = 50
_MOST_FINDINGS = 200
_MOST_TRUNKS_OF_A_RULE = 25
_WIDTHS = {"wide": 1000, "narrow": 340}
"""The widths of the growth chart: one for screens and paper, one for phones. The stylesheet shows one of them."""
_CARDS = {"Stored": ("accounts", "trunks", "freshness"), "Changes": ("changes",), "Findings": ("findings",)}
"""The sections of the overview on each card. The counts have a table of their own."""


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
                parts[name] = _cards(frame, is_counted="counts" in reports)
            case "growth":
                parts[name] = _growth(frame)
            case "audit":
                parts[name] = _findings(frame)
            case "changes":
                parts[name] = {"text": summaries.describe_changes(frame)} | _first_rows(frame, _MOST_ROWS)
            case "freshness":
                parts[name] = _first_rows(frame, _MOST_ROWS)
            case _:
                columns = summaries.counted_by(frame)
                if len(columns) == 2 and not frame.empty:
                    parts["heats"].append(_heat(frame, columns))
                else:
                    parts["bars"].append(_bars(frame, columns))
    return parts


def _cards(overview: pd.DataFrame, *, is_counted: bool) -> list[dict[str, Any]]:
    """Return the cards at the top: stored data, changes, findings, and the highest counts unless `is_counted`."""
    cards = _CARDS if is_counted else {**_CARDS, "Most frequent": ("counts",)}
    rows = _records(overview)
    for row in rows:
        if row["section"] in ("accounts", "trunks", "changes") and row["value"] == 1:
            row["item"] = row["item"].removesuffix("s")
    return [
        {"title": title, "lines": [row for section in sections for row in rows if row["section"] == section]}
        for title, sections in cards.items()
    ]


def _heat(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    grid = summaries.cross(counts, columns, _MOST_COUNTRIES, _MOST_FORMATS)
    title, side = f"Trunks by {summaries.name_columns(grid.by)}", summaries.name_column(grid.by[0])
    return {"title": title, "side": side, "grid": grid, "total": int(counts["trunk_count"].sum())}


def _bars(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    bars, side = summaries.rank(counts, _MOST_BARS), summaries.name_columns(columns)
    most = max((bar.count for bar in bars), default=1)
    return {"title": f"Trunks by {side}", "side": side, "rows": bars, "most": most}


def _growth(growth: pd.DataFrame) -> dict[str, Any] | None:
    from markupsafe import Markup

    if growth.empty:
        return None
    periods = summaries.sum_growth(growth)
    return {
        # vl_convert makes these and escapes their text.
        "svgs": {name: Markup(draw_growth_svg(growth, width)) for name, width in _WIDTHS.items()},  # noqa: S704
        "text": summaries.describe_growth(periods),
        "rows": _records(periods),
        "more": growth["period"].nunique() - len(periods),
    }


def _findings(findings: pd.DataFrame) -> dict[str, Any]:
    """Return the findings by severity and rule, worst first: the rule, and the first trunks that it found.

    `fix` is set if it is the same for every trunk of the rule.
    """
    groups = findings.groupby(["severity", "rule"], sort=False)
    most = min(_MOST_TRUNKS_OF_A_RULE, max(_MOST_FINDINGS // max(groups.ngroups, 1), 1))
    rules = []
    for severity, code, count in summaries.group_findings(findings):
        group = groups.get_group((severity, code))
        fix = group["fix"].iloc[0] if group["fix"].nunique(dropna=False) == 1 else None
        rule = {"severity": severity, "code": code, "declared": RULES.get(code), "fix": fix, "count": count}
        rules.append(rule | {"causes": group["cause"].nunique(dropna=False)} | _first_rows(group, most))
    # The age of a finding is known only if findings are logged.
    is_logged = findings["first_seen_at"].notna().any()
    return {"rules": rules, "unaged": "new" if is_logged else "–"}


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
