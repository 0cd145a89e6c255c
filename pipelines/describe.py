"""The data dictionary: what every table and column means, from the declaration and the published file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines import catalog
from pipelines.destination import open_destination
from pipelines.errors import SettingsError
from pipelines.show import print_json, print_table
from transforms import schema

if TYPE_CHECKING:
    from pipelines.settings import Settings


def describe(settings: Settings, name: str | None, *, form: str) -> None:
    """Print the dictionary of one table or of all as table, json or markdown.

    Columns that the API has added are in it once they are stored. Raises SettingsError for an unknown table.
    """
    every = (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS, schema.DRIFT)
    tables = [table for table in every if name in (None, table.name)]
    if not tables:
        known = ", ".join(table.name for table in every)
        raise SettingsError(f"no table named {name!r}; there are {known}")
    stored = _read_stored_columns(settings)
    described = {table.name: (table, [*_declared(table), *_undeclared(table, stored)]) for table in tables}
    if form == "json":
        print_json({name: {"grain": table.grain, "columns": rows} for name, (table, rows) in described.items()})
        return
    for table, rows in described.values():
        print(markdown_of(table, rows) if form == "markdown" else f"{table.name}: {table.grain}\n")
        if form == "table":
            print_table(["column", "type", "meaning"], [[r["name"], r["type"], r["meaning"]] for r in rows])
        print()


def markdown_of(table: schema.Table, rows: list[dict[str, Any]] | None = None) -> str:
    """Return one table of the dictionary in Markdown; without `rows`, the declared columns."""
    lines = [f"**`{table.name}`** – {table.grain}", "", "| column | type | meaning |", "|---|---|---|"]
    for row in _declared(table) if rows is None else rows:
        meaning = row["meaning"].replace("|", "\\|")
        lines.append(f"| `{row['name']}` | {row['type']} | {meaning} |")
    return "\n".join(lines)


def _declared(table: schema.Table) -> list[dict[str, Any]]:
    return [
        asdict(column)
        | {
            "type": schema.SQL_TYPES[column.type],
            "meaning": catalog.describe_column(table, column.name),
            "is_declared": True,
        }
        for column in table.columns
    ]


def _undeclared(table: schema.Table, stored: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    declared = {column.name for column in table.columns}
    return [
        {
            "name": name,
            "type": column_type,
            "meaning": catalog.describe_column(table, name),
            "is_declared": False,
        }
        for name, column_type in stored.get(table.name, {}).items()
        if name not in declared
    ]


def _read_stored_columns(settings: Settings) -> dict[str, dict[str, str]]:
    destination = open_destination(settings)
    if not destination.exists():
        return {}
    with destination.reading() as connection:
        return {table.name: catalog.read_columns(connection, table.name) for table in schema.TABLES}
