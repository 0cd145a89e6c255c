"""The command `describe`: print the data dictionary, or one entry of it."""

from functools import partial

from sip_trunks.commands.options import Options, Parser, add_format, add_options
from sip_trunks.core.errors import UsageError, suggest
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.formats import print_json, print_table
from sip_trunks.reporting.output import write_text
from sip_trunks.warehouse import sql
from sip_trunks.warehouse.dictionary import Entry, list_entries, markdown_of
from trunk_transforms import schema


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("table", nargs="?", metavar="TABLE", help="only this table, view or macro (default: all)")
    add_format(parser, "table", "json", "markdown")
    add_options(parser, "--output", "--destination")


def run(settings: Settings, options: Options) -> int:
    """Print the dictionary, or one entry of it, including stored columns that the API has added.

    Raises UsageError if no entry has this name.
    """
    name = options.table
    every = list_entries(_read_stored_columns(settings))
    entries = [entry for entry in every if name is None or name in (entry.name, entry.name.partition("(")[0])]
    entries = entries or [entry for entry in every if entry.name == f"reports.{name}"]
    if not entries:
        names = [entry.name for entry in every]
        near = suggest(
            name, [short for full in names for short in (full, full.partition("(")[0], full.removeprefix("reports."))]
        )
        raise UsageError(f"no table, view or macro named {name!r}; there are {', '.join(names)}{near}")
    write_text(options.output, partial(_print, entries, options.format))
    return 0


def _print(entries: list[Entry], format_name: str) -> None:
    if format_name == "json":
        print_json({e.name: {"kind": e.kind, "grain": e.grain, "columns": list(e.columns)} for e in entries})
        return
    for entry in entries:
        if format_name == "markdown":
            print(markdown_of(entry))
        else:
            print(f"{entry.name}: {entry.grain}")
            if entry.columns:
                print()
                rows = [[column[name] for name in ("name", "type", "meaning")] for column in entry.columns]
                print_table(["column", "type", "meaning"], rows)
        print()


def _read_stored_columns(settings: Settings) -> dict[str, dict[str, str]]:
    destination = open_destination(settings)
    if not destination.exists():
        return {}
    with destination.reading() as connection:
        stored = sql.read_tables(connection)
    # Only the declared tables, so that the dictionary is the same for every destination.
    return {table.name: stored[table.name] for table in schema.TABLES if table.name in stored}
