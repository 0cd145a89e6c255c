"""Charts: pictures that can be opened and say something, and drawings that are inert."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
import zlib
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import UsageError
from sip_trunks.reporting.charts import PICTURED, draw_growth_svg, draw_png
from sip_trunks.reporting.summaries import describe_growth, rank, sum_growth
from tests.support.counted import FRAMES, TWO_ACCOUNTS, counts, findings, growth
from trunk_transforms.schema.reports import COUNT_REPORTS

if TYPE_CHECKING:
    import pandas as pd

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "{{7*7}}", "a\u202eb")
SIGNATURE = b"\x89PNG\r\n\x1a\n"


# --- pictures


def decode(png: bytes) -> tuple[int, int, list[bytes]]:
    """Return width, height and the rows of a PNG as they were before their filters; checks every checksum."""
    assert png.startswith(SIGNATURE)
    place, pixels, header = len(SIGNATURE), b"", b""
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert zlib.crc32(kind + content) == checksum
        header = content if kind == b"IHDR" else header
        pixels += content if kind == b"IDAT" else b""
        place += 12 + length
    assert kind == b"IEND"
    width, height, depth, colours = struct.unpack(">IIBB", header[:10])
    assert (depth, colours) == (8, 6)
    data, line = zlib.decompress(pixels), 4 * width + 1
    assert len(data) == height * line
    return width, height, [data[start : start + line] for start in range(0, len(data), line)]


def test_every_report_of_pictures_is_tested() -> None:
    assert set(FRAMES) == PICTURED == {"growth", "audit", *COUNT_REPORTS}


@pytest.mark.parametrize("name", FRAMES)
def test_a_picture_can_be_opened_and_shows_something(name: str) -> None:
    width, height, lines = decode(draw_png(name, FRAMES[name]))
    assert 500 < width < 2200
    assert 150 < height < 1200
    # Neither the first nor the last lines have anything that may be cut off, those between have.
    assert len(set(lines)) > height / 10
    assert lines[-1] == lines[-10]
    assert draw_png(name, FRAMES[name].iloc[:0]).startswith(SIGNATURE)


@pytest.mark.parametrize("name", FRAMES)
def test_a_picture_of_an_empty_report_says_that_it_is_empty(name: str) -> None:
    empty = draw_png(name, FRAMES[name].iloc[:0])
    width, height, _ = decode(empty)
    assert width > 400
    assert height < 300
    assert empty != draw_png(name, FRAMES[name])


def test_other_reports_have_no_picture() -> None:
    with pytest.raises(UsageError, match=r"changes has no picture; choose one of audit, by_authorization, "):
        draw_png("changes", FRAMES["audit"])


def test_a_picture_is_as_high_as_there_is_to_show_and_ends_somewhere() -> None:
    few, many, most = (
        decode(draw_png("by_provider", counts(*((f"p{i}", 1) for i in range(number)), by=("provider",))))[1]
        for number in (2, 20, 5000)
    )
    assert few < many < most < 2000


def test_hostile_text_in_a_picture_is_drawn_like_any_other() -> None:
    bars = counts(*((text, 9) for text in HOSTILE), by=("provider",))
    grid = counts(*((text, text, 9) for text in HOSTILE))
    for name, frame in {"by_provider": bars, "counts": grid}.items():
        assert len(draw_png(name, frame)) > 20_000
    named = counts(("x", 1), by=("<script>alert(1)</script>",))
    assert draw_png("counts", named).startswith(SIGNATURE)


def test_values_that_begin_alike_have_a_bar_each() -> None:
    alike = counts(*(("x" * 500 + str(number), 3 - number) for number in range(3)), by=("provider",))
    assert [bar.count for bar in rank(alike, 9)] == [3, 2, 1]
    assert len({bar.label for bar in rank(alike, 9)}) == 3
    heights = [decode(draw_png("by_provider", alike.head(number)))[1] for number in (1, 2, 3)]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 0


def test_a_rule_of_two_severities_has_two_bars() -> None:
    one, two = (
        decode(draw_png("audit", findings(("high", "a", 2), ("low", rule, 5), ("low", "c", 1))))[1] for rule in "ba"
    )
    assert one == two


# --- the growth as a drawing


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def name_of(element: ET.Element) -> str:
    return element.tag.removeprefix("{http://www.w3.org/2000/svg}")


@pytest.mark.parametrize("width", [340, 900])
def test_the_drawing_is_inert_and_has_the_colours_of_the_page(width: int) -> None:
    svg = draw_growth_svg(TWO_ACCOUNTS, width)
    root = parse(svg)
    elements = list(root.iter())
    assert name_of(root) == "svg"
    assert {name_of(element) for element in elements} <= {"svg", "g", "path", "line", "text", "rect"}
    for element in elements:
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name not in ("style", "href", "id", "tabindex")
            assert not re.search(r"url\(|https?:|javascript:|data:", value)
    # The only address in it names the language that it is written in.
    assert re.findall(r"\w+://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    colours = {element.attrib[name] for element in elements for name in ("fill", "stroke") if name in element.attrib}
    assert colours <= {"none", "transparent", *(found for found in colours if found.startswith("var(--"))}
    assert {"var(--accent, #1f6fb5)", "var(--vanished, #c4570a)"} <= colours


@pytest.mark.parametrize("width", [340, 900])
def test_the_drawing_has_its_size_and_a_description_for_screen_readers(width: int) -> None:
    root = parse(draw_growth_svg(TWO_ACCOUNTS, width))
    _, _, wide, high = map(float, root.attrib["viewBox"].split())
    assert width * 0.85 < wide <= width * 1.05
    assert 300 < high < 500
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == describe_growth(sum_growth(TWO_ACCOUNTS))
    assert [part.attrib["aria-hidden"] for part in root] == ["true"]


def texts(frame: pd.DataFrame, width: int = 900) -> list[str]:
    return [element.text or "" for element in parse(draw_growth_svg(frame, width)).iter() if name_of(element) == "text"]


def test_an_axis_says_each_period_and_each_number_once() -> None:
    months = ["Jan 2026", "Feb 2026", "Mar 2026", "Apr 2026"]
    assert [text for text in texts(TWO_ACCOUNTS) if "20" in text and text != "20"] == months * 2
    assert len(texts(TWO_ACCOUNTS, 340)) < len(texts(TWO_ACCOUNTS))
    for small in (
        growth(("a", "2026-01-01", 1, 0, 1)),
        growth(("a", "2026-01-01", 1, 0, None), ("a", "2026-03-01", 0, 1, 2)),
        growth(("a", "2026-01-05", 0, 0, 0), ("a", "2026-01-12", 0, 0, 0)),
        growth(("a", "2026-03-28", 2, 0, 3), ("a", "2026-03-31", 0, 1, 2)),
        growth(("a", "2026-01-01", 1, 0, None)),
    ):
        for axis, labels in groupby(texts(small), key=lambda text: " " in text):
            shown = list(labels)
            if not axis:
                assert len(shown) == len(set(shown))
                assert all(re.fullmatch(r"[−\d,]+", text) for text in shown)
    weeks = growth(("a", "2026-01-05", 0, 0, 5), ("a", "2026-01-26", 0, 0, 5))
    assert [text for text in texts(weeks) if "Jan" in text][:4] == [
        "05 Jan 2026",
        "12 Jan 2026",
        "19 Jan 2026",
        "26 Jan 2026",
    ]


def test_bars_of_neighbours_do_not_touch() -> None:
    gap = growth(*(("a", f"2026-{month:02}-01", 1, 0, 1) for month in (1, 2, 3, 11, 12)))
    for width in (340, 900):
        bars = sorted(
            (float(found[1]), float(found[2]))
            for found in re.finditer(
                r'd="M([\d.]+),[\d.]+h([\d.]+)v[\d.]+h-[\d.]+Z" fill="var\(--accent', draw_growth_svg(gap, width)
            )
        )
        assert len(bars) == 5
        assert all(start + wide < after for (start, wide), (after, _) in pairwise(bars))
