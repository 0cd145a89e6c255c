"""An account in which everything occurs that is hard to store, to copy or to read back."""

from __future__ import annotations

from typing import Any

from tests.support.builders import IP_TRUNK, trunk

TEXTS = (
    "", " ", "NULL", "null", "nan", "N/A", "\\N", "None", "true", "123", "0x10", "1e5", "007", "2026-01-01",
    "2026-03-31T10:00:00Z", "=1+1", "+1", "-1", "@SUM(1)", "\t=1", 'say "hi"', '"', '""', '","', "'", "'; DROP TABLE x",
    "a,b", "a;b", "a\tb", "line\nbreak", "line\r\nbreak", "lone\rreturn", "\n", "ends\n", "  padded  ", "\\", "\\n",
    '\\"', "#no comment", "\u00eb \U0001f4de \u4e2d", "e\u0301", "\u202egnp.exe", "\ufeffmark", "\u2028", "[]", "{}",
    '["a"]', "x" * 70_000,
)  # fmt: skip
LISTS: tuple[list[str | None], ...] = (
    [], [None], ["", None, "192.0.2.1"], ["192.0.2.1", "192.0.2.1"], ['a"b', "c,d", "e\nf", "\\", "NULL", "\U0001f4de"],
)  # fmt: skip
NEW_FIELDS: list[dict[str, Any]] = [
    {
        "zz_note": "x",
        "zz_ratio": 0.1,
        "zz_flag": True,
        "zz_seats": 7,
        "zz_limits": {"calls": 5, "a": [1, None, "\u00eb"]},
    },
    {"zz_note": "", "zz_ratio": 1e300, "zz_flag": False, "zz_seats": 2**63 - 1, "zz_limits": {"": '"', "n": 1.5}},
    {"zz_note": None, "zz_ratio": 5e-324, "zz_flag": "", "zz_seats": -(2**63), "zz_limits": []},
    {"zz_note": "NULL", "zz_ratio": -0.0, "zz_flag": "yes", "zz_seats": 2**53 + 1, "zz_limits": "text, then\nmore"},
    {"zz_note": 7, "zz_ratio": 1 / 3, "zz_flag": None, "zz_seats": 1.5, "zz_limits": {"deep": [{"b": None}]}},
]
MISFITS: list[dict[str, Any]] = [
    {"outbound_proxy": "", "phone_number": 1000, "created_at": "soon"},
    {"outbound_proxy": "=yes", "sip_username": {"a": 1}, "allowed_inbound_ips": "192.0.2.1", "updated_at": 5},
]
MOMENTS: list[dict[str, Any]] = [
    {"created_at": moment} for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", None)
]


def hard_trunks(edition: int) -> list[dict[str, Any]]:
    """Return its trunks, a few of which differ from edition to edition."""
    return [
        *(trunk(id=400 + n, sip_username=text, country_code=None if n % 3 else "") for n, text in enumerate(TEXTS)),
        *(IP_TRUNK | {"id": 100 + n, "allowed_inbound_ips": ips} for n, ips in enumerate(LISTS)),
        *(trunk(id=200 + n, **fields, phone_number=str(edition)) for n, fields in enumerate(NEW_FIELDS)),
        *(trunk(id=300 + n, **fields) for n, fields in enumerate((*MISFITS, *MOMENTS))),
        trunk(id=2**63 - 1, sip_calling_format="E.164", sip_username=f"edition {edition}"),
    ]
