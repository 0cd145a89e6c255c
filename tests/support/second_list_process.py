"""The command with a second list of the API: only declared, before anything else of the product is imported."""

from __future__ import annotations

import sys

from trunk_transforms import schema
from trunk_transforms.schema import resources

_FIELDS = (
    schema.Column("id", "bigint", "The number."),
    schema.Column("phone_number", "text", "The number in E.164."),
    schema.Column("is_available", "bool", "Whether no assistant answers it."),
)
_CURRENT = schema.current_table("numbers", "One row per (account, id): the current state of every number.", _FIELDS)
_HISTORY = schema.history_table(_CURRENT, "One row per observed version of a number.")
NUMBERS = schema.Resource("user/assistants/phone-numbers", "numbers", _CURRENT, _HISTORY)


def declare() -> None:
    """Add the list to the declaration."""
    for module in (resources, schema):
        for name, added in (("RESOURCES", (NUMBERS,)), ("TABLES", NUMBERS.tables), ("EVERY_TABLE", NUMBERS.tables)):
            setattr(module, name, getattr(module, name) + added)


if __name__ == "__main__":
    declare()
    from sip_trunks.commands import main

    sys.exit(main())
