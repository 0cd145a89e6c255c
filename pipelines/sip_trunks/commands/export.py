"""The command `export`: write a consistent copy of all stored data, including the history."""

from sip_trunks.commands.options import Options, Parser, add_format, add_options
from sip_trunks.core.settings import Settings


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    add_format(parser, "parquet", "csv", "duckdb")
    parser.add_argument("--output", metavar="DIR", help="new folder for the copy (default: ./sip-trunks-export-TIME)")
    add_options(parser, "--as-of", "--destination")


def run(settings: Settings, options: Options) -> int:
    """Write the copy and print the number of rows of each table."""
    from datetime import UTC, datetime
    from pathlib import Path

    from sip_trunks.operations.transfer import export_tables
    from sip_trunks.reporting.formats import print_table

    output = options.output or f"sip-trunks-export-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    counts = export_tables(settings, Path(output).absolute(), options.format, options.as_of)
    print_table(["table", "rows"], list(counts.items()))
    print(f"written to {output}; to initialize another destination: sip-trunks import {output}")
    return 0
