"""The command `demo-api`: serve the demo account as the API would."""

from sip_trunks.commands.options import Options, Parser, add_port
from sip_trunks.core.settings import Settings


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    add_port(parser, 8765, "8765")


def run(_: Settings, options: Options) -> int:
    """Serve until stopped. Raises UsageError if the port is in use."""
    from contextlib import ExitStack
    from threading import Event

    from sip_trunks.core.errors import UsageError
    from sip_trunks.famulor.demo import DEMO_TOKEN, serve

    with ExitStack() as stack:
        try:
            base_url = stack.enter_context(serve(options.port, advances=True))
        except OSError as error:
            raise UsageError(f"port {options.port} cannot be used ({error.strerror}); try another --port") from None
        print(f"the demo API is at {base_url} until stopped (Ctrl-C); every response has new data. To load it:")
        print(f"  SOURCES__FAMULOR__BASE_URL={base_url} FAMULOR_API_KEY={DEMO_TOKEN} sip-trunks run", flush=True)
        try:
            Event().wait()
        except KeyboardInterrupt:
            print()
    return 0
