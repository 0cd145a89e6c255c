"""The notebook of the demo account in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.browser import start_browser, visit_server
from tests.support.demo_account import demo_after
from tests.support.notebook_page import TRUNKS, choose, expect, expect_figures, expect_rows, table
from tests.support.notebook_server import serve_notebook

if TYPE_CHECKING:
    import pytest


def test_the_notebook_opens_and_a_filter_applies_to_its_figures_and_its_table(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Only a browser shows that the notebook that the command serves reacts to its visitor."""
    data_dir = demo_after(2, tmp_path_factory)
    with (
        serve_notebook(data_dir) as address,
        start_browser() as browser,
        visit_server(browser, address, height=1000) as opened,
    ):
        expect_figures(opened.page, 0, "trunks 48 in 1 account")
        choose(opened.page, "provider", "DIDWW")
        expect_figures(opened.page, 0, "1 known provider")
        expect_rows(opened.page, TRUNKS, "out.didww.com")
        expect(table(opened.page, TRUNKS).locator("tbody tr", has_not_text="out.didww.com")).to_have_count(0)
        assert opened.complaints == []
