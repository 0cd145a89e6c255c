"""The command `demo-api`: the demo account, served as the API would serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.commands.options import port

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--port", type=port, default=8765, metavar="N", help="port on this machine (default: 8765)")


def run(options: argparse.Namespace) -> int:
    """Serve until stopped. Raises UsageError if the port is taken."""
    from contextlib import ExitStack
    from threading import Event

    from sip_trunks.core.errors import UsageError
    from sip_trunks.famulor.demo import DEMO_TOKEN, serve

    with ExitStack() as stack:
        try:
            base_url = stack.enter_context(serve(options.port, advances=True))
        except OSError as error:
            raise UsageError(f"port {options.port} cannot be used ({error.strerror}); try another: --port") from None
        print(f"the demo API answers at {base_url} until stopped (Ctrl-C); every response is the next edition. Use it:")
        print(f"  SOURCES__FAMULOR__BASE_URL={base_url} FAMULOR_API_KEY={DEMO_TOKEN} sip-trunks run", flush=True)
        try:
            Event().wait()
        except KeyboardInterrupt:
            print()
    return 0
