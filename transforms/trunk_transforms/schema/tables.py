"""THE declaration: every table and column of the product, once.

dlt hints, Arrow types, DuckDB comments, the data dictionary, the README's table and the drift checks are all read
from here. Importing this module costs nothing heavy, so that `describe` starts at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal["text", "bigint", "double", "bool", "date", "timestamp", "json", "text_list"]
"""The types a column can have; `text_list` is a list of strings (JSON in DuckDB), `timestamp` is UTC microseconds."""

Source = Literal["api", "sip-trunks", "dlt"]
Legs = Literal["both", "outbound", "inbound", "none"]


@dataclass(frozen=True)
class Column:
    """One column: what it holds, where it comes from, what may stand in it.

    `is_nullable` is false where null would itself be a deviation. `allowed` lists the documented values of a text
    column; others are stored as they are and reported as drift. `legs` says which legs the vendor re-creates when the
    field is updated (its documentation, June 2026). `is_sensitive` marks what identifies a person or helps an attacker:
    masked where a report is asked to mask.
    """

    name: str
    type: ColumnType
    meaning: str
    source: Source = "api"
    is_nullable: bool = False
    allowed: tuple[str, ...] = ()
    legs: Legs | None = None
    is_sensitive: bool = False

    @property
    def explanation(self) -> str:
        """What it means, and what may stand in it."""
        return f"{self.meaning} One of: {', '.join(self.allowed)}." if self.allowed else self.meaning

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type of this column."""
        return arrow_type(self.type)


@dataclass(frozen=True)
class Table:
    """One table: its grain, its columns in order, the columns that identify a row."""

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
        """What each column means, its allowed values included."""
        return {column.name: column.explanation for column in self.columns}

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema of the columns this product fills; dlt adds its own."""
        import pyarrow as pa

        return pa.schema(
            [
                pa.field(column.name, column.arrow_type, nullable=self.may_be_null(column.name))
                for column in self.columns
                if column.source != "dlt"
            ]
        )

    def full_arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema of all declared columns, those that dlt fills included."""
        import pyarrow as pa

        return pa.schema([pa.field(column.name, column.arrow_type) for column in self.columns])

    def may_be_null(self, column: str) -> bool:
        """Whether a column may hold null as it is loaded: all but what identifies a row or a version.

        What a merge of dlt fills in is null until then.
        """
        return column not in (*self.primary_key, "row_version") or column == "valid_from"


def arrow_type(column_type: ColumnType) -> pa.DataType:
    """Return the Arrow type that carries `column_type`; JSON travels as text."""
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
"""Metadata of the Arrow fields whose text is JSON."""

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
"""How the warehouse names the types."""

CALLING_FORMATS = ("+e164", "e164", "national")
AUTHORIZATION_TYPES = ("auth", "ip")

API_COLUMNS = (
    Column("id", "bigint", "Unique identifier of the trunk."),
    Column(
        "phone_number",
        "text",
        'SIP extension ("1000") or DID in E.164 ("+14155551234"); which of the two is not returned.',
        legs="both",
        is_sensitive=True,
    ),
    Column("sip_username", "text", "Username for SIP authentication; may be blank.", legs="both", is_sensitive=True),
    Column("sip_address", "text", "Host of the SIP server, without a port; may be blank.", legs="outbound"),
    Column(
        "sip_calling_format",
        "text",
        "How outbound numbers are written: +e164 (+12025550123), e164 (12025550123), national (0741926265).",
        allowed=CALLING_FORMATS,
        legs="none",
    ),
    Column(
        "inbound_authorization_type",
        "text",
        "How inbound calls are authorised: auth (username and password) or ip (allowlist).",
        allowed=AUTHORIZATION_TYPES,
        legs="inbound",
    ),
    Column(
        "allowed_inbound_ips",
        "text_list",
        "Allowlist: the addresses that may send inbound calls, in the API's order; null without one. "
        "A row for each is in sip_trunk_allowed_ips.",
        is_nullable=True,
        legs="inbound",
    ),
    Column(
        "outbound_proxy",
        "bool",
        "Whether outbound calls leave through the outbound proxy, one fixed address.",
        legs="outbound",
    ),
    Column("country_code", "text", "Where the trunk is located, ISO 3166-1 alpha-2.", legs="none"),
    Column("created_at", "timestamp", "When the trunk was created, by the API's clock (UTC)."),
    Column("updated_at", "timestamp", "When the trunk was last updated, by the API's clock (UTC)."),
)
"""The fields of the one endpoint (the vendor's documentation, June 2026)."""

