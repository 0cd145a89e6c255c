"""The pictures of the README: `python -m tests.pictures` makes them anew, from the demo account in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser import start_browser, visit

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
RUNS = 4
WIDTH, HEIGHT = 1120, 760
COMMAND = str(Path(sys.executable).with_name("sip-trunks"))


def take_pictures(folder: Path) -> None:
    """Write a picture of the report page into the folder, as it is after a few runs of the demo."""
    with tempfile.TemporaryDirectory() as data, start_browser() as browser:
        env = os.environ | {"SIP_TRUNKS__DATA_DIR": data}
        for _ in range(RUNS):
            subprocess.run([COMMAND, "run", "--demo"], env=env, check=True, capture_output=True)
        with visit(browser, Path(data) / "reports" / "index.html", width=WIDTH) as opened:
            opened.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            opened.page.screenshot(path=folder / "page.png")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    take_pictures(PICTURES)
