"""`status` as a user calls it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.builders import TRUNK
from tests.support.runs import call

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.fixtures import Begin


def test_status_shows_what_is_stored_and_how_the_last_run_ended(api: Api, begin: Begin) -> None:
    empty = json.loads(call("status", "--json"))
    assert (empty["accounts"][0]["snapshot_at"], empty["last_run"], empty["is_run_active"]) == (None, None, False)
    assert "never seen" in call("status")
    begin(TRUNK)
    api.answer(b"", 401)
    call("run", code=3)
    status = json.loads(call("status", "--json"))
    assert status["accounts"][0]["trunk_count"] == 1
    assert status["last_run"]["exit_code"] == 3
    assert "does not accept the token" in status["last_run"]["error"]
    assert "exit code 3" in call("status")
