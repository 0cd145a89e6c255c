"""The command `status`: show when each account was last seen, and how the last run ended."""

import sys

from sip_trunks.commands.dispatch import fail
from sip_trunks.commands.options import Options, Parser, add_options
from sip_trunks.core.settings import Settings


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--max-age", metavar="AGE", help="exit with 10 if an account was not seen for this long, such as 90min, 2h, 1d"
    )
    add_options(parser, "--destination")


def run(settings: Settings, options: Options) -> int:
    """Print the status; return 10 if data is older than `--max-age`."""
    from sip_trunks.core.errors import CHECK_FAILED
    from sip_trunks.core.settings import parse_duration
    from sip_trunks.operations.status import describe_stale, find_stale, print_status, read_status
    from sip_trunks.reporting.formats import print_json

    max_age = None if options.max_age is None else parse_duration("--max-age", options.max_age)
    status = read_status(settings)
    stale = [] if max_age is None else find_stale(settings, status["accounts"], max_age)
    is_sound = max_age is None or (bool(status["accounts"]) and not stale)
    try:
        if options.json:
            print_json(status | ({} if max_age is None else {"stale_accounts": [entry["account"] for entry in stale]}))
        else:
            print_status(status)
        sys.stdout.flush()
    finally:
        # Output that cannot be written, such as after `| head`, must not turn a failure into a success.
        if not is_sound:
            options.exit_code = fail(options, describe_stale(stale, options.max_age), CHECK_FAILED)
    return int(options.exit_code)
