"""`describe` as a user calls it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.builders import TRUNK
from tests.support.runs import call

if TYPE_CHECKING:
    from tests.support.fixtures import Begin


def test_declared_and_new_columns_are_described(begin: Begin) -> None:
    begin(TRUNK | {"zz_invented": "x"})
    out = call("describe", "sip_trunks")
    assert "Host of the SIP server" in out
    assert "zz_invented" in out
    assert set(json.loads(call("describe", "--format", "json"))) >= {"sip_trunks", "sip_trunks_history", "schema_drift"}
    assert "| `id` | BIGINT |" in call("describe", "sip_trunks", "--format", "markdown")
    assert "no table, view or macro named 'nope'" in call("describe", "nope", code=2)
