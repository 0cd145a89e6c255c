"""The command `describe`: the data dictionary, or one entry of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_destination
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.formats import print_json, print_table
from sip_trunks.warehouse import sql
from sip_trunks.warehouse.dictionary import list_entries, markdown_of
from trunk_transforms import schema

if TYPE_CHECKING:
    import argparse

    from sip_trunks.core.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("table", nargs="?", metavar="TABLE", help="only this table, view or macro (default: all)")
    parser.add_argument(
        "--format", choices=("table", "json", "markdown"), default="table", help="output format (default: table)"
    )
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Print the dictionary."""
    describe(read_settings(options.destination), options.table, form=options.format)
    return 0


def describe(settings: Settings, name: str | None, *, form: str) -> None:
    """Print the dictionary, or one entry of it, as table, json or markdown.

    Columns that the API has added are in it once they are stored. Raises UsageError for a name that is none.
    """
    every = list_entries(_read_stored_columns(settings))
    entries = [entry for entry in every if name is None or name in (entry.name, entry.name.partition("(")[0])]
    entries = entries or [entry for entry in every if entry.name == f"reports.{name}"]
    if not entries:
        raise UsageError(f"nothing is named {name!r}; there are {', '.join(entry.name for entry in every)}")
    if form == "json":
        print_json({e.name: {"kind": e.kind, "grain": e.grain, "columns": list(e.columns)} for e in entries})
        return
    for entry in entries:
        if form == "markdown":
            print(markdown_of(entry))
        else:
            print(f"{entry.name}: {entry.grain}")
            if entry.columns:
                print()
                print_table(
                    ["column", "type", "meaning"], [[c["name"], c["type"], c["meaning"]] for c in entry.columns]
                )
        print()


def _read_stored_columns(settings: Settings) -> dict[str, dict[str, str]]:
    destination = open_destination(settings)
    if not destination.exists():
        return {}
    with destination.reading() as connection:
        stored = sql.read_tables(connection)
    # The rows of a lake have what the trunks have: the dictionary is the same wherever they are kept.
    return {table.name: stored[table.name] for table in schema.TABLES if table.name in stored}
