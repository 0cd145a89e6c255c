"""The report page of the demo account in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.browser import start_browser, visit
from tests.support.demo_account import demo_after

if TYPE_CHECKING:
    import pytest


def test_the_page_shows_the_reports_asks_for_nothing_and_fits_every_screen(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Only a browser shows what a reader of the page sees, on a phone and on a desk, and what it would fetch."""
    file = demo_after(2, tmp_path_factory) / "reports" / "index.html"
    with start_browser() as browser, visit(browser, file, width=390) as opened:
        opened.page.wait_for_load_state("networkidle")
        opened.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        shown = opened.page.inner_text("main")
        for text in ("48\ntrunks", "+e164", "United Kingdom", "Telnyx", "allowlist-open", "2130"):
            assert text in shown
        titles = opened.page.locator("h2").all_inner_texts()
        for title in ("Do this first", "Growth", "Changes", "Findings", "Fixed since last week", "Accounts"):
            assert title in titles
        for width in (390, 1280):
            opened.page.set_viewport_size({"width": width, "height": 800})
            assert opened.page.evaluate("document.documentElement.scrollWidth") == width
        assert opened.complaints == []
        assert [url for url in opened.requests if url != "data:,"] == [file.as_uri()]
