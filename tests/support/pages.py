"""Reports to render pages from: of a small account, of one as full as wanted, and what must hold for every page."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import date
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa

from sip_trunks.reporting.html_page import render_page
from tests.support.assignments import frame_of, use
from tests.support.changes import log_changes
from tests.support.frames import day, drift, observations, trunks, versions
from trunk_transforms.audit.rules import RULES
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.overview import derive_overview
from trunk_transforms.reports.registry import derive_page
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.schema.reports import ACCOUNTS, CHANGES, FRESHNESS, GROWTH, REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    Frames = dict[str, pd.DataFrame]


SCRIPT = "<script>alert(1)</script>"


IMAGE = '"><img src=x onerror=alert(1)>'


LINK = "javascript:alert(1)"


TEMPLATE = "{{7*7}}"


TURNED = "moc.\u202egnp.exe\u2066"


HOSTILE = (SCRIPT, IMAGE, LINK, TEMPLATE, TURNED)


UNBROKEN = "W" * 500


def render(frames: Frames, *, is_inline: bool = False) -> str:
    destination = SimpleNamespace(name="duckdb", location="warehouse.duckdb")
    return render_page(frames, as_of=day(10), destination=destination, is_inline=is_inline)


def basis_of(
    trunks: pd.DataFrame, versions: pd.DataFrame, observations: pd.DataFrame, *assignments: dict[str, Any]
) -> ReportInputs:
    """Return what reports on these trunks are made from."""
    tables = {
        "trunks": trunks,
        "assignments": frame_of(*assignments),
        "lifetimes": versions,
        "changes": log_changes(versions, observations, drift(), since=None, as_of=day(10)),
        "observations": observations,
    }
    return ReportInputs(tables, Options(as_of=day(10), is_log=True))


def fix(count: int, texts: tuple[str, ...]) -> pd.DataFrame:
    """Return the lives of findings that were fixed."""
    lives = find(count, texts).assign(closed_because=pd.Series("fixed", range(count), dtype="str"))
    return lives.assign(closed_at=pd.Series(pd.Timestamp(day(9)), index=range(count), dtype="datetime64[us, UTC]"))


@cache
def typical() -> ReportInputs:
    """Return a small account in which something of everything happened."""
    moved = {"id": 2, "sip_address": "out.didww.com", "sip_calling_format": "e164", "country_code": "FR"}
    now: list[dict[str, Any]] = [
        {"id": 1},
        moved,
        {"id": 3, "allowed_inbound_ips": '["0.0.0.0/0"]', "phone_number": "+33142685300", "country_code": "FR"},
        {"id": 4, "phone_number": "030 231252", "sip_calling_format": "national", "country_code": "UK"},
        {"id": 5, "sip_username": "admin", "inbound_authorization_type": "auth", "allowed_inbound_ips": None},
    ]
    stored = [row | {"days": (0 if row["id"] != 5 else 9, None)} for row in now if row["id"] != 2]
    stored += [{"id": 2, "days": (0, 9)}, moved | {"days": (9, None)}, {"id": 6, "days": (0, 9)}]
    unanswered = {"trunk_id": 5, "assistants": [use(status="inactive", name=SCRIPT)]}
    basis = basis_of(trunks(*now), versions(*stored), observations(0, 5, 9, trunk_count=5), unanswered)
    return ReportInputs({**basis.tables, "findings_history": fix(1, ("acme",))}, basis.options)


@cache
def nothing() -> ReportInputs:
    """Return an account that nobody has observed yet."""
    return basis_of(trunks(), versions(), observations())


PAGED = tuple(report.name for report in REPORTS.values() if report.is_on_page)


def derive_typical(names: tuple[str, ...] = PAGED) -> Frames:
    return derive_page(names, typical())


def derive_nothing(names: tuple[str, ...] = PAGED) -> Frames:
    return derive_page(names, nothing())


def count(formats: list[Any], countries: list[Any], trunk_counts: list[int]) -> pd.DataFrame:
    """Return counts of every format in every country."""
    made = pd.MultiIndex.from_product([countries, formats], names=["country_code", "sip_calling_format"])
    counts = made.to_frame(index=False)[["sip_calling_format", "country_code"]]
    counts["country_name"] = counts["country_code"].map(lambda code: f"The Country of {code}")
    counts["trunk_count"] = np.resize(trunk_counts, len(counts))
    counts["share_pct"] = counts["trunk_count"] * 100 / counts["trunk_count"].sum()
    return counts.sort_values("trunk_count", ascending=False, kind="stable", ignore_index=True)


def count_by(column: str, values: list[Any]) -> pd.DataFrame:
    share = 100 / len(values)
    return pd.DataFrame({column: values, "trunk_count": range(len(values), 0, -1), "share_pct": share})


def find(count: int, texts: tuple[str, ...]) -> pd.DataFrame:
    """Return findings of every rule, one after the other."""
    place = np.arange(count)
    codes = np.array(list(RULES))
    severities = np.array([rule.severity for rule in RULES.values()])
    seen = np.array([f"{text} {number}" for number, text in enumerate(texts)])
    made = pd.DataFrame(
        {
            "account": seen[place % len(seen)],
            "trunk_id": pd.array(place + 10**15, dtype="Int64"),
            "phone_number": seen[(place + 1) % len(seen)],
            "nickname": seen[(place + 3) % len(seen)],
            "rule": codes[place % len(codes)],
            "severity": severities[place % len(codes)],
            "cause": seen[(place + 2) % len(seen)],
            "seen": seen[(place + 2) % len(seen)],
            "fix": seen[place // len(codes) % len(seen)],
            "opened_at": pd.Series(pd.Timestamp(day(3)), index=place, dtype="datetime64[us, UTC]"),
            "is_new_rule": pd.Series(place % 7 == 3, dtype="boolean"),
        }
    )
    order = {severity: -number for number, severity in enumerate(SEVERITIES)}
    return made.sort_values("severity", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def change(count: int, texts: tuple[str, ...]) -> pd.DataFrame:
    place = range(count)
    made = pd.DataFrame({name: [texts[(i + j) % len(texts)] for i in place] for j, name in enumerate(CHANGES.names)})
    return made.assign(
        trunk_id=pd.array(place, dtype="Int64"),
        change="changed",
        observed_at=pd.Series(pd.Timestamp(day(9)), index=place, dtype="datetime64[us, UTC]"),
    )


def grow(accounts: list[str], months: int) -> pd.DataFrame:
    periods = [date(2020 + number // 12, number % 12 + 1, 1) for number in range(months)]
    made = pd.DataFrame([(account, period) for account in accounts for period in periods], columns=GROWTH.names[:2])
    number = np.arange(len(made))
    made = made.assign(**dict.fromkeys(GROWTH.names[2:-1], number % 7), trunk_count=number % 1000)
    return made.astype({"period": pd.ArrowDtype(pa.date32()), "trunk_count": "Int64"})


def freshen(accounts: list[str]) -> pd.DataFrame:
    fresh = pd.DataFrame({name: range(len(accounts)) for name in FRESHNESS.names}).astype("Int64")
    return fresh.assign(account=accounts, snapshot_at=pd.Timestamp(day(9)))


def list_accounts(accounts: list[str]) -> pd.DataFrame:
    """Return each account on one line: on the page it is as full as its name is long."""
    made = pd.DataFrame({name: range(len(accounts)) for name in ACCOUNTS.names}).astype("Int64")
    severities = [SEVERITIES[place % len(SEVERITIES)] for place in range(len(accounts))]
    return made.assign(
        account=accounts,
        allowlist_pct=[place % 101.0 for place in range(len(accounts))],
        worst_severity=severities,
        worst_finding=accounts,
        snapshot_at=pd.Timestamp(day(9)),
    )


def fill(*, rows: int, countries: int, formats: int, accounts: int, texts: tuple[str, ...]) -> Frames:
    """Return reports that are as full as this, of these texts."""
    names = [f"{number} {texts[number % len(texts)]}" for number in range(accounts)]
    frames = {
        "counts": count(
            [f"{texts[number % len(texts)]} {number}" for number in range(formats)],
            [f"{texts[number % len(texts)][:60]}{number}" for number in range(countries)],
            list(range(1, 4000, 17)),
        ),
        "by_provider": count_by("provider", [*texts, *(f"provider {number}" for number in range(40))]),
        "by_authorization": count_by("inbound_authorization_type", list(texts)),
        "by_number_kind": count_by("number_kind", ["DID", "extension", "unknown"]),
        "growth": grow(names, 70),
        "changes": change(rows // 10, texts),
        "accounts": list_accounts(names),
        "audit": find(rows, texts),
        "fixed": fix(rows // 10, texts),
    }
    overview = derive_overview(
        counts=frames["counts"],
        changes=frames["changes"],
        changed_since=day(0),
        findings=frames["audit"],
        freshness=freshen(names),
    )
    return {"overview": overview, **frames}


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def assert_inert(page: str) -> None:
    """Hold that a page has no script, asks for nothing, and its policy allows nothing but its own style."""
    tags = Tags(page).seen
    assert not {tag for tag, _ in tags} & {
        "script",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "img",
        "foreignobject",
    }
    for tag, attributes in tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"style", "src", "srcset", "action", "formaction", "xlink:href", "background"}, (
                tag,
                name,
            )
            if name == "href":
                assert value == "data:," or value in {f"#{quote(each['id'] or '')}" for _, each in tags if "id" in each}
    (policy,) = [held["content"] for _, held in tags if held.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert "script-src" not in rules
    assert not re.search(r"url\(|@import|expression", style)


KINDS_OF_PAGES: dict[str, Callable[[], Frames]] = {
    "typical": derive_typical,
    "worst": lambda: fill(rows=3000, countries=200, formats=8, accounts=60, texts=(*HOSTILE, UNBROKEN)),
    "nothing": derive_nothing,
}
"""A small account, one with the worst that can be in it, and one of nothing."""


@cache
def page_of(kind: str) -> str:
    return render(KINDS_OF_PAGES[kind]())


def kinds_of_pages() -> dict[str, str]:
    return {kind: page_of(kind) for kind in KINDS_OF_PAGES}
