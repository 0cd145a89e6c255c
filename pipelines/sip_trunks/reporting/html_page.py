"""Report frames → one self-contained HTML page: no script, no request, every text escaped.

The page shows the worst and the newest rows, and the number of rows that it omits. The inline page has the same content
without charts, with its style in every element, because mail programs drop style sheets and drawings.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from sip_trunks import __version__
from sip_trunks.reporting import summaries
from sip_trunks.reporting.formats import frame_records, name_duration, name_item, name_moment
from sip_trunks.reporting.growth_chart import draw_growth
from trunk_transforms.audit.coverage import describe_coverage
from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.rules.wording import agree
from trunk_transforms.history.growth import sum_growth
from trunk_transforms.reports.counts import count_changes
from trunk_transforms.reports.inputs import FIXED_SINCE
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.schema.reports import CHANGE_KINDS
from trunk_transforms.text import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from sip_trunks.destinations.base import NamedDestination
    from sip_trunks.reporting.formats import Frames

_MOST_COUNTRIES = 30
_MOST_FORMATS = 4
_MOST_BARS = 12
_MOST_ROWS = 50
_MOST_FINDINGS = 200
_MOST_TRUNKS_OF_A_RULE = 25
_MOST_FIRST = 3
_MOST_TRUNKS_OF_A_CAUSE = 3
_LONGEST_FIX = 160
_WIDTHS = {"wide": 1000, "tablet": 620, "narrow": 336}
"""The widths of the growth chart, in pixels: for screens and paper, tablets, and phones. The stylesheet shows one."""
_SHOWN_BY = {"accounts": "accounts", "freshness": "accounts", "trunks": "counts", "counts": "counts"}
_SHOWN_BY |= {"changes": "changes", "findings": "audit"}
"""The report that shows a section of the overview in full."""
_LEGS = {"inbound": "The inbound leg was re-created.", "outbound": "The outbound leg was re-created."}


def render_page(reports: Frames, *, as_of: datetime, destination: NamedDestination, is_inline: bool = False) -> str:
    """Return the page as HTML, with these reports as of `as_of` (UTC) on the data in `destination`.

    The reports are those of `derive_page`. With `is_inline`, mail programs show the page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sip_trunks.reporting", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"readable": summaries.readable, "thousands": "{:,}".format, "count_of": count_of}
    environment.filters |= {"duration": name_duration}
    style = files("sip_trunks.reporting").joinpath("page.css").read_text("utf-8")
    accounts = next((list(reports[name]["account"].unique()) for name in ("accounts", "growth") if name in reports), [])
    return environment.get_template("mail.html" if is_inline else "page.html").render(
        title=_name_page(accounts),
        has_accounts=len(accounts) != 1,
        style=style,
        style_hash=b64encode(sha256(style.encode()).digest()).decode(),
        as_of=name_moment(as_of),
        destination=destination,
        version=__version__,
        **_parts(reports, as_of),
    )


def _name_page(accounts: Sequence[str]) -> str:
    """Return the title of the page; the name of the only account is part of it, unless nobody chose that name."""
    if len(accounts) > 1:
        return f"SIP trunks of {count_of(len(accounts), 'account')}"
    return "SIP trunks" if accounts in ([], ["default"]) else f"SIP trunks of {summaries.readable(accounts[0])}"


def _parts(reports: Frames, as_of: datetime) -> dict[str, Any]:
    """Return the template's variables: one per report, and two lists of counts, as grids and as bars."""
    parts: dict[str, Any] = {"heats": [], "bars": []}
    most = _MOST_TRUNKS_OF_A_RULE
    rules = summaries.group_by_rule(reports["audit"], most, most) if "audit" in reports else []
    for name, frame in reports.items():
        match name:
            case "overview":
                parts |= {"tiles": list(_tiles(reports, rules, as_of)), name: _lines(frame, reports)}
            case "growth":
                parts[name] = _growth(frame)
            case "audit":
                parts[name] = _findings(frame, rules)
            case "coverage":
                parts[name] = list(describe_coverage(frame))
            case "changes":
                parts[name] = _changes(frame)
            case "unanswered" if frame.empty and len(reports) > 1:
                pass  # without assignments, there is nothing to say about them
            case "accounts" | "fixed" | "freshness" | "unanswered":
                parts[name] = {"rows": _records(frame.head(_MOST_ROWS)), "more": max(len(frame) - _MOST_ROWS, 0)}
            case _:
                columns = summaries.counted_by(frame)
                if len(columns) == 2 and not frame.empty:
                    parts["heats"].append({"id": name} | _heat(frame, columns))
                else:
                    parts["bars"].append({"id": name} | _bars(frame, columns))
    return parts


