"""A field of the API that is called like a column that this product adds: nothing is lost, and nothing fails.

The derived columns are always ours, in SQL as in reports; the field has another name.
"""

from __future__ import annotations

import json
import lzma
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.runs import PROJECT, call, load, only, query
from trunk_transforms.parse.column_names import claim_columns
from trunk_transforms.schema.reports import DERIVED, DERIVED_NAMES, IN_VIEWS, MACROS, REPORTS, VIEWS
from trunk_transforms.schema.resources import REQUIRED_TABLES, TABLES
from trunk_transforms.schema.tables import API_COLUMNS, RESERVED_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

OWN = {c for table in (*TABLES, *VIEWS, *(report.table for report in REPORTS.values())) for c in table.names}
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
    call("audit", "--format", "json")
    for view in (*(table.name for table in (*REQUIRED_TABLES, *VIEWS)), "trunks_as_of(now())"):
        call("sql", f"FROM {view}")
    call("sql", "FROM changes_between(now() - INTERVAL 1 DAY, now())")
    for command in ("describe", "drift", "status", "accounts"):
        call(command)
    assert (place / "data" / "reports" / "index.html").exists()


SPELLINGS = {
    "as it is": str,
    "camel case": lambda name: "".join(map(str.title, name.split("_"))),
    "words": lambda name: name.replace("_", " ").title(),
    "capitals": str.upper,
}
TELNYX = trunk(sip_address="sip.telnyx.com", phone_number="+14155551234", country_code="UK")
MEANT = {"number_kind": "DID", "provider": "Telnyx", "country_name": "United Kingdom"}
COUNTED = {"number_kind": "DID", "provider": "Telnyx", "calling_code": 1, "normalized_number": "+14155551234"}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_derived_names_are_ours_and_the_field_is_drift(api: Api, place: Path, spell: Any) -> None:
    fields = {spell(name): f"sent as {name}" for name in sorted(DERIVED_NAMES)}
    api.answer([TELNYX | fields, TELNYX | {"id": 43}])
    load()
    (shown, _) = json.loads(call("sql", "--format", "json", "FROM sip_trunks ORDER BY id"))
    assert {name: shown[name] for name in IN_VIEWS} == MEANT
    assert DERIVED_NAMES & shown.keys() == set(IN_VIEWS)
    assert {f"sent as {name}" for name in DERIVED_NAMES} <= set(shown.values())
    for view in ("sip_trunks_history", "trunks_as_of(now())"):
        assert query(f"SELECT DISTINCT {', '.join(MEANT)} FROM {view}") == [tuple(MEANT.values())]
    for name, value in COUNTED.items():
        (row,) = json.loads(call("report", "counts", "--by", name, "--format", "json"))
        assert (row[name], row["trunk_count"]) == (value, 2)
    drift = json.loads(call("drift", "--format", "json"))
    assert {entry["column_name"] for entry in drift if entry["kind"] == "name_collision"} == {
        name for name in shown if name.startswith(tuple(DERIVED_NAMES)) and name not in IN_VIEWS
    }


def test_a_field_that_was_stored_under_a_derived_name_goes_on_under_another(api: Api, place: Path) -> None:
    """The file is of a commit that stored the fields `provider`, `numberKind` and `trunk_count` under these names."""
    path = place / "data" / "warehouse.duckdb"
    path.parent.mkdir()
    path.write_bytes(lzma.decompress((PROJECT / "tests" / "support" / "data" / "derived-names.duckdb.xz").read_bytes()))
    theirs, kind = (claim_columns([name])[name] for name in ("provider", "number_kind"))
    sent = TRUNK | {"provider": "Third", "numberKind": "mobile", "trunk_count": 3}
    rest = [IP_TRUNK, trunk(id=44, sip_address="sip.telnyx.com")]
    api.answer([sent, *rest])
    api.queue([sent | {"provider": "Other"}, *rest])
    assert only(load()).status == "unchanged"
    assert query("SELECT count(*) FROM trunk_lifetimes") == [(3,)]
    account = only(load(with_reports=True))
    assert (account.new_count, account.changed_count) == (0, 1)
    assert query(f"SELECT provider, {theirs}, number_kind, {kind} FROM sip_trunks ORDER BY id") == [
        ("unknown", "Third", "extension", "mobile"), ("unknown", None, "DID", None), ("Telnyx", None, "extension", None)
    ]  # fmt: skip
    by_provider = json.loads(call("report", "by_provider", "--format", "json"))
    assert {row["provider"]: row["trunk_count"] for row in by_provider} == {"unknown": 2, "Telnyx": 1}
    counted = json.loads(call("report", "counts", "--by", theirs, "--format", "json"))
    assert {row[theirs]: row["trunk_count"] for row in counted} == {"Third": 1, None: 2}
    assert query("SELECT field, old, new FROM sip_trunk_changes WHERE change = 'changed' ORDER BY observed_at") == [
        (theirs, "Self", "Other"),
        (theirs, "Other", "Third"),
    ]
    call("export", "--output", "copy")
    call("import", "copy", "--destination", "parquet")
    assert query(f"SELECT provider, {theirs} FROM sip_trunks WHERE id = 42", "parquet") == [("unknown", "Third")]
    assert "provider" in call("describe", "--format", "json")
