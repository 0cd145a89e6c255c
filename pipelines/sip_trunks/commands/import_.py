"""The command `import`: initialize an empty destination from an export."""

from sip_trunks.commands.options import Options, Parser, add_options
from sip_trunks.core.settings import Settings


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("folder", metavar="DIR", help="folder written by `export`")
    add_options(parser, "--destination")


def run(settings: Settings, options: Options) -> int:
    """Store the copy and print the number of rows of each table."""
    from pathlib import Path

    from sip_trunks.core.logs import logging_to_file
    from sip_trunks.destinations import open_destination
    from sip_trunks.operations.transfer import import_tables
    from sip_trunks.reporting.formats import print_table

    with logging_to_file(settings):
        counts = import_tables(settings, Path(options.folder).absolute())
    print_table(["table", "rows"], list(counts.items()))
    print(f"stored in {open_destination(settings).location}")
    return 0
