"""The command `notebook`: serve notebooks/explore.py to a browser on this machine, or edit a copy of it."""

import logging
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sip_trunks.commands.options import Options, Parser, add_options, add_port
from sip_trunks.commands.signals import changed_handlers
from sip_trunks.core.errors import MissingExtraError, UsageError
from sip_trunks.core.process import changed_environment, changed_log_level
from sip_trunks.core.settings import Settings

_HOST = "127.0.0.1"
_FILES = ("explore.py", "explore.css")
_IN_CHECKOUT = "pip install '.[notebook]' in the project"
_ELSEWHERE = (
    "pip install marimo altair uvicorn; with pipx: pipx inject sip-trunks marimo altair uvicorn; with uv: add --with "
    "marimo --with altair --with uvicorn to `uvx` or `uv tool install`"
)
_PACKAGE = Path(__file__).resolve().parents[1]
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws://{origin}; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The page loads from this server only, so a URL in the data is never fetched."""


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--edit", action="store_true", help="copy the notebook to explore.py in this folder, and edit it"
    )
    add_port(parser, 0, "any free one")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    add_options(parser, "--destination")


def run(settings: Settings, options: Options) -> int:
    """Serve the notebook until stopped, on this machine only; the printed URL has the access token.

    Raises MissingExtraError without marimo and Altair, UsageError if the port is in use.
    """
    if find_spec("marimo") is None or find_spec("altair") is None:
        is_checkout = (_PACKAGE.parents[1] / "pyproject.toml").is_file()
        raise MissingExtraError(f"the notebook needs marimo and Altair: {_IN_CHECKOUT if is_checkout else _ELSEWHERE}")
    # A wheel has the notebook in this package, a checkout beside the source roots.
    candidates = [folder / "notebooks" / _FILES[0] for folder in (_PACKAGE, _PACKAGE.parents[1])]
    notebook = next(path for path in candidates if path.is_file())
    open_notebook = _edit if options.edit else _serve
    # The notebook has no command line and reads the settings itself.
    with changed_environment({"SIP_TRUNKS__DESTINATION": settings.destination}):
        return open_notebook(notebook, options.port, with_browser=not options.no_browser)


def _serve(notebook: Path, port: int, *, with_browser: bool) -> int:
    import marimo
    import uvicorn

    try:
        listener = socket.create_server((_HOST, port))
    except OSError as error:
        raise UsageError(f"port {port} cannot be used ({error.strerror}); try another --port") from None
    origin = f"{_HOST}:{listener.getsockname()[1]}"
    token = secrets.token_urlsafe(16)
    # Without a token, any other page in the browser could read this one.
    app = marimo.create_asgi_app(quiet=True, token=token).with_app(path="/", root=str(notebook)).build()
    server = uvicorn.Server(uvicorn.Config(_guarded(app, origin), log_level="warning", lifespan="on"))
    address = f"http://{origin}/?access_token={token}"
    print(f"the notebook is at {address} until stopped (Ctrl-C)", flush=True)
    if with_browser:
        webbrowser.open(address)
    # asyncio warns if a browser window closes while data is sent to it.
    with changed_log_level(logging.ERROR, "asyncio"):
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            print()
    return 0


def _guarded(app: Any, origin: str) -> Any:
    """Return the application without requests from pages of other servers, and with a policy against loading from them.

    marimo checks the origin neither of a request nor of a WebSocket.
    """
    header = (b"content-security-policy", _POLICY.format(origin=origin).encode())

    async def respond(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if headers.get(b"origin") not in (None, b"http://" + headers.get(b"host", b"")):
            is_socket = scope["type"] == "websocket"
            await send({"type": "websocket.close"} if is_socket else {"type": "http.response.start", "status": 403})
            if not is_socket:
                await send({"type": "http.response.body"})
            return

        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], header]}
            await send(message)

        await app(scope, receive, send_with_policy)

    return respond


def _edit(notebook: Path, port: int, *, with_browser: bool) -> int:
    """Run marimo's editor on a copy in the working directory; an existing copy is opened. Return its exit code."""
    copy = Path(notebook.name)
    if copy.exists():
        print(f"{copy} exists already; opening it unchanged", flush=True)
    else:
        for name in _FILES:
            shutil.copyfile(notebook.with_name(name), name)
        print(f"{copy} is your copy; its cells run only when you run them", flush=True)
    arguments = ["edit", "--skip-update-check", "--host", _HOST]
    arguments += ["--port", str(port)] if port else []
    arguments += [] if with_browser else ["--headless"]
    editor: subprocess.Popen[bytes] | None = None
    is_stopped = False

    def stop(*_: object) -> None:
        nonlocal is_stopped
        is_stopped = True
        if editor is not None:
            editor.terminate()

    # The terminal sends Ctrl-C to the editor too, which asks whether to stop.
    with changed_handlers({signal.SIGINT: lambda *_: None, signal.SIGTERM: stop}):
        editor = subprocess.Popen([sys.executable, "-m", "marimo", *arguments, str(copy)])  # noqa: S603 - fixed words
        if is_stopped:
            editor.terminate()
        code = editor.wait()
    return 128 - code if code < 0 else code
