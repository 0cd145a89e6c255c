"""The command `import`: initialize an empty destination from an export."""

from __future__ import annotations

from sip_trunks.commands.options import Options, Parser, add_destination


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("folder", metavar="DIR", help="folder that `export` wrote")
    add_destination(parser)


def run(options: Options) -> int:
    """Store the copy and print the number of rows of each table."""
    from pathlib import Path

    from sip_trunks.core.logs import logging_to_file
    from sip_trunks.core.settings import read_settings
    from sip_trunks.destinations import open_destination
    from sip_trunks.operations.transfer import import_tables
    from sip_trunks.reporting.formats import print_table

    settings = read_settings(options.destination)
    with logging_to_file(settings):
        counts = import_tables(settings, Path(options.folder).absolute())
    print_table(["table", "rows"], list(counts.items()))
    print(f"stored in {open_destination(settings).location}")
    return 0