ACCOUNT = Column("account", "text", "The configured name of the account.", source="sip-trunks")
_SNAPSHOT_AT = Column("snapshot_at", "timestamp", "When the snapshot was taken (UTC).", source="sip-trunks")
_ROW_VERSION = Column(
    "row_version",
    "text",
    "Hash of the account and the canonical, non-null values of all API fields: equal means nothing changed.",
    source="sip-trunks",
)
_DLT_LOAD_ID = Column("_dlt_load_id", "text", "The dlt load that wrote the row.", source="dlt")

SIP_TRUNKS = Table(
    name="sip_trunks",
    grain="One row per (account, id): the current state of every trunk.",
    columns=(ACCOUNT, *API_COLUMNS, _ROW_VERSION, _DLT_LOAD_ID),
    primary_key=("account", "id"),
)

SIP_TRUNKS_HISTORY = Table(
    name="sip_trunks_history",
    grain="One row per version of a trunk as observed: it held on [valid_from, valid_to).",
    columns=(
        ACCOUNT,
        *API_COLUMNS,
        _ROW_VERSION,
        Column("valid_from", "timestamp", "The snapshot that first showed this version (UTC).", source="dlt"),
        Column(
            "valid_to",
            "timestamp",
            "The snapshot that first showed it no longer (UTC); null while it is current.",
            source="dlt",
            is_nullable=True,
        ),
        _DLT_LOAD_ID,
    ),
    primary_key=("account", "id", "valid_from"),
)

SIP_TRUNK_ALLOWED_IPS = Table(
    name="sip_trunk_allowed_ips",
    grain="One row per (account, trunk_id, position): one entry of a trunk's allowlist.",
    columns=(
        ACCOUNT,
        Column("trunk_id", "bigint", "The trunk: sip_trunks.id.", source="sip-trunks"),
        Column("position", "bigint", "Place in the API's list, from 0.", source="sip-trunks"),
        Column("ip", "text", "The entry as the API sent it.", source="sip-trunks", is_nullable=True),
        Column("row_version", "text", "The trunk's row_version when it was written.", source="sip-trunks"),
        _DLT_LOAD_ID,
    ),
    primary_key=("account", "trunk_id", "position"),
)

SIP_TRUNK_SNAPSHOTS = Table(
    name="sip_trunk_snapshots",
    grain="One row per account and run: proof of when we looked, even when nothing had changed.",
    columns=(
        ACCOUNT,
        _SNAPSHOT_AT,
        Column("trunk_count", "bigint", "Trunks in the snapshot.", source="sip-trunks"),
        Column("body_bytes", "bigint", "Size of the answer, decompressed.", source="sip-trunks"),
        Column("body_sha256", "text", "SHA-256 of the answer, decompressed.", source="sip-trunks"),
        Column("drift_count", "bigint", "Deviations from the declaration; see schema_drift.", source="sip-trunks"),
        Column(
            "is_unchanged",
            "bool",
            "Whether no trunk was added, changed or removed since the account's previous snapshot.",
            source="sip-trunks",
            is_nullable=True,
        ),
        Column("loader_version", "text", "The release of sip-trunks that read the answer.", source="sip-trunks"),
        Column(
            "_dlt_load_id",
            "text",
            "The dlt load that wrote the row; for an answer that was, to the byte, the last one, the load before.",
            source="dlt",
        ),
    ),
    primary_key=("account", "snapshot_at"),
)

