"""The page for an e-mail: what mail programs drop is not in it, and text stays text."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import HOSTILE, KINDS_OF_PAGES, Tags, derive_typical, fill, render

MOST_BYTES = 102_000  # a longer message is cut by Gmail


@pytest.mark.parametrize("kind", KINDS_OF_PAGES)
def test_a_mail_has_nothing_that_mail_programs_drop(kind: str) -> None:
    page = render(KINDS_OF_PAGES[kind](), is_inline=True)
    tags = Tags(page).seen
    assert {tag for tag, _ in tags} <= {
        *("html", "head", "meta", "title", "body", "table", "tr", "th", "td", "h1", "h2", "p", "b", "br", "div", "span")
    }
    names = {name for _, attributes in tags for name in attributes}
    assert names <= {"lang", "charset", "name", "content", "style", "role", "align", "width", "scope"}
    styles = {attributes["style"] or "" for _, attributes in tags if "style" in attributes}
    assert not [style for style in styles if re.search(r"url\(|var\(|flex|grid|position|expression|&|<", style)]
    assert len(page.encode()) < MOST_BYTES


def test_a_mail_has_the_numbers_causes_and_changes_of_the_page() -> None:
    page, mail = (render(derive_typical(), is_inline=is_inline) for is_inline in (False, True))
    shown, sent = (re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", each)) for each in (page, mail))
    for text in (
        "SIP trunks of acme",
        "12 Mar 2026, 09:00 UTC",
        "0.0.0.0/0 allows every address on the internet",
        "remove the entry and list the addresses that send the calls",
        "Which allowlists allow more than half of the internet?",
        "SIP address from",
        "Fixed since last week",
    ):
        assert text in shown
        assert text in sent
    numbers = [re.findall(r"<b[^>]*>([\d,]+)</b>(?:<br>| <span>)([a-z ]+)", each)[:4] for each in (page, mail)]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 4


def test_hostile_text_is_text_in_a_mail() -> None:
    mail = render(fill(rows=300, countries=5, formats=3, accounts=3, texts=HOSTILE), is_inline=True)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in mail
    assert r"moc.\u202egnp.exe\u2066" in mail
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", mail)
