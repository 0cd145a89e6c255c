"""What a DuckDB file or a folder of Parquet files holds, as the fingerprint of the answer that it was loaded from.

`python -m tests.bench.stored LAYOUT PLACE` prints one fingerprint per table that has to hold every trunk, as one JSON
object; a folder has a folder of files for each table. A process of its own: DuckDB's memory would otherwise become
the bench's, and so its children's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb

from tests.bench.answer import Fingerprint

# The allowlists come from the child tables, so that they are compared as well. Where to find trunks, and entries as
# (trunk key, position, ip); the key is a trunk's `id` with us, its `_dlt_id` with dlt.
OUR_IPS = "SELECT trunk_id AS key, position, ip FROM famulor.sip_trunk_allowed_ips"
PLAIN_IPS = "SELECT _dlt_parent_id AS key, _dlt_list_idx AS position, value AS ip FROM {}__allowed_inbound_ips"
OURS = {
    "current": ("SELECT *, id AS key FROM famulor.sip_trunks", OUR_IPS),
    "history": ("SELECT *, id AS key FROM famulor.sip_trunks_history WHERE valid_to IS NULL", OUR_IPS),
}
LAYOUTS = {
    "sip-trunks": OURS,
    "sip-trunks lake": OURS | {"rows": ("SELECT *, id AS key FROM famulor.sip_trunk_snapshot_rows", OUR_IPS)},
    "plain": {
        "current": ("SELECT *, _dlt_id AS key FROM famulor.sip_trunks", PLAIN_IPS.format("famulor.sip_trunks")),
    },
}

FINGERPRINT = """
    WITH trunks AS ({trunks}),
    entries AS ({entries}),
    allowlists AS (SELECT key, string_agg(ip, ',' ORDER BY position) AS ips FROM entries GROUP BY key),
    texts AS (
        SELECT id, concat_ws(
            chr(31), id, phone_number, sip_username, sip_address, sip_calling_format, inbound_authorization_type,
            coalesce(ips, ''), outbound_proxy, country_code, epoch_us(created_at), epoch_us(updated_at)
        ) AS text
        FROM trunks LEFT JOIN allowlists USING (key)
    )
    SELECT count(*), sum(id)::BIGINT, sha256(string_agg(md5(text), '' ORDER BY id)) FROM texts
"""


def read_fingerprints(layout: str, place: Path) -> dict[str, Fingerprint]:
    """Return the fingerprint of each table that has to hold every trunk."""
    with connect(place) as connection:
        queries = {
            name: FINGERPRINT.format(trunks=trunks, entries=entries)
            for name, (trunks, entries) in LAYOUTS[layout].items()
        }
        return {name: Fingerprint(*connection.execute(query).fetchall()[0]) for name, query in queries.items()}


def connect(place: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection to the file, or to the Parquet files of the folder as the tables that they are."""
    if place.is_file():
        return duckdb.connect(place, read_only=True)
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA famulor")
    for folder in place.iterdir():
        if files := sorted(map(str, folder.rglob("*.parquet"))):
            connection.execute(f"CREATE VIEW famulor.{folder.name} AS FROM read_parquet({files})")
    return connection


if __name__ == "__main__":
    print(json.dumps(read_fingerprints(sys.argv[1], Path(sys.argv[2]))))
