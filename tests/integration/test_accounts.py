"""The command `accounts`: the list, and what has to be agreed to before an account is forgotten."""

from __future__ import annotations

import json
import os
import pty
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sip_trunks.commands import main
from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK
from tests.support.past import store
from tests.support.runs import call, query

if TYPE_CHECKING:
    import pytest

    from tests.support.api import Api

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def test_accounts_are_listed_that_are_configured_or_stored(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("accounts").split()[7:10] == ["default", "true", "false"]
    store(read_settings(), [("wanderer", MOMENT, [IP_TRUNK])])
    for name, token in (("ACME", "t0ken-of-two"), ("BETA", "t0ken-of-two")):
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name}", token)
    printed = call("accounts", "--json")
    assert "t0ken" not in printed
    listed = json.loads(printed)
    assert [[row["account"], row["is_configured"], row["is_stored"], row["same_token_as"]] for row in listed] == [
        ["acme", True, False, "beta"],
        ["beta", True, False, "acme"],
        ["wanderer", False, True, None],
    ]
    assert listed[2]["first_seen_at"] == listed[2]["last_seen_at"] == "2026-03-01T00:00:00.000000Z"
    assert listed[2]["trunk_count"] == 1


def test_an_account_is_forgotten_only_after_its_name_is_typed(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(read_settings(), [("default", MOMENT, [IP_TRUNK])])
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert "--yes" in call("accounts", "forget", "default", code=2)
    keyboard, terminal = pty.openpty()
    with open(terminal) as shell:  # noqa: PTH123 - a descriptor is not a path
        monkeypatch.setattr(sys, "stdin", shell)
        os.write(keyboard, b"defautl\n")
        assert main(["accounts", "forget", "default"]) == 2
        said = capsys.readouterr()
        assert "default: 1 trunk, seen from" in said.out
        assert "nothing was deleted" in said.err
        assert query("SELECT count(*) FROM sip_trunks") == [(1,)]
        os.write(keyboard, b"default\n")
        assert main(["accounts", "forget", "default"]) == 0
        assert "default is still configured" in capsys.readouterr().err
    os.close(keyboard)
    assert query("SELECT count(*) FROM sip_trunks") == [(0,)]