SIP_TRUNK_SNAPSHOT_ROWS = Table(
    name="sip_trunk_snapshot_rows",
    grain="One row per (account, snapshot_at, id): every snapshot in full; in a Parquet lake only.",
    columns=(ACCOUNT, _SNAPSHOT_AT, *API_COLUMNS, _ROW_VERSION, _DLT_LOAD_ID),
    primary_key=("account", "snapshot_at", "id"),
)

DRIFT_KINDS = (
    "new_column",
    "missing_column",
    "type_mismatch",
    "unknown_value",
    "duplicate_id",
    "secret_dropped",
    "name_collision",
)

SCHEMA_DRIFT = Table(
    name="schema_drift",
    grain="One row per deviation of a snapshot from the declaration.",
    columns=(
        ACCOUNT,
        _SNAPSHOT_AT,
        Column("column_name", "text", "The column concerned.", source="sip-trunks"),
        Column("kind", "text", "What deviated.", source="sip-trunks", allowed=DRIFT_KINDS),
        Column("detail", "text", "What was seen, and what was expected.", source="sip-trunks"),
        Column("row_count", "bigint", "Records of the snapshot that deviated so.", source="sip-trunks"),
        _DLT_LOAD_ID,
    ),
    primary_key=("account", "snapshot_at", "column_name", "kind", "detail"),
)

DRIFT = Table(
    name="drift",
    grain="One row per (account, column_name, kind, detail): a deviation, and when it was seen.",
    columns=(
        *(column for column in SCHEMA_DRIFT.columns if column.name in ("account", "column_name", "kind", "detail")),
        Column("row_count", "bigint", "Records that deviated so when it was last seen.", source="sip-trunks"),
        Column("first_seen_at", "timestamp", "The first snapshot that had it (UTC).", source="sip-trunks"),
        Column("last_seen_at", "timestamp", "The last snapshot that had it (UTC).", source="sip-trunks"),
        Column("is_current", "bool", "Whether the account's last snapshot has it.", source="sip-trunks"),
    ),
    primary_key=("account", "column_name", "kind", "detail"),
)
"""A view on `schema_drift`."""

_DLT_SCHEMA = {
    "version": "Number of the schema or state.",
    "engine_version": "Version of dlt's format.",
    "inserted_at": "When dlt wrote the row (UTC).",
    "schema_name": "dlt's name of the schema.",
    "version_hash": "Hash of the content.",
}
DLT_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "_dlt_loads": (
        "dlt's own: one row per load.",
        {
            **_DLT_SCHEMA,
            "load_id": "The load: _dlt_load_id of the rows that it wrote.",
            "status": "0: the load is complete.",
            "schema_version_hash": "The schema that it was loaded with.",
        },
    ),
    "_dlt_pipeline_state": (
        "dlt's own: one row per state of its pipeline.",
        {
            **_DLT_SCHEMA,
            "pipeline_name": "The pipeline.",
            "state": "Its state, compressed.",
            "created_at": "When dlt made the state (UTC).",
            "_dlt_load_id": "The load that wrote the row.",
            "_dlt_id": "dlt's key of the row.",
        },
    ),
    "_dlt_version": ("dlt's own: one row per schema that it keeps.", {**_DLT_SCHEMA, "schema": "The schema, as JSON."}),
}
"""What dlt keeps beside the tables: what it is for, and what its columns mean."""

TABLES = (SIP_TRUNKS, SIP_TRUNKS_HISTORY, SIP_TRUNK_ALLOWED_IPS, SIP_TRUNK_SNAPSHOTS, SCHEMA_DRIFT)

VARIANT_SUFFIX = "__v_text"
"""Appended to a column's name for the values that did not fit its type, kept as text (dlt's naming)."""

RESERVED_COLUMNS = frozenset(
    column.name for table in (SIP_TRUNKS, SIP_TRUNKS_HISTORY) for column in table.columns if column.source != "api"
) | {"snapshot_at", "snapshot_date"}
"""Names that the product or dlt gives to columns beside the API's: no new field of the API may take them."""
