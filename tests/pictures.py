"""The pictures of the README: `python -m tests.pictures` makes them anew, from the demo account in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser import start_browser, visit, visit_server
from tests.notebook_server import serve_notebook

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
RUNS = 4
WIDTH, HEIGHT = 1120, 760
COMMAND = str(Path(sys.executable).with_name("sip-trunks"))


def take_pictures(folder: Path) -> None:
    """Write pictures of the report page and the notebook into the folder, as they are after a few runs of the demo."""
    with tempfile.TemporaryDirectory() as data, start_browser() as browser:
        for _ in range(RUNS):
            env = os.environ | {"SIP_TRUNKS__DATA_DIR": data}
            subprocess.run([COMMAND, "run", "--demo"], env=env, check=True, capture_output=True)
        with visit(browser, Path(data) / "reports" / "index.html", width=WIDTH) as opened:
            opened.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            opened.page.screenshot(path=folder / "page.png")
        with (
            serve_notebook(Path(data)) as address,
            visit_server(browser, address, width=WIDTH, height=HEIGHT) as opened,
        ):
            for shown in ("data as of", "Germany (DE)", "DIDLogic"):
                opened.page.get_by_text(shown).first.wait_for()
            opened.page.wait_for_timeout(2000)  # until what has moved has settled
            opened.page.screenshot(path=folder / "notebook.png")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    take_pictures(PICTURES)
