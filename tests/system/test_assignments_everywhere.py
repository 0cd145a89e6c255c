"""Assignments in a DuckDB file, a lake and a database: loaded, renamed, exported, pruned, forgotten and imported.

Only whole stories show that no command forgets the tables of the second list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.assignment_story import tell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_assignments_go_where_the_trunks_go(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    tell(api, place, monkeypatch, destination)


def test_assignments_go_where_the_trunks_go_on_a_server(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    tell(api, place, monkeypatch, "postgres")
