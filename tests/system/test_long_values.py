"""Values of 100 kB that are hard for a pattern, in every rule, report and format.

Only whole commands find a pattern, a loop or a library that takes the square of the length: that would be minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.builders import trunk
from tests.support.runs import capture
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

LONG = 100_000
UNITS = ("1", "1.", " ", "@", "a", "+", "(", "1 (", "a.", "1:", "_", "\n", "0", "\u202e")
VALUES = [
    *(unit * (LONG // len(unit)) for unit in UNITS),
    *(start + middle * LONG + end for start, middle, end in (("+49", "(", "0)"), ("[", "]", "x"), ("x", " ", "x"))),
]
FIELDS = (
    "phone_number", "sip_username", "sip_address", "sip_calling_format", "inbound_authorization_type", "country_code",
    "created_at", "zz_note",
)  # fmt: skip


@pytest.fixture
def stored(api: Api, place: Path) -> Path:
    """A file with two snapshots, in which every value of every trunk has changed."""
    for end in ("", "x"):
        changed = [dict.fromkeys(FIELDS, value + end) | {"allowed_inbound_ips": [value + end]} for value in VALUES]
        api.answer([trunk(id=number, **fields) for number, fields in enumerate(changed)])
        capture("run")
    return place


def test_long_values_go_through_every_rule_report_and_format(stored: Path) -> None:
    for text_format in ("table", "json", "markdown", "html"):
        assert capture("report", *REPORTS, "--format", text_format, "--mask").out
    capture("report", *REPORTS, "--format", "csv", "--output", "reports/", "--mask")
    capture("report", *REPORTS, "--format", "xlsx", "--output", "all.xlsx")
    for name in ("counts", "by_provider", "growth", "audit"):
        capture("report", name, "--format", "png", "--mask", "--output", f"{name}.png")
    for name in ("phone_number", "sip_address", "zz_note"):
        capture("report", "counts", "--by", name, "--mask")
    capture("audit", "--mask")
    for table in ("sip_trunks", "sip_trunk_changes", "findings"):
        capture("sql", f"FROM {table}")
    assert (stored / "all.xlsx").stat().st_size > 0
