"""The report page in a real browser: it is inert, readable everywhere, and says what it leaves out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64encode
from datetime import date
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.page import PAGED, render_page
from tests.browser import start_browser, visit
from tests.builders import IP_TRUNK, trunk
from tests.frames import day, drift, looks, trunks, versions
from tests.test_cli import call
from transforms.overview import derive_overview
from transforms.report_schema import CHANGES, FRESHNESS, GROWTH, SEVERITIES
from transforms.reports import REPORTS, Basis, Options
from transforms.rules.registry import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.conftest import Api

    Scheme = Literal["light", "dark"]
    Media = Literal["screen", "print"]
    Frames = dict[str, pd.DataFrame]

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
LINK = "javascript:alert(1)"
TEMPLATE = "{{7*7}}"
TURNED = "moc.\u202egnp.exe\u2066"
HOSTILE = (SCRIPT, IMAGE, LINK, TEMPLATE, TURNED)
UNBROKEN = "W" * 500
MOST_BYTES = 500_000


def render(frames: Frames) -> str:
    return render_page(frames, as_of=day(10), place="warehouse.duckdb", version="1.2.3")


def derive(*stored: pd.DataFrame, names: tuple[str, ...] = PAGED) -> Frames:
    """Return the reports on trunks, versions, looks and drift."""
    tables = dict(zip(("trunks", "versions", "looks", "drift"), stored, strict=True))
    tables["lifetimes"] = tables["versions"]
    basis = Basis(tables, Options(as_of=day(10), is_log=True))
    return {name: REPORTS[name].derive(basis) for name in names}


def derive_typical(names: tuple[str, ...] = PAGED) -> Frames:
    """Return the reports on a small account in which something of everything happened."""
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
    return derive(trunks(*now), versions(*stored), looks(0, 5, 9, trunk_count=5), drift(), names=names)


def derive_nothing() -> Frames:
    return derive(trunks(), versions(), looks(), drift())


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
            "rule": codes[place % len(codes)],
            "severity": severities[place % len(codes)],
            "seen": seen[(place + 2) % len(seen)],
            "fix": seen[place // len(codes) % len(seen)],
            "first_seen_at": pd.Series(pd.Timestamp(day(3)), index=place, dtype="datetime64[us, UTC]"),
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
        "audit": find(rows, texts),
        "freshness": freshen(names),
    }
    overview = derive_overview(
        counts=frames["counts"],
        changes=frames["changes"],
        changed_since=day(0),
        findings=frames["audit"],
        freshness=frames["freshness"],
    )
    return {"overview": overview, **frames}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of a small account, and one with the worst that can be in it."""
    folder = tmp_path_factory.mktemp("pages")
    worst = fill(rows=3000, countries=200, formats=8, accounts=60, texts=(*HOSTILE, UNBROKEN))
    made = {"typical": derive_typical(), "worst": worst, "nothing": derive_nothing()}
    files = {name: folder / f"{name}.html" for name in made}
    for name, frames in made.items():
        files[name].write_bytes(render(frames).encode())
    return files


OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true"
KINDS = pytest.mark.parametrize("kind", ["typical", "worst", "nothing"])


# --- nothing but text


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
                assert value in ("#content", "data:,")
    (policy,) = [held["content"] for _, held in tags if held.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert "script-src" not in rules
    assert not re.search(r"url\(|@import|expression", style)


@KINDS
def test_a_page_is_inert(pages: dict[str, Path], kind: str) -> None:
    assert_inert(pages[kind].read_text("utf-8"))


@KINDS
def test_a_page_asks_for_nothing_and_says_nothing_in_the_console(
    browser: Browser, pages: dict[str, Path], kind: str
) -> None:
    with visit(browser, pages[kind]) as opened:
        opened.page.wait_for_load_state("networkidle")
        opened.page.evaluate("for (const each of document.querySelectorAll('summary')) each.click()")
        assert opened.complaints == []
        assert [url for url in opened.requests if url != "data:,"] == [pages[kind].as_uri()]


def test_its_policy_lets_its_style_apply_and_no_script_run(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["typical"]) as opened:
        assert style_of(opened.page, "section", "borderTopLeftRadius") == "10px"
        assert style_of(opened.page, "main", "maxWidth") == "1120px"
        assert opened.complaints == []
        opened.page.evaluate("document.body.append(Object.assign(document.createElement('img'), {src: '//x.example'}))")
        opened.page.evaluate("document.body.setAttribute('style', 'color: red')")
        opened.page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'ran = 1'}))"
        )
        assert opened.page.evaluate("typeof ran") == "undefined"
        assert len([each for each in opened.complaints if "Content Security Policy" in each]) == 3
        assert not [each for each in opened.complaints if each.startswith("request:")]


