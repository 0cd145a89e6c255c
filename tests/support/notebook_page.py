"""The notebook in a browser: its parts, and what a visitor does with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.browser import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

COUNTS, TRUNKS, CHANGES, STATE, TIMELINE, FINDINGS, UNANSWERED, RESULT = range(8)
"""The places of its tables."""


def expect(locator: Locator) -> Any:
    """Return Playwright's assertions on it, which wait until they hold."""
    from playwright.sync_api import expect as expect_of

    expect_of.set_options(timeout=PATIENCE)
    return expect_of(locator)


def table(page: Page, place: int) -> Locator:
    return page.locator("marimo-table").nth(place)


def expect_rows(page: Page, place: int, text: str) -> None:
    expect(table(page, place).locator("table")).to_contain_text(text)


def expect_figures(page: Page, place: int, *texts: str) -> None:
    for text in texts:
        expect(page.locator(".st-figures").nth(place)).to_contain_text(text)


def choose(page: Page, label: str, *options: str) -> None:
    """Turn options of a control on, or off again."""
    control = page.locator("marimo-multiselect").filter(has=page.get_by_text(label, exact=True))
    control.get_by_role("button").first.click()
    for option in options:
        page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")


def ask_in(page: Page, query: str) -> None:
    """Run a query in the notebook's editor."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(query)
    page.get_by_role("button", name="Run", exact=True).click()
