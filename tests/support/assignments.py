"""The numbers and assistants of an account, as the API sends them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from tests.support.frames import day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.api import Api

NUMBERS_PATH = "/api/user/assistants/phone-numbers"
ASSISTANTS_PATH = "/api/user/assistants/get?per_page=100"
SECRETS = ("zz-prompt", "zz-variable", "zz-tool", "zz-webhook")
"""Values of fields that are nobody's business here."""


def number(id_: int, is_available: bool) -> dict[str, Any]:
    return {"id": id_, "phone_number": "+1", "country_code": "US", "type_label": "SIP", "is_available": is_available}


def assistant(**fields: Any) -> dict[str, Any]:
    """Return the assistant that answers trunk 42, with these fields instead."""
    return {
        "id": 7,
        "phone_number_id": 42,
        "name": "Reception",
        "type": "inbound",
        "status": "active",
        "deleted_at": None,
        "system_prompt": SECRETS[0],
        "variables": {"greeting": SECRETS[1]},
        "tools": [{"name": SECRETS[2]}],
        "webhook_url": f"https://example.com/{SECRETS[3]}",
    } | fields


def answer_assignments(api: Api, numbers: Sequence[dict[str, Any]], assistants: Sequence[dict[str, Any]]) -> None:
    """Send these from now on; the assistants are one page."""
    page = {"data": list(assistants), "current_page": 1, "per_page": 100, "total": len(assistants), "last_page": 1}
    api.answer_at(NUMBERS_PATH, json.dumps(list(numbers)).encode())
    api.answer_at(f"{ASSISTANTS_PATH}&page=1", json.dumps(page).encode())


def frame_of(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return assignments as the reports read them; each row is trunk 1 without an assistant, unless it says so."""
    standard = {"account": "acme", "trunk_id": 1, "has_inbound_assistant": False, "assistants": ()}
    standard |= {"since": day(0), "unchanged_since": day(0)}
    filled = [standard | row for row in rows]
    frame = pd.DataFrame(filled, columns=list(standard))
    return frame.assign(assistants=[json.dumps(row["assistants"]) for row in filled]).astype(
        {"account": "str", "trunk_id": "Int64", "has_inbound_assistant": "boolean", "assistants": "str"}
        | dict.fromkeys(("since", "unchanged_since"), "datetime64[us, UTC]")
    )


def use(type_: str = "inbound", status: str = "active", name: str | None = "Reception") -> dict[str, Any]:
    """Return an assistant as it is stored."""
    return {"id": 7, "name": name, "type": type_, "status": status}