def _tiles(reports: Frames, rules: list[summaries.RuleFindings], as_of: datetime) -> Iterator[dict[str, Any]]:
    """Yield the most important number of each report: the section it leads to, its label, details and colour."""
    if "counts" in reports:
        counts = reports["counts"]
        countries = counts["country_code"].nunique() if "country_code" in counts else 0
        where = f"in {countries} {agree(countries, 'country', 'countries')}" if countries else None
        yield _tile("counts", int(counts["trunk_count"].sum()), "trunk", detail=where)
    if "audit" in reports:
        severities: Counter[str] = Counter()
        for rule in rules:
            severities[rule.severity] += rule.group_count
        worst = [f"{count:,} {severity}" for severity, count in severities.items() if severity in SEVERITIES[-2:]]
        colour = next(iter(severities), "fixed")
        yield _tile("audit", severities.total(), "cause", " to fix", detail=", ".join(worst), colour=colour)
    if "changes" in reports:
        trunks = reports["changes"].drop_duplicates(["account", "trunk_id"])
        count = count_changes(reports["changes"])
        kinds = [f"{count[f'{kind} trunks']:,} {kind}" for kind in CHANGE_KINDS if count[f"{kind} trunks"]]
        yield _tile("changes", len(trunks), "trunk", " changed", detail=", ".join(kinds))
    if "fixed" in reports:
        since = f"since {name_moment((as_of - FIXED_SINCE).date())}"
        yield _tile("fixed", len(reports["fixed"]), "finding", " fixed", detail=since, colour="fixed")


def _tile(link: str, count: int, noun: str, verb: str = "", **more: str | None) -> dict[str, Any]:
    label = f"{noun}{agree(count, '', 's')}{verb}"
    return {"link": link, "count": count, "label": label, "detail": None, "colour": ""} | more


def _lines(overview: pd.DataFrame, reports: Frames) -> list[dict[str, Any]]:
    """Return the lines of the overview on what no other report of the page shows, without the codes of rules."""
    rows = [row for row in frame_records(overview) if _SHOWN_BY[row["section"]] not in reports]
    for row in rows:
        row["item"] = name_item(row["section"], row["item"], row["value"])
        row["detail"] = None if row["section"] == "findings" else row["detail"]
    return rows


