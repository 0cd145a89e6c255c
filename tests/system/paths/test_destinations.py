"""One whole path per destination: run, run again, ask, copy it and begin another destination with the copy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.runs import call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

FIRST = [TRUNK, IP_TRUNK, trunk(id=44, country_code="FR")]
CHANGED = [TRUNK | {"country_code": "DE"}, IP_TRUNK, trunk(id=45, country_code="FR"), trunk(id=46, country_code="FR")]
QUESTIONS = (
    "SELECT id, country_code, outbound_proxy, valid_from, valid_to FROM sip_trunks_history ORDER BY ALL",
    "SELECT trunk_id, position, ip FROM sip_trunk_allowed_ips ORDER BY ALL",
    "SELECT trunk_id, change, field, old, new, observed_at FROM sip_trunk_changes ORDER BY ALL",
    "SELECT snapshot_at, trunk_count FROM sip_trunk_snapshots ORDER BY ALL",
)
"""What must have the same rows in the destination and in another one that begins with its copy."""


@pytest.fixture(params=["duckdb", "parquet", "delta", "postgres"])
def destination(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name that the commands know the destination by; the settings say the rest of it."""
    if request.param == "delta":
        pytest.importorskip("deltalake", reason="NOT TESTED AS DELTA TABLES: deltalake is not installed")
        monkeypatch.setenv("SIP_TRUNKS__TABLE_FORMAT", "delta")
        return "parquet"
    if request.param == "postgres":
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", request.getfixturevalue("postgres_url"))
    return str(request.param)


def run_account(destination: str) -> tuple[str, int, int, int]:
    """Return what a run did for its only account: the status, and how many trunks are new, changed and removed.

    The import publishes reports; runs that do so too would cost as much as all of the rest.
    """
    (account,) = json.loads(call("run", "--json", "--no-reports", "--destination", destination))["accounts"]
    return account["status"], account["new_count"], account["changed_count"], account["removed_count"]


def rows(query: str, destination: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call("sql", query, "--format", "json", "--destination", destination))
    return found


def test_a_destination_is_loaded_queried_exported_and_imported(api: Api, destination: str) -> None:
    """Only commands in a row show that each finds what the one before has left, wherever that is."""
    api.answer(FIRST)
    assert run_account(destination) == ("loaded", 3, 0, 0)
    assert run_account(destination) == ("unchanged", 0, 0, 0)
    api.answer(CHANGED)
    assert run_account(destination) == ("loaded", 2, 1, 1)

    (account,) = json.loads(call("status", "--json", "--destination", destination))["accounts"]
    assert account["trunk_count"] == 4
    stored = rows("SELECT id, country_code FROM sip_trunks ORDER BY id", destination)
    assert stored == [{"id": record["id"], "country_code": record["country_code"]} for record in CHANGED]
    counts = json.loads(call("report", "by_country", "--format", "json", "--destination", destination))
    assert [(row["country_code"], row["trunk_count"]) for row in counts] == [("FR", 2), ("DE", 1), ("US", 1)]

    call("export", "--output", "copy", "--destination", destination)
    expected = [rows(query, destination) for query in QUESTIONS]
    assert all(expected)
    other = "parquet" if destination == "duckdb" else "duckdb"
    call("import", "copy", "--destination", other)
    assert [rows(query, other) for query in QUESTIONS] == expected
    assert "<h1>" in read_settings(other).page_path.read_text("utf-8")
    assert run_account(other) == ("unchanged", 0, 0, 0)
