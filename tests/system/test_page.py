"""The report page in a real browser: it is inert, and readable for everybody on every screen and on paper.

Only a browser shows what styles, policies and screen readers make of a page. tests/unit/reporting/test_html_page.py
checks its text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from hashlib import sha256
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.support.browser import start_browser, visit
from tests.support.builders import IP_TRUNK, trunk
from tests.support.frames import day
from tests.support.pages import (
    HOSTILE,
    IMAGE,
    LINK,
    SCRIPT,
    TEMPLATE,
    TURNED,
    UNBROKEN,
    assert_inert,
    count,
    derive_typical,
    fill,
    freshen,
    kinds_of_pages,
    render,
)
from tests.support.runs import call
from trunk_transforms.reports.overview import derive_overview
from trunk_transforms.schema.findings import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.support.api import Api

    Scheme = Literal["light", "dark"]
    Media = Literal["screen", "print"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of each kind of page."""
    folder = tmp_path_factory.mktemp("pages")
    files = {kind: folder / f"{kind}.html" for kind in ("typical", "worst", "nothing")}
    for kind, page in kinds_of_pages().items():
        files[kind].write_bytes(page.encode())
    return files


OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true"
KINDS = pytest.mark.parametrize("kind", ["typical", "worst", "nothing"])


# --- nothing but text


