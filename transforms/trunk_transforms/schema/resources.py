"""The lists of the API that a run reads for each account, and the tables that store them.

Another list is one more `Resource` here. Requests, parsing, validation, every destination, export, retention and the
data dictionary take the lists and their tables from `RESOURCES`.
"""

from dataclasses import dataclass

from trunk_transforms.schema.findings import AUDIT_TABLES
from trunk_transforms.schema.tables import (
    SCHEMA_DRIFT,
    SIP_TRUNK_ALLOWED_IPS,
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
    """A list of the API: its path, its records in the plural, and its tables. Each record has an integer `id`.

    `current` has one row per (account, id): the records of the last snapshot; it is merged with dlt's strategy `cdc`.
    `history` has one row per version, and the columns of `current` (`scd2`). `entries` has one row per entry of a list
    column of `current` (`cdc`).
    """

    path: str
    title: str
    current: Table
    history: Table
    entries: Entries | None = None

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

RESOURCES: tuple[Resource, ...] = (TRUNKS,)
"""Every list that a run reads for each account, in this order."""

TABLES: tuple[Table, ...] = (
    *(table for resource in RESOURCES for table in resource.tables),
    SIP_TRUNK_SNAPSHOTS,
    SCHEMA_DRIFT,
)
"""The tables that a load writes, in this order, in every destination."""

EVERY_TABLE: tuple[Table, ...] = (*TABLES, *AUDIT_TABLES, SIP_TRUNK_SNAPSHOT_ROWS)
"""The tables of a lake. The other destinations have all but the full snapshots."""
