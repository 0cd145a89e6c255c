"""Charts: pictures that can be opened and say something, drawings that are inert, and numbers that add up."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
import zlib
from datetime import date
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.charts import PICTURED, SEVERITY_COLOURS, draw_growth_svg, draw_png
from pipelines.digest import (
    Bar,
    counted_by,
    cross,
    describe_growth,
    group_findings,
    name_column,
    rank,
    readable,
    sum_growth,
)
from transforms.counts import PRESETS
from transforms.report_schema import GROWTH, SEVERITIES

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "{{7*7}}", "a\u202eb")
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def counts(*rows: tuple[Any, ...], by: tuple[str, ...] = ("sip_calling_format", "country_code")) -> pd.DataFrame:
    """Return counts, one row per tuple of values and the number of trunks."""
    made = pd.DataFrame(rows, columns=[*by, "trunk_count"])
    made = made.astype({name: pd.StringDtype("pyarrow", na_value=np.nan) for name in by})
    return made.assign(share_pct=(made["trunk_count"] * 100 / max(int(made["trunk_count"].sum()), 1)).round(2))


def findings(*rows: tuple[str, str, int]) -> pd.DataFrame:
    """Return findings: severity, rule, and how many of it."""
    return pd.DataFrame(
        [(severity, rule) for severity, rule, count in rows for _ in range(count)], columns=["severity", "rule"]
    )


def growth(*rows: tuple[str, str, int, int, int | None]) -> pd.DataFrame:
    """Return growth: account, period, created, vanished, and trunks."""
    made = [
        (account, date.fromisoformat(period), int(trunks is not None), created, 0, 0, vanished, trunks)
        for account, period, created, vanished, trunks in rows
    ]
    frame = pd.DataFrame(made, columns=GROWTH.names)
    return frame.astype({"period": pd.ArrowDtype(pa.date32()), "trunk_count": "Int64"})


TWO_ACCOUNTS = growth(
    ("a", "2026-01-01", 3, 0, 10),
    ("a", "2026-02-01", 2, 1, 11),
    ("a", "2026-03-01", 0, 0, None),
    ("a", "2026-04-01", 1, 0, 12),
    ("b", "2026-02-01", 4, 0, 5),
    ("b", "2026-03-01", 1, 0, None),
    ("b", "2026-04-01", 0, 2, 4),
)

FRAMES = {
    "counts": counts(("e164", "DE", 3), ("+e164", "FR", 2), (None, "DE", 1)),
    "by_format_and_country": counts(("e164", "DE", 3), ("+e164", None, 2)),
    "by_country": counts(("DE", 3), (None, 2), by=("country_code",)),
    "by_provider": counts(("Telnyx", 3), ("unknown", 2), by=("provider",)),
    "by_authorization": counts(("ip", 3), ("auth", 2), by=("inbound_authorization_type",)),
    "by_number_kind": counts(("DID", 3), ("extension", 2), by=("number_kind",)),
    "growth": TWO_ACCOUNTS,
    "audit": findings(("critical", "allowlist-open", 2), ("low", "host-ip", 9)),
}


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
    assert set(FRAMES) == PICTURED == {"counts", "growth", "audit", *PRESETS}


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
def test_what_is_not_there_is_written_into_the_picture(name: str) -> None:
    empty = draw_png(name, FRAMES[name].iloc[:0])
    width, height, _ = decode(empty)
    assert width > 400
    assert height < 300
    assert empty != draw_png(name, FRAMES[name])


def test_other_reports_have_no_picture() -> None:
    with pytest.raises(ValueError, match=r"no picture of changes: there is one of audit, by_authorization, "):
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
def test_the_drawing_has_its_size_and_is_told_to_who_cannot_see_it(width: int) -> None:
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


# --- text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (pd.NA, "–"),
        (float("nan"), "–"),
        (pd.NaT, "–"),
        ("", ""),
        (0, "0"),
        (False, "False"),
        ("Jürgen 東京 🙂", "Jürgen 東京 🙂"),
        ("<b>&amp;", "<b>&amp;"),  # escaping is for who writes the page
        ("one\ntwo\r\n\ttab", r"one\ntwo\r\n\ttab"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("a\u202eb\u2066c\u200ed", r"a\u202eb\u2066c\u200ed"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\u3164\u2800\u115f\ufe0f\U000e0101", r"\u3164\u2800\u115f\ufe0f\U000e0101"),
        ("lone \ud800", r"lone \ud800"),
        ("line\u2028end", r"line\u2028end"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("\n" * 40, (r"\n" * 40)[:59] + "…"),
    ],
)
def test_text_is_one_line_that_cannot_fool_its_reader(value: object, text: str) -> None:
    assert readable(value) == text
    assert len(readable(value)) <= 60


def test_text_is_as_long_as_it_is_asked_to_be() -> None:
    assert readable("abcdef", 6) == "abcdef"
    assert readable("abcdefg", 6) == "abcde…"
    assert readable("x" * 10**7, 3) == "xx…"


def test_columns_have_names_for_people() -> None:
    assert name_column("sip_calling_format") == "calling format"
    assert name_column("country_code") == "country"
    assert name_column("number_kind") == "number kind"
    assert name_column("new\u202e_field") == r"new\u202e field"


# --- numbers


def test_trunks_are_counted_by_what_is_no_count_and_no_name_of_a_code() -> None:
    assert counted_by(FRAMES["counts"].assign(country_name="x")) == ["sip_calling_format", "country_code"]
    assert counted_by(counts(("Germany", 1), by=("country_name",))) == ["country_name"]


def test_the_most_frequent_come_first_and_the_others_are_one_bar() -> None:
    frame = counts(("b", 2), ("a", 10), (None, 5), ("d", 2), ("c", 1), by=("provider",))
    assert rank(frame, 3) == [Bar("a", 10, 50), Bar("–", 5, 25), Bar("b", 2, 10), Bar("2 others", 3, 15)]
    assert rank(frame, 4)[-1] == Bar("1 other", 1, 5)
    assert [bar.label for bar in rank(frame, 5)] == ["a", "–", "b", "d", "c"]
    assert rank(frame.iloc[:0], 5) == []


def test_a_bar_of_several_columns_says_all_of_them() -> None:
    frame = counts(("e164", "DE", "x", 1), by=("sip_calling_format", "country_code", "account"))
    assert [bar.label for bar in rank(frame.assign(country_name="Germany"), 1)] == ["e164 · Germany (DE) · x"]


CROSSED = counts(
    ("e164", "DE", 8),
    ("e164", "FR", 4),
    ("+e164", "DE", 2),
    (None, "FR", 3),
    ("national", "IT", 5),
    ("e164", None, 1),
    ("+e164", "IT", 6),
)


def test_a_grid_has_the_most_frequent_first_on_both_sides() -> None:
    # DE 10, IT 11, FR 7, none 1; e164 13, +e164 8, national 5, none 3.
    grid = cross(CROSSED, "country_code", "sip_calling_format", 9, 9)
    assert grid.rows == ["IT", "DE", "FR", "–"]
    assert grid.columns == ["e164", "+e164", "national", "–"]
    assert grid.cells == [[0, 6, 5, 0], [8, 2, 0, 0], [4, 0, 0, 3], [1, 0, 0, 0]]
    assert grid.most == 8


def test_the_others_of_a_grid_are_one_row_and_one_column_with_their_sums() -> None:
    grid = cross(CROSSED, "country_code", "sip_calling_format", 2, 1)
    assert grid.rows == ["IT", "DE", "2 others"]
    assert grid.columns == ["e164", "3 others"]
    assert grid.cells == [[0, 11], [8, 2], [5, 3]]
    assert sum(map(sum, grid.cells)) == int(CROSSED["trunk_count"].sum())
    assert cross(CROSSED, "country_code", "sip_calling_format", 3, 3).rows[-1] == "1 other"


def test_the_others_do_not_pale_the_rest() -> None:
    grid = cross(CROSSED, "country_code", "sip_calling_format", 2, 1)
    assert grid.most == 8
    assert grid.heat(8) == grid.heat(11) == 9


def test_the_heat_goes_from_nothing_to_the_most() -> None:
    grid = cross(counts(("a", "b", 6400)), "country_code", "sip_calling_format", 9, 9)
    # 1 + 8 times the root of the share: of 100, 400, 900, … in 6400 it is 1/8, 2/8, 3/8, …
    assert [grid.heat(100 * step * step) for step in range(9)] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert grid.heat(1) == 1


def test_countries_have_their_name_with_their_code() -> None:
    frame = counts(("e164", "DE", 2), ("e164", "XX", 1)).assign(country_name=pd.array(["Germany", None]))
    grid = cross(frame, "country_code", "sip_calling_format", 9, 9)
    assert grid.rows == ["Germany (DE)", "XX"]


def test_labels_of_a_grid_differ_even_where_their_texts_only_begin_alike() -> None:
    frame = counts(("x" * 100 + "1", "–", 3), ("x" * 100 + "2", None, 2))
    grid = cross(frame, "country_code", "sip_calling_format", 9, 9)
    assert grid.rows == ["–", "– (2)"]
    assert grid.columns == ["x" * 59 + "…", "x" * 59 + "… (2)"]
    assert grid.cells == [[3, 0], [0, 2]]


def test_findings_come_by_severity_and_then_by_number_and_name() -> None:
    assert list(SEVERITY_COLOURS) == list(reversed(SEVERITIES))
    mixed = findings(("low", "z", 9), ("high", "b", 1), ("high", "c", 4), ("high", "a", 1), ("critical", "c", 1))
    assert group_findings(mixed) == [
        ("critical", "c", 1),
        ("high", "c", 4),
        ("high", "a", 1),
        ("high", "b", 1),
        ("low", "z", 9),
    ]
    assert group_findings(mixed.iloc[:0]) == []


def test_the_growth_of_all_accounts_sums_what_was_last_seen_of_each() -> None:
    summed = sum_growth(TWO_ACCOUNTS)
    assert list(summed.columns) == ["period", *(name for name in GROWTH.names if name not in ("account", "period"))]
    assert [f"{period:%m}" for period in summed["period"]] == ["01", "02", "03", "04"]
    assert summed["created_count"].tolist() == [3, 6, 1, 1]
    assert summed["vanished_count"].tolist() == [0, 1, 0, 2]
    assert summed["snapshot_count"].tolist() == [1, 2, 0, 2]
    assert summed["trunk_count"].astype(object).where(summed["trunk_count"].notna(), None).tolist() == [
        10,
        16,
        None,
        16,
    ]


def test_an_account_that_nobody_looked_at_counts_as_it_was() -> None:
    later = growth(("a", "2026-01-01", 0, 0, 10), ("a", "2026-02-01", 0, 0, None), ("b", "2026-02-01", 0, 0, 5))
    assert sum_growth(later)["trunk_count"].tolist() == [10, 15]


def test_of_a_long_growth_the_last_sixty_periods_are_there() -> None:
    rows = [("a", f"{2020 + number // 12}-{number % 12 + 1:02}-01", number, 0, 1) for number in range(70)]
    summed = sum_growth(growth(*rows))
    assert summed["created_count"].tolist() == list(range(10, 70))


def test_the_growth_is_told_in_a_sentence() -> None:
    # 3 + 6 + 1 + 1 created, 12 + 4 there.
    assert describe_growth(sum_growth(TWO_ACCOUNTS)) == (
        "Growth of the trunks from 2026-01-01 to 2026-04-01: 11 created, 16 there at the last snapshot. "
        "The table below has every number."
    )
    unseen = sum_growth(growth(("a", "2026-01-01", 3, 0, None)))
    assert describe_growth(unseen) == "Growth of the trunks: nobody has looked yet."
