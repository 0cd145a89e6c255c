"""The columns of stored tables by the names that views and frames show, and moments as SQL."""

from collections.abc import Mapping

from sip_trunks.warehouse.sql import quoted
from trunk_transforms import schema
from trunk_transforms.parse.column_names import shown_name
from trunk_transforms.schema.reports import DERIVED, IN_VIEWS


def name_column(table: schema.Table, stored: str) -> str:
    """Return the name under which views and frames show a stored column of a table."""
    return stored if stored in table.names else shown_name(stored)


def show_columns(table: schema.Table, stored: Mapping[str, str]) -> dict[str, str]:
    """Return the SQL of each column that a frame of a stored table has, by name, in the declared order.

    The query calls the table `stored`, because a field of the API may have the name of a macro's parameter. `stored`
    has the SQL types of the stored columns. Undeclared columns of the API follow `updated_at`. A column that an early
    release stored under the name of a derived column has another name, because derived names are ours.
    """
    sources: dict[str, list[str]] = {}
    for name in stored:
        sources.setdefault(name_column(table, name), []).append(name)
    order = {name: position for position, name in enumerate(table.names)}
    last = order.get("updated_at", len(order))
    return {
        name: _first_of(sources[name], stored) for name in sorted(sources, key=lambda name: order.get(name, last + 0.5))
    }


def _first_of(names: list[str], stored: Mapping[str, str]) -> str:
    # Of two accounts, one may have a field in the column of an early release, and one in the column of this one.
    as_text = "::VARCHAR" * (len({stored[name] for name in names}) > 1)
    columns = [f"stored.{quoted(name)}{as_text}" for name in names]
    return columns[0] if len(names) == 1 else f"coalesce({', '.join(columns)})"


def select_view(table: schema.Table, stored: Mapping[str, str]) -> dict[str, str]:
    """Return the SQL of each column of the view of a stored table, by name, in order.

    Lists are lists of texts, which a DuckDB file stores as JSON; a list that cannot be read is null. Each derived
    column follows its base.
    """
    lists = {c.name: schema.VIEW_TYPES[c.type] for c in table.columns if c.type == "text_list"}
    selected = {}
    for name, expression in show_columns(table, stored).items():
        selected[name] = f"TRY_CAST({expression} AS {lists[name]})" if name in lists else expression
        for added, macro in IN_VIEWS.items() if has_derived(table) else ():
            if DERIVED[added].base == name:
                selected[added] = f"main.{macro.name}({expression})"
    return selected


def list_selected(columns: Mapping[str, str]) -> str:
    """Return columns, by name, as the list of a SELECT."""
    return ", ".join(f"{expression} AS {quoted(name)}" for name, expression in columns.items())


def has_derived(table: schema.Table) -> bool:
    """Whether the view of a stored table has derived columns."""
    return table in (schema.SIP_TRUNKS, schema.SIP_TRUNKS_HISTORY)


def as_moment(value: str) -> str:
    """Return the SQL of a moment that may be given as a text, a date or a time: without a time zone, it is UTC.

    DuckDB itself reads no text with a time zone but without seconds, and others in the time zone of the session.
    """
    text = f"{value}::VARCHAR"
    for pattern, replacement in (
        (r"^(\d+-\d+-\d+)$", r"\1 00:00"),
        (r"^(\d+-\d+-\d+[T ]\d+)([Zz+-].*)?$", r"\1:00\2"),
        (r"^(\d+-\d+-\d+[T ]\d+:\d+)([Zz+-].*)?$", r"\1:00\2"),
        (r"^(\d+-\d+-\d+[T ][\d:.]+)$", r"\1Z"),
    ):
        text = f"regexp_replace({text}, '{pattern}', '{replacement}')"
    return f"{text}::TIMESTAMPTZ"
