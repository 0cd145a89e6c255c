"""The pictures of the README: `make pictures` takes them of the demo account in a real browser."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.browser import start_browser, visit, visit_server
from tests.support.notebook_server import serve_notebook
from tests.support.runs import PROJECT
from tests.tools.demo import load_demo

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = PROJECT / "docs" / "pictures"
RUNS = 4
WIDTH, HEIGHT = 1120, 760


def wait_until_nothing_moves(page: Page) -> None:
    """Wait until two pictures, taken one after the other, are the same."""
    before = None
    while (now := page.screenshot()) != before:
        before = now
        page.wait_for_timeout(500)


def take_pictures(folder: Path) -> None:
    """Write pictures of the report page and the notebook into the folder, as they are after a few runs of the demo."""
    with tempfile.TemporaryDirectory() as data, start_browser() as browser:
        load_demo(Path(data), RUNS)
        with visit(browser, Path(data) / "reports" / "index.html", width=WIDTH) as opened:
            opened.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            opened.page.screenshot(path=folder / "page.png")
        with (
            serve_notebook(Path(data)) as address,
            visit_server(browser, address, width=WIDTH, height=HEIGHT) as opened,
        ):
            for shown in ("data as of", "Germany (DE)", "DIDLogic"):
                opened.page.get_by_text(shown).first.wait_for()
            wait_until_nothing_moves(opened.page)
            opened.page.screenshot(path=folder / "notebook.png")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    take_pictures(PICTURES)