def test_hostile_text_from_the_api_is_shown_as_text(browser: Browser, api: Api, place: Path) -> None:
    hostile = {"sip_username": SCRIPT, "sip_address": IMAGE, "country_code": LINK, "sip_calling_format": TEMPLATE}
    calm = trunk(id=50, phone_number="1050", sip_username="fifty")
    api.answer([trunk(nickname=SCRIPT), IP_TRUNK | {"nickname": IMAGE}, calm | {"nickname": TEMPLATE}])
    call("run", "--no-reports")
    api.answer(
        [
            trunk(nickname=LINK, **hostile),
            IP_TRUNK | {"nickname": TURNED, "phone_number": SCRIPT, "allowed_inbound_ips": [IMAGE, TURNED]},
            calm | {"nickname": SCRIPT},
            trunk(id=51, phone_number=TURNED, sip_username=TEMPLATE, sip_address=SCRIPT, nickname=IMAGE),
        ]
    )
    call("run")
    file = place / "data" / "reports" / "index.html"
    page = file.read_text("utf-8")
    assert_inert(page)
    assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", page)
    with visit(browser, file) as opened:
        opened.page.evaluate(OPEN_ALL)
        shown = opened.page.inner_text("main")
        for text in (SCRIPT, IMAGE, LINK, TEMPLATE, r"moc.\u202egnp.exe\u2066"):
            assert text in shown
        assert "{{49}}" not in shown
        assert opened.page.evaluate("document.querySelectorAll('script, img, iframe').length") == 0
        assert opened.complaints == []


# --- for every screen


