"""The command `drift`: list deviations of responses from the declaration, each with its first time."""

from functools import partial

from sip_trunks.commands.options import Options, Parser, add_format, add_options, moment
from sip_trunks.core.settings import Settings


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="include past deviations seen at or after this time"
    )
    add_options(parser, "--account")
    add_format(parser, "table", "csv", "json")
    add_options(parser, "--raw", "--output", "--destination")


def run(settings: Settings, options: Options) -> int:
    """Print the deviations."""
    from sip_trunks.destinations import open_destination
    from sip_trunks.reporting.formats import write_rows
    from sip_trunks.reporting.output import write_text
    from sip_trunks.warehouse.state import read_drift, refuse_unknown_accounts
    from trunk_transforms.schema import DRIFT, SCHEMA_DRIFT, SIP_TRUNK_SNAPSHOTS

    tables = (SIP_TRUNK_SNAPSHOTS.name, SCHEMA_DRIFT.name)
    with open_destination(settings).reading(tables) as connection:
        refuse_unknown_accounts(connection, options.account)
        seen = read_drift(connection, options.since)
    rows = [list(vars(each).values()) for each in seen if not options.account or each.account in options.account]
    show = partial(write_rows, DRIFT.names, rows, format_name=options.format, raw=options.raw)
    if not rows and options.format == "table":
        show = partial(print, "no drift: responses match the declaration")
    write_text(options.output, show)
    return 0
