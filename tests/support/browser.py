"""A real Chromium, and pages that are watched in it: the browser that is installed, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Dialog,
        Page,
        Request,
        Route,
        WebSocket,
    )

PATIENCE = 120_000
"""How long a test waits for a page, in milliseconds. A wrong text in a page fails by it, so it is far below
`PATIENCE_SECONDS`, which only ends tests that hang."""
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
_PATHS = (
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/opt/google/chrome/chrome",
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_QUIET = (
    # Containers have little shared memory.
    "--disable-dev-shm-usage",
    # The browser talks to nobody on its own. Playwright passes some of these too, depending on its version.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)


@dataclass
class Visit:
    """A page that is open, what it asked for, and what it did that no page should: messages, errors, dialogs, …"""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Run a browser; skip the test where there is none.

    For a fixture of a module's tests, not of the session's: while Playwright runs, its event loop is in the way of
    every other one in this thread.
    """
    found = find_chromium()
    if found is None:
        pytest.skip("NOT TESTED IN A BROWSER: no Chromium found; apt-get install chromium fonts-dejavu-core")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("NOT TESTED IN A BROWSER: playwright is not installed; pip install playwright")
    # Chromium's sandbox refuses root.
    arguments = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=arguments, timeout=PATIENCE)
        yield started
        started.close()


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome that is installed."""
    on_path = (shutil.which(name) for name in _NAMES)
    return next((path for path in (*on_path, *_PATHS) if path and os.access(path, os.X_OK)), None)


@contextmanager
def visit(browser: Browser, file: Path, *, width: int = 1280, **context: Any) -> Iterator[Visit]:
    """Open a file in a window of its own; whatever else it asks for fails, and is noted."""
    url = file.as_uri()
    with browser.new_context(viewport={"width": width, "height": 800}, **context) as window:
        opened = _watch(window, lambda asked: asked == url)
        opened.page.on("console", lambda message: opened.complaints.append(f"console: {message.text}"))
        opened.page.goto(url)
        yield opened


@contextmanager
def visit_server(
    browser: Browser, address: str, *, width: int = 1280, height: int = 800, **context: Any
) -> Iterator[Visit]:
    """Open a server's page in a window of its own; whatever it asks of anybody else fails, and is noted.

    Errors on the console are, too; what an application tells its developers there is not.
    """
    host = address.split("/")[2]
    own = (f"http://{host}/", f"ws://{host}/", "data:", "blob:")
    with browser.new_context(viewport={"width": width, "height": height}, **context) as window:
        opened = _watch(window, lambda asked: asked.startswith(own))

        def listen(message: ConsoleMessage) -> None:
            if message.type == "error":
                opened.complaints.append(f"console: {message.text}")

        opened.page.on("console", listen)
        opened.page.goto(address)
        yield opened


def _watch(window: BrowserContext, is_allowed: Callable[[str], bool]) -> Visit:
    """Return a page of the window that can ask for nothing but what is allowed, and is watched."""
    window.set_default_timeout(PATIENCE)
    opened = Visit(window.new_page())
    page, complain = opened.page, opened.complaints.append

    def answer(route: Route, request: Request) -> None:
        if is_allowed(request.url):
            route.continue_()
        else:
            complain(f"request: {request.url}")
            route.abort()

    def dismiss(dialog: Dialog) -> None:
        complain(f"dialog: {dialog.message}")
        dialog.dismiss()

    def connect(socket: WebSocket) -> None:
        if not is_allowed(socket.url):
            complain(f"socket: {socket.url}")

    window.route("**/*", answer)
    window.on("request", lambda request: opened.requests.append(request.url))
    page.on("pageerror", lambda error: complain(f"error: {error}"))
    page.on("dialog", dismiss)
    page.on("popup", lambda popup: complain(f"popup: {popup.url}"))
    page.on("download", lambda download: complain(f"download: {download.url}"))
    page.on("websocket", connect)
    return opened
