"""Test data: one valid record, and what a test wants different about it."""

from __future__ import annotations

import json
from typing import Any

ABSENT = object()

TRUNK: dict[str, Any] = {
    "id": 42,
    "phone_number": "1000",
    "nickname": "Front desk",
    "sip_username": "myuser",
    "sip_address": "sip.provider.com",
    "sip_calling_format": "+e164",
    "inbound_authorization_type": "auth",
    "allowed_inbound_ips": None,
    "outbound_proxy": False,
    "country_code": "US",
    "created_at": "2026-03-31T10:00:00.000000Z",
    "updated_at": "2026-03-31T10:00:00.000000Z",
}
IP_TRUNK: dict[str, Any] = {
    "id": 43,
    "phone_number": "+14155551234",
    "nickname": "Provider X Main",
    "sip_username": "trunk_user",
    "sip_address": "sip.provider.com",
    "sip_calling_format": "e164",
    "inbound_authorization_type": "ip",
    "allowed_inbound_ips": ["203.0.113.10", "198.51.100.20"],
    "outbound_proxy": True,
    "country_code": "US",
    "created_at": "2026-03-31T11:00:00.000000Z",
    "updated_at": "2026-03-31T11:00:00.000000Z",
}


def trunk(**fields: Any) -> dict[str, Any]:
    """Return a valid record with these fields instead; ABSENT leaves one out."""
    return {name: value for name, value in (TRUNK | fields).items() if value is not ABSENT}


def body(*trunks: dict[str, Any], **envelope: Any) -> bytes:
    """Return an answer of the API with these trunks."""
    return json.dumps({"data": list(trunks), **envelope}).encode()


def raw(*trunks: dict[str, Any]) -> list[bytes]:
    """Return the records as the bytes that they are sent in."""
    return [json.dumps(record).encode() for record in trunks]