@KINDS
def test_the_page_never_scrolls_sideways(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    with visit(browser, pages[kind]) as opened:
        opened.page.evaluate(OPEN_ALL)
        for width in (320, 360, 640, 768, 941, 1280, 1920):
            opened.page.set_viewport_size({"width": width, "height": 800})
            whole, visible = opened.page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert whole <= visible == width
            # What is too wide scrolls in a frame of its own, which the keyboard reaches.
            sticking_out = opened.page.evaluate(
                """() => [...document.querySelectorAll('body *')]
                  .filter(each => !each.closest('.scroll > *, svg > *'))
                  .filter(each => each.getBoundingClientRect().right > innerWidth)
                  .map(each => each.outerHTML.slice(0, 200))"""
            )
            assert sticking_out == []
        assert opened.page.locator(".scroll:not([tabindex='0'][role=region][aria-label])").count() == 0


def test_of_what_scrolls_in_itself_the_names_stay_in_sight(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["worst"], width=360) as opened:
        moved = opened.page.evaluate(
            """() => {
              const frame = document.querySelector('.heat').parentElement, name = frame.querySelector('tbody th');
              frame.scrollLeft = 200;
              return [frame.scrollLeft, name.getBoundingClientRect().left - frame.getBoundingClientRect().left];
            }"""
        )
        assert moved[0] == 200
        assert abs(moved[1]) <= 1


@pytest.mark.parametrize(("width", "shown"), [(360, "narrow"), (1280, "wide")])
def test_the_growth_is_drawn_for_the_screen(browser: Browser, pages: dict[str, Path], width: int, shown: str) -> None:
    with visit(browser, pages["typical"], width=width) as opened:
        for name in ("narrow", "wide"):
            assert opened.page.is_visible(f".{name} svg") == (name == shown)
        # Text of 12 points stays legible.
        letters = opened.page.evaluate(
            f"document.querySelector('.{shown} svg').getScreenCTM().a * parseFloat("
            f"document.querySelector('.{shown} svg text').getAttribute('font-size'))"
        )
        assert letters >= 10


# --- for everybody


@KINDS
def test_the_structure_can_be_heard(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    with visit(browser, pages[kind]) as opened:
        page = opened.page
        assert page.title() == "SIP trunks, 2026-03-12 09:00 UTC"
        assert page.get_attribute("html", "lang") == "en"
        for landmark in ("header", "main", "footer"):
            assert page.evaluate(f"document.querySelectorAll('body > {landmark}').length") == 1
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(each => +each.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert page.evaluate("[...document.querySelectorAll('h1, h2, h3')].every(each => each.textContent.trim())")
        tables = page.evaluate(
            """() => [...document.querySelectorAll('table')].map(table => ({
              caption: table.caption?.textContent.trim() ?? '',
              scopes: [...table.querySelectorAll('th')].map(each => each.scope),
              headed: [...table.tBodies[0].rows].every(row => row.querySelector('th[scope=row]')),
              columns: table.tHead.rows[0].cells.length,
              cells: [...table.rows].map(row => row.cells.length),
            }))"""
        )
        assert len(tables) >= (5 if kind != "nothing" else 0)
        for table in tables:
            assert table["caption"]
            assert set(table["scopes"]) == {"col", "row"}
            assert table["headed"]
            assert set(table["cells"]) == {table["columns"]}
        drawings = page.evaluate(
            "[...document.querySelectorAll('svg')].map(each => [each.getAttribute('role'), each.ariaLabel])"
        )
        assert len(drawings) == (2 if kind != "nothing" else 0)
        for role, label in drawings:
            assert role == "img"
            assert label.startswith("Growth of the trunks from ")


@pytest.mark.parametrize("width", [360, 1280])
def test_a_screen_reader_finds_tables_on_every_screen(browser: Browser, pages: dict[str, Path], width: int) -> None:
    with visit(browser, pages["typical"], width=width) as opened:
        opened.page.evaluate(OPEN_ALL)
        nodes = opened.page.context.new_cdp_session(opened.page).send("Accessibility.getFullAXTree")["nodes"]
        heard = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]
        ]
        roles = [role for role, _ in heard]
        for role, selector in {
            "table": "table",
            "row": "tr",
            "columnheader": "thead th",
            "rowheader": "tbody th, tfoot th",
            "cell": "td",
        }.items():
            hidden = opened.page.evaluate(f"document.querySelectorAll('{selector}').length") - roles.count(role)
            # In the narrow layout what a trunk that came or went has no value for is left out.
            assert hidden == (0 if role != "cell" or width > 940 else opened.page.locator("td.none").count()), role
        assert all(name for role, name in heard if role in ("table", "region", "image", "heading", "link"))
        assert roles.count("banner") == roles.count("main") == roles.count("contentinfo") == 1
        assert "Growth of the trunks from" in " ".join(name for role, name in heard if role == "image")


def test_the_keyboard_reaches_the_content_first(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["typical"]) as opened:
        opened.page.keyboard.press("Tab")
        link = opened.page.locator("a.skip")
        assert link.evaluate("each => each === document.activeElement && each.getBoundingClientRect().left >= 0")
        assert opened.page.locator(link.get_attribute("href") or "").count() == 1


CONTRAST = """() => {
  const channels = text => {
    const [red, green, blue, alpha = 1] = text.match(/[\\d.]+/g).map(Number);
    return [red, green, blue, alpha];
  };
  const over = (top, below) => {
    const alpha = top[3] + below[3] * (1 - top[3]);
    return [0, 1, 2].map(i => (top[i] * top[3] + below[i] * below[3] * (1 - top[3])) / (alpha || 1)).concat(alpha);
  };
  const light = colour => {
    const [red, green, blue] = colour.map(each => each / 255)
      .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = element => {
    let colour = [0, 0, 0, 0];
    for (let each = element; each; each = each.parentElement)
      colour = over(colour, channels(getComputedStyle(each).backgroundColor));
    return over(colour, [255, 255, 255, 1]);
  };
  const measured = [];
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement, style = getComputedStyle(element);
    if (!words.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    const ground = behind(element);
    let ink = channels(element.closest('svg') ? style.fill : style.color);
    for (let each = element; each; each = each.parentElement) ink[3] *= Number(getComputedStyle(each).opacity);
    ink = over(ink, ground);
    const [high, low] = [light(ink), light(ground)].sort((one, other) => other - one);
    measured.push([(high + 0.05) / (low + 0.05), element.className.baseVal ?? element.className, element.tagName,
      words.currentNode.textContent.trim().slice(0, 40), style.color, ground.join()]);
  }
  return measured;
}"""


@pytest.fixture(scope="module")
def colourful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every colour: cells of each heat, findings of each severity, everything there can be."""
    frames = fill(rows=200, countries=3, formats=2, accounts=3, texts=("plain", "text"))
    # The heat is the root of the share of the most: 1, 4, 9 … 64 hundreds are a step each.
    counts = count(["e164", "+e164"], [f"C{number}" for number in range(5)], [])
    frames["counts"] = counts.assign(trunk_count=[0, 10, *(100 * step * step for step in range(1, 9))])
    audit = frames["audit"]
    frames["audit"] = audit.assign(severity=[SEVERITIES[-1 - place * 5 // len(audit)] for place in range(len(audit))])
    frames["overview"] = derive_overview(
        counts=frames["counts"],
        changes=frames["changes"],
        changed_since=day(0),
        findings=frames["audit"],
        freshness=frames["freshness"],
    )
    file = tmp_path_factory.mktemp("colourful") / "page.html"
    file.write_bytes(render(frames).encode())
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_every_text_stands_out_from_what_is_behind_it(
    browser: Browser, colourful: Path, scheme: Scheme, media: Media
) -> None:
    with visit(browser, colourful, color_scheme=scheme) as opened:
        opened.page.emulate_media(media=media, color_scheme=scheme)
        opened.page.evaluate(OPEN_ALL)
        measured = opened.page.evaluate(CONTRAST)
        assert [text for text in measured if text[0] < 4.5] == []
        classes = {name for _, names, *_ in measured for name in str(names).split()}
        assert {f"h{step}" for step in range(10)} <= classes
        assert {*SEVERITIES, "tag", "note"} <= classes
        assert "text" in {tag for _, _, tag, *_ in measured}
        # Ten steps that can be told apart from the ones beside them.
        steps = [style_of(opened.page, f".h{step}", "backgroundColor") for step in range(10)]
        assert len(set(steps)) == 10


def style_of(page: Page, selector: str, name: str) -> str:
    return str(page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}"))


def luminance(colour: str) -> float:
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 3


@pytest.mark.parametrize("selector", ["body", "section", ".h0", ".h9"])
def test_the_scheme_of_the_reader_is_followed(browser: Browser, colourful: Path, selector: str) -> None:
    with visit(browser, colourful, color_scheme="light") as opened:
        light = luminance(style_of(opened.page, selector, "backgroundColor"))
        opened.page.emulate_media(color_scheme="dark")
        dark = luminance(style_of(opened.page, selector, "backgroundColor"))
        if selector == ".h9":  # the most stands out most from what is behind it
            light, dark = dark, light
        assert light > 180
        assert dark < 60 if selector != ".h9" else dark < 70


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_everything_is_there_in_black_on_white(browser: Browser, colourful: Path, scheme: Scheme) -> None:
    with visit(browser, colourful, color_scheme=scheme) as opened:
        page = opened.page
        assert page.locator("details:not([open])").count() > 0
        page.emulate_media(media="print", color_scheme=scheme)
        assert style_of(page, "body", "backgroundColor") == style_of(page, "section", "backgroundColor")
        assert style_of(page, "body", "backgroundColor") == "rgb(255, 255, 255)"
        assert style_of(page, "body", "color") == "rgb(0, 0, 0)"
        hidden = "[...document.querySelectorAll('details td')].filter(each => !each.checkVisibility()).length"
        assert page.evaluate(hidden) == 0
        paper = page.pdf(format="A4" if scheme == "light" else "Letter", print_background=False)
        assert paper.startswith(b"%PDF-")
        assert len(paper) > 20_000
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) > 1
        assert opened.complaints == []


# --- as much as fits


@pytest.fixture(scope="module")
def huge() -> str:
    texts = (SCRIPT, IMAGE, "réception " * 30, "x" * 400, "plain")
    return render(fill(rows=100_000, countries=250, formats=6, accounts=500, texts=texts))


def numbers_of(pattern: str, page: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(pattern, page)]


def test_a_page_is_small_however_much_there_is(huge: str) -> None:
    assert len(huge.encode()) < MOST_BYTES


def test_what_a_page_leaves_out_is_said(huge: str) -> None:
    findings, changes, growth, freshness = (
        re.search(rf"<h2>{title}</h2>.*?</section>", huge, re.DOTALL) or pytest.fail(title)
        for title in ("Findings", "Changes", "Growth", "Freshness")
    )
    shown = findings[0].count('<tr><th scope="row">')
    assert 100 < shown < 300
    assert shown + sum(numbers_of(r"and ([\d,]+) more", findings[0])) == 100_000
    assert sum(numbers_of(r">([\d,]+) trunks?<", findings[0])) == 100_000
    assert "sip-trunks audit --select allowlist-open" in findings[0]
    assert numbers_of(r"and ([\d,]+) more: <code>sip-trunks sql &#34;FROM reports.changes", changes[0]) == [9_950]
    assert numbers_of(r"and ([\d,]+) more: <code>sip-trunks report growth", growth[0]) == [10]
    assert numbers_of(r"and ([\d,]+) more: <code>sip-trunks report freshness", freshness[0]) == [450]
    assert '<th scope="row">220 others</th>' in huge
    assert '<th scope="row">33 others</th>' in huge  # 5 + 40 providers, 12 of them shown


def test_the_sums_of_a_table_include_what_it_leaves_out() -> None:
    counts = count(
        ["a", "b", "c", "d", "e", "f", "g"], [f"C{number}" for number in range(40)], [3, 1, 4, 1, 5, 9, 2, 6]
    )
    total = int(counts["trunk_count"].sum())
    page = render({"counts": counts})
    lines = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", page)
    sums = [numbers_of(r"<td[^>]*>([\d,]+)</td>", cells) for _, cells in lines]
    assert [name for name, _ in lines[-2:]] == ["10 others", "all"]
    assert '<th scope="col" class="n">1 other</th>' in page
    assert len(lines) == 32
    assert sums[-1][-1] == total == sum(sums[-1][:-1]) == sum(line[-1] for line in sums[:-1])


def test_a_fix_that_is_the_same_for_all_is_said_once() -> None:
    findings = find(len(RULES) * 4, ("text",))
    assert render({"audit": findings}).count("text 0") > 4 * len(RULES)
    once = findings.assign(fix="do this about it")
    assert render({"audit": once}).count("do this about it") == len(RULES)
    last = once["fix"].where(once.index < len(once) - 1, "do another thing")
    page = render({"audit": once.assign(fix=last)})
    assert page.count("do this about it") == len(RULES) - 1 + 3
    assert page.count("do another thing") == 1


# --- in words


EMPTY = {
    "counts": "No trunks are stored.",
    "by_format_and_country": "No trunks are stored.",
    "by_country": "No trunks are stored.",
    "by_provider": "No trunks are stored.",
    "by_authorization": "No trunks are stored.",
    "by_number_kind": "No trunks are stored.",
    "growth": "Nobody has looked yet.",
    "changes": "No changes in this time.",
    "audit": "No findings: nothing is misconfigured as far as the rules see.",
    "freshness": "No account has been seen yet.",
}


@pytest.mark.parametrize("name", REPORTS)
def test_what_is_empty_is_said_in_words(name: str) -> None:
    stored = (trunks(), versions(), looks(), drift())
    page = render(derive(*stored, names=(name,)))
    assert not {"table", "svg", "details"} & {tag for tag, _ in Tags(page).seen}
    if name != "overview":
        assert f"<p>{EMPTY[name]}</p>" in page
    else:
        assert "<b>0</b> <span>trunks</span>" in page
        assert "<b>0</b> <span>findings</span>" in page


def test_an_empty_account_is_a_page_without_tables(pages: dict[str, Path]) -> None:
    page = pages["nothing"].read_text("utf-8")
    assert "<table" not in page
    for name in PAGED:
        assert EMPTY.get(name, "Overview") in page


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_alone_is_a_page(name: str) -> None:
    page = render(derive_typical(names=(name,)))
    assert_inert(page)
    tags = [tag for tag, _ in Tags(page).seen]
    assert tags.count("h1") == tags.count("h2") == 1
    assert tags.count("table") + tags.count("li") > 0
    assert "Data as of <strong>2026-03-12 09:00 UTC</strong>" in page


def test_two_reports_of_one_shape_are_both_there() -> None:
    other = count(["x"], ["y"], [1]).rename(columns={"sip_calling_format": "provider"})
    page = render({"counts": other, "by_format_and_country": count(["e164"], ["DE"], [1])})
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == ["Trunks by country and provider", "Trunks by country and calling format"]


def test_the_overview_has_the_most_frequent_counts_where_no_table_has_them() -> None:
    assert "Most frequent" not in render(derive_typical())
    assert "+e164 · Germany" in render(derive_typical(names=("overview",)))


def test_findings_have_their_fix_their_account_and_their_age(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["typical"]) as opened:
        found = opened.page.locator("details", has=opened.page.locator("h3", has_text="allowlist-open"))
        text = found.inner_text()
        assert "CRITICAL" in text
        assert "Fix: remove the entry and list the addresses that send the calls" in text
        assert "0.0.0.0/0 allows every address there is" in text
        for cell in ("3", "+33142685300", "acme", "–"):
            assert found.get_by_text(cell, exact=True).count() == 1
        order = opened.page.locator("summary .tag").all_inner_texts()
        ranks = [SEVERITIES.index(severity.lower()) for severity in order]
        assert ranks == sorted(ranks, reverse=True)


def test_the_same_frames_are_the_same_bytes_on_every_machine(pages: dict[str, Path]) -> None:
    expected = sha256(pages["typical"].read_bytes()).hexdigest()
    assert sha256(render(derive_typical()).encode()).hexdigest() == expected
    code = "from hashlib import sha256; from tests.test_page import derive_typical, render; "
    code += "print(sha256(render(derive_typical()).encode()).hexdigest())"
    elsewhere = os.environ | {"PYTHONHASHSEED": "42", "TZ": "America/New_York", "LC_ALL": "C"}
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=elsewhere)
    assert done.stdout.strip() == expected, done.stderr
