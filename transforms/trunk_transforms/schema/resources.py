"""The lists of the API that a run reads for each account, and the tables that store them.

Another list is one more `Resource` here. Requests, parsing, validation, every destination, export, retention and the
data dictionary take the lists and their tables from `RESOURCES`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trunk_transforms.schema.findings import AUDIT_TABLES
from trunk_transforms.schema.tables import (
    SCHEMA_DRIFT,
    SIP_TRUNK_ALLOWED_IPS,
    SIP_TRUNK_ASSIGNMENTS,
    SIP_TRUNK_ASSIGNMENTS_HISTORY,
    SIP_TRUNK_SNAPSHOT_ROWS,
    SIP_TRUNK_SNAPSHOTS,
    SIP_TRUNKS,
    SIP_TRUNKS_HISTORY,
    Column,
    Table,
)


@dataclass(frozen=True)
class Entries:
    """The table of the entries of a list column, and the names of its columns.

    `parent` has the id of the row that the list belongs to, `value` the entry.
    """

    table: Table
    list_column: str
    parent: str
    value: str


@dataclass(frozen=True)
class Resource:
    """A list of the API: its path, its records in the plural, and its tables.

    `current` has one row per record of the last snapshot; it is merged with dlt's strategy `cdc`. Its primary key is
    the account and an integer, `key`. `history` has one row per version, and the columns of `current` (`scd2`).
    `entries` has one row per entry of a list column of `current` (`cdc`). A snapshot may lack a list that
    `is_optional`; its tables exist once a snapshot had it.
    """

    path: str
    title: str
    current: Table
    history: Table
    entries: Entries | None = None
    is_optional: bool = False

    @property
    def key(self) -> str:
        """The column that identifies a row of an account."""
        return self.current.primary_key[1]

    @property
    def name(self) -> str:
        """The name of the current table."""
        return self.current.name

    @property
    def fields(self) -> dict[str, Column]:
        """The declared fields of the API, by name."""
        return {column.name: column for column in self.current.columns if column.source == "api"}

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables with the rows of the list."""
        return (self.current, self.history, *((self.entries.table,) if self.entries else ()))


TRUNKS = Resource(
    "user/phone-numbers/sip-trunks",
    "trunks",
    SIP_TRUNKS,
    SIP_TRUNKS_HISTORY,
    Entries(SIP_TRUNK_ALLOWED_IPS, "allowed_inbound_ips", parent="trunk_id", value="ip"),
)
"""The SIP trunks. Counts, the shrink guard's numbers and `trunk_count` of a run are about them."""

ASSIGNMENTS = Resource(
    "user/assistants/phone-numbers",
    "assignments",
    SIP_TRUNK_ASSIGNMENTS,
    SIP_TRUNK_ASSIGNMENTS_HISTORY,
    is_optional=True,
)
"""Which assistants use the trunks: one row per trunk, from the numbers of the account and from `ASSISTANTS_PATH`."""

ASSISTANTS_PATH = "user/assistants/get?per_page=100&page=1"
"""The first page of the assistants of the account."""

RESOURCES: tuple[Resource, ...] = (TRUNKS, ASSIGNMENTS)
"""Every list that a run reads for each account, in this order."""


def loaded_tables(resources: Iterable[Resource]) -> tuple[Table, ...]:
    """Return the tables that a load of these lists writes, in this order, in every destination."""
    return (*(table for resource in resources for table in resource.tables), SIP_TRUNK_SNAPSHOTS, SCHEMA_DRIFT)


TABLES = loaded_tables(RESOURCES)
"""The tables that loads write."""

REQUIRED_TABLES = loaded_tables(resource for resource in RESOURCES if not resource.is_optional)
"""The tables that every load writes, so that they exist if anything is stored."""

EVERY_TABLE: tuple[Table, ...] = (*TABLES, *AUDIT_TABLES, SIP_TRUNK_SNAPSHOT_ROWS)
"""The tables of a lake. The other destinations have all but the full snapshots."""
