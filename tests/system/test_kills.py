"""Kill -9 at chosen steps of every command that writes: the same command again stores what one undisturbed stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.killed_commands import COMMANDS, Database, Forks, assert_killed_command_is_finished, forking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.api import Api

KINDS = {
    "file": ("duckdb", "parquet"),
    "lake": ("parquet", "parquet"),
    "delta": ("parquet", "delta"),
    "server": ("postgres", "parquet"),
}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with forking() as forks:
        yield forks


@pytest.fixture(autouse=True)
def accounts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("acme", "beta"):
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name.upper()}", f"token-{name}")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_is_killed_anywhere_is_finished_by_calling_it_again(
    forks: Forks,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kind: str,
    command: str,
) -> None:
    """Only processes that die show what they leave, and only many kills come to a moment that nobody thought of."""
    destination, table_format = KINDS[kind]
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    monkeypatch.setenv("SIP_TRUNKS__TABLE_FORMAT", table_format)
    database = None
    if kind == "server":
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", request.getfixturevalue("postgres_url"))
        name = request.getfixturevalue("postgres_url").rpartition("/")[2]
        database = Database(request.getfixturevalue("postgres_server"), name)
    assert_killed_command_is_finished(forks, api, command, database)
