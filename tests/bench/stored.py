"""What a DuckDB file or a folder of Parquet files holds, as the fingerprint of the answer that it was loaded from.

`python -m tests.bench.stored LAYOUT PLACE` prints, as one JSON object, the fingerprint of each table that has to hold
every trunk; a folder has a folder of files for each table. With it comes how the first of them keeps what JSON has no
type for, moments and allowlists: a competitor may store either as text and is not refused for it, but told of.

A process of its own: DuckDB's memory would otherwise become the bench's, and so its children's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import duckdb

from tests.bench.answer import Fingerprint


class Table(NamedTuple):
    """A table of trunks, their allowlists in a column or in the table `entries`.

    That has a row for each, as (key, position, ip), where `key` is what the trunk has as `key`.
    """

    trunks: str
    entries: str = ""


OUR_IPS = "SELECT trunk_id AS key, position, ip FROM famulor.sip_trunk_allowed_ips"
DLT_IPS = """
    SELECT _dlt_parent_id AS key, _dlt_list_idx AS position, value AS ip FROM famulor.sip_trunks__allowed_inbound_ips
"""
OURS = {
    "current": Table("SELECT * FROM famulor.sip_trunks"),
    "allowlists": Table("SELECT *, id AS key FROM famulor.sip_trunks", OUR_IPS),
    "history": Table("SELECT *, id AS key FROM famulor.sip_trunks_history WHERE valid_to IS NULL", OUR_IPS),
}
LAYOUTS = {
    "sip-trunks": OURS,
    "sip-trunks lake": OURS | {"rows": Table("SELECT *, id AS key FROM famulor.sip_trunk_snapshot_rows", OUR_IPS)},
    "one table": {"current": Table("SELECT * FROM sip_trunks")},
    "dlt": {"current": Table("SELECT *, _dlt_id AS key FROM famulor.sip_trunks", DLT_IPS)},
    "dlt, one table": {"current": Table("SELECT * FROM famulor.sip_trunks")},
}

FINGERPRINT = """
    WITH texts AS (
        SELECT id::BIGINT AS id, concat_ws(
            chr(31), id::BIGINT, phone_number, sip_username, sip_address, sip_calling_format,
            inbound_authorization_type, {allowlist}, outbound_proxy::BOOLEAN, country_code,
            epoch_us(created_at::TIMESTAMPTZ), epoch_us(updated_at::TIMESTAMPTZ)
        ) AS text
        FROM {source}
    )
    SELECT count(*), sum(id)::BIGINT, sha256(string_agg(md5(text), '' ORDER BY id)) FROM texts
"""
JOINED = """
    ({trunks}) LEFT JOIN (
        SELECT key, string_agg(ip, ',' ORDER BY position) AS ips FROM ({entries}) GROUP BY key
    ) USING (key)
"""
LIST, CHILD = "list", "child table"
ALLOWLISTS = {
    CHILD: "coalesce(ips, '')",
    LIST: "coalesce(array_to_string(allowed_inbound_ips, ','), '')",
    "JSON text": "coalesce(array_to_string(from_json(allowed_inbound_ips::JSON, '[\"VARCHAR\"]'), ','), '')",
}


def read_stored(layout: str, place: Path) -> tuple[dict[str, Fingerprint], str]:
    """Return the fingerprint of each table that has to hold every trunk, and how the first keeps its values."""
    fingerprints, kinds = {}, []
    with connect(place) as connection:
        for name, table in LAYOUTS[layout].items():
            moments, allowlist = kept(connection, table)
            kinds.append(f"{moments}, {allowlist}")
            source = JOINED.format(**table._asdict()) if allowlist == CHILD else f"({table.trunks})"
            query = FINGERPRINT.format(source=source, allowlist=ALLOWLISTS[allowlist])
            fingerprints[name] = Fingerprint(*connection.execute(query).fetchall()[0])
    return fingerprints, kinds[0]


def kept(connection: duckdb.DuckDBPyConnection, table: Table) -> tuple[str, str]:
    """Return how the table keeps its moments, and how its allowlists."""
    types = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {table.trunks}").fetchall()}
    moments = "timestamps" if types["created_at"].startswith("TIMESTAMP") else "timestamps as text"
    if table.entries:
        return moments, CHILD
    return moments, LIST if types["allowed_inbound_ips"].endswith("[]") else "JSON text"


def connect(place: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection to the file, or to the Parquet files of the folder as the tables that they are."""
    if place.is_file():
        connection = duckdb.connect(place, read_only=True)
    else:
        connection = duckdb.connect()
        connection.execute("CREATE SCHEMA famulor")
        for folder in place.iterdir():
            if files := sorted(map(str, folder.rglob("*.parquet"))):
                connection.execute(f"CREATE VIEW famulor.{folder.name} AS FROM read_parquet({files})")
    connection.execute("SET TimeZone = 'UTC'")  # what a moment without an offset means
    return connection


if __name__ == "__main__":
    print(json.dumps(read_stored(sys.argv[1], Path(sys.argv[2]))))
