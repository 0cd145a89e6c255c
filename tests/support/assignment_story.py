"""The story of the assignments of two accounts, which every destination tells in the same way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.assignments import answer_assignments, assistant, number
from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.runs import call, load, query

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.api import Api

_HISTORY = """
    SELECT account, trunk_id, has_inbound_assistant, assistants::VARCHAR, valid_to IS NULL
    FROM sip_trunk_assignments_history ORDER BY account, trunk_id, valid_from
"""
_RECEPTION = [{"id": 7, "name": "Reception", "type": "inbound", "status": "active"}]


def tell(api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, destination: str) -> None:
    """Load, change, lose, rename, export, prune, forget and import assignments; each step leaves what it should."""
    option = ("--destination", destination)
    monkeypatch.setenv("SOURCES__FAMULOR__ASSIGNMENTS", "true")
    configure(monkeypatch, "acme", "beta")

    def versions() -> list[tuple[Any, ...]]:
        return [(*rest, json.loads(text), is_open) for *rest, text, is_open in query(_HISTORY, destination)]

    def told(*names: str) -> list[tuple[Any, ...]]:
        return [
            (name, *version)
            for name in names
            for version in ((42, True, _RECEPTION, False), (42, False, [], True), (43, False, [], True))
        ]

    api.answer([TRUNK, IP_TRUNK])
    answer_assignments(api, [number(42, False), number(43, True)], [assistant()])
    assert load(destination).exit_code == 0
    first_at = query("SELECT max(snapshot_at) FROM sip_trunk_snapshots", destination)[0][0]
    answer_assignments(api, [number(42, True), number(43, True)], [assistant(phone_number_id=None)])
    load(destination)
    assert versions() == told("acme", "beta")
    # Trunks change while the assignments cannot be read.
    api.answer([TRUNK, IP_TRUNK | {"nickname": "New"}])
    answer_assignments(api, [], [])
    outcome = load(destination)
    assert {entry.status for entry in outcome.accounts} == {"loaded"}
    assert len([line for line in outcome.warnings if "no new assignments" in line]) == 1
    assert versions() == told("acme", "beta")
    assert query("SELECT DISTINCT nickname FROM sip_trunks WHERE id = 43", destination) == [("New",)]

    call("accounts", "rename", "acme", "zeta", *option)
    configure(monkeypatch, "beta", "zeta")
    answer_assignments(api, [number(42, True), number(43, True)], [assistant(phone_number_id=None)])
    load(destination)
    assert versions() == told("beta", "zeta")

    call("export", "--output", str(place / "copy"), *option)
    call("export", "--output", str(place / "earlier"), "--as-of", first_at.isoformat(), *option)
    rows = json.loads((place / "earlier" / "manifest.json").read_text())["tables"]
    assert {rows[name]["row_count"] for name in rows if "assignments" in name} == {4}
    call("prune", "--older-than", "0.001s", "--yes", *option)
    assert [version[-1] for version in versions()] == [True] * 4
    call("accounts", "forget", "beta", "--yes", *option)
    assert {version[0] for version in versions()} == {"zeta"}
    call("accounts", "forget", "zeta", "--yes", *option)
    call("import", str(place / "copy"), *option)
    assert versions() == told("beta", "zeta")
    answer_assignments(api, [number(42, False), number(43, True)], [assistant()])
    load(destination)
    assert query("SELECT count(*) FROM famulor.sip_trunk_assignments WHERE has_inbound_assistant", destination) == [
        (2,)
    ]
    assert len(versions()) == 8


def configure(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have the settings name these accounts only."""
    for name in ("acme", "beta", "zeta"):
        variable = f"SOURCES__FAMULOR__ACCOUNTS__{name.upper()}"
        if name in names:
            monkeypatch.setenv(variable, f"token-{name}")
        else:
            monkeypatch.delenv(variable, raising=False)
