"""The declaration: every stored table and column of the product, once.

dlt hints, Arrow types, DuckDB comments, the data dictionary, the tables in the documentation and the drift checks all
follow from it. The module imports nothing heavy, so that `describe` starts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal["text", "bigint", "double", "bool", "date", "timestamp", "json", "text_list"]
"""The type of a column: `text_list` is a list of texts (a file stores JSON), `timestamp` is UTC in microseconds."""

Source = Literal["api", "sip-trunks", "dlt"]
Legs = Literal["both", "outbound", "inbound", "none"]


@dataclass(frozen=True)
class Column:
    """The declaration of one column: its type, meaning, source and allowed values.

    `is_nullable` is false if null counts as drift. `allowed` lists the documented values of a text column; other values
    are stored unchanged and reported as drift. `legs` names the legs that the vendor re-creates when the field is
    updated (vendor documentation, June 2026). `is_sensitive` marks values that identify a person or help an attacker;
    masked reports hide them. `is_optional` marks columns that need not be there, which is not drift. `base` names the
    column that a column is derived from.
    """

    name: str
    type: ColumnType
    meaning: str
    source: Source = "api"
    is_nullable: bool = False
    allowed: tuple[str, ...] = ()
    legs: Legs | None = None
    is_sensitive: bool = False
    is_optional: bool = False
    base: str = ""

    @property
    def explanation(self) -> str:
        """The meaning, followed by the allowed values if there are any."""
        return f"{self.meaning} One of: {', '.join(self.allowed)}." if self.allowed else self.meaning


def own(name: str, column_type: ColumnType, meaning: str, allowed: tuple[str, ...] = ()) -> Column:
    """Return a column that the product fills and that is never null."""
    return Column(name, column_type, meaning, source="sip-trunks", allowed=allowed)


def own_or_null(name: str, column_type: ColumnType, meaning: str, allowed: tuple[str, ...] = ()) -> Column:
    """Return a column that the product fills and that may be null."""
    return Column(name, column_type, meaning, source="sip-trunks", allowed=allowed, is_nullable=True)


@dataclass(frozen=True)
class Table:
    """The declaration of one table: its grain, its columns in order, and its primary key."""

    name: str
    grain: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def meanings(self) -> dict[str, str]:
        """The explanation of each column, by name."""
        return {column.name: column.explanation for column in self.columns}

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema of the columns that the product fills, without those that dlt adds."""
        import pyarrow as pa

        own_columns = [column for column in self.columns if column.source != "dlt"]
        return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=self.may_be_null(c.name)) for c in own_columns])

    def full_arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema of all columns that always exist, including those that dlt adds."""
        import pyarrow as pa

        always = [column for column in self.columns if column.source == "api" or not column.is_optional]
        return pa.schema([(column.name, arrow_type(column.type)) for column in always])

    def may_be_null(self, column: str) -> bool:
        """Return whether a column may be null when it is loaded.

        The columns that identify a row or a version may not. `valid_from` may, because dlt fills it during the merge.
        """
        return column not in (*self.primary_key, "row_version") or column == "valid_from"


def table(name: str, grain: str, *columns: Column, key: tuple[str, ...]) -> Table:
    """Return a table with these columns and this primary key."""
    return Table(name, grain, columns, key)


def arrow_type(column_type: ColumnType) -> pa.DataType:
    """Return the Arrow type of `column_type`; JSON is stored as text."""
    import pyarrow as pa

    types: dict[ColumnType, pa.DataType] = {
        "text": pa.string(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "json": pa.string(),
        "text_list": pa.list_(pa.string()),
    }
    return types[column_type]


JSON_FIELD = {b"type": b"json"}
"""Metadata of Arrow text fields that contain JSON."""

SQL_TYPES: dict[ColumnType, str] = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
    "text_list": "JSON",
}
"""The DuckDB type in which each column type is stored."""

VIEW_TYPES = SQL_TYPES | {"text_list": "VARCHAR[]"}
"""The DuckDB type of each column type in a view."""

CALLING_FORMATS = ("+e164", "e164", "national")
AUTHORIZATION_TYPES = ("auth", "ip")

_PHONE_NUMBER = 'SIP extension ("1000") or DID in E.164 ("+14155551234"); the API does not say which.'
_NICKNAME = "Short label for people, such as the name of a site; responses of older accounts lack it."
_CALLING_FORMAT = "Format of outbound numbers: +e164 (+12025550123), e164 (12025550123), national (0741926265)."
_AUTHORIZATION = "How inbound calls are authorized: auth (username and password) or ip (allowlist)."
_ALLOWLIST = (
    "Allowlist: addresses that may send inbound calls, in the API's order; null if there is no allowlist. "
    "sip_trunk_allowed_ips has one row per entry."
)
API_COLUMNS = (
    Column("id", "bigint", "Unique identifier of the trunk."),
    Column("phone_number", "text", _PHONE_NUMBER, legs="both", is_sensitive=True),
    Column("nickname", "text", _NICKNAME, is_nullable=True, legs="none", is_sensitive=True, is_optional=True),
    Column("sip_username", "text", "Username for SIP authentication; may be blank.", legs="both", is_sensitive=True),
    Column("sip_address", "text", "Host of the SIP server, without a port; may be blank.", legs="outbound"),
    Column("sip_calling_format", "text", _CALLING_FORMAT, allowed=CALLING_FORMATS, legs="none"),
    Column("inbound_authorization_type", "text", _AUTHORIZATION, allowed=AUTHORIZATION_TYPES, legs="inbound"),
    Column("allowed_inbound_ips", "text_list", _ALLOWLIST, is_nullable=True, legs="inbound"),
    Column("outbound_proxy", "bool", "Whether outbound calls use the outbound proxy (fixed address).", legs="outbound"),
    Column("country_code", "text", "Country of the trunk, ISO 3166-1 alpha-2.", legs="none"),
    Column("created_at", "timestamp", "Time when the trunk was created, by the API's clock (UTC)."),
    Column("updated_at", "timestamp", "Time when the trunk was last updated, by the API's clock (UTC)."),
)
"""The fields of a trunk in the API (vendor documentation, June 2026)."""

ACCOUNT = own("account", "text", "The configured name of the account.")
TRUNK_ID = own("trunk_id", "bigint", "The trunk: sip_trunks.id.")
_SNAPSHOT_AT = own("snapshot_at", "timestamp", "Time of the snapshot (UTC).")
_HASH = "Hash of the account and the canonical, non-null values of all API fields; equal hashes mean no change."
_ROW_VERSION = own("row_version", "text", _HASH)
_DLT_LOAD_ID = Column("_dlt_load_id", "text", "The dlt load that wrote the row.", source="dlt")

_VALID_TO = "The snapshot in which this version was first absent (UTC); null if the version is current."


def current_table(name: str, grain: str, fields: tuple[Column, ...]) -> Table:
    """Return the table of the current state of a list of the API with these fields, of which the first is its key."""
    return Table(name, grain, (ACCOUNT, *fields, _ROW_VERSION, _DLT_LOAD_ID), ("account", fields[0].name))


def history_table(current: Table, grain: str) -> Table:
    """Return the table of the versions of the rows of `current`."""
    validity = (
        Column("valid_from", "timestamp", "The first snapshot with this version (UTC).", source="dlt"),
        Column("valid_to", "timestamp", _VALID_TO, source="dlt", is_nullable=True),
    )
    columns = (*current.columns[:-1], *validity, _DLT_LOAD_ID)
    return Table(f"{current.name}_history", grain, columns, (*current.primary_key, "valid_from"))


SIP_TRUNKS = current_table("sip_trunks", "One row per (account, id): the current state of every trunk.", API_COLUMNS)
SIP_TRUNKS_HISTORY = history_table(
    SIP_TRUNKS, "One row per observed version of a trunk, valid on [valid_from, valid_to)."
)
SIP_TRUNK_ALLOWED_IPS = table(
    "sip_trunk_allowed_ips",
    "One row per (account, trunk_id, position): one entry of a trunk's allowlist.",
    ACCOUNT,
    TRUNK_ID,
    own("position", "bigint", "Position in the API's list, from 0."),
    own_or_null("ip", "text", "The entry as the API sent it."),
    own("row_version", "text", "The trunk's row_version when the entry was written."),
    _DLT_LOAD_ID,
    key=("account", "trunk_id", "position"),
)

HAS_INBOUND_ASSISTANT = Column(
    "has_inbound_assistant",
    "bool",
    "Whether an inbound assistant is assigned to the number (not is_available); null if the API does not list it.",
    is_nullable=True,
)
_ASSISTANTS = (
    "The assistants that use the number, by id: a list of objects with id, name, type (inbound, outbound) and "
    "status (active, inactive, deleted)."
)
ASSIGNMENT_COLUMNS = (
    Column("trunk_id", "bigint", "The trunk: sip_trunks.id."),
    HAS_INBOUND_ASSISTANT,
    Column("assistants", "json", _ASSISTANTS),
)
"""What is kept of the numbers and assistants of an account (vendor documentation, November 2026)."""

SIP_TRUNK_ASSIGNMENTS = current_table(
    "sip_trunk_assignments",
    "One row per (account, trunk_id): the assistants that use the trunk's number. Exists once "
    "sources.famulor.assignments was on.",
    ASSIGNMENT_COLUMNS,
)
SIP_TRUNK_ASSIGNMENTS_HISTORY = history_table(
    SIP_TRUNK_ASSIGNMENTS, "One row per observed version of a trunk's assignments, valid on [valid_from, valid_to)."
)

_IS_UNCHANGED = "Whether nothing was added, changed or removed since the account's previous snapshot."
_ASSIGNMENTS_SHA256 = (
    "SHA-256 of what is kept of the numbers and assistants; null if they were not read. Exists once "
    "sources.famulor.assignments was on."
)
_LOAD_OF_OBSERVATION = "The dlt load that wrote the row; the previous load if the response was unchanged."
SIP_TRUNK_SNAPSHOTS = table(
    "sip_trunk_snapshots",
    "One row per account and run: an observation, recorded even if nothing changed.",
    ACCOUNT,
    _SNAPSHOT_AT,
    own("trunk_count", "bigint", "Trunks in the snapshot."),
    own("body_bytes", "bigint", "Size of the decompressed response."),
    own("body_sha256", "text", "SHA-256 of the decompressed response."),
    own("drift_count", "bigint", "Deviations from the declaration; see schema_drift."),
    own_or_null("is_unchanged", "bool", _IS_UNCHANGED),
    own("loader_version", "text", "The release of sip-trunks that read the response."),
    replace(own_or_null("assignments_sha256", "text", _ASSIGNMENTS_SHA256), is_optional=True),
    Column("_dlt_load_id", "text", _LOAD_OF_OBSERVATION, source="dlt"),
    key=("account", "snapshot_at"),
)

SIP_TRUNK_SNAPSHOT_ROWS = Table(
    "sip_trunk_snapshot_rows",
    "One row per (account, snapshot_at, id): every snapshot in full. Only in a Parquet lake.",
    (ACCOUNT, _SNAPSHOT_AT, *API_COLUMNS, _ROW_VERSION, _DLT_LOAD_ID),
    ("account", "snapshot_at", "id"),
)

DRIFT_KINDS = (
    "new_column",
    "missing_column",
    "type_mismatch",
    "unknown_value",
    "duplicate_id",
    "secret_dropped",
    "name_collision",
    "new_envelope_key",
)

_DEVIATION = (
    own("column_name", "text", "The affected column, or the key beside the records."),
    own("kind", "text", "The kind of deviation.", DRIFT_KINDS),
    own("detail", "text", "The observed and the expected value or type."),
)

SCHEMA_DRIFT = table(
    "schema_drift",
    "One row per deviation of a snapshot from the declaration.",
    ACCOUNT,
    _SNAPSHOT_AT,
    *_DEVIATION,
    own("row_count", "bigint", "Records of the snapshot with this deviation."),
    _DLT_LOAD_ID,
    key=("account", "snapshot_at", "column_name", "kind", "detail"),
)

DRIFT = table(
    "drift",
    "One row per (account, column_name, kind, detail): a deviation, and the period in which it was observed.",
    ACCOUNT,
    *_DEVIATION,
    own("row_count", "bigint", "Records with this deviation in the last snapshot that had it."),
    own("first_seen_at", "timestamp", "The first snapshot with this deviation (UTC)."),
    own("last_seen_at", "timestamp", "The last snapshot with this deviation (UTC)."),
    own("is_current", "bool", "Whether the account's last snapshot has this deviation."),
    key=("account", "column_name", "kind", "detail"),
)
"""A view of `schema_drift`."""

_DLT_SCHEMA = {
    "version": "Number of the schema or state.",
    "engine_version": "Version of dlt's format.",
    "inserted_at": "Time when dlt wrote the row (UTC).",
    "schema_name": "dlt's name of the schema.",
    "version_hash": "Hash of the content.",
}
DLT_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "_dlt_loads": (
        "Internal to dlt: one row per load.",
        {
            **_DLT_SCHEMA,
            "load_id": "The load; equals _dlt_load_id of the rows that it wrote.",
            "status": "0: the load is complete.",
            "schema_version_hash": "Hash of the schema that the load used.",
        },
    ),
    "_dlt_pipeline_state": (
        "Internal to dlt: one row per state of its pipeline.",
        {
            **_DLT_SCHEMA,
            "pipeline_name": "The pipeline.",
            "state": "The state, compressed.",
            "created_at": "Time when dlt created the state (UTC).",
            "_dlt_load_id": "The load that wrote the row.",
            "_dlt_id": "dlt's key of the row.",
        },
    ),
    "_dlt_version": ("Internal to dlt: one row per stored schema.", {**_DLT_SCHEMA, "schema": "The schema, as JSON."}),
}
"""The tables of dlt beside the product's own: the grain and the meaning of the columns."""

VARIANT_SUFFIX = "__v_text"
"""Suffix of the column that keeps, as text, the values that do not fit a column's type (dlt's naming)."""

RESERVED_COLUMNS = frozenset(
    column.name for table in (SIP_TRUNKS, SIP_TRUNKS_HISTORY) for column in table.columns if column.source != "api"
) | {"snapshot_at", "snapshot_date"}
"""Column names of the product and of dlt, which a new field of the API may not use."""
