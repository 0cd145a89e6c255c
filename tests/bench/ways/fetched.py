"""The answer by hand: as rows, with requests and orjson, and as an Arrow table."""

import os
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import requests

MOMENT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "phone_number": pa.string(),
        "sip_username": pa.string(),
        "sip_address": pa.string(),
        "sip_calling_format": pa.string(),
        "inbound_authorization_type": pa.string(),
        "allowed_inbound_ips": pa.list_(pa.string()),
        "outbound_proxy": pa.bool_(),
        "country_code": pa.string(),
        "created_at": pa.string(),
        "updated_at": pa.string(),
    }
)


def fetch_rows() -> list[dict[str, Any]]:
    """Return the trunks."""
    headers = {"Authorization": f"Bearer {os.environ['BENCH_TOKEN']}"}
    response = requests.get(os.environ["BENCH_URL"], headers=headers, timeout=60)
    response.raise_for_status()
    rows: list[dict[str, Any]] = orjson.loads(response.content)["data"]
    return rows


def fetch() -> pa.Table:
    """Return the trunks as a table, their moments as moments."""
    table = pa.Table.from_pylist(fetch_rows(), SCHEMA)
    for name in ("created_at", "updated_at"):
        moments = pc.cast(table[name], MOMENT)
        table = table.set_column(table.schema.get_field_index(name), name, moments)
    return table
