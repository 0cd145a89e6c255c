"""The command `drift`: how responses deviate from the declaration, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_destination, add_format, moment

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="include past deviations seen at or after this time"
    )
    add_format(parser)
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Print the deviations."""
    from sip_trunks.core.settings import read_settings
    from sip_trunks.destinations import open_destination
    from sip_trunks.reporting.formats import write_rows
    from sip_trunks.warehouse.state import read_drift
    from trunk_transforms.schema import DRIFT, SCHEMA_DRIFT, SIP_TRUNK_SNAPSHOTS

    tables = (SIP_TRUNK_SNAPSHOTS.name, SCHEMA_DRIFT.name)
    with open_destination(read_settings(options.destination)).reading(tables) as connection:
        rows = [list(vars(seen).values()) for seen in read_drift(connection, options.since)]
    if not rows and options.format == "table":
        print("no drift: responses are as declared")
        return 0
    write_rows([column.name for column in DRIFT.columns], rows, form=options.format, raw=options.raw)
    return 0
