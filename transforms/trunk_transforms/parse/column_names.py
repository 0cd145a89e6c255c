"""Map the fields of the API to column names."""

import re
from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b

from trunk_transforms.schema.reports import DERIVED_NAMES
from trunk_transforms.schema.tables import API_COLUMNS, RESERVED_COLUMNS, VARIANT_SUFFIX
from trunk_transforms.text import printable

_DECLARED = frozenset(column.name for column in API_COLUMNS)
_LONGEST_NAME = 46  # leaves room for a tag and the variants' suffix below the 63 that PostgreSQL allows


def claim_columns(fields: Iterable[str], kept: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a unique column name for every undeclared field, independent of their order.

    If several fields have the same normalized name, the field that has the column already (`kept`, by `quote_field`)
    gets it, or else the field whose own name equals it. The others get the name with a tag, as does a field with the
    name of a derived column or of a macro.
    """
    kept = kept or {}
    claimed: dict[str, str] = {}
    used = {*_DECLARED, *RESERVED_COLUMNS}
    for field in sorted(fields, key=lambda field: (quote_field(field) not in kept, column_name(field) != field, field)):
        column = kept.get(quote_field(field), "")
        if not column or column in used:
            column = _free_column(field, used | DERIVED_NAMES)
        claimed[field] = column
        used.add(column)
    return claimed


def _free_column(field: str, used: Collection[str]) -> str:
    column = column_name(field) or "field"
    if column in used or column == "field" != field or column.endswith(VARIANT_SUFFIX):
        column = f"{column[:_LONGEST_NAME].rstrip('_')}_{_tag(field)}"
    while column in used:
        column = f"{column[:_LONGEST_NAME].rstrip('_')}_{_tag(column + field)}"
    return column


def shown_name(column: str) -> str:
    """Return the name under which views and frames show a stored column.

    It differs for a field that an early release stored under the name of a derived column: the field has the name that
    a new field of this name gets.
    """
    field = column.removesuffix(VARIANT_SUFFIX)
    return claim_columns([field])[field] + column[len(field) :] if field in DERIVED_NAMES else column


def quote_field(field: str) -> str:
    """Return the name of a field as drift quotes it."""
    return repr(printable(field, 60))


def column_name(field: str) -> str:
    """Return the column name of a field in snake case, as dlt normalizes it; "" if no character is left."""
    name = snake_case(field)
    if name[:1].isdigit():
        name = f"_{name}"
    if name.startswith("_dlt"):  # reserved by dlt
        name = f"api{name}"
    if name.strip("_") and not name.endswith("_") and len(name) <= _LONGEST_NAME:
        return name
    stem = name[:_LONGEST_NAME].rstrip("_")
    return f"{stem}_{_tag(field)}" if stem else ""


def snake_case(field: str) -> str:
    """Return the words of a name in lower case, separated by underscores."""
    name = re.sub(r"\W", "_", field.strip(), flags=re.ASCII)
    name = re.sub(r"([^_])([A-Z][a-z]+)", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    return re.sub(r"_{2,}", "_", name)


def _tag(field: str) -> str:
    return blake2b(field.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