def _heat(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    grid = summaries.cross(counts, columns, _MOST_COUNTRIES, _MOST_FORMATS)
    title, side = f"Trunks by {summaries.name_columns(grid.by)}", summaries.name_column(grid.by[0])
    shares = summaries.list_shares(list(map(sum, grid.cells)))
    return {"title": title, "side": side, "grid": grid, "shares": shares, "total": int(counts["trunk_count"].sum())}


def _bars(counts: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    side = summaries.name_columns(columns)
    return {"title": f"Trunks by {side}", "side": side, "rows": summaries.rank(counts, _MOST_BARS)}


def _growth(growth: pd.DataFrame) -> dict[str, Any] | None:
    if growth.empty:
        return None
    periods = sum_growth(growth)
    rows = frame_records(periods)
    for row in rows:
        row["name"] = name_moment(row["period"])
    return {
        "charts": {name: draw_growth(rows, width) for name, width in _WIDTHS.items()},
        "text": summaries.describe_growth(periods),
        "rows": rows,
        "more": growth["period"].nunique() - len(periods),
    }


def _findings(findings: pd.DataFrame, by_rule: list[summaries.RuleFindings]) -> dict[str, Any]:
    """Return the findings by severity and rule, worst first: the rule, and the first trunks that it found.

    `first` has the worst causes.
    """
    most = min(_MOST_TRUNKS_OF_A_RULE, max(_MOST_FINDINGS // max(len(by_rule), 1), 1))
    rules: list[dict[str, Any]] = []
    first: list[dict[str, Any]] = []
    for found in by_rule:
        is_first = len(first) < _MOST_FIRST
        first += map(_first, found.groups[: _MOST_FIRST - len(first)])
        rule = {
            "severity": found.severity,
            "code": found.rule,
            "declared": RULES.get(found.rule),
            "is_open": is_first or found.severity == "critical",
            "fix": found.fix,
            "count": found.count,
            "new_count": found.new_count,
            "cause_count": found.cause_count,
        }
        rules.append(rule | _causes(found, most))
    # The age of a finding is known only if findings are logged.
    is_logged = findings["opened_at"].notna().any()
    return {"rules": rules, "first": first, "unaged": "new" if is_logged else "–"}


def _first(cause: summaries.FindingGroup) -> dict[str, Any]:
    """Return a cause for the cards at the top of the page: what was seen, the trunks, the oldest day, why, and the fix.

    A long fix, such as one with all addresses of a provider, is cut here.
    """
    return {
        "severity": cause.severity,
        "code": cause.rule,
        "seen": _begin(cause.rows[0]["seen"]),
        "rows": cause.rows[:_MOST_TRUNKS_OF_A_CAUSE],
        "more": max(cause.count - _MOST_TRUNKS_OF_A_CAUSE, 0),
        "since": _day(cause.opened_at),
        "declared": RULES.get(cause.rule),
        "fix": shorten(cause.fix, _LONGEST_FIX, placeholder=" …"),
    }


def _day(moment: datetime | None) -> str | None:
    return None if moment is None else name_moment(moment.date())


def _begin(seen: str) -> str:
    """Return a text with a capital first letter; the name of a field stays as it is."""
    return seen[0].upper() + seen[1:] if seen.partition(" ")[0].isalpha() else seen


def _causes(found: summaries.RuleFindings, most: int) -> dict[str, Any]:
    """Return the findings of a rule by cause: the first findings of each, `most` in total."""
    causes: list[dict[str, Any]] = []
    room = most
    for group in found.groups:
        if room > 0:
            rows = [row | {"day": _day(row["opened_at"])} for row in group.rows[:room]]
            causes.append({"text": group.text, "count": group.count, "rows": rows})
            room -= len(rows)
    return {"causes": causes, "more": found.count - (most - room)}


def _changes(changes: pd.DataFrame) -> dict[str, Any]:
    """Return the changes by snapshot and trunk, the latest first: the fields in words, and the re-created legs."""
    is_first = ~changes.duplicated(["observed_at", "account", "trunk_id"])
    steps: list[dict[str, Any]] = []
    for row in frame_records(changes.loc[is_first.cumsum() <= _MOST_ROWS].assign(is_first=is_first)):
        if row["is_first"]:
            step = {name: row.get(name) for name in ("account", "trunk_id", "nickname", "change")}
            at = name_moment(row["observed_at"])
            steps.append(step | {"at": at, "fields": [], "legs": set(), "notes": []})
        if row["field"]:
            steps[-1]["fields"].append(_describe_field(row["field"], row["old"], row["new"]))
        steps[-1]["legs"].update({"both": _LEGS}.get(row["legs"], {row["legs"]} & _LEGS.keys()))
        steps[-1]["notes"] += [row["note"]] if row["note"] else []
    for step in steps:
        legs = sorted(step["legs"])
        step["legs"] = "Both legs were re-created." if len(legs) > 1 else "".join(_LEGS[leg] for leg in legs)
    more = int(is_first.sum()) - len(steps)
    return {"text": summaries.describe_changes(changes), "rows": steps, "more": more}


def _describe_field(field: str, old: str | None, new: str | None) -> dict[str, Any]:
    """Return the name of a changed field and its values, with words before them; of an allowlist, the moved entries."""
    words = {"from": "from", "to": "to"}
    if field == "outbound_proxy":
        old, new = ({"true": "on", "false": "off"}.get(value or "", value) for value in (old, new))
    if field == "allowed_inbound_ips":
        try:
            before, after = (list(map(str, json.loads(value or "[]"))) for value in (old, new))
        except (ValueError, TypeError):
            pass  # a pseudonym
        else:
            gone, come = ([each for each in one if each not in two] for one, two in ((before, after), (after, before)))
            if gone or come:  # else only the order changed
                old, new = (", ".join(entries) or None for entries in (gone, come))
                words = {"from": "without", "to": "with"}
    return {"name": summaries.name_column(field), "old": old, "new": new} | words


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as plain values: None for a missing value, text for a time (UTC)."""
    return [
        {name: name_moment(v) if isinstance(v, datetime) else v for name, v in row.items()}
        for row in frame_records(frame)
    ]
