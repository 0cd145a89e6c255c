"""The growth chart of the report page, as SVG: axes, lines and bars that say what the numbers say, for every width."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pandas as pd
import pytest

from sip_trunks.reporting.summaries import describe_growth
from tests.support.counted import TWO_ACCOUNTS, growth
from tests.support.pages import render
from trunk_transforms.history.growth import sum_growth

WIDTHS = [1000, 620, 336]


def draw(frame: pd.DataFrame, width: int = 1000) -> ET.Element:
    """Return the chart of this width."""
    drawn = {}
    for svg in re.findall("<svg.*?</svg>", render({"growth": frame}), re.DOTALL):
        root = ET.fromstring(svg)
        drawn[int(root.attrib["viewBox"].split()[2])] = root
    assert list(drawn) == WIDTHS
    return drawn[width]


def texts(root: ET.Element, kind: str | None = None) -> list[str]:
    return [each.text or "" for each in root.iter("text") if each.get("class") == kind]


def numbers(root: ET.Element, *names: str) -> list[tuple[float, ...]]:
    """Return these attributes of every bar."""
    return [tuple(float(bar.attrib[name]) for name in names) for bar in root.iter("rect")]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_drawing_is_inert_and_has_a_description_for_screen_readers(width: int) -> None:
    root = draw(TWO_ACCOUNTS, width)
    assert {each.tag for each in root.iter()} == {
        *("svg", "desc", "g", "text", "title", "line", "path", "rect", "circle")
    }
    # Its colours and fonts are the stylesheet's, so there are others for dark mode and paper.
    assert not {"style", "href", "id", "fill", "stroke"} & {name for each in root.iter() for name in each.attrib}
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == f"Growth of the trunks: {describe_growth(sum_growth(TWO_ACCOUNTS))}"
    assert [part.get("aria-hidden") for part in root] == [None, "true"]


def test_each_period_has_its_point_bars_and_numbers() -> None:
    root = draw(TWO_ACCOUNTS)
    assert [title.text for title in root.iter("title")] == [
        "from 1 Jan 2026: 3 created, 0 vanished, 10 seen",
        "from 1 Feb 2026: 6 created, 1 vanished, 16 seen",
        "from 1 Mar 2026: 1 created, 0 vanished, – seen",
        "from 1 Apr 2026: 1 created, 2 vanished, 16 seen",
    ]
    points = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in root.iter("circle")]
    assert len(points) == 3
    (line,) = root.iter("path")
    # The month without a snapshot interrupts the line.
    joined = [f"{letter}{x},{y}" for letter, (x, y) in zip("MLM", points, strict=True)]
    assert line.attrib["d"] == "".join(joined)
    assert points[0][1] > points[1][1] == points[2][1]
    assert [bar.get("class") for bar in root.iter("rect")] == [
        "created",
        "created",
        "vanished",
        "created",
        "created",
        "vanished",
    ]
    heights = [height for (height,) in numbers(root, "height")]
    assert heights == pytest.approx([heights[0] * each / 3 for each in (3, 6, 1, 1, 1, 2)], abs=0.1)
    # What was created ends where what vanished begins.
    starts, ends = ([y for (y,) in numbers(root, "y")], [y + height for y, height in numbers(root, "y", "height")])
    assert starts[2] == ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize(
    ("rows", "wide", "narrow"),
    [
        (["2026-01-01"], ["Jan 2026"], ["Jan 2026"]),
        (["2026-01-01", "2026-04-01"], ["Jan 2026", "Feb 2026", "Mar 2026", "Apr 2026"], ["Jan 2026", "Mar 2026"]),
        (["2024-11-01", "2026-10-01"], None, ["2025", "2026"]),
        (["2026-03-28", "2026-03-31"], ["28 Mar 2026", "29 Mar 2026", "30 Mar 2026", "31 Mar 2026"], None),
        (
            ["2026-01-05", "2026-01-12", "2026-01-26"],
            ["5 Jan 2026", "12 Jan 2026", "19 Jan 2026", "26 Jan 2026"],
            ["5 Jan 2026", "19 Jan 2026"],
        ),
        (["2026-01-05", "2026-06-15"], ["Feb 2026", "Mar 2026", "Apr 2026", "May 2026", "Jun 2026"], None),
        (["0001-01-01", "2026-01-01"], None, ["1000", "2000"]),
        (["0001-01-01", "9999-12-01"], [f"{number}000" for number in range(1, 10)], ["5000"]),
    ],
)
def test_the_time_axis_has_a_unit_that_fits_the_span(
    rows: list[str], wide: list[str] | None, narrow: list[str] | None
) -> None:
    frame = growth(*(("a", period, 1, 0, 1) for period in rows))
    for width, expected in ((1000, wide), (336, narrow)):
        shown = texts(draw(frame, width), "middle")
        assert shown == (expected or shown)
        assert 0 < len(shown) == len(set(shown)) <= width // 100


def test_hours_have_their_time_on_the_axis() -> None:
    hours = pd.to_datetime([f"2026-03-28 {hour}:00" for hour in ("21", "22", "23")] + ["2026-03-29 00:00"])
    frame = growth(*(("a", "2026-03-28", 1, 0, 1) for _ in hours)).assign(period=hours)
    assert texts(draw(frame), "middle") == ["28 Mar 21:00", "28 Mar 22:00", "28 Mar 23:00", "29 Mar 00:00"]
    assert texts(draw(frame, 336), "middle") == ["28 Mar 21:00", "28 Mar 23:00"]
    assert "from 28 Mar 2026, 22:00 UTC: 1 created" in (list(draw(frame).iter("title"))[1].text or "")


@pytest.mark.parametrize(
    ("created", "vanished", "seen", "expected"),
    [
        (0, 0, 0, [["0", "1"], ["0", "1"]]),
        (1, 0, None, [["0", "1"], ["0", "1"]]),
        (0, 1, 3, [["0", "1", "2", "3"], ["−1", "0"]]),
        (2, 3, 12, [["0", "5", "10", "15"], ["−4", "−2", "0", "2"]]),
        (10**6, 10, 999_999, [["0", "500,000", "1,000,000"], ["−500,000", "0", "500,000", "1,000,000"]]),
    ],
)
def test_the_number_axes_have_whole_numbers_that_enclose_every_value(
    created: int, vanished: int, seen: int | None, expected: list[list[str]]
) -> None:
    for width in WIDTHS:
        root = draw(growth(("a", "2026-01-01", created, vanished, seen)), width)
        assert texts(root, "end") == [number for axis in expected for number in axis]
        labels = [each for each in root.iter("text") if each.get("class") == "end"]
        # Seven pixels are enough for a digit.
        assert all(float(label.attrib["x"]) >= 7 * len(label.text or "") for label in labels)


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_of_neighbours_do_not_touch(width: int) -> None:
    gap = growth(*(("a", f"2026-{month:02}-01", 1, 0, 1) for month in (1, 2, 3, 11, 12)))
    bars = numbers(draw(gap, width), "x", "width")
    assert len(bars) == 5
    assert all(start + wide < after for (start, wide), (after, _) in pairwise(bars))
