"""The audit of accounts whose responses at several moments are given, read from stored tables as reports read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from sip_trunks.reporting.inputs import read_inputs
from sip_trunks.warehouse import sql
from tests.support.frames import day
from tests.support.past import tables_of
from trunk_transforms.reports.inputs import Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trunk_transforms.reports.inputs import ReportInputs

    Trunk = dict[str, Any]

PBX: Trunk = {
    "id": 1,
    "phone_number": "+4930231252",
    "nickname": "Berlin office",
    "sip_username": "lindner-01",
    "sip_address": "pbx.example.com",
    "sip_calling_format": "+e164",
    "inbound_authorization_type": "ip",
    "allowed_inbound_ips": ["8.8.8.8"],
    "outbound_proxy": False,
    "country_code": "DE",
    "created_at": "2024-01-15T10:00:00.000000Z",
    "updated_at": "2024-01-15T10:00:00.000000Z",
}
AUTH: Trunk = {"inbound_authorization_type": "auth", "allowed_inbound_ips": None}


def ips(*entries: str, **others: Any) -> Trunk:
    """Return an allowlist that is in use."""
    return {"inbound_authorization_type": "ip", "allowed_inbound_ips": list(entries)} | others


def listed(number: float, *trunks: Trunk) -> list[Trunk]:
    """Return the response of day `number`: `PBX` with these differences, updated that day, for each of the trunks."""
    moment = day(number).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    return [PBX | {"id": place, "updated_at": moment} | trunk for place, trunk in enumerate(trunks, 1)]


def inputs_of(accounts: Mapping[str, Mapping[Any, Sequence[Trunk]]], as_of: datetime, **options: Any) -> ReportInputs:
    """Return the inputs of the audit after accounts listed these trunks on these days."""
    # Each account by itself: every answer is merged into all rows that are there.
    told = [tables_of([(name, day(at), [*said[at]]) for at in sorted(said)]) for name, said in accounts.items()]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE SCHEMA {sql.DATASET}")
        for name in dict.fromkeys(name for tables in told for name in tables):
            given = [tables[name] for tables in told if name in tables]
            rows = pa.concat_tables(given, promote_options="default")
            connection.register("given_rows", rows)
            lists = "to_json(allowed_inbound_ips) AS allowed_inbound_ips"
            replaced = f" REPLACE ({lists})" if "allowed_inbound_ips" in rows.column_names else ""
            connection.execute(f"CREATE TABLE {sql.DATASET}.{name} AS SELECT *{replaced} FROM given_rows")
        return read_inputs(connection, ["audit"], Options(as_of=as_of, **options))
