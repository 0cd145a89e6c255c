"""What the reports of a small account are made from."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.support.assignments import frame_of, use
from tests.support.changes import log_changes
from tests.support.frames import day, drift, observations, trunks, versions
from trunk_transforms.reports.inputs import Options, ReportInputs

NOW = day(3)


TRUNKS = trunks(
    {"id": 1},
    {"id": 2, "phone_number": "1001", "sip_calling_format": "national", "sip_address": "pbx.example"},
    {"id": 3, "country_code": None, "sip_calling_format": "e164-ish", "sip_address": "acme.pstn.twilio.com"},
    {"id": 4, "phone_number": "+4930231299", "country_code": "QQ", "inbound_authorization_type": "auth"},
)


@cache
def inputs(**options: Any) -> ReportInputs:
    """Return the tables of the account; what one test derives from them is there for the next one, which only reads."""
    seen = versions(
        {"id": 1, "days": (0, None)},
        {"id": 2, "days": (0, None), "phone_number": "1001"},
        {"id": 3, "days": (1, None)},
        {"id": 4, "days": (1, 2)},
        {"id": 4, "days": (2, None), "sip_address": "pbx.example"},
        {"id": 5, "days": (0, 2)},
    )
    observed = observations(0, 1, 2)
    tables = {
        "trunks": TRUNKS,
        "assignments": frame_of({"trunk_id": 2, "assistants": [use(status="inactive")]}, {"trunk_id": 4}),
        "lifetimes": seen[["account", "id", "created_at", "valid_from", "valid_to"]],
        "changes": log_changes(seen, observed, drift(), since=None, as_of=NOW),
        "observations": observed,
    }
    return ReportInputs(tables, Options(as_of=NOW, **options))
