"""The command `export`: a consistent copy of everything stored, history included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_destination, moment

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--format",
        choices=("parquet", "csv", "duckdb"),
        default="parquet",
        help="format of the copy (default: parquet)",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder for the copy")
    parser.add_argument("--as-of", type=moment, metavar="TIME", help="the state at this time (default: now)")
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Write the copy and print how many rows each table has."""
    from pathlib import Path

    from sip_trunks.core.settings import read_settings
    from sip_trunks.operations.transfer import export_tables
    from sip_trunks.reporting.formats import print_table

    settings = read_settings(options.destination)
    counts = export_tables(settings, Path(options.output).absolute(), options.format, options.as_of)
    print_table(["table", "rows"], list(counts.items()))
    print(f"written to {options.output}; to initialize another destination: sip-trunks import {options.output}")
    return 0
