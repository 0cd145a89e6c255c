"""A second list of the API needs its declaration, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.runs import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

PATH = "/api/user/assistants/phone-numbers"


def call(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.support.second_list_process", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def select(query: str, destination: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(call("sql", query, "--format", "json", "--destination", destination))
    return rows


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_a_declared_list_is_stored_kept_exported_and_described_like_the_trunks(
    destination: str, place: Path, api: Api
) -> None:
    first = [{"id": 42, "phone_number": "+14155551234", "is_available": True}, {"id": 43, "phone_number": "1000"}]
    for numbers in (first, first, [first[0] | {"is_available": False, "zz_new": "x"}]):
        api.answer([TRUNK, IP_TRUNK])
        api.answer_at(PATH, numbers)
        call("run", "--no-reports", "--destination", destination)
    assert select("SELECT id, is_available, zz_new FROM numbers", destination) == [
        {"id": 42, "is_available": False, "zz_new": "x"}
    ]
    assert select("SELECT id, valid_to IS NULL AS is_current FROM numbers_history ORDER BY 1, 2", destination) == [
        {"id": 42, "is_current": False},
        {"id": 42, "is_current": True},
        {"id": 43, "is_current": False},
    ]
    assert select("SELECT is_unchanged FROM sip_trunk_snapshots ORDER BY snapshot_at", destination) == [
        {"is_unchanged": False},
        {"is_unchanged": True},
        {"is_unchanged": False},
    ]
    drift = select("SELECT DISTINCT column_name FROM schema_drift ORDER BY 1", destination)
    assert [row["column_name"] for row in drift] == ["numbers.is_available", "numbers.zz_new"]
    assert "whether no assistant answers it" in call("describe", "numbers").lower()
    call("export", "--output", str(place / "copy"), "--destination", destination)
    assert (place / "copy" / "numbers_history.parquet").exists()
