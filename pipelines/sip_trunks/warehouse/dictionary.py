"""The data dictionary: the meaning of every table, view, macro and column, declared or stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sip_trunks.warehouse.columns import name_column
from sip_trunks.warehouse.views import describe_column
from trunk_transforms import schema
from trunk_transforms.schema import reports as report_schema
from trunk_transforms.schema.assignments import ASSIGNED

Kind = Literal["table", "view", "macro", "report"]


@dataclass(frozen=True)
class Entry:
    """An entry of the dictionary: its name in SQL, its kind, its meaning, its columns."""

    name: str
    kind: Kind
    grain: str
    columns: tuple[Mapping[str, Any], ...] = ()


def list_entries(stored: Mapping[str, Mapping[str, str]] | None = None) -> list[Entry]:
    """Return all entries. `stored` has SQL types by table and column; its undeclared columns are included."""
    stored = stored or {}
    tables, views = schema.EVERY_TABLE, (schema.DRIFT, *report_schema.VIEWS)
    return [
        *(Entry(table.name, "table", table.grain, _columns(table, stored.get(table.name, {}))) for table in tables),
        *(Entry(table.name, "view", table.grain, _columns(table, {})) for table in views),
        *(Entry(macro.signature, "macro", macro.meaning) for macro in report_schema.MACROS),
        *(
            Entry(f"reports.{report.table.name}", "report", report.table.grain, _columns(report.table, {}))
            for report in report_schema.REPORTS.values()
            if report.table not in report_schema.VIEWS
        ),
    ]


def markdown_of(entry: Entry) -> str:
    """Return an entry as Markdown."""
    lines = [f"**`{entry.name}`** – {entry.grain}"]
    if entry.columns:
        lines += ["", "| column | type | meaning |", "|---|---|---|"]
    for column in entry.columns:
        meaning = column["meaning"].replace("|", "\\|")
        lines.append(f"| `{column['name']}` | {column['type']} | {meaning} |")
    return "\n".join(lines)


def _columns(table: schema.Table, stored: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """Return the columns of a table, each followed by the columns derived from it."""
    columns = []
    for column in table.columns:
        if table is schema.SIP_TRUNKS and column.name == "row_version":
            columns += [_declared(assigned, is_derived=True) for assigned in ASSIGNED.values()]
        columns.append(_declared(column))
        if table in (schema.SIP_TRUNKS, schema.SIP_TRUNKS_HISTORY):
            derived = [report_schema.DERIVED[name] for name in report_schema.IN_VIEWS]
            columns += [_declared(d, is_derived=True) for d in derived if d.base == column.name]
    columns += [
        {"name": name, "type": kind, "meaning": describe_column(table, name), "source": "api", "is_declared": False}
        for name, kind in {name_column(table, name): kind for name, kind in stored.items()}.items()
        if name not in table.meanings
    ]
    return tuple(columns)


def _declared(column: schema.Column, *, is_derived: bool = False) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": schema.VIEW_TYPES[column.type],
        "meaning": column.explanation,
        "source": "derived" if is_derived else column.source,
        "is_nullable": column.is_nullable,
        "allowed": list(column.allowed),
        "is_sensitive": column.is_sensitive,
        "is_declared": True,
    }