@KINDS
def test_a_page_makes_no_requests_and_logs_nothing(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    with visit(browser, pages[kind]) as opened:
        opened.page.wait_for_load_state("networkidle")
        opened.page.evaluate("for (const each of document.querySelectorAll('summary')) each.click()")
        assert opened.complaints == []
        assert [url for url in opened.requests if url != "data:,"] == [pages[kind].as_uri()]


def test_the_policy_of_a_page_applies_its_style_and_runs_no_script(browser: Browser, pages: dict[str, Path]) -> None:
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
    api.answer([trunk(zz_name=SCRIPT), IP_TRUNK | {"zz_name": IMAGE}, calm | {"zz_name": TEMPLATE}])
    call("run", "--no-reports")
    api.answer(
        [
            trunk(zz_name=LINK, **hostile),
            IP_TRUNK | {"zz_name": TURNED, "phone_number": SCRIPT, "allowed_inbound_ips": [IMAGE, TURNED]},
            calm | {"zz_name": SCRIPT},
            trunk(id=51, phone_number=TURNED, sip_username=TEMPLATE, sip_address=SCRIPT, zz_name=IMAGE),
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


def test_the_counts_are_whole_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    formats = ["+e164", "e164", "national", *HOSTILE, UNBROKEN]
    file = tmp_path / "page.html"
    counts = count(formats, [f"C{number}" for number in range(40)], [1, 31, 4])
    file.write_text(render({"counts": counts}), "utf-8")
    with visit(browser, file, width=390) as opened:
        table = opened.page.locator(".heat")
        box = table.bounding_box()
        assert box
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
        cells = "each => [...each.querySelectorAll('td, th')].map(cell => cell.scrollWidth - cell.clientWidth)"
        assert max(table.evaluate(cells)) <= 1
        assert table.locator("tfoot td").all_text_contents()[-2] == f"{counts['trunk_count'].sum():,}"


@pytest.mark.parametrize(("width", "shown"), [(360, "narrow"), (768, "tablet"), (1280, "wide")])
def test_the_growth_is_drawn_for_the_screen(browser: Browser, pages: dict[str, Path], width: int, shown: str) -> None:
    with visit(browser, pages["typical"], width=width) as opened:
        for name in ("narrow", "tablet", "wide"):
            assert opened.page.is_visible(f".{name} svg") == (name == shown)
        # Text of 12 points stays legible, and none of it is cut off or on top of another.
        boxes = opened.page.evaluate(
            f"""[...document.querySelectorAll('.{shown} svg text')].map(each => {{
              const box = each.getBoundingClientRect();
              const letters = parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a;
              return [letters, box.left, box.right, box.top, box.bottom];
            }})"""
        )
        assert all(letters >= 10 for letters, *_ in boxes)
        assert all(0 <= left < right <= width for _, left, right, *_ in boxes)
        for (_, left, right, top, bottom), (_, *other) in combinations(boxes, 2):
            assert right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top


# --- for everybody


@KINDS
def test_landmarks_headings_tables_and_drawings_have_names(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    with visit(browser, pages[kind]) as opened:
        page = opened.page
        of = {"typical": " of acme", "worst": " of 60 accounts", "nothing": ""}[kind]
        assert page.title() == f"SIP trunks{of}, 12 Mar 2026, 09:00 UTC"
        assert page.inner_text("h1") == f"SIP trunks{of}"
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
              headed: [...table.querySelectorAll('tbody > tr')].every(row => row.querySelector('th[scope^=row]')),
              columns: table.tHead.rows[0].cells.length,
              cells: [...table.rows].map(row => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0)),
            }))"""
        )
        assert len(tables) >= (5 if kind != "nothing" else 0)
        for table in tables:
            assert table["caption"]
            assert set(table["scopes"]) - {"rowgroup"} == {"col", "row"}
            assert table["headed"]
            assert set(table["cells"]) == {table["columns"]}
        drawings = page.evaluate(
            "[...document.querySelectorAll('svg')].map(each => [each.getAttribute('role'), each.ariaLabel])"
        )
        assert len(drawings) == (3 if kind != "nothing" else 0)
        for role, label in drawings:
            assert role == "img"
            assert label.startswith("Growth of the trunks: Since ")


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
            # The narrow layout leaves out shares.
            left_out = opened.page.locator(f":is({selector}):is(.heat .share)").count()
            assert hidden == (0 if width > 940 else left_out), role
        assert all(name for role, name in heard if role in ("table", "region", "image", "heading", "link"))
        assert roles.count("banner") == roles.count("main") == roles.count("contentinfo") == 1
        assert "Growth of the trunks: Since" in " ".join(name for role, name in heard if role == "image")


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
        freshness=freshen(["acme"]),
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
def test_a_page_follows_the_colour_scheme_of_its_reader(browser: Browser, colourful: Path, selector: str) -> None:
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


# --- in words


def test_findings_have_their_fix_and_their_age(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["typical"]) as opened:
        found = opened.page.locator("details", has=opened.page.get_by_text("allowlist-open", exact=True))
        text = found.inner_text()
        assert "CRITICAL" in text
        assert "Fix: remove the entry and list the addresses that send the calls" in text
        assert "0.0.0.0/0 allows every address on the internet" in text
        assert "+33142685300\nBerlin office" in text
        for cell in ("3", "–"):
            assert found.get_by_text(cell, exact=True).count() == 1
        order = opened.page.locator("summary .tag").all_inner_texts()
        ranks = [SEVERITIES.index(severity.lower()) for severity in order]
        assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize("kind", ["typical", "worst"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_worst_causes_are_on_the_first_screen(
    browser: Browser, pages: dict[str, Path], width: int, kind: str
) -> None:
    with visit(browser, pages[kind], width=width) as opened:
        cards = opened.page.locator(".first section")
        assert cards.count() == 3
        for card in (*cards.all(), *opened.page.locator(".tiles a").all()):
            box = card.bounding_box()
            assert box
            assert 0 <= box["x"] < box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= 800  # the height of the window
            assert card.evaluate("each => each.scrollWidth <= each.clientWidth")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_worst_causes_lead_to_their_findings(browser: Browser, pages: dict[str, Path], width: int) -> None:
    with visit(browser, pages["typical"], width=width) as opened:
        cards = opened.page.locator(".first section")
        link = cards.first.get_by_role("link")
        text = cards.first.inner_text()
        assert text.startswith("CRITICAL")
        assert "Fix: " in text
        link.click()
        shown = opened.page.locator("details:target")
        assert shown.get_attribute("open") is not None
        assert shown.locator(".tag").inner_text() == "CRITICAL"
        opened.page.locator(".tiles a", has_text="changed").click()
        assert opened.page.locator("section:target h2").inner_text() == "Changes"
        assert opened.complaints == []


def test_the_same_frames_are_the_same_bytes_on_every_machine(pages: dict[str, Path]) -> None:
    expected = sha256(pages["typical"].read_bytes()).hexdigest()
    assert sha256(render(derive_typical()).encode()).hexdigest() == expected
    code = "from hashlib import sha256; from tests.support.pages import derive_typical, render; "
    code += "print(sha256(render(derive_typical()).encode()).hexdigest())"
    elsewhere = os.environ | {"PYTHONHASHSEED": "42", "TZ": "America/New_York", "LC_ALL": "C"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=elsewhere)
    assert done.stdout.strip() == expected, done.stderr
