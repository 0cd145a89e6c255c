"""Text from the API in every text format: it appears as it is, and as text."""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from html import unescape
from io import StringIO

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sip_trunks.reporting.formats import as_markdown, write_frame, write_rows

WORDS = r"""__a__ __init__ _a_ a_b_c a__b __ _ 😀_a_ (_a_) *a* **a** `a` ~~a~~ <b> &amp; [a](b) ![a](b) a|b \| \ #1
--- === http://a.b www.a.b a@b.c <https://a.b> :--- | a\ \_ _*_ [^1]"""
MARKUP = [*WORDS.split(), "# a", "- a", "+ a", "1. a", "1) a", "> a", "    a", "[ ] a", "``` a", "\u202ea"]
CONTROLS = "".join(map(chr, [*range(32), *range(127, 160), *range(0x200B, 0x2010), *range(0x2028, 0x2030)])) + "\u2066"
RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@given(
    st.text(
        alphabet=st.characters(exclude_categories=["C", "Z"]) | st.sampled_from("_*`~[]()<>|\\# a1.-&!"), min_size=1
    )
)
def test_markdown_shows_any_text_literally(text: str) -> None:
    assert_literal(text)


@pytest.mark.parametrize("text", MARKUP)
def test_markdown_shows_markup_literally(text: str) -> None:
    assert_literal(text)


def assert_literal(text: str) -> None:
    cell = re.search(r"<td>(.*)</td>", RENDERER.render(as_markdown(["a"], [[text]])))
    assert cell
    assert "<" not in cell[1]
    shown = text.encode("unicode_escape").decode() if text.startswith("\u202e") else text
    assert unescape(cell[1]) == shown.strip(" ")


class Terminal(StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown"])
def test_no_control_character_reaches_a_terminal(form: str, raw: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "dumb")  # no bold headings
    monkeypatch.setattr("sys.stdout", terminal)
    for value in (CONTROLS, [CONTROLS], {CONTROLS: CONTROLS}):
        write_rows([CONTROLS], [[value]], format_name=form, raw=raw)
    assert not set(terminal.getvalue()) & (set(CONTROLS) - {"\n"})


def test_csv_in_a_pipe_is_as_the_api_sent_it(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(["a"], [["\x1b]0;x\x07\u202e"]], format_name="csv", raw=True)
    assert list(csv.reader(StringIO(capsys.readouterr().out))) == [["a"], ["\x1b]0;x\x07\u202e"]]


def test_a_negative_number_is_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(["a", "b", "c", "d"], [[-1, -1.5, Decimal("-1.50"), "-1.5"]], format_name="csv")
    assert capsys.readouterr().out == "a,b,c,d\n-1,-1.5,-1.50,'-1.5\n"


def test_csv_of_many_rows_is_complete_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    write_frame(pd.DataFrame({"a": range(120_001)}), format_name="csv")
    assert capsys.readouterr().out.split() == ["a", *map(str, range(120_001))]
