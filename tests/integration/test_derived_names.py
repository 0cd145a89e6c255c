"""A field of the API that is called like a column that this product adds: nothing is lost, and nothing fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.builders import IP_TRUNK, trunk
from tests.support.runs import call
from trunk_transforms.schema.reports import DERIVED, MACROS, REPORTS
from trunk_transforms.schema.resources import TABLES
from trunk_transforms.schema.tables import API_COLUMNS, RESERVED_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

OWN = {column for table in (*TABLES, *(report.table for report in REPORTS.values())) for column in table.names}
CALLED = {*DERIVED, *RESERVED_COLUMNS, *OWN, *(name for macro in MACROS for name in (macro.name, *macro.parameters))}
NAMES = sorted({*CALLED, "moment", "_dlt_id", "filename", "rowid"} - {column.name for column in API_COLUMNS})


@pytest.mark.parametrize("wrap", [str, lambda name: {"in": [name]}], ids=["text", "object"])
def test_fields_called_like_columns_of_the_product_are_kept_and_shown(api: Api, place: Path, wrap: Any) -> None:
    for country in ("US", "DE"):
        fields = {name: wrap(f"{name} of {country}") for name in NAMES}
        api.answer([trunk(country_code=country, **fields), IP_TRUNK])
        call("run")
    (stored,) = json.loads(call("sql", "--format", "json", "FROM famulor.sip_trunks WHERE id = 42"))
    text = json.dumps(stored)
    assert [name for name in NAMES if f"{name} of DE" not in text] == []
    reports = json.loads(call("report", *REPORTS, "--format", "json", "--mask"))
    assert reports.keys() == REPORTS.keys()
    assert {row["country_code"] for row in reports["counts"]} == {"US", "DE"}
    for columns in ("provider", "number_kind", "country_name", "calling_code", "normalized_number"):
        call("report", "counts", "--by", columns, "--format", "csv")
    call("audit", "--format", "json")
    for view in ("sip_trunks", "sip_trunks_history", "sip_trunk_changes", "trunk_counts", "findings"):
        call("sql", f"FROM {view}")
    call("sql", "FROM trunks_as_of(now())")
    call("sql", "FROM changes_between(now() - INTERVAL 1 DAY, now())")
    for command in ("describe", "drift", "status", "accounts"):
        call(command)
    assert (place / "data" / "reports" / "index.html").exists()
