"""The command `notebook`: serve notebooks/explore.py to this machine's browser, or open a copy of it to be changed."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sip_trunks.commands.options import add_destination, port
from sip_trunks.core.errors import MissingExtraError, UsageError
from sip_trunks.core.settings import read_settings

if TYPE_CHECKING:
    import argparse


_HOST = "127.0.0.1"
_FILES = ("explore.py", "explore.css")
_PACKAGE = Path(__file__).resolve().parents[1]
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws://{origin}; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""What the page may load: nothing but what this server has. A value that looks like the address of an image is text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--edit", action="store_true", help="edit a copy of the notebook here, explore.py")
    parser.add_argument(
        "--port", type=port, default=0, metavar="N", help="port on this machine (default: any free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Serve the notebook until stopped, on this machine alone and to those who have the printed address."""
    settings = read_settings(options.destination)
    if find_spec("marimo") is None or find_spec("altair") is None:
        raise MissingExtraError("the notebook needs marimo and Altair: pip install '.[notebook]' in the project")
    # The notebook reads the settings itself, and has no command line.
    os.environ["SIP_TRUNKS__DESTINATION"] = settings.destination
    if options.edit:
        _edit(_find_notebook(), options.port, with_browser=not options.no_browser)
    return _serve(_find_notebook(), options.port, with_browser=not options.no_browser)


def _find_notebook() -> Path:
    """Return the notebook as it was installed: beside the packages in a checkout, inside of this one in a wheel."""
    candidates = [place / "notebooks" / _FILES[0] for place in (_PACKAGE, _PACKAGE.parents[1])]
    return next(path for path in candidates if path.is_file())


def _serve(notebook: Path, port: int, *, with_browser: bool) -> int:
    import marimo
    import uvicorn

    # That a window was closed while something was sent to it is nothing to report.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    listener = _listen(port)
    origin = f"{_HOST}:{listener.getsockname()[1]}"
    token = secrets.token_urlsafe(16)
    # Without a token any page in the same browser could read what this one shows.
    app = marimo.create_asgi_app(quiet=True, token=token).with_app(path="/", root=str(notebook)).build()
    server = uvicorn.Server(uvicorn.Config(_with_policy(app, origin), log_level="warning", lifespan="on"))
    address = f"http://{origin}/?access_token={token}"
    print(f"the notebook is at {address} until stopped (Ctrl-C)", flush=True)
    if with_browser:
        webbrowser.open(address)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        print()
    sys.stdout.flush()
    # A session that is still open has a thread of its own; it has written nothing that it could lose.
    os._exit(0)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        raise UsageError(f"port {port} cannot be used ({error.strerror}); try another: --port") from None


def _with_policy(app: Any, origin: str) -> Any:
    """Return the server's application with a header that keeps the browser from asking anybody else."""
    header = (b"content-security-policy", _POLICY.format(origin=origin).encode())

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], header]}
            await send(message)

        await app(scope, receive, send_with_policy)

    return answer


def _edit(notebook: Path, port: int, *, with_browser: bool) -> NoReturn:
    """Become marimo's editor on a copy in the working directory; one that is there already is opened as it is."""
    copy = Path(notebook.name)
    if copy.exists():
        print(f"{copy} is here already; it is opened as it is", flush=True)
    else:
        for name in _FILES:
            shutil.copyfile(notebook.with_name(name), name)
        print(f"{copy} is your copy: change it as you like; nothing runs before you say so", flush=True)
    arguments = ["edit", "--skip-update-check", "--host", _HOST]
    arguments += ["--port", str(port)] if port else []
    arguments += [] if with_browser else ["--headless"]
    os.execv(sys.executable, [sys.executable, "-m", "marimo", *arguments, str(copy)])  # noqa: S606 - no shell is meant
