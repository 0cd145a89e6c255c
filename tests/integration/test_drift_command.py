"""`drift` as a user calls it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sip_trunks.reporting.notebook import read_stored
from tests.support.builders import TRUNK, trunk
from tests.support.runs import call, load, query
from trunk_transforms.history.timeline import count_changed

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.fixtures import Begin


def test_drift_shows_its_period_and_past_deviations(api: Api, begin: Begin) -> None:
    begin(TRUNK)
    assert "no drift" in call("drift")
    api.answer([trunk(sip_calling_format="E.164"), trunk(id=43, sip_calling_format="E.164")])
    first = json.loads(call("run", "--json", "--no-reports"))
    second = json.loads(call("run", "--json", "--no-reports"))
    assert (second["accounts"][0]["status"], second["accounts"][0]["drift_count"]) == ("unchanged", 1)
    (seen,) = json.loads(call("drift", "--format", "json"))
    assert (seen["column_name"], seen["kind"], seen["row_count"], seen["is_current"]) == (
        "sip_calling_format",
        "unknown_value",
        2,
        True,
    )
    assert (seen["first_seen_at"], seen["last_seen_at"]) == (first["snapshot_at"], second["snapshot_at"])
    assert second["accounts"][0]["drift"][0]["first_seen_at"] == first["snapshot_at"]
    assert "still drifting" in call("status")
    api.answer([TRUNK])
    assert load().exit_code == 0
    assert "still drifting" not in call("status")
    assert "no drift" in call("drift")
    (over,) = json.loads(call("drift", "--since", "2026-01-01", "--format", "json"))
    assert over["is_current"] is False
    assert "no drift" in call("drift", "--since", "2999-01-01")


def test_a_renamed_field_changes_as_many_trunks_everywhere_and_blinds_rules(api: Api, begin: Begin) -> None:
    trunks = [trunk(id=n) for n in range(5)]
    begin(*trunks)
    api.answer([{"numberOfPhone": "1000"} | {n: v for n, v in t.items() if n != "phone_number"} for t in trunks])
    printed = call("run")
    assert "trunks     5: 0 new, 5 changed, 0 removed since the last run" in printed
    (rules,) = (line for line in printed.splitlines() if line.startswith("rules"))
    assert rules.endswith("find nothing: phone_number is missing")
    assert "number-malformed" in rules
    overview = json.loads(call("report", "overview", "--format", "json"))
    assert [(row["value"], row["detail"]) for row in overview if row["item"] == "changed trunks"] == [
        (5, "5 only by drift")
    ]
    assert query("SELECT value FROM reports.overview WHERE item = 'changed trunks'") == [(5,)]
    assert query("SELECT changed_count FROM runs ORDER BY started_at DESC LIMIT 1") == [(5,)]
    assert query("FROM sip_trunk_changes") == []
    stored = read_stored()
    assert count_changed(stored.tables["versions"]) == len(stored.tables["changed_trunks"]) == 5
