"""Charts: pictures that can be opened and say something."""

from __future__ import annotations

import struct
import zlib

import pytest

from sip_trunks.core.errors import UsageError
from sip_trunks.reporting.charts import PICTURED, draw_png
from sip_trunks.reporting.summaries import rank
from tests.support.counted import FRAMES, counts, findings
from trunk_transforms.schema.reports import COUNT_REPORTS

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


def test_values_with_the_same_prefix_have_separate_bars() -> None:
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
