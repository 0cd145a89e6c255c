"""Data directories of any name: everything works in them, or `check` and `run` refuse them alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.runs import call, capture, query

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

NAMES = {
    "file": ["a#b*[c]{d}\\ \u4e2d", "-a\nb."],
    "lake": ["it's a?b=c#d*[e]{f}\\ \u4e2d", "-a\nb."],
}
REFUSED = [("duckdb", "it's"), ("duckdb", "a?b"), ("duckdb", "a=b"), ("duckdb", "100%"), ("parquet", "100%")]


@pytest.fixture(autouse=True)
def configured(api: Api, place: Path) -> None:
    api.answer([TRUNK, IP_TRUNK])


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_every_command_works_in_a_folder_of_any_name(
    place: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", {"file": "duckdb", "lake": "parquet"}[kind])
    # What a pattern of the same name would find as well.
    for folder in dict.fromkeys((place / name.replace("*", "x"), place / name)):
        monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(folder))
        call("run")
        call("export", "--output", str(folder / "copy"))
    call("check")
    for command in ("report counts", "status", "prune --yes", "accounts forget default --yes"):
        call(*command.split())
    call("import", str(place / name / "copy"))
    assert query("SELECT count(*) FROM sip_trunks") == [(2,)]
    assert call("sql", "SELECT count(*) AS n FROM sip_trunks_history", "--format", "csv").split() == ["n", "2"]


@pytest.mark.parametrize(("destination", "name"), REFUSED)
def test_a_folder_that_a_library_cannot_use_is_refused_by_check_and_run_alike(
    place: Path, monkeypatch: pytest.MonkeyPatch, destination: str, name: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(place / name))
    assert "choose a folder without it" in call("run", code=2)
    assert "choose a folder without it" in capture("check", code=2).out.decode()
